//! What the process asks of its allocator.

/// Lets glibc keep what is freed for the next allocation of its size. It would hand every large block
/// back to the system, and for the next layer or activation the kernel would clear each page anew,
/// which takes longer than to read a layer from the file.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_freed_memory() {
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
pub fn keep_freed_memory() {}
