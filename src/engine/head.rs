//! The head, at the needed rows alone, in as few walks through it as the memory allows.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::error::EngineError;
use super::finite::check_logits;
use super::logits::{LogitBlock, Logits};
use super::prefixes::Prefixes;
use super::rows::Rows;
use super::stream::Stream;
use crate::hooks::{Condition, ReadError};
use crate::model::{Model, Operations};

/// Reads the logits of a run.
pub trait Readout {
    /// The batch's rows whose next-token logits are needed.
    fn rows(&self) -> &[usize];

    /// Sees one block of rows under the conditions of one stream. A block is shown for every
    /// stream, in the order of their first conditions, before the next block. A copy of one
    /// stream's block may be kept.
    ///
    /// # Errors
    /// Whatever keeps it from going on; the run stops there, with [`EngineError::Reader`].
    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError>;
}

/// What goes through the head together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadShare {
    /// Rows of each stream.
    rows: usize,
    streams: usize,
}

impl HeadShare {
    /// As much as fits the memory beside `held` bytes.
    pub fn of_memory(model: &Model, streams: &[Stream], held: u64) -> HeadShare {
        let config = model.config();
        let residuals = streams.iter().map(|stream| stream.residual.elem_count());
        let residual_bytes = (residuals.sum::<usize>() * model.dtype().size_in_bytes()) as u64;
        // The logits, a block's part of them (on a device all parts), and the row before and after its norm.
        let parts = match model.operations() {
            Operations::Fused => model.head_rows(),
            Operations::Tensors => config.vocab_size,
        };
        let per_row = 4 * (config.vocab_size + parts + 2 * config.d_model) as u64;
        let fit = model.logit_bytes(residual_bytes + held) / per_row;
        // The copy that a reader may keep; on a device also what scores are made of, which take both apart.
        let beside = match model.operations() {
            Operations::Fused => 1,
            Operations::Tensors => 9,
        };
        HeadShare::of_rows(fit as usize, streams.len(), beside)
    }

    /// Where `fit` rows of logits fit: as many rows of all streams, and room for so many `beside` them; where not one
    /// row of all streams does, a row of as many streams.
    fn of_rows(fit: usize, streams: usize, beside: usize) -> HeadShare {
        HeadShare {
            rows: (fit / (streams + beside)).max(1),
            streams: fit.saturating_sub(beside).clamp(1, streams.max(1)),
        }
    }
}

