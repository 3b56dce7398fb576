//! By which way what an edit changes reaches the logits.

use strum::Display;

/// A way through the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Path {
    /// All that comes later sees the change: attention, later neurons, the final norm.
    #[default]
    Total,
    /// The final norm and the head see it alone; all between reads the unedited residual, and so does an edit in a later
    /// layer. A norm after the MLP divides by what it does without the edit.
    Direct,
    /// The same, and what the final norm divides by stays that of the unedited run, too. Changes of the logits are sums then of
    /// what single neurons change (before a soft cap).
    DirectFrozenNorm,
}
