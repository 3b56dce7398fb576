//! How much neurons write: |post|·‖w_out‖, the length of what a neuron adds to the residual where `post` is its value.
//!
//! A class and random neurons of its layers may differ in that by a factor, and one that writes more costs more,
//! whatever else it does. So a plan can have draws that write as much, and every plan says how much more its classes
//! write. At the first position a few neurons write more than all others together, and the first position is no place
//! of the text: it is counted by itself.

use rayon::prelude::*;

use super::ExperimentError;
use super::first_order::FirstOrderEffects;
use super::forecast::Step;
use super::plan::{AblationPlan, FirstPosition, MeasuredOver, Treatment, Written};
use super::reference::run_clean;
use super::run::Run;
use crate::engine::{Engine, Progress};
use crate::hooks::{
    Condition, HookPoint, Neuron, NeuronSet, Observer, ReadError, Selection, Site, SiteRows,
};
use crate::io_class::{
    ClassError, Match, Matching, NeuronNumbers, NeuronRow, NeuronTable, matched_draws,
};
use crate::stats::{mean, median};
use crate::tokens::{Positions, TokenBatch};

/// Neurons that one thread works on at a time.
const BLOCK: usize = 64;

/// How many times the median contribution of its layer a first-position neuron's is, at the first position.
pub const OF_MEDIAN: f64 = 1000.0;

/// How many times its own mean elsewhere.
pub const OF_OWN: f64 = 100.0;

/// Sums |post| of some neurons over weighted rows of a batch, clean, in the rows' order: passes that follow each other
/// give the sums of one.
pub(super) struct PostSums<'a> {
    neurons: &'a NeuronSet,
    /// Rows of the batch.
    rows: Vec<usize>,
    /// Of each.
    weights: Vec<f64>,
    sums: &'a mut [Vec<f64>], // [n_layers][neurons of the set there]
}

impl<'a> PostSums<'a> {
    pub fn new(
        neurons: &'a NeuronSet,
        rows: impl Iterator<Item = (usize, f64)>,
        sums: &'a mut [Vec<f64>],
    ) -> Self {
        let (rows, weights) = rows.unzip();
        Self {
            neurons,
            rows,
            weights,
            sums,
        }
    }
}

impl Observer for PostSums<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        let of_set = |layer: usize| !self.neurons.layer(layer).is_empty();
        point.site == Site::Post && point.layer.is_some_and(of_set)
    }

    fn selects(&self, point: HookPoint) -> Selection<'_> {
        Selection {
            rows: Some(&self.rows),
            columns: point.layer.map(|layer| self.neurons.layer(layer)),
        }
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let Some(layer) = seen.point.layer else {
            return Ok(());
        };
        let blocks = self.sums[layer].par_chunks_mut(BLOCK).enumerate();
        blocks.for_each(|(block, sums)| {
            let rows = seen.rows.chunks_exact(seen.width).zip(&self.weights);
            for (row, weight) in rows {
                for (sum, post) in sums.iter_mut().zip(&row[block * BLOCK..]) {
                    *sum += weight * f64::from(post.abs());
                }
            }
        });
        Ok(())
    }
}

/// What every neuron of a model writes on some prompts or texts, in the unit of the residual.
#[derive(Clone, Debug)]
pub struct Contributions {
    /// Mean over all tokens but the first of each prompt or stretch of text; nothing where there are none.
    pub beyond_first: NeuronNumbers,
    /// Mean over the first tokens.
    pub at_first: NeuronNumbers,
    /// Over what.
    pub over: MeasuredOver,
}

