//! What is read, in the order of the input, and which of its tokens are recorded in which row.
//!
//! A *unit* is a prompt or a document, a *sequence* what the model reads in one go: a prompt, or one window of
//! a document. Recorded tokens are numbered through, in the order of the input: that number is the *row* in every
//! file. A *pass* is a run of consecutive sequences that fit the memory limit; the engine sorts them by length
//! and the pass knows the way back.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::super::ExperimentError;
use super::repeats::repeated;
use crate::engine::Engine;
use crate::prompts::{Document, Documents, PromptSet};
use crate::tokens::{Positions, Sequence, TokenBatch, TokenError, Window};

/// What a token is to its sequence. Where several hold, the first of this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The first token: BOS, or the first of the text. Models park attention there, so it is like no other.
    First,
    /// The last token of a prompt, which the answer follows.
    Last,
    /// The last token of a prompt's subject.
    SubjectLast,
    /// Another token of the subject.
    Subject,
    /// Any other token.
    Other,
}

impl Role {
    /// Every role, in the order in which they are looked for.
    pub const ALL: [Role; 5] = [
        Role::First,
        Role::Last,
        Role::SubjectLast,
        Role::Subject,
        Role::Other,
    ];

    /// The value of the column `role`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::First => "first",
            Role::Last => "last",
            Role::SubjectLast => "subject-last",
            Role::Subject => "subject",
            Role::Other => "other",
        }
    }

    fn of(sequence: &Sequence, kind: InputKind, position: usize) -> Role {
        let subject = &sequence.subject;
        if position == 0 {
            Role::First
        } else if kind == InputKind::Texts {
            Role::Other
        } else if position + 1 == sequence.prompt_len {
            Role::Last
        } else if position + 1 == subject.end && !subject.is_empty() {
            Role::SubjectLast
        } else if subject.contains(&position) {
            Role::Subject
        } else {
            Role::Other
        }
    }
}

/// What the units are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Prompts with a subject each.
    Prompts,
    /// Documents.
    Texts,
}

impl InputKind {
    /// The units' name, for a person.
    pub const fn units(self) -> &'static str {
        match self {
            InputKind::Prompts => "prompts",
            InputKind::Texts => "documents",
        }
    }
}

/// Where a sequence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of its unit.
    pub unit: usize,
    /// Which window of the unit, from 0.
    pub window: usize,
}

/// Everything that is read.
pub struct RecordInput {
    /// What the units are.
    pub kind: InputKind,
    /// Prompts or documents, with their ids.
    pub units: Vec<Document>,
    sequences: Vec<Sequence>,
    origins: Vec<Origin>,
    positions: Positions,
    /// Of each sequence the row of its first recorded token, and the number of all rows.
    first_rows: Vec<u64>,
    /// Of each row, whether an earlier one is the same token in the same context.
    repeated: Vec<bool>,
}

impl RecordInput {
    /// Prompts, without their targets, in the order of the set; as many whole ones as `max_tokens` has room for.
    /// `batch` holds the set's prompts, `positions` says which of their tokens are recorded.
    ///
    /// # Errors
    /// [`TokenError::EmptyBatch`] where not one prompt has room.
    pub fn of_prompts(
        set: &PromptSet,
        batch: &TokenBatch,
        positions: Positions,
        max_tokens: Option<usize>,
    ) -> Result<Self, TokenError> {
        let mut sequences: Vec<Sequence> = batch.sequences().iter().map(prompt_alone).collect();
        sequences.sort_by_key(|sequence| sequence.prompt);
        let mut left = max_tokens.unwrap_or(usize::MAX);
        let room = sequences.iter().take_while(|sequence| {
            let len = sequence.ids.len();
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        });
        let room = room.count();
        sequences.truncate(room);
        let units = set.prompts.iter().map(|prompt| Document {
            id: prompt.id.clone(),
            text: prompt.prompt.clone(),
        });
        let origins = (0..room).map(|unit| Origin { unit, window: 0 });
        let origins = origins.collect();
        Self::new(
            InputKind::Prompts,
            units.take(room).collect(),
            sequences,
            origins,
            positions,
        )
    }

