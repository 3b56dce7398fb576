//! The command line of a run: the program's own, or that of an earlier run that is made again.

use std::sync::OnceLock;

static OF_EARLIER_RUN: OnceLock<Vec<String>> = OnceLock::new();

/// The words of the command line, from the subcommand on.
pub fn arguments() -> Vec<String> {
    let earlier = OF_EARLIER_RUN.get().cloned();
    earlier.unwrap_or_else(|| std::env::args().skip(1).collect())
}

/// From now on the command line is that of an earlier run; only the first call counts.
pub fn set_arguments(words: Vec<String>) {
    let _ = OF_EARLIER_RUN.set(words);
}
