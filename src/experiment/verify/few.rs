//! What ranks and variants are on: few prompts, since the draws, and not the prompts, make the variance.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::ExperimentError;
use super::super::run::Run;
use super::super::unedited::run_clean;
use super::needs::{ClaimRuns, Need};
use crate::tokens::{TokenBatch, TokenError, Window};

/// Facts, spread over the relations.
const FACTS: usize = 40;

/// Documents of the text, the first ones ...
const DOCUMENTS: usize = 20;

/// ... and so many tokens of each.
const TOKENS: usize = 24;

/// Few prompts of each kind; absent where nothing is known, or nothing asked for.
#[derive(Default)]
pub(super) struct Few {
    /// Known facts.
    pub facts: Option<TokenBatch>,
    /// Known facts with a counterfactual.
    pub pairs: Option<TokenBatch>,
    /// Facts that are known in other words.
    pub in_other_words: Option<TokenBatch>,
    /// Prompts up to their subjects, of known facts.
    pub subjects: Option<TokenBatch>,
    /// Beginnings of documents.
    pub documents: Vec<Window>,
}

impl Few {
    /// Chooses them; `known` are all facts that the model knows, `pairs` those of them that have a counterfactual.
    ///
    /// # Errors
    /// Those of the clean runs that tell what is known.
    pub fn new(
        runs: &ClaimRuns<'_>,
        run: &mut Run<'_>,
        [known, pairs]: [Option<&TokenBatch>; 2],
    ) -> Result<Self, ExperimentError> {
        let input = runs.input;
        let seed = runs.settings.statistics.seed;
        let spread = |facts: Option<&TokenBatch>| {
            let spread = facts.map(|facts| spread_over_relations(facts, seed));
            spread.transpose()
        };
        let of_answers = runs.has(Need::Recall) || runs.has(Need::Direct);
        let asks_in_other_words = input.rephrased.filter(|_| of_answers);
        let in_other_words = match asks_in_other_words {
            None => None,
            Some(rephrased) => {
                let known = run_clean(run, runs.engine, rephrased)?.known();
                few_of(input.facts, &known, seed)?
            }
        };
        let asks_subjects = input
            .subjects
            .as_ref()
            .filter(|_| runs.has(Need::Attributes));
        let subjects = match asks_subjects {
            None => None,
            Some(subjects) => {
                let known = run_clean(run, runs.engine, subjects.facts)?.known();
                few_of(subjects.batch, &known, seed)?
            }
        };
        let documents = input.windows.iter().take(DOCUMENTS);
        Ok(Self {
            facts: spread(known)?,
            pairs: spread(pairs)?,
            in_other_words,
            subjects,
            documents: documents.map(|window| window.beginning(TOKENS)).collect(),
        })
    }
}

fn few_of(
    batch: &TokenBatch,
    known: &BTreeSet<usize>,
    seed: u64,
) -> Result<Option<TokenBatch>, TokenError> {
    if known.is_empty() {
        return Ok(None);
    }
    let known: Vec<usize> = known.iter().copied().collect();
    spread_over_relations(&batch.subset(&known)?, seed).map(Some)
}

/// Some of the facts, one of each relation after the other.
fn spread_over_relations(known: &TokenBatch, seed: u64) -> Result<TokenBatch, TokenError> {
    let mut relations: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for sequence in known.sequences() {
        let relation = relations.entry(sequence.cluster).or_default();
        relation.push(sequence.prompt);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut relations: Vec<Vec<usize>> = relations.into_values().collect();
    for relation in &mut relations {
        relation.sort_unstable();
        relation.shuffle(&mut rng);
    }
    relations.shuffle(&mut rng);
    let longest = relations.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|round| relations.iter().filter_map(move |r| r.get(round)));
    let chosen: Vec<usize> = rounds.take(FACTS).copied().collect();
    known.subset(&chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Sequence;

    #[test]
    fn facts_are_spread_over_relations() {
        // Relation 0 has 60 facts, relation 60 has 5.
        let sequences = (0..65).map(|prompt| Sequence {
            cluster: prompt / 60 * 60,
            ..Sequence::of_ids(prompt, vec![1, 2])
        });
        let batch = TokenBatch::new(sequences.collect()).unwrap();
        let few = spread_over_relations(&batch, 0).unwrap();
        assert_eq!(few.sequences().len(), FACTS);
        let small = few.sequences().iter().filter(|s| s.cluster == 60);
        assert_eq!(small.count(), 5);
        let again = spread_over_relations(&batch, 0).unwrap();
        assert_eq!(few.sequences(), again.sequences());
        assert_ne!(
            few.sequences(),
            spread_over_relations(&batch, 1).unwrap().sequences()
        );
    }
}
