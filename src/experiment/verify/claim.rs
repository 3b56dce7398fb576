//! The claims, a row each.

use serde::{Serialize, Serializer};

use super::super::ExperimentError;
use super::finding::Finding;
use super::needs::Need;
use super::results::Results;
use super::{depletion, frequency, indirect, patch, recall, subjects, weights};
use crate::io_class::Class;

/// A claim of the paper (Gerstner and Schütze, arXiv 2505.17936); docs/claims.md says what came of each.
pub struct Claim {
    /// The name in files and on the command line.
    pub name: &'static str,
    /// The claim.
    pub sentence: &'static str,
    /// What was published, for comparison.
    pub published: &'static str,
    /// What it is about.
    pub about: About,
    /// What must be run for it.
    pub(super) needs: &'static [Need],
    /// Its tests.
    pub(super) judge: fn(&Results<'_>) -> Result<Vec<Finding>, ExperimentError>,
}

/// What a claim says something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The neurons that have a class.
    Labels,
    /// Counts or cosines of all neurons.
    Counts,
}

const NO_FIGURE: &str = "no figure published";

/// Every claim, in the order of the table.
pub static CLAIMS: [Claim; 12] = [
    Claim {
        name: "depth-enrichment",
        sentence: "Enrichment neurons lie in earlier layers than depletion neurons.",
        published: "-.146 to -.389 of the depth (the class tables of the twelve models)",
        about: About::Labels,
        needs: &[],
        judge: |results| {
            Ok(weights::depth_enrichment(
                results.input.table,
                &results.settings.statistics,
            ))
        },
    },
    Claim {
        name: "depth-median",
        sentence: "The median of cos(w_in, w_out) is positive in the first 60 % of layers and falls over the last half.",
        published: "median .4 to .66 at its top, below 0 in the last layers; OLMo-1B below 0 from layer 4",
        about: About::Counts,
        needs: &[],
        judge: |results| {
            Ok(weights::depth_median(
                results.input.table,
                &results.settings.statistics,
            ))
        },
    },
    Claim {
        name: "rare-depletion",
        sentence: "Depletion neurons are less than 1 % of all, and more than half of them lie in the second half.",
        published: "0.13 to 0.36 % of neurons, mostly late",
        about: About::Counts,
        needs: &[],
        judge: |results| {
            Ok(weights::rare_depletion(
                results.input.table,
                results.input.model.config().d_model,
                &results.settings.statistics,
            ))
        },
    },
    Claim {
        name: "frequency-depletion",
        sentence: "Depletion neurons have a positive gate more often than random neurons of their layers.",
        published: ".72 against .38 (OLMo-7B), .58/.28 (Llama-3.1-8B), .54/.28 (Llama-3.2-3B)",
        about: About::Labels,
        needs: &[Need::Frequency(Class::Depletion)],
        judge: frequency::depletion,
    },
    Claim {
        name: "frequency-enrichment",
        sentence: "Conditional enrichment neurons have a positive gate less often than random neurons of their layers.",
        published: ".13 against .37 (OLMo-7B), .10/.22 (Llama-3.1-8B), .11/.20 (Llama-3.2-3B)",
        about: About::Labels,
        needs: &[Need::Frequency(Class::ConditionalEnrichment)],
        judge: frequency::enrichment,
    },
    Claim {
        name: "enrichment-recall",
        sentence: "Without enrichment neurons known answers become less likely, more than any text does.",
        published: NO_FIGURE,
        about: About::Labels,
        needs: &[Need::Recall],
        judge: recall::enrichment_recall,
    },
    Claim {
        name: "specific-recall",
        sentence: "Without enrichment neurons a known answer loses more log-probability than the next token of any text.",
        published: NO_FIGURE,
        about: About::Labels,
        needs: &[Need::Recall],
        judge: recall::specific_recall,
    },
    Claim {
        name: "enrichment-patch",
        sentence: "With the values that enrichment neurons have at another subject, the known answer loses to that subject's.",
        published: NO_FIGURE,
        about: About::Labels,
        needs: &[Need::Patch],
        judge: patch::enrichment_patch,
    },
    Claim {
        name: "enrichment-indirect",
        sentence: "More than half of what known answers lose without enrichment neurons they lose by way of later layers.",
        published: NO_FIGURE,
        about: About::Labels,
        needs: &[Need::Direct],
        judge: indirect::enrichment_indirect,
    },
    Claim {
        name: "depletion-entropy",
        sentence: "Without depletion neurons the predictions of running text have a higher entropy.",
        published: "OLMo-7B: +.53 nats, its baseline -.004",
        about: About::Labels,
        needs: &[Need::Entropy],
        judge: depletion::depletion_entropy,
    },
    Claim {
        name: "depletion-sign",
        sentence: "What depletion neurons do to entropy they do where gate is negative and post positive.",
        published: "OLMo-7B: +2.28 nats for gate-,post+, nearly nothing for the others; mean ablation +.05",
        about: About::Labels,
        needs: &[Need::SignCases],
        judge: depletion::depletion_sign,
    },
    Claim {
        name: "enrichment-attributes",
        sentence: "Without enrichment neurons the subject's last token promotes fewer words about the subject.",
        published: "OLMo-7B: conditional enrichment -8.7 points, its smaller baseline -6.2; enrichment 0.0",
        about: About::Labels,
        needs: &[Need::Attributes],
        judge: subjects::enrichment_attributes,
    },
];

impl Claim {
    /// The claim of this name.
    ///
    /// # Errors
    /// A sentence with the names that there are.
    pub fn named(name: &str) -> Result<&'static Claim, String> {
        CLAIMS
            .iter()
            .find(|claim| claim.name == name)
            .ok_or_else(|| {
                let names = CLAIMS.each_ref().map(|claim| claim.name);
                format!("`{name}` is no claim; accepted: {}", names.join(", "))
            })
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name)
    }
}
