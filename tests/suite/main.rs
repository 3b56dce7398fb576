//! The integration tests, one binary. `common` finds the models: real ones by their aliases (fetched
//! on first use), tiny random ones under `tests/goldens`.

mod arguments;
mod attributes;
mod cli;
mod common;
mod configs;
mod edits;
mod encoding;
mod engine;
mod families;
mod finite;
mod frequencies;
mod generate;
mod gguf_files;
mod gguf_keys;
mod golden;
mod goldens;
mod hf_folders;
mod hub;
mod loading;
mod memory;
mod mutations;
mod neuron;
mod oracle;
mod out_folders;
mod prompt_files;
mod published;
mod rank;
mod recall;
mod record;
mod references;
mod reports;
mod schemas;
mod stages;
mod stopping;
mod sweep;
mod terminal;
mod text;
mod tokenizers;
mod two_layer;
mod verify;

#[global_allocator]
static ALLOCATOR: mutations::Counting = mutations::Counting;
