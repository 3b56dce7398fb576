//! The paper's causal claims as tests (PAPER 4): runs that several claims share are made once, every claim gets its
//! estimate against layer-matched draws, and one rule gives the verdicts, which can come out negative.

mod against;
mod claim;
mod damage;
mod depletion;
mod frequency;
mod judge;
mod measure;
mod recall;
mod sets;
mod steps;
mod subjects;
mod weights;

pub use claim::{ClaimId, ClaimTest, Direction, Verdict};
pub use judge::LEVEL;
pub use steps::{Step, plan_steps};

use std::collections::BTreeSet;

use super::ExperimentError;
use super::attributes::AttributeInput;
use crate::engine::{Engine, Progress};
use crate::hooks::Mode;
use crate::io_class::{Class, NeuronTable};
use crate::model::Model;
use crate::prompts::Documents;
use crate::stats::BootstrapSettings;
use crate::tokens::{TokenBatch, Window};
use against::ENRICHMENT;
use measure::Lab;
use sets::Sets;

/// What the claims are tested on.
pub struct VerifyInput<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its neurons with their classes.
    pub table: &'a NeuronTable,
    /// Factual prompts.
    pub facts: &'a TokenBatch,
    /// Neutral text.
    pub documents: &'a Documents,
    /// The stretches of it that are read; `prompt` of each is its index here.
    pub windows: &'a [Window],
    /// Prompts up to their subjects, with texts about these; absent where no prompt's subject has a text.
    pub subjects: Option<AttributeInput<'a>>,
}

/// How they are tested.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// Which claims.
    pub claims: BTreeSet<ClaimId>,
    /// Random sets per class.
    pub draws: usize,
    /// Seed and level of draws and intervals.
    pub bootstrap: BootstrapSettings,
}

/// Tests the claims.
///
/// # Errors
/// Those of the engine and the statistics; what a model lacks is a verdict, not an error.
pub fn verify(
    input: &VerifyInput<'_>,
    settings: &VerifySettings,
    progress: &dyn Progress,
) -> Result<Vec<ClaimTest>, ExperimentError> {
    use ClaimId::*;
    let asked = |claims: &[ClaimId]| claims.iter().any(|claim| settings.claims.contains(claim));
    let sets = Sets::new(input.table, &CLASSES, settings)?;
    let engine = Engine::new(input.model);
    let lab = Lab {
        engine: &engine,
        input,
        settings,
        progress,
    };
    let mut findings = Vec::new();
    if asked(&[DepthEnrichment]) {
        findings.extend(weights::depth_enrichment(input.table, &settings.bootstrap));
    }
    if asked(&[DepthMedian]) {
        findings.extend(weights::depth_median(input.table, &settings.bootstrap));
    }
    if asked(&[RareDepletion]) {
        findings.extend(weights::rare_depletion(input.table, &settings.bootstrap));
    }
    if asked(&[FrequencyDepletion, FrequencyEnrichment]) {
        findings.extend(frequency::frequencies(&lab, &sets)?);
    }
    if asked(&[EnrichmentAttributes]) {
        findings.extend(subjects::enrichment_attributes(&lab, &sets)?);
    }
    let classes = steps::text_classes(settings);
    let text = match classes.is_empty() {
        true => None,
        false => lab.text(sets.treatments(&classes), Mode::Zero)?,
    };
    if asked(&[EnrichmentRecall, SpecificRecall]) {
        let recall = lab.recall(sets.treatments(&ENRICHMENT))?;
        let runs = recall.as_ref().zip(text.as_ref());
        if asked(&[EnrichmentRecall]) {
            findings.extend(recall::enrichment_recall(&lab, &sets, runs)?);
        }
        if asked(&[SpecificRecall]) {
            findings.extend(recall::specific_recall(&lab, &sets, runs)?);
        }
    }
    if asked(&[DepletionEntropy]) {
        findings.extend(depletion::depletion_entropy(&lab, text.as_ref())?);
    }
    if asked(&[DepletionSign]) {
        findings.extend(depletion::depletion_sign(&lab, &sets, text.as_ref())?);
    }
    findings.sort_by_key(|finding| finding.id);
    Ok(judge::judge(findings))
}

/// The classes that the claims are about.
const CLASSES: [Class; 3] = [
    Class::Enrichment,
    Class::ConditionalEnrichment,
    Class::Depletion,
];
