//! The bytes of a file that a person wrote -> text: the one way in for prompts, texts, subjects and neuron lists.
//!
//! UTF-8, with or without a byte order mark, lines ended by LF or CRLF (`str::lines` takes both). Anything else is
//! refused with the place of the first byte that is none.

use std::io;
use std::path::{Path, PathBuf};

/// Why bytes are not text. It reads on from the file's name: "prompts.jsonl is UTF-16 text, ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Begins with the mark of UTF-16 (or UTF-32), or has the zero bytes of one in front.
    #[error("is UTF-16 text, and only UTF-8 is read; save it as UTF-8")]
    Utf16,
    /// A byte that UTF-8 does not have there.
    #[error(
        "is not UTF-8 text: line {line} has the byte {byte:#04x} in place {column}; save it as UTF-8"
    )]
    Byte {
        /// Its line, from 1.
        line: usize,
        /// Its place in the line, in bytes, from 1.
        column: usize,
        /// The byte.
        byte: u8,
    },
}

/// Why a text file could not be read; `kind` is what should stand in it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It could not be opened or read.
    #[error("cannot read the {kind} file {}{hint}", path.display())]
    Io {
        /// What should stand in it.
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// What to do, or nothing.
        hint: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not text.
    #[error("the {kind} file {} {what}", path.display())]
    NotText {
        /// What should stand in it.
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: NotText,
    },
}

/// The text of a file, byte for byte, so that its hash is the file's; [`content`] is what to parse. `kind` and `hint` are
/// for messages.
///
/// # Errors
/// A file that cannot be read or is not UTF-8.
pub fn read_text(
    path: &Path,
    kind: &'static str,
    hint: &'static str,
) -> Result<String, Unreadable> {
    as_text(path, kind, read_bytes(path, kind, hint)?)
}

/// The bytes of a file.
///
/// # Errors
/// A file that cannot be read.
pub fn read_bytes(
    path: &Path,
    kind: &'static str,
    hint: &'static str,
) -> Result<Vec<u8>, Unreadable> {
    std::fs::read(path).map_err(|source| Unreadable::Io {
        kind,
        path: path.to_owned(),
        hint,
        source,
    })
}

/// The bytes of a file as text.
///
/// # Errors
/// Bytes that are not UTF-8.
pub fn as_text(path: &Path, kind: &'static str, bytes: Vec<u8>) -> Result<String, Unreadable> {
    let path = path.to_owned();
    text_of(bytes).map_err(|what| Unreadable::NotText { kind, path, what })
}

/// A text without the byte order mark that some editors put in front of UTF-8.
pub fn content(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

fn text_of(bytes: Vec<u8>) -> Result<String, NotText> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    if marked || bytes.iter().take(2).any(|byte| *byte == 0) {
        return Err(NotText::Utf16);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let start = before.iter().rposition(|byte| *byte == b'\n');
        NotText::Byte {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: at - start.map_or(0, |end| end + 1) + 1,
            byte: error.as_bytes()[at],
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_is_text_with_or_without_a_mark() {
        assert_eq!(text_of("\u{feff}é\r\n".into()).unwrap(), "\u{feff}é\r\n");
        assert_eq!(content("\u{feff}é"), "é");
        assert_eq!(text_of(Vec::new()).unwrap(), "");
    }

    #[test]
    fn other_encodings_are_named() {
        for bytes in [
            &b"\xff\xfe1\0"[..],
            b"\xfe\xff\x001",
            b"1\0.\0",
            b"\x001\x00.",
        ] {
            assert_eq!(text_of(bytes.to_vec()), Err(NotText::Utf16));
        }
        let message = text_of(b"1.3\r\nab\xe9\n".to_vec())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("line 2 has the byte 0xe9 in place 3"),
            "{message}"
        );
        // A character that the end of the file cuts.
        assert!(text_of(b"a\xc3".to_vec()).is_err());
    }
}
