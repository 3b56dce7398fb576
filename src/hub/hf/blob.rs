//! One file in the Hugging Face cache: its check, and the progress of its download.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::super::{DownloadProgress, HubError, digest};

/// Checks a downloaded file, which hf-hub does not: its size, and its sha256 where the hub gave one (it
/// names the blobs of large files so). A damaged one is removed.
pub(super) fn check(path: &Path, expected_bytes: Option<u64>) -> Result<(), HubError> {
    let blob = fs::canonicalize(path).map_err(HubError::io("read", path))?;
    let bytes = fs::metadata(&blob)
        .map_err(HubError::io("read", &blob))?
        .len();
    let etag = blob
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mismatch = match expected_bytes {
        Some(expected) if expected != bytes => {
            Some((format!("{expected} bytes"), format!("{bytes} bytes")))
        }
        _ if digest::is_sha256(etag) => {
            let got = digest::of_file(&blob)?;
            (got != etag).then(|| (format!("sha256 {etag}"), got))
        }
        _ => None,
    };
    let Some((expected, got)) = mismatch else {
        return Ok(());
    };
    for damaged in [path, &blob] {
        // On systems without links, both are the same file.
        if damaged.symlink_metadata().is_ok() {
            fs::remove_file(damaged).map_err(HubError::io("remove the damaged", damaged))?;
        }
    }
    Err(HubError::Mismatch {
        what: path.display().to_string(),
        expected,
        got,
        advice: "it was removed; run the command again to fetch it anew".to_string(),
    })
}

/// Passes hf-hub's progress on. hf-hub starts a file twice, and at a resumed download tells the bytes of
/// before as the first update.
pub(super) struct Bar<'a> {
    pub what: String,
    pub progress: &'a dyn DownloadProgress,
    /// Where the size is left for the check of the file.
    pub size: &'a Cell<Option<u64>>,
    /// Bytes of the current attempt.
    pub at: u64,
    /// Bytes passed on so far.
    pub reported: u64,
}

impl hf_hub::api::Progress for Bar<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        if self.size.replace(Some(size as u64)).is_none() {
            self.progress.start(&self.what, Some(size as u64));
        }
        self.at = 0;
    }

    fn update(&mut self, bytes: usize) {
        self.at += bytes as u64;
        if self.at > self.reported {
            self.progress.advance(self.at - self.reported);
            self.reported = self.at;
        }
    }

    fn finish(&mut self) {
        self.progress.finish(&self.what);
    }
}
