//! Scores of a prompt from the logits at its target positions; and what a score of a token of running text is.
//!
//! The target is scored over all its tokens with teacher forcing; rank, entropy, KL divergence and
//! top token are those at the last prompt token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::stage::{Measure, Measured, Pass};
use crate::engine::{Asked, Detail, KeptLogits, LogitBlock, Readout, RowScore, log_sum_exp};
use crate::hooks::ReadError;
use crate::tokens::TokenBatch;

/// The numbers of one prompt under one condition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Log-probability of the whole target, nats.
    pub target_logprob: f64,
    /// Log-probability of the first target token, nats.
    pub first_logprob: f64,
    /// Rank of the first target token, 1 is best.
    pub first_rank: u32,
    /// Entropy of the next-token distribution at the last prompt token, nats.
    pub entropy_nats: f64,
    /// KL divergence from the first condition's distribution (clean) to this one there, nats.
    pub kl_nats: f64,
    /// The most probable next token there.
    pub top_token: u32,
    /// Logit of the first target token minus that of the counterfactual's; absent without one.
    pub logit_diff: Option<f64>,
    /// Whether every target token is the most probable one behind those before it.
    pub target_top1: bool,
}

impl Score {
    /// Of a target whose first token has this score, before its further tokens.
    fn of_first(row: &RowScore) -> Self {
        Self {
            target_logprob: row.logprob,
            first_logprob: row.logprob,
            first_rank: row.rank,
            entropy_nats: row.entropy_nats,
            kl_nats: row.kl_nats,
            top_token: row.top_token,
            logit_diff: row.logit_diff,
            target_top1: row.rank == 1,
        }
    }
}

/// How the model predicts one token of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenScore {
    /// Minus the log-probability of the token that follows, nats.
    pub loss_nats: f64,
    /// Entropy of the prediction, nats.
    pub entropy_nats: f64,
    /// Rank of the token that follows, 1 is best.
    pub rank: u32,
    /// Natural log of what the final norm divides the residual by.
    pub log_scale: f64,
}

/// A prompt under a condition, as a part keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The condition's number.
    pub condition: u32,
    /// Index of the prompt in its set.
    pub prompt: u32,
    /// The numbers.
    pub score: Score,
}

/// Measures [`Score`]s.
pub struct FactScores;

impl Measure for FactScores {
    type Found = Vec<ScoreRow>;

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Vec<ScoreRow>>, ExperimentError> {
        let mut scorer = Scorer::new(pass.batch, pass.conditions.len())?;
        let edits = pass.run(&mut [], Some(&mut scorer))?;
        let scores = scorer.into_scores();
        let prompts = pass.batch.sequences();
        let rows = pass.reported().flat_map(|(place, condition)| {
            let scores = prompts.iter().zip(&scores[place]);
            scores.map(move |(sequence, score)| ScoreRow {
                condition: condition as u32,
                prompt: sequence.prompt as u32,
                score: *score,
            })
        });
        let rows = rows.collect();
        Ok(Measured::new(edits, rows))
    }
}

/// Reads the logits at the target positions of a batch into a [`Score`] per condition and sequence.
/// KL divergences are from condition 0, which therefore should be the clean one.
pub struct Scorer {
    /// Of each sequence of the batch, its prompt.
    prompts: Vec<usize>,
    rows: Vec<usize>,
    /// Of each row the sequence.
    sequences: Vec<usize>,
    /// Of each row: the whole distribution at the last prompt token, the token alone within a target.
    asked: Vec<Asked>,
    scores: Vec<Vec<Score>>,
    /// Condition 0's logits of the current block, for KL divergences.
    clean: Option<KeptLogits>,
}

