//! The claims for a person.

use super::table::{Digits, column_table, count, p_value, terminal_width};
use super::terminal::Paint;
use crate::experiment::verify::{ClaimTest, LEVEL, Verdict};
use crate::report::view::mark;

/// Widths of verdict and estimate; what is between them has the rest of the terminal.
const VERDICT: u16 = 23;
const ESTIMATE: u16 = 28;

/// How wide the table is where there is no terminal, and what it is at least and at most on one.
const WIDTH: u16 = 90;
const LEAST: u16 = 72;
const MOST: u16 = 130;

/// Prints the tests claim by claim.
pub(super) fn print_claims(claims: &[ClaimTest]) {
    let terminal = terminal_width().map_or(WIDTH, |width| width.clamp(LEAST, MOST));
    let widths = [VERDICT, terminal - VERDICT - ESTIMATE, ESTIMATE];
    for of_claim in claims.chunk_by(|a, b| a.id == b.id) {
        let (id, sentence) = (&of_claim[0].id, &of_claim[0].claim);
        outln!("\n{}  {sentence}", Paint::Bold.on(id));
        let rows = of_claim.iter().map(|test| {
            let room = match test.room.as_str() {
                "" => String::new(),
                room => format!("\nroom: {room}"),
            };
            let what = format!(
                "{}, against {}\n{}{room}",
                test.quantity, test.compared_with, test.why
            );
            vec![verdict(test.verdict), what, estimate(test)]
        });
        outln!("{}", column_table(rows, &widths));
        outln!(" published: {}", of_claim[0].published);
    }
    print_totals(claims);
}

/// The estimate over its interval, p and n.
fn estimate(test: &ClaimTest) -> String {
    let found = &test.estimate;
    if found.difference_to_baseline.is_none() {
        return String::new();
    }
    let p = found.deciding_p().map(|p| match found.p_adjusted {
        Some(adjusted) => format!("\np {}, Holm {}", p_value(Some(p)), p_value(Some(adjusted))),
        None => format!("\np {}", p_value(Some(p))),
    });
    let draws = (test.draws > 0).then(|| format!(", {} draws", test.draws));
    format!(
        "{}{}\nclaimed {}; n {}{}",
        Digits::Claim.with_interval(found.difference_to_baseline, found.baseline_ci),
        p.unwrap_or_default(),
        test.direction.as_str(),
        count(test.n),
        draws.unwrap_or_default()
    )
}

fn verdict(verdict: Verdict) -> String {
    let paint = match verdict {
        Verdict::Supported => Paint::Green,
        Verdict::Contradicted => Paint::Red,
        Verdict::NotDistinguishable => Paint::Yellow,
        Verdict::NotTestable | Verdict::Described => Paint::Dim,
    };
    format!("{} {}", mark(verdict), paint.on(verdict.as_str()))
}

fn print_totals(claims: &[ClaimTest]) {
    let counts = Verdict::ALL.map(|verdict| {
        let of = claims.iter().filter(|test| test.verdict == verdict);
        format!("{} {}", of.count(), verdict.as_str())
    });
    let adjusted = claims
        .iter()
        .filter(|test| test.estimate.p_adjusted.is_some());
    outln!(
        "\n{} tests: {}.\nHolm: adjusted over the {} tests that decide by a p, one a claim; a verdict needs less than {LEVEL}.",
        claims.len(),
        counts.join(", "),
        adjusted.count()
    );
}
