//! `neuron`: one neuron's case.

mod recorded;
mod searched;
mod weights;
mod where_it_fires;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use self::searched::Searched;
use self::weights::{columns, print_lens, print_weights};
use self::where_it_fires::WhereItFires;
use super::args::{ClassArgs, ComputeArgs, ModelArg};
use super::inputs::Texts;
use super::numbers;
use super::progress::Meter;
use super::reference::open_recording;
use super::setup::Opened;
use super::terminal::print_json;
use crate::engine::Engine;
use crate::experiment::neuron_activity;
use crate::hooks::Neuron;
use crate::io_class::{LensToken, MlpWeights, NeuronLens, NeuronRow, classify_layer, neuron_lens};
use crate::model::Mlp;
use crate::report::Reading;
use crate::tokens::{BosPolicy, Tokenizer, Windowing};

/// Show one neuron's case: its cosines and class, the tokens that its weights point at, where it fires
///
/// The neuron is written layer.neuron, both from 0, as in neurons.parquet. Reads: the tokens whose
/// embedding has the largest cosine with w_gate and w_in. Writes: the tokens whose logit a step along
/// w_out raises most (through the gain of the final norm). Where it fires: the largest |post| on the
/// bundled facts, on --prompts or --text, or in what was recorded before (--recorded).
#[derive(Args)]
#[command(
    after_help = "Examples:\n  gatelens neuron 13.1007\n  gatelens neuron 5.20 --model gemma3-270m --text neutral\n  \
                  gatelens record --text neutral --out runs/neutral\n  gatelens neuron 5.20 --recorded runs/neutral"
)]
pub struct NeuronArgs {
    /// The neuron, such as 13.1007.
    #[arg(value_name = "L.N")]
    neuron: Neuron,
    #[command(flatten)]
    model: ModelArg,
    /// Where to look for it: prompts (JSON Lines, known_1000, CounterFact) [default: the bundled facts].
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    prompts: Option<PathBuf>,
    /// Where to look for it: plain text or JSON Lines with a `text` field; `neutral` is the bundled text.
    #[arg(long, value_name = "FILE")]
    text: Vec<PathBuf>,
    /// Where to look for it: a folder that `gatelens record` wrote with the same model and tokenizer. Nothing is
    /// run: sign cases are those of summary.parquet, occurrences those of top_tokens.parquet, at most 16, without
    /// gate and up.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["prompts", "text", "context", "bos", "max_memory", "dtype", "device"]
    )]
    recorded: Option<PathBuf>,
    /// Longest stretch of a text that is read at once, in tokens.
    #[arg(long, default_value_t = 1024, value_name = "TOKENS", requires = "text", value_parser = numbers::tokens, allow_negative_numbers = true)]
    context: usize,
    /// How many tokens and occurrences to show.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = numbers::shown, allow_negative_numbers = true)]
    top: usize,
    /// Whether a BOS token is prepended: auto does what the model's tokenizer does.
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

/// Where the neuron is looked for.
enum Source {
    Texts(Searched),
    Recording(WhereItFires),
}

impl NeuronArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let opened = Opened::new(&self.model, &self.compute)?;
        self.check(&opened)?;
        let source = self.source(&opened)?;
        let row = self.row(&opened)?;
        let lens = neuron_lens(&opened.checkpoint, self.neuron, self.top)?;
        let fires = match source {
            Source::Recording(fires) => fires,
            Source::Texts(texts) => self.look(texts, &opened)?,
        };
        if self.json {
            let json = self.as_json(&row, &lens, &fires, &opened.tokenizer);
            print_json(&json)?;
        } else {
            let neuron = format!("{} of {}", self.neuron, self.model.model);
            let ClassArgs { fold, threshold } = self.class;
            let by = format!("fold {fold}, threshold {threshold}");
            print_weights(&neuron, &row, &by, opened.config().d_model);
            print_lens(&lens, &opened.tokenizer);
            fires.print(row.sign);
        }
        Ok(())
    }

    fn source(&self, opened: &Opened) -> anyhow::Result<Source> {
        if let Some(dir) = &self.recorded {
            let fold = self.class.fold.to_string();
            let reading = Reading {
                fold: Some(&fold),
                ..Reading::default()
            };
            let folder = open_recording(dir, opened, &reading)?;
            let fires = recorded::read(&folder, self.neuron, self.top)?;
            return Ok(Source::Recording(fires));
        }
        opened.check_memory()?;
        if self.text.is_empty() {
            let texts = Searched::of_prompts(self.prompts.as_deref(), opened, self.bos)?;
            return Ok(Source::Texts(texts));
        }
        let cut = Windowing {
            bos: self.bos,
            context: self.context,
            max_tokens: None,
        };
        let texts = Searched::of_documents(Texts::read(&self.text, opened, cut)?)?;
        Ok(Source::Texts(texts))
    }

    /// Runs the model over the prompts or the texts.
    fn look(&self, texts: Searched, opened: &Opened) -> anyhow::Result<WhereItFires> {
        let model = opened.load()?;
        let meter = Meter::new();
        let activity = neuron_activity(&Engine::new(&model), &texts.batch, self.neuron, &meter)?;
        meter.clear();
        model.check_unchanged()?;
        Ok(texts.seen(&activity, self.top, &opened.tokenizer))
    }

    fn check(&self, opened: &Opened) -> anyhow::Result<()> {
        let (layers, d_mlp) = (opened.config().n_layers(), opened.config().d_mlp);
        anyhow::ensure!(
            self.neuron.layer < layers && self.neuron.index < d_mlp,
            "{} has no neuron {}: its layers are 0 to {}, its neurons 0 to {}",
            self.model.model,
            self.neuron,
            layers - 1,
            d_mlp - 1
        );
        Ok(())
    }

    fn row(&self, opened: &Opened) -> anyhow::Result<NeuronRow> {
        let Neuron { layer, index } = self.neuron;
        let mlp = Mlp::load(&opened.checkpoint, layer)?;
        let ClassArgs { fold, threshold } = self.class;
        let rows = classify_layer(layer, &MlpWeights::from(&mlp), fold, threshold)?;
        Ok(rows[index])
    }

    fn as_json(
        &self,
        row: &NeuronRow,
        lens: &NeuronLens,
        fires: &WhereItFires,
        tokenizer: &Tokenizer,
    ) -> Value {
        let token = |t: &LensToken| json!({"token": tokenizer.token_text(t.token), "id": t.token, "score": t.score});
        let tokens = |tokens: &[LensToken]| tokens.iter().map(token).collect::<Vec<_>>();
        let lenses = columns(lens).map(|(name, ranked)| {
            let both = json!({"top": tokens(&ranked.top), "bottom": tokens(&ranked.bottom)});
            (name.replace('\n', " "), both)
        });
        json!({
            "model": self.model.model, "neuron": self.neuron.to_string(), "class": row.class.as_str(),
            "fold": self.class.fold.to_string(), "threshold": self.class.threshold,
            "cos_gate_in": row.cosines.gate_in, "cos_gate_out": row.cosines.gate_out,
            "cos_in_out": row.cosines.in_out, "norm_gate": row.norm_gate, "norm_in": row.norm_in,
            "norm_out": row.norm_out, "sign": row.sign,
            "lens": serde_json::Map::from_iter(lenses), "texts": fires.texts,
            "recorded": fires.recorded, "tokens": fires.statistics.tokens,
            "frequency": fires.statistics.frequency, "sign_cases": fires.statistics.sign_cases,
            "sign_cases_in_reference_sign": fires.in_reference_sign(row.sign),
            "strongest": fires.strongest,
        })
    }
}
