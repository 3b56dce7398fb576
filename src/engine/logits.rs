//! Blocks of logits as readers see them, wherever they were computed.

use std::borrow::Cow;

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::scores::{Asked, RowScore, score_row, score_tensor};
use crate::hooks::ReadError;

const OTHER_ROWS: &str = "what is asked, or the unedited logits, are not of the same rows";

/// Some rows of logits, where they were computed.
pub struct LogitBlock<'a> {
    /// The conditions that share these logits, ascending.
    pub conditions: &'a [usize],
    /// Index of the block's first row in [`Readout::rows`](super::Readout::rows).
    pub first: usize,
    /// Values per row.
    pub vocab_size: usize,
    logits: Logits<'a>,
}

pub(super) enum Logits<'a> {
    Here(&'a [f32]),
    OnDevice(Tensor),
}

/// A copy of the logits of a block.
pub struct KeptLogits(Kept);

enum Kept {
    Here(Vec<f32>),
    OnDevice(Tensor),
}

impl<'a> LogitBlock<'a> {
    pub(super) fn new(
        conditions: &'a [usize],
        first: usize,
        logits: Logits<'a>,
        vocab_size: usize,
    ) -> Self {
        Self {
            conditions,
            first,
            vocab_size,
            logits,
        }
    }

    /// A block of some rows, `[rows, vocab_size]`, as a run shows it to a reader.
    pub fn of_rows(
        conditions: &'a [usize],
        first: usize,
        logits: &'a [f32],
        vocab_size: usize,
    ) -> Self {
        Self::new(conditions, first, Logits::Here(logits), vocab_size)
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        match &self.logits {
            Logits::Here(logits) => logits.len() / self.vocab_size.max(1),
            Logits::OnDevice(logits) => logits.dims()[0],
        }
    }

    /// The logits, `[rows of the block, vocab_size]`, row-major. Those of a device are copied from it, which takes long:
    /// where [`scores`](Self::scores) are enough, ask for these.
    ///
    /// # Errors
    /// Those of the device.
    pub fn logits(&self) -> Result<Cow<'a, [f32]>, ReadError> {
        Ok(match &self.logits {
            Logits::Here(logits) => Cow::Borrowed(logits),
            Logits::OnDevice(logits) => {
                let logits = logits.to_dtype(DType::F32)?.flatten_all()?;
                Cow::Owned(logits.to_vec1()?)
            }
        })
    }

    /// What is asked of the rows of the block, one for each, given the logits of the same rows in the unedited run: computed
    /// where the logits are.
    ///
    /// # Errors
    /// Those of the device; other numbers of rows.
    pub fn scores(
        &self,
        asked: &[Asked],
        clean: Option<&KeptLogits>,
    ) -> Result<Vec<RowScore>, ReadError> {
        match (&self.logits, clean.map(|clean| &clean.0)) {
            (Logits::OnDevice(logits), None) => Ok(score_tensor(asked, logits, None)?),
            (Logits::OnDevice(logits), Some(Kept::OnDevice(clean))) => {
                Ok(score_tensor(asked, logits, Some(clean))?)
            }
            (Logits::Here(logits), None) => self.score_rows(asked, logits, None),
            (Logits::Here(logits), Some(Kept::Here(clean))) if clean.len() == logits.len() => {
                self.score_rows(asked, logits, Some(clean))
            }
            _ => Err(OTHER_ROWS.into()),
        }
    }

    fn score_rows(
        &self,
        asked: &[Asked],
        logits: &[f32],
        clean: Option<&[f32]>,
    ) -> Result<Vec<RowScore>, ReadError> {
        let width = self.vocab_size;
        if logits.len() != asked.len() * width {
            return Err(OTHER_ROWS.into());
        }
        let rows = asked.par_iter().enumerate();
        let scores = rows.map(|(row, asked)| {
            let row = row * width..(row + 1) * width;
            score_row(asked, &logits[row.clone()], clean.map(|clean| &clean[row]))
        });
        Ok(scores.collect())
    }

    /// A copy, to compare later blocks with.
    ///
    /// # Errors
    /// Those of the device.
    pub fn keep(&self) -> Result<KeptLogits, ReadError> {
        Ok(KeptLogits(match &self.logits {
            Logits::Here(logits) => Kept::Here(logits.to_vec()),
            // Of these rows alone: `copy` would take those of all streams along.
            Logits::OnDevice(logits) => Kept::OnDevice(logits.force_contiguous()?),
        }))
    }
}
