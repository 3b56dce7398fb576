//! The strongest neurons of each token in one layer.

use rayon::prelude::*;

use super::{LayerRows, Pass};

/// A neuron at a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StrongNeuron {
    /// The token's row.
    pub row: u64,
    /// Index in the layer.
    pub neuron: u32,
    /// Before the activation.
    pub gate: f32,
    /// The other factor.
    pub up: f32,
    /// act(gate)·up.
    pub post: f32,
}

/// The `count` neurons with the largest |post| of every recorded token: token by token, strongest first, of equal
/// ones the lower index.
pub fn strongest(rows: &LayerRows<'_>, pass: &Pass, count: usize) -> Vec<StrongNeuron> {
    let tokens = pass.rows.par_iter().enumerate();
    let of_token = tokens.flat_map_iter(|(index, token)| {
        let [gate, up, post] = rows.at(token.packed, 0..rows.width);
        let row = pass.first_row + index as u64;
        let chosen = largest(post, count).into_iter();
        chosen.map(move |neuron| StrongNeuron {
            row,
            neuron: neuron as u32,
            gate: gate[neuron],
            up: up[neuron],
            post: post[neuron],
        })
    });
    of_token.collect()
}

/// Values that are compared at once.
const LANES: usize = 16;

/// The places of the `count` largest magnitudes, largest first.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut chosen: Vec<(f32, usize)> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY; // what a magnitude must exceed
    for (block, values) in values.chunks(LANES).enumerate() {
        // Most blocks hold nothing of interest: one jump for each.
        let mut stronger = false;
        for value in values {
            stronger |= value.abs() > least;
        }
        if !stronger || count == 0 {
            continue;
        }
        for (k, value) in values.iter().enumerate() {
            let magnitude = value.abs();
            if magnitude > least {
                let before = chosen.partition_point(|(held, _)| *held >= magnitude);
                chosen.insert(before, (magnitude, block * LANES + k));
                chosen.truncate(count);
                if chosen.len() == count {
                    least = chosen[count - 1].0;
                }
            }
        }
    }
    chosen.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_magnitudes_in_order() {
        let values = [0.5, -2.0, 0.0, 2.0, 1.0, -0.0];
        assert_eq!(largest(&values, 3), [1, 3, 4]);
        assert_eq!(largest(&values, 9), [1, 3, 4, 0, 2, 5]);
        assert!(largest(&values, 0).is_empty());
    }
}
