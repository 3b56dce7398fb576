//! Tables as they are read, on a terminal and on a page: the columns of each kind of row, and the texts that these make.

use super::number::{Digits, count, p_value, plural};
use crate::experiment::rank::{Exact, RankedNeuron};
use crate::experiment::record::Activity;
use crate::experiment::verify::Verdict;
use crate::experiment::{Effect, Estimate};
use crate::stats::Interval;

/// Where the texts of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// The columns of a table with a row for each `R`: headers, with line ends for a narrow terminal, and cells.
pub struct Columns<'a, R>(Vec<(String, Align, Cell<'a, R>)>);

type Cell<'a, R> = Box<dyn Fn(&R) -> String + 'a>;

impl<'a, R: 'a> Columns<'a, R> {
    pub fn new() -> Self {
        Columns(Vec::new())
    }

    /// Adds a column of words.
    pub fn words(self, header: &str, cell: impl Fn(&R) -> String + 'a) -> Self {
        self.and(header, Align::Left, Box::new(cell))
    }

    /// Adds a column of numbers.
    pub fn number(self, header: &str, cell: impl Fn(&R) -> String + 'a) -> Self {
        self.and(header, Align::Right, Box::new(cell))
    }

    /// Adds a column of numbers with all their digits, for programs; empty where there is none.
    pub fn value(self, header: &str, cell: impl Fn(&R) -> Option<f64> + 'a) -> Self {
        self.number(header, move |row| {
            cell(row).map_or(String::new(), |value| format!("{value:?}"))
        })
    }

    /// Adds both ends of an interval likewise.
    pub fn ends(
        self,
        headers: [&str; 2],
        cell: impl Fn(&R) -> Option<Interval> + Copy + 'a,
    ) -> Self {
        self.value(headers[0], move |row| Some(cell(row)?.low))
            .value(headers[1], move |row| Some(cell(row)?.high))
    }

    fn and(mut self, header: &str, align: Align, cell: Cell<'a, R>) -> Self {
        self.0.push((header.to_string(), align, cell));
        self
    }

    /// Moves the last column to this place.
    pub fn moved(mut self, place: usize) -> Self {
        self.0[place..].rotate_right(1);
        self
    }

    /// Leaves a column out.
    pub fn without(mut self, header: &str) -> Self {
        self.0.retain(|column| column.0 != header);
        self
    }

    /// The columns of rows that have an `R`.
    pub fn on<S: 'a>(self, part: fn(&S) -> &R) -> Columns<'a, S> {
        let columns = self.0.into_iter().map(|(header, align, cell)| {
            let cell: Cell<'a, S> = Box::new(move |row| cell(part(row)));
            (header, align, cell)
        });
        Columns(columns.collect())
    }

    /// The table of these rows.
    pub fn table<'r>(&self, rows: impl IntoIterator<Item = &'r R>) -> Table
    where
        R: 'r,
    {
        self.groups([(String::new(), rows)])
    }

    /// The same in groups, each with its title.
    pub fn groups<'r, I: IntoIterator<Item = &'r R>>(
        &self,
        groups: impl IntoIterator<Item = (String, I)>,
    ) -> Table
    where
        R: 'r,
    {
        let cells = |row| self.0.iter().map(|(.., cell)| cell(row)).collect();
        let columns = self
            .0
            .iter()
            .map(|(header, align, _)| (header.clone(), *align));
        let groups = groups.into_iter();
        let groups = groups.map(|(title, rows)| (title, rows.into_iter().map(cells).collect()));
        Table {
            columns: columns.collect(),
            groups: groups.collect(),
        }
    }
}

/// The texts of a table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<(String, Align)>,
    /// In groups, each with its title, which may be empty.
    pub groups: Vec<(String, Vec<Vec<String>>)>,
}

