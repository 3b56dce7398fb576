//! `ablate`: switch classes off and measure what that costs.

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::ablate_text::{TextArgs, ablate_texts};
use super::args::ModelArg;
use super::control::ControlArgs;
use super::effects_table::{print_contributions, print_effects};
use super::facts::{Answers, FactArgs};
use super::long_command::{LongCommand, RunArgs, merged};
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
    #[command(flatten)]
    #[serde(flatten)]
    control: ControlArgs,
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
        let asks_facts = self.text.text.is_empty();
        self.treatments.check(self.draws, asks_facts)?;
        let asked = asks_facts.then_some(self.facts.subset);
        self.control.check(asked, &self.treatments)?;
        self.path.check(self.treatments.edit.positions)?;
        let facts = self.facts.read()?;
        let control = self.control.control(self.run.seed);
        let mut command = LongCommand::open_control("ablate", &self.model, &self.run, control)?;
        let edits = self.treatments.read(&command)?;
        let batches = self
            .facts
            .batches(&command, &facts, &self.treatments.edit)?;
        let texts = self.text.read(&command, &edits)?;
        let effect_text = self.treatments.effect_text(&command, texts.as_ref())?;
        match &texts {
            Some(texts) => command.describe(&self, None, texts.info())?,
            None => command.describe(&self, Some(&facts), Vec::new())?,
        }

        let (draws, subset) = (self.draws, self.facts.subset);
        let (mut plan, table) = self.treatments.plan(&command, &edits, draws, subset)?;
        plan.paths = self.path.paths();
        let (model, edit) = (&self.model.model, self.treatments.edit.in_words());
        let edit = edit + self.path.in_words();
        let (fold, effect_text) = (self.run.class.fold, effect_text.as_ref());
        let matched_by = self.treatments.matched_by(&table, effect_text);
        let draws = self.treatments.draws_in_words(draws);
        if let Some(texts) = texts {
            let what = format!("{model}: {edit}, {draws}, fold {fold},");
            let plan = (plan, matched_by);
            return ablate_texts(&texts, &command, plan, (&edits, effect_text), &what);
        }
        let Some(answers) = Answers::ask(&command, (&facts, &batches), &mut plan, matched_by)?
        else {
            return Ok(());
        };
        let first_order = json!({"first_order": effect_text.map(|text| text.json(&plan))});
        let particular = merged(counts(&plan.treatments), first_order);
        let counts = answers.counts(&plan, &edits, particular);
        let files = |_: &_| answers.files(&plan, &command.opened.tokenizer);
        command.finish(counts, files, &answers.json(json!({})), || {
            command.print_control();
            let [all, known] = answers.known();
            let heading = format!(
                "{model}: knows {known} of {all} facts; {edit} on {} prompts, {draws}, fold {fold}",
                answers.ablation.edited_prompts
            );
            answers.print_heading(&heading, &edits);
            print_effects(&answers.effects, &plan);
            print_contributions(&plan);
            effect_text.iter().for_each(|text| text.print(&plan));
        })
    }
}
