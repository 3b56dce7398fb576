//! What a run's folder holds, by its command, and which blocks show it.

use serde::Deserialize;

use super::attribute_rate::RateTable;
use super::block::{Block, Figure, Table};
use super::claims::Claims;
use super::class_shares::ClassTable;
use super::cosines::NeuronCosines;
use super::losses::PromptRow;
use super::ranking::RankRow;
use super::words::count;
use super::{
    activity, attribute_rate, claims, class_shares, cosines, effects, losses, medians, ranking,
    sweep,
};
use crate::experiment::rank::CurvePoint;
use crate::experiment::record::Activity;
use crate::experiment::{Effect, LayerWindow};
use crate::io_class::PUBLISHED_THRESHOLD;
use crate::report::RunInfo;

/// An entry of `effects.json` of `attributes`.
#[derive(Clone, Debug, Deserialize)]
pub struct RateEffect {
    /// Absent in the mean over several layers.
    layer: Option<usize>,
    layers: LayerWindow,
    #[serde(flatten)]
    effect: Effect,
}

/// The files of a command that are shown; one that is not there is absent.
pub enum Contents {
    Classify {
        classes: Option<ClassTable>,
        neurons: Option<Vec<NeuronCosines>>,
    },
    /// An ablation on prompts.
    Facts {
        effects: Option<Vec<Effect>>,
        rows: Option<Vec<PromptRow>>,
    },
    /// An ablation on text.
    Text {
        effects: Option<Vec<Effect>>,
    },
    Sweep {
        effects: Option<Vec<Effect>>,
    },
    Record {
        activity: Option<Vec<Activity>>,
    },
    Attributes {
        rates: Option<RateTable>,
        effects: Option<Vec<RateEffect>>,
    },
    Rank {
        curve: Option<Vec<CurvePoint>>,
        rows: Option<Vec<RankRow>>,
    },
    Verify {
        claims: Option<Claims>,
    },
    /// Of a command that this version has no picture for.
    Other,
}

impl Contents {
    /// What the page shows, in order; what cannot be shown is said in its place.
    pub fn blocks(&self, run: &RunInfo) -> Vec<Block> {
        let lacking = |file: &str, what: &str| vec![lacking(file, what, run)];
        match self {
            Contents::Classify { classes, neurons } => {
                let threshold = classes.as_ref().map(|classes| classes.threshold);
                let threshold = threshold.or(run.threshold()).unwrap_or(PUBLISHED_THRESHOLD);
                let by_layer = classes
                    .as_ref()
                    .map(|c| vec![class_shares::figure(c), medians::figure(c)]);
                let dots = neurons
                    .as_ref()
                    .map(|neurons| vec![cosines::figure(neurons, threshold)]);
                let by_layer =
                    by_layer.unwrap_or_else(|| lacking("classes.json", "the classes by layer"));
                let dots = dots
                    .unwrap_or_else(|| lacking("neurons.parquet", "the cosines of single neurons"));
                [by_layer, dots].concat()
            }
            Contents::Facts { effects, rows } => {
                let effects = effects_or_not(effects.as_deref(), run);
                let losses = match rows {
                    Some(rows) if run.finished => vec![losses::table(rows)],
                    // Of a stopped run some draws are missing, prompt by prompt others.
                    Some(_) => Vec::new(),
                    None => lacking("outcomes.parquet", "the facts that lose most"),
                };
                [effects, losses].concat()
            }
            Contents::Text { effects } => effects_or_not(effects.as_deref(), run),
            Contents::Sweep {
                effects: Some(effects),
            } => sweep::blocks(effects, run),
            Contents::Sweep { effects: None } => lacking("effects.json", "the heat map"),
            Contents::Record {
                activity: Some(activity),
            } => activity::blocks(activity, &units(run)),
            Contents::Record { activity: None } => {
                lacking("class_activity.json", "what the classes do")
            }
            Contents::Attributes { rates, effects } => {
                let rates = rates
                    .as_ref()
                    .map(|rates| vec![attribute_rate::figure(rates)]);
                let rates = rates
                    .unwrap_or_else(|| lacking("rates.parquet", "the attribute rate by layer"));
                [rates, rate_effects(effects.as_deref(), run)].concat()
            }
            Contents::Rank { curve, rows } => {
                let curve = curve
                    .as_ref()
                    .map(|curve| vec![ranking::figure(curve, run)]);
                let rows = rows.as_ref().map(|rows| vec![ranking::table(rows)]);
                let curve = curve.unwrap_or_else(|| lacking("curve.json", "the curve"));
                let rows = rows.unwrap_or_else(|| lacking("ranking.parquet", "the neurons"));
                [curve, rows].concat()
            }
            Contents::Verify {
                claims: Some(claims),
            } => vec![claims::table(claims)],
            Contents::Verify { claims: None } => lacking("claims.json", "the claims"),
            Contents::Other => vec![Block::Lacking(format!(
                "This version of gatelens has no picture for what `{}` writes; the files of the folder hold the results.",
                run.command
            ))],
        }
    }
}

