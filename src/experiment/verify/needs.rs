//! What the claims need to have run, each run made once for all of them.

use std::sync::Arc;

use super::super::ExperimentError;
use super::super::ablate::{Ablation, ablate};
use super::super::attributes::{Attributes, RateSettings, attributes};
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::record::{
    Activity, ClassSets, Quantity, RecordInput, RecordPlan, Scope, class_view, record,
};
use super::super::run::Run;
use super::super::text::{TextAblation, TokenSink, ablate_text};
use super::input::{VerifyInput, VerifySettings};
use super::sets::{CLASSES, ENRICHMENT, Group, Member, Sets};
use crate::engine::{Engine, EngineError};
use crate::hooks::{Mode, Reference, SignCase, SignConvention};
use crate::io_class::Class;
use crate::tokens::{Positions, TokenBatch, Window};

/// Something that is run for claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// P(gate > 0) of a class and its draws on the text.
    Frequency(Class),
    /// Attribute rates without the enrichment classes.
    Attributes,
    /// Zero ablation of a class on the text.
    Text(Class),
    /// Zero ablation of the enrichment classes on known facts.
    Recall,
    /// Depletion by sign case, and its mean ablation, on the text.
    SignCases,
}

/// The sign cases of gate and post, in reference sign; that of the claim first.
pub(super) const SIGNS: [&str; 4] = ["gate-,post+", "gate-,post-", "gate+,post+", "gate+,post-"];

/// What the claims of a run need together.
pub(super) struct ClaimRuns<'a> {
    pub engine: &'a Engine<'a>,
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
}

/// Factual recall without each class, zero ablation on known prompts.
pub(super) struct Recall {
    group: Group,
    ablation: Ablation,
}

/// Running text without each class, document by document.
pub(super) struct Text {
    group: Group,
    ablation: TextAblation,
}

impl Recall {
    /// A metric of one set, in every known prompt.
    pub fn arms(&self, member: Member, metric: &Metric) -> Option<Arms> {
        let arms = |treatment| self.ablation.arms(treatment, PromptSubset::Known, metric);
        self.group.arms(member, arms)
    }
}

impl Text {
    /// A metric of one set, a mean over the tokens of each document.
    pub fn arms(&self, member: Member, metric: Metric) -> Option<Arms> {
        self.group
            .arms(member, |treatment| self.ablation.arms(treatment, metric))
    }
}

impl<'a> ClaimRuns<'a> {
    pub fn has(&self, need: Need) -> bool {
        let mut claims = self.settings.claims.iter();
        claims.any(|claim| claim.needs.contains(&need))
    }

    /// The classes that some need is asked for.
    pub fn classes(&self, need: fn(Class) -> Need) -> Vec<Class> {
        let classes = CLASSES.into_iter();
        classes.filter(|class| self.has(need(*class))).collect()
    }

    pub fn text_group(&self) -> Group {
        self.sets.group(&self.classes(Need::Text))
    }

    pub fn recall_group(&self) -> Group {
        if self.has(Need::Recall) {
            self.sets.group(&ENRICHMENT)
        } else {
            Group::default()
        }
    }

    /// A plan of these treatments at all positions.
    pub fn plan(&self, treatments: Vec<Treatment>, mode: Mode) -> AblationPlan {
        AblationPlan {
            treatments,
            mode,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::Known,
            seed: self.settings.statistics.seed,
        }
    }

    /// The frequency of each of these classes that has neurons, in a clean run over the text.
    pub fn frequencies(
        &self,
        run: &mut Run<'_>,
        classes: &[Class],
    ) -> Result<Vec<(Class, Activity)>, ExperimentError> {
        let (there, treatments): (Vec<Class>, Vec<Treatment>) = classes
            .iter()
            // They cost no run of their own, so there are as many as a rank may need.
            .filter_map(|class| Some((*class, self.sets.for_rank(Member::class(*class))?)))
            .unzip();
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.input.table;
        let windows = self.input.windows.to_vec();
        let input = RecordInput::of_texts(vec![self.input.documents.clone()], windows)?;
        let sets = ClassSets::new(treatments, table);
        let plan = RecordPlan {
            input: &input,
            layers: 0..table.layers.len(),
            sets: &sets,
        };
        let recording = record(run, self.engine, &plan, None)?;
        let view = class_view(&recording.activity, &self.settings.statistics)?;
        let wanted = view.into_iter().filter(|activity| {
            activity.scope() == Scope::All && activity.quantity == Quantity::Frequency
        });
        // The view is in the order of the classes.
        Ok(there.into_iter().zip(wanted).collect())
    }

    pub fn attributes(
        &self,
        run: &mut Run<'_>,
    ) -> Result<Option<(Group, Attributes)>, ExperimentError> {
        let group = self.sets.group(&ENRICHMENT);
        let Some(subjects) = self
            .input
            .subjects
            .as_ref()
            .filter(|_| self.has(Need::Attributes))
        else {
            return Ok(None);
        };
        if group.treatments.is_empty() {
            return Ok(None);
        }
        let plan = self.plan(group.treatments.clone(), Mode::Zero);
        match attributes(run, self.engine, subjects, &plan, RateSettings::published()) {
            Err(ExperimentError::NothingKnown { .. }) => Ok(None),
            rates => Ok(Some((group, rates?))),
        }
    }

