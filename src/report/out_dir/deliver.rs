//! The last step of a run: its files go to their places.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::super::ReportError;
use super::super::owned::{self, Mark, RUN};
use super::super::run_info::RunInfo;
use super::place::{self, move_new};
use super::{OutDir, Placed, WORK, visible};

impl OutDir {
    /// Writes `files`, moves them and all that lies in [`OutDir::work`] to their places, and `run.json` with the list
    /// of them last. A finished run that is replaced is gone then, and so is what was left of passes.
    ///
    /// # Errors
    /// [`ReportError::Write`]; nothing is at its place then, but for a fault between two moves, which the next
    /// [`OutDir::claim`] sets right.
    pub fn commit(&self, files: &[(&str, Vec<u8>)], info: &RunInfo) -> Result<Placed, ReportError> {
        let work = self.work();
        for (name, bytes) in files {
            let written = File::create(work.join(name))
                .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
            written.map_err(|why| self.failed_at(name, why))?;
        }
        let mut outputs = Vec::new();
        for name in visible(&work).map_err(|why| self.failed(why))? {
            let listed = owned::list(&work, &name).map_err(|why| self.failed_at(&name, why))?;
            outputs.push(listed);
        }
        let info = RunInfo {
            outputs,
            ..info.clone()
        };
        // From here on the result is complete, whatever happens.
        self.put(&Path::new(WORK).join(RUN), &info.to_json()?)?;
        self.deliver(&info)
    }

    /// Moves a complete result to its places.
    pub(super) fn deliver(&self, info: &RunInfo) -> Result<Placed, ReportError> {
        let work = self.work();
        let replaced = Mark::read(&self.folder, RUN).ours();
        let is_own = |name: &str| {
            let replaced = replaced.as_ref();
            replaced.is_some_and(|run| owned::owns(run, &self.folder, name))
        };
        let names = || {
            info.outputs
                .iter()
                .map(|file| file.name.as_str())
                .chain([RUN])
        };
        let waiting = |name: &&str| fs::symlink_metadata(work.join(name)).is_ok();
        let there = |name: &&str| fs::symlink_metadata(self.folder.join(name)).is_ok();
        let occupied = names()
            .filter(waiting)
            .find(|name| there(name) && !is_own(name));
        let to = match occupied {
            None => self.folder.clone(),
            Some(_) => place::new_folder_in(&self.folder).map_err(|why| self.failed(why))?,
        };
        let put_in_place = |name: &str| {
            let place = to.join(name);
            let moved = match (waiting(&name), occupied) {
                (true, None) if is_own(name) => fs::rename(work.join(name), &place),
                (true, _) => move_new(&work.join(name), &place),
                // Moved by a run that was ended in between.
                (false, Some(_)) => move_new(&self.folder.join(name), &place),
                (false, None) => Ok(()),
            };
            moved.map_err(|why| self.failed_at(name, why))
        };
        for file in &info.outputs {
            put_in_place(&file.name)?;
        }
        // What is left of other runs goes before `run.json` comes: where that stands, the run is finished.
        if let (Some(run), None) = (&self.replaced.as_ref().or(replaced.as_ref()), occupied) {
            self.remove_all_but(run, &names().collect::<Vec<_>>());
        }
        self.give_up()?;
        put_in_place(RUN)?;
        self.clear_work();
        Ok(Placed {
            folder: match occupied {
                None => self.path.clone(),
                Some(_) => self.path.join(to.file_name().unwrap_or_default()),
            },
            occupied: occupied.map(str::to_string),
        })
    }

    /// Removes the files of a replaced run, as far as they are as it wrote them.
    fn remove_all_but(&self, run: &RunInfo, kept: &[&str]) {
        for name in owned::files(run, &self.folder) {
            if !kept.contains(&name.as_str()) && owned::owns(run, &self.folder, &name) {
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
        if run.outputs.iter().any(|file| owned::is_figure(&file.name)) {
            let _ = fs::remove_dir(self.folder.join(owned::FIGURES)); // what somebody else put there stays
        }
    }
}
