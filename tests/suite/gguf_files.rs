//! GGUF files as they come: other keys, other parts, other versions, and damaged ones. Each case changes a tiny model's
//! file and says what must come out.

mod make;

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::{Array, Float64Array};
use gatelens::hooks::Condition;
use gatelens::hub::gguf::GgufFile;
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::{Checkpoint, LoadOptions, Model, RopeScaling};
use gatelens::tokens::Tokenizer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cli::{columns, fail, file, json, succeed};
use super::common::{LogProbs, batch, goldens, max_difference, run};
use make::Raw;

/// A file in a folder of its own.
fn written(raw: &Raw) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    raw.write(&path);
    (dir, path)
}

fn open(path: &Path) -> Result<Checkpoint, String> {
    let located = locate(path.to_str().unwrap(), &()).map_err(|why| why.to_string())?;
    Checkpoint::open(&located.files).map_err(|why| why.to_string())
}

fn opened(raw: &Raw) -> Checkpoint {
    open(&written(raw).1).unwrap()
}

/// The message of a file that must be refused, which names the file.
fn refused(raw: &Raw) -> String {
    let (_dir, path) = written(raw);
    let message = open(&path).err().expect("it must be refused");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

fn logprobs(checkpoint: Checkpoint) -> Vec<f32> {
    let model = Model::load(checkpoint, LoadOptions::default()).unwrap();
    let batch = batch(&[vec![5, 17, 33, 2, 90, 41, 7, 200, 120, 11, 64, 3]]);
    let (logprobs, _): (LogProbs, _) = run(&model, &batch, &[Condition::Clean], &mut []);
    (0..batch.tokens())
        .flat_map(|row| logprobs.at(0, row).to_vec())
        .collect()
}

fn llama() -> Raw {
    Raw::tiny("tiny-llama")
}

#[test]
fn a_file_written_again_is_the_same() {
    for name in ["tiny-llama", "tiny-gemma3", "tiny-phi3-longrope"] {
        let path = goldens().join(name).join("model.gguf");
        assert!(
            Raw::read(&path).bytes().0 == fs::read(path).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir
        .path()
        .join("sha256-2af3b81862c6be03c769683af18efdadb2c33f60ff32ab6f83e42c043d6c7816");
    llama().write(&blob);
    assert!(succeed(&["inspect", blob.to_str().unwrap()]).contains("llama, SwiGLU"));
    fs::write(&blob, "GGML").unwrap();
    assert!(
        fail(&["inspect", blob.to_str().unwrap()]).contains("neither a GGUF file nor a folder")
    );
    let named = dir.path().join("m.gguf");
    fs::write(&named, "GGML and more").unwrap();
    assert!(fail(&["inspect", named.to_str().unwrap()]).contains("m.gguf is no GGUF file"));
}

#[test]
fn versions_and_byte_orders() {
    let with = |version| Raw { version, ..llama() };
    opened(&with(2));
    assert!(refused(&with(1)).contains("version 1 of the GGUF format; accepted: 2, 3"));
    assert!(refused(&with(4)).contains("version 4"));
    assert!(refused(&with(3 << 24)).contains("big-endian"));
}

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

/// Two parts in one folder.
fn two_parts() -> (tempfile::TempDir, [PathBuf; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|n| dir.path().join(format!("tiny-0000{n}-of-00002.gguf")));
    for (part, path) in llama().split(20).iter().zip(&paths) {
        part.write(path);
    }
    (dir, paths)
}

#[test]
fn parts_are_the_whole_whichever_is_given() {
    let (_dir, paths) = two_parts();
    let whole = logprobs(opened(&llama()));
    for path in &paths {
        let located = locate(path.to_str().unwrap(), &()).unwrap();
        assert_eq!(located.files, ModelFiles::Gguf(paths.to_vec()));
        let hashed = located.sha256().unwrap().into_iter().map(|(path, _)| path);
        assert!(hashed.eq(paths.iter().cloned()));
        assert!(logprobs(Checkpoint::open(&located.files).unwrap()) == whole);
        let path = path.to_str().unwrap();
        assert!(succeed(&["inspect", path]).contains("F32 ×39"));
    }
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    let message = |change: &dyn Fn(&[PathBuf; 2])| {
        let (_dir, paths) = two_parts();
        change(&paths);
        open(&paths[0]).err().expect("it must be refused")
    };
    let second = "tiny-00002-of-00002.gguf";
    let missing = message(&|[_, second]| fs::remove_file(second).unwrap());
    assert!(
        missing.contains("not beside it: tiny-00002-of-00002.gguf"),
        "{missing}"
    );
    let repeated = message(&|[first, second]| assert!(fs::copy(first, second).is_ok()));
    assert!(
        repeated.contains(second) && repeated.contains("its split.no is 0, not 1"),
        "{repeated}"
    );
    let rewritten = |change: &dyn Fn(Raw) -> Raw| {
        message(&|[_, second]| change(Raw::read(second)).write(second))
    };
    let of_three = rewritten(&|raw| raw.set("split.count", make::u16(3)));
    assert!(
        of_three.contains(second) && of_three.contains("one of 3"),
        "{of_three}"
    );
    let other = rewritten(&|raw| raw.set("general.architecture", make::text("qwen2")));
    assert!(
        other.contains(second) && other.contains("general.architecture"),
        "{other}"
    );
    let fewer = rewritten(&|mut raw| {
        raw.tensors.pop();
        raw
    });
    assert!(
        fewer.contains(second) && fewer.contains("split.tensors.count is 39"),
        "{fewer}"
    );
    let twice = rewritten(&|raw| {
        raw.with("blk.3.ffn_norm.weight", |t| {
            t.name = "blk.0.attn_norm.weight".into()
        })
    });
    assert!(
        twice.contains(second) && twice.contains("blk.0.attn_norm.weight"),
        "{twice}"
    );
    let (_dir, [first, _]) = two_parts();
    let renamed = first.with_file_name("tiny.gguf");
    fs::rename(&first, &renamed).unwrap();
    let renamed = open(&renamed).err().unwrap();
    assert!(renamed.contains("tiny.gguf is one of 2 parts"), "{renamed}");
}

#[test]
fn types_that_are_not_read_are_named_with_those_that_are() {
    for (number, name) in [(20, "IQ4_NL"), (39, "MXFP4"), (15, "Q8_K"), (99, "type 99")] {
        let message = refused(&llama().with("blk.2.ffn_up.weight", |t| t.kind = number));
        for words in ["blk.2.ffn_up.weight", name, "Q4_K, Q5_K, Q6_K"] {
            assert!(message.contains(words), "{message}");
        }
        assert!(!message.contains("damaged"), "{message}");
    }
}

#[test]
fn tensors_lie_one_behind_the_other() {
    let cases: [(&dyn Fn(&mut make::RawTensor), &str); 8] = [
        (
            &|t| t.offset = Some(164_928),
            "begins at byte 164928 of the data",
        ),
        (
            &|t| t.offset = Some(t.data.len() as u64 * 11 + 32),
            "begins at byte",
        ),
        (
            &|t| t.offset = Some(0u64.wrapping_sub(32)),
            "begins at byte 18446744073709551584",
        ),
        (
            &|t| t.dims = vec![1 << 33, 1 << 33],
            "more than any file can hold",
        ),
        (
            &|t| t.dims = vec![1 << 62, 4, 4],
            "more than any file can hold",
        ),
        (&|t| t.dims = vec![48, 0], "no dimension may be 0"),
        (
            &|t| t.dims = vec![48, 80, 1, 1, 1],
            "has 5 dimensions; accepted: 1 to 4",
        ),
        (&|t| t.dims = vec![48, 1 << 40], "are left of the file"),
    ];
    for (change, words) in cases {
        let message = refused(&llama().with("blk.0.ffn_up.weight", change));
        assert!(
            message.contains("blk.0.ffn_up.weight") && message.contains(words),
            "{message}"
        );
    }
    let message = refused(&llama().with("blk.0.ffn_up.weight", |t| {
        t.name = "blk.0.ffn_gate.weight".into();
    }));
    assert!(
        message.contains("tensor blk.0.ffn_gate.weight stands there twice"),
        "{message}"
    );
    let message = refused(&llama().with("blk.0.ffn_up.weight", |t| t.dims.clear()));
    assert!(message.contains("has 0 dimensions"), "{message}");
}

#[test]
fn what_a_file_says_of_its_lengths_is_not_believed() {
    let huge = 1u64 << 60;
    let cases = [
        (
            "general.name",
            [&8u32.to_le_bytes()[..], &huge.to_le_bytes()].concat(),
            "general.name",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(8, huge, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(4, huge, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(12, u64::MAX, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(9, 1, &[0; 12]),
            "array of arrays",
        ),
        ("general.name", 77u32.to_le_bytes().to_vec(), "type 77"),
        (
            "tokenizer.ggml.add_bos_token",
            [&7u32.to_le_bytes()[..], &[2]].concat(),
            "neither 0 nor 1",
        ),
    ];
    for (key, value, words) in cases {
        let message = refused(&llama().set(key, value));
        assert!(
            message.contains(key) && message.contains(words),
            "{message}"
        );
    }
    // The counts of the header itself.
    for (at, words) in [(8, "number of tensors"), (16, "number of keys")] {
        for count in [u64::MAX, 1 << 40, 65_537, 60_000] {
            let (mut bytes, _) = llama().bytes();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            let (_dir, path) = written(&llama());
            fs::write(&path, bytes).unwrap();
            let message = open(&path).err().unwrap();
            assert!(count == 60_000 || message.contains(words), "{message}");
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

/// Bytes put in or taken out anywhere, which push all others from their place.
#[test]
fn bytes_more_or_less_are_noticed_wherever_they_are() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (whole, header) = llama().bytes();
    let (_dir, path) = written(&llama());
    for round in 0..300 {
        let end = if round % 3 == 0 { header } else { whole.len() };
        let at = rng.random_range(0..end);
        let count = rng.random_range(1..100);
        let mut bytes = whole.clone();
        match round % 2 {
            0 => drop(bytes.splice(at..at, vec![rng.random::<u8>(); count])),
            _ => drop(bytes.drain(at..(at + count).min(whole.len()))),
        }
        fs::write(&path, bytes).unwrap();
        assert!(open(&path).is_err(), "round {round}: {count} bytes at {at}");
    }
}

/// Flipped bytes of the header: an error or a configuration, never a panic or memory by belief.
#[test]
fn a_header_with_other_bytes_panics_nowhere() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for name in ["tiny-llama", "tiny-gemma3-linear", "tiny-phi3-longrope"] {
        let raw = Raw::tiny(name);
        let (whole, header) = raw.bytes();
        let (_dir, path) = written(&raw);
        for _ in 0..700 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let value = [0, 1, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..6)];
                bytes[rng.random_range(0..header)] = value;
            }
            fs::write(&path, bytes).unwrap();
            let read = open(&path);
            if let Err(message) = read {
                assert!(message.contains(path.to_str().unwrap()), "{message}");
            }
            if let Ok(header) = GgufFile::open(&path) {
                let _ = Tokenizer::from_gguf(&header);
            }
        }
    }
}
