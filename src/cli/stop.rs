//! Ctrl-C as a wish that a run hears, so that it can write what it has finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(unix)]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Whether the process that started this one had it ignore the signal.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: asks for the action and sets none; zeros are a valid action to be written over.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(signal, std::ptr::null(), &mut action);
        asked == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// SIGTERM passed on to a child until this is dropped. Ctrl-C reaches all processes of a terminal, and SIGTERM one.
#[cfg(unix)]
pub struct PassedOn(signal_hook::SigId);

#[cfg(unix)]
impl PassedOn {
    /// From now on `child` gets it, too.
    pub fn to(child: &std::process::Child) -> std::io::Result<Self> {
        let child = child.id() as libc::pid_t;
        // SAFETY: `kill` may be called in a handler, and its number is the child's until that has been waited for; this is dropped
        // right after.
        let pass_on = move || unsafe {
            libc::kill(child, libc::SIGTERM);
        };
        let id = unsafe { signal_hook::low_level::register(SIGTERM, pass_on) }?;
        Ok(Self(id))
    }
}

#[cfg(unix)]
impl Drop for PassedOn {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.0);
    }
}

#[cfg(not(unix))]
fn is_ignored(_: i32) -> bool {
    false
}

/// Whether the run should stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
}

impl Stop {
    /// From now on the first Ctrl-C (or SIGTERM, or the end of the terminal) asks the run to stop and prints `notice`,
    /// the second ends it at once. A signal that the run was told to ignore, as by `nohup`, is ignored still.
    pub fn on_signals(notice: &'static str) -> std::io::Result<Self> {
        let stop = Self::heard()?;
        let seen = stop.clone();
        std::thread::spawn(move || seen.announce(notice));
        Ok(stop)
    }

    /// The same without a word.
    pub fn heard() -> std::io::Result<Self> {
        let stop = Self::default();
        for signal in SIGNALS.into_iter().filter(|signal| !is_ignored(*signal)) {
            // In this order: the second signal finds the flag set.
            flag::register_conditional_shutdown(signal, INTERRUPTED, stop.requested.clone())?;
            flag::register(signal, stop.requested.clone())?;
        }
        Ok(stop)
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// The run may take a while to hear it: somebody who pressed Ctrl-C should not think that it was lost.
    fn announce(&self, notice: &str) {
        while !self.requested() {
            std::thread::sleep(Duration::from_millis(100));
        }
        notice!("\n{notice}; Ctrl-C again ends at once; what is kept already stays");
    }
}
