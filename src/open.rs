//! A model by its name, with its tokenizer, ready to be looked into.

use std::path::PathBuf;

use crate::engine::{Engine, EngineError, Readout, check_edits};
use crate::hooks::{Condition, EditCount, Observer};
use crate::hub::{DownloadProgress, HubError, ModelFiles, locate};
use crate::model::{Checkpoint, Config, LoadOptions, Model, ModelError};
use crate::prompts::{Document, Documents, PromptSet};
use crate::tokens::{
    BosPolicy, PromptProblem, TokenBatch, TokenError, Tokenizer, Windowing, tokenize, windows,
};

/// A model and its tokenizer.
pub struct LanguageModel {
    /// The weights, ready to run.
    pub model: Model,
    /// The same weights as they are stored, which classes of neurons are made of.
    pub checkpoint: Checkpoint,
    /// Texts to ids and back.
    pub tokenizer: Tokenizer,
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its files were not found, or not fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Its configuration or weights.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its tokenizer.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The tokenizer in a GGUF file.
    #[error("cannot use {}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: TokenError,
    },
}

/// A model's checkpoint and its tokenizer. The header of a GGUF file, which has what both need, is read once.
///
/// # Errors
/// Those of the checkpoint, then those of the tokenizer.
pub(crate) fn open_files(files: &ModelFiles) -> Result<(Checkpoint, Tokenizer), OpenError> {
    match files {
        ModelFiles::Gguf(parts) => {
            let (checkpoint, header) = Checkpoint::open_gguf(parts)?;
            let tokenizer = Tokenizer::from_gguf(&header).map_err(|source| OpenError::Gguf {
                path: header.path.clone(),
                source,
            });
            Ok((checkpoint, tokenizer?))
        }
        ModelFiles::Folder {
            config,
            tokenizer,
            tokenizer_config,
            ..
        } => {
            let checkpoint = Checkpoint::open(files)?;
            let special = tokenizer_config.as_deref();
            let tokenizer = Tokenizer::from_files(tokenizer, special, Some(config))?;
            Ok((checkpoint, tokenizer))
        }
    }
}

impl LanguageModel {
    /// Opens what the command line's `--model` takes: an alias such as `smollm2-135m`, `org/name[@revision]` on the Hugging
    /// Face hub, a folder, or a GGUF file; fetched where it is not on disk. It runs on the CPU in f32, its layers in memory
    /// where they fit what is free.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::open_with(name, LoadOptions::default(), &())
    }

    /// The same with another precision, device or limit of memory; `progress` hears of downloads.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with(
        name: &str,
        options: LoadOptions,
        progress: &dyn DownloadProgress,
    ) -> Result<Self, OpenError> {
        let files = locate(name, progress)?.files;
        let (checkpoint, tokenizer) = open_files(&files)?;
        Ok(Self {
            model: Model::load(checkpoint.clone(), options)?,
            checkpoint,
            tokenizer,
        })
    }

    /// Layers, widths, and everything else that decides the arithmetic.
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// What runs it.
    pub fn engine(&self) -> Engine<'_> {
        Engine::new(&self.model)
    }

    /// Facts as a batch, with their subjects' tokens and their targets; BOS as the model's tokenizer has it. A batch has its
    /// sequences by length: each says which prompt it is ([`Sequence::prompt`](crate::tokens::Sequence::prompt)).
    ///
    /// # Errors
    /// [`TokenError`], with every prompt that cannot be used.
    pub fn encode(&self, prompts: &PromptSet) -> Result<TokenBatch, TokenError> {
        tokenize(prompts, &self.tokenizer, BosPolicy::Auto)
    }

    /// Texts as a batch, without subjects and targets; BOS as the model's tokenizer has it. As in [`encode`](Self::encode) the
    /// order is that of the lengths.
    ///
    /// # Errors
    /// [`TokenError`], with every text that cannot be used.
    pub fn encode_texts<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Result<TokenBatch, TokenError> {
        let documents = texts.into_iter().enumerate().map(|(i, text)| Document {
            id: i.to_string(),
            text: text.to_owned(),
        });
        let documents = Documents {
            name: "texts".to_owned(),
            documents: documents.collect(),
            sha256: String::new(),
        };
        let whole = Windowing {
            bos: BosPolicy::Auto,
            context: usize::MAX,
            max_tokens: None,
        };
        let wanted = documents.documents.len();
        let windows = windows(&[documents], &self.tokenizer, whole)?;
        if let Some(empty) = (0..wanted).find(|i| windows.get(*i).is_none_or(|w| w.document != *i))
        {
            return Err(TokenError::Invalid {
                name: "texts".to_owned(),
                problems: vec![PromptProblem {
                    id: empty.to_string(),
                    what: "it has no tokens".to_owned(),
                }],
            });
        }
        TokenBatch::new(windows.into_iter().map(|window| window.sequence).collect())
    }

    /// Runs a batch under conditions in one pass, as [`Engine::run`]; observers see the sites, `readout` the logits. Returns
    /// what each condition's edit changed.
    ///
    /// # Errors
    /// Those of the engine; [`EngineError::NullEdit`] where an edit changed no value.
    pub fn run(
        &self,
        batch: &TokenBatch,
        conditions: &[Condition],
        observers: &mut [&mut dyn Observer],
        readout: Option<&mut dyn Readout>,
    ) -> Result<Vec<EditCount>, EngineError> {
        let counts = self
            .engine()
            .run(batch, conditions, observers, readout, &())?;
        check_edits(conditions, &counts)?;
        Ok(counts)
    }
}
