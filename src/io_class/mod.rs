//! Input-output classes: what a gated neuron writes, compared with what it reads.
//!
//! Three cosines between a neuron's weights, each compared with one threshold, put it into one of eleven
//! classes: enrichment writes the direction it reads, depletion writes against it, proportional change
//! scales its gate direction, orthogonal output does none of these (Gerstner and Schütze, arXiv 2505.17936).
//! [`classify_layer`] makes the rows of one layer, a [`NeuronTable`] holds them all, [`NeuronTable::select`]
//! turns a [`ClassQuery`] into a set of neurons, and [`matched_draws`] gives the random sets that the class is compared with.
//! [`ChanceLevels`] says how many cosines are larger than chance makes them, and [`PublishedTables`] holds the class
//! counts of the paper's models.
//!
//! The stage sees weights only: no text, no activations, no edits; how often neurons fire and how much they write,
//! which draws may be matched by, is given to it. It never changes a weight; folding and
//! signs are applied to copies of single rows while their cosines are taken.

mod chance;
mod class;
mod cosines;
mod error;
mod fold;
mod folded;
mod lens;
mod matched;
mod output;
mod published;
mod query;
mod select;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod weights;

pub use chance::{
    Beyond, ChanceLevels, LayerChance, PerPair, Region, TAIL, beta_region, mismatched_flop,
    mismatched_layer, mismatched_regions,
};
pub use class::{Class, check_threshold, class_of};
pub use cosines::{Cosines, NeuronRow, classify_layer};
pub use error::ClassError;
pub use fold::Fold;
pub use lens::{LensToken, NeuronLens, Ranked, neuron_lens};
pub use matched::{
    Match, MatchedDraws, Matching, NeuronNumbers, Shortfall, matched_draws, matched_subset,
};
pub use output::output_norms;
pub use published::{
    COUNT_TOLERANCE, Comparison, Course, Descent, Difference, MEDIAN_TOLERANCE, ModelName,
    PUBLISHED_THRESHOLD, Published, PublishedTable, PublishedTables, Verdict,
};
pub use query::ClassQuery;
pub use select::check_layers;
pub use table::{ClassCounts, NeuronTable};
pub use weights::MlpWeights;
