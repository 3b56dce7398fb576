//! By which way an effect comes about.

use serde::{Deserialize, Serialize};

use crate::hooks::Path;

/// By which way an effect comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EffectPath {
    /// By all ways together.
    #[default]
    Total,
    /// Straight to the final norm; later layers see the unedited residual.
    Direct,
    /// The same, with the unedited final norm's scale.
    DirectFrozenNorm,
    /// What the total effect has beside the direct one: by attention and neurons between, and where the direct one has the
    /// unedited scale, by the norm.
    Indirect,
}

impl From<Path> for EffectPath {
    fn from(path: Path) -> Self {
        match path {
            Path::Total => EffectPath::Total,
            Path::Direct => EffectPath::Direct,
            Path::DirectFrozenNorm => EffectPath::DirectFrozenNorm,
        }
    }
}
