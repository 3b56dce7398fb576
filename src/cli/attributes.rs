//! `attributes`: switch classes off and measure how many attributes of a subject are left in its residual.

mod table;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use self::table::{
    print_attributes, print_left_out, print_settings, print_text_words, warn_of_floor,
};
use super::about_subjects::{AboutSubjects, subjects_first, warn_of_prompts};
use super::args::{ModelArg, parse_layers};
use super::edits::Edits;
use super::effect_text::EffectText;
use super::effects_table::print_contributions;
use super::inputs::read_prompts;
use super::long_command::{LongCommand, RunArgs, merged};
use super::numbers;
use super::reference::warn_of_values_kept;
use super::table::count;
use super::treatments::{self, TreatmentArgs};
use crate::engine::Lens;
use crate::experiment::attributes::{
    AttributeWords, Attributes, FilterOrder, RateSettings, attribute_effects, attribute_steps,
    attributes, default_layers,
};
use crate::experiment::{AblationPlan, LayerWindow, MatchedBy, PromptSubset};
use crate::io_class::check_layers;
use crate::prompts::{MissingText, PromptError, PromptSet, StopWords, SubjectPrompts, Subjects};
use crate::report::{PromptSetInfo, RunInfo, draws_parquet, rates_parquet};
use crate::tokens::{tokenize, tokenize_to_subject};

/// Ablate classes of neurons and measure the attribute rate of subjects, layer by layer
///
/// The model reads each prompt up to the last token of its subject. The residual there after every
/// layer, through the final norm and the unembedding (no soft cap), ranks the vocabulary. The attribute
/// rate is the share of the first tokens, without stop words and tokens of at most 2 characters, that
/// occur among the tokens of a text about the subject; tokens are compared without the space before
/// them and in lower case. Some tokens occur in any text: the mean rate with the texts of all other subjects is
/// taken away, and what is left is about the subject. Each class is ablated, and as many random neurons of the
/// same layers, several draws, on the prompts whose fact the model knows. The tables give means over some layers, and
/// every layer. With --out: rates.parquet, effects.json (in fractions, 0 to 1), run.json; the passes that are through
/// are then kept however the run ends, and the same command with --resume goes on.
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
    filter_order: FilterOrder,
    /// What the residual goes through before the unembedding: the final norm (final-norm, the logit lens; as published,
    /// where the norm's gain is folded into the unembedding), or nothing (raw). Where a few dimensions of the residual
    /// are much larger than the others, they alone decide the raw rate.
    #[arg(long, default_value = "final-norm", value_name = "final-norm|raw")]
    lens: Lens,
    /// Run the prompts whose whole text the model answers (first target token is top-1) as published, or all
    /// [default: known; with --bare all].
    #[arg(long, value_name = "known|all")]
    subset: Option<PromptSubset>,
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
    run: RunArgs,
}

