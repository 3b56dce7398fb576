//! Which files of a folder a run of gatelens wrote: those that its `run.json` lists, by name and sha256.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ReportError;
use super::run_info::{OutputFile, RunInfo, TOOL};

/// The file that marks a folder as a finished run; written last.
pub(super) const RUN: &str = "run.json";

/// The file that marks a folder as a run that is not finished; written first, and gone at the end.
pub(super) const PLAN: &str = "plan.json";

/// The folder of what finished passes gave; gone at the end.
pub(super) const PARTS: &str = "parts";

/// The folder of the run's pictures, which `report` makes.
pub(super) const FIGURES: &str = "figures";

/// Every name that a command writes to a run's folder, or wrote in version 0.1.0.
const NAMES: [&str; 23] = [
    RUN,
    PLAN,
    PARTS,
    "report.html",
    "neurons.parquet",
    "classes.json",
    "outcomes.parquet",
    "outcomes_text.parquet",
    "effects.json",
    "heat_map.svg",
    "rates.parquet",
    "ranking.parquet",
    "curve.json",
    "claims.json",
    "tokens.parquet",
    "activations.parquet",
    "summary.parquet",
    "top_tokens.parquet",
    "class_activity.json",
    "activations.safetensors",
    "activations.partial.safetensors",
    "resume.json",
    "resume.bin",
];

const COMMANDS: [&str; 7] = [
    "classify",
    "ablate",
    "sweep",
    "record",
    "attributes",
    "rank",
    "verify",
];

/// What a folder's `run.json` (or `plan.json`) is.
pub(super) enum Mark {
    /// There is none.
    Absent,
    /// Another program's, or one that cannot be read.
    Foreign,
    /// Ours.
    Ours(Box<RunInfo>),
}

impl Mark {
    /// The mark of this name.
    pub fn read(folder: &Path, name: &str) -> Mark {
        let bytes = match fs::read(folder.join(name)) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Mark::Absent,
            Err(_) => return Mark::Foreign,
        };
        match serde_json::from_slice::<RunInfo>(&bytes) {
            Ok(run) if is_ours(&run) && run.is_unchanged() => Mark::Ours(Box::new(run)),
            _ => Mark::Foreign,
        }
    }

    /// The run, where it is ours.
    pub fn ours(self) -> Option<RunInfo> {
        match self {
            Mark::Ours(run) => Some(*run),
            _ => None,
        }
    }
}

impl RunInfo {
    /// The `run.json` of a finished run.
    ///
    /// # Errors
    /// [`ReportError::NoRun`] for a folder without one, [`ReportError::Rerun`] for a run that was stopped,
    /// [`ReportError::Damaged`] for what gatelens did not write.
    pub fn of_finished(folder: &Path) -> Result<RunInfo, ReportError> {
        let path = || folder.to_path_buf();
        match Mark::read(folder, RUN) {
            Mark::Ours(run) if run.finished => Ok(*run),
            Mark::Absent if !folder.join(PLAN).exists() => Err(ReportError::NoRun { path: path() }),
            Mark::Foreign => Err(ReportError::Damaged {
                path: folder.join(RUN),
                why: "it is not a run.json of gatelens, or not as it was written".to_string(),
            }),
            _ => Err(ReportError::Rerun {
                path: path(),
                why: "it is not finished; go on with it (--resume), or join its shards (gatelens merge)"
                    .to_string(),
            }),
        }
    }
}

/// Version 0.1.0 did not say who wrote it: there the commands and the keys have to do.
fn is_ours(run: &RunInfo) -> bool {
    if run.lists_outputs() {
        run.tool == TOOL
    } else {
        run.tool.is_empty() && COMMANDS.contains(&run.command.as_str())
    }
}

/// The first name in the folder that a run would write and that `run`, if there is one, did not.
pub(super) fn in_the_way(folder: &Path, run: Option<&RunInfo>) -> Option<&'static str> {
    let is_there = |name: &&&str| fs::symlink_metadata(folder.join(name)).is_ok();
    let is_own = |name: &&&str| run.is_some_and(|run| may_own(run, name));
    let names = NAMES.iter();
    names.filter(is_there).find(|name| !is_own(name)).copied()
}

