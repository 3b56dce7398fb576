//! Names and values that come from outside (a server, an index, an archive), checked before anything is done
//! with them: none may lead a path out of the folder that it is joined to.

use std::path::{Component, Path};

use percent_encoding::percent_decode_str;

/// As many characters of a server's own words as a message shows.
const SHOWN_CHARS: usize = 80;

/// The longest name of a file that common file systems hold.
const NAME_BYTES: usize = 255;

/// Whether `name` is a relative path of plain parts, such as `a.safetensors` or `q4/a.gguf`: no parent, no absolute
/// path, no drive, no backslash, no control character, also not after percent-decoding, once or more often.
pub(super) fn plain_file_name(name: &str) -> bool {
    let mut text = name.to_string();
    loop {
        if !is_plain(&text) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&text).decode_utf8() else {
            return false;
        };
        if decoded == text {
            return true;
        }
        text = decoded.into_owned();
    }
}

fn is_plain(name: &str) -> bool {
    let plain_part = |part: &str| {
        !part.is_empty()
            && part.len() <= NAME_BYTES
            && part.trim() == part
            && !part.chars().all(|c| c == '.')
    };
    name.split('/').all(plain_part)
        && !name.contains(['\\', ':'])
        && !name.chars().any(char::is_control)
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Whether `text` is a commit's full name: 40 hex digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// The hash in an ETag header, which stands in quotes, with `W/` before it where it is weak; `None` if it is not made
/// of hex digits alone, from MD5's 32 to SHA-512's 128.
pub(super) fn etag(header: &str) -> Option<&str> {
    let text = header.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    ((32..=128).contains(&text.len()) && is_hex(text)).then_some(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A token without the white space around it and the line ends in it; `None` if nothing is left.
pub(super) fn token(text: &str) -> Result<Option<String>, &'static str> {
    let token = text.replace(['\r', '\n'], "").trim().to_string();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token is made of letters, digits and `_`, and this has other characters");
    }
    Ok(Some(token).filter(|token| !token.is_empty()))
}

/// A server's own words for a message: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        for name in [
            "a.safetensors",
            "q4/a-b_c.gguf",
            "a b (1).gguf",
            "größe.gguf",
            "a..b",
            "100%.gguf",
        ] {
            assert!(plain_file_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "...",
            "../a",
            "a/../b",
            "a/./b",
            "/etc/passwd",
            "a//b",
            "a/",
            "a\\b",
            "..\\a",
            "C:a",
            "C:/a",
            "a\0b",
            "a\nb",
            "a\u{1b}[2J",
            "%2e%2e/a",
            "..%2fa",
            "%252e%252e%252fa",
            "%2Fetc",
            "a%5cb",
            "a%00b",
            "a%ffb",
            " a",
            "a ",
        ] {
            assert!(!plain_file_name(name), "{name:?}");
        }
        assert!(!plain_file_name(&"a".repeat(256)));
    }

    #[test]
    fn etags_are_hashes_in_either_form() {
        let hash = "0123456789abcdefABCDEF0123456789abcdef01";
        for header in [
            hash.to_string(),
            format!("\"{hash}\""),
            format!("W/\"{hash}\""),
            format!(" W/{hash} "),
        ] {
            assert_eq!(etag(&header), Some(hash), "{header}");
        }
        for header in [
            "",
            "\"\"",
            "abc",
            "\"../../../../../../../../../../../../../etc/x\"",
            "\"/0123456789abcdef0123456789abcdef\"",
            "\"0123456789abcdef0123456789abcdef",
            "WW/\"0123456789abcdef0123456789abcdef\"",
            "\"0123456789abcdef0123456789abcdeg\"",
        ] {
            assert_eq!(etag(header), None, "{header}");
        }
        assert_eq!(etag(&"a".repeat(129)), None);
    }

    #[test]
    fn a_servers_words_are_cut_and_escaped() {
        assert_eq!(shown("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(shown(&"x".repeat(1000)).len(), SHOWN_CHARS + 3);
    }
}
