//! What is read, in the order of the input, and which of its tokens are recorded in which row.
//!
//! A *unit* is a prompt or a document, a *sequence* what the model reads in one go: a prompt, or one window of
//! a document. Recorded tokens are numbered through, in the order of the input: that number is the *row* in every
//! file. A pass reads consecutive sequences that fit the memory limit; the engine sorts them by length, and
//! [`RecordedRows`] know the way back.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::repeats::repeated;
use crate::prompts::{Document, Documents, PromptSet};
use crate::tokens::{Positions, Sequence, TokenBatch, TokenError, Window};

/// What a token is to its sequence. Where several hold, the first of this order counts. Whether it is the sequence's
/// first token is another matter: a subject may begin there.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Role {
    /// The first token, where that is not of the subject: BOS, or the first of the text. Models park attention there,
    /// so it is like no other.
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

    /// Every role with whether the token is the first: all that there are.
    pub(super) const PLACES: [(Role, bool); 7] = [
        (Role::First, true),
        (Role::Last, false),
        (Role::SubjectLast, false),
        (Role::Subject, false),
        (Role::Other, false),
        (Role::SubjectLast, true),
        (Role::Subject, true),
    ];

    /// The value of the column `role`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn of(sequence: &Sequence, kind: InputKind, position: usize) -> Role {
        let subject = &sequence.subject;
        let in_subject = subject.contains(&position);
        if position == 0 && !in_subject {
            Role::First
        } else if kind == InputKind::Texts {
            Role::Other
        } else if position > 0 && position + 1 == sequence.prompt_len {
            Role::Last
        } else if in_subject && position + 1 == subject.end {
            Role::SubjectLast
        } else if in_subject {
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
    batch: TokenBatch,
    /// Of each sequence its place in the batch.
    places: Vec<usize>,
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
        let mut first_rows = vec![0];
        let mut rows = 0;
        for sequence in &sequences {
            rows += sequence.positions(positions).len() as u64;
            first_rows.push(rows);
        }
        let repeated = repeated(&sequences, &first_rows, positions);
        let batch = TokenBatch::new(sequences)?;
        let mut places = vec![0; origins.len()];
        for (place, sequence) in batch.sequences().iter().enumerate() {
            places[sequence.prompt] = place;
        }
        Ok(Self {
            kind,
            units,
            repeated,
            batch,
            places,
            origins,
            positions,
            first_rows,
        })
    }

    /// What the model reads.
    pub fn batch(&self) -> &TokenBatch {
        &self.batch
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.places.len()
    }

    /// Sequence `i` of the input.
    pub fn sequence(&self, i: usize) -> &Sequence {
        &self.batch.sequences()[self.places[i]]
    }

    /// Where sequence `i` comes from.
    pub fn origin(&self, i: usize) -> Origin {
        self.origins[i]
    }

    /// Of each unit a number that all units have that depend on each other: prompts of one relation. Documents stand alone.
    pub fn clusters(&self) -> Vec<usize> {
        match self.kind {
            InputKind::Prompts => (0..self.sequences())
                .map(|i| self.sequence(i).cluster)
                .collect(),
            InputKind::Texts => (0..self.units.len()).collect(),
        }
    }

    /// How many tokens are recorded.
    pub fn rows(&self) -> u64 {
        self.first_rows[self.sequences()]
    }

    /// Bytes that it holds: texts, and of every token its id, its place in the text and whether it is repeated.
    pub fn bytes(&self) -> u64 {
        let texts: usize = self.units.iter().map(|unit| unit.text.len()).sum();
        let token = size_of::<u32>() + size_of::<Option<Range<u32>>>() + size_of::<bool>();
        let sequence = size_of::<Sequence>() + size_of::<Origin>() + 2 * size_of::<u64>();
        (texts + self.batch.tokens() * token + self.sequences() * sequence) as u64
    }

    /// Recorded tokens that repeat an earlier one in the same context.
    pub fn repeated_rows(&self) -> usize {
        self.repeated.iter().filter(|repeated| **repeated).count()
    }

    /// The sequence and the position in it of a recorded row.
    pub fn place(&self, row: u64) -> (usize, usize) {
        let sequence = self.first_rows.partition_point(|first| *first <= row) - 1;
        let within = (row - self.first_rows[sequence]) as usize;
        let recorded = self.sequence(sequence).positions(self.positions);
        (sequence, recorded.start + within)
    }

    /// The recorded tokens of a batch that has some consecutive sequences of the input.
    pub(super) fn recorded(&self, batch: &TokenBatch) -> RecordedRows {
        let mut rows = Vec::new();
        for (place, sequence) in batch.sequences().iter().enumerate() {
            let first = batch.first_row(place);
            rows.extend(self.rows_of(sequence.prompt).map(|row| RecordedRow {
                packed: first + row.position,
                ..row
            }));
        }
        rows.sort_unstable_by_key(|row| (row.sequence, row.position));
        RecordedRows {
            first_row: rows.first().map_or(0, |row| self.first_rows[row.sequence]),
            rows,
        }
    }

    /// All recorded tokens, in order.
    pub fn all_recorded(&self) -> impl Iterator<Item = RecordedRow> + '_ {
        (0..self.sequences()).flat_map(|i| self.rows_of(i))
    }

    fn rows_of(&self, i: usize) -> impl Iterator<Item = RecordedRow> + '_ {
        let sequence = self.sequence(i);
        let rows = self.first_rows[i] as usize..;
        let positions = rows.zip(sequence.positions(self.positions));
        positions.map(move |(row, position)| RecordedRow {
            packed: position,
            sequence: i,
            unit: self.origins[i].unit,
            position,
            role: Role::of(sequence, self.kind, position),
            repeated: self.repeated[row],
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

/// One recorded token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedRow {
    /// Its row in the batch of its pass.
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

impl RecordedRow {
    /// Whether it is the first token of its prompt or window.
    pub fn is_first(&self) -> bool {
        self.position == 0
    }
}

/// The recorded tokens of a pass.
pub struct RecordedRows {
    /// The row of the first one in every file; the others follow.
    pub first_row: u64,
    /// In the order of the input.
    pub rows: Vec<RecordedRow>,
}
