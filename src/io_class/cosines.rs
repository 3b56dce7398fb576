//! Three cosines, three norms and a sign for each neuron of a layer (Gerstner and Schütze, arXiv 2505.17936).
//!
//! ```text
//! gate_in = cos(w_gate, w_in)    gate_out = cos(w_gate, w_out)    in_out = cos(w_in, w_out)
//! ```
//!
//! Rows are folded in f32 and summed in f64, so the result is the f32 cosine to its last bits and no square
//! overflows. A vector of zeros (pruned weights) has no direction: its two cosines are defined as 0, which no
//! threshold calls large, and its norm of 0 shows why.

use std::ops::Range;

use rayon::prelude::*;

use super::folded::{FoldedMlp, Vector, with_folded};
use super::{Class, ClassError, Fold, MlpWeights, check_threshold, class_of};
use crate::hooks::neurons::Neuron;

/// Neurons that are worked on together: their columns of `down_proj` are gathered while the cache holds them.
const BLOCK: usize = 32;

/// Partial sums kept side by side, so that the compiler can use vector registers.
const LANES: usize = 4;

/// The cosines between the weight vectors of one neuron, as folded.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Cosines {
    /// cos(w_gate, w_in).
    pub gate_in: f32,
    /// cos(w_gate, w_out).
    pub gate_out: f32,
    /// cos(w_in, w_out).
    pub in_out: f32,
}

/// What the weights tell of one neuron.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct NeuronRow {
    /// The three cosines.
    pub cosines: Cosines,
    /// Length of w_gate, as folded.
    pub norm_gate: f32,
    /// Length of w_in, as folded.
    pub norm_in: f32,
    /// Length of w_out, as folded.
    pub norm_out: f32,
    /// The class at the table's threshold.
    pub class: Class,
    /// Sign of w_gate·w_in, as folded, +1 where it is 0: what post and up are multiplied by to be "in
    /// reference sign" (arXiv 2505.17936). The weights themselves keep theirs.
    pub sign: i8,
}

/// Cosines, norms, class and sign of all neurons of layer `layer`, in order: d_mlp rows.
///
/// # Errors
/// [`ClassError::Threshold`]; [`ClassError::Shape`] when the tensors do not fit each other;
/// [`ClassError::NotFinite`] and [`ClassError::GainNotFinite`] name the first bad neuron or gain.
pub fn classify_layer(
    layer: usize,
    weights: &MlpWeights,
    fold: Fold,
    threshold: f32,
) -> Result<Vec<NeuronRow>, ClassError> {
    check_threshold(threshold)?;
    with_folded(layer, weights, fold, |mlp| {
        // Collected before the errors are looked at, so that the same neuron is blamed each time.
        let blocks: Vec<_> = (0..mlp.d_mlp.div_ceil(BLOCK))
            .into_par_iter()
            .map(|b| block(mlp, b * BLOCK..mlp.d_mlp.min((b + 1) * BLOCK), threshold))
            .collect();
        let rows: Result<Vec<Vec<NeuronRow>>, ClassError> = blocks.into_iter().collect();
        Ok(rows?.concat())
    })
}

fn block(
    mlp: &FoldedMlp,
    neurons: Range<usize>,
    threshold: f32,
) -> Result<Vec<NeuronRow>, ClassError> {
    let [w_gate, w_in, w_out] =
        [Vector::Gate, Vector::In, Vector::Out].map(|which| mlp.vectors(which, neurons.clone())); // [block, d_model] each
    let inputs = w_gate
        .chunks_exact(mlp.d_model)
        .zip(w_in.chunks_exact(mlp.d_model));
    let each = inputs.zip(w_out.chunks_exact(mlp.d_model)).zip(neurons);
    each.map(|(((w_gate, w_in), w_out), index)| {
        let products = Products::of(w_gate, w_in, w_out);
        products.check(Neuron {
            layer: mlp.layer,
            index,
        })?;
        Ok(products.row(threshold))
    })
    .collect()
}

/// The inner products of w_gate, w_in and w_out.
#[derive(Default)]
struct Products {
    gate_gate: f64,
    in_in: f64,
    out_out: f64,
    gate_in: f64,
    gate_out: f64,
    in_out: f64,
}

