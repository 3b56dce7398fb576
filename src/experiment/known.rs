//! Which facts a model knows: by the first token of the answer, by all of them, or by what it writes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ExperimentError;
use super::forecast::Step;
use super::generate::Generator;
use super::run::Run;
use super::sampling::Choice;
use super::score::Score;
use crate::engine::{Engine, EngineError};
use crate::hooks::Condition;
use crate::prompts::Prompt;
use crate::tokens::TokenBatch;

/// So many tokens are written at most for a fact.
const WRITTEN: usize = 16;

/// Whether the tokens that were written behind a prompt of this number name its answer; `None` where more are needed, unless these are
/// all.
pub type Naming<'a> = dyn Fn(usize, &[u32], bool) -> Option<bool> + 'a;

/// When a fact counts as known.
#[derive(Clone, Copy, Default)]
pub enum KnownWhen<'a> {
    /// The top-1 is the first token of the target, or of an alias.
    #[default]
    First,
    /// Every token of the target is the top-1 behind those before it.
    Whole,
    /// The greedy continuation names the answer.
    Generated(&'a Naming<'a>),
}

impl KnownWhen<'_> {
    /// What it takes to find out, beside the scores: the prompt once and each token that is written behind it.
    pub(super) fn step(self, engine: &Engine<'_>, batch: &TokenBatch) -> Option<Step> {
        let KnownWhen::Generated(_) = self else {
            return None;
        };
        let facts = batch.sequences().len();
        let tokens = batch.tokens() + facts * WRITTEN;
        Some(Step {
            what: format!("{facts} facts, written out, up to {WRITTEN} tokens each"),
            passes: None,
            work: tokens as u64 * engine.work_units(&[Condition::Clean]),
            bytes: 0,
        })
    }

    /// The facts of a batch that are known, given their scores under the clean model.
    ///
    /// # Errors
    /// Those of the engine, where the model writes.
    pub(super) fn known(
        self,
        (run, engine): (&Run<'_>, &Engine<'_>),
        batch: &TokenBatch,
        scores: &BTreeMap<usize, Score>,
    ) -> Result<BTreeSet<usize>, ExperimentError> {
        let progress = run.progress();
        let sequences = batch.sequences();
        if let KnownWhen::Generated(_) = self {
            let what = format!("{} facts, written out", sequences.len());
            progress.start(&what, sequences.len() as u64);
        }
        let mut known = BTreeSet::new();
        for sequence in sequences {
            let Some(score) = scores.get(&sequence.prompt) else {
                continue;
            };
            let is_known = match self {
                KnownWhen::First => {
                    score.first_rank == 1 || sequence.aliases.contains(&score.top_token)
                }
                KnownWhen::Whole => score.target_top1,
                KnownWhen::Generated(naming) => {
                    if progress.stop_requested() {
                        return Err(EngineError::Stopped.into());
                    }
                    progress.advance(1);
                    let prompt = sequence.ids[..sequence.prompt_len].to_vec();
                    is_written(engine, prompt, &|tokens, are_all| {
                        naming(sequence.prompt, tokens, are_all)
                    })?
                }
            };
            if is_known {
                known.insert(sequence.prompt);
            }
        }
        Ok(known)
    }
}

/// Writes behind a prompt until it is decided.
fn is_written(
    engine: &Engine<'_>,
    prompt: Vec<u32>,
    naming: &dyn Fn(&[u32], bool) -> Option<bool>,
) -> Result<bool, ExperimentError> {
    let room = engine.config().max_positions.saturating_sub(prompt.len());
    let most = WRITTEN.min(room);
    let mut generator = Generator::new(engine, Condition::Clean, prompt, Choice::GREEDY);
    let mut tokens = Vec::new();
    while tokens.len() < most {
        tokens.push(generator.next_token()?);
        if let Some(is_named) = naming(&tokens, tokens.len() == most) {
            return Ok(is_named);
        }
    }
    Ok(false)
}

/// How many prompts of a relation the model knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownByRelation {
    /// The relation; empty for prompts without one.
    pub relation: String,
    /// Its prompts.
    pub prompts: usize,
    /// Those that count as known.
    pub known: usize,
}

/// How many facts have a first target token that is the clean model's top-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KnownIn {
    /// After the prompt that the effect is measured on.
    pub same: usize,
    /// After the same fact in other words.
    pub rephrased: usize,
    /// After both.
    pub both: usize,
}

/// How many of the `asked` prompts are known, relation by relation in the order of first appearance; one that is not among
/// `prompts` has no relation.
pub(super) fn known_by_relation(
    asked: impl Iterator<Item = usize>,
    known: &BTreeSet<usize>,
    prompts: &[Prompt],
) -> Vec<KnownByRelation> {
    let mut relations: Vec<KnownByRelation> = Vec::new();
    for prompt in asked {
        let relation = prompts
            .get(prompt)
            .and_then(|prompt| prompt.relation.clone());
        let relation = relation.unwrap_or_default();
        let at = relations.iter().position(|r| r.relation == relation);
        let at = at.unwrap_or_else(|| {
            relations.push(KnownByRelation {
                relation,
                prompts: 0,
                known: 0,
            });
            relations.len() - 1
        });
        relations[at].prompts += 1;
        relations[at].known += usize::from(known.contains(&prompt));
    }
    relations
}
