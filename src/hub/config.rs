//! The settings of the stage, read once from the environment.
//!
//! The variables of the Hugging Face hub mean here what they mean to its Python client. The hf-hub
//! crate itself would read only `HF_HOME` and `HF_ENDPOINT`, so all of them are read here.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::HubError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Whether the Hugging Face hub may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What is not in the cache is downloaded.
    Allowed,
    /// Only the cache is read (`HF_HUB_OFFLINE=1`).
    CacheOnly,
}

/// Where models are kept and how they are fetched.
#[derive(Clone)]
pub struct HubConfig {
    /// Folder for the models of aliases, which lie under `models/` in it; `None` if the environment
    /// names none and there is no home folder.
    pub cache: Option<PathBuf>,
    /// Folder of the Hugging Face cache, which lies under `hub/` in it; `None` as above.
    pub hf_home: Option<PathBuf>,
    /// Token for private and gated repositories; without one, the file `token` in `hf_home` is used.
    pub token: Option<String>,
    /// URL of the hub.
    pub endpoint: String,
    /// Whether the hub may be asked.
    pub network: Network,
    /// Python interpreters to run pip with, in the order to try.
    pub pythons: Vec<PathBuf>,
}

impl HubConfig {
    /// Reads the environment.
    ///
    /// `GATELENS_CACHE`, else `XDG_CACHE_HOME/gatelens` (`LOCALAPPDATA\gatelens` on Windows), else
    /// `~/.cache/gatelens`; `HF_HOME`, else `XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`;
    /// `HF_TOKEN`; `HF_ENDPOINT`; `HF_HUB_OFFLINE` (`1`, `on`, `yes` or `true`). A variable that is set
    /// to nothing counts as not set.
    pub fn from_env() -> Self {
        Self::from_vars(|key| std::env::var_os(key), std::env::home_dir())
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let var = |key: &str| var(key).filter(|value| !value.is_empty());
        let text = |key: &str| var(key).and_then(|value| value.into_string().ok());
        let path = |key: &str| var(key).map(PathBuf::from);
        let xdg = path("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")));
        let local = if cfg!(windows) {
            path("LOCALAPPDATA")
        } else {
            None
        };
        Self {
            cache: path("GATELENS_CACHE").or_else(|| {
                local
                    .or_else(|| xdg.clone())
                    .map(|base| base.join("gatelens"))
            }),
            hf_home: path("HF_HOME").or_else(|| xdg.map(|base| base.join("huggingface"))),
            token: text("HF_TOKEN")
                .map(|token| token.trim().to_string())
                .filter(|token| !token.is_empty()),
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_string()),
            network: match text("HF_HUB_OFFLINE") {
                Some(value) if is_true(&value) => Network::CacheOnly,
                _ => Network::Allowed,
            },
            pythons: vec!["python3".into(), "python".into()],
        }
    }

    /// The folder that holds the models of aliases.
    pub(super) fn models_dir(&self) -> Result<PathBuf, HubError> {
        let cache = self.cache.as_ref().ok_or(HubError::NoHome {
            variable: "GATELENS_CACHE",
        })?;
        Ok(cache.join("models"))
    }

    /// The folder that the hf-hub crate calls its cache.
    pub(super) fn hf_cache_dir(&self) -> Result<PathBuf, HubError> {
        let home = self.hf_home.as_ref().ok_or(HubError::NoHome {
            variable: "HF_HOME",
        })?;
        Ok(home.join("hub"))
    }
}

/// Written by hand because a token must not end up in a log.
impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("hf_home", &self.hf_home)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("endpoint", &self.endpoint)
            .field("network", &self.network)
            .field("pythons", &self.pythons)
            .finish()
    }
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> HubConfig {
        let find = |key: &str| {
            let found = vars.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| OsString::from(value))
        };
        HubConfig::from_vars(find, Some("/home/ada".into()))
    }

    #[test]
    fn defaults_lie_in_the_home_folder() {
        let config = config(&[("HF_TOKEN", " "), ("HF_HOME", "")]);
        assert_eq!(
            config.models_dir().unwrap(),
            PathBuf::from("/home/ada/.cache/gatelens/models")
        );
        assert_eq!(
            config.hf_cache_dir().unwrap(),
            PathBuf::from("/home/ada/.cache/huggingface/hub")
        );
        assert_eq!(config.endpoint, DEFAULT_ENDPOINT);
        assert_eq!((config.token, config.network), (None, Network::Allowed));
    }

    #[test]
    fn variables_win_over_defaults() {
        let config = config(&[
            ("XDG_CACHE_HOME", "/xdg"),
            ("HF_HOME", "/hf"),
            ("HF_TOKEN", "hf_secret\n"),
            ("HF_ENDPOINT", "http://localhost:1"),
            ("HF_HUB_OFFLINE", "True"),
        ]);
        assert_eq!(
            config.models_dir().unwrap(),
            PathBuf::from("/xdg/gatelens/models")
        );
        assert_eq!(config.hf_cache_dir().unwrap(), PathBuf::from("/hf/hub"));
        assert_eq!(config.endpoint, "http://localhost:1");
        assert_eq!(config.network, Network::CacheOnly);
        assert_eq!(config.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{config:?}").contains("hf_secret"));
    }

    #[test]
    fn without_a_home_the_error_names_the_variable() {
        let config = HubConfig::from_vars(|_| None, None);
        assert!(
            config
                .models_dir()
                .unwrap_err()
                .to_string()
                .contains("GATELENS_CACHE")
        );
        assert!(
            config
                .hf_cache_dir()
                .unwrap_err()
                .to_string()
                .contains("HF_HOME")
        );
    }
}
