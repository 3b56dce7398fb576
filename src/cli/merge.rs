//! `merge`: the shards of a run, joined and finished.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::numbers;
use crate::report::{OutDir, Overwrite, Shards, clear_remains, without};

/// Join the shards of a run that was made with --shard, and finish it
///
/// Takes the folders of all shards, or the folder that they lie in. Refused by name are shards of another run (other
/// settings, model, input or version), a shard that is missing or not through, and a pass that two shards did with
/// other numbers. Then what needs all passes is computed, as the run in one piece would have: the tables, the estimates, and
/// Holm's adjustment over all tests. The model and the input must be where the shards found them.
#[derive(Args)]
pub struct Merge {
    /// Folders of shards, or of their folders.
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// Where the files go [default: DIR, where there is only one and it is not a shard's own].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads to compute with, at most one per core [default: as the shards had it].
    #[arg(long, value_name = "N", value_parser = numbers::threads, allow_negative_numbers = true)]
    threads: Option<usize>,
    /// Print JSON for a machine instead of the table.
    #[arg(long)]
    json: bool,
}

impl Merge {
    /// `run_command` runs a command line: the shards' own, to finish their run.
    pub(super) fn run(
        self,
        run_command: impl FnOnce(Vec<OsString>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let folders: Vec<PathBuf> = self.shards.iter().map(absolute).collect::<Result<_, _>>()?;
        if let ([folder], None) = (folders.as_slice(), &self.out)
            && clear_remains(folder)? > 0
        {
            notice!(
                "the run in {} was finished before; what was left of its shards is removed",
                folder.display()
            );
            return Ok(());
        }
        let shards = Shards::read(&folders)?;
        let out = match (&self.out, self.shards.as_slice()) {
            (Some(out), _) => out.clone(),
            (None, [folder]) if shards.lie_in(&std::path::absolute(folder)?) => folder.clone(),
            _ => anyhow::bail!("say where the files go: --out DIR"),
        };
        let out = std::path::absolute(out)?;
        let arguments = self.with_threads(shards.arguments());
        let folder = OutDir::claim(&out, Overwrite::Resume)?;
        shards.check_target(&folder)?;
        if let Err(error) = shards.join(&folder) {
            folder.give_up()?;
            return Err(error.into());
        }
        drop(folder);
        // The shards were started there, and relative paths of their command line begin there.
        if let Some(directory) = shards.directory().filter(|path| path.is_dir()) {
            std::env::set_current_dir(directory)?;
        }
        let mut words: Vec<OsString> = vec!["gatelens".into()];
        words.extend(arguments.into_iter().map(Into::into));
        words.extend([
            "--resume".into(),
            "--out".into(),
            out.clone().into_os_string(),
        ]);
        words.extend(self.json.then(|| "--json".into()));
        run_command(words)?;
        Ok(shards.remove_within(&out)?)
    }

    fn with_threads(&self, arguments: Vec<String>) -> Vec<String> {
        let Some(threads) = self.threads else {
            return arguments;
        };
        let mut arguments = without(&arguments, &[], &["--threads"]);
        arguments.push(format!("--threads={threads}"));
        arguments
    }
}
