//! Prompts as the engine sees them: sequences packed one after another, without padding.
//!
//! A *row* is one token of the batch; rows are what every matrix of the engine has along its first axis.
//! Sequences are sorted by length, so that those of equal length are adjacent and can share one attention call.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::{EmbeddingNoise, Positions, TokenError};

/// One prompt with its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Index in the prompt set.
    pub prompt: usize,
    /// The same number in all sequences that depend on each other: the index of the first prompt of the same relation, or the
    /// prompt's own.
    pub cluster: usize,
    /// BOS (by policy), the prompt, and the target without its last token, which nothing follows.
    pub ids: Vec<u32>,
    /// Byte range in the prompt's text of each id; `None` for BOS and target tokens.
    pub offsets: Vec<Option<Range<u32>>>,
    /// Tokens of the prompt, BOS included.
    pub prompt_len: usize,
    /// Positions of the subject's tokens; empty when there is no subject.
    pub subject: Range<usize>,
    /// Ids to score with teacher forcing; empty when nothing is scored.
    pub target: Vec<u32>,
    /// The first token of the counterfactual's answer, whose logit that of the target's is compared with.
    pub against: Option<u32>,
    /// First tokens of other answers that are right, too.
    pub aliases: Vec<u32>,
    /// Added to the embeddings of the subject's tokens, if anything is.
    pub noise: Option<EmbeddingNoise>,
}

impl Sequence {
    /// Plain ids without text: no offsets, no subject, no target.
    pub fn of_ids(prompt: usize, ids: Vec<u32>) -> Self {
        Self {
            prompt,
            cluster: prompt,
            offsets: vec![None; ids.len()],
            prompt_len: ids.len(),
            subject: 0..0,
            target: Vec::new(),
            against: None,
            aliases: Vec::new(),
            noise: None,
            ids,
        }
    }

    /// A text's tokens behind a BOS, if there is one: no subject, no target.
    pub(super) fn of_text(
        prompt: usize,
        bos: Option<u32>,
        ids: &[u32],
        offsets: &[Range<u32>],
    ) -> Self {
        let bos_offset = bos.map(|_| None);
        let offsets = bos_offset
            .into_iter()
            .chain(offsets.iter().cloned().map(Some));
        Self {
            offsets: offsets.collect(),
            ..Self::of_ids(prompt, bos.into_iter().chain(ids.iter().copied()).collect())
        }
    }

    fn check(&self) -> Result<(), TokenError> {
        let fed_target = self.target.len().saturating_sub(1);
        let reason = if self.prompt_len == 0 {
            "it has no prompt tokens"
        } else if self.ids.len() != self.prompt_len + fed_target {
            "ids must hold the prompt and all target tokens but the last"
        } else if self.offsets.len() != self.ids.len() {
            "ids and offsets differ in length"
        } else if self.subject.start > self.subject.end || self.subject.end > self.prompt_len {
            "the subject is not inside the prompt"
        } else if self.noise.is_some() && self.subject.is_empty() {
            "it has noise on its subject, and no subject"
        } else {
            return Ok(());
        };
        Err(TokenError::MalformedSequence {
            prompt: self.prompt,
            reason,
        })
    }

    /// Byte range in the prompt's text of the token at a position; `None` for BOS and target tokens.
    pub fn span(&self, position: usize) -> Option<Range<usize>> {
        let span = self.offsets[position].as_ref()?;
        Some(span.start as usize..span.end as usize)
    }

    /// The positions whose embeddings have noise: all of the subject, or none.
    pub fn noised(&self) -> Range<usize> {
        match self.noise {
            Some(_) => self.subject.clone(),
            None => 0..0,
        }
    }

    /// The chosen positions of this sequence.
    pub fn positions(&self, positions: Positions) -> Range<usize> {
        match positions {
            Positions::All => 0..self.ids.len(),
            Positions::NotFirst => 1..self.ids.len(),
            Positions::Subject => self.subject.clone(),
            Positions::SubjectLast => {
                self.subject.end.saturating_sub(1).max(self.subject.start)..self.subject.end
            }
            Positions::Last => self.prompt_len - 1..self.prompt_len,
        }
    }
}

/// Adjacent sequences of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Row of the first token of the first sequence.
    pub first_row: usize,
    /// How many sequences.
    pub sequences: usize,
    /// Tokens of each.
    pub len: usize,
}

/// Sequences sorted by length (equal lengths in the order of the set), with their rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenBatch {
    sequences: Vec<Sequence>,
    first_rows: Vec<usize>,
    groups: Vec<Group>,
    tokens: usize,
}

