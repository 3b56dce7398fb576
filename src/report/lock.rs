//! One run to a folder: an advisory lock that ends with the process that holds it, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The file that is locked; in it stands the id of the process that holds the lock.
pub(super) const LOCK: &str = ".gatelens.lock";

/// So many runs may end between a look at the file and its lock.
const TRIES: usize = 8;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

/// What came of the wish for a lock.
pub(super) enum Attempt {
    /// It is held now.
    Taken(Lock),
    /// Another process has it; its id, where that can be read.
    Held(Option<u32>),
}

impl Lock {
    /// Locks `folder`. Where the file system has no locks, nothing is locked, and two runs are not told apart.
    pub fn take(folder: &Path) -> io::Result<Attempt> {
        let path = folder.join(LOCK);
        for _ in 0..TRIES {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let read = file.read_to_string(&mut holder);
                    let holder = read.ok().and_then(|_| holder.trim().parse().ok());
                    return Ok(Attempt::Held(holder));
                }
                Err(TryLockError::Error(why)) if why.kind() != io::ErrorKind::Unsupported => {
                    return Err(why);
                }
                _ if is_at(&file, &path) => {}
                // A run that ended meanwhile has removed what was locked here.
                _ => continue,
            }
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            return Ok(Attempt::Taken(Lock { path, _file: file }));
        }
        Ok(Attempt::Held(None))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked: who opens it before finds out in `is_at`.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether an open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |of: fs::Metadata| (of.dev(), of.ino());
    let (open, there) = (file.metadata().map(id), fs::metadata(path).map(id));
    matches!((open, there), (Ok(open), Ok(there)) if open == there)
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
