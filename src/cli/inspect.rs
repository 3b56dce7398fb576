//! `inspect`: what a model is, from its headers.

use std::fmt::Display;

use clap::Args;
use indicatif::BinaryBytes;
use serde::Serialize;

use super::setup::find_model;
use super::table::count;
use super::terminal::print_json;
use crate::hub::DEFAULT_MODEL;
use crate::model::{Activation, AttentionSpec, LoadOptions, MemoryEstimate, Residency};
use crate::open::open_files;
use crate::tokens::BosPolicy;

/// Print a model's family, shapes, memory per mode, rope and BOS; reads no weights unless asked to check them
#[derive(Args)]
pub struct Inspect {
    /// An alias, a Hugging Face id, a folder or a .gguf file.
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Read all weights once, and say whether each is finite.
    #[arg(long)]
    check: bool,
    /// Print JSON for a machine instead.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Inspection {
    model: String,
    family: &'static str,
    layers: usize,
    d_model: usize,
    d_mlp: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    max_positions: usize,
    parameters: u64,
    activation: Activation,
    tied_head: bool,
    attention: Vec<AttentionSpec>,
    attention_softcap: Option<f64>,
    final_softcap: Option<f64>,
    clip_qkv: Option<f64>,
    assumed: Vec<String>,
    warnings: Vec<String>,
    stored_bytes: u64,
    stored_types: Vec<(String, usize)>,
    memory_f32: MemoryEstimate,
    /// How it would be held now, without --max-memory; `null`: not at all.
    residency: Option<Residency>,
    bos: Option<String>,
    /// With --check, the tensors whose weights were all found finite.
    checked_tensors: Option<usize>,
}

impl Inspect {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let located = find_model(&self.model)?;
        let (checkpoint, tokenizer) = open_files(&located.files)?;
        let config = checkpoint.config();
        let bos = tokenizer.bos_for(BosPolicy::Auto)?;
        let checked = self.check.then(|| checkpoint.check_weights()).transpose()?;
        let plan = LoadOptions::default().plan(config).ok();
        let inspection = Inspection {
            model: self.model,
            family: config.family.name,
            layers: config.n_layers(),
            d_model: config.d_model,
            d_mlp: config.d_mlp,
            heads: config.n_heads,
            kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            max_positions: config.max_positions,
            parameters: config.parameters(),
            activation: config.activation,
            tied_head: config.tied_head,
            attention: config.attention.clone(),
            attention_softcap: config.attention_softcap,
            final_softcap: config.final_softcap,
            clip_qkv: config.clip_qkv,
            assumed: config.assumed.clone(),
            warnings: config.warnings.clone(),
            stored_bytes: checkpoint.stored_bytes(),
            stored_types: checkpoint.stored_types(),
            memory_f32: MemoryEstimate::new(config, 4),
            residency: plan.map(|plan| plan.residency),
            bos: bos.map(|id| tokenizer.token_text(id)),
            checked_tensors: checked,
        };
        if self.json {
            print_json(&inspection)?;
        } else {
            inspection.print();
        }
        Ok(())
    }
}

impl Inspection {
    fn print(&self) {
        print("model", &self.model);
        self.print_shape();
        self.print_memory();
        if let Some(tensors) = self.checked_tensors {
            print("weights", format!("all of {tensors} tensors are finite"));
        }
        for assumed in &self.assumed {
            print("assumed", assumed);
        }
        for warning in &self.warnings {
            print("warning", warning);
        }
    }

    fn print_shape(&self) {
        let Inspection {
            layers,
            d_mlp,
            heads,
            kv_heads,
            head_dim,
            ..
        } = self;
        print("family", format!("{}, {}", self.family, self.activation));
        print("layers", layers);
        print("d_model", self.d_model);
        let neurons = count(d_mlp * layers);
        print("d_mlp", format!("{d_mlp} ({neurons} neurons in all)"));
        let shape = format!("{heads} of width {head_dim}, {kv_heads} for keys and values");
        print("heads", shape);
        let head = if self.tied_head {
            "head tied to the embedding"
        } else {
            "head of its own"
        };
        let tokens = count(self.vocab_size);
        print("vocabulary", format!("{tokens}, {head}"));
        print("positions", count(self.max_positions));
        print("attention", self.attention_in_words());
        for (name, value) in [
            ("attention cap", self.attention_softcap),
            ("logit cap", self.final_softcap),
            ("q, k, v clip", self.clip_qkv),
        ] {
            value.into_iter().for_each(|value| print(name, value));
        }
        let bos = self.bos.as_deref();
        print("BOS", bos.unwrap_or("none is prepended"));
        print("parameters", count(self.parameters as usize));
    }

    fn print_memory(&self) {
        let stored = self.stored_types.iter();
        let types: Vec<_> = stored.map(|(name, n)| format!("{name} ×{n}")).collect();
        let (bytes, types) = (BinaryBytes(self.stored_bytes), types.join(", "));
        print("stored as", format!("{bytes} ({types})"));
        let MemoryEstimate {
            resident_bytes,
            streamed_bytes,
            ..
        } = self.memory_f32;
        let [whole, streamed] = [resident_bytes, streamed_bytes].map(BinaryBytes);
        print(
            "memory in f32",
            format!(
                "{whole} with all layers, {streamed} read layer by layer (--max-memory), and activations"
            ),
        );
        let now = match self.residency {
            Some(Residency::Resident) => "all layers fit",
            Some(Residency::Streamed) => "it would be read layer by layer",
            None => "it does not fit",
        };
        print("memory now", now);
    }

    /// Each distinct kind of attention with the number of its layers.
    fn attention_in_words(&self) -> String {
        let mut kinds: Vec<(&AttentionSpec, usize)> = Vec::new();
        for spec in &self.attention {
            match kinds.iter_mut().find(|(known, _)| *known == spec) {
                Some((_, layers)) => *layers += 1,
                None => kinds.push((spec, 1)),
            }
        }
        let described = kinds.iter().map(|(spec, layers)| {
            let window = match spec.window {
                None => "global".to_string(),
                Some(window) => format!("in a window of {window}"),
            };
            format!("{layers} of {} layers {window}, {}", self.layers, spec.rope)
        });
        described.collect::<Vec<_>>().join("; ")
    }
}

fn print(name: &str, value: impl Display) {
    outln!("{name:<14} {value}");
}
