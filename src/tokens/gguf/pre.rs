//! How a byte-level BPE tokenizer cuts a text before it merges: one row per `tokenizer.ggml.pre`.
//!
//! Names as in llama.cpp (`llama-vocab.cpp`); rules as in the models' own tokenizer.json.

use tokenizers::PreTokenizerWrapper;
use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::error::{GgufError, build_error};

/// One row of the table.
#[derive(Debug)]
pub(super) struct Pre {
    /// The values of `tokenizer.ggml.pre` that mean this rule.
    names: &'static [&'static str],
    cut: Cut,
    pub normal_form: NormalForm,
    pub whole_words: WholeWords,
    /// Whether these models begin a text with BOS where `tokenizer.ggml.add_bos_token` does not tell.
    pub adds_bos: bool,
}

#[derive(Debug)]
enum Cut {
    /// GPT-2's own rule, which the tokenizers crate has built in.
    Gpt2,
    /// Each digit alone, then GPT-2's rule.
    DigitsThenGpt2,
    /// Every match of a regular expression.
    Regex(&'static str),
}

#[derive(Debug, PartialEq)]
pub(super) enum NormalForm {
    AsWritten,
    /// Unicode's composed form.
    Nfc,
}

#[derive(Debug, PartialEq)]
pub(super) enum WholeWords {
    /// A word is made by merges alone.
    Merged,
    /// A word that is a token is taken at once (`ignore_merges` in tokenizer.json).
    Taken,
}

/// Digits by three.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Digits one by one.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's: words are cut where lower case turns to upper case.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Phi-4-mini's, from GPT-4o (tiktoken's o200k_base): as Mistral's, with contractions kept at their word and digits by three.
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What most rules differ from in a line or two.
const GPT2: Pre = Pre {
    names: &["gpt-2", "gpt2"],
    cut: Cut::Gpt2,
    normal_form: NormalForm::AsWritten,
    whole_words: WholeWords::Merged,
    adds_bos: false,
};

const TABLE: &[Pre] = &[
    GPT2,
    Pre {
        names: &["olmo"],
        normal_form: NormalForm::Nfc,
        ..GPT2
    },
    Pre {
        names: &["smollm"],
        cut: Cut::DigitsThenGpt2,
        ..GPT2
    },
    Pre {
        names: &["llama-bpe", "llama-v3", "llama3"],
        cut: Cut::Regex(LLAMA3),
        whole_words: WholeWords::Taken,
        adds_bos: true,
        ..GPT2
    },
    // OLMo 2 uses this name.
    Pre {
        names: &["dbrx"],
        cut: Cut::Regex(LLAMA3),
        ..GPT2
    },
    Pre {
        names: &["qwen2", "deepseek-r1-qwen"],
        cut: Cut::Regex(QWEN2),
        normal_form: NormalForm::Nfc,
        ..GPT2
    },
    Pre {
        names: &["tekken"],
        cut: Cut::Regex(TEKKEN),
        whole_words: WholeWords::Taken,
        adds_bos: true,
        ..GPT2
    },
    Pre {
        names: &["gpt-4o"],
        cut: Cut::Regex(O200K),
        ..GPT2
    },
];

/// The row of a name.
///
/// # Errors
/// [`GgufError`] with all names of the table.
pub(super) fn find(name: &str) -> Result<&'static Pre, GgufError> {
    let row = TABLE.iter().find(|pre| pre.names.contains(&name));
    row.ok_or_else(|| {
        let known: Vec<_> = TABLE.iter().flat_map(|pre| pre.names).copied().collect();
        GgufError::unknown("pre", name, &known)
    })
}

impl Pre {
    /// The rule as a pre-tokenizer that also turns bytes into their printable stand-ins.
    pub fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, GgufError> {
        let bytes_only = ByteLevel::new(false, true, false);
        let bytes_and_gpt2 = ByteLevel::new(false, true, true);
        Ok(match self.cut {
            Cut::Gpt2 => bytes_and_gpt2.into(),
            Cut::DigitsThenGpt2 => {
                Sequence::new(vec![Digits::new(true).into(), bytes_and_gpt2.into()]).into()
            }
            Cut::Regex(regex) => {
                let pattern = SplitPattern::Regex(regex.to_owned());
                let split = Split::new(pattern, Isolated, false).map_err(build_error)?;
                Sequence::new(vec![split.into(), bytes_only.into()]).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    /// The words of a text, with Ġ and Ċ written as space and newline.
    fn words(name: &str, text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        let pre = find(name).unwrap().pre_tokenizer().unwrap();
        pre.pre_tokenize(&mut cut).unwrap();
        cut.get_splits(OffsetReferential::Original, OffsetType::Byte)
            .iter()
            .map(|(word, _, _)| word.replace('Ġ', " ").replace('Ċ', "\n"))
            .collect()
    }

    const TEXT: &str = "It'S camelCase 1234\n\n  foo";

    #[test]
    fn words_by_hand() {
        for (name, expected) in [
            ("gpt-2", "It|'|S| camelCase| 1234|\n\n | foo"),
            ("smollm", "It|'|S| camelCase| |1|2|3|4|\n\n | foo"),
            ("llama-bpe", "It|'S| camelCase| |123|4|\n\n| | foo"),
            ("qwen2", "It|'S| camelCase| |1|2|3|4|\n\n| | foo"),
            ("tekken", "It|'S| camel|Case| |1|2|3|4|\n\n| | foo"),
            ("gpt-4o", "It'S| camel|Case| |123|4|\n\n| | foo"),
        ] {
            let expected: Vec<&str> = expected.split('|').collect();
            assert_eq!(words(name, TEXT), expected, "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = TABLE.iter().flat_map(|pre| pre.names).collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
    }
}
