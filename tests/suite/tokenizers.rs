//! The tokenizers built from the real models' GGUF metadata, against the ids that llama.cpp gives
//! (`tests/goldens/tokenizers.json`, written by `tests/goldens/make.py`).

use std::fs::File;
use std::path::Path;

use gatelens::hub::gguf::GgufFile;
use gatelens::prompts::PromptSet;
use gatelens::tokens::{BosPolicy, Positions, Tokenizer, tokenize};
use serde_json::Value;

use super::common::model_path;

fn tokenizer(alias: &str) -> Tokenizer {
    Tokenizer::from_gguf(&GgufFile::open(&model_path(alias)).unwrap()).unwrap()
}

fn goldens(alias: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizers.json");
    let goldens: Value = serde_json::from_reader(File::open(path).unwrap()).unwrap();
    goldens["models"][alias].as_array().unwrap().clone()
}

fn ids(row: &Value, field: &str) -> Vec<u32> {
    let ids = row[field].as_array().unwrap();
    ids.iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Every string: the same ids, with and without the model's own BOS, and a text that comes back.
fn check(alias: &str) {
    check_rows(alias, &goldens(alias));
}

fn check_rows(alias: &str, rows: &[Value]) {
    let tokenizer = tokenizer(alias);
    let bos = tokenizer.bos_for(BosPolicy::Auto).unwrap();
    assert!(rows.len() >= 30, "{} strings", rows.len());
    let mut differing = Vec::new();
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let encoded = tokenizer.encode(text).unwrap();
        if row.get("ids_composed").is_some() {
            // what is composed is no token of its own: these offsets leave a mark out
            assert_eq!(encoded.ids, ids(row, "ids_composed"), "{text:?}");
            continue;
        }
        let with_bos: Vec<u32> = bos.into_iter().chain(encoded.ids.iter().copied()).collect();
        if encoded.ids != ids(row, "ids") || with_bos != ids(row, "ids_with_special") {
            differing.push(format!("{text:?}: {:?}, not {}", encoded.ids, row["ids"]));
        }
        let spans = encoded.offsets.iter();
        let spans: Vec<_> = spans.map(|s| s.start as usize..s.end as usize).collect();
        check_offsets(text, &spans);
    }
    assert!(differing.is_empty(), "{alias}:\n{}", differing.join("\n"));
}

/// The tokens cover the text, in order, and cut it only between characters.
fn check_offsets(text: &str, offsets: &[std::ops::Range<usize>]) {
    let mut covered = 0;
    for range in offsets {
        assert!(
            range.start <= covered && range.end >= covered,
            "{text:?}: {offsets:?}"
        );
        assert!(text.get(range.clone()).is_some(), "{text:?}: {range:?}");
        covered = range.end;
    }
    assert_eq!(covered, text.len(), "{text:?}: {offsets:?}");
}

#[test]
fn smollm2_agrees_with_llama_cpp() {
    check("smollm2-135m");
}

#[test]
fn gemma3_agrees_with_llama_cpp() {
    check("gemma3-270m");
}

#[test]
fn qwen_agrees_with_llama_cpp() {
    check("qwen2.5-coder-0.5b");
}

/// llama.cpp gives the same ids for both files.
#[test]
#[ignore = "downloads 1.1 GB"]
fn qwen_1_5b_agrees_with_llama_cpp() {
    check_rows("qwen2.5-coder-1.5b", &goldens("qwen2.5-coder-0.5b"));
}

/// A target encoded by itself gives the ids that it has in running text, and a subject's tokens read as the subject.
fn check_facts(alias: &str) {
    let tokenizer = tokenizer(alias);
    let set = PromptSet::bundled().unwrap();
    let batch = tokenize(&set, &tokenizer, BosPolicy::Auto).unwrap();
    assert_eq!(batch.sequences().len(), set.prompts.len());
    for sequence in batch.sequences() {
        let prompt = &set.prompts[sequence.prompt];
        let front = usize::from(sequence.offsets[0].is_none());
        let alone = [&sequence.ids[front..sequence.prompt_len], &sequence.target].concat();
        let running = tokenizer
            .encode(&format!("{} {}", prompt.prompt, prompt.target))
            .unwrap();
        assert_eq!(alone, running.ids, "{}", prompt.id);
        let subject = tokenizer.decode(&sequence.ids[sequence.subject.clone()]);
        assert!(
            subject.contains(&prompt.subject),
            "{}: {subject:?}",
            prompt.id
        );
    }
    let last = batch.mask(Positions::Last);
    assert_eq!(last.iter().filter(|&&row| row).count(), set.prompts.len());
}

#[test]
fn smollm2_facts_read_as_running_text() {
    check_facts("smollm2-135m");
}

#[test]
fn gemma3_facts_read_as_running_text() {
    check_facts("gemma3-270m");
}

#[test]
fn qwen_facts_read_as_running_text() {
    check_facts("qwen2.5-coder-0.5b");
}

#[test]
fn bos_is_what_each_model_uses() {
    let smollm2 = tokenizer("smollm2-135m");
    assert_eq!(smollm2.bos_for(BosPolicy::Auto).unwrap(), None);
    assert_eq!(smollm2.vocab_size(), 49_152);
    let gemma3 = tokenizer("gemma3-270m");
    assert_eq!(gemma3.bos_for(BosPolicy::Auto).unwrap(), Some(2));
    assert_eq!(gemma3.vocab_size(), 262_144);
    let qwen = tokenizer("qwen2.5-coder-0.5b");
    assert_eq!(qwen.bos_for(BosPolicy::Auto).unwrap(), None);
    assert_eq!(qwen.vocab_size(), 151_936);
}
