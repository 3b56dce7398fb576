//! `run.json`: what was run, with everything needed to run it again.

use serde::Serialize;
use serde_json::Value;

use super::ReportError;

/// A file of the model.
#[derive(Clone, Debug, Serialize)]
pub struct FileHash {
    /// Its path.
    pub path: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// The model that was run.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    /// As it was named on the command line.
    pub id: String,
    /// Its row of the family table.
    pub family: &'static str,
    /// The files with their hashes.
    pub files: Vec<FileHash>,
}

/// The prompts or texts that were run.
#[derive(Clone, Debug, Serialize)]
pub struct PromptSetInfo {
    /// File name, or the name of the bundled set or text.
    pub name: String,
    /// Of the file's bytes, lower-case hex.
    pub sha256: String,
}

impl PromptSetInfo {
    /// A file's name with its hash.
    pub fn new(name: &str, sha256: &str) -> Self {
        Self {
            name: name.to_string(),
            sha256: sha256.to_string(),
        }
    }
}

/// The contents of `run.json`.
#[derive(Clone, Debug, Serialize)]
pub struct RunInfo {
    /// The subcommand.
    pub command: &'static str,
    /// The command line.
    pub arguments: Vec<String>,
    /// Every setting, defaults included.
    pub settings: Value,
    /// gatelens's version.
    pub version: &'static str,
    /// The model.
    pub model: ModelInfo,
    /// Of the tokenizer, lower-case hex; absent where no text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_sha256: Option<String>,
    /// Precision.
    pub dtype: String,
    /// Device.
    pub device: String,
    /// How norms were folded for the cosines.
    pub fold: String,
    /// The BOS policy, and whether that prepended one; absent where no text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos: Option<String>,
    /// The seed; absent where nothing is random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The prompts; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptSetInfo>,
    /// The text files; empty where prompts or nothing was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<PromptSetInfo>,
    /// Whether the run came to its end; if not, it was stopped and can be gone on with.
    pub finished: bool,
    /// Counts of the run, by name.
    pub counts: Value,
    /// Seconds from start to the writing of the files.
    pub wall_s: f64,
}

impl RunInfo {
    /// The bytes of `run.json`.
    pub fn to_json(&self) -> Result<Vec<u8>, ReportError> {
        serde_json::to_vec_pretty(self).map_err(|error| ReportError::Encode {
            name: "run.json",
            why: error.to_string(),
        })
    }
}
