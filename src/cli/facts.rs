//! Facts that are asked under the conditions of a plan: what `ablate` and `sweep` share.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::edit_args::EditArgs;
use super::edits::Edits;
use super::effects_table::{print_relations, warn_of_few_clusters};
use super::inputs::read_prompts;
use super::long_command::{LongCommand, merged};
use super::reference::warn_of_values_kept;
use super::run::File;
use super::treatments::{contributions_json, weigh, weigh_steps};
use crate::experiment::ExperimentError;
use crate::experiment::{
    Ablation, AblationPlan, Corruption, Effect, Facts, KnownByRelation, KnownWhen, MatchedBy,
    Naming, Outcome, PromptSubset, ablate, ablation_steps,
};
use crate::hooks::Needs;
use crate::prompts::{PromptError, PromptSet, first_few};
use crate::report::{draws_parquet, outcomes_parquet};
use crate::tokens::{
    PairedFacts, TokenBatch, Tokenizer, tokenize, tokenize_counterfactuals, with_partners,
};

/// Which facts are asked, and on which of them the edits run.
#[derive(Args, Serialize)]
pub struct FactArgs {
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact, or counterfact-tracing, LRE (a file or a folder), PopQA, T-REx or
    /// ParaRel as they are published, also as Parquet [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Run the edits on the prompts whose first target token is the model's top-1 (known), or on all.
    #[arg(long, default_value = "known", value_name = "known|all")]
    pub subset: PromptSubset,
    /// Which words tell whether the model knows a fact: those of the prompt that the effect is measured on (same), or
    /// those of its field `rephrased`, which costs one more clean pass. Facts that are chosen by the very prompt that
    /// they are measured on lose a little by chance alone.
    #[arg(long, default_value = "same", value_name = "same|rephrased")]
    known_by: KnownBy,
    /// When a fact counts as known: the model's top-1 is the first token of the answer, or of an alias (first); every token of the
    /// answer is the top-1 behind those before it (whole); or what the model writes names the answer, or an alias, before another
    /// capitalised word or the end of the sentence (generated: 16 tokens at most, some tenths of a second a fact on a small model).
    #[arg(long, default_value = "first", value_name = "first|whole|generated")]
    known: Known,
}

/// What tells that a fact is known.
#[derive(Clone, Copy, PartialEq, Serialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_rule)]
enum Known {
    First,
    Whole,
    Generated,
}

fn no_rule(text: &str) -> String {
    format!("`{text}` is no rule for what is known; accepted: first, whole, generated")
}

/// Which words of a fact tell whether it is known.
#[derive(Clone, Copy, PartialEq, Serialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_words)]
enum KnownBy {
    Same,
    Rephrased,
}

fn no_words(text: &str) -> String {
    format!("`{text}` is not what facts are known by; accepted: same, rephrased")
}

/// Facts as tokens.
pub struct FactBatches {
    asked: TokenBatch,
    /// In the words that tell what is known, where these are others.
    rephrased: Option<TokenBatch>,
    /// The other questions of those that have one, where values are patched.
    counterfactual: Option<TokenBatch>,
    known: Known,
}

impl FactBatches {
    fn facts<'a>(&'a self, naming: &'a Naming<'a>) -> Facts<'a> {
        Facts {
            asked: &self.asked,
            rephrased: self.rephrased.as_ref(),
            counterfactual: self.counterfactual.as_ref(),
            known: match self.known {
                Known::First => KnownWhen::First,
                Known::Whole => KnownWhen::Whole,
                Known::Generated => KnownWhen::Generated(naming),
            },
        }
    }
}

impl FactArgs {
    /// The prompts.
    pub fn read(&self) -> Result<PromptSet, PromptError> {
        read_prompts(self.prompts.as_deref())
    }

    /// The prompts as tokens, in pairs as far as they have partners; `edit`: what is done to them.
    pub fn batches(
        &self,
        command: &LongCommand<'_>,
        facts: &PromptSet,
        edit: &EditArgs,
    ) -> anyhow::Result<FactBatches> {
        let paired = in_pairs(command, facts)?;
        let patches = edit.mode.needs() == Needs::Counterfactuals
            && edit.corruption() == Corruption::Counterfactual;
        if patches && paired.without_question().len() == paired.prompts.len() {
            return Err(ExperimentError::NoPairs.into());
        }
        let counterfactual = patches.then(|| command.batch(tokenize_counterfactuals, &paired));
        let rephrased = match self.known_by {
            KnownBy::Same => None,
            KnownBy::Rephrased => Some(command.batch(tokenize, &facts.rephrased()?)?),
        };
        Ok(FactBatches {
            asked: command.batch(tokenize, &paired)?,
            rephrased,
            counterfactual: counterfactual.transpose()?,
            known: self.known,
        })
    }
}

/// The facts, each with its own counterfactual or with another fact of its kind, if there is any.
pub fn in_pairs(command: &LongCommand<'_>, facts: &PromptSet) -> anyhow::Result<PromptSet> {
    let tokenizer = &command.opened.tokenizer;
    let paired = with_partners(facts.clone(), tokenizer, command.args.seed)?;
    warn_of_alike(&paired);
    Ok(paired.set)
}

/// What came of a plan.
pub struct Answers<'a> {
    prompts: &'a PromptSet,
    pub ablation: Ablation,
    pub effects: Vec<Effect>,
    relations: Vec<KnownByRelation>,
}

