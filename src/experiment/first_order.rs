//! What switching a neuron off changes of a text, to first order: the gradient of the log-probability of every next token with
//! respect to `post`, times what `post` changes by, which is -post (attribution patching).
//!
//! Random sets whose sum is that of a class do about the same damage to text, as far as a first order tells. Saturation
//! it does not know: of many neurons together, sums say which sets are alike and not what they cost.

use rayon::prelude::*;

use super::ExperimentError;
use super::forecast::Step;
use super::plan::{FirstOrder, FirstOrderSums, MeasuredOver, Treatment};
use super::score::of_logprob;
use super::text::places;
use crate::engine::{Engine, LogitGradient, NeuronGradients, Progress};
use crate::hooks::{Condition, NeuronSet, Path};
use crate::io_class::NeuronNumbers;
use crate::stats::mean;
use crate::tokens::{Positions, TokenBatch};

/// Neurons that one thread works on at a time.
const BLOCK: usize = 64;

/// What each neuron of a model does to a text, to first order.
#[derive(Clone, Debug)]
pub struct FirstOrderEffects {
    /// Of each neuron: the change of the text's mean next-token log-probability where its `post` is 0 at some tokens, to
    /// first order: -Σ post · d(Σ log-probability)/d post over these tokens, over the number of predicted tokens; nats per
    /// token. Below 0: the text loses.
    pub of_neurons: NeuronNumbers,
    /// Over what; tokens are those that are predicted, all but the first of each stretch.
    pub over: MeasuredOver,
}

fn in_words(text: &TokenBatch) -> String {
    let sequences = text.sequences().len();
    format!("{sequences} stretches of text, gradients, for first-order effects")
}

impl FirstOrderEffects {
    /// What [`measure`](Self::measure) takes.
    pub(super) fn step(engine: &Engine<'_>, text: &TokenBatch) -> Result<Step, ExperimentError> {
        let number = NextTokens::new(text);
        let parts = text.split(engine.tokens_per_gradient_pass(text, &number.rows)?)?;
        Ok(Step {
            what: in_words(text),
            passes: Some(parts.len()),
            work: text.tokens() as u64 * engine.gradient_units(),
            bytes: 0,
        })
    }

    /// Measures them in a clean forward and backward pass over a text; sequences are stretches of it, and neurons are switched
    /// off at these positions of each. Sums are in f64 and go
    /// token by token, so that the split into passes does not change them.
    ///
    /// # Errors
    /// [`ExperimentError::NoTokens`] where no token is predicted; those of the engine, which has gradients in f32 alone.
    pub fn measure(
        engine: &Engine<'_>,
        (text, positions): (&TokenBatch, Positions),
        progress: &dyn Progress,
    ) -> Result<Self, ExperimentError> {
        let number = NextTokens::new(text);
        let tokens = number.rows.len();
        if tokens == 0 {
            return Err(ExperimentError::NoTokens);
        }
        let config = engine.config();
        let mut sums = vec![vec![0.0; config.d_mlp]; config.n_layers()];
        let parts = text.split(engine.tokens_per_gradient_pass(text, &number.rows)?)?;
        let sequences = text.sequences().len();
        progress.start(
            &in_words(text),
            parts.len() as u64 * engine.gradient_units(),
        );
        for part in &parts {
            let is_off = part.mask(positions);
            let mut sink = |seen: &NeuronGradients<'_>| {
                add(&mut sums[seen.layer], seen, &is_off);
                Ok(())
            };
            let plain = (&Condition::Clean, Path::Total);
            engine.gradients(part, plain, &NextTokens::new(part), &mut sink, progress)?;
        }
        let over = |sums: Vec<f64>| sums.iter().map(|sum| sum / tokens as f64).collect();
        Ok(Self {
            of_neurons: NeuronNumbers::new(sums.into_iter().map(over).collect()),
            over: MeasuredOver {
                sequences,
                tokens,
                passes: parts.len(),
            },
        })
    }

    /// The sums of a class and of its draws.
    pub(super) fn of(&self, treatment: &Treatment) -> FirstOrder {
        let sum = |set: &NeuronSet| -> f64 {
            let of_layer = |l: usize| {
                let effects = self.of_neurons.layer(l).unwrap_or_default();
                let own = set.layer(l).iter();
                own.filter_map(|n| effects.get(*n as usize)).sum::<f64>()
            };
            (0..set.n_layers()).map(of_layer).sum()
        };
        let draws: Vec<f64> = treatment.baseline.iter().map(sum).collect();
        FirstOrder {
            sums: FirstOrderSums {
                class: sum(&treatment.neurons),
                baseline: mean(&draws),
            },
            over: self.over,
        }
    }
}

/// Takes post · gradient away from the sum of each neuron, token by token where it is off.
fn add(sums: &mut [f64], seen: &NeuronGradients<'_>, is_off: &[bool]) {
    let width = sums.len();
    let blocks = sums.par_chunks_mut(BLOCK).enumerate();
    blocks.for_each(|(block, sums)| {
        let first = block * BLOCK;
        let rows = seen.post.chunks_exact(width);
        let rows = rows.zip(seen.of_post.chunks_exact(width)).zip(is_off);
        for ((post, of_post), _) in rows.filter(|(_, is_off)| **is_off) {
            let own = first..first + sums.len();
            let pairs = post[own.clone()].iter().zip(&of_post[own]);
            for (sum, (post, of_post)) in sums.iter_mut().zip(pairs) {
                *sum -= f64::from(*post) * f64::from(*of_post);
            }
        }
    });
}

/// The log-probability of every next token of a text.
struct NextTokens {
    rows: Vec<usize>,
    next: Vec<u32>,
}

impl NextTokens {
    fn new(text: &TokenBatch) -> Self {
        let places = places(text).into_iter();
        let (rows, next) = places.map(|place| (place.row, place.next)).unzip();
        Self { rows, next }
    }
}

impl LogitGradient for NextTokens {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn of_logits(&self, place: usize, logits: &[f32]) -> Vec<f32> {
        of_logprob(self.next[place], logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Neuron;
    use crate::io_class::MatchedDraws;

    #[test]
    fn a_class_and_its_draws_by_hand() {
        let set = |neurons: &[(usize, usize)]| {
            let neurons = neurons
                .iter()
                .map(|&(layer, index)| Neuron { layer, index });
            NeuronSet::from_neurons(2, 3, neurons).unwrap()
        };
        let found = FirstOrderEffects {
            of_neurons: NeuronNumbers::new(vec![vec![-1.0, 0.5, -0.25], vec![0.0, -2.0, 4.0]]),
            over: MeasuredOver {
                sequences: 1,
                tokens: 2,
                passes: 1,
            },
        };
        let draws = MatchedDraws {
            sets: vec![set(&[(0, 1), (1, 2)]), set(&[(0, 2), (1, 0)])],
            shortfall: vec![],
        };
        let treatment = Treatment::new("c".to_string(), set(&[(0, 0), (1, 1)]), draws);
        let sums = found.of(&treatment).sums;
        assert_eq!((sums.class, sums.baseline), (-3.0, Some(2.125)));
        assert!(!sums.is_near());
        assert_eq!(found.of(&treatment.alone()).sums.baseline, None);
    }

    #[test]
    fn draws_are_near_within_a_quarter_of_the_class() {
        let near = |class, baseline| FirstOrderSums { class, baseline }.is_near();
        assert!(near(-1.0, Some(-1.25)) && near(-1.0, Some(-0.75)) && near(-1.0, None));
        assert!(!near(-1.0, Some(-1.26)) && !near(-1.0, Some(1.0)) && !near(0.0, Some(0.1)));
    }
}
