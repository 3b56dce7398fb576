//! `attributes`: switch classes off and measure how many attributes of a subject are left in its residual.

mod counts;
mod table;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::counts::{Counts, warn_of_prompts};
use self::table::{print_attributes, print_sentences, warn_of_floor};
use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text, parse_layers};
use super::edit_args::warn_of_values_kept;
use super::effects_table::warn_of_baselines;
use super::inputs::read_prompts;
use super::numbers;
use super::run::{File, Job, PartArgs};
use super::setup::run_info;
use super::table::count;
use super::terminal::print_json;
use super::treatments::{RunInputs, TreatmentArgs};
use crate::engine::{Engine, Lens};
use crate::experiment::attributes::{
    AttributeEffects, AttributeInput, AttributeWords, Attributes, FilterOrder, RateSettings,
    attribute_effects, attributes, default_layers,
};
use crate::experiment::{AblationPlan, LayerWindow, PromptSubset};
use crate::io_class::{NeuronTable, check_layers};
use crate::model::{Config, Model};
use crate::prompts::{MissingText, StopWords, SubjectPrompts, Subjects};
use crate::report::{PromptSetInfo, RunInfo, rates_parquet};
use crate::tokens::tokenize_to_subject;

/// Ablate classes of neurons and measure the attribute rate of subjects, layer by layer
///
/// The model reads each prompt up to the last token of its subject. The residual there after every
/// layer, times the unembedding (no final norm, no soft cap), ranks the vocabulary. The attribute
/// rate is the share of the first tokens, without stop words and tokens of at most 2 characters, that
/// occur among the tokens of a text about the subject; tokens are compared without the space before
/// them and in lower case. Each class is ablated, and as many random neurons of the same layers,
/// several draws. The table gives the mean rate over some layers; a second one every layer. With
/// --out: rates.parquet, effects.json (in fractions, 0 to 1), run.json; the passes that are through are then kept
/// however the run ends, and the same command with --resume goes on.
#[derive(Args, Serialize)]
pub struct AttributesArgs {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// Texts about subjects: JSON Lines with subject and text, or CSV with the columns subject and
    /// paragraphs [default: the bundled ones].
    #[arg(long, value_name = "FILE")]
    subjects: Option<PathBuf>,
    /// Prompts, each cut after its subject (its last occurrence), in the formats of `ablate` [default: those of
    /// the bundled facts whose subject has a text]. Of prompts that are the same up to there, one is run.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Leave out the prompts whose subject has no text.
    #[arg(long, requires = "prompts")]
    skip_missing: bool,
    /// Give the model each subject alone, without the words before it in a prompt.
    #[arg(long, conflicts_with = "prompts")]
    bare: bool,
    /// top-first: take the top tokens, then drop stop words and short ones (Gerstner and Schütze).
    /// filter-first: drop first, then take the top of the rest (Geva et al.).
    #[arg(
        long,
        default_value = "top-first",
        value_name = "top-first|filter-first"
    )]
    #[serde(serialize_with = "as_text")]
    filter_order: FilterOrder,
    /// What the residual goes through before the unembedding: nothing (raw, as published), or the final
    /// norm (final-norm, as in the logit lens). Where a few dimensions of the residual are much larger
    /// than the others, they alone decide the raw rate.
    #[arg(long, default_value = "raw", value_name = "raw|final-norm")]
    #[serde(serialize_with = "as_text")]
    lens: Lens,
    /// How many tokens are taken.
    #[arg(long, default_value = "50", value_name = "N", value_parser = numbers::some_shown, allow_negative_numbers = true)]
    top: NonZeroUsize,
    /// Layers that the mean rate is over: 5..27 means layers 5 to 26 [default: the depths of layers 5
    /// to 28 of 32].
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    rate_layers: Option<Range<usize>>,
    #[command(flatten)]
    #[serde(flatten)]
    treatments: TreatmentArgs,
    /// Random sets per class. Each costs as much as the class itself.
    #[arg(long, default_value_t = 20, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
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

/// Who is asked about, and what does not count.
struct AboutSubjects {
    subjects: Subjects,
    prompts: SubjectPrompts,
    stop_words: StopWords,
}

/// What a run found.
struct Measured {
    plan: AblationPlan,
    rates: Attributes,
    effects: AttributeEffects,
    layers: LayerWindow,
    counts: Counts,
}

