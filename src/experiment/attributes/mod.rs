//! The attribute rate: how much of what a text says about a subject stands in the residual of its last token.
//!
//! The model reads a prompt up to the subject's last token. The residual there after a layer, through the final norm and
//! the unembedding ([`Lens`](crate::engine::Lens)), ranks the vocabulary; the rate is the share of the first tokens,
//! without stop words and short ones, that occur among the tokens of a text about the subject ([`AttributeWords`] says
//! what is compared). Ablating neurons that enrich a subject should lower it.
//!
//! Some of these tokens occur in any text, so the rate is also taken with the texts of all other subjects; what is about
//! the subject is the difference, [`Share::excess`].
//!
//! Source: Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", section on
//! subject enrichment; Gerstner and Schütze, arXiv 2505.17936. [`FilterOrder`] holds where the two differ.

mod effects;
mod rate;
mod reader;
mod words;

pub(super) use effects::RateArms;
pub use effects::{
    Adjustment, AttributeEffect, AttributeEffects, attribute_effects, default_layers, is_there,
};
pub use rate::{FilterOrder, RateSettings, Share};
pub use reader::AttributeInput;
pub use words::{AttributeWords, Spread};

use std::collections::{BTreeMap, BTreeSet};

use reader::{RateMeasure, RateReader, ShareRow};

use super::ExperimentError;
use super::forecast::Step;
use super::outcome::{ConditionRow, PromptSubset};
use super::plan::{AblationPlan, Conditions};
use super::reference::{CleanReference, Units, reference_step, resolve};
use super::run::Run;
use super::stage::Stage;
use super::unedited::{run_clean, scores_step};
use crate::engine::Engine;
use crate::hooks::EditCount;

/// A row of `rates.parquet`: one prompt under one condition after one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct RateRow<'a> {
    /// Index of the prompt in its set.
    pub prompt: usize,
    /// The layer.
    pub layer: usize,
    /// The condition.
    pub condition: &'a ConditionRow,
    /// The tokens.
    pub share: Share,
}

/// By prompt, then by layer.
type Shares = BTreeMap<usize, Vec<Share>>;

/// The rates of a plan.
pub struct Attributes {
    conditions: Conditions,
    /// By condition.
    shares: Vec<Shares>,
    /// Of each prompt of the input, the place of its subject's text.
    texts: Vec<usize>,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these prompts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

impl Attributes {
    /// The rows of `rates.parquet`, condition by condition; in each by prompt, then by layer.
    pub fn rows(&self) -> impl Iterator<Item = Vec<RateRow<'_>>> {
        let conditions = self.conditions.rows.iter().zip(&self.shares);
        conditions.map(|(condition, shares)| {
            let rows = shares.iter().flat_map(|(&prompt, shares)| {
                shares
                    .iter()
                    .enumerate()
                    .map(move |(layer, &share)| RateRow {
                        prompt,
                        layer,
                        condition,
                        share,
                    })
            });
            rows.collect()
        })
    }

    /// How many rates there are, and for how many of them nothing was kept.
    pub fn counts(&self) -> (usize, usize) {
        let shares = || {
            self.shares
                .iter()
                .flat_map(|shares| shares.values().flatten())
        };
        let absent = shares().filter(|share| share.kept == 0).count();
        (shares().count(), absent)
    }

    /// How many prompts were run under the plan's conditions.
    pub fn prompts(&self) -> usize {
        self.shares[0].len()
    }

    /// The places of the texts about their subjects.
    pub fn texts(&self) -> BTreeSet<usize> {
        let prompts = self.shares[0].keys();
        prompts.map(|&prompt| self.texts[prompt]).collect()
    }
}

