//! Small layers for the tests of this stage.

use candle_core::{Device, Tensor};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Class, ClassError, Cosines, Fold, MlpWeights, NeuronRow, NeuronTable, classify_layer};

/// One layer, given neuron by neuron as (w_gate, w_in, w_out).
pub struct Layer {
    pub gate: Tensor,
    pub up: Tensor,
    pub down: Tensor,
    pub pre_gain: Option<Tensor>,
    pub post_gain: Option<Tensor>,
    pub centred: bool,
}

impl Layer {
    pub fn new(neurons: &[[Vec<f32>; 3]]) -> Self {
        let stacked = |which: usize| {
            let rows: Vec<Tensor> = neurons
                .iter()
                .map(|neuron| vector(&neuron[which]))
                .collect();
            Tensor::stack(&rows, 0).unwrap()
        };
        Layer {
            gate: stacked(0),
            up: stacked(1),
            down: stacked(2).t().unwrap(), // not contiguous on purpose
            pre_gain: None,
            post_gain: None,
            centred: false,
        }
    }

    /// Every weight uniform on [-1, 1].
    pub fn random(d_mlp: usize, d_model: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut row =
            || -> Vec<f32> { (0..d_model).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let neurons: Vec<[Vec<f32>; 3]> = (0..d_mlp).map(|_| [row(), row(), row()]).collect();
        Self::new(&neurons)
    }

    pub fn weights(&self) -> MlpWeights<'_> {
        MlpWeights {
            gate: &self.gate,
            up: &self.up,
            down: &self.down,
            pre_gain: self.pre_gain.as_ref(),
            post_gain: self.post_gain.as_ref(),
            centred: self.centred,
        }
    }

    pub fn classify(&self, fold: Fold) -> Result<Vec<NeuronRow>, ClassError> {
        classify_layer(2, &self.weights(), fold, 0.5)
    }
}

pub fn vector(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

/// A row of the given class; in_out and norm_out as given, the rest of no account.
pub fn row(class: Class, in_out: f32, norm_out: f32) -> NeuronRow {
    let cosines = Cosines {
        gate_in: 0.0,
        gate_out: 0.0,
        in_out,
    };
    NeuronRow {
        cosines,
        norm_gate: 1.0,
        norm_in: 1.0,
        norm_out,
        class,
        sign: 1,
    }
}

/// A table of the given classes, layer by layer.
pub fn table(layers: &[Vec<Class>]) -> NeuronTable {
    let rows = |layer: &Vec<Class>| layer.iter().map(|&class| row(class, 0.0, 1.0)).collect();
    NeuronTable {
        fold: Fold::Pre,
        threshold: 0.5,
        layers: layers.iter().map(rows).collect(),
    }
}
