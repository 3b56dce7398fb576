//! The claims that `verify` tested, with their verdicts.

use super::block::Block;
use crate::experiment::Estimate;
use crate::experiment::verify::{ClaimTest, Verdict};
use crate::report::number::{ABSENT, Digits, count, p_value, plural};
use crate::report::view::{Columns, mark};

pub fn verdicts(claims: &[ClaimTest]) -> Block {
    let some = |n: usize| if n > 0 { count(n) } else { ABSENT.to_string() };
    let columns = Columns::new()
        .words("verdict", |c: &ClaimTest| {
            format!("{} {}", mark(c.verdict), c.verdict.as_str())
        })
        .words("quantity", |c| c.quantity.clone())
        .words("expected", |c| {
            format!(
                "{}; compared with {}",
                c.direction.as_str(),
                c.compared_with
            )
        })
        // Some are differences, others shares or means.
        .number("estimate\n[95 % interval]", |c| {
            let Estimate {
                difference_to_baseline: value,
                baseline_ci: interval,
                ..
            } = c.estimate;
            Digits::Size.with_interval(value, interval).replace('+', "")
        })
        .number("p", |c| p_value(c.estimate.deciding_p()))
        .number("p\n(Holm)", |c| p_value(c.estimate.p_adjusted))
        .number("n", move |c| some(c.n))
        .number("draws", move |c| some(c.draws))
        .words("published", |c| c.published.to_string())
        .words("why", |c| c.why.clone())
        .spare()
        .words("room", |c| c.room.clone())
        .spare();
    let of_claims = claims.chunk_by(|a, b| (&a.id, &a.claim) == (&b.id, &b.claim));
    let tests = columns
        .groups(of_claims.map(|tests| (format!("{}: {}", tests[0].id, tests[0].claim), tests)));
    let counts = Verdict::ALL.map(|verdict| {
        let of = claims.iter().filter(|claim| claim.verdict == verdict);
        format!("{} {} {}", mark(verdict), of.count(), verdict.as_str())
    });
    let draws = claims.iter().map(|claim| claim.draws).max();
    let caption = format!(
        "{} in {}, up to {}: {}.\nA published claim that is contradicted here is a result of this run, not an error.",
        plural(claims.len(), "test"),
        plural(tests.groups.len(), "claim"),
        plural(draws.unwrap_or(0), "draw"),
        counts.join(", ")
    );
    Block::table("Claims", &caption, tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Claims;
    use crate::report::html::shown;
    use serde_json::{Value, json};

    fn read(verdicts: &[&str]) -> Result<Claims, serde_json::Error> {
        let claim = |(i, verdict): (usize, &&str)| {
            let id = ["a", "b"][i / 2];
            json!({
                "id": id, "claim": "depletion is rare", "quantity": "share", "direction": "lower",
                "compared_with": "1 %", "estimate": 0.0023, "ci_low": null, "ci_high": null, "p": null, "p_adjusted": null,
                "draws": 0, "n": 46080, "published": "0.13 to 0.36 %", "verdict": verdict, "why": "<because>",
            })
        };
        let claims: Vec<Value> = verdicts.iter().enumerate().map(claim).collect();
        serde_json::from_value(json!({"claims": claims}))
    }

    #[test]
    fn claims_are_grouped_and_their_verdicts_are_words() {
        let four = [
            "supported",
            "contradicted",
            "not distinguishable",
            "not testable",
        ];
        let page = shown(&[verdicts(&read(&four).unwrap().claims)]);
        let counts = "✓ 1 supported, ✗ 1 contradicted, ○ 1 not distinguishable, – 1 not testable, · 0 described.";
        assert!(
            page.contains(&format!("4 tests in 2 claims, up to 0 draws: {counts}")),
            "{page}"
        );
        assert_eq!(page.matches("rowgroup").count(), 2);
        for text in [
            "<span>✓ supported</span>",
            "<span>0.0023</span>",
            "46,080",
            "&lt;because&gt;",
            "data-label=\"verdict\"",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn an_unknown_verdict_is_refused() {
        let error = read(&["perhaps"]).unwrap_err().to_string();
        assert!(
            error.contains("perhaps") && error.contains("not testable"),
            "{error}"
        );
    }
}
