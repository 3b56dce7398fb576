//! `run`: the runs that a file describes, one after the other, each as a command of its own.

mod plan;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};

use anyhow::{Context, bail, ensure};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};
use toml::Table;

use self::plan::{Planned, has_option, planned};
use super::forecast::{Outlook, Total};
#[cfg(unix)]
use super::stop::PassedOn;
use super::stop::Stop;
use crate::hub::check_name;
use crate::report::{RunInfo, own_arguments, shell_line};

const AFTER_HELP: &str = "\
A file with two runs, whose files go to runs/by-class and runs/mean:

  # above the tables: options of all runs, where their command has them
  model = \"smollm2-135m\"
  draws = 50
  out = \"runs\"

  [by-class]
  command = \"ablate\"
  classes = [\"depletion\", \"conditional-depletion\"]

  [mean]
  command = \"sweep\"
  classes = \"depletion\"
  mode = \"mean\"
  window = 3

Options are those of the command line by their names (gatelens ablate --help): text, numbers, lists, and true for a flag. \
Above the tables, out is the folder that holds the folders of all runs, named as their tables; in a table it is the folder of \
that run.";

/// Run the experiments that a file describes, one after the other
///
/// Each table of the TOML file is a run: its command, and that command's options by their names. What stands above the tables
/// holds for all runs whose command has such an option. All of it is checked before the first begins. Relative paths begin in the
/// folder of the file, so that it gives the same wherever it is started from. Each run is one as from the command line: it has
/// its own folder, and `gatelens rerun` makes it again.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct RunFile {
    /// The file.
    file: PathBuf,
    /// Only these runs, by the names of their tables.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    only: Vec<String>,
    /// Leave out runs that are finished, and go on with one that was stopped.
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// Say what each run would do, and about how long that takes.
    #[arg(long)]
    dry_run: bool,
}

/// What becomes of a run now.
enum Next {
    Begin,
    GoOn,
    IsFinished,
}

impl RunFile {
    /// `program` knows the options of every command, and `check` whether a command line is one.
    pub(super) fn run(
        self,
        program: &Command,
        check: impl Fn(&[String]) -> Result<(), clap::Error>,
    ) -> anyhow::Result<()> {
        let folder = std::path::absolute(&self.file)?
            .parent()
            .map(Path::to_path_buf);
        let folder = folder.unwrap_or_default();
        let runs = self.read(&folder, program)?;
        let is_elsewhere = std::env::current_dir()? != folder;
        // Relative paths begin there, those of models that are looked for now among them.
        std::env::set_current_dir(&folder)?;
        for run in &runs {
            let checked = check(&run.words).map_err(|why| why.render().to_string());
            if let Err(why) = checked {
                let why = why.strip_prefix("error: ").unwrap_or(&why);
                let (file, why) = (self.file.display(), why.trim_end());
                bail!("{file}, run {}: {why}", run.name);
            }
        }
        for run in &runs {
            check_model(run, &runs)
                .with_context(|| format!("{}, run {}", self.file.display(), run.name))?;
        }
        let runs = self.chosen(runs)?;
        let mut next = Vec::new();
        for run in &runs {
            next.push(self.next(run)?);
        }
        if is_elsewhere {
            notice!("paths begin in {}", folder.display());
        }
        for run in runs.iter().filter(|run| run.keeps_nothing(program)) {
            notice!(
                "warning: run {} has no `out`: its results are printed, and not kept",
                run.name
            );
        }
        self.run_all(
            &runs.iter().zip(next).collect::<Vec<_>>(),
            is_elsewhere,
            program,
        )
    }

    fn run_all(
        &self,
        runs: &[(&Planned, Next)],
        is_elsewhere: bool,
        program: &Command,
    ) -> anyhow::Result<()> {
        let stop = Stop::heard()?;
        let mut total = Total::default();
        for (at, (run, next)) in runs.iter().enumerate() {
            let line = shell_line(&run.words, &[]);
            self.say(
                run,
                &format!("{}/{} {}: {line}", at + 1, runs.len(), run.name),
            );
            let Some(more) = self.more(run, next, program) else {
                continue;
            };
            let words = match is_elsewhere {
                true => run.with_whole_out(),
                false => run.words.clone(),
            };
            let words: Vec<String> = words.into_iter().chain(more).collect();
            if self.dry_run {
                let output = self.execute(run, &words, Stdio::piped(), &stop)?;
                let outlook: Outlook = serde_json::from_slice(&output.stdout)
                    .with_context(|| format!("run {} gave no forecast", run.name))?;
                outlook.print(run.out.as_deref());
                total.add(&outlook);
            } else {
                self.execute(run, &words, Stdio::inherit(), &stop)?;
            }
        }
        if self.dry_run && runs.len() > 1 {
            total.print();
        }
        Ok(())
    }

    /// Says something of a run before its results, in their stream, unless a program reads that.
    fn say(&self, run: &Planned, what: &str) {
        match run.prints_json() && !self.dry_run {
            true => notice!("{what}"),
            false => outln!("{what}"),
        }
    }

