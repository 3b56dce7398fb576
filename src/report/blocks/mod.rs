//! What a run's folder has to show, as data: [`folder`] reads its files, and for each kind of run a file here makes pictures
//! and tables of them. How these look is for others: the page (`html`), files for a paper (`figures`), LaTeX (`latex`).

mod activity;
mod block;
mod claims;
mod classes;
mod cosines;
mod effect_data;
mod effects;
mod folder;
mod losses;
mod ranking;
mod rates;
mod sweep;

pub use block::{Block, Figure, Panel, Width, lines};
pub use claims::verdicts;
pub use folder::Folder;
