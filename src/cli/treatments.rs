//! What `ablate`, `sweep`, `attributes` and `rank` share: which neurons are edited, how, and on which prompts.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::args::{ClassArgs, ModelArg, as_text, parse_layers};
use super::edit_args::{EditArgs, Recorded, print_reference};
use super::inputs::{Tokenize, checked_batch, read_prompts};
use super::setup::{bos_in_words, check_memory, find_model, open_checkpoint, tokenizer};
use crate::experiment::{AblationPlan, CleanReference, PromptSubset, Treatment};
use crate::hooks::{Mode, NeuronSet};
use crate::hub::LocatedModel;
use crate::io_class::{
    ClassError, ClassQuery, FiringFrequencies, Match, NeuronTable, check_layers, check_threshold,
    matched_draws,
};
use crate::model::{Checkpoint, Config, LoadOptions};
use crate::prompts::{PromptError, PromptSet};
use crate::report::{PromptSetInfo, Reading, RecordedFolder, RunInfo};
use crate::stats::BootstrapSettings;
use crate::tokens::{BosPolicy, TokenBatch, Tokenizer};

/// Which facts are asked, and on which of them the edits run.
#[derive(Args, Serialize)]
pub struct FactArgs {
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Run the edits on the prompts whose first target token is the model's top-1 (known), or on all.
    #[arg(long, default_value = "known", value_name = "known|all")]
    #[serde(serialize_with = "as_text")]
    pub subset: PromptSubset,
}

impl FactArgs {
    /// The prompts.
    pub fn read(&self) -> Result<PromptSet, PromptError> {
        read_prompts(self.prompts.as_deref())
    }
}

/// How neurons are edited, and what both the edits and the inputs depend on.
#[derive(Args, Serialize)]
pub struct ConditionArgs {
    #[command(flatten)]
    #[serde(flatten)]
    edit: EditArgs,
    /// Seed of everything drawn at random: sets and orders of neurons, the prompts that --mode resample takes values
    /// from, the bootstrap.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Only neurons of these layers: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    pub layers: Option<Range<usize>>,
    /// Whether prompts begin with a BOS token: as the model's tokenizer does (auto), always or never.
    #[arg(long, default_value = "auto", value_name = "auto|always|never")]
    #[serde(serialize_with = "as_text")]
    pub bos: BosPolicy,
}

/// Which neurons are edited, how, and what random ones they are compared with.
#[derive(Args, Serialize)]
pub struct TreatmentArgs {
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
    pub conditions: ConditionArgs,
    /// What the random sets share with the class. layer: the layers. layer+norm: also about the norms of w_out,
    /// each neuron of the class having as its partner one of the tenth of its layer that is nearest to it in the
    /// ranking by norm. layer+frequency: the same by firing frequency, P(gate > 0), of which a recording is
    /// needed: `gatelens record --text neutral --out runs/neutral`, then --reference runs/neutral. Neurons that
    /// fire equally often are ranked by their numbers, with the class's neuron in their middle.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm|layer+frequency"
    )]
    #[serde(serialize_with = "as_text")]
    matching: Match,
}

/// A set of neurons with its name in outputs.
pub type Named = (String, NeuronSet);

/// What a run needs besides the weights.
pub struct RunInputs {
    pub prompts: PromptSet,
    pub located: LocatedModel,
    pub tokenizer: Tokenizer,
    pub batch: TokenBatch,
    /// The longest input that the model was made for, in tokens.
    pub max_positions: usize,
    /// Rows of the model's embedding.
    pub vocab_size: usize,
    mode: Mode,
    /// The folder that the mode's means come from, if any.
    recorded: Option<Recorded>,
    /// The folder of `--reference`.
    reference: Option<RecordedFolder>,
    /// What random sets are matched by, and the folder that it comes from.
    frequencies: Option<(FiringFrequencies, Recorded)>,
    /// The set that `--neurons` names.
    neurons: Option<Named>,
}

impl RunInputs {
    /// Where the values of the mode came from, for `run.json`; `clean`: from the run's own prompts.
    pub fn reference(&self, clean: Option<CleanReference>) -> Option<serde_json::Value> {
        let recorded = self.recorded.as_ref().map(|r| serde_json::json!(r));
        clean.map(|clean| serde_json::json!(clean)).or(recorded)
    }

