//! Models from the Hugging Face hub, played by a small server on loopback.

mod faults;
mod lies;
mod server;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use gatelens::hub::{
    DownloadProgress, HubConfig, HubError, LocatedModel, ModelFiles, Network, Patience, Proxies,
    locate_with,
};
use server::{Fault, Hub};
use tempfile::TempDir;

const COMMIT_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const COMMIT_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A whole model in one file, without the optional tokenizer_config.json, and a file nobody wants.
const SINGLE: [(&str, &str); 4] = [
    ("config.json", "{}"),
    ("tokenizer.json", "{\"t\": 1}"),
    ("model.safetensors", "weights"),
    ("pytorch_model.bin", "not wanted"),
];

const SHARDED: [(&str, &str); 6] = [
    ("config.json", "{}"),
    ("tokenizer.json", "{\"t\": 1}"),
    ("tokenizer_config.json", "{\"c\": 1}"),
    (
        "model.safetensors.index.json",
        r#"{"weight_map": {"a": "model-00002.safetensors", "b": "model-00001.safetensors"}}"#,
    ),
    ("model-00001.safetensors", "first shard"),
    ("model-00002.safetensors", "second shard"),
];

/// Pauses and limits for a hub on the same machine.
const HASTE: Patience = Patience {
    answer: Duration::from_millis(400),
    idle: Duration::from_millis(400),
    window: Duration::from_millis(500),
    window_bytes: 1000,
    retries: 3,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(4),
    longest_wait: Duration::from_secs(2),
};

fn config(home: &TempDir, endpoint: &str) -> HubConfig {
    HubConfig {
        cache: None,
        hf_cache: Some(home.path().join("hub")),
        token: None,
        token_file: Some(home.path().join("token")),
        endpoint: endpoint.to_string(),
        network: Network::Allowed,
        patience: HASTE,
        proxies: Proxies::default(),
        pythons: Vec::new(),
    }
}

/// Nobody listens there; whoever asks fails.
fn offline(home: &TempDir) -> HubConfig {
    let mut config = config(home, "http://127.0.0.1:1");
    config.network = Network::CacheOnly;
    config
}

fn setup() -> (Hub, TempDir, HubConfig) {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let config = config(&home, &hub.endpoint());
    (hub, home, config)
}

fn locate(model: &str, config: &HubConfig) -> Result<LocatedModel, HubError> {
    locate_with(model, config, &())
}

