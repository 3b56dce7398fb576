//! The verdicts.

use serde::{Deserialize, Serialize};

/// What a test says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Verdict {
    /// The claim's direction, beyond chance.
    #[serde(rename = "supported")]
    #[strum(serialize = "supported")]
    Supported,
    /// The other direction, beyond chance.
    #[serde(rename = "contradicted")]
    #[strum(serialize = "contradicted")]
    Contradicted,
    /// Within what chance does.
    #[serde(rename = "not distinguishable")]
    #[strum(serialize = "not distinguishable")]
    NotDistinguishable,
    /// The model or the input does not have what the test needs, or a control could not be had.
    #[serde(rename = "not testable")]
    #[strum(serialize = "not testable")]
    NotTestable,
    /// Nothing follows for the claim: the test stands beside the one that decides it.
    #[serde(rename = "described")]
    #[strum(serialize = "described")]
    Described,
}

impl Verdict {
    /// Every verdict, in the order of summaries.
    pub const ALL: [Verdict; 5] = [
        Verdict::Supported,
        Verdict::Contradicted,
        Verdict::NotDistinguishable,
        Verdict::NotTestable,
        Verdict::Described,
    ];

    /// As in files.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
