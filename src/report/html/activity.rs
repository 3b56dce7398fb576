//! How often the neurons of each class fire, beside their draws.

use maud::Markup;

use super::block::{figure, lacking, table};
use crate::experiment::record::{Activity, Quantity, Scope};
use crate::report::chart::{Chart, Kind, Mark, Point};
use crate::report::number::{Digits, count, p_value, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, of_activity};
use crate::report::{ReportError, RunInfo};

pub fn blocks(activity: &[Activity], run: &RunInfo) -> Result<Vec<Markup>, ReportError> {
    let Some(first) = activity.first() else {
        return Ok(vec![lacking("class_activity.json holds no class.")]);
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
    let all = table("Classes over all layers", &holm, &numbers);
    Ok(vec![layers(activity, &of)?, all])
}

/// The columns of a class on a page, which has room for two more.
fn columns<'a>() -> Columns<'a, Activity> {
    let columns = of_activity(Digits::Size)
        .number("p", |a| p_value(a.estimate.p))
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

fn layers(activity: &[Activity], of: &str) -> Result<Markup, ReportError> {
    let wanted = |a: &&Activity| a.quantity == Quantity::Frequency && a.layer.is_some();
    let by_layer: Vec<&Activity> = activity.iter().filter(wanted).collect();
    let columns = of_activity(Digits::Fixed(3)).without("class");
    let sd = |a: &Activity| Digits::Fixed(3).optional(a.sd_draws);
    let columns = columns.without("p\n(Holm)").number("sd of\nthe draws", sd);
    let layer = |a: &Activity| a.layer.map_or(String::new(), |layer| layer.to_string());
    let columns = columns.words("layer", layer).moved(0);
    let classes = || {
        let classes = by_layer.chunk_by(|a, b| a.class == b.class);
        classes.map(|of_class| (of_class[0].class.clone(), of_class))
    };
    let numbers =
        columns.groups(classes().map(|(name, of_class)| (name, of_class.iter().copied())));
    let panels = classes().map(|(name, of_class)| (name, marks(of_class)));
    let panels = Chart::by_layer("share of tokens with gate > 0", panels.collect());
    figure("How often neurons fire, by layer", &panels, of, &numbers)
}

fn marks(of_class: &[&Activity]) -> Vec<Mark> {
    let tone = Tone::of_class(&of_class[0].class);
    let at = |a: &Activity| a.layer.unwrap_or(0) as f64;
    let found: Vec<Point> = of_class.iter().map(|a| (at(a), a.means.class)).collect();
    let draws = of_class
        .iter()
        .filter_map(|a| Some((at(a), a.means.baseline?)));
    let spread = of_class.iter().filter_map(|a| {
        let (mean, sd) = (a.means.baseline?, a.sd_draws.unwrap_or(0.0));
        Some((at(a), [(mean - sd).max(0.0), mean + sd]))
    });
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
