//! `ablate --text`: what an edit costs on running text.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::edits::Edits;
use super::effect_text::EffectText;
use super::effects_table::{print_contributions, print_text_effects};
use super::inputs::Texts;
use super::long_command::LongCommand;
use super::numbers;
use super::reference::warn_of_values_kept;
use super::table::count;
use super::treatments::{contributions_json, weigh, weigh_steps};
use crate::experiment::{
    AblationPlan, MatchedBy, TokenOutcome, ablate_text, predicted, text_steps,
};
use crate::report::{OutDir, RunInfo, TextOutcomes, draws_parquet};
use crate::tokens::Windowing;

/// Running text in the place of facts.
#[derive(Args, Serialize)]
pub struct TextArgs {
    /// Instead of facts, measure running text: loss, entropy, rank of the right token and log of the
    /// final norm's scale at every position. Plain text (documents separated by a line `---`) or JSON
    /// Lines with a `text` field; `neutral` is the bundled text, which asks for no facts.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "subset", "known_by", "known"])]
    pub text: Vec<PathBuf>,
    /// Texts are read in stretches of so many tokens, without overlap.
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, requires = "text", value_parser = numbers::stretch, allow_negative_numbers = true)]
    context: usize,
    /// Read no more of the texts than this.
    #[arg(long, value_name = "TOKENS", requires = "text", value_parser = numbers::text_limit, allow_negative_numbers = true)]
    max_tokens: Option<usize>,
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
        let cut = Windowing {
            bos: command.args.bos,
            context: self.context.min(config.max_positions),
            max_tokens: self.max_tokens,
        };
        Ok(Some(Texts::read(&self.text, &command.opened, cut)?))
    }
}

/// Runs the plan on texts, writes the files and prints what was found; `what` names the model and the edit.
pub fn ablate_texts(
    texts: &Texts,
    command: &LongCommand<'_>,
    (mut plan, matched_by): (AblationPlan, MatchedBy<'_>),
    (edits, effect_text): (&Edits<'_>, Option<&EffectText>),
    what: &str,
) -> anyhow::Result<()> {
    let documents = texts.documents();
    let create = |work: std::path::PathBuf| {
        TextOutcomes::create(&work, documents, &command.opened.tokenizer)
    };
    let work = command.job.out().map(OutDir::work);
    let mut table = work.map(create).transpose()?;
    let mut failed = None;
    let mut sink = |rows: &[TokenOutcome<'_>]| {
        // What cannot be written is no reason to lose the estimates.
        if let (Some(table), None) = (&mut table, &failed) {
            failed = table.push(rows).err();
        }
        Ok(())
    };
    let batch = predicted(&texts.windows)?;
    let model = command.load(&batch, |engine| {
        let weighed = weigh_steps(command, &plan, engine, &batch, matched_by)?;
        Ok([weighed, text_steps(engine, &texts.windows, &plan)?].concat())
    })?;
    let Some(model) = model else {
        return Ok(());
    };
    let found = command.run(&model, |run, engine| {
        weigh(command, &mut plan, (run, engine), &batch, matched_by)?;
        ablate_text(run, engine, &texts.windows, &plan, &mut sink)
    })?;
    let Some(ablation) = found else {
        return Ok(());
    };
    if let (Some(table), None) = (table, &failed) {
        failed = table.close().err();
    }
    let effects = command.marked(ablation.effects(&plan, &command.args.statistics())?);
    let counts = json!({
        "tokens": ablation.tokens,
        "documents": ablation.documents,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": edits.reference_json(ablation.reference),
        "frequencies": edits.frequencies_json(),
        "contributions": contributions_json(&plan),
        "first_order": effect_text.map(|text| text.json(&plan)),
        "passes": ablation.passes,
    });
    let files = |_: &RunInfo| match failed {
        Some(error) => Err(error.into()),
        None => {
            let effects = ("effects.json", serde_json::to_vec_pretty(&effects)?);
            let draws = draws_parquet(&plan.treatments)?;
            Ok(std::iter::once(effects).chain(draws).collect())
        }
    };
    command.finish(counts, files, &effects, || {
        command.print_control();
        let [tokens, of] = [ablation.tokens, ablation.documents].map(count);
        outln!(
            "\n{what} on {tokens} tokens of {of} documents ({})",
            texts.names()
        );
        warn_of_values_kept(&ablation.changed);
        edits.print_references(ablation.reference);
        print_text_effects(&effects);
        print_contributions(&plan);
        effect_text.iter().for_each(|text| text.print(&plan));
    })
}