impl AttributesArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        self.treatments.check(self.draws, false)?;
        let subset = self.subset()?;
        let file = self.subjects.as_deref();
        let subjects = file.map_or_else(Subjects::bundled, Subjects::read)?;
        let (prompts, stop_words) = (self.ask(&subjects)?, StopWords::bundled());
        let mut command = LongCommand::open("attributes", &self.model, &self.run)?;
        let (tokenizer, config) = (&command.opened.tokenizer, command.opened.config());
        let layers = self.rate_layers(config.n_layers())?;
        let edits = self.treatments.read(&command)?;
        let batch = command.batch(tokenize_to_subject, &prompts.prompts)?;
        let facts = match subset {
            PromptSubset::Known => Some(command.batch(tokenize, &prompts.prompts)?),
            PromptSubset::All => None,
        };
        warn_of_prompts(&prompts, &batch, &subjects.name);
        let effect_text = self.treatments.effect_text(&command, None)?;
        let about = AboutSubjects {
            batch,
            facts,
            words: AttributeWords::new(tokenizer, config.vocab_size, &stop_words, &subjects)?,
            prompts,
            subjects: subjects.name.clone(),
        };
        let mut settings = serde_json::to_value(&self)?;
        settings["rate_layers"] = json!(layers);
        settings["subset"] = json!(subset);
        settings["stop_words"] = json!({"words": stop_words.len(), "sha256": stop_words.sha256});
        let texts = vec![PromptSetInfo::new(&subjects.name, &subjects.sha256)];
        command.describe(&settings, Some(about.set()), texts)?;

        let (plan, table) = self.treatments.plan(&command, &edits, self.draws, subset)?;
        let effect_text = effect_text.as_ref();
        let plan = (plan, self.treatments.matched_by(&table, effect_text));
        self.measure(&command, &about, plan, (&edits, effect_text), layers)
    }

    fn measure(
        &self,
        command: &LongCommand<'_>,
        about: &AboutSubjects,
        (mut plan, matched_by): (AblationPlan, MatchedBy<'_>),
        (edits, effect_text): (&Edits<'_>, Option<&EffectText>),
        layers: LayerWindow,
    ) -> anyhow::Result<()> {
        let input = about.input();
        let settings = RateSettings {
            filter_order: self.filter_order,
            top: self.top,
            lens: self.lens,
        };
        let model = command.load(input.batch, |engine| {
            let weighed = treatments::weigh_steps(command, &plan, engine, input.batch, matched_by)?;
            Ok([weighed, attribute_steps(engine, &input, &plan, settings)?].concat())
        })?;
        let Some(model) = model else {
            return Ok(());
        };
        let found = command.run(&model, |run, engine| {
            treatments::weigh(command, &mut plan, (run, engine), input.batch, matched_by)?;
            attributes(run, engine, &input, &plan, settings)
        })?;
        let Some(rates) = found else {
            return Ok(());
        };
        warn_of_values_kept(&rates.changed);
        let effects = attribute_effects(&rates, &plan, settings, layers, &self.run.statistics())?;
        warn_of_floor(&effects, settings);
        let first_order = json!({"first_order": effect_text.map(|text| text.json(&plan))});
        let counts = merged(counts(about, &plan, edits, &rates), first_order);
        let json = json!({"effects": effects.effects, "absent": effects.absent, "counts": counts});
        let files = |_: &RunInfo| {
            let rates = rates_parquet(&rates, &about.set().prompts)?;
            let effects = serde_json::to_vec_pretty(&effects.effects)?;
            let files = [("rates.parquet", rates), ("effects.json", effects)];
            let draws = draws_parquet(&plan.treatments)?;
            Ok(files.into_iter().chain(draws).collect())
        };
        command.finish(counts, files, &json, || {
            outln!(
                "{}: {}; {}, {} draws, fold {}",
                self.model.model,
                self.asked_in_words(about, &rates),
                self.treatments.edit.in_words(),
                self.draws,
                self.run.class.fold
            );
            edits.print_references(rates.reference);
            print_attributes(&effects, layers, plan.versus());
            print_contributions(&plan);
            effect_text.iter().for_each(|text| text.print(&plan));
            print_settings(settings);
            print_text_words(about, &rates);
            print_left_out(&effects, rates.counts(), about.prompts.without_text.len());
        })
    }

    /// On which prompts the edits run.
    fn subset(&self) -> anyhow::Result<PromptSubset> {
        let usual = if self.bare {
            PromptSubset::All
        } else {
            PromptSubset::Known
        };
        let subset = self.subset.unwrap_or(usual);
        anyhow::ensure!(
            !(self.bare && subset == PromptSubset::Known),
            "--bare asks for no fact that could be known; drop --subset known"
        );
        Ok(subset)
    }

    /// The prompts.
    fn ask(&self, subjects: &Subjects) -> Result<SubjectPrompts, PromptError> {
        if self.bare {
            return Ok(subjects.bare());
        }
        // Facts that nobody chose need not all have a text.
        let missing = match (&self.prompts, self.skip_missing) {
            (Some(_), false) => MissingText::Refuse,
            _ => MissingText::Skip,
        };
        subjects.of_prompts(read_prompts(self.prompts.as_deref())?, missing)
    }

    /// The layers that the mean is over.
    fn rate_layers(&self, n_layers: usize) -> anyhow::Result<LayerWindow> {
        let asked = self.rate_layers.clone();
        let layers = asked.unwrap_or_else(|| default_layers(n_layers));
        check_layers(&layers, n_layers).context("--rate-layers")?;
        Ok(LayerWindow {
            first: layers.start,
            last: layers.end - 1,
        })
    }

    fn asked_in_words(&self, about: &AboutSubjects, found: &Attributes) -> String {
        let texts = count(found.texts().len());
        let subjects = format!("{texts} subjects of {}", about.subjects);
        if self.bare {
            return format!("{subjects}, each alone");
        }
        let PromptSet { name, prompts, .. } = about.set();
        let known = match about.facts {
            Some(_) => format!("knows {} of ", count(found.prompts())),
            None => String::new(),
        };
        format!(
            "{known}{} prompts of {name}, cut after their subjects, {subjects}",
            count(prompts.len())
        )
    }
}

/// For `run.json`.
fn counts(
    about: &AboutSubjects,
    plan: &AblationPlan,
    edits: &Edits<'_>,
    found: &Attributes,
) -> Value {
    let (rates, absent_rates) = found.counts();
    let texts = found.texts();
    let counts = json!({
        "prompts": about.prompts.texts.len(),
        "known": about.facts.as_ref().map(|_| found.prompts()),
        "edited_prompts": found.prompts(),
        "subjects": texts.len(),
        "prompts_without_text": about.prompts.without_text.len(),
        "repeated_prompts": about.prompts.repeated,
        "subjects_without_prompt": about.prompts.unused,
        "subjects_first": subjects_first(&about.batch),
        "text_words": about.words.text_sizes(texts),
        "conditions": plan.len(),
        "edits": found.changed,
        "reference": edits.reference_json(found.reference),
        "contributions": treatments::contributions_json(plan),
        "passes": found.passes,
        "rates": rates,
        "absent_rates": absent_rates,
    });
    merged(counts, treatments::counts(&plan.treatments))
}
