//! Facts with noise on their subjects' embeddings, each so many times.

use std::collections::BTreeMap;

use super::ExperimentError;
use super::score::Score;
use crate::engine::Engine;
use crate::tokens::{EmbeddingNoise, Sequence, TokenBatch, TokenError};

/// The scores of facts: one of each, or one for each of its noises.
pub(super) type ByFact = BTreeMap<usize, Vec<Score>>;

/// How often each fact runs; each time it is a unit of the run, with a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeats(pub usize);

impl Repeats {
    /// Facts that run once have their own numbers.
    pub const ONE: Repeats = Repeats(1);

    /// A fact's number, from that of one of its units.
    pub fn fact(self, unit: usize) -> usize {
        unit / self.0
    }

    /// The facts of a batch, each so often, with what `noise` says of the fact and which time it is.
    pub fn of(
        self,
        facts: &TokenBatch,
        noise: impl Fn(usize, usize) -> Option<EmbeddingNoise>,
    ) -> Result<TokenBatch, TokenError> {
        let sequences = facts.sequences().iter();
        let units = sequences.flat_map(|fact| {
            let unit = |draw| Sequence {
                prompt: fact.prompt * self.0 + draw,
                noise: noise(fact.prompt, draw),
                ..fact.clone()
            };
            (0..self.0).map(unit).collect::<Vec<_>>()
        });
        TokenBatch::new(units.collect())
    }

    /// The scores of units, by fact; those of one in the order of its noises.
    pub fn by_fact(self, scores: BTreeMap<usize, Score>) -> ByFact {
        let mut by_fact = ByFact::new();
        for (unit, score) in scores {
            by_fact.entry(self.fact(unit)).or_default().push(score);
        }
        by_fact
    }
}

/// The standard deviation over all numbers in the embeddings of the subjects' tokens of a batch, as the first layer sees them:
/// each token as often as it stands in a subject, with n - 1 (Meng et al. 2022, arXiv 2202.05262, appendix B.1, and their program).
///
/// # Errors
/// Those of the engine; [`ExperimentError::NoSpread`] where these numbers do not vary.
pub(super) fn embedding_sd(
    engine: &Engine<'_>,
    facts: &TokenBatch,
) -> Result<f64, ExperimentError> {
    let mut times: BTreeMap<u32, f64> = BTreeMap::new();
    for sequence in facts.sequences() {
        for id in &sequence.ids[sequence.subject.clone()] {
            *times.entry(*id).or_default() += 1.0;
        }
    }
    let ids: Vec<u32> = times.keys().copied().collect();
    let d_model = engine.config().d_model;
    let embeddings = engine.embeddings(&ids)?; // [ids, d_model]
    let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
        let rows = embeddings.chunks_exact(d_model).zip(times.values());
        rows.map(|(row, times)| times * row.iter().map(|x| of(f64::from(*x))).sum::<f64>())
            .sum()
    };
    let count = sum(&|_| 1.0);
    let mean = sum(&|x| x) / count;
    let sd = (sum(&|x| (x - mean).powi(2)) / (count - 1.0)).sqrt();
    if sd.is_finite() && sd > 0.0 {
        Ok(sd)
    } else {
        Err(ExperimentError::NoSpread)
    }
}
