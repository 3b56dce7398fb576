//! An edit with what it needs besides the weights: the neurons and values that stand in files, read and checked.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use super::edit_args::EditArgs;
use super::reference::{Recorded, open_recording, print_clean};
use super::setup::{Opened, bos_in_words};
use crate::experiment::{AblationPlan, CleanReference, PromptSubset, Treatment};
use crate::hooks::{Mode, Needs, NeuronSet};
use crate::io_class::{ClassError, ClassQuery, Fold, NeuronNumbers, NeuronTable, check_layers};
use crate::model::Config;
use crate::report::{Reading, RecordedFolder, ReportError};
use crate::tokens::BosPolicy;

/// A set of neurons with its name in outputs.
pub type Named = (String, NeuronSet);

/// An edit whose files are read.
pub struct Edits<'a> {
    args: &'a EditArgs,
    /// With its means, where they were recorded.
    pub mode: Mode,
    /// The set of the neuron file, with the name that stands for a class.
    neurons: Option<Named>,
    /// The folder of `--reference`.
    folder: Option<RecordedFolder>,
    /// The folder again, where the mode's means come from it.
    means: Option<Recorded>,
    /// What random sets are matched by, and the folder that it comes from.
    frequencies: Option<(NeuronNumbers, Recorded)>,
}

impl<'a> Edits<'a> {
    /// Reads and checks all that the edit needs. `neurons` is a file that stands for a class; `bos` and `fold` are those
    /// of the run, which a recording must share.
    pub fn read(
        args: &'a EditArgs,
        neurons: Option<&Path>,
        opened: &Opened,
        bos: BosPolicy,
        fold: Fold,
    ) -> anyhow::Result<Self> {
        let config = opened.config();
        if let Some(layers) = &args.layers {
            check_layers(layers, config.n_layers()).context("--layers")?;
        }
        let neurons = neurons.map(|path| read_neurons(path, args.layers.clone(), config));
        let (bos, fold) = (bos_in_words(bos, &opened.tokenizer)?, fold.to_string());
        let reading = Reading {
            bos: Some(&bos),
            dtype: Some(opened.options.dtype.as_str()),
            fold: Some(&fold),
            positions: Some(&args.positions.to_string()),
            ..Reading::default()
        };
        let folder = args.reference.as_deref();
        let mut edits = Self {
            args,
            mode: args.mode.clone(),
            neurons: neurons.transpose()?,
            folder: folder
                .map(|dir| open_recording(dir, opened, &reading))
                .transpose()?,
            means: None,
            frequencies: None,
        };
        if let (Some(folder), Needs::CleanMeans) = (&edits.folder, edits.mode.needs()) {
            let (means, tokens) = folder.means(config.n_layers(), config.d_mlp)?;
            edits.means = Some(Recorded::of(folder, tokens)?);
            edits.mode = args.mode.clone().with_means(means);
        }
        Ok(edits)
    }

    /// Reads what random sets are matched by.
    pub fn read_frequencies(&mut self, config: &Config) -> anyhow::Result<()> {
        let folder = self.folder.as_ref().ok_or(ClassError::NeedsFrequency)?;
        let (frequencies, tokens) = folder.frequencies(config.n_layers(), config.d_mlp)?;
        self.frequencies = Some((frequencies, Recorded::of(folder, tokens)?));
        Ok(())
    }

    /// What random sets are matched by, where that is how often neurons fire.
    pub fn frequencies(&self) -> Option<&NeuronNumbers> {
        self.frequencies.as_ref().map(|(given, _)| given)
    }

    /// Refuses a reference that was recorded in windows of another length than these.
    pub fn check_context(&self, context: usize, config: &Config) -> Result<(), ReportError> {
        let here = Reading {
            context: Some(context),
            max_positions: Some(config.max_positions),
            ..Reading::default()
        };
        let mut folder = self.folder.iter();
        folder.try_for_each(|folder| folder.check_settings(&here))
    }

    /// The neuron file, or else the neurons of each class.
    pub fn select(
        &self,
        table: &NeuronTable,
        classes: &[ClassQuery],
    ) -> anyhow::Result<Vec<Named>> {
        if let Some(named) = &self.neurons {
            return Ok(vec![named.clone()]);
        }
        select(table, classes, self.args.layers.clone())
    }

    /// The edit, of these neurons, to be run on `subset`.
    pub fn plan(
        &self,
        table: &NeuronTable,
        treatments: Vec<Treatment>,
        subset: PromptSubset,
        seed: u64,
    ) -> AblationPlan {
        AblationPlan {
            positions: self.args.positions,
            when: self.args.when(),
            signs: self.args.signs(table),
            subset,
            seed,
            corruption: self.args.corruption(),
            direction: self.args.direction(),
            ..AblationPlan::new(treatments, self.mode.clone())
        }
    }

    /// Where the values of the mode came from, for `run.json`; `clean`: from the run's own prompts.
    pub fn reference_json(&self, clean: Option<CleanReference>) -> Option<Value> {
        let recorded = self.means.as_ref().map(|recorded| json!(recorded));
        clean.map(|clean| json!(clean)).or(recorded)
    }

    /// Where the frequencies that random sets are matched by came from, for `run.json`.
    pub fn frequencies_json(&self) -> Option<Value> {
        let recorded = self.frequencies.as_ref();
        recorded.map(|(_, recorded)| json!(recorded))
    }

    /// Both for a person, a line each.
    pub fn print_references(&self, clean: Option<CleanReference>) {
        if let Some(recorded) = &self.means {
            recorded.print("means");
        }
        clean.into_iter().for_each(print_clean);
        if let Some((_, recorded)) = &self.frequencies {
            recorded.print("firing frequencies");
        }
    }
}

/// The neurons of each class in these layers.
pub fn select(
    table: &NeuronTable,
    classes: &[ClassQuery],
    layers: Option<Range<usize>>,
) -> anyhow::Result<Vec<Named>> {
    let mut sets: Vec<Named> = Vec::new();
    for query in classes {
        let name = query.name();
        anyhow::ensure!(
            sets.iter().all(|(earlier, _)| earlier != name),
            "--classes names {name} twice (perhaps by an alias); name it once"
        );
        let set = table.select(*query, layers.clone())?;
        sets.push((name.to_string(), set));
    }
    Ok(sets)
}

/// The neurons of a file in these layers, with the file's name.
pub fn read_neurons(
    path: &Path,
    layers: Option<Range<usize>>,
    config: &Config,
) -> anyhow::Result<Named> {
    let mut set = NeuronSet::read(path, config.n_layers(), config.d_mlp)?;
    if let Some(layers) = layers {
        set = set.restrict_layers(layers);
    }
    anyhow::ensure!(
        !set.is_empty(),
        "{} names no neuron in the chosen layers",
        path.display()
    );
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((name.into_owned(), set))
}
