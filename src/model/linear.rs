//! The matrix product of every projection.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

/// The CPU product (gemm) sums in another order where the result has at most this many entries, or
/// a single row.
const SMALL_PRODUCT: usize = 16 * 16;

/// `x·weightᵀ`: `[rows, in]` and `[out, in]` to `[rows, out]`. A row gets the same bits whatever rows
/// are beside it: products small enough for other kernels are widened by rows of zeros.
pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, out) = (x.dim(0)?, weight.dim(0)?);
    let fewest = (SMALL_PRODUCT / out + 1).max(2);
    if rows >= fewest {
        return product(x, weight);
    }
    product(&x.pad_with_zeros(0, 0, fewest - rows)?, weight)?.narrow(0, 0, rows)
}

/// `x·weightᵀ`, or the same sums as `(weight·xᵀ)ᵀ`: before the former the CPU product packs weights that are laid out by
/// outputs, which takes longer than the product of a few rows (6 times at 8 rows, a fifth at 512, `in` 3072).
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if x.device().is_cpu() && weight.is_contiguous() && rows <= width / 4 {
        return weight.matmul(&x.t()?)?.t()?.contiguous();
    }
    x.matmul(&weight.t()?)
}

/// Columns that a thread takes from a matrix at a time: a cache line of each of its rows.
const COLUMNS: usize = 16;

/// The same `[out, in]`, with the weights of one input beside each other, as the CPU product reads them. As files have
/// them, by outputs, each product packs them first, and on one thread: 7 % of an ablation's time on two cores.
pub(super) fn by_inputs(weight: &Tensor) -> Result<Tensor> {
    if !weight.device().is_cpu() || weight.dtype() != DType::F32 {
        return Ok(weight.clone());
    }
    let (outputs, inputs) = weight.dims2()?;
    let by_outputs = weight.flatten_all()?.to_vec1::<f32>()?;
    let mut by_inputs = vec![0.0; by_outputs.len()];
    let blocks = by_inputs.par_chunks_mut(COLUMNS * outputs).enumerate();
    blocks.for_each(|(block, rows)| {
        let columns = block * COLUMNS..inputs.min((block + 1) * COLUMNS);
        for (output, weights) in by_outputs.chunks_exact(inputs).enumerate() {
            for (input, weight) in weights[columns.clone()].iter().enumerate() {
                rows[input * outputs + output] = *weight;
            }
        }
    });
    Tensor::from_vec(by_inputs, (inputs, outputs), &Device::Cpu)?.t()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(x: &Tensor) -> Vec<Vec<u32>> {
        let rows = x.to_vec2::<f32>().unwrap();
        let bits = |row: Vec<f32>| row.into_iter().map(f32::to_bits).collect();
        rows.into_iter().map(bits).collect()
    }

    #[test]
    fn a_row_has_the_same_bits_among_any_rows_and_in_any_block_of_outputs() {
        for (rows, width, out) in [(100, 64, 300), (70, 1100, 300), (300, 1030, 70)] {
            let random =
                |rows, width| Tensor::randn(0f32, 1.0, (rows, width), &Device::Cpu).unwrap();
            let (x, weight) = (random(rows, width), random(out, width));
            let whole = bits(&linear(&x, &weight).unwrap());
            let other = by_inputs(&weight).unwrap();
            assert_eq!(bits(&other), bits(&weight));
            for few in [1, 2, 15, 16, 17, 40, rows - 1] {
                let some = linear(&x.narrow(0, rows - few, few).unwrap(), &weight).unwrap();
                assert!(bits(&some) == whole[rows - few..], "{few} of {rows} rows");
                let some = linear(&x.narrow(0, rows - few, few).unwrap(), &other).unwrap();
                assert!(
                    bits(&some) == whole[rows - few..],
                    "{few} of {rows} rows, by inputs"
                );
            }
            for first in [out - 66, out / 3, out / 2].map(|first| first.min(out - 65)) {
                let block = weight.narrow(0, first, out - first).unwrap();
                let part = bits(&linear(&x, &block).unwrap());
                let same = part
                    .iter()
                    .zip(&whole)
                    .all(|(part, row)| *part == row[first..]);
                assert!(same, "outputs from {first} of {out}");
            }
        }
    }
}
