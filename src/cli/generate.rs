//! `generate`: what the model says, with and without some neurons.

mod side_by_side;
mod writer;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::{ClassArgs, ComputeArgs, ModelArg};
use super::edit_args::EditArgs;
use super::edits::Edits;
use super::numbers;
use super::setup::Opened;
use super::table::count;
use super::terminal::{Paint, print_json};
use crate::engine::Engine;
use crate::experiment::{Choice, Generator};
use crate::hooks::{Condition, Edit, Mode, Needs, NeuronSet};
use crate::io_class::{ClassQuery, NeuronTable};
use crate::model::RunWeights;
use crate::tokens::{BosPolicy, Positions, Sequence, Tokenizer, check_vocabulary};
use side_by_side::{LiveTable, print_difference, print_table};
use writer::{Writer, check, write_all};

/// Write on from a prompt, greedily or by sampling, with or without some neurons edited
///
/// Without --classes or --neurons the model is as it is. With them the text is that of the edited model;
/// --compare writes both, in a terminal as they come. Keys and values are kept, so each token passes
/// through the model once.
#[derive(Args)]
#[command(after_help = "Examples:
  gatelens generate --prompt 'The capital of France is'
  gatelens generate --prompt 'Once upon a time' --classes conditional-depletion --compare
  gatelens generate --prompt 'Dear' --temperature 0.8 --top-p 0.95 --seed 7")]
pub struct Generate {
    #[command(flatten)]
    model: ModelArg,
    /// The text to go on from.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Stop after so many tokens; a special token, such as the end of text, stops before.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = numbers::tokens, allow_negative_numbers = true)]
    max_tokens: usize,
    /// Sample from softmax(logits/T); 0 always takes the most probable token.
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "T",
        allow_hyphen_values = true
    )]
    temperature: f64,
    /// Sample from the K most probable tokens only.
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    top_k: Option<usize>,
    /// Sample from the most probable tokens that together have this probability; with --top-k those of the K,
    /// whose probabilities are still shares of the whole.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Seed of the sampling [default: 0].
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Edit the neurons of these classes, all of them together.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        conflicts_with = "neurons"
    )]
    classes: Vec<ClassQuery>,
    /// Edit the neurons of this file, one `layer.neuron` a line.
    #[arg(long, value_name = "FILE")]
    neurons: Option<PathBuf>,
    #[command(flatten)]
    edit: EditArgs,
    /// Write the unedited and the edited text side by side.
    #[arg(long)]
    compare: bool,
    /// Whether the prompt begins with a BOS token: as the model's tokenizer does (auto), always or never.
    #[arg(long, default_value = "auto", value_name = "auto|always|never")]
    bos: BosPolicy,
    #[command(flatten)]
    class: ClassArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print JSON for a machine instead.
    #[arg(long)]
    json: bool,
}

