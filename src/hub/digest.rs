//! sha256 of files and of streams that are being copied.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::HubError;

/// Large enough that system calls do not show beside the hash, small enough for any cache.
pub(super) const BUFFER_BYTES: usize = 1 << 18;

/// A sha256 that grows as bytes pass by.
#[derive(Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest in lower-case hex.
    pub(super) fn hex(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The sha256 of a whole file in lower-case hex.
pub(super) fn of_file(path: &Path) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::io("open", path))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(HubError::io("read", path))? {
            0 => return Ok(hasher.hex()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Whether `text` has the shape of a sha256 in hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
