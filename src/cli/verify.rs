//! `verify`: the paper's claims, tested on a model.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::about_subjects::AboutSubjects;
use super::args::ModelArg;
use super::facts::in_pairs;
use super::forecast::Forecast;
use super::inputs::{Texts, read_prompts};
use super::long_command::{LongCommand, RunArgs};
use super::numbers;
use super::table::count;
use super::verify_table::print_claims;
use crate::engine::Engine;
use crate::experiment::attributes::AttributeWords;
use crate::experiment::verify::{
    About, CLAIMS, Claim, VerifyInput, VerifySettings, plan_steps, verify,
};
use crate::io_class::{ClassError, NeuronTable};
use crate::prompts::{MissingText, PromptError, PromptSet, StopWords, Subjects};
use crate::report::{Claims, RunInfo, draws_parquet, verdicts_html};
use crate::tokens::{Window, Windowing, tokenize, tokenize_counterfactuals, tokenize_to_subject};

/// Random sets per class that estimates are over, and with --quick.
const DRAWS: usize = 20;
const QUICK_DRAWS: usize = 5;

/// Random sets at most that a rank is among, and with --quick: a p of 2/1000 or 2/400 is small enough for Holm over all claims.
const MOST_DRAWS: usize = 999;
const QUICK_MOST_DRAWS: usize = 399;

/// Tokens that are read of each document, and with --quick.
const TOKENS: usize = 48;
const QUICK_TOKENS: usize = 32;

const AFTER_HELP: &str = "\
Examples:
  gatelens verify --out runs/verify
  gatelens verify --quick --claims depth-enrichment,depletion-entropy
  gatelens verify --model gemma3-270m --draws 20
  gatelens verify --null --quick

