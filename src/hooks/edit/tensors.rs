//! The same edits by a tensor library's operations, where the rows are.
//!
//! Each mode's formula stands beside that of `BatchEdit::edit_row`, for all rows and neurons at once: `[rows, n]`, n the
//! number of the edit's neurons in the layer. Masks are 1 and 0 in u8, whose product is "and".

use candle_core::{DType, Device, Result, Tensor};

use super::super::means::NeuronMeans;
use super::super::mode::{Mode, Reference};
use super::super::sign_case::{RawCase, Sign};
use super::{BatchEdit, EditCount};

/// The rows of a batch that are edited.
pub(crate) struct EditedRows<'t> {
    /// Of each, a token that it stands for, and how many there are.
    pub tokens: &'t [(usize, u64)],
    /// How many: `[rows, 1]`, u32.
    pub copies: &'t Tensor,
}

/// What an edit made of rows.
pub(crate) struct EditedPost {
    /// `[rows, d_mlp]`, f32.
    pub post: Tensor,
    /// What it changed: see [`EditCount::of_tensor`].
    pub count: Tensor,
}

/// Values that the edit's neurons would have.
struct NewValues {
    /// `[rows, n]`, or what has that shape after broadcasting.
    values: Tensor,
    /// Where there is such a value; `None`: everywhere.
    known: Option<Tensor>,
    /// Where there is none because `gate` or `up` is exactly 0.
    no_sign: Option<Tensor>,
}

impl NewValues {
    fn everywhere(values: Tensor) -> Self {
        Self {
            values,
            known: None,
            no_sign: None,
        }
    }
}

/// The edit's neurons in some rows, all `[rows, n]`.
struct AtNeurons {
    gate: Tensor,
    up: Tensor,
    post: Tensor,
    /// 1, or the neurons' signs in reference sign: `[1, n]`.
    sign: Tensor,
}

impl EditCount {
    /// The count of a tensor `[4]`, u32: the fields in their order.
    pub(crate) fn of_tensor(counts: &[u32]) -> Self {
        let field = |place: usize| counts.get(place).copied().map_or(0, u64::from);
        Self {
            touched: field(0),
            changed: field(1),
            no_sign: field(2),
            no_reference: field(3),
        }
    }
}

