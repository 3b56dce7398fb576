//! The integration tests, one binary. `common` finds the models: real ones by their aliases (fetched
//! on first use), tiny random ones under `tests/goldens`.

mod arguments;
mod attributes;
mod cli;
mod common;
mod configs;
mod edits;
mod engine;
mod families;
mod finite;
mod frequencies;
mod generate;
mod golden;
mod goldens;
mod hub;
mod loading;
mod memory;
mod neuron;
mod oracle;
mod published;
mod rank;
mod recall;
mod record;
mod references;
mod reports;
mod stages;
mod stopping;
mod sweep;
mod terminal;
mod text;
mod tokenizers;
mod two_layer;
mod verify;
