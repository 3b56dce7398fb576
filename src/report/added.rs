//! Files that are made of a finished run later: its page, its figures.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::ReportError;
use super::out_dir::write_file;
use super::owned::{self, Mark, RUN};
use super::run_info::RunInfo;

/// Writes files into a finished run's folder, as ones of the run: `run.json` lists them, so that they can be made again, and go
/// when the run is replaced.
///
/// # Errors
/// [`ReportError::Changed`] where a file of the name is there that is not the run's; then nothing is written.
pub fn add_to_run(folder: &Path, files: &[(String, &Vec<u8>)]) -> Result<(), ReportError> {
    let run = Mark::read(folder, RUN).ours();
    let is_own = |name: &str| {
        run.as_ref()
            .is_some_and(|run| owned::owns(run, folder, name))
    };
    for (name, bytes) in files {
        let path = folder.join(name);
        // A link could lead out of the folder.
        let is_elsewhere =
            path.parent() != Some(folder) && path.parent().is_some_and(Path::is_symlink);
        if is_elsewhere || !(is_free(&path, bytes) || is_own(name)) {
            return Err(ReportError::Changed {
                path: folder.to_path_buf(),
                name: name.clone(),
            });
        }
    }
    for (name, bytes) in files {
        write_new(&folder.join(name), bytes)?;
    }
    let Some(mut run) = run.filter(RunInfo::lists_outputs) else {
        return Ok(());
    };
    let names: BTreeSet<&String> = files.iter().map(|(name, _)| name).collect();
    run.outputs.retain(|file| !names.contains(&file.name));
    for (name, _) in files {
        let listed = owned::list(folder, name).map_err(|why| failed(&folder.join(name), why))?;
        run.outputs.push(listed);
    }
    write_file(&folder.join(RUN), &run.to_json()?)
}

/// Writes files into a folder that no run has.
///
/// # Errors
/// [`ReportError::InTheWay`] where a file of the name is there that is another; then nothing is written.
pub fn write_beside(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), ReportError> {
    let paths = files.iter().map(|(name, bytes)| (folder.join(name), bytes));
    if let Some((path, _)) = paths.clone().find(|(path, bytes)| !is_free(path, bytes)) {
        return Err(ReportError::InTheWay { path });
    }
    paths
        .clone()
        .try_for_each(|(path, bytes)| write_new(&path, bytes))
}

/// Whether nothing is lost by this file.
fn is_free(path: &Path, bytes: &[u8]) -> bool {
    match fs::symlink_metadata(path) {
        // Where the folder is a file, that is said when it is made.
        Err(why) => matches!(
            why.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
        Ok(found) => found.is_file() && fs::read(path).is_ok_and(|there| there == bytes),
    }
}

/// Writes a file, and the folders that it lies in.
///
/// # Errors
/// What cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|why| failed(folder, why))?;
    }
    write_file(path, bytes)
}

fn failed(path: &Path, why: io::Error) -> ReportError {
    let path = path.to_path_buf();
    ReportError::Write { path, why }
}
