//! Numbers of neurons that are taken from elsewhere: from a folder that `record` wrote, or from the run's own clean pass.

use std::path::Path;

use serde::Serialize;

use super::setup::Opened;
use super::table::Digits;
use super::table::count;
use crate::experiment::{CleanReference, PatchDirection};
use crate::hooks::EditCount;
use crate::report::{Reading, RecordedFolder};

/// A folder that `record` wrote with this model and tokenizer, and as this run reads.
pub fn open_recording(
    dir: &Path,
    opened: &Opened,
    reading: &Reading<'_>,
) -> anyhow::Result<RecordedFolder> {
    let folder = RecordedFolder::open(dir)?;
    folder.check(&opened.located.sha256()?, opened.tokenizer.sha256())?;
    folder.check_settings(reading)?;
    if folder.is_unchecked() {
        notice!(
            "warning: {} was recorded by gatelens 0.1.0, which wrote no sha256 of its files: they are taken as they are",
            folder.path().display()
        );
    }
    Ok(folder)
}

/// A folder that numbers of neurons were read from.
#[derive(Serialize)]
pub struct Recorded {
    source: &'static str,
    folder: String,
    /// Of the file that was read.
    summary_sha256: String,
    tokens: u64,
}

impl Recorded {
    /// What was read of `folder` is over `tokens` tokens.
    pub fn of(folder: &RecordedFolder, tokens: u64) -> anyhow::Result<Self> {
        Ok(Self {
            source: "recorded",
            folder: folder.path().display().to_string(),
            summary_sha256: folder.summary_sha256()?,
            tokens,
        })
    }

    /// Says in a line where `what` is from.
    pub fn print(&self, what: &str) {
        let (tokens, folder) = (count(self.tokens as usize), &self.folder);
        outln!("{what}: over {tokens} tokens, recorded in {folder}");
    }
}

/// Says in a line which values of the clean pass a mode took.
pub fn print_clean(clean: CleanReference) {
    match clean {
        CleanReference::CleanMeans { prompts, tokens } => outln!(
            "means: over {} tokens, the clean pass over all {} prompts",
            count(tokens as usize),
            count(prompts)
        ),
        CleanReference::Donors { prompts, seed } => outln!(
            "donors: each of the {} prompts takes the values of another one at the same role (seed {seed})",
            count(prompts)
        ),
        CleanReference::Counterfactuals { prompts, direction } => outln!(
            "pairs: {} ({direction})",
            match direction {
                PatchDirection::Noise => format!(
                    "each of the {} facts takes the values of its counterfactual at the same role",
                    count(prompts)
                ),
                PatchDirection::Denoise => format!(
                    "each of the {} counterfactuals takes the values of its fact at the same role; `clean` below is the \
                     counterfactual, unedited",
                    count(prompts)
                ),
            }
        ),
        CleanReference::Noise {
            prompts,
            seeds,
            scale,
            embedding_sd,
            noise_sd,
            direction,
        } => {
            let [embedding_sd, noise_sd] =
                [embedding_sd, noise_sd].map(|sd| Digits::Size.number(sd));
            outln!(
                "noise: of {scale} standard deviations ({scale} × {embedding_sd} = {noise_sd}) of the embeddings of the subjects' \
                 tokens, {seeds} seeds, the same for all arms; a fact's number is the mean over them\npairs: {} ({direction})",
                match direction {
                    PatchDirection::Noise => format!(
                        "each of the {} facts takes the values of itself with noise",
                        count(prompts)
                    ),
                    PatchDirection::Denoise => format!(
                        "each of the {} facts with noise takes the values of itself without; `clean` below is the fact with \
                         noise, unedited",
                        count(prompts)
                    ),
                }
            );
        }
    }
}

/// Says which values an edit reached and could not change.
pub fn warn_of_values_kept(edits: &EditCount) {
    let reasons = [
        (
            edits.no_sign,
            "their gate or up is exactly 0, in no sign case",
        ),
        (
            edits.no_reference,
            "the reference has no value for them: it never saw their neuron, or never in their sign case (a larger one has \
             more), or the counterfactual has no such role",
        ),
    ];
    for (kept, reason) in reasons.into_iter().filter(|(kept, _)| *kept > 0) {
        let [kept, touched] = [kept, edits.touched].map(|values| count(values as usize));
        notice!("warning: {kept} of {touched} values stayed as they were: {reason}");
    }
}
