//! `claims.json`: what `verify` found.

use serde::{Deserialize, Serialize};

use crate::experiment::verify::ClaimTest;

/// The contents of `claims.json`: published claims, tested on a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Claims {
    /// Their tests, those of a claim one after the other.
    pub claims: Vec<ClaimTest>,
}
