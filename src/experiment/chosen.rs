//! What a plan edits, and what that takes its values from, where these are another run's.

use std::collections::{BTreeMap, BTreeSet};

use super::ExperimentError;
use super::corruption::{Corruption, NoiseSettings, PatchDirection};
use super::facts::Facts;
use super::noise::{Repeats, embedding_sd};
use super::plan::AblationPlan;
use super::reference::{CleanReference, Paired};
use crate::engine::Engine;
use crate::hooks::Needs;
use crate::tokens::{EmbeddingNoise, TokenBatch};

/// The prompts that a plan edits.
pub(super) struct Chosen {
    pub edited: TokenBatch,
    /// What they are patched from.
    pub paired: Option<Paired>,
    /// Corrupted runs that are run for their own scores, since they are not edited.
    pub corrupted: Option<TokenBatch>,
    /// How often each fact is among the edited.
    pub repeats: Repeats,
    /// Facts that would be edited, and have nothing to be patched from.
    pub without_pair: Vec<usize>,
    /// Facts that would be edited, and have no subject that noise could be on.
    pub without_subject: Vec<usize>,
}

impl Chosen {
    /// Those of the facts in `chosen` that have all that the plan needs.
    ///
    /// # Errors
    /// [`ExperimentError::NoPairs`], [`ExperimentError::NoSubjects`] where none has; those of [`embedding_sd`].
    pub fn of(
        chosen: Vec<usize>,
        engine: &Engine<'_>,
        facts: &Facts<'_>,
        plan: &AblationPlan,
    ) -> Result<Self, ExperimentError> {
        if plan.mode.needs() != Needs::Counterfactuals {
            return Ok(Self::unpaired(facts.asked.subset(&chosen)?));
        }
        match plan.corruption {
            Corruption::Counterfactual => Self::with_others(chosen, facts, plan.direction),
            Corruption::Noise(settings) => {
                Self::with_noise(chosen, engine, facts.asked, (plan, settings))
            }
        }
    }

    fn unpaired(edited: TokenBatch) -> Self {
        Self {
            edited,
            paired: None,
            corrupted: None,
            repeats: Repeats::ONE,
            without_pair: Vec::new(),
            without_subject: Vec::new(),
        }
    }

    /// Facts and their counterfactuals.
    fn with_others(
        chosen: Vec<usize>,
        facts: &Facts<'_>,
        direction: PatchDirection,
    ) -> Result<Self, ExperimentError> {
        let counterfactual = facts.counterfactual.ok_or(ExperimentError::NoPairs)?;
        let sequences = counterfactual.sequences().iter();
        let there: BTreeSet<usize> = sequences.map(|sequence| sequence.prompt).collect();
        let (kept, without_pair): (Vec<usize>, Vec<usize>) = chosen
            .into_iter()
            .partition(|prompt| there.contains(prompt));
        if kept.is_empty() {
            return Err(ExperimentError::NoPairs);
        }
        let (fact, other) = (facts.asked.subset(&kept)?, counterfactual.subset(&kept)?);
        let reference = CleanReference::Counterfactuals {
            prompts: kept.len(),
            direction,
        };
        let (edited, donors, corrupted) = match direction {
            PatchDirection::Noise => (fact, other.clone(), Some(other)),
            PatchDirection::Denoise => (other, fact, None),
        };
        Ok(Self {
            corrupted,
            paired: Some(Paired::of(&edited, donors, |prompt| prompt, reference)),
            without_pair,
            ..Self::unpaired(edited)
        })
    }

    /// Facts and the same with noise.
    fn with_noise(
        chosen: Vec<usize>,
        engine: &Engine<'_>,
        asked: &TokenBatch,
        (plan, NoiseSettings { scale, seeds }): (&AblationPlan, NoiseSettings),
    ) -> Result<Self, ExperimentError> {
        let subjects: BTreeMap<usize, bool> = asked
            .sequences()
            .iter()
            .map(|sequence| (sequence.prompt, !sequence.subject.is_empty()))
            .collect();
        let (kept, without_subject): (Vec<usize>, Vec<usize>) =
            chosen.into_iter().partition(|prompt| subjects[prompt]);
        if kept.is_empty() {
            return Err(ExperimentError::NoSubjects);
        }
        let facts = asked.subset(&kept)?;
        let embedding_sd = embedding_sd(engine, &facts)?;
        let noise = |fact, draw| EmbeddingNoise {
            standard_deviation: scale * embedding_sd,
            seed: plan.seed,
            draw,
            fact,
        };
        let reference = CleanReference::Noise {
            prompts: kept.len(),
            seeds,
            scale,
            embedding_sd,
            noise_sd: scale * embedding_sd,
            direction: plan.direction,
        };
        let repeats = Repeats(seeds);
        let noised = repeats.of(&facts, |fact, draw| Some(noise(fact, draw)))?;
        let (edited, paired, corrupted) = match plan.direction {
            PatchDirection::Noise => {
                let edited = repeats.of(&facts, |_, _| None)?;
                let paired = Paired::of(&edited, noised.clone(), |unit| unit, reference);
                (edited, paired, Some(noised))
            }
            PatchDirection::Denoise => {
                let paired = Paired::of(&noised, facts, |unit| repeats.fact(unit), reference);
                (noised, paired, None)
            }
        };
        Ok(Self {
            paired: Some(paired),
            corrupted,
            repeats,
            without_subject,
            ..Self::unpaired(edited)
        })
    }
}
