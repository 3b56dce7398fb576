//! One run on its way through the layers.

use candle_core::Tensor;
use candle_nn::kv_cache::KvCache;

use super::counts::Counts;
use super::direct::DirectPaths;
use super::embed::embed;
use super::error::EngineError;
use super::finite::{Computed, Looks};
use super::post::PostPass;
use super::prefixes::Prefixes;
use super::progress::Progress;
use super::rows::sum;
use super::selected::select;
use super::stream::{Fork, Stream, fork};
use super::tail::Tails;
use crate::hooks::{Condition, EditCount, HookPoint, Observer, Site, SiteRows};
use crate::model::{Activation, AttentionTables, KeysValues, Layer, Model, Operations, TokenRows};
use crate::tokens::TokenBatch;

/// What earlier tokens of a text left behind.
pub(super) struct Past {
    /// One per layer.
    pub caches: Vec<KvCache>,
    /// How many tokens there were.
    pub tokens: usize,
}

impl Past {
    /// How many tokens came before.
    pub fn tokens_of(past: Option<&Past>) -> usize {
        past.map_or(0, |past| past.tokens)
    }
}

/// The state of one run.
pub(super) struct Walk<'a, 'o> {
    pub prefixes: Prefixes<'a>,
    tails: Tails,
    direct: DirectPaths,
    /// Keys and values of the first stream in the layer that is worked on.
    first: Option<KeysValues>,
    conditions: &'a [Condition],
    observers: &'a mut [&'o mut dyn Observer],
    tables: AttentionTables,
    /// How `post` is made.
    kind: (Operations, Activation),
    counts: Counts,
    looks: Looks,
    /// Where the batch continues a text.
    past: Option<&'a mut Past>,
}

/// A stream in one layer, up to where its conditions may differ.
struct Shared<'s> {
    l: usize,
    layer: &'s Layer,
    stream: &'s Stream,
    resid_mid: Tensor, // [rows, d_model]
    gate: Tensor,      // [rows, d_mlp]
    up: Tensor,        // [rows, d_mlp]
}

