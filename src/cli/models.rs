//! `models`: which families run, and how each was verified.

use clap::Args;
use serde_json::json;

use super::table::{Columns, table_of};
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
    let columns = Columns::new()
        .words("family", |family: &Family| family.name.to_string())
        .words("models", |family| family.models.to_string())
        .words("model_type", |family| family.model_type.to_string())
        .words("GGUF", |family| family.gguf_arch.to_string())
        .words("verified on", |family| {
            lines(family, |check| weights(check.weights).to_string())
        })
        .words("largest error", |family| {
            lines(family, |check| format!("{:.0e}", check.logprob_error))
        });
    outln!("{}\n", table_of(&columns, FAMILIES));
    outln!("largest error: of a log-probability in nats, against transformers in f32.\n\nRefused:");
    for refused in REFUSED {
        outln!("  {}\n    {}", refused.names().join(", "), refused.reason);
    }
}

/// A line for each check of a family.
fn lines(family: &Family, line: impl Fn(&Check) -> String) -> String {
    let lines: Vec<String> = family.checks.iter().map(line).collect();
    lines.join("\n")
}

fn weights(weights: Weights) -> &'static str {
    match weights {
        Weights::Real(model) => model,
        Weights::Random => "random weights",
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
