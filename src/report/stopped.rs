//! What a stopped run leaves beside its table, and how it is read again: the passes that are done, as JSON. Their
//! numbers are in the table itself.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::types::{Float64Type, UInt32Type};

use super::ReportError;
use super::table::{batches, column, text_column};
use crate::experiment::{Arm, Earlier, EarlierText, Passes, Score, TokenScore};

/// The file beside the table of a stopped run; gone when the run is finished.
pub const RESUME: &str = "resume.json";

/// What a stopped `ablate` or `sweep` left in `folder`.
///
/// # Errors
/// [`ReportError::Resume`] for a file that is missing or damaged.
pub fn stopped_ablation(folder: &Path) -> Result<Earlier, ReportError> {
    Ok(Earlier {
        passes: passes(folder)?,
        scores: rows(&folder.join("outcomes.parquet"), edited_scores)?,
    })
}

/// What a stopped `ablate --text` left in `folder`, where its rows are in `table`.
pub(super) fn stopped_text(folder: &Path, table: &str) -> Result<EarlierText, ReportError> {
    Ok(EarlierText {
        passes: passes(folder)?,
        scores: rows(&folder.join(table), token_scores)?,
    })
}

/// The passes of a stopped run, done and to come.
pub(super) fn passes(folder: &Path) -> Result<Passes, ReportError> {
    let path = folder.join(RESUME);
    let text = std::fs::read(&path).map_err(|why| unreadable(&path, why))?;
    serde_json::from_slice(&text).map_err(|why| unreadable(&path, why))
}

/// The rows of a table, in their order.
fn rows<T>(
    path: &Path,
    read: fn(&RecordBatch) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, ReportError> {
    let mut rows = Vec::new();
    for batch in batches(path).map_err(|why| unreadable(path, why))? {
        let batch = batch.map_err(|why| unreadable(path, why))?;
        rows.extend(read(&batch).map_err(|why| unreadable(path, why))?);
    }
    Ok(rows)
}

/// The scores of all rows but the clean ones.
fn edited_scores(batch: &RecordBatch) -> Result<Vec<Score>, String> {
    let float = |name| column::<Float64Type>(batch, name);
    let uint = |name| column::<UInt32Type>(batch, name);
    let [target, first] = [float("target_logprob")?, float("first_logprob")?];
    let [entropy, kl] = [float("entropy")?, float("kl")?];
    let [rank, top] = [uint("first_rank")?, uint("top_token_id")?];
    let arms = text_column(batch, "arm")?;
    let edited = (0..batch.num_rows()).filter(|&row| arms.value(row) != Arm::Clean.as_str());
    Ok(edited
        .map(|row| Score {
            target_logprob: target.value(row),
            first_logprob: first.value(row),
            first_rank: rank.value(row),
            entropy_nats: entropy.value(row),
            kl_nats: kl.value(row),
            top_token: top.value(row),
        })
        .collect())
}

fn token_scores(batch: &RecordBatch) -> Result<Vec<TokenScore>, String> {
    let float = |name| column::<Float64Type>(batch, name);
    let [loss, entropy, scale] = [float("loss")?, float("entropy")?, float("log_scale")?];
    let rank = column::<UInt32Type>(batch, "rank")?;
    let rows = 0..batch.num_rows();
    Ok(rows
        .map(|row| TokenScore {
            loss_nats: loss.value(row),
            entropy_nats: entropy.value(row),
            rank: rank.value(row),
            log_scale: scale.value(row),
        })
        .collect())
}

fn unreadable(path: &Path, why: impl ToString) -> ReportError {
    ReportError::Resume {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
