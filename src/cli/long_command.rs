//! What a long command is: one that runs passes of a model, keeps what each gives, and ends with files and a table.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text};
use super::control::Control;
use super::edit_args::EditArgs;
use super::edits::Edits;
use super::forecast::Forecast;
use super::inputs::{Tokenize, checked_batch};
use super::run::{File, Job, PartArgs};
use super::setup::{Opened, bos_in_words, run_info};
use super::terminal::print_json;
use crate::engine::Engine;
use crate::experiment::{Effect, ExperimentError, Run, Step};
use crate::io_class::{ClassError, NeuronTable};
use crate::model::{Model, RunWeights};
use crate::prompts::PromptSet;
use crate::report::{PromptSetInfo, RunInfo};
use crate::stats::StatsSettings;
use crate::tokens::{BosPolicy, TokenBatch, TokenError};

/// What every long command takes, besides the model.
#[derive(Args, Serialize)]
pub struct RunArgs {
    /// Seed of everything drawn at random: sets and orders of neurons, shuffled labels, the prompts that values are
    /// taken from, the statistics.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Whether prompts and texts begin with a BOS token: as the model's tokenizer does (auto), always or never.
    #[arg(long, default_value = "auto", value_name = "auto|always|never")]
    #[serde(serialize_with = "as_text")]
    pub bos: BosPolicy,
    /// Say what would be run, and stop: the steps with their passes, about how long they take on this machine, the memory
    /// and the disk; with --shard, how many of the passes are the shard's. A few tokens go through the model, to see how fast it
    /// is; nothing is written.
    #[arg(long, conflicts_with = "resume")]
    #[serde(skip)]
    dry_run: bool,
    #[command(flatten)]
    #[serde(flatten)]
    part: PartArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub class: ClassArgs,
    #[command(flatten)]
    #[serde(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

impl RunArgs {
    /// How intervals are found.
    pub fn statistics(&self) -> StatsSettings {
        StatsSettings {
            seed: self.seed,
            ..StatsSettings::default()
        }
    }
}

/// A long command on its way: its folder is claimed, its model found.
pub struct LongCommand<'a> {
    name: &'static str,
    pub args: &'a RunArgs,
    pub opened: Opened,
    pub job: Job,
    /// What is run in the place of the model itself, where this is a control.
    pub control: Option<Control>,
}

impl<'a> LongCommand<'a> {
    /// Claims the folder, then finds the model; no weight is read.
    pub fn open(name: &'static str, model: &ModelArg, args: &'a RunArgs) -> anyhow::Result<Self> {
        Self::open_control(name, model, args, None)
    }

    /// The same where this may be a control, and says so.
    pub fn open_control(
        name: &'static str,
        model: &ModelArg,
        args: &'a RunArgs,
        control: Option<Control>,
    ) -> anyhow::Result<Self> {
        let weights = control.as_ref().map_or(RunWeights::Stored, |c| c.weights);
        let command = Self {
            name,
            args,
            job: match args.dry_run {
                true => Job::without_folder(),
                false => Job::claim(&args.output, &args.part)?,
            },
            opened: Opened::to_run(model, &args.compute, weights)?,
            control,
        };
        if let Some(control) = &command.control {
            notice!("control: {}", control.what);
        }
        Ok(command)
    }

    /// Prompts as tokens that the model has.
    pub fn batch(&self, tokenize: Tokenize, set: &PromptSet) -> Result<TokenBatch, TokenError> {
        checked_batch(tokenize, set, &self.opened, self.args.bos)
    }

