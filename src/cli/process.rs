//! What the process asks of its allocator and of the libraries below, before a second thread runs.

use super::threads::cores;

/// Sets the process up for many large matrices. Nothing else may run yet.
pub fn set_up_process() {
    report_large_files();
    keep_freed_memory();
    // One pool of threads, rayon's. candle has another for elementwise operations on large tensors, whose threads spin
    // between two of them; products and rows of this crate run on rayon's meanwhile (7 % of an ablation's time on two cores).
    set_unless_given("CANDLE_NUM_THREADS", 1);
    // Before each product candle asks how many threads there are, which costs a look at the system's processors where
    // this is not set (5 % of an ablation's time).
    set_unless_given("RAYON_NUM_THREADS", cores());
}

/// A file beyond the limit of the shell (`ulimit -f`) is an error of its write then, not the end of the process.
#[cfg(unix)]
fn report_large_files() {
    // SAFETY: no other thread runs, and to ignore a signal runs nothing.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn report_large_files() {}

fn set_unless_given(variable: &str, value: usize) {
    if std::env::var_os(variable).is_none() {
        // SAFETY: no other thread runs that could read the environment.
        unsafe { std::env::set_var(variable, value.to_string()) };
    }
}

/// Lets glibc keep what is freed for the next allocation of its size. It would hand every large block
/// back to the system, and for the next layer or activation the kernel would clear each page anew,
/// which takes longer than to read a layer from the file.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_freed_memory() {
    // SAFETY: these calls set options of the allocator, before a second thread runs.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        // Other arenas cannot hold blocks as large as a matrix.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Other allocators keep large blocks by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}
