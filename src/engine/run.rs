//! An engine, and its one way through a model.

use super::error::EngineError;
use super::finite::{Looks, not_finite};
use super::head::{HeadShare, Readout, read_logits};
use super::progress::Progress;
use super::rows::Rows;
use super::stream::fork;
use super::walk::{Past, Walk};
use crate::hooks::{Condition, Edit, EditCount, Observer, Path};
use crate::model::{Config, Model, Operations};
use crate::tokens::TokenBatch;

/// Units that the head counts for, per stream.
const HEAD_UNITS: u64 = 2;

/// Runs a model.
pub struct Engine<'m> {
    pub(super) model: &'m Model,
    /// Bytes of the model's memory that the caller holds.
    pub(super) held: u64,
}

impl<'m> Engine<'m> {
    /// An engine for `model`.
    pub fn new(model: &'m Model) -> Self {
        Self { model, held: 0 }
    }

    /// The same engine, where the caller holds `bytes` more of the memory.
    pub fn beside(&self, bytes: u64) -> Self {
        Self {
            model: self.model,
            held: self.held + bytes,
        }
    }

    /// The model's configuration.
    pub fn config(&self) -> &'m Config {
        self.model.config()
    }

    /// The embeddings of some tokens as the first layer sees them, `[ids, d_model]`, row-major.
    ///
    /// # Errors
    /// [`EngineError::Vocabulary`] for an id that the model does not have, and those of reading its files.
    pub fn embeddings(&self, ids: &[u32]) -> Result<Vec<f32>, EngineError> {
        check_ids(ids.iter(), self.config())?;
        Ok(Rows::of(&self.model.embed(ids)?)?.read(<[f32]>::to_vec)?)
    }

    /// Runs `batch` under `conditions`. Observers see the sites they want, `readout` the logits at
    /// its rows, stream by stream in the order of each stream's first condition. Returns what each
    /// condition's edit changed, for [`check_edits`].
    ///
    /// # Errors
    /// Inputs that do not fit the model, its files, numbers that are not finite, [`EngineError::Stopped`], and the first
    /// error of an observer or of the readout ([`EngineError::Reader`]), which stops the run at once.
    pub fn run(
        &self,
        batch: &TokenBatch,
        conditions: &[Condition],
        observers: &mut [&mut dyn Observer],
        readout: Option<&mut dyn Readout>,
        progress: &dyn Progress,
    ) -> Result<Vec<EditCount>, EngineError> {
        self.forward(batch, conditions, observers, readout, progress, None)
    }

    /// [`run`](Self::run), where the batch may continue a text that came before.
    pub(super) fn forward(
        &self,
        batch: &TokenBatch,
        conditions: &[Condition],
        observers: &mut [&mut dyn Observer],
        readout: Option<&mut dyn Readout>,
        progress: &dyn Progress,
        past: Option<&mut Past>,
    ) -> Result<Vec<EditCount>, EngineError> {
        self.check(batch, conditions, Past::tokens_of(past.as_deref()))?;
        let mut asked_for = observers.iter().flat_map(|observer| observer.asked_for());
        asked_for.try_for_each(|point| point.check(self.config()))?;
        let rows = batch.tokens();
        let scored = readout.as_ref().map_or(&[][..], |readout| readout.rows());
        if let Some(&row) = scored.iter().max().filter(|row| **row >= rows) {
            return Err(EngineError::NoRow { row, rows });
        }
        let model = self.model;
        // To look after each layer is to wait for a device each time. A text that goes on cannot be run again.
        let looks = match model.operations() {
            Operations::Tensors if past.is_none() => Looks::AtTheEnd(None),
            _ => Looks::EachLayer,
        };
        let mut walk = Walk::new(model, batch, scored, conditions, observers, looks, past)?;
        let mut streams = walk.through_layers(model, progress)?;
        if !walk.is_finite()? {
            // Once more, to say where it began; on a device the numbers need not be the same to the last bit.
            drop((walk, streams));
            let (none, looks) = (&mut [], Looks::EachLayer);
            let mut again = Walk::new(model, batch, scored, conditions, none, looks, None)?;
            again.through_layers(model, &())?;
            return Err(not_finite("a residual", &Condition::Clean, model.dtype()));
        }
        for stream in &streams {
            walk.final_scale(model, stream)?;
        }
        if let Some(readout) = readout {
            let share = HeadShare::of_memory(model, &streams, self.held_of_activations());
            let prefixes = &walk.prefixes;
            read_logits(model, &mut streams, prefixes, readout, conditions, share)?;
        }
        progress.advance(HEAD_UNITS * streams.len() as u64);
        walk.finish()
    }

    /// The units that one run under `conditions` reports, from the places where its streams fork.
    pub fn work_units(&self, conditions: &[Condition]) -> u64 {
        let mut streams: Vec<Vec<usize>> = vec![(0..conditions.len()).collect()];
        let mut units = 0;
        for l in 0..self.model.config().n_layers() {
            let after: Vec<_> = streams
                .iter()
                .flat_map(|sharing| fork(conditions, sharing, l))
                .collect();
            units += (streams.len() + after.len()) as u64;
            streams = after.into_iter().map(|fork| fork.conditions).collect();
        }
        // What is on the direct path goes through the head alone.
        let is_total = |condition: &usize| conditions[*condition].path() == Path::Total;
        let total = streams.iter().filter(|s| s.iter().any(is_total)).count();
        let direct = conditions.iter().filter(|c| c.path() != Path::Total);
        units + HEAD_UNITS * (total + direct.count()) as u64
    }

    fn check(
        &self,
        batch: &TokenBatch,
        conditions: &[Condition],
        before: usize,
    ) -> Result<(), EngineError> {
        let config = self.model.config();
        let (tokens, max) = (before + batch.longest(), config.max_positions);
        if tokens > max {
            return Err(EngineError::TooLong { tokens, max });
        }
        let sequences = batch.sequences().iter();
        check_ids(
            sequences.flat_map(|s| s.ids.iter().chain(&s.target)),
            config,
        )?;
        let mut edits = conditions.iter().filter_map(Condition::edit);
        edits.try_for_each(|edit| {
            check_neurons(edit, config)?;
            let model = (config.n_layers(), config.d_mlp);
            let failed = |source| EngineError::Reference {
                label: edit.label.clone(),
                source,
            };
            edit.check_reference(model, batch).map_err(failed)
        })
    }
}

