//! What the claims need to have run, each run made once for all of them.

use std::sync::Arc;

use super::super::ExperimentError;
use super::super::ablate::{Ablation, ablate};
use super::super::attributes::{AttributeInput, Attributes, RateSettings, attributes};
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
use super::signs::{SIGNS, SignCaseArms};
use crate::engine::{Engine, EngineError};
use crate::hooks::{Mode, Path, Reference, SignCase, SignConvention};
use crate::io_class::Class;
use crate::tokens::{TokenBatch, Window};

/// Something that is run for claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// P(gate > 0) of a class and its draws on the text.
    Frequency(Class),
    /// Zero ablation of the enrichment classes on known facts.
    Recall,
    /// What of it goes straight to the logits.
    Direct,
    /// Conditional enrichment at the subjects of known facts, patched from their counterfactuals.
    Patch,
    /// Zero ablation of depletion on the text.
    Entropy,
    /// The same by sign case, and under mean ablation.
    SignCases,
    /// Attribute rates without the enrichment classes.
    Attributes,
}

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
    /// By each of these ways.
    paths: Vec<Path>,
}

impl Recall {
    /// A metric of one set, in every known prompt.
    pub fn arms(&self, member: Member, metric: &Metric) -> Option<Arms> {
        self.by(Path::Total, member, metric)
    }

    /// The same by one way.
    pub fn by(&self, path: Path, member: Member, metric: &Metric) -> Option<Arms> {
        let place = self.paths.iter().position(|own| *own == path)?;
        self.group.arms(member, |treatment| {
            let comparison = treatment * self.paths.len() + place;
            self.ablation.arms(comparison, PromptSubset::Known, metric)
        })
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

    pub fn recall_group(&self) -> Group {
        if self.has(Need::Recall) || self.has(Need::Direct) {
            self.sets.group(&ENRICHMENT)
        } else {
            Group::default()
        }
    }

    /// Zero ablation of these treatments at all positions of prompts that are known, or that nobody has to know.
    pub fn plan(&self, treatments: Vec<Treatment>) -> AblationPlan {
        AblationPlan {
            subset: PromptSubset::All,
            seed: self.settings.statistics.seed,
            ..AblationPlan::new(treatments, Mode::Zero)
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

    /// Zero ablation of the enrichment classes on all known facts; nothing without such classes.
    pub fn recall(
        &self,
        run: &mut Run<'_>,
        known: &TokenBatch,
    ) -> Result<Option<Recall>, ExperimentError> {
        let group = self.recall_group();
        if group.treatments.is_empty() {
            return Ok(None);
        }
        let direct = self.has(Need::Direct).then_some(Path::Direct);
        let plan = AblationPlan {
            subset: PromptSubset::Known,
            paths: [Path::Total].into_iter().chain(direct).collect(),
            ..self.plan(group.treatments.clone())
        };
        let ablation = ablate(run, self.engine, known, &plan)?;
        Ok(Some(Recall {
            group,
            ablation,
            paths: plan.paths,
        }))
    }

    /// An ablation on text.
    pub fn text(
        &self,
        run: &mut Run<'_>,
        windows: &[Window],
        plan: &AblationPlan,
    ) -> Result<TextAblation, ExperimentError> {
        let sink: TokenSink<'_> = &mut |_| Ok(());
        ablate_text(run, self.engine, windows, plan, sink)
    }

    /// Entropy of the whole text without depletion; nothing where that is not asked for.
    pub fn entropy(&self, run: &mut Run<'_>) -> Result<Option<Arms>, ExperimentError> {
        let asked = self.sets.get(Class::Depletion);
        let Some(set) = asked.filter(|_| self.has(Need::Entropy)) else {
            return Ok(None);
        };
        let plan = self.plan(vec![set.treatment.clone()]);
        let found = self.text(run, self.input.windows, &plan)?;
        Ok(Some(found.arms(0, Metric::TOKEN_ENTROPY)))
    }

    /// Entropy of few documents under zero and under mean ablation of depletion; nothing where that is not asked for.
    pub fn zero_and_mean(
        &self,
        run: &mut Run<'_>,
        documents: &[Window],
    ) -> Result<Option<[Arms; 2]>, ExperimentError> {
        let asked = self.sets.get(Class::Depletion);
        let Some(set) = asked.filter(|_| self.has(Need::SignCases)) else {
            return Ok(None);
        };
        let zero = self.plan(vec![set.treatment.clone()]);
        let mean = AblationPlan {
            mode: Mode::Mean(Reference::OwnPrompts),
            ..zero.clone()
        };
        // Both are begun before either is waited for.
        let found = [zero, mean].map(|plan| self.text(run, documents, &plan));
        let [zero, mean] = found.map(|found| Ok(found?.arms(0, Metric::TOKEN_ENTROPY)));
        zero.and_then(|zero| Ok(Some([zero, mean?])))
    }

    /// A plan's edit where each sign case holds, in reference sign. A case that never holds for some set is absent: it
    /// could not be compared.
    pub fn sign_cases(
        &self,
        run: &mut Run<'_>,
        windows: &[Window],
        plan: &AblationPlan,
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
                ..plan.clone()
            };
            match self.text(run, windows, &plan) {
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

    /// Attribute rates of some subjects under a plan.
    pub fn attributes(
        &self,
        run: &mut Run<'_>,
        (input, batch): (&AttributeInput<'_>, &TokenBatch),
        plan: &AblationPlan,
    ) -> Result<Attributes, ExperimentError> {
        let input = AttributeInput { batch, ..*input };
        attributes(run, self.engine, &input, plan, RateSettings::published())
    }
}