/// Runs the clean model and every condition of the plan on the prompts of the plan's subset, which the whole prompts
/// decide. Residuals are kept at the subjects' last tokens alone, and no longer than it takes to rank their tokens.
///
/// # Errors
/// Those of the engine, of [`Run::measure`] and of the plan's mode; [`ExperimentError::NothingKnown`];
/// [`ExperimentError::NoOrder`] for a residual that is
/// not finite; [`ExperimentError::NoText`] for a prompt without a text.
pub fn attributes(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    input: &AttributeInput<'_>,
    plan: &AblationPlan,
    settings: RateSettings,
) -> Result<Attributes, ExperimentError> {
    let AttributeInput {
        batch,
        facts,
        texts,
        words,
    } = *input;
    let mut prompts = batch.sequences().iter().map(|sequence| sequence.prompt);
    let lacks_text = |prompt: &usize| texts.get(*prompt).is_none_or(|text| *text >= words.texts());
    if let Some(prompt) = prompts.find(lacks_text) {
        return Err(ExperimentError::NoText { prompt });
    }
    let beside = engine.beside(RateReader::bytes(engine, settings));
    beside.tokens_per_pass(batch, plan.len().min(2))?; // too little memory shows before anything runs
    let (asked, clean_passes) = match plan.subset {
        PromptSubset::All => (batch.clone(), 0),
        PromptSubset::Known => {
            let clean = run_clean(run, engine, facts)?;
            (batch.subset(&clean.some_known()?)?, clean.passes)
        }
    };
    let resolved = resolve(&beside, plan, Units::new(batch, &asked), run.progress())?;
    let conditions = plan.conditions(&resolved.mode);
    let beside = beside.beside(resolved.bytes);
    let stage = match plan.is_empty() {
        true => Stage::clean(&beside, &asked),
        false => Stage::edited(&beside, (&asked, "prompts"), &conditions.run),
    };
    let none = vec![Share::default(); engine.config().n_layers()];
    let prompts = asked.sequences().iter().map(|s| (s.prompt, none.clone()));
    let mut shares: Vec<Shares> = vec![prompts.collect(); conditions.rows.len()];
    let mut measure = RateMeasure { input, settings };
    let ran = run.measure(&stage, &mut measure, &mut |rows| {
        for row in rows {
            let of_prompt = shares.get_mut(row.condition as usize);
            let of_prompt = of_prompt.and_then(|shares| shares.get_mut(&(row.prompt as usize)));
            let share = of_prompt.and_then(|shares| shares.get_mut(row.layer as usize));
            *share.ok_or(ExperimentError::OtherRun)? = row.share;
        }
        Ok(())
    })?;
    let ran = ran.complete()?;
    Ok(Attributes {
        conditions,
        shares,
        texts: texts.to_vec(),
        changed: ran.changed(),
        reference: resolved.reference,
        passes: clean_passes + resolved.passes + ran.passes,
    })
}

/// The steps of [`attributes`], where every fact is known.
///
/// # Errors
/// As [`attributes`], as far as the plan and the memory tell.
pub fn attribute_steps(
    engine: &Engine<'_>,
    input: &AttributeInput<'_>,
    plan: &AblationPlan,
    settings: RateSettings,
) -> Result<Vec<Step>, ExperimentError> {
    let batch = input.batch;
    let beside = engine.beside(RateReader::bytes(engine, settings));
    beside.tokens_per_pass(batch, plan.len().min(2))?;
    let mut steps = Vec::new();
    if plan.subset == PromptSubset::Known {
        steps.push(scores_step(&Stage::clean(engine, input.facts))?);
    }
    steps.extend(reference_step(&beside, plan, Units::new(batch, batch))?);
    let conditions = plan.conditions(&plan.mode);
    let stage = Stage::edited(&beside, (batch, "prompts"), &conditions.run);
    let bytes = engine.config().n_layers() * size_of::<ShareRow>();
    let edited = Step::of(&stage, &RateMeasure { input, settings }, bytes)?;
    steps.push(Step {
        work: edited.work + lens_work(engine, batch.sequences().len(), plan.len()),
        ..edited.of_known(plan.subset)
    });
    Ok(steps)
}

/// Of what is read off every layer, a row a prompt: it goes through the unembedding, which is as much as so many layers.
pub(super) fn lens_work(engine: &Engine<'_>, prompts: usize, conditions: usize) -> u64 {
    let config = engine.config();
    let (d_model, vocab) = (config.d_model as u64, config.vocab_size as u64);
    let rows = prompts as u64 * 2 * config.n_layers() as u64;
    rows * (vocab * d_model / config.layer_parameters().max(1)) * conditions as u64
}
