//! A hub that lies, or that sends us elsewhere: nothing is written outside the cache, and the token stays at home.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatelens::hub::{FileError, HubError};
use tempfile::TempDir;

use super::server::{Fault, Hub};
use super::{COMMIT_A, COMMIT_B, SHARDED, SINGLE, config, locate, setup, weights};

/// Every file under `dir` with its content, except in the folder `hub`.
fn outside(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("hub") {
            found.extend(outside(&path));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Neither a commit nor an ETag may be a path.
#[test]
fn names_that_lead_elsewhere_are_refused_before_anything_is_written() {
    let victim = tempfile::tempdir().unwrap();
    let absolute = victim.path().join("victim");
    fs::write(&absolute, "precious").unwrap();
    let absolute = absolute.to_str().unwrap();
    for header in ["ETag", "X-Linked-Etag", "X-Repo-Commit"] {
        for value in [
            "../../../../victim",
            "..",
            absolute,
            "%2e%2e%2fvictim",
            "..\\..\\victim",
            "0123456789abcdef0123456789abcdef012345/7",
            "0123456789abcdef0123456789abcdef0123456g",
            "short",
        ] {
            let value = match header {
                "X-Repo-Commit" => value.to_string(),
                _ => format!("\"{value}\""),
            };
            let (hub, home, config) = setup();
            fs::write(home.path().join("victim"), "precious").unwrap();
            hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
            hub.fail("", "config.json", 99, Fault::Header(header, value.clone()));
            let error = locate("org/tiny", &config).unwrap_err();
            assert!(
                matches!(error, HubError::BadAnswer { .. }),
                "{header} {value}: {error}"
            );
            let error = error.to_string();
            assert!(error.contains("config.json of org/tiny@main"), "{error}");
            assert!(error.contains("HF_ENDPOINT"), "{error}");
            assert_eq!(outside(home.path()).len(), 1);
            assert!(!home.path().join("hub").exists(), "{header} {value}");
            assert_eq!(fs::read(absolute).unwrap(), b"precious");
        }
    }
}

#[test]
fn an_etag_may_be_weak_or_bare() {
    let etag = super::server::etag(b"{}", false);
    for value in [etag.clone(), format!("W/\"{etag}\"")] {
        let (hub, _home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail("", "config.json", 99, Fault::Header("ETag", value));
        locate("org/tiny", &config).unwrap();
    }
}

#[test]
fn an_answer_must_be_of_the_commit_that_was_asked_for() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    hub.fail(
        "",
        "tokenizer.json",
        99,
        Fault::Header("X-Repo-Commit", COMMIT_B.into()),
    );
    let error = locate("org/tiny", &config).unwrap_err().to_string();
    assert!(
        error.contains(COMMIT_A) && error.contains(COMMIT_B),
        "{error}"
    );
    assert!(!home.path().join("hub/models--org--tiny/refs").exists());
}

#[test]
fn what_an_answer_lacks_is_named() {
    for (header, words) in [
        ("X-Repo-Commit", "X-Repo-Commit"),
        ("ETag", "no hash of the file"),
        ("Content-Length", "how large"),
    ] {
        let (hub, _home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail(
            "HEAD",
            "model.safetensors",
            99,
            Fault::Header(header, String::new()),
        );
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_config_of_gigabytes_is_refused_by_what_it_announces() {
    for (file, bytes) in [
        ("config.json", "6442450944"),
        ("tokenizer.json", "99999999999"),
    ] {
        let (hub, home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail(
            "HEAD",
            file,
            99,
            Fault::Header("Content-Length", bytes.into()),
        );
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains(bytes) && error.contains(file), "{error}");
        assert!(hub.firsts(file).is_empty());
        assert!(locate("org/tiny", &super::offline(&home)).is_err());
    }
}

#[test]
fn another_size_than_announced_and_compressed_bytes_are_refused() {
    for (header, value, words) in [
        ("Content-Length", "3", "announced a file of 7 bytes"),
        ("Content-Encoding", "gzip", "compressed"),
    ] {
        let (hub, _home, config) = setup();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        hub.fail(
            "GET",
            "model.safetensors",
            99,
            Fault::Header(header, value.into()),
        );
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// A small file goes by its git hash.
#[test]
fn small_files_are_checked_as_large_ones_are() {
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001.safetensors",
    ] {
        let (hub, home, config) = setup();
        hub.commit("org/big", "main", COMMIT_A, &SHARDED);
        hub.fail("GET", file, 1, Fault::Garble);
        let error = locate("org/big", &config).unwrap_err();
        assert!(matches!(error, HubError::Mismatch { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("{file} of org/big@main")),
            "{error}"
        );
        let pointer = home
            .path()
            .join("hub/models--org--big/snapshots")
            .join(COMMIT_A)
            .join(file);
        assert!(!pointer.exists());
        locate("org/big", &config).unwrap();
    }
}

fn authorizations(hub: &Hub) -> Vec<Option<String>> {
    hub.with(|state| {
        let asked = state.requests.iter();
        asked.map(|asked| asked.authorization.clone()).collect()
    })
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let (hub, home, mut config) = setup();
    let store = Hub::start();
    for server in [&hub, &store] {
        server.commit("org/gated", "main", COMMIT_A, &SINGLE);
    }
    hub.with(|state| {
        state.token.insert("org/gated".into(), "hf_right".into());
        state.elsewhere = Some(store.endpoint());
    });
    config.token = Some("hf_right".into());
    assert_eq!(weights(&locate("org/gated", &config).unwrap()), ["weights"]);
    assert!(
        authorizations(&hub)
            .iter()
            .all(|sent| sent.as_deref() == Some("Bearer hf_right"))
    );
    // The same host at another port is another server.
    assert_eq!(authorizations(&store), [None]);

    // Sent back from there, it is not sent again.
    let _ = fs::remove_dir_all(home.path().join("hub"));
    let back = format!(
        "Location: {}/org/gated/resolve/{COMMIT_A}/model.safetensors?back\r\n",
        hub.endpoint()
    );
    store.fail(
        "GET",
        "model.safetensors",
        99,
        Fault::Status("302 Found", back),
    );
    hub.recover();
    let error = locate("org/gated", &config).unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    assert_eq!(authorizations(&hub).last(), Some(&None));
}

#[test]
fn a_redirect_within_the_hub_keeps_the_token() {
    let (hub, _home, mut config) = setup();
    hub.commit("org/new", "main", COMMIT_A, &SINGLE);
    hub.with(|state| state.token.insert("org/new".into(), "hf_right".into()));
    config.token = Some("hf_right".into());
    for (file, _) in &SINGLE[..3] {
        let location = format!("Location: /org/new/resolve/main/{file}\r\n");
        hub.commit("org/old", "main", COMMIT_A, &[(*file, "")]);
        // The first request of each kind is for the old name.
        hub.fail(
            "HEAD",
            file,
            1,
            Fault::Status("307 Temporary Redirect", location.clone()),
        );
        hub.fail(
            "GET",
            file,
            1,
            Fault::Status("307 Temporary Redirect", location),
        );
    }
    assert!(locate("org/old", &config).is_ok());
}

#[test]
fn redirects_in_a_circle_or_to_nowhere_end() {
    let (hub, _home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    for (location, words) in [
        (
            "/org/tiny/resolve/main/config.json".to_string(),
            "in a circle",
        ),
        ("file:///etc/passwd".to_string(), "no http or https URL"),
        (String::new(), "does not say where to"),
        ("https://\u{1b}[2J/".to_string(), "its answer is no HTTP"),
    ] {
        hub.recover();
        let header = match location.as_str() {
            "" => String::new(),
            _ => format!("Location: {location}\r\n"),
        };
        hub.fail("", "config.json", 99, Fault::Status("302 Found", header));
        let error = locate("org/tiny", &config).unwrap_err().to_string();
        assert!(error.contains(words), "{words} in {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert!(hub.with(|state| state.requests.len()) <= 11);
    }
    // Each to another place: a chain of eleven.
    hub.recover();
    for n in 0..12 {
        let file: &'static str = if n == 0 {
            "config.json"
        } else {
            Box::leak(format!("f{n}").into_boxed_str())
        };
        let location = format!("Location: f{}\r\n", n + 1);
        hub.fail("", file, 99, Fault::Status("302 Found", location));
    }
    let error = locate("org/tiny", &config).unwrap_err().to_string();
    assert!(error.contains("more than 10 times"), "{error}");
    assert_eq!(hub.with(|state| state.requests.len()), 11);
}

#[test]
fn neither_the_token_nor_the_endpoints_password_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config(&home, "http://ada:geheim@127.0.0.1:1");
    config.token = Some("hf_secret".into());
    let error = locate("org/tiny", &config).unwrap_err();
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{config:?}"),
    ] {
        assert!(
            !text.contains("geheim") && !text.contains("hf_secret"),
            "{text}"
        );
    }
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
}

#[cfg(unix)]
fn linked(home: &TempDir, place: &str, target: &Path) {
    let path = home.path().join("hub/models--org--tiny").join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

#[cfg(unix)]
#[test]
fn links_in_the_cache_do_not_lead_what_is_written_out_of_it() {
    let etag = super::server::etag(b"weights", true);
    let part = format!("blobs/{etag}.incomplete");
    let snapshot = format!("snapshots/{COMMIT_A}");
    for place in ["blobs", "snapshots", "refs", &snapshot, &part] {
        let (hub, home, config) = setup();
        let other = tempfile::tempdir().unwrap();
        let file = other.path().join("victim");
        fs::write(&file, "precious").unwrap();
        hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
        let target = if place == part {
            file.as_path()
        } else {
            other.path()
        };
        linked(&home, place, target);
        let error = locate("org/tiny", &config).unwrap_err();
        assert!(
            matches!(error, HubError::StrangeLink { .. }),
            "{place}: {error}"
        );
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1, "{place}");
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}

#[cfg(unix)]
#[test]
fn a_reference_that_is_no_commit_is_not_followed() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let refs = home.path().join("hub/models--org--tiny/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), "../../../..").unwrap();
    let model = locate("org/tiny", &config).unwrap();
    assert_eq!(model.revision.as_deref(), Some(COMMIT_A));
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), COMMIT_A);
}

/// Of all that a hub answers, a user sees little, and nothing that a terminal would act on.
#[test]
fn a_servers_own_words_are_cut_and_escaped() {
    let (hub, _home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let value = format!("\"{}\"", "x".repeat(5000));
    hub.fail("", "config.json", 99, Fault::Header("ETag", value));
    let error = locate("org/tiny", &config).unwrap_err().to_string();
    assert!(error.len() < 600, "{}", error.len());
    let index = r#"{"weight_map": {"a": "..\u001b[2J.safetensors", "b": "../b.safetensors"}}"#;
    hub.commit("org/odd", "main", COMMIT_A, &SHARDED);
    hub.commit(
        "org/odd",
        "main",
        COMMIT_A,
        &[("model.safetensors.index.json", index)],
    );
    hub.recover();
    let error = locate("org/odd", &config).unwrap_err();
    assert!(
        matches!(error, HubError::File(FileError::Unusable { .. })),
        "{error}"
    );
    assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
}
