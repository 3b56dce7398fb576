//! The tables of a recording: one struct each, written by `record` and read by what uses a recording.

use serde::{Deserialize, Serialize};

use super::super::SignCaseSummary;
use crate::hooks::{Neuron, RawCase};
use crate::io_class::Class;

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
    /// Its neuron.
    pub fn neuron(&self) -> Neuron {
        Neuron {
            layer: self.layer.into(),
            index: self.neuron as usize,
        }
    }

    /// What it did in each sign case, in the order of [`RawCase::ALL`].
    pub fn sign_cases(&self) -> [SignCaseSummary; 4] {
        let counts = [
            self.count_gp_up,
            self.count_gp_um,
            self.count_gm_up,
            self.count_gm_um,
        ];
        let means = [
            self.mean_post_gp_up,
            self.mean_post_gp_um,
            self.mean_post_gm_up,
            self.mean_post_gm_um,
        ];
        let largest = [
            self.max_abs_post_gp_up,
            self.max_abs_post_gp_um,
            self.max_abs_post_gm_up,
            self.max_abs_post_gm_um,
        ];
        RawCase::ALL.map(|case| SignCaseSummary {
            case,
            tokens: counts[case as usize],
            mean_post: means[case as usize],
            strongest_post: largest[case as usize].map(|post| post * f32::from(case.post_sign())),
        })
    }
}
