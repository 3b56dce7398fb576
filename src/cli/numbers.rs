//! Numbers as arguments: each says its range where it is given one outside.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::threads::cores;

/// Random sets (or orders) of a class. Each is run as the class is, and a rank among 10,000 gives p to four digits.
const MOST_DRAWS: usize = 10_000;

/// Of noises that a fact is run with: each is a run under every condition.
const MOST_NOISES: usize = 1_000;

/// Of a list that somebody reads, or of the tokens that a row points at.
const MOST_SHOWN: usize = 1_000_000;

/// No model has more layers.
const MOST_LAYERS: usize = 65_536;

/// No text and no model has as many.
const MOST_TOKENS: usize = u32::MAX as usize;

/// `--max-memory` below this has no unit, or the wrong one.
const LEAST_MEMORY: u64 = 1 << 20;

fn within<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
    why: &str,
) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "`{text}` is not a whole number from {} to {}{why}",
                range.start(),
                range.end()
            )
        })
}

/// How many random sets; 0: none.
pub fn draws(text: &str) -> Result<usize, String> {
    let why = "; each random set is run as the class itself is, and more of them tell no more";
    within(text, 0..=MOST_DRAWS, why)
}

/// How many noises.
pub fn noise_seeds(text: &str) -> Result<usize, String> {
    let why = "; each fact is run with every one of them under every condition";
    within(text, 1..=MOST_NOISES, why)
}

/// How many of a list; 0: none.
pub fn shown(text: &str) -> Result<usize, String> {
    within(text, 0..=MOST_SHOWN, "")
}

/// How many of a list.
pub fn some_shown(text: &str) -> Result<NonZeroUsize, String> {
    non_zero(text, MOST_SHOWN)
}

/// How many layers.
pub fn layers(text: &str) -> Result<NonZeroUsize, String> {
    non_zero(text, MOST_LAYERS)
}

fn non_zero(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    let number = within(text, 1..=most, "")?;
    NonZeroUsize::new(number).ok_or_else(|| "0 is too few".to_string())
}

/// How many tokens.
pub fn tokens(text: &str) -> Result<usize, String> {
    within(text, 1..=MOST_TOKENS, "")
}

/// No more than so many tokens; whether there is a use for 0 shows where they are read.
pub fn token_limit(text: &str) -> Result<usize, String> {
    within(text, 0..=usize::MAX, "")
}

/// No more of a text than so many tokens, where each is predicted from those before it.
pub fn text_limit(text: &str) -> Result<usize, String> {
    within(text, 2..=usize::MAX, "")
}

/// How many tokens a stretch of text has.
pub fn stretch(text: &str) -> Result<usize, String> {
    within(
        text,
        2..=MOST_TOKENS,
        " (a token is predicted from those before it)",
    )
}

/// How many threads.
pub fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|threads| *threads > 0).ok_or_else(|| {
        let cores = cores();
        format!("`{text}` is not a number of threads, from 1 to one for each of this machine's {cores} cores")
    })
}

/// A cosine that others are compared with.
pub fn threshold(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|t: &f32| *t > 0.0 && *t < 1.0);
    number.ok_or_else(|| format!("`{text}` is not a number between 0 and 1, both excluded"))
}

/// Bytes, such as 4GiB.
pub fn size(text: &str) -> Result<u64, String> {
    let bytes = parse_size::parse_size(text)
        .map_err(|error| format!("`{text}`: {error}; write a size such as 4GiB or 512MiB"))?;
    match bytes {
        LEAST_MEMORY.. => Ok(bytes),
        _ => Err(format!(
            "`{text}` is {bytes} bytes, and no model fits; write a size with its unit, such as 4GiB or 512MiB"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_at_their_ends() {
        assert_eq!(draws("10000"), Ok(10_000));
        assert!(draws("10001").unwrap_err().contains("from 0 to 10000"));
        assert_eq!(threshold("0.5"), Ok(0.5));
        for bad in ["0", "1", "nan", "inf", "-0.5", "x"] {
            assert!(threshold(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("4 GB"), Ok(4_000_000_000));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        for bad in ["1", "0", "4", "-1", "1e30GiB", "", "GiB", "nan"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
