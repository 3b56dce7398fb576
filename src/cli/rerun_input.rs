//! Whether the model of a run that is made again is the one that it had; no weight is read but for the hash.

use std::path::Path;

use anyhow::Context;

use super::setup::find_model;
use crate::report::{FileHash, ReportError, RunInfo, gone};

/// Finds the model as the run did, and compares its files with those of `run.json`, by name and sha256.
pub fn check_model(folder: &Path, run: &RunInfo) -> anyhow::Result<()> {
    let refused = |why: String| ReportError::Rerun {
        path: folder.to_path_buf(),
        why,
    };
    let recorded = &run.model.files;
    let is_there = |file: &&FileHash| Path::new(&file.path).exists();
    if let Some(file) = recorded.iter().find(|file| !is_there(file))
        && is_local(run)
    {
        let why = gone(&format!("{} of the model", file.path), &file.sha256);
        return Err(refused(why).into());
    }
    let found = find_model(&run.model.id).and_then(|model| Ok(model.sha256()?));
    let found = found.with_context(|| {
        let folder = folder.display();
        format!("cannot run {folder} again: its model is not there as it was")
    })?;
    let hint = revision(run).map_or(String::new(), |revision| {
        format!(" (the run had revision {revision} of {})", run.model.id)
    });
    for file in recorded {
        let of_this_name = found
            .iter()
            .find(|(path, _)| path.file_name() == name(file));
        let Some((path, sha256)) = of_this_name else {
            let why = gone(&format!("{} of the model", file.path), &file.sha256);
            return Err(refused(why + &hint).into());
        };
        if *sha256 != file.sha256 {
            let why = format!(
                "{} is not the file of the model that the run read: its sha256 should be {}, and is {sha256}{hint}",
                path.display(),
                file.sha256
            );
            return Err(refused(why).into());
        }
    }
    let is_recorded = |path: &Path| recorded.iter().any(|file| path.file_name() == name(file));
    if let Some((path, _)) = found.iter().find(|(path, _)| !is_recorded(path)) {
        let why = format!(
            "{} was not among the files of the model when the run was made{hint}",
            path.display()
        );
        return Err(refused(why).into());
    }
    Ok(())
}

fn name(file: &FileHash) -> Option<&std::ffi::OsStr> {
    Path::new(&file.path).file_name()
}

/// Whether the model was named by its place on disk: nothing can be fetched then.
fn is_local(run: &RunInfo) -> bool {
    let id = Path::new(&run.model.id);
    let folder = id.parent().filter(|folder| !folder.as_os_str().is_empty());
    run.model.files.iter().all(|file| {
        let path = Path::new(&file.path);
        path.starts_with(id) || folder.is_some_and(|folder| path.parent() == Some(folder))
    })
}

/// The revision of a model of the hub, from its place in the cache.
fn revision(run: &RunInfo) -> Option<String> {
    let path = Path::new(&run.model.files.first()?.path);
    let mut names = path.iter().skip_while(|name| *name != "snapshots");
    let revision = names.nth(1)?.to_str()?;
    let is_hash = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| revision.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ModelInfo;

    fn run(id: &str, path: &str) -> RunInfo {
        RunInfo {
            model: ModelInfo {
                id: id.to_string(),
                files: vec![FileHash {
                    path: path.to_string(),
                    sha256: String::new(),
                }],
                ..ModelInfo::default()
            },
            ..RunInfo::default()
        }
    }

    #[test]
    fn a_model_is_local_where_its_name_is_its_place() {
        let hub = "/c/hub/models--org--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/config.json";
        for (id, path, local) in [
            ("models/tiny", "models/tiny/config.json", true),
            ("m.gguf", "m.gguf", true),
            ("/m/a-00001-of-2.gguf", "/m/a-00002-of-2.gguf", true),
            ("smollm2-135m", "/c/gatelens/model.gguf", false),
            ("org/tiny", hub, false),
        ] {
            assert_eq!(is_local(&run(id, path)), local, "{id}");
        }
        let revision = revision(&run("org/tiny", hub)).unwrap();
        assert_eq!(revision, "0123456789abcdef0123456789abcdef01234567");
    }
}
