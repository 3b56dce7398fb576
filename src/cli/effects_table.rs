//! What an ablation prints for a person.

use super::table::{count, number_table, p_value};
use crate::experiment::{AblationPlan, Effect, KnownByRelation, Metric, PromptSubset};

/// Below this many draws the p against the baseline is too small too often (see `stats::contrast`).
pub const FEWEST_DRAWS: usize = 5;

/// The effects on the whole target's log-probability and on top-1 answers, a line per class.
pub fn print_effects(effects: &[Effect], subset: PromptSubset) {
    let of = |metric| {
        let wanted = move |effect: &&Effect| effect.metric == metric && effect.subset == subset;
        effects.iter().filter(wanted)
    };
    let rows = of(Metric::TargetLogprob)
        .zip(of(Metric::Top1))
        .map(|(effect, top1)| {
            let (lost, lost_by_baseline) = top1.answers_lost();
            let mut cells = cells(effect, Unit::Nats);
            cells.push(format!("{lost:.0}"));
            cells.push(lost_by_baseline.map_or(ABSENT.to_string(), |lost| format!("{lost:.1}")));
            cells
        });
    let header = [&HEADER[..], &["facts\nlost", "lost by\nbaseline"]].concat();
    outln!(
        "mean log-probability of the target in nats; baseline: as many random neurons of the same layers\n"
    );
    outln!("{}", number_table(&header, rows));
    print_tests(effects);
}

/// What the adjusted and the permutation p mean.
fn print_tests<'e>(effects: impl IntoIterator<Item = &'e Effect, IntoIter: Clone>) {
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

/// The effects on mean attribute rates, a line per class; then what the p are.
pub fn print_rates<'e>(effects: impl Iterator<Item = &'e Effect> + Clone) {
    let rows = effects.clone().map(|effect| cells(effect, Unit::Points));
    outln!("{}", number_table(&HEADER, rows));
    print_tests(effects);
}

/// The effects on text: loss and entropy, a line per class each.
pub fn print_text_effects(effects: &[Effect]) {
    for (metric, name) in [
        (
            Metric::Loss,
            "loss (minus log-probability of the next token)",
        ),
        (Metric::TokenEntropy, "entropy of the prediction"),
    ] {
        let of_metric = effects.iter().filter(|effect| effect.metric == metric);
        outln!("\n{name}, mean over documents, nats\n");
        let rows = of_metric.map(|effect| cells(effect, Unit::Nats));
        outln!("{}", number_table(&HEADER, rows));
    }
    print_tests(effects);
}

/// The columns of an effect.
const HEADER: [&str; 9] = [
    "class",
    "neurons",
    "clean",
    "class\noff",
    "baseline\noff",
    "difference to baseline\n[95 % interval]",
    "p",
    "p\n(Holm)",
    "p\n(perm.)",
];

/// What a metric is printed in.
#[derive(Clone, Copy)]
pub enum Unit {
    /// As it is.
    Nats,
    /// Hundredths.
    Points,
}

impl Unit {
    /// A mean.
    pub fn mean(self, value: f64) -> String {
        match self {
            Unit::Nats => format!("{value:.3}"),
            Unit::Points => format!("{:.2}", 100.0 * value),
        }
    }

    /// A difference, with its sign.
    pub fn difference(self, value: f64) -> String {
        match self {
            Unit::Nats => format!("{value:+.3}"),
            Unit::Points => format!("{:+.2}", 100.0 * value),
        }
    }
}

fn cells(effect: &Effect, unit: Unit) -> Vec<String> {
    let baseline = effect.means.baseline;
    vec![
        effect.class.clone(),
        count(effect.neurons),
        unit.mean(effect.means.clean),
        unit.mean(effect.means.class),
        baseline.map_or(ABSENT.to_string(), |mean| unit.mean(mean)),
        difference(effect, unit),
        p_value(effect.estimate.p),
        p_value(effect.estimate.p_adjusted),
        p_value(effect.estimate.permutation_p),
    ]
}

/// Stands where there is no number.
pub const ABSENT: &str = "–";

fn difference(effect: &Effect, unit: Unit) -> String {
    let number = |value| unit.difference(value);
    match (
        effect.estimate.difference_to_baseline,
        effect.estimate.baseline_ci,
    ) {
        (Some(d), Some(ci)) => format!("{} [{}, {}]", number(d), number(ci.low), number(ci.high)),
        (Some(d), None) => number(d),
        _ => ABSENT.to_string(),
    }
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

/// Prints what makes a baseline weaker than it should be.
pub fn warn_of_baselines(plan: &AblationPlan) {
    for treatment in &plan.treatments {
        for shortfall in &treatment.shortfall {
            notice!("warning: {}: {shortfall}", treatment.class);
        }
        let draws = treatment.baseline.len();
        if draws < FEWEST_DRAWS {
            notice!(
                "warning: {}: {draws} draws are few: below {FEWEST_DRAWS} the interval and p against the baseline \
                 are absent or too optimistic",
                treatment.class
            );
        }
    }
}