    /// Where the frequencies that random sets are matched by came from, for `run.json`.
    pub fn frequencies(&self) -> Option<&Recorded> {
        self.frequencies.as_ref().map(|(_, recorded)| recorded)
    }

    /// Refuses a reference that was recorded in windows of another length than these.
    pub fn check_context(&self, context: usize) -> anyhow::Result<()> {
        let here = Reading {
            context: Some(context),
            max_positions: Some(self.max_positions),
            ..Reading::default()
        };
        let mut reference = self.reference.iter();
        Ok(reference.try_for_each(|folder| folder.check_settings(&here))?)
    }

    fn read_frequencies(&mut self, config: &Config) -> anyhow::Result<()> {
        let folder = self.reference.as_ref().ok_or(ClassError::NeedsFrequency)?;
        let (frequencies, tokens) = folder.frequencies(config.n_layers(), config.d_mlp)?;
        self.frequencies = Some((frequencies, Recorded::of(folder, tokens)?));
        Ok(())
    }

    /// Both for a person.
    pub fn print_reference(&self, clean: Option<CleanReference>) {
        print_reference(clean, self.recorded.as_ref());
        if let Some(recorded) = self.frequencies() {
            recorded.print("firing frequencies");
        }
    }
}

impl ConditionArgs {
    /// Refuses settings that would do nothing; `matching`: what random sets share, where any are drawn.
    pub fn check(&self, matching: Option<Match>) -> anyhow::Result<()> {
        self.edit.check(matching)
    }

    /// Checks everything that can be wrong before a weight is read. `neurons` is a file that stands for a class;
    /// `tokenize` makes the batch of `prompts`.
    pub fn prepare(
        &self,
        model: &ModelArg,
        class: &ClassArgs,
        neurons: Option<&Path>,
        load_options: &LoadOptions,
        prompts: PromptSet,
        tokenize: Tokenize,
    ) -> anyhow::Result<(Checkpoint, RunInputs)> {
        check_threshold(class.threshold)?;
        let located = find_model(&model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        check_memory(load_options, checkpoint.config())?;
        if let Some(layers) = &self.layers {
            check_layers(layers, checkpoint.config().n_layers()).context("--layers")?;
        }
        let neurons = read_neurons(neurons, self.layers.as_ref(), &checkpoint)?;
        let tokenizer = tokenizer(&located)?;
        let vocab_size = checkpoint.config().vocab_size;
        let batch = checked_batch(tokenize, &prompts, &tokenizer, self.bos, vocab_size)?;
        let (bos, fold) = (bos_in_words(self.bos, &tokenizer)?, class.fold.to_string());
        let reading = Reading {
            bos: Some(&bos),
            dtype: Some(load_options.dtype.as_str()),
            fold: Some(&fold),
            ..Reading::default()
        };
        let reference = self.edit.open_reference(&located, &tokenizer, reading)?;
        let (mode, recorded) = self
            .edit
            .read_mode(reference.as_ref(), checkpoint.config())?;
        let inputs = RunInputs {
            prompts,
            located,
            tokenizer,
            batch,
            max_positions: checkpoint.config().max_positions,
            vocab_size,
            mode,
            recorded,
            reference,
            frequencies: None,
            neurons,
        };
        Ok((checkpoint, inputs))
    }

    /// The neuron file, or else the neurons of each class.
    pub fn select(
        &self,
        table: &NeuronTable,
        inputs: &RunInputs,
        classes: &[ClassQuery],
    ) -> anyhow::Result<Vec<Named>> {
        select(
            table,
            classes,
            inputs.neurons.as_ref(),
            self.layers.as_ref(),
        )
    }

    /// The edit, of these neurons, to be run on `subset`.
    pub fn plan(
        &self,
        table: &NeuronTable,
        inputs: &RunInputs,
        treatments: Vec<Treatment>,
        subset: PromptSubset,
    ) -> AblationPlan {
        AblationPlan {
            treatments,
            mode: inputs.mode.clone(),
            positions: self.edit.positions,
            when: self.edit.when(),
            signs: self.edit.signs(table),
            subset,
            seed: self.seed,
        }
    }

    /// How the intervals are found.
    pub fn bootstrap(&self) -> BootstrapSettings {
        BootstrapSettings {
            seed: self.seed,
            ..BootstrapSettings::default()
        }
    }

    /// The edit in a few words.
    pub fn in_words(&self) -> String {
        self.edit.in_words()
    }

    /// What these arguments add to `run.json`.
    pub fn describe(&self, info: &mut RunInfo, inputs: &RunInputs) -> anyhow::Result<()> {
        info.tokenizer_sha256 = Some(inputs.tokenizer.sha256().to_string());
        info.bos = Some(bos_in_words(self.bos, &inputs.tokenizer)?);
        info.seed = Some(self.seed);
        let PromptSet { name, sha256, .. } = &inputs.prompts;
        info.prompts = Some(PromptSetInfo::new(name, sha256));
        Ok(())
    }
}

impl TreatmentArgs {
    /// Refuses settings that would do nothing, with so many random sets.
    pub fn check(&self, draws: usize) -> anyhow::Result<()> {
        anyhow::ensure!(
            draws > 0 || self.matching == Match::Layer,
            "--match {} changes nothing with --draws 0: there are no random sets; drop it, or draw some",
            self.matching
        );
        self.conditions.check(Some(self.matching))
    }

