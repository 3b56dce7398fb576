//! What a recording prints for a person: the class view, no wider than 100 columns.

use std::ops::Range;

use crate::cli::table::{ABSENT, Columns, Digits, count, plural, table_of, tight_table_of};
use crate::experiment::Treatment;
use crate::experiment::record::{Activity, ClassSets, Quantity, Role, Scope};
use crate::io_class::Fold;
use crate::report::view::of_activity;

/// Below this, a difference by role is marked.
const SIGNIFICANT: f64 = 0.05;

/// What was recorded.
pub(super) struct Heading<'a> {
    pub model: &'a str,
    pub units: usize,
    pub unit_name: &'static str,
    pub tokens: u64,
    pub layers: Range<usize>,
    pub fold: Fold,
    pub draws: usize,
}

/// Prints each quantity by class, then by class and role, and the frequency by class and layer.
pub(super) fn print(view: &[Activity], heading: &Heading<'_>, sets: &ClassSets) {
    outln!(
        "{}: {} {}, {} tokens, layers {} to {}, fold {}",
        heading.model,
        count(heading.units),
        heading.unit_name,
        count(heading.tokens as usize),
        heading.layers.start,
        heading.layers.end - 1,
        heading.fold,
    );
    outln!(
        "class: mean over its neurons and these tokens; {}",
        baseline(heading.draws)
    );
    for quantity in Quantity::ALL {
        outln!("\n{}\n\n{}", title(quantity), by_class(view, quantity));
    }
    let tests = view
        .iter()
        .filter(|activity| activity.estimate.p.is_some())
        .count();
    print_tests(tests, heading);
    for quantity in Quantity::ALL {
        outln!(
            "\n{}, by role of the token: class/baseline\n\n{}",
            name(quantity),
            by_role(view, quantity)
        );
    }
    if tests > 0 {
        outln!("* p (Holm) < {SIGNIFICANT}");
    }
    let is_first_of_subject = |a: &Activity| a.first == Some(true) && a.role != Some(Role::First);
    if let Some(left_out) = view.iter().find(|a| is_first_of_subject(a)) {
        let of = left_out.role.map_or("", Role::as_str);
        outln!(
            "tokens of the subject that begin their prompt, such as {} of role {of}, are not in these columns:\n\
                class_activity.json has them by themselves (first: true)",
            count(left_out.tokens as usize)
        );
    }
    outln!(
        "\n{}, by layer, in %: class/baseline\n\n{}",
        name(Quantity::Frequency),
        by_layer(view, heading.layers.clone())
    );
    outln!("blank: the class has no neuron there; {ABSENT}: there is no baseline");
    let treatments = sets.treatments().iter();
    let compared = treatments.filter(|_| heading.draws > 0);
    compared.for_each(print_notes);
}

fn baseline(draws: usize) -> String {
    match draws {
        0 => "no baseline (--draws 0)".to_string(),
        1 => "baseline: a random set of the same layers".to_string(),
        _ => format!("baseline: that of {draws} random sets of the same layers"),
    }
}

fn name(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Frequency => "share of tokens with gate > 0",
        Quantity::MeanAbsPost => "mean |post|",
        Quantity::Contribution => "mean |post|·‖w_out‖",
    }
}

fn title(quantity: Quantity) -> String {
    let more = match quantity {
        Quantity::Frequency => "",
        Quantity::MeanAbsPost => ", where post = act(gate)·up",
        Quantity::Contribution => ": the length of what a neuron adds to the residual stream",
    };
    name(quantity).to_string() + more
}

fn by_class(view: &[Activity], quantity: Quantity) -> String {
    let wanted = |a: &&Activity| a.quantity == quantity && a.scope() == Scope::All;
    table_of(&of_activity(Digits::Three), view.iter().filter(wanted))
}

/// Where the intervals and p come from, or why there are none.
fn print_tests(tests: usize, heading: &Heading<'_>) {
    let units = heading.unit_name;
    if tests > 0 {
        outln!("interval and p: over {units} and random sets (class minus baseline, two-sided)");
        outln!(
            "Holm: the p of the rank among the draws, adjusted over the classes: of the frequency over all tokens"
        );
    } else if heading.units == 1 {
        outln!(
            "no interval and no p: these need two {units} or more (a line of only --- parts them)"
        );
    } else if heading.draws < 2 {
        outln!("no interval and no p: these need two random sets or more (--draws)");
    }
}

fn by_role(view: &[Activity], quantity: Quantity) -> String {
    let scope = |role| Scope::Role(role, role == Role::First);
    let there = |role: &Role| view.iter().any(|activity| activity.scope() == scope(*role));
    let roles: Vec<Role> = Role::ALL.into_iter().filter(there).collect();
    let mut columns = Columns::new().words("class", |class: &&str| class.to_string());
    for role in roles {
        let header = role.as_str().replace('-', "\n");
        let scope = scope(role);
        let cell = move |class: &&str| marked(find(view, class, quantity, scope));
        columns = columns.number(&header, cell);
    }
    table_of(&columns, &classes(view))
}

fn by_layer(view: &[Activity], layers: Range<usize>) -> String {
    let mut columns = Columns::new().words("layer", usize::to_string);
    for class in classes(view) {
        let of = move |layer: &usize| find(view, class, Quantity::Frequency, Scope::Layer(*layer));
        columns = columns.number(&abbreviated(class), move |layer| pair(of(layer), percent));
    }
    tight_table_of(&columns, &layers.collect::<Vec<_>>()) // eleven classes beside each other
}

