//! config.json: every key is computed, refused, known to change nothing, or warned of.

use std::fs;
use std::time::Instant;

use gatelens::model::RopeScaling;

use super::Folder;

#[test]
fn numbers_without_a_meaning_are_refused_with_the_range() {
    for (tiny, keys, named) in [
        (
            "tiny-llama",
            r#"{"rms_norm_eps": -1e-6}"#,
            "rms_norm_eps = -0.000001",
        ),
        ("tiny-llama", r#"{"rms_norm_eps": 0}"#, "rms_norm_eps = 0"),
        // Above 0 as the file has it, and 0 or infinite as it is computed.
        ("tiny-llama", r#"{"rms_norm_eps": 1e-60}"#, "from 1e-30"),
        ("tiny-olmo", r#"{"clip_qkv": 1e-60}"#, "clip_qkv = 0.0"),
        (
            "tiny-gemma2",
            r#"{"final_logit_softcapping": 1e-60}"#,
            "from 1e-6 to 1e6",
        ),
        (
            "tiny-gemma2",
            r#"{"query_pre_attn_scalar": 1e-300}"#,
            "from 1e-9 to 1e9",
        ),
        // With LongRoPE it enters the amplitude alone.
        (
            "tiny-phi3-longrope",
            r#"{"max_position_embeddings": 0}"#,
            "max_position_embeddings = 0",
        ),
        (
            "tiny-phi3-longrope",
            r#"{"max_position_embeddings": 9223372036854775808}"#,
            "max_position_embeddings = 9223372036854775808",
        ),
        (
            "tiny-llama",
            r#"{"rms_norm_eps": 1e19}"#,
            "rms_norm_eps = 1",
        ),
        (
            "tiny-gemma2",
            r#"{"attn_logit_softcapping": 0}"#,
            "attn_logit_softcapping = 0",
        ),
        (
            "tiny-gemma2",
            r#"{"attn_logit_softcapping": -1}"#,
            "attn_logit_softcapping = -1",
        ),
        (
            "tiny-gemma2",
            r#"{"final_logit_softcapping": 0}"#,
            "final_logit_softcapping = 0",
        ),
        (
            "tiny-gemma2",
            r#"{"final_logit_softcapping": -1}"#,
            "final_logit_softcapping = -1",
        ),
        (
            "tiny-gemma2",
            r#"{"query_pre_attn_scalar": 0}"#,
            "query_pre_attn_scalar",
        ),
        (
            "tiny-gemma2",
            r#"{"query_pre_attn_scalar": -7}"#,
            "query_pre_attn_scalar",
        ),
        (
            "tiny-gemma2",
            r#"{"query_pre_attn_scalar": 1e30}"#,
            "query_pre_attn_scalar",
        ),
        (
            "tiny-gemma2",
            r#"{"sliding_window": 0}"#,
            "sliding_window = 0",
        ),
        (
            "tiny-mistral",
            r#"{"sliding_window": 0}"#,
            "sliding_window = 0",
        ),
        ("tiny-olmo", r#"{"clip_qkv": -1}"#, "clip_qkv = -1"),
        ("tiny-olmo", r#"{"clip_qkv": 0}"#, "clip_qkv = 0"),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": -1, "rope_type": "default"}}"#,
            "rope_theta = -1",
        ),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": 0, "rope_type": "default"}}"#,
            "rope_theta = 0",
        ),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": 1e300, "rope_type": "default"}}"#,
            "rope_theta = 1",
        ),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": -1}}"#,
            "factor = -1",
        ),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 0}}"#,
            "factor = 0",
        ),
        (
            "tiny-llama",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                "high_freq_factor": 4, "original_max_position_embeddings": 64}}"#,
            "high_freq_factor = 4",
        ),
        (
            "tiny-llama",
            r#"{"head_dim": 3, "num_attention_heads": 16, "num_key_value_heads": 16}"#,
            "head_dim",
        ),
        (
            "tiny-llama",
            r#"{"num_attention_heads": 0}"#,
            "num_attention_heads = 0",
        ),
        (
            "tiny-llama",
            r#"{"num_key_value_heads": 0}"#,
            "num_key_value_heads = 0",
        ),
        (
            "tiny-llama",
            r#"{"num_key_value_heads": 5}"#,
            "num_key_value_heads = 5",
        ),
        ("tiny-llama", r#"{"vocab_size": 0}"#, "vocab_size = 0"),
        (
            "tiny-llama",
            r#"{"max_position_embeddings": 0}"#,
            "max_position_embeddings = 0",
        ),
        (
            "tiny-phi3",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0}}"#,
            "partial_rotary_factor",
        ),
        (
            "tiny-phi3",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 1e18}}"#,
            "partial_rotary_factor",
        ),
        (
            "tiny-gemma3",
            r#"{"sliding_window_pattern": 0, "layer_types": null}"#,
            "sliding_window_pattern = 0",
        ),
    ] {
        Folder::with_keys(tiny, keys).fails(&["config.json", named]);
    }
}

