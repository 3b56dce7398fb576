//! Numbers as a page prints them: a real minus, a hard space before a unit.

use crate::stats::Interval;

/// What stands for a number that is not there.
pub(crate) const ABSENT: &str = "–";

/// A number with thousands separated.
pub fn count(n: usize) -> String {
    indicatif::HumanCount(n as u64).to_string()
}

/// A p-value as one prints it, or a dash.
pub fn p_value(p: Option<f64>) -> String {
    match p {
        None => ABSENT.to_string(),
        Some(p) if p < 0.001 => "<.001".to_string(),
        Some(p) => format!("{p:.3}"),
    }
}

/// Three decimals below 10, fewer above, two digits of what is very small.
fn decimals(size: f64) -> usize {
    match size {
        0.0 => 0,
        _ if size < 0.01 => ((1.0 - size.log10().floor()) as usize).min(9),
        _ if size < 10.0 => 3,
        _ if size < 1000.0 => 1,
        _ => 0,
    }
}

pub(super) fn number(value: f64) -> String {
    let decimals = decimals(value.abs());
    with_minus(format!("{value:.decimals$}"))
}

/// A difference: with its sign.
pub(super) fn signed(value: f64) -> String {
    with_sign(value, decimals(value.abs()))
}

/// A difference with so many decimals; what is rounded to 0 has no sign.
pub(super) fn with_sign(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    match text.chars().all(|c| matches!(c, '+' | '-' | '0' | '.')) {
        true => text[1..].to_string(),
        false => with_minus(text),
    }
}

/// An estimate, where there is one, with its interval, where there is one; all with the same decimals.
pub(super) fn with_interval(estimate: Option<f64>, interval: Option<Interval>) -> String {
    match (estimate, interval) {
        (Some(estimate), Some(ci)) => {
            let size = [estimate, ci.low, ci.high]
                .map(f64::abs)
                .into_iter()
                .fold(0.0, f64::max);
            let [estimate, low, high] =
                [estimate, ci.low, ci.high].map(|value| with_sign(value, decimals(size)));
            format!("{estimate} [{low}, {high}]")
        }
        (Some(estimate), None) => signed(estimate),
        _ => ABSENT.to_string(),
    }
}

/// A number where there is one.
pub(super) fn optional(value: Option<f64>) -> String {
    value.map_or(ABSENT.to_string(), number)
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        0.0 => "0\u{a0}%".to_string(),
        _ if percent < 0.01 => "<0.01\u{a0}%".to_string(),
        _ if percent < 10.0 => format!("{percent:.2}\u{a0}%"),
        _ => format!("{percent:.1}\u{a0}%"),
    }
}

/// A duration.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => format!("{seconds:.1}\u{a0}s"),
        60..3600 => format!(
            "{:.0}\u{a0}min {:02.0}\u{a0}s",
            (seconds / 60.0).floor(),
            seconds % 60.0
        ),
        _ => format!(
            "{:.0}\u{a0}h {:02.0}\u{a0}min",
            (seconds / 3600.0).floor(),
            seconds % 3600.0 / 60.0
        ),
    }
}

/// `1 class`, `2 classes`.
pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A number with a real minus.
pub(super) fn with_minus(number: String) -> String {
    number.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_they_deserve() {
        for (value, text) in [
            (0.0, "0"),
            (-0.5312, "−0.531"),
            (0.000312, "0.00031"),
            (-0.0099, "−0.0099"),
            (12.34, "12.3"),
            (12345.6, "12346"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (signed(0.25), signed(-0.25)),
            ("+0.250".to_string(), "−0.250".to_string())
        );
        let ci = Interval {
            low: -0.5,
            high: 0.125,
        };
        assert_eq!(
            with_interval(Some(-0.25), Some(ci)),
            "−0.250 [−0.500, +0.125]"
        );
        assert_eq!(with_interval(None, Some(ci)), ABSENT);
        let ci = Interval {
            low: -0.051,
            high: 0.0004,
        };
        let text = "+0.001 [−0.051, 0.000]";
        assert_eq!(
            with_interval(Some(0.00052), Some(ci)),
            text,
            "the same decimals"
        );
    }

    #[test]
    fn shares_and_times_by_hand() {
        assert_eq!(percent(0.0023), "0.23\u{a0}%");
        assert_eq!(
            (percent(0.00001), percent(0.0)),
            ("<0.01\u{a0}%".into(), "0\u{a0}%".into())
        );
        assert_eq!(percent(0.471), "47.1\u{a0}%");
        assert_eq!(seconds(7.26), "7.3\u{a0}s");
        assert_eq!(seconds(125.0), "2\u{a0}min 05\u{a0}s");
        assert_eq!(seconds(7500.0), "2\u{a0}h 05\u{a0}min");
        assert_eq!(
            (p_value(Some(0.0004)), p_value(Some(0.0481))),
            ("<.001".into(), "0.048".into())
        );
    }
}