/// What makes the comparison of a class less than it should be.
fn print_notes(treatment: &Treatment) {
    let class = &treatment.class;
    if treatment.baseline.is_empty() {
        outln!("{class} has all neurons of its layers: there is no baseline.");
        return;
    }
    let layers = &treatment.shortfall;
    let filled = layers.iter().filter(|layer| layer.available == 0).count();
    let most = layers.len() - filled;
    if most > 0 {
        outln!(
            "{class} has more than half of the neurons of {}:\n  its baseline there is all others, the same \
             in every set.",
            plural(most, "layer")
        );
    }
    if filled > 0 {
        outln!(
            "{class} has all neurons of {}:\n  these are shown by layer alone, since nothing is there to \
             compare them with.",
            plural(filled, "layer")
        );
    }
}

/// In the order of the view, each once.
fn classes(view: &[Activity]) -> Vec<&str> {
    let mut classes: Vec<&str> = view
        .iter()
        .map(|activity| activity.class.as_str())
        .collect();
    classes.dedup();
    classes
}

fn find<'v>(
    view: &'v [Activity],
    class: &str,
    quantity: Quantity,
    scope: Scope,
) -> Option<&'v Activity> {
    view.iter()
        .find(|a| a.class == class && a.quantity == quantity && a.scope() == scope)
}

/// A class's words, one a line and short enough for a column.
fn abbreviated(class: &str) -> String {
    let words = class.split('-').map(|word| match word {
        "atypical" => "atyp.",
        "conditional" => "cond.",
        "proportional" => "prop.",
        "orthogonal" => "orth.",
        "enrichment" => "enr.",
        "depletion" => "depl.",
        other => other,
    });
    words.collect::<Vec<_>>().join("\n")
}

/// The two means, and whether they differ beyond chance.
fn marked(activity: Option<&Activity>) -> String {
    let p = activity.and_then(|activity| activity.estimate.p_adjusted);
    let mark = if p.is_some_and(|p| p < SIGNIFICANT) {
        '*'
    } else {
        ' '
    };
    format!("{}{mark}", pair(activity, short))
}

fn pair(activity: Option<&Activity>, number: fn(f64) -> String) -> String {
    let Some(activity) = activity else {
        return String::new();
    };
    let baseline = activity.means.baseline.map_or(ABSENT.to_string(), number);
    format!("{}/{baseline}", number(activity.means.class))
}

/// Two digits, without the 0 before the point.
fn short(value: f64) -> String {
    let text = format!("{value:.*}", if value.abs() < 10.0 { 2 } else { 0 });
    text.strip_prefix('0').map_or(text.clone(), str::to_string)
}

fn percent(share: f64) -> String {
    format!("{:.0}", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Estimate;
    use crate::experiment::record::Levels;
    use crate::io_class::Class;
    use crate::stats::Interval;

    /// Every class over everything, by role and in one layer, with numbers as large as a large model has them.
    fn view() -> Vec<Activity> {
        let scopes = [(None, None), (None, Some(0))].into_iter();
        let scopes = scopes.chain(Role::ALL.map(|role| (Some(role), None)));
        let scopes: Vec<_> = scopes.collect();
        let activity = |class: Class, quantity, (role, layer)| {
            let [class_mean, baseline] = match quantity {
                Quantity::Frequency => [1.0, 0.5],
                _ => [1234.5, 4567.8],
            };
            Activity {
                class: class.to_string(),
                quantity,
                role,
                first: role.map(|role| role == Role::First),
                layer,
                neurons: 100_000,
                baseline_neurons: 100_000,
                draws: 20,
                tokens: 1,
                units: 2,
                clusters: 2,
                means: Levels {
                    class: class_mean,
                    baseline: Some(baseline),
                },
                estimate: Estimate {
                    difference_to_baseline: Some(class_mean - baseline),
                    baseline_ci: Some(Interval {
                        low: -12345.6,
                        high: 12345.6,
                    }),
                    p: Some(1e-9),
                    p_adjusted: Some(1e-6),
                    permutation_p: None,
                    average_set_ci: None,
                    permutation_floor: None,
                },
                sd_draws: None,
            }
        };
        let classes = Class::ALL.into_iter();
        let all = classes.flat_map(|class| Quantity::ALL.map(|quantity| (class, quantity)));
        all.flat_map(|(class, quantity)| {
            let scopes = scopes.iter();
            scopes.map(move |scope| activity(class, quantity, *scope))
        })
        .collect()
    }

    #[test]
    fn eleven_classes_with_large_numbers_fit_100_columns() {
        let view = view();
        let tables =
            Quantity::ALL.map(|quantity| [by_class(&view, quantity), by_role(&view, quantity)]);
        let tables = tables.into_iter().flatten().chain([by_layer(&view, 0..1)]);
        for table in tables {
            for line in table.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
            assert!(table.lines().count() > 2, "{table}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.126, 9.994, 12.5].map(short), [".13", "9.99", "12"]);
        assert_eq!([0.0, 0.126, 1.0].map(percent), ["0", "13", "100"]);
    }
}