impl BatchEdit<'_> {
    /// Edits `post`, given `gate` and `up`, all `[rows, d_mlp]` in f32.
    pub(crate) fn edit_rows(
        &self,
        [gate, up, post]: [&Tensor; 3],
        rows: &EditedRows<'_>,
    ) -> Result<EditedPost> {
        let device = post.device();
        let neurons = Tensor::new(self.edit.neurons, device)?; // [n]
        let at = AtNeurons {
            gate: gate.index_select(&neurons, 1)?,
            up: up.index_select(&neurons, 1)?,
            post: post.index_select(&neurons, 1)?,
            sign: self.signs_of_neurons(device)?,
        };
        let shape = at.post.shape();
        let reached = self.reached(&at, rows)?; // [rows, n], as all masks
        let new = self.new_values(&at, rows)?;
        let becomes = match &new.known {
            Some(known) => (&reached * known)?,
            None => reached.clone(),
        };
        let values = new.values.broadcast_as(shape)?.contiguous()?;
        let edited = becomes.where_cond(&values, &at.post)?;
        let changed = (edited.ne(&at.post)? * &becomes)?;
        let no_sign = match &new.no_sign {
            Some(no_sign) => (&reached * no_sign)?,
            None => reached.zeros_like()?,
        };
        let no_reference = ((&reached - &becomes)? - &no_sign)?;
        let counts = [&reached, &changed, &no_sign, &no_reference];
        let counts = counts.map(|mask| count(mask, rows.copies));
        let counts = counts.into_iter().collect::<Result<Vec<_>>>()?;
        let places = neurons.unsqueeze(0)?.broadcast_as(shape)?.contiguous()?;
        Ok(EditedPost {
            post: post
                .contiguous()?
                .scatter(&places, &edited.contiguous()?, 1)?,
            count: Tensor::stack(&counts, 0)?,
        })
    }

    fn signs_of_neurons(&self, device: &Device) -> Result<Tensor> {
        let of = |neuron: &u32| {
            self.signs
                .map_or(1.0, |signs| f32::from(signs[*neuron as usize]))
        };
        let signs: Vec<f32> = self.edit.neurons.iter().map(of).collect();
        Tensor::from_vec(signs, (1, self.edit.neurons.len()), device)
    }

    /// The values in the edit's positions and sign case.
    fn reached(&self, at: &AtNeurons, rows: &EditedRows<'_>) -> Result<Tensor> {
        let device = at.post.device();
        let is_there = |(token, _): &(usize, u64)| {
            let mask = self.mask.as_ref();
            mask.map_or(1u8, |mask| u8::from(mask[*token]))
        };
        let there: Vec<u8> = rows.tokens.iter().map(is_there).collect();
        let there = Tensor::from_vec(there, (rows.tokens.len(), 1), device)?;
        let mut reached = there.broadcast_as(at.post.shape())?.contiguous()?;
        let [gate, up, post] = self.edit.when.signs();
        let with_sign = |x: &Tensor| x.broadcast_mul(&at.sign);
        for (sign, values) in [
            (gate, at.gate.clone()),
            (up, with_sign(&at.up)?),
            (post, with_sign(&at.post)?),
        ] {
            reached = match sign {
                Some(Sign::Positive) => (reached * values.gt(0f32)?)?,
                Some(Sign::Negative) => (reached * values.lt(0f32)?)?,
                None => reached,
            };
        }
        Ok(reached)
    }

    fn new_values(&self, at: &AtNeurons, rows: &EditedRows<'_>) -> Result<NewValues> {
        let device = at.post.device();
        let n = self.edit.neurons.len();
        Ok(match self.edit.mode {
            Mode::Zero => NewValues::everywhere(at.sign.zeros_like()?),
            Mode::Fixed(value) => NewValues::everywhere((&at.sign * f64::from(*value))?),
            Mode::Multiply(factor) => NewValues::everywhere((&at.post * f64::from(*factor))?),
            Mode::ClampAbove(limit) => {
                let signed = at.post.broadcast_mul(&at.sign)?.minimum(*limit)?;
                NewValues::everywhere(signed.broadcast_mul(&at.sign)?)
            }
            Mode::Mean(means) => {
                let means = self.of_layer(means);
                let mean = |neuron: &u32| means.get(*neuron as usize)?.overall;
                let means = self.edit.neurons.iter().map(mean);
                let (values, known) = known_values(means, (1, n), device)?;
                let known = Some(known.broadcast_as(at.post.shape())?.contiguous()?);
                let no_sign = None;
                NewValues {
                    values,
                    known,
                    no_sign,
                }
            }
            Mode::MeanBySign(means) => self.means_by_sign(at, means)?,
            Mode::Resample(donors) | Mode::Patch(donors) => {
                let donors = donors.given().map(|donors| donors.layer(self.edit.layer));
                let of_row = |(token, _): &(usize, u64)| {
                    let from = self.donor_rows.get(*token).copied().flatten();
                    let from = donors.zip(from);
                    let value = move |neuron: &u32| {
                        from.and_then(|(donors, row)| donors.value(row, *neuron as usize))
                    };
                    self.edit.neurons.iter().map(value)
                };
                let values = rows.tokens.iter().flat_map(of_row);
                let (values, known) = known_values(values, (rows.tokens.len(), n), device)?;
                NewValues {
                    values,
                    known: Some(known),
                    no_sign: None,
                }
            }
        })
    }

    /// Of each value the mean of its sign case: a place in a table `[4, n]`.
    fn means_by_sign(&self, at: &AtNeurons, means: &Reference<NeuronMeans>) -> Result<NewValues> {
        let means = self.of_layer(means);
        let of_case = |case: &RawCase| {
            let case = *case as usize;
            let mean = move |neuron: &u32| means.get(*neuron as usize)?.by_sign[case];
            self.edit.neurons.iter().map(mean)
        };
        let table = RawCase::ALL.iter().flat_map(of_case);
        let shape = (RawCase::ALL.len(), self.edit.neurons.len());
        let (table, known) = known_values(table, shape, at.post.device())?;
        let minus = |x: &Tensor| x.lt(0f32)?.to_dtype(DType::U32);
        let case = ((minus(&at.gate)? * 2.0)? + minus(&at.up)?)?; // its place in `RawCase::ALL`
        let has_sign = (at.gate.ne(0f32)? * at.up.ne(0f32)?)?;
        let known = known.to_dtype(DType::F32)?.gather(&case, 0)?;
        Ok(NewValues {
            values: table.gather(&case, 0)?,
            known: Some((known.gt(0f32)? * &has_sign)?),
            no_sign: Some(has_sign.eq(0u8)?),
        })
    }
}

/// Values row by row, and a mask of those that are there.
fn known_values(
    values: impl Iterator<Item = Option<f32>>,
    shape: (usize, usize),
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let (values, known): (Vec<f32>, Vec<u8>) = values
        .map(|value| (value.unwrap_or(0.0), u8::from(value.is_some())))
        .unzip();
    let values = Tensor::from_vec(values, shape, device)?;
    Ok((values, Tensor::from_vec(known, shape, device)?))
}

/// How many values of a mask are 1, each as often as its row stands for a token: a scalar, u32.
fn count(mask: &Tensor, copies: &Tensor) -> Result<Tensor> {
    mask.to_dtype(DType::U32)?
        .broadcast_mul(copies)?
        .flatten_all()?
        .sum(0)
}