    /// Documents, cut into windows; every token is recorded.
    ///
    /// # Errors
    /// [`TokenError::EmptyBatch`] without windows.
    pub fn of_texts(files: Vec<Documents>, windows: Vec<Window>) -> Result<Self, TokenError> {
        let units = files.into_iter().flat_map(|file| file.documents);
        let read = windows.last().map_or(0, |window| window.document + 1);
        let origins = windows.iter().map(|window| Origin {
            unit: window.document,
            window: window.number,
        });
        let origins = origins.collect();
        let sequences = windows.into_iter().map(|window| window.sequence).collect();
        Self::new(
            InputKind::Texts,
            units.take(read).collect(),
            sequences,
            origins,
            Positions::All,
        )
    }

    fn new(
        kind: InputKind,
        units: Vec<Document>,
        sequences: Vec<Sequence>,
        origins: Vec<Origin>,
        positions: Positions,
    ) -> Result<Self, TokenError> {
        if sequences.is_empty() {
            return Err(TokenError::EmptyBatch);
        }
        let mut first_rows = vec![0];
        let mut rows = 0;
        for sequence in &sequences {
            rows += sequence.positions(positions).len() as u64;
            first_rows.push(rows);
        }
        Ok(Self {
            kind,
            units,
            repeated: repeated(&sequences, &first_rows, positions),
            sequences,
            origins,
            positions,
            first_rows,
        })
    }

    /// What the model reads, in order.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Where sequence `i` comes from.
    pub fn origin(&self, i: usize) -> Origin {
        self.origins[i]
    }

    /// Tokens that the first `sequences` sequences have.
    pub fn tokens(&self, sequences: usize) -> usize {
        let read = self.sequences[..sequences].iter();
        read.map(|sequence| sequence.ids.len()).sum()
    }

    /// Tokens that are recorded of the first `sequences` sequences.
    pub fn rows(&self, sequences: usize) -> u64 {
        self.first_rows[sequences]
    }

    /// Bytes that it holds: texts, and of every token its id, its place in the text and whether it is repeated.
    pub fn bytes(&self) -> u64 {
        let texts: usize = self.units.iter().map(|unit| unit.text.len()).sum();
        let token = size_of::<u32>() + size_of::<Option<Range<u32>>>() + size_of::<bool>();
        let sequence = size_of::<Sequence>() + size_of::<Origin>() + size_of::<u64>();
        let tokens = self.tokens(self.sequences.len());
        (texts + tokens * token + self.sequences.len() * sequence) as u64
    }

    /// Recorded tokens of the first `sequences` sequences that repeat an earlier one in the same context.
    pub fn repeated_rows(&self, sequences: usize) -> usize {
        let rows = self.rows(sequences) as usize;
        let repeated = self.repeated[..rows].iter();
        repeated.filter(|repeated| **repeated).count()
    }

    /// Units of which the first `sequences` sequences hold something.
    pub fn units_begun(&self, sequences: usize) -> usize {
        let last = self.origins[..sequences].last();
        last.map_or(0, |origin| origin.unit + 1)
    }

    /// The sequence and the position in it of a recorded row.
    pub fn place(&self, row: u64) -> (usize, usize) {
        let sequence = self.first_rows.partition_point(|first| *first <= row) - 1;
        let within = (row - self.first_rows[sequence]) as usize;
        let recorded = self.sequences[sequence].positions(self.positions);
        (sequence, recorded.start + within)
    }

    /// The sequences from `from` on, as the ranges that the passes read.
    pub fn passes(&self, from: usize, budget: PassBudget) -> Vec<Range<usize>> {
        let mut passes = Vec::new();
        let (mut start, mut filled) = (from, PassBudget::default());
        for (i, sequence) in self.sequences.iter().enumerate().skip(from) {
            let with = filled.plus(sequence.ids.len());
            if i > start && !with.within(&budget) {
                passes.push(start..i);
                start = i;
                filled = PassBudget::default().plus(sequence.ids.len());
            } else {
                filled = with;
            }
        }
        passes.push(start..self.sequences.len());
        passes.retain(|pass| !pass.is_empty());
        passes
    }

