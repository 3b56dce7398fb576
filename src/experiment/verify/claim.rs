//! The claims by name, and what a test of one says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A claim of the paper (PAPER 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimId {
    /// Enrichment neurons lie in earlier layers than depletion neurons.
    DepthEnrichment,
    /// The median of cos(w_in, w_out) is positive in early layers and falls in late ones.
    DepthMedian,
    /// Depletion neurons are few, and mostly late.
    RareDepletion,
    /// Depletion neurons fire often.
    FrequencyDepletion,
    /// Conditional enrichment neurons fire seldom.
    FrequencyEnrichment,
    /// Enrichment neurons add the subject's attributes.
    EnrichmentAttributes,
    /// Enrichment neurons help to recall facts.
    EnrichmentRecall,
    /// Depletion neurons make predictions sharper.
    DepletionEntropy,
    /// They do so where gate is negative and post positive.
    DepletionSign,
    /// What an ablation costs in recall it does not cost in any text.
    SpecificRecall,
}

impl ClaimId {
    /// Every claim, in the order of the table.
    pub const ALL: [ClaimId; 10] = [
        ClaimId::DepthEnrichment,
        ClaimId::DepthMedian,
        ClaimId::RareDepletion,
        ClaimId::FrequencyDepletion,
        ClaimId::FrequencyEnrichment,
        ClaimId::EnrichmentAttributes,
        ClaimId::EnrichmentRecall,
        ClaimId::DepletionEntropy,
        ClaimId::DepletionSign,
        ClaimId::SpecificRecall,
    ];

    /// The name in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClaimId::DepthEnrichment => "depth-enrichment",
            ClaimId::DepthMedian => "depth-median",
            ClaimId::RareDepletion => "rare-depletion",
            ClaimId::FrequencyDepletion => "frequency-depletion",
            ClaimId::FrequencyEnrichment => "frequency-enrichment",
            ClaimId::EnrichmentAttributes => "enrichment-attributes",
            ClaimId::EnrichmentRecall => "enrichment-recall",
            ClaimId::DepletionEntropy => "depletion-entropy",
            ClaimId::DepletionSign => "depletion-sign",
            ClaimId::SpecificRecall => "specific-recall",
        }
    }

    /// Whether it says something of the neurons of a class, and not only of counts or cosines.
    pub const fn is_about_labels(self) -> bool {
        !matches!(self, ClaimId::DepthMedian | ClaimId::RareDepletion)
    }

    /// The claim in a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            ClaimId::DepthEnrichment => {
                "Enrichment neurons lie in earlier layers than depletion neurons."
            }
            ClaimId::DepthMedian => {
                "The median of cos(w_in, w_out) is positive in the first 60 % of layers and falls over the last half."
            }
            ClaimId::RareDepletion => {
                "Depletion neurons are less than 1 % of all, and more than half of them lie in the second half."
            }
            ClaimId::FrequencyDepletion => {
                "Depletion neurons have a positive gate more often than random neurons of their layers."
            }
            ClaimId::FrequencyEnrichment => {
                "Conditional enrichment neurons have a positive gate less often than random neurons of their layers."
            }
            ClaimId::EnrichmentAttributes => {
                "Without enrichment neurons the subject's last token promotes fewer words about the subject."
            }
            ClaimId::EnrichmentRecall => {
                "Without enrichment neurons known answers become less likely, more than any text does."
            }
            ClaimId::DepletionEntropy => {
                "Without depletion neurons the predictions of running text have a higher entropy."
            }
            ClaimId::DepletionSign => {
                "What depletion neurons do to entropy they do where gate is negative and post positive."
            }
            ClaimId::SpecificRecall => {
                "Without enrichment neurons a known answer loses more log-probability than the next token of any text."
            }
        }
    }

    /// What was published, for comparison (PAPER 2).
    pub const fn published(self) -> &'static str {
        match self {
            ClaimId::DepthEnrichment | ClaimId::EnrichmentRecall | ClaimId::SpecificRecall => {
                "no figure published"
            }
            ClaimId::DepthMedian => {
                "median .4 to .66 at its top, below 0 in the last layers; OLMo-1B below 0 from layer 4"
            }
            ClaimId::RareDepletion => "0.13 to 0.36 % of neurons, mostly late",
            ClaimId::FrequencyDepletion => {
                ".72 against .38 (OLMo-7B), .58/.28 (Llama-3.1-8B), .54/.28 (Llama-3.2-3B)"
            }
            ClaimId::FrequencyEnrichment => {
                ".13 against .37 (OLMo-7B), .10/.22 (Llama-3.1-8B), .11/.20 (Llama-3.2-3B)"
            }
            ClaimId::EnrichmentAttributes => {
                "OLMo-7B: conditional enrichment -8.7 points, its smaller baseline -6.2; enrichment 0.0"
            }
            ClaimId::DepletionEntropy => "OLMo-7B: +.53 nats, its baseline -.004",
            ClaimId::DepletionSign => {
                "OLMo-7B: +2.28 nats for gate-,post+, nearly nothing for the others; mean ablation +.05"
            }
        }
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ClaimId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || ClaimId::ALL.into_iter();
        known().find(|claim| claim.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = known().map(ClaimId::as_str).collect();
            format!("`{name}` is no claim; accepted: {}", names.join(", "))
        })
    }
}

/// What a test says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The claim's direction, beyond chance.
    #[serde(rename = "supported")]
    Supported,
    /// The other direction, beyond chance.
    #[serde(rename = "contradicted")]
    Contradicted,
    /// Within what chance does.
    #[serde(rename = "not distinguishable")]
    NotDistinguishable,
    /// The model or the input does not have what the test needs.
    #[serde(rename = "not testable")]
    NotTestable,
}

impl Verdict {
    /// As in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Supported => "supported",
            Verdict::Contradicted => "contradicted",
            Verdict::NotDistinguishable => "not distinguishable",
            Verdict::NotTestable => "not testable",
        }
    }
}

/// What the claim says of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Below the comparison.
    Lower,
    /// Above it.
    Higher,
}

impl Direction {
    /// Whether an estimate lies on the claimed side of 0.
    pub fn holds(self, estimate: f64) -> bool {
        match self {
            Direction::Lower => estimate < 0.0,
            Direction::Higher => estimate > 0.0,
        }
    }

    /// As in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
        }
    }
}

/// One test of a claim; an entry of `claims.json`. What could not be estimated is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimTest {
    /// Which claim.
    pub id: ClaimId,
    /// The claim in a sentence.
    pub claim: &'static str,
    /// What is measured, with its unit.
    pub quantity: String,
    /// Where the claim has it.
    pub direction: Direction,
    /// What it is compared with.
    pub compared_with: String,
    /// The difference to that.
    pub estimate: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end.
    pub ci_high: Option<f64>,
    /// Two-sided.
    pub p: Option<f64>,
    /// Holm-adjusted over all tests of the run.
    pub p_adjusted: Option<f64>,
    /// Random sets.
    pub draws: usize,
    /// Prompts, documents, neurons or layers.
    pub n: usize,
    /// What was published.
    pub published: &'static str,
    /// What follows.
    pub verdict: Verdict,
    /// The figures behind it, or why there is none.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for claim in ClaimId::ALL {
            assert_eq!(claim.as_str().parse(), Ok(claim));
            let json = serde_json::to_value(claim).unwrap();
            assert_eq!(json, claim.as_str());
        }
        assert!(
            "depth"
                .parse::<ClaimId>()
                .unwrap_err()
                .contains("depth-median")
        );
    }
}
