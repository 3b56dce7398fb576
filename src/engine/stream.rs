//! Streams, and where they fork.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::error::EngineError;
use super::prefixes::Prefixes;
use super::tail::Tail;
use crate::hooks::{Condition, LayerEdit};
use crate::model::Model;

/// A residual with the conditions that share it.
pub(super) struct Stream {
    /// `[rows, d_model]`: a row for each token, or for all that begin alike ([`Prefixes`]).
    pub residual: Tensor,
    /// The rows alone that its edits may have changed; `None`: all.
    pub tail: Option<Arc<Tail>>,
    /// The residual whose scale the final norm divides by, of the same rows; `None`: its own.
    pub scaled_as: Option<Tensor>,
    /// Indices of the conditions, ascending.
    pub conditions: Vec<usize>,
}

impl Stream {
    /// Some tokens as the head sees them: `[tokens, d_model]`. `clean` is the residual of the first stream.
    pub fn normed(
        &self,
        model: &Model,
        clean: &Tensor,
        tokens: &[usize],
        prefixes: &Prefixes<'_>,
    ) -> std::result::Result<Tensor, EngineError> {
        let rows = self.residual_of(clean, tokens, prefixes)?;
        let Some(other) = &self.scaled_as else {
            return Ok(model.final_norm(&rows)?);
        };
        let places: Vec<u32> = tokens
            .iter()
            .map(|token| prefixes.row(*token) as u32)
            .collect();
        let other = other.index_select(&Tensor::new(places, other.device())?, 0)?;
        Ok(model.final_norm_scaled_as(&rows, &other)?)
    }

    /// The residual rows of some tokens: `[tokens, d_model]`. `clean` is the residual of the first stream.
    fn residual_of(
        &self,
        clean: &Tensor,
        tokens: &[usize],
        prefixes: &Prefixes<'_>,
    ) -> Result<Tensor> {
        let place = |token: &usize| match &self.tail {
            Some(tail) => tail.of_token[*token],
            None => prefixes.row(*token) as u32,
        };
        let places: Vec<u32> = tokens.iter().map(place).collect();
        let own = &self.residual;
        let are_own = places.iter().all(|place| (*place as usize) < own.dims()[0]);
        let places = Tensor::new(places, own.device())?;
        if are_own {
            return own.index_select(&places, 0);
        }
        Tensor::cat(&[own, clean], 0)?.index_select(&places, 0)
    }
}

/// One continuation of a stream after a layer's `post`.
pub(super) struct Fork<'c> {
    /// What these conditions edit in this layer; `None`: nothing.
    pub edit: Option<LayerEdit<'c>>,
    /// The conditions that go on together, ascending.
    pub conditions: Vec<usize>,
}

/// The continuations of a stream at a layer: conditions that edit the same way stay together.
pub(super) fn fork<'c>(
    conditions: &'c [Condition],
    sharing: &[usize],
    layer: usize,
) -> Vec<Fork<'c>> {
    let mut forks: Vec<Fork<'c>> = Vec::new();
    for &condition in sharing {
        let edit = conditions[condition].at_layer(layer);
        match forks.iter_mut().find(|fork| fork.edit == edit) {
            Some(fork) => fork.conditions.push(condition),
            None => forks.push(Fork {
                edit,
                conditions: vec![condition],
            }),
        }
    }
    forks
}
