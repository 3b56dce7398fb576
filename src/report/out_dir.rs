//! The folder of a run. It is claimed and locked before any work, filled and never replaced: files are written under
//! other names inside it, and moved to their places one by one when all are there, `run.json` last.
//!
//! ```text
//! .gatelens.lock      who works here (lock)
//! .gatelens-work/     files on their way; with a run.json in it, they are complete
//! plan.json, parts/   a run that is not finished, and what its finished passes gave
//! run.json            a finished run, with the list of its files
//! ```
//!
//! What is killed at any moment leaves one of these states, and the next run with that folder sets it right: a complete
//! result is moved to its place, what no list and no mark of ours names stays as it is.

mod deliver;
mod place;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::ReportError;
use super::disk::free_space;
use super::lock::{Attempt, Lock};
use super::owned::{self, Mark, PARTS, PLAN, RUN, is_of_pass};
use super::run_info::{RunInfo, UnfinishedRun};
use place::{move_new, real_folder};

/// What becomes of a run that the folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It is refused.
    Refuse,
    /// It is replaced once the new run is complete; one that is not finished is given up.
    Replace,
    /// One that is not finished is gone on with; a finished one is refused.
    Resume,
}

/// A folder that will hold a run's files, locked until this is dropped.
#[derive(Debug)]
pub struct OutDir {
    /// As it was asked for.
    path: PathBuf,
    /// Without links.
    folder: PathBuf,
    /// Folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
    /// The finished run that is replaced.
    replaced: Option<RunInfo>,
    lock: Option<Lock>,
}

/// Where a run's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The folder.
    pub folder: PathBuf,
    /// What had appeared meanwhile where one of them was to go; they are in another folder then.
    pub occupied: Option<String>,
}

/// Files on their way.
const WORK: &str = ".gatelens-work";

/// In the folder of files on their way: that it is ours.
const MARKER: &str = ".gatelens";

/// What the commit does is tried with a file of this name.
const PROBE: &str = ".gatelens-probe";

impl OutDir {
    /// Checks, before any work, that the folder may be written and that nothing is lost by it, and locks it. What an
    /// ended run left there is finished where it was complete, and cleared.
    ///
    /// # Errors
    /// [`ReportError::Busy`] where another run has it; [`ReportError::Finished`], [`ReportError::Unfinished`],
    /// [`ReportError::Foreign`] and [`ReportError::Changed`] for what it holds; [`ReportError::Write`].
    pub fn claim(path: &Path, overwrite: Overwrite) -> Result<OutDir, ReportError> {
        let failed = |why| ReportError::Write {
            path: path.to_path_buf(),
            why,
        };
        let (folder, made) = real_folder(path)?;
        let mut out = OutDir {
            path: path.to_path_buf(),
            folder,
            made,
            replaced: None,
            lock: None,
        };
        match Lock::take(&out.folder).map_err(failed)? {
            Attempt::Taken(lock) => out.lock = Some(lock),
            Attempt::Held(pid) => {
                let path = path.to_path_buf();
                return Err(ReportError::Busy { path, pid });
            }
        }
        out.settle()?;
        out.check_contents(overwrite)?;
        out.rehearse().map_err(failed)?;
        Ok(out)
    }

    /// The folder's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where files are written that go to the folder under the same names when the run is complete.
    pub fn work(&self) -> PathBuf {
        self.folder.join(WORK)
    }

    /// The folder of what finished passes gave.
    pub fn parts(&self) -> PathBuf {
        self.folder.join(PARTS)
    }

    /// Whether passes are kept with which a run can go on.
    pub fn has_parts(&self) -> bool {
        let parts = fs::read_dir(self.parts()).into_iter().flatten().flatten();
        let mut names = parts.map(|entry| entry.file_name());
        names.any(|name| is_whole_part(&name.to_string_lossy()))
    }

    /// The run that was begun here and is not finished.
    pub fn unfinished(&self) -> Option<RunInfo> {
        Mark::read(&self.folder, PLAN).ours()
    }

