//! Experiments: from a plan to outcomes per prompt and condition, and from those to estimates.
//!
//! Every command that runs the model is the same thing with other words: a plan says which conditions run on which units,
//! a [`Run`] makes the passes of its [`Stage`]s and keeps their parts, a [`Measure`] reads numbers off each pass, and
//! estimates are made of these. [`ablate`] is the whole way of one experiment. None knows of files: prompts come in as a
//! batch, outcomes and effects go out as plain records, which `report` writes.

mod ablate;
pub mod attributes;
mod chosen;
mod contribution;
mod corruption;
mod effect_path;
mod effects;
mod error;
mod evidence;
mod facts;
mod first_order;
mod forecast;
mod generate;
mod groups;
mod known;
mod metric;
mod neuron;
mod noise;
mod outcome;
mod part;
mod plan;
pub mod rank;
pub mod record;
mod recovered;
mod reference;
mod run;
mod sampling;
mod score;
mod stage;
mod sweep;
mod text;
mod unedited;
pub mod verify;
mod window;

pub use ablate::{Ablation, ablate, ablation_steps};
pub use contribution::{Contributions, MatchedBy, OF_MEDIAN, OF_OWN};
pub use corruption::{Corruption, NoiseSettings, PatchDirection};
pub use effect_path::EffectPath;
pub use effects::{ArmMeans, Effect, Estimate};
pub use error::ExperimentError;
pub use evidence::{Evidence, Versus};
pub use facts::Facts;
pub use first_order::FirstOrderEffects;
pub use forecast::{Step, expected_times};
pub use generate::Generator;
pub use known::{KnownByRelation, KnownIn, KnownWhen, Naming};
pub use metric::{METRICS, Metric, Source};
pub use neuron::{Firing, FiringStatistics, NeuronActivity, SignCaseSummary, neuron_activity};
pub use outcome::{Arm, ConditionRow, Outcome, PromptSubset};
pub use part::{Part, PartStore, PlannedPass, Shard, Sharing, StagePlan, StoreError, Tables};
pub use plan::{
    AblationPlan, FirstOrder, FirstOrderSums, FirstPosition, MeasuredOver, NEAR, Treatment, Written,
};
pub use reference::CleanReference;
pub use run::{Ran, Run};
pub use sampling::Choice;
pub use score::{Score, Scorer, TokenScore};
pub use stage::{Measure, Measured, NullEdits, Pass, Stage};
pub use sweep::{Cell, SweepPlan};
pub use text::{TextAblation, TokenOutcome, TokenSink, ablate_text, predicted, text_steps};
pub use window::{LayerWindow, layer_windows};
