//! Which kind of model a name means.
//!
//! What exists on disk wins over the hub, and what looks like a path is never asked from the hub: a
//! mistyped `./model.gguf` must say that the file is missing.

use std::path::{Path, PathBuf};

use super::alias::{ALIASES, Alias};
use super::error::HubError;
use super::file_error::FileError;
use super::gguf;
use super::plain::{plain_file_name, shown};

/// A name, understood.
#[derive(Debug, PartialEq)]
pub(super) enum ModelName {
    Alias(&'static Alias),
    Gguf(PathBuf),
    Folder(PathBuf),
    Hub(HubName),
}

/// `org/name[/file.gguf][@revision]`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HubName {
    /// `org/name`
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
    /// One GGUF file of the repository; `None` means config, tokenizer and safetensors.
    pub gguf: Option<String>,
}

impl HubName {
    /// The revision, `main` if none is given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// Repository and revision, for messages.
    pub fn label(&self) -> String {
        format!("{}@{}", self.repo, self.revision())
    }
}

/// Understands `model`; looks at the disk, never at the network.
pub(super) fn parse(model: &str) -> Result<ModelName, HubError> {
    if let Some(alias) = ALIASES.iter().find(|alias| alias.name == model) {
        return Ok(ModelName::Alias(alias));
    }
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(ModelName::Folder(path.to_path_buf()));
    }
    if path.exists() {
        return existing_file(path);
    }
    if looks_like_a_path(model) {
        return Err(missing_path(path).into());
    }
    hub_name(model)
        .map(ModelName::Hub)
        .map_err(|reason| HubError::UnknownModel {
            model: model.to_string(),
            reason,
        })
}

fn existing_file(path: &Path) -> Result<ModelName, HubError> {
    if is_gguf(path) || gguf::has_magic(path) {
        return Ok(ModelName::Gguf(path.to_path_buf()));
    }
    let why = "is neither a GGUF file nor a folder; for a safetensors model, give the folder that holds it with \
               config.json and tokenizer.json";
    Err(FileError::unusable(path, why).into())
}

/// Whether a name that exists nowhere on disk was meant as a path all the same.
fn looks_like_a_path(model: &str) -> bool {
    let path = Path::new(model);
    let dotted = model.starts_with(['.', '~']) || model.contains('\\');
    let short_gguf = is_gguf(path) && model.matches('/').count() < 2;
    let in_a_folder = path
        .parent()
        .is_some_and(|parent| parent.components().count() > 1 && parent.is_dir());
    path.is_absolute() || model.ends_with('/') || dotted || short_gguf || in_a_folder
}

fn missing_path(path: &Path) -> FileError {
    let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let why = format!("does not exist (looked in {})", base.display());
    FileError::unusable(path, why)
}

/// Reads a hub name, or says what is wrong with it.
fn hub_name(model: &str) -> Result<HubName, String> {
    let (id, revision) = match model.split_once('@') {
        Some((id, revision)) => (id, Some(checked_revision(revision)?)),
        None => (model, None),
    };
    let segments: Vec<&str> = id.split('/').collect();
    let (repo, file) = segments.split_at(segments.len().min(2));
    if let Some(bad) = repo.iter().find(|part| !is_repo_part(part)) {
        return Err(format!(
            "`{bad}` cannot be part of a repository's name (letters, digits, `.`, `_` and single `-`)"
        ));
    }
    let gguf = match segments.as_slice() {
        [_, _] => None,
        [_, _, _, ..] if is_gguf(Path::new(id)) => {
            let file = file.join("/");
            if !plain_file_name(&file) {
                let file = shown(&file);
                return Err(format!(
                    "`{file}` cannot be the name of a file in a repository"
                ));
            }
            Some(file)
        }
        [_] => return Err("it is no alias, and no file or folder of that name exists".to_string()),
        _ => return Err("a repository's name has two parts, org/name".to_string()),
    };
    Ok(HubName {
        repo: repo.join("/"),
        revision,
        gguf,
    })
}

/// A revision becomes a file name in the cache, so it must not lead out of it.
fn checked_revision(revision: &str) -> Result<String, String> {
    if revision.split('/').all(is_segment) {
        Ok(revision.to_string())
    } else {
        Err(format!("`{revision}` is no branch, tag or commit"))
    }
}

/// Two hyphens stand for `/` in the cache's folder names, so the hub has none in a name.
fn is_repo_part(segment: &str) -> bool {
    is_segment(segment) && !segment.contains("--")
}

fn is_segment(segment: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !segment.is_empty() && !segment.starts_with(['.', '-']) && segment.chars().all(allowed)
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(repo: &str, revision: Option<&str>, gguf: Option<&str>) -> ModelName {
        ModelName::Hub(HubName {
            repo: repo.into(),
            revision: revision.map(Into::into),
            gguf: gguf.map(Into::into),
        })
    }

    #[test]
    fn aliases_and_hub_names() {
        assert_eq!(
            parse("smollm2-135m").unwrap(),
            ModelName::Alias(&ALIASES[0])
        );
        assert_eq!(
            parse("Qwen/Qwen2.5-0.5B").unwrap(),
            hub("Qwen/Qwen2.5-0.5B", None, None)
        );
        assert_eq!(parse("a/b@v1.0").unwrap(), hub("a/b", Some("v1.0"), None));
        assert_eq!(
            parse("a/b@refs/pr/3").unwrap(),
            hub("a/b", Some("refs/pr/3"), None)
        );
        assert_eq!(
            parse("a/b/c.gguf@v1").unwrap(),
            hub("a/b", Some("v1"), Some("c.gguf"))
        );
        assert_eq!(
            parse("a/b/q4/c (1).gguf").unwrap(),
            hub("a/b", None, Some("q4/c (1).gguf"))
        );
    }

    #[test]
    fn what_looks_like_a_path_is_not_asked_from_the_hub() {
        for name in [
            "./x.gguf",
            "../x",
            "/no/such/x.gguf",
            "x.gguf",
            "models/x.gguf",
            "~/m",
            "m/",
        ] {
            let error = parse(name).unwrap_err();
            assert!(
                matches!(error, HubError::File(FileError::Unusable { .. })),
                "{name}: {error}"
            );
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{name} does not exist")),
                "{error}"
            );
        }
    }

    #[test]
    fn other_names_list_the_accepted_forms() {
        for name in [
            "",
            "gpt2",
            "a/b/c",
            "a/b@",
            "a/b@../x",
            "a b/c",
            "a//b",
            "a/..",
            "a--b/c",
            "a/b/../c.gguf",
            "a/b//c.gguf",
            "a/b/%2e%2e%2fc.gguf",
            "a/b/c\u{1b}.gguf",
            "a/b/c.gguf@../../x",
            "a/b@%2e%2e",
            "a/b@v1/../..",
        ] {
            let error = parse(name).unwrap_err();
            assert!(
                matches!(error, HubError::UnknownModel { .. }),
                "{name}: {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains("smollm2-135m, gemma3-270m, qwen2.5-coder-0.5b"),
                "{text}"
            );
            assert!(text.contains("org/name[@revision]"), "{text}");
        }
    }

    #[test]
    fn a_file_of_another_kind_points_to_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        std::fs::write(&path, "").unwrap();
        let error = parse(path.to_str().unwrap()).unwrap_err();
        assert!(error.to_string().contains("give the folder"), "{error}");
    }
}
