use candle_core::quantized::gguf_file::Value;
use tokenizers::processors::template::TemplateProcessing;

use super::*;
use crate::tokens::fixtures::{BOS, byte_level, sentencepiece, set, tokenizer};

/// Writes a tokenizer.json whose template is `template`, and a tokenizer_config.json.
fn files(template: &str, config: &str) -> tempfile::TempDir {
    let mut inner = tokenizer(byte_level("gpt-2", &["ĠParis"])).inner;
    let template = TemplateProcessing::builder()
        .try_single(template)
        .unwrap()
        .special_tokens(vec![("<s>", 0), ("<unk>", 1)])
        .build()
        .unwrap();
    inner.with_post_processor(Some(template));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("tokenizer.json");
    inner.save(json, false).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"bos_token_id": 0}"#).unwrap();
    folder
}

fn read(folder: &tempfile::TempDir) -> Result<Tokenizer, TokenError> {
    let path = |name| folder.path().join(name);
    Tokenizer::from_files(
        &path("tokenizer.json"),
        Some(&path("tokenizer_config.json")),
        Some(&path("config.json")),
    )
}

#[test]
fn auto_does_what_the_template_does() {
    for (template, expected) in [("<s> $0 <unk>", Some(BOS)), ("$0 <unk>", None)] {
        let tokenizer = read(&files(template, r#"{"bos_token": "<s>"}"#)).unwrap();
        assert_eq!(tokenizer.bos_for(BosPolicy::Auto).unwrap(), expected);
        assert_eq!(tokenizer.bos_for(BosPolicy::Always).unwrap(), Some(BOS));
        assert_eq!(tokenizer.bos_for(BosPolicy::Never).unwrap(), None);
        assert_eq!(
            tokenizer.token_text(tokenizer.encode(" Paris").unwrap().ids[0]),
            " Paris"
        );
    }
}

#[test]
fn config_json_gives_the_bos_that_tokenizer_config_lacks() {
    let tokenizer = read(&files("<s> $0", "{}")).unwrap();
    assert_eq!(tokenizer.bos_for(BosPolicy::Auto).unwrap(), Some(BOS));
}

#[test]
fn a_foreign_front_is_not_taken_for_bos() {
    let tokenizer = read(&files("<unk> $0", "{}")).unwrap();
    let message = tokenizer.bos_for(BosPolicy::Auto).unwrap_err().to_string();
    assert!(
        message.contains("puts [\"<unk>\"] before a text"),
        "{message}"
    );
    assert!(message.contains("(BOS is <s>)"), "{message}");
}

#[test]
fn an_unknown_bos_names_its_file() {
    let message = read(&files("$0", r#"{"bos_token": {"content": "<x>"}}"#))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("tokenizer_config.json names <x>"),
        "{message}"
    );
}

#[test]
fn always_needs_a_bos() {
    let mut meta = byte_level("gpt-2", &[]);
    meta.remove("tokenizer.ggml.bos_token_id");
    let tokenizer = tokenizer(meta);
    assert_eq!(tokenizer.bos_for(BosPolicy::Auto).unwrap(), None);
    assert!(matches!(
        tokenizer.bos_for(BosPolicy::Always),
        Err(TokenError::NoBos { .. })
    ));
}

#[test]
fn a_missing_file_is_named() {
    let error = Tokenizer::from_files(Path::new("no/tokenizer.json"), None, None).unwrap_err();
    assert_eq!(error.to_string(), "cannot read no/tokenizer.json");
}

#[test]
fn the_target_gets_one_space_with_and_without_a_dummy_prefix() {
    for prefixed in [true, false] {
        let mut meta = sentencepiece(&[("▁", -9.0), ("a", -9.0), ("▁a", -1.0), ("▁▁", -0.5)]);
        set(&mut meta, "add_space_prefix", Value::Bool(prefixed));
        let tokenizer = tokenizer(meta);
        let target = tokenizer.encode_target("a").unwrap();
        let texts: Vec<_> = target.iter().map(|&id| tokenizer.token_text(id)).collect();
        assert_eq!(texts, [" a"], "prefixed {prefixed}");
        let joint = tokenizer.encode("a a").unwrap().ids;
        let prompt = tokenizer.encode("a").unwrap().ids;
        assert_eq!(joint, [prompt, target].concat());
    }
}

#[test]
fn text_without_tokens_is_refused() {
    let mut meta = byte_level("gpt-2", &[]);
    let Some(Value::Array(tokens)) = meta.get_mut("tokenizer.ggml.tokens") else {
        panic!()
    };
    let letter = tokens
        .iter_mut()
        .find(|token| token.to_string().unwrap() == "b");
    *letter.unwrap() = Value::String("<none>".to_owned());
    let tokenizer = tokenizer(meta);
    assert!(tokenizer.encode("a c").is_ok());
    for text in ["ab c", "bb", "a cb"] {
        let message = tokenizer.encode(text).unwrap_err().to_string();
        assert!(message.contains("no tokens for \"b"), "{message}");
    }
}

#[test]
fn a_part_of_a_character_has_no_text() {
    let tokenizer = tokenizer(byte_level("gpt-2", &[]));
    let encoded = tokenizer.encode("é").unwrap();
    assert_eq!(encoded.offsets, [0..2, 0..2]);
    assert_eq!(tokenizer.token_text(encoded.ids[0]), "\u{fffd}");
    assert_eq!(tokenizer.decode(&encoded.ids), "é");
    assert_eq!(tokenizer.vocab_size(), 258);
}
