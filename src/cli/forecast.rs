//! What a long command would do, said before it does: for `--dry-run`, and above a `verify`.

use std::path::Path;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanDuration};
use serde_json::{Value, json};

use super::table::{ABSENT, Columns, count, table_of};
use super::terminal::print_json;
use crate::engine::Engine;
use crate::experiment::{ExperimentError, Step, expected_times};
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

    /// Says what a command would do with the memory that its model has, and the disk of `out`.
    pub fn print(&self, command: &str, memory: &MemoryPlan, out: Option<&Path>) {
        outln!("dry run of {command}: nothing is run, and nothing is written");
        if self.0.is_empty() {
            outln!("everything comes from the weights alone, in seconds");
            return;
        }
        let steps = Columns::new()
            .number("about", |(_, time): &(Step, Duration)| in_words(*time))
            .number("passes", |(step, _)| {
                step.passes.map_or(ABSENT.to_string(), count)
            })
            .words("step", |(step, _)| step.what.clone());
        outln!("{}", table_of(&steps, &self.0));
        outln!(
            "about {} in all with {} threads, by the time that a few tokens took; at most, where the step says so",
            HumanDuration(self.all()),
            rayon::current_num_threads()
        );
        let how = match memory.residency {
            Residency::Resident => "all layers stay in memory",
            Residency::Streamed => "layers are read from the files as the run reaches them",
        };
        outln!(
            "memory: {how}, {}; activations up to {}",
            BinaryBytes(memory.weights_bytes()),
            BinaryBytes(memory.activation_bytes)
        );
        let bytes = BinaryBytes(self.bytes());
        match out {
            None => outln!("disk: nothing without --out; the files would take up to about {bytes}"),
            Some(out) => {
                let free = free_space(out).map(|free| format!("; {} are free", BinaryBytes(free)));
                let free = free.unwrap_or_default();
                outln!("disk: up to about {bytes} in {}{free}", out.display());
            }
        }
    }

    /// The same for a machine.
    pub fn print_json(
        &self,
        command: &str,
        memory: &MemoryPlan,
        out: Option<&Path>,
    ) -> anyhow::Result<()> {
        let steps = self.0.iter().map(|(step, time)| {
            let Step { what, passes, bytes, .. } = step;
            json!({"what": what, "passes": passes, "seconds": time.as_secs_f64(), "disk_bytes": bytes})
        });
        print_json(&json!({
            "command": command,
            "steps": steps.collect::<Vec<Value>>(),
            "seconds": self.all().as_secs_f64(),
            "threads": rayon::current_num_threads(),
            "memory": {
                "residency": memory.residency,
                "weights_bytes": memory.weights_bytes(),
                "activation_bytes": memory.activation_bytes,
            },
            "disk_bytes": self.bytes(),
            "free_disk_bytes": out.and_then(free_space),
        }))
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(step, _)| step.bytes).sum()
    }
}

fn in_words(time: Duration) -> String {
    format!("{:#}", HumanDuration(time))
}
