//! A prompt set -> a batch, with every prompt that the tokenizer cannot serve reported at once.

use std::collections::HashMap;
use std::ops::Range;

use super::batch::{Sequence, TokenBatch};
use super::error::Problems;
use super::{BosPolicy, Encoded, TokenError, Tokenizer};
use crate::prompts::{Prompt, PromptSet};

/// What is wrong with a text that would begin with two BOS tokens.
const SECOND_BOS: &str = "its text already begins with the BOS token, which would stand there twice; \
     remove it from the text or pass --bos never";

/// Encodes prompts and targets, and finds the subjects' tokens.
///
/// The target is encoded by itself ([`Tokenizer::encode_target`]) and its ids are put behind the prompt's. The
/// subject's tokens are those whose byte range overlaps the subject's place ([`Prompt::place`]).
///
/// # Errors
/// Those of [`Tokenizer::bos_for`]; [`TokenError::Invalid`] with every prompt whose subject or target has no
/// tokens, or that would begin with two BOS tokens.
pub fn tokenize(
    set: &PromptSet,
    tokenizer: &Tokenizer,
    bos: BosPolicy,
) -> Result<TokenBatch, TokenError> {
    batch(set, tokenizer, bos, |encoded, prompt| {
        let target = target_ids(tokenizer, &prompt.target)?;
        let other = prompt.counterfactual.as_ref().map(|other| &other.target);
        let other = other
            .map(|other| target_ids(tokenizer, other))
            .transpose()?;
        let aliases = prompt
            .aliases
            .iter()
            .map(|alias| target_ids(tokenizer, alias));
        let aliases = aliases
            .map(|ids| Ok(ids?[0]))
            .collect::<Result<_, String>>()?;
        Ok(Sequence {
            against: other.map(|ids| ids[0]),
            aliases,
            ..encoded.followed_by(target)
        })
    })
}

/// The other questions of the facts that have one, under the facts' numbers. They are scored by the facts' answers: how likely
/// these are where something else is asked.
///
/// # Errors
/// As [`tokenize`]; [`TokenError::EmptyBatch`] where no fact has another question.
pub fn tokenize_counterfactuals(
    set: &PromptSet,
    tokenizer: &Tokenizer,
    bos: BosPolicy,
) -> Result<TokenBatch, TokenError> {
    let other = |prompt: &Prompt| {
        let question = prompt.counterfactual.clone()?.question?;
        Some(Prompt {
            prompt: question.prompt,
            subject: question.subject,
            place: question.place,
            ..prompt.clone()
        })
    };
    let (numbers, prompts): (Vec<usize>, Vec<Prompt>) = set
        .prompts
        .iter()
        .enumerate()
        .filter_map(|(number, prompt)| Some((number, other(prompt)?)))
        .unzip();
    let others = PromptSet {
        prompts,
        ..set.clone()
    };
    let batch = tokenize(&others, tokenizer, bos)?;
    let sequences = batch.sequences().iter().map(|sequence| Sequence {
        prompt: numbers[sequence.prompt],
        cluster: numbers[sequence.cluster],
        ..sequence.clone()
    });
    TokenBatch::new(sequences.collect())
}

/// The ids of an answer; there is at least one.
fn target_ids(tokenizer: &Tokenizer, target: &str) -> Result<Vec<u32>, String> {
    let ids = tokenizer.encode_target(target).map_err(|e| e.to_string())?;
    if ids.is_empty() {
        return Err(format!("the target {target:?} has no tokens"));
    }
    Ok(ids)
}

/// Facts in pairs.
pub struct PairedFacts {
    /// Facts without a counterfactual have another fact of their kind as partner, if there is one whose answer begins with
    /// another token ([`PromptSet::paired`]).
    pub set: PromptSet,
    /// The places of those whose own counterfactual was not taken: its answer begins with the same token as the fact's, and
    /// their logits cannot differ.
    pub alike: Vec<usize>,
}

/// Finds partners for the facts of a set.
///
/// # Errors
/// Those of the tokenizer.
pub fn with_partners(
    mut set: PromptSet,
    tokenizer: &Tokenizer,
    seed: u64,
) -> Result<PairedFacts, TokenError> {
    let mut problems = Problems::default();
    let (mut first, mut alike) = (Vec::new(), Vec::new());
    for (place, prompt) in set.prompts.iter_mut().enumerate() {
        let id = prompt.id.clone();
        let mut token = |target: &str| {
            let ids = target_ids(tokenizer, target).map(|ids| ids[0]);
            problems.keep(&id, ids)
        };
        let own = token(&prompt.target);
        let other = prompt.counterfactual.as_ref();
        let other = other.and_then(|other| token(&other.target));
        if own.is_some() && own == other {
            prompt.counterfactual = None;
            alike.push(place);
        }
        first.push(own);
    }
    problems.finish(&set.name)?;
    let set = set.paired(seed, |a, b| first[a] != first[b]);
    Ok(PairedFacts { set, alike })
}

