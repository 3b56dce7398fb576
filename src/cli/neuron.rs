//! `neuron`: one neuron's case.

mod recorded;
mod seen;
mod texts;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::{ClassArgs, ComputeArgs, ModelArg};
use super::numbers;
use super::progress::Meter;
use super::setup::{check_memory, find_model, open_checkpoint, tokenizer};
use super::table::text_table;
use super::terminal::{Paint, print_json};
use crate::engine::Engine;
use crate::experiment::neuron_activity;
use crate::hooks::Neuron;
use crate::io_class::{
    LensToken, MlpWeights, NeuronLens, NeuronRow, beta_region, check_threshold, classify_layer,
    neuron_lens,
};
use crate::model::{Checkpoint, LoadOptions, Mlp, Model};
use crate::report::RecordedFolder;
use crate::tokens::{BosPolicy, Tokenizer};
use seen::{Seen, visible};
use texts::Texts;

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
    Texts(Texts),
    Recording(Seen),
}

impl NeuronArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        check_threshold(self.class.threshold)?;
        let recorded = self.recorded.as_deref().map(RecordedFolder::open);
        let recorded = recorded.transpose()?;
        let options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        self.check(&checkpoint)?;
        let tokenizer = tokenizer(&located)?;
        let source = match recorded {
            Some(folder) => {
                Source::Recording(recorded::read(&self, &folder, &located, &tokenizer)?)
            }
            None => {
                check_memory(&options, checkpoint.config())?;
                Source::Texts(Texts::read(
                    &self,
                    &tokenizer,
                    checkpoint.config().vocab_size,
                )?)
            }
        };

        let row = self.row(&checkpoint)?;
        let lens = neuron_lens(&checkpoint, self.neuron, self.top)?;
        let d_model = checkpoint.config().d_model;
        let seen = match source {
            Source::Recording(seen) => seen,
            Source::Texts(texts) => self.look(texts, checkpoint, options, &tokenizer)?,
        };
        if self.json {
            let json = self.as_json(&row, &lens, &seen, &tokenizer);
            print_json(&json)?;
        } else {
            self.print_weights(&row, d_model);
            print_lens(&lens, &tokenizer);
            seen.print(row.sign);
        }
        Ok(())
    }

    /// Runs the model over the texts.
    fn look(
        &self,
        texts: Texts,
        checkpoint: Checkpoint,
        options: LoadOptions,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Seen> {
        let model = Model::load(checkpoint, options)?;
        let meter = Meter::new();
        let activity = neuron_activity(&Engine::new(&model), &texts.batch, self.neuron, &meter)?;
        meter.clear();
        model.check_unchanged()?;
        Ok(texts.seen(&activity, self.top, tokenizer))
    }

    fn check(&self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let config = checkpoint.config();
        anyhow::ensure!(
            self.neuron.layer < config.n_layers() && self.neuron.index < config.d_mlp,
            "{} has no neuron {}: its layers are 0 to {}, its neurons 0 to {}",
            self.model.model,
            self.neuron,
            config.n_layers() - 1,
            config.d_mlp - 1
        );
        Ok(())
    }

    fn row(&self, checkpoint: &Checkpoint) -> anyhow::Result<NeuronRow> {
        let mlp = Mlp::load(checkpoint, self.neuron.layer)?;
        let weights = MlpWeights::from(&mlp);
        let rows = classify_layer(
            self.neuron.layer,
            &weights,
            self.class.fold,
            self.class.threshold,
        )?;
        Ok(rows[self.neuron.index])
    }

    fn print_weights(&self, row: &NeuronRow, d_model: usize) {
        let chance = beta_region(d_model).high;
        outln!(
            "neuron {} of {}: {} (fold {}, threshold {})\n",
            self.neuron,
            self.model.model,
            Paint::Bold.on(row.class.as_str()),
            self.class.fold,
            self.class.threshold
        );
        let cosines = [
            ("cos(gate, in)", row.cosines.gate_in),
            ("cos(gate, out)", row.cosines.gate_out),
            ("cos(in, out)", row.cosines.in_out),
        ];
        for (name, cosine) in cosines {
            let beyond = if cosine.abs() > chance {
                "beyond"
            } else {
                "within"
            };
            outln!("  {name:<15} {cosine:+.3}   {beyond} chance (±{chance:.3} for random vectors)");
        }
        outln!(
            "  lengths         gate {:.3}, in {:.3}, out {:.3}",
            row.norm_gate,
            row.norm_in,
            row.norm_out
        );
        let sign = match row.sign {
            1 => "+1: up and post are in reference sign as they are",
            _ => "-1: in reference sign, up and post are multiplied by -1",
        };
        outln!("  sign of gate·in {sign}\n");
    }

    fn as_json(
        &self,
        row: &NeuronRow,
        lens: &NeuronLens,
        seen: &Seen,
        tokenizer: &Tokenizer,
    ) -> serde_json::Value {
        let tokens = |tokens: &[LensToken]| -> Vec<serde_json::Value> {
            tokens
                .iter()
                .map(|t| json!({"token": tokenizer.token_text(t.token), "id": t.token, "score": t.score}))
                .collect()
        };
        let lenses: serde_json::Map<_, _> = columns(lens)
            .into_iter()
            .map(|(name, ranked)| {
                let both = json!({"top": tokens(&ranked.top), "bottom": tokens(&ranked.bottom)});
                (name.replace('\n', " "), both)
            })
            .collect();
        json!({
            "model": self.model.model, "neuron": self.neuron.to_string(), "class": row.class.as_str(),
            "fold": self.class.fold.to_string(), "threshold": self.class.threshold,
            "cos_gate_in": row.cosines.gate_in, "cos_gate_out": row.cosines.gate_out,
            "cos_in_out": row.cosines.in_out, "norm_gate": row.norm_gate, "norm_in": row.norm_in,
            "norm_out": row.norm_out, "sign": row.sign, "lens": lenses, "texts": seen.texts,
            "recorded": seen.recorded, "tokens": seen.statistics.tokens,
            "frequency": seen.statistics.frequency, "sign_cases": seen.statistics.sign_cases,
            "sign_cases_in_reference_sign": seen.in_reference_sign(row.sign),
            "strongest": seen.strongest,
        })
    }
}

/// The lenses with the headers of their columns.
fn columns(lens: &NeuronLens) -> [(&'static str, &crate::io_class::Ranked); 5] {
    [
        ("gate reads\n(embedding, cos)", &lens.gate_reads),
        ("in reads\n(embedding, cos)", &lens.in_reads),
        ("gate\n(unembedding)", &lens.gate_logits),
        ("in\n(unembedding)", &lens.in_logits),
        ("out writes\n(unembedding)", &lens.out_logits),
    ]
}

fn print_lens(lens: &NeuronLens, tokenizer: &Tokenizer) {
    let columns = columns(lens);
    let cell = |token: &LensToken| {
        format!(
            "{:+.2} {}",
            token.score,
            visible(&tokenizer.token_text(token.token))
        )
    };
    let height = columns[0].1.top.len();
    let top = (0..height).map(|i| columns.map(|(_, ranked)| cell(&ranked.top[i])).to_vec());
    let dots = [columns.map(|_| "...".to_string()).to_vec()];
    let bottom = (0..height)
        .rev()
        .map(|i| columns.map(|(_, ranked)| cell(&ranked.bottom[i])).to_vec());
    let header = columns.map(|(name, _)| name);
    outln!("{}\n", text_table(&header, top.chain(dots).chain(bottom)));
}
