//! Any text as prompts, texts, subjects and a list of neurons.
#![no_main]

use gatelens::hooks::NeuronSet;
use gatelens::prompts::{Documents, PromptSet, Subjects};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for name in ["x.jsonl", "x.json", "x.txt", "x.csv"] {
        let _ = PromptSet::parse(name, text);
        let _ = Documents::parse(name, text);
        let _ = Subjects::parse(name, text);
    }
    let _ = NeuronSet::parse(text, "x.txt", 4, 80);
});
