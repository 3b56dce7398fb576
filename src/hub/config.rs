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

use super::net::{Proxies, url};
use super::{HubError, plain};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

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
        let local = match cfg!(windows) {
            true => vars.path(&["LOCALAPPDATA"]),
            false => None,
        };
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
            endpoint: vars.endpoint("HF_ENDPOINT")?,
            network: match vars.truth(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])? {
                true => Network::CacheOnly,
                false => Network::Allowed,
            },
            patience: Patience {
                answer: vars.seconds("HF_HUB_ETAG_TIMEOUT", patience.answer)?,
                idle,
                window: idle.max(patience.window),
                ..patience
            },
            proxies: Proxies::from_vars(|key| Ok(vars.text(&[key])?.map(|(_, value)| value)))?,
            pythons: vec!["python3".into(), "python".into()],
        })
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

/// The environment. Of several names for one setting, the first that is set counts.
struct Vars<'a> {
    var: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
}

impl Vars<'_> {
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, OsString)> {
        names.iter().find_map(|name| {
            let value = (self.var)(name).filter(|value| !value.is_empty());
            value.map(|value| (*name, value))
        })
    }

    /// A value that must be text, with the name of its variable.
    fn text(&self, names: &[&'static str]) -> Result<Option<(&'static str, String)>, HubError> {
        let Some((name, value)) = self.first(names) else {
            return Ok(None);
        };
        match value.into_string() {
            Ok(value) => Ok(Some((name, value))),
            Err(_) => Err(bad(name, "it is not UTF-8 text".to_string())),
        }
    }

    /// A folder or file, with `~` and `$VARIABLE` expanded; one that is no UTF-8 text is taken as it is.
    fn path(&self, names: &[&'static str]) -> Option<PathBuf> {
        let (_, value) = self.first(names)?;
        Some(match value.into_string() {
            Ok(text) => PathBuf::from(expand_vars(&self.expand_home(&text), self.var)),
            Err(value) => PathBuf::from(value),
        })
    }

    /// `~` alone or before a separator is the home folder; another user's (`~name`) is left as it is.
    fn expand_home(&self, text: &str) -> String {
        let rest = text.strip_prefix('~');
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
        match (rest, self.home.as_ref().and_then(|home| home.to_str())) {
            (Some(rest), Some(home)) => format!("{}{rest}", home.trim_end_matches('/')),
            _ => text.to_string(),
        }
    }

    fn truth(&self, names: &[&'static str]) -> Result<bool, HubError> {
        let value = self.text(names)?;
        Ok(value.is_some_and(|(_, value)| {
            ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
        }))
    }

    /// The value itself must not get into the message.
    fn token(&self, names: &[&'static str]) -> Result<Option<String>, HubError> {
        let Some((name, value)) = self.text(names)? else {
            return Ok(None);
        };
        let token = plain::token(&value)
            .map_err(|reason| bad(name, format!("{reason} (the value is not shown)")))?;
        Ok(token)
    }

    fn endpoint(&self, name: &'static str) -> Result<String, HubError> {
        let Some((name, value)) = self.text(&[name])? else {
            return Ok(DEFAULT_ENDPOINT.to_string());
        };
        match url::parse(&value) {
            Ok(_) => Ok(value),
            Err(reason) => Err(bad(
                name,
                format!("{reason}; it should look like {DEFAULT_ENDPOINT}"),
            )),
        }
    }

    /// Zero means the default, as it does to `huggingface_hub`.
    fn seconds(&self, name: &'static str, default: Duration) -> Result<Duration, HubError> {
        let Some((name, value)) = self.text(&[name])? else {
            return Ok(default);
        };
        match value.trim().parse::<u32>() {
            Ok(0) => Ok(default),
            Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
            Err(_) => Err(bad(
                name,
                format!("`{}` is no whole number of seconds", plain::shown(&value)),
            )),
        }
    }
}

fn bad(name: &'static str, reason: String) -> HubError {
    HubError::Variable { name, reason }
}

/// `$NAME` and `${NAME}` of variables that are set; others are left as they are, as Python does.
fn expand_vars(text: &str, var: &dyn Fn(&str) -> Option<OsString>) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, len) = match rest[1..].strip_prefix('{') {
            Some(inner) => match inner.find('}') {
                Some(end) => (&inner[..end], end + 3),
                None => ("", 1),
            },
            None => {
                let end = rest[1..].find(|c| !is_name(c)).unwrap_or(rest.len() - 1);
                (&rest[1..=end], end + 1)
            }
        };
        let value = (!name.is_empty()).then(|| var(name)).flatten();
        match value.and_then(|value| value.into_string().ok()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..len]),
        }
        rest = &rest[len..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_config(vars: &[(&str, &str)]) -> Result<HubConfig, HubError> {
        let find = |key: &str| {
            let found = vars.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| OsString::from(value))
        };
        HubConfig::from_vars(find, Some("/home/ada".into()))
    }

    fn config(vars: &[(&str, &str)]) -> HubConfig {
        try_config(vars).unwrap()
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
        assert_eq!(
            config.token_file,
            Some(PathBuf::from("/home/ada/.cache/huggingface/token"))
        );
        assert_eq!(config.endpoint, DEFAULT_ENDPOINT);
        assert_eq!((config.token, config.network), (None, Network::Allowed));
        assert_eq!(config.patience, Patience::default());
    }

    #[test]
    fn variables_win_over_defaults() {
        let config = config(&[
            ("XDG_CACHE_HOME", "/xdg"),
            ("HF_HOME", "/hf"),
            ("HF_TOKEN", "hf_secret\n"),
            ("HF_ENDPOINT", "http://ada:pw@localhost:1"),
            ("HF_HUB_OFFLINE", "True"),
            ("HF_HUB_ETAG_TIMEOUT", "3"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "40"),
        ]);
        assert_eq!(
            config.models_dir().unwrap(),
            PathBuf::from("/xdg/gatelens/models")
        );
        assert_eq!(config.hf_cache_dir().unwrap(), PathBuf::from("/hf/hub"));
        assert_eq!(config.token_file, Some(PathBuf::from("/hf/token")));
        assert_eq!(config.endpoint, "http://ada:pw@localhost:1");
        assert_eq!(config.network, Network::CacheOnly);
        assert_eq!(config.token.as_deref(), Some("hf_secret"));
        assert_eq!(config.patience.answer, Duration::from_secs(3));
        assert_eq!(config.patience.idle, Duration::from_secs(40));
        let text = format!("{config:?}");
        assert!(
            !text.contains("hf_secret") && !text.contains("ada:pw"),
            "{text}"
        );
    }

    /// The values are those of huggingface_hub 2.4's `constants` with the same environment.
    #[test]
    fn folders_are_those_of_huggingface_hub() {
        for (vars, cache, token) in [
            (
                vec![("HF_HOME", "~/hf")],
                "/home/ada/hf/hub",
                "/home/ada/hf/token",
            ),
            (
                vec![("HF_HOME", "$SCRATCH/hf"), ("SCRATCH", "/s")],
                "/s/hf/hub",
                "/s/hf/token",
            ),
            (
                vec![("HF_HOME", "${SCRATCH}x/$NONE/hf$"), ("SCRATCH", "/s")],
                "/sx/$NONE/hf$/hub",
                "/sx/$NONE/hf$/token",
            ),
            (
                vec![("HF_HUB_CACHE", "~"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/home/ada",
                "/home/ada/.cache/huggingface/token",
            ),
            (
                vec![("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")],
                "/old",
                "/hf/token",
            ),
            (
                vec![("XDG_CACHE_HOME", "~/x"), ("HF_TOKEN_PATH", "~/t")],
                "/home/ada/x/huggingface/hub",
                "/home/ada/t",
            ),
        ] {
            let config = config(&vars);
            assert_eq!(
                config.hf_cache_dir().unwrap(),
                PathBuf::from(cache),
                "{vars:?}"
            );
            assert_eq!(config.token_file, Some(PathBuf::from(token)), "{vars:?}");
        }
        let ours = config(&[("GATELENS_CACHE", "~/g")]).models_dir().unwrap();
        assert_eq!(ours, PathBuf::from("/home/ada/g/models"));
    }

    #[test]
    fn tokens_and_offline_under_their_older_names() {
        let old = config(&[
            ("HUGGING_FACE_HUB_TOKEN", "hf_old"),
            ("TRANSFORMERS_OFFLINE", "1"),
        ]);
        assert_eq!(old.token.as_deref(), Some("hf_old"));
        assert_eq!(old.network, Network::CacheOnly);
        // As in Python: the newer name wins, even with `0`.
        let both = config(&[
            ("HF_TOKEN", "hf_new"),
            ("HUGGING_FACE_HUB_TOKEN", "hf_old"),
            ("HF_HUB_OFFLINE", "0"),
            ("TRANSFORMERS_OFFLINE", "1"),
        ]);
        assert_eq!(both.token.as_deref(), Some("hf_new"));
        assert_eq!(both.network, Network::Allowed);
        let none = config(&[
            ("HF_TOKEN", "hf_new"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ]);
        assert_eq!((none.token, none.token_file), (None, None));
    }

    #[test]
    fn values_without_sense_are_refused_by_their_name() {
        for (name, value) in [
            ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
            ("HF_HUB_ETAG_TIMEOUT", "-1"),
            ("HF_ENDPOINT", "huggingface.co"),
            ("HF_ENDPOINT", "ftp://huggingface.co"),
            ("HTTPS_PROXY", "http://ada:hf_secret@"),
            ("HF_TOKEN", "hf_secret\u{1b}[2J"),
        ] {
            let text = try_config(&[(name, value)]).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
            assert!(!text.contains("hf_secret"), "{text}");
        }
    }

    #[test]
    fn without_a_home_the_error_names_the_variable() {
        let config = HubConfig::from_vars(|_| None, None).unwrap();
        for (error, name) in [
            (config.models_dir(), "GATELENS_CACHE"),
            (config.hf_cache_dir(), "HF_HUB_CACHE"),
        ] {
            assert!(error.unwrap_err().to_string().contains(name));
        }
    }
}
