//! The claims for a person.

use super::table::{Digits, column_table, count, p_value};
use super::terminal::Paint;
use crate::experiment::verify::{ClaimTest, LEVEL, Verdict};
use crate::report::view::mark;

/// Widths of verdict and estimate; what is between them has the rest of the terminal.
const VERDICT: u16 = 23;
const ESTIMATE: u16 = 28;

/// Prints the tests claim by claim.
pub(super) fn print_claims(claims: &[ClaimTest]) {
    let terminal = console::Term::stdout().size().1.clamp(90, 130);
    let widths = [VERDICT, terminal - VERDICT - ESTIMATE, ESTIMATE];
    for of_claim in claims.chunk_by(|a, b| a.id == b.id) {
        let (id, sentence) = (&of_claim[0].id, &of_claim[0].claim);
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
    let found = &test.estimate;
    if found.difference_to_baseline.is_none() {
        return String::new();
    }
    let p = found.p.map(|_| {
        let adjusted = p_value(found.p_adjusted);
        format!("\np {}, Holm {adjusted}", p_value(found.p))
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
        Verdict::NotTestable => Paint::Dim,
    };
    format!("{} {}", mark(verdict), paint.on(verdict.as_str()))
}

fn print_totals(claims: &[ClaimTest]) {
    let of = |verdict| claims.iter().filter(|test| test.verdict == verdict).count();
    let tests = claims
        .iter()
        .filter(|test| test.estimate.p.is_some())
        .count();
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
