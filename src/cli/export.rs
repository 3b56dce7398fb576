//! `export`: a model without some of its neurons, for other programs.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::DType;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{ClassArgs, ModelArg, OutputArgs, as_text, parse_layers};
use super::edits::{Named, read_neurons, select};
use super::progress::Meter;
use super::run::{Job, PartArgs};
use super::setup::{find_model, run_info, say_what_is_open};
use super::table::count;
use crate::engine::Progress;
use crate::hooks::{Mode, NeuronSet};
use crate::hub::ModelFiles;
use crate::io_class::{ClassQuery, NeuronTable, check_layers};
use crate::model::{Checkpoint, Config};
use crate::open::open_files;
use crate::tokens::Tokenizer;

/// Write the model with classes of neurons switched off, as a folder that transformers loads
///
/// The columns of down_proj of these neurons become 0 (or are multiplied), which is what `ablate --mode zero` does at every
/// token; everything else stays. The folder has safetensors, config.json, the tokenizer, a README.md that says what was
/// done, and run.json. So any program that reads Hugging Face models can measure the ablated one, such as
/// lm-evaluation-harness: `lm_eval --model hf --model_args pretrained=DIR --tasks lambada_openai`
#[derive(Args, Serialize)]
pub struct Export {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Classes, as in `gatelens ablate`.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        required_unless_present = "neurons"
    )]
    classes: Vec<ClassQuery>,
    /// Instead of classes: a file with one `layer.neuron` a line (# begins a comment).
    #[arg(long, value_name = "FILE", conflicts_with = "classes")]
    neurons: Option<PathBuf>,
    /// Only neurons of these layers: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    layers: Option<Range<usize>>,
    /// What becomes of what the neurons write. Other modes of `ablate` depend on the tokens, and no weight can hold them.
    #[arg(long, default_value = "zero", value_name = "zero|multiply=FACTOR")]
    #[serde(serialize_with = "as_text")]
    mode: Mode,
    /// Precision of the written weights.
    #[arg(long, value_enum, default_value_t = Dtype::F32, hide_possible_values = true, value_name = "f32|bf16")]
    dtype: Dtype,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    /// The folder that is made.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the folder that an earlier export left there.
    #[arg(long)]
    force: bool,
}

/// A precision of weights.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    F32,
    Bf16,
}

impl Dtype {
    fn candle(self) -> DType {
        match self {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
        }
    }

    /// In `config.json`.
    fn in_config(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::Bf16 => "bfloat16",
        }
    }
}

