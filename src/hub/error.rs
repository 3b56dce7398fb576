//! What can go wrong between a model's name and its files.

use std::io;
use std::path::{Path, PathBuf};

use super::ALIASES;
use super::gguf::GgufFileError;

/// Why a model's files could not be found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name has none of the accepted forms.
    #[error(
        "`{model}` names no model: {reason}\naccepted: an alias ({}), a .gguf file, a folder with \
         config.json, tokenizer.json and safetensors, org/name[@revision] on the Hugging Face hub, \
         or org/name/file.gguf[@revision] for one GGUF file there",
        alias_names()
    )]
    UnknownModel {
        /// The name as given.
        model: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The name is a path, and nothing is there.
    #[error("{} does not exist (looked in {})", path.display(), base.display())]
    PathMissing {
        /// The path as given.
        path: PathBuf,
        /// The folder that it was read relative to.
        base: PathBuf,
    },

    /// The path leads to a file that is not a model by itself.
    #[error(
        "{} is neither a GGUF file nor a folder; for a safetensors model, give the folder that holds \
         it with config.json and tokenizer.json", path.display()
    )]
    NotAModel {
        /// The path as given.
        path: PathBuf,
    },

    /// A folder lacks files that a model needs.
    #[error("{} is not a whole model; missing: {}{hint}", dir.display(), missing.join(", "))]
    FolderIncomplete {
        /// The folder.
        dir: PathBuf,
        /// Every missing file.
        missing: Vec<String>,
        /// What to do instead, or nothing.
        hint: String,
    },

    /// A folder of a model has an adapter beside it.
    #[error(
        "{} has weights and an adapter (adapter_config.json): transformers would run the model with the adapter, and it \
         is not computed here; merge it into the weights, or take the file out of the folder:\n  {way_out}",
        dir.display()
    )]
    FolderWithAdapter {
        /// The folder.
        dir: PathBuf,
        /// The line that merges them.
        way_out: String,
    },

    /// `model.safetensors.index.json` cannot be used.
    #[error("{} is not a usable index of weights: {reason}", path.display())]
    BadIndex {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A variable of the environment has a value that cannot be used.
    #[error("the environment variable {name} cannot be used: {reason}; change it or unset it")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },

    /// A link in the cache leads out of it, where nothing is to be written.
    #[error(
        "nothing is written to {}: it is or follows a link that leads out of its folder in the cache; remove the link, \
         or set HF_HUB_CACHE to another folder", path.display()
    )]
    StrangeLink {
        /// The path that was to be written.
        path: PathBuf,
    },

    /// No folder to keep models in is known.
    #[error("there is no home folder to keep models in; set {variable} to a folder")]
    NoHome {
        /// The variable that would name one.
        variable: &'static str,
    },

    /// A file or folder could not be opened, read, written or renamed.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The bytes are not the ones expected.
    #[error("{what} is damaged: expected {expected}, got {got}; {advice}")]
    Mismatch {
        /// Which file.
        what: String,
        /// The size or hash that it should have.
        expected: String,
        /// The one that it has.
        got: String,
        /// What to do next.
        advice: String,
    },

    /// pip could not be run, or failed.
    #[error("could not fetch {alias} with pip: {reason}\n{way_out}")]
    Pip {
        /// The alias.
        alias: &'static str,
        /// The last lines that pip wrote, or why it did not run.
        reason: String,
        /// How to put the file in its place by hand.
        way_out: String,
    },

    /// A Python package does not hold what it should.
    #[error("{} cannot be used: {reason}", path.display())]
    Wheel {
        /// The wheel.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Offline, and the cache does not hold the model.
    #[error(
        "{repo} is not whole in the cache {} and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids asking the hub; \
         missing: {}\nrun once without that variable, copy that cache folder from a machine that has the model, or \
         give a folder with its files as the model", cache.display(), missing.join(", ")
    )]
    Offline {
        /// Repository and revision.
        repo: String,
        /// What the cache lacks.
        missing: Vec<String>,
        /// The cache that was searched.
        cache: PathBuf,
    },

    /// The hub wants a token, or refuses the one it got.
    #[error(
        "the hub at {endpoint} refused {repo} (HTTP {status}): it is private, gated or does not exist; \
         check the name, accept the model's terms on its page, and set HF_TOKEN to a token that may \
         read it ({token})"
    )]
    Refused {
        /// The hub.
        endpoint: String,
        /// Repository and revision.
        repo: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent, in words.
        token: &'static str,
    },

    /// The hub does not have the repository, revision or file.
    #[error("the hub at {endpoint} has no {file} in {repo}; check the name and the revision{hint}")]
    NotOnHub {
        /// The hub.
        endpoint: String,
        /// Repository and revision.
        repo: String,
        /// The file that was asked for.
        file: String,
        /// What the repository has instead, or nothing.
        hint: String,
    },

    /// A GGUF file whose parts are not all there.
    #[error(transparent)]
    Gguf(#[from] GgufFileError),

    /// The hub said something of a file that cannot be true, or that is not safe to act on.
    #[error(
        "the answer of the hub at {endpoint} for {file} of {repo} is not accepted: {reason}\nnothing was written; check \
         HF_ENDPOINT and what stands between this machine and the hub (proxies, mirrors)"
    )]
    BadAnswer {
        /// The hub.
        endpoint: String,
        /// Repository and revision.
        repo: String,
        /// The file that was asked for.
        file: String,
        /// What is wrong with the answer.
        reason: String,
    },

    /// The hub could not be reached, or the transfer broke.
    #[error(
        "could not fetch {file} of {repo} from {endpoint}: {reason}\nrunning the command again goes on \
         where it stopped; the aliases ({}) need no hub",
        alias_names()
    )]
    Transfer {
        /// The hub.
        endpoint: String,
        /// Repository and revision.
        repo: String,
        /// The file that was asked for.
        file: String,
        /// The last cause, in words.
        reason: String,
    },
}

impl HubError {
    /// For `map_err`: an I/O error with what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn alias_names() -> String {
    let names: Vec<_> = ALIASES.iter().map(|alias| alias.name).collect();
    names.join(", ")
}
