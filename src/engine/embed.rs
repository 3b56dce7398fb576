//! What the first layer sees: embeddings, with the noise of the prompts that have some.

use candle_core::Tensor;

use super::error::EngineError;
use super::prefixes::Prefixes;
use crate::model::Model;

/// The embeddings of the rows, with noise: `[rows, d_model]`.
pub(super) fn embed(model: &Model, prefixes: &Prefixes<'_>) -> Result<Tensor, EngineError> {
    let embeddings = model.embed(&prefixes.ids())?; // [rows, d_model]
    let d_model = model.config().d_model;
    let (mut rows, mut noise): (Vec<u32>, Vec<f32>) = Default::default();
    for (index, sequence) in prefixes.batch.sequences().iter().enumerate() {
        let (Some(of_sequence), noised) = (&sequence.noise, sequence.noised()) else {
            continue;
        };
        let first = prefixes.batch.first_row(index);
        noise.extend(of_sequence.rows(noised.len(), d_model));
        rows.extend(noised.map(|position| prefixes.row(first + position) as u32));
    }
    if rows.is_empty() {
        return Ok(embeddings);
    }
    let noise = Tensor::from_vec(noise, (rows.len(), d_model), embeddings.device())?;
    let rows = Tensor::new(rows, embeddings.device())?;
    let noise = noise.to_dtype(embeddings.dtype())?; // [noised rows, d_model]
    Ok(embeddings.index_add(&rows, &noise, 0)?)
}
