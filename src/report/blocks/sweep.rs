//! The heat map of a sweep.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::block::{Block, Figure, Panel, Width};
use crate::experiment::{Cell, Effect, LayerWindow, Metric, PromptSubset, Versus};
use crate::report::RunInfo;
use crate::report::heat_map::{Grid, baseline_minus_clean};
use crate::report::number::{Digits, plural};
use crate::report::view::{Columns, Table, of_effects_twice};

/// What is read of `run.json` besides the head.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    subset: Option<PromptSubset>,
    classes: Vec<String>,
}

pub fn heat_map(effects: &[Effect], run: &RunInfo) -> Block {
    let settings = Settings::deserialize(&run.settings).unwrap_or_default();
    let absent = Vec::<Cell>::deserialize(&run.counts["absent"]).unwrap_or_default();
    let subset = settings.subset.unwrap_or(PromptSubset::Known);
    let is_shown = |e: &&Effect| e.metric == Metric::TARGET_LOGPROB && e.subset == subset;
    let shown: Vec<&Effect> = effects.iter().filter(is_shown).collect();
    let Some(first) = shown.first() else {
        return Block::lacking("effects.json holds no effect on the target's log-probability.");
    };
    let grid = grid(&shown, &absent, &settings.classes);
    let draws = shown.iter().map(|cell| cell.draws).max().unwrap_or(0);
    let caption = format!(
        "{}; {} (a class in a window of layers), {} each; {} more without neurons.",
        plural(first.prompts, "prompt"),
        plural(shown.len(), "cell"),
        plural(draws, "draw"),
        absent.len()
    );
    let columns = of_effects_twice(shown.iter().copied(), Digits::Size)
        .words("layer", |cell| {
            cell.layers.map_or(String::new(), LayerWindow::short)
        })
        .moved(0);
    let numbers = columns.table(shown.iter().copied());
    Block::Figure(Figure {
        title: "Change of the target's log-probability by layer".to_string(),
        panels: vec![Panel::new("heat_map", grid.chart(""), data(&grid))],
        legend: grid.notes().join("\n"),
        caption,
        numbers,
        width: Width::Wide,
    })
}

/// A row per cell, those without neurons as well.
fn data(grid: &Grid<'_>) -> Table {
    type Place<'g> = (&'g str, LayerWindow, Option<&'g Effect>);
    let cells = grid.windows.iter().flat_map(|window| {
        let classes = grid.classes.iter().map(String::as_str);
        classes.map(|class| (class, *window, grid.cells.get(&(class, *window)).copied()))
    });
    let cells: Vec<Place<'_>> = cells.collect();
    let columns = Columns::new()
        .words("class", |cell: &Place<'_>| cell.0.to_string())
        .number("first_layer", |cell| cell.1.first.to_string())
        .number("last_layer", |cell| cell.1.last.to_string())
        .number("neurons", |cell| {
            cell.2.map_or(0, |e| e.neurons).to_string()
        })
        .value("clean", |cell| Some(cell.2?.means.clean))
        .value("difference_to_clean", |cell| {
            Some(cell.2?.difference_to_clean)
        })
        .ends(["clean_ci_low", "clean_ci_high"], |cell| cell.2?.clean_ci)
        .value("baseline_minus_clean", |cell| baseline_minus_clean(cell.2?))
        .value("difference_to_baseline", |cell| {
            cell.2?.estimate.difference_to_baseline
        })
        .ends(["baseline_ci_low", "baseline_ci_high"], |cell| {
            cell.2?.estimate.baseline_ci
        })
        .value("permutation_p", |cell| cell.2?.estimate.permutation_p)
        .value("p_adjusted", |cell| cell.2?.estimate.p_adjusted)
        .words("mark", |cell| {
            let mark = cell.2.map(|e| e.evidence(Versus::Baseline).mark());
            mark.unwrap_or_default().to_string()
        });
    columns.table(&cells)
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

#[cfg(test)]
mod tests {
    use super::super::effects::tests::effect;
    use super::*;
    use crate::report::html::shown;

    fn page(metric: Metric) -> String {
        let run = serde_json::json!({
            "command": "sweep", "arguments": [], "version": "0", "model": {"id": "m", "family": "f", "files": []},
            "dtype": "f32", "device": "cpu", "fold": "pre", "wall_s": 1.0,
            "settings": {"subset": "known", "classes": ["b", "a"]},
            "counts": {"absent": [{"class": "b", "layers": [0, 0]}]},
        });
        let cell = |class: &str, layer: usize, off: f64| Effect {
            layers: Some([layer, layer].into()),
            ..effect(class, metric, -1.0, off, [-1.0, -1.5])
        };
        let cells = [cell("a", 0, -1.25), cell("a", 1, -1.5), cell("b", 1, -3.0)];
        shown(&[heat_map(&cells, &serde_json::from_value(run).unwrap())])
    }

    #[test]
    fn cells_are_in_their_places_and_absent_ones_grey() {
        let page = page(Metric::TARGET_LOGPROB);
        let place = |text: &str| page.find(&format!("\n{text}\n")).unwrap();
        assert!(place("b") < place("a"), "in the order of --classes");
        assert_eq!(
            page.matches("<rect").count(),
            1 + 3 * 4,
            "the ground and the cells"
        );
        assert_eq!(
            page.matches("fill=\"var(--absent)\"").count(),
            3,
            "in each of three panels"
        );
        for text in [
            "3 cells (a class",
            "1 more without neurons",
            "−1.75**",
            "−1.750 [−2.250, −1.250]",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn other_metrics_are_no_cells() {
        assert!(page(Metric::ENTROPY).contains("no effect on the target"));
    }
}
