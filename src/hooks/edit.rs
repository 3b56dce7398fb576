//! Edits of neurons at `hook_post`: which neurons, what becomes of their value, where, in which sign case, and by which way.
//!
//! An [`Edit`] is of a whole model, a `LayerEdit` is what one layer sees of it, and a `BatchEdit` is that
//! on the rows of one batch. The edit is the last thing that happens to `post`; what its mode means is in
//! [`Mode`], how signs are read in [`SignCase`].

use super::means::{NeuronMean, NeuronMeans};
use super::mode::{Mode, Needs, Reference};
use super::neurons::NeuronSet;
use super::path::Path;
use super::reference::ReferenceError;
use super::sign_case::{RawCase, SignCase, SignConvention};
use crate::tokens::{Positions, TokenBatch};

/// One edit of a set of neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// What messages call it, such as `depletion, draw 3`.
    pub label: String,
    /// Which neurons.
    pub neurons: NeuronSet,
    /// What becomes of their values.
    pub mode: Mode,
    /// At which tokens.
    pub positions: Positions,
    /// In which sign case of the edited run's own `gate`, `up` and `post`.
    pub when: SignCase,
    /// The convention of `when`, and of the value of a fixed or clamped edit.
    pub signs: SignConvention,
    /// By which way the change reaches the logits.
    pub path: Path,
}

impl Edit {
    /// `mode` on `neurons`, at all positions and in every sign case, signs as the weights have them; called by its mode.
    pub fn new(neurons: NeuronSet, mode: Mode) -> Self {
        Edit {
            label: mode.to_string(),
            neurons,
            mode,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            path: Path::Total,
        }
    }

    /// Zero ablation of `neurons`.
    pub fn zero(neurons: NeuronSet) -> Self {
        Self::new(neurons, Mode::Zero)
    }

    /// The same edit, called `label` in messages.
    pub fn called(self, label: impl Into<String>) -> Self {
        let label = label.into();
        Self { label, ..self }
    }

    /// The same edit at these positions alone.
    pub fn at(self, positions: Positions) -> Self {
        Self { positions, ..self }
    }

    /// The same edit in this sign case alone.
    pub fn when(self, when: SignCase) -> Self {
        Self { when, ..self }
    }

    /// The same edit with signs read by this convention.
    pub fn signs(self, signs: SignConvention) -> Self {
        Self { signs, ..self }
    }

    /// The same edit, whose change reaches the logits by this way.
    pub fn by(self, path: Path) -> Self {
        Self { path, ..self }
    }

    /// Whether it sets values that are there before the run, at tokens that are known before.
    pub(crate) fn gives_values(&self) -> bool {
        use Mode::{Fixed, Mean, Patch, Resample, Zero};
        let is_given = matches!(
            self.mode,
            Zero | Fixed(_) | Mean(_) | Resample(_) | Patch(_)
        );
        is_given && self.when.is_any()
    }

    /// What this edits in layer `layer`, if anything.
    pub(crate) fn at_layer(&self, layer: usize) -> Option<LayerEdit<'_>> {
        let neurons = self.neurons.layer(layer);
        (!neurons.is_empty()).then_some(LayerEdit {
            layer,
            neurons,
            mode: &self.mode,
            positions: self.positions,
            when: self.when,
            signs: &self.signs,
        })
    }

    /// Checks that signs and reference values are there, of a model of this shape (layers, neurons in each), and
    /// that the reference has what a run over `batch` takes from it.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn check_reference(
        &self,
        model: (usize, usize),
        batch: &TokenBatch,
    ) -> Result<(), ReferenceError> {
        let same = |what, found| {
            let expected = model;
            let other = ReferenceError::OtherModel {
                what,
                found,
                expected,
            };
            (found == expected).then_some(()).ok_or(other)
        };
        if let SignConvention::Reference(signs) = &self.signs {
            same("reference signs", signs.shape())?;
        }
        if self.mode.needs() != Needs::Nothing {
            let mode = self.mode.to_string();
            return Err(ReferenceError::NotTaken { mode });
        }
        match &self.mode {
            Mode::Mean(Reference::Given(means)) | Mode::MeanBySign(Reference::Given(means)) => {
                same("means", means.shape())
            }
            Mode::Resample(Reference::Given(donors)) | Mode::Patch(Reference::Given(donors)) => {
                same("donors", donors.shape())?;
                donors.check(&self.neurons, self.positions, batch)
            }
            _ => Ok(()),
        }
    }
}