/// The effects on the mean over some layers, with these.
fn rate_effects(effects: Option<&[RateEffect]>, run: &RunInfo) -> Vec<Block> {
    let over_layers = effects.map(|effects| effects.iter().filter(|e| e.layer.is_none()));
    let layers = over_layers
        .clone()
        .and_then(|mut effects| Some(effects.next()?.layers));
    let over_layers: Option<Vec<Effect>> =
        over_layers.map(|effects| effects.map(|e| e.effect.clone()).collect());
    let mut blocks = effects_or_not(over_layers.as_deref(), run);
    for block in &mut blocks {
        if let (
            Block::Figure(Figure { notes, .. }) | Block::Table(Table { notes, .. }),
            Some(layers),
        ) = (block, layers)
        {
            notes.push(format!("The rate is the mean over {layers}."));
        }
    }
    blocks
}

fn effects_or_not(effects: Option<&[Effect]>, run: &RunInfo) -> Vec<Block> {
    match effects {
        Some(effects) => effects::blocks(effects),
        None => vec![lacking("effects.json", "the effects", run)],
    }
}

/// How many prompts or documents were read.
fn units(run: &RunInfo) -> String {
    let (units, kind) = (&run.counts["units"], &run.counts["kind"]);
    match (units.as_u64(), kind.as_str()) {
        (Some(units), Some(kind)) => format!("{} {kind}", count(units as usize)),
        _ => "an unknown number of units".to_string(),
    }
}

fn lacking(file: &str, what: &str, run: &RunInfo) -> Block {
    let why = match run.finished {
        true => "was it removed?",
        false => "it is written when the run is finished.",
    };
    Block::Lacking(format!(
        "Not shown: {what}. The folder has no {file}; {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::class_shares::tests::table;
    use super::*;

    fn run(command: &str, finished: bool) -> RunInfo {
        let run = serde_json::json!({
            "command": command, "arguments": [command], "version": "0", "model": {"id": "m", "family": "llama", "files": []},
            "dtype": "f32", "device": "cpu", "fold": "pre", "finished": finished, "wall_s": 1.0,
        });
        serde_json::from_value(run).unwrap()
    }

    fn said(contents: &Contents, run: &RunInfo) -> Vec<String> {
        let lacking = |block: Block| match block {
            Block::Lacking(what) => Some(what),
            _ => None,
        };
        contents
            .blocks(run)
            .into_iter()
            .filter_map(lacking)
            .collect()
    }

    #[test]
    fn what_the_folder_lacks_is_said() {
        let half = Contents::Classify {
            classes: Some(table()),
            neurons: None,
        };
        let said_of_half = said(&half, &run("classify", true));
        assert_eq!(half.blocks(&run("classify", true)).len(), 3);
        assert!(
            said_of_half[0].contains("no neurons.parquet"),
            "{said_of_half:?}"
        );
        for (contents, file) in [
            (Contents::Text { effects: None }, "effects.json"),
            (Contents::Sweep { effects: None }, "effects.json"),
            (Contents::Record { activity: None }, "class_activity.json"),
            (
                Contents::Attributes {
                    rates: None,
                    effects: None,
                },
                "rates.parquet",
            ),
            (
                Contents::Rank {
                    curve: None,
                    rows: None,
                },
                "curve.json",
            ),
            (Contents::Verify { claims: None }, "claims.json"),
        ] {
            let said = said(&contents, &run("x", false));
            assert!(
                said[0].contains(file) && said[0].contains("when the run is finished"),
                "{said:?}"
            );
        }
        let facts = Contents::Facts {
            effects: None,
            rows: None,
        };
        assert_eq!(said(&facts, &run("ablate", true)).len(), 2);
        assert!(said(&Contents::Other, &run("dance", true))[0].contains("`dance`"));
    }
}
