//! The fused pass over the rows of an MLP: `post = act(gate)·up`, then the edit, in parallel over
//! rows while a row is in the cache.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::super::error::EngineError;
use super::super::rows::Rows;
use super::TokenOfRow;
use crate::hooks::{BatchEdit, EditCount, LayerEdit};
use crate::model::Activation;
use crate::tokens::TokenBatch;

/// An edit of a batch, and what its rows stand for.
type RowEdit<'a> = (BatchEdit<'a>, TokenOfRow<'a>);

/// `gate` and `up` of one stream in one layer, ready to give `post` under each edit.
pub(in super::super) struct PostPass {
    activation: Activation,
    gate: Rows,
    up: Rows,
    width: usize,
    dtype: DType,
    device: Device,
    /// The unedited `post`, kept where several continuations start from it.
    base: Option<Vec<f32>>,
}

impl PostPass {
    /// As [`PostPass::new`](super::PostPass::new).
    pub fn new(
        activation: Activation,
        gate: &Tensor,
        up: &Tensor,
        continuations: usize,
    ) -> Result<Self, EngineError> {
        let mut pass = Self {
            activation,
            gate: Rows::of(gate)?,
            up: Rows::of(up)?,
            width: gate.dim(1)?,
            dtype: gate.dtype(),
            device: gate.device().clone(),
            base: None,
        };
        if continuations > 1 {
            pass.base = Some(pass.fill(None)?.0);
        }
        Ok(pass)
    }

    /// As [`PostPass::post`](super::PostPass::post).
    pub fn post(
        &self,
        edit: Option<&LayerEdit<'_>>,
        batch: &TokenBatch,
        token: TokenOfRow<'_>,
    ) -> Result<(Tensor, EditCount), EngineError> {
        let edit = edit.map(|edit| (edit.over(batch), token));
        let (rows, count) = self.fill(edit.as_ref())?;
        let shape = (rows.len() / self.width, self.width);
        let post = Tensor::from_vec(rows, shape, &Device::Cpu)?;
        Ok((post.to_dtype(self.dtype)?.to_device(&self.device)?, count))
    }

    fn fill(&self, edit: Option<&RowEdit<'_>>) -> Result<(Vec<f32>, EditCount), EngineError> {
        let filled = self
            .gate
            .read(|gate| self.up.read(|up| self.fill_rows(gate, up, edit)))??;
        Ok(filled)
    }

    fn fill_rows(
        &self,
        gate: &[f32],
        up: &[f32],
        edit: Option<&RowEdit<'_>>,
    ) -> (Vec<f32>, EditCount) {
        let width = self.width;
        let mut post = vec![0.0; gate.len()];
        let count = post
            .par_chunks_exact_mut(width)
            .enumerate()
            .map(|(row, post)| {
                let at = row * width..(row + 1) * width;
                let (gate, up) = (&gate[at.clone()], &up[at.clone()]);
                match &self.base {
                    Some(base) => post.copy_from_slice(&base[at]),
                    None => self.activation.gated(gate, up, post),
                }
                edit.map_or(EditCount::default(), |(edit, token)| {
                    let (token, copies) = token(row);
                    edit.edit_row(token, gate, up, post) * copies
                })
            })
            .reduce(EditCount::default, |mut sum, count| {
                sum += count;
                sum
            });
        (post, count)
    }
}
