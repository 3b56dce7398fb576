//! `ablate`: switch classes off and measure what that costs.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::ablate_text::TextArgs;
use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs};
use super::edit_args::warn_of_values_kept;
use super::effects_table::{print_effects, print_relations, warn_of_baselines};
use super::progress::Meter;
use super::setup::run_info;
use super::treatments::{FactArgs, Ready, TreatmentArgs};
use crate::engine::Engine;
use crate::experiment::{
    Ablation, AblationPlan, Effect, KnownByRelation, ablate, effects, known_by_relation,
};
use crate::io_class::NeuronTable;
use crate::model::Model;
use crate::report::{OutDir, RunInfo, outcomes_parquet};
use crate::stats::BootstrapSettings;
use crate::tokens::tokenize;

/// Ablate classes of neurons and measure factual recall against layer-matched random neurons
///
/// Every prompt is run clean; those that the model knows (or all, with --subset all) are run again
/// with each class edited, and with as many random neurons of the same layers, several draws. The
/// table gives mean log-probabilities of the target and the class's difference to the mean of the
/// draws with its 95 % interval (over prompts and draws). With --out: outcomes.parquet,
/// effects.json, run.json. With --text the same is asked of running text, document by document.
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
    #[arg(long, default_value_t = 20)]
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

impl Ablate {
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

        let asks_for_text = !self.text.text.is_empty();
        let texts = asks_for_text.then(|| self.text.read(&self.treatments, &ready));
        let texts = texts.transpose()?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let plan = self
            .treatments
            .plan(&table, &ready, self.draws, self.facts.subset)?;
        warn_of_baselines(&plan);
        let model = Model::load(checkpoint, load_options)?;
        if let Some(texts) = texts {
            let info = self.info(&model, &ready)?;
            let output = (out.as_ref(), self.output.json);
            return texts.ablate(&model, &plan, &ready, output, info, start);
        }
        let meter = Meter::new();
        let ablation = ablate(&Engine::new(&model), &ready.batch, &plan, &meter)?;
        meter.clear();
        warn_of_values_kept(&ablation.changed);
        let settings = BootstrapSettings {
            seed: self.treatments.seed,
            ..BootstrapSettings::default()
        };
        let effects = effects(&ablation.outcomes, &plan, &settings)?;
        let prompts = &ready.prompts.prompts;
        let relations = known_by_relation(&ablation.outcomes, prompts);

        if let Some(out) = &out {
            let mut info = self.info(&model, &ready)?;
            info.counts = counts(&ablation, &plan, &relations, &ready);
            info.wall_s = start.elapsed().as_secs_f64();
            write(out, &ablation, &effects, &ready, info)?;
        }
        if self.output.json {
            let json = serde_json::json!({"effects": effects, "known_by_relation": relations});
            println!("{}", serde_json::to_string_pretty(&json)?);
        } else {
            print_relations(&relations);
            self.print_heading(&ablation, prompts.len());
            ready.print_reference(ablation.reference);
            print_effects(&effects, self.facts.subset);
            if let Some(out) = &out {
                println!("files in {}", out.path().display());
            }
        }
        Ok(())
    }

    /// `run.json` but for the counts.
    fn info(&self, model: &Model, ready: &Ready) -> anyhow::Result<RunInfo> {
        let settings = serde_json::to_value(self)?;
        let mut info = run_info(
            "ablate",
            settings,
            &ready.located,
            model.config(),
            Some(&self.compute),
            &self.class,
        )?;
        self.treatments.describe(&mut info, ready)?;
        Ok(info)
    }

    fn print_heading(&self, ablation: &Ablation, prompts: usize) {
        println!(
            "\n{}: knows {} of {prompts} facts; {} on {} prompts, {} draws, fold {}",
            self.model.model,
            ablation.known,
            self.treatments.in_words(),
            ablation.edited_prompts,
            self.draws,
            self.class.fold
        );
    }
}

fn write(
    out: &OutDir,
    ablation: &Ablation,
    effects: &[Effect],
    ready: &Ready,
    info: RunInfo,
) -> anyhow::Result<()> {
    Ok(out.write(&[
        (
            "outcomes.parquet",
            outcomes_parquet(&ablation.outcomes, &ready.prompts.prompts, &ready.tokenizer)?,
        ),
        ("effects.json", serde_json::to_vec_pretty(effects)?),
        ("run.json", info.to_json()?),
    ])?)
}

fn counts(
    ablation: &Ablation,
    plan: &AblationPlan,
    relations: &[KnownByRelation],
    ready: &Ready,
) -> serde_json::Value {
    serde_json::json!({
        "prompts": ready.prompts.prompts.len(),
        "known": ablation.known,
        "edited_prompts": ablation.edited_prompts,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": ready.reference(ablation.reference),
        "passes": ablation.passes,
        "neurons": plan.treatments.iter().map(|t| (&t.class, t.neurons.len())).collect::<BTreeMap<_, _>>(),
        "shortfall": plan.treatments.iter().map(|t| (&t.class, &t.shortfall)).collect::<BTreeMap<_, _>>(),
        "known_by_relation": relations,
    })
}
