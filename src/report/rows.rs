//! The tables of the experiments: one struct each, which says what a file holds, and how it is made of outcomes. Those
//! of texts and of recordings stand where they are written.

pub use super::record::rows::{TokensRow, TopTokensRow};
pub use super::text_outcomes::TextOutcomesRow;
pub use crate::experiment::record::{ActivationsRow, SummaryRow};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ReportError;
use super::table::{TableWriter, check_numbers, table_bytes};
use crate::experiment::attributes::{Attributes, RateRow};
use crate::experiment::rank::{Cost, Exact, RankedNeuron};
use crate::experiment::{Arm, LayerWindow, Outcome, Treatment};
use crate::hooks::Neuron;
use crate::io_class::{Class, NeuronTable};
use crate::prompts::Prompt;
use crate::stats::Interval;
use crate::tokens::Tokenizer;

/// A row of `neurons.parquet`: a neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronsRow {
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// Cosine of w_gate and w_in, as folded.
    pub cos_gate_in: f32,
    /// Cosine of w_gate and w_out, as folded.
    pub cos_gate_out: f32,
    /// Cosine of w_in and w_out, as folded.
    pub cos_in_out: f32,
    /// Length of w_gate, as folded.
    pub norm_gate: f32,
    /// Length of w_in, as folded.
    pub norm_in: f32,
    /// Length of w_out, as folded.
    pub norm_out: f32,
    /// The class at the threshold in run.json.
    pub class: Class,
}

/// The rows of two tables that share the columns of an outcome.
macro_rules! outcome_rows {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $more:ident: $kind:ty,)* })*) => { $(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// The prompt's id.
            pub prompt_id: String,
            /// Name of the class or neuron file; empty for clean.
            pub class: String,
            /// clean, class, baseline (a matched random set), or corrupted (the counterfactual, or the fact with noise, where values are patched).
            pub arm: Arm,
            /// Which baseline draw, from 0; 0 in the other arms.
            pub draw: u32,
            /// The edit's mode; empty for clean.
            pub mode: String,
            /// How many neurons were edited.
            pub neurons: u32,
            /// Log-probability of the whole target, nats.
            pub target_logprob: f64,
            /// Log-probability of the first target token, nats.
            pub first_logprob: f64,
            /// Rank of the first target token, 1 is best.
            pub first_rank: u32,
            /// Whether the fact counts as known: the clean model's top token is the first target token, after this prompt or, with
            /// `--known-by rephrased`, after its other words.
            pub known: bool,
            /// Entropy of the next-token distribution at the last prompt token, nats.
            pub entropy: f64,
            /// KL divergence from the clean distribution to this one there, nats.
            pub kl: f64,
            /// Text of the most probable next token there.
            pub top_token: String,
            /// Its id.
            pub top_token_id: u32,
            /// Logit of the first target token minus that of the counterfactual's; null without one.
            pub logit_diff: Option<f64>,
            /// By which way the change reaches the logits: total, direct, direct-frozen-norm; empty for clean.
            pub path: String,
            /// Which of the fact's noises, from 0: with it this ran, or gave the values; null where there was none.
            pub noise_seed: Option<u32>,
            $($(#[$doc])* pub $more: $kind,)*
        }

        impl $name {
            fn of(
                outcome: &Outcome<'_>,
                prompts: &[Prompt],
                tokenizer: &Tokenizer,
                ($($more,)*): ($($kind,)*),
            ) -> Self {
                let score = &outcome.score;
                Self {
                    prompt_id: prompts[outcome.prompt].id.clone(),
                    class: outcome.condition.class.clone(),
                    arm: outcome.condition.arm,
                    draw: outcome.condition.draw,
                    mode: outcome.condition.mode.clone(),
                    neurons: outcome.condition.neurons,
                    target_logprob: score.target_logprob,
                    first_logprob: score.first_logprob,
                    first_rank: score.first_rank,
                    known: outcome.known,
                    entropy: score.entropy_nats,
                    kl: score.kl_nats,
                    top_token: tokenizer.token_text(score.top_token),
                    top_token_id: score.top_token,
                    logit_diff: score.logit_diff,
                    path: outcome.condition.path.clone(),
                    noise_seed: outcome.noise_seed,
                    $($more,)*
                }
            }
        }
    )* };
}

