//! Causal self-attention over groups of equally long sequences: no padding, no key-value cache.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::config::{AttentionSpec, Config};
use super::layer::Layer;
use super::linear::linear;
use crate::tokens::Group;

/// What attention needs besides weights: rotations and masks for the lengths of one batch.
pub struct AttentionTables {
    /// Cosines and sines by the bits of the rope base.
    rotations: HashMap<u64, (Tensor, Tensor)>,
    /// Additive masks `[len, len]` by length and window.
    masks: HashMap<(usize, Option<usize>), Tensor>,
}

impl AttentionTables {
    /// Tables for every rotation, window and group length that will occur.
    pub fn new(config: &Config, groups: &[Group], dtype: DType, device: &Device) -> Result<Self> {
        let longest = groups.iter().map(|group| group.len).max().unwrap_or(0);
        let mut tables = Self {
            rotations: HashMap::new(),
            masks: HashMap::new(),
        };
        for spec in &config.attention {
            if let Entry::Vacant(slot) = tables.rotations.entry(spec.rope.theta.to_bits()) {
                slot.insert(spec.rope.tables(config.head_dim, longest, dtype, device)?);
            }
            for group in groups {
                if let Entry::Vacant(slot) = tables.masks.entry((group.len, spec.window)) {
                    slot.insert(causal_mask(group.len, spec.window, device)?.to_dtype(dtype)?);
                }
            }
        }
        Ok(tables)
    }

    fn rotation(&self, spec: &AttentionSpec) -> Result<&(Tensor, Tensor)> {
        let pair = self.rotations.get(&spec.rope.theta.to_bits());
        pair.ok_or_else(|| candle_core::Error::msg("no rotation was prepared for this layer"))
    }

    fn mask(&self, spec: &AttentionSpec, len: usize) -> Result<&Tensor> {
        let mask = self.masks.get(&(len, spec.window));
        mask.ok_or_else(|| candle_core::Error::msg("no mask was prepared for this length"))
    }
}

/// 0 where query i may see key j: `j <= i`, and in a window of w keys `i - j < w`; else -inf.
fn causal_mask(len: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let sees = |i: usize, j: usize| j <= i && window.is_none_or(|w| i - j < w);
    let mask: Vec<f32> = (0..len * len)
        .map(|at| {
            if sees(at / len, at % len) {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    Tensor::from_vec(mask, (len, len), device)
}

impl Layer {
    /// Attention's output before `o_proj`: `[tokens, n_heads·head_dim]` from normed rows
    /// `[tokens, d_model]`, where `groups` say which rows are one sequence.
    pub(super) fn heads(
        &self,
        normed: &Tensor,
        groups: &[Group],
        tables: &AttentionTables,
    ) -> Result<Tensor> {
        let tokens = normed.dim(0)?;
        let (n_heads, n_kv, width) = (self.n_heads, self.n_kv_heads, self.head_dim);
        let q = linear(normed, &self.q_proj)?; // [tokens, n_heads·head_dim]
        let k = linear(normed, &self.k_proj)?; // [tokens, n_kv·head_dim]
        let v = linear(normed, &self.v_proj)?; // [tokens, n_kv·head_dim]
        let q = self.norm_heads(q.reshape((tokens, n_heads, width))?, self.q_norm.as_ref())?;
        let k = self.norm_heads(k.reshape((tokens, n_kv, width))?, self.k_norm.as_ref())?;
        let v = v.reshape((tokens, n_kv, width))?;

        // Many small products: the groups share the cores better than each product would.
        let outputs = groups
            .par_iter()
            .map(|group| self.attend_group(&q, &k, &v, group, tables))
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&outputs, 0) // [tokens, n_heads·head_dim]
    }

    fn norm_heads(&self, heads: Tensor, gain: Option<&Tensor>) -> Result<Tensor> {
        match gain {
            Some(gain) => candle_nn::ops::rms_norm(&heads, gain, self.norm_eps),
            None => Ok(heads),
        }
    }

    /// q `[tokens, n_heads, head_dim]`, k and v `[tokens, n_kv, head_dim]` -> `[rows of the group, n_heads·head_dim]`.
    fn attend_group(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        group: &Group,
        tables: &AttentionTables,
    ) -> Result<Tensor> {
        let (n, len, width) = (group.sequences, group.len, self.head_dim);
        let (n_heads, n_kv) = (self.n_heads, self.n_kv_heads);
        let shared = n_heads / n_kv; // query heads per key head
        let (cos, sin) = tables.rotation(&self.attention)?;
        let of_group = |x: &Tensor, heads: usize| {
            x.narrow(0, group.first_row, n * len)?
                .reshape((n, len, heads, width))?
                .transpose(1, 2)?
                .contiguous() // [n, heads, len, head_dim]
        };
        let q = candle_nn::rotary_emb::rope(&of_group(q, n_heads)?, cos, sin)?;
        let k = candle_nn::rotary_emb::rope(&of_group(k, n_kv)?, cos, sin)?;
        let v = of_group(v, n_kv)?.reshape((n * n_kv, len, width))?;

        let q = (q * self.attention_scale)?.reshape((n * n_kv, shared * len, width))?;
        let k = k.reshape((n * n_kv, len, width))?;
        let scores = q.matmul(&k.t()?)?; // [n·n_kv, shared·len, len]
        let scores = scores.reshape((n * n_heads, len, len))?;
        let scores = scores.broadcast_add(tables.mask(&self.attention, len)?)?;
        let pattern = candle_nn::ops::softmax_last_dim(&scores)?;
        let pattern = pattern.reshape((n * n_kv, shared * len, len))?;
        let z = pattern.matmul(&v)?; // [n·n_kv, shared·len, head_dim]
        z.reshape((n, n_heads, len, width))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((n * len, n_heads * width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_w_sees_exactly_w_keys() {
        let mask = causal_mask(5, Some(2), &Device::Cpu).unwrap();
        let seen: Vec<usize> = mask
            .to_vec2::<f32>()
            .unwrap()
            .iter()
            .map(|row| row.iter().filter(|v| **v == 0.0).count())
            .collect();
        assert_eq!(seen, [1, 2, 2, 2, 2]);
    }
}
