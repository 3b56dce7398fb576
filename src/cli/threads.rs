//! How many threads compute: never more than there are cores, whoever asks for them.

use std::thread::available_parallelism;

/// What libraries below read.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// The cores of this machine that this process may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// As many threads as were asked for, or as there are cores, with a warning that names `asked_by`.
pub fn at_most_cores(threads: usize, asked_by: &str) -> usize {
    let cores = cores();
    if threads > cores {
        notice!(
            "warning: {asked_by} {threads} is more than this machine's {cores} cores; {cores} threads are used"
        );
    }
    threads.min(cores)
}

/// Mends numbers of threads in the environment that no machine could run. Nothing else may run yet.
pub fn check_thread_variables() {
    for name in VARIABLES {
        let Some(asked) = std::env::var_os(name) else {
            continue;
        };
        let text = asked.to_string_lossy();
        let used = match text.parse() {
            // What 0 means to these libraries, too.
            Ok(0) => cores(),
            Ok(threads) => at_most_cores(threads, name),
            Err(_) => {
                notice!(
                    "warning: {name}={text} is not a number of threads; {} are used, one per core",
                    cores()
                );
                cores()
            }
        };
        if used.to_string() != text {
            // SAFETY: no other thread runs that could read the environment.
            unsafe { std::env::set_var(name, used.to_string()) };
        }
    }
}
