//! `verify`: the paper's claims, tested on a model.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::HumanDuration;
use serde::Serialize;
use serde_json::json;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text};
use super::inputs::{checked_batch, checked_windows, read_prompts};
use super::numbers;
use super::run::{File, Job, PartArgs};
use super::setup::{bos_in_words, check_memory, find_model, open_checkpoint, run_info, tokenizer};
use super::table::count;
use super::terminal::print_json;
use super::verify_table::print_claims;
use crate::engine::Engine;
use crate::experiment::attributes::{AttributeInput, AttributeWords};
use crate::experiment::verify::{
    About, CLAIMS, Claim, ClaimTest, Step, VerifyInput, VerifySettings, plan_steps, verify,
};
use crate::hooks::Condition;
use crate::hub::LocatedModel;
use crate::io_class::{NeuronTable, check_threshold};
use crate::model::{Config, Model};
use crate::prompts::{Documents, MissingText, PromptError, PromptSet, StopWords, Subjects};
use crate::report::{PromptSetInfo, RunInfo, verdicts_html};
use crate::stats::BootstrapSettings;
use crate::tokens::{
    BosPolicy, TokenBatch, Tokenizer, Window, Windowing, tokenize, tokenize_to_subject,
};

/// Random sets per class, and with --quick.
const DRAWS: usize = 12;
const QUICK_DRAWS: usize = 5;

/// Tokens that are read of each document, and with --quick.
const TOKENS: usize = 48;
const QUICK_TOKENS: usize = 32;

/// Tokens of the run that the time estimate is made from.
const CALIBRATION: usize = 256;

const AFTER_HELP: &str = "\
Examples:
  gatelens verify --out runs/verify
  gatelens verify --quick --claims depth-enrichment,depletion-entropy
  gatelens verify --model gemma3-270m --draws 20
  gatelens verify --null --quick

Verdicts: supported and contradicted mean that the estimate lies on the claimed or on the other side with p < 0.05 \
after Holm's adjustment over all tests of the run; claims about counts of all neurons have no p. Everything else is \
not distinguishable, or not testable where the model has no such neurons. A claim that fails is a result.";

/// Test the causal claims of Gerstner and Schütze on a model, each against layer-matched random neurons
///
/// Runs what the claims need (factual recall, neutral text, gate frequencies, attribute rates), prints a table with
/// an estimate, its interval, an adjusted p and a verdict per test, and with --out writes claims.json, report.html
/// and run.json; the passes that are through are then kept however the run ends, and the same command with --resume goes on.
/// The plan and about how long it takes are printed first.
#[derive(Args, Serialize)]
#[command(after_help = after_help())]
pub struct Verify {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Only these claims; a list of all is at the end.
    #[arg(long, value_delimiter = ',', value_name = "A,B", value_parser = Claim::named)]
    claims: Vec<&'static Claim>,
    /// Fewer draws and less text: 5 and 32 tokens a document.
    #[arg(long)]
    quick: bool,
    /// Random sets per class [default: 12].
    #[arg(long, value_name = "N", value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: Option<usize>,
    /// Tokens that are read of each document of the text, BOS included [default: 48].
    #[arg(long, value_name = "N", value_parser = numbers::stretch, allow_negative_numbers = true)]
    text_tokens: Option<usize>,
    /// Facts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array with the fields of
    /// known_1000 or CounterFact [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Text that asks for no facts [default: the bundled text].
    #[arg(long, value_name = "FILE", default_value = "neutral")]
    text: PathBuf,
    /// Seed of draws, shuffles and bootstrap.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// A control: the classes' labels are shuffled over all neurons first, so that no claim about a class holds; a
    /// verdict of supported or contradicted is then a false one, of which Holm's adjustment allows one in twenty runs.
    #[arg(long)]
    null: bool,
    /// Whether prompts and text begin with a BOS token: as the model's tokenizer does (auto), always or never.
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

/// What is read.
struct Inputs {
    prompts: PromptSet,
    facts: TokenBatch,
    documents: Documents,
    windows: Vec<Window>,
    subjects: Option<AboutSubjects>,
}

/// Prompts up to their subjects, and what counts of the texts about these.
struct AboutSubjects {
    batch: TokenBatch,
    texts: Vec<usize>,
    words: AttributeWords,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        let settings = self.settings()?;
        check_threshold(self.class.threshold)?;
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        check_memory(&load_options, checkpoint.config())?;
        let tokenizer = tokenizer(&located)?;
        let inputs = self.inputs(&tokenizer, checkpoint.config())?;
        job.describe(|| self.info(&located, checkpoint.config(), &inputs, &tokenizer))?;

