//! The prompts that lose most when a class is off.

use std::collections::BTreeMap;

use super::block::{Block, Column, Table};
use super::words::{count, number, optional, plural, signed};
use crate::experiment::Arm;
use crate::stats::mean;

/// What a page reads of a row of `outcomes.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptRow {
    pub prompt: String,
    pub class: String,
    pub arm: Arm,
    pub target_logprob: f64,
    pub top_token: String,
}

/// Prompts that are listed for each class.
const LISTED: usize = 3;

/// One prompt with a class off.
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

pub fn table(rows: &[PromptRow]) -> Block {
    let clean: BTreeMap<&str, &PromptRow> = rows
        .iter()
        .filter(|row| row.arm == Arm::Clean)
        .map(|row| (row.prompt.as_str(), row))
        .collect();
    let mut classes: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| row.arm == Arm::Class) {
        if !classes.contains(&row.class.as_str()) {
            classes.push(&row.class);
        }
    }
    let losses: Vec<(&str, Vec<Loss<'_>>)> = classes
        .iter()
        .map(|class| (*class, losses(rows, class, &clean)))
        .collect();
    let prompts = losses
        .iter()
        .map(|(_, losses)| losses.len())
        .max()
        .unwrap_or(0);
    let listed = losses.iter().map(|(class, losses)| {
        (
            class.to_string(),
            losses.iter().take(LISTED).map(cells).collect(),
        )
    });
    Block::Table(Table {
        title: "Facts that lose most".to_string(),
        reading: reading(&losses),
        columns: vec![
            Column::Words("prompt"),
            Column::Number("clean"),
            Column::Number("class off"),
            Column::Number("draws"),
            Column::Number("loss"),
            Column::Words("answer, clean"),
            Column::Words("answer, class off"),
        ],
        groups: listed.collect(),
        notes: vec![format!(
            "Log-probability of the whole target, nats; the {LISTED} largest losses of each class against the mean of its \
             draws (against clean where there are none). Chosen for being large: no estimate of the class's effect."
        )],
        n: format!(
            "{} with each class off",
            plural(prompts, "prompt", "prompts")
        ),
    })
}

/// The largest first; of equal ones the first in the file.
fn losses<'r>(
    rows: &'r [PromptRow],
    class: &str,
    clean: &BTreeMap<&str, &'r PromptRow>,
) -> Vec<Loss<'r>> {
    let mut draws: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| row.arm == Arm::Baseline && row.class == class)
    {
        draws
            .entry(&row.prompt)
            .or_default()
            .push(row.target_logprob);
    }
    let of_class = rows
        .iter()
        .filter(|row| row.arm == Arm::Class && row.class == class);
    let loss = |row: &'r PromptRow| {
        let draws = draws.get(row.prompt.as_str());
        Some(Loss {
            clean: clean.get(row.prompt.as_str())?,
            class: row,
            draws: draws.and_then(|draws| mean(draws)),
        })
    };
    let mut losses: Vec<Loss<'r>> = of_class.filter_map(loss).collect();
    losses.sort_by(|a, b| a.difference().total_cmp(&b.difference()));
    losses
}

fn reading(losses: &[(&str, Vec<Loss<'_>>)]) -> String {
    let firsts = losses
        .iter()
        .filter_map(|(class, losses)| Some((class, losses.first()?)));
    let largest = firsts.min_by(|a, b| a.1.difference().total_cmp(&b.1.difference()));
    let Some((class, loss)) = largest else {
        return "outcomes.parquet has no prompt with a class off.".to_string();
    };
    let lost = losses
        .iter()
        .find(|(name, _)| name == class)
        .map_or(&[][..], |(_, losses)| losses);
    let lost = lost.iter().filter(|loss| loss.difference() < 0.0).count();
    format!(
        "{} loses most: {} nats with {class} off; {class} costs {} of its prompts something.",
        loss.class.prompt,
        signed(loss.difference()),
        count(lost),
    )
}

fn cells(loss: &Loss<'_>) -> Vec<String> {
    vec![
        loss.class.prompt.clone(),
        number(loss.clean.target_logprob),
        number(loss.class.target_logprob),
        optional(loss.draws),
        signed(loss.difference()),
        token(loss.clean),
        token(loss.class),
    ]
}

/// In quotes, so that spaces and line ends are seen.
fn token(row: &PromptRow) -> String {
    format!("{:?}", row.top_token)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ];
        let Block::Table(table) = table(&rows) else {
            panic!()
        };
        assert_eq!(
            table.reading,
            "b loses most: −1.750 nats with c off; c costs 2 of its prompts something."
        );
        let expected = [
            "b",
            "−1.000",
            "−3.000",
            "−1.250",
            "−1.750",
            "\"Clean\"",
            "\"Class\"",
        ];
        assert_eq!(table.groups[0].1[0], expected);
        assert_eq!(
            table.groups[0].1.len(),
            2,
            "prompts without an edit are not listed"
        );
        assert_eq!(table.n, "2 prompts with each class off");
    }

    #[test]
    fn without_draws_the_loss_is_against_clean() {
        let rows = [
            row("a", "", Arm::Clean, -1.0),
            row("a", "c", Arm::Class, -1.5),
        ];
        let Block::Table(table) = table(&rows) else {
            panic!()
        };
        assert_eq!(table.groups[0].1[0][3..5], ["–", "−0.500"]);
        let Block::Table(empty) = super::table(&rows[..1]) else {
            panic!()
        };
        assert!(empty.reading.contains("no prompt"));
    }
}
