//! Causal self-attention over groups of equally long sequences, without padding; or over one sequence
//! whose earlier keys and values are kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use rayon::prelude::*;

use super::config::{AttentionSpec, Config};
use super::error::ModelError;
use super::gradient::pull_back;
use super::layer_reader::LayerReader;
use super::linear::linear;
use super::norm::Norm;
use super::rope::RopeSpec;
use super::softcap::softcap;
use super::tensors::LayerTensor;
use crate::tokens::Group;

/// How the tokens of a batch lie in the rows that are computed.
#[derive(Clone, Copy)]
pub struct TokenRows<'a> {
    /// Which tokens are one sequence.
    pub groups: &'a [Group],
    /// Where the rows are not those of the tokens, one by one.
    pub shared: Option<&'a SharedRows>,
    /// Keys and values of other rows, which come after those that are computed.
    pub others: Option<&'a KeysValues>,
}

/// Rows that stand for several tokens, or for some of them: where a batch's prompts begin alike, or are what another run
/// has computed.
pub struct SharedRows {
    /// The row of each token's query: `[tokens]`, u32.
    pub queries: Tensor,
    /// The row of each token's key and value, others among them: `[tokens]`, u32.
    pub of_token: Tensor,
    /// A token of each row: `[rows]`, u32.
    pub first: Tensor,
}

/// Keys and values as projected, both `[rows, n_kv_heads, head_dim]`.
pub struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

impl<'a> TokenRows<'a> {
    /// Each token in a row of its own.
    pub fn apart(groups: &'a [Group]) -> Self {
        Self {
            groups,
            shared: None,
            others: None,
        }
    }
}

/// Values of masks that are kept from batch to batch, about: beyond it all are made again.
const KEPT_MASKS: usize = 1 << 20;

/// What attention needs besides weights: rotations and masks for the lengths of some batches.
#[derive(Clone, Default)]
pub struct AttentionTables {
    /// Cosines and sines of each distinct rotation; a model has one or two.
    rotations: Vec<(RopeSpec, (Tensor, Tensor))>,
    /// Additive masks `[len, keys]` by length and window.
    masks: HashMap<(usize, Option<usize>), Tensor>,
}

impl AttentionTables {
    /// Tables for every rotation, window and group length that will occur. `past` tokens came before
    /// the first row of each group: 0 but where keys and values are kept.
    pub fn new(
        config: &Config,
        groups: &[Group],
        past: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut tables = Self::default();
        tables.extend(config, groups, past, (dtype, device))?;
        Ok(tables)
    }

    /// Adds those for every rotation, window and group length that will occur. All must have the same `past`.
    pub(super) fn extend(
        &mut self,
        config: &Config,
        groups: &[Group],
        past: usize,
        (dtype, device): (DType, &Device),
    ) -> Result<()> {
        if self.masks.values().map(Tensor::elem_count).sum::<usize>() > KEPT_MASKS {
            self.masks.clear();
        }
        let longest = groups.iter().map(|group| group.len).max().unwrap_or(0);
        for spec in &config.attention {
            let known = self
                .rotations
                .iter()
                .position(|(rope, _)| *rope == spec.rope);
            let is_long = |(cos, _): &(Tensor, Tensor)| cos.dims()[0] >= longest;
            if !known.is_some_and(|known| is_long(&self.rotations[known].1)) {
                let rotation = spec.rope.tables(past..past + longest, dtype, device)?;
                self.rotations.retain(|(rope, _)| *rope != spec.rope);
                self.rotations.push((spec.rope.clone(), rotation));
            }
            for group in groups {
                if let Entry::Vacant(slot) = self.masks.entry((group.len, spec.window)) {
                    let mask = causal_mask(group.len, past, spec.window, device)?;
                    slot.insert(mask.to_dtype(dtype)?);
                }
            }
        }
        Ok(())
    }

    /// Cosines and sines, each at least as long as the longest group.
    fn rotation(&self, spec: &AttentionSpec) -> Result<&(Tensor, Tensor)> {
        let known = self.rotations.iter().find(|(rope, _)| *rope == spec.rope);
        known
            .map(|(_, tables)| tables)
            .ok_or_else(|| candle_core::Error::msg("no rotation was prepared for this layer"))
    }

    fn mask(&self, spec: &AttentionSpec, len: usize) -> Result<&Tensor> {
        let mask = self.masks.get(&(len, spec.window));
        mask.ok_or_else(|| candle_core::Error::msg("no mask was prepared for this length"))
    }
}

