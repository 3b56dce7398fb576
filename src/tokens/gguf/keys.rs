//! Every key of `tokenizer.ggml.*` that llama.cpp knows: read, accepted only where it changes nothing, or without
//! effect on a text's ids.

use super::GgufError;
use super::metadata::Metadata;

/// Read by the kind `llama`.
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// Not one of llama.cpp's, which goes by `tokenizer.ggml.pre`; where it is there, it must say the same.
const IGNORE_MERGES: &str = "tokenizer.ggml.ignore_merges";

/// Keys that the other files of this folder read.
const READ: &[&str] = &[
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.unknown_token_id",
];

/// What a key may say without changing the ids.
#[derive(Clone, Copy)]
enum Only {
    False,
    /// `true` in the kind `llama`, `false` in `gpt2`: what these kinds do.
    TrueInLlama,
    /// Anything in the kind `llama`, which reads it; `false` in `gpt2`, which puts no space before a text.
    FalseInGpt2,
    /// An array without items.
    Nothing,
}

/// Keys of what is not done here.
const REFUSED_UNLESS: &[(&str, Only)] = &[
    ("tokenizer.ggml.remove_extra_whitespaces", Only::False),
    ("tokenizer.ggml.precompiled_charsmap", Only::Nothing),
    ("tokenizer.ggml.normalizer.lowercase", Only::False),
    ("tokenizer.ggml.normalizer.strip_accents", Only::False),
    ("tokenizer.ggml.add_sep_token", Only::False),
    ("tokenizer.ggml.treat_whitespace_as_suffix", Only::False),
    ("tokenizer.ggml.escape_whitespaces", Only::TrueInLlama),
    (ADD_SPACE_PREFIX, Only::FalseInGpt2),
];

/// Keys without effect on a text's ids, whatever they say.
const WITHOUT_EFFECT: &[&str] = &[
    // What would come behind a text: prompts here are gone on with, so no end is put to them.
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eos_token_ids",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    // Tokens of other uses: batches, pairs of texts, infilling. A text that holds them is read by their kinds.
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.separator_token_id",
    "tokenizer.ggml.cls_token_id",
    "tokenizer.ggml.mask_token_id",
    "tokenizer.ggml.fim_pre_token_id",
    "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.fim_mid_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
    "tokenizer.ggml.prefix_token_id",
    "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.middle_token_id",
    // Segments of encoders.
    "tokenizer.ggml.token_type_count",
    // What a chat program does not sample.
    "tokenizer.ggml.suppress_tokens",
    // Texts that the converter left out, and its own notes.
    "tokenizer.ggml.added_tokens",
    "tokenizer.ggml.chat_template",
];

/// Whether a key of `tokenizer.ggml.*` stands in one of the lists.
pub fn is_known_gguf_key(key: &str) -> bool {
    READ.contains(&key)
        || WITHOUT_EFFECT.contains(&key)
        || key == IGNORE_MERGES
        || REFUSED_UNLESS.iter().any(|(known, _)| *known == key)
}

/// Refuses a flag that says otherwise than the rule of `tokenizer.ggml.pre` (or of the kind) whether a word that is a
/// token is taken at once.
pub(super) fn check_merges(metadata: &Metadata, taken: bool) -> Result<(), GgufError> {
    match metadata.flag(IGNORE_MERGES)? {
        Some(said) if said != taken => Err(GgufError::NotDone {
            key: IGNORE_MERGES,
            found: said.to_string(),
            accepted: "what goes with `tokenizer.ggml.pre`",
        }),
        _ => Ok(()),
    }
}

/// Refuses what is not done here.
pub(super) fn check(metadata: &Metadata, kind: &str) -> Result<(), GgufError> {
    for &(key, only) in REFUSED_UNLESS {
        let Some(value) = metadata.optional(key) else {
            continue;
        };
        let allowed = match only {
            Only::False => value.flag() == Some(false),
            Only::TrueInLlama => value.flag() == Some(kind == "llama"),
            Only::FalseInGpt2 => kind == "llama" || value.flag() == Some(false),
            Only::Nothing => value.is_empty(),
        };
        if !allowed {
            let accepted = match only {
                Only::False => "false",
                Only::TrueInLlama => "true in the kind llama, false in gpt2",
                Only::FalseInGpt2 => "false in the kind gpt2",
                Only::Nothing => "an array without items",
            };
            return Err(GgufError::NotDone {
                key,
                found: value.to_string(),
                accepted,
            });
        }
    }
    Ok(())
}
