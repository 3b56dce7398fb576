//! What an ablation prints for a person.

use super::table::{ABSENT, Digits, table_of};
use super::treatments::first_positions;
use crate::experiment::{
    AblationPlan, Corruption, Effect, KnownByRelation, Metric, OF_MEDIAN, OF_OWN, Treatment, Versus,
};
use crate::report::view::{STUDENT, clusters_alike_in_words, of_effects, tests_in_words};
use crate::tokens::Positions;

/// The effects of a plan on what decides and on top-1 answers, a line per class; of pairs what is recovered, too.
pub fn print_effects(effects: &[Effect], plan: &AblationPlan) {
    let (subset, primary) = (plan.subset, plan.primary());
    let of = |metric| {
        effects
            .iter()
            .filter(move |effect| effect.metric == metric && effect.subset == subset)
    };
    let lost = |effect: &Effect| {
        let top1 = of(Metric::TOP1).find(|top1| top1.name() == effect.name());
        top1.map(|top1| top1.answers_lost())
    };
    let text = |lost: Option<f64>, decimals| {
        lost.map_or(ABSENT.to_string(), |lost| format!("{lost:.decimals$}"))
    };
    let versus = plan.versus();
    let mut columns = of_effects(of(*primary), Digits::Fixed(3)).number("facts\nlost", |effect| {
        text(lost(effect).map(|lost| lost.0), 0)
    });
    if versus == Versus::Baseline {
        columns = columns.number("lost by\nbaseline", |effect| {
            text(lost(effect).and_then(|lost| lost.1), 1)
        });
    }
    let what = if *primary == Metric::TARGET_LOGPROB {
        "mean log-probability of the target in nats".to_string()
    } else {
        format!("mean {}, {}", primary.title.to_lowercase(), primary.unit)
    };
    outln!("{what}; {}\n", compared_in_words(versus));
    outln!("{}", table_of(&columns, of(*primary)));
    print_clusters(of(*primary), versus);
    if let Some(recovered) = plan.recovered() {
        print_recovered(plan, of(*recovered));
    }
    print_tests(effects);
}

/// What the class is compared with.
pub fn compared_in_words(versus: Versus) -> &'static str {
    match versus {
        Versus::Baseline => "baseline: as many random neurons of the same layers",
        Versus::Clean => "compared with the clean model alone, without random neurons",
    }
}

/// What is recovered, a line per class.
fn print_recovered<'e>(plan: &AblationPlan, effects: impl Iterator<Item = &'e Effect> + Clone) {
    let what = recovered_in_words(plan);
    if effects.clone().next().is_some() {
        outln!("\n{what}\n");
        print_columns(effects, Digits::Fixed(3));
    } else {
        outln!("\n{what}: not given, since on average these two do not differ");
    }
}

/// A line per effect.
fn print_columns<'e>(effects: impl Iterator<Item = &'e Effect> + Clone, digits: Digits) {
    outln!(
        "{}",
        table_of(&of_effects(effects.clone(), digits), effects)
    );
}

/// What a recovered share is a share of.
pub fn recovered_in_words(plan: &AblationPlan) -> String {
    let between = match plan.corruption {
        Corruption::Counterfactual => {
            "difference of logits between fact (1) and counterfactual (0)"
        }
        Corruption::Noise(_) => "target's log-probability between fact (1) and fact with noise (0)",
    };
    format!("recovered of the {between}: a ratio of sums over prompts")
}

/// What the p mean.
pub fn print_tests<'e>(effects: impl IntoIterator<Item = &'e Effect>) {
    let estimates = effects.into_iter().map(|effect| &effect.estimate);
    let lines = tests_in_words(estimates);
    if !lines.is_empty() {
        outln!("\n{STUDENT}\n{}", lines.join("\n"));
    }
}

/// With fewer clusters an interval over them has hardly any degrees of freedom.
const FEWEST_CLUSTERS: usize = 10;

/// What the effects are where every relation counts alike.
fn print_clusters<'e>(effects: impl Iterator<Item = &'e Effect> + Clone, versus: Versus) {
    let alike = clusters_alike_in_words(effects.clone(), Digits::Fixed(3));
    let Some(effect) = effects.clone().next().filter(|_| !alike.is_empty()) else {
        return;
    };
    let against = match versus {
        Versus::Baseline => "",
        Versus::Clean => " to clean",
    };
    outln!(
        "\nIntervals are over the {} relations of these prompts. Where every relation counts alike, the difference{against} is:",
        effect.clusters
    );
    outln!("{}", alike.join(", "));
}

/// Says where there are too few relations for intervals over them.
pub fn warn_of_few_clusters(effects: &[Effect]) {
    let mut together = effects.iter().filter(|e| e.clusters_alike.is_some());
    let Some(clusters) = together.next().map(|effect| effect.clusters) else {
        return;
    };
    if clusters < FEWEST_CLUSTERS {
        notice!(
            "warning: {clusters} relations are few: below {FEWEST_CLUSTERS} clusters the intervals are wide and too optimistic"
        );
    }
}

/// How much more the classes of a plan write than their draws, where that was measured, and what decides by itself.
pub fn print_contributions(plan: &AblationPlan) {
    let ratio = |t: &Treatment| Some(format!("{} ×{:.2}", t.class, t.written.as_ref()?.ratio?));
    let ratios: Vec<String> = plan.treatments.iter().filter_map(ratio).collect();
    if !ratios.is_empty() {
        outln!(
            "\ncontribution of the class (sum of mean |post|·‖w_out‖, first position left out) over the mean of its \
             draws:\n  {}",
            ratios.join(", ")
        );
    }
    print_first_positions(plan);
}

/// The first-position neurons that classes or draws hold, where the edit reaches the first position, a line per class.
pub fn print_first_positions(plan: &AblationPlan) {
    let found = first_positions(plan);
    if found.is_empty() || [Positions::NotFirst, Positions::Last].contains(&plan.positions) {
        return;
    }
    outln!(
        "\nfirst-position neurons (there over {OF_MEDIAN} times the contribution of the layer's median neuron, and \
         over {OF_OWN} times their own elsewhere):"
    );
    let draws = plan.treatments.iter().map(|t| t.baseline.len()).max();
    for of_class in found.chunk_by(|a, b| a.0 == b.0) {
        let held = of_class.iter().map(|(_, found)| {
            if found.in_class {
                format!("{} in the class", found.neuron)
            } else {
                let draws = draws.unwrap_or(0);
                format!("{} in {} of {draws} draws", found.neuron, found.draws)
            }
        });
        outln!(
            "  {}: {}",
            of_class[0].0,
            held.collect::<Vec<_>>().join(", ")
        );
    }
    outln!("one of them may decide an effect: see what is left with --positions not-first");
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
pub fn print_rates<'e>(effects: impl Iterator<Item = &'e Effect> + Clone) {
    print_columns(effects, Digits::Points);
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
        print_columns(of_metric, Digits::Fixed(3));
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
    let percent = (100.0 * r.known as f64 / r.prompts.max(1) as f64).round();
    format!(
        "{name:<22} {:>3} of {:>3} {percent:>3} %",
        r.known, r.prompts
    )
}
