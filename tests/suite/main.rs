//! The integration tests, one binary. `common` finds the models: real ones by their aliases (fetched
//! on first use), tiny random ones under `tests/goldens`.

mod cli;
mod common;
mod configs;
mod edits;
mod engine;
mod families;
mod golden;
mod goldens;
mod hub;
mod loading;
mod memory;
mod oracle;
mod published;
mod rank;
mod recall;
mod record;
mod references;
mod stages;
mod stopping;
mod sweep;
mod text;
mod tokenizers;
mod two_layer;
