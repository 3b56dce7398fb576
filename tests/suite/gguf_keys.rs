//! The keys of GGUF metadata: what each changes, what is refused by name, what is said of those that are absent or
//! unknown. Each case changes a key of a tiny model's file.

use arrow_array::{Array, Float64Array};
use gatelens::hub::gguf::GgufFile;
use gatelens::model::{Checkpoint, RopeScaling};
use gatelens::tokens::Tokenizer;

use super::cli::{columns, file, json, succeed};
use super::common::max_difference;
use super::gguf_files::make::{self, Raw};
use super::gguf_files::{llama, logprobs, opened, refused, written};

/// transformers 5.24 in f32, with linear scaling by 4.
const SCALED_BY_4: [f64; 2] = [-32.12780, -40.68869];

#[test]
fn a_factor_without_a_type_is_linear_under_its_old_name_too() {
    let prompts = r#"{"id":"0","prompt":"The capital of France is","subject":"France","target":"Paris"}
{"id":"1","prompt":"Marie Curie was born in","subject":"Marie Curie","target":"Warsaw"}
"#;
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", prompts);
    let neurons = file(&dir, "n.txt", "1.3\n2.4\n0.5\n");
    let model = dir.path().join("model.gguf");
    for (i, key) in ["scale_linear", "scaling.factor"].into_iter().enumerate() {
        let raw = llama().set(&format!("llama.rope.{key}"), make::f32(4.0));
        raw.write(&model);
        let out = dir.path().join(format!("out{i}"));
        let [model, out_name] = [&model, &out].map(|path| path.to_str().unwrap());
        succeed(&[
            "ablate",
            "--model",
            model,
            "--prompts",
            &prompts,
            "--neurons",
            &neurons,
            "--subset",
            "all",
            "--draws",
            "2",
            "--out",
            out_name,
        ]);
        let (_, rows) = columns(&out.join("outcomes.parquet"));
        let found = rows.column_by_name("target_logprob").unwrap();
        let found = found.as_any().downcast_ref::<Float64Array>().unwrap();
        for (row, expected) in SCALED_BY_4.into_iter().enumerate() {
            assert!(
                (found.value(row) - expected).abs() < 1e-4,
                "{key}: {}",
                found.value(row)
            );
        }
    }
}

#[test]
fn a_factor_counts_as_llama_cpp_counts_it() {
    let plain = llama();
    let linear = |raw: Raw| raw.set("llama.rope.scaling.type", make::text("linear"));
    let factor = |raw: Raw, n: f32| raw.set("llama.rope.scaling.factor", make::f32(n));
    let old = |raw: Raw, n: f32| raw.set("llama.rope.scale_linear", make::f32(n));
    let scaled = logprobs(opened(&factor(linear(llama()), 4.0)));
    let unscaled = logprobs(opened(&plain));
    assert!(scaled != unscaled);
    assert!(logprobs(opened(&factor(llama(), 0.0))) == unscaled);
    // The new name counts where both are there.
    let both = opened(&old(factor(llama(), 4.0), 2.0));
    assert!(both.config().warnings[0].contains("llama.rope.scale_linear = 2 is not used"));
    assert!(logprobs(both) == scaled);
    let none = opened(&factor(
        llama().set("llama.rope.scaling.type", make::text("none")),
        4.0,
    ));
    assert!(none.config().warnings[0].contains("llama.rope.scaling.factor = 4 is not used"));
    assert!(logprobs(none) == unscaled);
    // Cosines and sines are multiplied by this one, whatever the type.
    let loud = opened(&llama().set("llama.rope.scaling.attn_factor", make::f32(1.5)));
    let scaling = &loud.config().attention[0].rope.scaling;
    assert!(
        matches!(scaling, RopeScaling::Factors { factors, amplitude: 1.5 } if *factors == vec![1.0; 8])
    );
}

