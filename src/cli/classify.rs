//! `classify`: every neuron's cosines and class.

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::args::{ClassArgs, ModelArg, OutputArgs};
use super::descent::Parent;
use super::numbers;
use super::progress::Meter;
use super::published::PublishedReport;
use super::run::{Job, PartArgs};
use super::setup::{find_model, run_info, say_what_is_open};
use super::table::{Columns, count, table_of};
use super::terminal::print_json_text;
use crate::io_class::{
    Beyond, ChanceLevels, Class, ClassCounts, NeuronTable, mismatched_flop, mismatched_regions,
};
use crate::model::{Checkpoint, Config, LoadOptions};
use crate::report::{classes_json, neurons_parquet};

/// Sort every MLP neuron into an input-output class by the cosines between its weights
///
/// For neuron n with w_gate, w_in (rows of gate_proj, up_proj) and w_out (column of down_proj), the
/// signs of cos(w_in, w_out), cos(w_gate, w_out) and cos(w_gate, w_in) beyond the threshold give one
/// of eleven classes. The last column says how many neurons have a cos(w_in, w_out) that chance does
/// not explain. A model of the paper is compared with its published table, and one that descends from such a
/// model (by its alias, its name or --compare) with that model's. With --out: neurons.parquet, classes.json, run.json.
#[derive(Args, Serialize)]
pub struct Classify {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    /// What a cosine is compared with to tell it from chance: random vectors (beta, costs nothing),
    /// or also the layer's own mismatched neurons (mismatched: w_a of one and w_b of another, all
    /// pairs); auto: mismatched too where that takes no more than 4 TFLOP (up to about 0.5 billion
    /// parameters, half a minute on two cores).
    #[arg(long, value_enum, default_value_t = Chance::Auto, hide_possible_values = true, value_name = "auto|beta|mismatched")]
    chance: Chance,
    /// Compare with the published table of this model, which the one at hand descends from: a Hugging Face id or its last
    /// part, such as qwen2.5-0.5b [default: what the alias or the model's name says].
    #[arg(long, value_name = "MODEL")]
    compare: Option<String>,
    /// Use no more than this, such as 2GiB. Two layers' MLPs are held at a time, whatever the model's size; a
    /// limit that is too small for them is refused.
    #[arg(long, value_name = "SIZE", value_parser = numbers::size, allow_negative_numbers = true)]
    max_memory: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

/// Which chance levels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Chance {
    /// Mismatched too where it is cheap.
    Auto,
    /// Random vectors alone.
    Beta,
    /// Mismatched too.
    Mismatched,
}

/// Up to so many floating-point operations the mismatched regions are computed without asking. A number of
/// operations and no time, so that the same command writes the same file on every machine.
const CHEAP_FLOP: f64 = 4e12;

impl Chance {
    fn is_mismatched(self, config: &Config) -> bool {
        match self {
            Chance::Auto => mismatched_flop(config) <= CHEAP_FLOP,
            Chance::Beta => false,
            Chance::Mismatched => true,
        }
    }
}

