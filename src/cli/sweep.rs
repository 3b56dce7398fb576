//! `sweep`: the ablation by layer.

use std::num::NonZeroUsize;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs};
use super::edit_args::warn_of_values_kept;
use super::effects_table::{print_relations, warn_of_baselines};
use super::progress::Meter;
use super::setup::run_info;
use super::sweep_table::print_cells;
use super::treatments::{FactArgs, Ready, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{
    Cell, CellEffect, CellOutcomes, CleanReference, KnownByRelation, LayerWindow, SweepPlan,
    ablate, effects, known_by_relation, layer_windows,
};
use crate::hooks::EditCount;
use crate::io_class::{NeuronTable, Shortfall};
use crate::model::{Config, Model};
use crate::report::{OutDir, RunInfo, heat_map_svg, sweep_outcomes_parquet};
use crate::stats::BootstrapSettings;
use crate::tokens::tokenize;

/// Ablate classes layer by layer, or window by window of layers, in one run
///
/// Does what `ablate --layers` does for every layer (or every window of --window neighbouring
/// layers), with the same numbers, in one run that computes what comes before a window's first
/// layer only once. Each class in each window, a cell, is compared with random neurons of the same
/// layers. The table gives the difference to their mean in nats, a line per window; a class that
/// has no neurons in a window has no cell there. With --out: outcomes.parquet, effects.json (both
/// with the layers), heat_map.svg, run.json.
#[derive(Args, Serialize)]
pub struct Sweep {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Layers that are edited together.
    #[arg(long, value_name = "N", default_value = "1")]
    window: NonZeroUsize,
    /// From one window's first layer to the next one's; --window 4 --stride 2 overlaps by half.
    #[arg(long, value_name = "N", default_value = "1")]
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
    #[arg(long, default_value_t = 5)]
    draws: usize,
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

/// What a sweep found.
struct Swept {
    plan: SweepPlan,
    outcomes: CellOutcomes,
    effects: Vec<CellEffect>,
    relations: Vec<KnownByRelation>,
    reference: Option<CleanReference>,
    counts: Counts,
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
        self.treatments.check()?;
        let out = self.output.claim()?;
        let load_options = self.compute.load_options()?;
        let prompts = self.facts.read()?;
        let (checkpoint, ready) =
            self.treatments
                .prepare(&self.model, &self.class, &load_options, prompts, tokenize)?;
        let windows = self.windows(checkpoint.config())?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let whole = self
            .treatments
            .plan(&table, &ready, self.draws, self.facts.subset)?;
        warn_of_baselines(&whole);
        let plan = SweepPlan::new(whole, &windows);
        let model = Model::load(checkpoint, load_options)?;
        let swept = self.sweep(&Engine::new(&model), plan, &ready)?;

        if let Some(out) = &out {
            let mut info = run_info(
                "sweep",
                serde_json::to_value(&self)?,
                &ready.located,
                model.config(),
                Some(&self.compute),
                &self.class,
            )?;
            self.treatments.describe(&mut info, &ready)?;
            info.counts = serde_json::to_value(&swept.counts)?;
            info.wall_s = start.elapsed().as_secs_f64();
            self.write(out, &swept, &ready, info)?;
        }
        self.print(&swept, &ready, out.as_ref())
    }

    fn windows(&self, config: &Config) -> anyhow::Result<Vec<LayerWindow>> {
        let all = 0..config.n_layers();
        let layers = self.treatments.layers.clone().unwrap_or(all);
        let end = layers.end;
        let windows = layer_windows(layers, self.window.get(), self.stride.get())?;
        let first = windows.last().map_or(end, |last| last.last + 1);
        if first < end && self.stride <= self.window {
            let (last, window) = (end - 1, self.window);
            let rest = LayerWindow { first, last };
            eprintln!(
                "warning: no window has {rest}: what is left at the end is too short for one of {window}"
            );
        }
        Ok(windows)
    }

    fn sweep(&self, engine: &Engine<'_>, plan: SweepPlan, ready: &Ready) -> anyhow::Result<Swept> {
        let meter = Meter::new();
        let ablation = ablate(engine, &ready.batch, &plan.ablation, &meter)?;
        meter.clear();
        warn_of_values_kept(&ablation.changed);
        let settings = BootstrapSettings {
            seed: self.treatments.seed,
            ..BootstrapSettings::default()
        };
        let effects = effects(&ablation.outcomes, &plan.ablation, &settings)?;
        let relations = known_by_relation(&ablation.outcomes, &ready.prompts.prompts);
        let treatments = plan.cells.iter().zip(&plan.ablation.treatments);
        let cells = treatments.map(|(cell, treatment)| CellCount {
            cell: cell.clone(),
            neurons: treatment.neurons.len(),
            shortfall: treatment.shortfall.clone(),
        });
        let counts = Counts {
            prompts: ready.prompts.prompts.len(),
            known: ablation.known,
            edited_prompts: ablation.edited_prompts,
            conditions: plan.ablation.len(),
            edits: ablation.changed,
            reference: ready.reference(ablation.reference),
            passes: ablation.passes,
            cells: cells.collect(),
            absent: plan.absent.clone(),
            known_by_relation: relations.clone(),
        };
        Ok(Swept {
            effects: plan.effects(effects),
            outcomes: plan.outcomes(ablation.outcomes),
            plan,
            relations,
            reference: ablation.reference,
            counts,
        })
    }

    fn write(
        &self,
        out: &OutDir,
        swept: &Swept,
        ready: &Ready,
        info: RunInfo,
    ) -> anyhow::Result<()> {
        let prompts = &ready.prompts.prompts;
        let outcomes = sweep_outcomes_parquet(&swept.outcomes, prompts, &ready.tokenizer)?;
        let map = heat_map_svg(&swept.plan, &swept.effects, &self.title(&swept.counts))?;
        Ok(out.write(&[
            ("outcomes.parquet", outcomes),
            ("effects.json", serde_json::to_vec_pretty(&swept.effects)?),
            ("heat_map.svg", map),
            ("run.json", info.to_json()?),
        ])?)
    }

    fn print(&self, swept: &Swept, ready: &Ready, out: Option<&OutDir>) -> anyhow::Result<()> {
        if self.output.json {
            let json = serde_json::json!({
                "effects": swept.effects,
                "absent": swept.plan.absent,
                "known_by_relation": swept.relations,
            });
            println!("{}", serde_json::to_string_pretty(&json)?);
            return Ok(());
        }
        print_relations(&swept.relations);
        println!(
            "\n{}\n{} of {} facts are known; {} cells, {} conditions",
            self.title(&swept.counts),
            swept.counts.known,
            swept.counts.prompts,
            swept.counts.cells.len(),
            swept.counts.conditions,
        );
        ready.print_reference(swept.reference);
        print_cells(&swept.plan, &swept.effects);
        if let Some(out) = out {
            println!("files in {}", out.path().display());
        }
        Ok(())
    }

    /// What was done, in a line.
    fn title(&self, counts: &Counts) -> String {
        format!(
            "{}: {} by {} on {} {} prompts, {} draws, fold {}",
            self.model.model,
            self.treatments.in_words(),
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
