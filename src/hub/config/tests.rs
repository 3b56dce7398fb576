use super::*;

fn try_config(vars: &[(&str, &str)]) -> Result<HubConfig, HubError> {
    let find = |key: &str| {
        let found = vars.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| OsString::from(value))
    };
    HubConfig::from_vars(find, Some("/home/ada".into()))
}

fn config(vars: &[(&str, &str)]) -> HubConfig {
    try_config(vars).unwrap()
}

#[test]
fn defaults_lie_in_the_home_folder() {
    let config = config(&[("HF_TOKEN", " "), ("HF_HOME", "")]);
    assert_eq!(
        config.models_dir().unwrap(),
        PathBuf::from("/home/ada/.cache/gatelens/models")
    );
    assert_eq!(
        config.hf_cache_dir().unwrap(),
        PathBuf::from("/home/ada/.cache/huggingface/hub")
    );
    assert_eq!(
        config.token_file,
        Some(PathBuf::from("/home/ada/.cache/huggingface/token"))
    );
    assert_eq!(config.endpoint, DEFAULT_ENDPOINT);
    assert_eq!((config.token, config.network), (None, Network::Allowed));
    assert_eq!(config.patience, Patience::default());
}

#[test]
fn variables_win_over_defaults() {
    let config = config(&[
        ("XDG_CACHE_HOME", "/xdg"),
        ("HF_HOME", "/hf"),
        ("HF_TOKEN", "hf_secret\n"),
        ("HF_ENDPOINT", "http://ada:pw@localhost:1"),
        ("HF_HUB_OFFLINE", "True"),
        ("HF_HUB_ETAG_TIMEOUT", "3"),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "40"),
    ]);
    assert_eq!(
        config.models_dir().unwrap(),
        PathBuf::from("/xdg/gatelens/models")
    );
    assert_eq!(config.hf_cache_dir().unwrap(), PathBuf::from("/hf/hub"));
    assert_eq!(config.token_file, Some(PathBuf::from("/hf/token")));
    assert_eq!(config.endpoint, "http://ada:pw@localhost:1");
    assert_eq!(config.network, Network::CacheOnly);
    assert_eq!(config.token.as_deref(), Some("hf_secret"));
    assert_eq!(config.patience.answer, Duration::from_secs(3));
    assert_eq!(config.patience.idle, Duration::from_secs(40));
    let text = format!("{config:?}");
    assert!(
        !text.contains("hf_secret") && !text.contains("ada:pw"),
        "{text}"
    );
}

/// The values are those of huggingface_hub 2.4's `constants` with the same environment.
#[test]
fn folders_are_those_of_huggingface_hub() {
    for (vars, cache, token) in [
        (
            vec![("HF_HOME", "~/hf")],
            "/home/ada/hf/hub",
            "/home/ada/hf/token",
        ),
        (
            vec![("HF_HOME", "$SCRATCH/hf"), ("SCRATCH", "/s")],
            "/s/hf/hub",
            "/s/hf/token",
        ),
        (
            vec![("HF_HOME", "${SCRATCH}x/$NONE/hf$"), ("SCRATCH", "/s")],
            "/sx/$NONE/hf$/hub",
            "/sx/$NONE/hf$/token",
        ),
        (
            vec![("HF_HUB_CACHE", "~"), ("HUGGINGFACE_HUB_CACHE", "/old")],
            "/home/ada",
            "/home/ada/.cache/huggingface/token",
        ),
        (
            vec![("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")],
            "/old",
            "/hf/token",
        ),
        (
            vec![("XDG_CACHE_HOME", "~/x"), ("HF_TOKEN_PATH", "~/t")],
            "/home/ada/x/huggingface/hub",
            "/home/ada/t",
        ),
    ] {
        let config = config(&vars);
        assert_eq!(
            config.hf_cache_dir().unwrap(),
            PathBuf::from(cache),
            "{vars:?}"
        );
        assert_eq!(config.token_file, Some(PathBuf::from(token)), "{vars:?}");
    }
    let ours = config(&[("GATELENS_CACHE", "~/g")]).models_dir().unwrap();
    assert_eq!(ours, PathBuf::from("/home/ada/g/models"));
}

#[test]
fn tokens_and_offline_under_their_older_names() {
    let old = config(&[
        ("HUGGING_FACE_HUB_TOKEN", "hf_old"),
        ("TRANSFORMERS_OFFLINE", "1"),
    ]);
    assert_eq!(old.token.as_deref(), Some("hf_old"));
    assert_eq!(old.network, Network::CacheOnly);
    // As in Python: the newer name wins, even with `0`.
    let both = config(&[
        ("HF_TOKEN", "hf_new"),
        ("HUGGING_FACE_HUB_TOKEN", "hf_old"),
        ("HF_HUB_OFFLINE", "0"),
        ("TRANSFORMERS_OFFLINE", "1"),
    ]);
    assert_eq!(both.token.as_deref(), Some("hf_new"));
    assert_eq!(both.network, Network::Allowed);
    let none = config(&[
        ("HF_TOKEN", "hf_new"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
    ]);
    assert_eq!((none.token, none.token_file), (None, None));
}

#[test]
fn values_without_sense_are_refused_by_their_name() {
    for (name, value) in [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        ("HF_HUB_ETAG_TIMEOUT", "-1"),
        ("HF_ENDPOINT", "huggingface.co"),
        ("HF_ENDPOINT", "ftp://huggingface.co"),
        ("HTTPS_PROXY", "http://ada:hf_secret@"),
        ("HF_TOKEN", "hf_secret\u{1b}[2J"),
    ] {
        let text = try_config(&[(name, value)]).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
        assert!(!text.contains("hf_secret"), "{text}");
    }
}

#[test]
fn without_a_home_the_error_names_the_variable() {
    let config = HubConfig::from_vars(|_| None, None).unwrap();
    for (error, name) in [
        (config.models_dir(), "GATELENS_CACHE"),
        (config.hf_cache_dir(), "HF_HUB_CACHE"),
    ] {
        assert!(error.unwrap_err().to_string().contains(name));
    }
}
