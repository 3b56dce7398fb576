//! The claims that `verify` tested, with their verdicts.

use maud::Markup;
use serde::Deserialize;
use serde_json::Value;

use super::block::table;
use crate::experiment::verify::Verdict;
use crate::report::number::{ABSENT, Digits, count, p_value, plural};
use crate::report::view::{Columns, mark};
use crate::stats::Interval;

/// What a page reads of `claims.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    claims: Vec<Claim>,
}

#[derive(Clone, Debug, Deserialize)]
struct Claim {
    id: String,
    claim: String,
    quantity: String,
    direction: String,
    compared_with: Option<String>,
    estimate: Option<f64>,
    ci_low: Option<f64>,
    ci_high: Option<f64>,
    p: Option<f64>,
    p_adjusted: Option<f64>,
    draws: Option<usize>,
    n: Option<usize>,
    /// A number or a sentence.
    #[serde(default)]
    published: Value,
    verdict: Verdict,
    why: Option<String>,
}

pub fn verdicts(Claims { claims }: &Claims) -> Markup {
    let whole = |n: Option<usize>| n.map_or(ABSENT.to_string(), count);
    let columns = Columns::new()
        .words("verdict", |c: &Claim| {
            format!("{} {}", mark(c.verdict), c.verdict.as_str())
        })
        .words("quantity", |c| c.quantity.clone())
        .words("expected", |c| match c.compared_with.as_deref() {
            None | Some("") => c.direction.clone(),
            Some(other) => format!("{}; compared with {other}", c.direction),
        })
        // Some are differences, others shares or means.
        .number("estimate\n[95 % interval]", |c| {
            let interval = c
                .ci_low
                .zip(c.ci_high)
                .map(|(low, high)| Interval { low, high });
            Digits::Size
                .with_interval(c.estimate, interval)
                .replace('+', "")
        })
        .number("p", |c| p_value(c.p))
        .number("p\n(Holm)", |c| p_value(c.p_adjusted))
        .number("n", move |c| whole(c.n))
        .number("draws", move |c| whole(c.draws))
        .words("published", |c| match &c.published {
            Value::Null => ABSENT.to_string(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .words("why", |c| c.why.clone().unwrap_or_default());
    let of_claims = claims.chunk_by(|a, b| (&a.id, &a.claim) == (&b.id, &b.claim));
    let tests = columns
        .groups(of_claims.map(|tests| (format!("{}: {}", tests[0].id, tests[0].claim), tests)));
    use Verdict::*;
    let counts = [Supported, Contradicted, NotDistinguishable, NotTestable].map(|verdict| {
        let of = claims.iter().filter(|claim| claim.verdict == verdict);
        format!("{} {} {}", mark(verdict), of.count(), verdict.as_str())
    });
    let draws = claims.iter().filter_map(|claim| claim.draws).max();
    let caption = format!(
        "{} in {}, up to {}: {}.\nA published claim that is contradicted here is a result of this run, not an error.",
        plural(claims.len(), "test"),
        plural(tests.groups.len(), "claim"),
        plural(draws.unwrap_or(0), "draw"),
        counts.join(", ")
    );
    table("Claims", &caption, &tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(verdicts: &[&str]) -> Result<Claims, serde_json::Error> {
        let claim = |(i, verdict): (usize, &&str)| {
            let id = ["a", "b"][i / 2];
            json!({
                "id": id, "claim": "depletion is rare", "quantity": "share", "direction": "below 1 %",
                "compared_with": null, "estimate": 0.0023, "ci_low": null, "ci_high": null, "p": null, "p_adjusted": null,
                "draws": null, "n": 46080, "published": "0.13 to 0.36 %", "verdict": verdict, "why": "<because>",
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
        let page = verdicts(&read(&four).unwrap()).into_string();
        let counts = "✓ 1 supported, ✗ 1 contradicted, ○ 1 not distinguishable, – 1 not testable.";
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
