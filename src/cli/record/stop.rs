//! Ctrl-C between two passes instead of within one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the run should stop.
pub(super) struct Stop {
    requested: Arc<AtomicBool>,
}

impl Stop {
    /// From now on the first Ctrl-C (or SIGTERM) asks the run to stop, the second ends it at once. Where nothing
    /// would be kept of the run, the first one ends it.
    pub fn on_signals(keeps: bool) -> std::io::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        if keeps {
            for signal in [SIGINT, SIGTERM] {
                // In this order: the second signal finds the flag set.
                flag::register_conditional_shutdown(signal, INTERRUPTED, requested.clone())?;
                flag::register(signal, requested.clone())?;
            }
            let seen = requested.clone();
            std::thread::spawn(move || announce(&seen));
        }
        Ok(Self { requested })
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

/// A pass may take a while: somebody who pressed Ctrl-C should not think that it was not heard.
fn announce(requested: &AtomicBool) {
    while !requested.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!(
        "\nstopping when this pass is through; Ctrl-C again ends at once and keeps nothing of this run"
    );
}
