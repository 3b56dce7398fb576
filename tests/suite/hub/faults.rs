//! A hub that fails for a while, or for good: tried again, gone on where it broke, and never waited for without end.

use std::cell::RefCell;
use std::fs;
use std::time::{Duration, Instant};

use gatelens::hub::{DownloadProgress, HubError, locate_with};

use super::server::{Fault, Hub, etag};
use super::{COMMIT_A, SHARDED, SINGLE, locate, offline, setup, text, weights};

fn status(line: &'static str) -> Fault {
    Fault::Status(line, String::new())
}

/// Hears the notes.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl DownloadProgress for Notes {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self, _what: &str) {}
    fn note(&self, message: &str) {
        self.0.borrow_mut().push(message.to_string());
    }
}

#[test]
fn what_passes_is_tried_again_and_said() {
    for fault in [
        status("500 Internal Server Error"),
        status("502 Bad Gateway"),
        status("503 Service Unavailable"),
        status("504 Gateway Timeout"),
        status("408 Request Timeout"),
        status("429 Too Many Requests"),
        Fault::Hangup,
        Fault::Silence,
        Fault::Cut(3),
    ] {
        for method in ["HEAD", "GET"] {
            let (hub, _home, config) = setup();
            hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
            hub.fail(method, "model.safetensors", 2, fault.clone());
            let notes = Notes::default();
            let model = locate_with("org/tiny", &config, &notes).unwrap();
            assert_eq!(weights(&model), ["weights"]);
            // A cut body is none of the answer about a file.
            if !(method == "HEAD" && matches!(fault, Fault::Cut(_))) {
                let notes = notes.0.borrow();
                assert_eq!(notes.len(), 2, "{notes:?}");
                assert!(notes[0].contains("org/tiny/model.safetensors"), "{notes:?}");
                assert!(
                    notes[1].contains("trying again in 0 s (2 of 3)"),
                    "{notes:?}"
                );
            }
        }
    }
}

#[test]
fn what_does_not_pass_is_not_tried_again() {
    for line in [
        "400 Bad Request",
        "410 Gone",
        "451 Unavailable For Legal Reasons",
    ] {
        let (hub, _home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail("", "tokenizer.json", 1, status(line));
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains(&line[..3]), "{error}");
        assert!(error.contains("tokenizer.json of org/tiny@main"), "{error}");
    }
}

