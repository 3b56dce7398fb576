//! One run on its way through the layers.

use candle_core::Tensor;
use candle_nn::kv_cache::KvCache;

use super::EngineError;
use super::finite::{Computed, check_residual};
use super::post::PostPass;
use super::prefixes::Prefixes;
use super::rows::{Rows, sum};
use super::stream::{Stream, fork};
use super::tail::Tails;
use crate::hooks::{Condition, EditCount, HookPoint, Observer, Site, SiteRows};
use crate::model::{Activation, AttentionTables, KeysValues, Layer, Model, TokenRows};

/// The state of one run.
pub(super) struct Pass<'a, 'o> {
    pub prefixes: Prefixes<'a>,
    pub tails: Tails,
    /// Keys and values of the first stream in the layer that is worked on.
    pub first: Option<KeysValues>,
    pub conditions: &'a [Condition],
    pub observers: &'a mut [&'o mut dyn Observer],
    pub tables: AttentionTables,
    pub activation: Activation,
    pub counts: Vec<EditCount>,
}

impl Pass<'_, '_> {
    /// One layer for one stream: what is shared once, then one continuation per different edit.
    pub fn through_layer(
        &mut self,
        l: usize,
        layer: &Layer,
        stream: Stream,
        cache: Option<&mut KvCache>,
    ) -> Result<Vec<Stream>, EngineError> {
        let sharing = &stream.conditions;
        let at = |site| HookPoint::in_layer(l, site);

        let resid_pre = &stream.residual; // [rows, d_model]
        self.fire(at(Site::ResidPre), sharing, resid_pre)?;
        let tail = stream.tail.as_deref();
        let rows = TokenRows {
            groups: self.prefixes.batch.groups(),
            shared: tail.map_or(self.prefixes.tensors(), |tail| Some(&tail.shared)),
            others: tail.and(self.first.as_ref()),
        };
        let (attn_out, keys_values) = layer.attn_out(resid_pre, rows, &self.tables, cache)?; // [rows, d_model]
        if sharing[0] == 0 {
            self.first = self.tails.are_used.then_some(keys_values);
        }
        self.fire(at(Site::AttnOut), sharing, &attn_out)?;
        let resid_mid = sum(resid_pre, &attn_out)?; // [rows, d_model]
        self.fire(at(Site::ResidMid), sharing, &resid_mid)?;

        let (gate, up) = layer.gate_and_up(&resid_mid)?; // [rows, d_mlp] both
        self.fire(at(Site::Pre), sharing, &gate)?;
        self.fire(at(Site::PreLinear), sharing, &up)?;

        let forks = fork(self.conditions, sharing, l);
        let post_pass = PostPass::new(self.activation, &gate, &up, forks.len())?;
        let mut streams = Vec::with_capacity(forks.len());
        for fork in forks {
            let prefixes = &self.prefixes;
            let token = |row| prefixes.token(tail.map_or(row, |tail| tail.rows[row] as usize));
            let (post, count) = post_pass.post(fork.edit.as_ref(), prefixes.batch, &token)?; // [rows, d_mlp]
            for &condition in &fork.conditions {
                self.counts[condition] += count;
            }
            self.fire(at(Site::Post), &fork.conditions, &post)?;
            // From a stream's first edit on, the rows that it may change are enough.
            let begun = match (&fork.edit, tail) {
                (Some(edit), None) => {
                    self.tails
                        .of(edit.positions(), &self.prefixes, post.device())?
                }
                _ => None,
            };
            let (post, from) = match &begun {
                Some(tail) => (
                    post.index_select(&tail.select, 0)?,
                    resid_mid.index_select(&tail.select, 0)?,
                ),
                None => (post, resid_mid.clone()),
            };
            let mlp_out = layer.mlp_out(&post)?; // [rows, d_model]
            self.fire(at(Site::MlpOut), &fork.conditions, &mlp_out)?;
            let residual = sum(&from, &mlp_out)?; // [rows, d_model]
            let computed = Computed {
                resid_mid: &resid_mid,
                gate: &gate,
                up: &up,
                post: &post,
                residual: &residual,
            };
            check_residual(l, &self.conditions[fork.conditions[0]], &computed)?;
            self.fire(at(Site::ResidPost), &fork.conditions, &residual)?;
            streams.push(Stream {
                residual,
                tail: begun.or_else(|| stream.tail.clone()),
                conditions: fork.conditions,
            });
        }
        Ok(streams)
    }

    pub fn final_scale(&mut self, model: &Model, stream: &Stream) -> Result<(), EngineError> {
        let point = HookPoint::FINAL_SCALE;
        if self.observers.iter().any(|observer| observer.wants(point)) {
            let scale = model.final_scale(&stream.residual)?; // [rows, 1]
            self.fire(point, &stream.conditions, &scale)?;
        }
        Ok(())
    }

    /// Shows a tensor, a row for each token, to the observers that want it; costs nothing where none does.
    fn fire(
        &mut self,
        point: HookPoint,
        conditions: &[usize],
        tensor: &Tensor,
    ) -> Result<(), EngineError> {
        if !self.observers.iter().any(|observer| observer.wants(point)) {
            return Ok(());
        }
        let width = tensor.dim(1)?;
        Rows::of(&self.prefixes.of_tokens(tensor)?)?
            .read(|rows| {
                let seen = SiteRows {
                    point,
                    conditions,
                    rows,
                    width,
                };
                let mut wanting = self
                    .observers
                    .iter_mut()
                    .filter(|observer| observer.wants(point));
                wanting.try_for_each(|observer| observer.observe(&seen))
            })?
            .map_err(EngineError::Reader)
    }
}
