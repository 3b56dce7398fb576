//! Progress on stderr: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use super::stop::Stop;
use crate::engine::Progress;
use crate::hub::DownloadProgress;
use crate::printable::printable;

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One bar, used for one step after the other.
pub struct Meter {
    bar: RefCell<ProgressBar>,
    last_line: Cell<Instant>,
    stop: Stop,
}

impl Meter {
    /// A meter that shows nothing yet.
    pub fn new() -> Self {
        Self::until(Stop::default())
    }

    /// A meter that passes the wish to stop on.
    pub fn until(stop: Stop) -> Self {
        Self {
            bar: RefCell::new(ProgressBar::hidden()),
            last_line: Cell::new(Instant::now()),
            stop,
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.borrow().finish_and_clear();
    }

    fn begin(&self, what: &str, total: u64, template: &str) {
        self.clear();
        let bar = ProgressBar::new(total); // draws on stderr, and only on a terminal
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message(printable(what).into_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar.borrow_mut() = bar;
        self.last_line.set(Instant::now());
    }

    fn step(&self, units: u64) {
        let bar = self.bar.borrow();
        bar.inc(units);
        if std::io::stderr().is_terminal() || self.last_line.get().elapsed() < LINE_EVERY {
            return;
        }
        self.last_line.set(Instant::now());
        let (done, total) = (bar.position(), bar.length().unwrap_or(0).max(1));
        let left = total.saturating_sub(done) as f64 / done.max(1) as f64;
        let left = HumanDuration(bar.elapsed().mul_f64(left));
        notice!(
            "{}: {} %, about {left} left",
            bar.message(),
            100 * done / total
        );
    }
}

impl Progress for Meter {
    fn start(&self, what: &str, units: u64) {
        let template = "{msg} {wide_bar} {percent} %  {elapsed} elapsed, {eta} left";
        self.begin(what, units, template);
    }

    fn advance(&self, units: u64) {
        self.step(units);
    }

    fn stop_requested(&self) -> bool {
        self.stop.requested()
    }
}

impl DownloadProgress for Meter {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        if !std::io::stderr().is_terminal() {
            match total_bytes {
                Some(bytes) => notice!("{what}, {} ...", HumanBytes(bytes)),
                None => notice!("{what} ..."),
            }
        }
        let template = match total_bytes {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left",
            None => "{spinner} {msg} {elapsed}",
        };
        self.begin(what, total_bytes.unwrap_or(0), template);
    }

    fn advance(&self, bytes: u64) {
        self.step(bytes);
    }

    fn finish(&self, _what: &str) {
        self.clear();
    }

    fn note(&self, message: &str) {
        // A closed stderr is no reason to stop.
        self.bar.borrow().suspend(|| {
            let _ = writeln!(std::io::stderr(), "{message}");
        });
    }
}
