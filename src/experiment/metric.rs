//! The numbers per unit whose means are compared between arms: a row each. What a row says is all that tables and pages
//! know of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attributes::Share;
use super::score::{Score, TokenScore};

/// A number per unit, a prompt or a document.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In files.
    pub name: &'static str,
    /// For a person.
    pub title: &'static str,
    /// Of its values.
    pub unit: &'static str,
    /// What it is read off.
    pub of: Source,
}

/// What a metric is read off.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A prompt's score; some have no such number.
    Fact(fn(&Score) -> Option<f64>),
    /// What is left of such a number's difference between a fact and its corrupted run, a ratio of sums over facts.
    Recovered(fn(&Score) -> Option<f64>),
    /// The score of every token; a document's value is the mean.
    Token(fn(&TokenScore) -> f64),
    /// The tokens that a subject's residual points at; some have no value.
    Subject(fn(Share) -> Option<f64>),
}

const fn fact(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    of: fn(&Score) -> Option<f64>,
) -> Metric {
    let of = Source::Fact(of);
    Metric {
        name,
        title,
        unit,
        of,
    }
}

const fn token(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    of: fn(&TokenScore) -> f64,
) -> Metric {
    let of = Source::Token(of);
    Metric {
        name,
        title,
        unit,
        of,
    }
}

/// Every metric, in the order of `effects.json`.
pub static METRICS: [Metric; 14] = [
    Metric::TARGET_LOGPROB,
    Metric::FIRST_LOGPROB,
    Metric::TOP1,
    Metric::ENTROPY,
    fact("kl", "KL divergence from clean", "nats", |score| {
        Some(score.kl_nats)
    }),
    Metric::LOGIT_DIFF,
    Metric::RECOVERED,
    Metric::RECOVERED_LOGPROB,
    Metric::LOSS,
    Metric::TOKEN_ENTROPY,
    token("rank", "Rank of the right token", "ranks", |score| {
        f64::from(score.rank)
    }),
    token(
        "log_scale",
        "Log of the final norm's scale",
        "natural log",
        |score| score.log_scale,
    ),
    Metric::ATTRIBUTE_RATE,
    Metric::ATTRIBUTE_EXCESS,
];

impl Metric {
    /// Log-probability of the whole target.
    pub const TARGET_LOGPROB: Metric = fact(
        "target_logprob",
        "Log-probability of the whole target",
        "nats",
        |score| Some(score.target_logprob),
    );

    /// Log-probability of the first target token.
    pub const FIRST_LOGPROB: Metric = fact(
        "first_logprob",
        "Log-probability of its first token",
        "nats",
        |score| Some(score.first_logprob),
    );

    /// 1 where the first target token is the top-1, else 0.
    pub const TOP1: Metric = fact(
        "top1",
        "Facts answered (first token is top-1)",
        "share of prompts",
        |score| Some(f64::from(u8::from(score.first_rank == 1))),
    );

    /// Entropy at the last prompt token.
    pub const ENTROPY: Metric = fact(
        "entropy",
        "Entropy at the last prompt token",
        "nats",
        |score| Some(score.entropy_nats),
    );

    /// Logit of the target's first token minus that of the counterfactual's, of facts that have one.
    pub const LOGIT_DIFF: Metric = fact(
        "logit_diff",
        "Logit of the target minus the counterfactual's",
        "logits",
        |score| score.logit_diff,
    );

    /// (patched - corrupted) / (clean - corrupted) of the same, where values are patched: 1 as the fact, 0 as its counterfactual.
    pub const RECOVERED: Metric = Metric {
        name: "recovered",
        title: "Recovered of the difference of logits",
        unit: "share",
        of: Source::Recovered(|score| score.logit_diff),
    };

    /// The same of the target's log-probability, which needs no other answer: 1 as the fact, 0 as its corrupted run.
    pub const RECOVERED_LOGPROB: Metric = Metric {
        name: "recovered_logprob",
        title: "Recovered of the target's log-probability",
        unit: "share",
        of: Source::Recovered(|score| Some(score.target_logprob)),
    };

    /// Minus the log-probability of the next token.
    pub const LOSS: Metric = token("loss", "Loss per token of text", "nats", |score| {
        score.loss_nats
    });

    /// Entropy of a text's predictions.
    pub const TOKEN_ENTROPY: Metric = token(
        "token_entropy",
        "Entropy per token of text",
        "nats",
        |score| score.entropy_nats,
    );

    /// Share of the tokens that a subject's residual points at which a text about it has, 0 to 1.
    pub const ATTRIBUTE_RATE: Metric = Metric {
        name: "attribute_rate",
        title: "Attribute rate",
        unit: "share of tokens",
        of: Source::Subject(Share::rate),
    };

    /// The attribute rate minus the mean rate with the texts of all other subjects, -1 to 1.
    pub const ATTRIBUTE_EXCESS: Metric = Metric {
        name: "attribute_excess",
        title: "Attribute rate beyond other subjects' texts",
        unit: "share of tokens",
        of: Source::Subject(Share::excess),
    };

    /// Whether it is one of running text.
    pub fn is_of_text(&self) -> bool {
        matches!(self.of, Source::Token(_))
    }
}

/// How many metrics of text there are.
pub(super) const TEXT_METRICS: usize = 4;

/// The metrics of prompts.
pub(super) fn of_facts() -> impl Iterator<Item = &'static Metric> {
    METRICS
        .iter()
        .filter(|metric| matches!(metric.of, Source::Fact(_) | Source::Recovered(_)))
}

/// The metrics of text, with how each is read.
pub(super) fn of_text() -> impl Iterator<Item = (&'static Metric, fn(&TokenScore) -> f64)> {
    METRICS.iter().filter_map(|metric| match metric.of {
        Source::Token(of) => Some((metric, of)),
        _ => None,
    })
}

/// The metrics of subjects, with how each is read.
pub(super) fn of_subjects() -> impl Iterator<Item = (&'static Metric, fn(Share) -> Option<f64>)> {
    METRICS.iter().filter_map(|metric| match metric.of {
        Source::Subject(of) => Some((metric, of)),
        _ => None,
    })
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let known = METRICS.iter().find(|metric| metric.name == name);
        let unknown = || serde::de::Error::custom(format!("no metric is called {name}"));
        known.copied().ok_or_else(unknown)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Metric {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = METRICS.iter().map(|metric| {
            let description = format!("{}, {}.", metric.title, metric.unit);
            serde_json::json!({"type": "string", "const": metric.name, "description": description})
        });
        schemars::json_schema!({
            "description": "A number per prompt, document or subject, with its unit.",
            "oneOf": names.collect::<Vec<_>>(),
        })
    }
}
