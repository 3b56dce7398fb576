//! Documents -> windows: parts of a text that a model reads in one go, without overlap.

use std::ops::Range;

use super::batch::Sequence;
use super::error::{Problems, text_problem};
use super::{BosPolicy, Encoded, TokenError, Tokenizer};
use crate::prompts::Documents;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Index of the document, counted over all files.
    pub document: usize,
    /// Which window of its document, from 0.
    pub number: usize,
    /// Its tokens: BOS by policy, then at most as many of the text as the context has room for. `prompt` is the
    /// index among all windows; offsets are bytes of the whole document; there is no subject and no target.
    pub sequence: Sequence,
}

impl Window {
    /// The beginning of every document, numbered anew.
    pub fn first_of_each(mut windows: Vec<Window>) -> Vec<Window> {
        windows.retain(|window| window.number == 0);
        for (index, window) in windows.iter_mut().enumerate() {
            window.sequence.prompt = index;
        }
        windows
    }

    /// At most so many of its first tokens, BOS included.
    pub fn beginning(&self, tokens: usize) -> Window {
        let tokens = tokens.min(self.sequence.ids.len());
        Window {
            sequence: Sequence {
                ids: self.sequence.ids[..tokens].to_vec(),
                offsets: self.sequence.offsets[..tokens].to_vec(),
                prompt_len: tokens,
                ..self.sequence.clone()
            },
            ..*self
        }
    }
}

/// How documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowing {
    /// Whether each window begins with a BOS token.
    pub bos: BosPolicy,
    /// Tokens of a window, BOS included; the last window of a document may be shorter.
    pub context: usize,
    /// Stop after so many tokens, BOS included; the window that would go beyond is cut.
    pub max_tokens: Option<usize>,
}

/// Encodes documents and cuts them into windows, which follow each other without overlap. Each begins with
/// BOS where the policy says so; a window whose text begins with that token by itself, in the middle of a document,
/// gets no second one.
///
/// # Errors
/// Those of [`Tokenizer::bos_for`]; [`TokenError::Context`] for a context without room for text;
/// [`TokenError::Invalid`] with every document of a file that cannot be encoded or begins with BOS already.
pub fn windows(
    files: &[Documents],
    tokenizer: &Tokenizer,
    cut: Windowing,
) -> Result<Vec<Window>, TokenError> {
    let mut cutter = Cutter {
        bos: tokenizer.bos_for(cut.bos)?,
        context: cut.context,
        left: cut.max_tokens.unwrap_or(usize::MAX),
        windows: Vec::new(),
    };
    cutter.check()?;
    let mut first = 0;
    for file in files {
        let mut problems = Problems::default();
        for (index, document) in (first..).zip(&file.documents) {
            if cutter.left == 0 {
                break;
            }
            let encoded = tokenizer.encode(&document.text).map_err(text_problem);
            let encoded = encoded.and_then(|encoded| encoded.behind(cutter.bos));
            if let Some(encoded) = problems.keep(&document.id, encoded) {
                cutter.cut(index, &encoded);
            }
        }
        problems.finish(&file.name)?;
        first += file.documents.len();
    }
    Ok(cutter.windows)
}

struct Cutter {
    bos: Option<u32>,
    context: usize,
    left: usize,
    windows: Vec<Window>,
}

impl Cutter {
    fn check(&self) -> Result<(), TokenError> {
        let needed = 1 + usize::from(self.bos.is_some());
        if self.context < needed {
            return Err(TokenError::Context {
                context: self.context,
                needed,
            });
        }
        Ok(())
    }

    fn cut(&mut self, document: usize, encoded: &Encoded) {
        let room = self.context - usize::from(self.bos.is_some());
        let starts = (0..encoded.ids.len()).step_by(room).enumerate();
        for (number, start) in starts {
            let end = encoded.ids.len().min(start + room);
            let Some(sequence) = self.sequence(encoded, start..end) else {
                return;
            };
            self.left -= sequence.ids.len();
            self.windows.push(Window {
                document,
                number,
                sequence,
            });
        }
    }

