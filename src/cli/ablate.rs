//! `ablate`: switch classes off and measure what that costs.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::ablate_text::{TextArgs, Texts};
use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs};
use super::edit_args::warn_of_values_kept;
use super::effects_table::{print_effects, print_relations, warn_of_baselines};
use super::numbers;
use super::run::{Job, PartArgs};
use super::setup::run_info;
use super::terminal::print_json;
use super::treatments::{FactArgs, RunInputs, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{Ablation, AblationPlan, KnownByRelation, Outcome, ablate};
use crate::io_class::NeuronTable;
use crate::model::{Config, Model};
use crate::report::{RunInfo, outcomes_parquet};
use crate::tokens::tokenize;

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

impl Ablate {
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

        let asks_for_text = !self.text.text.is_empty();
        let texts = asks_for_text.then(|| self.text.read(&self.treatments, &inputs));
        let texts = texts.transpose()?;
        job.describe(|| {
            let mut info = self.info(checkpoint.config(), &inputs)?;
            if let Some(texts) = &texts {
                texts.describe(&mut info);
            }
            Ok(info)
        })?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let (draws, subset) = (self.draws, self.facts.subset);
        let plan = self.treatments.plan(&table, &inputs, draws, subset)?;
        warn_of_baselines(&plan);
        let model = Model::load(checkpoint, load_options)?;
        match texts {
            Some(texts) => self.ablate_texts(&texts, &model, &plan, &inputs, &job),
            None => self.ablate_facts(&model, &plan, &inputs, &job),
        }
    }

    fn ablate_texts(
        &self,
        texts: &Texts,
        model: &Model,
        plan: &AblationPlan,
        inputs: &RunInputs,
        job: &Job,
    ) -> anyhow::Result<()> {
        let Some((ablation, effects, written)) = texts.ablate(model, plan, inputs, job)? else {
            return Ok(());
        };
        if self.output.json {
            print_json(&effects)?;
            return written.say(true);
        }
        let what = format!(
            "{}: {}, {} draws, fold {},",
            self.model.model,
            self.treatments.conditions.in_words(),
            self.draws,
            self.class.fold
        );
        texts.print(&what, &ablation, &effects, inputs);
        written.say(false)
    }

    fn ablate_facts(
        &self,
        model: &Model,
        plan: &AblationPlan,
        inputs: &RunInputs,
        job: &Job,
    ) -> anyhow::Result<()> {
        let engine = Engine::new(model);
        let found = job.run(model, |run| ablate(run, &engine, &inputs.batch, plan))?;
        let Some((ablation, wall_s)) = found else {
            return Ok(());
        };
        let prompts = &inputs.prompts.prompts;
        let relations = ablation.known_by_relation(prompts);
        let outcomes: Vec<Outcome> = ablation.outcomes().collect();
        let outcomes = outcomes_parquet(&outcomes, prompts, &inputs.tokenizer)?;
        let counts = counts(&ablation, plan, &relations, inputs);
        warn_of_values_kept(&ablation.changed);
        let effects = ablation.effects(plan, &self.treatments.conditions.bootstrap())?;
        let json = serde_json::to_vec_pretty(&effects)?;
        let files = vec![("outcomes.parquet", outcomes), ("effects.json", json)];
        let written = job.finish(files, counts, wall_s);
        if self.output.json {
            let json = serde_json::json!({"effects": effects, "known_by_relation": relations});
            print_json(&json)?;
            return written.say(true);
        }
        print_relations(&relations);
        self.print_heading(&ablation, prompts.len());
        inputs.print_reference(ablation.reference);
        print_effects(&effects, self.facts.subset);
        written.say(false)
    }

    /// `run.json` but for the counts.
    fn info(&self, config: &Config, inputs: &RunInputs) -> anyhow::Result<RunInfo> {
        let settings = serde_json::to_value(self)?;
        let mut info = run_info(
            "ablate",
            settings,
            &inputs.located,
            config,
            Some(&self.compute),
            &self.class,
        )?;
        self.treatments.conditions.describe(&mut info, inputs)?;
        Ok(info)
    }

    fn print_heading(&self, ablation: &Ablation, prompts: usize) {
        outln!(
            "\n{}: knows {} of {prompts} facts; {} on {} prompts, {} draws, fold {}",
            self.model.model,
            ablation.known().len(),
            self.treatments.conditions.in_words(),
            ablation.edited_prompts,
            self.draws,
            self.class.fold
        );
    }
}

fn counts(
    ablation: &Ablation,
    plan: &AblationPlan,
    relations: &[KnownByRelation],
    inputs: &RunInputs,
) -> serde_json::Value {
    serde_json::json!({
        "prompts": inputs.prompts.prompts.len(),
        "known": ablation.known().len(),
        "edited_prompts": ablation.edited_prompts,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": inputs.reference(ablation.reference),
        "frequencies": inputs.frequencies(),
        "passes": ablation.passes,
        "neurons": plan.treatments.iter().map(|t| (&t.class, t.neurons.len())).collect::<BTreeMap<_, _>>(),
        "shortfall": plan.treatments.iter().map(|t| (&t.class, &t.shortfall)).collect::<BTreeMap<_, _>>(),
        "known_by_relation": relations,
    })
}
