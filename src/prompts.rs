//! Prompt sets: what the model is asked, and what it should answer.
//!
//! A set is a text file in one of two containers, found out by looking at it:
//!
//! - JSON Lines, one record a line (blank lines are skipped);
//! - a JSON array of records (the text starts with `[`).
//!
//! or a published data set in its own container (`formats`): LRE (a JSON file for each relation, or a folder of these), PopQA (a
//! table with tabs), T-REx and ParaRel, counterfact-tracing, as text or as a Parquet file of the hub. Each is turned into records of
//! the first shape. A record has one of three shapes, found out record by record:
//!
//! | shape | told by | fields |
//! |---|---|---|
//! | own | neither of the others | `id`, `prompt`, `subject`, `target`, `relation` (optional) |
//! | ROME's known_1000 (Meng et al. 2022) | `attribute` | `known_id`, `prompt`, `subject`, `attribute`, `relation_id` |
//! | CounterFact (Meng et al. 2022) | `requested_rewrite` | `case_id`, in it `prompt`, `subject`, `target_true.str`, `relation_id` |
//!
//! Of every shape may have `rephrased`, the same fact in other words ([`Prompt::rephrased`]), and `counterfactual`, an object
//! with `prompt`, `subject` and `target` ([`Counterfactual`]); CounterFact's `target_new.str` is another answer alone. `aliases` are other
//! right answers, a list of texts.
//! `{}` in a prompt of the two published shapes is filled with the subject; it, or the field `template` of any shape with `{}`
//! in it, says where the subject stands. Else it is looked for (the module `place` says how). Other fields are ignored.
//! White space around a target is dropped: the tokens stage puts the one space before it, so `"Paris"` and `" Paris"` are
//! the same target, and a prompt that ends in white space is an error.
//! Every record is checked and every problem reported at once; a set with one bad record is no set.
//! Tokens are not this module's business: whether a subject has tokens is checked by the tokens stage.

mod error;
mod file;
mod formats;
mod naming;
mod pairs;
mod place;
mod prompt;
mod record;
mod records;
mod set;
mod stop_words;
mod subjects;
mod text;

pub use error::{FileKind, Place, Problem, PromptError};
pub use file::{NotText, Unreadable, content, read_text};
pub use place::{Found, SubjectPlace};
pub use prompt::{Counterfactual, Prompt, Question};
pub use set::PromptSet;
pub use stop_words::StopWords;
pub use subjects::{MissingText, SubjectPrompts, SubjectText, Subjects};
pub use text::{Document, Documents};

pub(crate) use crate::hub::sha256_hex;
pub(crate) use error::{count_of, list};
pub(crate) use set::first_few;
