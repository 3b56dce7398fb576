//! `ablate`: switch classes off and measure what that costs.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::ablate_text::TextArgs;
use super::args::ModelArg;
use super::edits::Edits;
use super::effects_table::{print_effects, print_relations};
use super::long_command::{LongCommand, RunArgs};
use super::numbers;
use super::reference::warn_of_values_kept;
use super::treatments::{FactArgs, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{AblationPlan, Outcome, ablate};
use crate::model::Model;
use crate::prompts::PromptSet;
use crate::report::{RunInfo, outcomes_parquet};
use crate::tokens::{TokenBatch, tokenize};

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
        self.treatments.check(self.draws)?;
        let prompts = self.facts.read()?;
        let mut command = LongCommand::open("ablate", &self.model, &self.run)?;
        let edits = self.treatments.read(&command)?;
        let batch = command.batch(tokenize, &prompts)?;
        let texts = self.text.read(&command, &edits)?;
        match &texts {
            Some(texts) => command.describe(&self, None, texts.info())?,
            None => command.describe(&self, Some(&prompts), Vec::new())?,
        }

        let (draws, subset) = (self.draws, self.facts.subset);
        let plan = self.treatments.plan(&command, &edits, draws, subset)?;
        let model = command.opened.load()?;
        let Some(texts) = texts else {
            return self.ablate_facts(&command, &model, (&prompts, &batch), &plan, &edits);
        };
        let what = format!(
            "{}: {}, {draws} draws, fold {},",
            self.model.model,
            self.treatments.edit.in_words(),
            self.run.class.fold
        );
        texts.ablate(&command, &model, &plan, &edits, &what)
    }

    fn ablate_facts(
        &self,
        command: &LongCommand<'_>,
        model: &Model,
        (set, batch): (&PromptSet, &TokenBatch),
        plan: &AblationPlan,
        edits: &Edits<'_>,
    ) -> anyhow::Result<()> {
        let (engine, job) = (Engine::new(model), &command.job);
        let found = job.run(model, |run| ablate(run, &engine, batch, plan))?;
        let Some((ablation, wall_s)) = found else {
            return Ok(());
        };
        let (prompts, known) = (&set.prompts, ablation.known().len());
        let relations = ablation.known_by_relation(prompts);
        warn_of_values_kept(&ablation.changed);
        let effects = ablation.effects(plan, &self.run.bootstrap())?;
        let treatments = || plan.treatments.iter();
        let neurons = treatments().map(|t| (&t.class, t.neurons.len()));
        let shortfall = treatments().map(|t| (&t.class, &t.shortfall));
        let counts = json!({
            "prompts": prompts.len(),
            "known": known,
            "edited_prompts": ablation.edited_prompts,
            "conditions": plan.len(),
            "edits": ablation.changed,
            "reference": edits.reference_json(ablation.reference),
            "frequencies": edits.frequencies_json(),
            "passes": ablation.passes,
            "neurons": neurons.collect::<BTreeMap<_, _>>(),
            "shortfall": shortfall.collect::<BTreeMap<_, _>>(),
            "known_by_relation": relations,
        });
        let files = |_: &RunInfo| {
            let outcomes: Vec<Outcome> = ablation.outcomes().collect();
            let outcomes = outcomes_parquet(&outcomes, prompts, &command.opened.tokenizer)?;
            let json = serde_json::to_vec_pretty(&effects)?;
            Ok(vec![("outcomes.parquet", outcomes), ("effects.json", json)])
        };
        let json = json!({"effects": effects, "known_by_relation": relations});
        command.finish(wall_s, counts, files, &json, || {
            print_relations(&relations);
            outln!(
                "\n{}: knows {known} of {} facts; {} on {} prompts, {} draws, fold {}",
                self.model.model,
                prompts.len(),
                self.treatments.edit.in_words(),
                ablation.edited_prompts,
                self.draws,
                self.run.class.fold
            );
            edits.print_references(ablation.reference);
            print_effects(&effects, self.facts.subset);
        })
    }
}
