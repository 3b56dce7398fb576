//! A model's tokenizer, from either kind of file, behind one small face.
//!
//! It wraps [`tokenizers::Tokenizer`] and adds what that lacks: which token is BOS, whether the tokenizer
//! itself adds one, the text of a single token, and a hash that says which tokenizer made a result.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use tokenizers::ModelWrapper;

use super::bos::{BosPolicy, bos_from_files};
use super::error::TokenError;
use super::gguf;
use super::lost::lost_part;
use crate::guard::guarded;
use crate::hub::gguf::GgufFile;
use crate::hub::{FileError, json};
use crate::prompts::sha256_hex;

/// The ids of a text and where each stands in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// One id per token.
    pub ids: Vec<u32>,
    /// Byte range of each token in the text. Tokens that share a character (byte pieces) share its range.
    pub offsets: Vec<Range<u32>>,
}

/// How a text begins for this tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Front {
    /// Nothing is put before a text.
    Nothing,
    /// One BOS token is.
    Bos,
    /// Something else is: the texts of those tokens.
    Foreign(Vec<String>),
}

/// Whether the tokenizer puts a space before a text by itself (SentencePiece's dummy prefix).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Nothing,
    Space,
}

/// A tokenizer with its BOS token.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<u32>,
    /// What ends a text, where a GGUF file says so.
    eos: Option<u32>,
    front: Front,
    prefix: Prefix,
    sha256: String,
    /// Where it came from, for messages.
    source: String,
}

/// A text that any tokenizer knows, used to find out what a tokenizer does to a text.
const PROBE: &str = "a";

impl Tokenizer {
    /// Reads `tokenizer.json`; the BOS token is looked up in the other two files, in that order.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, and a BOS token that is not in the vocabulary.
    pub fn from_files(
        tokenizer_json: &Path,
        tokenizer_config: Option<&Path>,
        config_json: Option<&Path>,
    ) -> Result<Self, TokenError> {
        let bytes = std::fs::read(tokenizer_json).map_err(FileError::read(tokenizer_json))?;
        let bad = |why: String| {
            let why = format!("is not a tokenizer that can be read: {why}");
            FileError::unusable(tokenizer_json, why)
        };
        json::check_keys(&bytes).map_err(|why| bad(why.to_string()))?;
        let read = guarded(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(bad)?;
        let mut inner = read.map_err(|e| bad(e.to_string()))?;
        check_model(inner.get_model()).map_err(bad)?;
        // Some files are saved with a training run's truncation and padding; transformers ignores them as well.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| bad(e.to_string()))?;
        let bos = bos_from_files(&inner, tokenizer_config, config_json)?;
        let source = tokenizer_json.display().to_string();
        let mut tokenizer = Self::new(inner, bos, sha256_hex(&bytes), source)?;
        tokenizer.front = tokenizer.own_front()?;
        Ok(tokenizer)
    }

    /// Builds the tokenizer that the metadata of a GGUF file (of its first part) describe (kinds `gpt2` and `llama`).
    ///
    /// # Errors
    /// [`TokenError::Gguf`] with the metadata key that is missing or malformed, or an unknown kind.
    pub fn from_gguf(header: &GgufFile) -> Result<Self, TokenError> {
        let built = gguf::build(&header.metadata)?;
        let source = "the GGUF file's metadata".to_owned();
        let mut tokenizer = Self::new(built.tokenizer, built.bos, built.sha256, source)?;
        tokenizer.eos = built.eos;
        if built.adds_bos {
            tokenizer.front = Front::Bos;
        }
        Ok(tokenizer)
    }

    /// With nothing before a text.
    fn new(
        inner: tokenizers::Tokenizer,
        bos: Option<u32>,
        sha256: String,
        source: String,
    ) -> Result<Self, TokenError> {
        let mut tokenizer = Self {
            inner,
            bos,
            eos: None,
            front: Front::Nothing,
            prefix: Prefix::Nothing,
            sha256,
            source,
        };
        let probe = tokenizer.encoding(PROBE, false)?;
        let piece = probe.get_tokens().first();
        // U+2581 is SentencePiece's space, U+0120 the byte-level one.
        if piece.is_some_and(|piece| piece.starts_with(['\u{2581}', '\u{120}'])) {
            tokenizer.prefix = Prefix::Space;
        }
        Ok(tokenizer)
    }

    /// Encodes a text in one go.
    pub(super) fn encode_whole(&self, text: &str) -> Result<Encoded, TokenError> {
        let encoding = self.encoding(text, false)?;
        let offsets = encoding.get_offsets().iter();
        let encoded = Encoded {
            ids: encoding.get_ids().to_vec(),
            offsets: offsets
                .map(|&(start, end)| start as u32..end as u32)
                .collect(),
        };
        let lost = self.guarded(|inner| lost_part(inner, text, &encoded.offsets))?;
        match lost {
            None => Ok(encoded),
            Some(lost) => Err(TokenError::LostText {
                text: text.to_owned(),
                lost: lost.to_owned(),
            }),
        }
    }

    /// Does some work of the tokenizers crate for a text.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce(&tokenizers::Tokenizer) -> Result<T, tokenizers::Error>,
    ) -> Result<T, TokenError> {
        let done = guarded(|| work(&self.inner));
        let done = done.and_then(|done| done.map_err(|e| e.to_string()));
        done.map_err(|reason| TokenError::Broken {
            source_name: self.source.clone(),
            reason,
        })
    }

