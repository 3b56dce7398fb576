//! What a rate is of.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::engine::Lens;

/// Which comes first, the best tokens or the filter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, strum::Display, strum::EnumString,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RateSettings {
    /// Which comes first, the best tokens or the filter.
    pub filter_order: FilterOrder,
    /// How many of the best tokens are taken.
    pub top: NonZeroUsize,
    /// What the residual goes through before the unembedding.
    pub lens: Lens,
}

impl RateSettings {
    /// Gerstner and Schütze's: of the top 50 tokens those that the filter leaves. Their model library folds the final
    /// norm's gain into the unembedding, which gives the tokens the order that the final norm gives them.
    pub fn published() -> Self {
        Self {
            filter_order: FilterOrder::TopFirst,
            top: NonZeroUsize::MIN.saturating_add(49),
            lens: Lens::FinalNorm,
        }
    }
}

/// The tokens of one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Those that the filter leaves.
    pub kept: u32,
    /// Those of them that occur in the subject's own text.
    pub hits: u32,
    /// The same of the text of each other subject, summed.
    pub other_hits: u32,
    /// How many other subjects' texts there are.
    pub other_texts: u32,
}

impl Share {
    /// hits / kept; absent where nothing is kept.
    pub fn rate(self) -> Option<f64> {
        (self.kept > 0).then(|| f64::from(self.hits) / f64::from(self.kept))
    }

    /// The mean rate with the other subjects' texts: what any text would give. Absent where nothing is kept, or nobody
    /// else has a text.
    pub fn rate_other(self) -> Option<f64> {
        let tokens = u64::from(self.kept) * u64::from(self.other_texts);
        (tokens > 0).then(|| f64::from(self.other_hits) / tokens as f64)
    }

    /// The rate minus that with the other subjects' texts: what is said of this subject and not of any.
    pub fn excess(self) -> Option<f64> {
        Some(self.rate()? - self.rate_other()?)
    }
}
