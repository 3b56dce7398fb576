//! What the claims need to have run, each run made once for all of them: what it costs, and what it gives.

use std::sync::Arc;

use super::super::ExperimentError;
use super::super::ablate::{Ablation, ablate};
use super::super::attributes::{Attributes, RateSettings, attributes};
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::{AblationPlan, Treatment};
use super::super::record::Activity;
use super::super::run::Run;
use super::super::text::{TextAblation, TokenSink, ablate_text};
use super::claim::ENRICHMENT;
use super::damage::{Matched, STEPS, equal_damage};
use super::frequency::activity;
use super::sets::{Group, Member, Sets};
use super::{VerifyInput, VerifySettings};
use crate::engine::{Engine, EngineError};
use crate::hooks::{Condition, Edit, Mode, NeuronSet, Reference, SignCase, SignConvention};
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

/// A part of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does, for a person.
    pub what: String,
    /// Tokens times the engine's units of a pass.
    pub work: u64,
}

/// What the claims of a run need together.
pub(super) struct Needs<'a> {
    pub engine: &'a Engine<'a>,
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
}

/// What was run. Where a class has no neurons, or nothing was asked for, there is nothing.
pub(super) struct Results<'a> {
    pub input: &'a VerifyInput<'a>,
    pub settings: &'a VerifySettings,
    pub sets: &'a Sets,
    pub frequencies: Vec<(Class, Activity)>,
    pub attributes: Option<(Group, Attributes)>,
    pub recall: Option<Recall>,
    pub text: Option<Text>,
    pub damage: Vec<(Member, Matched)>,
    /// Entropy without depletion by sign case, in the order of [`SIGNS`]; absent where the case never occurs in some set.
    pub sign_cases: Vec<Option<Arms>>,
    /// Entropy under mean ablation of depletion.
    pub mean: Option<Arms>,
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

impl<'a> Needs<'a> {
    fn has(&self, need: Need) -> bool {
        let mut claims = self.settings.claims.iter();
        claims.any(|claim| claim.needs.contains(&need))
    }

    /// The classes that some need is asked for.
    fn classes(&self, need: fn(Class) -> Need) -> Vec<Class> {
        let classes = super::CLASSES.into_iter();
        classes.filter(|class| self.has(need(*class))).collect()
    }

    fn text_group(&self) -> Group {
        self.sets.group(&self.classes(Need::Text))
    }

    fn recall_group(&self) -> Group {
        match self.has(Need::Recall) {
            true => self.sets.group(&ENRICHMENT),
            false => Group::default(),
        }
    }

