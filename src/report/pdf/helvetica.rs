//! The font of a PDF: how its text is written, and how wide that is.

use pdf_writer::Name;
use pdf_writer::writers::Type1Font;

/// Signs that Windows' code page 1252, in which the text is written, has elsewhere than Unicode or not at all: their
/// codes, and the names of the glyphs that take an unused one.
const ENCODED: [(char, u8, &[u8]); 12] = [
    ('−', 0x81, b"minus"),
    ('≤', 0x8d, b"lessequal"),
    ('≥', 0x8f, b"greaterequal"),
    ('…', 0x85, b""),
    ('‘', 0x91, b""),
    ('’', 0x92, b""),
    ('“', 0x93, b""),
    ('”', 0x94, b""),
    ('•', 0x95, b""),
    ('–', 0x96, b""),
    ('—', 0x97, b""),
    ('€', 0x80, b""),
];

/// Of Helvetica from the space to the tilde, thousandths of the size (Adobe's metrics of the font).
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667,
    611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667,
    667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500,
    222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/// Writes a font's name and code.
pub fn font(mut font: Type1Font<'_>, name: &[u8]) {
    font.base_font(Name(name));
    let mut encoding = font.encoding_custom();
    encoding.base_encoding(Name(b"WinAnsiEncoding"));
    let mut others = encoding.differences();
    for (_, code, glyph) in ENCODED.iter().filter(|(.., glyph)| !glyph.is_empty()) {
        others.consecutive(*code, [Name(glyph)]);
    }
}

/// Text as the file has it; what it has no sign for is a question mark.
pub fn encoded(text: &str) -> Vec<u8> {
    let code = |c: char| {
        let special = ENCODED.iter().find(|(sign, ..)| *sign == c);
        match (special, u32::from(c)) {
            (Some((_, code, _)), _) => *code,
            (None, latin @ (0x20..0x7f | 0xa0..=0xff)) => latin as u8,
            _ => b'?',
        }
    };
    text.chars().map(code).collect()
}

/// How wide a text is in Helvetica; titles, which are bold, begin at their place and need no width. Letters beyond ASCII count
/// as a digit.
pub fn width(encoded: &[u8], size: f64) -> f64 {
    let width = |code: &u8| match code {
        0x81 => 584,
        0x8d | 0x8f => 549,
        0xa0 => 278,
        _ => WIDTHS
            .get(usize::from(code.wrapping_sub(b' ')))
            .copied()
            .unwrap_or(556),
    };
    encoded
        .iter()
        .map(|code| f64::from(width(code)) * size / 1000.0)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_in_the_code_of_its_font() {
        assert_eq!(encoded("−1 ≥ é…"), *b"\x811 \x8f \xe9\x85");
        assert_eq!(encoded("α 中\n\u{85}"), *b"? ???");
        // 0 and 1 have 556 thousandths, the point 278, the minus 584.
        let wide = width(&encoded("−0.1"), 10.0);
        assert!((wide - 19.74).abs() < 1e-9, "{wide}");
    }
}
