//! The attribute rate: how much of what a text says about a subject stands in the residual of its last token.
//!
//! The model reads a prompt up to the subject's last token. The residual there after a layer, straight through the
//! unembedding (as published: no final norm; see [`Lens`]), ranks the vocabulary; the rate is the share of the first tokens, without
//! stop words and short ones, that occur among the tokens of a text about the subject ([`AttributeWords`] says what is
//! compared). Ablating neurons that enrich a subject should lower it.
//!
//! Source: Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", section on
//! subject enrichment; Gerstner and Schütze, arXiv 2505.17936. [`FilterOrder`] holds where the two differ.

mod effects;
mod reader;
mod words;

pub use effects::{
    Adjustment, AttributeEffect, AttributeEffects, attribute_effects, default_layers,
};
pub use words::AttributeWords;

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Serialize;

use self::reader::RateReader;
use super::ExperimentError;
use super::outcome::Arm;
use super::passes::{InVain, Passes, Whole};
use super::plan::{AblationPlan, PlannedCondition};
use super::reference::{CleanReference, Prepared, prepare};
use crate::engine::{Engine, EngineError, Lens, Progress};
use crate::hooks::{Condition, EditCount, Observer};
use crate::tokens::TokenBatch;

/// Which comes first, the best tokens or the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterOrder {
    /// The best tokens are taken, and of these stop words and short tokens dropped (Gerstner and Schütze). A rate is over
    /// fewer tokens then, perhaps none.
    #[default]
    TopFirst,
    /// Stop words and short tokens are dropped, and of the rest the best taken (Geva et al.).
    FilterFirst,
}

impl FilterOrder {
    /// The name in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            FilterOrder::TopFirst => "top-first",
            FilterOrder::FilterFirst => "filter-first",
        }
    }
}

impl fmt::Display for FilterOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FilterOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [FilterOrder::TopFirst, FilterOrder::FilterFirst]
            .into_iter()
            .find(|order| order.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no order; accepted: top-first, filter-first"))
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// A row of `rates.parquet`: one prompt under one condition after one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct RateRow<'a> {
    /// Index of the prompt in its set.
    pub prompt: usize,
    /// The layer.
    pub layer: usize,
    /// Name of the class or neuron file; empty for clean.
    pub class: &'a str,
    /// The condition's part.
    pub arm: Arm,
    /// Which baseline draw, from 0; 0 in the other arms.
    pub draw: u32,
    /// The edit's mode; empty for clean.
    pub mode: &'a str,
    /// How many neurons were edited.
    pub neurons: u32,
    /// The tokens.
    pub share: Share,
}

/// By prompt, then by layer.
type Shares = Vec<Vec<Share>>;

/// The rates of a plan.
pub struct Attributes {
    /// The clean condition first, then the plan's order.
    conditions: Vec<(PlannedCondition, Shares)>,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

impl Attributes {
    /// The rows of `rates.parquet`, condition by condition; in each by prompt, then by layer.
    pub fn rows(&self) -> impl Iterator<Item = Vec<RateRow<'_>>> {
        self.conditions.iter().map(|(planned, shares)| {
            let by_prompt = shares.iter().enumerate();
            let rows = by_prompt.flat_map(|(prompt, shares)| {
                shares
                    .iter()
                    .enumerate()
                    .map(move |(layer, &share)| RateRow {
                        prompt,
                        layer,
                        class: &planned.class,
                        arm: planned.arm,
                        draw: planned.draw,
                        mode: &planned.mode,
                        neurons: planned.neurons,
                        share,
                    })
            });
            rows.collect()
        })
    }

    /// How many rates there are, and for how many of them nothing was kept.
    pub fn counts(&self) -> (usize, usize) {
        let shares = || self.conditions.iter().flat_map(|(_, s)| s.iter().flatten());
        let absent = shares().filter(|share| share.kept == 0).count();
        (shares().count(), absent)
    }
}

/// What is asked about.
pub struct AttributeInput<'a> {
    /// Prompts that end with their subjects, numbered from 0.
    pub batch: &'a TokenBatch,
    /// Of each prompt, the place of its subject's text in `words`.
    pub texts: &'a [usize],
    /// What counts of tokens and texts.
    pub words: &'a AttributeWords,
}

/// Runs the clean model and every condition of the plan on all prompts. Residuals are kept at the subjects' last tokens
/// alone, and no longer than it takes to rank their tokens.
///
/// # Errors
/// Those of the engine and of the plan's mode; [`ExperimentError::NoOrder`] for a residual that is not finite.
pub fn attributes(
    engine: &Engine<'_>,
    input: &AttributeInput<'_>,
    plan: &AblationPlan,
    settings: RateSettings,
    progress: &dyn Progress,
) -> Result<Attributes, ExperimentError> {
    let AttributeInput { batch, texts, .. } = *input;
    let held = RateReader::bytes(engine, settings);
    let beside = engine.beside(held);
    beside.tokens_per_pass(batch, plan.len().min(2))?; // too little memory shows before anything runs
    let Prepared {
        planned,
        engine: beside,
        reference,
        passes,
    } = prepare(&beside, plan, batch, "prompts, clean", progress)?;
    let conditions: Vec<Condition> = planned.iter().map(|p| p.condition.clone()).collect();
    let whole = Whole {
        engine: &beside,
        batch,
        conditions: &conditions,
        in_vain: InVain::Refused,
        unit: "prompts",
        progress,
    };
    let mut runs = Passes::plan(&whole)?;
    let none = vec![vec![Share::default(); engine.config().n_layers()]; texts.len()];
    let mut shares: Vec<Shares> = vec![none; conditions.len()];
    runs.run(&whole, &mut |part| {
        let mut reader = RateReader::new(engine, part.batch, input, settings);
        let observers: &mut [&mut dyn Observer] = &mut [&mut reader];
        let changed = beside.run(part.batch, part.conditions, observers, None, progress)?;
        for found in reader.finish()? {
            for &member in found.conditions.iter() {
                shares[part.members[member]][found.prompt][found.layer] = found.share;
            }
        }
        Ok(changed)
    })?;
    if !runs.finished() {
        return Err(EngineError::Stopped.into());
    }
    Ok(Attributes {
        conditions: planned.into_iter().zip(shares).collect(),
        changed: runs.changed(),
        reference,
        passes: passes + runs.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_nothing_is_absent() {
        assert_eq!(Share { kept: 0, hits: 0 }.rate(), None);
        assert_eq!(Share { kept: 4, hits: 0 }.rate(), Some(0.0));
        assert_eq!(Share { kept: 4, hits: 3 }.rate(), Some(0.75));
    }

    #[test]
    fn orders_are_read_back() {
        for order in [FilterOrder::TopFirst, FilterOrder::FilterFirst] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        assert!(
            "first"
                .parse::<FilterOrder>()
                .unwrap_err()
                .contains("top-first")
        );
    }
}
