//! What an experiment on facts is given, and what the clean model answers.

use std::collections::{BTreeMap, BTreeSet};

use super::ExperimentError;
use super::forecast::Step;
use super::known::{KnownIn, KnownWhen};
use super::outcome::PromptSubset;
use super::run::Run;
use super::score::Score;
use super::stage::Stage;
use super::unedited::{Unedited, run_clean, scores_step};
use crate::engine::Engine;
use crate::tokens::TokenBatch;

/// What is asked, each fact under its number.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The prompts that effects are measured on.
    pub asked: &'a TokenBatch,
    /// The same facts in other words, where these tell what is known: who is chosen by the very prompt that the effect is
    /// measured on falls back by itself (regression to the mean).
    pub rephrased: Option<&'a TokenBatch>,
    /// The other questions of those that have one
    /// ([`tokenize_counterfactuals`](crate::tokens::tokenize_counterfactuals)).
    pub counterfactual: Option<&'a TokenBatch>,
    /// When they count as known.
    pub known: KnownWhen<'a>,
}

impl<'a> From<&'a TokenBatch> for Facts<'a> {
    fn from(asked: &'a TokenBatch) -> Self {
        Self {
            asked,
            rephrased: None,
            counterfactual: None,
            known: KnownWhen::First,
        }
    }
}

/// What the clean model answers.
pub(super) struct Answered {
    /// In the words that effects are measured on.
    pub scores: BTreeMap<usize, Score>,
    /// Facts that count as known.
    pub known: BTreeSet<usize>,
    /// How many are known in which words, where both were asked.
    pub known_in: Option<KnownIn>,
    pub passes: usize,
}

impl Facts<'_> {
    /// What asking takes.
    pub(super) fn steps(&self, engine: &Engine<'_>) -> Result<Vec<Step>, ExperimentError> {
        let batches = std::iter::once(self.asked).chain(self.rephrased);
        let mut steps = Vec::new();
        for batch in batches {
            steps.push(scores_step(&Stage::clean(engine, batch))?);
            steps.extend(self.known.step(engine, batch));
        }
        Ok(steps)
    }

    /// Asks the clean model, in the other words, too, where these tell what is known.
    ///
    /// # Errors
    /// Those of the engine and of [`Run::measure`].
    pub(super) fn ask(
        &self,
        run: &mut Run<'_>,
        engine: &Engine<'_>,
    ) -> Result<Answered, ExperimentError> {
        let unedited = run_clean(run, engine, self.asked)?;
        let rephrased = self.rephrased.map(|facts| run_clean(run, engine, facts));
        let rephrased = rephrased.transpose()?;
        let known_of = |unedited: &Unedited, batch| {
            let scores = &unedited.scores;
            self.known.known((&*run, engine), batch, scores)
        };
        let same = known_of(&unedited, self.asked)?;
        let other = rephrased.as_ref().zip(self.rephrased);
        let other = other.map(|(unedited, batch)| known_of(unedited, batch));
        let other = other.transpose()?;
        Ok(Answered {
            known_in: other.as_ref().map(|other| KnownIn {
                same: same.len(),
                rephrased: other.len(),
                both: same.intersection(other).count(),
            }),
            known: other.unwrap_or(same),
            passes: unedited.passes + rephrased.map_or(0, |other| other.passes),
            scores: unedited.scores,
        })
    }
}

impl Answered {
    /// The facts of a subset, ascending.
    ///
    /// # Errors
    /// [`ExperimentError::NothingKnown`].
    pub fn subset(&self, subset: PromptSubset) -> Result<Vec<usize>, ExperimentError> {
        match subset {
            PromptSubset::All => Ok(self.scores.keys().copied().collect()),
            PromptSubset::Known if self.known.is_empty() => {
                let prompts = self.scores.len();
                Err(ExperimentError::NothingKnown { prompts })
            }
            PromptSubset::Known => Ok(self.known.iter().copied().collect()),
        }
    }
}
