//! Hashes of files: sha256, and the hash by which git names a file's content.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::error::HubError;

/// Large enough that system calls do not show beside the hash, small enough for any cache.
pub(super) const BUFFER_BYTES: usize = 1 << 18;

/// Two hex digits a byte, in lower case.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sha256 of some bytes, in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hands all bytes of a file to `take`, piece by piece.
fn read_through(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), HubError> {
    let mut file = File::open(path).map_err(HubError::io("open", path))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(HubError::io("read", path))? {
            0 => return Ok(()),
            read => take(&buffer[..read]),
        }
    }
}

/// The sha256 of a whole file in lower-case hex.
pub(super) fn of_file(path: &Path) -> Result<String, HubError> {
    let mut hasher = Sha256::new();
    read_through(path, |bytes| hasher.update(bytes))?;
    Ok(hex(&hasher.finalize()))
}

/// The hash that git gives a file: the sha1 of "blob", its size, a zero byte and its content.
pub(super) fn git_blob(path: &Path) -> Result<String, HubError> {
    let bytes = fs::metadata(path)
        .map_err(HubError::io("read", path))?
        .len();
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {bytes}\0"));
    read_through(path, |bytes| hasher.update(bytes))?;
    Ok(hex(&hasher.finalize()))
}

/// What the content of a file says of the hash that it goes by.
#[derive(Debug, PartialEq)]
pub(super) enum HashCheck {
    /// The content has that hash.
    Match,
    /// It has another one: the kind of hash, and what the content has.
    Mismatch(&'static str, String),
    /// The hash is neither a sha256 nor git's, and says nothing of the content.
    Unknown,
}

/// Compares a file's content with the hash by which the hub names it.
pub(super) fn compare(path: &Path, etag: &str) -> Result<HashCheck, HubError> {
    let (kind, got) = match etag.len() {
        64 => ("sha256", of_file(path)?),
        40 => ("git hash", git_blob(path)?),
        _ => return Ok(HashCheck::Unknown),
    };
    if got.eq_ignore_ascii_case(etag) {
        return Ok(HashCheck::Match);
    }
    Ok(HashCheck::Mismatch(kind, got))
}

/// Whether `text` has the shape of a sha256 in hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_compared_with_the_hash_that_it_goes_by() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        // `printf abc | git hash-object --stdin`, and `printf abc | sha256sum`
        let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for hash in [git, sha256, &sha256.to_uppercase()] {
            assert_eq!(compare(&path, hash).unwrap(), HashCheck::Match);
        }
        assert_eq!(
            compare(&path, &"0".repeat(40)).unwrap(),
            HashCheck::Mismatch("git hash", git.to_string())
        );
        assert_eq!(compare(&path, &"0".repeat(32)).unwrap(), HashCheck::Unknown);
    }
}