        let mut table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        if self.null {
            table = table.with_shuffled_labels(self.seed);
        }
        let model = Model::load(checkpoint, load_options)?;
        let input = VerifyInput {
            model: &model,
            table: &table,
            facts: &inputs.facts,
            documents: &inputs.documents,
            windows: &inputs.windows,
            subjects: inputs.subjects.as_ref().map(|about| AttributeInput {
                batch: &about.batch,
                texts: &about.texts,
                words: &about.words,
            }),
        };
        print_plan(&plan_steps(&input, &settings)?, &input)?;
        let found = job.run(&model, |run| verify(run, &input, &settings))?;
        let Some((claims, wall_s)) = found else {
            return Ok(());
        };
        let counts = counts(&inputs);
        let written = job.finish_with(|info| files(&claims, info), counts, wall_s);
        if self.output.json {
            print_json(&json!({"claims": claims}))?;
            return written.say(true);
        }
        self.print_heading(&inputs, &settings);
        print_claims(&claims);
        written.say(false)
    }

    fn settings(&self) -> anyhow::Result<VerifySettings> {
        let draws = self
            .draws
            .unwrap_or(if self.quick { QUICK_DRAWS } else { DRAWS });
        anyhow::ensure!(
            draws >= 2,
            "--draws {draws} gives no interval; 5 or more give an honest one"
        );
        let is_asked = |claim: &&Claim| match self.claims.is_empty() {
            true => !self.null || claim.about == About::Labels,
            false => self.claims.contains(claim),
        };
        let claims: Vec<&'static Claim> = CLAIMS.iter().filter(is_asked).collect();
        let unlabelled = claims.iter().find(|claim| claim.about == About::Counts);
        if let (true, Some(claim)) = (self.null, unlabelled) {
            anyhow::bail!(
                "--null shuffles the labels of neurons, and {claim} does not depend on which neuron has which label",
                claim = claim.name
            );
        }
        Ok(VerifySettings {
            claims,
            draws,
            bootstrap: BootstrapSettings {
                seed: self.seed,
                ..BootstrapSettings::default()
            },
        })
    }

    fn inputs(&self, tokenizer: &Tokenizer, config: &Config) -> anyhow::Result<Inputs> {
        let prompts = read_prompts(self.prompts.as_deref())?;
        let facts = checked_batch(tokenize, &prompts, tokenizer, self.bos, config.vocab_size)?;
        let documents = Documents::read(&self.text)?;
        let usual = if self.quick { QUICK_TOKENS } else { TOKENS };
        let context = self.text_tokens.unwrap_or(usual).min(config.max_positions);
        let cut = Windowing {
            bos: self.bos,
            context,
            max_tokens: None,
        };
        let files = std::slice::from_ref(&documents);
        let windows = checked_windows(files, tokenizer, cut, config.vocab_size)?;
        let windows = Window::first_of_each(windows);
        anyhow::ensure!(
            windows.len() >= 2,
            "{} is one document, and an interval needs several: separate them by a line with only ---",
            documents.name
        );
        Ok(Inputs {
            subjects: self.subjects(&prompts, tokenizer, config)?,
            prompts,
            facts,
            documents,
            windows,
        })
    }

