//! `sweep`: the ablation by layer.

use std::num::NonZeroUsize;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::ModelArg;
use super::effects_table::print_first_positions;
use super::facts::{Answers, FactArgs};
use super::long_command::{LongCommand, RunArgs};
use super::numbers;
use super::sweep_table::print_cells;
use super::treatments::TreatmentArgs;
use crate::experiment::{LayerWindow, SweepPlan, layer_windows};
use crate::model::Config;
use crate::report::heat_map_svg;

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
    run: RunArgs,
}

impl Sweep {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        self.treatments.check(self.draws, true)?;
        let facts = self.facts.read()?;
        let mut command = LongCommand::open("sweep", &self.model, &self.run)?;
        let edits = self.treatments.read(&command)?;
        let batches = self
            .facts
            .batches(&command, &facts, &self.treatments.edit)?;
        let windows = self.windows(command.opened.config())?;
        let effect_text = self.treatments.effect_text(&command, None)?;
        command.describe(&self, Some(&facts), Vec::new())?;

        let (draws, subset) = (self.draws, self.facts.subset);
        let (whole, table) = self.treatments.plan(&command, &edits, draws, subset)?;
        let mut plan = SweepPlan::new(whole, &windows);
        let effect_text = effect_text.as_ref();
        let matched_by = self.treatments.matched_by(&table, effect_text);
        let ablation = &mut plan.ablation;
        let Some(answers) = Answers::ask(&command, (&facts, &batches), ablation, matched_by)?
        else {
            return Ok(());
        };
        let title = self.title(answers.ablation.edited_prompts);
        let particular = json!({
            "cells": cells_json(&plan),
            "absent": plan.absent,
            "first_order": effect_text.map(|text| text.json(&plan.ablation)),
        });
        let counts = answers.counts(&plan.ablation, &edits, particular);
        let files = |_: &_| {
            let map = heat_map_svg(&plan, &answers.effects, &title)?;
            let mut files = answers.files(&plan.ablation, &command.opened.tokenizer)?;
            files.push(("heat_map.svg", map));
            Ok(files)
        };
        let json = answers.json(json!({"absent": plan.absent}));
        command.finish(counts, files, &json, || {
            let [all, known] = answers.known();
            let (cells, conditions) = (plan.cells.len(), plan.ablation.len());
            let heading = format!(
                "{title}\n{known} of {all} facts are known; {cells} cells, {conditions} conditions"
            );
            answers.print_heading(&heading, &edits);
            print_cells(&plan, &answers.effects);
            print_first_positions(&plan.ablation);
            effect_text
                .iter()
                .for_each(|text| text.print(&plan.ablation));
        })
    }

    fn windows(&self, config: &Config) -> anyhow::Result<Vec<LayerWindow>> {
        let all = 0..config.n_layers();
        let layers = self.treatments.edit.layers.clone().unwrap_or(all);
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

    /// What was done, in a line.
    fn title(&self, edited_prompts: usize) -> String {
        format!(
            "{}: {} by {} on {edited_prompts} {} prompts, {}, fold {}",
            self.model.model,
            self.treatments.edit.in_words(),
            match self.window.get() {
                1 => "layer".to_string(),
                n => format!("windows of {n} layers"),
            },
            self.facts.subset,
            self.treatments.draws_in_words(self.draws),
            self.run.class.fold
        )
    }
}

/// The cells with their neurons, for `run.json`.
fn cells_json(plan: &SweepPlan) -> Value {
    let treatments = plan.cells.iter().zip(&plan.ablation.treatments);
    let cells = treatments.map(|(cell, treatment)| {
        json!({
            "class": cell.class,
            "layers": cell.layers,
            "neurons": treatment.neurons.len(),
            "shortfall": treatment.shortfall,
        })
    });
    cells.collect()
}
