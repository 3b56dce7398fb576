//! The runs that the claims need, each made once for all of them.

use std::sync::Arc;

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::effects::{Arms, Metric, Paired};
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::text::{TextAblation, TokenSink, ablate_text};
use super::{VerifyInput, VerifySettings};
use crate::engine::{Engine, EngineError, Progress};
use crate::hooks::{Mode, SignCase, SignConvention};
use crate::tokens::{Positions, TokenBatch};

/// What a run of verify needs beside the sets.
pub(super) struct Lab<'a> {
    pub engine: &'a Engine<'a>,
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub progress: &'a dyn Progress,
}

/// Factual recall without each class, zero ablation on known prompts.
pub(super) struct Recall {
    treatments: Vec<Treatment>,
    target: Vec<Arms>,
    first: Vec<Arms>,
    /// The known prompts.
    pub known: Vec<usize>,
}

/// Running text without each class, document by document.
pub(super) struct Text {
    treatments: Vec<Treatment>,
    ablation: TextAblation,
}

fn place(treatments: &[Treatment], name: &str) -> Option<usize> {
    treatments
        .iter()
        .position(|treatment| treatment.class == name)
}

/// A set's arms. A matched subset, which stands behind its class, was run without draws: those of the class are its.
fn arms_of(treatments: &[Treatment], at: usize, arms: impl Fn(usize) -> Arms) -> Arms {
    let own = arms(at);
    match at.checked_sub(1) {
        Some(class) if treatments[at].baseline.is_empty() => Arms {
            draws: arms(class).draws,
            ..own
        },
        _ => own,
    }
}

impl Recall {
    /// Log-probability of the whole target, nats.
    pub fn target(&self, name: &str) -> Option<Arms> {
        let at = place(&self.treatments, name)?;
        Some(arms_of(&self.treatments, at, |at| self.target[at].clone()))
    }

    /// Log-probability of the first target token, nats.
    pub fn first(&self, name: &str) -> Option<Arms> {
        let at = place(&self.treatments, name)?;
        Some(arms_of(&self.treatments, at, |at| self.first[at].clone()))
    }
}

impl Text {
    /// A metric of one set, a mean over the tokens of each document.
    pub fn of(&self, name: &str, metric: Metric) -> Option<Arms> {
        let at = place(&self.treatments, name)?;
        let arms = |at| self.ablation.arms_of(&self.treatments, at, metric);
        Some(arms_of(&self.treatments, at, arms))
    }
}

impl Lab<'_> {
    /// A plan of these treatments at all positions.
    pub fn plan(&self, treatments: Vec<Treatment>, mode: Mode) -> AblationPlan {
        AblationPlan {
            treatments,
            mode,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::Known,
            seed: self.settings.bootstrap.seed,
        }
    }

    /// Zero ablation of `treatments` on the facts; nothing where there are none, or where none is known.
    pub fn recall(&self, treatments: Vec<Treatment>) -> Result<Option<Recall>, ExperimentError> {
        if treatments.is_empty() {
            return Ok(None);
        }
        match self.recall_on(self.input.facts, treatments, Mode::Zero) {
            Err(ExperimentError::NothingKnown { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The same on some facts, with any mode.
    pub fn recall_on(
        &self,
        facts: &TokenBatch,
        treatments: Vec<Treatment>,
        mode: Mode,
    ) -> Result<Recall, ExperimentError> {
        let plan = self.plan(treatments, mode);
        let found = ablate(self.engine, facts, &plan, None, self.progress)?;
        let (mut target, mut first) = (Vec::new(), Vec::new());
        for treatment in &plan.treatments {
            let paired = Paired::new(&found.outcomes, treatment, PromptSubset::Known);
            let paired = paired.ok_or(ExperimentError::OtherState)?;
            target.push(paired.arms(|score| score.target_logprob));
            first.push(paired.arms(|score| score.first_logprob));
        }
        let clean = found
            .outcomes
            .iter()
            .filter(|outcome| outcome.class.is_empty());
        Ok(Recall {
            known: clean.filter(|o| o.known).map(|o| o.prompt).collect(),
            treatments: plan.treatments,
            target,
            first,
        })
    }

    /// An ablation on the text; nothing without treatments.
    pub fn text(
        &self,
        treatments: Vec<Treatment>,
        mode: Mode,
    ) -> Result<Option<Text>, ExperimentError> {
        if treatments.is_empty() {
            return Ok(None);
        }
        self.run_text(self.plan(treatments, mode)).map(Some)
    }

    /// Zero ablation of one set where a sign case holds, in reference sign; nothing where it never holds for some
    /// arm, which then could not be compared.
    pub fn text_where(
        &self,
        treatment: &Treatment,
        when: SignCase,
    ) -> Result<Option<Text>, ExperimentError> {
        let plan = AblationPlan {
            when,
            signs: SignConvention::Reference(Arc::new(self.input.table.signs())),
            ..self.plan(vec![treatment.clone()], Mode::Zero)
        };
        match self.run_text(plan) {
            Err(ExperimentError::Engine(EngineError::NullEdit { .. })) => Ok(None),
            found => found.map(Some),
        }
    }

    fn run_text(&self, plan: AblationPlan) -> Result<Text, ExperimentError> {
        let (engine, windows) = (self.engine, self.input.windows);
        let sink: TokenSink<'_> = &mut |_| Ok(());
        let ablation = ablate_text(engine, windows, &plan, None, self.progress, sink)?;
        Ok(Text {
            treatments: plan.treatments,
            ablation,
        })
    }
}