/// The columns of an effect.
pub fn of_effect<'a>(digits: Digits) -> Columns<'a, Effect> {
    Columns::new()
        .words("class", Effect::name)
        .number("neurons", |e| count(e.neurons))
        .number("clean", move |e| digits.number(e.means.clean))
        .number("class\nedited", move |e| digits.number(e.means.class))
        .number("baseline\nedited", move |e| {
            digits.optional(e.means.baseline)
        })
        .number("difference to baseline\n[95 % interval]", move |e| {
            digits.with_interval(e.estimate.difference_to_baseline, e.estimate.baseline_ci)
        })
        .number("p\n(t)", |e| p_value(e.estimate.p))
        .number("p\n(rank)", |e| p_value(e.estimate.permutation_p))
        .number("p\n(Holm)", |e| p_value(e.estimate.p_adjusted))
}

/// What the three p of some estimates are; nothing without draws.
pub fn tests_in_words<'e>(estimates: impl IntoIterator<Item = &'e Estimate>) -> Vec<String> {
    let tested: Vec<&Estimate> = estimates
        .into_iter()
        .filter(|e| e.permutation_p.is_some())
        .collect();
    let floor = tested
        .iter()
        .find_map(|estimate| estimate.permutation_floor);
    let Some(floor) = floor else {
        return Vec::new();
    };
    let primary = tested
        .iter()
        .filter(|estimate| estimate.p_adjusted.is_some())
        .count();
    let [least, decisive] = [floor, (floor * primary as f64).min(1.0)].map(|p| p_value(Some(p)));
    vec![
        "t: Student's, of the interval; it decides nothing, since random sets have heavy tails."
            .to_string(),
        format!("rank: among the draws; so many draws cannot give less than {least}."),
        format!(
            "Holm: the rank's p adjusted over the {} of the run; with so many draws not less than {decisive} for the \
             smallest. Whatever has none is described, not tested.",
            plural(primary, "primary test")
        ),
    ]
}

/// The difference of each class where every cluster of prompts counts alike; nothing where each prompt is its own.
pub fn clusters_alike_in_words<'e>(
    effects: impl IntoIterator<Item = &'e Effect>,
    digits: Digits,
) -> Vec<String> {
    let words = effects.into_iter().filter_map(|effect| {
        let alike = effect.clusters_alike?;
        let to_draws = alike.difference_to_baseline;
        let difference = to_draws.unwrap_or(alike.difference_to_clean);
        Some(format!("{} {}", effect.name(), digits.signed(difference)))
    });
    words.collect()
}

/// The columns of what a class does.
pub fn of_activity<'a>(digits: Digits) -> Columns<'a, Activity> {
    Columns::new()
        .words("class", |a: &Activity| a.class.clone())
        .number("neurons", |a| count(a.neurons))
        .number("class\nmean", move |a| digits.number(a.means.class))
        .number("baseline\nmean", move |a| digits.optional(a.means.baseline))
        .number("difference\n[95 % interval]", move |a| {
            digits.with_interval(a.estimate.difference_to_baseline, a.estimate.baseline_ci)
        })
        .number("p\n(Holm)", |a| p_value(a.estimate.p_adjusted))
}

/// The columns of a neuron that was ablated alone.
pub fn of_ranked<'a, 'r: 'a>(digits: Digits) -> Columns<'a, (&'r RankedNeuron, Exact)> {
    Columns::new()
        .words("neuron", |(ranked, _): &(&RankedNeuron, Exact)| {
            ranked.neuron.to_string()
        })
        .number("estimate", move |(ranked, _)| {
            digits.number(ranked.estimate)
        })
        .number("rank by\nestimate", |(ranked, _)| {
            count(ranked.estimate_rank)
        })
        .number("exact effect\n[95 % interval]", move |(_, exact)| {
            digits.with_interval(Some(exact.cost.effect), exact.cost.interval)
        })
        .number("facts\nlost", |(_, exact)| {
            exact.cost.facts_lost.to_string()
        })
}

/// The sign of a verdict.
pub fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "✓",
        Verdict::Contradicted => "✗",
        Verdict::NotDistinguishable => "○",
        Verdict::NotTestable => "–",
        Verdict::Described => "·",
    }
}
