//! Going on with a run that was stopped: only with the same settings, model and input.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::args::OutputArgs;
use super::stop::Stop;
use crate::report::{OutDir, Overwrite, Placed, ReportError, RunInfo, Start, resume_line};

/// Whether the run goes on.
#[derive(Args, Serialize)]
pub struct ResumeArg {
    /// Go on with the run that was stopped in --out; every other setting must be the same.
    #[arg(long, requires = "out", conflicts_with = "force")]
    pub resume: bool,
}

/// Settings that do not change a result.
const FREE: [&str; 7] = [
    "out",
    "force",
    "json",
    "resume",
    "threads",
    "max_memory",
    "model",
];

/// What of `run.json`, besides the settings, must be the same.
const SAME: [&str; 8] = [
    "/command",
    "/version",
    "/model/files",
    "/tokenizer_sha256",
    "/dtype",
    "/device",
    "/prompts",
    "/texts",
];

/// Where the files go, and from where the run goes on.
pub struct Place {
    pub out: Option<OutDir>,
    pub start: Start,
    /// The run that this one goes on with.
    earlier: Option<RunInfo>,
}

/// Claims the folder before any work is done. With `resume` it may hold a run that is not finished.
pub fn claim(output: &OutputArgs, ResumeArg { resume }: &ResumeArg) -> anyhow::Result<Place> {
    let (Some(path), true) = (output.out.as_deref(), *resume) else {
        return Ok(Place {
            out: output.claim()?,
            start: Start::Anew,
            earlier: None,
        });
    };
    let out = OutDir::claim(path, Overwrite::Resume).map_err(|error| match error {
        ReportError::Finished { path } => anyhow::anyhow!(
            "the run in {} is finished; there is nothing to resume",
            path.display()
        ),
        error => error.into(),
    })?;
    let earlier = out.unfinished();
    let start = match &earlier {
        Some(_) => Start::Resumed,
        None => {
            notice!("nothing was recorded in {}: beginning anew", path.display());
            Start::Anew
        }
    };
    Ok(Place {
        out: Some(out),
        start,
        earlier,
    })
}

/// Says where a run's files are, and where they are not because something is there.
pub fn say_place(placed: &Placed, json: bool) {
    let folder = placed.folder.display();
    if let Some(name) = &placed.occupied {
        notice!(
            "warning: {name} appeared in the folder of --out while the run went on. It stays as it is, and the files of \
             this run are in {folder}"
        );
    }
    if !json {
        outln!("files in {folder}");
    }
}

/// The error, with where the passes are that are through, if any are kept.
pub fn with_parts(error: anyhow::Error, out: &OutDir) -> anyhow::Error {
    if !out.has_parts() {
        return error;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    anyhow::anyhow!(
        "{error:#}\nthe passes that are through are kept in {}. When this is mended, go on with\n  {}",
        out.path().join("parts").display(),
        resume_line(&arguments),
    )
}

impl Place {
    /// Whether the stopped run, if there is one, is this one.
    pub fn check(&self, info: &RunInfo) -> anyhow::Result<()> {
        let Some(earlier) = &self.earlier else {
            return Ok(());
        };
        // Through bytes, so that both have been read from text.
        let value = |run: &RunInfo| anyhow::Ok(serde_json::from_slice(&run.to_json()?)?);
        let differences = differences(&value(earlier)?, &value(info)?);
        anyhow::ensure!(
            differences.is_empty(),
            "--resume goes on with the same run only, and this one differs in\n  {}\nuse the settings of the stopped \
             run (plan.json in the folder), or begin anew with --force and without --resume",
            differences.join("\n  ")
        );
        Ok(())
    }

    /// Marks the folder as a run that is not finished, where it is not marked yet.
    pub fn begin(&self, info: &RunInfo) -> anyhow::Result<()> {
        match (&self.out, self.start) {
            (Some(out), Start::Anew) => Ok(out.begin(info)?),
            _ => Ok(()),
        }
    }

    /// Hears Ctrl-C where something would be kept of the run; elsewhere it ends the program as usual.
    pub fn stop(&self, notice: &'static str) -> std::io::Result<Stop> {
        match self.out {
            Some(_) => Stop::on_signals(notice),
            None => Ok(Stop::default()),
        }
    }
}

/// The error of a run that was stopped after `what` and left it in `folder`: how to go on.
pub fn stopped(what: &str, folder: &Path) -> anyhow::Error {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    anyhow::anyhow!(
        "stopped after {what}, which are kept in {}. Go on with\n  {}",
        folder.display(),
        resume_line(&arguments),
    )
}

fn differences(earlier: &Value, now: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let [then_set, now_set] =
        [earlier, now].map(|run| run["settings"].as_object().unwrap_or(&empty));
    let keys: std::collections::BTreeSet<&String> = then_set.keys().chain(now_set.keys()).collect();
    let absent = Value::Null;
    let of = |settings: &serde_json::Map<String, Value>, key: &String| {
        settings.get(key).unwrap_or(&absent).to_string()
    };
    let settings = keys.into_iter().filter(|key| !FREE.contains(&key.as_str()));
    let settings = settings
        .filter(|key| then_set.get(*key) != now_set.get(*key))
        .map(|key| {
            let flag = key.replace('_', "-");
            format!(
                "--{flag}: {} now, {} then",
                of(now_set, key),
                of(then_set, key)
            )
        });
    let hashes = |run: &Value, place: &str| sha256_only(run.pointer(place).unwrap_or(&absent));
    let others = SAME
        .into_iter()
        .filter(|place| hashes(earlier, place) != hashes(now, place))
        .map(|place| place.trim_start_matches('/').replace('/', " "));
    settings.chain(others).collect()
}

/// Files are the same wherever they lie: of those only the hash counts.
fn sha256_only(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sha256_only).collect(),
        Value::Object(fields) => fields.get("sha256").cloned().unwrap_or(value.clone()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changes_a_result_counts() {
        let run = |top: usize, out: &str, path: &str, hash: &str| {
            json!({
                "command": "record",
                "settings": {"top": top, "out": out, "max_memory": null, "match": "layer"},
                "model": {"files": [{"path": path, "sha256": hash}]},
                "texts": [{"name": path, "sha256": "b"}],
            })
        };
        let earlier = run(16, "a", "x", "1");
        assert!(differences(&earlier, &run(16, "b", "y", "1")).is_empty());
        let found = differences(&earlier, &run(8, "a", "x", "2"));
        assert_eq!(found, ["--top: 8 now, 16 then", "model files"]);
    }
}