outcome_rows! {
    /// A row of `outcomes.parquet` on facts: a prompt under a condition.
    OutcomesRow {}

    /// A row of a sweep's `outcomes.parquet`: a prompt under a condition.
    SweepOutcomesRow {
        /// First layer of the edit; null for clean.
        first_layer: Option<u16>,
        /// Last layer of the edit; null for clean.
        last_layer: Option<u16>,
    }
}

/// A row of `rates.parquet`: a prompt under a condition after a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatesRow {
    /// The prompt's id.
    pub prompt_id: String,
    /// The prompt's subject.
    pub subject: String,
    /// The layer after which the residual was read.
    pub layer: u16,
    /// Name of the class or neuron file; empty for clean.
    pub class: String,
    /// clean, class, or baseline (a matched random set).
    pub arm: Arm,
    /// Which baseline draw, from 0; 0 in the other arms.
    pub draw: u32,
    /// The edit's mode; empty for clean.
    pub mode: String,
    /// How many neurons were edited.
    pub neurons: u32,
    /// Tokens that the filter leaves.
    pub kept: u32,
    /// Those of them that occur in the subject's text.
    pub hits: u32,
    /// hits / kept; null where nothing is kept.
    pub rate: Option<f64>,
    /// The mean of the same with each other subject's text; null where nothing is kept, or nobody else has a text.
    pub rate_other: Option<f64>,
}

/// A row of `ranking.parquet`: a neuron of the ranked set. What exact ablation gave is null for neurons that were not
/// ablated alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankingRow {
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// By --by, over the ranking prompts. output: mean of |post|·‖w_out‖ where the target is scored. direct, gradient: the change of the target's log-probability to first order, nats.
    pub estimate: f64,
    /// Place by the estimate; 1 promises the most harm.
    pub estimate_rank: u32,
    /// Ablated alone minus clean: mean over prompts of the log-probability of the whole target, nats.
    pub exact: Option<f64>,
    /// Lower end of its 95 % interval; null also for one prompt.
    pub exact_low: Option<f64>,
    /// Upper end of its 95 % interval; null also for one prompt.
    pub exact_high: Option<f64>,
    /// Place among the neurons ablated alone; 1 does the most harm.
    pub exact_rank: Option<u32>,
    /// Prompts whose first target token is no longer the top token.
    pub facts_lost: Option<i32>,
}

impl From<&RankedNeuron> for RankingRow {
    fn from(ranked: &RankedNeuron) -> Self {
        let interval = ranked.exact.and_then(|exact| exact.cost.interval);
        Self {
            layer: ranked.neuron.layer as u16,
            neuron: ranked.neuron.index as u32,
            estimate: ranked.estimate,
            estimate_rank: ranked.estimate_rank as u32,
            exact: ranked.exact.map(|exact| exact.cost.effect),
            exact_low: interval.map(|interval| interval.low),
            exact_high: interval.map(|interval| interval.high),
            exact_rank: ranked.exact.map(|exact| exact.rank as u32),
            facts_lost: ranked.exact.map(|exact| exact.cost.facts_lost as i32),
        }
    }
}

impl RankingRow {
    /// The neuron again; nothing where a row lacks a part of what exact ablation gave.
    pub fn ranked(&self) -> Option<RankedNeuron> {
        let interval = match (self.exact_low, self.exact_high) {
            (Some(low), Some(high)) => Some(Interval { low, high }),
            (None, None) => None,
            _ => return None,
        };
        let exact = match self.exact {
            None => None,
            Some(effect) => Some(Exact {
                cost: Cost {
                    effect,
                    interval,
                    facts_lost: usize::try_from(self.facts_lost?).ok()?,
                },
                rank: self.exact_rank? as usize,
            }),
        };
        Some(RankedNeuron {
            neuron: Neuron::new(self.layer.into(), self.neuron as usize),
            estimate: self.estimate,
            estimate_rank: self.estimate_rank as usize,
            exact,
        })
    }
}

/// A row of `draws.parquet`: a neuron of a random set. A class that is restricted to some layers has of each draw the
/// neurons in these layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawsRow {
    /// Name of the class or neuron file that the set is compared with.
    pub class: String,
    /// Which draw of the class, from 0.
    pub draw: u32,
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
}

