//! `ablate --text`: what an edit costs on running text.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::edit_args::warn_of_values_kept;
use super::effects_table::print_text_effects;
use super::progress::Meter;
use super::table::count;
use super::treatments::{Ready, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{
    AblationPlan, Effect, ExperimentError, TextAblation, TokenOutcome, ablate_text, text_effects,
};
use crate::model::Model;
use crate::prompts::{Document, Documents};
use crate::report::{OutDir, PromptSetInfo, RunInfo, TextOutcomes};
use crate::stats::BootstrapSettings;
use crate::tokens::{Window, Windowing, windows};

/// Running text in the place of facts.
#[derive(Args, Serialize)]
pub struct TextArgs {
    /// Instead of facts, measure running text: loss, entropy, rank of the right token and log of the
    /// final norm's scale at every position. Plain text (documents separated by a line `---`) or JSON
    /// Lines with a `text` field; `neutral` is the bundled text, which asks for no facts.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "subset"])]
    pub text: Vec<PathBuf>,
    /// Texts are read in stretches of so many tokens, without overlap.
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, requires = "text")]
    context: usize,
    /// Read no more of the texts than this.
    #[arg(long, value_name = "TOKENS", requires = "text")]
    max_tokens: Option<usize>,
}

/// Texts that are cut and ready.
pub struct Texts {
    files: Vec<Documents>,
    windows: Vec<Window>,
}

impl TextArgs {
    /// Reads and cuts the texts.
    pub fn read(&self, treatments: &TreatmentArgs, ready: &Ready) -> anyhow::Result<Texts> {
        let files = Documents::read_all(&self.text)?;
        let cut = Windowing {
            bos: treatments.bos,
            context: self.context.min(ready.max_positions),
            max_tokens: self.max_tokens,
        };
        let windows = windows(&files, &ready.tokenizer, cut)?;
        Ok(Texts { files, windows })
    }
}

impl Texts {
    fn documents(&self) -> Vec<&Document> {
        self.files.iter().flat_map(|file| &file.documents).collect()
    }

    fn name(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.name.as_str()).collect();
        names.join(", ")
    }

    /// Runs the plan, prints the effects, writes the files; `info` says what was run but for the counts.
    pub fn ablate(
        &self,
        model: &Model,
        plan: &AblationPlan,
        ready: &Ready,
        output: (Option<&OutDir>, bool),
        mut info: RunInfo,
        start: Instant,
    ) -> anyhow::Result<()> {
        let meter = Meter::new();
        let mut table = TextOutcomes::new(self.documents(), &ready.tokenizer);
        let (out, json) = output;
        let mut sink = |rows: &[TokenOutcome<'_>]| match out {
            None => Ok(()),
            Some(_) => table.push(rows).map_err(|error| ExperimentError::Sink {
                why: error.to_string(),
            }),
        };
        let engine = Engine::new(model);
        let ablation = ablate_text(&engine, &self.windows, plan, &meter, &mut sink)?;
        meter.clear();
        warn_of_values_kept(&ablation.changed);
        let settings = BootstrapSettings {
            seed: plan.seed,
            ..BootstrapSettings::default()
        };
        let effects = text_effects(&ablation, plan, &settings)?;
        if let Some(out) = out {
            info.prompts = Some(PromptSetInfo {
                name: self.name(),
                sha256: self.sha256(),
            });
            info.counts = counts(&ablation, plan, ready);
            info.wall_s = start.elapsed().as_secs_f64();
            out.write(&[
                ("outcomes_text.parquet", table.finish()?),
                ("effects.json", serde_json::to_vec_pretty(&effects)?),
                ("run.json", info.to_json()?),
            ])?;
        }
        if json {
            println!("{}", serde_json::to_string_pretty(&effects)?);
            return Ok(());
        }
        self.print(&ablation, &effects, &info, ready);
        if let Some(out) = out {
            println!("files in {}", out.path().display());
        }
        Ok(())
    }

    fn sha256(&self) -> String {
        let hashes: Vec<_> = self.files.iter().map(|file| file.sha256.as_str()).collect();
        hashes.join(" ")
    }

    fn print(&self, ablation: &TextAblation, effects: &[Effect], info: &RunInfo, ready: &Ready) {
        println!(
            "\n{}: {} tokens of {} documents ({}), fold {}",
            info.model.id,
            count(ablation.tokens),
            count(ablation.documents),
            self.name(),
            info.fold
        );
        ready.print_reference(ablation.reference);
        print_text_effects(effects);
    }
}

fn counts(ablation: &TextAblation, plan: &AblationPlan, ready: &Ready) -> serde_json::Value {
    serde_json::json!({
        "tokens": ablation.tokens,
        "documents": ablation.documents,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": ready.reference(ablation.reference),
        "frequencies": ready.frequencies(),
        "passes": ablation.passes,
    })
}