impl Scorer {
    /// A scorer of `batch` under `conditions` conditions.
    ///
    /// # Errors
    /// [`ExperimentError::NoTarget`] for a batch in which something has no target, as one of texts.
    pub fn new(batch: &TokenBatch, conditions: usize) -> Result<Self, ExperimentError> {
        if let Some(without) = batch.sequences().iter().find(|s| s.target.is_empty()) {
            return Err(ExperimentError::NoTarget {
                prompt: without.prompt,
            });
        }
        let (mut rows, mut sequences, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for (i, sequence) in batch.sequences().iter().enumerate() {
            for (k, row) in batch.target_rows(i).enumerate() {
                rows.push(row);
                sequences.push(i);
                asked.push(Asked {
                    token: sequence.target[k],
                    against: sequence.against.filter(|_| k == 0),
                    of: if k == 0 { Detail::Whole } else { Detail::Token },
                });
            }
        }
        let unset = Score {
            target_logprob: f64::NAN,
            first_logprob: f64::NAN,
            first_rank: 0,
            entropy_nats: f64::NAN,
            kl_nats: f64::NAN,
            top_token: 0,
            logit_diff: None,
            target_top1: false,
        };
        let scores = vec![vec![unset; batch.sequences().len()]; conditions];
        Ok(Self {
            rows,
            sequences,
            asked,
            prompts: batch.sequences().iter().map(|s| s.prompt).collect(),
            scores,
            clean: None,
        })
    }

    /// The scores `[conditions][sequences of the batch]` after a run. A batch has its sequences by length, so their order need
    /// not be that of the prompts ([`by_prompt`](Self::by_prompt)).
    pub fn into_scores(self) -> Vec<Vec<Score>> {
        self.scores
    }

    /// The scores after a run: of each condition by the number of the prompt in its set, from 0.
    pub fn by_prompt(self) -> Vec<BTreeMap<usize, Score>> {
        let numbered = |scores: Vec<Score>| self.prompts.iter().copied().zip(scores).collect();
        self.scores.into_iter().map(numbered).collect()
    }
}

impl Readout for Scorer {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        if block.conditions[0] == 0 {
            self.clean = None; // before its successor takes as much memory
            self.clean = Some(block.keep()?);
        }
        let rows = block.first..block.first + block.rows();
        let asked = &self.asked[rows.clone()];
        let scored = block.scores(asked, self.clean.as_ref())?;
        // Rows are in order, so a target's further tokens come after its first one.
        let scored = asked.iter().zip(scored);
        for ((asked, row), &sequence) in scored.zip(&self.sequences[rows]) {
            for &condition in block.conditions {
                let of_condition = self.scores.get_mut(condition);
                let of_condition =
                    of_condition.ok_or("a Scorer is made for as many conditions as the run has")?;
                let score = &mut of_condition[sequence];
                match asked.of {
                    Detail::Whole => *score = Score::of_first(&row),
                    _ => {
                        score.target_logprob += row.logprob;
                        score.target_top1 &= row.rank == 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What the log-probability of a token changes by, per unit of each logit: 1 for its own, minus the probability of each.
pub(super) fn of_logprob(token: u32, logits: &[f32]) -> Vec<f32> {
    let log_z = log_sum_exp(logits);
    let probability = |logit: &f32| (f64::from(*logit) - log_z).exp();
    let mut gradient: Vec<f32> = logits.iter().map(|l| -probability(l) as f32).collect();
    gradient[token as usize] += 1.0;
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_hand() {
        // p = (1/2, 1/4, 1/4) against clean p = (1/4, 1/2, 1/4)
        let edited = [2f32.ln(), 0.0, 0.0];
        let clean = [0.0, 2f32.ln(), 0.0];
        let asked = [Asked {
            token: 1,
            against: Some(0),
            of: Detail::Whole,
        }];
        let clean = LogitBlock::of_rows(&[0], 0, &clean, 3).keep().unwrap();
        let block = LogitBlock::of_rows(&[1], 0, &edited, 3);
        let score = Score::of_first(&block.scores(&asked, Some(&clean)).unwrap()[0]);
        let ln2 = std::f64::consts::LN_2;
        assert!((score.first_logprob + 2.0 * ln2).abs() < 1e-7);
        assert_eq!((score.first_rank, score.top_token), (2, 0));
        assert_eq!(score.logit_diff, Some(-f64::from(2f32.ln())));
        assert!((score.entropy_nats - 1.5 * ln2).abs() < 1e-7);
        // 1/4·ln(1/4 : 1/2) + 1/2·ln(1/2 : 1/4) = ln2/4
        assert!((score.kl_nats - 0.25 * ln2).abs() < 1e-7);
    }

    #[test]
    fn scores_are_found_by_their_prompts_and_not_by_their_places() {
        use crate::tokens::Sequence;
        let fact = |prompt, ids: &[u32], target| Sequence {
            target: vec![target],
            ..Sequence::of_ids(prompt, ids.to_vec())
        };
        // The longer prompt comes first, and stands second in the batch.
        let batch = TokenBatch::new(vec![fact(0, &[1, 2, 0], 2), fact(1, &[1, 2], 0)]).unwrap();
        let logits = [0.0, 0.0, 0.0, 0.0, 0.0, 5.0];
        let block = |conditions| LogitBlock::of_rows(conditions, 0, &logits, 3);
        let mut scorer = Scorer::new(&batch, 1).unwrap();
        scorer.read(&block(&[0])).unwrap();
        assert!(scorer.read(&block(&[1])).is_err(), "more conditions");
        let found = scorer.by_prompt().remove(0);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert!(found[&0].first_logprob > -0.1, "{:?}", found[&0]);
        assert!((found[&1].first_logprob + 3f64.ln()).abs() < 1e-6);

        let text = Sequence::of_ids(2, vec![1]);
        let mixed = TokenBatch::new(vec![fact(0, &[1, 2], 0), text]).unwrap();
        let message = Scorer::new(&mixed, 1).err().unwrap().to_string();
        assert!(
            message.contains("prompt 2 (from 0) has no target"),
            "{message}"
        );
    }
}