impl Products {
    fn of(w_gate: &[f32], w_in: &[f32], w_out: &[f32]) -> Self {
        let mut lanes = [[0f64; LANES]; 6];
        let split = w_gate.len() - w_gate.len() % LANES;
        let chunks = w_gate.chunks_exact(LANES).zip(w_in.chunks_exact(LANES));
        for ((gate, input), out) in chunks.zip(w_out.chunks_exact(LANES)) {
            for lane in 0..LANES {
                accumulate(&mut lanes, lane, [gate[lane], input[lane], out[lane]]);
            }
        }
        for d in split..w_gate.len() {
            accumulate(&mut lanes, 0, [w_gate[d], w_in[d], w_out[d]]);
        }
        let [gate_gate, in_in, out_out, gate_in, gate_out, in_out] =
            lanes.map(|lane| lane.iter().sum::<f64>());
        Products {
            gate_gate,
            in_in,
            out_out,
            gate_in,
            gate_out,
            in_out,
        }
    }

    /// A square is not finite exactly when one of its weights is not: f32 squares cannot overflow f64.
    fn check(&self, neuron: Neuron) -> Result<(), ClassError> {
        let squares = [
            (Vector::Gate, self.gate_gate),
            (Vector::In, self.in_in),
            (Vector::Out, self.out_out),
        ];
        let bad = squares.into_iter().find(|(_, square)| !square.is_finite());
        bad.map_or(Ok(()), |(which, _)| {
            let tensor = which.tensor();
            Err(ClassError::NotFinite { neuron, tensor })
        })
    }

    fn row(&self, threshold: f32) -> NeuronRow {
        let cosines = Cosines {
            gate_in: cosine(self.gate_in, self.gate_gate, self.in_in),
            gate_out: cosine(self.gate_out, self.gate_gate, self.out_out),
            in_out: cosine(self.in_out, self.in_in, self.out_out),
        };
        NeuronRow {
            cosines,
            norm_gate: self.gate_gate.sqrt() as f32,
            norm_in: self.in_in.sqrt() as f32,
            norm_out: self.out_out.sqrt() as f32,
            class: class_of(cosines, threshold),
            sign: if self.gate_in < 0.0 { -1 } else { 1 },
        }
    }
}

/// Adds one dimension of (w_gate, w_in, w_out) to the six sums.
#[inline(always)]
fn accumulate(lanes: &mut [[f64; LANES]; 6], lane: usize, weights: [f32; 3]) {
    let [g, i, o] = weights.map(f64::from);
    for (sums, product) in lanes
        .iter_mut()
        .zip([g * g, i * i, o * o, g * i, g * o, i * o])
    {
        sums[lane] += product;
    }
}

