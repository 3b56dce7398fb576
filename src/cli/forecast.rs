//! What a long command would do, said before it does: for `--dry-run`, and above a `verify`.

use std::path::Path;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanDuration};
use serde::{Deserialize, Serialize};

use super::table::{ABSENT, Columns, count, plural, table_of};
use crate::engine::Engine;
use crate::experiment::{ExperimentError, Shard, Step, expected_times};
use crate::model::{MemoryPlan, Residency};
use crate::report::free_space;
use crate::tokens::TokenBatch;

/// The steps of a run, with about how long each takes.
pub struct Forecast(Vec<(Step, Duration)>);

impl Forecast {
    /// A pass over a few tokens of `batch` tells how fast this machine is.
    pub fn new(
        steps: Vec<Step>,
        engine: &Engine<'_>,
        batch: &TokenBatch,
    ) -> Result<Self, ExperimentError> {
        let times = match steps.is_empty() {
            true => Vec::new(),
            false => expected_times(&steps, engine, batch)?,
        };
        Ok(Self(steps.into_iter().zip(times).collect()))
    }

    fn all(&self) -> Duration {
        self.0.iter().map(|(_, time)| time).sum()
    }

    /// Says what comes, before a run that takes long.
    pub fn announce(&self) {
        if self.0.is_empty() {
            notice!("from the weights alone");
            return;
        }
        for (step, time) in &self.0 {
            notice!("{:>10}  {}", in_words(*time), step.what);
        }
        notice!(
            "about {} in all, at this machine's speed\n",
            HumanDuration(self.all())
        );
    }

    /// What a command would do with the memory that its model has, and the disk of `out`.
    pub fn outlook(
        &self,
        command: &str,
        memory: &MemoryPlan,
        (out, shard): (Option<&Path>, Option<Shard>),
    ) -> Outlook {
        let steps = self.0.iter().map(|(step, time)| Expected {
            what: step.what.clone(),
            passes: step.passes,
            seconds: time.as_secs_f64(),
            disk_bytes: step.bytes,
        });
        Outlook {
            command: command.to_string(),
            steps: steps.collect(),
            seconds: self.all().as_secs_f64(),
            threads: rayon::current_num_threads(),
            shard,
            memory: Memory {
                residency: memory.residency,
                weights_bytes: memory.weights_bytes(),
                activation_bytes: memory.activation_bytes,
            },
            disk_bytes: self.0.iter().map(|(step, _)| step.bytes).sum(),
            free_disk_bytes: out.and_then(free_space),
        }
    }
}

/// What a command would do: what `--dry-run` prints, as JSON or for a person.
#[derive(Serialize, Deserialize)]
pub struct Outlook {
    command: String,
    steps: Vec<Expected>,
    seconds: f64,
    threads: usize,
    /// The share of it that is asked for.
    shard: Option<Shard>,
    memory: Memory,
    disk_bytes: u64,
    free_disk_bytes: Option<u64>,
}

/// A step of it.
#[derive(Serialize, Deserialize)]
struct Expected {
    what: String,
    passes: Option<usize>,
    seconds: f64,
    disk_bytes: u64,
}

/// How the model would be held.
#[derive(Serialize, Deserialize)]
struct Memory {
    residency: Residency,
    weights_bytes: u64,
    activation_bytes: u64,
}

impl Outlook {
    /// For a person; `out` is where the files would go.
    pub fn print(&self, out: Option<&Path>) {
        let command = &self.command;
        outln!("dry run of {command}: nothing is run, and nothing is written");
        if self.steps.is_empty() {
            outln!("everything comes from the weights alone, in seconds");
            return;
        }
        let steps = Columns::new()
            .number("about", |step: &Expected| in_words(time(step.seconds)))
            .number("passes", |step| {
                step.passes.map_or(ABSENT.to_string(), count)
            })
            .words("step", |step| step.what.clone());
        outln!("{}", table_of(&steps, &self.steps));
        outln!(
            "about {} in all with {} threads, by the time that a few tokens took; at most, where the step says so",
            HumanDuration(time(self.seconds)),
            self.threads
        );
        if let Some(shard) = self.shard {
            self.print_share(shard);
        }
        let how = match self.memory.residency {
            Residency::Resident => "all layers stay in memory",
            Residency::Streamed => "layers are read from the files as the run reaches them",
        };
        outln!(
            "memory: {how}, {}; activations up to {}",
            BinaryBytes(self.memory.weights_bytes),
            BinaryBytes(self.memory.activation_bytes)
        );
        let bytes = BinaryBytes(self.disk_bytes);
        match out {
            None => outln!("disk: nothing without --out; the files would take up to about {bytes}"),
            Some(out) => {
                let free = self.free_disk_bytes;
                let free = free.map(|free| format!("; {} are free", BinaryBytes(free)));
                let free = free.unwrap_or_default();
                outln!("disk: up to about {bytes} in {}{free}", out.display());
            }
        }
    }

    /// Says what of it one shard does.
    fn print_share(&self, shard: Shard) {
        let passes: usize = self.steps.iter().filter_map(|step| step.passes).sum();
        let Shard { index, count: of } = shard;
        outln!(
            "shard {shard} runs the passes with a number that is {index} modulo {of}, at most {} of {}, and those that every \
             shard runs since others depend on them, such as the clean run that says which facts are known",
            count(passes.div_ceil(of)),
            count(passes)
        );
    }
}

/// What several commands would take together.
#[derive(Default)]
pub struct Total {
    runs: usize,
    seconds: f64,
    disk_bytes: u64,
}

impl Total {
    pub fn add(&mut self, outlook: &Outlook) {
        self.runs += 1;
        self.seconds += outlook.seconds;
        self.disk_bytes += outlook.disk_bytes;
    }

    pub fn print(&self) {
        outln!(
            "\nall together, {}: about {}; disk: up to about {}",
            plural(self.runs, "dry run"),
            HumanDuration(time(self.seconds)),
            BinaryBytes(self.disk_bytes)
        );
    }
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn in_words(time: Duration) -> String {
    format!("{:#}", HumanDuration(time))
}
