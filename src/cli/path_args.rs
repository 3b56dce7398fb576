//! The arguments that say by which way what an edit changes reaches the logits.

use clap::Args;
use serde::Serialize;

use crate::hooks::Path;
use crate::tokens::Positions;

/// By which way effects are measured.
#[derive(Args, Serialize)]
pub struct PathArgs {
    /// By which way the change reaches the logits. total: all that comes later sees it. direct: the final norm and the head alone
    /// see it; attention and neurons between read the unedited residual, and a norm after the MLP (Gemma 2 and 3, OLMo 2) divides
    /// as without the edit. both: the two and their difference (indirect), each with its interval; Holm's tests are of the total.
    #[arg(long, default_value = "total", value_name = "total|direct|both")]
    path: Paths,
    /// On the direct path, let the final norm divide by what it does without the edit. What different neurons change of a logit adds
    /// up then.
    #[arg(long)]
    freeze_norm: bool,
}

#[derive(Clone, Copy, PartialEq, Serialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = no_path)]
enum Paths {
    Total,
    Direct,
    Both,
}

fn no_path(text: &str) -> String {
    format!("`{text}` is no path of a change; accepted: total, direct, both")
}

impl PathArgs {
    /// Refuses settings that would do nothing, with edits at `positions`.
    pub fn check(&self, positions: Positions) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.path != Paths::Total || !self.freeze_norm,
            "--freeze-norm is about the direct path, and --path total has none; use --path direct or both, or drop it"
        );
        let reaches_answers = !matches!(positions, Positions::Subject | Positions::SubjectLast);
        anyhow::ensure!(
            self.path == Paths::Total || reaches_answers,
            "the direct path leads from a token to the prediction of the next, and --positions {positions} edits none that an \
             answer follows; use all, not-first or last with --path direct or both"
        );
        Ok(())
    }

    /// The ways, the total one first.
    pub fn paths(&self) -> Vec<Path> {
        let direct = match self.freeze_norm {
            true => Path::DirectFrozenNorm,
            false => Path::Direct,
        };
        match self.path {
            Paths::Total => vec![Path::Total],
            Paths::Direct => vec![direct],
            Paths::Both => vec![Path::Total, direct],
        }
    }

    /// What the direct effects are; nothing where there are none.
    pub fn in_words(&self) -> &'static str {
        match (self.path, self.freeze_norm) {
            (Paths::Total, _) => "",
            (Paths::Direct, false) => " on the direct path",
            (Paths::Direct, true) => " on the direct path with a frozen norm",
            (Paths::Both, false) => " on all paths and on the direct one",
            (Paths::Both, true) => " on all paths and on the direct one with a frozen norm",
        }
    }
}