/// 0 where a query at position i may see key j: `j <= i`, and in a window of w keys `i - j < w`; else
/// -inf. `[len, past + len]`.
fn causal_mask(len: usize, past: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let keys = past + len;
    let sees = |i: usize, j: usize| j <= i && window.is_none_or(|w| i - j < w);
    let mask: Vec<f32> = (0..len * keys)
        .map(|at| {
            if sees(past + at / keys, at % keys) {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    Tensor::from_vec(mask, (len, keys), device)
}

/// The weights of one layer's attention.
pub(super) struct Attention {
    q: Projection,
    k: Projection,
    v: Projection,
    o_proj: Tensor,
    spec: AttentionSpec,
    scale: f64,
    softcap: Option<f64>,
    head_dim: usize,
}

/// From rows of the residual to heads.
struct Projection {
    weight: Tensor, // [heads·head_dim, d_model]
    bias: Option<Tensor>,
    /// Over each head, or over all heads together, as wide as its gain.
    norm: Option<Norm>,
    clip: Option<f64>,
    heads: usize,
}

impl Projection {
    /// `[tokens, d_model]` to `[tokens, heads, head_dim]`.
    fn heads(&self, x: &Tensor) -> Result<Tensor> {
        self.of_product(linear(x, &self.weight)?)
    }

    /// What becomes of the product with the weights: `[tokens, heads·head_dim]` to `[tokens, heads, head_dim]`.
    fn of_product(&self, mut x: Tensor) -> Result<Tensor> {
        let tokens = x.dim(0)?;
        if let Some(bias) = &self.bias {
            x = x.broadcast_add(bias)?;
        }
        if let Some(clip) = self.clip {
            x = x.clamp(-clip, clip)?;
        }
        if let Some(norm) = &self.norm {
            x = norm.apply(&x.reshape((tokens, (), norm.width()?))?)?;
        }
        x.reshape((tokens, self.heads, ()))
    }
}

impl Attention {
    pub fn load(reader: &LayerReader) -> std::result::Result<Self, ModelError> {
        use LayerTensor::*;
        let c = reader.config();
        let projection = |weight, bias, heads| -> std::result::Result<Projection, ModelError> {
            Ok(Projection {
                weight: reader.read(weight)?,
                bias: reader.read_if_there(bias)?,
                norm: None,
                clip: c.clip_qkv,
                heads,
            })
        };
        Ok(Self {
            q: Projection {
                norm: reader.norm(QNorm)?,
                ..projection(QProj, QBias, c.n_heads)?
            },
            k: Projection {
                norm: reader.norm(KNorm)?,
                ..projection(KProj, KBias, c.n_kv_heads)?
            },
            v: projection(VProj, VBias, c.n_kv_heads)?,
            o_proj: reader.read(OProj)?,
            spec: c.attention[reader.layer].clone(),
            scale: c.attention_scale,
            softcap: c.attention_softcap,
            head_dim: c.head_dim,
        })
    }

    /// The weights of its products.
    pub fn matrices(&mut self) -> [&mut Tensor; 4] {
        [
            &mut self.q.weight,
            &mut self.k.weight,
            &mut self.v.weight,
            &mut self.o_proj,
        ]
    }

    /// `[rows, d_model]` to the same shape, with the keys and values of these rows. With a cache there must be one group,
    /// whose keys and values follow those that the cache holds.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: TokenRows<'_>,
        tables: &AttentionTables,
        cache: Option<&mut KvCache>,
    ) -> Result<(Tensor, KeysValues)> {
        let of_tokens = |x: &Tensor, place: fn(&SharedRows) -> &Tensor| match rows.shared {
            Some(shared) => x.index_select(place(shared), 0),
            None => Ok(x.clone()),
        };
        let with_others = |x: &Tensor, of: fn(&KeysValues) -> &Tensor| match rows.others {
            Some(others) => Tensor::cat(&[x, of(others)], 0),
            None => Ok(x.clone()),
        };
        let (keys, values) = (self.k.heads(x)?, self.v.heads(x)?); // [rows, n_kv, head_dim]
        let q = of_tokens(&self.q.heads(x)?, |shared| &shared.queries)?; // [tokens, n_heads, head_dim]
        let k = of_tokens(&with_others(&keys, |kv| &kv.keys)?, |s| &s.of_token)?; // [tokens, n_kv, head_dim]
        let v = of_tokens(&with_others(&values, |kv| &kv.values)?, |s| &s.of_token)?; // [tokens, n_kv, head_dim]

        let z = match (cache, rows.groups) {
            (Some(cache), [group]) => {
                self.attend_group([&q, &k, &v], group, tables, Some(cache))?
            }
            (Some(_), _) => candle_core::bail!("a cache holds one group of sequences"),
            (None, groups) => self.attend([&q, &k, &v], groups, tables)?,
        }; // [tokens, n_heads·head_dim]
        let z = of_tokens(&z, |shared| &shared.first)?; // [rows, n_heads·head_dim]
        Ok((linear(&z, &self.o_proj)?, KeysValues { keys, values }))
    }

    /// The gradient of `x`, `[tokens, d_model]`, from that of what [`forward`](Self::forward) makes of it with a row for each
    /// token. `through` gives the gradient of the forward's output, given that output: what comes after it is the layer's.
    pub fn gradient(
        &self,
        x: &Tensor,
        groups: &[Group],
        tables: &AttentionTables,
        through: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let parts = [&self.q, &self.k, &self.v];
        let products = parts.map(|part| linear(x, &part.weight));
        let products: Vec<Tensor> = products.into_iter().collect::<Result<_>>()?; // [tokens, heads·head_dim]
        let heads = parts.iter().zip(&products);
        let heads = heads.map(|(part, product)| part.of_product(product.clone()));
        let heads: Vec<Tensor> = heads.collect::<Result<_>>()?; // [tokens, heads, head_dim]
        let qkv = [&heads[0], &heads[1], &heads[2]];
        let z = self.attend(qkv, groups, tables)?; // [tokens, n_heads·head_dim]
        let of_output = through(&linear(&z, &self.o_proj)?)?; // [tokens, d_model]
        let of_z = linear(&of_output, &self.o_proj.t()?)?;
        let of_heads = pull_back(qkv, &of_z, |qkv| self.attend(qkv, groups, tables))?;
        let mut of_x = x.zeros_like()?;
        for ((part, product), of_heads) in parts.into_iter().zip(&products).zip(&of_heads) {
            let [of_product] = pull_back([product], of_heads, |[x]| part.of_product(x.clone()))?;
            of_x = (of_x + linear(&of_product, &part.weight.t()?)?)?;
        }
        Ok(of_x)
    }

    /// q `[tokens, n_heads, head_dim]`, k and v `[tokens, n_kv, head_dim]` -> `[tokens, n_heads·head_dim]`.
    fn attend(
        &self,
        qkv: [&Tensor; 3],
        groups: &[Group],
        tables: &AttentionTables,
    ) -> Result<Tensor> {
        // Many small products: the groups share the cores better than each product would.
        let outputs = groups
            .par_iter()
            .map(|group| self.attend_group(qkv, group, tables, None))
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&outputs, 0)
    }

    /// The same of one group: `[rows of the group, n_heads·head_dim]`.
    fn attend_group(
        &self,
        [q, k, v]: [&Tensor; 3],
        group: &Group,
        tables: &AttentionTables,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor> {
        let (n, len, width) = (group.sequences, group.len, self.head_dim);
        let (n_heads, n_kv) = (self.q.heads, self.k.heads);
        let shared = n_heads / n_kv; // query heads per key head
        let rotation = tables.rotation(&self.spec)?;
        let of_group = |x: &Tensor, heads: usize| {
            x.narrow(0, group.first_row, n * len)?
                .reshape((n, len, heads, width))?
                .transpose(1, 2)?
                .contiguous() // [n, heads, len, head_dim]
        };
        let q = rotate(&of_group(q, n_heads)?, rotation)?;
        let k = rotate(&of_group(k, n_kv)?, rotation)?;
        let v = of_group(v, n_kv)?;
        let (k, v) = match cache {
            Some(cache) => cache.append(&k, &v)?, // [n, n_kv, keys, head_dim]
            None => (k, v),
        };
        let keys = k.dim(2)?;

        let q = (q * self.scale)?.reshape((n * n_kv, shared * len, width))?;
        let k = k.reshape((n * n_kv, keys, width))?;
        let v = v.reshape((n * n_kv, keys, width))?;
        let mut scores = q.matmul(&k.t()?)?; // [n·n_kv, shared·len, keys]
        if let Some(cap) = self.softcap {
            scores = softcap(scores, cap)?;
        }
        let scores = scores.reshape((n * n_heads, len, keys))?;
        let scores = scores.broadcast_add(tables.mask(&self.spec, len)?)?;
        let pattern = if scores.track_op() {
            candle_nn::ops::softmax(&scores, D::Minus1)? // the fused one has no gradient
        } else {
            candle_nn::ops::softmax_last_dim(&scores)?
        };
        let pattern = pattern.reshape((n * n_kv, shared * len, keys))?;
        let z = pattern.matmul(&v)?; // [n·n_kv, shared·len, head_dim]
        z.reshape((n, n_heads, len, width))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((n * len, n_heads * width))
    }
}

/// Turns the first dimensions of each head, `[n, heads, len, head_dim]`, as many as the tables have pairs for.
fn rotate(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor> {
    let (head_dim, turned) = (x.dim(3)?, 2 * cos.dim(1)?);
    let rope = if x.track_op() {
        candle_nn::rotary_emb::rope_slow // the fused one has no gradient
    } else {
        candle_nn::rotary_emb::rope
    };
    if turned == head_dim {
        return rope(x, cos, sin);
    }
    let first = x.narrow(3, 0, turned)?.contiguous()?;
    let rest = x.narrow(3, turned, head_dim - turned)?;
    let first = rope(&first, cos, sin)?;
    Tensor::cat(&[&first, &rest], 3)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(len: usize, past: usize, window: Option<usize>) -> Vec<usize> {
        let mask = causal_mask(len, past, window, &Device::Cpu).unwrap();
        let rows = mask.to_vec2::<f32>().unwrap();
        let count = |row: &Vec<f32>| row.iter().filter(|v| **v == 0.0).count();
        rows.iter().map(count).collect()
    }

    #[test]
    fn a_window_of_w_sees_exactly_w_keys() {
        assert_eq!(seen(5, 0, Some(2)), [1, 2, 2, 2, 2]);
        assert_eq!(seen(2, 3, Some(3)), [3, 3]);
        assert_eq!(seen(2, 3, None), [4, 5]);
    }
}