#[test]
fn factors_of_each_frequency_are_scaled_as_well() {
    let plain = opened(&Raw::tiny("tiny-llama3"));
    let scaled = opened(&Raw::tiny("tiny-llama3").set("llama.rope.scaling.factor", make::f32(2.0)));
    let factors = |checkpoint: &Checkpoint| match &checkpoint.config().attention[0].rope.scaling {
        RopeScaling::Factors { factors, .. } => factors.clone(),
        other => panic!("{other:?}"),
    };
    let doubled: Vec<f32> = factors(&plain).iter().map(|factor| 2.0 * factor).collect();
    assert_eq!(factors(&scaled), doubled);
    // LongRoPE's type says no more than its tensors, and nothing without them.
    let longrope = || Raw::tiny("tiny-phi3-longrope");
    let kind = "phi3.rope.scaling.type";
    let typed = opened(&longrope().set(kind, make::text("longrope")));
    assert!(logprobs(typed) == logprobs(opened(&longrope())));
    let mut short = longrope();
    short
        .tensors
        .retain(|t| t.name != "rope_factors_long.weight");
    assert!(refused(&short).contains("rope_factors_long.weight"));
    let bare = Raw::tiny("tiny-phi3").set(kind, make::text("longrope"));
    assert!(refused(&bare).contains(kind));
    // The tensor has no meaning in another architecture.
    let mut foreign = Raw::tiny("tiny-qwen2");
    let factors = Raw::tiny("tiny-llama3").tensor("rope_freqs.weight").clone();
    foreign.tensors.push(factors);
    assert!(refused(&foreign).contains("rope_freqs.weight"));
}

/// tiny-llama with each head's keys and values written out: as many as heads, and the same numbers.
fn without_groups() -> Raw {
    let mut raw = llama().set("llama.attention.head_count_kv", make::u32(6));
    for layer in 0..4 {
        for name in ["attn_k", "attn_v"] {
            let tensor = raw.tensor(&format!("blk.{layer}.{name}.weight"));
            let head = tensor.data.len() / 2;
            let heads = (0..6).flat_map(|h| tensor.data[h / 3 * head..][..head].to_vec());
            tensor.data = heads.collect();
            tensor.dims[1] *= 3;
        }
    }
    raw
}

#[test]
fn without_head_count_kv_there_are_as_many_as_heads() {
    let key = "llama.attention.head_count_kv";
    let expected = logprobs(opened(&llama()));
    let said = opened(&without_groups());
    assert!(said.config().assumed.is_empty());
    let said = logprobs(said);
    // The same sums in another order.
    let apart = max_difference(&said, &expected);
    assert!(apart < 1e-4, "{apart}");
    let unsaid = opened(&without_groups().without(key));
    assert_eq!(unsaid.config().n_kv_heads, 6);
    assert!(unsaid.config().assumed[0].contains(key));
    assert!(logprobs(unsaid) == said);
    // Where the tensors say otherwise, one of them is named.
    assert!(refused(&llama().without(key)).contains("attn_k.weight"));
}

#[test]
fn numbers_for_each_layer_must_be_one_number() {
    for key in [
        "attention.head_count_kv",
        "attention.head_count",
        "feed_forward_length",
    ] {
        let key = format!("llama.{key}");
        let number = match key.as_str() {
            "llama.feed_forward_length" => 80,
            "llama.attention.head_count" => 6,
            _ => 2,
        };
        let same = opened(&llama().set(&key, make::u32s(&[number; 4])));
        assert!(logprobs(same) == logprobs(opened(&llama())));
        for other in [vec![number; 3], vec![number, number, number, 1], vec![]] {
            assert!(refused(&llama().set(&key, make::u32s(&other))).contains(&key));
        }
    }
}

