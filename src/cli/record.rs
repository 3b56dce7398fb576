//! `record`: what the neurons do while the model reads.

mod dense_args;
mod input_args;
mod view;

use std::ops::Range;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::dense_args::DenseArgs;
use self::input_args::InputArgs;
use super::args::{ModelArg, parse_layers};
use super::long_command::{LongCommand, RunArgs, merged};
use super::numbers;
use super::treatments::counts;
use crate::engine::Engine;
use crate::experiment::record::{
    ClassSets, RecordInput, RecordPlan, RecordSink, class_view, record,
};
use crate::experiment::{ExperimentError, Step, Treatment};
use crate::io_class::{
    Class, ClassError, Match, MatchedDraws, NeuronTable, check_layers, matched_draws,
};
use crate::report::{RecordFiles, RunInfo, draws_parquet, expected_bytes};

const AFTER_HELP: &str = "\
Examples:
  gatelens record --out runs/facts
  gatelens record --text neutral --max-tokens 20000 --out runs/neutral
  gatelens record --text a.txt --text b.jsonl --top 0 --out runs/texts
  gatelens record --dense --sites hook_resid_post --layers 10..12 --positions last --out runs/dense

Texts: a plain text file is one document, or several with a line of only --- between them; a JSON Lines file has \
one document a line in the field `text`. A document longer than --context is cut into windows without overlap, \
each read by itself, with a BOS token in front where --bos says so.

What is printed, of each class: the share of tokens with gate > 0; the mean |post|, where post = act(gate)·up; \
the mean |post|·‖w_out‖, the length of what a neuron adds to the residual stream (w_out as --fold has it). The \
baseline is the mean of --draws random sets of neurons from outside the class, as many in each layer. Interval \
of the difference counts two kinds of chance: which relations (or documents) were read, and which neurons were \
drawn. By layer there is none. p (Holm) is of the rank of the class among its draws, adjusted over the frequencies of \
all classes over all tokens; the rest is described. class_activity.json has all of it.

Roles of tokens (the first that holds): first (of the prompt or window, and not of the subject), last (of the prompt), \
subject-last, subject, other. Texts have first and other. Models park attention at the first token, which is like no \
other: whether a token is that stands by itself, in the column `first`, and subjects that begin a prompt have \
figures of their own.

Every number takes in every recorded token. Only the lists of top_tokens.parquet name an event once: a token \
whose whole context, itself and all before it, was recorded before has the same activations again and is left \
out. Prompts that all begin with `The capital of` would fill the lists otherwise.

Memory: the id and the place of every token stay (17 bytes), and the texts. A document is tokenized as a whole, \
which for a moment takes 100 to 250 times its size: part long texts into documents.

A pass takes about 33 thousand tokens (more where there would be more than 64 passes), or what memory has room for. \
Whatever ends the run, what its finished passes gave is kept; the same command with --resume goes on. Several passes need \
room for --dense and activations.parquet twice, and their sums are joined: means differ in their last digits from those \
of one pass.";

/// Record what every neuron does while the model reads prompts or texts
///
/// Reads the input once; memory hardly grows with it. Prints what each class does beside as many
/// random neurons of the same layers: how often gate is positive, how strong act(gate)·up is, and how much it
/// writes. With --out: tokens.parquet, activations.parquet (the strongest neurons of each token and layer),
/// summary.parquet and top_tokens.parquet (every neuron), class_activity.json, run.json, and with --dense
/// activations.safetensors (whole tensors).
#[derive(Args, Serialize)]
#[command(after_help = AFTER_HELP)]
pub struct Record {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    #[command(flatten)]
    #[serde(flatten)]
    input: InputArgs,
    /// The strongest neurons, by |post|, that activations.parquet holds of each token and layer (16 bytes each);
    /// 0: no such file.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = numbers::shown, allow_negative_numbers = true)]
    top: usize,
    #[command(flatten)]
    #[serde(flatten)]
    dense: DenseArgs,
    /// Record these layers alone, in all files: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    layers: Option<Range<usize>>,
    /// Random sets that each class is compared with.
    #[arg(long, default_value_t = 20, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    /// What the random sets share with the class: the layers, or also the norms of w_out.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm"
    )]
    matching: Match,
    #[command(flatten)]
    #[serde(flatten)]
    run: RunArgs,
}

