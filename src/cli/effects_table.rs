//! What an ablation prints for a person.

use super::table::{ABSENT, Digits, table_of};
use crate::experiment::{Effect, KnownByRelation, Metric, PromptSubset, Versus};
use crate::report::view::of_effect;

/// The effects on the whole target's log-probability and on top-1 answers, a line per class.
pub fn print_effects(effects: &[Effect], subset: PromptSubset) {
    let of = |metric| {
        effects
            .iter()
            .filter(move |effect| effect.metric == metric && effect.subset == subset)
    };
    let lost = |effect: &Effect| {
        let top1 = of(Metric::TOP1).find(|top1| top1.class == effect.class);
        top1.map(|top1| top1.answers_lost())
    };
    let text = |lost: Option<f64>, decimals| {
        lost.map_or(ABSENT.to_string(), |lost| format!("{lost:.decimals$}"))
    };
    let columns = of_effect(Digits::Fixed(3))
        .number("facts\nlost", |effect| {
            text(lost(effect).map(|lost| lost.0), 0)
        })
        .number("lost by\nbaseline", |effect| {
            text(lost(effect).and_then(|lost| lost.1), 1)
        });
    outln!(
        "mean log-probability of the target in nats; baseline: as many random neurons of the same layers\n"
    );
    outln!("{}", table_of(&columns, of(Metric::TARGET_LOGPROB)));
    print_tests(effects);
}

/// What the adjusted and the permutation p mean.
pub fn print_tests<'e>(effects: impl IntoIterator<Item = &'e Effect, IntoIter: Clone>) {
    let mut effects = effects.into_iter();
    let tests = effects
        .clone()
        .filter(|effect| effect.estimate.p.is_some())
        .count();
    if let Some(floor) = effects.find_map(|effect| effect.estimate.permutation_floor) {
        outln!("\nHolm: adjusted over all {tests} tests of the run.");
        outln!("perm.: rank among the draws; so many draws cannot give less than {floor:.3}.");
    }
}

/// A difference with its mark, so wide that the numbers of a column stand in line.
pub fn marked(effect: Option<&Effect>, versus: Versus, digits: Digits) -> String {
    let difference = effect.and_then(|effect| {
        let number = digits.signed(effect.difference(versus)?);
        Some(format!("{number}{:<2}", effect.evidence(versus).mark()))
    });
    difference.unwrap_or_else(|| format!("{ABSENT}  "))
}

/// The effects on mean attribute rates, a line per class.
pub fn print_rates<'e>(effects: impl Iterator<Item = &'e Effect>) {
    outln!("{}", table_of(&of_effect(Digits::Points), effects));
}

/// The effects on text: loss and entropy, a line per class each.
pub fn print_text_effects(effects: &[Effect]) {
    for (metric, name) in [
        (
            Metric::LOSS,
            "loss (minus log-probability of the next token)",
        ),
        (Metric::TOKEN_ENTROPY, "entropy of the prediction"),
    ] {
        let of_metric = effects.iter().filter(|effect| effect.metric == metric);
        outln!("\n{name}, mean over documents, nats\n");
        outln!("{}", table_of(&of_effect(Digits::Fixed(3)), of_metric));
    }
    print_tests(effects);
}

/// How many facts of each relation the model knows, two relations a line.
pub fn print_relations(relations: &[KnownByRelation]) {
    outln!("known (top-1 of the first target token) by relation:");
    for pair in relations.chunks(2) {
        let cells: Vec<String> = pair.iter().map(relation).collect();
        outln!("  {}", cells.join("   "));
    }
}

fn relation(r: &KnownByRelation) -> String {
    let name = if r.relation.is_empty() {
        "(no relation)"
    } else {
        &r.relation
    };
    let percent = 100 * r.known / r.prompts.max(1);
    format!(
        "{name:<22} {:>3} of {:>3} {percent:>3} %",
        r.known, r.prompts
    )
}