fn weights(model: &LocatedModel) -> Vec<String> {
    match &model.files {
        ModelFiles::Folder { weights, .. } => weights.iter().map(|path| text(path)).collect(),
        ModelFiles::Gguf(parts) => parts.iter().map(|path| text(path)).collect(),
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_model_is_downloaded_once_and_then_needs_no_network() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let model = locate("org/tiny", &config).unwrap();
    assert_eq!(
        (model.name.as_str(), model.revision.as_deref()),
        ("org/tiny", Some(COMMIT_A))
    );
    let ModelFiles::Folder {
        tokenizer,
        tokenizer_config,
        ..
    } = &model.files
    else {
        panic!("not a folder")
    };
    assert_eq!(
        (text(tokenizer).as_str(), tokenizer_config),
        ("{\"t\": 1}", &None)
    );
    assert_eq!(weights(&model), ["weights"]);
    // `printf weights | sha256sum`
    let (_, sha256) = model.sha256().unwrap().pop().unwrap();
    assert_eq!(
        sha256,
        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    );
    assert!(!hub.asked_for().contains(&"pytorch_model.bin".to_string()));

    // A branch that has moved is no reason to ask: what is whole in the cache is used.
    hub.commit("org/tiny", "main", COMMIT_B, &SINGLE);
    hub.with(|state| state.requests.clear());
    assert_eq!(locate("org/tiny", &config).unwrap(), model);
    assert!(hub.asked_for().is_empty());
    drop(hub);
    assert_eq!(locate("org/tiny", &offline(&home)).unwrap(), model);
    // A commit is found by its own name as well.
    let pinned = locate(&format!("org/tiny@{COMMIT_A}"), &offline(&home)).unwrap();
    assert_eq!(pinned.files, model.files);
}

#[test]
fn shards_come_sorted_and_whole() {
    let (hub, _home, config) = setup();
    hub.commit("org/big", "main", COMMIT_A, &SHARDED);
    let model = locate("org/big", &config).unwrap();
    assert_eq!(weights(&model), ["first shard", "second shard"]);
    assert_eq!(model.paths().len(), 5);
}

#[test]
fn a_revision_pins_the_version() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "refs/pr/1", COMMIT_B, &SINGLE);
    hub.commit(
        "org/tiny",
        "refs/pr/1",
        COMMIT_B,
        &[("model.safetensors", "of the pull request")],
    );
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let pinned = locate("org/tiny@refs/pr/1", &config).unwrap();
    assert_eq!(weights(&pinned), ["of the pull request"]);
    assert_eq!(pinned.revision.as_deref(), Some(COMMIT_B));
    let main = locate("org/tiny", &config).unwrap();
    assert_eq!(weights(&main), ["weights"]);
    assert_eq!(
        locate("org/tiny@refs/pr/1", &offline(&home)).unwrap(),
        pinned
    );
    let by_commit = locate(&format!("org/tiny@{COMMIT_A}"), &config).unwrap();
    assert_eq!(by_commit.files, main.files);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (hub, home, config) = setup();
    hub.commit("org/big", "main", COMMIT_A, &SHARDED);
    hub.fail("GET", "model-00002.safetensors", 1, Fault::Cut(4));
    hub.fail("GET", "model-00002.safetensors", 9, Fault::Hangup);
    let error = locate("org/big", &config).unwrap_err().to_string();
    assert!(
        error.contains("model-00002.safetensors of org/big@main"),
        "{error}"
    );
    // Not whole: offline it is refused, and the missing file is named.
    let error = locate("org/big", &offline(&home)).unwrap_err().to_string();
    assert!(error.contains("missing:"), "{error}");

    hub.recover();
    let model = locate("org/big", &config).unwrap();
    assert_eq!(weights(&model), ["first shard", "second shard"]);
    // One request resolves the revision, two look the shard up and continue it.
    assert_eq!(
        hub.asked_for(),
        [
            "config.json",
            "model-00002.safetensors",
            "model.safetensors"
        ]
    );
    assert_eq!(hub.firsts("model-00002.safetensors"), [4]);
}

#[test]
fn a_branch_that_moves_does_not_mix_versions() {
    let (hub, _home, config) = setup();
    hub.commit("org/big", "main", COMMIT_A, &SHARDED);
    hub.fail("GET", "model-00002.safetensors", 9, Fault::Cut(0));
    locate("org/big", &config).unwrap_err();
    hub.recover();
    hub.commit("org/big", "main", COMMIT_B, &SHARDED);
    hub.commit(
        "org/big",
        "main",
        COMMIT_B,
        &[("config.json", "new"), ("model-00001.safetensors", "new")],
    );
    let model = locate("org/big", &config).unwrap();
    assert_eq!(model.revision.as_deref(), Some(COMMIT_B));
    assert_eq!(weights(&model), ["new", "second shard"]);
    assert_eq!(text(model.paths()[0]), "new");
}

