//! `models`: which families run, and how each was verified.

use clap::Args;
use serde_json::json;

use super::table::text_table;
use super::terminal::print_json;
use crate::model::{Check, FAMILIES, Family, REFUSED, Weights};

/// Print which families of models run, how each was verified, and which are refused
///
/// Verified means: log-probabilities, clean and ablated, and the activations of every neuron equal
/// those of Hugging Face transformers in f32 within the error shown. Random weights are checkpoints of
/// odd shapes with gains, biases, windows and caps far from their usual values, read from safetensors
/// and from GGUF.
#[derive(Args)]
pub struct Models {
    /// Print JSON for a machine instead.
    #[arg(long)]
    json: bool,
}

impl Models {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.json {
            print_json(&as_json())?;
        } else {
            print();
        }
        Ok(())
    }
}

fn print() {
    let header = [
        "family",
        "models",
        "model_type",
        "GGUF",
        "verified on",
        "largest error",
    ];
    let rows = FAMILIES.iter().map(|family| {
        [
            family.name.to_string(),
            family.models.to_string(),
            family.model_type.to_string(),
            family.gguf_arch.to_string(),
            lines(family, |check| weights(check.weights)),
            lines(family, |check| format!("{:.0e}", check.logprob_error)),
        ]
        .to_vec()
    });
    outln!("{}\n", text_table(&header, rows));
    outln!("largest error: of a log-probability in nats, against transformers in f32.\n\nRefused:");
    for refused in REFUSED {
        outln!("  {}\n    {}", refused.names().join(", "), refused.reason);
    }
}

/// A line for each check of a family.
fn lines(family: &Family, line: impl Fn(&Check) -> String) -> String {
    family
        .checks
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn weights(weights: Weights) -> String {
    match weights {
        Weights::Real(model) => model.to_string(),
        Weights::Random => "random weights".to_string(),
    }
}

fn as_json() -> serde_json::Value {
    let families = FAMILIES.iter().map(|family| {
        let checks = family.checks.iter().map(|check| {
            json!({"weights": weights(check.weights), "largest_logprob_error": check.logprob_error})
        });
        json!({
            "family": family.name, "models": family.models, "model_type": family.model_type,
            "gguf_architecture": family.gguf_arch, "verified": checks.collect::<Vec<_>>(),
        })
    });
    let refused = REFUSED
        .iter()
        .map(|refused| json!({"names": refused.names(), "reason": refused.reason}));
    json!({"families": families.collect::<Vec<_>>(), "refused": refused.collect::<Vec<_>>()})
}