/// Shows a readout its rows of all streams, as much at once as a share has.
pub(super) fn read_logits(
    model: &Model,
    streams: &mut [Stream],
    prefixes: &Prefixes<'_>,
    readout: &mut dyn Readout,
    conditions: &[Condition],
    share: HeadShare,
) -> Result<(), EngineError> {
    let vocab_size = model.config().vocab_size;
    streams.sort_by_key(|stream| stream.conditions[0]);
    let Some(clean) = streams.first().map(|stream| stream.residual.clone()) else {
        return Ok(());
    };
    let rows = readout.rows().to_vec();
    for (index, rows) in rows.chunks(share.rows).enumerate() {
        for streams in streams.chunks(share.streams) {
            let normed = streams
                .iter()
                .map(|stream| stream.normed(model, &clean, rows, prefixes));
            let normed = normed.collect::<Result<Vec<_>, _>>()?; // each [rows, d_model]
            let normed = Tensor::cat(&normed, 0)?;
            let mut show = |stream: &Stream, logits: Logits<'_>| {
                let of_stream = &conditions[stream.conditions[0]];
                check_logits(&logits, of_stream, model.dtype())?;
                let block =
                    LogitBlock::new(&stream.conditions, index * share.rows, logits, vocab_size);
                readout.read(&block).map_err(EngineError::Reader)
            };
            match model.operations() {
                Operations::Fused => logits_here(model, &normed)?.read(|logits| {
                    let of_streams = logits.chunks_exact(rows.len() * vocab_size);
                    let mut shown = streams.iter().zip(of_streams);
                    shown.try_for_each(|(stream, logits)| show(stream, Logits::Here(logits)))
                })??,
                Operations::Tensors => {
                    let logits = logits_there(model, &normed)?;
                    for (place, stream) in streams.iter().enumerate() {
                        let of_stream = logits.narrow(0, place * rows.len(), rows.len())?;
                        show(stream, Logits::OnDevice(of_stream))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Normed rows `[rows, d_model]` to `[rows, vocab_size]`, put together from the head's blocks where they are.
fn logits_there(model: &Model, normed: &Tensor) -> Result<Tensor, EngineError> {
    let parts = model
        .head()?
        .map(|block| model.logits(normed, &block?.weights));
    let parts = parts.collect::<Result<Vec<_>, _>>()?; // each [rows, tokens of the block]
    Ok(Tensor::cat(&parts, 1)?)
}

/// The same in rows of this machine's memory, where they are never in parts and whole at once.
fn logits_here(model: &Model, normed: &Tensor) -> Result<Rows, EngineError> {
    let (rows, vocab_size) = (normed.dim(0)?, model.config().vocab_size);
    let mut logits = Vec::new();
    for block in model.head()? {
        let block = block?;
        let part = model.logits(normed, &block.weights)?; // [rows, tokens of the block]
        let tokens = part.dim(1)?;
        let part = Rows::of(&part)?;
        if tokens == vocab_size {
            return Ok(part);
        }
        logits.resize(rows * vocab_size, 0.0);
        part.read(|part| {
            logits
                .par_chunks_exact_mut(vocab_size)
                .zip(part.par_chunks_exact(tokens))
                .for_each(|(row, part)| {
                    row[block.first..block.first + tokens].copy_from_slice(part);
                });
        })?;
    }
    Ok(Rows::of(&Tensor::from_vec(
        logits,
        (rows, vocab_size),
        &Device::Cpu,
    )?)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions};
    use crate::tokens::{Sequence, TokenBatch};

    /// Keeps the logits' bits in the order in which they are shown, with their places.
    struct Bits {
        rows: Vec<usize>,
        seen: Vec<(usize, usize)>,
        bits: Vec<((usize, usize), Vec<u32>)>,
    }

    impl Readout for Bits {
        fn rows(&self) -> &[usize] {
            &self.rows
        }

        fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
            let first = block.conditions[0];
            self.seen.push((block.first, first));
            for (i, row) in block.logits()?.chunks_exact(block.vocab_size).enumerate() {
                let bits = row.iter().map(|logit| logit.to_bits()).collect();
                self.bits.push(((first, block.first + i), bits));
            }
            Ok(())
        }
    }

    fn model(max_memory: Option<u64>) -> Model {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(vec![goldens.join("tiny-llama/model.gguf")]);
        let options = LoadOptions {
            max_memory,
            ..LoadOptions::default()
        };
        Model::load(Checkpoint::open(&files).unwrap(), options).unwrap()
    }

    fn read(model: &Model, share: Option<HeadShare>) -> Bits {
        let d_model = model.config().d_model;
        let mut streams: Vec<Stream> = (0..3)
            .map(|s| {
                let values = (0..7 * d_model).map(|i| ((i * (s + 3)) as f32 * 0.37).sin());
                let residual =
                    Tensor::from_vec(values.collect(), (7, d_model), &Device::Cpu).unwrap();
                let conditions = vec![2 - s];
                Stream {
                    residual,
                    tail: None,
                    scaled_as: None,
                    conditions,
                }
            })
            .collect();
        let mut bits = Bits {
            rows: vec![6, 0, 3, 4, 1],
            seen: vec![],
            bits: vec![],
        };
        let share = share.unwrap_or_else(|| HeadShare::of_memory(model, &streams, 0));
        let batch = TokenBatch::new(vec![Sequence::of_ids(0, (0..7).collect())]).unwrap();
        read_logits(
            model,
            &mut streams,
            &Prefixes::apart(&batch),
            &mut bits,
            &[Condition::Clean, Condition::Clean, Condition::Clean],
            share,
        )
        .unwrap();
        assert!(
            bits.seen.is_sorted(),
            "every stream before the next rows: {:?}",
            bits.seen
        );
        bits.bits.sort();
        bits
    }

    #[test]
    fn every_share_and_every_block_of_the_head_gives_the_same_bits() {
        let (resident, streamed) = (model(None), model(Some(300 << 20)));
        assert!(streamed.head().unwrap().count() > 1);
        let expected = read(&resident, None).bits;
        assert_eq!(expected.len(), 15);
        for fit in 0..25 {
            let share = Some(HeadShare::of_rows(fit, 3, 1));
            assert!(read(&resident, share).bits == expected, "{share:?}");
            assert!(read(&streamed, share).bits == expected, "{share:?}");
        }
    }

    #[test]
    fn all_streams_go_together_where_a_row_of_each_fits() {
        let share = |rows, streams| HeadShare { rows, streams };
        assert_eq!(HeadShare::of_rows(100, 4, 1), share(20, 4));
        assert_eq!(HeadShare::of_rows(5, 4, 1), share(1, 4));
        assert_eq!(HeadShare::of_rows(3, 4, 1), share(1, 2));
        assert_eq!(HeadShare::of_rows(0, 4, 1), share(1, 1));
    }
}
