//! `neuron`: one neuron's case.

use std::path::PathBuf;

use clap::Args;
use console::style;
use serde_json::json;

use super::args::{ClassArgs, ComputeArgs, ModelArg};
use super::progress::Meter;
use super::setup::{check_memory, find_model, tokenizer};
use super::table::{count, number_table, text_table};
use crate::engine::Engine;
use crate::experiment::{Firing, NeuronActivity, neuron_activity};
use crate::hooks::Neuron;
use crate::io_class::{
    LensToken, MlpWeights, NeuronLens, NeuronRow, beta_region, check_threshold, classify_layer,
    neuron_lens,
};
use crate::model::{Checkpoint, Mlp, Model};
use crate::prompts::{Documents, PromptSet};
use crate::tokens::{
    BosPolicy, Sequence, TokenBatch, Tokenizer, Window, Windowing, tokenize, windows,
};

/// Show one neuron's case: its cosines and class, the tokens that its weights point at, where it fires
///
/// The neuron is written layer.neuron, both from 0, as in neurons.parquet. Reads: the tokens whose
/// embedding has the largest cosine with w_gate and w_in. Writes: the tokens whose logit a step along
/// w_out raises most (through the gain of the final norm). Where it fires: the largest |post| on the
/// bundled facts, or on --prompts or --text.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  gatelens neuron 13.1007\n  gatelens neuron 5.20 --model gemma3-270m --text neutral"
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
    /// Longest stretch of a text that is read at once, in tokens.
    #[arg(long, default_value_t = 1024, value_name = "TOKENS")]
    context: usize,
    /// How many tokens and occurrences to show.
    #[arg(long, default_value_t = 10, value_name = "N")]
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

/// Bytes of a text that are shown on each side of a token.
const CONTEXT: usize = 48;

