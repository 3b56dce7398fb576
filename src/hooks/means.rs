//! Means of `post` over a reference: per neuron over all tokens, and per raw sign case of gate and up.
//!
//! A mean is of the raw `post`, and replaces the raw `post`: no convention of signs enters.

use rayon::prelude::*;

use super::neurons::{Neuron, NeuronSet};
use super::observer::{Observer, ReadError, Selection, SiteRows};
use super::sign_case::RawCase;
use super::site::Site;

/// The means of one neuron's `post`; what the reference never saw is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NeuronMean {
    /// Over all tokens.
    pub overall: Option<f32>,
    /// Over the tokens of each raw sign case, in the order of [`RawCase::ALL`].
    pub by_sign: [Option<f32>; 4],
}

/// The means of a model's neurons over a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronMeans {
    layers: Vec<Vec<NeuronMean>>, // [n_layers][d_mlp]
}

impl NeuronMeans {
    /// Means of a model of this shape, all absent.
    pub fn absent(n_layers: usize, d_mlp: usize) -> Self {
        Self {
            layers: vec![vec![NeuronMean::default(); d_mlp]; n_layers],
        }
    }

    /// Puts in the means of one neuron; `None` where the model has no such neuron.
    pub fn set(&mut self, neuron: Neuron, mean: NeuronMean) -> Option<()> {
        *self.layers.get_mut(neuron.layer)?.get_mut(neuron.index)? = mean;
        Some(())
    }

    /// The means of layer `layer`, by neuron.
    pub fn layer(&self, layer: usize) -> &[NeuronMean] {
        &self.layers[layer]
    }

    /// Layers, and neurons in each of them.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.layers.len(), self.layers.first().map_or(0, Vec::len))
    }
}

/// Neurons that one thread works on at a time.
const BLOCK: usize = 64;

/// Sums up the `post` of some neurons under condition 0, which should be the clean one. Sums are in f64
/// and go token by token, so that the split of a batch into passes does not change them.
pub struct MeanSums {
    neurons: NeuronSet,
    d_mlp: usize,
    sums: Vec<Vec<Sums>>, // [n_layers][neurons of the set there]
    tokens: Vec<u64>,     // [n_layers]
    /// `gate` in the layer that runs, and the sign cases there: `[tokens, neurons of the set there]`.
    gates: Vec<f32>,
    cases: Vec<Option<RawCase>>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    overall: f64,
    by_sign: [f64; 4],
    counts: [u64; 4],
}

impl MeanSums {
    /// Sums for `neurons` of a model with `d_mlp` neurons a layer.
    pub fn new(neurons: NeuronSet, d_mlp: usize) -> Self {
        let layers = 0..neurons.n_layers();
        Self {
            sums: layers
                .map(|l| vec![Sums::default(); neurons.layer(l).len()])
                .collect(),
            tokens: vec![0; neurons.n_layers()],
            neurons,
            d_mlp,
            gates: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// The tokens that went into every mean.
    pub fn tokens(&self) -> u64 {
        self.tokens.iter().copied().max().unwrap_or(0)
    }

    /// The means so far; those of neurons outside the set are absent.
    pub fn means(&self) -> NeuronMeans {
        let mut means = NeuronMeans::absent(self.neurons.n_layers(), self.d_mlp);
        let sums = self.sums.iter().zip(&self.tokens);
        let sums = sums.flat_map(|(layer, &tokens)| layer.iter().map(move |sums| (sums, tokens)));
        for (neuron, (sums, tokens)) in self.neurons.iter().zip(sums) {
            means.set(neuron, sums.mean(tokens)); // each is in range: `observe` saw it
        }
        means
    }

    fn add(&mut self, layer: usize, seen: &SiteRows<'_>) {
        let cases = &self.cases;
        let blocks = self.sums[layer].par_chunks_mut(BLOCK).enumerate();
        blocks.for_each(|(block, sums)| {
            let first = block * BLOCK;
            for (row, cases) in rows(seen).zip(cases.chunks_exact(seen.width)) {
                for (i, sums) in sums.iter_mut().enumerate() {
                    sums.add(f64::from(row[first + i]), cases[first + i]);
                }
            }
        });
        self.tokens[layer] += (seen.rows.len() / seen.width) as u64;
    }
}

impl Sums {
    fn add(&mut self, post: f64, case: Option<RawCase>) {
        self.overall += post;
        if let Some(case) = case {
            self.by_sign[case as usize] += post;
            self.counts[case as usize] += 1;
        }
    }

    fn mean(&self, tokens: u64) -> NeuronMean {
        let mean = |sum: f64, count: u64| (count > 0).then(|| (sum / count as f64) as f32);
        NeuronMean {
            overall: mean(self.overall, tokens),
            by_sign: std::array::from_fn(|case| mean(self.by_sign[case], self.counts[case])),
        }
    }
}

fn rows<'a>(seen: &SiteRows<'a>) -> impl Iterator<Item = &'a [f32]> + use<'a> {
    seen.rows.chunks_exact(seen.width)
}

impl Observer for MeanSums {
    fn wants(&self, point: super::HookPoint) -> bool {
        let summed = [Site::Pre, Site::PreLinear, Site::Post].contains(&point.site);
        summed
            && point
                .layer
                .is_some_and(|l| !self.neurons.layer(l).is_empty())
    }