    /// The prompts whose subjects have a text; none of them may have.
    fn subjects(
        &self,
        prompts: &PromptSet,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> anyhow::Result<Option<AboutSubjects>> {
        let subjects = Subjects::bundled()?;
        let asked = match subjects.of_prompts(prompts.clone(), MissingText::Skip) {
            Err(PromptError::NoPrompts { .. }) => return Ok(None),
            asked => asked?,
        };
        let stop_words = StopWords::bundled();
        Ok(Some(AboutSubjects {
            batch: tokenize_to_subject(&asked.prompts, tokenizer, self.bos)?,
            texts: asked.texts,
            words: AttributeWords::new(tokenizer, config.vocab_size, &stop_words, &subjects)?,
        }))
    }

    /// `run.json` but for the counts.
    fn info(
        &self,
        located: &LocatedModel,
        config: &Config,
        inputs: &Inputs,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<RunInfo> {
        let Inputs {
            prompts, documents, ..
        } = inputs;
        let settings = serde_json::to_value(self)?;
        let compute = Some(&self.compute);
        let mut info = run_info("verify", settings, located, config, compute, &self.class)?;
        info.tokenizer_sha256 = Some(tokenizer.sha256().to_string());
        info.bos = Some(bos_in_words(self.bos, tokenizer)?);
        info.seed = Some(self.seed);
        info.prompts = Some(PromptSetInfo::new(&prompts.name, &prompts.sha256));
        info.texts = vec![PromptSetInfo::new(&documents.name, &documents.sha256)];
        Ok(info)
    }

    fn print_heading(&self, inputs: &Inputs, settings: &VerifySettings) {
        outln!(
            "\n{}: {} facts, {} tokens of {} documents, {} draws, fold {}, seed {}{}",
            self.model.model,
            count(inputs.prompts.prompts.len()),
            count(text_tokens(inputs)),
            inputs.windows.len(),
            settings.draws,
            self.class.fold,
            self.seed,
            match self.null {
                true => "; labels shuffled (control)",
                false => "",
            }
        );
    }
}

fn text_tokens(inputs: &Inputs) -> usize {
    inputs
        .windows
        .iter()
        .map(|window| window.sequence.ids.len())
        .sum()
}

/// Prints what will be done, and about how long that takes on this machine.
fn print_plan(steps: &[Step], input: &VerifyInput<'_>) -> anyhow::Result<()> {
    if steps.is_empty() {
        notice!("from the weights alone");
        return Ok(());
    }
    let parts = input.facts.split(CALIBRATION)?;
    let engine = Engine::new(input.model);
    let clean = [Condition::Clean];
    engine.tokens_per_pass(&parts[0], 1)?; // too little memory shows before anything runs
    let started = Instant::now();
    engine.run(&parts[0], &clean, &mut [], None, &())?;
    let took = started.elapsed().as_secs_f64();
    let per_unit = took / (parts[0].tokens() as u64 * engine.work_units(&clean)) as f64;
    let seconds = |work: u64| HumanDuration(Duration::from_secs_f64(work as f64 * per_unit));
    for step in steps {
        notice!("{:>10}  {}", format!("{:#}", seconds(step.work)), step.what);
    }
    let all = steps.iter().map(|step| step.work).sum();
    notice!("about {} in all, at this machine's speed\n", seconds(all));
    Ok(())
}

fn counts(inputs: &Inputs) -> serde_json::Value {
    json!({
        "prompts": inputs.prompts.prompts.len(),
        "documents": inputs.windows.len(),
        "text_tokens": text_tokens(inputs),
    })
}

/// The page is one of the files of the run: without it the run is not finished.
fn files(claims: &[ClaimTest], info: &RunInfo) -> anyhow::Result<Vec<File>> {
    let claims = serde_json::to_vec_pretty(&json!({"claims": claims}))?;
    let page = verdicts_html(info, &claims)?;
    Ok(vec![("claims.json", claims), ("report.html", page)])
}

/// The end of the help, with the claims by their rows.
fn after_help() -> String {
    let claims = CLAIMS
        .iter()
        .map(|claim| format!("  {}\n    {}\n", claim.name, claim.sentence));
    format!("Claims:\n{}\n{AFTER_HELP}", claims.collect::<String>())
}
