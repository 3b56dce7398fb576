//! What becomes of `gate` and `up`: `post = act(gate)·up`, then the edit, by either kind of [`Operations`].

mod fused;
mod tensors;

use candle_core::Tensor;

use super::counts::Counted;
use super::error::EngineError;
use crate::hooks::LayerEdit;
use crate::model::{Activation, Operations};
use crate::tokens::TokenBatch;

/// For a row, a token that it stands for, and how many there are.
pub(super) type TokenOfRow<'a> = &'a (dyn Fn(usize) -> (usize, u64) + Sync);

/// `gate` and `up` of one stream in one layer, ready to give `post` under each edit.
pub(super) enum PostPass {
    Fused(fused::PostPass),
    Tensors(tensors::PostPass),
}

impl PostPass {
    /// `gate` and `up` `[rows, d_mlp]`; `continuations` is how often [`post`](Self::post) will be called.
    pub fn new(
        (operations, activation): (Operations, Activation),
        gate: &Tensor,
        up: &Tensor,
        continuations: usize,
    ) -> Result<Self, EngineError> {
        Ok(match operations {
            Operations::Fused => {
                Self::Fused(fused::PostPass::new(activation, gate, up, continuations)?)
            }
            Operations::Tensors => Self::Tensors(tensors::PostPass::new(activation, gate, up)?),
        })
    }

    /// `post` `[rows, d_mlp]` under an edit of `batch`, with what the edit changed, token by token.
    pub fn post(
        &self,
        edit: Option<&LayerEdit<'_>>,
        batch: &TokenBatch,
        token: TokenOfRow<'_>,
    ) -> Result<(Tensor, Counted), EngineError> {
        match self {
            Self::Fused(pass) => {
                let (post, count) = pass.post(edit, batch, token)?;
                Ok((post, Counted::Here(count)))
            }
            Self::Tensors(pass) => Ok(pass.post(edit, batch, token)?),
        }
    }
}
