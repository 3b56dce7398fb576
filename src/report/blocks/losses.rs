//! The prompts that lose most when a class is off.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::block::Block;
use crate::experiment::Arm;
use crate::report::number::{Digits, plural};
use crate::report::view::Columns;
use crate::stats::mean;

/// What a page reads of a row of `outcomes.parquet`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PromptRow {
    #[serde(rename = "prompt_id")]
    pub prompt: String,
    pub class: String,
    pub arm: Arm,
    pub target_logprob: f64,
    pub top_token: String,
}

/// Prompts that are listed for each class.
const LISTED: usize = 3;

/// One prompt with a class edited.
struct Loss<'r> {
    clean: &'r PromptRow,
    class: &'r PromptRow,
    draws: Option<f64>,
}

impl Loss<'_> {
    /// Beyond what the draws lose, where there are any.
    fn difference(&self) -> f64 {
        self.class.target_logprob - self.draws.unwrap_or(self.clean.target_logprob)
    }
}

pub fn facts(rows: &[PromptRow]) -> Block {
    let digits = Digits::Size;
    // In quotes, so that spaces and line ends are seen.
    let token = |row: &PromptRow| format!("{:?}", row.top_token);
    let columns = Columns::new()
        .words("prompt", |loss: &Loss<'_>| loss.class.prompt.clone())
        .level("clean", digits, |loss| Some(loss.clean.target_logprob))
        .level("class edited", digits, |loss| {
            Some(loss.class.target_logprob)
        })
        .level("draws", digits, |loss| loss.draws)
        .difference("loss", digits, |loss| (Some(loss.difference()), None))
        .words("answer, clean", move |loss| token(loss.clean))
        .words("answer, class edited", move |loss| token(loss.class));
    let losses = losses(rows);
    let listed = losses
        .iter()
        .map(|(class, losses)| (class.to_string(), losses.iter().take(LISTED)));
    let listed = columns.groups(listed);
    let prompts = losses.iter().map(|(_, losses)| losses.len());
    let caption = format!(
        "Log-probability of the whole target, nats; the {LISTED} largest losses of each class against the mean of its draws \
         (against clean where there are none). Chosen for being large: no estimate of the class's effect.\n{} with each \
         class edited.",
        plural(prompts.max().unwrap_or(0), "prompt")
    );
    Block::table("Facts that lose most", &caption, listed)
}

/// By class, in the order of the rows; the largest first, of equal ones the first in the file.
fn losses(rows: &[PromptRow]) -> Vec<(&str, Vec<Loss<'_>>)> {
    let of = |arm: Arm| rows.iter().filter(move |row| row.arm == arm);
    let clean: BTreeMap<&str, &PromptRow> = of(Arm::Clean)
        .map(|row| (row.prompt.as_str(), row))
        .collect();
    let mut draws: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for row in of(Arm::Baseline) {
        draws
            .entry((&row.class, &row.prompt))
            .or_default()
            .push(row.target_logprob);
    }
    let mut losses: Vec<(&str, Vec<Loss<'_>>)> = Vec::new();
    for class in of(Arm::Class) {
        let Some(clean) = clean.get(class.prompt.as_str()) else {
            continue;
        };
        let draws = draws.get(&(class.class.as_str(), class.prompt.as_str()));
        let loss = Loss {
            clean,
            class,
            draws: draws.and_then(|draws| mean(draws)),
        };
        match losses.iter_mut().find(|(name, _)| *name == class.class) {
            Some((_, of_class)) => of_class.push(loss),
            None => losses.push((&class.class, vec![loss])),
        }
    }
    for (_, of_class) in &mut losses {
        of_class.sort_by(|a, b| a.difference().total_cmp(&b.difference()));
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::shown;

    fn row(prompt: &str, class: &str, arm: Arm, target_logprob: f64) -> PromptRow {
        let (prompt, class, top_token) =
            (prompt.to_string(), class.to_string(), format!("{arm:?}"));
        PromptRow {
            prompt,
            class,
            arm,
            target_logprob,
            top_token,
        }
    }

    #[test]
    fn losses_are_those_beyond_the_draws() {
        let rows = [
            row("a", "", Arm::Clean, -1.0),
            row("b", "", Arm::Clean, -1.0),
            row("unknown", "", Arm::Clean, -9.0),
            row("a", "c", Arm::Class, -4.0),
            row("b", "c", Arm::Class, -3.0),
            row("a", "c", Arm::Baseline, -3.0),
            row("b", "c", Arm::Baseline, -1.0),
            row("a", "c", Arm::Baseline, -4.0),
            row("b", "c", Arm::Baseline, -1.5),
            row("a", "d", Arm::Class, -1.5),
        ];
        let losses = losses(&rows);
        let found = losses.iter().map(|(class, losses)| {
            (
                *class,
                losses
                    .iter()
                    .map(|loss| (loss.class.prompt.as_str(), loss.difference()))
                    .collect(),
            )
        });
        let expected = [
            ("c", vec![("b", -1.75), ("a", -0.5)]),
            ("d", vec![("a", -0.5)]),
        ];
        assert_eq!(
            found.collect::<Vec<_>>(),
            expected,
            "without draws against clean; no prompt without an edit"
        );
        let page = shown(&[facts(&rows)]);
        for text in [
            "<span>−1.250</span>",
            "<span>–</span>",
            "<span>&quot;Class&quot;</span>",
            "2 prompts with",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }
}
