//! Runs a model over a batch under many conditions, layer by layer.
//!
//! The layers are the outer loop and everything else is inside. All conditions start in one
//! *stream*, a residual `[tokens, d_model]` with the conditions that share it. At each layer
//! attention, `gate`, `up` and `post` are computed once per stream; where conditions differ, the
//! stream forks from the edit on. So a condition costs nothing before its first edited layer, and
//! only one layer's weights are needed at a time.
//!
//! Prompts that begin alike share the rows of what they have in common (`prefixes`), and edits at some positions have rows
//! from the first of these on (`tail`).
//!
//! There is no second forward pass: a plain run is one [`Condition::Clean`], no observers and a
//! [`Readout`].

mod error;
mod finite;
mod head;
mod pass;
mod post;
mod prefixes;
mod rows;
mod session;
mod stream;
mod tail;
mod unembed;

pub use error::EngineError;
pub use finite::Precision;
pub use head::{LogitBlock, Readout};
pub use session::Session;
pub use unembed::Lens;

use std::collections::BTreeSet;

use crate::hooks::{Condition, Edit, EditCount, Observer};
use crate::model::{AttentionTables, Config, Model};
use crate::tokens::TokenBatch;
use pass::Pass;
use prefixes::Prefixes;
use session::Past;
use stream::{Stream, fork};
use tail::Tails;

