//! Prompts and texts as every command reads them: with warnings of what is doubtful, and checked against the model before its
//! weights are read.

use std::path::{Path, PathBuf};

use super::setup::Opened;
use crate::prompts::{Document, Documents, PromptError, PromptSet, first_few};
use crate::report::PromptSetInfo;
use crate::tokens::{
    BosPolicy, Sequence, SpecialInText, TokenBatch, TokenError, Tokenizer, Window, Windowing,
    check_vocabulary, special_tokens, windows,
};

/// The prompts of a file, or the bundled facts; warns of subjects whose place is not sure.
pub fn read_prompts(path: Option<&Path>) -> Result<PromptSet, PromptError> {
    let set = path.map_or_else(PromptSet::bundled, PromptSet::read)?;
    for doubt in set.doubts() {
        notice!("warning: {doubt}");
    }
    Ok(set)
}

/// How prompts become tokens.
pub type Tokenize = fn(&PromptSet, &Tokenizer, BosPolicy) -> Result<TokenBatch, TokenError>;

/// Prompts as tokens that the model has.
pub fn checked_batch(
    tokenize: Tokenize,
    set: &PromptSet,
    opened: &Opened,
    bos: BosPolicy,
) -> Result<TokenBatch, TokenError> {
    let batch = tokenize(set, &opened.tokenizer, bos)?;
    let id = |sequence: usize| set.prompts[sequence].id.as_str();
    check(batch.sequences(), id, opened)?;
    Ok(batch)
}

/// Texts in windows of tokens that the model has.
pub struct Texts {
    pub files: Vec<Documents>,
    pub windows: Vec<Window>,
}

impl Texts {
    /// Reads and cuts files.
    pub fn read(paths: &[PathBuf], opened: &Opened, cut: Windowing) -> anyhow::Result<Self> {
        let files = Documents::read_all(paths)?;
        let windows = windows(&files, &opened.tokenizer, cut)?;
        let texts = Self { files, windows };
        let (documents, windows) = (texts.documents(), &texts.windows);
        let id = |sequence: usize| documents[windows[sequence].document].id.as_str();
        let sequences: Vec<&Sequence> = windows.iter().map(|window| &window.sequence).collect();
        check(sequences, id, opened)?;
        Ok(texts)
    }

    /// The names of the files.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        names.join(", ")
    }

    /// All documents, as the windows number them.
    pub fn documents(&self) -> Vec<&Document> {
        self.files.iter().flat_map(|file| &file.documents).collect()
    }

    /// What was read, for `run.json`.
    pub fn info(&self) -> Vec<PromptSetInfo> {
        let info = |file: &Documents| PromptSetInfo::new(&file.name, &file.sha256);
        self.files.iter().map(info).collect()
    }
}

fn check<'a, 'b>(
    sequences: impl IntoIterator<Item = &'a Sequence> + Clone,
    id: impl Fn(usize) -> &'b str,
    opened: &Opened,
) -> Result<(), TokenError> {
    let (tokenizer, vocab_size) = (&opened.tokenizer, opened.config().vocab_size);
    check_vocabulary(sequences.clone(), tokenizer, vocab_size)?;
    for SpecialInText { token, sequences } in special_tokens(sequences, tokenizer) {
        let mut ids: Vec<&str> = sequences.into_iter().map(&id).collect();
        ids.dedup();
        notice!(
            "warning: {token:?} in {} is read as the special token, as transformers does, not as text",
            first_few(&ids)
        );
    }
    Ok(())
}
