//! `sweep`: the ablation by layer.

use std::num::NonZeroUsize;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs};
use super::edit_args::warn_of_values_kept;
use super::effects_table::{print_relations, warn_of_baselines};
use super::numbers;
use super::run::{Job, PartArgs};
use super::setup::run_info;
use super::sweep_table::print_cells;
use super::terminal::print_json;
use super::treatments::{FactArgs, RunInputs, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{
    Ablation, Cell, CleanReference, Effect, KnownByRelation, LayerWindow, Outcome, SweepPlan,
    ablate, layer_windows,
};
use crate::hooks::EditCount;
use crate::io_class::{NeuronTable, Shortfall};
use crate::model::{Config, Model};
use crate::report::{RunInfo, heat_map_svg, outcomes_parquet};
use crate::tokens::tokenize;

/// Ablate classes layer by layer, or window by window of layers, in one run
///
/// Does what `ablate --layers` does for every layer (or every window of --window neighbouring
/// layers), with the same numbers, in one run that computes what comes before a window's first
/// layer only once. Each class in each window, a cell, is compared with random neurons of the same
/// layers. The table gives the difference to their mean in nats, a line per window; a class that
/// has no neurons in a window has no cell there. With --out: outcomes.parquet, effects.json (both
/// with the layers), heat_map.svg, run.json; the passes that are through are then kept however the run
/// ends, and the same command with --resume goes on.
#[derive(Args, Serialize)]
pub struct Sweep {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Layers that are edited together.
    #[arg(long, value_name = "N", default_value = "1", value_parser = numbers::layers, allow_negative_numbers = true)]
    window: NonZeroUsize,
    /// From one window's first layer to the next one's; --window 4 --stride 2 overlaps by half.
    #[arg(long, value_name = "N", default_value = "1", value_parser = numbers::layers, allow_negative_numbers = true)]
    stride: NonZeroUsize,
    #[command(flatten)]
    #[serde(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    #[serde(flatten)]
    treatments: TreatmentArgs,
    /// Random sets per cell. Each costs as much as the class itself. 5 are the fewest with honest
    /// intervals; p-values of so few hardly survive the adjustment over all cells, so take 20 before
    /// you write about one. 0: compare with the clean model alone.
    #[arg(long, default_value_t = 5, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    #[command(flatten)]
    #[serde(flatten)]
    part: PartArgs,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    #[command(flatten)]
    #[serde(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

/// The counts of `run.json`.
#[derive(Serialize)]
struct Counts {
    prompts: usize,
    known: usize,
    edited_prompts: usize,
    conditions: usize,
    edits: EditCount,
    reference: Option<Value>,
    frequencies: Option<Value>,
    passes: usize,
    cells: Vec<CellCount>,
    absent: Vec<Cell>,
    known_by_relation: Vec<KnownByRelation>,
}

#[derive(Serialize)]
struct CellCount {
    #[serde(flatten)]
    cell: Cell,
    neurons: usize,
    shortfall: Vec<Shortfall>,
}

impl Sweep {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        self.treatments.check(self.draws)?;
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let prompts = self.facts.read()?;
        let (checkpoint, inputs) =
            self.treatments
                .prepare(&self.model, &self.class, &load_options, prompts, tokenize)?;
        let windows = self.windows(checkpoint.config())?;
        job.describe(|| self.info(checkpoint.config(), &inputs))?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let whole = self
            .treatments
            .plan(&table, &inputs, self.draws, self.facts.subset)?;
        warn_of_baselines(&whole);
        let plan = SweepPlan::new(whole, &windows);
        let model = Model::load(checkpoint, load_options)?;
        self.sweep(&model, &plan, &inputs, &job)
    }

    /// `run.json` but for the counts.
    fn info(&self, config: &Config, inputs: &RunInputs) -> anyhow::Result<RunInfo> {
        let settings = serde_json::to_value(self)?;
        let compute = Some(&self.compute);
        let located = &inputs.located;
        let mut info = run_info("sweep", settings, located, config, compute, &self.class)?;
        self.treatments.conditions.describe(&mut info, inputs)?;
        Ok(info)
    }

    fn windows(&self, config: &Config) -> anyhow::Result<Vec<LayerWindow>> {
        let all = 0..config.n_layers();
        let layers = self.treatments.conditions.layers.clone().unwrap_or(all);
        let end = layers.end;
        let windows = layer_windows(layers, self.window.get(), self.stride.get())?;
        let first = windows.last().map_or(end, |last| last.last + 1);
        if first < end && self.stride <= self.window {
            let (last, window) = (end - 1, self.window);
            let rest = LayerWindow { first, last };
            notice!(
                "warning: no window has {rest}: what is left at the end is too short for one of {window}"
            );
        }
        Ok(windows)
    }

    fn sweep(
        &self,
        model: &Model,
        plan: &SweepPlan,
        inputs: &RunInputs,
        job: &Job,
    ) -> anyhow::Result<()> {
        let engine = Engine::new(model);
        let found = job.run(model, |run| {
            ablate(run, &engine, &inputs.batch, &plan.ablation)
        })?;
        let Some((ablation, wall_s)) = found else {
            return Ok(());
        };
        let counts = counts(&ablation, plan, inputs);
        let json = serde_json::to_value(&counts)?;
        warn_of_values_kept(&ablation.changed);
        let settings = self.treatments.conditions.bootstrap();
        let effects = ablation.effects(&plan.ablation, &settings)?;
        let outcomes: Vec<Outcome> = ablation.outcomes().collect();
        let outcomes = outcomes_parquet(&outcomes, &inputs.prompts.prompts, &inputs.tokenizer)?;
        let files = vec![
            ("outcomes.parquet", outcomes),
            ("effects.json", serde_json::to_vec_pretty(&effects)?),
            (
                "heat_map.svg",
                heat_map_svg(plan, &effects, &self.title(&counts))?,
            ),
        ];
        let written = job.finish(files, json, wall_s);
        self.print(plan, &effects, &counts, ablation.reference, inputs)?;
        written.say(self.output.json)
    }

    fn print(
        &self,
        plan: &SweepPlan,
        effects: &[Effect],
        counts: &Counts,
        reference: Option<CleanReference>,
        inputs: &RunInputs,
    ) -> anyhow::Result<()> {
        if self.output.json {
            let json = serde_json::json!({
                "effects": effects,
                "absent": plan.absent,
                "known_by_relation": counts.known_by_relation,
            });
            print_json(&json)?;
            return Ok(());
        }
        print_relations(&counts.known_by_relation);
        outln!(
            "\n{}\n{} of {} facts are known; {} cells, {} conditions",
            self.title(counts),
            counts.known,
            counts.prompts,
            counts.cells.len(),
            counts.conditions,
        );
        inputs.print_reference(reference);
        print_cells(plan, effects);
        Ok(())
    }

    /// What was done, in a line.
    fn title(&self, counts: &Counts) -> String {
        format!(
            "{}: {} by {} on {} {} prompts, {} draws, fold {}",
            self.model.model,
            self.treatments.conditions.in_words(),
            match self.window.get() {
                1 => "layer".to_string(),
                n => format!("windows of {n} layers"),
            },
            counts.edited_prompts,
            self.facts.subset,
            self.draws,
            self.class.fold
        )
    }
}

fn counts(ablation: &Ablation, plan: &SweepPlan, inputs: &RunInputs) -> Counts {
    let treatments = plan.cells.iter().zip(&plan.ablation.treatments);
    let cells = treatments.map(|(cell, treatment)| CellCount {
        cell: cell.clone(),
        neurons: treatment.neurons.len(),
        shortfall: treatment.shortfall.clone(),
    });
    Counts {
        prompts: inputs.prompts.prompts.len(),
        known: ablation.known().len(),
        edited_prompts: ablation.edited_prompts,
        conditions: plan.ablation.len(),
        edits: ablation.changed,
        reference: inputs.reference(ablation.reference),
        frequencies: inputs
            .frequencies()
            .map(|recorded| serde_json::json!(recorded)),
        passes: ablation.passes,
        cells: cells.collect(),
        absent: plan.absent.clone(),
        known_by_relation: ablation.known_by_relation(&inputs.prompts.prompts),
    }
}