    /// An ablation on some facts; nothing without treatments, or where none is known.
    pub fn recall(
        &self,
        run: &mut Run<'_>,
        facts: &TokenBatch,
        group: Group,
        mode: Mode,
    ) -> Result<Option<Recall>, ExperimentError> {
        if group.treatments.is_empty() {
            return Ok(None);
        }
        let plan = self.plan(group.treatments.clone(), mode);
        match ablate(run, self.engine, facts, &plan) {
            Err(ExperimentError::NothingKnown { .. }) => Ok(None),
            found => Ok(Some(Recall {
                ablation: found?,
                group,
            })),
        }
    }

    /// An ablation on the text; nothing without treatments.
    pub fn text(
        &self,
        run: &mut Run<'_>,
        group: Group,
        mode: Mode,
    ) -> Result<Option<Text>, ExperimentError> {
        if group.treatments.is_empty() {
            return Ok(None);
        }
        let plan = self.plan(group.treatments.clone(), mode);
        let sink: TokenSink<'_> = &mut |_| Ok(());
        let ablation = ablate_text(run, self.engine, self.input.windows, &plan, sink)?;
        Ok(Some(Text { group, ablation }))
    }

    /// Zero ablation of depletion where each sign case holds, in reference sign. A case that never holds for some set is
    /// absent: it could not be compared.
    pub fn sign_cases(
        &self,
        run: &mut Run<'_>,
        treatment: &Treatment,
        windows: &[Window],
    ) -> Result<Vec<Option<SignCaseArms>>, ExperimentError> {
        let mut cases = Vec::new();
        let mut elsewhere = None;
        for signs in SIGNS {
            let when: SignCase = signs
                .parse()
                .map_err(|why: String| ExperimentError::Store(why.into()))?;
            let plan = AblationPlan {
                when,
                signs: SignConvention::Reference(Arc::new(self.input.table.signs())),
                ..self.plan(vec![treatment.clone()], Mode::Zero)
            };
            let sink: TokenSink<'_> = &mut |_| Ok(());
            match ablate_text(run, self.engine, windows, &plan, sink) {
                Err(ExperimentError::Engine(EngineError::NullEdit { .. })) => cases.push(None),
                Err(error @ ExperimentError::OtherShards { .. }) => elsewhere = Some(error),
                found => {
                    let found = found?;
                    cases.push(Some(SignCaseArms {
                        arms: found.arms(0, Metric::TOKEN_ENTROPY),
                        changed: found.changed_by_class(0).changed,
                    }));
                }
            }
        }
        elsewhere.map_or(Ok(cases), Err)
    }

    /// Depletion with its draws, where its sign cases are asked for.
    pub fn depletion(&self) -> Option<&Treatment> {
        let set = self.sets.get(Class::Depletion)?;
        self.has(Need::SignCases).then_some(&set.treatment)
    }

    pub fn mean(&self, run: &mut Run<'_>) -> Result<Option<Arms>, ExperimentError> {
        let Some(set) = self
            .sets
            .get(Class::Depletion)
            .filter(|_| self.has(Need::SignCases))
        else {
            return Ok(None);
        };
        let (group, member) = (Group::of_class(set), Member::class(Class::Depletion));
        let text = self.text(run, group, Mode::Mean(Reference::OwnPrompts))?;
        Ok(text.and_then(|text| text.arms(member, Metric::TOKEN_ENTROPY)))
    }

    /// The part of conditional enrichment that decides, with its draws, in the modes that must agree with zero ablation.
    pub fn recall_in_other_modes(
        &self,
        run: &mut Run<'_>,
        known: &TokenBatch,
    ) -> Result<Vec<(Mode, Recall)>, ExperimentError> {
        let mut found = Vec::new();
        let mut elsewhere = None;
        let member = self.sets.primary(Class::ConditionalEnrichment);
        for mode in [
            Mode::Mean(Reference::OwnPrompts),
            Mode::Resample(Reference::OwnPrompts),
        ] {
            let Some(group) = member
                .filter(|_| self.has(Need::Recall))
                .and_then(|m| self.sets.with_draws(m))
            else {
                break;
            };
            match self.recall(run, known, group, mode.clone()) {
                Err(error @ ExperimentError::OtherShards { .. }) => elsewhere = Some(error),
                recall => found.extend(recall?.map(|recall| (mode, recall))),
            }
        }
        elsewhere.map_or(Ok(found), Err)
    }
}

/// What a sign case of a class does to entropy.
pub(super) struct SignCaseArms {
    pub arms: Arms,
    /// Values of the class that it changed.
    pub changed: u64,
}
