//! `record`: what the neurons do while the model reads.

mod plan;
mod view;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text, parse_layers};
use super::numbers;
use super::progress::Meter;
use super::run::{Job, ResumeArg, Written, stopped, with_parts};
use super::setup::{check_memory, find_model, open_checkpoint};
use super::stop::Stop;
use super::terminal::print_json;
use crate::engine::{Engine, Progress};
use crate::experiment::record::{Activity, ClassSets, PassBudget, Recording, class_view};
use crate::hooks::Condition;
use crate::io_class::{Match, NeuronTable};
use crate::model::Model;
use crate::report::{RecordFiles, RunInfo, Start, expected_bytes};
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

Ctrl-C stops after the pass that is running and keeps what was recorded; what was recorded is also saved about every \
minute, whatever ends the run. The same command with --resume goes on.";

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
    resume: ResumeArg,
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
        let mut job = Job::claim_whole(&self.output, &self.resume, start)?;
        let load_options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        check_memory(&load_options, checkpoint.config())?;
        let (plan, info) = self.plan(&located, checkpoint.config())?;
        job.describe(|| Ok(info))?;
        if let Some(out) = job.out() {
            let rows = plan.input.rows(plan.input.sequences().len());
            let dense = plan.dense.as_ref().filter(|_| !job.goes_on());
            out.check_space(expected_bytes(rows, plan.layers.len(), self.top, dense))?;
        }

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let sets = ClassSets::new(self.treatments(&table, &plan.layers)?, &table);
        let d_mlp = checkpoint.config().d_mlp;
        let mut recording = Recording::new(plan.layers.clone(), d_mlp, &sets, &plan.input);
        let model = Model::load(checkpoint, load_options)?;
        let stop = job.stop("stopping when this pass is through")?;
        job.begin()?;
        let files = self.record(&job, &plan, &table, &model, &mut recording, (&stop, start));
        let files = match (files, job.out()) {
            (Err(error), Some(out)) => return Err(with_parts(error, out)),
            (files, _) => files?,
        };
        model.check_unchanged()?;

        let whole = plan.input.sequences().len();
        anyhow::ensure!(
            recording.sequences > 0,
            "stopped before anything was recorded"
        );
        if let (Some(out), true) = (job.out(), recording.sequences < whole) {
            let input = &plan.input;
            let (read, all) = (input.tokens(recording.sequences), input.tokens(whole));
            return Err(stopped(&format!("{read} of {all} tokens"), out));
        }
        let settings = BootstrapSettings {
            seed: self.seed,
            ..BootstrapSettings::default()
        };
        let view = class_view(&recording.activity, &settings)?;
        let written = match (files, job.out()) {
            (Some(files), Some(out)) => {
                let info = RunInfo {
                    counts: counts(&plan, recording.sequences, &sets),
                    wall_s: job.wall_s() + files.earlier_s(),
                    ..job
                        .info()
                        .cloned()
                        .context("a folder without a description")?
                };
                let placed = files.finish(&mut recording, &view, &info);
                Written::of(Some(placed.map_err(|error| with_parts(error.into(), out))))
            }
            _ => Written::of::<anyhow::Error>(None),
        };
        self.print(&view, &plan, &sets)?;
        written.say(self.output.json)
    }

    /// Runs the passes, until the end or a signal. What was recorded is saved now and then, and at a signal.
    fn record<'a>(
        &self,
        job: &'a Job,
        plan: &'a Plan,
        table: &'a NeuronTable,
        model: &Model,
        recording: &mut Recording<'_>,
        (stop, start): (&Stop, Instant),
    ) -> anyhow::Result<Option<RecordFiles<'a>>> {
        let input = &plan.input;
        let what = (self.top, plan.dense.as_ref());
        let start_of = match job.goes_on() {
            true => Start::Resumed,
            false => Start::Anew,
        };
        let from = (start_of, &mut *recording);
        let open = |out| RecordFiles::open(out, input, table, &plan.tokenizer, what, from);
        let mut files = job.out().map(open).transpose()?;
        let earlier_s = files.as_ref().map_or(0.0, RecordFiles::earlier_s);
        let engine = Engine::new(model).beside(input.bytes() + recording.bytes());
        let passes = input.passes(recording.sequences, PassBudget::of(&engine, input)?);
        let meter = Meter::new();
        let left = input.tokens(input.sequences().len()) - input.tokens(recording.sequences);
        let units = passes.len() as u64 * engine.work_units(&[Condition::Clean]);
        meter.start(&format!("{left} tokens"), units);
        let mut saving = Saving::new();
        let is_whole = |recording: &Recording<'_>| recording.sequences == input.sequences().len();
        for sequences in passes {
            let pass = input.pass(sequences)?;
            let readers = files
                .as_mut()
                .map(|files| files.readers(&pass))
                .transpose()?;
            let (layers, sites) = readers.map_or_else(Default::default, |r| (r.layers, r.sites));
            recording.pass(&engine, &pass, layers, sites, &meter)?;
            let Some(files) = &mut files else { continue };
            files.end_pass(&pass)?;
            let stops = stop.requested() && !is_whole(recording);
            if stops || saving.is_due() {
                let wall_s = earlier_s + start.elapsed().as_secs_f64();
                saving.time(|| files.checkpoint(recording, wall_s))?;
            }
            if stops {
                break;
            }
        }
        meter.clear();
        Ok(files)
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
            tokens: input.rows(input.sequences().len()),
            layers: plan.layers.clone(),
            fold: self.class.fold,
            draws: self.draws,
        };
        view::print(view, &heading, sets);
        Ok(())
    }
}

/// When to save what was recorded.
struct Saving {
    last: Instant,
    took: Duration,
}

impl Saving {
    /// So much is lost at most, but for what a pass takes.
    const EVERY: Duration = Duration::from_secs(60);

    /// Saving takes no more than this part of the time.
    const SHARE: u32 = 20;

    fn new() -> Self {
        Self {
            last: Instant::now(),
            took: Duration::ZERO,
        }
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= Self::EVERY.max(self.took * Self::SHARE)
    }

    fn time<T>(&mut self, save: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let saved = save();
        self.last = Instant::now();
        self.took = start.elapsed();
        saved
    }
}

fn counts(plan: &Plan, sequences: usize, sets: &ClassSets) -> serde_json::Value {
    let input = &plan.input;
    let whole = input.sequences().len();
    let treatments = sets.treatments();
    let neurons = treatments.iter().map(|t| (&t.class, t.neurons.len()));
    let shortfall = treatments.iter().map(|t| (&t.class, &t.shortfall));
    serde_json::json!({
        "units": input.units.len(),
        "kind": input.kind.units(),
        "sequences": {"read": sequences, "of": whole},
        "tokens": {"read": input.tokens(sequences), "of": input.tokens(whole)},
        "rows": input.rows(sequences),
        "repeated_rows": input.repeated_rows(sequences),
        "layers": [plan.layers.start, plan.layers.end],
        "neurons": neurons.collect::<std::collections::BTreeMap<_, _>>(),
        "shortfall": shortfall.collect::<std::collections::BTreeMap<_, _>>(),
    })
}
