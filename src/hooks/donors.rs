//! Values that a prompt's neurons had on another prompt, its donor, at the same role: any other one of the run (resampling), or
//! what it is paired with, its own counterfactual or itself with noise (patching).
//!
//! Where in the donor, the module `roles` says.

use std::collections::{BTreeMap, HashSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::neurons::NeuronSet;
use super::observer::{Observer, ReadError, Selection, SiteRows};
use super::reference::ReferenceError;
use super::roles::{donor_position, patch_position};
use super::site::{HookPoint, Site};
use crate::tokens::{Positions, Sequence, TokenBatch};

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens donors 1";

/// For each prompt the one that it takes values from: never itself, and each gives to exactly one. A
/// uniformly random cycle through all prompts (Sattolo), by their indices and the seed alone.
///
/// # Errors
/// [`ReferenceError::NoOtherPrompt`] for fewer than two prompts.
pub fn choose_donors(
    batch: &TokenBatch,
    seed: u64,
) -> Result<BTreeMap<usize, usize>, ReferenceError> {
    let mut prompts: Vec<usize> = batch.sequences().iter().map(|s| s.prompt).collect();
    prompts.sort_unstable();
    if prompts.len() < 2 {
        return Err(ReferenceError::NoOtherPrompt);
    }
    let hash = Sha256::new()
        .chain_update(SEED_TAG)
        .chain_update(seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    let mut donors = prompts.clone();
    for last in (1..donors.len()).rev() {
        donors.swap(last, rng.random_range(0..last));
    }
    Ok(prompts.into_iter().zip(donors).collect())
}

/// The values of some neurons on the donors of a batch.
#[derive(Clone, Debug)]
pub struct Donors {
    d_mlp: usize,
    /// By prompt, for each of its positions.
    takes: BTreeMap<usize, Vec<Take>>,
    layers: Vec<DonorLayer>,
}

/// What a position takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Nothing was recorded for it.
    NotRecorded,
    /// The donor has no such role.
    Lacking,
    /// This row of values.
    Row(u32),
}

/// The values of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct DonorLayer {
    /// By neuron, its column among the values.
    columns: Vec<Option<u32>>,
    width: usize,
    values: Vec<f32>, // [rows, width]
}

impl DonorLayer {
    /// The value of a recorded neuron.
    #[inline(always)]
    pub(super) fn value(&self, row: u32, neuron: usize) -> Option<f32> {
        let column = self.columns[neuron]? as usize;
        Some(self.values[row as usize * self.width + column])
    }
}

impl Donors {
    /// Values of `neurons`, of a model with `d_mlp` a layer, for each prompt itself at these positions of a batch, which takes
    /// them by [`Mode::Resample`](super::Mode::Resample): by layer
    /// `[tokens, neurons of the layer]`, row-major, of every token of the batch, whether it is at them or not.
    pub(crate) fn of_own(
        batch: &TokenBatch,
        positions: Positions,
        (neurons, d_mlp): (&NeuronSet, usize),
        values: Vec<Vec<f32>>,
    ) -> Self {
        let mask = batch.mask(positions);
        let sequences = batch.sequences().iter().enumerate();
        let takes = sequences.map(|(i, sequence)| {
            let first = batch.first_row(i);
            let rows = first..first + sequence.ids.len();
            let take = |row: usize| match mask[row] {
                true => Take::Row(row as u32),
                false => Take::NotRecorded,
            };
            (sequence.prompt, rows.map(take).collect())
        });
        let layers = values
            .into_iter()
            .enumerate()
            .map(|(l, values)| DonorLayer {
                values,
                ..donor_layer(neurons.layer(l), d_mlp, 0)
            });
        Self {
            d_mlp,
            takes: takes.collect(),
            layers: layers.collect(),
        }
    }

