//! How often the neurons of each class fire, beside their draws.

use super::block::{Block, Panel};
use crate::experiment::Arm;
use crate::experiment::record::{Activity, Quantity, Scope};
use crate::report::RunInfo;
use crate::report::chart::{Chart, Kind, Mark, Point};
use crate::report::number::{Digits, count, p_value, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table, of_activity};
use crate::stats::Interval;

pub fn blocks(activity: &[Activity], run: &RunInfo) -> Vec<Block> {
    let Some(first) = activity.first() else {
        return vec![Block::lacking("class_activity.json holds no class.")];
    };
    let units = run.counts["units"].as_u64().map(|n| count(n as usize));
    let units = units.as_deref().unwrap_or("an unknown number of");
    let kind = run.counts["kind"].as_str().unwrap_or("units");
    let draws = activity.iter().map(|a| a.draws).max().unwrap_or(0);
    let tokens = plural(first.tokens as usize, "token");
    let of = format!("{tokens} of {units} {kind}, {}.", plural(draws, "draw"));
    let of_quantity = Quantity::ALL.map(|quantity| {
        let wanted = move |a: &&Activity| a.quantity == quantity && a.scope() == Scope::All;
        (name(quantity).to_string(), activity.iter().filter(wanted))
    });
    let numbers = columns().groups(of_quantity);
    let tests = activity.iter().filter(|a| a.estimate.p.is_some()).count();
    let tests = plural(tests, "test");
    let holm = format!("Holm: adjusted over all {tests}, those by role included.\n{of}");
    let all = Block::table("Classes over all layers", &holm, numbers);
    vec![layers(activity, &of), all]
}

/// The columns of a class on a page, which has room for two more.
fn columns<'a>() -> Columns<'a, Activity> {
    let columns = of_activity(Digits::Size)
        .number("p", |a| p_value(a.estimate.p))
        .spare()
        .moved(5);
    columns.number("p\n(perm.)", |a| p_value(a.estimate.permutation_p))
}

fn name(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Frequency => "Share of tokens with gate > 0",
        Quantity::MeanAbsPost => "Mean |post|, post = act(gate)·up",
        Quantity::Contribution => "Mean length of what a neuron writes, |post|·‖w_out‖",
    }
}

fn layers(activity: &[Activity], of: &str) -> Block {
    let wanted = |a: &&Activity| a.quantity == Quantity::Frequency && a.layer.is_some();
    let by_layer: Vec<&Activity> = activity.iter().filter(wanted).collect();
    let columns = of_activity(Digits::Fixed(3)).without("class");
    let sd = |a: &Activity| Digits::Fixed(3).optional(a.sd_draws);
    let columns = columns.without("p\n(Holm)").number("sd of\nthe draws", sd);
    let columns = columns.words("layer", layer).moved(0);
    let classes = || {
        let classes = by_layer.chunk_by(|a, b| a.class == b.class);
        classes.map(|of_class| (of_class[0].class.clone(), of_class))
    };
    let numbers =
        columns.groups(classes().map(|(name, of_class)| (name, of_class.iter().copied())));
    let marks = classes().map(|(_, of_class)| marks(of_class)).collect();
    let charts = Chart::by_layer("share of tokens with gate > 0", marks);
    let panels = charts.into_iter().zip(classes());
    let panels = panels.map(|(chart, (class, of_class))| {
        let name = format!("frequency-by-layer-{class}");
        Panel::new(&name, chart, data(of_class)).titled(class)
    });
    let title = "How often neurons fire, by layer";
    Block::figure(title, panels.collect(), of, numbers)
}

/// The class or its draws in a layer, with the mean.
type ArmMean<'a> = (&'a Activity, Arm, f64);

fn of_draws<'a>((activity, arm, _): &ArmMean<'a>) -> Option<&'a Activity> {
    (*arm == Arm::Baseline).then_some(*activity)
}

/// A row per layer for the class, and one for its draws.
fn data(of_class: &[&Activity]) -> Table {
    let arms = of_class.iter().flat_map(|activity| {
        let of_draws = activity.means.baseline.map(|mean| (Arm::Baseline, mean));
        let arms = [(Arm::Class, activity.means.class)].into_iter();
        let arms = arms.chain(of_draws);
        arms.map(move |(arm, mean)| (*activity, arm, mean))
    });
    let arms: Vec<ArmMean<'_>> = arms.collect();
    let columns = Columns::new()
        .words("class", |row: &ArmMean<'_>| row.0.class.clone())
        .number("layer", |row| layer(row.0))
        .words("arm", |row| row.1.to_string())
        .value("frequency", |row| Some(row.2))
        .value("sd_draws", |row| of_draws(row)?.sd_draws)
        .ends(["low", "high"], |row| spread(of_draws(row)?));
    columns.table(&arms)
}

/// One standard deviation of the draws around their mean.
fn spread(activity: &Activity) -> Option<Interval> {
    let (mean, sd) = (
        activity.means.baseline?,
        activity.sd_draws.unwrap_or_default(),
    );
    let [low, high] = [(mean - sd).max(0.0), mean + sd];
    Some(Interval { low, high })
}

fn layer(activity: &Activity) -> String {
    let layer = activity.layer;
    layer.map_or(String::new(), |layer| layer.to_string())
}

fn marks(of_class: &[&Activity]) -> Vec<Mark> {
    let tone = Tone::of_class(&of_class[0].class);
    let at = |a: &Activity| a.layer.unwrap_or(0) as f64;
    let found: Vec<Point> = of_class.iter().map(|a| (at(a), a.means.class)).collect();
    let draws = of_class
        .iter()
        .filter_map(|a| Some((at(a), a.means.baseline?)));
    let spread = of_class.iter().filter_map(|a| Some((at(a), spread(a)?)));
    let name = "mean of its draws, with a band of one standard deviation over the draws";
    vec![
        Mark::band(Tone::Draw, &spread.collect::<Vec<_>>()),
        Mark::new(Kind::Line(4), Tone::Draw, draws.clone()).named(name),
        Mark::new(Kind::SmallDots, Tone::Draw, draws),
        Mark::new(Kind::Line(2), tone, found.clone()),
        Mark::new(Kind::Dots, tone, found).named("the class, in its colour"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_one_standard_deviation_and_a_layer_without_draws_has_its_class() {
        let entry = |layer: usize, class: f64, baseline: Option<f64>| -> Activity {
            let entry = serde_json::json!({
                "class": "depletion", "quantity": "frequency", "role": "all", "layer": layer, "neurons": 9,
                "baseline_neurons": 9, "draws": 3, "tokens": 1500, "units": 6,
                "means": {"class": class, "baseline": baseline}, "sd_draws": 0.0625,
            });
            serde_json::from_value(entry).unwrap()
        };
        let [third, fourth] = [entry(3, 0.75, Some(0.25)), entry(4, 0.5, None)];
        let marks = marks(&[&third, &fourth]);
        assert_eq!(marks[0].points, [(3.0, 0.1875), (3.0, 0.3125)]);
        assert_eq!(marks[1].points, [(3.0, 0.25)]);
        assert_eq!(marks[4].points, [(3.0, 0.75), (4.0, 0.5)]);
    }
}