#[test]
fn wrong_bytes_are_removed() {
    let (hub, home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    hub.fail("GET", "model.safetensors", 9, Fault::Garble);
    let error = locate("org/tiny", &config).unwrap_err();
    assert!(matches!(error, HubError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(locate("org/tiny", &offline(&home)).is_err());
    hub.recover();
    assert_eq!(weights(&locate("org/tiny", &config).unwrap()), ["weights"]);
}

#[test]
fn a_refusal_names_the_token() {
    let (hub, home, mut config) = setup();
    hub.commit("org/gated", "main", COMMIT_A, &SINGLE);
    hub.with(|state| state.token.insert("org/gated".into(), "hf_right".into()));
    for (token, words) in [
        (None, "none is set"),
        (Some("hf_wrong"), "the one in use may not"),
    ] {
        config.token = token.map(str::to_string);
        let error = locate("org/gated", &config).unwrap_err().to_string();
        assert!(
            error.contains("HF_TOKEN") && error.contains("401"),
            "{error}"
        );
        assert!(
            error.contains(words) && !error.contains("hf_wrong"),
            "{error}"
        );
    }
    // The file of `hf auth login` counts where the variable is not set.
    fs::write(home.path().join("token"), "hf_right\n").unwrap();
    config.token = None;
    assert_eq!(weights(&locate("org/gated", &config).unwrap()), ["weights"]);
}

#[test]
fn offline_names_what_the_cache_lacks() {
    let home = tempfile::tempdir().unwrap();
    let error = locate("org/tiny@v1", &offline(&home))
        .unwrap_err()
        .to_string();
    for words in [
        "org/tiny@v1",
        "HF_HUB_OFFLINE",
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        assert!(error.contains(words), "{words} in {error}");
    }
    assert!(error.contains(home.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_gguf_file_of_a_repository() {
    let (hub, home, config) = setup();
    let files = [
        ("README.md", ""),
        ("q4/tiny.Q4_0.gguf", "GGUF"),
        ("tiny.Q8_0.gguf", "GGUF"),
    ];
    hub.commit("org/tiny-GGUF", "main", COMMIT_A, &files);
    let model = locate("org/tiny-GGUF/q4/tiny.Q4_0.gguf", &config).unwrap();
    assert!(
        matches!(&model.files, ModelFiles::Gguf(parts) if parts[0].ends_with("q4/tiny.Q4_0.gguf"))
    );
    assert_eq!(
        locate("org/tiny-GGUF/q4/tiny.Q4_0.gguf", &offline(&home)).unwrap(),
        model
    );
    // Asked for as a folder, the repository says what it has instead.
    let error = locate("org/tiny-GGUF", &config).unwrap_err().to_string();
    assert!(error.contains("no config.json"), "{error}");
    assert!(
        error.contains("org/tiny-GGUF/FILE: q4/tiny.Q4_0.gguf, tiny.Q8_0.gguf"),
        "{error}"
    );
}

#[test]
fn one_part_of_a_split_gguf_file_brings_the_others() {
    let (hub, home, config) = setup();
    let parts = ["q4/m-00001-of-00002.gguf", "q4/m-00002-of-00002.gguf"];
    let files = parts.map(|name| (name, "GGUF"));
    hub.commit("org/split-GGUF", "main", COMMIT_A, &files);
    for part in parts {
        let name = format!("org/split-GGUF/{part}");
        let model = locate(&name, &config).unwrap();
        let ModelFiles::Gguf(found) = &model.files else {
            panic!("{:?}", model.files)
        };
        assert!(
            found
                .iter()
                .zip(parts)
                .all(|(path, name)| path.ends_with(name))
        );
        assert_eq!(found.len(), 2);
        assert_eq!(locate(&name, &offline(&home)).unwrap(), model);
    }
    hub.commit("org/half-GGUF", "main", COMMIT_A, &files[..1]);
    let error = locate("org/half-GGUF/q4/m-00001-of-00002.gguf", &config);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("m-00002-of-00002.gguf"), "{error}");
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let (hub, home, config) = setup();
    hub.commit("org/bare", "main", COMMIT_A, &SINGLE[..2]);
    let error = locate("org/bare", &config).unwrap_err().to_string();
    assert!(
        error.contains("no model.safetensors and no model.safetensors.index.json"),
        "{error}"
    );
    let error = locate("org/none", &config).unwrap_err().to_string();
    assert!(error.contains("org/none@main; check the name"), "{error}");
    drop(hub);
    let error = locate("org/other", &config).unwrap_err();
    assert!(matches!(error, HubError::Transfer { .. }), "{error}");
    assert!(error.to_string().contains(&config.endpoint), "{error}");
    assert!(!home.path().join("hub/models--org--other").exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let (hub, home, mut config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    config.hf_cache = Some(file.clone());
    let error = locate("org/tiny", &config).unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
}

/// Writes down what it hears.
#[derive(Default)]
struct Listener(RefCell<Vec<(String, u64, u64)>>);

impl DownloadProgress for Listener {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        self.0
            .borrow_mut()
            .push((what.to_string(), total_bytes.unwrap(), 0));
    }
    fn advance(&self, bytes: u64) {
        self.0.borrow_mut().last_mut().unwrap().2 += bytes;
    }
    fn finish(&self, what: &str) {
        assert_eq!(self.0.borrow().last().unwrap().0, what);
    }
}

#[test]
fn progress_counts_every_byte_once() {
    let (hub, _home, config) = setup();
    hub.commit("org/tiny", "main", COMMIT_A, &SINGLE);
    let heard = Listener::default();
    locate_with("org/tiny", &config, &heard).unwrap();
    let expected = [
        ("config.json", 2),
        ("tokenizer.json", 8),
        ("model.safetensors", 7),
    ];
    let expected = expected.map(|(file, bytes)| (format!("org/tiny/{file}"), bytes, bytes));
    assert_eq!(*heard.0.borrow(), expected);
}