impl<'a, 'o> Walk<'a, 'o> {
    /// `scored` are the batch's rows whose logits will be read.
    pub fn new(
        model: &Model,
        batch: &'a TokenBatch,
        scored: &[usize],
        conditions: &'a [Condition],
        observers: &'a mut [&'o mut dyn Observer],
        looks: Looks,
        past: Option<&'a mut Past>,
    ) -> Result<Self, EngineError> {
        let (config, device) = (model.config(), model.device());
        let before = Past::tokens_of(past.as_deref());
        // A single site is shown for all tokens, and the rows of a kept text are in its caches.
        let is_plain = observers.is_empty() && past.is_none();
        let prefixes = match past {
            // What came before is of one sequence.
            Some(_) => Prefixes::apart(batch),
            None => Prefixes::new(batch, conditions, device)?,
        };
        Ok(Self {
            direct: DirectPaths::new(&prefixes, scored, device)?,
            prefixes,
            tails: Tails::new(is_plain && conditions.first() == Some(&Condition::Clean)),
            first: None,
            conditions,
            observers,
            tables: model.attention_tables(batch.groups(), before)?,
            kind: (model.operations(), config.activation),
            counts: Counts::new(conditions.len()),
            looks,
            past,
        })
    }

    /// All conditions from the embedding to the final norm, in one stream at first.
    pub fn through_layers(
        &mut self,
        model: &Model,
        progress: &dyn Progress,
    ) -> Result<Vec<Stream>, EngineError> {
        let mut streams = vec![Stream {
            residual: embed(model, &self.prefixes)?, // [rows, d_model]
            tail: None,
            scaled_as: None,
            conditions: (0..self.conditions.len()).collect(),
        }];
        for (l, layer) in model.layers()?.enumerate() {
            let layer = layer?;
            let mut after = Vec::with_capacity(streams.len());
            for stream in streams {
                let forks = self.through_layer(l, &layer, stream)?;
                progress.advance(1 + forks.len() as u64);
                if progress.stop_requested() {
                    return Err(EngineError::Stopped);
                }
                after.extend(forks);
            }
            streams = after;
        }
        self.direct.apart(streams, self.conditions)
    }

    /// One layer for one stream: what is shared once, then one continuation per different edit.
    fn through_layer(
        &mut self,
        l: usize,
        layer: &Layer,
        stream: Stream,
    ) -> Result<Vec<Stream>, EngineError> {
        let (sharing, at) = (&stream.conditions, |site| HookPoint::in_layer(l, site));
        let resid_mid = self.attend(l, layer, &stream)?;
        let (gate, up) = layer.gate_and_up(&resid_mid)?; // [rows, d_mlp] both
        self.fire(at(Site::Pre), sharing, &gate)?;
        self.fire(at(Site::PreLinear), sharing, &up)?;
        let direct = self.direct.through_layer(
            (l, layer, self.kind),
            (self.conditions, sharing),
            (&gate, &up),
            &self.prefixes,
        )?;
        for (condition, count) in direct {
            self.counts.add(condition, &count);
        }
        let forks = fork(self.conditions, sharing, l);
        let post_pass = PostPass::new(self.kind, &gate, &up, forks.len())?;
        let shared = Shared {
            l,
            layer,
            stream: &stream,
            resid_mid,
            gate,
            up,
        };
        let streams = forks
            .into_iter()
            .map(|fork| self.go_on(&shared, &post_pass, fork));
        streams.collect()
    }

    /// The residual after the attention of a layer: `[rows, d_model]`.
    fn attend(&mut self, l: usize, layer: &Layer, stream: &Stream) -> Result<Tensor, EngineError> {
        let (sharing, at) = (&stream.conditions, |site| HookPoint::in_layer(l, site));
        let resid_pre = &stream.residual; // [rows, d_model]
        self.fire(at(Site::ResidPre), sharing, resid_pre)?;
        let tail = stream.tail.as_deref();
        let rows = TokenRows {
            groups: self.prefixes.batch.groups(),
            shared: tail.map_or(self.prefixes.tensors(), |tail| Some(&tail.shared)),
            others: tail.and(self.first.as_ref()),
        };
        let cache = self.past.as_mut().map(|past| &mut past.caches[l]);
        let (attn_out, keys_values) = layer.attn_out(resid_pre, rows, &self.tables, cache)?; // [rows, d_model]
        if sharing[0] == 0 {
            self.first = self.tails.are_used.then_some(keys_values);
        }
        self.fire(at(Site::AttnOut), sharing, &attn_out)?;
        let resid_mid = sum(resid_pre, &attn_out)?; // [rows, d_model]
        self.fire(at(Site::ResidMid), sharing, &resid_mid)?;
        Ok(resid_mid)
    }

    /// The conditions of one fork from the gated activation to the end of the layer.
    fn go_on(
        &mut self,
        shared: &Shared<'_>,
        post_pass: &PostPass,
        fork: Fork<'_>,
    ) -> Result<Stream, EngineError> {
        let Shared { l, resid_mid, .. } = shared;
        let (conditions, at) = (&fork.conditions, |site| HookPoint::in_layer(*l, site));
        let tail = shared.stream.tail.as_deref();
        let prefixes = &self.prefixes;
        let token = |row| prefixes.token(tail.map_or(row, |tail| tail.rows[row] as usize));
        let (all, count) = post_pass.post(fork.edit.as_ref(), prefixes.batch, &token)?; // [rows, d_mlp]
        for &condition in conditions {
            self.counts.add(condition, &count);
        }
        self.fire(at(Site::Post), conditions, &all)?;
        // From a stream's first edit on, the rows that it may change are enough.
        let edit = fork.edit.filter(|_| tail.is_none());
        let (tails, prefixes) = (&mut self.tails, &self.prefixes);
        let begun = edit.map(|edit| tails.of(edit.positions(), prefixes, all.device()));
        let begun = begun.transpose()?.flatten();
        let (post, from) = match &begun {
            Some(tail) => (
                all.index_select(&tail.select, 0)?,
                resid_mid.index_select(&tail.select, 0)?,
            ),
            None => (all, resid_mid.clone()),
        };
        let mlp_out = shared.layer.mlp_out(&post)?; // [rows, d_model]
        self.fire(at(Site::MlpOut), conditions, &mlp_out)?;
        let residual = sum(&from, &mlp_out)?; // [rows, d_model]
        let computed = Computed {
            resid_mid,
            gate: &shared.gate,
            up: &shared.up,
            post: &post,
            residual: &residual,
        };
        self.looks
            .look(*l, &self.conditions[conditions[0]], &computed)?;
        self.fire(at(Site::ResidPost), conditions, &residual)?;
        Ok(Stream {
            residual,
            tail: begun.or_else(|| shared.stream.tail.clone()),
            scaled_as: None,
            conditions: fork.conditions,
        })
    }

    /// Whether all that was computed is finite, as far as nobody looked yet.
    pub fn is_finite(&self) -> Result<bool, EngineError> {
        Ok(self.looks.found_finite()?)
    }

    /// What each condition's edit changed; a text that goes on has the batch's tokens behind it.
    pub fn finish(self) -> Result<Vec<EditCount>, EngineError> {
        if let Some(past) = self.past {
            past.tokens += self.prefixes.batch.tokens();
        }
        Ok(self.counts.finish()?)
    }

    pub fn final_scale(&mut self, model: &Model, stream: &Stream) -> Result<(), EngineError> {
        let point = HookPoint::FINAL_SCALE;
        if self.observers.iter().any(|observer| observer.wants(point)) {
            let scale = model.final_scale(stream.scaled_as.as_ref().unwrap_or(&stream.residual))?; // [rows, 1]
            self.fire(point, &stream.conditions, &scale)?;
        }
        Ok(())
    }

    /// Shows what is selected of a tensor, a row for each token, to the observers that want it; costs nothing where none does.
    fn fire(
        &mut self,
        point: HookPoint,
        conditions: &[usize],
        tensor: &Tensor,
    ) -> Result<(), EngineError> {
        if !self.observers.iter().any(|observer| observer.wants(point)) {
            return Ok(());
        }
        let (prefixes, operations) = (&self.prefixes, self.kind.0);
        let mut whole = None;
        let mut part;
        for observer in self.observers.iter_mut() {
            if !observer.wants(point) {
                continue;
            }
            let selection = observer.selects(point);
            let (rows, width) = match &whole {
                Some(shown) if selection.is_all() => shown,
                None if selection.is_all() => {
                    whole.insert(select(operations, (point, tensor), prefixes, selection)?)
                }
                _ => {
                    part = select(operations, (point, tensor), prefixes, selection)?;
                    &part
                }
            };
            rows.read(|rows| {
                observer.observe(&SiteRows {
                    point,
                    conditions,
                    rows,
                    width: *width,
                })
            })?
            .map_err(EngineError::Reader)?;
        }
        Ok(())
    }
}
