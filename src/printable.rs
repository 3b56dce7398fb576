//! Foreign text made safe to show: prompts, tokens, file names, class names and what servers say may hold characters that
//! move a cursor, ring a bell, turn the direction of what follows, or cannot be seen at all.
//!
//! Such a character is shown as `\u{1b}`. Letters, accents and signs of all scripts stay as they are; so do line breaks
//! and tabs. A joiner stays where it stands between two characters beyond ASCII, as in emoji, Persian and Hindi.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every character that does not show as itself written as its escape.
pub fn printable(text: &str) -> Cow<'_, str> {
    printable_after(None, text)
}

/// The same for a text that follows a character.
pub fn printable_after(before: Option<char>, text: &str) -> Cow<'_, str> {
    escaped_after(before, text, |c, out| {
        let _ = write!(out, "{}", c.escape_unicode()); // a String takes all
    })
}

/// JSON with the same characters as JSON's own escapes: the strings stay what they are.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped_after(None, json, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// Joins what stands around it: harmless between letters that it joins.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn escaped_after(
    before: Option<char>,
    text: &str,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let mut last = before;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        if shows(last, c, next) {
            if let Some(out) = &mut out {
                out.push(c);
            }
        } else {
            escape(c, out.get_or_insert_with(|| text[..at].to_string()));
        }
        last = Some(c);
    }
    out.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Whether `c` shows as itself between these two.
fn shows(before: Option<char>, c: char, after: Option<char>) -> bool {
    match c {
        '\n' | '\t' => true,
        _ if is_joiner(c) => {
            let joined = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !is_hidden(c));
            joined(before) && joined(after)
        }
        // One after a character picks its shape; more of them could carry a hidden text.
        _ if is_variation(c) => before.is_some_and(|c| !is_variation(c) && !c.is_control()),
        _ => !is_hidden(c),
    }
}

fn is_variation(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Controls (C0, DEL, C1), what sets a direction, breaks a line, is invisible, or is no character.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}')
        || (c as u32) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_hides_or_turns_is_shown() {
        let cases = [
            ("\x1b[31mred\x07", "\\u{1b}[31mred\\u{7}"),
            ("a\rb\x7f\u{9b}2J", "a\\u{d}b\\u{7f}\\u{9b}2J"),
            ("x\u{202e}y\u{2066}z", "x\\u{202e}y\\u{2066}z"),
            (
                "a\u{200b}b\u{feff}c\u{ad}d",
                "a\\u{200b}b\\u{feff}c\\u{ad}d",
            ),
            ("a\u{200d}b", "a\\u{200d}b"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\u{fdd0}\u{ffff}", "\\u{fdd0}\\u{ffff}"),
            ("a\u{fe01}\u{fe02}", "a\u{fe01}\\u{fe02}"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown);
            assert_eq!(printable(shown), shown);
        }
    }

    #[test]
    fn letters_of_all_scripts_stay() {
        let texts = [
            "two\nlines\tand a tab",
            "Zürich, e\u{301}, Đà Nẵng, Ελλάδα, Москва, 東京, 서울",
            "می\u{200c}خواهم क्\u{200d}ष שלום",
            "👩\u{200d}🚀 🏳\u{fe0f}\u{200d}🌈 1\u{fe0f}\u{20e3} 👍🏽",
            "葛\u{e0100}飾区 \u{fffd}",
        ];
        for text in texts {
            assert!(
                matches!(printable(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn json_keeps_its_strings() {
        let text = "\x1b\u{9b}\u{202e}\u{e0041}\u{2028}é\n\"";
        let json = serde_json::json!([text]).to_string();
        let shown = printable_json(&json);
        assert_eq!(printable(&shown), shown);
        let back: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(back, [text]);
    }
}
