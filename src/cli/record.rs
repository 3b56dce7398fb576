//! `record`: what the neurons do while the model reads.

mod plan;
mod view;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text, parse_layers};
use super::numbers;
use super::run::{Job, PartArgs};
use super::setup::{check_memory, find_model, open_checkpoint};
use super::terminal::print_json;
use crate::engine::Engine;
use crate::experiment::record::{
    Activity, ClassSets, RecordPlan, RecordSink, TOKENS_PER_PASS, class_view, record,
};
use crate::io_class::{Match, NeuronTable};
use crate::model::Model;
use crate::report::{RecordFiles, expected_bytes};
use crate::stats::BootstrapSettings;
use crate::tokens::{BosPolicy, Positions};
use plan::{Plan, SiteChoice};

const AFTER_HELP: &str = "\
Examples:
  gatelens record --out runs/facts
  gatelens record --text neutral --max-tokens 20000 --out runs/neutral
  gatelens record --text a.txt --text b.jsonl --top 0 --out runs/texts
  gatelens record --dense --sites hook_resid_post --layers 10..12 --positions last --out runs/dense

Texts: a plain text file is one document, or several with a line of only --- between them; a JSON Lines file has \
one document a line in the field `text`. A document longer than --context is cut into windows without overlap, \
each read by itself, with a BOS token in front where --bos says so.

What is printed, of each class: the share of tokens with gate > 0; the mean |post|, where post = act(gate)·up; \
the mean |post|·‖w_out‖, the length of what a neuron adds to the residual stream (w_out as --fold has it). The \
baseline is the mean of --draws random sets of neurons from outside the class, as many in each layer. Interval \
and p of the difference count two kinds of chance: which prompts (or documents) were read, and which neurons \
were drawn. By layer there are none. p (Holm) is adjusted over all tests of the run. class_activity.json has the \
rest: p before that, the permutation p, the spread of the draws.

Roles of tokens (the first that holds): first (of the prompt or window), last (of the prompt), subject-last, \
subject, other. Texts have first and other. Models park attention at the first token, which is like no other.

Every number takes in every recorded token. Only the lists of top_tokens.parquet name an event once: a token \
whose whole context, itself and all before it, was recorded before has the same activations again and is left \
out. Prompts that all begin with `The capital of` would fill the lists otherwise.

Memory: the id and the place of every token stay (17 bytes), and the texts. A document is tokenized as a whole, \
which for a moment takes 100 to 250 times its size: part long texts into documents.

A pass takes about 33 thousand tokens, or what memory has room for. Whatever ends the run, what its finished passes \
gave is kept; the same command with --resume goes on.";

/// Record what every neuron does while the model reads prompts or texts
///
/// One pass over the input; memory hardly grows with it. Prints what each class does beside as many
/// random neurons of the same layers: how often gate is positive, how strong act(gate)·up is, and how much it
/// writes. With --out: tokens.parquet, activations.parquet (the strongest neurons of each token and layer),
/// summary.parquet and top_tokens.parquet (every neuron), class_activity.json, run.json, and with --dense
/// activations.safetensors (whole tensors).
#[derive(Args, Serialize)]
#[command(after_help = AFTER_HELP)]
pub struct Record {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact; the targets are not read [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Texts instead of prompts: a plain text or JSON Lines file, or `neutral` for the bundled text. May be
    /// given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "prompts")]
    text: Vec<PathBuf>,
    /// Read no more than so many tokens: whole prompts, and of texts the beginning.
    #[arg(long, value_name = "N", value_parser = numbers::token_limit, allow_negative_numbers = true)]
    max_tokens: Option<usize>,
    /// Tokens of a window of text, BOS included [default: 1024, or what the model can read].
    #[arg(long, value_name = "N", requires = "text", value_parser = numbers::tokens, allow_negative_numbers = true)]
    context: Option<usize>,
    /// The strongest neurons, by |post|, that activations.parquet holds of each token and layer (16 bytes each);
    /// 0: no such file.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = numbers::shown, allow_negative_numbers = true)]
    top: usize,
    /// Also write whole tensors of --sites, one per site and layer, f32, a row per recorded token.
    #[arg(long, requires = "out")]
    dense: bool,
    /// Sites of --dense, by name (of all layers) or full name (of one): hook_resid_pre, hook_attn_out,
    /// hook_resid_mid, mlp.hook_pre (gate), mlp.hook_pre_linear (up), mlp.hook_post (post), hook_mlp_out,
    /// hook_resid_post, ln_final.hook_scale; such as mlp.hook_post,blocks.3.hook_resid_mid.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        default_value = "mlp.hook_post",
        requires = "dense"
    )]
    sites: Vec<SiteChoice>,
    /// Neurons of --dense, for its mlp sites: a file with one `layer.neuron` a line (# begins a comment) [default: all].
    #[arg(long, value_name = "FILE", requires = "dense")]
    neurons: Option<PathBuf>,
    /// Record these layers alone, in all files: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    layers: Option<Range<usize>>,
    /// Record these tokens of the prompts alone, in all files: all, subject, subject-last or last.
    #[arg(long, default_value = "all", conflicts_with = "text")]
    #[serde(serialize_with = "as_text")]
    positions: Positions,
    /// Random sets that each class is compared with.
    #[arg(long, default_value_t = 20, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    /// Seed of the random sets and of the bootstrap.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// What the random sets share with the class: the layers, or also the norms of w_out.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm"
    )]
    #[serde(serialize_with = "as_text")]
    matching: Match,
    /// Whether prompts and windows begin with a BOS token: as the model's tokenizer does (auto), always or never.
    #[arg(long, default_value = "auto", value_name = "auto|always|never")]
    #[serde(serialize_with = "as_text")]
    bos: BosPolicy,
    #[command(flatten)]
    #[serde(flatten)]
    part: PartArgs,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    #[command(flatten)]
    #[serde(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