/// Whether a run may have written a file of this name.
fn may_own(run: &RunInfo, name: &str) -> bool {
    let marks = [RUN, PLAN, PARTS].contains(&name);
    // 0.1.0 listed nothing, and nothing of other programs has these names in its folders.
    marks || !run.lists_outputs() || run.outputs.iter().any(|file| file.name == name)
}

/// Whether the file of this name in the folder is as the run wrote it.
pub(super) fn owns(run: &RunInfo, folder: &Path, name: &str) -> bool {
    if name == RUN {
        return true;
    }
    match run.output(name) {
        Some(listed) => is_as_listed(&folder.join(name), listed),
        None => !run.lists_outputs() && NAMES.contains(&name),
    }
}

/// The names of a run's files that are there.
pub(super) fn files(run: &RunInfo, folder: &Path) -> Vec<String> {
    let listed = run.outputs.iter().map(|file| file.name.clone());
    let names: Vec<String> = if run.lists_outputs() {
        listed.collect()
    } else {
        let marks = [RUN, PLAN, PARTS];
        let names = NAMES.iter().filter(|name| !marks.contains(name));
        names.map(|name| name.to_string()).collect()
    };
    let there = names.into_iter().filter(|name| {
        is_within(folder, name)
            && fs::symlink_metadata(folder.join(name)).is_ok_and(|m| m.is_file())
    });
    there.collect()
}

/// Whether a file is of figures.
pub(super) fn is_figure(name: &str) -> bool {
    figure_name(name).is_some()
}

fn figure_name(name: &str) -> Option<&str> {
    name.strip_prefix(FIGURES)?.strip_prefix('/')
}

/// A list that somebody changed, and a link, must not lead out of the folder.
fn is_within(folder: &Path, name: &str) -> bool {
    let is_plain = |name: &str| Path::new(name).file_name() == Some(name.as_ref());
    match figure_name(name) {
        Some(figure) => is_plain(figure) && !folder.join(FIGURES).is_symlink(),
        None => is_plain(name),
    }
}

fn is_as_listed(path: &Path, listed: &OutputFile) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == listed.bytes);
    is_file && sha256_file(path).is_ok_and(|found| found == listed.sha256)
}

/// What the file of this name is, for the list.
pub(super) fn list(folder: &Path, name: &str) -> io::Result<OutputFile> {
    let path = folder.join(name);
    Ok(OutputFile {
        name: name.to_string(),
        bytes: fs::metadata(&path)?.len(),
        sha256: sha256_file(&path)?,
    })
}

/// Why a file is not the one that the run wrote; nothing where it is, or where the run does not say (version 0.1.0).
pub(super) fn damage(run: &RunInfo, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if !run.lists_outputs() {
        return None;
    }
    let Some(listed) = run.output(name) else {
        return Some("run.json does not list it among the files of the run".to_string());
    };
    let bytes = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(why) => return Some(why.to_string()),
    };
    if bytes != listed.bytes {
        let expected = listed.bytes;
        return Some(format!(
            "it has {bytes} bytes, and {expected} were written: it was changed or cut since"
        ));
    }
    match sha256_file(path) {
        Ok(found) if found == listed.sha256 => None,
        Ok(_) => Some(
            "its sha256 is not the one in run.json: it was changed or damaged since".to_string(),
        ),
        Err(why) => Some(why.to_string()),
    }
}

/// The name of a file of a pass in `parts`.
pub(super) fn name_of_pass(pass: usize, ending: &str) -> String {
    format!("{pass:05}{ending}")
}

/// Whether a file in `parts` is one of a pass.
pub(super) fn is_of_pass(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let number_of = |rest: &str| {
        rest.strip_prefix('-')?
            .strip_suffix(".parquet")?
            .parse()
            .ok()
    };
    let is_table = |rest: &str| number_of(rest).is_some_and(|number: usize| number > 0);
    digits >= 5
        && match &name[digits..] {
            ".parquet" | ".part" | "-activations.parquet" | "-activations.safetensors" => true,
            rest => is_table(rest),
        }
}

/// The same file under another name, without its bytes where the file system can do that.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}

/// Of a whole file, lower-case hex.
pub(super) fn sha256_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect())
}