impl Classify {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // There are no passes to go on with.
        let mut job = Job::claim(&self.output, &PartArgs::default())?;
        let located = find_model(&self.model.model)?;
        let checkpoint = Checkpoint::open(&located.files)?;
        say_what_is_open(checkpoint.config());
        let config = checkpoint.config();
        let options = LoadOptions {
            max_memory: self.max_memory,
            ..LoadOptions::default()
        };
        options.plan(config)?;
        let parent = Parent::find(self.compare.as_deref(), &self.class, &located, config)?;
        let ClassArgs { fold, threshold } = self.class;
        let table = NeuronTable::classify(&checkpoint, fold, threshold)?;
        // The classes of a model that cannot run would be believed: every weight counts, not those of the MLPs alone.
        checkpoint.check_weights()?;
        let chance = self.chance_levels(&checkpoint, &table)?;
        checkpoint.check_unchanged()?;
        let published = PublishedReport::new(&located, &checkpoint, &table)?;
        let comparison = published.as_ref().and_then(|p| p.comparison.as_ref());
        let descent = parent.as_ref().and_then(|parent| parent.descent(&table));
        let classes = classes_json(&table, &chance, comparison, descent.as_ref())?;
        job.describe(|| {
            let settings = serde_json::to_value(&self)?;
            run_info("classify", settings, &located, config, None, &self.class)
        })?;
        let neurons: usize = table.layers.iter().map(Vec::len).sum();
        let counts = json!({"layers": table.layers.len(), "neurons": neurons});
        let files = |_: &_| {
            let neurons = ("neurons.parquet", neurons_parquet(&table)?);
            Ok(vec![neurons, ("classes.json", classes.clone())])
        };
        let written = job.finish(files, counts);
        if self.output.json {
            print_json_text(&String::from_utf8(classes)?);
            return written.say(true);
        }
        outln!(
            "{}: {} neurons, fold {fold}, threshold {threshold}\n",
            self.model.model,
            count(neurons)
        );
        print_counts(&table, &chance);
        outln!("{}", self.chance_text(&chance, config));
        if let Some(published) = published {
            outln!("\n{}", published.text);
        }
        if let Some(parent) = parent {
            outln!("\n{}", parent.text(descent.as_ref()));
        }
        written.say(false)
    }

    fn chance_levels(
        &self,
        checkpoint: &Checkpoint,
        table: &NeuronTable,
    ) -> anyhow::Result<ChanceLevels> {
        let (config, meter) = (checkpoint.config(), Meter::new());
        let mismatched = || mismatched_regions(checkpoint, self.class.fold, &meter);
        let asked = self.chance.is_mismatched(config);
        let regions = asked.then(mismatched).transpose()?;
        meter.clear();
        Ok(ChanceLevels::new(table, config.d_model, regions.as_deref()))
    }

    /// What the last column is, and what was not computed.
    fn chance_text(&self, chance: &ChanceLevels, config: &Config) -> String {
        let (d_model, beta) = (config.d_model, chance.beta.high);
        let caption = "Beyond chance (%: -/+): neurons whose cos(w_in, w_out) lies below/above the range that holds 95 %\nof the cosines";
        let expected = "By chance it would be 2.5/2.5.";
        if self.chance.is_mismatched(config) {
            return format!(
                "{caption} of w_in of one neuron with w_out of another of the layer. {expected}\n\
                 With random vectors of {d_model} numbers the range is ±{beta:.4} in every layer. Both are in classes.json,\n\
                 for all three cosines."
            );
        }
        let text =
            format!("{caption} of random vectors of {d_model} numbers, ±{beta:.4}. {expected}");
        match self.chance {
            Chance::Auto => format!(
                "{text}\nThe neurons of a layer may have more in common than random vectors: --chance mismatched compares with\n\
                 mismatched neurons of the layer ({:.0} TFLOP here; up to {:.0} are done without asking).",
                mismatched_flop(config) / 1e12,
                CHEAP_FLOP / 1e12
            ),
            _ => text,
        }
    }
}

/// A line of the table: its name, its counts, its median and what lies beyond chance.
type Line<'a> = (String, &'a ClassCounts, String, String);

/// Prints how many neurons of each class a layer has, a line per layer, and a last one of all.
fn print_counts(table: &NeuronTable, chance: &ChanceLevels) {
    let (totals, layers) = (table.totals(), table.counts_per_layer());
    let mut columns = Columns::new().words("layer", |line: &Line<'_>| line.0.clone());
    for class in Class::ALL.into_iter().filter(|class| totals[class] > 0) {
        columns = columns.number(&column_name(class), move |line| count(line.1[&class]));
    }
    let columns = columns
        .number("median\ncos(in,\nout)", |line| line.2.clone())
        .number("beyond\nchance\n%: -/+", |line| line.3.clone());
    let last = table.median_in_out().into_iter().zip(chance.in_out());
    let lines = layers.iter().zip(last).enumerate();
    let mut lines: Vec<Line<'_>> = lines
        .map(|(layer, (counts, (median, beyond)))| {
            let beyond = shares(beyond, table.layers[layer].len());
            (layer.to_string(), counts, format!("{median:+.3}"), beyond)
        })
        .collect();
    lines.push(("all".to_string(), &totals, String::new(), String::new()));
    outln!("{}\n", table_of(&columns, &lines));
}

/// Neurons below and above a region, in per cent.
fn shares(beyond: Beyond, neurons: usize) -> String {
    let percent = |count: usize| 100.0 * count as f64 / neurons as f64;
    format!("{:.1}/{:.1}", percent(beyond.below), percent(beyond.above))
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
