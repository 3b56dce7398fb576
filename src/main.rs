//! The `gatelens` command.

use std::process::ExitCode;

use clap::Parser;
use gatelens::cli::{Cli, set_up_process};

fn main() -> ExitCode {
    set_up_process();
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
