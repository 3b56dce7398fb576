//! The activation and the edit where the tensors are; nothing comes back but what a reader asks for.

use candle_core::{DType, Result, Tensor};

use super::super::counts::Counted;
use super::TokenOfRow;
use crate::hooks::{EditCount, EditedRows, LayerEdit};
use crate::model::Activation;
use crate::tokens::TokenBatch;

/// `gate`, `up` and the unedited `post` of one stream in one layer, `[rows, d_mlp]`, in f32 as the edit computes.
pub(in super::super) struct PostPass {
    gate: Tensor,
    up: Tensor,
    post: Tensor,
    /// What `post` is given as.
    dtype: DType,
}

impl PostPass {
    pub fn new(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Self> {
        let dtype = gate.dtype();
        let (gate, up) = (gate.to_dtype(DType::F32)?, up.to_dtype(DType::F32)?);
        let post = activation.gated_tensor(&gate, &up)?;
        Ok(Self {
            gate,
            up,
            post,
            dtype,
        })
    }

    /// As [`PostPass::post`](super::PostPass::post).
    pub fn post(
        &self,
        edit: Option<&LayerEdit<'_>>,
        batch: &TokenBatch,
        token: TokenOfRow<'_>,
    ) -> Result<(Tensor, Counted)> {
        let Some(edit) = edit else {
            let none = Counted::Here(EditCount::default());
            return Ok((self.post.to_dtype(self.dtype)?, none));
        };
        let tokens: Vec<(usize, u64)> = (0..self.post.dim(0)?).map(token).collect();
        let copies: Vec<u32> = tokens.iter().map(|(_, copies)| *copies as u32).collect();
        let copies = Tensor::from_vec(copies, (tokens.len(), 1), self.post.device())?;
        let rows = EditedRows {
            tokens: &tokens,
            copies: &copies,
        };
        let whole = [&self.gate, &self.up, &self.post];
        let edited = edit.over(batch).edit_rows(whole, &rows)?;
        Ok((
            edited.post.to_dtype(self.dtype)?,
            Counted::OnDevice(edited.count),
        ))
    }
}