#[test]
fn keys_of_another_type_or_without_sense_are_named() {
    use make::*;
    let cases: Vec<(&str, Bytes, &str)> = vec![
        ("general.alignment", u32(0), "a power of two"),
        ("general.alignment", u32(48), "a power of two"),
        ("general.alignment", u64(32), "a power of two"),
        ("general.architecture", u8(1), "llama, qwen2"),
        ("general.type", text("adapter"), "\"model\""),
        (
            "llama.block_count",
            u32(u32::MAX),
            "4, the number of layers",
        ),
        (
            "llama.block_count",
            u64(u64::MAX),
            "4, the number of layers",
        ),
        ("llama.block_count", u32(3), "4, the number of layers"),
        ("llama.block_count", text("4"), "4, the number of layers"),
        ("llama.context_length", u64(1 << 63), "one whole number"),
        ("llama.embedding_length", u32(50), "token_embd.weight"),
        ("llama.embedding_length_out", u32(50), "token_embd.weight"),
        ("llama.vocab_size", u32(301), "token_embd.weight"),
        ("llama.attention.head_count", u32(0), "at least 1"),
        (
            "llama.attention.head_count_kv",
            u32(4),
            "a divisor of the 6 heads",
        ),
        ("llama.attention.value_length", u32(8), "the width of keys"),
        (
            "llama.attention.key_length_swa",
            u32(8),
            "the width of keys",
        ),
        ("llama.attention.layer_norm_rms_epsilon", u32(1), "as f32"),
        ("llama.attention.scale", f32(0.5), "0.25"),
        ("llama.attention.causal", bool(false), "true"),
        ("llama.attention.clamp_kqv", f32(8.0), "0"),
        ("general.quantization_version", u32(1), "2"),
        ("llama.attention.max_alibi_bias", f32(8.0), "0"),
        (
            "llama.attention.sliding_window",
            u32(4096),
            "in the architecture llama",
        ),
        ("llama.attn_logit_softcapping", f32(50.0), "0"),
        ("llama.final_logit_softcapping", f32(30.0), "0"),
        ("llama.logit_scale", f32(0.0625), "1"),
        ("llama.embedding_scale", f32(12.0), "1"),
        ("llama.residual_scale", f32(0.22), "1"),
        ("llama.use_parallel_residual", bool(true), "false"),
        ("llama.expert_count", u32(8), "0"),
        ("llama.hidden_activation", text("relu"), "silu"),
        ("llama.rope.dimension_count", u32(3), "16"),
        ("llama.rope.dimension_count", u32(0), "16"),
        ("llama.rope.dimension_count", u32(8), "16"),
        (
            "llama.rope.dimension_count",
            u32(1 << 31),
            "one whole number",
        ),
        (
            "llama.rope.dimension_count",
            u64(1 << 63),
            "one whole number",
        ),
        ("llama.rope.dimension_count_swa", u32(8), "16"),
        ("llama.rope.dimension_sections", u32s(&[2, 3, 3]), "zeros"),
        ("llama.rope.freq_base_swa", f32(1e4), "5000"),
        ("llama.rope.scaling.type", u8(48), "a string"),
        ("llama.rope.scaling.type", text("yarn"), "none, linear"),
        (
            "llama.rope.scaling.type",
            text("longrope"),
            "rope_factors_short",
        ),
        ("llama.rope.scaling.factor", f32(-1.0), "above 0"),
        ("llama.rope.scaling.factor", f32(f32::NAN), "above 0"),
        ("llama.rope.scaling.factor", u32(4), "as f32"),
        (
            "llama.rope.scaling.attn_factor",
            f32(f32::INFINITY),
            "above 0",
        ),
        ("llama.rope.scaling.attn_factor", f32(0.0), "above 0"),
        ("llama.attention.scale", f32(f32::NAN), "no such key"),
        ("llama.rope.scaling.alpha", f32(1000.0), "0"),
    ];
    for (key, value, accepted) in cases {
        let message = refused(&llama().set(key, value));
        assert!(message.contains(key), "{message}");
        let allowed = message.split("accepted: ").nth(1).unwrap_or_default();
        assert!(allowed.contains(accepted), "{accepted} in {message}");
    }
    let mut twice = llama();
    twice.keys.push(("llama.rope.freq_base".into(), f32(1.0)));
    assert!(refused(&twice).contains("the key llama.rope.freq_base stands there twice"));
}

