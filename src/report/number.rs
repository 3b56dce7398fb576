//! How numbers are written, in the terminal, on pages and in pictures.

use crate::stats::Interval;

/// What stands for a number that is not there.
pub const ABSENT: &str = "–";

/// Which digits a number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// So many behind the point.
    Fixed(usize),
    /// Of a share, in points (hundredths): two behind the point.
    Points,
    /// Three behind the point below 10, one below 100, none above.
    Three,
    /// Three behind the point, of what is below 0.1 four.
    Claim,
    /// Three behind the point below 10, one below 1,000, none above; of what is below 0.01 two that
    /// count. What is rounded to 0 has no sign.
    Size,
    /// Of a column of sizes: so many behind the point. What is rounded to 0 has no sign.
    Even(usize),
}

impl Digits {
    /// For numbers that stand below each other, of which these are the sizes: sizes have the same digits then, three behind
    /// the point, fewer where none of them asks for three, more where all of them ask for more.
    pub fn in_column(self, sizes: impl IntoIterator<Item = f64>) -> Digits {
        let sizes = sizes.into_iter().filter(|size| *size != 0.0);
        let decimals: Vec<usize> = sizes.map(|size| self.decimals(size)).collect();
        match (self, decimals.iter().min(), decimals.iter().max()) {
            (Digits::Size, Some(least), Some(most)) => Digits::Even(*least.max(most.min(&3))),
            _ => self,
        }
    }

    fn decimals(self, value: f64) -> usize {
        match (self, value.abs()) {
            (Digits::Fixed(decimals) | Digits::Even(decimals), _) => decimals,
            (Digits::Points, _) => 2,
            (Digits::Three | Digits::Size, 10.0..100.0) | (Digits::Size, 100.0..1000.0) => 1,
            (Digits::Three | Digits::Size, 10.0..) => 0,
            (Digits::Size, 0.0) => 0,
            (Digits::Size, size) if size < 0.01 => (1.0 - size.log10().floor()).min(9.0) as usize,
            (Digits::Claim, size) if size < 0.1 && size != 0.0 => 4,
            _ => 3,
        }
    }

    fn scaled(self, value: f64) -> f64 {
        match self {
            Digits::Points => 100.0 * value,
            _ => value,
        }
    }

    /// A level, such as a mean.
    pub fn number(self, value: f64) -> String {
        format!("{:.*}", self.decimals(value), self.scaled(value))
    }

    /// A level, where there is one.
    pub fn optional(self, value: Option<f64>) -> String {
        value.map_or(ABSENT.to_string(), |value| self.number(value))
    }

    /// A difference, with its sign.
    pub fn signed(self, value: f64) -> String {
        self.signed_to(value, self.decimals(value))
    }

    fn signed_to(self, value: f64, decimals: usize) -> String {
        let text = format!("{:+.decimals$}", self.scaled(value));
        let is_zero = !text.contains(|c: char| ('1'..='9').contains(&c));
        if matches!(self, Digits::Size | Digits::Even(_)) && is_zero {
            text[1..].to_string()
        } else {
            text
        }
    }

    /// A difference, where there is one, with its interval, where there is one.
    pub fn with_interval(self, value: Option<f64>, interval: Option<Interval>) -> String {
        let Some(value) = value else {
            return ABSENT.to_string();
        };
        let Some(Interval { low, high }) = interval else {
            return self.signed(value);
        };
        let size = largest(value, interval);
        let decimals = |of| match self {
            Digits::Size => self.decimals(size),
            own => own.decimals(of),
        };
        let [value, low, high] = [value, low, high].map(|v| self.signed_to(v, decimals(v)));
        format!("{value} [{low}, {high}]")
    }
}

/// The size of the largest of a number and the ends of its interval, where it has one.
pub fn largest(value: f64, interval: Option<Interval>) -> f64 {
    let ends = interval.map_or([value; 2], |ci| [ci.low, ci.high]);
    ends.into_iter().map(f64::abs).fold(value.abs(), f64::max)
}

/// A number with thousands separated.
pub fn count(n: usize) -> String {
    indicatif::HumanCount(n as u64).to_string()
}

/// `1 draw`, `2 draws`.
pub fn plural(n: usize, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A p-value as one prints it, or a dash.
pub fn p_value(p: Option<f64>) -> String {
    match p {
        None => ABSENT.to_string(),
        Some(p) if p < 0.001 => "<.001".to_string(),
        Some(p) => format!("{p:.3}"),
    }
}

/// A share in per cent.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0\u{a0}%".to_string(),
        small if small < 0.01 => "<0.01\u{a0}%".to_string(),
        percent if percent < 10.0 => format!("{percent:.2}\u{a0}%"),
        percent => format!("{percent:.1}\u{a0}%"),
    }
}

/// With a real minus, for pages and pictures.
pub fn with_minus(number: &str) -> String {
    number.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_deserve() {
        let texts =
            |digits: Digits| [0.0, -0.5312, 0.0003126, 12.34, 1234.5].map(|v| digits.number(v));
        assert_eq!(
            texts(Digits::Size),
            ["0", "-0.531", "0.00031", "12.3", "1234"]
        );
        assert_eq!(
            texts(Digits::Three),
            ["0.000", "-0.531", "0.000", "12.3", "1234"]
        );
        assert_eq!(
            texts(Digits::Fixed(3)),
            ["0.000", "-0.531", "0.000", "12.340", "1234.500"]
        );
        assert_eq!(
            [0.0712, 0.0].map(|v| Digits::Points.signed(v)),
            ["+7.12", "+0.00"]
        );
        assert_eq!(
            [0.0, 0.1, -0.01234].map(|v| Digits::Claim.signed(v)),
            ["+0.000", "+0.100", "-0.0123"]
        );
    }

    #[test]
    fn numbers_of_a_column_have_the_same_digits() {
        let column = |sizes: &[f64]| Digits::Size.in_column(sizes.iter().copied());
        // A wide interval takes no digits from the others, and a small number gives them none.
        assert_eq!(column(&[-22.7, 0.5, 0.0003]), Digits::Even(3));
        assert_eq!(column(&[-35.3, -34.4, 0.0]), Digits::Even(1));
        assert_eq!(column(&[0.0031, 0.00042]), Digits::Even(4));
        assert_eq!(column(&[0.0]), Digits::Size);
        assert_eq!(Digits::Three.in_column([12.0, 0.5]), Digits::Three);
        assert_eq!(Digits::Even(3).signed(0.0), "0.000");
    }

    #[test]
    fn an_interval_has_the_digits_of_its_largest_number() {
        let interval = |low, high| Some(Interval { low, high });
        let text = Digits::Size.with_interval(Some(0.00052), interval(-0.051, 0.0004));
        assert_eq!(text, "+0.001 [-0.051, 0.000]");
        assert_eq!(
            Digits::Size.with_interval(None, interval(-0.5, 0.5)),
            ABSENT
        );
        assert_eq!(
            Digits::Three.with_interval(Some(-123.4), interval(-200.0, 1.5)),
            "-123 [-200, +1.500]"
        );
        assert_eq!(Digits::Fixed(3).with_interval(Some(0.25), None), "+0.250");
    }

    #[test]
    fn shares_and_p_by_hand() {
        assert_eq!(
            [0.0, 0.00001, 0.0023, 0.471].map(percent),
            ["0\u{a0}%", "<0.01\u{a0}%", "0.23\u{a0}%", "47.1\u{a0}%"]
        );
        assert_eq!(
            [Some(0.0004), Some(0.0481), None].map(p_value),
            ["<.001", "0.048", ABSENT]
        );
    }
}
