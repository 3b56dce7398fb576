//! What a sweep prints for a person.

use super::effects_table::marked;
use super::table::{ABSENT, Columns, Digits, count, table_of};
use crate::experiment::{Effect, Evidence, LayerWindow, SweepPlan, Versus};

/// A line per window: each class's difference on the target's log-probability, and its neurons.
pub fn print_cells(plan: &SweepPlan, effects: &[Effect]) {
    let versus = plan.ablation.versus();
    outln!(
        "mean log-probability of the target in nats, {}\n",
        compared(versus)
    );
    let by_cell = plan.on_target(effects);
    let mut columns = Columns::new().words("layer", |window: &LayerWindow| window.short());
    for class in &plan.classes {
        let cell = |window: &LayerWindow| by_cell.get(&(class.as_str(), *window));
        columns = columns
            .number(&class.replace('-', "-\n"), move |window| {
                marked(cell(window).copied(), versus, Digits::Fixed(3))
            })
            .number("neurons", move |window| {
                cell(window).map_or(ABSENT.to_string(), |cell| count(cell.neurons))
            });
    }
    outln!("{}\n", table_of(&columns, &plan.windows));
    print_marks(effects, versus);
    print_absent(plan);
}

fn compared(versus: Versus) -> &'static str {
    match versus {
        Versus::Baseline => {
            "class ablated minus as many random neurons of the same layers ablated (mean of the draws)"
        }
        Versus::Clean => "class ablated minus clean model",
    }
}

fn print_marks(effects: &[Effect], versus: Versus) {
    let [interval, adjusted] = [Evidence::Interval, Evidence::Adjusted].map(Evidence::mark);
    outln!("{interval:<2} the 95 % interval does not contain 0");
    if versus == Versus::Baseline {
        let tests = effects.iter().filter(|e| e.estimate.p_adjusted.is_some());
        outln!(
            "{adjusted:<2} also p < 0.05, of the rank among the draws, after Holm's adjustment over all {} cells",
            tests.count()
        );
    }
}

/// Which cells there are not, class by class, in one line.
fn print_absent(plan: &SweepPlan) {
    let of_class = |class: &String| {
        let cells = plan.absent.iter().filter(|cell| cell.class == *class);
        let windows: Vec<LayerWindow> = cells.map(|cell| cell.layers).collect();
        (!windows.is_empty()).then(|| format!("{class} in {}", runs(&windows)))
    };
    let absent: Vec<String> = plan.classes.iter().filter_map(of_class).collect();
    if !absent.is_empty() {
        outln!("{ABSENT}  no neurons: {}", absent.join("; "));
    }
}

/// Windows as a person lists them, neighbouring single layers as one: `0–4, 7`.
fn runs(windows: &[LayerWindow]) -> String {
    let mut runs: Vec<LayerWindow> = Vec::new();
    for window in windows {
        let next =
            |run: &&mut LayerWindow| window.first == window.last && run.last + 1 == window.first;
        match runs.last_mut().filter(next) {
            Some(run) => run.last = window.last,
            None => runs.push(*window),
        }
    }
    let texts: Vec<String> = runs.into_iter().map(LayerWindow::short).collect();
    texts.join(", ")
}
