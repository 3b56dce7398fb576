//! Runs a model over a batch under many conditions, layer by layer.
//!
//! The layers are the outer loop and everything else is inside. All conditions start in one
//! *stream*, a residual `[tokens, d_model]` with the conditions that share it. At each layer
//! attention, `gate`, `up` and `post` are computed once per stream; where conditions differ, the
//! stream forks from the edit on. So a condition costs nothing before its first edited layer, and
//! only one layer's weights are needed at a time.
//!
//! Prompts that begin alike share the rows of what they have in common (`prefixes`), and edits at some positions have rows
//! from the first of these on (`tail`). What goes straight to the final norm walks through no layer again (`direct`).
//!
//! There is no second forward pass: a plain run is one [`Condition::Clean`](crate::hooks::Condition::Clean), no observers and a
//! [`Readout`].

mod backward;
mod counts;
mod direct;
mod embed;
mod error;
mod finite;
mod head;
mod logits;
mod memory;
mod post;
mod precision;
mod prefixes;
mod progress;
mod rows;
mod run;
mod scores;
mod selected;
mod session;
mod stream;
mod tail;
mod unembed;
mod walk;

pub use backward::{GradientSink, LogitGradient, NeuronGradients, check_gradient_precision};
pub use error::EngineError;
pub use head::Readout;
pub use logits::{KeptLogits, LogitBlock};
pub use precision::Precision;
pub use progress::Progress;
pub use run::{Engine, check_edits};
pub(crate) use scores::log_sum_exp;
pub use scores::{Asked, Detail, RowScore};
pub use session::Session;
pub use unembed::Lens;
