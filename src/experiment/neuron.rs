//! What one neuron does on some texts: its gate, up and post at every token.

use serde::Serialize;

use super::ExperimentError;
use crate::engine::{Engine, Progress};
use crate::hooks::{
    Condition, HookPoint, Neuron, NeuronSet, Observer, RawCase, ReadError, Selection, Site,
    SiteRows,
};
use crate::tokens::TokenBatch;

/// A neuron's values at one token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Firing {
    /// The sequence's prompt number.
    pub prompt: usize,
    /// Position in the sequence, BOS included.
    pub position: usize,
    /// `x·w_gate`.
    pub gate: f32,
    /// `x·w_in`.
    pub up: f32,
    /// `act(gate)·up`.
    pub post: f32,
}

/// One of the four cases of the signs of gate and up, as the weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignCaseSummary {
    /// Which.
    pub case: RawCase,
    /// Tokens in this case.
    pub tokens: u64,
    /// Mean of post over them; absent without tokens.
    pub mean_post: Option<f64>,
    /// The value of post that is farthest from 0.
    pub strongest_post: Option<f32>,
}

impl SignCaseSummary {
    /// The same tokens in reference sign: up and post times `sign` = sign(w_gate·w_in), +1 or -1 (arXiv 2505.17936).
    pub fn in_reference_sign(self, sign: i8) -> Self {
        Self {
            case: self.case.in_reference_sign(sign),
            mean_post: self.mean_post.map(|mean| mean * f64::from(sign)),
            strongest_post: self.strongest_post.map(|post| post * f32::from(sign)),
            ..self
        }
    }
}

/// How often a neuron fires, and what it does in which sign case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FiringStatistics {
    /// Tokens; at least one.
    pub tokens: u64,
    /// The share of them with a positive gate.
    pub frequency: f64,
    /// In the order of [`RawCase::ALL`]; a token where gate or up is exactly 0 is in none.
    pub sign_cases: [SignCaseSummary; 4],
}

/// A neuron's values at every token of a batch, in the order of prompts and positions.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronActivity {
    firings: Vec<Firing>,
}

/// Runs the clean model and reads one neuron.
///
/// # Errors
/// Those of the engine; [`ExperimentError::Neuron`] for a neuron that the model does not have.
pub fn neuron_activity(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    neuron: Neuron,
    progress: &dyn Progress,
) -> Result<NeuronActivity, ExperimentError> {
    NeuronSet::new(engine.config(), [neuron])?;
    let parts = batch.split(engine.tokens_per_pass(batch, 1)?)?;
    let units = parts.len() as u64 * engine.work_units(&[Condition::Clean]);
    progress.start(
        &format!("neuron {neuron}, {} tokens", batch.tokens()),
        units,
    );
    let mut firings = Vec::with_capacity(batch.tokens());
    for part in &parts {
        let mut column = Column::new(neuron);
        engine.run(
            part,
            &[Condition::Clean],
            &mut [&mut column],
            None,
            progress,
        )?;
        firings.extend(column.firings(part));
    }
    firings.sort_by_key(|firing| (firing.prompt, firing.position));
    Ok(NeuronActivity { firings })
}

/// Keeps one neuron's column at the three neuron sites.
struct Column {
    layer: usize,
    /// Its index.
    column: [u32; 1],
    values: [Vec<f32>; 3],
}

const SITES: [Site; 3] = [Site::Pre, Site::PreLinear, Site::Post];

impl Column {
    fn new(neuron: Neuron) -> Self {
        let values = Default::default();
        Self {
            layer: neuron.layer,
            column: [neuron.index as u32],
            values,
        }
    }

    fn place(&self, point: HookPoint) -> Option<usize> {
        let here = point.layer == Some(self.layer);
        SITES.iter().position(|site| here && *site == point.site)
    }

    fn firings(self, batch: &TokenBatch) -> Vec<Firing> {
        let [gate, up, post] = self.values;
        let sequences = batch.sequences().iter().enumerate();
        let tokens = sequences.flat_map(|(i, sequence)| {
            let first = batch.first_row(i);
            (0..sequence.ids.len())
                .map(move |position| (sequence.prompt, position, first + position))
        });
        tokens
            .map(|(prompt, position, row)| Firing {
                prompt,
                position,
                gate: gate[row],
                up: up[row],
                post: post[row],
            })
            .collect()
    }
}

impl Observer for Column {
    fn wants(&self, point: HookPoint) -> bool {
        self.place(point).is_some()
    }

    fn selects(&self, _: HookPoint) -> Selection<'_> {
        Selection::columns(&self.column)
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        if let Some(place) = self.place(seen.point) {
            self.values[place] = seen.rows.to_vec();
        }
        Ok(())
    }
}

impl NeuronActivity {
    /// All tokens.
    pub fn firings(&self) -> &[Firing] {
        &self.firings
    }

    /// Over all tokens.
    pub fn statistics(&self) -> FiringStatistics {
        let positive = self.firings.iter().filter(|firing| firing.gate > 0.0);
        FiringStatistics {
            tokens: self.firings.len() as u64,
            frequency: positive.count() as f64 / self.firings.len() as f64,
            sign_cases: self.sign_cases(),
        }
    }

    fn sign_cases(&self) -> [SignCaseSummary; 4] {
        RawCase::ALL.map(|case| {
            let in_case = |f: &&Firing| RawCase::of(f.gate, f.up) == Some(case);
            let posts = self.firings.iter().filter(in_case).map(|f| f.post);
            let posts: Vec<f32> = posts.collect();
            let sum: f64 = posts.iter().map(|post| f64::from(*post)).sum();
            SignCaseSummary {
                case,
                tokens: posts.len() as u64,
                mean_post: (!posts.is_empty()).then(|| sum / posts.len() as f64),
                strongest_post: posts.into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())),
            }
        })
    }

    /// The tokens where |post| is largest, largest first.
    pub fn strongest(&self, count: usize) -> Vec<Firing> {
        let mut firings = self.firings.clone();
        firings.sort_by(|a, b| b.post.abs().total_cmp(&a.post.abs()));
        firings.truncate(count);
        firings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_order_by_hand() {
        let values = [
            (1.0, 2.0, 1.5),
            (1.0, -1.0, -0.7),
            (-1.0, 3.0, -0.8),
            (2.0, 1.0, 1.8),
        ];
        let firings = values
            .iter()
            .enumerate()
            .map(|(position, (gate, up, post))| Firing {
                prompt: 0,
                position,
                gate: *gate,
                up: *up,
                post: *post,
            });
        let activity = NeuronActivity {
            firings: firings.collect(),
        };
        let statistics = activity.statistics();
        assert_eq!((statistics.tokens, statistics.frequency), (4, 0.75));
        let cases = statistics.sign_cases;
        assert_eq!(cases.map(|case| case.tokens), [2, 1, 1, 0]);
        assert!((cases[0].mean_post.unwrap() - 1.65).abs() < 1e-6);
        assert_eq!(cases[0].strongest_post, Some(1.8));
        assert_eq!(cases[3].mean_post, None);
        let read = cases[1].in_reference_sign(-1);
        assert_eq!((read.case.as_str(), read.tokens), ("gate+,up+", 1));
        assert_eq!(read.strongest_post, Some(0.7));
        assert_eq!(read.mean_post, cases[1].mean_post.map(|mean| -mean));
        assert_eq!(cases.map(|case| case.in_reference_sign(1)), cases);
        let order: Vec<usize> = activity.strongest(3).iter().map(|f| f.position).collect();
        assert_eq!(order, [3, 0, 2]);
    }
}
