//! The runs that a file describes, as command lines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Arg, Command};
use toml::{Table, Value};

/// A run of the file.
pub struct Planned {
    pub name: String,
    /// Its command line, from the subcommand on.
    pub words: Vec<String>,
    /// The folder of its files.
    pub out: Option<PathBuf>,
    /// Where it names one.
    pub model: Option<String>,
}

impl Planned {
    pub fn keeps_nothing(&self, program: &Command) -> bool {
        self.out.is_none() && has_option(program, &self.words[0], "out")
    }

    pub fn prints_json(&self) -> bool {
        self.words.iter().any(|word| word == "--json")
    }

    /// The command line with the folder of its files named from the root on, as it can be used anywhere.
    pub fn with_whole_out(&self) -> Vec<String> {
        let out = self.out.as_ref().and_then(|out| out.to_str());
        let words = self.words.iter();
        let words = words.map(|word| match (word.strip_prefix("--out="), out) {
            (Some(_), Some(out)) => format!("--out={out}"),
            _ => word.clone(),
        });
        words.collect()
    }
}

/// The runs, in the order of their tables.
pub fn planned(entries: Table, folder: &Path, program: &Command) -> anyhow::Result<Vec<Planned>> {
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
    let model = options.iter().find(|(key, _)| key == "model");
    let model = model.and_then(|(_, model)| model.as_str().map(str::to_string));
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
        model,
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

pub fn has_option(program: &Command, command: &str, long: &str) -> bool {
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