#[test]
fn counts_are_checked_before_they_are_believed() {
    let start = Instant::now();
    for key in [
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
    ] {
        for count in [
            "1000000",
            "4294967295",
            "4611686018427387904",
            "18446744073709551615",
        ] {
            if (key, count) == ("max_position_embeddings", "1000000") {
                continue; // only a bound of what may be asked
            }
            let folder = Folder::with_keys("tiny-llama", &format!(r#"{{"{key}": {count}}}"#));
            folder.fails(&[]);
        }
    }
    for layers in [1, 3, 5, 4096] {
        let keys = format!(r#"{{"num_hidden_layers": {layers}}}"#);
        let named = format!("num_hidden_layers = {layers}");
        Folder::with_keys("tiny-llama", &keys).fails(&["config.json", &named, "accepted: 4"]);
    }
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn values_of_another_type_are_errors_and_never_dropped() {
    for (keys, named) in [
        (r#"{"rope_parameters": "x"}"#, r#"rope_parameters = "x""#),
        (r#"{"rope_parameters": [1]}"#, "rope_parameters = [1]"),
        (
            r#"{"rope_parameters": null, "rope_theta": "48"}"#,
            r#"rope_theta = "48""#,
        ),
        (
            r#"{"rope_parameters": {"rope_type": 5, "rope_theta": 1e4}}"#,
            "rope_parameters.rope_type = 5",
        ),
        (
            r#"{"rope_parameters": {"rope_theta": "48"}}"#,
            r#"rope_parameters.rope_theta = "48""#,
        ),
        (
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": "2"}}"#,
            r#"factor = "2""#,
        ),
        (
            r#"{"rope_parameters": {"rope_theta": 1e4, "factor": 2}}"#,
            "rope_parameters.rope_type",
        ),
        (
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "type": "llama3", "factor": 2}}"#,
            "rope_parameters.type = llama3",
        ),
        (
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2, "beta_fast": 32}}"#,
            "beta_fast = 32",
        ),
        (
            r#"{"rope_parameters": null, "rope_theta": 1e4, "rope_scaling": "linear"}"#,
            r#"rope_scaling = "linear""#,
        ),
        (r#"{"hidden_size": 64.0}"#, "hidden_size = 64.0"),
        (r#"{"num_hidden_layers": -1}"#, "num_hidden_layers = -1"),
        (
            r#"{"num_hidden_layers": "4"}"#,
            r#"num_hidden_layers = "4""#,
        ),
        (
            r#"{"tie_word_embeddings": "false"}"#,
            r#"tie_word_embeddings = "false""#,
        ),
        (r#"{"hidden_act": 1}"#, "hidden_act = 1"),
        (r#"{"layer_types": "full_attention"}"#, "layer_types"),
        (r#"{"rms_norm_eps": [1e-6]}"#, "rms_norm_eps"),
        (r#"{"model_type": ["llama"]}"#, "model_type"),
    ] {
        Folder::with_keys("tiny-llama", keys).fails(&["config.json", named]);
    }
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (tiny, keys, named) in [
        (
            "tiny-llama",
            r#"{"quantization_config": {"quant_method": "gptq"}}"#,
            "quantization_config",
        ),
        (
            "tiny-llama",
            r#"{"attention_bias": true}"#,
            "attention_bias",
        ),
        ("tiny-llama", r#"{"mlp_bias": true}"#, "mlp_bias"),
        ("tiny-llama", r#"{"logits_scaling": 8}"#, "logits_scaling"),
        ("tiny-llama", r#"{"logit_scale": 0.0625}"#, "logit_scale"),
        ("tiny-llama", r#"{"num_experts": 8}"#, "num_experts"),
        (
            "tiny-llama",
            r#"{"num_local_experts": 8}"#,
            "num_local_experts",
        ),
        ("tiny-llama", r#"{"use_qk_norm": true}"#, "use_qk_norm"),
        ("tiny-qwen3", r#"{"use_qk_norm": false}"#, "use_qk_norm"),
        (
            "tiny-llama",
            r#"{"vision_config": {"hidden_size": 8}}"#,
            "vision_config",
        ),
        (
            "tiny-llama",
            r#"{"per_layer_config": {"0": {"intermediate_size": 8}}}"#,
            "per_layer_config",
        ),
        (
            "tiny-llama",
            r#"{"pruned_heads": {"0": [1]}}"#,
            "pruned_heads",
        ),
        (
            "tiny-llama",
            r#"{"architectures": ["MistralForCausalLM"]}"#,
            "architectures",
        ),
        (
            "tiny-gemma2",
            r#"{"sliding_window_pattern": 3, "layer_types": null}"#,
            "sliding_window_pattern",
        ),
        (
            "tiny-mistral",
            r#"{"layer_types": ["full_attention", "full_attention", "full_attention"]}"#,
            "layer_types",
        ),
        (
            "tiny-phi3",
            r#"{"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2}}"#,
            "linear",
        ),
    ] {
        Folder::with_keys(tiny, keys).fails(&["config.json", named]);
    }
}

/// transformers has other numbers of its own for these: 8 heads for keys in Mistral, heads of 256 in Gemma.
#[test]
fn what_transformers_would_fill_in_must_be_said() {
    for (tiny, key) in [
        ("tiny-mistral", "num_key_value_heads"),
        ("tiny-qwen2", "num_key_value_heads"),
        ("tiny-qwen3", "head_dim"),
        ("tiny-gemma", "head_dim"),
        ("tiny-gemma3", "num_key_value_heads"),
    ] {
        let folder = Folder::of(tiny);
        folder.edit_config(|config| {
            config.as_object_mut().unwrap().remove(key);
        });
        folder.fails(&["config.json", key]);
    }
}

#[test]
fn unknown_keys_are_warned_of_by_name_and_known_ones_are_not() {
    let warnings = |tiny: &str, keys: &str| Folder::with_keys(tiny, keys).config().warnings;
    for tiny in [
        "tiny-llama",
        "tiny-gemma2",
        "tiny-gemma3",
        "tiny-olmo",
        "tiny-phi3",
        "tiny-qwen2",
    ] {
        assert_eq!(warnings(tiny, "{}"), [""; 0], "{tiny}");
    }
    let harmless = r#"{"auto_map": {"a": "b"}, "torch_dtype": "bfloat16", "temperature": 0.6, "id2label": {"0": "A"},
        "pretraining_tp": 2, "logits_scaling": 1.0, "num_experts": null, "attention_dropout": 0.1}"#;
    assert_eq!(warnings("tiny-llama", harmless), [""; 0]);
    let unknown = warnings("tiny-llama", r#"{"attn_turbo": 2}"#);
    assert!(
        unknown.len() == 1 && unknown[0].contains("attn_turbo = 2"),
        "{unknown:?}"
    );
    let unused = warnings("tiny-llama", r#"{"sliding_window": 8}"#);
    assert!(unused[0].contains("sliding_window = 8") && unused[0].contains("no effect"));
    let classifier = warnings(
        "tiny-llama",
        r#"{"architectures": ["LlamaForSequenceClassification"]}"#,
    );
    assert!(classifier[0].contains("LlamaForSequenceClassification"));
}

/// transformers lets `original_max_position_embeddings` outside the object win.
#[test]
fn the_outer_original_length_counts() {
    let folder = Folder::with_keys("tiny-llama3", r#"{"original_max_position_embeddings": 77}"#);
    let config = folder.config();
    let RopeScaling::Llama3 {
        original_max_positions,
        ..
    } = config.attention[0].rope.scaling
    else {
        panic!("{:?}", config.attention[0])
    };
    assert_eq!(original_max_positions, 77.0);
}

#[test]
fn a_key_twice_is_refused_by_name() {
    for (old, new, named) in [
        (
            r#""rms_norm_eps""#,
            r#""rms_norm_eps": 0.5, "rms_norm_eps""#,
            "rms_norm_eps",
        ),
        (
            r#""rope_theta""#,
            r#""rope_theta": 48.0, "rope_theta""#,
            "rope_theta",
        ),
    ] {
        let folder = Folder::of("tiny-llama");
        let text = fs::read_to_string(folder.file("config.json")).unwrap();
        fs::write(folder.file("config.json"), text.replacen(old, new, 1)).unwrap();
        folder.fails(&["config.json", named, "stands twice"]);
    }
}

#[test]
fn text_that_is_no_config_is_an_error() {
    for text in [
        "",
        "[]",
        "3",
        "{\"model_type\": \"llama\"",
        "{\"a\": NaN}",
        "\u{feff}{}",
    ] {
        let folder = Folder::of("tiny-llama");
        fs::write(folder.file("config.json"), text).unwrap();
        folder.fails(&["config.json"]);
    }
    let folder = Folder::of("tiny-llama");
    fs::write(folder.file("config.json"), "[".repeat(3 << 20)).unwrap();
    folder.fails(&["config.json"]);
    fs::write(folder.file("config.json"), " ".repeat(5 << 20)).unwrap();
    folder.fails(&["config.json", "bytes"]);
}