/// 0 where one of the vectors is zero.
fn cosine(product: f64, square_a: f64, square_b: f64) -> f32 {
    let norms = square_a.sqrt() * square_b.sqrt();
    if norms > 0.0 {
        (product / norms) as f32
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use proptest::prelude::*;

    use super::super::testing::{Layer, vector};
    use super::*;

    fn one(gate: &[f32], input: &[f32], out: &[f32]) -> NeuronRow {
        let neuron = [gate, input, out].map(<[f32]>::to_vec);
        Layer::new(&[neuron]).classify(Fold::Pre).unwrap()[0]
    }

    /// (gate_in, gate_out, in_out)
    fn cosines(row: NeuronRow) -> [f32; 3] {
        [
            row.cosines.gate_in,
            row.cosines.gate_out,
            row.cosines.in_out,
        ]
    }

    #[test]
    fn cosines_norms_and_sign_by_hand() {
        // 3-4-5 triangles: gate·in = 3·4 + 4·3 = 24, gate·out = -15, in·out = -20
        let row = one(&[3.0, 4.0], &[4.0, 3.0], &[-5.0, 0.0]);
        assert_eq!(cosines(row), [0.96, -0.6, -0.8]);
        assert_eq!([row.norm_gate, row.norm_in, row.norm_out], [5.0, 5.0, 5.0]);
        assert_eq!((row.class, row.sign), (Class::Depletion, 1));
        assert_eq!(one(&[1.0, 0.0], &[-1.0, 2.0], &[0.0, 1.0]).sign, -1);
        assert_eq!(one(&[1.0, 0.0], &[0.0, 2.0], &[0.0, 1.0]).sign, 1);
    }

    #[test]
    fn a_column_of_down_proj_belongs_to_its_neuron() {
        // More neurons than a block, more dimensions than the lanes; out = ±in by neuron.
        let mut layer = Layer::random(BLOCK + 3, 2 * LANES + 3, 1);
        let signs: Vec<f32> = (0..BLOCK + 3)
            .map(|n| if n % 3 == 0 { -1.0 } else { 1.0 })
            .collect();
        let up_columns = layer.up.t().unwrap(); // [d_model, d_mlp]
        layer.down = up_columns.broadcast_mul(&vector(&signs)).unwrap();
        let rows = layer.classify(Fold::None).unwrap();
        assert_eq!(rows.len(), BLOCK + 3);
        for (row, sign) in rows.iter().zip(signs) {
            assert!((row.cosines.in_out - sign).abs() < 1e-6);
            assert!((row.cosines.gate_in * sign - row.cosines.gate_out).abs() < 1e-6);
        }
    }

    #[test]
    fn a_gain_of_two_on_one_dimension() {
        let mut layer = Layer::new(&[[vec![1.0, 0.0], vec![1.0, 2.0], vec![1.0, 2.0]]]);
        layer.pre_gain = Some(vector(&[2.0, 1.0]));
        layer.post_gain = Some(vector(&[1.0, 0.5]));
        let in_out = |fold| layer.classify(fold).unwrap()[0].cosines.in_out;
        // in becomes (2, 2) and, after the MLP, out (1, 1)
        assert_eq!(in_out(Fold::None), 1.0);
        assert!((in_out(Fold::Pre) - 6.0 / (8f32.sqrt() * 5f32.sqrt())).abs() < 1e-7);
        assert_eq!(in_out(Fold::PrePlusPost), 1.0);
        let row = layer.classify(Fold::Pre).unwrap()[0];
        assert_eq!((row.norm_gate, row.norm_in), (2.0, 8f32.sqrt()));
        assert_eq!(row.norm_out, 5f32.sqrt());
    }

    #[test]
    fn without_norms_all_folds_agree() {
        let layer = Layer::random(20, 7, 4);
        let pre = layer.classify(Fold::Pre).unwrap();
        assert_eq!(pre, layer.classify(Fold::None).unwrap());
        assert_eq!(pre, layer.classify(Fold::PrePlusPost).unwrap());
    }

    #[test]
    fn olmo_centres_input_and_output_but_not_the_gate() {
        let mut layer = Layer::new(&[[vec![1.0, 1.0], vec![1.0, 3.0], vec![2.0, 4.0]]]);
        layer.centred = true;
        // (1, 3) and (2, 4) both become (-1, 1), at a right angle to the gate as it is
        let row = layer.classify(Fold::Pre).unwrap()[0];
        assert_eq!(cosines(row)[..2], [0.0, 0.0]);
        assert!((row.cosines.in_out - 1.0).abs() < 1e-7);
        assert_eq!(row.norm_gate, 2f32.sqrt());
        assert!(layer.classify(Fold::None).unwrap()[0].cosines.gate_out > 0.9);
    }

    #[test]
    fn a_zero_vector_has_cosine_zero_and_norm_zero() {
        let row = one(&[1.0, 0.0], &[1.0, 0.0], &[0.0, 0.0]);
        assert_eq!(cosines(row), [1.0, 0.0, 0.0]);
        assert_eq!((row.class, row.norm_out), (Class::OrthogonalOutput, 0.0));
    }

    #[test]
    fn very_small_and_very_large_weights_keep_their_direction() {
        for size in [1e-30, 1e30] {
            let row = one(&[size, 0.0], &[size, size], &[size, 0.0]);
            assert!((row.cosines.in_out - 0.5f32.sqrt()).abs() < 1e-7, "{size}");
        }
    }

    #[test]
    fn weights_that_are_not_finite_name_layer_and_neuron() {
        for bad in [f32::NAN, f32::INFINITY] {
            let good = [vec![1.0, 0.0], vec![1.0, 0.0], vec![1.0, 0.0]];
            let mut neurons = vec![good; 40];
            neurons[33][2][1] = bad;
            neurons[39][0][0] = bad;
            let message = Layer::new(&neurons)
                .classify(Fold::Pre)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("down_proj weights of neuron 2.33"),
                "{message}"
            );
        }
        let mut layer = Layer::random(3, 2, 1);
        layer.pre_gain = Some(vector(&[1.0, f32::NAN]));
        let message = layer.classify(Fold::Pre).unwrap_err().to_string();
        assert!(
            message.contains("layer 2") && message.contains("entry 1"),
            "{message}"
        );
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let mut layer = Layer::random(3, 2, 1);
        layer.down = Layer::random(4, 2, 1).down;
        let message = layer.classify(Fold::Pre).unwrap_err().to_string();
        assert!(
            message.contains("down_proj has shape [2, 4], but [2, 3] is needed"),
            "{message}"
        );
        let mut layer = Layer::random(3, 2, 1);
        layer.pre_gain = Some(vector(&[1.0]));
        assert!(matches!(
            layer.classify(Fold::Pre),
            Err(ClassError::Shape { .. })
        ));
        let mut layer = Layer::random(3, 2, 1);
        layer.gate = vector(&[1.0]);
        assert!(matches!(
            layer.classify(Fold::Pre),
            Err(ClassError::Shape { .. })
        ));
    }

    #[test]
    fn half_precision_weights_are_widened() {
        let mut layer = Layer::random(5, 4, 9);
        layer.gate = layer.gate.to_dtype(DType::BF16).unwrap();
        let half = layer.classify(Fold::Pre).unwrap();
        layer.gate = layer.gate.to_dtype(DType::F32).unwrap();
        assert_eq!(half, layer.classify(Fold::Pre).unwrap());
    }

    #[test]
    fn random_weights_are_all_orthogonal_output() {
        let rows = Layer::random(300, 512, 7).classify(Fold::Pre).unwrap();
        assert!(rows.iter().all(|row| row.class == Class::OrthogonalOutput));
    }

    /// Three vectors of 4 dimensions: few enough that every class occurs.
    fn vectors() -> impl Strategy<Value = [Vec<f32>; 3]> {
        let vector = || prop::collection::vec(-1.0f32..1.0, 4);
        (vector(), vector(), vector()).prop_map(|(a, b, c)| [a, b, c])
    }

    fn negated(v: &[f32]) -> Vec<f32> {
        v.iter().map(|x| -x).collect()
    }

    proptest! {
        #[test]
        fn strong_outputs_exclude_a_gate_on_the_wrong_side([gate, input, out] in vectors()) {
            // Drawn towards the output, which leaves most cases inside the premise.
            let input: Vec<f32> = input.iter().zip(&out).map(|(x, o)| x + o).collect();
            let gate: Vec<f32> = gate.iter().zip(&out).map(|(x, o)| x - o).collect();
            let Cosines { gate_in, gate_out, in_out } = one(&gate, &input, &out).cosines;
            prop_assume!(in_out.abs() > 0.5 && gate_out.abs() > 0.5);
            prop_assert!(gate_in * in_out.signum() * gate_out.signum() > -0.5);
        }

        #[test]
        fn flipping_input_and_output_changes_no_class([gate, input, out] in vectors()) {
            let row = one(&gate, &input, &out);
            let flipped = one(&gate, &negated(&input), &negated(&out));
            prop_assert_eq!(row.class, flipped.class);
            prop_assert_eq!(row.cosines.in_out, flipped.cosines.in_out);
            prop_assert!(row.cosines.gate_in == 0.0 || row.sign == -flipped.sign);
        }

        #[test]
        fn cosines_stay_within_one([gate, input, out] in vectors()) {
            let all = cosines(one(&gate, &input, &out));
            prop_assert!(all.iter().all(|c| c.abs() <= 1.0));
        }
    }
}
