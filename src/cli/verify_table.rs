//! The claims for a person.

use super::table::{column_table, count, p_value};
use super::terminal::Paint;
use crate::experiment::verify::{ClaimTest, LEVEL, Verdict};

/// Widths of verdict and estimate; what is between them has the rest of the terminal.
const VERDICT: u16 = 23;
const ESTIMATE: u16 = 28;

/// Prints the tests claim by claim.
pub(super) fn print_claims(claims: &[ClaimTest]) {
    let terminal = console::Term::stdout().size().1.clamp(90, 130);
    let widths = [VERDICT, terminal - VERDICT - ESTIMATE, ESTIMATE];
    for of_claim in claims.chunk_by(|a, b| a.id == b.id) {
        let (id, sentence) = (of_claim[0].id, of_claim[0].claim);
        outln!("\n{}  {sentence}", Paint::Bold.on(id));
        let rows = of_claim.iter().map(|test| {
            let what = format!(
                "{}, against {}\n{}",
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
    let Some(estimate) = test.estimate else {
        return String::new();
    };
    let interval = test.ci_low.zip(test.ci_high);
    let interval = interval.map(|(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
    let p = test
        .p
        .map(|_| format!("\np {}, Holm {}", p_value(test.p), p_value(test.p_adjusted)));
    let draws = (test.draws > 0).then(|| format!(", {} draws", test.draws));
    format!(
        "{}{}{}\nclaimed {}; n {}{}",
        signed(estimate),
        interval.unwrap_or_default(),
        p.unwrap_or_default(),
        test.direction.as_str(),
        count(test.n),
        draws.unwrap_or_default()
    )
}

/// Digits that fit the size.
fn signed(value: f64) -> String {
    match value.abs() {
        size if size >= 0.1 || size == 0.0 => format!("{value:+.3}"),
        _ => format!("{value:+.4}"),
    }
}

fn verdict(verdict: Verdict) -> String {
    let (mark, paint) = match verdict {
        Verdict::Supported => ("✓", Paint::Green),
        Verdict::Contradicted => ("✗", Paint::Red),
        Verdict::NotDistinguishable => ("○", Paint::Yellow),
        Verdict::NotTestable => ("–", Paint::Dim),
    };
    format!("{mark} {}", paint.on(verdict.as_str()))
}

fn print_totals(claims: &[ClaimTest]) {
    let of = |verdict| claims.iter().filter(|test| test.verdict == verdict).count();
    let tests = claims.iter().filter(|test| test.p.is_some()).count();
    outln!(
        "\n{} tests: {} supported, {} contradicted, {} not distinguishable, {} not testable.\n\
         Holm: adjusted over all {tests} tests with a p; a verdict needs less than {LEVEL}.",
        claims.len(),
        of(Verdict::Supported),
        of(Verdict::Contradicted),
        of(Verdict::NotDistinguishable),
        of(Verdict::NotTestable)
    );
}