/// The name of an arm and its condition.
type Arm = (&'static str, Condition);

impl Generate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let opened = Opened::to_run(&self.model, &self.compute, RunWeights::Stored)?;
        let tokenizer = &opened.tokenizer;
        let prompt = self.prompt_ids(tokenizer, opened.config().vocab_size)?;
        self.check_length(prompt.len(), opened.config().max_positions)?;
        let arms = self.arms(&opened)?;
        let model = opened.load()?;
        let engine = Engine::new(&model);
        Generator::check(&engine, &prompt, self.max_tokens, arms.len())?;
        let writer = |arm| {
            let choice = self.choice();
            Writer::new(&engine, arm, &prompt, choice, self.max_tokens, tokenizer)
        };
        let mut writers: Vec<_> = arms.into_iter().map(writer).collect();
        if self.json {
            write_all(&mut writers, tokenizer, |_, _| Ok(()))?;
            check(&writers)?;
            print_json(&self.as_json(&writers))?;
        } else if self.compare {
            self.print_both(&mut writers, tokenizer)?;
        } else {
            self.print(&mut writers, tokenizer)?;
        }
        Ok(model.check_unchanged()?)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.edit.check(None, false)?;
        anyhow::ensure!(
            !self.prompt.is_empty(),
            "--prompt is empty; write some text to go on from"
        );
        anyhow::ensure!(
            self.temperature >= 0.0 && self.temperature.is_finite(),
            "--temperature {} cannot be sampled at; use 0 for the most probable token, or more",
            self.temperature
        );
        anyhow::ensure!(
            self.top_k != Some(0),
            "--top-k 0 leaves no token to choose; use at least 1"
        );
        anyhow::ensure!(
            self.top_p.is_none_or(|p| p > 0.0 && p <= 1.0),
            "--top-p must be more than 0 and at most 1, which leaves all tokens"
        );
        anyhow::ensure!(
            self.temperature > 0.0 || (self.top_k.is_none() && self.top_p.is_none()),
            "--top-k and --top-p change nothing at temperature 0; add --temperature 0.8"
        );
        anyhow::ensure!(
            self.edits() || !self.compare,
            "--compare needs something to edit; name --classes or --neurons"
        );
        anyhow::ensure!(
            self.edits() || !self.edit.is_asked_for(),
            "--mode, --positions, --when and --layers change nothing without neurons to edit; name --classes or --neurons"
        );
        anyhow::ensure!(
            self.temperature > 0.0 || self.seed.is_none(),
            "--seed changes nothing at temperature 0, which always takes the most probable token; add --temperature 0.8"
        );
        anyhow::ensure!(
            !matches!(
                self.edit.positions,
                Positions::Subject | Positions::SubjectLast
            ),
            "--positions {} needs prompts whose subject is known; use all, not-first or last",
            self.edit.positions
        );
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    fn edits(&self) -> bool {
        !self.classes.is_empty() || self.neurons.is_some()
    }

    /// The last token is written and not read.
    fn check_length(&self, prompt: usize, max: usize) -> anyhow::Result<()> {
        anyhow::ensure!(
            prompt <= max,
            "--prompt has {prompt} tokens, the model was made for at most {max}; shorten it"
        );
        let room = max - prompt + 1;
        anyhow::ensure!(
            self.max_tokens <= room,
            "--max-tokens {} after a prompt of {prompt} tokens is more than the {max} tokens that the model was made \
             for; use at most {room}",
            self.max_tokens
        );
        Ok(())
    }

    fn prompt_ids(&self, tokenizer: &Tokenizer, vocab_size: usize) -> anyhow::Result<Vec<u32>> {
        let encoded = tokenizer.encode(&self.prompt)?;
        let bos = tokenizer.bos_for(self.bos)?;
        anyhow::ensure!(
            bos.is_none() || encoded.ids.first().copied() != bos,
            "--prompt already begins with the BOS token; leave it out or pass --bos never"
        );
        let ids: Vec<u32> = bos.into_iter().chain(encoded.ids).collect();
        let sequence = Sequence::of_ids(0, ids.clone());
        check_vocabulary([&sequence], tokenizer, vocab_size)?;
        Ok(ids)
    }

    /// What is written: the clean text, the edited one, or both.
    fn arms(&self, opened: &Opened) -> anyhow::Result<Vec<Arm>> {
        let clean = ("clean", Condition::Clean);
        let ClassArgs { fold, threshold } = self.class;
        let file = self.neurons.as_deref();
        let edits = Edits::read(&self.edit, file, opened, self.bos, fold)?;
        if !self.edits() {
            return Ok(vec![clean]);
        }
        self.check_values(&edits.mode)?;
        let table = NeuronTable::classify(&opened.checkpoint, fold, threshold)?;
        let sets = edits.select(&table, &self.classes)?;
        let (names, sets): (Vec<String>, Vec<NeuronSet>) = sets.into_iter().unzip();
        let all = sets.iter().flat_map(NeuronSet::iter);
        let neurons = NeuronSet::new(opened.config(), all)?;
        let label = names.join(" + ");
        notice!(
            "{label}: {} neurons, {}",
            count(neurons.len()),
            self.edit.in_words()
        );
        let edit = Edit::new(neurons, edits.mode)
            .called(label)
            .at(self.edit.positions)
            .when(self.edit.when())
            .signs(self.edit.signs(&table));
        let edited = ("edited", Condition::Edited(edit));
        Ok(if self.compare {
            vec![clean, edited]
        } else {
            vec![edited]
        })
    }

    fn check_values(&self, mode: &Mode) -> anyhow::Result<()> {
        match mode.needs() {
            Needs::Nothing => Ok(()),
            Needs::CleanMeans => anyhow::bail!(
                "--mode {mode} needs means; give a folder of `gatelens record` with --reference"
            ),
            Needs::Donors | Needs::Counterfactuals => {
                anyhow::bail!("--mode {mode} needs other prompts; use zero, fixed or mean")
            }
        }
    }

    fn choice(&self) -> Choice {
        Choice {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed(),
        }
    }

    /// Prints the one text as it comes.
    fn print(&self, writers: &mut [Writer<'_, '_>], tokenizer: &Tokenizer) -> anyhow::Result<()> {
        out!("{}", Paint::Dim.on(&self.prompt));
        let written = write_all(writers, tokenizer, |new, _| {
            out!("{new}");
            Ok(())
        });
        // An error stands on a line of its own.
        outln!("");
        written?;
        check(writers)
    }

    /// Prints two texts side by side, in a terminal as they come.
    fn print_both(
        &self,
        writers: &mut [Writer<'_, '_>],
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<()> {
        let prompt = || outln!("{}\n", Paint::Dim.on(&self.prompt));
        if let Some(mut live) = LiveTable::new() {
            prompt();
            write_all(writers, tokenizer, |_, texts| live.draw(texts))?;
            live.finish(writers)?;
            check(writers)?;
        } else {
            write_all(writers, tokenizer, |_, _| Ok(()))?;
            check(writers)?;
            prompt();
            print_table(writers);
        }
        print_difference(writers, tokenizer);
        Ok(())
    }

    fn as_json(&self, texts: &[Writer<'_, '_>]) -> serde_json::Value {
        let texts = texts
            .iter()
            .map(|text| json!({"arm": text.name, "text": text.written, "tokens": text.ids}));
        json!({
            "model": self.model.model, "prompt": self.prompt, "temperature": self.temperature,
            "seed": self.seed(), "edit": self.edits().then(|| self.edit.in_words()),
            "texts": texts.collect::<Vec<_>>(),
        })
    }
}
