//! The head, at the needed rows alone, in blocks small enough for a vocabulary of 262,144.

use candle_core::{Device, Tensor};

use super::EngineError;
use super::rows::Rows;
use super::stream::Stream;
use crate::model::Model;

/// A block of logits takes this share of the memory for activations: the reader may keep a copy.
pub(super) const BLOCK_SHARE: u64 = 8;

/// Reads the logits of a run.
pub trait Readout {
    /// The batch's rows whose next-token logits are needed.
    fn rows(&self) -> &[usize];

    /// Sees one block of rows under the conditions of one stream. A block is shown for every
    /// stream, in the order of their first conditions, before the next block.
    fn read(&mut self, block: &LogitBlock<'_>);
}

/// Some rows of logits.
pub struct LogitBlock<'a> {
    /// The conditions that share these logits, ascending.
    pub conditions: &'a [usize],
    /// Index of the block's first row in [`Readout::rows`].
    pub first: usize,
    /// `[rows of the block, vocab_size]`, row-major.
    pub logits: &'a [f32],
    /// Values per row.
    pub vocab_size: usize,
}

pub(super) fn read_logits(
    model: &Model,
    streams: &mut [Stream],
    readout: &mut dyn Readout,
) -> Result<(), EngineError> {
    let head = model.head()?; // [vocab, d_model]
    let vocab_size = head.dim(0)?;
    let rows: Vec<u32> = readout.rows().iter().map(|row| *row as u32).collect();
    let block_bytes = model.activation_bytes() / BLOCK_SHARE;
    let block = (block_bytes as usize / (4 * vocab_size)).max(1);
    streams.sort_by_key(|stream| stream.conditions[0]);
    for (index, rows) in rows.chunks(block).enumerate() {
        let places = Tensor::new(rows, &Device::Cpu)?.to_device(model.device())?;
        for stream in streams.iter() {
            let last = stream.residual.index_select(&places, 0)?; // [block, d_model]
            let logits = model.logits(&last, &head)?; // [block, vocab]
            Rows::of(&logits)?.read(|logits| {
                readout.read(&LogitBlock {
                    conditions: &stream.conditions,
                    first: index * block,
                    logits,
                    vocab_size,
                })
            })?;
        }
    }
    Ok(())
}
