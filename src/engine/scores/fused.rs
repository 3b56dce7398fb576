//! Scores of one row in this machine's memory.

use super::{Asked, Detail, RowScore};

/// The score of `logits`, given those of the unedited run, both `[vocab_size]`.
pub(in super::super) fn score(asked: &Asked, logits: &[f32], clean: Option<&[f32]>) -> RowScore {
    let log_z = log_sum_exp(logits);
    let logit = logits[asked.token as usize];
    let better = logits.iter().filter(|other| **other > logit).count();
    let other = |token: u32| f64::from(logit) - f64::from(logits[token as usize]);
    let (has_entropy, is_whole) = (asked.of != Detail::Token, asked.of == Detail::Whole);
    RowScore {
        logprob: f64::from(logit) - log_z,
        rank: better as u32 + 1,
        logit_diff: asked.against.map(other),
        entropy_nats: if has_entropy {
            entropy(logits, log_z)
        } else {
            f64::NAN
        },
        kl_nats: match clean.filter(|_| is_whole) {
            Some(clean) => kl_divergence(clean, log_sum_exp(clean), logits, log_z),
            None => 0.0,
        },
        top_token: if is_whole { argmax(logits) } else { 0 },
    }
}

/// log Z = log sum exp(logit).
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from((logit - max).exp()))
        .sum();
    f64::from(max) + sum.ln()
}

/// H = log Z - sum p·logit, in nats.
fn entropy(logits: &[f32], log_z: f64) -> f64 {
    let mean_logit: f64 = logits
        .iter()
        .map(|logit| {
            let logit = f64::from(*logit);
            (logit - log_z).exp() * logit
        })
        .sum();
    log_z - mean_logit
}

/// KL(clean ‖ edited) = sum p_clean·(log p_clean - log p_edited), in nats.
fn kl_divergence(clean: &[f32], clean_log_z: f64, edited: &[f32], edited_log_z: f64) -> f64 {
    clean
        .iter()
        .zip(edited)
        .map(|(clean, edited)| {
            let log_p = f64::from(*clean) - clean_log_z;
            log_p.exp() * (log_p - (f64::from(*edited) - edited_log_z))
        })
        .sum()
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best as u32
}
