//! What the logits of a row say of the token that is right, by either kind of operations.
//!
//! In rows of this machine's memory, sums over the vocabulary run in f64; on a device, where logits stay, in f32.

mod fused;
mod tensors;

pub(crate) use fused::log_sum_exp;
pub(super) use fused::score as score_row;
pub(super) use tensors::score as score_tensor;

/// What is asked of a row of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The token that is right.
    pub token: u32,
    /// Another one, whose logit is subtracted from the right one's.
    pub against: Option<u32>,
    /// How much of the distribution.
    pub of: Detail,
}

/// How much of a distribution over the next token is asked for; the more, the longer it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The right token's log-probability and rank.
    Token,
    /// Its entropy as well.
    Entropy,
    /// The most probable token as well, and the divergence from the unedited distribution.
    Whole,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowScore {
    /// Log-probability of the right token, nats.
    pub logprob: f64,
    /// Its rank, 1 is best.
    pub rank: u32,
    /// Its logit minus the other token's, where one was asked for.
    pub logit_diff: Option<f64>,
    /// Entropy, nats; not a number where it was not asked for.
    pub entropy_nats: f64,
    /// KL divergence of this distribution from the unedited one, nats; 0 where that was not given or not asked for.
    pub kl_nats: f64,
    /// The most probable token, of equal ones the first (on a CUDA device any of them); 0 where it was not asked for.
    pub top_token: u32,
}
