//! The heat map of a sweep.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::block::{Block, Figure, Panel, Picture};
use super::effects::evidence;
use super::words::{count, plural, signed};
use crate::experiment::{Cell, Effect, Evidence, LayerWindow, Metric, PromptSubset, Versus};
use crate::report::RunInfo;
use crate::report::heat_map::Grid;

/// What is read of `run.json` besides the head.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    subset: Option<PromptSubset>,
    classes: Vec<String>,
}

pub fn blocks(effects: &[Effect], run: &RunInfo) -> Vec<Block> {
    let settings = Settings::deserialize(&run.settings).unwrap_or_default();
    let absent = Vec::<Cell>::deserialize(&run.counts["absent"]).unwrap_or_default();
    let subset = settings.subset.unwrap_or(PromptSubset::Known);
    let is_shown = |e: &&Effect| e.metric == Metric::TargetLogprob && e.subset == subset;
    let shown: Vec<&Effect> = effects.iter().filter(is_shown).collect();
    if shown.is_empty() {
        return vec![Block::Lacking(
            "effects.json holds no effect on the target's log-probability.".to_string(),
        )];
    }
    let grid = grid(&shown, &absent, &settings.classes);
    let figure = match grid.svg() {
        Ok(svg) => Block::Figure(figure(&shown, &grid, &absent, svg)),
        Err(why) => Block::Lacking(format!("Not shown: the heat map. {why}")),
    };
    vec![figure]
}

/// Cells in their places; classes in the order in which they were asked for, then as they come.
fn grid<'e>(shown: &[&'e Effect], absent: &[Cell], asked: &[String]) -> Grid<'e> {
    let places = shown.iter().filter_map(|e| Some((&e.class, e.layers?)));
    let places = places.chain(absent.iter().map(|cell| (&cell.class, cell.layers)));
    let windows: BTreeSet<LayerWindow> = places.clone().map(|(_, layers)| layers).collect();
    let mut classes: Vec<String> = Vec::new();
    for (class, _) in places {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    classes.sort_by_key(|class| {
        asked
            .iter()
            .position(|name| name == class)
            .unwrap_or(asked.len())
    });
    Grid {
        windows: windows.into_iter().collect(),
        classes,
        cells: shown
            .iter()
            .filter_map(|e| Some(((e.class.as_str(), e.layers?), *e)))
            .collect(),
    }
}

fn figure(shown: &[&Effect], grid: &Grid<'_>, absent: &[Cell], svg: String) -> Figure {
    let draws = shown.iter().map(|cell| cell.draws).max().unwrap_or(0);
    Figure {
        title: "Change of the target's log-probability by layer".to_string(),
        reading: reading(shown, grid.versus()),
        panels: vec![Panel {
            title: String::new(),
            reading: String::new(),
            picture: Picture::HeatMap(svg),
        }],
        notes: match absent.len() {
            0 => Vec::new(),
            n => vec![format!(
                "{} without neurons.",
                plural(n, "cell is", "cells are")
            )],
        },
        n: format!(
            "{}, {} (a class in a window of layers), {} each",
            plural(shown[0].prompts, "prompt", "prompts"),
            plural(shown.len(), "cell", "cells"),
            plural(draws, "draw", "draws"),
        ),
        ..Figure::default()
    }
}

fn reading(shown: &[&Effect], versus: Versus) -> String {
    let compared = shown
        .iter()
        .filter_map(|cell| Some((cell, cell.difference(versus)?)));
    let Some((cell, difference)) = compared.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) else {
        return "No cell has draws to be compared with.".to_string();
    };
    let told =
        |least: fn(Evidence) -> bool| shown.iter().filter(|c| least(c.evidence(versus))).count();
    let Effect { class, .. } = cell;
    let (from, interval) = match versus {
        Versus::Baseline => ("draws", cell.estimate.baseline_ci),
        Versus::Clean => ("clean run", cell.clean_ci),
    };
    let adjusted = match versus {
        Versus::Baseline => {
            let adjusted = told(|evidence| evidence == Evidence::Adjusted);
            format!(
                ", {} also with p below 0.05 after Holm's adjustment",
                count(adjusted)
            )
        }
        Versus::Clean => String::new(),
    };
    format!(
        "{class} in {} is furthest from its {from}: {} nats ({}). Of {}, {} are told from their {from} by their interval{adjusted}.",
        cell.layers
            .map_or(String::new(), |layers| layers.to_string()),
        signed(difference),
        evidence(interval),
        plural(shown.len(), "cell", "cells"),
        count(told(|evidence| evidence != Evidence::Weak)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::effects::tests::effect;
    use super::*;

    fn run() -> RunInfo {
        let run = serde_json::json!({
            "command": "sweep", "arguments": [], "version": "0", "model": {"id": "m", "family": "f", "files": []},
            "dtype": "f32", "device": "cpu", "fold": "pre", "wall_s": 1.0,
            "settings": {"subset": "known", "classes": ["b", "a"]},
            "counts": {"absent": [{"class": "b", "layers": [0, 0]}]},
        });
        serde_json::from_value(run).unwrap()
    }

    fn cells() -> Vec<Effect> {
        let cell = |class: &str, layer: usize, off: f64| Effect {
            layers: Some([layer, layer].into()),
            ..effect(class, Metric::TargetLogprob, -1.0, off, [-1.0, -1.5])
        };
        vec![cell("a", 0, -1.25), cell("a", 1, -1.5), cell("b", 1, -3.0)]
    }

    #[test]
    fn cells_are_in_their_places_and_absent_ones_grey() {
        let cells = cells();
        let blocks = blocks(&cells, &run());
        let [Block::Figure(figure)] = &blocks[..] else {
            panic!("{blocks:?}")
        };
        assert_eq!(
            figure.reading,
            "b in layer 1 is furthest from its draws: −1.750 nats (95 % interval −2.250 to −1.250, which leaves out 0). Of 3 \
             cells, 3 are told from their draws by their interval, 3 also with p below 0.05 after Holm's adjustment."
        );
        assert_eq!(figure.notes, ["1 cell is without neurons."]);
        let Picture::HeatMap(svg) = &figure.panels[0].picture else {
            panic!()
        };
        let place = |text: &str| svg.find(&format!("\n{text}\n")).unwrap();
        assert!(place("b") < place("a"), "in the order of --classes");
        assert_eq!(
            svg.matches(r##"fill="#E2E2E2""##).count(),
            3,
            "in each of three panels"
        );
    }

    #[test]
    fn other_metrics_are_no_cells() {
        let mut cells = cells();
        cells.iter_mut().for_each(|cell| cell.metric = Metric::Kl);
        assert!(matches!(&blocks(&cells, &run())[..], [Block::Lacking(_)]));
    }
}
