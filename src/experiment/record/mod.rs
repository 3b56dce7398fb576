//! Recording: what every neuron does while the model reads, in bounded memory.
//!
//! [`RecordInput`] says what is read and numbers the tokens. [`record`] runs it in passes; on the way through the layers
//! every [`MlpReader`] sees `gate`, `up` and `post` of a layer together and takes what it needs: the [`Summary`] of
//! every neuron and the [`ClassActivity`] of every class are the recording's own, and those of a [`RecordSink`] (`report`'s
//! files) come along. Nothing is kept of a token's activations but what they add to sums and to the lists of the strongest;
//! the sums of the passes, in their order, are joined.

mod activity;
mod budget;
mod class_sets;
mod input;
mod layer;
mod moments;
mod repeats;
mod rows;
mod strongest;
mod summary;
mod view;

pub use activity::{ClassActivity, SlotsRow};
pub use class_sets::ClassSets;
pub use input::{InputKind, Origin, RecordInput, RecordedRow, RecordedRows, Role};
pub use layer::{LayerRows, MlpReader};
pub use rows::{ActivationsRow, SummaryRow};
pub use strongest::strongest;
pub use summary::{GroupRow, Summary, TOP_TOKENS, TopTokens};
pub use view::{Activity, Levels, Quantity, Scope, class_view};

use std::ops::Range;

use budget::PassBudget;
use layer::MlpObserver;

use super::ExperimentError;
use super::forecast::Step;
use super::part::PlannedPass;
use super::run::Run;
use super::stage::{Measure, Measured, Pass, Stage};
use crate::engine::Engine;
use crate::hooks::{Condition, Observer, ReadError};

/// What is known of the recorded tokens: of all, or of those of a pass.
pub struct Recording<'s> {
    /// Every neuron.
    pub summary: Summary,
    /// Every class.
    pub activity: ClassActivity<'s>,
}

/// What is recorded.
#[derive(Clone)]
pub struct RecordPlan<'a> {
    /// What is read.
    pub input: &'a RecordInput,
    /// The recorded layers.
    pub layers: Range<usize>,
    /// The classes and their draws.
    pub sets: &'a ClassSets,
}

/// Those who read along while a pass runs.
#[derive(Default)]
pub struct Readers<'r> {
    /// Of whole layers.
    pub layers: Vec<&'r mut dyn MlpReader>,
    /// Of single sites.
    pub sites: Vec<&'r mut dyn Observer>,
}

/// Writes what a pass shows besides its sums.
pub trait RecordSink {
    /// The readers of pass number `pass`, of which `recorded` are the tokens.
    ///
    /// # Errors
    /// A file that cannot be made.
    fn begin(&mut self, pass: usize, recorded: &RecordedRows) -> Result<Readers<'_>, ReadError>;

    /// Ends the pass; the names of its files.
    ///
    /// # Errors
    /// What could not be written.
    fn end(&mut self) -> Result<Vec<String>, ReadError>;
}

/// Reads everything once, with the clean model.
///
/// # Errors
/// Those of the engine, of [`Run::measure`] and of the sink.
pub fn record<'a>(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    plan: &RecordPlan<'a>,
    sink: Option<&mut dyn RecordSink>,
) -> Result<Recording<'a>, ExperimentError> {
    let mut whole = plan.nothing_yet(engine);
    let beside = plan.beside(engine);
    let stage = plan.stage(&beside);
    let mut recorder = RecordMeasure { plan, sink };
    let ran = run.measure(&stage, &mut recorder, &mut |(groups, slots)| {
        let joined = whole.summary.join(&groups);
        joined
            .and_then(|()| whole.activity.join(&slots))
            .ok_or(ExperimentError::OtherRun)
    })?;
    ran.complete().map(|_| whole)
}

impl<'a> RecordPlan<'a> {
    /// The engine beside what is held. The sums are there up to four times: of all passes so far, of the one that is
    /// through, and that as tables and as the bytes of its part.
    fn beside<'m>(&self, engine: &Engine<'m>) -> Engine<'m> {
        engine.beside(self.input.bytes() + 4 * self.nothing_yet(engine).bytes())
    }

    fn stage<'s>(&'s self, beside: &'s Engine<'s>) -> Stage<'s> {
        let unit = match self.input.kind {
            InputKind::Prompts => "prompts",
            InputKind::Texts => "stretches of text",
        };
        Stage::edited(beside, (self.input.batch(), unit), &[Condition::Clean])
    }

    /// What [`record`] takes, with the sums that its passes leave.
    ///
    /// # Errors
    /// Not even the longest sequence has room.
    pub fn step(&self, engine: &Engine<'_>) -> Result<Step, ExperimentError> {
        let beside = self.beside(engine);
        let recorder = RecordMeasure {
            plan: self,
            sink: None,
        };
        let step = Step::of(&self.stage(&beside), &recorder, 0)?;
        let passes = step.passes.unwrap_or_default() as u64;
        Ok(Step {
            bytes: passes * self.nothing_yet(engine).bytes(),
            ..step
        })
    }

    fn nothing_yet(&self, engine: &Engine<'_>) -> Recording<'a> {
        let clusters = self.input.clusters();
        Recording {
            summary: Summary::new(self.layers.clone(), engine.config().d_mlp),
            activity: ClassActivity::new(self.sets, &clusters, self.layers.start),
        }
    }
}

impl Recording<'_> {
    /// Bytes that it holds, the same from the first token to the last.
    fn bytes(&self) -> u64 {
        self.summary.bytes() + self.activity.bytes()
    }
}

/// Measures the sums of a pass.
struct RecordMeasure<'r, 'a, 's> {
    plan: &'r RecordPlan<'a>,
    sink: Option<&'s mut dyn RecordSink>,
}

impl Measure for RecordMeasure<'_, '_, '_> {
    type Found = (Vec<GroupRow>, Vec<SlotsRow>);

    fn passes(&self, stage: &Stage<'_>) -> Result<Vec<PlannedPass>, ExperimentError> {
        let input = self.plan.input;
        Ok(PassBudget::of(stage.engine, input)?.passes(input))
    }

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Self::Found>, ExperimentError> {
        let recorded = self.plan.input.recorded(pass.batch);
        let mut sums = self.plan.nothing_yet(pass.engine);
        let readers = match &mut self.sink {
            Some(sink) => sink
                .begin(pass.number, &recorded)
                .map_err(ExperimentError::Store)?,
            None => Readers::default(),
        };
        let own: [&mut dyn MlpReader; 2] = [&mut sums.summary, &mut sums.activity];
        let readers_of_layers = own.into_iter().chain(readers.layers).collect();
        let mut mlp = MlpObserver::new(self.plan.layers.clone(), &recorded, readers_of_layers);
        let mut observers: Vec<&mut dyn Observer> = vec![&mut mlp];
        observers.extend(readers.sites);
        let edits = pass.run(&mut observers, None)?;
        let files = self.sink.as_mut().map(|sink| sink.end()).transpose();
        Ok(Measured {
            edits,
            files: files.map_err(ExperimentError::Store)?.unwrap_or_default(),
            found: (sums.summary.into_rows(), sums.activity.rows()),
        })
    }
}