    /// Reads what an edit needs; `neurons` is a file that stands for a class.
    pub fn read_edit<'e>(
        &self,
        edit: &'e EditArgs,
        neurons: Option<&Path>,
    ) -> anyhow::Result<Edits<'e>> {
        let RunArgs { bos, class, .. } = self.args;
        Edits::read(edit, neurons, &self.opened, *bos, class.fold)
    }

    /// Says what the run is, and on what; an earlier one that it goes on with must be the same.
    pub fn describe(
        &mut self,
        settings: &impl Serialize,
        prompts: Option<&PromptSet>,
        texts: Vec<PromptSetInfo>,
    ) -> anyhow::Result<()> {
        let RunArgs { class, compute, .. } = self.args;
        let (opened, config) = (&self.opened, self.opened.config());
        self.job.describe(|| {
            let settings = serde_json::to_value(settings)?;
            let compute = Some(compute);
            Ok(RunInfo {
                control: self.control.as_ref().map(|control| control.what.clone()),
                tokenizer_sha256: Some(opened.tokenizer.sha256().to_string()),
                bos: Some(bos_in_words(self.args.bos, &opened.tokenizer)?),
                seed: Some(self.args.seed),
                prompts: prompts.map(|set| PromptSetInfo::new(&set.name, &set.sha256)),
                texts,
                ..run_info(self.name, settings, &opened.located, config, compute, class)?
            })
        })
    }

    /// Effects that say that they are of a control, where they are.
    pub fn marked(&self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let name = self
            .control
            .as_ref()
            .map(|control| control.name.to_string());
        for effect in &mut effects {
            effect.control = name.clone();
        }
        effects
    }

    /// Says above the results that they are of a control, where they are.
    pub fn print_control(&self) {
        if let Some(control) = &self.control {
            outln!("\nCONTROL, {}", control.what);
        }
    }

    /// The classes of the model's neurons, of the weights as they are stored.
    pub fn classify(&self) -> Result<NeuronTable, ClassError> {
        let ClassArgs { fold, threshold } = self.args.class;
        NeuronTable::classify(&self.opened.checkpoint, fold, threshold)
    }

    /// Loads the model, to be run on what `batch` is some of; nothing where the `steps` of that are asked for alone, which are
    /// printed then.
    pub fn load(
        &self,
        batch: &TokenBatch,
        steps: impl FnOnce(&Engine<'_>) -> Result<Vec<Step>, ExperimentError>,
    ) -> anyhow::Result<Option<Model>> {
        let model = self.opened.load()?;
        if !self.args.dry_run {
            return Ok(Some(model));
        }
        let engine = Engine::new(&model);
        let forecast = Forecast::new(steps(&engine)?, &engine, batch)?;
        self.print_forecast(&forecast, &model)?;
        Ok(None)
    }

    /// Runs `experiment`; nothing where that was one shard of several.
    pub fn run<T>(
        &self,
        model: &Model,
        experiment: impl FnOnce(&mut Run<'_>, &Engine<'_>) -> Result<T, ExperimentError>,
    ) -> anyhow::Result<Option<T>> {
        let engine = Engine::new(model);
        self.job.run(model, |run| experiment(run, &engine))
    }

    /// Whether only the steps are asked for.
    pub fn is_dry(&self) -> bool {
        self.args.dry_run
    }

    /// Prints what would be run on `model`.
    pub fn print_forecast(&self, forecast: &Forecast, model: &Model) -> anyhow::Result<()> {
        let OutputArgs { out, force, json } = &self.args.output;
        let is_taken = |out: &PathBuf| !force && out.join("run.json").exists();
        for out in out.iter().filter(|out| is_taken(out)) {
            notice!(
                "warning: {} holds a finished run; the run itself is refused there without --force",
                out.display()
            );
        }
        let (out, shard) = (out.as_deref(), self.args.part.shard);
        let outlook = forecast.outlook(self.name, model.plan(), (out, shard));
        match json {
            true => print_json(&outlook),
            false => {
                outlook.print(out);
                Ok(())
            }
        }
    }

    /// Writes the files, where there is a folder, and prints the results: as JSON, or by `print` for a person.
    pub fn finish(
        &self,
        counts: Value,
        files: impl FnOnce(&RunInfo) -> anyhow::Result<Vec<File>>,
        json: &impl Serialize,
        print: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let written = self.job.finish(files, counts);
        let for_machines = self.args.output.json;
        if for_machines {
            print_json(json)?;
        } else {
            print();
        }
        written.say(for_machines)
    }
}

/// The fields of both objects.
pub fn merged(mut object: Value, other: Value) -> Value {
    if let (Value::Object(fields), Value::Object(others)) = (&mut object, other) {
        fields.extend(others);
    }
    object
}
