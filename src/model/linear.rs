//! The matrix product of every projection.

use candle_core::{Result, Tensor};

/// The CPU product (gemm) sums in another order where the result has at most this many entries, or
/// a single row.
const SMALL_PRODUCT: usize = 16 * 16;

/// `x·weightᵀ`: `[rows, in]` and `[out, in]` to `[rows, out]`. A row gets the same bits whatever rows
/// are beside it: products small enough for other kernels are widened by rows of zeros.
pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, out) = (x.dim(0)?, weight.dim(0)?);
    let fewest = (SMALL_PRODUCT / out + 1).max(2);
    let weight = weight.t()?;
    if rows >= fewest {
        return x.matmul(&weight);
    }
    x.pad_with_zeros(0, 0, fewest - rows)?
        .matmul(&weight)?
        .narrow(0, 0, rows)
}
