//! The tokens of a text that answers are compared with: those that the clean model gets right, as sure as it is of the answers.
//!
//! A fact counts because the clean model knows it, so its answer has a high log-probability that can fall far. A token of any
//! text has less to lose. So of the text, too, only tokens count that the clean model gets right, and they are weighted until their
//! clean log-probabilities are spread as those of the answers.

use crate::experiment::score::TokenScore;
use crate::stats::quantile;

/// Log-probabilities are alike within each fifth of the answers.
const PARTS: usize = 5;

/// A weight for each token of a text; they sum to 1 where any token is right.
pub(super) fn as_sure_as(answers: &[f64], clean: &[TokenScore]) -> Vec<f64> {
    let borders: Vec<f64> = (1..PARTS)
        .filter_map(|part| quantile(answers, part as f64 / PARTS as f64))
        .collect();
    let part = |logprob: f64| borders.iter().filter(|border| logprob > **border).count();
    let counts = |logprobs: &mut dyn Iterator<Item = f64>| -> [f64; PARTS] {
        let mut counts = [0.0; PARTS];
        logprobs.for_each(|logprob| counts[part(logprob)] += 1.0);
        counts
    };
    let is_right = |score: &&TokenScore| score.rank == 1;
    let wanted = counts(&mut answers.iter().copied());
    let there = counts(&mut clean.iter().filter(is_right).map(|score| -score.loss_nats));
    // A fifth of which the text has no token is left out.
    let covered = wanted.iter().zip(&there).filter(|(_, there)| **there > 0.0);
    let covered: f64 = covered.map(|(wanted, _)| wanted).sum();
    let weight = |score: &TokenScore| {
        if !is_right(&score) {
            return 0.0;
        }
        let part = part(-score.loss_nats);
        wanted[part] / covered / there[part]
    };
    clean.iter().map(weight).collect()
}

/// By how much the weighted mean of the loss rises, nats a token.
pub(super) fn weighted_rise(weights: &[f64], clean: &[TokenScore], edited: &[TokenScore]) -> f64 {
    let rises = clean.iter().zip(edited);
    let rises = rises.map(|(clean, edited)| edited.loss_nats - clean.loss_nats);
    let weighted = weights.iter().zip(rises);
    weighted.map(|(weight, rise)| weight * rise).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(logprob: f64, rank: u32) -> TokenScore {
        TokenScore {
            loss_nats: -logprob,
            rank,
            entropy_nats: 1.0,
            log_scale: 0.0,
        }
    }

    #[test]
    fn right_tokens_are_spread_as_the_answers_are() {
        // Two answers in each fifth; borders at 1.8, 3.6, 5.4, 7.2 below -0.
        let answers: Vec<f64> = (0..10).map(|i| -f64::from(i)).collect();
        // One right token in the first fifth, three in the last, two wrong ones.
        let text = [
            score(-8.5, 1),
            score(-0.5, 1),
            score(-0.1, 1),
            score(-1.0, 1),
            score(-0.2, 2),
            score(-4.0, 7),
        ];
        let weights = as_sure_as(&answers, &text);
        assert_eq!(weights.len(), 6);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((weights[0] - 0.5).abs() < 1e-12, "{weights:?}");
        assert!((weights[1] - 0.5 / 3.0).abs() < 1e-12);
        assert_eq!((weights[4], weights[5]), (0.0, 0.0));
        let edited = text.map(|score| TokenScore {
            loss_nats: score.loss_nats + f64::from(score.rank),
            ..score
        });
        assert!((weighted_rise(&weights, &text, &edited) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_right_token_there_is_nothing() {
        let text = [score(-1.0, 2)];
        assert_eq!(as_sure_as(&[-1.0, -2.0], &text), [0.0]);
    }
}