    /// `None` where no token of the text is left to read.
    fn sequence(&self, encoded: &Encoded, text: Range<usize>) -> Option<Sequence> {
        let bos = self.bos.filter(|bos| encoded.ids[text.start] != *bos);
        let front = usize::from(bos.is_some());
        let len = text.len().min(self.left.saturating_sub(front));
        let text = text.start..text.start + len;
        let (ids, offsets) = (&encoded.ids[text.clone()], &encoded.offsets[text]);
        (len > 0).then(|| Sequence::of_text(self.windows.len(), bos, ids, offsets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::fixtures::{BOS, byte_level, tokenizer};

    fn cut(
        texts: &[&str],
        bos: BosPolicy,
        context: usize,
        max_tokens: Option<usize>,
    ) -> Result<Vec<Window>, TokenError> {
        let file = Documents::parse("t", &texts.join("\n---\n")).unwrap();
        let windowing = Windowing {
            bos,
            context,
            max_tokens,
        };
        windows(&[file], &tokenizer(byte_level("gpt-2", &[])), windowing)
    }

    fn shape(windows: &[Window]) -> Vec<(usize, usize, usize)> {
        let shape = windows.iter().enumerate().map(|(i, w)| {
            assert_eq!(
                (w.sequence.prompt, w.sequence.prompt_len),
                (i, w.sequence.ids.len())
            );
            (w.document, w.number, w.sequence.ids.len())
        });
        shape.collect()
    }

    #[test]
    fn the_beginning_of_a_window_has_its_bos() {
        let window = &cut(&["abcdef"], BosPolicy::Always, 5, None).unwrap()[0];
        let beginning = window.beginning(3);
        assert_eq!(beginning.sequence.ids, window.sequence.ids[..3]);
        assert_eq!(beginning.sequence.ids[0], BOS);
        assert_eq!(beginning.sequence.prompt_len, 3);
        assert_eq!(beginning.sequence.offsets.len(), 3);
        assert_eq!(window.beginning(9), *window);
    }

    #[test]
    fn windows_follow_each_other_without_overlap() {
        let found = cut(&["abcdefg", "hi"], BosPolicy::Always, 4, None).unwrap();
        assert_eq!(shape(&found), [(0, 0, 4), (0, 1, 4), (0, 2, 2), (1, 0, 3)]);
        assert!(
            found
                .iter()
                .all(|w| w.sequence.ids[0] == BOS && w.sequence.offsets[0].is_none())
        );
        let offsets: Vec<_> = found
            .iter()
            .flat_map(|w| &w.sequence.offsets[1..])
            .collect();
        let expected = (0..7).chain(0..2).map(|at| Some(at..at + 1));
        assert!(offsets.into_iter().cloned().eq(expected));
        let plain = cut(&["abcdefg", "hi"], BosPolicy::Never, 4, None).unwrap();
        assert_eq!(shape(&plain), [(0, 0, 4), (0, 1, 3), (1, 0, 2)]);
    }

    #[test]
    fn the_limit_counts_bos_and_cuts_the_last_window() {
        let limited =
            |max| shape(&cut(&["abcdefg", "hi"], BosPolicy::Always, 4, Some(max)).unwrap());
        assert_eq!(limited(7), [(0, 0, 4), (0, 1, 3)]);
        assert_eq!(limited(5), [(0, 0, 4)], "a BOS alone is no window");
        assert_eq!(limited(12), [(0, 0, 4), (0, 1, 4), (0, 2, 2), (1, 0, 2)]);
        assert_eq!(limited(99).len(), 4);
    }

    #[test]
    fn no_window_begins_with_two() {
        // <s> is read as the token; it stands where the second window begins.
        let found = cut(&["abc<s>de"], BosPolicy::Always, 4, None).unwrap();
        let begins: Vec<_> = found.iter().map(|w| &w.sequence.ids[..2]).collect();
        assert_eq!(shape(&found), [(0, 0, 4), (0, 1, 3)]);
        assert!(begins.iter().all(|ids| ids[0] == BOS && ids[1] != BOS));
        let error = cut(&["abc", "<s>de"], BosPolicy::Always, 4, None).unwrap_err();
        assert!(
            error.to_string().contains("t:1: its text already begins"),
            "{error}"
        );
        assert!(cut(&["<s>de"], BosPolicy::Never, 4, None).is_ok());
    }

    #[test]
    fn a_context_without_room_is_refused() {
        assert!(cut(&["abc"], BosPolicy::Never, 1, None).is_ok());
        let error = cut(&["abc"], BosPolicy::Always, 1, None).unwrap_err();
        assert!(error.to_string().contains("at least 2"), "{error}");
    }
}
