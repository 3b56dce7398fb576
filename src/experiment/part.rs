//! What a run keeps of its passes: one that was ended goes on with it, and several machines can share one.
//!
//! A *part* is what one pass gave. A pass is done where its part is whole; everything else follows from that.

use std::fmt;
use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, TracingOptions};

use crate::hooks::EditCount;

/// Why something could not be kept, or what was kept not be read.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// One walk through the layers, as it was planned: some conditions on some units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPass {
    /// Conditions by their number; the clean one, number 0, stands first in every pass.
    pub conditions: Vec<usize>,
    /// Prompts or windows of text, by their number.
    pub units: Vec<usize>,
}

/// The passes of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Who runs them, where several processes share the run.
    pub sharing: Sharing,
    /// In order.
    pub passes: Vec<PlannedPass>,
    /// sha256 of the neurons that the conditions edit: which ones are drawn may depend on a clean pass, and another
    /// machine must have drawn the same.
    #[serde(default)]
    pub neurons: Option<String>,
}

/// Which process runs the passes of a stage, where several share the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each runs its own.
    Shared,
    /// Each runs all: what follows depends on them.
    Everywhere,
}

/// What one pass gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What the edit of each condition of the pass changed.
    pub edits: Vec<EditCount>,
    /// What was measured; each table in one batch or several of the same columns.
    pub tables: Vec<Vec<RecordBatch>>,
    /// What was written while the pass ran: names of files, beside the tables.
    pub files: Vec<String>,
}

/// What a measure gives of a pass, as a part keeps it.
pub trait Tables: Sized {
    /// As tables.
    ///
    /// # Errors
    /// Rows that no table can hold.
    fn to_tables(&self) -> Result<Vec<Vec<RecordBatch>>, StoreError>;

    /// The same again, to the last bit; nothing where these are tables of something else.
    fn of_tables(tables: &[Vec<RecordBatch>]) -> Option<Self>;
}

impl<R: Serialize + DeserializeOwned> Tables for Vec<R> {
    fn to_tables(&self) -> Result<Vec<Vec<RecordBatch>>, StoreError> {
        let fields = Vec::<FieldRef>::from_type::<R>(TracingOptions::default())?;
        Ok(vec![vec![serde_arrow::to_record_batch(&fields, self)?]])
    }

    fn of_tables(tables: &[Vec<RecordBatch>]) -> Option<Self> {
        let [table] = tables else { return None };
        let mut rows = Vec::new();
        for batch in table {
            rows.extend(serde_arrow::from_record_batch::<Vec<R>>(batch).ok()?);
        }
        Some(rows)
    }
}

impl<A: Tables, B: Tables> Tables for (A, B) {
    fn to_tables(&self) -> Result<Vec<Vec<RecordBatch>>, StoreError> {
        let mut tables = self.0.to_tables()?;
        tables.extend(self.1.to_tables()?);
        Ok(tables)
    }

    fn of_tables(tables: &[Vec<RecordBatch>]) -> Option<Self> {
        let (first, others) = tables.split_first()?;
        Some((
            A::of_tables(std::slice::from_ref(first))?,
            B::of_tables(others)?,
        ))
    }
}

/// Keeps the plan and the parts of a run. Stages and passes are numbered through the run, from 0.
pub trait PartStore {
    /// Which passes are this process's own; none where all are.
    fn shard(&self) -> Option<Shard>;

    /// The passes of a stage as they were planned when the run came to it first; none where it never did.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn planned(&mut self, stage: usize) -> Result<Option<StagePlan>, StoreError>;

    /// Keeps the plan of a stage.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn plan(&mut self, stage: usize, planned: &StagePlan) -> Result<(), StoreError>;

    /// Whether there is something of a pass, whole or not.
    fn has(&self, pass: usize) -> bool;

    /// What a pass gave; nothing where it is not there or not whole.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    fn load(&mut self, pass: usize) -> Result<Option<Part>, StoreError>;

    /// Keeps what a pass gave.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn save(&mut self, pass: usize, part: Part) -> Result<(), StoreError>;
}

/// The share of one process in a run: the passes whose number is `index` modulo `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// How many processes share the run.
    pub count: usize,
}

impl Shard {
    /// Whether a pass is this shard's own.
    pub fn has(self, pass: usize) -> bool {
        pass % self.count == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            _ => Err(format!(
                "`{text}` is no shard; write I/N with I from 0 to N-1, such as 0/8, or slurm in a job array"
            )),
        }
    }
}
