//! The tokens of a GGUF file, their ids and their kinds.

use tokenizers::models::bpe::Vocab;
use tokenizers::{AddedToken, Tokenizer};

use super::error::{GgufError, build_error};
use super::metadata::Metadata;

/// What a token is for (`llama_token_type` of llama.cpp).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A piece of text, used or not.
    Piece,
    /// Stands for what the vocabulary lacks.
    Unknown,
    /// Opens, closes, separates; never part of a text.
    Control,
    /// A fixed string that is cut out of a text before anything else.
    UserDefined,
    /// One byte of a character that has no token (`<0xE2>`).
    Byte,
}

impl TokenKind {
    fn from_number(number: i128) -> Option<Self> {
        match number {
            1 | 5 => Some(Self::Piece),
            2 => Some(Self::Unknown),
            3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            6 => Some(Self::Byte),
            _ => None,
        }
    }
}

/// All tokens, in the order of their ids.
pub(super) struct Vocabulary {
    pub tokens: Vec<String>,
    pub kinds: Vec<TokenKind>,
    pub ids: Vocab,
    /// The token for what the vocabulary lacks, where the file names one.
    pub unknown: Option<u32>,
}

impl Vocabulary {
    pub fn read(metadata: &Metadata) -> Result<Self, GgufError> {
        Self::read_with(metadata, |text, _| text.to_owned())
    }

    /// `surface` gives the text that a token is found by, from its text in the file and its kind.
    pub fn read_with(
        metadata: &Metadata,
        surface: impl Fn(&str, TokenKind) -> String,
    ) -> Result<Self, GgufError> {
        let texts = metadata.texts("tokens")?;
        let kinds = read_kinds(metadata, texts.len())?;
        let surfaces = texts.iter().zip(&kinds);
        let tokens: Vec<String> = surfaces.map(|(text, &kind)| surface(text, kind)).collect();
        Ok(Self {
            ids: ids_of(&tokens)?,
            unknown: metadata.token_id("unknown_token_id", tokens.len())?,
            tokens,
            kinds,
        })
    }

    pub fn unknown_text(&self) -> Option<String> {
        self.unknown.map(|id| self.tokens[id as usize].clone())
    }

    /// Control and user-defined tokens are found in the text as it stands, before normalisation.
    pub fn add_special_tokens(&self, tokenizer: &mut Tokenizer) -> Result<(), GgufError> {
        let added = self.tokens.iter().zip(&self.kinds);
        let added = added.filter_map(|(text, kind)| match kind {
            TokenKind::Control => Some(AddedToken::from(text.clone(), true).normalized(false)),
            TokenKind::UserDefined => Some(AddedToken::from(text.clone(), false).normalized(false)),
            TokenKind::Piece | TokenKind::Unknown | TokenKind::Byte => None,
        });
        tokenizer.add_tokens(added).map_err(build_error)?;
        Ok(())
    }
}

fn read_kinds(metadata: &Metadata, tokens: usize) -> Result<Vec<TokenKind>, GgufError> {
    let key = "token_type";
    let kind = |number| {
        let wrong = || GgufError::of(key, "must be an array of token types from 1 to 6");
        TokenKind::from_number(number).ok_or_else(wrong)
    };
    let numbers = metadata.integers(key, tokens)?;
    numbers.into_iter().map(kind).collect()
}

fn ids_of(tokens: &[String]) -> Result<Vocab, GgufError> {
    let mut ids = Vocab::with_capacity(tokens.len());
    for (id, text) in (0u32..).zip(tokens) {
        if let Some(first) = ids.insert(text.clone(), id) {
            let why = format!("has the text {text:?} twice, at {first} and {id}");
            return Err(GgufError::of("tokens", why));
        }
    }
    Ok(ids)
}