/// An edit as one layer sees it. Equal layer edits on equal inputs give equal outputs, so
/// conditions that agree here may go on sharing a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerEdit<'a> {
    layer: usize,
    neurons: &'a [u32], // ascending
    mode: &'a Mode,
    positions: Positions,
    when: SignCase,
    signs: &'a SignConvention,
}

impl<'a> LayerEdit<'a> {
    /// At which tokens.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// The edit on the rows of `batch`, which [`Edit::check_reference`] has seen.
    pub fn over(&self, batch: &TokenBatch) -> BatchEdit<'a> {
        let donors = match self.mode {
            Mode::Resample(donors) | Mode::Patch(donors) => donors.given(),
            _ => None,
        };
        BatchEdit {
            edit: *self,
            donor_rows: donors.map_or(Vec::new(), |donors| donors.rows(batch)),
            signs: self.signs.layer(self.layer),
            mask: (self.positions != Positions::All).then(|| batch.mask(self.positions)),
        }
    }
}

/// An edit of one layer on the rows of one batch.
pub(crate) struct BatchEdit<'a> {
    edit: LayerEdit<'a>,
    /// The row of donors' values that each row of the batch takes; empty where none are taken.
    donor_rows: Vec<Option<u32>>,
    signs: Option<&'a [i8]>,
    mask: Option<Vec<bool>>,
}

/// One value that an edit may change. What a mode does not ask for is not read.
#[derive(Clone, Copy)]
struct Reached<'a> {
    neuron: usize,
    post: f32,
    gates: &'a [f32],
    ups: &'a [f32],
    signs: Option<&'a [i8]>,
}

impl Reached<'_> {
    #[inline(always)]
    fn gate(self) -> f32 {
        self.gates[self.neuron]
    }

    #[inline(always)]
    fn up(self) -> f32 {
        self.ups[self.neuron]
    }

    /// 1, or the neuron's sign in reference sign.
    #[inline(always)]
    fn sign(self) -> f32 {
        self.signs
            .map_or(1.0, |signs| f32::from(signs[self.neuron]))
    }
}

/// What becomes of it.
enum NewValue {
    Becomes(f32),
    /// It stays: `gate` or `up` is exactly 0.
    NoSign,
    /// It stays: the reference has no value for it.
    NoReference,
}

impl From<Option<f32>> for NewValue {
    #[inline(always)]
    fn from(value: Option<f32>) -> Self {
        value.map_or(NewValue::NoReference, NewValue::Becomes)
    }
}

