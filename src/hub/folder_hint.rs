//! What a folder is that is no whole model, and the line that makes one of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{ADAPTER, CONFIG, TOKENIZER, WEIGHTS};

/// Weights as PyTorch pickles them: code that runs when it is read, so it is never read here.
const PICKLES: &[&str] = &[".bin", ".pth", ".pt"];

/// Mistral's own layout of its weights.
const CONSOLIDATED: &str = "consolidated";

/// The names of the files in a folder, sorted.
pub(super) fn file_names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// What to do about a folder that lacks the `missing` files, or nothing.
pub(super) fn hint(dir: &Path, missing: &[String]) -> String {
    let files = file_names(dir);
    // Where an index or shards are there, the list of what is missing says all.
    let lacks_weights = missing.iter().any(|name| name.starts_with(WEIGHTS));
    let lacks = |name: &str| missing.iter().any(|missing| missing == name);
    let weights = lacks_weights.then(|| weights_hint(dir, &files)).flatten();
    let slow = ["tokenizer.model", "vocab.json", "spiece.model"];
    let slow = slow
        .into_iter()
        .find(|name| files.iter().any(|file| file == name));
    let tokenizer = match (lacks(TOKENIZER), &weights, slow) {
        (true, None, Some(name)) => Some(format!(
            "\n{name} is the older form of the tokenizer; this line writes {TOKENIZER}:\n  {}",
            python(
                "from transformers import AutoTokenizer as T",
                &format!("T.from_pretrained({0}).save_pretrained({0})", quoted(dir))
            )
        )),
        _ => None,
    };
    weights.or(tokenizer).unwrap_or_default()
}

fn weights_hint(dir: &Path, files: &[String]) -> Option<String> {
    let with = |end: &str| files.iter().find(|file| file.to_lowercase().ends_with(end));
    if files.iter().any(|file| file == ADAPTER) {
        return Some(format!(
            "\nit is an adapter (LoRA), not a model; merge it into its base model first:\n  {}",
            merge_line(dir)
        ));
    }
    if let Some(gguf) = with(".gguf") {
        let path: PathBuf = dir.join(gguf);
        return Some(format!("; to use its GGUF file, give {}", path.display()));
    }
    if files
        .iter()
        .any(|file| file.starts_with(CONSOLIDATED) && file.ends_with(".safetensors"))
    {
        return Some(format!(
            "\n{CONSOLIDATED}.safetensors is Mistral's own layout, which is not read; take the files model-*.safetensors, \
             model.safetensors.index.json and {CONFIG} of the same repository"
        ));
    }
    if let Some(other) = with(".safetensors").filter(|name| !name.contains("-of-")) {
        return Some(format!(
            "; if {other} holds the whole model, name it model.safetensors"
        ));
    }
    let pickle = PICKLES.iter().find_map(|end| with(end))?;
    Some(format!(
        "\n{pickle} holds code that runs when it is read; convert it, where you trust it, and give the new folder:\n  {}",
        python(
            "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T",
            &format!(
                "[X.from_pretrained({}).save_pretrained({}) for X in (M, T)]",
                quoted(dir),
                beside(dir, "safetensors")
            )
        )
    ))
}

/// The line that merges the adapter in `dir` into its base model.
pub(super) fn merge_line(dir: &Path) -> String {
    python(
        "from peft import AutoPeftModelForCausalLM as M; from transformers import AutoTokenizer as T",
        &format!(
            "m = M.from_pretrained({0}); o = {1}; m.merge_and_unload().save_pretrained(o); \
             T.from_pretrained({0}).save_pretrained(o)",
            quoted(dir),
            beside(dir, "merged")
        ),
    )
}

fn python(imports: &str, work: &str) -> String {
    format!("python -c \"{imports}; {work}\"")
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A folder beside `dir`.
fn beside(dir: &Path, what: &str) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    quoted(&dir.with_file_name(format!("{name}-{what}")))
}
