//! The direct path: what an edit changes goes straight to the final norm and the head.
//!
//! A condition on the direct path runs nothing of its own: it stays in the stream of the unedited residual, whose layers it
//! reads, and keeps beside it what its edits changed so far, at the rows whose logits are read. After the last layer
//! the two are added, as a stream of its own. So the effect of an edit that others would have passed on, by attention or by
//! later MLPs, is left out (Stolfo et al., arXiv 2406.16254, who tell it from the total effect).

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};

use super::counts::Counted;
use super::error::EngineError;
use super::post::PostPass;
use super::prefixes::Prefixes;
use super::rows::sum;
use super::stream::Stream;
use crate::hooks::{Condition, Path};
use crate::model::{Activation, Layer, Operations};

/// What the conditions of a run on the direct path changed so far.
pub(super) struct DirectPaths {
    /// Rows whose logits are read: `[scored]`.
    select: Tensor,
    /// Of each, a token that it stands for, and how many there are whose logits are read.
    tokens: Vec<(usize, u64)>,
    /// By condition: `[scored, d_model]`.
    changes: BTreeMap<usize, Tensor>,
}

impl DirectPaths {
    /// Nothing is changed; `tokens` are those whose logits are read.
    pub fn new(
        prefixes: &Prefixes<'_>,
        tokens: &[usize],
        device: &Device,
    ) -> Result<Self, EngineError> {
        let mut place: HashMap<usize, usize> = HashMap::new();
        let (mut rows, mut of_row): (Vec<u32>, Vec<(usize, u64)>) = (Vec::new(), Vec::new());
        for &token in tokens {
            let row = prefixes.row(token);
            let at = *place.entry(row).or_insert(rows.len());
            if at == rows.len() {
                rows.push(row as u32);
                of_row.push((token, 0));
            }
            of_row[at].1 += 1;
        }
        Ok(Self {
            select: Tensor::new(rows, device)?,
            tokens: of_row,
            changes: BTreeMap::new(),
        })
    }

    /// What `sharing`, the conditions of an unedited stream, change in layer `l`, given its `gate` and `up` `[rows, d_mlp]`;
    /// each with its count.
    pub fn through_layer(
        &mut self,
        (l, layer, kind): (usize, &Layer, (Operations, Activation)),
        (conditions, sharing): (&[Condition], &[usize]),
        (gate, up): (&Tensor, &Tensor),
        prefixes: &Prefixes<'_>,
    ) -> Result<Vec<(usize, Counted)>, EngineError> {
        let edits = sharing.iter().filter_map(|condition| {
            let edit = conditions[*condition].at_layer_directly(l)?;
            Some((*condition, edit))
        });
        let edits: Vec<_> = edits.collect();
        if edits.is_empty() || self.tokens.is_empty() {
            return Ok(Vec::new());
        }
        let rows = |tensor: &Tensor| tensor.index_select(&self.select, 0);
        let pass = PostPass::new(kind, &rows(gate)?, &rows(up)?, 1 + edits.len())?;
        let token = |row: usize| self.tokens[row];
        let (unedited, _) = pass.post(None, prefixes.batch, &token)?; // [scored, d_mlp]
        let mut counts = Vec::with_capacity(edits.len());
        for (condition, edit) in edits {
            let (edited, count) = pass.post(Some(&edit), prefixes.batch, &token)?;
            let change = layer.mlp_change(&unedited, &edited)?; // [scored, d_model]
            let change = match self.changes.remove(&condition) {
                Some(before) => sum(&before, &change)?,
                None => change,
            };
            self.changes.insert(condition, change);
            counts.push((condition, count));
        }
        Ok(counts)
    }

    /// The streams as the final norm sees them: each condition on the direct path leaves the stream that it read, and has
    /// one of its own.
    pub fn apart(
        &mut self,
        streams: Vec<Stream>,
        conditions: &[Condition],
    ) -> Result<Vec<Stream>, EngineError> {
        let mut all = Vec::with_capacity(streams.len() + self.changes.len());
        for stream in streams {
            let (direct, total): (Vec<usize>, Vec<usize>) = stream
                .conditions
                .iter()
                .partition(|condition| conditions[**condition].path() != Path::Total);
            for condition in direct {
                let residual = match self.changes.remove(&condition) {
                    Some(change) => stream.residual.index_add(&self.select, &change, 0)?,
                    None => stream.residual.clone(),
                };
                let freezes_norm = conditions[condition].path() == Path::DirectFrozenNorm;
                all.push(Stream {
                    residual,
                    tail: None,
                    scaled_as: freezes_norm.then(|| stream.residual.clone()),
                    conditions: vec![condition],
                });
            }
            if !total.is_empty() {
                all.push(Stream {
                    conditions: total,
                    ..stream
                });
            }
        }
        Ok(all)
    }
}
