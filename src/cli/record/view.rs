//! What a recording prints for a person: the class view.

use std::ops::Range;

use super::super::table::{count, number_table, p_value};
use crate::experiment::record::{Activity, ClassSets, Quantity, Role, Scope};
use crate::io_class::Fold;

const ABSENT: &str = "–";

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

/// Prints a table per quantity, and one by layer.
pub(super) fn print(view: &[Activity], heading: &Heading<'_>, sets: &ClassSets) {
    println!(
        "{}: {} {}, {} tokens, layers {} to {}, fold {}; baseline: {} random sets of the same layers",
        heading.model,
        count(heading.units),
        heading.unit_name,
        count(heading.tokens as usize),
        heading.layers.start,
        heading.layers.end - 1,
        heading.fold,
        heading.draws,
    );
    for quantity in Quantity::ALL {
        println!("\n{}\n", title(quantity));
        print_quantity(view, quantity);
    }
    println!("\nshare of tokens with gate > 0, by layer: class / baseline\n");
    print_layers(view, heading.layers.clone());
    print_notes(view, heading, sets);
}

fn title(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Frequency => "share of tokens with gate > 0 (by role: class / baseline)",
        Quantity::MeanAbsPost => "mean |post|, post = act(gate)·up (by role: class / baseline)",
        Quantity::Contribution => {
            "mean length of what a neuron writes, |post|·‖w_out‖ (by role: class / baseline)"
        }
    }
}

fn print_quantity(view: &[Activity], quantity: Quantity) {
    let of = |class: &str, scope: Scope| find(view, class, quantity, scope);
    let roles = roles(view);
    let header = ["class", "neurons", "class", "baseline"].map(str::to_string);
    let header = header.into_iter().chain([
        "difference\n[95 % interval]".to_string(),
        "p".to_string(),
        "p\n(Holm)".to_string(),
    ]);
    let header: Vec<String> = header
        .chain(roles.iter().map(|role| role.as_str().replace('-', "\n")))
        .collect();
    let rows = classes(view).into_iter().filter_map(|class| {
        let all = of(class, Scope::All)?;
        let by_role = roles.iter().map(|role| pair(of(class, Scope::Role(*role))));
        let cells = [
            class.to_string(),
            count(all.neurons),
            number(all.means.class),
            all.means.baseline.map_or(ABSENT.to_string(), number),
            difference(all),
            p_value(all.p),
            p_value(all.p_adjusted),
        ];
        Some(cells.into_iter().chain(by_role).collect())
    });
    println!("{}", number_table(&header, rows));
}

fn print_layers(view: &[Activity], layers: Range<usize>) {
    let classes = classes(view);
    let header = ["layer".to_string()].into_iter();
    let header = header.chain(classes.iter().map(|class| class.replace('-', "\n")));
    let rows = layers.map(|layer| {
        let cell = |class: &&str| pair(find(view, class, Quantity::Frequency, Scope::Layer(layer)));
        let cells = classes.iter().map(cell);
        [layer.to_string()].into_iter().chain(cells).collect()
    });
    println!("{}", number_table(&header.collect::<Vec<_>>(), rows));
}

fn print_notes(view: &[Activity], heading: &Heading<'_>, sets: &ClassSets) {
    for treatment in sets.treatments() {
        let (class, layers) = (&treatment.class, treatment.shortfall.len());
        if layers > 0 {
            println!(
                "{class} has more than half of the neurons of {layers} layers: its baseline there is all others, \
                 the same in every draw."
            );
        }
        if treatment.baseline.is_empty() && heading.draws > 0 {
            println!("{class} has all neurons of its layers: there is no baseline.");
        }
    }
    if heading.units == 1 {
        println!(
            "One document has no interval: separate documents by a line with only --- (or give several)."
        );
    }
    let tests = view.iter().filter(|activity| activity.p.is_some()).count();
    if tests > 0 {
        println!("Holm: adjusted over all {tests} tests of the run, those by role included.");
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

fn roles(view: &[Activity]) -> Vec<Role> {
    let there = |role: &Role| view.iter().any(|activity| activity.role == Some(*role));
    Role::ALL.into_iter().filter(there).collect()
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

fn difference(activity: &Activity) -> String {
    match (activity.difference_to_baseline, activity.baseline_ci) {
        (Some(d), Some(ci)) => {
            let [d, low, high] = [d, ci.low, ci.high].map(signed);
            format!("{d} [{low}, {high}]")
        }
        (Some(d), None) => signed(d),
        _ => ABSENT.to_string(),
    }
}

fn pair(activity: Option<&Activity>) -> String {
    let Some(activity) = activity else {
        return String::new();
    };
    let baseline = activity.means.baseline.map_or(ABSENT.to_string(), short);
    format!("{} / {baseline}", short(activity.means.class))
}

/// Three digits where the number is below 10.
fn number(value: f64) -> String {
    format!("{value:.*}", if value.abs() < 10.0 { 3 } else { 1 })
}

fn signed(value: f64) -> String {
    format!("{value:+.*}", if value.abs() < 10.0 { 3 } else { 1 })
}

/// Two digits, without the 0 before the point.
fn short(value: f64) -> String {
    let text = format!("{value:.*}", if value.abs() < 10.0 { 2 } else { 0 });
    text.strip_prefix('0').map_or(text.clone(), str::to_string)
}