    /// A pass over some consecutive sequences.
    ///
    /// # Errors
    /// Those of [`TokenBatch::new`].
    pub fn pass(&self, sequences: Range<usize>) -> Result<Pass, TokenError> {
        let batch = TokenBatch::new(self.sequences[sequences.clone()].to_vec())?;
        let mut rows = Vec::new();
        for (place, sequence) in batch.sequences().iter().enumerate() {
            let in_files = self.first_rows[sequence.prompt]..;
            for (row, position) in in_files.zip(sequence.positions(self.positions)) {
                rows.push((
                    row,
                    PassRow {
                        packed: batch.first_row(place) + position,
                        sequence: sequence.prompt,
                        unit: self.origins[sequence.prompt].unit,
                        position,
                        role: Role::of(sequence, self.kind, position),
                        repeated: self.repeated[row as usize],
                    },
                ));
            }
        }
        rows.sort_unstable_by_key(|(row, _)| *row);
        Ok(Pass {
            batch,
            first_row: self.first_rows[sequences.start],
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            sequences,
        })
    }
}

/// A sequence without its target.
fn prompt_alone(sequence: &Sequence) -> Sequence {
    let len = sequence.prompt_len;
    Sequence {
        ids: sequence.ids[..len].to_vec(),
        offsets: sequence.offsets[..len].to_vec(),
        target: Vec::new(),
        ..sequence.clone()
    }
}

/// One recorded token of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// Its row in the engine's batch.
    pub packed: usize,
    /// Index of its sequence in the input.
    pub sequence: usize,
    /// Index of its unit.
    pub unit: usize,
    /// Its place in the sequence.
    pub position: usize,
    /// What it is there.
    pub role: Role,
    /// Whether an earlier row is the same event: this token after the same tokens, whose activations are the same.
    pub repeated: bool,
}

/// Some consecutive sequences that run together.
pub struct Pass {
    /// What the engine runs.
    pub batch: TokenBatch,
    /// The sequences, by their index in the input.
    pub sequences: Range<usize>,
    /// The row of the first recorded token in every file; the others follow.
    pub first_row: u64,
    /// The recorded tokens, in the order of the input.
    pub rows: Vec<PassRow>,
}

/// How much one pass may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassBudget {
    /// Tokens.
    pub tokens: usize,
    /// Pairs of tokens of one sequence: what attention holds, over the heads.
    pub pairs: usize,
}

/// `gate` and `up` are kept until `post` comes: two rows of d_mlp beside the five that the engine counts with.
const KEPT_SHARE: (usize, usize) = (5, 7);

/// Scores, masked scores and pattern are held together, 4 bytes each.
const BYTES_PER_PAIR: u64 = 12;

impl PassBudget {
    /// What the engine's memory has room for, where the longest sequence is one of `input`'s.
    ///
    /// # Errors
    /// Not even the longest sequence fits.
    pub fn of(engine: &Engine<'_>, input: &RecordInput) -> Result<Self, ExperimentError> {
        let longest = input.sequences.iter().max_by_key(|s| s.ids.len());
        let batch = TokenBatch::new(longest.cloned().into_iter().collect())?;
        let tokens = engine.tokens_per_pass(&batch, 1)?;
        let per_pair = BYTES_PER_PAIR * engine.config().n_heads as u64;
        Ok(Self {
            tokens: (tokens * KEPT_SHARE.0 / KEPT_SHARE.1).max(1),
            pairs: (engine.activation_bytes() / per_pair) as usize,
        })
    }

    fn plus(self, len: usize) -> Self {
        Self {
            tokens: self.tokens + len,
            pairs: self.pairs + len * len,
        }
    }

    fn within(&self, limit: &PassBudget) -> bool {
        self.tokens <= limit.tokens && self.pairs <= limit.pairs
    }
}
