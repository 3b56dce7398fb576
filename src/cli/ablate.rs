//! `ablate`: switch classes off and measure what that costs.

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::ablate_text::{TextArgs, ablate_texts};
use super::args::ModelArg;
use super::effects_table::{print_contributions, print_effects};
use super::facts::{Answers, FactArgs};
use super::long_command::{LongCommand, RunArgs};
use super::numbers;
use super::path_args::PathArgs;
use super::treatments::{TreatmentArgs, counts};

/// Ablate classes of neurons and measure factual recall against layer-matched random neurons
///
/// Every prompt is run clean; those that the model knows (or all, with --subset all) are run again
/// with each class edited, and with as many random neurons of the same layers, several draws. The
/// table gives mean log-probabilities of the target and the class's difference to the mean of the
/// draws with its 95 % interval (over prompts and draws). With --out: outcomes.parquet,
/// effects.json, run.json. With --text the same is asked of running text, document by document.
/// With --out, the passes that are through are kept however the run ends; the same command with --resume goes on.
#[derive(Args, Serialize)]
pub struct Ablate {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    #[command(flatten)]
    #[serde(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    #[serde(flatten)]
    treatments: TreatmentArgs,
    #[command(flatten)]
    #[serde(flatten)]
    path: PathArgs,
    #[command(flatten)]
    #[serde(flatten)]
    text: TextArgs,
    /// Random sets per class.
    #[arg(long, default_value_t = 20, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    #[command(flatten)]
    #[serde(flatten)]
    run: RunArgs,
}

impl Ablate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        self.treatments
            .check(self.draws, self.text.text.is_empty())?;
        self.path.check(self.treatments.edit.positions)?;
        let facts = self.facts.read()?;
        let mut command = LongCommand::open("ablate", &self.model, &self.run)?;
        let edits = self.treatments.read(&command)?;
        let batches = self
            .facts
            .batches(&command, &facts, &self.treatments.edit)?;
        let texts = self.text.read(&command, &edits)?;
        match &texts {
            Some(texts) => command.describe(&self, None, texts.info())?,
            None => command.describe(&self, Some(&facts), Vec::new())?,
        }

        let (draws, subset) = (self.draws, self.facts.subset);
        let (mut plan, table) = self.treatments.plan(&command, &edits, draws, subset)?;
        plan.paths = self.path.paths();
        let (model, edit) = (&self.model.model, self.treatments.edit.in_words());
        let edit = edit + self.path.in_words();
        let (fold, matched_by) = (self.run.class.fold, (&table, self.treatments.matching));
        let draws = self.treatments.draws_in_words(draws);
        if let Some(texts) = texts {
            let what = format!("{model}: {edit}, {draws}, fold {fold},");
            return ablate_texts(&texts, &command, (plan, matched_by), &edits, &what);
        }
        let Some(answers) = Answers::ask(&command, (&facts, &batches), &mut plan, matched_by)?
        else {
            return Ok(());
        };
        let counts = answers.counts(&plan, &edits, counts(&plan.treatments));
        let files = |_: &_| answers.files(&plan, &command.opened.tokenizer);
        command.finish(counts, files, &answers.json(json!({})), || {
            let [all, known] = answers.known();
            let heading = format!(
                "{model}: knows {known} of {all} facts; {edit} on {} prompts, {draws}, fold {fold}",
                answers.ablation.edited_prompts
            );
            answers.print_heading(&heading, &edits);
            print_effects(&answers.effects, subset, plan.primary());
            print_contributions(&plan);
        })
    }
}
