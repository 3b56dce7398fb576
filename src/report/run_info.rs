//! `run.json`: what was run, with everything needed to run it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportError;
use super::command_line::{resume_line, shell_line};
use crate::experiment::{PlannedPass, Shard, Sharing, StagePlan};
use crate::prompts::sha256_hex;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileHash {
    /// Its path.
    pub path: String,
    /// Of its bytes, lower-case hex.
    pub sha256: String,
}

/// The model that was run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModelInfo {
    /// Its name, as on the command line.
    pub id: String,
    /// Its family: the name of a row in the table of families.
    pub family: String,
    /// Its files with their hashes.
    pub files: Vec<FileHash>,
}

/// The prompts or texts that were run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// What `tool` says in a `run.json` of this program.
pub const TOOL: &str = "gatelens";

/// A file of the run itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutputFile {
    /// Its name in the folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Of its bytes, lower-case hex.
    pub sha256: String,
}

/// What `plan.json` says besides what `run.json` will.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnfinishedRun {
    /// Of what makes it the same run ([`RunInfo::identity`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<String>,
    /// The share of the run that this folder has, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The passes that were planned so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StagePlan>,
}

impl UnfinishedRun {
    /// How many of the passes that several processes share are this shard's own, and how many there are.
    pub fn own_passes(&self) -> Option<(usize, usize)> {
        let shard = self.shard?;
        let sharing = |stage: &StagePlan| vec![stage.sharing; stage.passes.len()];
        let numbered = self.stages.iter().flat_map(sharing).enumerate();
        let shared = numbered.filter(|(_, sharing)| *sharing == Sharing::Shared);
        let shared: Vec<usize> = shared.map(|(pass, _)| pass).collect();
        let own = shared.iter().filter(|pass| shard.has(**pass)).count();
        Some((own, shared.len()))
    }
}

/// The contents of `run.json`: what was run, with everything needed to run it again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunInfo {
    /// The program that wrote it, `gatelens`; empty where version 0.1.0 did.
    #[serde(default)]
    pub tool: String,
    /// The subcommand, such as `ablate`.
    pub command: String,
    /// The words of the command line behind the program's name.
    pub arguments: Vec<String>,
    /// The working folder of the command: there the relative paths of its command line begin. Absent where version 0.1.0
    /// wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The files that the command line names, besides the model's: absolute paths. The sha256 is empty of what cannot be
    /// read twice, such as a pipe. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<FileHash>,
    /// Every setting of the command by its name, defaults included.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, Value>"))]
    pub settings: Value,
    /// gatelens's version.
    pub version: String,
    /// The model that was run.
    pub model: ModelInfo,
    /// sha256 of the tokenizer, lower-case hex; absent where no text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_sha256: Option<String>,
    /// Precision of the weights and of what is computed: `f32`, `f16` or `bf16`.
    pub dtype: String,
    /// What computed: `cpu`, `metal`, or a CUDA device such as `cuda:0`.
    pub device: String,
    /// Number of threads that computed; absent where version 0.1.0 wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// What the model's files leave open and was taken in its place, and what in them was not known and not used.
    #[serde(default)]
    pub assumed: Vec<String>,
    /// Which norms were folded into the weights for the cosines.
    #[cfg_attr(test, schemars(with = "crate::io_class::Fold"))]
    pub fold: String,
    /// Where the run is a control: what was run in the place of the model itself, and that it is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// The BOS policy, and whether that prepended one; absent where no text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos: Option<String>,
    /// The seed of everything that is drawn; absent where nothing is random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The prompts that were run; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptSetInfo>,
    /// The text files; absent where prompts or nothing was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<PromptSetInfo>,
    /// Whether the run came to its end, as every run with a `run.json` did; a `plan.json` says false, and its run can be gone
    /// on with.
    #[serde(default = "yes")]
    pub finished: bool,
    /// What only a run that is not finished says.
    #[serde(flatten)]
    #[cfg_attr(test, schemars(skip))]
    pub unfinished: UnfinishedRun,
    /// What was counted, by name; each command counts something else.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, Value>"))]
    pub counts: Value,
    /// Seconds from the start to the end of the last pass, those before the run was ended and gone on with included; of a
    /// command without passes, to the writing of the files.
    pub wall_s: f64,
    /// Every file of the run but this one. Only these are ever removed, and each is checked where it is read.
    #[serde(default)]
    pub outputs: Vec<OutputFile>,
}

