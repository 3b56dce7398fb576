//! Outcomes and estimates to files. Exporters are pure functions from records to bytes; only
//! [`OutDir`] touches the disk, with [`Parts`] and [`RecordFiles`], which write while the engine runs.

mod added;
mod blocks;
mod chart;
mod claims;
mod classes;
mod command_line;
mod compare;
mod disk;
mod error;
mod figures;
mod heat_map;
mod html;
mod inputs;
mod latex;
mod lock;
mod merge;
pub(crate) mod number;
mod out_dir;
mod owned;
mod parts;
mod pdf;
mod record;
mod recording;
pub mod rows;
mod run_info;
mod sealed;
mod sheet;
pub mod table;
mod text_outcomes;
mod tone;
pub(crate) mod view;

pub use claims::Claims;
pub use classes::classes_json;
pub use command_line::{own_arguments, resume_line, shell_line, without};
pub use compare::{Compared, Difference, Differences, compare_runs};
pub use disk::free_space;
pub use error::ReportError;
pub use figures::{Figures, write_figures};
pub use heat_map::heat_map_svg;
pub use html::{report_html, verdicts_html, write_report};
pub use inputs::{PATHS, check_inputs, gone, input_files};
pub use latex::report_latex;
pub use merge::{Shards, clear_remains, shard_folder};
pub use out_dir::{OutDir, Overwrite, Placed};
pub use parts::Parts;
pub use record::{DensePlan, RecordFiles, context_of, expected_bytes};
pub use recording::{CONTEXT, Reading, RecordedFolder, RecordedNeuron};
pub use rows::{draws_parquet, neurons_parquet, outcomes_parquet, ranking_parquet, rates_parquet};
pub use run_info::{FileHash, ModelInfo, OutputFile, PromptSetInfo, RunInfo, TOOL, UnfinishedRun};
pub use text_outcomes::TextOutcomes;

#[cfg(test)]
mod schema;