impl Record {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        check_memory(&load_options, checkpoint.config())?;
        let (plan, info) = self.plan(&located, checkpoint.config())?;
        job.describe(|| Ok(info))?;
        if let (Some(out), false) = (job.out(), job.goes_on()) {
            out.check_space(self.expected_bytes(&plan))?;
        }

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let sets = ClassSets::new(self.treatments(&table, &plan.layers)?, &table);
        let model = Model::load(checkpoint, load_options)?;
        let dense = plan.dense.as_ref();
        let mut files = job
            .out()
            .map(|out| RecordFiles::new(out, &table, self.top, dense));
        let of_run = RecordPlan {
            input: &plan.input,
            layers: plan.layers.clone(),
            sets: &sets,
        };
        let recorded = job.run(&model, |run| {
            let sink = files.as_mut().map(|files| files as &mut dyn RecordSink);
            record(run, &Engine::new(&model), &of_run, sink)
        })?;
        let Some((recording, wall_s)) = recorded else {
            return Ok(());
        };
        let settings = BootstrapSettings {
            seed: self.seed,
            ..BootstrapSettings::default()
        };
        let view = class_view(&recording.activity, &settings)?;
        let written = || {
            if let Some(files) = &files {
                files.finish(&recording, &plan.input, &plan.tokenizer)?;
            }
            let view = serde_json::to_vec_pretty(&view)?;
            Ok(vec![("class_activity.json", view)])
        };
        let written = job.finish(|_| written(), counts(&plan, &sets), wall_s);
        self.print(&view, &plan, &sets)?;
        written.say(self.output.json)
    }

    /// Bytes that the files take, those of the passes among them until they are joined.
    fn expected_bytes(&self, plan: &Plan) -> u64 {
        let passes = plan.input.batch().tokens().div_ceil(TOKENS_PER_PASS);
        let copies = if passes > 1 { 2 } else { 1 };
        let rows = plan.input.rows();
        copies * expected_bytes(rows, plan.layers.len(), self.top, plan.dense.as_ref())
    }

    fn print(&self, view: &[Activity], plan: &Plan, sets: &ClassSets) -> anyhow::Result<()> {
        if self.output.json {
            print_json(view)?;
            return Ok(());
        }
        let input = &plan.input;
        let heading = view::Heading {
            model: &self.model.model,
            units: input.units.len(),
            unit_name: input.kind.units(),
            tokens: input.rows(),
            layers: plan.layers.clone(),
            fold: self.class.fold,
            draws: self.draws,
        };
        view::print(view, &heading, sets);
        Ok(())
    }
}

fn counts(plan: &Plan, sets: &ClassSets) -> serde_json::Value {
    let input = &plan.input;
    let (sequences, tokens) = (input.sequences(), input.batch().tokens());
    let treatments = sets.treatments();
    let neurons = treatments.iter().map(|t| (&t.class, t.neurons.len()));
    let shortfall = treatments.iter().map(|t| (&t.class, &t.shortfall));
    serde_json::json!({
        "units": input.units.len(),
        "kind": input.kind.units(),
        "sequences": {"read": sequences, "of": sequences},
        "tokens": {"read": tokens, "of": tokens},
        "rows": input.rows(),
        "repeated_rows": input.repeated_rows(),
        "layers": [plan.layers.start, plan.layers.end],
        "neurons": neurons.collect::<std::collections::BTreeMap<_, _>>(),
        "shortfall": shortfall.collect::<std::collections::BTreeMap<_, _>>(),
    })
}
