//! The tables of a recording: one struct each, written by `record` and read by what uses a recording.

use serde::{Deserialize, Serialize};

use crate::experiment::record::{CaseSummary, NeuronSummary, Role};
use crate::hooks::Neuron;
use crate::io_class::{Class, NeuronRow};

/// A row of `tokens.parquet`: a recorded token, in the order of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensRow {
    /// Id of its prompt or document.
    pub prompt_id: String,
    /// Position in its prompt or window, BOS included.
    pub position: u32,
    /// The token's id.
    pub token_id: u32,
    /// Its text.
    pub token: String,
    /// The character of the text where it begins; null for tokens without a place in it, as BOS.
    pub char_start: Option<u32>,
    /// The character behind its end; null likewise.
    pub char_end: Option<u32>,
    /// The first that holds: first (of the prompt or window), last (of the prompt), subject-last, subject, other.
    pub role: Role,
    /// The window of a text that is longer than the context, from 0.
    pub window: u32,
}

/// A row of `activations.parquet`: one of the strongest neurons of a token in a layer, strongest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationsRow {
    /// The token: its row in tokens.parquet, from 0.
    pub row: u64,
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// x·w_gate, before the activation.
    pub gate: f32,
    /// x·w_in.
    pub up: f32,
    /// act(gate)·up.
    pub post: f32,
    /// The neuron's class.
    pub class: Class,
}

/// A row of `summary.parquet`: a neuron over all recorded tokens. Sign cases are raw: gate plus or minus (gp, gm), up
/// plus or minus (up, um); a token where one of them is 0 is in none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// The neuron's class.
    pub class: Class,
    /// Sign of w_gate·w_in: what up and post are multiplied by to be in reference sign.
    pub sign: i8,
    /// Recorded tokens.
    pub tokens: u64,
    /// Share of them with gate > 0; null without tokens.
    pub frequency: Option<f64>,
    /// Mean of post; null without tokens.
    pub mean_post: Option<f64>,
    /// Sample variance of post (divisor n - 1); null with fewer than 2 tokens.
    pub var_post: Option<f64>,
    /// Largest |post|.
    pub max_abs_post: f32,
    /// Tokens with gate > 0 and up > 0.
    pub count_gp_up: u64,
    /// Mean of post over them; null without any.
    pub mean_post_gp_up: Option<f64>,
    /// Largest |post| among them; null without any.
    pub max_abs_post_gp_up: Option<f32>,
    /// Tokens with gate > 0 and up < 0.
    pub count_gp_um: u64,
    /// Mean of post over them; null without any.
    pub mean_post_gp_um: Option<f64>,
    /// Largest |post| among them; null without any.
    pub max_abs_post_gp_um: Option<f32>,
    /// Tokens with gate < 0 and up > 0.
    pub count_gm_up: u64,
    /// Mean of post over them; null without any.
    pub mean_post_gm_up: Option<f64>,
    /// Largest |post| among them; null without any.
    pub max_abs_post_gm_up: Option<f32>,
    /// Tokens with gate < 0 and up < 0.
    pub count_gm_um: u64,
    /// Mean of post over them; null without any.
    pub mean_post_gm_um: Option<f64>,
    /// Largest |post| among them; null without any.
    pub max_abs_post_gm_um: Option<f32>,
}

impl SummaryRow {
    /// What a recording knows of a neuron, with its row of the classes.
    pub fn of(neuron: Neuron, seen: &NeuronSummary<'_>, row: &NeuronRow) -> Self {
        let [gp_up, gp_um, gm_up, gm_um] = seen.cases;
        Self {
            layer: neuron.layer as u16,
            neuron: neuron.index as u32,
            class: row.class,
            sign: row.sign,
            tokens: seen.tokens,
            frequency: (seen.tokens > 0).then(|| seen.fired as f64 / seen.tokens as f64),
            mean_post: seen.mean_post,
            var_post: seen.var_post,
            max_abs_post: seen.max_abs_post,
            count_gp_up: gp_up.count,
            mean_post_gp_up: gp_up.mean_post,
            max_abs_post_gp_up: gp_up.max_abs_post,
            count_gp_um: gp_um.count,
            mean_post_gp_um: gp_um.mean_post,
            max_abs_post_gp_um: gp_um.max_abs_post,
            count_gm_up: gm_up.count,
            mean_post_gm_up: gm_up.mean_post,
            max_abs_post_gm_up: gm_up.max_abs_post,
            count_gm_um: gm_um.count,
            mean_post_gm_um: gm_um.mean_post,
            max_abs_post_gm_um: gm_um.max_abs_post,
        }
    }

    /// Its neuron.
    pub fn neuron(&self) -> Neuron {
        Neuron {
            layer: self.layer.into(),
            index: self.neuron as usize,
        }
    }

    /// The sign cases in the order of [`RawCase::ALL`](crate::hooks::RawCase::ALL).
    pub fn cases(&self) -> [CaseSummary; 4] {
        let case = |count, mean_post, max_abs_post| CaseSummary {
            count,
            mean_post,
            max_abs_post,
        };
        [
            case(
                self.count_gp_up,
                self.mean_post_gp_up,
                self.max_abs_post_gp_up,
            ),
            case(
                self.count_gp_um,
                self.mean_post_gp_um,
                self.max_abs_post_gp_um,
            ),
            case(
                self.count_gm_up,
                self.mean_post_gm_up,
                self.max_abs_post_gm_up,
            ),
            case(
                self.count_gm_um,
                self.mean_post_gm_um,
                self.max_abs_post_gm_um,
            ),
        ]
    }
}

/// A row of `top_tokens.parquet`: one of the strongest tokens of a neuron. A token whose whole context was recorded
/// before is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopTokensRow {
    /// Layer, from 0.
    pub layer: u16,
    /// Index in the layer, from 0.
    pub neuron: u32,
    /// Place among the neuron's tokens by |post|; 1 is the strongest.
    pub rank: u32,
    /// post there.
    pub value: f32,
    /// The token: its row in tokens.parquet, from 0.
    pub row: u64,
    /// Id of its prompt or document.
    pub prompt_id: String,
    /// Position in its prompt or window, BOS included.
    pub position: u32,
    /// The token's text.
    pub token: String,
    /// The token between ⟦ and ⟧, with some of the text before and after it.
    pub context: String,
}
