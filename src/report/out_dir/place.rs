//! Where a folder is once links are followed, and moves that take no place from anybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::ReportError;

/// The folder without links, made where it is not there; with it the folders that were made, the outermost first.
pub(super) fn real_folder(path: &Path) -> Result<(PathBuf, Vec<PathBuf>), ReportError> {
    let failed = |why| ReportError::Write {
        path: path.to_path_buf(),
        why,
    };
    if let (Ok(link), Err(why)) = (fs::symlink_metadata(path), fs::metadata(path)) {
        return if link.is_symlink() && why.kind() == io::ErrorKind::NotFound {
            Err(ReportError::DanglingLink {
                path: path.to_path_buf(),
                target: fs::read_link(path).map_err(failed)?,
            })
        } else {
            Err(failed(why))
        };
    }
    let missing = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    let missing = missing.take_while(|part| fs::symlink_metadata(part).is_err());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    missing.reverse();
    let made = fs::create_dir_all(path).and_then(|()| path.canonicalize());
    match made {
        Ok(folder) => {
            // `a/../b` names folders that are elsewhere once they are there.
            let made = missing.iter().filter_map(|part| part.canonicalize().ok());
            Ok((folder, made.collect()))
        }
        Err(why) => {
            for part in missing.iter().rev() {
                let _ = fs::remove_dir(part);
            }
            Err(match why.kind() {
                io::ErrorKind::AlreadyExists => failed(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    "it is a file, and a folder is needed",
                )),
                _ => failed(why),
            })
        }
    }
}

/// Moves a file to a place where nothing is.
pub(super) fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems have no such move.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            moved => return Ok(moved?),
        }
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// A new folder in `folder` for a result whose names are taken.
pub(super) fn new_folder_in(folder: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let path = folder.join(format!("gatelens-{number}"));
        match fs::create_dir(&path) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| path),
        }
    }
}

/// The folder that holds `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
