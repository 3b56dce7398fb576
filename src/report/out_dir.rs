//! The folder of a run: all of it appears at once, or nothing.
//!
//! A run that can be stopped and gone on with leaves a folder too: its `run.json` says `"finished": false`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::ReportError;

/// Whether a finished run may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It may not.
    Refuse,
    /// It is replaced once the new run is complete.
    Replace,
}

/// A folder that will hold a run's files.
#[derive(Debug)]
pub struct OutDir {
    path: PathBuf,
}

/// The file that marks a folder as a run of gatelens; written with the others.
const MARK: &str = "run.json";

/// A folder beside a run's place, in which its files are written until they are complete.
#[derive(Debug)]
pub struct Staging {
    folder: tempfile::TempDir,
}

impl Staging {
    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether the run in a folder came to its end; a folder without a readable mark counts as finished.
fn is_finished(folder: &Path) -> bool {
    let mark = fs::read(folder.join(MARK)).unwrap_or_default();
    let mark: serde_json::Value = serde_json::from_slice(&mark).unwrap_or_default();
    mark["finished"] != serde_json::Value::Bool(false)
}

impl OutDir {
    /// Checks, before any work, that the folder may be written and that nothing is lost by it.
    pub fn claim(path: &Path, overwrite: Overwrite) -> Result<OutDir, ReportError> {
        let out = OutDir {
            path: path.to_path_buf(),
        };
        let occupied = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(why) => return Err(out.failed(why)),
        };
        match (occupied, path.join(MARK).is_file(), overwrite) {
            (true, false, _) => return Err(ReportError::Foreign { path: out.path }),
            (true, true, Overwrite::Refuse) if is_finished(path) => {
                return Err(ReportError::Finished { path: out.path });
            }
            (true, true, Overwrite::Refuse) => {
                return Err(ReportError::Unfinished { path: out.path });
            }
            _ => {}
        }
        out.stage()?; // created and dropped: can we write here?
        Ok(out)
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all files beside the folder's final place, then moves them there.
    pub fn write(&self, files: &[(&str, Vec<u8>)]) -> Result<(), ReportError> {
        self.commit(self.stage()?, files)
    }

    /// Adds `files` to those that lie in the staging folder and moves all of them to the folder's place. What the
    /// folder held before is gone then.
    pub fn commit(&self, staging: Staging, files: &[(&str, Vec<u8>)]) -> Result<(), ReportError> {
        for (name, bytes) in files {
            let path = staging.path().join(name);
            fs::write(&path, bytes).map_err(|why| ReportError::Write {
                path: self.path.join(name),
                why,
            })?;
        }
        let mut replaced = None;
        if self.path.exists() {
            let aside = self.stage()?;
            fs::rename(&self.path, aside.path().join("replaced")).map_err(|e| self.failed(e))?;
            replaced = Some(aside); // removed when this function ends
        }
        let made = staging.folder.keep();
        let moved = fs::rename(&made, &self.path).map_err(|e| self.failed(e));
        if moved.is_err() {
            // Nothing half-written stays behind; what it would replace goes back.
            let _ = fs::remove_dir_all(&made);
            if let Some(aside) = &replaced {
                let _ = fs::rename(aside.path().join("replaced"), &self.path);
            }
        }
        moved
    }

    /// An empty folder beside this one, removed when it is dropped.
    pub fn stage(&self) -> Result<Staging, ReportError> {
        let parent = self.parent();
        fs::create_dir_all(parent).map_err(|e| self.failed(e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gatelens-");
        #[cfg(unix)]
        {
            // tempfile makes private folders; a result folder has the ordinary permissions.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o755));
        }
        let folder = builder.tempdir_in(parent).map_err(|e| self.failed(e))?;
        Ok(Staging { folder })
    }

    /// Whether the disk has room for so many bytes; not known, and not refused, on other systems than Unix.
    ///
    /// # Errors
    /// [`ReportError::Space`] where it has not.
    pub fn check_space(&self, needed: u64) -> Result<(), ReportError> {
        #[cfg(unix)]
        if let Ok(disk) = rustix::fs::statvfs(self.parent()) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < needed {
                let path = self.path.clone();
                return Err(ReportError::Space { path, needed, free });
            }
        }
        Ok(())
    }

    fn parent(&self) -> &Path {
        parent(&self.path)
    }

    fn failed(&self, why: io::Error) -> ReportError {
        ReportError::Write {
            path: self.path.clone(),
            why,
        }
    }
}

/// Writes a file under another name beside its place, then moves it there: a reader sees the old one or the new one.
///
/// # Errors
/// [`ReportError::Write`] for a place that cannot be written.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let failed = |why| ReportError::Write {
        path: path.to_path_buf(),
        why,
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gatelens-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(parent(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The folder that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_run_is_replaced_only_by_force_and_foreign_folders_never() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/run");
        let files = |text: &str| vec![("run.json", text.as_bytes().to_vec())];
        OutDir::claim(&path, Overwrite::Refuse)
            .unwrap()
            .write(&files("1"))
            .unwrap();
        assert!(matches!(
            OutDir::claim(&path, Overwrite::Refuse),
            Err(ReportError::Finished { .. })
        ));
        OutDir::claim(&path, Overwrite::Replace)
            .unwrap()
            .write(&files("2"))
            .unwrap();
        assert_eq!(fs::read_to_string(path.join("run.json")).unwrap(), "2");
        assert!(matches!(
            OutDir::claim(root.path(), Overwrite::Replace),
            Err(ReportError::Foreign { .. })
        ));
        let left: Vec<_> = fs::read_dir(root.path().join("deep")).unwrap().collect();
        assert_eq!(left.len(), 1, "no staging folder stays behind");
    }

    #[test]
    fn an_unfinished_run_is_not_taken_for_a_finished_one() {
        let root = tempfile::tempdir().unwrap();
        let out = OutDir::claim(&root.path().join("run"), Overwrite::Refuse).unwrap();
        out.write(&[("run.json", br#"{"finished": false}"#.to_vec())])
            .unwrap();
        let error = OutDir::claim(out.path(), Overwrite::Refuse).unwrap_err();
        assert!(error.to_string().contains("--resume"), "{error}");
        OutDir::claim(out.path(), Overwrite::Replace).unwrap();
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("page");
        write_file(&path, b"1").unwrap();
        write_file(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let error = write_file(&root.path().join("none/page"), b"").unwrap_err();
        assert!(error.to_string().contains("none/page"), "{error}");
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let out = OutDir::claim(&root.path().join("run"), Overwrite::Refuse).unwrap();
        out.check_space(1).unwrap();
        if cfg!(unix) {
            let error = out.check_space(u64::MAX).unwrap_err().to_string();
            assert!(error.contains("MiB"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = OutDir::claim(&file.join("run"), Overwrite::Refuse)
            .unwrap_err()
            .to_string();
        assert!(error.contains("file"), "{error}");
    }
}