impl BatchEdit<'_> {
    /// Edits the `post` `[d_mlp]` of row `token` of the batch, given its `gate` and `up` `[d_mlp]`.
    #[inline]
    pub fn edit_row(&self, token: usize, gate: &[f32], up: &[f32], post: &mut [f32]) -> EditCount {
        use NewValue::Becomes;
        if self.mask.as_ref().is_some_and(|mask| !mask[token]) {
            return EditCount::default();
        }
        let row = (gate, up, post);
        // The mode is matched once a row, so that each has a loop of its own.
        match self.edit.mode {
            Mode::Zero => self.each(row, |_| Becomes(0.0)),
            Mode::Fixed(value) => self.each(row, |at| Becomes(at.sign() * value)),
            Mode::Multiply(factor) => self.each(row, |at| Becomes(at.post * factor)),
            Mode::ClampAbove(limit) => self.each(row, |at| {
                Becomes(at.sign() * (at.sign() * at.post).min(*limit))
            }),
            Mode::Mean(means) => {
                let means = self.of_layer(means);
                self.each(row, |at| {
                    means.get(at.neuron).and_then(|m| m.overall).into()
                })
            }
            Mode::MeanBySign(means) => {
                let means = self.of_layer(means);
                self.each(row, |at| match RawCase::of(at.gate(), at.up()) {
                    None => NewValue::NoSign,
                    Some(case) => {
                        let mean = means.get(at.neuron);
                        mean.and_then(|m| m.by_sign[case as usize]).into()
                    }
                })
            }
            Mode::Resample(donors) | Mode::Patch(donors) => {
                let donors = donors.given().map(|donors| donors.layer(self.edit.layer));
                let from = self.donor_rows.get(token).copied().flatten();
                let from = donors.zip(from);
                self.each(row, |at| {
                    from.and_then(|(donors, row)| donors.value(row, at.neuron))
                        .into()
                })
            }
        }
    }

    fn of_layer<'m>(&self, means: &'m Reference<NeuronMeans>) -> &'m [NeuronMean] {
        let means = means.given();
        means.map_or(&[], |means| means.layer(self.edit.layer))
    }

    /// Edits one row, given as gate, up and post.
    #[inline(always)]
    fn each(
        &self,
        row: (&[f32], &[f32], &mut [f32]),
        outcome: impl Fn(Reached<'_>) -> NewValue,
    ) -> EditCount {
        if self.edit.when.is_any() {
            self.where_holds(row, |_| true, outcome)
        } else {
            let holds = |at: Reached<'_>| {
                let sign = at.sign();
                self.edit
                    .when
                    .holds(at.gate(), sign * at.up(), sign * at.post)
            };
            self.where_holds(row, holds, outcome)
        }
    }

    #[inline(always)]
    fn where_holds(
        &self,
        (gates, ups, post): (&[f32], &[f32], &mut [f32]),
        holds: impl Fn(Reached<'_>) -> bool,
        outcome: impl Fn(Reached<'_>) -> NewValue,
    ) -> EditCount {
        let mut count = EditCount::default();
        for &neuron in self.edit.neurons {
            let post = &mut post[neuron as usize];
            let reached = Reached {
                neuron: neuron as usize,
                post: *post,
                gates,
                ups,
                signs: self.signs,
            };
            if !holds(reached) {
                continue;
            }
            count.touched += 1;
            match outcome(reached) {
                NewValue::Becomes(edited) => {
                    count.changed += u64::from(edited != *post);
                    *post = edited;
                }
                NewValue::NoSign => count.no_sign += 1,
                NewValue::NoReference => count.no_reference += 1,
            }
        }
        count
    }
}

/// How many values an edit reached, and how many of them it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EditCount {
    /// Values in the edit's neurons, positions and sign case.
    pub touched: u64,
    /// Values that are different after the edit.
    pub changed: u64,
    /// Values that stayed because `gate` or `up` was exactly 0, where the mean of a sign case was asked for.
    pub no_sign: u64,
    /// Values that stayed because the reference never saw the neuron (in that sign case), or has no such role.
    pub no_reference: u64,
}

/// The count of so many equal rows.
impl std::ops::Mul<u64> for EditCount {
    type Output = Self;

    fn mul(self, rows: u64) -> Self {
        Self {
            touched: self.touched * rows,
            changed: self.changed * rows,
            no_sign: self.no_sign * rows,
            no_reference: self.no_reference * rows,
        }
    }
}

impl std::ops::AddAssign for EditCount {
    fn add_assign(&mut self, other: Self) {
        self.touched += other.touched;
        self.changed += other.changed;
        self.no_sign += other.no_sign;
        self.no_reference += other.no_reference;
    }
}

pub(crate) mod tensors;
#[cfg(test)]
mod tests;
