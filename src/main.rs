//! The `gatelens` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatelens::run_cli()
}
