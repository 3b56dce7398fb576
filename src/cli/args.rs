//! Arguments that several subcommands share.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context;
use candle_core::Device;
use clap::Args;
use clap::builder::PossibleValue;
use serde::Serialize;

use super::numbers;
use super::threads::at_most_cores;
use crate::hub::DEFAULT_MODEL;
use crate::io_class::Fold;
use crate::model::{LoadOptions, Operations};

/// Which model.
#[derive(Args, Serialize)]
pub struct ModelArg {
    /// An alias (smollm2-135m, gemma3-270m, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b), a Hugging Face id (org/name,
    /// org/name@revision), a folder with config.json, tokenizer.json and safetensors, or a .gguf file.
    #[arg(long, default_value = DEFAULT_MODEL, value_name = "MODEL")]
    pub model: String,
}

/// How to run it.
#[derive(Args, Serialize)]
pub struct ComputeArgs {
    /// Use no more than this, such as 4GiB: layers that do not fit are read from the file as the
    /// run reaches them, with the same results [default: what is free].
    #[arg(long, value_name = "SIZE", value_parser = numbers::size, allow_negative_numbers = true)]
    pub max_memory: Option<u64>,
    /// Threads to compute with, at most one per core [default: one per core].
    #[arg(long, value_name = "N", value_parser = numbers::threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Precision of weights and activations; results to publish need f32.
    #[arg(long, default_value = "f32", value_parser = precisions())]
    pub dtype: String,
    /// cpu, cuda:N or metal (the last two need gatelens built with that feature).
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

fn precisions() -> [PossibleValue; 3] {
    let kinds = [
        ("f32", "32 bit"),
        ("bf16", "bfloat16"),
        ("f16", "IEEE half"),
    ];
    kinds.map(|(name, what)| PossibleValue::new(name).help(what))
}

impl ComputeArgs {
    /// Options for loading; sets up the thread pool.
    pub fn load_options(&self) -> anyhow::Result<LoadOptions> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(at_most_cores(threads, "--threads"))
                .build_global()?;
        }
        // Not in the help: what a device does, done on the CPU.
        let operations = (self.device == "cpu:tensors").then_some(Operations::Tensors);
        Ok(LoadOptions {
            dtype: self.dtype.parse()?,
            device: self.device()?,
            operations,
            max_memory: self.max_memory,
            ..LoadOptions::default()
        })
    }

    fn needs(&self, feature: &str) -> String {
        format!(
            "--device {} needs such a device and gatelens built with --features {feature}",
            self.device
        )
    }

    fn device(&self) -> anyhow::Result<Device> {
        let (kind, ordinal) = self.device.split_once(':').unwrap_or((&self.device, "0"));
        match (kind, ordinal.parse()) {
            ("cpu", _) if ["cpu", "cpu:tensors"].contains(&self.device.as_str()) => Ok(Device::Cpu),
            ("cuda", Ok(ordinal)) => Device::new_cuda(ordinal).with_context(|| self.needs("cuda")),
            ("metal", Ok(ordinal)) => {
                Device::new_metal(ordinal).with_context(|| self.needs("metal"))
            }
            _ => anyhow::bail!(
                "--device {} is unknown; accepted: cpu, cuda:N, metal",
                self.device
            ),
        }
    }
}

/// How neurons are classified.
#[derive(Args, Serialize)]
pub struct ClassArgs {
    /// Which norm gains are folded into the weights before the cosines: that of the norm before the
    /// MLP (pre, the paper's), none, or also that of the norm after it (pre+post).
    #[arg(long, default_value = "pre", value_name = "pre|none|pre+post")]
    pub fold: Fold,
    /// A cosine counts where it is beyond this, strictly; between 0 and 1.
    #[arg(long, default_value_t = 0.5, value_parser = numbers::threshold, allow_negative_numbers = true)]
    pub threshold: f32,
}

/// Where results go.
#[derive(Args, Serialize)]
pub struct OutputArgs {
    /// Write the files to this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace the finished run that the folder holds.
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Print JSON for a machine instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// `3..9`: layers 3 to 8.
pub fn parse_layers(text: &str) -> Result<Range<usize>, String> {
    let bounds = text
        .split_once("..")
        .and_then(|(start, end)| Some(start.trim().parse().ok()?..end.trim().parse().ok()?));
    bounds
        .filter(|range: &Range<usize>| !range.is_empty())
        .ok_or_else(|| format!("`{text}` is no range of layers; write 3..9 for layers 3 to 8"))
}

/// Serialises what prints as text.
pub fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// Serialises what prints as text, with `any` where there is nothing.
pub fn as_optional_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    as_text(&value.as_ref().map_or("any".to_string(), T::to_string), to)
}
