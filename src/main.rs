//! The `gatelens` command.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;
use gatelens::cli::{
    Cli, check_thread_variables, finish_output, print_clap, print_notice, set_up_process,
};

fn main() -> ExitCode {
    check_thread_variables();
    set_up_process();
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(message) => {
            print_clap(&message);
            // Help and version are no errors; wrong arguments end like every other error.
            if message.use_stderr() {
                return ExitCode::FAILURE;
            }
            Ok(())
        }
    };
    match outcome.and(finish_output()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_notice(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
