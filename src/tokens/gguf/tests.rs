use candle_core::quantized::gguf_file::Value;

use super::{GgufError, GgufTokenizer};
use crate::tokens::fixtures::{
    BOS, Meta, byte_level, header, pieces, sentencepiece, set, text, tokenizer,
};

fn build(meta: &Meta) -> Result<GgufTokenizer, GgufError> {
    super::build(&header(meta).metadata)
}

/// Pieces whose scores decide between cuts: `ab` is joined before `bc`.
fn scored() -> Meta {
    sentencepiece(&[
        ("▁", -9.0),
        ("a", -9.0),
        ("b", -9.0),
        ("c", -9.0),
        ("bc", -3.0),
        ("ab", -2.0),
        ("▁a", -4.0),
        ("abc", -5.0),
        ("▁abc", -6.0),
    ])
}

fn error(meta: &Meta) -> String {
    build(meta).unwrap_err().to_string()
}

#[test]
fn byte_level_words_are_merged_and_digits_stand_alone() {
    let tokenizer = tokenizer(byte_level("smollm", &["ĠParis", "The"]));
    assert_eq!(
        pieces(&tokenizer, "The Paris 12"),
        ["The", " Paris", " ", "1", "2"]
    );
}

#[test]
fn taken_words_need_no_merges() {
    for (pre, expected) in [("llama-bpe", vec!["ab"]), ("dbrx", vec!["a", "b"])] {
        let mut meta = byte_level(pre, &["ab"]);
        set(&mut meta, "merges", Value::Array(vec![]));
        assert_eq!(pieces(&tokenizer(meta), "ab"), expected, "{pre}");
    }
}

#[test]
fn sentencepiece_merges_follow_the_scores() {
    let mut meta = scored();
    set(&mut meta, "add_space_prefix", Value::Bool(false));
    let tokenizer = tokenizer(meta);
    // ab (-2) before bc (-3), then abc = ab + c; ▁abc = ▁ + abc.
    assert_eq!(pieces(&tokenizer, "abc"), ["abc"]);
    assert_eq!(pieces(&tokenizer, "a abc"), ["a", " abc"]);
    assert_eq!(pieces(&tokenizer, "bcb"), ["bc", "b"]);
}

#[test]
fn the_dummy_prefix_is_the_default_and_is_taken_off_again() {
    let tokenizer = tokenizer(scored());
    let ids = tokenizer.encode("abc ab").unwrap().ids;
    assert_eq!(tokenizer.token_text(ids[0]), " abc");
    assert_eq!(tokenizer.decode(&ids), "abc ab");
}

#[test]
fn unknown_characters_become_bytes_with_the_range_of_the_character() {
    let mut meta = scored();
    set(&mut meta, "add_space_prefix", Value::Bool(false));
    let tokenizer = tokenizer(meta);
    let encoded = tokenizer.encode("aéb").unwrap();
    assert_eq!(encoded.offsets, [0..1, 1..3, 1..3, 3..4]);
    assert_eq!(tokenizer.decode(&encoded.ids), "aéb");
}

#[test]
fn user_defined_tokens_are_cut_out_first_with_plain_spaces() {
    let mut meta = sentencepiece(&[("▁", -1.0), ("a", -1.0), ("▁▁", -1.0), ("▁a", -1.0)]);
    set(&mut meta, "add_space_prefix", Value::Bool(false));
    let key = "tokenizer.ggml.token_type";
    let Some(Value::Array(kinds)) = meta.get_mut(key) else {
        panic!()
    };
    kinds[260] = Value::I32(4);
    assert_eq!(pieces(&tokenizer(meta), "a  a a"), ["a", "  ", "a", " a"]);
}

#[test]
fn control_tokens_are_recognised() {
    let tokenizer = tokenizer(byte_level("gpt-2", &[]));
    assert_eq!(tokenizer.encode("<s>a").unwrap().ids[0], BOS);
}

#[test]
fn bos_follows_the_flag_or_the_kind() {
    let adds_bos = |mut meta: Meta, flag: Option<bool>| {
        if let Some(flag) = flag {
            set(&mut meta, "add_bos_token", Value::Bool(flag));
        }
        let built = build(&meta).unwrap();
        assert_eq!(built.bos, Some(BOS));
        built.adds_bos
    };
    assert!(adds_bos(scored(), None));
    assert!(!adds_bos(scored(), Some(false)));
    assert!(adds_bos(byte_level("llama-bpe", &[]), None));
    assert!(!adds_bos(byte_level("qwen2", &[]), None));
    assert!(adds_bos(byte_level("qwen2", &[]), Some(true)));
}

#[test]
fn the_hash_sees_every_tokenizer_entry_and_no_other() {
    let hash = |meta: &Meta| build(meta).unwrap().sha256;
    let mut meta = scored();
    let before = hash(&meta);
    meta.insert("llama.block_count".to_owned(), Value::U32(3));
    assert_eq!(hash(&meta), before);
    set(&mut meta, "add_bos_token", Value::Bool(true));
    assert_ne!(hash(&meta), before);
}

#[test]
fn missing_keys_are_named() {
    let needed = [
        (scored(), vec!["model", "tokens", "token_type", "scores"]),
        (
            byte_level("gpt-2", &[]),
            vec!["model", "pre", "tokens", "token_type", "merges"],
        ),
    ];
    for (meta, keys) in needed {
        for key in keys {
            let mut meta = meta.clone();
            meta.remove(&format!("tokenizer.ggml.{key}"));
            let message = error(&meta);
            assert!(
                message.contains(&format!("no `tokenizer.ggml.{key}`")),
                "{message}"
            );
        }
    }
}

#[test]
fn malformed_values_are_named() {
    let broken = |key: &str, value: Value| {
        let mut meta = byte_level("gpt-2", &["ab"]);
        set(&mut meta, key, value);
        error(&meta)
    };
    let cases = [
        ("model", text("rwkv"), "known are: gpt2, llama;"),
        (
            "pre",
            text("default"),
            "known are: gpt-2, gpt2, olmo, smollm",
        ),
        (
            "model",
            Value::U32(1),
            "`tokenizer.ggml.model` in the GGUF file must be a string",
        ),
        (
            "tokens",
            Value::Array(vec![Value::U32(1)]),
            "must be an array of strings",
        ),
        (
            "token_type",
            Value::Array(vec![]),
            "has 0 entries for 259 tokens",
        ),
        (
            "bos_token_id",
            Value::U32(259),
            "is 259, but there are only 259 tokens",
        ),
        (
            "bos_token_id",
            Value::I32(-1),
            "`tokenizer.ggml.bos_token_id` in the GGUF file is -1",
        ),
        ("add_bos_token", Value::U32(1), "must be a boolean"),
    ];
    for (key, value, expected) in cases {
        let message = broken(key, value);
        assert!(message.contains(expected), "{message}");
    }
    for merge in ["ab", "a ", "a b c", "a bb", "b a"] {
        let message = broken("merges", Value::Array(vec![text("a b"), text(merge)]));
        assert!(
            message.contains(&format!(
                "entry 1 of `tokenizer.ggml.merges` in the GGUF file is {merge:?}"
            )),
            "{message}"
        );
    }
}

#[test]
fn two_tokens_of_one_text_are_refused() {
    let mut meta = scored();
    let Some(Value::Array(tokens)) = meta.get_mut("tokenizer.ggml.tokens") else {
        panic!()
    };
    tokens[2] = text("x");
    tokens[3] = text("x");
    assert!(error(&meta).contains("has the text \"x\" twice, at 2 and 3"));
}