Verdicts: each claim has one test that decides it. Supported and contradicted mean that the class lies on the claimed or on \
the other side of its random sets, with a p of its rank among them below 0.05 after Holm's adjustment over these tests; claims \
about counts of all neurons have no p. Everything else is not distinguishable, or not testable where the model has no such \
neurons or a control could not be had. All other rows are described: nothing follows from them alone. A claim that fails is a \
result.";

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
    /// Fewer draws and less text: 5, at most 399, and 32 tokens a document.
    #[arg(long)]
    quick: bool,
    /// Random sets per class that the estimates and their intervals are over [default: 20].
    #[arg(long, value_name = "N", value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: Option<usize>,
    /// Random sets at most for the rank that decides. They are made in batches until 10 lie on both sides of the class; a class
    /// that is like them needs some 20 to 80 [default: 999].
    #[arg(long, value_name = "N", value_parser = numbers::draws, allow_negative_numbers = true)]
    most_draws: Option<usize>,
    /// Make all of these sets, whatever decides: passes that shards can share. Else each shard does its part of the first 40, and
    /// `gatelens merge` the rest. The verdicts are the same.
    #[arg(long)]
    all_draws: bool,
    /// Tokens that are read of each document of the text, BOS included [default: 48].
    #[arg(long, value_name = "N", value_parser = numbers::stretch, allow_negative_numbers = true)]
    text_tokens: Option<usize>,
    /// Facts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array with the fields of
    /// known_1000 or CounterFact, or counterfact-tracing, LRE (a file or a folder), PopQA, T-REx or
    /// ParaRel as they are published, also as Parquet [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Text that asks for no facts [default: the bundled text].
    #[arg(long, value_name = "FILE", default_value = "neutral")]
    text: PathBuf,
    /// A control: the classes' labels are shuffled over all neurons first, so that no claim about a class holds; a
    /// verdict of supported or contradicted is then a false one, of which Holm's adjustment allows one in twenty runs.
    #[arg(long)]
    null: bool,
    #[command(flatten)]
    #[serde(flatten)]
    run: RunArgs,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        let settings = self.settings()?;
        let set = read_prompts(self.prompts.as_deref())?;
        let mut command = LongCommand::open("verify", &self.model, &self.run)?;
        let paired = in_pairs(&command, &set)?;
        let facts = command.batch(tokenize, &paired)?;
        let has_pairs = paired.without_question().len() < paired.prompts.len();
        let counterfactuals = has_pairs.then(|| command.batch(tokenize_counterfactuals, &paired));
        let counterfactuals = counterfactuals.transpose()?;
        let rephrased = if set.prompts.iter().all(|p| p.rephrased.is_some()) {
            Some(command.batch(tokenize, &set.rephrased()?)?)
        } else {
            None
        };
        let texts = self.texts(&command)?;
        let subjects = self.subjects(&command, &set)?;
        command.describe(&self, Some(&set), texts.info())?;

        let table = self.table(&command)?;
        let model = command.opened.load()?;
        let input = VerifyInput {
            model: &model,
            table: &table,
            facts: &facts,
            rephrased: rephrased.as_ref(),
            counterfactuals: counterfactuals.as_ref(),
            documents: &texts.files[0],
            windows: &texts.windows,
            subjects: subjects.as_ref().map(AboutSubjects::input),
        };
        let engine = Engine::new(&model);
        let forecast = Forecast::new(plan_steps(&input, &settings)?, &engine, &facts)?;
        if command.is_dry() {
            return command.print_forecast(&forecast, &model);
        }
        forecast.announce();
        let found = command
            .job
            .run(&model, |run| verify(run, &input, &settings))?;
        let Some(found) = found else {
            return Ok(());
        };
        let claims = Claims {
            claims: found.claims,
        };
        let (prompts, windows) = (set.prompts.len(), &texts.windows);
        let tokens: usize = windows.iter().map(|w| w.sequence.ids.len()).sum();
        let counts = json!({"prompts": prompts, "documents": windows.len(), "text_tokens": tokens});
        let json = json!(claims);
        // The page is one of the files of the run: without it the run is not finished.
        let files = |info: &RunInfo| {
            let page = verdicts_html(info, &claims.claims)?;
            let claims = serde_json::to_vec_pretty(&json)?;
            let files = [("claims.json", claims), ("report.html", page)];
            let draws = draws_parquet(&found.treatments)?;
            Ok(files.into_iter().chain(draws).collect())
        };
        command.finish(counts, files, &json, || {
            outln!(
                "\n{}: {} facts, {} tokens of {} documents, {} draws, fold {}, seed {}{}",
                self.model.model,
                count(prompts),
                count(tokens),
                windows.len(),
                settings.draws,
                self.run.class.fold,
                self.run.seed,
                if self.null {
                    "; labels shuffled (control)"
                } else {
                    ""
                }
            );
            print_claims(&claims.claims);
        })
    }

    fn table(&self, command: &LongCommand<'_>) -> Result<NeuronTable, ClassError> {
        let table = command.classify()?;
        Ok(if self.null {
            table.with_shuffled_labels(self.run.seed)
        } else {
            table
        })
    }

    fn settings(&self) -> anyhow::Result<VerifySettings> {
        let usual = if self.quick { QUICK_DRAWS } else { DRAWS };
        let draws = self.draws.unwrap_or(usual);
        anyhow::ensure!(
            draws >= 2,
            "--draws {draws} gives no interval; 5 or more give an honest one"
        );
        let usual = if self.quick {
            QUICK_MOST_DRAWS
        } else {
            MOST_DRAWS
        };
        let most_draws = self.most_draws.unwrap_or(usual.max(draws));
        anyhow::ensure!(
            most_draws >= draws,
            "--most-draws {most_draws} is below the {draws} draws that the estimates are over (--draws): a rank is among these \
             and more"
        );
        let is_asked = |claim: &&Claim| {
            if self.claims.is_empty() {
                !self.null || claim.about == About::Labels
            } else {
                self.claims.contains(claim)
            }
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
            most_draws,
            all_draws: self.all_draws,
            statistics: self.run.statistics(),
        })
    }

    /// The beginnings of the documents.
    fn texts(&self, command: &LongCommand<'_>) -> anyhow::Result<Texts> {
        let usual = if self.quick { QUICK_TOKENS } else { TOKENS };
        let most = command.opened.config().max_positions;
        let cut = Windowing {
            bos: self.run.bos,
            context: self.text_tokens.unwrap_or(usual).min(most),
            max_tokens: None,
        };
        let mut texts = Texts::read(std::slice::from_ref(&self.text), &command.opened, cut)?;
        texts.windows = Window::first_of_each(texts.windows);
        anyhow::ensure!(
            texts.windows.len() >= 2,
            "{} is one document, and an interval needs several: separate them by a line with only ---",
            texts.names()
        );
        Ok(texts)
    }

    /// The prompts whose subjects have a text; none of them may have.
    fn subjects(
        &self,
        command: &LongCommand<'_>,
        set: &PromptSet,
    ) -> anyhow::Result<Option<AboutSubjects>> {
        let subjects = Subjects::bundled()?;
        let asked = match subjects.of_prompts(set.clone(), MissingText::Skip) {
            Err(PromptError::NoPrompts { .. }) => return Ok(None),
            asked => asked?,
        };
        let (tokenizer, stop_words) = (&command.opened.tokenizer, StopWords::bundled());
        let vocab_size = command.opened.config().vocab_size;
        let bos = self.run.bos;
        Ok(Some(AboutSubjects {
            batch: tokenize_to_subject(&asked.prompts, tokenizer, bos)?,
            facts: Some(tokenize(&asked.prompts, tokenizer, bos)?),
            words: AttributeWords::new(tokenizer, vocab_size, &stop_words, &subjects)?,
            prompts: asked,
            subjects: subjects.name,
        }))
    }
}

/// The end of the help, with the claims by their rows.
fn after_help() -> String {
    let claims = CLAIMS
        .iter()
        .map(|claim| format!("  {}\n    {}\n", claim.name, claim.sentence));
    format!("Claims:\n{}\n{AFTER_HELP}", claims.collect::<String>())
}