    fn selects(&self, point: super::HookPoint) -> Selection<'_> {
        let neurons = point.layer.map(|layer| self.neurons.layer(layer));
        neurons.map_or(Selection::default(), Selection::columns)
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let Some(layer) = seen.point.layer.filter(|_| seen.conditions[0] == 0) else {
            return Ok(());
        };
        seen.row(0, self.neurons.layer(layer).len())?;
        match seen.point.site {
            Site::Pre => {
                self.gates.clear();
                self.gates.extend_from_slice(seen.rows);
            }
            Site::PreLinear => {
                let pairs = self.gates.iter().zip(seen.rows);
                self.cases.clear();
                self.cases
                    .extend(pairs.map(|(&gate, &up)| RawCase::of(gate, up)));
            }
            _ => self.add(layer, seen),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::HookPoint;
    use super::*;

    #[test]
    fn means_by_hand_and_what_was_never_seen_is_absent() {
        let neuron = |index| Neuron { layer: 1, index };
        let set = NeuronSet::from_neurons(2, 3, [neuron(0), neuron(2)]).unwrap();
        let mut sums = MeanSums::new(set, 3);
        assert!(!sums.wants(HookPoint::in_layer(0, Site::Post)));
        let mut show = |site, rows: &[f32]| {
            sums.observe(&SiteRows {
                point: HookPoint::in_layer(1, site),
                conditions: &[0],
                rows,
                width: 2,
            })
            .unwrap()
        };
        // two passes, of two tokens and of one; neuron 1 is not in the set, and not shown
        show(Site::Pre, &[1.0, -1.0, 2.0, 0.0]);
        show(Site::PreLinear, &[1.0, 2.0, -1.0, 5.0]);
        show(Site::Post, &[4.0, -3.0, -2.0, 0.5]);
        show(Site::Pre, &[3.0, -2.0]);
        show(Site::PreLinear, &[1.0, 0.5]);
        show(Site::Post, &[1.0, -1.0]);
        let means = sums.means();
        assert_eq!(sums.tokens(), 3);
        let first = NeuronMean {
            overall: Some(1.0), // (4 - 2 + 1) / 3
            by_sign: [Some(2.5), Some(-2.0), None, None],
        };
        let last = NeuronMean {
            overall: Some(-3.5 / 3.0), // the 0 of gate counts here, and in no case
            by_sign: [None, None, Some(-2.0), None],
        };
        assert_eq!(means.layer(1), [first, NeuronMean::default(), last]);
        assert_eq!(means.layer(0), [NeuronMean::default(); 3]);
    }
}
