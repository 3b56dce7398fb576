//! From rows back to text.

use crate::experiment::record::RecordInput;
use crate::tokens::Tokenizer;

/// Tokens before and after the one that a context is for.
const BEFORE: usize = 12;
const AFTER: usize = 4;

/// What stands around the token in its context.
const MARKS: [char; 2] = ['⟦', '⟧'];

/// A recorded token between ⟦ and ⟧, with some of the text before and after it that the model read with it.
pub fn context_of(input: &RecordInput, row: u64, tokenizer: &Tokenizer) -> String {
    let (at, position) = input.place(row);
    let sequence = input.sequence(at);
    let text = &input.units[input.origin(at).unit].text;
    let first = position.saturating_sub(BEFORE);
    let last = (position + AFTER).min(sequence.ids.len() - 1);
    let part = |start: usize, end: usize| text.get(start..end.max(start)).unwrap_or_default();
    let [open, close] = MARKS;
    let until = sequence.span(last).map(|range| range.end);
    match sequence.span(position) {
        Some(token) => {
            let mut before = (first..position).filter_map(|at| sequence.span(at));
            let from = before.next().map_or(token.start, |range| range.start);
            let before = part(from, token.start);
            let after = part(token.end, until.unwrap_or(token.end));
            format!(
                "{before}{open}{}{close}{after}",
                part(token.start, token.end)
            )
        }
        None => {
            // BOS has no place in the text: it stands before the first token that has one.
            let mut following = (position..sequence.ids.len()).filter_map(|at| sequence.span(at));
            let from = following.next().map_or(0, |range| range.start);
            let token = tokenizer.token_text(sequence.ids[position]);
            format!("{open}{token}{close}{}", part(from, until.unwrap_or(from)))
        }
    }
}

/// What [`context_of`] put together: the text before a token, its own, and what comes after; `None` for other text.
/// Where the text has such marks itself, the pair around `token` counts, which is the token's text.
pub fn split_context<'c>(context: &'c str, token: &str) -> Option<[&'c str; 3]> {
    let [open, close] = MARKS;
    let pairs = context.match_indices(open).flat_map(|(start, mark)| {
        let first = start + mark.len();
        let ends = context[first..].match_indices(close);
        ends.map(move |(len, mark)| (start..first, first + len..first + len + mark.len()))
    });
    let mut parts = pairs.map(|(open, close)| {
        let inside = &context[open.end..close.start];
        [&context[..open.start], inside, &context[close.end..]]
    });
    let is_token = |[_, inside, _]: &[&str; 3]| inside.trim() == token.trim();
    parts.clone().find(is_token).or_else(|| parts.next())
}

/// Byte places to character places of one text, for places that come in about ascending order.
#[derive(Default)]
pub(super) struct CharCounter {
    unit: usize,
    byte: usize,
    chars: u32,
}

impl CharCounter {
    /// The character places of a byte range of a unit's text.
    pub fn chars(&mut self, unit: usize, text: &str, range: &std::ops::Range<usize>) -> (u32, u32) {
        if self.unit != unit || range.start < self.byte {
            *self = Self {
                unit,
                ..Self::default()
            };
        }
        let count = |from: usize, to: usize| {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            // every byte but those that continue a character
            bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u32
        };
        self.chars += count(self.byte, range.start);
        self.byte = range.start;
        (self.chars, self.chars + count(range.start, range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_comes_apart_again() {
        for (context, token, parts) in [
            (
                "It was ⟦Paris⟧ then",
                " Paris",
                ["It was ", "Paris", " then"],
            ),
            ("⟦<s>⟧It was", "<s>", ["", "<s>", "It was"]),
            ("half ⟦⟧", "\u{fffd}", ["half ", "", ""]),
            ("a⟦b⟧c⟦d⟧", "d", ["a⟦b⟧c", "d", ""]),
            ("⟦⟦⟧", "⟦", ["", "⟦", ""]),
            ("⟦⟧⟧⟧", "⟧⟧", ["", "⟧⟧", ""]),
        ] {
            assert_eq!(split_context(context, token), Some(parts), "{context}");
        }
        assert_eq!(split_context("no ⟧ marks ⟦", "marks"), None);
    }

    #[test]
    fn characters_are_counted_forwards_and_anew_after_a_step_back() {
        let text = "aé€ b";
        let mut counter = CharCounter::default();
        for (range, expected) in [
            (0..1, (0, 1)),
            (1..3, (1, 2)),
            (3..6, (2, 3)),
            (3..7, (2, 4)),
        ] {
            assert_eq!(counter.chars(0, text, &range), expected);
        }
        assert_eq!(counter.chars(0, text, &(1..3)), (1, 2));
        assert_eq!(counter.chars(1, "ééé", &(4..6)), (2, 3));
    }
}
