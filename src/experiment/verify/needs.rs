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
use crate::tokens::{Positions, TokenBatch};

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
    /// The enrichment classes by a factor, so that they damage text as their draws do; needs [`Need::Text`] and
    /// [`Need::Recall`].
    EqualDamage,
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

    /// The known prompts.
    pub fn known(&self) -> Vec<usize> {
        self.ablation.known()
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
    fn plan(&self, treatments: Vec<Treatment>, mode: Mode) -> AblationPlan {
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

    /// The frequency of each of these classes that has neurons, in a clean run over the text.
    pub fn frequencies(
        &self,
        run: &mut Run<'_>,
        classes: &[Class],
    ) -> Result<Vec<(Class, Activity)>, ExperimentError> {
        let (there, treatments): (Vec<Class>, Vec<Treatment>) = classes
            .iter()
            .filter_map(|class| Some((*class, self.sets.get(*class)?.treatment.clone())))
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
        let view = class_view(&recording.activity, &self.settings.bootstrap)?;
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
        self.text_of_plan(run, group, &plan).map(Some)
    }

    fn text_of_plan(
        &self,
        run: &mut Run<'_>,
        group: Group,
        plan: &AblationPlan,
    ) -> Result<Text, ExperimentError> {
        let sink: TokenSink<'_> = &mut |_| Ok(());
        let ablation = ablate_text(run, self.engine, self.input.windows, plan, sink)?;
        Ok(Text { group, ablation })
    }

    /// Depletion and its draws, where its sign cases are asked for.
    fn depletion(&self) -> Option<(Group, Member)> {
        let set = self.sets.get(Class::Depletion)?;
        let is_asked = self.has(Need::SignCases);
        is_asked.then(|| (Group::of_class(set), Member::class(Class::Depletion)))
    }

    /// Zero ablation where each sign case holds, in reference sign.
    pub fn sign_cases(&self, run: &mut Run<'_>) -> Result<Vec<Option<Arms>>, ExperimentError> {
        let mut cases = Vec::new();
        let mut elsewhere = None;
        for signs in SIGNS {
            let Some((group, member)) = self.depletion() else {
                break;
            };
            let when: SignCase = signs
                .parse()
                .map_err(|why: String| ExperimentError::Store(why.into()))?;
            let plan = AblationPlan {
                when,
                signs: SignConvention::Reference(Arc::new(self.input.table.signs())),
                ..self.plan(group.treatments.clone(), Mode::Zero)
            };
            match self.text_of_plan(run, group, &plan) {
                // A case that never holds for some arm could not be compared.
                Err(ExperimentError::Engine(EngineError::NullEdit { .. })) => cases.push(None),
                Err(error @ ExperimentError::OtherShards { .. }) => elsewhere = Some(error),
                found => cases.push(found?.arms(member, Metric::TOKEN_ENTROPY)),
            }
        }
        elsewhere.map_or(Ok(cases), Err)
    }

    pub fn mean(&self, run: &mut Run<'_>) -> Result<Option<Arms>, ExperimentError> {
        let Some((group, member)) = self.depletion() else {
            return Ok(None);
        };
        let text = self.text(run, group, Mode::Mean(Reference::OwnPrompts))?;
        Ok(text.and_then(|text| text.arms(member, Metric::TOKEN_ENTROPY)))
    }
}