    /// Layers, and neurons in each of them.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.layers.len(), self.d_mlp)
    }

    pub(super) fn layer(&self, layer: usize) -> &DonorLayer {
        &self.layers[layer]
    }

    /// For each row of a batch the row of values that it takes.
    pub(super) fn rows(&self, batch: &TokenBatch) -> Vec<Option<u32>> {
        let row = |take| match take {
            Take::Row(row) => Some(row),
            Take::NotRecorded | Take::Lacking => None,
        };
        self.takes(batch).map(row).collect()
    }

    fn takes(&self, batch: &TokenBatch) -> impl Iterator<Item = Take> {
        let of = |sequence: &Sequence| self.takes[&sequence.prompt].iter().copied();
        batch.sequences().iter().flat_map(of)
    }

    /// Checks that every value is there that an edit of `neurons` takes at the `positions` of a batch.
    pub(super) fn check(
        &self,
        neurons: &NeuronSet,
        positions: Positions,
        batch: &TokenBatch,
    ) -> Result<(), ReferenceError> {
        let recorded = |neuron: &super::Neuron| {
            let columns = &self.layers[neuron.layer].columns;
            columns.get(neuron.index).copied().flatten().is_some()
        };
        if let Some(neuron) = neurons.iter().find(|neuron| !recorded(neuron)) {
            return Err(ReferenceError::NoDonorNeuron { neuron });
        }
        let of_batch = |s: &&Sequence| {
            let takes = self.takes.get(&s.prompt);
            takes.is_none_or(|takes| takes.len() != s.ids.len())
        };
        if let Some(sequence) = batch.sequences().iter().find(of_batch) {
            let prompt = sequence.prompt;
            return Err(ReferenceError::NoDonor { prompt });
        }
        let mut takes = self.takes(batch).zip(batch.mask(positions));
        if takes.any(|(take, edited)| edited && take == Take::NotRecorded) {
            return Err(ReferenceError::DonorPositions { positions });
        }
        Ok(())
    }
}

/// Finds the donor of a prompt.
type DonorOf<'b, 'f> = dyn Fn(&Sequence) -> Option<&'b Sequence> + 'f;

/// Finds the position of a donor, given a prompt and one of its positions.
type PlaceInDonor<'f> = dyn Fn(&Sequence, usize, &Sequence) -> Option<usize> + 'f;

fn by_prompt(batch: &TokenBatch) -> BTreeMap<usize, &Sequence> {
    batch.sequences().iter().map(|s| (s.prompt, s)).collect()
}

/// The values of donors while they are recorded, part by part of a batch.
pub struct DonorRecording {
    donors: Donors,
    neurons: NeuronSet,
    /// By donor prompt: (position, row of values).
    wanted: BTreeMap<usize, Vec<(usize, u32)>>,
    rows: usize,
    /// Layers and rows of values that no part had yet.
    missing: HashSet<(usize, u32)>,
}

impl DonorRecording {
    /// Room for what edits of `neurons` (of a model with `d_mlp` neurons a layer) take at the `positions`
    /// of `batch`, with the donors that [`choose_donors`] chose for it.
    ///
    /// # Errors
    /// [`ReferenceError::NoDonor`] for a prompt whose donor is not in the batch, [`ReferenceError::OtherModel`] for neurons
    /// of a wider model.
    pub fn new(
        batch: &TokenBatch,
        donor_of: &BTreeMap<usize, usize>,
        positions: Positions,
        neurons: NeuronSet,
        d_mlp: usize,
    ) -> Result<Self, ReferenceError> {
        let donors = by_prompt(batch);
        let donor = |sequence: &Sequence| donors.get(donor_of.get(&sequence.prompt)?).copied();
        let place =
            |s: &Sequence, position, donor: &Sequence| Some(donor_position(s, position, donor));
        Self::with_room(batch, (&donor, &place), positions, neurons, d_mlp)
    }

    /// The same for patching: a prompt's donor is what it is paired with, in another batch, which is the one to be run.
    ///
    /// # Errors
    /// As [`DonorRecording::new`].
    pub fn of_pairs(
        batch: &TokenBatch,
        (donors, donor_of): (&TokenBatch, &BTreeMap<usize, usize>),
        positions: Positions,
        neurons: NeuronSet,
        d_mlp: usize,
    ) -> Result<Self, ReferenceError> {
        let donors = by_prompt(donors);
        let donor = |sequence: &Sequence| donors.get(donor_of.get(&sequence.prompt)?).copied();
        Self::with_room(batch, (&donor, &patch_position), positions, neurons, d_mlp)
    }