impl TokenBatch {
    /// Packs sequences.
    ///
    /// # Errors
    /// No sequences, or one whose fields contradict each other.
    pub fn new(mut sequences: Vec<Sequence>) -> Result<Self, TokenError> {
        if sequences.is_empty() {
            return Err(TokenError::EmptyBatch);
        }
        sequences.iter().try_for_each(Sequence::check)?;
        sequences.sort_by_key(|sequence| sequence.ids.len());
        let mut first_rows = Vec::with_capacity(sequences.len());
        let mut groups: Vec<Group> = Vec::new();
        let mut tokens = 0;
        for len in sequences.iter().map(|sequence| sequence.ids.len()) {
            first_rows.push(tokens);
            match groups.last_mut().filter(|group| group.len == len) {
                Some(group) => group.sequences += 1,
                None => groups.push(Group {
                    first_row: tokens,
                    sequences: 1,
                    len,
                }),
            }
            tokens += len;
        }
        Ok(Self {
            sequences,
            first_rows,
            groups,
            tokens,
        })
    }

    /// The ids of all rows: `[tokens]`.
    pub fn ids(&self) -> Vec<u32> {
        let ids = self.sequences.iter().flat_map(|sequence| &sequence.ids);
        ids.copied().collect()
    }

    /// Number of rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The sequences in the order of their rows.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The row of the first token of sequence `i` (a place in [`TokenBatch::sequences`]).
    pub fn first_row(&self, i: usize) -> usize {
        self.first_rows[i]
    }