impl Record {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        self.check_matching()?;
        let mut command = LongCommand::open("record", &self.model, &self.run)?;
        let config = command.opened.config();
        let layers = self.layers.clone().unwrap_or(0..config.n_layers());
        check_layers(&layers, config.n_layers()).context("--layers")?;
        let tensors = self.dense.plan(&layers, config)?;
        let (input, (prompts, texts)) = self.input.read(&command)?;
        let tensors = tensors.map(|plan| plan.with_rows(input.rows()));
        let dense = tensors.as_ref();
        command.describe(&self, prompts.as_ref(), texts)?;
        let bytes = expected_bytes(input.rows(), layers.len(), self.top, dense);
        // Of a run that goes on, a part is there.
        let anew = command.job.out().filter(|_| !command.job.goes_on());
        if let Some(out) = anew {
            out.check_space(bytes)?;
        }

        let table = command.classify()?;
        let sets = ClassSets::new(self.treatments(&table, &layers)?, &table);
        let out = command.job.out();
        let mut files = out.map(|out| RecordFiles::new(out, &table, self.top, dense));
        let plan = RecordPlan {
            input: &input,
            layers: layers.clone(),
            sets: &sets,
        };
        let step = |engine: &Engine<'_>| with_tables(plan.step(engine)?, bytes);
        let model = command.load(input.batch(), |engine| Ok(vec![step(engine)?]))?;
        let Some(model) = model else {
            return Ok(());
        };
        let found = command.run(&model, |run, engine| {
            if let Some(out) = anew {
                let enough = out.check_space(step(engine)?.bytes);
                enough.map_err(|why| ExperimentError::Store(why.into()))?;
            }
            let sink = files.as_mut().map(|files| files as &mut dyn RecordSink);
            record(run, engine, &plan, sink)
        })?;
        let Some(recording) = found else {
            return Ok(());
        };
        let activities = class_view(&recording.activity, &self.run.statistics())?;
        let counts = merged(input_counts(&input, &layers), counts(sets.treatments()));
        let write = |_: &RunInfo| {
            if let Some(files) = &files {
                files.finish(&recording, &input, &command.opened.tokenizer)?;
            }
            let activities = (
                "class_activity.json",
                serde_json::to_vec_pretty(&activities)?,
            );
            let draws = draws_parquet(sets.treatments())?;
            Ok(std::iter::once(activities).chain(draws).collect())
        };
        command.finish(counts, write, &activities, || {
            let heading = self.heading(&input, layers);
            view::print(&activities, &heading, &sets);
        })
    }

    fn check_matching(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            [Match::Layer, Match::LayerNorm].contains(&self.matching),
            "--match {} has nothing to match by: how often neurons fire, and how much they write, is what `record` \
             measures. Use layer or layer+norm here; `ablate` and `sweep` take frequencies from this recording \
             (--reference), and measure contributions and first-order effects themselves",
            self.matching
        );
        Ok(())
    }

    fn heading(&self, input: &RecordInput, layers: Range<usize>) -> view::Heading<'_> {
        view::Heading {
            model: &self.model.model,
            units: input.units.len(),
            unit_name: input.kind.units(),
            tokens: input.rows(),
            layers,
            fold: self.run.class.fold,
            draws: self.draws,
        }
    }

    /// The classes that have neurons in the recorded layers, each with its draws.
    fn treatments(
        &self,
        table: &NeuronTable,
        layers: &Range<usize>,
    ) -> anyhow::Result<Vec<Treatment>> {
        let matching = self.matching.with(None)?;
        let of_class = |class: Class| {
            let set = match table.select(class.into(), Some(layers.clone())) {
                Err(ClassError::EmptyClass { .. }) => return None,
                set => set,
            };
            Some(set.and_then(|set| {
                let draws = match matched_draws(table, &set, self.draws, self.run.seed, matching) {
                    // A class that is all there is has figures, and nothing to compare them with.
                    Err(ClassError::NothingOutside { .. }) => MatchedDraws::default(),
                    draws => draws?,
                };
                Ok(Treatment::new(class.to_string(), set, draws))
            }))
        };
        let treatments = Class::ALL.into_iter().filter_map(of_class);
        Ok(treatments.collect::<Result<_, ClassError>>()?)
    }
}

/// The step with tables of so many `bytes`, which are there twice while those of several passes are joined.
fn with_tables(step: Step, bytes: u64) -> Result<Step, ExperimentError> {
    let copies = if step.passes == Some(1) { 1 } else { 2 };
    Ok(Step {
        bytes: step.bytes + copies * bytes,
        ..step
    })
}

/// For `run.json`.
fn input_counts(input: &RecordInput, layers: &Range<usize>) -> serde_json::Value {
    let (sequences, tokens) = (input.sequences(), input.batch().tokens());
    json!({
        "units": input.units.len(),
        "kind": input.kind.units(),
        "sequences": {"read": sequences, "of": sequences},
        "tokens": {"read": tokens, "of": tokens},
        "rows": input.rows(),
        "repeated_rows": input.repeated_rows(),
        "layers": [layers.start, layers.end],
    })
}
