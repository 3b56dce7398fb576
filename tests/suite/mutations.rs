//! Whole files with other bytes, some thousand for each reader, always the same ones: what a reader makes of them is an
//! error that names the file, or what the undamaged file gives.
//!
//! Held for every case: no panic; at most twice the file's size plus 64 MiB of memory on the way; and a number is never
//! other than the undamaged file's without a sign of it:
//!
//! - `models`: other log-probabilities only with another configuration, which `inspect` shows, or with other weights. Any
//!   bytes are weights as far as a reader can tell, so changed bytes of tensors are left out here.
//! - `shapes`: a key of another type, gone or twice changes no number without a word, in no JSON file of a model.
//! - `inputs`: any prompt is a prompt; what is read must be the same each time, and an error names the file.
//! - `folders`: files of a run are known by their sha256, so a changed one is always an error where it is read.
//!
//! `fuzz/` has the same entries for cargo-fuzz, for longer runs.

pub mod bytes;
mod folders;
mod inputs;
mod memory;
mod models;
mod shapes;
mod structure;

pub use memory::Counting;
