//! From a model's name to what the subcommands work with.

use indicatif::BinaryBytes;

use super::args::{ClassArgs, ComputeArgs, ModelArg};
use super::given;
use super::progress::Meter;
use crate::engine::Precision;
use crate::hub::{LocatedModel, locate};
use crate::model::{Checkpoint, Config, LoadOptions, Model, ModelError, Residency, RunWeights};
use crate::open::open_files;
use crate::report::{FileHash, ModelInfo, RunInfo, TOOL, input_files};
use crate::tokens::{BosPolicy, Tokenizer};

/// A model of which all is known but its weights.
pub struct Opened {
    pub located: LocatedModel,
    pub checkpoint: Checkpoint,
    pub tokenizer: Tokenizer,
    pub options: LoadOptions,
}

impl Opened {
    /// Finds the model, fetching it if needed, and sets up what it will be run with.
    pub fn new(model: &ModelArg, compute: &ComputeArgs) -> anyhow::Result<Self> {
        let options = compute.load_options()?;
        let located = find_model(&model.model)?;
        let (checkpoint, tokenizer) = open_files(&located.files)?;
        say_what_is_open(checkpoint.config());
        Ok(Self {
            checkpoint,
            tokenizer,
            located,
            options,
        })
    }

    /// The same for a model that is going to be run, with these weights: it must fit the memory.
    pub fn to_run(
        model: &ModelArg,
        compute: &ComputeArgs,
        weights: RunWeights,
    ) -> anyhow::Result<Self> {
        let mut opened = Self::new(model, compute)?;
        opened.options.weights = weights;
        let error = Precision::of(opened.options.dtype).logprob_error();
        if error > 0.0 {
            notice!(
                "warning: in {} log-probabilities of likely tokens were up to {error} nats off on small models: do not rely on smaller \
                 effects, nor on verdicts that f32 does not confirm",
                compute.dtype
            );
        }
        opened.check_memory()?;
        Ok(opened)
    }

    /// Refuses a model that does not fit the memory in any way; says so where nobody asked for the layers to be read as
    /// the run reaches them, and they will be.
    pub fn check_memory(&self) -> Result<(), ModelError> {
        let (options, config) = (&self.options, self.config());
        let plan = options.plan(config)?;
        if plan.residency == Residency::Streamed && options.max_memory.is_none() {
            let estimate = options.estimate(config);
            notice!(
                "{} would hold the whole model, and less is free: layers are read from the files as the run \
                 reaches them, with the same results (--max-memory sets a limit)",
                BinaryBytes(estimate.resident_bytes)
            );
        }
        Ok(())
    }

    /// Layers, widths, and everything else that decides the arithmetic.
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    /// Reads the weights.
    pub fn load(&self) -> Result<Model, ModelError> {
        Model::load(self.checkpoint.clone(), self.options.clone())
    }
}

/// Finds the model, fetching it if needed.
pub fn find_model(name: &str) -> anyhow::Result<LocatedModel> {
    Ok(locate(name, &Meter::new())?)
}

/// Says once what a model's files leave open, and what in them is not known here.
pub fn say_what_is_open(config: &Config) {
    for assumed in &config.assumed {
        notice!("assumed: {assumed}");
    }
    for warning in &config.warnings {
        notice!("warning: {warning}");
    }
}

/// The BOS policy, and what comes of it.
pub fn bos_in_words(policy: BosPolicy, tokenizer: &Tokenizer) -> anyhow::Result<String> {
    Ok(match tokenizer.bos_for(policy)? {
        Some(id) => format!("{policy}: token {id} is prepended"),
        None => format!("{policy}: none is prepended"),
    })
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
        tool: TOOL.to_string(),
        command: command.to_string(),
        arguments: given::arguments(),
        directory: std::env::current_dir().ok(),
        inputs: input_files(&settings)?,
        settings,
        version: env!("CARGO_PKG_VERSION").to_string(),
        model: ModelInfo {
            id: located.name.clone(),
            family: checkpoint.family.name.to_string(),
            files: files.collect(),
        },
        dtype: compute.map_or("f32".to_string(), |c| c.dtype.clone()),
        device: compute.map_or("cpu".to_string(), |c| c.device.clone()),
        threads: Some(rayon::current_num_threads()),
        assumed: [checkpoint.assumed.as_slice(), &checkpoint.warnings].concat(),
        fold: class.fold.to_string(),
        finished: true,
        ..RunInfo::default()
    })
}