/// Settings that do not change a result, or of which only what they name does: prompts and texts are compared by their
/// hashes, wherever they lie.
const FREE: [&str; 10] = [
    "out",
    "force",
    "json",
    "resume",
    "shard",
    "threads",
    "max_memory",
    "model",
    "prompts",
    "text",
];

/// What of `run.json`, besides the settings, must be the same.
const SAME: [&str; 8] = [
    "/command",
    "/version",
    "/model/files",
    "/tokenizer_sha256",
    "/dtype",
    "/device",
    "/prompts",
    "/texts",
];

/// Files are the same wherever they lie: of those only the hash counts.
fn sha256_only(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sha256_only).collect(),
        Value::Object(fields) => fields.get("sha256").cloned().unwrap_or(value.clone()),
        other => other.clone(),
    }
}

/// What a `run.json` without `finished` says: that the run cannot be stopped halfway.
fn yes() -> bool {
    true
}

impl RunInfo {
    /// The bytes of `run.json`.
    pub fn to_json(&self) -> Result<Vec<u8>, ReportError> {
        serde_json::to_vec_pretty(self).map_err(|error| ReportError::Encode {
            name: "run.json",
            why: error.to_string(),
        })
    }

    /// The passes that were planned so far, in order.
    pub fn passes(&self) -> impl Iterator<Item = &PlannedPass> {
        let stages = self.unfinished.stages.iter();
        stages.flat_map(|stage| &stage.passes)
    }

    /// What makes two runs the same, by its sha256: parts of one are no parts of another.
    pub fn identity(&self) -> String {
        let values = self.compared().map(|(_, value)| value.to_string());
        sha256_hex(values.collect::<Vec<_>>().join("\n").as_bytes())
    }

    /// Whether the settings are those with which the run was begun; a finished run does not say.
    pub(super) fn is_unchanged(&self) -> bool {
        let begun = self.unfinished.settings_sha256.as_ref();
        begun.is_none_or(|sha256| *sha256 == self.identity())
    }

    /// In what this run differs from one that was begun before, each in a line; nothing where both are the same.
    pub fn differences(&self, earlier: &RunInfo) -> Vec<String> {
        let then: BTreeMap<String, Value> = earlier.compared().collect();
        let now: BTreeMap<String, Value> = self.compared().collect();
        let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let differing = names
            .into_iter()
            .filter(|name| then.get(*name) != now.get(*name));
        let shown = |value: Option<&Value>| value.unwrap_or(&Value::Null).to_string();
        let lines = differing.map(|name| {
            if name.starts_with("--") {
                format!(
                    "{name}: {} now, {} then",
                    shown(now.get(name)),
                    shown(then.get(name))
                )
            } else {
                name.clone()
            }
        });
        lines.collect()
    }

    /// What must be the same in two runs of which one goes on with the other: settings under their names on the command
    /// line, and the rest by its place in `run.json`, files by their hashes.
    fn compared(&self) -> impl Iterator<Item = (String, Value)> {
        let run = serde_json::to_value(self).unwrap_or_default();
        let settings = run["settings"].as_object().cloned().unwrap_or_default();
        let settings = settings
            .into_iter()
            .filter(|(key, _)| !FREE.contains(&key.as_str()));
        let settings = settings.map(|(key, value)| (format!("--{}", key.replace('_', "-")), value));
        let others = SAME.into_iter().map(move |place| {
            let value = run.pointer(place).map_or(Value::Null, sha256_only);
            (place.trim_start_matches('/').replace('/', " "), value)
        });
        settings.chain(others)
    }

    /// Whether the run says which files are its own; version 0.1.0 did not.
    pub fn lists_outputs(&self) -> bool {
        !self.tool.is_empty()
    }

    /// What the run says of its file of this name.
    pub fn output(&self, name: &str) -> Option<&OutputFile> {
        self.outputs.iter().find(|file| file.name == name)
    }

    /// The threshold on the cosines, where the settings have one.
    pub fn threshold(&self) -> Option<f32> {
        let threshold = self.settings["threshold"].as_f64();
        threshold.map(|threshold| threshold as f32)
    }

    /// The command line as a shell takes it; without `--resume`, which has nothing to go on with in a run that is made
    /// again.
    pub fn command_line(&self) -> String {
        shell_line(&self.arguments, &["--resume"])
    }

    /// The command line that goes on with a stopped run.
    pub fn resume_line(&self) -> String {
        resume_line(&self.arguments)
    }
}