    /// The folder without links.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the plan of a run that is not finished.
    pub(super) fn put_plan(&self, info: &RunInfo) -> Result<(), ReportError> {
        let plan = RunInfo {
            finished: false,
            unfinished: UnfinishedRun {
                settings_sha256: Some(info.identity()),
                ..info.unfinished.clone()
            },
            ..info.clone()
        };
        self.put(Path::new(PLAN), &plan.to_json()?)
    }

    /// Marks the folder as a run that is not finished, and gives up what another one left of its passes.
    pub fn begin(&self, info: &RunInfo) -> Result<(), ReportError> {
        self.give_up()?;
        self.put_plan(info)?;
        self.go_on()
    }

    /// Makes room for the parts of a run that goes on, where a kill or a copy left none.
    pub fn go_on(&self) -> Result<(), ReportError> {
        fs::create_dir_all(self.parts()).map_err(|why| self.failed(why))
    }

    /// Writes a file into the folder: a reader, and who comes after a crash, finds all of it or nothing.
    pub fn put(&self, name: &Path, bytes: &[u8]) -> Result<(), ReportError> {
        self.put_by(name, |by_way_of| {
            let mut file = File::create(by_way_of)?;
            file.write_all(bytes)?;
            file.sync_data()
        })
    }

    fn put_by(
        &self,
        name: &Path,
        write: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), ReportError> {
        let to = self.folder.join(name);
        let by_way_of = self.work().join(".next");
        let written = write(&by_way_of).and_then(|()| fs::rename(&by_way_of, &to));
        written.map_err(|why| {
            let _ = fs::remove_file(&by_way_of); // makes room
            ReportError::Write { path: to, why }
        })
    }

    /// Copies a file of another folder as `name`, whole or not at all.
    pub(super) fn copy(&self, from: &Path, name: &Path) -> Result<(), ReportError> {
        self.put_by(name, |by_way_of| {
            fs::copy(from, by_way_of)?;
            File::open(by_way_of)?.sync_data()
        })
    }

