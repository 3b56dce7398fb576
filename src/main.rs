//! The `gatelens` command.

use std::process::ExitCode;

use clap::Parser;
use gatelens::cli::Cli;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are no errors; wrong arguments end like every other error.
            let code = if message.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
            return message.print().map_or(ExitCode::FAILURE, |()| code);
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
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