/// Files of a folder that belong to the tokenizer or to how the model writes; those that are there are copied.
const BESIDE: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "chat_template.jinja",
];

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let factor = match self.mode {
            Mode::Zero => 0.0,
            Mode::Multiply(1.0) => {
                anyhow::bail!("--mode {} changes nothing; use another factor", self.mode)
            }
            Mode::Multiply(factor) => f64::from(factor),
            _ => anyhow::bail!(
                "--mode {} gives values that depend on the tokens, and no weight can hold them; use zero or multiply=FACTOR",
                self.mode
            ),
        };
        let output = OutputArgs {
            out: Some(self.out.clone()),
            force: self.force,
            json: false,
        };
        let mut job = Job::claim(&output, &PartArgs::default())?;
        let located = find_model(&self.model.model)?;
        let (checkpoint, tokenizer) = open_files(&located.files)?;
        let config = checkpoint.config();
        say_what_is_open(config);
        let named = self.named(&checkpoint)?;
        let all = named.iter().flat_map(|(_, set)| set.iter());
        let neurons = NeuronSet::new(config, all)?;
        let export = crate::model::Export {
            checkpoint: &checkpoint,
            neurons: &|l| neurons.layer(l),
            factor,
            dtype: self.dtype.candle(),
        };
        job.describe(|| {
            let settings = serde_json::to_value(&self)?;
            run_info("export", settings, &located, config, None, &self.class)
        })?;
        let out = job.out().context("--out is there")?;
        out.check_space(export.bytes())?;
        let work = out.work();
        let meter = Meter::new();
        meter.start("weights", export.count());
        export.write(&work, &mut || meter.advance(1))?;
        meter.clear();
        self.write_beside(&located.files, (config, &tokenizer), &work)?;
        checkpoint.check_unchanged()?;
        let card = self.card(&named, &neurons);
        write(&work, "README.md", card.as_bytes())?;
        let sets = named
            .iter()
            .map(|(name, set)| (name.clone(), json!(set.len())));
        let counts = json!({
            "neurons": sets.collect::<serde_json::Map<String, Value>>(),
            "changed": neurons.len(),
            "layers": config.n_layers(),
        });
        let written = job.finish(|_| Ok(Vec::new()), counts);
        outln!(
            "{}: {} of {} neurons, mode {}, {}",
            self.model.model,
            count(neurons.len()),
            count(config.n_layers() * config.d_mlp),
            self.mode,
            self.dtype.in_config()
        );
        written.say(false)
    }

    /// The sets that are switched off, each with its name.
    fn named(&self, checkpoint: &Checkpoint) -> anyhow::Result<Vec<Named>> {
        let config = checkpoint.config();
        if let Some(layers) = &self.layers {
            check_layers(layers, config.n_layers()).context("--layers")?;
        }
        if let Some(path) = &self.neurons {
            return Ok(vec![read_neurons(path, self.layers.clone(), config)?]);
        }
        let ClassArgs { fold, threshold } = self.class;
        let table = NeuronTable::classify(checkpoint, fold, threshold)?;
        select(&table, &self.classes, self.layers.clone())
    }

    /// Configuration and tokenizer: those of the model's own folder, or what a GGUF file says of them.
    fn write_beside(
        &self,
        files: &ModelFiles,
        (config, tokenizer): (&Config, &Tokenizer),
        to: &Path,
    ) -> anyhow::Result<()> {
        let dtype = self.dtype.in_config();
        let mut written = match files {
            ModelFiles::Folder { dir, config, .. } => {
                for name in BESIDE {
                    let from = dir.join(name);
                    if from.is_file() {
                        let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
                        write(to, name, &bytes)?;
                    }
                }
                let text = fs::read_to_string(config)?;
                let mut own: Value = serde_json::from_str(&text)?;
                let keys = own.as_object_mut().context("config.json is no object")?;
                keys.remove("torch_dtype");
                keys.insert("dtype".to_string(), json!(dtype));
                own
            }
            ModelFiles::Gguf(_) => {
                let files = tokenizer.to_files()?;
                write_json(to, "tokenizer.json", &files.tokenizer)?;
                write_json(to, "tokenizer_config.json", &files.config)?;
                let mut made = config.to_hf_json(dtype);
                made["bos_token_id"] = json!(files.bos);
                made["eos_token_id"] = json!(files.eos);
                // Or transformers takes one of its own, which the vocabulary may not have.
                made["pad_token_id"] = Value::Null;
                made
            }
        };
        // A head of its own is written where the file had one, whatever its configuration says.
        written["tie_word_embeddings"] = json!(config.tied_head);
        write_json(to, "config.json", &written)
    }

    /// What a reader of the folder should know.
    fn card(&self, named: &[Named], neurons: &NeuronSet) -> String {
        let sets = named
            .iter()
            .map(|(name, set)| format!("{name} ({} neurons)", set.len()));
        let sets: Vec<String> = sets.collect();
        let done = match self.mode {
            Mode::Zero => "are zero".to_string(),
            _ => format!("are multiplied ({})", self.mode),
        };
        format!(
            "---\nbase_model: {model}\ntags: [gatelens, ablation]\n---\n\n\
             # {model}, edited\n\n\
             The columns of `down_proj` of {count} MLP neurons {done}: {sets}. Everything else is the model's own, in {dtype}.\n\n\
             Classes by the cosines between a neuron's weights (Gerstner and Schütze, arXiv 2505.17936), threshold {threshold}, fold \
             `{fold}`. Made by gatelens {version}; `run.json` has all settings and the hashes of the files that it was made from.\n",
            model = self.model.model,
            count = neurons.len(),
            sets = sets.join(", "),
            dtype = self.dtype.in_config(),
            threshold = self.class.threshold,
            fold = self.class.fold,
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

fn write_json(to: &Path, name: &str, value: &Value) -> anyhow::Result<()> {
    write(to, name, format!("{value:#}\n").as_bytes())
}

fn write(to: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = to.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