impl Contributions {
    /// Measures them in a clean pass of its own; ‖w_out‖ is that of `table`. Sums are in f64 and go token by token, so
    /// that the split into passes does not change them.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn measure(
        engine: &Engine<'_>,
        batch: &TokenBatch,
        table: &NeuronTable,
        progress: &dyn Progress,
    ) -> Result<Self, ExperimentError> {
        let widths = || table.layers.iter().map(Vec::len);
        let all = NeuronSet::from_layers(widths().map(|n| (0..n as u32).collect()).collect());
        let zeros: Vec<Vec<f64>> = widths().map(|n| vec![0.0; n]).collect();
        let (mut beyond, mut first) = (zeros.clone(), zeros);
        let sequences = batch.sequences().len();
        let passes = run_clean(engine, batch, &for_contributions(batch), progress, |part| {
            let mask = part.mask(Positions::NotFirst);
            let rows = |is_beyond: bool| {
                let rows = mask.iter().enumerate();
                rows.filter_map(move |(row, at)| (*at == is_beyond).then_some((row, 1.0)))
            };
            let mut beyond = PostSums::new(&all, rows(true), &mut beyond);
            let mut first = PostSums::new(&all, rows(false), &mut first);
            let observers: &mut [&mut dyn Observer] = &mut [&mut beyond, &mut first];
            Ok(engine.run(part, &[Condition::Clean], observers, None, progress)?)
        })?;
        let tokens = batch.tokens() - sequences;
        Ok(Self {
            beyond_first: mean_contributions(beyond, tokens, table),
            at_first: mean_contributions(first, sequences, table),
            over: MeasuredOver {
                sequences,
                tokens,
                passes,
            },
        })
    }

    /// The neurons that write, at the first position, more than [`OF_MEDIAN`] times what the layer's median neuron
    /// does there and more than [`OF_OWN`] times what they themselves do elsewhere: 4 of SmolLM2-135M's 46,080 and 8
    /// of the 116,736 of Qwen2.5-Coder-0.5B, on the bundled facts. None where no token is elsewhere.
    pub fn first_position(&self) -> Vec<Neuron> {
        let mut found = Vec::new();
        for layer in 0.. {
            let Some(first) = self.at_first.layer(layer) else {
                return found;
            };
            let beyond = self.beyond_first.layer(layer).unwrap_or_default();
            let median = median(first).unwrap_or(0.0);
            let pairs = first.iter().zip(beyond).enumerate();
            let is_far = |(_, (first, own)): &(usize, (&f64, &f64))| {
                median > 0.0 && **first > OF_MEDIAN * median && **first > OF_OWN * **own
            };
            found.extend(
                pairs
                    .filter(is_far)
                    .map(|(index, _)| Neuron { layer, index }),
            );
        }
        found
    }

    fn ratio(&self, treatment: &Treatment) -> Option<f64> {
        let sum = |set: &NeuronSet| {
            let of = |n: Neuron| Some(self.beyond_first.layer(n.layer)?[n.index]);
            set.iter().map(of).sum::<Option<f64>>()
        };
        let draws: Option<Vec<f64>> = treatment.baseline.iter().map(sum).collect();
        let draws = mean(&draws?).filter(|draws| *draws > 0.0);
        Some(sum(&treatment.neurons)? / draws?)
    }
}

fn for_contributions(batch: &TokenBatch) -> String {
    let sequences = batch.sequences().len();
    format!("{sequences} stretches, clean, for contributions")
}

/// Those that the class or a draw holds.
fn held(neurons: &[Neuron], treatment: &Treatment) -> Vec<FirstPosition> {
    let found = neurons.iter().map(|&neuron| FirstPosition {
        neuron,
        in_class: treatment.neurons.contains(neuron),
        draws: treatment
            .baseline
            .iter()
            .filter(|set| set.contains(neuron))
            .count(),
    });
    found
        .filter(|found| found.in_class || found.draws > 0)
        .collect()
}

fn mean_contributions(sums: Vec<Vec<f64>>, tokens: usize, table: &NeuronTable) -> NeuronNumbers {
    let of_layer = |(sums, rows): (Vec<f64>, &Vec<NeuronRow>)| -> Vec<f64> {
        let sums = sums.into_iter().zip(rows);
        let means = sums.map(|(sum, row)| sum / tokens as f64 * f64::from(row.norm_out));
        means.filter(|_| tokens > 0).collect()
    };
    NeuronNumbers::new(sums.into_iter().zip(&table.layers).map(of_layer).collect())
}

/// By what random sets are matched, with what is needed to find it.
#[derive(Clone, Copy)]
pub struct MatchedBy<'a> {
    /// What the sets are drawn from.
    pub table: &'a NeuronTable,
    /// What they share with their class.
    pub matching: Match,
    /// The text of [`Match::LayerEffect`].
    pub text: Option<&'a TokenBatch>,
}

impl MatchedBy<'_> {
    /// The first-order effects of what is done at `positions`, where sets are matched by them. (A text has no subject, so those
    /// of edits at particular tokens of a prompt are at all.)
    fn effects(
        &self,
        engine: &Engine<'_>,
        positions: Positions,
        progress: &dyn Progress,
    ) -> Result<Option<FirstOrderEffects>, ExperimentError> {
        if self.matching != Match::LayerEffect {
            return Ok(None);
        }
        let text = self.text.ok_or(ClassError::NeedsEffect)?;
        let positions = match positions {
            Positions::NotFirst => Positions::NotFirst,
            _ => Positions::All,
        };
        FirstOrderEffects::measure(engine, (text, positions), progress).map(Some)
    }
}

impl AblationPlan {
    /// What [`weigh`](Self::weigh) takes.
    ///
    /// # Errors
    /// As [`weigh`](Self::weigh), as far as the plan and the memory tell.
    pub fn weigh_steps(
        &self,
        engine: &Engine<'_>,
        batch: &TokenBatch,
        by: MatchedBy<'_>,
    ) -> Result<Vec<Step>, ExperimentError> {
        engine.tokens_per_pass(batch, self.len().min(2))?;
        let text = by.text.filter(|_| by.matching == Match::LayerEffect);
        let effects = text.map(|text| FirstOrderEffects::step(engine, text));
        let contributions = Step::clean(engine, batch, for_contributions(batch))?;
        Ok(effects
            .transpose()?
            .into_iter()
            .chain([contributions])
            .collect())
    }

