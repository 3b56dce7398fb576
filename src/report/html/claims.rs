//! The claims that `verify` tested, with their verdicts.

use serde::Deserialize;
use serde_json::Value;

use super::block::{Block, Column, Table};
use super::words::{ABSENT, count, p_value, with_interval, with_minus};
use crate::stats::Interval;

/// What a page reads of `claims.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Claims {
    claims: Vec<Claim>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Claim {
    id: String,
    claim: String,
    quantity: String,
    direction: String,
    #[serde(default)]
    compared_with: Option<String>,
    estimate: Option<f64>,
    ci_low: Option<f64>,
    ci_high: Option<f64>,
    p: Option<f64>,
    p_adjusted: Option<f64>,
    draws: Option<u64>,
    n: Option<u64>,
    /// A number or a sentence.
    #[serde(default)]
    published: Value,
    verdict: Verdict,
    #[serde(default)]
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Verdict {
    #[serde(rename = "supported")]
    Supported,
    #[serde(rename = "contradicted")]
    Contradicted,
    #[serde(rename = "not distinguishable")]
    NotDistinguishable,
    #[serde(rename = "not testable")]
    NotTestable,
}

impl Verdict {
    const ALL: [Verdict; 4] = [
        Verdict::Supported,
        Verdict::Contradicted,
        Verdict::NotDistinguishable,
        Verdict::NotTestable,
    ];

    fn word(self) -> &'static str {
        match self {
            Verdict::Supported => "supported",
            Verdict::Contradicted => "contradicted",
            Verdict::NotDistinguishable => "not distinguishable",
            Verdict::NotTestable => "not testable",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Verdict::Supported => "✓",
            Verdict::Contradicted => "✗",
            Verdict::NotDistinguishable => "○",
            Verdict::NotTestable => "–",
        }
    }
}

pub fn table(claims: &Claims) -> Block {
    let claims = &claims.claims;
    let mut groups: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    for claim in claims {
        let title = format!("{}: {}", claim.id, claim.claim);
        match groups.iter_mut().find(|(earlier, _)| *earlier == title) {
            Some((_, rows)) => rows.push(claim.cells()),
            None => groups.push((title, vec![claim.cells()])),
        }
    }
    let draws = claims.iter().filter_map(|claim| claim.draws).max();
    Block::Table(Table {
        title: "Claims".to_string(),
        reading: reading(claims),
        columns: vec![
            Column::Line("verdict"),
            Column::Words("quantity"),
            Column::Words("expected"),
            Column::Number("estimate [95 %]"),
            Column::Number("p"),
            Column::Number("p (adj.)"),
            Column::Number("n"),
            Column::Number("draws"),
            Column::Words("published"),
            Column::Words("why"),
        ],
        n: format!(
            "{} tests in {} claims, up to {} draws",
            count(claims.len()),
            count(groups.len()),
            draws.unwrap_or(0)
        ),
        groups,
        notes: vec![
            "A published claim that is contradicted here is a result of this run, not an error."
                .to_string(),
        ],
    })
}

fn reading(claims: &[Claim]) -> String {
    let counts = Verdict::ALL.map(|verdict| {
        let of = claims
            .iter()
            .filter(|claim| claim.verdict == verdict)
            .count();
        format!("{} {} {}", verdict.mark(), count(of), verdict.word())
    });
    format!("Of {} tests: {}.", count(claims.len()), counts.join(", "))
}

impl Claim {
    fn cells(&self) -> Vec<String> {
        let interval = self
            .ci_low
            .zip(self.ci_high)
            .map(|(low, high)| Interval { low, high });
        let whole = |n: Option<u64>| n.map_or(ABSENT.to_string(), |n| count(n as usize));
        let expected = match self.compared_with.as_deref() {
            None | Some("") => self.direction.clone(),
            Some(other) => format!("{}; compared with {other}", self.direction),
        };
        vec![
            format!("{} {}", self.verdict.mark(), self.verdict.word()),
            self.quantity.clone(),
            expected,
            // Some are differences, others shares or means.
            with_interval(self.estimate, interval).replace('+', ""),
            p_value(self.p),
            p_value(self.p_adjusted),
            whole(self.n),
            whole(self.draws),
            published(&self.published),
            self.why.clone().unwrap_or_default(),
        ]
    }
}

fn published(value: &Value) -> String {
    match value {
        Value::Null => ABSENT.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(n) => with_minus(n.to_string()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(id: &str, verdict: &str) -> Value {
        json!({
            "id": id, "claim": "depletion is rare", "quantity": "share", "direction": "below 1 %", "compared_with": null,
            "estimate": 0.0023, "ci_low": null, "ci_high": null, "p": null, "p_adjusted": null, "draws": null, "n": 46080,
            "published": "0.13 to 0.36 %", "verdict": verdict, "why": "<because>",
        })
    }

    fn read(claims: Vec<Value>) -> Result<Claims, serde_json::Error> {
        serde_json::from_value(json!({"claims": claims}))
    }

    #[test]
    fn claims_are_grouped_and_their_verdicts_are_words() {
        let verdicts = [
            "supported",
            "contradicted",
            "not distinguishable",
            "not testable",
        ];
        let claims = verdicts
            .iter()
            .enumerate()
            .map(|(i, verdict)| claim(["a", "b"][i % 2], verdict));
        let Block::Table(table) = table(&read(claims.collect()).unwrap()) else {
            panic!()
        };
        assert_eq!(
            table.reading,
            "Of 4 tests: ✓ 1 supported, ✗ 1 contradicted, ○ 1 not distinguishable, – 1 not testable."
        );
        let shape: Vec<_> = table
            .groups
            .iter()
            .map(|(title, rows)| (title.as_str(), rows.len()))
            .collect();
        assert_eq!(
            shape,
            [("a: depletion is rare", 2), ("b: depletion is rare", 2)]
        );
        let row = &table.groups[0].1[0];
        assert_eq!(row[..3], ["✓ supported", "share", "below 1 %"]);
        assert_eq!(row[3..8], ["0.0023", "–", "–", "46,080", "–"]);
        assert_eq!(row[8], "0.13 to 0.36 %");
        let html = Block::Table(table).html("again").unwrap().into_string();
        assert!(
            html.contains("&lt;because&gt;") && html.contains(r#"data-label="verdict""#),
            "{html}"
        );
    }

    #[test]
    fn an_unknown_verdict_is_refused() {
        let error = read(vec![claim("a", "perhaps")]).unwrap_err().to_string();
        assert!(
            error.contains("perhaps") && error.contains("not testable"),
            "{error}"
        );
    }
}