    fn encoding(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<tokenizers::Encoding, TokenError> {
        let encoded = self.guarded(|inner| Ok(inner.encode(text, add_special_tokens)))?;
        encoded.map_err(|e| TokenError::Encode {
            text: text.to_owned(),
            reason: e.to_string(),
        })
    }

    /// What the tokenizer's own template puts before a text.
    fn own_front(&self) -> Result<Front, TokenError> {
        let [plain, full] = [false, true].map(|special| self.encoding(PROBE, special));
        let (plain, full) = (plain?, full?);
        let (plain, full) = (plain.get_ids(), full.get_ids());
        let start = full
            .windows(plain.len().max(1))
            .position(|window| window == plain);
        let front = &full[..start.unwrap_or(0)];
        if front.is_empty() {
            return Ok(Front::Nothing);
        }
        if self.bos.is_some_and(|bos| front == [bos]) {
            return Ok(Front::Bos);
        }
        let texts = front.iter().filter_map(|&id| self.inner.id_to_token(id));
        Ok(Front::Foreign(texts.collect()))
    }

    /// The ids of an answer that follows a prompt: those of `" " + target`, encoded by itself.
    ///
    /// A SentencePiece tokenizer with a dummy prefix puts that space there by itself, and would make two of
    /// them; it is given the target alone. Either way these are the ids that continue the prompt in running
    /// text, as long as no token spans the border, which a space prevents in the families read here.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_target(&self, target: &str) -> Result<Vec<u32>, TokenError> {
        let target = target.trim_start();
        let text = match self.prefix {
            Prefix::Space => target.to_owned(),
            Prefix::Nothing => format!(" {target}"),
        };
        Ok(self.encode(&text)?.ids)
    }

    /// The BOS id that prompts get under a policy, or `None` when they get none.
    ///
    /// [`BosPolicy::Auto`] does what the tokenizer does to a text with special tokens switched on (for GGUF:
    /// `tokenizer.ggml.add_bos_token`, else the default of its kind); a trailing EOS is ignored.
    ///
    /// # Errors
    /// [`TokenError::NoBos`] when one is asked for and not known; [`TokenError::ForeignFront`] when the tokenizer
    /// begins a text with something else than one BOS token and the policy is `auto`.
    pub fn bos_for(&self, policy: BosPolicy) -> Result<Option<u32>, TokenError> {
        let wanted = match (policy, &self.front) {
            (BosPolicy::Never, _) | (BosPolicy::Auto, Front::Nothing) => return Ok(None),
            (BosPolicy::Always, _) | (BosPolicy::Auto, Front::Bos) => self.bos,
            (BosPolicy::Auto, Front::Foreign(front)) => {
                return Err(TokenError::ForeignFront {
                    front: front.clone(),
                    bos: self
                        .bos
                        .map_or("not known".to_owned(), |id| self.token_text(id)),
                });
            }
        };
        wanted.map(Some).ok_or_else(|| TokenError::NoBos {
            policy: policy.to_string(),
        })
    }

    /// The BOS id, used or not.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// What ends a text, where a GGUF file says so.
    pub(super) fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// A token as the vocabulary has it.
    pub(super) fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The text of ids that stand together, special tokens included. Ids outside the vocabulary give nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let decoded = self.guarded(|inner| inner.decode(ids, false));
        decoded.unwrap_or_else(|_| {
            // A decoder that fails leaves the pieces as they are in the vocabulary.
            ids.iter()
                .filter_map(|&id| self.inner.id_to_token(id))
                .collect()
        })
    }

    /// The surface text of one token inside a text, with its leading space (`" Paris"`); a token that is part
    /// of a character gives U+FFFD.
    pub fn token_text(&self, id: u32) -> String {
        // Some decoders strip the first space of a text, so the token is read behind another one.
        let anchored = self.inner.token_to_id(PROBE).and_then(|anchor| {
            let both = self.decode(&[anchor, id]);
            both.strip_prefix(&self.decode(&[anchor]))
                .map(str::to_owned)
        });
        anchored.unwrap_or_else(|| self.decode(&[id]))
    }

    /// Whether a token is no text, but an end of text, the turn of a speaker and the like.
    pub fn is_special(&self, id: u32) -> bool {
        let token = self.inner.id_to_token(id);
        token.is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// The ids of all such tokens.
    pub(super) fn special_ids(&self) -> HashSet<u32> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special);
        special.map(|(id, _)| *id).collect()
    }

    /// Number of ids, added tokens included. A model's embedding may have more rows (padding).
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Hex sha256 of tokenizer.json, or of the GGUF's tokenizer metadata.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// What of a model would make ids random.
fn check_model(model: &ModelWrapper) -> Result<(), String> {
    let dropout = match model {
        ModelWrapper::BPE(bpe) => bpe.dropout.filter(|dropout| *dropout != 0.0),
        _ => None,
    };
    dropout.map_or(Ok(()), |dropout| {
        Err(format!(
            "its model has \"dropout\": {dropout}, which leaves out merges at random, so that a text has other tokens each \
             time; set \"dropout\": null"
        ))
    })
}

#[cfg(test)]
mod tests;
