//! `ablate`: switch classes off and measure what that costs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text, parse_layers};
use super::edit_args::{EditArgs, Recorded, print_reference, warn_of_values_kept};
use super::effects_table::{print_effects, print_relations, warn_of_baselines};
use super::progress::Meter;
use super::setup::{check_memory, find_model, run_info, tokenizer};
use crate::engine::Engine;
use crate::experiment::{
    Ablation, AblationPlan, Effect, KnownByRelation, PromptSubset, Treatment, ablate, effects,
    known_by_relation,
};
use crate::hooks::{ModeSpec, NeuronSet};
use crate::io_class::{
    ClassQuery, Match, NeuronTable, check_layers, check_threshold, matched_draws,
};
use crate::model::{Checkpoint, Model};
use crate::prompts::PromptSet;
use crate::report::{OutDir, PromptSetInfo, outcomes_parquet};
use crate::stats::BootstrapSettings;
use crate::tokens::{BosPolicy, Tokenizer, tokenize};

/// Ablate classes of neurons and measure factual recall against layer-matched random neurons
///
/// Every prompt is run clean; those that the model knows (or all, with --subset all) are run again
/// with each class edited, and with as many random neurons of the same layers, several draws. The
/// table gives mean log-probabilities of the target and the class's difference to the mean of the
/// draws with its 95 % interval (over prompts and draws). With --out: outcomes.parquet,
/// effects.json, run.json.
#[derive(Args, Serialize)]
pub struct Ablate {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Classes: enrichment, conditional-enrichment, depletion, conditional-depletion,
    /// proportional-change, each also with atypical-, and orthogonal-output; unions: any-enrichment,
    /// any-depletion, any-proportional-change. Strengthening and weakening are accepted for
    /// enrichment and depletion.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        default_value = "enrichment,conditional-enrichment,depletion,conditional-depletion"
    )]
    #[serde(serialize_with = "as_texts")]
    classes: Vec<ClassQuery>,
    /// Instead of classes: a file with one `layer.neuron` a line (# begins a comment).
    #[arg(long, value_name = "FILE", conflicts_with = "classes")]
    neurons: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    edit: EditArgs,
    /// Random sets per class.
    #[arg(long, default_value_t = 20)]
    draws: usize,
    /// Seed of the random sets, of the prompts that --mode resample takes values from, and of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What the random sets share with the class: the layers, or also the norms of w_out.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm"
    )]
    #[serde(serialize_with = "as_text")]
    matching: Match,
    /// Only neurons of these layers: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B")]
    layers: Option<Range<usize>>,
    /// Run the edits on the prompts whose first target token is the model's top-1 (known), or on all.
    #[arg(long, default_value = "known", value_name = "known|all")]
    #[serde(serialize_with = "as_text")]
    subset: PromptSubset,
    /// Whether prompts begin with a BOS token: as the model's tokenizer does (auto), always or never.
    #[arg(long, default_value = "auto", value_name = "auto|always|never")]
    #[serde(serialize_with = "as_text")]
    bos: BosPolicy,
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
        self.edit.check()?;
        let out = self.output.claim()?;
        let load_options = self.compute.load_options()?;
        let prompts = match &self.prompts {
            Some(path) => PromptSet::read(path)?,
            None => PromptSet::bundled()?,
        };
        check_threshold(self.class.threshold)?;
        let located = find_model(&self.model.model)?;
        let checkpoint = Checkpoint::open(&located.files)?;
        check_memory(&load_options, checkpoint.config())?;
        if let Some(layers) = &self.layers {
            check_layers(layers, checkpoint.config().n_layers())?;
        }
        let neurons = self.neurons.as_deref().map(|path| {
            NeuronSet::read(
                path,
                checkpoint.config().n_layers(),
                checkpoint.config().d_mlp,
            )
        });
        let neurons = neurons.transpose()?;
        let tokenizer = tokenizer(&located)?;
        let batch = tokenize(&prompts, &tokenizer, self.bos)?;
        let config = checkpoint.config();
        let (mode, recorded) = self.edit.read_mode(&located, config, &tokenizer)?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let plan = self.plan(&table, neurons, mode)?;
        warn_of_baselines(&plan);
        let model = Model::load(checkpoint, load_options)?;
        let meter = Meter::new();
        let ablation = ablate(&Engine::new(&model), &batch, &plan, &meter)?;
        meter.clear();
        warn_of_values_kept(&ablation.changed);
        let settings = BootstrapSettings {
            seed: self.seed,
            ..BootstrapSettings::default()
        };
        let effects = effects(&ablation.outcomes, &plan, &settings)?;
        let relations = known_by_relation(&ablation.outcomes, &prompts.prompts);

        if let Some(out) = &out {
            let mut info = run_info(
                "ablate",
                serde_json::to_value(&self)?,
                &located,
                model.config(),
                Some(&self.compute),
                &self.class,
            )?;
            info.tokenizer_sha256 = Some(tokenizer.sha256().to_string());
            info.bos = Some(self.bos_in_words(&tokenizer)?);
            info.seed = Some(self.seed);
            info.prompts = Some(PromptSetInfo {
                name: prompts.name.clone(),
                sha256: prompts.sha256.clone(),
            });
            info.counts = counts(&ablation, &plan, &relations, &prompts, recorded.as_ref());
            info.wall_s = start.elapsed().as_secs_f64();
            write(out, &ablation, &effects, &prompts, &tokenizer, info)?;
        }
        if self.output.json {
            let json = serde_json::json!({"effects": effects, "known_by_relation": relations});
            println!("{}", serde_json::to_string_pretty(&json)?);
        } else {
            print_relations(&relations);
            self.print_heading(&ablation, prompts.prompts.len());
            print_reference(ablation.reference, recorded.as_ref());
            print_effects(&effects, self.subset);
            if let Some(out) = &out {
                println!("files in {}", out.path().display());
            }
        }
        Ok(())
    }

    fn plan(
        &self,
        table: &NeuronTable,
        from_file: Option<NeuronSet>,
        mode: ModeSpec,
    ) -> anyhow::Result<AblationPlan> {
        let sets: Vec<(String, NeuronSet)> = match (from_file, &self.neurons) {
            (Some(set), Some(path)) => {
                let set = match &self.layers {
                    Some(layers) => set.restrict_layers(layers.clone()),
                    None => set,
                };
                anyhow::ensure!(
                    !set.is_empty(),
                    "{} names no neuron in the chosen layers",
                    path.display()
                );
                let name = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                vec![(name, set)]
            }
            _ => self
                .classes
                .iter()
                .map(|query| {
                    Ok((
                        query.name().to_string(),
                        table.select(*query, self.layers.clone())?,
                    ))
                })
                .collect::<anyhow::Result<_>>()?,
        };
        for (i, (name, _)) in sets.iter().enumerate() {
            let twice = sets[..i].iter().any(|(earlier, _)| earlier == name);
            anyhow::ensure!(
                !twice,
                "--classes names {name} twice (perhaps by an alias); name it once"
            );
        }
        let treatments = sets
            .into_iter()
            .map(|(name, set)| {
                let draws = matched_draws(table, &set, self.draws, self.seed, self.matching)
                    .with_context(|| format!("baseline of {name}"))?;
                Ok(Treatment::new(name, set, draws))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(AblationPlan {
            treatments,
            mode,
            positions: self.edit.positions,
            when: self.edit.when(),
            signs: self.edit.signs(table),
            subset: self.subset,
            seed: self.seed,
        })
    }

    fn print_heading(&self, ablation: &Ablation, prompts: usize) {
        println!(
            "\n{}: knows {} of {prompts} facts; {} on {} prompts, {} draws, fold {}",
            self.model.model,
            ablation.known,
            self.edit.in_words(),
            ablation.edited_prompts,
            self.draws,
            self.class.fold
        );
    }

    fn bos_in_words(&self, tokenizer: &Tokenizer) -> anyhow::Result<String> {
        Ok(match tokenizer.bos_for(self.bos)? {
            Some(id) => format!("{}: token {id} is prepended", self.bos),
            None => format!("{}: none is prepended", self.bos),
        })
    }
}

fn write(
    out: &OutDir,
    ablation: &Ablation,
    effects: &[Effect],
    prompts: &PromptSet,
    tokenizer: &Tokenizer,
    info: crate::report::RunInfo,
) -> anyhow::Result<()> {
    Ok(out.write(&[
        (
            "outcomes.parquet",
            outcomes_parquet(&ablation.outcomes, &prompts.prompts, tokenizer)?,
        ),
        ("effects.json", serde_json::to_vec_pretty(effects)?),
        ("run.json", info.to_json()?),
    ])?)
}

fn counts(
    ablation: &Ablation,
    plan: &AblationPlan,
    relations: &[KnownByRelation],
    prompts: &PromptSet,
    recorded: Option<&Recorded>,
) -> serde_json::Value {
    let clean = ablation.reference.map(|clean| serde_json::json!(clean));
    let recorded = recorded.map(|recorded| serde_json::json!(recorded));
    serde_json::json!({
        "prompts": prompts.prompts.len(),
        "known": ablation.known,
        "edited_prompts": ablation.edited_prompts,
        "conditions": plan.len(),
        "edits": ablation.changed,
        "reference": clean.or(recorded),
        "passes": ablation.passes,
        "neurons": plan.treatments.iter().map(|t| (&t.class, t.neurons.len())).collect::<BTreeMap<_, _>>(),
        "shortfall": plan.treatments.iter().map(|t| (&t.class, &t.shortfall)).collect::<BTreeMap<_, _>>(),
        "known_by_relation": relations,
    })
}

fn as_texts<T: std::fmt::Display, S: serde::Serializer>(
    values: &[T],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(T::to_string))
}