/// `draws.parquet`, its name and its bytes: the random sets of all treatments, by class, draw and layer; nothing where
/// there are none. What a sweep's windows have in common stands there once.
///
/// # Errors
/// Those of [`TableWriter`].
pub fn draws_parquet(
    treatments: &[Treatment],
) -> Result<Option<(&'static str, Vec<u8>)>, ReportError> {
    const NAME: &str = "draws.parquet";
    let mut sets: BTreeMap<(&str, usize, usize), &[u32]> = BTreeMap::new();
    for treatment in treatments {
        for (draw, set) in treatment.baseline.iter().enumerate() {
            for layer in 0..set.n_layers() {
                if !set.layer(layer).is_empty() {
                    sets.insert((&treatment.class, draw, layer), set.layer(layer));
                }
            }
        }
    }
    let mut table = TableWriter::new(NAME, Vec::new())?;
    for ((class, draw, layer), neurons) in sets {
        table.extend(neurons.iter().map(|neuron| DrawsRow {
            class: class.to_string(),
            draw: draw as u32,
            layer: layer as u16,
            neuron: *neuron,
        }))?;
    }
    let bytes = table.close_if_any()?;
    Ok(bytes.map(|bytes| (NAME, bytes)))
}

/// The bytes of `neurons.parquet`.
///
/// # Errors
/// A table without rows.
pub fn neurons_parquet(table: &NeuronTable) -> Result<Vec<u8>, ReportError> {
    let layers = (0..).zip(&table.layers);
    let neurons = layers.flat_map(|(layer, rows)| {
        (0..).zip(rows).map(move |(neuron, row)| NeuronsRow {
            layer,
            neuron,
            cos_gate_in: row.cosines.gate_in,
            cos_gate_out: row.cosines.gate_out,
            cos_in_out: row.cosines.in_out,
            norm_gate: row.norm_gate,
            norm_in: row.norm_in,
            norm_out: row.norm_out,
            class: row.class,
        })
    });
    table_bytes("neurons.parquet", neurons)
}

/// The bytes of `outcomes.parquet`, with the layers of the edit where it is one of a window. `prompts` and `tokenizer` give
/// the ids and the text of the top tokens.
///
/// # Errors
/// A table without rows, or an outcome of a prompt that is not among `prompts`.
pub fn outcomes_parquet(
    outcomes: &[Outcome<'_>],
    prompts: &[Prompt],
    tokenizer: &Tokenizer,
) -> Result<Vec<u8>, ReportError> {
    const NAME: &str = "outcomes.parquet";
    check_numbers(NAME, outcomes.iter().map(|o| o.prompt), prompts.len())?;
    let rows = outcomes.iter();
    if outcomes
        .iter()
        .all(|outcome| outcome.condition.layers.is_none())
    {
        let rows = rows.map(|outcome| OutcomesRow::of(outcome, prompts, tokenizer, ()));
        return table_bytes(NAME, rows);
    }
    let rows = rows.map(|outcome| {
        let layer =
            |layer: fn(LayerWindow) -> usize| outcome.condition.layers.map(|w| layer(w) as u16);
        let layers = (layer(|w| w.first), layer(|w| w.last));
        SweepOutcomesRow::of(outcome, prompts, tokenizer, layers)
    });
    table_bytes(NAME, rows)
}

/// The bytes of `rates.parquet`. `prompts` give the ids and the subjects.
///
/// # Errors
/// A table without rows.
pub fn rates_parquet(found: &Attributes, prompts: &[Prompt]) -> Result<Vec<u8>, ReportError> {
    const NAME: &str = "rates.parquet";
    check_numbers(
        NAME,
        found.rows().flatten().map(|row| row.prompt),
        prompts.len(),
    )?;
    let row = |row: RateRow<'_>| RatesRow {
        prompt_id: prompts[row.prompt].id.clone(),
        subject: prompts[row.prompt].subject.clone(),
        layer: row.layer as u16,
        class: row.condition.class.clone(),
        arm: row.condition.arm,
        draw: row.condition.draw,
        mode: row.condition.mode.clone(),
        neurons: row.condition.neurons,
        kept: row.share.kept,
        hits: row.share.hits,
        rate: row.share.rate(),
        rate_other: row.share.rate_other(),
    };
    table_bytes(NAME, found.rows().flatten().map(row))
}

/// The bytes of `ranking.parquet`, in the order of the estimates.
///
/// # Errors
/// A table without rows.
pub fn ranking_parquet(neurons: &[RankedNeuron]) -> Result<Vec<u8>, ReportError> {
    table_bytes("ranking.parquet", neurons.iter().map(RankingRow::from))
}
