//! The strongest neurons of each token in one layer.

use rayon::prelude::*;

use super::input::RecordedRows;
use super::layer::LayerRows;
use super::rows::ActivationsRow;
use crate::io_class::NeuronRow;

/// The `count` neurons with the largest |post| of every recorded token: token by token, strongest first, of equal
/// ones the lower index. `classes` are those of the layer.
pub fn strongest(
    rows: &LayerRows<'_>,
    recorded: &RecordedRows,
    classes: &[NeuronRow],
    count: usize,
) -> Vec<ActivationsRow> {
    let tokens = recorded.rows.par_iter().enumerate();
    let of_token = tokens.flat_map_iter(|(index, token)| {
        let [gate, up, post] = rows.at(token.packed, 0..rows.width);
        let row = recorded.first_row + index as u64;
        let chosen = largest(post, count).into_iter();
        chosen.map(move |neuron| ActivationsRow {
            row,
            layer: rows.layer as u16,
            neuron: neuron as u32,
            gate: gate[neuron],
            up: up[neuron],
            post: post[neuron],
            class: classes[neuron].class,
        })
    });
    of_token.collect()
}

/// Values of a block.
const BLOCK: usize = 16;

/// The places of the `count` largest magnitudes, largest first; of equal ones the lower.
///
/// At least `count` values are as large as the `count`-th largest maximum of a block, so a smaller one cannot be
/// among them: few blocks are left to look into.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let maxima: Vec<f32> = values.chunks(BLOCK).map(max_abs).collect();
    let least = match count.checked_sub(1).filter(|last| *last < maxima.len()) {
        Some(last) => {
            let mut sorted = maxima.clone();
            *sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1
        }
        None => f32::NEG_INFINITY,
    };
    let mut chosen: Vec<(f32, usize)> = Vec::with_capacity(2 * count);
    let blocks = maxima.iter().zip(values.chunks(BLOCK)).enumerate();
    for (block, (_, values)) in blocks.filter(|(_, (max, _))| **max >= least) {
        let numbered = (block * BLOCK..).zip(values);
        let strong = numbered.map(|(place, value)| (value.abs(), place));
        chosen.extend(strong.filter(|(magnitude, _)| *magnitude >= least));
    }
    chosen.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    chosen.truncate(count);
    chosen.into_iter().map(|(_, place)| place).collect()
}

fn max_abs(values: &[f32]) -> f32 {
    // Magnitudes compare like their bits, which is what the processor can do side by side.
    let bits = values.iter().map(|value| value.to_bits() & !SIGN);
    f32::from_bits(bits.fold(0, |max, bits| if bits > max { bits } else { max }))
}

/// The sign of a float.
const SIGN: u32 = 0x8000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_magnitudes_in_order() {
        let values = [0.5, -2.0, 0.0, 2.0, 1.0, -0.0];
        assert_eq!(largest(&values, 3), [1, 3, 4]);
        assert_eq!(largest(&values, 9), [1, 3, 4, 0, 2, 5]);
        assert!(largest(&values, 0).is_empty());
        let many: Vec<f32> = (0..1000)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0)
            .collect();
        let mut sorted: Vec<usize> = (0..1000).collect();
        sorted.sort_by(|a, b| many[*b].abs().total_cmp(&many[*a].abs())); // stable
        for count in [1, 16, 62, 63, 64, 999, 1000, 2000] {
            assert_eq!(largest(&many, count), sorted[..count.min(1000)], "{count}");
        }
    }
}
