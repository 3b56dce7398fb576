//! Any bytes as `tokenizer_config.json`.
#![no_main]

#[path = "model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model::open("tokenizer_config.json", bytes));