fn check_ids<'i>(ids: impl Iterator<Item = &'i u32>, config: &Config) -> Result<(), EngineError> {
    let vocab_size = config.vocab_size;
    match ids.max().filter(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(EngineError::Vocabulary { id, vocab_size }),
        None => Ok(()),
    }
}

fn check_neurons(edit: &Edit, config: &Config) -> Result<(), EngineError> {
    let layers = edit.neurons.n_layers();
    let (found, expected) = if layers != config.n_layers() {
        (format!("{layers} layers"), config.n_layers())
    } else if let Some(index) = edit.neurons.widest().filter(|index| *index >= config.d_mlp) {
        (
            format!("at least {} neurons a layer", index + 1),
            config.d_mlp,
        )
    } else {
        return Ok(());
    };
    Err(EngineError::OtherModel {
        label: edit.label.clone(),
        found,
        expected: expected.to_string(),
    })
}

/// An edit that changed no value in a whole experiment is an error, not a null result.
pub fn check_edits(conditions: &[Condition], counts: &[EditCount]) -> Result<(), EngineError> {
    for (condition, count) in conditions.iter().zip(counts) {
        if let Some(edit) = condition.edit().filter(|_| count.changed == 0) {
            let (label, count) = (edit.label.clone(), *count);
            return Err(EngineError::NullEdit { label, count });
        }
    }
    Ok(())
}
