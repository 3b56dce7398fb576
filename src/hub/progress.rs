//! How a download goes, for whoever shows it.

/// Hears how a download goes; the command line implements it with a progress bar.
///
/// Steps do not overlap: each `start` is followed by its `finish`, unless an error ends the download.
pub trait DownloadProgress {
    /// A step begins; `total_bytes` is `None` where the size is not known beforehand.
    fn start(&self, what: &str, total_bytes: Option<u64>);
    /// That many more bytes of the current step are done.
    fn advance(&self, bytes: u64);
    /// The step is complete.
    fn finish(&self, what: &str);
    /// Something that a waiting user should know: a request is tried again, another process is waited for.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// Reports to nobody.
impl DownloadProgress for () {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self, _what: &str) {}
}