impl NeuronArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        check_threshold(self.class.threshold)?;
        let options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = Checkpoint::open(&located.files)?;
        check_memory(&options, checkpoint.config())?;
        self.check(&checkpoint)?;
        let tokenizer = tokenizer(&located)?;
        let texts = Texts::read(&self, &tokenizer)?;

        let row = self.row(&checkpoint)?;
        let lens = neuron_lens(&checkpoint, self.neuron, self.top)?;
        let model = Model::load(checkpoint, options)?;
        let meter = Meter::new();
        let activity = neuron_activity(&Engine::new(&model), &texts.batch, self.neuron, &meter)?;
        meter.clear();
        if self.json {
            let json = self.as_json(&row, &lens, &activity, &texts, &tokenizer);
            println!("{}", serde_json::to_string_pretty(&json)?);
        } else {
            self.print_weights(&row, model.config().d_model);
            print_lens(&lens, &tokenizer);
            print_activity(&activity, &texts.name);
            self.print_occurrences(&activity, &texts, &tokenizer);
        }
        Ok(())
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
        println!(
            "neuron {} of {}: {} (fold {}, threshold {})\n",
            self.neuron,
            self.model.model,
            style(row.class.as_str()).bold(),
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
            println!(
                "  {name:<15} {cosine:+.3}   {beyond} chance (±{chance:.3} for random vectors)"
            );
        }
        println!(
            "  lengths         gate {:.3}, in {:.3}, out {:.3}",
            row.norm_gate, row.norm_in, row.norm_out
        );
        let sign = match row.sign {
            1 => "+1: up and post are in reference sign as they are",
            _ => "-1: in reference sign, up and post are multiplied by -1",
        };
        println!("  sign of gate·in {sign}\n");
    }

    fn print_occurrences(&self, activity: &NeuronActivity, texts: &Texts, tokenizer: &Tokenizer) {
        println!("Strongest on {}:\n", texts.name);
        let strongest = activity.strongest(self.top).into_iter();
        let occurrences = strongest.map(|firing| (firing, texts.occurrence(&firing, tokenizer)));
        let occurrences: Vec<_> = occurrences.collect();
        let widths = occurrences.iter().map(|(_, o)| o.id.chars().count());
        let width = widths.max().unwrap_or(0);
        for (firing, occurrence) in occurrences {
            let Firing { gate, up, post, .. } = firing;
            let Occurrence {
                id,
                before,
                token,
                after,
            } = occurrence;
            let token = marked(&token);
            println!(
                "  {id:<width$}  post {post:+8.3}  gate {gate:+7.3}  up {up:+7.3}   {before}{token}{after}"
            );
        }
    }

    fn as_json(
        &self,
        row: &NeuronRow,
        lens: &NeuronLens,
        activity: &NeuronActivity,
        texts: &Texts,
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
        let strongest = activity.strongest(self.top).into_iter().map(|firing| {
            let o = texts.occurrence(&firing, tokenizer);
            json!({"id": o.id, "values": firing, "before": o.before, "token": o.token, "after": o.after})
        });
        json!({
            "model": self.model.model, "neuron": self.neuron.to_string(), "class": row.class.as_str(),
            "fold": self.class.fold.to_string(), "threshold": self.class.threshold,
            "cos_gate_in": row.cosines.gate_in, "cos_gate_out": row.cosines.gate_out,
            "cos_in_out": row.cosines.in_out, "norm_gate": row.norm_gate, "norm_in": row.norm_in,
            "norm_out": row.norm_out, "sign": row.sign, "lens": lenses, "texts": texts.name,
            "tokens": activity.firings().len(), "frequency": activity.frequency(),
            "sign_cases": activity.sign_cases(), "strongest": strongest.collect::<Vec<_>>(),
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
    println!("{}\n", text_table(&header, top.chain(dots).chain(bottom)));
}

fn print_activity(activity: &NeuronActivity, texts: &str) {
    let tokens = activity.firings().len();
    println!(
        "On {texts}, {} tokens: gate positive at {:.1} %\n",
        count(tokens),
        100.0 * activity.frequency()
    );
    let header = ["signs", "tokens", "%", "mean post", "strongest post"];
    let rows = activity.sign_cases().map(|case| {
        let number = |value: Option<f64>| value.map_or("–".to_string(), |v| format!("{v:+.4}"));
        vec![
            case.case.to_string(),
            count(case.tokens),
            format!("{:.1}", 100.0 * case.tokens as f64 / tokens as f64),
            number(case.mean_post),
            number(case.strongest_post.map(f64::from)),
        ]
    });
    println!("{}\n", number_table(&header, rows));
}

/// A token in colour, or between brackets where there is none.
fn marked(token: &str) -> String {
    match console::colors_enabled() {
        true => style(token).bold().reverse().to_string(),
        false => format!("[{token}]"),
    }
}

/// White space made visible, so that a table keeps its lines.
fn visible(text: &str) -> String {
    text.replace('\n', "⏎")
        .replace('\t', "⇥")
        .replace('\r', "␍")
}

/// The texts that are searched.
struct Texts {
    name: String,
    /// Id and text by prompt number.
    sources: Vec<(String, String)>,
    sequences: Vec<Sequence>,
    batch: TokenBatch,
}

/// One place in a text.
struct Occurrence {
    id: String,
    before: String,
    token: String,
    after: String,
}

impl Texts {
    fn read(args: &NeuronArgs, tokenizer: &Tokenizer) -> anyhow::Result<Texts> {
        if !args.text.is_empty() {
            return Self::of_documents(args, tokenizer);
        }
        let set = match &args.prompts {
            Some(path) => PromptSet::read(path)?,
            None => PromptSet::bundled()?,
        };
        let batch = tokenize(&set, tokenizer, args.bos)?;
        let sources = set.prompts.into_iter().map(|prompt| {
            let text = format!("{} {}", prompt.prompt, prompt.target);
            (prompt.id, text)
        });
        Ok(Self::new(set.name, sources.collect(), batch))
    }

    fn of_documents(args: &NeuronArgs, tokenizer: &Tokenizer) -> anyhow::Result<Texts> {
        let files = Documents::read_all(&args.text)?;
        let cut = Windowing {
            bos: args.bos,
            context: args.context,
            max_tokens: None,
        };
        let windows = windows(&files, tokenizer, cut)?;
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let documents: Vec<_> = files.iter().flat_map(|file| &file.documents).collect();
        let source = |window: &Window| {
            let document = documents[window.document];
            (document.id.clone(), document.text.clone())
        };
        let sources = windows.iter().map(source).collect();
        let sequences = windows.into_iter().map(|window| window.sequence).collect();
        Ok(Self::new(
            names.join(", "),
            sources,
            TokenBatch::new(sequences)?,
        ))
    }

    fn new(name: String, sources: Vec<(String, String)>, batch: TokenBatch) -> Texts {
        let mut sequences = batch.sequences().to_vec();
        sequences.sort_by_key(|sequence| sequence.prompt);
        Texts {
            name,
            sources,
            sequences,
            batch,
        }
    }

    fn occurrence(&self, firing: &Firing, tokenizer: &Tokenizer) -> Occurrence {
        let (id, text) = &self.sources[firing.prompt];
        let sequence = &self.sequences[firing.prompt];
        let mut occurrence = Occurrence {
            id: id.clone(),
            before: String::new(),
            token: visible(&tokenizer.token_text(sequence.ids[firing.position])),
            after: String::new(),
        };
        let place = sequence.span(firing.position);
        if let Some(place) = place
            .filter(|place| text.is_char_boundary(place.start) && text.is_char_boundary(place.end))
        {
            let start = text.floor_char_boundary(place.start.saturating_sub(CONTEXT));
            let end = text.ceil_char_boundary((place.end + CONTEXT).min(text.len()));
            occurrence.before = visible(&text[start..place.start]);
            occurrence.token = visible(&text[place.clone()]);
            occurrence.after = visible(&text[place.end..end]);
        }
        occurrence
    }
}