/// Is told how much of a run is done. One unit is half a layer for one stream.
pub trait Progress {
    /// A run of `units` begins; `what` names it for a person.
    fn start(&self, what: &str, units: u64);
    /// Some more units are done.
    fn advance(&self, units: u64);
    /// Whether the run should end, with [`EngineError::Stopped`]; asked after each layer of each stream.
    fn stop_requested(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn start(&self, _what: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
}

/// Units that the head counts for, per stream.
const HEAD_UNITS: u64 = 2;

/// Runs a model.
pub struct Engine<'m> {
    model: &'m Model,
    /// Bytes of the model's memory that the caller holds.
    held: u64,
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

    /// How much of what activations should fit into is held by the caller.
    fn held_of_activations(&self) -> u64 {
        let plan = self.model.plan();
        let to_spare = plan.activation_limit.saturating_sub(plan.activation_bytes);
        self.held.saturating_sub(to_spare)
    }

    /// How many tokens of `batch` one pass may have, so that the residual streams of `conditions`
    /// conditions and the activations of one stream fit the model's memory.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where not even the longest prompt alone fits.
    pub fn tokens_per_pass(
        &self,
        batch: &TokenBatch,
        conditions: usize,
    ) -> Result<usize, EngineError> {
        let plan = self.model.plan();
        let (tokens, per_token) = (batch.longest(), self.bytes_per_token(batch, conditions));
        let needed = self.held + tokens as u64 * per_token;
        if needed > plan.activation_limit {
            let needed_mib = plan.limit_for(needed).div_ceil(1 << 20);
            return Err(EngineError::Memory {
                tokens,
                conditions,
                needed_mib,
            });
        }
        Ok(tokens.max((self.activation_bytes() / per_token) as usize))
    }

    /// Bytes that residual streams and activations should fit into, beside what the caller holds.
    pub fn activation_bytes(&self) -> u64 {
        let plan = self.model.plan();
        plan.activation_bytes
            .saturating_sub(self.held_of_activations())
    }

    /// What one token takes in the widest moment of a pass.
    fn bytes_per_token(&self, batch: &TokenBatch, conditions: usize) -> u64 {
        let c = self.model.config();
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        // The residuals of all streams, and of one stream what it came from, its normed rows and a product; the first
        // stream's keys and values.
        let residuals = (conditions + 3) * c.d_model + 2 * kv;
        // Gate, up, the post that forks share, an edited post, and one to spare.
        let mlp = 5 * c.d_mlp;
        // Queries, keys and values as projected, by heads, rotated and scaled; scores in three steps.
        // A mask for each kind of attention, of all layers.
        let windows: BTreeSet<_> = c.attention.iter().map(|spec| spec.window).collect();
        let masks = windows.len() * batch.longest();
        let attention = 5 * q + 8 * kv + 3 * c.n_heads * batch.longest();
        4 * (residuals + masks + mlp.max(attention)) as u64
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
    fn forward(
        &self,
        batch: &TokenBatch,
        conditions: &[Condition],
        observers: &mut [&mut dyn Observer],
        readout: Option<&mut dyn Readout>,
        progress: &dyn Progress,
        mut past: Option<&mut Past>,
    ) -> Result<Vec<EditCount>, EngineError> {
        let before = past.as_ref().map_or(0, |past| past.tokens);
        self.check(batch, conditions, before)?;
        let rows = batch.tokens();
        let asked = readout
            .as_ref()
            .and_then(|readout| readout.rows().iter().max());
        if let Some(&row) = asked.filter(|row| **row >= rows) {
            return Err(EngineError::NoRow { row, rows });
        }
        let config = self.model.config();
        let prefixes = match past {
            // What came before is of one sequence.
            Some(_) => Prefixes::apart(batch),
            None => Prefixes::new(batch, conditions, self.model.device())?,
        };
        let residual = self.model.embed(&prefixes.ids())?; // [rows, d_model]
        // A single site is shown for all tokens, and the rows of a kept text are in its caches.
        let is_plain = observers.is_empty() && past.is_none();
        let mut pass = Pass {
            prefixes,
            tails: Tails::new(is_plain && conditions.first() == Some(&Condition::Clean)),
            first: None,
            conditions,
            observers,
            tables: AttentionTables::new(
                config,
                batch.groups(),
                before,
                self.model.dtype(),
                self.model.device(),
            )?,
            activation: config.activation,
            counts: vec![EditCount::default(); conditions.len()],
        };
        let mut streams = vec![Stream {
            residual,
            tail: None,
            conditions: (0..conditions.len()).collect(),
        }];
        for (l, layer) in self.model.layers()?.enumerate() {
            let layer = layer?;
            let mut after = Vec::with_capacity(streams.len());
            for stream in streams {
                let cache = past.as_mut().map(|past| &mut past.caches[l]);
                let forks = pass.through_layer(l, &layer, stream, cache)?;
                progress.advance(1 + forks.len() as u64);
                if progress.stop_requested() {
                    return Err(EngineError::Stopped);
                }
                after.extend(forks);
            }
            streams = after;
        }
        for stream in &streams {
            pass.final_scale(self.model, stream)?;
        }
        if let Some(readout) = readout {
            head::read_logits(
                self.model,
                &mut streams,
                &pass.prefixes,
                readout,
                conditions,
                self.held_of_activations(),
            )?;
        }
        progress.advance(HEAD_UNITS * streams.len() as u64);
        if let Some(past) = past {
            past.tokens += batch.tokens();
        }
        Ok(pass.counts)
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
        units + HEAD_UNITS * streams.len() as u64
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
        let ids = batch
            .sequences()
            .iter()
            .flat_map(|s| s.ids.iter().chain(&s.target));
        if let Some(&id) = ids.max().filter(|id| **id as usize >= config.vocab_size) {
            return Err(EngineError::Vocabulary {
                id,
                vocab_size: config.vocab_size,
            });
        }
        conditions.iter().try_for_each(|condition| match condition {
            Condition::Clean => Ok(()),
            Condition::Edited(edit) => {
                check_neurons(edit, config)?;
                let model = (config.n_layers(), config.d_mlp);
                let failed = |source| EngineError::Reference {
                    label: edit.label.clone(),
                    source,
                };
                edit.check_reference(model, batch).map_err(failed)
            }
        })
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
    let (label, expected) = (edit.label.clone(), expected.to_string());
    Err(EngineError::OtherModel {
        label,
        found,
        expected,
    })
}

/// An edit that changed no value in a whole experiment is an error, not a null result.
pub fn check_edits(conditions: &[Condition], counts: &[EditCount]) -> Result<(), EngineError> {
    for (condition, count) in conditions.iter().zip(counts) {
        if let Condition::Edited(edit) = condition
            && count.changed == 0
        {
            return Err(EngineError::NullEdit {
                label: edit.label.clone(),
                count: *count,
            });
        }
    }
    Ok(())
}
