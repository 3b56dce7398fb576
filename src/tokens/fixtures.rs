//! Small tokenizers for tests, as GGUF metadata.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::Tokenizer;
use crate::hub::gguf::GgufFile;

pub type Meta = HashMap<String, Value>;

/// Ids of the two control tokens that both fixtures begin with.
pub const BOS: u32 = 0;
pub const UNKNOWN: u32 = 1;

pub fn set(meta: &mut Meta, key: &str, value: Value) {
    meta.insert(format!("tokenizer.ggml.{key}"), value);
}

pub fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn meta(kind: &str, pieces: &[(String, i32)]) -> Meta {
    let mut meta = Meta::new();
    let tokens = pieces.iter().map(|(piece, _)| text(piece)).collect();
    let kinds = pieces.iter().map(|(_, kind)| Value::I32(*kind)).collect();
    set(&mut meta, "model", text(kind));
    set(&mut meta, "tokens", Value::Array(tokens));
    set(&mut meta, "token_type", Value::Array(kinds));
    set(&mut meta, "bos_token_id", Value::U32(BOS));
    set(&mut meta, "unknown_token_id", Value::U32(UNKNOWN));
    meta
}

fn specials() -> Vec<(String, i32)> {
    vec![("<s>".to_owned(), 3), ("<unk>".to_owned(), 3)]
}

/// All bytes, and each word (with Ġ for a space) built from the left, letter by letter.
pub fn byte_level(pre: &str, words: &[&str]) -> Meta {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut pieces = specials();
    pieces.extend(alphabet.into_iter().map(|letter| (letter.to_string(), 1)));
    let mut merges = Vec::new();
    for word in words {
        let letters: Vec<char> = word.chars().collect();
        for end in 1..letters.len() {
            let left: String = letters[..end].iter().collect();
            let whole = format!("{left}{}", letters[end]);
            if !pieces.iter().any(|(piece, _)| *piece == whole) {
                merges.push(text(&format!("{left} {}", letters[end])));
                pieces.push((whole, 1));
            }
        }
    }
    let mut meta = meta("gpt2", &pieces);
    set(&mut meta, "pre", text(pre));
    set(&mut meta, "merges", Value::Array(merges));
    meta
}

/// All bytes as `<0xXX>`, then the given pieces with their scores.
pub fn sentencepiece(scored: &[(&str, f32)]) -> Meta {
    let mut pieces = specials();
    pieces.extend((0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    let mut scores = vec![0.0; pieces.len()];
    pieces.extend(scored.iter().map(|(piece, _)| ((*piece).to_owned(), 1)));
    scores.extend(scored.iter().map(|(_, score)| *score));
    let mut meta = meta("llama", &pieces);
    let scores = scores.into_iter().map(Value::F32).collect();
    set(&mut meta, "scores", Value::Array(scores));
    meta
}

/// The header of a file with these metadata and no tensors, written by candle.
pub fn header(metadata: &Meta) -> GgufFile {
    let entries: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &entries, &[]).unwrap();
    GgufFile::read(Path::new("made.gguf"), &mut file).unwrap()
}

pub fn tokenizer(metadata: Meta) -> Tokenizer {
    Tokenizer::from_gguf(&header(&metadata)).unwrap()
}

/// The texts of a text's tokens.
pub fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text).unwrap().ids;
    ids.into_iter().map(|id| tokenizer.token_text(id)).collect()
}
