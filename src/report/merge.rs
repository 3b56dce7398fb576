//! The shards of a run, joined in one folder: what does not belong together is refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::command_line::{own_arguments, shell_word};
use super::owned::{Mark, PLAN, RUN};
use super::parts::{copy_part, files_of};
use super::run_info::{OutputFile, RunInfo};
use super::{OutDir, Overwrite, ReportError};
use crate::experiment::{Shard, Sharing};

/// Shards of one run that lie in folders of their own are found by this name in the folder that they share.
const SHARD: &str = "shard-";

/// The folder of a shard in the folder of `--out`.
pub fn shard_folder(out: &Path, shard: Shard) -> PathBuf {
    out.join(format!("{SHARD}{}-of-{}", shard.index, shard.count))
}

/// The folder of one shard, and its plan.
#[derive(Debug)]
struct ShardFolder {
    path: PathBuf,
    plan: RunInfo,
    shard: Shard,
}

/// The shards of one run, all of them.
#[derive(Debug)]
pub struct Shards(Vec<ShardFolder>);

impl Shards {
    /// The shards in some folders: each is a shard's own, or holds the folders of several.
    ///
    /// # Errors
    /// [`ReportError::Merge`] for folders that are no shards, or not of the same run, or not all of it.
    pub fn read(folders: &[PathBuf]) -> Result<Self, ReportError> {
        let mut shards = Vec::new();
        for folder in folders {
            let own = shard(folder)?;
            // A folder with a plan of its own may be one in which a merge was ended.
            let within = match &own {
                None => within(folder)?,
                Some(_) => Vec::new(),
            };
            if own.is_none() && within.is_empty() {
                let why = match Mark::read(folder, PLAN) {
                    Mark::Absent => "it is no shard, and no shard lies in it",
                    _ => "its run is not shared: go on with it by --resume",
                };
                return Err(refused(folder, why));
            }
            shards.extend(own.into_iter().chain(within));
        }
        shards.sort_by_key(|shard| shard.shard.index);
        let shards = Self(shards);
        shards.check()?;
        Ok(shards)
    }

    /// The command line of the run, without where its files go and what of it was run.
    pub fn arguments(&self) -> Vec<String> {
        own_arguments(&self.0[0].plan.arguments)
    }

    /// Where the run was started, which is where the relative paths of its command line begin.
    pub fn directory(&self) -> Option<&Path> {
        self.0[0].plan.directory.as_deref()
    }

    fn check(&self) -> Result<(), ReportError> {
        let Some((first, others)) = self.0.split_first() else {
            return Err(refused(Path::new("."), "no shard was named"));
        };
        let name = |shard: &ShardFolder| shard.path.display().to_string();
        for other in others {
            let differences = other.plan.differences(&first.plan);
            if !differences.is_empty() {
                let why = format!(
                    "it is of another run than {}; it differs in\n  {}",
                    name(first),
                    differences.join("\n  ")
                );
                return Err(refused(&other.path, &why));
            }
            if other.shard.count != first.shard.count {
                return Err(self.of_several_counts());
            }
            if other
                .plan
                .unfinished
                .stages
                .iter()
                .zip(&first.plan.unfinished.stages)
                .any(|(a, b)| a != b)
            {
                let why = format!(
                    "its passes are cut in another way than those of {}, since less or more memory was free (give all \
                     shards the same --max-memory), or they edit other neurons (run all shards on one kind of machine)",
                    name(first)
                );
                return Err(refused(&other.path, &why));
            }
        }
        for (expected, shard) in self.0.iter().enumerate() {
            let found = shard.shard.index;
            if found < expected {
                let why = format!(
                    "shard {} is there twice: also in {}",
                    shard.shard,
                    name(&self.0[expected - 1])
                );
                return Err(refused(&shard.path, &why));
            }
            if found > expected {
                return Err(self.absent(expected));
            }
        }
        if self.0.len() < first.shard.count {
            Err(self.absent(self.0.len()))
        } else {
            Ok(())
        }
    }

    fn absent(&self, index: usize) -> ReportError {
        let count = self.0[0].shard.count;
        refused(
            &self.0[0].path,
            &format!("shard {index}/{count} of its run is missing; name its folder, too"),
        )
    }

    /// The error of shards that are parts of different wholes: which lie where, and how to join those of one.
    fn of_several_counts(&self) -> ReportError {
        let mut counts: BTreeMap<usize, Vec<&Path>> = BTreeMap::new();
        for shard in &self.0 {
            counts
                .entry(shard.shard.count)
                .or_default()
                .push(&shard.path);
        }
        let counts = counts.into_iter().map(|(count, folders)| {
            let names = folders.iter().map(|folder| folder.display().to_string());
            let names: Vec<String> = names.collect();
            let (have, line) = (folders.len(), merge_line(count, &folders));
            format!(
                "{have} of {count}: {}\n    to join these: {line}",
                names.join(", ")
            )
        });
        let counts: Vec<String> = counts.collect();
        refused(
            self.0[0].path.parent().unwrap_or(&self.0[0].path),
            &format!(
                "its shards are of different counts, and those of one count alone make a run:\n  {}\nname the folders of one \
                 count alone, or remove the others",
                counts.join("\n  ")
            ),
        )
    }

    /// Whether all shards lie in `folder`.
    pub fn lie_in(&self, folder: &Path) -> bool {
        let mut parents = self.0.iter().map(|shard| shard.path.parent());
        parents.all(|parent| parent == Some(folder))
    }

