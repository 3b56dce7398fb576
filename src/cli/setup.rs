//! From a model's name to what the subcommands work with.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use candle_core::quantized::gguf_file::Content;
use indicatif::BinaryBytes;

use super::args::{ClassArgs, ComputeArgs};
use super::progress::Meter;
use crate::hub::{LocatedModel, ModelFiles, locate};
use crate::model::{Config, LoadOptions, MemoryEstimate, Residency};
use crate::report::{FileHash, ModelInfo, RunInfo};
use crate::tokens::Tokenizer;

/// Finds the model, fetching it if needed.
pub fn find_model(name: &str) -> anyhow::Result<LocatedModel> {
    Ok(locate(name, &Meter::new())?)
}

/// Refuses a model that does not fit the memory in any way; says so where nobody asked for the layers
/// to be read as the run reaches them, and they will be.
pub fn check_memory(options: &LoadOptions, config: &Config) -> anyhow::Result<()> {
    let plan = options.plan(config)?;
    if plan.residency == Residency::Streamed && options.max_memory.is_none() {
        let estimate = MemoryEstimate::new(config, options.dtype.size_in_bytes());
        notice!(
            "{} would hold the whole model, and less is free: layers are read from the files as the run \
             reaches them, with the same results (--max-memory sets a limit)",
            BinaryBytes(estimate.resident_bytes)
        );
    }
    Ok(())
}

/// The tokenizer that belongs to the model.
pub fn tokenizer(located: &LocatedModel) -> anyhow::Result<Tokenizer> {
    let tokenizer = match &located.files {
        ModelFiles::Folder {
            tokenizer,
            tokenizer_config,
            config,
            ..
        } => Tokenizer::from_files(tokenizer, tokenizer_config.as_deref(), Some(config))?,
        ModelFiles::Gguf(path) => Tokenizer::from_gguf(&gguf_content(path)?)?,
    };
    Ok(tokenizer)
}

/// The metadata of a GGUF file.
pub fn gguf_content(path: &Path) -> anyhow::Result<Content> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Content::read(&mut BufReader::new(file))
        .with_context(|| format!("{} is not a whole GGUF file", path.display()))
}

/// A `run.json` with what every command knows; the others fill in the rest.
pub fn run_info(
    command: &str,
    settings: serde_json::Value,
    located: &LocatedModel,
    checkpoint: &Config,
    compute: Option<&ComputeArgs>,
    class: &ClassArgs,
) -> anyhow::Result<RunInfo> {
    let files = located
        .sha256()?
        .into_iter()
        .map(|(path, sha256)| FileHash {
            path: path.display().to_string(),
            sha256,
        });
    Ok(RunInfo {
        command: command.to_string(),
        arguments: std::env::args().skip(1).collect(),
        settings,
        version: env!("CARGO_PKG_VERSION").to_string(),
        model: ModelInfo {
            id: located.name.clone(),
            family: checkpoint.family.name.to_string(),
            files: files.collect(),
        },
        tokenizer_sha256: None,
        dtype: compute.map_or("f32".to_string(), |c| {
            format!("{:?}", c.dtype).to_lowercase()
        }),
        device: compute.map_or("cpu".to_string(), |c| c.device.clone()),
        fold: class.fold.to_string(),
        bos: None,
        seed: None,
        prompts: None,
        texts: Vec::new(),
        finished: true,
        counts: serde_json::Value::Null,
        wall_s: 0.0,
    })
}