    /// The runs of the file.
    fn read(&self, folder: &Path, program: &Command) -> anyhow::Result<Vec<Planned>> {
        let file = self.file.display();
        let text =
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {file}"))?;
        let entries: Table = toml::from_str(&text).with_context(|| {
            let hint = spaced_name(&text).map_or(String::new(), |name| {
                format!(" (a name with a space stands in quotes: [\"{name}\"])")
            });
            format!("{file} is no TOML, or not as gatelens reads it{hint}")
        })?;
        planned(entries, folder, program).with_context(|| format!("{file} cannot be run"))
    }

    /// What is added to a run's command line now; nothing where there is nothing to do, which is said.
    fn more(&self, run: &Planned, next: &Next, program: &Command) -> Option<Vec<String>> {
        let command = &run.words[0];
        let more = match next {
            Next::IsFinished => {
                self.say(run, "finished already");
                return None;
            }
            Next::GoOn => vec!["--resume"],
            Next::Begin if !self.dry_run => Vec::new(),
            Next::Begin if !has_option(program, command, "dry-run") => {
                self.say(run, &format!("{command} takes seconds, and has no dry run"));
                return None;
            }
            Next::Begin if run.prints_json() => vec!["--dry-run"],
            Next::Begin => vec!["--dry-run", "--json"],
        };
        Some(more.into_iter().map(str::to_string).collect())
    }

    fn chosen(&self, runs: Vec<Planned>) -> anyhow::Result<Vec<Planned>> {
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        if let Some(unknown) = self
            .only
            .iter()
            .find(|only| !names.contains(&only.as_str()))
        {
            bail!(
                "--only {unknown}: {} has no such run; it has {}",
                self.file.display(),
                names.join(", ")
            );
        }
        let is_chosen = |run: &Planned| self.only.is_empty() || self.only.contains(&run.name);
        Ok(runs.into_iter().filter(is_chosen).collect())
    }

    /// Before any run begins: none is in vain because of a later one.
    fn next(&self, run: &Planned) -> anyhow::Result<Next> {
        let Some(out) = run.out.as_ref().filter(|_| !self.dry_run) else {
            return Ok(Next::Begin);
        };
        let (finished, begun) = (out.join("run.json"), out.join("plan.json"));
        let is_forced = run.words.iter().any(|word| word == "--force");
        if !finished.exists() {
            return Ok(match begun.exists() && self.resume {
                true => Next::GoOn,
                false => Next::Begin,
            });
        }
        ensure!(
            self.resume || is_forced,
            "run {}: {} holds a finished run. Leave finished runs out with --resume, or replace them with `force = true` in the file",
            run.name,
            out.display()
        );
        if !self.resume {
            return Ok(Next::Begin);
        }
        let recorded = own_arguments(&RunInfo::of_finished(out)?.arguments);
        let planned = own_arguments(&run.words);
        ensure!(
            recorded == planned,
            "run {}: {} holds a run of other settings:\n  {}\nthe file says now:\n  {}\ngive the run another name or folder, or \
             replace what is there with `force = true` and without --resume",
            run.name,
            out.display(),
            shell_line(&recorded, &[]),
            shell_line(&planned, &[])
        );
        Ok(Next::IsFinished)
    }

    fn execute(
        &self,
        run: &Planned,
        words: &[String],
        stdout: Stdio,
        stop: &Stop,
    ) -> anyhow::Result<Output> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let child = Process::new(program).args(words).stdout(stdout).spawn()?;
        #[cfg(unix)]
        let passed_on = PassedOn::to(&child)?;
        // A run that is asked to stop ends when it has kept what it has.
        let output = child.wait_with_output()?;
        #[cfg(unix)]
        drop(passed_on);
        let resume = format!("gatelens run {} --resume", self.file.display());
        ensure!(
            !stop.requested(),
            "stopped in run {}; go on with {resume}",
            run.name
        );
        ensure!(
            output.status.success(),
            "run {} ended with an error, which is above; the runs after it were not begun. When it is mended, go on with {resume}",
            run.name
        );
        Ok(output)
    }
}

/// Refuses a model that there is not, as far as can be told without the network. One that another run writes may be there in
/// time.
fn check_model(run: &Planned, runs: &[Planned]) -> anyhow::Result<()> {
    let Some(model) = &run.model else {
        return Ok(());
    };
    let path = std::path::absolute(model)?;
    let mut written = runs.iter().filter_map(|run| run.out.as_ref());
    if written.any(|out| path.starts_with(out)) {
        return Ok(());
    }
    Ok(check_name(model)?)
}

/// The name of the first table that has a space in it and no quotes.
fn spaced_name(text: &str) -> Option<&str> {
    let heads = text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
    });
    let mut names = heads.filter(|name| !name.contains(['"', '\'', '[', ',', '=']));
    names.find(|name| name.contains(' '))
}

/// What to say of an option of a run's command that was given to `gatelens run`, in the place of the parser's guess.
pub fn misplaced_option(error: &clap::Error, program: &Command) -> Option<String> {
    let is_run = std::env::args()
        .nth(1)
        .is_some_and(|command| command == "run");
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let name = option.strip_prefix("--")?;
    let mut commands = program.get_subcommands().map(Command::get_name);
    let is_known = commands.any(|command| has_option(program, command, name));
    (is_run && is_known && error.kind() == ErrorKind::UnknownArgument).then(|| {
        format!(
            "gatelens run has no {option}: options of the runs stand in the file, above its tables for all runs, or in the \
             table of one, by their names (draws = 20). gatelens run --help has an example"
        )
    })
}