    /// Sequences of equal length, in the order of their rows.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.groups.last().map_or(0, |group| group.len)
    }

    /// Which rows are at the chosen positions: `[tokens]`.
    pub fn mask(&self, positions: Positions) -> Vec<bool> {
        let mut mask = vec![false; self.tokens];
        for (sequence, first) in self.sequences.iter().zip(&self.first_rows) {
            let chosen = sequence.positions(positions);
            mask[first + chosen.start..first + chosen.end].fill(true);
        }
        mask
    }

    /// The rows whose next-token distributions score `target[0]`, `target[1]`, … of sequence `i`: the last
    /// prompt token and the target tokens that are fed in. Empty for a sequence without a target.
    pub fn target_rows(&self, i: usize) -> Range<usize> {
        let sequence = &self.sequences[i];
        let first = self.last_row(i);
        first..first + sequence.target.len()
    }

    /// The row of the last prompt token of sequence `i`.
    pub fn last_row(&self, i: usize) -> usize {
        self.first_rows[i] + self.sequences[i].prompt_len - 1
    }

    /// The same batch with only some prompts, given by their index in the prompt set (in any order).
    ///
    /// # Errors
    /// [`TokenError::UnknownPrompt`] for a prompt that is not here, [`TokenError::EmptyBatch`] for none at all.
    pub fn subset(&self, prompts: &[usize]) -> Result<Self, TokenError> {
        let held: HashMap<usize, &Sequence> =
            self.sequences.iter().map(|s| (s.prompt, s)).collect();
        if let Some(&prompt) = prompts.iter().find(|prompt| !held.contains_key(prompt)) {
            return Err(TokenError::UnknownPrompt {
                prompt,
                sequences: self.sequences.len(),
            });
        }
        let kept: HashSet<usize> = prompts.iter().copied().collect();
        let sequences = self.sequences.iter().filter(|s| kept.contains(&s.prompt));
        Self::new(sequences.cloned().collect())
    }

    /// The same sequences in consecutive batches of at most `max_tokens` rows each; a longer sequence is a batch
    /// of its own.
    ///
    /// # Errors
    /// Those of [`TokenBatch::new`], which do not occur for the sequences of a batch.
    pub fn split(&self, max_tokens: usize) -> Result<Vec<Self>, TokenError> {
        let mut parts: Vec<Vec<Sequence>> = vec![Vec::new()];
        let mut filled = 0;
        for sequence in &self.sequences {
            let len = sequence.ids.len();
            if filled > 0 && filled + len > max_tokens {
                parts.push(Vec::new());
                filled = 0;
            }
            filled += len;
            if let Some(part) = parts.last_mut() {
                part.push(sequence.clone());
            }
        }
        parts.into_iter().map(Self::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompt tokens 10, 11, … (no BOS), subject at 1..3, target 90, 91, …
    fn sequence(prompt: usize, prompt_len: usize, target_len: usize) -> Sequence {
        let target: Vec<u32> = (90..90 + target_len as u32).collect();
        let mut ids: Vec<u32> = (10..10 + prompt_len as u32).collect();
        let mut offsets: Vec<_> = (0..prompt_len as u32).map(|i| Some(i..i + 1)).collect();
        for &id in target.iter().take(target_len.saturating_sub(1)) {
            ids.push(id);
            offsets.push(None);
        }
        Sequence {
            prompt,
            cluster: prompt,
            ids,
            offsets,
            prompt_len,
            subject: 1..3,
            target,
            against: None,
            aliases: Vec::new(),
            noise: None,
        }
    }

    fn batch() -> TokenBatch {
        // lengths 5, 3, 5
        TokenBatch::new(vec![
            sequence(0, 4, 2),
            sequence(1, 3, 1),
            sequence(2, 5, 0),
        ])
        .unwrap()
    }

    #[test]
    fn rows_are_packed_by_length_and_equal_lengths_keep_their_order() {
        let batch = batch();
        let order: Vec<usize> = batch.sequences().iter().map(|s| s.prompt).collect();
        assert_eq!(order, [1, 0, 2]);
        assert_eq!(
            batch.ids(),
            [10, 11, 12, 10, 11, 12, 13, 90, 10, 11, 12, 13, 14]
        );
        assert_eq!((batch.tokens(), batch.longest()), (13, 5));
        assert_eq!([0, 1, 2].map(|i| batch.first_row(i)), [0, 3, 8]);
        let groups = [(0, 1, 3), (3, 2, 5)].map(|(first_row, sequences, len)| Group {
            first_row,
            sequences,
            len,
        });
        assert_eq!(batch.groups(), groups);
    }

    #[test]
    fn target_rows_start_at_the_last_prompt_token() {
        let batch = batch();
        assert_eq!(
            [0, 1, 2].map(|i| batch.target_rows(i)),
            [2..3, 6..8, 12..12]
        );
    }

    #[test]
    fn masks_pick_the_positions() {
        let rows = |positions| -> Vec<usize> {
            let mask = batch().mask(positions);
            (0..mask.len()).filter(|&row| mask[row]).collect()
        };
        assert_eq!(rows(Positions::All).len(), 13);
        assert_eq!(rows(Positions::NotFirst), [1, 2, 4, 5, 6, 7, 9, 10, 11, 12]);
        assert_eq!(rows(Positions::Subject), [1, 2, 4, 5, 9, 10]);
        assert_eq!(rows(Positions::SubjectLast), [2, 5, 10]);
        assert_eq!(rows(Positions::Last), [2, 6, 12]);
    }

    #[test]
    fn no_subject_means_no_subject_rows() {
        let mut sequence = sequence(0, 3, 1);
        sequence.subject = 0..0;
        let batch = TokenBatch::new(vec![sequence]).unwrap();
        assert!(!batch.mask(Positions::Subject).contains(&true));
        assert!(!batch.mask(Positions::SubjectLast).contains(&true));
    }

    #[test]
    fn a_subset_is_the_batch_of_its_prompts() {
        let subset = batch().subset(&[2, 1]).unwrap();
        let alone = TokenBatch::new(vec![sequence(1, 3, 1), sequence(2, 5, 0)]).unwrap();
        assert_eq!(subset, alone);
        assert!(matches!(
            batch().subset(&[1, 7]),
            Err(TokenError::UnknownPrompt { prompt: 7, .. })
        ));
        assert!(matches!(batch().subset(&[]), Err(TokenError::EmptyBatch)));
    }

    #[test]
    fn parts_hold_everything_within_the_limit() {
        let sizes = |max| -> Vec<usize> {
            batch()
                .split(max)
                .unwrap()
                .iter()
                .map(TokenBatch::tokens)
                .collect()
        };
        assert_eq!(sizes(100), [13]);
        assert_eq!(sizes(8), [8, 5]);
        assert_eq!(sizes(1), [3, 5, 5]);
    }

    #[test]
    fn contradicting_fields_are_refused() {
        let broken = |change: fn(&mut Sequence)| {
            let mut sequence = sequence(4, 3, 1);
            change(&mut sequence);
            TokenBatch::new(vec![sequence]).unwrap_err().to_string()
        };
        assert!(broken(|s| s.ids.push(1)).contains("prompt 4 is malformed: ids must hold"));
        assert!(broken(|s| s.offsets.truncate(1)).contains("differ in length"));
        assert!(broken(|s| s.subject = 2..4).contains("not inside"));
        assert!(matches!(
            TokenBatch::new(vec![]),
            Err(TokenError::EmptyBatch)
        ));
    }
}
