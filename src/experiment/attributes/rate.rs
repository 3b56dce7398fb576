//! What a rate is of.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::engine::Lens;

/// Which comes first, the best tokens or the filter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_order)]
pub enum FilterOrder {
    /// The best tokens are taken, and of these stop words and short tokens dropped (Gerstner and Schütze). A rate is over
    /// fewer tokens then, perhaps none.
    #[default]
    TopFirst,
    /// Stop words and short tokens are dropped, and of the rest the best taken (Geva et al.).
    FilterFirst,
}

fn no_order(text: &str) -> String {
    format!("`{text}` is no order; accepted: top-first, filter-first")
}

/// Which tokens a rate is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateSettings {
    /// Which comes first, the best tokens or the filter.
    pub filter_order: FilterOrder,
    /// How many of the best tokens.
    pub top: NonZeroUsize,
    /// What the residual goes through before the unembedding.
    pub lens: Lens,
}

impl RateSettings {
    /// Gerstner and Schütze's: of the top 50 tokens those that the filter leaves, no final norm.
    pub fn published() -> Self {
        Self {
            filter_order: FilterOrder::TopFirst,
            top: NonZeroUsize::MIN.saturating_add(49),
            lens: Lens::Raw,
        }
    }
}

/// The tokens of one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Those that the filter leaves.
    pub kept: u32,
    /// Those of them that occur in the text.
    pub hits: u32,
}

impl Share {
    /// hits / kept; absent where nothing is kept.
    pub fn rate(self) -> Option<f64> {
        (self.kept > 0).then(|| f64::from(self.hits) / f64::from(self.kept))
    }
}
