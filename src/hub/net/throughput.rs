//! A stream that must not dry up: a server that sends a byte a second is given up as one that sends none.

use std::io::{Error, ErrorKind, Read, Result};
use std::time::{Duration, Instant};

use crate::hub::config::Patience;

/// A reader that fails where too few bytes come in a time.
pub(in crate::hub) struct MinThroughput<R> {
    inner: R,
    patience: Patience,
    /// Time spent waiting for bytes; what the caller does between two reads does not count.
    waited: Duration,
    bytes: u64,
}

impl<R> MinThroughput<R> {
    pub fn new(inner: R, patience: Patience) -> Self {
        Self {
            inner,
            patience,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }
}

impl<R: Read> Read for MinThroughput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let start = Instant::now();
        let read = self.inner.read(buffer)?;
        self.waited += start.elapsed();
        self.bytes += read as u64;
        if read == 0 || self.waited < self.patience.window {
            return Ok(read);
        }
        if self.bytes < self.patience.window_bytes {
            let seconds = self.patience.window.as_secs_f64();
            let reason = format!("it sent only {} bytes in {seconds} s", self.bytes);
            return Err(Error::new(ErrorKind::TimedOut, reason));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(read)
    }
}
