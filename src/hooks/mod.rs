//! Where one may look into a model, and what one may change there.
//!
//! A [`Site`] names a tensor of the forward pass; an [`Observer`] reads its rows and cannot change
//! them; an [`Edit`] changes chosen neurons at `hook_post` and nothing else. When each of them runs
//! is the engine's business.

mod edit;
pub mod neurons;
mod observer;
mod site;

pub use edit::{Condition, Edit, EditCount, LayerEdit, Mode, SignCase};
pub use neurons::{Neuron, NeuronError, NeuronSet};
pub use observer::{Observer, Recorder, SiteRows};
pub use site::{HookError, HookPoint, Site};