/// Encodes prompts and cuts each after its subject's last token, as [`tokenize`] finds it: what a causal model makes of
/// that token does not depend on what follows. Targets are not read.
///
/// # Errors
/// As [`tokenize`], but for targets.
pub fn tokenize_to_subject(
    set: &PromptSet,
    tokenizer: &Tokenizer,
    bos: BosPolicy,
) -> Result<TokenBatch, TokenError> {
    batch(set, tokenizer, bos, |encoded, _| {
        Ok(encoded.cut_after_subject())
    })
}

/// A batch of all prompts, each finished by `finish`.
fn batch(
    set: &PromptSet,
    tokenizer: &Tokenizer,
    bos: BosPolicy,
    finish: impl Fn(Sequence, &Prompt) -> Result<Sequence, String>,
) -> Result<TokenBatch, TokenError> {
    let bos = tokenizer.bos_for(bos)?;
    let mut sequences = Vec::with_capacity(set.prompts.len());
    let mut problems = Problems::default();
    let mut first_of_relation = HashMap::new();
    for (index, prompt) in set.prompts.iter().enumerate() {
        let relation = prompt.relation.as_deref();
        let cluster = relation.map_or(index, |r| *first_of_relation.entry(r).or_insert(index));
        let encoded = without_target(index, prompt, tokenizer, bos);
        let sequence = encoded.and_then(|encoded| finish(encoded, prompt));
        let sequence = sequence.map(|sequence| Sequence {
            cluster,
            ..sequence
        });
        sequences.extend(problems.keep(&prompt.id, sequence));
    }
    problems.finish(&set.name)?;
    TokenBatch::new(sequences)
}

/// A prompt with its subject.
fn without_target(
    index: usize,
    prompt: &Prompt,
    tokenizer: &Tokenizer,
    bos: Option<u32>,
) -> Result<Sequence, String> {
    let encoded = tokenizer.encode(&prompt.prompt);
    let encoded = encoded.map_err(|e| e.to_string())?.behind(bos)?;
    let subject = subject_tokens(prompt, &encoded.offsets)
        .ok_or_else(|| format!("the subject {:?} has no tokens", prompt.subject))?;
    let front = usize::from(bos.is_some());
    Ok(Sequence {
        subject: subject.start + front..subject.end + front,
        ..Sequence::of_text(index, bos, &encoded.ids, &encoded.offsets)
    })
}

impl Encoded {
    /// The same, to be put behind a BOS token if there is one: the text must not begin with another.
    pub(super) fn behind(self, bos: Option<u32>) -> Result<Self, String> {
        if bos.is_some() && self.ids.first().copied() == bos {
            return Err(SECOND_BOS.to_owned());
        }
        Ok(self)
    }
}

impl Sequence {
    /// A prompt with its target, all of which but the last token is fed in.
    fn followed_by(mut self, target: Vec<u32>) -> Self {
        let fed = &target[..target.len() - 1];
        self.ids.extend(fed);
        self.offsets.extend(fed.iter().map(|_| None));
        Self { target, ..self }
    }

    /// A prompt up to its subject's end.
    fn cut_after_subject(mut self) -> Self {
        let end = self.subject.end;
        self.ids.truncate(end);
        self.offsets.truncate(end);
        Self {
            prompt_len: end,
            ..self
        }
    }
}

