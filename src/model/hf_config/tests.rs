use super::super::rope::{RopeScaling, RopeSpec};
use super::*;

fn from_text(text: &str) -> Result<Config, ModelError> {
    Config::from_hf_json(json::read(text.as_bytes()).unwrap())
}

fn gemma(extra: &str) -> Result<Config, ModelError> {
    from_text(&format!(
        r#"{{"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size": 2048,
            "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 1,
            "head_dim": 256, "vocab_size": 262144, "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "query_pre_attn_scalar": 256, "sliding_window": 512 {extra}}}"#
    ))
}

#[test]
fn both_dialects_say_the_same() {
    let old = gemma(r#", "rope_theta": 1e6, "rope_local_base_freq": 1e4"#).unwrap();
    let new = gemma(
        r#", "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}"#,
    )
    .unwrap();
    assert_eq!(old, new);
    let rope = |theta| RopeSpec {
        theta,
        width: 256,
        scaling: RopeScaling::None,
    };
    assert_eq!(old.attention[5].rope, rope(1e6));
    assert_eq!(old.attention[5].window, None);
    assert_eq!(old.attention[6].rope, rope(1e4));
    assert_eq!(old.attention[6].window, Some(512));
    assert_eq!(old.attention_scale, 1.0 / 16.0);
}

#[test]
fn gemma3_scales_its_global_layers_alone() {
    let old = gemma(
        r#", "rope_theta": 1e6, "rope_local_base_freq": 1e4,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0}"#,
    )
    .unwrap();
    let scaling = RopeScaling::Linear { factor: 8.0 };
    assert_eq!(old.attention[5].rope.scaling, scaling);
    assert_eq!(old.attention[4].rope.scaling, RopeScaling::None);
}

/// A config of some family with what most of them need.
fn read(family: &str, extra: &str) -> Result<Config, ModelError> {
    from_text(&format!(
        r#"{{"model_type": "{family}", "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
            "head_dim": 16, "vocab_size": 300,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-6 {extra}}}"#
    ))
}

#[test]
fn llama_2_has_no_rope_base_and_says_what_was_taken() {
    let config = read("llama", "").unwrap();
    assert_eq!(config.attention[0].rope.theta, 10_000.0);
    assert!(config.assumed[0].contains("rope_theta"));
    let error = read("olmo2", "").unwrap_err().to_string();
    assert!(error.contains("rope_theta"), "{error}");
}

#[test]
fn windows_of_each_family() {
    let windows = |family: &str, extra: &str| -> Vec<Option<usize>> {
        let config = read(family, &format!(r#", "rope_theta": 1e4 {extra}"#)).unwrap();
        config.attention.iter().map(|spec| spec.window).collect()
    };
    let all = |window| vec![window; 4];
    assert_eq!(windows("mistral", ""), all(Some(4096)));
    assert_eq!(windows("mistral", r#", "sliding_window": null"#), all(None));
    assert_eq!(windows("phi3", ""), all(None));
    assert_eq!(
        windows("phi3", r#", "sliding_window": 2047"#),
        all(Some(2047))
    );
    let qwen = r#", "sliding_window": 8, "max_window_layers": 3, "use_sliding_window""#;
    assert_eq!(windows("qwen2", &format!("{qwen}: false")), all(None));
    assert_eq!(
        windows("qwen2", &format!("{qwen}: true")),
        [None, None, None, Some(8)]
    );
    let gemma2 = r#", "sliding_window": 8, "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": 50, "final_logit_softcapping": null"#;
    assert_eq!(windows("gemma2", gemma2), [Some(8), None, Some(8), None]);
}

#[test]
fn longrope_holds_up_to_the_first_length() {
    let scaling = r#""rope_scaling": {"type": "longrope", "short_factor": [1, 2, 3, 4, 5, 6],
        "long_factor": [9, 9, 9, 9, 9, 9]}, "original_max_position_embeddings": 128,
        "partial_rotary_factor": 0.75, "rope_theta": 1e4"#;
    let config = read("phi3", &format!(", {scaling}")).unwrap();
    assert_eq!(config.max_positions, 128);
    let rope = &config.attention[0].rope;
    assert_eq!(rope.width, 12);
    let RopeScaling::Factors { factors, amplitude } = &rope.scaling else {
        panic!("{rope:?}")
    };
    assert_eq!(factors[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // sqrt(1 + ln 32 / ln 128) = sqrt(1 + 5/7)
    assert!((amplitude - (12f64 / 7.0).sqrt()).abs() < 1e-12);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (extra, culprit) in [
        (
            r#", "rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn"}"#,
            "yarn",
        ),
        (
            r#", "rope_theta": 1e6, "attention_bias": true"#,
            "attention_bias",
        ),
        (
            r#", "rope_theta": 1e6, "attn_logit_softcapping": 50.0"#,
            "softcapping",
        ),
        (
            r#", "rope_theta": 1e6, "layer_types": ["full_attention"]"#,
            "layer_types",
        ),
        (
            r#", "rope_theta": 1e6, "hidden_activation": "relu""#,
            "relu",
        ),
        (r#", "rope_theta": 1e6, "clip_qkv": 8"#, "clip_qkv"),
        (
            r#", "rope_theta": 1e6, "partial_rotary_factor": 0.5"#,
            "partial_rotary",
        ),
        ("", "rope_theta"),
    ] {
        let error = gemma(extra).unwrap_err().to_string();
        assert!(error.contains(culprit), "{error}");
    }
}

#[test]
fn an_unknown_family_lists_the_known_ones() {
    let error = |family| read(family, "").unwrap_err().to_string();
    let unknown = error("nobody");
    assert!(unknown.contains("nobody") && unknown.contains("llama"));
    let refused = error("gpt2");
    assert!(refused.contains("gpt2") && refused.contains("no gate"));
}