    /// Removes what an unfinished run left.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn give_up(&self) -> Result<(), ReportError> {
        if self.unfinished().is_none() {
            return Ok(());
        }
        let parts = self.parts();
        for entry in fs::read_dir(&parts).into_iter().flatten().flatten() {
            if is_of_pass(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|why| self.failed(why))?;
            }
        }
        let _ = fs::remove_dir(&parts); // what somebody else put there stays
        fs::remove_file(self.folder.join(PLAN)).map_err(|why| self.failed(why))
    }

    /// Sets right what a run left that was ended.
    fn settle(&self) -> Result<(), ReportError> {
        let work = self.work();
        if fs::symlink_metadata(&work).is_ok() {
            let is_ours = fs::symlink_metadata(work.join(MARKER)).is_ok();
            if !is_ours && fs::remove_dir(&work).is_err() {
                return Err(self.foreign(WORK));
            }
            if let Some(info) = Mark::read(&work, RUN).ours() {
                let is_there = |name: &str| {
                    owned::owns(&info, &work, name) || owned::owns(&info, &self.folder, name)
                };
                if info.outputs.iter().all(|file| is_there(&file.name)) {
                    self.deliver(&info)?;
                }
            }
            self.clear_work();
        }
        let probe = self.folder.join(PROBE);
        if fs::symlink_metadata(&probe).is_ok_and(|m| m.is_file() && m.len() == 0) {
            fs::remove_file(&probe).map_err(|why| self.failed(why))?;
        }
        Ok(())
    }

    fn check_contents(&mut self, overwrite: Overwrite) -> Result<(), ReportError> {
        let path = || self.path.clone();
        let (run, plan) = (
            Mark::read(&self.folder, RUN),
            Mark::read(&self.folder, PLAN),
        );
        for (mark, name) in [(&run, RUN), (&plan, PLAN)] {
            if matches!(mark, Mark::Foreign) {
                return Err(self.foreign(name));
            }
        }
        let (run, plan) = (run.ours(), plan.ours());
        let is_empty = visible(&self.folder).is_ok_and(|names| names.is_empty());
        match (&run, &plan, overwrite) {
            (_, Some(_), Overwrite::Refuse) => {
                return Err(ReportError::Unfinished { path: path() });
            }
            (Some(run), None, Overwrite::Refuse | Overwrite::Resume) if run.finished => {
                return Err(ReportError::Finished { path: path() });
            }
            (Some(_), None, Overwrite::Refuse | Overwrite::Resume) => {
                return Err(ReportError::OldUnfinished { path: path() });
            }
            // There is nothing to replace, and something that nobody wants to lose.
            (None, None, Overwrite::Replace) if !is_empty => return Err(self.foreign(RUN)),
            _ => {}
        }
        if let Some(name) = owned::in_the_way(&self.folder, run.as_ref().or(plan.as_ref())) {
            return Err(self.foreign(name));
        }
        if let Some(run) = &run {
            let files = owned::files(run, &self.folder);
            let mut changed = files
                .into_iter()
                .filter(|name| !owned::owns(run, &self.folder, name));
            if let Some(name) = changed.next() {
                return Err(ReportError::Changed { path: path(), name });
            }
        }
        self.replaced = run;
        Ok(())
    }

    /// Does what [`OutDir::commit`] will do.
    fn rehearse(&self) -> io::Result<()> {
        let (work, probe) = (self.work(), self.folder.join(PROBE));
        fs::create_dir(&work)?;
        File::create(work.join(MARKER))?;
        File::create(work.join(PROBE))?;
        move_new(&work.join(PROBE), &probe)?;
        fs::remove_file(probe)
    }

    /// Removes the folder of files on their way, which is ours.
    fn clear_work(&self) {
        let work = self.work();
        if fs::symlink_metadata(work.join(MARKER)).is_ok() {
            let _ = fs::remove_dir_all(work);
        }
    }

    /// Whether the disk has room for so many bytes; not known, and not refused, on other systems than Unix.
    ///
    /// # Errors
    /// [`ReportError::Space`] where it has not.
    pub fn check_space(&self, needed: u64) -> Result<(), ReportError> {
        match free_space(&self.folder) {
            Some(free) if free < needed => {
                let path = self.path.clone();
                Err(ReportError::Space { path, needed, free })
            }
            _ => Ok(()),
        }
    }

    fn foreign(&self, name: &str) -> ReportError {
        let path = self.path.clone();
        let why = match fs::symlink_metadata(self.folder.join(name)) {
            Ok(_) => format!("gatelens did not write the {name} in it, or not as it is now"),
            Err(_) => format!("it has no {name}, so there is nothing to replace"),
        };
        ReportError::Foreign { path, why }
    }

    fn failed(&self, why: io::Error) -> ReportError {
        let path = self.path.clone();
        ReportError::Write { path, why }
    }

    fn failed_at(&self, name: &str, why: io::Error) -> ReportError {
        let path = self.path.join(name);
        ReportError::Write { path, why }
    }
}

impl Drop for OutDir {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return; // another run's
        }
        // A complete result stays for the next claim.
        if !matches!(Mark::read(&self.work(), RUN), Mark::Ours(_)) {
            self.clear_work();
        }
        let is_shard = self
            .unfinished()
            .is_some_and(|plan| plan.unfinished.shard.is_some());
        // A shard may have nothing to do, and is through then.
        if !self.has_parts() && !is_shard {
            let _ = self.give_up();
        }
        drop(self.lock.take());
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder); // where nothing is in it
        }
    }
}

/// Names in a folder but those that begin with a dot, sorted.
pub(super) fn visible(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Files in `parts` with which a run goes on; the plan of the passes alone is not worth it.
fn is_whole_part(name: &str) -> bool {
    name.ends_with(".part")
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
    let mut file = builder.tempfile_in(place::parent(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