/// The tokens, counted without BOS, that overlap the subject.
fn subject_tokens(prompt: &Prompt, offsets: &[Range<u32>]) -> Option<Range<usize>> {
    let Range { start, end } = prompt.place.span;
    let overlaps = |token: &Range<u32>| (token.start as usize) < end && start < token.end as usize;
    let first = offsets.iter().position(overlaps)?;
    let last = offsets.iter().rposition(overlaps)?;
    Some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::{Found, SubjectPlace};
    use crate::tokens::fixtures::{BOS, byte_level, sentencepiece, tokenizer};

    fn set(lines: &[(&str, &str, &str)]) -> PromptSet {
        let prompts = lines.iter().enumerate();
        let prompts = prompts.map(|(i, (prompt, subject, target))| Prompt {
            id: format!("p{i}"),
            prompt: (*prompt).to_owned(),
            subject: (*subject).to_owned(),
            place: SubjectPlace::find(prompt, subject).unwrap_or(SubjectPlace {
                span: 0..0,
                found: Found::Given,
            }),
            target: (*target).to_owned(),
            relation: None,
            rephrased: None,
            counterfactual: None,
            aliases: Vec::new(),
        });
        PromptSet {
            name: "test".to_owned(),
            prompts: prompts.collect(),
            sha256: String::new(),
        }
    }

    fn words() -> Tokenizer {
        tokenizer(byte_level(
            "gpt-2",
            &["ĠOslo", "Oslo", "Ġis", "Ġin", "ĠNor"],
        ))
    }

    fn only(set: &PromptSet, tokenizer: &Tokenizer, bos: BosPolicy) -> Sequence {
        tokenize(set, tokenizer, bos).unwrap().sequences()[0].clone()
    }

    #[test]
    fn a_prompt_becomes_bos_prompt_and_all_target_tokens_but_the_last() {
        let tokenizer = words();
        let sequence = only(
            &set(&[("Oslo is in", "Oslo", "Nory")]),
            &tokenizer,
            BosPolicy::Always,
        );
        let texts: Vec<_> = sequence
            .ids
            .iter()
            .map(|&id| tokenizer.token_text(id))
            .collect();
        assert_eq!(texts, ["<s>", "Oslo", " is", " in", " Nor"]);
        assert_eq!(sequence.ids[0], BOS);
        assert_eq!(tokenizer.decode(&sequence.target), " Nory");
        assert_eq!((sequence.prompt_len, sequence.subject), (4, 1..2));
        assert_eq!(
            sequence.offsets,
            [None, Some(0..4), Some(4..7), Some(7..10), None]
        );
    }

    #[test]
    fn a_prompt_may_end_with_its_subject() {
        let prompts = set(&[("Oslo is Oslo in", "Oslo", ""), ("Oslo is in", "s i", "x")]);
        let batch = tokenize_to_subject(&prompts, &words(), BosPolicy::Always).unwrap();
        let [first, second] = batch.sequences() else {
            panic!("two prompts");
        };
        let texts: Vec<_> = first.ids.iter().map(|&id| words().token_text(id)).collect();
        assert_eq!(texts, ["<s>", "Oslo", " is", " Oslo"]);
        assert_eq!((first.prompt_len, first.subject.clone()), (4, 3..4));
        assert_eq!(first.offsets, [None, Some(0..4), Some(4..7), Some(7..12)]);
        assert!(first.target.is_empty());
        // " in" holds the i of the subject.
        assert_eq!((second.prompt_len, second.subject.clone()), (4, 2..4));
    }

    #[test]
    fn the_last_occurrence_of_the_subject_counts() {
        let prompts = set(&[("Oslo is Oslo in", "Oslo", "x")]);
        let sequence = only(&prompts, &words(), BosPolicy::Never);
        assert_eq!(sequence.subject, 2..3);
    }

    #[test]
    fn a_token_that_is_partly_the_subject_belongs_to_it() {
        // " is" holds the s of the subject "s in".
        let sequence = only(
            &set(&[("Oslo is in", "s in", "x")]),
            &words(),
            BosPolicy::Never,
        );
        assert_eq!(sequence.subject, 1..3);
    }

    #[test]
    fn subjects_of_several_bytes_a_character_are_found() {
        let tokenizer = tokenizer(sentencepiece(&[("▁", -1.0), ("é", -1.0), ("a", -1.0)]));
        let sequence = only(&set(&[("a éü a", "éü", "a")]), &tokenizer, BosPolicy::Auto);
        let subject: String = tokenizer.decode(&sequence.ids[sequence.subject.clone()]);
        assert_eq!((subject.as_str(), sequence.subject), ("éü", 4..7));
    }

    #[test]
    fn every_bad_prompt_is_reported() {
        let bad = set(&[
            ("<s>Oslo is", "Oslo", "x"),
            ("Oslo is", "Oslo", "x"),
            ("Oslo is", "", "x"),
        ]);
        let message = tokenize(&bad, &words(), BosPolicy::Always)
            .unwrap_err()
            .to_string();
        assert!(message.starts_with(
            "test: 2 problems with this tokenizer\n  p0: its text already begins with the BOS"
        ));
        assert!(
            message.ends_with("p2: the subject \"\" has no tokens"),
            "{message}"
        );
        // Without a BOS in front, the one in the text is the prompt's own business.
        let own = set(&[("<s>Oslo is", "Oslo", "x")]);
        assert_eq!(only(&own, &words(), BosPolicy::Never).subject, 1..2);
    }

    #[test]
    fn sequences_keep_their_index_in_the_set() {
        let batch = tokenize(
            &set(&[("Oslo is in", "Oslo", "x"), ("Oslo is", "Oslo", "x")]),
            &words(),
            BosPolicy::Never,
        )
        .unwrap();
        let order: Vec<_> = batch.sequences().iter().map(|s| s.prompt).collect();
        assert_eq!(order, [1, 0]);
    }
}
