//! What observers are shown of a site.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::error::EngineError;
use super::prefixes::Prefixes;
use super::rows::Rows;
use crate::hooks::{HookError, HookPoint, Selection};
use crate::model::Operations;

/// The selected values of a site `[rows, width]` of which each row stands for tokens ([`Prefixes`]), and how many there
/// are of each token. What is not selected stays where it is.
///
/// # Errors
/// Rows or columns that the site does not have.
pub(super) fn select(
    operations: Operations,
    (point, site): (HookPoint, &Tensor),
    prefixes: &Prefixes<'_>,
    selection: Selection<'_>,
) -> std::result::Result<(Rows, usize), EngineError> {
    let width = site.dim(1)?;
    check(point, (prefixes.batch.tokens(), width), selection)?;
    let columns = selection.columns;
    let columns = columns.filter(|columns| !columns.iter().copied().eq(0..width as u32));
    let shown = columns.map_or(width, <[u32]>::len);
    if shown == 0 || selection.rows.is_some_and(<[_]>::is_empty) {
        // A device refuses operations on nothing.
        let nothing = Tensor::zeros((0, shown), DType::F32, &Device::Cpu)?;
        return Ok((Rows::of(&nothing)?, shown));
    }
    if operations == Operations::Fused {
        return Ok((here(site, prefixes, selection.rows, columns)?, shown));
    }
    let rows = match selection.rows {
        None => prefixes.of_tokens(site)?,
        Some(tokens) => {
            let places: Vec<u32> = tokens.iter().map(|t| prefixes.row(*t) as u32).collect();
            site.index_select(&Tensor::new(places, site.device())?, 0)?
        }
    };
    let rows = match columns {
        None => rows,
        Some(columns) => rows.index_select(&Tensor::new(columns, site.device())?, 1)?,
    };
    Ok((Rows::of(&rows)?, shown))
}

fn check(
    point: HookPoint,
    (tokens, width): (usize, usize),
    selection: Selection<'_>,
) -> std::result::Result<(), EngineError> {
    let last = |places: Option<usize>| places.map_or(0, |last| last + 1);
    let rows = last(selection.rows.and_then(|rows| rows.iter().copied().max()));
    let columns = selection.columns.and_then(|columns| columns.iter().max());
    let columns = last(columns.map(|column| *column as usize));
    if rows <= tokens && columns <= width {
        return Ok(());
    }
    let other = HookError::OtherRows {
        name: point.to_string(),
        row: rows.saturating_sub(1),
        width: columns.max(width),
        found: (tokens, width),
    };
    Err(EngineError::Reader(other.into()))
}

/// The same of a tensor on the CPU, picked by all threads.
fn here(
    site: &Tensor,
    prefixes: &Prefixes<'_>,
    tokens: Option<&[usize]>,
    columns: Option<&[u32]>,
) -> Result<Rows> {
    if tokens.is_none() && columns.is_none() {
        return Rows::of(&prefixes.of_tokens(site)?);
    }
    let all: Vec<usize>;
    let tokens = match tokens {
        Some(tokens) => tokens,
        None => {
            all = (0..prefixes.batch.tokens()).collect();
            &all
        }
    };
    let (width, device) = (site.dim(1)?, site.device().clone());
    let shown = columns.map_or(width, <[u32]>::len);
    let mut picked = vec![0.0; tokens.len() * shown];
    Rows::of(site)?.read(|rows| {
        let picked = picked.par_chunks_exact_mut(shown.max(1)).zip(tokens);
        picked.for_each(|(picked, token)| {
            let row = &rows[prefixes.row(*token) * width..][..width];
            match columns {
                None => picked.copy_from_slice(row),
                Some(columns) => {
                    let values = picked.iter_mut().zip(columns);
                    values.for_each(|(value, column)| *value = row[*column as usize]);
                }
            }
        });
    })?;
    Rows::of(&Tensor::from_vec(picked, (tokens.len(), shown), &device)?)
}
