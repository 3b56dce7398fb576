//! A tokenizer that was built from GGUF metadata, as the files of a Hugging Face folder.

use serde_json::{Value, json};

use super::bos::BosPolicy;
use super::error::TokenError;
use super::tokenizer::Tokenizer;

/// `tokenizer.json` and `tokenizer_config.json`, and the ids of the tokens that begin and end a text.
pub struct TokenizerFiles {
    /// Everything but the names of special tokens.
    pub tokenizer: Value,
    /// Their names.
    pub config: Value,
    /// What begins a text.
    pub bos: Option<u32>,
    /// What ends one.
    pub eos: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer as files; it puts BOS before a text where this one does.
    ///
    /// # Errors
    /// Those of the tokenizers crate.
    pub fn to_files(&self) -> Result<TokenizerFiles, TokenError> {
        let text = self.guarded(|inner| inner.to_string(false))?;
        let mut tokenizer: Value = self.guarded(|_| Ok(serde_json::from_str(&text)?))?;
        let [bos, eos] = [self.bos(), self.eos()];
        let name = |id: Option<u32>| id.map(|id| self.token(id));
        if let (Some(id), Some(name)) = (self.bos_for(BosPolicy::Auto)?, name(bos).flatten()) {
            let text = |which: &str| json!({"Sequence": {"id": which, "type_id": 0}});
            let begin = json!({"SpecialToken": {"id": name, "type_id": 0}});
            let template = json!({
                "type": "TemplateProcessing",
                "single": [begin, text("A")],
                "pair": [begin, text("A"), begin, text("B")],
                "special_tokens": {&name: {"id": name, "ids": [id], "tokens": [name]}},
            });
            let own = tokenizer["post_processor"].take();
            tokenizer["post_processor"] = match own {
                Value::Null => template,
                own => json!({"type": "Sequence", "processors": [own, template]}),
            };
        }
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": name(bos).flatten(),
            "eos_token": name(eos).flatten(),
            "clean_up_tokenization_spaces": false,
        });
        Ok(TokenizerFiles {
            tokenizer,
            config,
            bos,
            eos,
        })
    }
}
