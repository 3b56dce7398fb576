//! Recording: what every neuron does while the model reads, in one pass and in bounded memory.
//!
//! [`RecordInput`] says what is read and numbers the tokens, [`RecordInput::passes`] cuts it so that each
//! pass fits the memory limit. [`Recording::pass`] runs one pass; on its way through the layers every
//! [`LayerReader`] sees `gate`, `up` and `post` of a layer together and takes what it needs: the [`Summary`] of
//! every neuron and the [`ClassActivity`] of every class are the recording's own, others (`report`'s files) come along.
//! Nothing is kept of a token's activations but what they add to sums and to the lists of the strongest.

mod activity;
mod input;
mod layer;
mod moments;
mod repeats;
mod rows;
mod state;
mod strongest;
mod summary;
mod view;

pub use activity::{ClassActivity, ClassSets};
pub use input::{InputKind, Origin, Pass, PassBudget, PassRow, RecordInput, Role};
pub use layer::{LayerReader, LayerRows};
pub use rows::{ActivationsRow, SummaryRow};
pub use strongest::strongest;
pub use summary::{Summary, TOP_TOKENS, TopTokens};
pub use view::{Activity, Levels, Quantity, Scope, class_view};

use std::ops::Range;

use layer::MlpObserver;
use state::{Field, Stateful};

use super::ExperimentError;
use crate::engine::{Engine, Progress};
use crate::hooks::{Condition, Observer};

/// What stops a reader, and with it the recording.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a recording knows so far.
pub struct Recording<'s> {
    layers: Range<usize>,
    /// Every neuron.
    pub summary: Summary,
    /// Every class.
    pub activity: ClassActivity<'s>,
    /// Sequences that were read.
    pub sequences: usize,
}

impl<'s> Recording<'s> {
    /// Nothing read yet. `layers` of `input` are recorded, each with `d_mlp` neurons; `sets` are the classes.
    pub fn new(
        layers: Range<usize>,
        d_mlp: usize,
        sets: &'s ClassSets,
        input: &RecordInput,
    ) -> Self {
        Self {
            summary: Summary::new(layers.clone(), d_mlp),
            activity: ClassActivity::new(sets, input.units.len(), layers.start),
            sequences: 0,
            layers,
        }
    }

    /// Runs one pass, which must follow the one before. `readers` see its layers, `observers` the sites they want.
    ///
    /// # Errors
    /// Those of the engine, and what a reader could not do.
    pub fn pass<'r>(
        &mut self,
        engine: &Engine<'_>,
        pass: &Pass,
        readers: Vec<&'r mut dyn LayerReader>,
        observers: Vec<&mut dyn Observer>,
        progress: &dyn Progress,
    ) -> Result<(), ExperimentError>
    where
        Self: 'r,
    {
        let mut all: Vec<&mut dyn LayerReader> = vec![&mut self.summary, &mut self.activity];
        for reader in readers {
            all.push(reader);
        }
        let mut mlp = MlpObserver::new(self.layers.clone(), pass, all);
        let mut watching: Vec<&mut dyn Observer> = vec![&mut mlp];
        for observer in observers {
            watching.push(observer);
        }
        engine.run(
            &pass.batch,
            &[Condition::Clean],
            &mut watching,
            None,
            progress,
        )?;
        drop(watching);
        mlp.finish().map_err(ExperimentError::Reader)?;
        self.sequences = pass.sequences.end;
        Ok(())
    }

    /// Bytes that it holds, the same from the first token to the last.
    pub fn bytes(&mut self) -> u64 {
        state::size(self)
    }

    /// All of it as bytes, for [`Recording::resume`].
    pub fn to_bytes(&mut self) -> Vec<u8> {
        state::to_bytes(self)
    }

    /// Takes up where [`Recording::to_bytes`] was called, with the same plan.
    ///
    /// # Errors
    /// [`ExperimentError::OtherState`] where the bytes are not those of such a recording.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<(), ExperimentError> {
        state::from_bytes(self, bytes).ok_or(ExperimentError::OtherState)
    }
}

impl Stateful for Recording<'_> {
    fn visit(&mut self, visit: &mut dyn FnMut(Field<'_>)) {
        let mut sequences = self.sequences as u64;
        visit(Field::U64(std::slice::from_mut(&mut sequences)));
        self.sequences = sequences as usize;
        self.summary.visit(visit);
        self.activity.visit(visit);
    }
}