#[test]
fn the_last_cause_is_told_when_all_tries_fail() {
    let (hub, _home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    hub.fail("", "config.json", 99, status("503 Service Unavailable"));
    let error = locate("org/tiny", &config).unwrap_err().to_string();
    for words in [
        "503",
        "tried 4 times",
        &hub.endpoint(),
        "running the command again",
    ] {
        assert!(error.contains(words), "{words} in {error}");
    }
    assert_eq!(hub.with(|state| state.requests.len()), 4);
}

#[test]
fn a_hub_that_asks_for_a_pause_gets_it_up_to_a_bound() {
    let (hub, _home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let busy =
        |wait: &str| Fault::Status("429 Too Many Requests", format!("Retry-After: {wait}\r\n"));
    hub.fail("", "config.json", 1, busy("1"));
    let start = Instant::now();
    locate("org/tiny", &config).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    hub.commit("org/other", "main", COMMIT_A, &SINGLE);
    hub.fail("", "config.json", 1, busy("Fri, 31 Dec 9999 23:59:59 GMT"));
    let start = Instant::now();
    let error = locate("org/other", &config).unwrap_err().to_string();
    assert!(
        error.contains("429") && error.contains("asks to be left alone"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_broken_connection_goes_on_at_the_byte_where_it_broke() {
    let (hub, home, config) = setup();
    hub.commit("org/big", "main", COMMIT_A, &SHARDED);
    hub.fail("GET", "model-00002.safetensors", 2, Fault::Cut(5));
    let model = locate("org/big", &config).unwrap();
    assert_eq!(weights(&model), ["first shard", "second shard"]);
    assert_eq!(hub.firsts("model-00002.safetensors"), [0, 5, 10]);
    assert_eq!(leftovers(&home), Vec::<String>::new());
}

#[test]
fn a_damaged_part_of_an_earlier_download_is_fetched_anew() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let blobs = home.path().join("hub/models--org--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let etag = etag(b"weights", true);
    for (part, firsts) in [
        ("wei", vec![3]),
        ("bad", vec![3, 0]),
        ("much too long", vec![0]),
    ] {
        let _ = fs::remove_dir_all(home.path().join("hub/models--org--tiny/snapshots"));
        let _ = fs::remove_file(blobs.join(&etag));
        hub.recover();
        fs::write(blobs.join(format!("{etag}.incomplete")), part).unwrap();
        assert_eq!(weights(&locate("org/tiny", &config).unwrap()), ["weights"]);
        assert_eq!(hub.firsts("model.safetensors"), firsts, "{part}");
    }
}

#[test]
fn a_damaged_blob_is_fetched_anew_before_it_is_linked() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let blobs = home.path().join("hub/models--org--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(etag(b"weights", true)), "damaged").unwrap();
    assert_eq!(weights(&locate("org/tiny", &config).unwrap()), ["weights"]);
}

#[test]
fn a_damaged_cached_file_of_the_right_size_is_found() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let model = locate("org/tiny", &config).unwrap();
    let blobs = home.path().join("hub/models--org--tiny/blobs");
    fs::write(blobs.join(etag(b"weights", true)), "weightz").unwrap();
    let error = model.sha256().unwrap_err();
    assert!(matches!(error, HubError::Mismatch { .. }), "{error}");
    for words in ["model.safetensors", "delete", "run the command again"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    // Small files are compared at each start.
    fs::write(blobs.join(etag(b"{}", false)), "[]").unwrap();
    let error = locate("org/tiny", &offline(&home)).unwrap_err();
    assert!(matches!(error, HubError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[test]
fn a_hub_that_never_answers_or_never_ends_is_given_up() {
    for (method, fault) in [
        ("HEAD", Fault::Silence),
        ("GET", Fault::Silence),
        ("GET", Fault::Trickle),
    ] {
        let (hub, home, config) = setup();
        hub.commit(
            "org/tiny",
            "main",
            COMMIT_A,
            &[("config.json", &"x".repeat(2000))],
        );
        hub.fail(method, "config.json", 99, fault);
        let start = Instant::now();
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(start.elapsed() < Duration::from_secs(8), "{error}");
        assert!(error.contains("tried 4 times"), "{error}");
        assert!(locate("org/tiny", &offline(&home)).is_err());
    }
}

#[test]
fn no_more_bytes_are_taken_than_announced() {
    for file in ["config.json", "model.safetensors"] {
        let (hub, home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail("GET", file, 99, Fault::Endless);
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains("it sends more than the"), "{error}");
        let most = fs_bytes(&home.path().join("hub"));
        assert!(most < 1000, "{most}");
    }
}

fn fs_bytes(dir: &std::path::Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                fs_bytes(&entry.path())
            } else {
                entry.path().symlink_metadata().unwrap().len()
            }
        })
        .sum()
}

/// Blobs that are not under their final name.
fn leftovers(home: &tempfile::TempDir) -> Vec<String> {
    let mut found = Vec::new();
    for repo in fs::read_dir(home.path().join("hub")).unwrap().flatten() {
        for blob in fs::read_dir(repo.path().join("blobs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = blob.file_name().into_string().unwrap();
            found.extend(Some(name).filter(|name| name.contains('.')));
        }
    }
    found
}

#[test]
fn of_two_at_once_each_has_the_model_and_it_is_sent_once() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let models: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| locate("org/tiny", &config).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(models.iter().all(|model| weights(model) == ["weights"]));
    assert_eq!(hub.firsts("model.safetensors").len(), 1);
    assert_eq!(leftovers(&home), Vec::<String>::new());
}

#[test]
fn who_waits_for_another_process_says_so() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    // As huggingface_hub holds it.
    let locks = home.path().join("hub/.locks/models--org--tiny");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", etag(b"weights", true)))).unwrap();
    lock.lock().unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(lock);
    });
    let notes = Notes::default();
    locate_with("org/tiny", &config, &notes).unwrap();
    release.join().unwrap();
    let notes = notes.0.borrow();
    assert!(
        notes[0].contains("another process is fetching org/tiny/model.safetensors"),
        "{notes:?}"
    );
}

#[test]
fn all_parts_of_a_split_gguf_file_come() {
    let (hub, home, config) = setup();
    let files = [
        ("m-00001-of-00002.gguf", "one"),
        ("m-00002-of-00002.gguf", "two"),
    ];
    hub.commit("org/split", "main", COMMIT_A, &files);
    locate("org/split/m-00001-of-00002.gguf", &config).unwrap();
    let snapshot = home
        .path()
        .join("hub/models--org--split/snapshots")
        .join(COMMIT_A);
    assert_eq!(text(&snapshot.join("m-00002-of-00002.gguf")), "two");
    hub.commit("org/torn", "main", COMMIT_A, &files[..1]);
    let error = locate("org/torn/m-00001-of-00002.gguf", &config).unwrap_err();
    assert!(
        error.to_string().contains("no m-00002-of-00002.gguf"),
        "{error}"
    );
}

#[test]
fn a_hub_that_is_not_there_is_tried_again() {
    let (hub, _home, config) = setup();
    drop(hub);
    let error = locate("org/tiny", &config).unwrap_err().to_string();
    assert!(error.contains("tried 4 times"), "{error}");
    let _ = Hub::start();
}
