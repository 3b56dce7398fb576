//! What a sweep prints for a person.

use super::effects_table::{marked, recovered_in_words};
use super::table::{ABSENT, Columns, Digits, count, table_of};
use crate::experiment::{Effect, Evidence, LayerWindow, Metric, SweepPlan, Versus};

/// A line per window: each class's difference on the target's log-probability, and its neurons.
pub fn print_cells(plan: &SweepPlan, effects: &[Effect]) {
    let versus = plan.ablation.versus();
    let compared = compared(plan);
    outln!("mean log-probability of the target in nats, {compared}\n");
    print_metric(plan, effects, Metric::TARGET_LOGPROB);
    if let Some(recovered) = plan.ablation.recovered() {
        outln!("{};\n{compared}\n", recovered_in_words(&plan.ablation));
        print_metric(plan, effects, *recovered);
    }
    print_marks(effects, versus);
    print_absent(plan);
}

/// A line per window: the difference of each class on a metric, and its neurons.
fn print_metric(plan: &SweepPlan, effects: &[Effect], metric: Metric) {
    let versus = plan.ablation.versus();
    let by_cell = plan.by_cell(effects, metric);
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
}

fn compared(plan: &SweepPlan) -> &'static str {
    match (plan.ablation.versus(), plan.ablation.recovered()) {
        (Versus::Baseline, _) => {
            "class edited minus as many random neurons of the same layers edited (mean of the draws)"
        }
        (Versus::Clean, Some(_)) => "class edited minus the same run unedited",
        (Versus::Clean, None) => "class edited minus clean model",
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
