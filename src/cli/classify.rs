//! `classify`: every neuron's cosines and class.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::args::{ClassArgs, ModelArg, OutputArgs};
use super::setup::{find_model, run_info};
use super::table::{count, number_table};
use crate::io_class::{Class, ClassCounts, NeuronTable, check_threshold};
use crate::model::Checkpoint;
use crate::report::{classes_json, neurons_parquet};

/// Sort every MLP neuron into an input-output class by the cosines between its weights
///
/// For neuron n with w_gate, w_in (rows of gate_proj, up_proj) and w_out (column of down_proj), the
/// signs of cos(w_in, w_out), cos(w_gate, w_out) and cos(w_gate, w_in) beyond the threshold give one
/// of eleven classes. With --out: neurons.parquet, classes.json, run.json.
#[derive(Args, Serialize)]
pub struct Classify {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

impl Classify {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        let out = self.output.claim()?;
        check_threshold(self.class.threshold)?;
        let located = find_model(&self.model.model)?;
        let checkpoint = Checkpoint::open(&located.files)?;
        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        if let Some(out) = out {
            let settings = serde_json::to_value(&self)?;
            let mut info = run_info(
                "classify",
                settings,
                &located,
                checkpoint.config(),
                None,
                &self.class,
            )?;
            info.counts = serde_json::json!({
                "layers": table.layers.len(), "neurons": table.layers.iter().map(Vec::len).sum::<usize>(),
            });
            info.wall_s = start.elapsed().as_secs_f64();
            out.write(&[
                ("neurons.parquet", neurons_parquet(&table)?),
                ("classes.json", classes_json(&table)?),
                ("run.json", info.to_json()?),
            ])?;
        }
        if self.output.json {
            println!("{}", String::from_utf8(classes_json(&table)?)?);
        } else {
            print(&table, &self.model.model);
        }
        Ok(())
    }
}

fn print(table: &NeuronTable, model: &str) {
    let totals = table.totals();
    let neurons = table.layers.iter().map(Vec::len).sum();
    println!(
        "{model}: {} neurons, fold {}, threshold {}\n",
        count(neurons),
        table.fold,
        table.threshold
    );
    let shown: Vec<Class> = Class::ALL
        .into_iter()
        .filter(|class| totals[class] > 0)
        .collect();
    let names = shown.iter().map(|class| column_name(*class));
    let header: Vec<String> = ["layer".to_string()]
        .into_iter()
        .chain(names)
        .chain(["median\ncos(in,\nout)".to_string()])
        .collect();
    let row = |name: String, counts: &ClassCounts, last: String| -> Vec<String> {
        let counts = shown.iter().map(|class| count(counts[class]));
        [name].into_iter().chain(counts).chain([last]).collect()
    };
    let layers = table.counts_per_layer();
    let rows = layers.iter().zip(table.median_in_out()).enumerate();
    let rows =
        rows.map(|(l, (counts, median))| row(l.to_string(), counts, format!("{median:+.3}")));
    let all = row("all".to_string(), &totals, String::new());
    println!("{}", number_table(&header, rows.chain([all])));
}

/// A class's name in a narrow column.
fn column_name(class: Class) -> String {
    let words = class.as_str().split('-').map(|word| match word {
        "atypical" => "atyp.",
        "conditional" => "cond.",
        "enrichment" => "enrich.",
        "depletion" => "deplet.",
        "proportional" => "prop.",
        "orthogonal" => "orthog.",
        word => word,
    });
    words.collect::<Vec<_>>().join("\n")
}