    /// Runs all of it; first what depends on nothing else.
    pub fn run(&self, run: &mut Run<'_>) -> Result<Results<'a>, ExperimentError> {
        let frequencies = activity(self, run, &self.classes(Need::Frequency));
        let frequencies = run.unless_elsewhere(frequencies)?.unwrap_or_default();
        let attributes = self.attributes(run);
        let attributes = run.unless_elsewhere(attributes)?.flatten();
        let text = self.text(run, self.text_group(), Mode::Zero);
        let text = run.unless_elsewhere(text)?.flatten();
        let recall = self.recall(run, self.input.facts, self.recall_group(), Mode::Zero);
        let recall = run.unless_elsewhere(recall)?.flatten();
        let sign_cases = self.sign_cases(run);
        let sign_cases = run.unless_elsewhere(sign_cases)?.unwrap_or_default();
        let mean = self.mean(run);
        let mean = run.unless_elsewhere(mean)?.flatten();
        run.all_here()?;
        let mut damage = Vec::new();
        if let (true, Some(text), Some(recall)) = (self.has(Need::EqualDamage), &text, &recall) {
            for member in self.sets.members(&ENRICHMENT) {
                let matched = equal_damage(self, run, member, (text, recall))?;
                damage.push((member, matched));
            }
        }
        Ok(Results {
            input: self.input,
            settings: self.settings,
            sets: self.sets,
            frequencies,
            attributes,
            recall,
            text,
            damage,
            sign_cases,
            mean,
        })
    }

    /// What [`Needs::run`] will do, counted before it begins; of a bisection as many runs as it may take.
    pub fn steps(&self) -> Vec<Step> {
        let windows = self.input.windows.iter();
        let text: u64 = windows.map(|w| w.sequence.ids.len() as u64).sum();
        let mut steps = Vec::new();
        let mut add = |what: String, work: u64| {
            if work > 0 {
                steps.push(Step { what, work });
            }
        };
        if !self.classes(Need::Frequency).is_empty() {
            let what = format!("gate frequencies on {text} tokens of text");
            add(what, self.work(text, &[]));
        }
        if let (true, Some(subjects)) = (self.has(Need::Attributes), &self.input.subjects) {
            let treatments = self.sets.group(&ENRICHMENT).treatments;
            let prompts = subjects.batch.sequences().len();
            let what = format!(
                "attribute rates of {prompts} prompts, {} conditions",
                count(&treatments)
            );
            let tokens = subjects.batch.tokens() as u64;
            add(
                what,
                self.work(tokens, &treatments) + self.lens_work(prompts, count(&treatments)),
            );
        }
        let on_text = self.text_group().treatments;
        if !on_text.is_empty() {
            let what = format!("{} conditions on {text} tokens of text", count(&on_text));
            add(what, self.work(text, &on_text));
        }
        let on_facts = self.recall_group().treatments;
        if !on_facts.is_empty() {
            let facts = self.input.facts;
            let known = format!("the known ones of {} facts", facts.sequences().len());
            let what = format!("{} conditions on {known}", count(&on_facts));
            add(what, self.work(facts.tokens() as u64, &on_facts));
        }
        if self.has(Need::EqualDamage) {
            let alone = on_facts.iter().map(Treatment::alone);
            let each: u64 = alone.map(|alone| self.work(text, &[alone])).sum();
            let runs = STEPS * on_facts.len();
            add(
                format!("up to {runs} runs for equal damage"),
                STEPS as u64 * each,
            );
        }
        if let (true, Some(set)) = (self.has(Need::SignCases), self.sets.get(Class::Depletion)) {
            let once = self.work(text, std::slice::from_ref(&set.treatment));
            let what = "depletion by sign case, and its mean ablation".to_string();
            add(what, (SIGNS.len() as u64 + 1) * once);
        }
        steps
    }

    fn work(&self, tokens: u64, treatments: &[Treatment]) -> u64 {
        tokens * self.engine.work_units(&conditions(treatments))
    }

    /// Every layer goes through the unembedding, at a row a prompt.
    fn lens_work(&self, prompts: usize, conditions: usize) -> u64 {
        let config = self.engine.config();
        let (d_model, vocab) = (config.d_model as u64, config.vocab_size as u64);
        let rows = prompts as u64 * 2 * config.n_layers() as u64;
        rows * (vocab * d_model / config.layer_parameters().max(1)) * conditions as u64
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

    fn attributes(
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
        let rates = attributes(run, self.engine, subjects, &plan, RateSettings::published())?;
        Ok(Some((group, rates)))
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
    fn sign_cases(&self, run: &mut Run<'_>) -> Result<Vec<Option<Arms>>, ExperimentError> {
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

    fn mean(&self, run: &mut Run<'_>) -> Result<Option<Arms>, ExperimentError> {
        let Some((group, member)) = self.depletion() else {
            return Ok(None);
        };
        let text = self.text(run, group, Mode::Mean(Reference::OwnPrompts))?;
        Ok(text.and_then(|text| text.arms(member, Metric::TOKEN_ENTROPY)))
    }
}

/// Clean, and every set of the treatments ablated.
fn conditions(treatments: &[Treatment]) -> Vec<Condition> {
    let sets = treatments
        .iter()
        .flat_map(|t| std::iter::once(&t.neurons).chain(&t.baseline));
    let edited = sets.map(|set: &NeuronSet| Condition::Edited(Edit::zero(set.clone())));
    std::iter::once(Condition::Clean).chain(edited).collect()
}

fn count(treatments: &[Treatment]) -> usize {
    let sets = treatments.iter().map(|t| 1 + t.baseline.len());
    1 + sets.sum::<usize>()
}
