//! The names that a model goes by, and whether one of them is a Hugging Face id's.

use std::fmt;

/// A name that a model goes by, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// `org/name[@revision]`, whose files came from the Hugging Face hub.
    HubId(String),
    /// A folder.
    Folder(String),
    /// A GGUF file without its extension.
    File(String),
    /// `_name_or_path` of a `config.json`.
    Config(String),
    /// `general.name` of a GGUF file.
    Gguf(String),
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelName::HubId(name) => write!(f, "Hugging Face id {name}"),
            ModelName::Folder(name) => write!(f, "folder name {name}"),
            ModelName::File(name) => write!(f, "file name {name}"),
            ModelName::Config(name) => write!(f, "_name_or_path {name} in config.json"),
            ModelName::Gguf(name) => write!(f, "general.name {name} in the GGUF file"),
        }
    }
}

impl ModelName {
    /// Whether this is the name of the model with that Hugging Face id. An id must be the same but for case; any other
    /// name must be the same as the id's last part, but for case, `-hf` and the name of a quantization.
    pub(super) fn means(&self, id: &str) -> bool {
        match self {
            ModelName::HubId(_) => self.text().eq_ignore_ascii_case(id),
            _ => plain(self.text()) == plain(id),
        }
    }

    /// Whether all words of the id's last part stand in this name, in their order.
    pub(super) fn holds(&self, id: &str) -> bool {
        let (name, id) = (plain(self.text()), plain(id));
        let mut words = name.split('-');
        id.split('-').all(|word| words.any(|found| found == word))
    }

    /// The name alone, without a revision.
    fn text(&self) -> &str {
        match self {
            ModelName::HubId(name) => name.split('@').next().unwrap_or_default(),
            ModelName::Folder(name)
            | ModelName::File(name)
            | ModelName::Config(name)
            | ModelName::Gguf(name) => name,
        }
    }
}

/// The last part of a path or an id in lower case, with `-` between its words, without quantization and `-hf`.
fn plain(name: &str) -> String {
    let name = name.trim_end_matches('/').to_lowercase();
    let last = name.rsplit('/').next().unwrap_or_default();
    let last = match last.rsplit_once(['-', '.']) {
        Some((stem, end)) if is_quantization(end) => stem,
        _ => last,
    };
    let last = last.replace([' ', '_'], "-");
    last.strip_suffix("-hf").unwrap_or(&last).to_string()
}

/// `f16`, `bf16`, `q4_k_m`, `iq2_xs` and the like, in lower case.
fn is_quantization(end: &str) -> bool {
    let kind = end.trim_start_matches(['b', 'i', 't']);
    let is_float = matches!(end, "f32" | "f16" | "bf16");
    let digits = kind.strip_prefix('q').unwrap_or_default();
    is_float || digits.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::PublishedTables;
    use super::*;

    fn found(name: ModelName) -> Option<String> {
        let ids = PublishedTables::bundled().unwrap().models.into_keys();
        let mut meant = ids.filter(|id| name.means(id));
        let found = meant.next();
        assert_eq!(meant.next(), None, "{name} means two models");
        found
    }

    #[test]
    fn an_id_must_be_the_published_one() {
        for (id, published) in [
            ("allenai/OLMo-1B-hf", Some("allenai/OLMo-1B-hf")),
            ("allenai/olmo-1b-HF@main", Some("allenai/OLMo-1B-hf")),
            ("google/gemma-2-2b", Some("google/gemma-2-2b")),
            ("google/gemma-2-2b-it", None),
            ("someone/gemma-2-2b", None),
            ("gemma-2-2b", None),
            ("allenai/OLMo-1B", None),
        ] {
            let name = ModelName::HubId(id.to_string());
            assert_eq!(found(name).as_deref(), published, "{id}");
        }
        for id in PublishedTables::bundled().unwrap().models.into_keys() {
            assert_eq!(found(ModelName::HubId(id.clone())), Some(id));
        }
    }

    #[test]
    fn other_names_must_be_the_ids_last_part() {
        for (name, published) in [
            ("OLMo-1B-hf", Some("allenai/OLMo-1B-hf")),
            ("olmo-1b", Some("allenai/OLMo-1B-hf")),
            ("llama-2-7b.Q4_K_M", Some("meta-llama/Llama-2-7b-hf")),
            ("Llama-2-7b-hf-F16", Some("meta-llama/Llama-2-7b-hf")),
            ("Llama 3.2 3B", Some("meta-llama/Llama-3.2-3B")),
            ("Llama-3.2-3B.IQ2_XS", Some("meta-llama/Llama-3.2-3B")),
            (
                "mistralai/Mistral-7B-v0.1",
                Some("mistralai/Mistral-7B-v0.1"),
            ),
            ("mistral_7b_v0.1", Some("mistralai/Mistral-7B-v0.1")),
            ("/data/qwen2.5-0.5b-bf16/", Some("Qwen/Qwen2.5-0.5B")),
            ("Yi-6B", Some("01-ai/Yi-6B")),
            ("Llama-3.2-3B-Instruct-Q4_K_M", None),
            ("Llama-2-7b-chat-hf", None),
            ("gemma-2-2b-it", None),
            ("Mistral-7B-Instruct-v0.1", None),
            ("Yi-6B-200K", None),
            ("Qwen2.5-7B-1M", None),
            ("my-OLMo-1B-hf", None),
            ("model", None),
            ("", None),
        ] {
            for kind in [
                ModelName::Folder,
                ModelName::File,
                ModelName::Config,
                ModelName::Gguf,
            ] {
                assert_eq!(
                    found(kind(name.to_string())).as_deref(),
                    published,
                    "{name}"
                );
            }
        }
    }
}
