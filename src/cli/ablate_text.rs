//! `ablate --text`: what an edit costs on running text.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::edits::Edits;
use super::effects_table::print_text_effects;
use super::inputs::checked_windows;
use super::long_command::LongCommand;
use super::numbers;
use super::reference::warn_of_values_kept;
use super::table::count;
use crate::engine::Engine;
use crate::experiment::{AblationPlan, TokenOutcome, ablate_text};
use crate::prompts::{Document, Documents};
use crate::report::{OutDir, PromptSetInfo, RunInfo, TextOutcomes};
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
    /// Reads and cuts the texts, where there are any.
    pub fn read(
        &self,
        command: &LongCommand<'_>,
        edits: &Edits<'_>,
    ) -> anyhow::Result<Option<Texts>> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let config = command.opened.config();
        edits.check_context(self.context, config)?;
        let files = Documents::read_all(&self.text)?;
        let cut = Windowing {
            bos: command.args.bos,
            context: self.context.min(config.max_positions),
            max_tokens: self.max_tokens,
        };
        let windows = checked_windows(&files, &command.opened.tokenizer, cut, config.vocab_size)?;
        Ok(Some(Texts { files, windows }))
    }
}

impl Texts {
    /// What was read, for `run.json`.
    pub fn info(&self) -> Vec<PromptSetInfo> {
        let files = self.files.iter();
        files
            .map(|file| PromptSetInfo::new(&file.name, &file.sha256))
            .collect()
    }

    /// Runs the plan, writes the files and prints what was found; `what` names the model and the edit.
    pub fn ablate(
        &self,
        command: &LongCommand<'_>,
        plan: &AblationPlan,
        edits: &Edits<'_>,
        what: &str,
    ) -> anyhow::Result<()> {
        let documents: Vec<&Document> =
            self.files.iter().flat_map(|file| &file.documents).collect();
        let work = command.job.out().map(OutDir::work);
        let table =
            work.map(|work| TextOutcomes::create(&work, documents, &command.opened.tokenizer));
        let mut table = table.transpose()?;
        let mut failed = None;
        let mut sink = |rows: &[TokenOutcome<'_>]| {
            // What cannot be written is no reason to lose the estimates.
            if let (Some(table), None) = (&mut table, &failed) {
                failed = table.push(rows).err();
            }
            Ok(())
        };
        let model = command.opened.load()?;
        let (engine, windows) = (Engine::new(&model), &self.windows);
        let found = command.job.run(&model, |run| {
            ablate_text(run, &engine, windows, plan, &mut sink)
        })?;
        let Some((ablation, wall_s)) = found else {
            return Ok(());
        };
        if let (Some(table), None) = (table, &failed) {
            failed = table.close().err();
        }
        let effects = ablation.effects(plan, &command.args.bootstrap())?;
        let counts = json!({
            "tokens": ablation.tokens,
            "documents": ablation.documents,
            "conditions": plan.len(),
            "edits": ablation.changed,
            "reference": edits.reference_json(ablation.reference),
            "frequencies": edits.frequencies_json(),
            "passes": ablation.passes,
        });
        let files = |_: &RunInfo| match failed {
            Some(error) => Err(error.into()),
            None => Ok(vec![("effects.json", serde_json::to_vec_pretty(&effects)?)]),
        };
        command.finish(wall_s, counts, files, &effects, || {
            let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
            outln!(
                "\n{what} on {} tokens of {} documents ({})",
                count(ablation.tokens),
                count(ablation.documents),
                names.join(", "),
            );
            warn_of_values_kept(&ablation.changed);
            edits.print_references(ablation.reference);
            print_text_effects(&effects);
        })
    }
}