    fn with_room<'b>(
        batch: &TokenBatch,
        (donor_of, place): (&DonorOf<'b, '_>, &PlaceInDonor<'_>),
        positions: Positions,
        neurons: NeuronSet,
        d_mlp: usize,
    ) -> Result<Self, ReferenceError> {
        let widest = neurons.widest().map_or(0, |index| index + 1);
        if widest > d_mlp {
            let [found, expected] = [widest, d_mlp].map(|width| (neurons.n_layers(), width));
            return Err(ReferenceError::OtherModel {
                what: "neurons",
                found,
                expected,
            });
        }
        let mask = batch.mask(positions);
        let mut wanted: BTreeMap<usize, Vec<(usize, u32)>> = BTreeMap::new();
        let mut takes = BTreeMap::new();
        let mut rows = 0;
        for (i, sequence) in batch.sequences().iter().enumerate() {
            let prompt = sequence.prompt;
            let donor = donor_of(sequence).ok_or(ReferenceError::NoDonor { prompt })?;
            // What several positions take is recorded once.
            let given = wanted.entry(donor.prompt).or_default();
            let mut take = |position: usize| {
                let Some(from) = place(sequence, position, donor) else {
                    return Take::Lacking;
                };
                let known = given.iter().find(|(position, _)| *position == from);
                Take::Row(known.map(|(_, row)| *row).unwrap_or_else(|| {
                    given.push((from, rows));
                    rows += 1;
                    rows - 1
                }))
            };
            let first = batch.first_row(i);
            let taken = (0..sequence.ids.len()).map(|p| match mask[first + p] {
                true => take(p),
                false => Take::NotRecorded,
            });
            takes.insert(prompt, taken.collect());
        }
        let rows = rows as usize;
        let layers: Vec<DonorLayer> = (0..neurons.n_layers())
            .map(|l| donor_layer(neurons.layer(l), d_mlp, rows))
            .collect();
        let with_neurons = (0..layers.len()).filter(|l| layers[*l].width > 0);
        let missing = with_neurons.flat_map(|l| (0..rows as u32).map(move |row| (l, row)));
        let missing = missing.collect();
        Ok(Self {
            donors: Donors {
                d_mlp,
                takes,
                layers,
            },
            neurons,
            wanted,
            rows,
            missing,
        })
    }

    /// Bytes that the values take.
    pub fn bytes(&self) -> u64 {
        4 * (self.rows * self.neurons.len()) as u64
    }

    /// An observer of one part of the batch, under condition 0, which should be the clean one.
    pub fn part(&mut self, part: &TokenBatch) -> impl Observer {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (i, sequence) in part.sequences().iter().enumerate() {
            for (position, row) in self.wanted.get(&sequence.prompt).into_iter().flatten() {
                from.push(part.first_row(i) + position);
                to.push(*row);
            }
        }
        PartRecorder {
            recording: self,
            from,
            to,
        }
    }

    /// The donors, all their values recorded.
    ///
    /// # Errors
    /// [`ReferenceError::Incomplete`] when some part of the batch was not run.
    pub fn finish(self) -> Result<Donors, ReferenceError> {
        match self.missing.len() {
            0 => Ok(self.donors),
            missing => Err(ReferenceError::Incomplete { missing }),
        }
    }
}

fn donor_layer(neurons: &[u32], d_mlp: usize, rows: usize) -> DonorLayer {
    let mut columns = vec![None; if neurons.is_empty() { 0 } else { d_mlp }];
    for (column, &neuron) in (0..).zip(neurons) {
        columns[neuron as usize] = Some(column);
    }
    DonorLayer {
        columns,
        width: neurons.len(),
        values: vec![0.0; rows * neurons.len()],
    }
}

struct PartRecorder<'a> {
    recording: &'a mut DonorRecording,
    /// Rows of the part.
    from: Vec<usize>,
    /// The row of values that each becomes.
    to: Vec<u32>,
}

impl Observer for PartRecorder<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        let neurons = |layer| self.recording.neurons.layer(layer);
        point.site == Site::Post && point.layer.is_some_and(|l| !neurons(l).is_empty())
    }

    fn selects(&self, point: HookPoint) -> Selection<'_> {
        Selection {
            rows: Some(&self.from),
            columns: point.layer.map(|l| self.recording.neurons.layer(l)),
        }
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let Some(layer) = seen.point.layer.filter(|_| seen.conditions[0] == 0) else {
            return Ok(());
        };
        let recording = &mut *self.recording;
        let to = &mut recording.donors.layers[layer];
        for (shown, &row) in self.to.iter().enumerate() {
            let first = row as usize * to.width;
            to.values[first..first + to.width].copy_from_slice(seen.row(shown, to.width)?);
            recording.missing.remove(&(layer, row));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::roles::fixtures::sequence;
    use super::*;

    #[test]
    fn donors_are_others_each_of_them_once_by_seed() {
        for prompts in 2..40 {
            let sequences = (0..prompts).map(|p| sequence(7 * p, 3, 1..2, 0));
            let batch = TokenBatch::new(sequences.collect()).unwrap();
            let donors = choose_donors(&batch, 3).unwrap();
            assert!(donors.iter().all(|(prompt, donor)| prompt != donor));
            let givers: BTreeSet<usize> = donors.values().copied().collect();
            assert!(givers.into_iter().eq(donors.keys().copied()));
            assert_eq!(donors, choose_donors(&batch, 3).unwrap());
            assert!(prompts < 10 || donors != choose_donors(&batch, 4).unwrap());
        }
        let alone = TokenBatch::new(vec![sequence(0, 3, 1..2, 0)]).unwrap();
        let error = choose_donors(&alone, 0).unwrap_err();
        assert_eq!(error, ReferenceError::NoOtherPrompt);
    }
}
