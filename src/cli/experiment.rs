//! `run`: the runs that a file describes, one after the other, each as a command of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitStatus};

use anyhow::{Context, bail, ensure};
use clap::{Arg, Args, Command};
use toml::{Table, Value};

#[cfg(unix)]
use super::stop::PassedOn;
use super::stop::Stop;
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

/// A run of the file.
struct Planned {
    name: String,
    /// Its command line, from the subcommand on.
    words: Vec<String>,
    /// The folder of its files.
    out: Option<PathBuf>,
}

impl Planned {
    fn keeps_nothing(&self, program: &Command) -> bool {
        self.out.is_none() && has_option(program, &self.words[0], "out")
    }
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
        for run in &runs {
            let checked = check(&run.words).map_err(|why| why.render().to_string());
            if let Err(why) = checked {
                let why = why.strip_prefix("error: ").unwrap_or(&why);
                let (file, why) = (self.file.display(), why.trim_end());
                bail!("{file}, run {}: {why}", run.name);
            }
        }
        let runs = self.chosen(runs)?;
        let mut next = Vec::new();
        for run in &runs {
            next.push(self.next(run)?);
        }
        if std::env::current_dir()? != folder {
            notice!("paths begin in {}", folder.display());
        }
        for run in runs.iter().filter(|run| run.keeps_nothing(program)) {
            notice!(
                "warning: run {} has no `out`: its results are printed, and not kept",
                run.name
            );
        }
        let stop = Stop::heard()?;
        for (at, (run, next)) in runs.iter().zip(next).enumerate() {
            notice!(
                "{}/{} {}: {}",
                at + 1,
                runs.len(),
                run.name,
                shell_line(&run.words, &[])
            );
            if let Some(words) = self.words(run, next, program) {
                self.execute(run, &words, (&folder, &stop))?;
            }
        }
        Ok(())
    }

    /// The runs of the file.
    fn read(&self, folder: &Path, program: &Command) -> anyhow::Result<Vec<Planned>> {
        let file = self.file.display();
        let text =
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {file}"))?;
        let entries: Table = toml::from_str(&text)
            .with_context(|| format!("{file} is no TOML, or not as gatelens reads it"))?;
        planned(entries, folder, program).with_context(|| format!("{file} cannot be run"))
    }

    /// The command line of a run as it is begun now; nothing where there is nothing to do, which is said.
    fn words(&self, run: &Planned, next: Next, program: &Command) -> Option<Vec<String>> {
        let command = &run.words[0];
        let more = match next {
            Next::IsFinished => {
                notice!("finished already");
                return None;
            }
            Next::GoOn => Some("--resume"),
            Next::Begin if !self.dry_run => None,
            Next::Begin if has_option(program, command, "dry-run") => Some("--dry-run"),
            Next::Begin => {
                notice!("{command} takes seconds, and has no dry run");
                return None;
            }
        };
        let words = run.words.iter().cloned();
        Some(words.chain(more.map(str::to_string)).collect())
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
        (folder, stop): (&Path, &Stop),
    ) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut process = Process::new(program);
        let mut child = process.args(words).current_dir(folder).spawn()?;
        #[cfg(unix)]
        let passed_on = PassedOn::to(&child)?;
        // A run that is asked to stop ends when it has kept what it has.
        let status: ExitStatus = child.wait()?;
        #[cfg(unix)]
        drop(passed_on);
        let resume = format!("gatelens run {} --resume", self.file.display());
        ensure!(
            !stop.requested(),
            "stopped in run {}; go on with {resume}",
            run.name
        );
        ensure!(
            status.success(),
            "run {} ended with an error, which is above; the runs after it were not begun. When it is mended, go on with {resume}",
            run.name
        );
        Ok(())
    }
}

