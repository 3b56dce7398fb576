//! Where one may look into a model, and what one may change there.
//!
//! A [`Site`] names a tensor of the forward pass; an [`Observer`] reads its rows and cannot change
//! them; an [`Edit`] changes chosen neurons at `hook_post` and nothing else. When each of them runs
//! is the engine's business.

mod condition;
mod donors;
mod edit;
mod means;
mod mode;
pub mod neurons;
mod observer;
mod path;
mod reference;
mod roles;
mod sign_case;
mod site;

pub use condition::Condition;
pub use donors::{DonorRecording, Donors, choose_donors};
pub(crate) use edit::tensors::EditedRows;
pub(crate) use edit::{BatchEdit, LayerEdit};
pub use edit::{Edit, EditCount};
pub use means::{MeanSums, NeuronMean, NeuronMeans};
pub use mode::{Mode, Needs, Reference};
pub use neurons::{Neuron, NeuronError, NeuronSet};
pub use observer::{Observer, ReadError, Recorder, Selection, SiteRows};
pub use path::Path;
pub use reference::ReferenceError;
pub use sign_case::{RawCase, ReferenceSigns, SignCase, SignConvention};
pub use site::{HookError, HookPoint, Site};