    /// Measures what all neurons write on `batch`, clean, and notes it of each treatment; where draws are matched by
    /// first-order effects on text, these too. Where draws are matched by either, those that the plan has are placeholders
    /// until now, and are drawn again: as many, by the plan's seed. A shard leaves out what its draws do not depend on.
    ///
    /// # Errors
    /// Those of the engine; [`ExperimentError::NoTokens`] where there is nothing to match by; those of
    /// [`matched_draws`].
    pub fn weigh(
        &mut self,
        (run, engine): (&Run<'_>, &Engine<'_>),
        batch: &TokenBatch,
        by: MatchedBy<'_>,
    ) -> Result<(), ExperimentError> {
        // Too little memory for one edit beside the clean run shows before anything runs.
        engine.tokens_per_pass(batch, self.len().min(2))?;
        let effects = by.effects(engine, self.positions, run.progress())?;
        let by_contribution = by.matching == Match::LayerContribution;
        let measured = (!run.is_shard() || by_contribution)
            .then(|| Contributions::measure(engine, batch, by.table, run.progress()));
        let written = measured.transpose()?;
        if by_contribution && written.as_ref().is_some_and(|found| found.over.tokens == 0) {
            return Err(ExperimentError::NoTokens);
        }
        let numbers = match by.matching {
            Match::LayerContribution => written.as_ref().map(|found| &found.beyond_first),
            Match::LayerEffect => effects.as_ref().map(|found| &found.of_neurons),
            _ => None,
        };
        let first_position = written.as_ref().map(Contributions::first_position);
        for treatment in &mut self.treatments {
            let draws = treatment.baseline.len();
            if let Some(numbers) = numbers.filter(|_| draws > 0) {
                let near = Matching::LayerAnd(numbers);
                let drawn = matched_draws(by.table, &treatment.neurons, draws, self.seed, near)?;
                treatment.baseline = drawn.sets;
            }
            treatment.first_order = effects.as_ref().map(|found| found.of(treatment));
            treatment.written = written.as_ref().map(|found| Written {
                ratio: found.ratio(treatment),
                over: found.over,
                first_position: held(first_position.as_deref().unwrap_or_default(), treatment),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_class::MatchedDraws;

    /// A layer of five neurons, whose median writes 0.1 at the first position, and one where nothing does.
    fn found() -> Contributions {
        let numbers = |first: [f64; 5]| NeuronNumbers::new(vec![first.to_vec(), vec![0.0; 5]]);
        Contributions {
            at_first: numbers([0.1, 101.0, 99.0, 0.01, 500.0]),
            beyond_first: numbers([0.2, 1.0, 0.5, 3.0, 5.1]),
            over: MeasuredOver {
                sequences: 1,
                tokens: 2,
                passes: 1,
            },
        }
    }

    fn set(neurons: &[usize]) -> NeuronSet {
        let neurons = neurons.iter().map(|&index| Neuron { layer: 0, index });
        NeuronSet::from_neurons(2, 5, neurons).unwrap()
    }

    #[test]
    fn a_class_and_its_draws_by_hand() {
        let treatment = |draws: &[NeuronSet]| {
            let draws = MatchedDraws {
                sets: draws.to_vec(),
                shortfall: vec![],
            };
            Treatment::new("c".to_string(), set(&[1, 2]), draws)
        };
        // 1.5 against 3.2 and 0.7 + 5.1 - 0.7
        let both = treatment(&[set(&[0, 3]), set(&[0, 1, 4])]);
        let ratio = found().ratio(&both).unwrap();
        assert!((ratio - 1.5 / ((3.2 + 6.3) / 2.0)).abs() < 1e-12, "{ratio}");
        assert_eq!(found().ratio(&treatment(&[])), None);
        assert_eq!(found().ratio(&treatment(&[NeuronSet::empty(2)])), None);
        let nowhere = Contributions {
            beyond_first: NeuronNumbers::new(vec![vec![], vec![]]),
            ..found()
        };
        assert_eq!(nowhere.ratio(&both), None);
        assert!(nowhere.first_position().is_empty());
    }

    #[test]
    fn first_position_neurons_by_hand() {
        // Medians of 0.1: neuron 1 is beyond both multiples, 2 is below the one, 4 below the other.
        let numbers = |first: [f64; 5]| NeuronNumbers::new(vec![first.to_vec(), vec![0.0; 5]]);
        let found = Contributions {
            at_first: numbers([0.1, 101.0, 99.0, 0.01, 500.0].map(|first| first / 10.0 + 0.09)),
            ..found()
        };
        assert!(found.first_position().is_empty(), "none is 1000 times 0.19");
        let found = Contributions {
            at_first: numbers([0.1, 101.0, 99.0, 0.01, 0.02]),
            ..found
        };
        assert_eq!(found.first_position(), [Neuron { layer: 0, index: 1 }]);
    }
}
