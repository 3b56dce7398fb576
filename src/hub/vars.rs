//! Variables of the environment, read as what they should be.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::error::HubError;
use super::net::url;
use super::plain;

pub(super) const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The environment. Of several names for one setting, the first that is set counts.
pub(super) struct Vars<'a> {
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    pub home: Option<PathBuf>,
}

impl Vars<'_> {
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, OsString)> {
        names.iter().find_map(|name| {
            let value = (self.var)(name).filter(|value| !value.is_empty());
            value.map(|value| (*name, value))
        })
    }

    /// A value that must be text of some form; what `read` says is wrong with it must not show a secret.
    pub fn read<T>(
        &self,
        names: &[&'static str],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, HubError> {
        let Some((name, value)) = self.first(names) else {
            return Ok(None);
        };
        let text = value
            .into_string()
            .map_err(|_| "it is not UTF-8 text".to_string());
        let value = text.and_then(|text| read(&text));
        value
            .map(Some)
            .map_err(|reason| HubError::Variable { name, reason })
    }

    /// A folder or file, with `~` and `$VARIABLE` expanded; one that is no UTF-8 text is taken as it is.
    pub fn path(&self, names: &[&'static str]) -> Option<PathBuf> {
        let (_, value) = self.first(names)?;
        Some(match value.into_string() {
            Ok(text) => {
                // Variables that are not set are left as they are, as Python does.
                let var = |name: &str| (self.var)(name)?.into_string().ok();
                let text = self.expand_home(&text);
                PathBuf::from(shellexpand::env_with_context_no_errors(&text, var).into_owned())
            }
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

    pub fn truth(&self, names: &[&'static str]) -> Result<bool, HubError> {
        let is_true = |text: &str| {
            Ok(["1", "on", "yes", "true"].contains(&text.to_ascii_lowercase().as_str()))
        };
        Ok(self.read(names, is_true)?.unwrap_or(false))
    }

    pub fn token(&self, names: &[&'static str]) -> Result<Option<String>, HubError> {
        let read = |text: &str| {
            plain::token(text).map_err(|reason| format!("{reason} (the value is not shown)"))
        };
        Ok(self.read(names, read)?.flatten())
    }

    pub fn endpoint(&self, name: &'static str) -> Result<Option<String>, HubError> {
        self.read(&[name], |text| match url::parse(text) {
            Ok(_) => Ok(text.to_string()),
            Err(reason) => Err(format!("{reason}; it should look like {DEFAULT_ENDPOINT}")),
        })
    }

    /// Zero means the default, as it does to `huggingface_hub`.
    pub fn seconds(&self, name: &'static str, default: Duration) -> Result<Duration, HubError> {
        let read = |text: &str| match text.trim().parse::<u32>() {
            Ok(0) => Ok(default),
            Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
            Err(_) => Err(format!(
                "`{}` is no whole number of seconds",
                plain::shown(text)
            )),
        };
        Ok(self.read(&[name], read)?.unwrap_or(default))
    }
}