#[test]
fn numbers_that_are_computed_as_zero_are_refused() {
    use make::*;
    for key in ["attention.layer_norm_rms_epsilon", "rope.scaling.factor"] {
        let key = format!("llama.{key}");
        let message = refused(&llama().set(&key, f32(1e-40)));
        assert!(message.contains(&key), "{message}");
        assert!(message.contains("from 1e-"), "{message}");
    }
}

/// The key that the number came from, where a kind of model has another one than most.
#[test]
fn numbers_without_a_meaning_are_named_by_their_own_key() {
    for (tiny, key, value) in [
        ("tiny-olmo", "olmo.attention.layer_norm_epsilon", 0.0),
        (
            "tiny-gemma3",
            "gemma3.attention.layer_norm_rms_epsilon",
            -1.0,
        ),
        ("tiny-gemma3", "gemma3.rope.freq_base", 0.5),
        ("tiny-gemma3", "gemma3.rope.freq_base_swa", 0.5),
    ] {
        let message = refused(&Raw::tiny(tiny).set(key, make::f32(value)));
        let named = format!("{key} = {value} is not supported");
        assert!(message.contains(&named), "{message}");
    }
}

#[test]
fn what_the_tokenizer_leaves_open_is_said() {
    let (bos, space) = (
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_space_prefix",
    );
    let assumed = |raw: Raw| opened(&raw.without(bos)).config().assumed.clone();
    assert_eq!(
        assumed(llama()),
        [format!(
            "the file has no {bos}: no BOS token before a text, as in llama.cpp"
        )]
    );
    let kind = make::text("llama");
    assert_eq!(
        assumed(llama().set("tokenizer.ggml.model", kind.clone())),
        [
            format!("the file has no {bos}: a BOS token before each text, as in llama.cpp"),
            format!("the file has no {space}: a space before each text, as in llama.cpp"),
        ]
    );
    let said = llama().set("tokenizer.ggml.model", kind);
    let said = said
        .set(bos, make::bool(true))
        .set(space, make::bool(false));
    assert!(opened(&said).config().assumed.is_empty());
}

#[test]
fn keys_of_the_tokenizer_are_read_refused_or_without_effect() {
    use make::*;
    let tokenizer = |raw: &Raw| {
        let header = GgufFile::open(&written(raw).1).unwrap();
        Tokenizer::from_gguf(&header)
    };
    let cases = [
        ("merges", u32s(&[1, 2])),
        ("tokens", u32s(&[1, 2])),
        ("model", u8(1)),
        ("pre", u8(1)),
        ("token_type", array(6, 300, &[0; 1200])),
        ("bos_token_id", f32(0.0)),
        ("add_bos_token", u32(1)),
        ("remove_extra_whitespaces", bool(true)),
        ("precompiled_charsmap", array(0, 4, &[0, 0, 0, 0])),
        ("normalizer.lowercase", bool(true)),
        ("normalizer.strip_accents", bool(true)),
        ("add_space_prefix", bool(true)),
        ("escape_whitespaces", bool(true)),
        ("ignore_merges", bool(true)),
    ];
    for (name, value) in cases {
        let key = format!("tokenizer.ggml.{name}");
        let message = tokenizer(&llama().set(&key, value))
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains(&key), "{message}");
    }
    let ids = |raw: &Raw| {
        tokenizer(raw)
            .unwrap()
            .encode("The capital  of 12")
            .unwrap()
            .ids
    };
    let inert = llama()
        .set("tokenizer.ggml.add_eos_token", bool(true))
        .set("tokenizer.ggml.remove_extra_whitespaces", bool(false))
        .set("tokenizer.ggml.add_space_prefix", bool(false))
        .set("tokenizer.ggml.padding_token_id", u32(1));
    assert_eq!(ids(&inert), ids(&llama()));
    assert!(opened(&inert).config().warnings.is_empty());
}

