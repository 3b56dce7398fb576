//! The attribute rate by layer: clean, with a class edited, and with as many random neurons edited.

use serde::Deserialize;

use super::block::{Block, Panel};
use super::effects;
use crate::experiment::{Arm, Effect, LayerWindow, Metric};
use crate::report::RunInfo;
use crate::report::chart::{Chart, Kind, Mark};
use crate::report::number::{Digits, count, plural};
use crate::report::tone::Tone;
use crate::report::view::{Columns, Table, of_effects_twice};
use crate::stats::{Interval, quantile};

/// An entry of `effects.json` of `attributes`.
#[derive(Clone, Debug, Deserialize)]
pub struct RateEffect {
    /// Absent in the mean over several layers.
    layer: Option<usize>,
    layers: LayerWindow,
    #[serde(flatten)]
    effect: Effect,
}

/// The rate by layer, then the effects on the mean over some of them.
pub fn blocks(rates: &[RateEffect], run: &RunInfo) -> Vec<Block> {
    let means = rates.iter().filter(|rate| rate.layer.is_none());
    let first = means.clone().next();
    let note = first.map(|mean| format!(" The rate is the mean over {}.", mean.layers));
    let means: Vec<Effect> = means.map(|mean| mean.effect.clone()).collect();
    let mut blocks = effects::blocks(&means, &note.unwrap_or_default());
    for metric in [Metric::ATTRIBUTE_RATE, Metric::ATTRIBUTE_EXCESS] {
        let of = |rate: &&RateEffect| rate.layer.is_some() && rate.effect.metric == metric;
        let by_layer: Vec<&RateEffect> = rates.iter().filter(of).collect();
        if !by_layer.is_empty() {
            // What is about the subject alone stands first.
            blocks.insert(0, layers(metric, &by_layer, run));
        }
    }
    blocks
}

fn layers(metric: Metric, rates: &[&RateEffect], run: &RunInfo) -> Block {
    let of_layers = rates.iter().map(|rate| &rate.effect);
    let columns = of_effects_twice(of_layers, Digits::Size).without("class");
    let columns = columns.on(|rate: &RateEffect| &rate.effect);
    let columns = columns.words("layer", |rate| rate.layers.short()).moved(0);
    let classes = || {
        let classes = rates.chunk_by(|a, b| a.effect.class == b.effect.class);
        classes.map(|of_class| (of_class[0].effect.class.as_str(), of_class))
    };
    let numbers =
        columns.groups(classes().map(|(name, of_class)| (edited(name), of_class.iter().copied())));
    let marks = classes().map(|(_, of_class)| marks(of_class)).collect();
    let charts = Chart::by_layer(metric.unit, marks);
    let panels = charts.into_iter().zip(classes());
    let panels = panels.map(|(chart, (class, of_class))| {
        let name = format!("{}-by-layer-{class}", metric.name);
        Panel::new(&name, chart, data(of_class)).titled(edited(class))
    });
    let most = |of: fn(&Effect) -> usize| rates.iter().map(|rate| of(&rate.effect)).max();
    let [prompts, draws] = [most(|e| e.prompts), most(|e| e.draws)].map(Option::unwrap_or_default);
    let [prompts, draws] = [plural(prompts, "prompt"), plural(draws, "draw")];
    let mut caption = format!("{prompts}; {draws}.\np of single layers are not adjusted.");
    if let (Some(absent @ 1..), Some(all)) = (
        run.counts["absent_rates"].as_u64(),
        run.counts["rates"].as_u64(),
    ) {
        let [absent, all] = [absent, all].map(|n| count(n as usize));
        caption += &format!(
            "\n{absent} of {all} rates are absent (no token was left to count). In a layer a prompt that has no rate in one \
             arm is left out of all arms of that class."
        );
    }
    let title = format!("{} by layer", metric.title);
    Block::figure(&title, panels.collect(), &caption, numbers)
}

fn edited(class: &str) -> String {
    format!("{class} edited")
}

/// A row per layer and arm.
fn data(of_class: &[&RateEffect]) -> Table {
    let arms = of_class.iter().flat_map(|rate| {
        let means = rate.effect.means;
        let arms = [
            (Arm::Clean, Some(means.clean)),
            (Arm::Class, Some(means.class)),
            (Arm::Baseline, means.baseline),
        ];
        let arms = arms.into_iter();
        arms.filter_map(move |(arm, mean)| Some((*rate, arm, mean?)))
    });
    let arms: Vec<(&RateEffect, Arm, f64)> = arms.collect();
    let columns = Columns::new()
        .words("class", |row: &(&RateEffect, Arm, f64)| {
            row.0.effect.class.clone()
        })
        .words("metric", |row| row.0.effect.metric.name.to_string())
        .number("layer", |row| row.0.layers.first.to_string())
        .words("arm", |row| row.1.to_string())
        .value("mean", |row| Some(row.2))
        .ends(["low", "high"], |row| match row.1 {
            Arm::Baseline => range(row.0),
            _ => None,
        });
    columns.table(&arms)
}

/// Between which quantiles of the draws the band is.
fn range(rate: &RateEffect) -> Option<Interval> {
    let [low, high] = [0.025, 0.975].map(|share| quantile(&rate.effect.draw_means, share));
    let (low, high) = (low?, high?);
    Some(Interval { low, high })
}

fn marks(of_class: &[&RateEffect]) -> Vec<Mark> {
    let at = |rate: &RateEffect| rate.layers.first as f64;
    let range = of_class
        .iter()
        .filter_map(|rate| Some((at(rate), range(rate)?)));
    let line = |tone, name, value: fn(&Effect) -> Option<f64>| {
        let points = of_class
            .iter()
            .map(|rate| Some((at(rate), value(&rate.effect)?)));
        Mark::new(Kind::Line(4), tone, points.flatten()).named(name)
    };
    let draws = "mean of the draws, with a band from their 2.5 to their 97.5 % quantile";
    vec![
        Mark::band(Tone::Draw, &range.collect::<Vec<_>>()),
        line(Tone::Draw, draws, |e| e.means.baseline),
        line(Tone::Ink, "clean", |e| Some(e.means.clean)),
        line(Tone::Accent, "class edited", |e| Some(e.means.class)),
    ]
}
