//! A file that says by itself whether it is whole: a line with what it is and the sha256 of the rest, then the rest.

use crate::prompts::sha256_hex;

/// `bytes` as a file of this kind that belongs to `of`.
pub(super) fn seal(kind: &str, of: &str, bytes: &[u8]) -> Vec<u8> {
    let line = line(kind, of, bytes);
    [line.as_bytes(), bytes].concat()
}

/// What was sealed; nothing where a byte is another one, or where the file is of another kind or belongs to something
/// else.
pub(super) fn open<'f>(kind: &str, of: &str, file: &'f [u8]) -> Option<&'f [u8]> {
    let end = file.iter().position(|byte| *byte == b'\n')? + 1;
    let (found, bytes) = file.split_at(end);
    (line(kind, of, bytes).as_bytes() == found).then_some(bytes)
}

fn line(kind: &str, of: &str, bytes: &[u8]) -> String {
    format!("gatelens {kind} 1 of {of} {}\n", sha256_hex(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_seen() {
        let file = seal("part", "abc", b"12\n3");
        assert_eq!(open("part", "abc", &file), Some(&b"12\n3"[..]));
        assert_eq!(open("part", "abd", &file), None);
        for bit in 0..8 * file.len() {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open("part", "abc", &other), None, "bit {bit}");
            assert_eq!(open("part", "abc", &file[..bit / 8]), None);
        }
    }
}
