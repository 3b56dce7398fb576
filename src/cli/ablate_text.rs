//! `ablate --text`: what an edit costs on running text.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::edit_args::warn_of_values_kept;
use super::effects_table::print_text_effects;
use super::inputs::checked_windows;
use super::numbers;
use super::run::{Job, Written};
use super::table::count;
use super::treatments::{RunInputs, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{AblationPlan, Effect, TextAblation, TokenOutcome, ablate_text};
use crate::model::Model;
use crate::prompts::{Document, Documents};
use crate::report::{OutDir, PromptSetInfo, RunInfo, TextOutcomes};
use crate::stats::BootstrapSettings;
use crate::tokens::{Window, Windowing};

/// Running text in the place of facts.
#[derive(Args, Serialize)]
pub struct TextArgs {
    /// Instead of facts, measure running text: loss, entropy, rank of the right token and log of the
    /// final norm's scale at every position. Plain text (documents separated by a line `---`) or JSON
    /// Lines with a `text` field; `neutral` is the bundled text, which asks for no facts.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "subset"])]
    pub text: Vec<PathBuf>,
    /// Texts are read in stretches of so many tokens, without overlap.
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, requires = "text", value_parser = numbers::stretch, allow_negative_numbers = true)]
    context: usize,
    /// Read no more of the texts than this.
    #[arg(long, value_name = "TOKENS", requires = "text", value_parser = numbers::text_limit, allow_negative_numbers = true)]
    max_tokens: Option<usize>,
}

/// Texts that are cut and ready.
pub struct Texts {
    files: Vec<Documents>,
    windows: Vec<Window>,
}

impl TextArgs {
    /// Reads and cuts the texts.
    pub fn read(&self, treatments: &TreatmentArgs, inputs: &RunInputs) -> anyhow::Result<Texts> {
        inputs.check_context(self.context)?;
        let files = Documents::read_all(&self.text)?;
        let cut = Windowing {
            bos: treatments.conditions.bos,
            context: self.context.min(inputs.max_positions),
            max_tokens: self.max_tokens,
        };
        let windows = checked_windows(&files, &inputs.tokenizer, cut, inputs.vocab_size)?;
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

    /// What was read, for `run.json`.
    pub fn describe(&self, info: &mut RunInfo) {
        let files = self.files.iter();
        info.prompts = None;
        info.texts = files
            .map(|file| PromptSetInfo::new(&file.name, &file.sha256))
            .collect();
    }

    /// Runs the plan and writes the files; nothing is found by one shard of several.
    pub fn ablate(
        &self,
        model: &Model,
        plan: &AblationPlan,
        inputs: &RunInputs,
        job: &Job,
    ) -> anyhow::Result<Option<(TextAblation, Vec<Effect>, Written)>> {
        let (documents, tokenizer) = (self.documents(), &inputs.tokenizer);
        let work = job.out().map(OutDir::work);
        let table = work.map(|work| TextOutcomes::create(&work, documents, tokenizer));
        let mut table = table.transpose()?;
        let mut failed = None;
        let mut sink = |rows: &[TokenOutcome<'_>]| {
            // What cannot be written is no reason to lose the estimates.
            if let (Some(table), None) = (&mut table, &failed) {
                failed = table.push(rows).err();
            }
            Ok(())
        };
        let (engine, windows) = (Engine::new(model), &self.windows);
        let found = job.run(model, |run| {
            ablate_text(run, &engine, windows, plan, &mut sink)
        })?;
        let Some((ablation, wall_s)) = found else {
            return Ok(None);
        };
        if let (Some(table), None) = (table, &failed) {
            failed = table.close().err();
        }
        let settings = BootstrapSettings {
            seed: plan.seed,
            ..BootstrapSettings::default()
        };
        let effects = ablation.effects(plan, &settings)?;
        let file = ("effects.json", serde_json::to_vec_pretty(&effects)?);
        let written = match failed {
            Some(error) => job.failed(error.into()),
            None => job.finish(vec![file], counts(&ablation, plan, inputs), wall_s),
        };
        Ok(Some((ablation, effects, written)))
    }

    /// Prints what was measured; `what` names the model and the edit.
    pub fn print(
        &self,
        what: &str,
        ablation: &TextAblation,
        effects: &[Effect],
        inputs: &RunInputs,
    ) {
        outln!(
            "\n{what} on {} tokens of {} documents ({})",
            count(ablation.tokens),
            count(ablation.documents),
            self.name(),
        );
        warn_of_values_kept(&ablation.changed);
        inputs.print_reference(ablation.reference);
        print_text_effects(effects);
    }
}

fn counts(ablation: &TextAblation, plan: &AblationPlan, inputs: &RunInputs) -> serde_json::Value {
    serde_json::json!({
        "tokens": ablation.tokens,
        "documents": ablation.documents,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": inputs.reference(ablation.reference),
        "frequencies": inputs.frequencies(),
        "passes": ablation.passes,
    })
}