/// The runs, in the order of their tables.
fn planned(entries: Table, folder: &Path, program: &Command) -> anyhow::Result<Vec<Planned>> {
    let (runs, shared): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, value)| value.is_table());
    ensure!(
        !runs.is_empty(),
        "it has no table, and each table is a run: [name], then command = \"ablate\" and its options (gatelens run --help)"
    );
    let mut used = BTreeSet::new();
    let mut planned: Vec<Planned> = Vec::new();
    for (name, value) in runs {
        let Value::Table(own) = value else { continue };
        let run = plan_run(&name, own, &shared, (folder, program), &mut used)
            .with_context(|| format!("run {name}"))?;
        let taken = planned
            .iter()
            .find(|other| run.out.is_some() && other.out == run.out);
        if let Some(other) = taken {
            bail!("runs {} and {name} have the same folder (out)", other.name);
        }
        planned.push(run);
    }
    if let Some((unused, _)) = shared.iter().find(|(key, _)| !used.contains(key)) {
        bail!("{unused} stands above the tables, and no run's command has an option of that name");
    }
    Ok(planned)
}

fn plan_run(
    name: &str,
    mut own: Table,
    shared: &[(String, Value)],
    (folder, program): (&Path, &Command),
    used: &mut BTreeSet<String>,
) -> anyhow::Result<Planned> {
    let (command, known) = command_of(&mut own, shared, program, used)?;
    let mut options = Vec::new();
    for (key, value) in shared.iter().filter(|(key, _)| key != "command") {
        if find(known, key).is_none() {
            continue;
        }
        used.insert(key.clone());
        if own.contains_key(key) {
            continue;
        }
        let value = match (key.as_str(), value.as_str()) {
            ("out", Some(parent)) => Value::String(format!("{parent}/{name}")),
            _ => value.clone(),
        };
        options.push((key.clone(), value));
    }
    options.extend(own);
    let out = options.iter().find(|(key, _)| key == "out");
    let out = out.and_then(|(_, out)| Some(folder.join(out.as_str()?)));
    let mut words = vec![command];
    let mut positional = Vec::new();
    for (key, value) in options {
        match find(known, &key).filter(|arg| arg.is_positional()) {
            Some(_) => positional.extend(texts(&key, value)?),
            None => words.extend(flags(&key, value)?),
        }
    }
    words.extend(positional);
    Ok(Planned {
        name: name.to_string(),
        words,
        out,
    })
}

/// The command of a run, its own or that of all.
fn command_of<'p>(
    own: &mut Table,
    shared: &[(String, Value)],
    program: &'p Command,
    used: &mut BTreeSet<String>,
) -> anyhow::Result<(String, &'p Command)> {
    let command = own.remove("command").or_else(|| {
        let (key, value) = shared.iter().find(|(key, _)| key == "command")?;
        used.insert(key.clone());
        Some(value.clone())
    });
    let command = command.context("it has no `command`, such as command = \"ablate\"")?;
    let command = command.as_str().context("`command` is not text")?;
    let known = program.find_subcommand(command);
    let known = known.filter(|known| !["run", "help"].contains(&known.get_name()));
    let known = known.with_context(|| {
        format!("{command} is no command that a file can run; gatelens --help lists them")
    })?;
    Ok((command.to_string(), known))
}

/// The argument of a command that a key names.
fn find<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    let long = key.replace('_', "-");
    let mut arguments = command.get_arguments();
    arguments.find(|arg| match arg.get_long() {
        Some(name) => name == long,
        None => arg.get_id() == key,
    })
}

fn has_option(program: &Command, command: &str, long: &str) -> bool {
    let command = program.find_subcommand(command);
    command.is_some_and(|command| find(command, long).is_some())
}

/// A key with its value as words of a command line.
fn flags(key: &str, value: Value) -> anyhow::Result<Vec<String>> {
    let flag = format!("--{}", key.replace('_', "-"));
    Ok(match value {
        Value::Boolean(true) => vec![flag],
        Value::Boolean(false) => Vec::new(),
        value => {
            let texts = texts(key, value)?.into_iter();
            texts.map(|text| format!("{flag}={text}")).collect()
        }
    })
}

fn texts(key: &str, value: Value) -> anyhow::Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Array(values) => {
            ensure!(
                !values.is_empty(),
                "{key} is an empty list; leave it out, or name what it should hold"
            );
            let values = values.into_iter().map(|value| texts(key, value));
            values.collect::<anyhow::Result<Vec<_>>>()?.concat()
        }
        other => bail!(
            "{key} is a {}; an option is text, a number, true, false, or a list",
            other.type_str()
        ),
    })
}