#[test]
fn gemma_takes_what_llama_cpp_takes_where_a_key_is_absent() {
    let gemma2 = || Raw::tiny("tiny-gemma2");
    let bare = gemma2()
        .without("gemma2.attn_logit_softcapping")
        .without("gemma2.final_logit_softcapping")
        .without("gemma2.attention.sliding_window");
    let bare = opened(&bare);
    let config = bare.config();
    assert_eq!(config.attention_softcap, Some(50.0));
    assert_eq!(config.final_softcap, Some(30.0));
    let windows = config.attention.iter().map(|spec| spec.window);
    assert!(windows.eq([Some(4096), None, Some(4096)]));
    for key in [
        "sliding_window",
        "attn_logit",
        "final_logit",
        "gemma2.rope.freq_base",
    ] {
        assert!(
            config.assumed.iter().any(|text| text.contains(key)),
            "{key}"
        );
    }
    // A base of their own for layers with a window, which keep the others' scaling.
    let based = opened(&gemma2().set("gemma2.rope.freq_base_swa", make::f32(500.0)));
    let bases = based.config().attention.iter().map(|spec| spec.rope.theta);
    assert!(bases.eq([500.0, 10_000.0, 500.0]));
    let zero = refused(&gemma2().set("gemma2.attention.sliding_window", make::u32(0)));
    assert!(
        zero.contains("gemma2.attention.sliding_window = 0"),
        "{zero}"
    );
    // Gemma 3 without a window has none at all.
    let gemma3 = opened(&Raw::tiny("tiny-gemma3").without("gemma3.attention.sliding_window"));
    assert!(
        gemma3
            .config()
            .attention
            .iter()
            .all(|spec| spec.window.is_none())
    );
    // Parts of a head may be rotated, in pairs.
    let width = "gemma3.rope.dimension_count";
    let half = opened(&Raw::tiny("tiny-gemma3").set(width, make::u32(8)));
    assert_eq!(half.config().attention[0].rope.width, 8);
    for wrong in [0, 3, 18, u32::MAX] {
        let wrong = refused(&Raw::tiny("tiny-gemma3").set(width, make::u32(wrong)));
        assert!(wrong.contains(width), "{wrong}");
    }
    // A period of 0 means windows everywhere.
    let key = "gemma3.attention.sliding_window_pattern";
    let everywhere = opened(&Raw::tiny("tiny-gemma3").set(key, make::u32(0)));
    assert!(
        everywhere
            .config()
            .attention
            .iter()
            .all(|spec| spec.window == Some(8))
    );
    let wrong = refused(&Raw::tiny("tiny-gemma3").set(key, make::array(7, 3, &[1, 0, 1])));
    assert!(wrong.contains(key) && wrong.contains("7 flags"), "{wrong}");
}

#[test]
fn what_was_assumed_and_what_is_unknown_is_said_once_and_kept() {
    let raw = llama()
        .without("llama.rope.freq_base")
        .set("llama.attention.sparkle", make::f32(2.0))
        .set("tokenizer.ggml.sparkle", make::text("yes\u{1b}[31m"))
        .set("general.sparkle", make::u32(1));
    let (dir, path) = written(&raw);
    let out = dir.path().join("out");
    let [model, out_name] = [&path, &out].map(|path| path.to_str().unwrap());
    let command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("gatelens"))
        .args(["classify", "--model", model, "--out", out_name])
        .output()
        .unwrap();
    let stderr = String::from_utf8(command.stderr).unwrap();
    assert!(command.status.success(), "{stderr}");
    let assumed = json(&out.join("run.json"))["assumed"].to_string();
    for words in [
        "no llama.rope.freq_base: 10000",
        "llama.attention.sparkle = 2 (f32)",
        "tokenizer.ggml.sparkle",
    ] {
        assert_eq!(stderr.matches(words).count(), 1, "{words} in {stderr}");
        assert_eq!(assumed.matches(words).count(), 1, "{words} in {assumed}");
    }
    assert!(
        !stderr.contains("general.sparkle") && !stderr.contains('\u{1b}'),
        "{stderr}"
    );
    let inspected = succeed(&["inspect", model]);
    assert!(inspected.contains("llama.attention.sparkle"), "{inspected}");
}