impl AttributesArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        self.treatments.check(self.draws)?;
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let about = self.ask()?;
        let (checkpoint, inputs) = self.treatments.prepare(
            &self.model,
            &self.class,
            &load_options,
            about.prompts.prompts.clone(),
            tokenize_to_subject,
        )?;
        warn_of_prompts(&about, &inputs);
        let vocab_size = checkpoint.config().vocab_size;
        let layers = self.rate_layers(checkpoint.config().n_layers())?;
        let (tokenizer, stop_words) = (&inputs.tokenizer, &about.stop_words);
        let words = AttributeWords::new(tokenizer, vocab_size, stop_words, &about.subjects)?;
        job.describe(|| self.info(checkpoint.config(), &inputs, &about, layers))?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let (draws, subset) = (self.draws, PromptSubset::All);
        let plan = self.treatments.plan(&table, &inputs, draws, subset)?;
        warn_of_baselines(&plan);
        let model = Model::load(checkpoint, load_options)?;
        let engine = Engine::new(&model);
        let input = AttributeInput {
            batch: &inputs.batch,
            texts: &about.prompts.texts,
            words: &words,
        };
        let settings = self.settings();
        let found = job.run(&model, |run| {
            attributes(run, &engine, &input, &plan, settings)
        })?;
        let Some((rates, wall_s)) = found else {
            return Ok(());
        };
        warn_of_values_kept(&rates.changed);
        let bootstrap = self.treatments.conditions.bootstrap();
        let effects = attribute_effects(&rates, &plan, settings, layers, &bootstrap)?;
        warn_of_floor(&effects, settings);
        let measured = Measured {
            effects,
            counts: Counts::new(&rates, &plan, &inputs, &about, &words),
            plan,
            rates,
            layers,
        };
        let counts = serde_json::to_value(&measured.counts)?;
        let written = job.finish(files(&measured, &inputs)?, counts, wall_s);
        self.print(&measured, &inputs, &about)?;
        written.say(self.output.json)
    }

    /// The prompts and the texts.
    fn ask(&self) -> anyhow::Result<AboutSubjects> {
        let subjects = match &self.subjects {
            Some(path) => Subjects::read(path)?,
            None => Subjects::bundled()?,
        };
        // Facts that nobody chose need not all have a text.
        let missing = match (&self.prompts, self.skip_missing) {
            (Some(_), false) => MissingText::Refuse,
            _ => MissingText::Skip,
        };
        let prompts = match self.bare {
            true => subjects.bare(),
            false => subjects.of_prompts(read_prompts(self.prompts.as_deref())?, missing)?,
        };
        Ok(AboutSubjects {
            subjects,
            prompts,
            stop_words: StopWords::bundled(),
        })
    }

    /// The layers that the mean is over.
    fn rate_layers(&self, n_layers: usize) -> anyhow::Result<LayerWindow> {
        let layers = match &self.rate_layers {
            Some(layers) => layers.clone(),
            None => default_layers(n_layers),
        };
        check_layers(&layers, n_layers).context("--rate-layers")?;
        Ok(LayerWindow {
            first: layers.start,
            last: layers.end - 1,
        })
    }

    fn settings(&self) -> RateSettings {
        RateSettings {
            filter_order: self.filter_order,
            top: self.top,
            lens: self.lens,
        }
    }

    /// `run.json` but for the counts.
    fn info(
        &self,
        config: &Config,
        inputs: &RunInputs,
        about: &AboutSubjects,
        layers: LayerWindow,
    ) -> anyhow::Result<RunInfo> {
        let mut settings = serde_json::to_value(self)?;
        settings["rate_layers"] = json!(layers);
        settings["stop_words"] = json!({
            "words": about.stop_words.len(),
            "sha256": about.stop_words.sha256,
        });
        let mut info = run_info(
            "attributes",
            settings,
            &inputs.located,
            config,
            Some(&self.compute),
            &self.class,
        )?;
        self.treatments.conditions.describe(&mut info, inputs)?;
        info.texts = vec![PromptSetInfo {
            name: about.subjects.name.clone(),
            sha256: about.subjects.sha256.clone(),
        }];
        Ok(info)
    }

    fn print(
        &self,
        measured: &Measured,
        inputs: &RunInputs,
        about: &AboutSubjects,
    ) -> anyhow::Result<()> {
        let Measured {
            plan,
            rates,
            effects,
            layers,
            counts,
        } = measured;
        if self.output.json {
            let json = json!({
                "effects": effects.effects,
                "absent": effects.absent,
                "counts": counts,
            });
            print_json(&json)?;
            return Ok(());
        }
        outln!(
            "{}: {}; {}, {} draws, fold {}",
            self.model.model,
            self.asked_in_words(counts, about),
            self.treatments.conditions.in_words(),
            self.draws,
            self.class.fold
        );
        inputs.print_reference(rates.reference);
        print_attributes(effects, *layers, plan.versus());
        print_sentences(effects, self.settings(), counts);
        Ok(())
    }

    fn asked_in_words(&self, counts: &Counts, about: &AboutSubjects) -> String {
        let subjects = format!(
            "{} subjects of {}",
            count(counts.subjects),
            about.subjects.name
        );
        match self.bare {
            true => format!("{subjects}, each alone"),
            false => format!(
                "{} prompts of {}, cut after their subjects, {subjects}",
                count(counts.prompts),
                about.prompts.prompts.name
            ),
        }
    }
}

/// The files of a run, by name.
fn files(measured: &Measured, inputs: &RunInputs) -> anyhow::Result<Vec<File>> {
    let rates = rates_parquet(&measured.rates, &inputs.prompts.prompts)?;
    let effects = serde_json::to_vec_pretty(&measured.effects.effects)?;
    Ok(vec![("rates.parquet", rates), ("effects.json", effects)])
}
