//! The rank of a class among its draws, which are made in batches until it is decided (Besag and Clifford 1991).

use super::super::ExperimentError;
use super::super::plan::Treatment;
use crate::stats::{Rank, sequential_rank};

/// Draws of a batch.
const BATCH: usize = 40;

/// Where a class stands among its draws in one number of each set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    pub class: f64,
    /// Those up to the one that decided the rank.
    pub draws: Vec<f64>,
    pub rank: Rank,
}

/// Several numbers of each set of neurons: the class, and as many of its draws as it took so far.
pub(super) struct Ranking {
    /// The class with all the draws that there may be.
    treatment: Treatment,
    /// So many of the numbers must be decided, the first ones.
    tested: usize,
    /// By number: the class and its draws.
    values: Vec<Vec<f64>>,
    /// Draws that were made.
    made: usize,
    batch: usize,
}

impl Ranking {
    /// Nothing measured yet. With `at_once` all draws are one batch, which shards can share.
    pub fn new(treatment: Treatment, tested: usize, at_once: bool) -> Self {
        let all = treatment.baseline.len();
        Self {
            batch: if at_once { all } else { BATCH },
            treatment,
            tested,
            values: Vec::new(),
            made: 0,
        }
    }

    /// Whether all draws are made.
    pub fn is_through(&self) -> bool {
        self.made == self.treatment.baseline.len()
    }

    /// Whether the draws that were made decide, or are all.
    pub fn is_decided(&self) -> bool {
        let class_has_none =
            |number: usize| self.values.get(number).is_some_and(|v| !v[0].is_finite());
        let is_decided = |number: usize| {
            self.number(number)
                .is_some_and(|ranked| ranked.rank.decided)
        };
        let decides = |number: usize| class_has_none(number) || is_decided(number);
        self.is_through() || self.made > 0 && (0..self.tested).all(decides)
    }

    /// The class with the next batch of draws.
    fn batch(&self) -> Treatment {
        let end = (self.made + self.batch).min(self.treatment.baseline.len());
        Treatment {
            baseline: self.treatment.baseline[self.made..end].to_vec(),
            ..self.treatment.alone()
        }
    }

    /// Measures the next batch; `measure` gives, number by number, that of the class and of each draw.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn go_on(
        &mut self,
        measure: impl FnOnce(&Treatment) -> Result<Vec<Vec<f64>>, ExperimentError>,
    ) -> Result<(), ExperimentError> {
        let batch = self.batch();
        let measured = measure(&batch)?;
        if self.values.is_empty() {
            self.values = measured;
        } else {
            // The class was measured with the first batch.
            let numbers = self.values.iter_mut().zip(measured);
            numbers.for_each(|(values, new)| values.extend(new.into_iter().skip(1)));
        }
        self.made += batch.baseline.len();
        Ok(())
    }

    /// How many draws were made.
    pub fn made(&self) -> usize {
        self.made
    }

    /// One number of the class, and of all draws that were made.
    pub fn values(&self, number: usize) -> Option<(f64, &[f64])> {
        let (class, draws) = self.values.get(number)?.split_first()?;
        Some((*class, draws))
    }

    /// The rank in one number; absent where one is not finite.
    pub fn number(&self, number: usize) -> Option<Ranked> {
        let (class, draws) = self.values.get(number)?.split_first()?;
        let rank = sequential_rank(*class, draws)?;
        Some(Ranked {
            class: *class,
            draws: draws[..rank.draws].to_vec(),
            rank,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::NeuronSet;

    fn treatment(draws: usize) -> Treatment {
        Treatment {
            class: "c".to_string(),
            layers: None,
            neurons: NeuronSet::empty(1),
            baseline: vec![NeuronSet::empty(1); draws],
            shortfall: Vec::new(),
            written: None,
            first_order: None,
        }
    }

    /// Runs until it is decided; draw k has the value of `draw`, the class 0.
    fn run(draws: usize, at_once: bool, draw: impl Fn(usize) -> f64) -> (Ranking, Vec<usize>) {
        let mut ranking = Ranking::new(treatment(draws), 1, at_once);
        let (mut first, mut batches) = (0, Vec::new());
        while !ranking.is_decided() {
            let measure = |batch: &Treatment| {
                let values = (first..first + batch.baseline.len()).map(&draw);
                batches.push(batch.baseline.len());
                Ok(vec![std::iter::once(0.0).chain(values).collect()])
            };
            ranking.go_on(measure).unwrap();
            first = batches.iter().sum();
        }
        (ranking, batches)
    }

    fn alternating(draw: usize) -> f64 {
        if draw.is_multiple_of(2) { 1.0 } else { -1.0 }
    }

    #[test]
    fn batches_go_on_until_it_is_decided() {
        let (ranking, batches) = run(999, false, alternating);
        assert_eq!(batches, [40]);
        assert_eq!(ranking.number(0).unwrap().rank.draws, 20);
        let (ranking, batches) = run(99, false, |_| 1.0);
        assert_eq!(batches, [40, 40, 19]);
        assert_eq!(ranking.number(0).unwrap().rank.p, 0.02);
        let (ranking, batches) = run(999, true, |_| 1.0);
        assert_eq!(batches, [999]);
        assert_eq!(ranking.number(0).unwrap().rank.p, 0.002);
    }

    #[test]
    fn the_batches_change_nothing() {
        let ranks = [false, true].map(|at_once| {
            let (ranking, _) = run(400, at_once, |draw| if draw % 9 == 0 { -1.0 } else { 1.0 });
            ranking.number(0).unwrap()
        });
        assert_eq!(ranks[0], ranks[1]);
    }
}