    /// Refuses a folder in which something would be lost: a shard's own, or one of another run that is not finished.
    ///
    /// # Errors
    /// [`ReportError::Merge`], [`ReportError::Unfinished`].
    pub fn check_target(&self, out: &OutDir) -> Result<(), ReportError> {
        let is_target = |shard: &&ShardFolder| {
            let path = shard.path.canonicalize();
            path.is_ok_and(|path| path == out.folder())
        };
        if let Some(shard) = self.0.iter().find(is_target) {
            let why = format!(
                "it is shard {} itself; name another folder (--out)",
                shard.shard
            );
            return Err(refused(&shard.path, &why));
        }
        match out.unfinished() {
            Some(begun) if begun.identity() != self.0[0].plan.identity() => {
                let path = out.path().to_path_buf();
                Err(ReportError::Unfinished { path })
            }
            _ => Ok(()),
        }
    }

    /// Puts the parts of all shards into `out`, as a run that is not finished and has all of them.
    ///
    /// # Errors
    /// [`ReportError::Merge`] for a pass that is missing, or there twice and not the same; what cannot be read or written.
    pub fn join(&self, out: &OutDir) -> Result<(), ReportError> {
        // A shard that had all passes of a stage has begun the next one, which depends on these.
        let longest = self
            .0
            .iter()
            .max_by_key(|shard| shard.plan.unfinished.stages.len());
        let mut plan = longest.map_or_else(|| self.0[0].plan.clone(), |shard| shard.plan.clone());
        plan.unfinished.shard = None;
        plan.arguments = self.arguments();
        let first = &self.0[0].plan;
        (plan.directory, plan.inputs) = (first.directory.clone(), first.inputs.clone());
        let run = plan.identity();
        out.begin(&plan)?;
        let mut pass = 0;
        for (number, stage) in plan.unfinished.stages.iter().enumerate() {
            for _ in &stage.passes {
                self.join_pass(out, &run, pass, (number, stage.sharing))?;
                pass += 1;
            }
        }
        Ok(())
    }

    fn join_pass(
        &self,
        out: &OutDir,
        run: &str,
        pass: usize,
        (stage, sharing): (usize, Sharing),
    ) -> Result<(), ReportError> {
        let mut found: Option<(&ShardFolder, Vec<OutputFile>)> = None;
        for shard in &self.0 {
            let files = files_of(&shard.path, pass, run);
            let files = files.map_err(|why| refused(&shard.path, &why.to_string()))?;
            let Some(files) = files else {
                let is_own = sharing == Sharing::Everywhere || shard.shard.has(pass);
                if is_own && (stage == 0 || shard.plan.unfinished.stages.len() > stage) {
                    let why = format!(
                        "pass {pass} is missing or damaged: shard {} is not through; start it again",
                        shard.shard
                    );
                    return Err(refused(&shard.path, &why));
                }
                continue;
            };
            match &found {
                None => found = Some((shard, files)),
                Some((other, of_other)) if *of_other != files => {
                    let why = format!(
                        "pass {pass} gave other numbers here than in {}: the shards did not compute alike",
                        other.path.display()
                    );
                    return Err(refused(&shard.path, &why));
                }
                Some(_) => {}
            }
        }
        match found {
            Some((shard, files)) => copy_part(&shard.path, out, pass, &files),
            None => Ok(()), // of a stage that its shard did not come to
        }
    }

    /// Removes the shards that lie in `folder`, where the result is: of each what it wrote.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove_within(self, folder: &Path) -> Result<(), ReportError> {
        let folder = folder
            .canonicalize()
            .unwrap_or_else(|_| folder.to_path_buf());
        for shard in self.0 {
            let path = shard.path.canonicalize().unwrap_or(shard.path);
            if path.parent() == Some(&folder) {
                OutDir::claim(&path, Overwrite::Resume)?.give_up()?;
                let _ = fs::remove_dir(&path); // what somebody else put there stays
            }
        }
        Ok(())
    }
}

/// The command that joins these shards.
fn merge_line(count: usize, folders: &[&Path]) -> String {
    let out = folders.first().and_then(|folder| folder.parent());
    let out = out.filter(|out| folders.iter().all(|folder| folder.parent() == Some(*out)));
    let Some(out) = out.map(|out| shell_word(&out.display().to_string())) else {
        return "gatelens merge, with their folders and --out DIR".to_string();
    };
    format!("gatelens merge {out}/*-of-{count} --out {out}")
}

/// Removes what a merge in `folder` left of its shards when it was killed after their run was finished; returns how many
/// there were.
///
/// # Errors
/// What cannot be read or removed.
pub fn clear_remains(folder: &Path) -> Result<usize, ReportError> {
    let finished = Mark::read(folder, RUN).ours().filter(|run| run.finished);
    let Some(run) = finished else {
        return Ok(0);
    };
    let mut remains = within(folder)?;
    remains.retain(|shard| shard.plan.identity() == run.identity());
    let count = remains.len();
    Shards(remains).remove_within(folder)?;
    Ok(count)
}

/// The shard of a folder, where it is one.
fn shard(path: &Path) -> Result<Option<ShardFolder>, ReportError> {
    let plan = match Mark::read(path, PLAN) {
        Mark::Absent => return Ok(None),
        Mark::Foreign => return Err(refused(path, "gatelens did not write the plan.json in it")),
        Mark::Ours(plan) => *plan,
    };
    Ok(plan.unfinished.shard.map(|shard| ShardFolder {
        path: path.to_path_buf(),
        plan,
        shard,
    }))
}

fn within(folder: &Path) -> Result<Vec<ShardFolder>, ReportError> {
    let entries = fs::read_dir(folder).map_err(|why| refused(folder, &why.to_string()))?;
    let mut shards = Vec::new();
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(SHARD) {
            shards.extend(shard(&entry.path())?);
        }
    }
    Ok(shards)
}

fn refused(path: &Path, why: &str) -> ReportError {
    ReportError::Merge {
        path: path.to_path_buf(),
        why: why.to_string(),
    }
}