    /// Checks everything that can be wrong before a weight is read; `tokenize` makes the batch of `prompts`.
    pub fn prepare(
        &self,
        model: &ModelArg,
        class: &ClassArgs,
        load_options: &LoadOptions,
        prompts: PromptSet,
        tokenize: Tokenize,
    ) -> anyhow::Result<(Checkpoint, RunInputs)> {
        let neurons = self.neurons.as_deref();
        let conditions = &self.conditions;
        let (checkpoint, mut inputs) =
            conditions.prepare(model, class, neurons, load_options, prompts, tokenize)?;
        if self.matching == Match::LayerFrequency {
            inputs.read_frequencies(checkpoint.config())?;
        }
        Ok((checkpoint, inputs))
    }

    /// The classes, or the neuron file, with `draws` random sets each, to be run on `subset`.
    pub fn plan(
        &self,
        table: &NeuronTable,
        inputs: &RunInputs,
        draws: usize,
        subset: PromptSubset,
    ) -> anyhow::Result<AblationPlan> {
        let frequencies = inputs.frequencies.as_ref().map(|(given, _)| given);
        let matching = self.matching.with(frequencies)?;
        let sets = self.conditions.select(table, inputs, &self.classes)?;
        let treatments = sets.into_iter().map(|(name, set)| {
            let draws = matched_draws(table, &set, draws, self.conditions.seed, matching)
                .with_context(|| format!("baseline of {name}"))?;
            Ok(Treatment::new(name, set, draws))
        });
        let treatments = treatments.collect::<anyhow::Result<_>>()?;
        Ok(self.conditions.plan(table, inputs, treatments, subset))
    }
}

/// The neuron file, with the name that stands for a class; only neurons of `layers`.
pub fn read_neurons(
    path: Option<&Path>,
    layers: Option<&Range<usize>>,
    checkpoint: &Checkpoint,
) -> anyhow::Result<Option<Named>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let config = checkpoint.config();
    let mut set = NeuronSet::read(path, config.n_layers(), config.d_mlp)?;
    if let Some(layers) = layers {
        set = set.restrict_layers(layers.clone());
    }
    anyhow::ensure!(
        !set.is_empty(),
        "{} names no neuron in the chosen layers",
        path.display()
    );
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Some((name.into_owned(), set)))
}

/// The set of the neuron file, or else one for each class, in `layers`.
pub fn select(
    table: &NeuronTable,
    classes: &[ClassQuery],
    file: Option<&Named>,
    layers: Option<&Range<usize>>,
) -> anyhow::Result<Vec<Named>> {
    if let Some(named) = file {
        return Ok(vec![named.clone()]);
    }
    let mut sets: Vec<Named> = Vec::new();
    for query in classes {
        let name = query.name();
        anyhow::ensure!(
            sets.iter().all(|(earlier, _)| earlier != name),
            "--classes names {name} twice (perhaps by an alias); name it once"
        );
        let set = table.select(*query, layers.cloned())?;
        sets.push((name.to_string(), set));
    }
    Ok(sets)
}

fn as_texts<T: std::fmt::Display, S: serde::Serializer>(
    values: &[T],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(T::to_string))
}
