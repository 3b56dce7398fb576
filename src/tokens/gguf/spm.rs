//! The `llama` kind: SentencePiece BPE.
//!
//! SentencePiece stores no merges, only a score per piece; at every step it joins the two neighbours that make the
//! piece with the highest score. As a merge list: every cut of every piece into two pieces, ordered by the score
//! of the whole (descending). That is how Hugging Face converts such models (`generate_merges` in
//! `convert_slow_tokenizer.py`), ties included: longer left part first, then the order of the ids.

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::utils::Sequence as Normalizers;
use tokenizers::{DecoderWrapper, NormalizerWrapper, Tokenizer};

use super::error::{GgufError, build_error};
use super::metadata::Metadata;
use super::vocab::{TokenKind, Vocabulary};

/// SentencePiece's visible space.
const SPACE: &str = "\u{2581}";

/// User-defined tokens are cut out of the raw text, so they are kept with plain spaces, as newer converters
/// write them.
pub(super) fn vocabulary(metadata: &Metadata) -> Result<Vocabulary, GgufError> {
    Vocabulary::read_with(metadata, |text, kind| match kind {
        TokenKind::UserDefined => text.replace(SPACE, " "),
        _ => text.to_owned(),
    })
}

pub(super) fn build(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Tokenizer, GgufError> {
    let scores = metadata.scores("scores", vocabulary.tokens.len())?;
    let mut model = BPE::builder()
        .vocab_and_merges(vocabulary.ids.clone(), merges(vocabulary, &scores))
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = vocabulary.unknown_text() {
        model = model.unk_token(unknown);
    }
    let prefixed = metadata.flag("add_space_prefix")?.unwrap_or(true);
    let mut tokenizer = Tokenizer::new(model.build().map_err(build_error)?);
    tokenizer
        .with_normalizer(Some(normalizer(prefixed)?))
        .map_err(build_error)?;
    tokenizer.with_decoder(Some(decoder(prefixed)?));
    Ok(tokenizer)
}

fn normalizer(prefixed: bool) -> Result<NormalizerWrapper, GgufError> {
    let spaces = Replace::new(" ", SPACE).map_err(build_error)?;
    let prefix = prefixed.then(|| Prepend::new(SPACE.to_owned()).into());
    let steps = prefix.into_iter().chain([spaces.into()]);
    Ok(Normalizers::new(steps.collect()).into())
}

fn decoder(prefixed: bool) -> Result<DecoderWrapper, GgufError> {
    let spaces = Replace::new(SPACE, " ").map_err(build_error)?;
    let mut steps: Vec<DecoderWrapper> = vec![
        spaces.into(),
        ByteFallback::default().into(),
        Fuse::default().into(),
    ];
    if prefixed {
        steps.push(Strip::new(' ', 1, 0).into());
    }
    Ok(Decoders::new(steps).into())
}

/// One cut of a piece.
struct Merge {
    score: f32,
    left: u32,
    right: u32,
    left_chars: usize,
    right_chars: usize,
}

/// All merges, best first. Linear in the characters of the vocabulary but for one sort.
fn merges(vocabulary: &Vocabulary, scores: &[f32]) -> Merges {
    let mut merges = Vec::with_capacity(2 * scores.len());
    for (id, &score) in scores.iter().enumerate() {
        if vocabulary.kinds[id] == TokenKind::Piece {
            cuts(vocabulary, id, score, &mut merges);
        }
    }
    // Stable: equal merges stay in the order of the ids of what they make.
    merges.sort_by(|a, b| {
        let lengths = |m: &Merge| (m.left_chars, m.right_chars);
        b.score
            .total_cmp(&a.score)
            .then_with(|| lengths(b).cmp(&lengths(a)))
    });
    let text = |id: u32| vocabulary.tokens[id as usize].clone();
    merges
        .into_iter()
        .map(|merge| (text(merge.left), text(merge.right)))
        .collect()
}

fn cuts(vocabulary: &Vocabulary, id: usize, score: f32, merges: &mut Vec<Merge>) {
    let piece = vocabulary.tokens[id].as_str();
    let part = |text: &str| {
        let id = vocabulary.ids.get(text).copied()?;
        (vocabulary.kinds[id as usize] == TokenKind::Piece).then_some(id)
    };
    let chars = piece.chars().count();
    for (left_chars, (at, _)) in piece.char_indices().enumerate().skip(1) {
        let (left, right) = piece.split_at(at);
        if let Some(left) = part(left)
            && let Some(right) = part(right)
        {
            merges.push(Merge {
                score,
                left,
                right,
                left_chars,
                right_chars: chars - left_chars,
            });
        }
    }
}