impl<'a> Answers<'a> {
    /// Asks, with draws that are matched by that; nothing where that was one shard of several, or a dry run.
    pub fn ask(
        command: &LongCommand<'_>,
        (prompts, batches): (&'a PromptSet, &FactBatches),
        plan: &mut AblationPlan,
        matched_by: MatchedBy<'_>,
    ) -> anyhow::Result<Option<Self>> {
        let tokenizer = &command.opened.tokenizer;
        let naming = |prompt: usize, tokens: &[u32], are_all| {
            prompts.prompts[prompt].is_named_in(&tokenizer.decode(tokens), are_all)
        };
        let asked = &batches.asked;
        let model = command.load(asked, |engine| {
            let weighed = weigh_steps(command, plan, engine, asked, matched_by)?;
            let run = ablation_steps(engine, &batches.facts(&naming), plan)?;
            Ok([weighed, run].concat())
        })?;
        let Some(model) = model else {
            return Ok(None);
        };
        let found = command.run(&model, |run, engine| {
            weigh(command, plan, (run, engine), asked, matched_by)?;
            ablate(run, engine, batches.facts(&naming), plan)
        })?;
        let Some(ablation) = found else {
            return Ok(None);
        };
        warn_of_facts_left_out(&ablation, prompts);
        warn_of_values_kept(&ablation.changed);
        let statistics = command.args.statistics();
        let effects = ablation.effects(plan, &prompts.prompts, &statistics)?;
        warn_of_few_clusters(&effects);
        Ok(Some(Self {
            effects: command.marked(effects),
            relations: ablation.known_by_relation(&prompts.prompts),
            prompts,
            ablation,
        }))
    }

    /// How many facts were asked, and how many the model knows.
    pub fn known(&self) -> [usize; 2] {
        [self.prompts.prompts.len(), self.ablation.known().len()]
    }

    /// For `run.json`, with what is `particular` to the command.
    pub fn counts(&self, plan: &AblationPlan, edits: &Edits<'_>, particular: Value) -> Value {
        let [prompts, known] = self.known();
        let counts = json!({
            "prompts": prompts,
            "known": known,
            "known_in": self.ablation.known_in,
            "edited_prompts": self.ablation.edited_prompts,
            "without_pair": self.ablation.without_pair.len(),
            "without_subject": self.ablation.without_subject.len(),
            "conditions": plan.len(),
            "edits": self.ablation.changed,
            "reference": edits.reference_json(self.ablation.reference),
            "frequencies": edits.frequencies_json(),
            "contributions": contributions_json(plan),
            "passes": self.ablation.passes,
            "known_by_relation": self.relations,
        });
        merged(counts, particular)
    }

    /// The same for a machine.
    pub fn json(&self, particular: Value) -> Value {
        let json = json!({"effects": self.effects, "known_by_relation": self.relations});
        merged(json, particular)
    }

    /// The outcomes, the effects and the draws.
    pub fn files(&self, plan: &AblationPlan, tokenizer: &Tokenizer) -> anyhow::Result<Vec<File>> {
        let outcomes: Vec<Outcome> = self.ablation.outcomes().collect();
        let table = outcomes_parquet(&outcomes, &self.prompts.prompts, tokenizer)?;
        let effects = serde_json::to_vec_pretty(&self.effects)?;
        let files = [("outcomes.parquet", table), ("effects.json", effects)];
        Ok(files
            .into_iter()
            .chain(draws_parquet(&plan.treatments)?)
            .collect())
    }

    /// Prints what the model knows, the `heading`, and where the edit's values are from.
    pub fn print_heading(&self, heading: &str, edits: &Edits<'_>) {
        print_relations(&self.relations);
        if let Some(known) = self.ablation.known_in {
            outln!(
                "known in the words that are measured: {}; in the other words, which decide: {}; in both: {}",
                known.same,
                known.rephrased,
                known.both
            );
        }
        outln!("\n{heading}");
        edits.print_references(self.ablation.reference);
    }
}

/// Names facts whose own counterfactual cannot be told from them.
fn warn_of_alike(paired: &PairedFacts) {
    let ids = paired.alike.iter();
    let ids: Vec<&str> = ids
        .map(|fact| paired.set.prompts[*fact].id.as_str())
        .collect();
    if !ids.is_empty() {
        notice!(
            "warning: counterfactuals whose answer begins with the same token as the fact's are not taken: {} ({}); the \
             difference of their logits is always 0",
            ids.len(),
            first_few(&ids)
        );
    }
}

/// Names facts that would be patched and have nothing to be patched from, or no place for noise.
fn warn_of_facts_left_out(ablation: &Ablation, prompts: &PromptSet) {
    let reasons = [
        (
            &ablation.without_pair,
            "counterfactual",
            "no other fact of their relation has the same words around its subject and another answer; the field `counterfactual` \
             gives one",
        ),
        (
            &ablation.without_subject,
            "subject",
            "noise has no tokens to be on",
        ),
    ];
    for (facts, lacking, why) in reasons {
        let ids = facts.iter();
        let ids: Vec<&str> = ids.map(|fact| prompts.prompts[*fact].id.as_str()).collect();
        if !ids.is_empty() {
            notice!(
                "warning: facts without a {lacking} are left out: {} ({}); {why}",
                ids.len(),
                first_few(&ids)
            );
        }
    }
}
