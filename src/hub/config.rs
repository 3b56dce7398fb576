//! The settings of the stage, read once from the environment.
//!
//! The variables of the Hugging Face hub mean here what they mean to its Python client, `huggingface_hub`. A variable
//! that is set to nothing counts as not set. In folders, `~` and `$VARIABLE` are expanded.
//!
//! | variable | what it sets | if it is not set |
//! |---|---|---|
//! | `GATELENS_CACHE` | the folder of the aliases' models | `LOCALAPPDATA\gatelens` on Windows, `XDG_CACHE_HOME/gatelens`, `~/.cache/gatelens` |
//! | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the folder of the hub's models | `hub` in `HF_HOME` |
//! | `HF_HOME` | the folder of the hub's client | `XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface` |
//! | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | the token | the file of the next line |
//! | `HF_TOKEN_PATH` | the file that holds the token | `token` in `HF_HOME` |
//! | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | true: no token is sent | |
//! | `HF_ENDPOINT` | the hub's URL | `https://huggingface.co` |
//! | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | true: the cache alone is read | |
//! | `HF_HUB_ETAG_TIMEOUT` | seconds to wait for what the hub says of a file | 10 |
//! | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds to wait for the next bytes of a file | 10 |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` | the proxy for URLs of that kind; the small-letter name wins | none |
//! | `NO_PROXY` | hosts without a proxy; likewise | |

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::HubError;
use super::net::{Proxies, url};
use super::vars::{DEFAULT_ENDPOINT, Vars};

/// Whether the Hugging Face hub may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What is not in the cache is downloaded.
    Allowed,
    /// Only the cache is read (`HF_HUB_OFFLINE=1`).
    CacheOnly,
}

/// How long the hub is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// For a connection, and for what the hub says of a file.
    pub answer: Duration,
    /// For the next bytes of a file.
    pub idle: Duration,
    /// A transfer is broken off if such a time brought fewer than `window_bytes`.
    pub window: Duration,
    /// The least that comes in a `window`.
    pub window_bytes: u64,
    /// How often a request is tried again.
    pub retries: u32,
    /// The pause before it is tried again the first time; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The longest pause that a hub may ask for (`Retry-After`).
    pub longest_wait: Duration,
}

/// The pauses of `huggingface_hub`; at least 1 KiB/s; the hub counts requests in windows of five minutes.
impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            window: Duration::from_secs(10),
            window_bytes: 10 << 10,
            retries: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(8),
            longest_wait: Duration::from_secs(300),
        }
    }
}

/// Where models are kept and how they are fetched.
#[derive(Clone)]
pub struct HubConfig {
    /// Folder for the models of aliases, which lie under `models/` in it; `None` if the environment
    /// names none and there is no home folder.
    pub cache: Option<PathBuf>,
    /// Folder of the Hugging Face cache; `None` as above.
    pub hf_cache: Option<PathBuf>,
    /// Token for private and gated repositories.
    pub token: Option<String>,
    /// The file that holds the token, read where `token` is `None` and the hub is asked.
    pub token_file: Option<PathBuf>,
    /// URL of the hub.
    pub endpoint: String,
    /// Whether the hub may be asked.
    pub network: Network,
    /// How long the hub is waited for.
    pub patience: Patience,
    /// The proxies on the way to it.
    pub proxies: Proxies,
    /// Python interpreters to run pip with, in the order to try.
    pub pythons: Vec<PathBuf>,
}

impl HubConfig {
    /// Reads the environment; docs/files.md has the variables.
    ///
    /// # Errors
    /// [`HubError::Variable`] with the name of a variable whose value cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|key| std::env::var_os(key), std::env::home_dir())
    }

    fn from_vars(
        var: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let vars = Vars {
            var: &var,
            home: home.clone(),
        };
        let xdg = vars
            .path(&["XDG_CACHE_HOME"])
            .or_else(|| home.map(|home| home.join(".cache")));
        let local = vars.path(&["LOCALAPPDATA"]).filter(|_| cfg!(windows));
        let hf_home = vars
            .path(&["HF_HOME"])
            .or_else(|| xdg.as_ref().map(|base| base.join("huggingface")));
        let in_home = |name: &str| hf_home.as_ref().map(|home| home.join(name));
        let base = local.or(xdg);
        let no_token = vars.truth(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"])?;
        let token = vars.token(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])?;
        let patience = Patience::default();
        let idle = vars.seconds("HF_HUB_DOWNLOAD_TIMEOUT", patience.idle)?;
        Ok(Self {
            cache: vars
                .path(&["GATELENS_CACHE"])
                .or_else(|| base.map(|base| base.join("gatelens"))),
            hf_cache: vars
                .path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
                .or_else(|| in_home("hub")),
            token: token.filter(|_| !no_token),
            token_file: vars
                .path(&["HF_TOKEN_PATH"])
                .or_else(|| in_home("token"))
                .filter(|_| !no_token),
            endpoint: vars
                .endpoint("HF_ENDPOINT")?
                .unwrap_or(DEFAULT_ENDPOINT.to_string()),
            network: if vars.truth(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])? {
                Network::CacheOnly
            } else {
                Network::Allowed
            },
            patience: Patience {
                answer: vars.seconds("HF_HUB_ETAG_TIMEOUT", patience.answer)?,
                idle,
                window: idle.max(patience.window),
                ..patience
            },
            proxies: Proxies::from_vars(&vars)?,
            pythons: vec!["python3".into(), "python".into()],
        })
    }

    /// The URL of the hub as others are made of it.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }

    /// The folder that holds the models of aliases.
    pub(super) fn models_dir(&self) -> Result<PathBuf, HubError> {
        let cache = self.cache.as_ref().ok_or(HubError::NoHome {
            variable: "GATELENS_CACHE",
        })?;
        Ok(cache.join("models"))
    }

    /// The folder of the Hugging Face cache.
    pub(super) fn hf_cache_dir(&self) -> Result<PathBuf, HubError> {
        self.hf_cache.clone().ok_or(HubError::NoHome {
            variable: "HF_HUB_CACHE",
        })
    }
}

/// Written by hand because a token must not end up in a log.
impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("hf_cache", &self.hf_cache)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("token_file", &self.token_file)
            .field("endpoint", &url::without_credentials(&self.endpoint))
            .field("network", &self.network)
            .field("patience", &self.patience)
            .field("pythons", &self.pythons)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
