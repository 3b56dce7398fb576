//! Colours for numbers around 0.

use plotters::style::{BLACK, RGBColor, WHITE};

/// RdBu with 11 classes of ColorBrewer 2.0 (Cynthia Brewer, Pennsylvania State University), which
/// people with the common kinds of colour blindness can read: red below 0, blue above.
const RED_TO_BLUE: [RGBColor; 11] = [
    RGBColor(0x67, 0x00, 0x1f),
    RGBColor(0xb2, 0x18, 0x2b),
    RGBColor(0xd6, 0x60, 0x4d),
    RGBColor(0xf4, 0xa5, 0x82),
    RGBColor(0xfd, 0xdb, 0xc7),
    RGBColor(0xf7, 0xf7, 0xf7),
    RGBColor(0xd1, 0xe5, 0xf0),
    RGBColor(0x92, 0xc5, 0xde),
    RGBColor(0x43, 0x93, 0xc3),
    RGBColor(0x21, 0x66, 0xac),
    RGBColor(0x05, 0x30, 0x61),
];

/// Steps that a person reads easily.
const ROUND: [f64; 8] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];

/// Numbers from `-limit` to `limit`. The colour goes with the square root of the number, on either side
/// of 0: one large cell, such as the last layer's, would otherwise leave all others pale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub limit: f64,
}

impl Scale {
    /// The smallest scale with a round limit that holds the values.
    pub fn holding(values: impl Iterator<Item = f64>) -> Scale {
        let largest = values.map(f64::abs).fold(0.0, f64::max);
        if largest == 0.0 {
            return Scale { limit: 1.0 };
        }
        let power = 10f64.powi(largest.log10().floor() as i32);
        let round = ROUND.iter().map(|step| step * power);
        let limit = round.into_iter().find(|limit| *limit >= largest);
        Scale {
            limit: limit.unwrap_or(10.0 * power),
        }
    }

    /// Where a value is between the ends of the scale: from -1 to 1.
    pub fn place(self, value: f64) -> f64 {
        let share = (value / self.limit).clamp(-1.0, 1.0);
        share.abs().sqrt().copysign(share)
    }

    /// The colour of a value.
    pub fn colour(self, value: f64) -> RGBColor {
        Scale::colour_at(self.place(value))
    }

    /// The colour of a place between -1 and 1.
    pub fn colour_at(place: f64) -> RGBColor {
        let steps = RED_TO_BLUE.len() - 1;
        let place = (place / 2.0 + 0.5) * steps as f64;
        let below = (place as usize).min(steps - 1);
        mix(
            RED_TO_BLUE[below],
            RED_TO_BLUE[below + 1],
            place - below as f64,
        )
    }

    /// A value with as many digits as the scale deserves, with a real minus.
    pub fn number(self, value: f64) -> String {
        let decimals = (3.0 - self.limit.log10().ceil()).clamp(0.0, 5.0) as usize;
        let text = format!("{value:.decimals$}");
        let is_zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
        match text.strip_prefix('-') {
            Some(zero) if is_zero => zero.to_string(),
            Some(positive) => format!("−{positive}"),
            None => text,
        }
    }
}

fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let channel = |from: u8, to: u8| {
        let mixed = f64::from(from) + share * (f64::from(to) - f64::from(from));
        mixed.round() as u8
    };
    RGBColor(
        channel(from.0, to.0),
        channel(from.1, to.1),
        channel(from.2, to.2),
    )
}

/// Black or white, whichever is read more easily on `paper` (relative luminance of WCAG 2, without its gamma).
pub(super) fn ink_on(paper: RGBColor) -> RGBColor {
    let RGBColor(r, g, b) = paper;
    let luminance = 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
    if luminance < 128.0 { WHITE } else { BLACK }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tone::themed;

    #[test]
    fn the_scale_is_round_and_holds_its_values() {
        for (largest, limit) in [
            (3.68, 4.0),
            (-0.021, 0.03),
            (1.0, 1.0),
            (9.3, 10.0),
            (0.0, 1.0),
        ] {
            let scale = Scale::holding([0.0, largest].into_iter());
            assert!((scale.limit - limit).abs() < 1e-12, "{scale:?}");
        }
    }

    #[test]
    fn zero_is_pale_and_the_ends_are_dark() {
        let scale = Scale { limit: 2.0 };
        assert_eq!(scale.colour(0.0), RED_TO_BLUE[5]);
        assert_eq!(scale.colour(-2.0), RED_TO_BLUE[0]);
        assert_eq!(scale.colour(9.0), RED_TO_BLUE[10]);
        assert_eq!(scale.colour(0.02), mix(RED_TO_BLUE[5], RED_TO_BLUE[6], 0.5));
        assert_eq!((scale.place(-0.5), scale.place(0.0)), (-0.5, 0.0));
        assert_eq!(
            (ink_on(scale.colour(0.0)), ink_on(scale.colour(2.0))),
            (BLACK, WHITE)
        );
    }

    #[test]
    fn no_colour_is_that_of_a_frame() {
        for place in -1000..=1000 {
            let colour = Scale::colour_at(f64::from(place) / 1000.0);
            let RGBColor(r, g, b) = colour;
            let written = format!("\"#{r:02X}{g:02X}{b:02X}\"");
            assert_eq!(
                themed(&written),
                written,
                "a cell keeps its colour on a dark page"
            );
        }
    }

    #[test]
    fn numbers_have_the_digits_of_their_scale() {
        let number = |limit, value| Scale { limit }.number(value);
        assert_eq!(number(4.0, -3.678), "−3.68");
        assert_eq!(number(0.5, 0.1234), "0.123");
        assert_eq!(number(0.03, -0.02064), "−0.0206");
        assert_eq!(number(0.5, -0.0001), "0.000");
        assert_eq!(number(40.0, 12.3), "12.3");
    }
}
