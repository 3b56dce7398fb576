//! Tables as they are read, on a terminal and on a page: the columns of each kind of row, and the texts that these make.

use std::mem;

use super::number::{Digits, count, largest, p_value, plural};
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
pub struct Columns<'a, R>(Vec<Column<'a, R>>);

struct Column<'a, R> {
    header: String,
    align: Align,
    /// Whether a page of paper has no room for it.
    spare: bool,
    cells: Cells<'a, R>,
}

/// The cells of rows that stand below each other.
type Cells<'a, R> = Box<dyn Fn(&[&R]) -> Vec<String> + 'a>;

impl<'a, R: 'a> Columns<'a, R> {
    pub fn new() -> Self {
        Columns(Vec::new())
    }

    /// Adds a column of words.
    pub fn words(self, header: &str, cell: impl Fn(&R) -> String + 'a) -> Self {
        self.and(header, Align::Left, one_by_one(cell))
    }

    /// Adds a column of numbers.
    pub fn number(self, header: &str, cell: impl Fn(&R) -> String + 'a) -> Self {
        self.and(header, Align::Right, one_by_one(cell))
    }

    /// Adds a column of levels, where there are any, as [`Digits::in_column`] writes them.
    pub fn level(
        self,
        header: &str,
        digits: Digits,
        cell: impl Fn(&R) -> Option<f64> + 'a,
    ) -> Self {
        let cells = move |rows: &[&R]| {
            let values: Vec<Option<f64>> = rows.iter().map(|row| cell(row)).collect();
            let digits = digits.in_column(values.iter().copied().flatten());
            values.into_iter().map(|v| digits.optional(v)).collect()
        };
        self.and(header, Align::Right, Box::new(cells))
    }

    /// Adds a column of differences, where there are any, each with its interval, where it has one, likewise.
    pub fn difference(
        self,
        header: &str,
        digits: Digits,
        cell: impl Fn(&R) -> (Option<f64>, Option<Interval>) + 'a,
    ) -> Self {
        let cells = move |rows: &[&R]| {
            let values: Vec<_> = rows.iter().map(|row| cell(row)).collect();
            let sizes = values
                .iter()
                .filter_map(|(v, ci)| Some(largest((*v)?, *ci)));
            let digits = digits.in_column(sizes);
            let texts = values.into_iter();
            texts.map(|(v, ci)| digits.with_interval(v, ci)).collect()
        };
        self.and(header, Align::Right, Box::new(cells))
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

    fn and(mut self, header: &str, align: Align, cells: Cells<'a, R>) -> Self {
        self.0.push(Column {
            header: header.to_string(),
            align,
            spare: false,
            cells,
        });
        self
    }

    /// Says that a page of paper has no room for the last column.
    pub fn spare(mut self) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.spare = true;
        }
        self
    }

    /// Moves the last column to this place.
    pub fn moved(mut self, place: usize) -> Self {
        self.0[place..].rotate_right(1);
        self
    }

    /// Leaves a column out.
    pub fn without(mut self, header: &str) -> Self {
        self.0.retain(|column| column.header != header);
        self
    }

    /// The columns of rows that have an `R`.
    pub fn on<S: 'a>(self, part: fn(&S) -> &R) -> Columns<'a, S> {
        let columns = self.0.into_iter().map(|column| Column {
            header: column.header,
            align: column.align,
            spare: column.spare,
            cells: Box::new(move |rows: &[&S]| {
                let parts: Vec<&R> = rows.iter().map(|row| part(row)).collect();
                (column.cells)(&parts)
            }),
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
        let rows = |rows: I| {
            let rows: Vec<&R> = rows.into_iter().collect();
            let mut columns: Vec<_> = self.0.iter().map(|c| (c.cells)(&rows)).collect();
            let row = |at: usize| columns.iter_mut().map(|c| mem::take(&mut c[at])).collect();
            (0..rows.len()).map(row).collect()
        };
        let columns = self.0.iter();
        let spare = columns.clone().enumerate().filter(|(_, c)| c.spare);
        let groups = groups.into_iter();
        Table {
            columns: columns
                .clone()
                .map(|c| (c.header.clone(), c.align))
                .collect(),
            spare: spare.map(|(place, _)| place).collect(),
            groups: groups.map(|(title, of)| (title, rows(of))).collect(),
        }
    }
}

fn one_by_one<'a, R: 'a>(cell: impl Fn(&R) -> String + 'a) -> Cells<'a, R> {
    Box::new(move |rows: &[&R]| rows.iter().map(|row| cell(row)).collect())
}

/// The texts of a table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<(String, Align)>,
    /// The places of those that a page of paper has no room for.
    spare: Vec<usize>,
    /// In groups, each with its title, which may be empty.
    pub groups: Vec<(String, Vec<Vec<String>>)>,
}

impl Table {
    /// The same for a page of paper.
    pub fn on_paper(&self) -> Table {
        Table {
            columns: self.kept(&self.columns),
            spare: Vec::new(),
            groups: {
                let rows =
                    |rows: &Vec<Vec<String>>| rows.iter().map(|row| self.kept(row)).collect();
                let groups = self.groups.iter();
                groups
                    .map(|(title, of)| (title.clone(), rows(of)))
                    .collect()
            },
        }
    }

    fn kept<T: Clone>(&self, of_columns: &[T]) -> Vec<T> {
        let placed = of_columns.iter().enumerate();
        let kept = placed.filter(|(place, _)| !self.spare.contains(place));
        kept.map(|(_, one)| one.clone()).collect()
    }
}

/// The columns of some effects: against their draws or, where nothing was drawn, against clean.
pub fn of_effects<'a, 'e>(
    effects: impl IntoIterator<Item = &'e Effect>,
    digits: Digits,
) -> Columns<'a, Effect> {
    if effects.into_iter().any(|effect| effect.draws > 0) {
        return of_effect(digits);
    }
    of_arms(digits).difference("difference to clean\n[95 % interval]", digits, to_clean)
}

/// The same with both, for a page.
pub fn of_effects_twice<'a, 'e>(
    effects: impl IntoIterator<Item = &'e Effect> + Clone,
    digits: Digits,
) -> Columns<'a, Effect> {
    let columns = of_effects(effects.clone(), digits);
    if effects.into_iter().all(|effect| effect.draws == 0) {
        return columns;
    }
    let columns = columns.difference("minus clean\n[95 % interval]", digits, to_clean);
    columns.spare().moved(5)
}

fn to_clean(effect: &Effect) -> (Option<f64>, Option<Interval>) {
    (Some(effect.difference_to_clean), effect.clean_ci)
}

fn to_draws(estimate: &Estimate) -> (Option<f64>, Option<Interval>) {
    (estimate.difference_to_baseline, estimate.baseline_ci)
}

fn of_effect<'a>(digits: Digits) -> Columns<'a, Effect> {
    of_arms(digits)
        .level("baseline\nedited", digits, |e| e.means.baseline)
        .difference("difference to baseline\n[95 % interval]", digits, |e| {
            to_draws(&e.estimate)
        })
        .number("p\n(t)", |e| p_value(e.estimate.p))
        .spare()
        .number("p\n(rank)", |e| p_value(e.estimate.permutation_p))
        .number("p\n(Holm)", |e| p_value(e.estimate.p_adjusted))
}

fn of_arms<'a>(digits: Digits) -> Columns<'a, Effect> {
    Columns::new()
        .words("class", Effect::name)
        .number("neurons", |e| count(e.neurons))
        .level("clean", digits, |e| Some(e.means.clean))
        .level("class\nedited", digits, |e| Some(e.means.class))
}

/// What the first p of an estimate is.
pub const STUDENT: &str =
    "t: Student's, of the interval; it decides nothing, since random sets have heavy tails.";

/// What the p of the rank among the draws are, of some estimates; nothing without draws.
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
        .level("class\nmean", digits, |a| Some(a.means.class))
        .level("baseline\nmean", digits, |a| a.means.baseline)
        .difference("difference\n[95 % interval]", digits, |a| {
            to_draws(&a.estimate)
        })
        .number("p\n(Holm)", |a| p_value(a.estimate.p_adjusted))
}

/// The columns of a neuron that was ablated alone.
pub fn of_ranked<'a, 'r: 'a>(digits: Digits) -> Columns<'a, (&'r RankedNeuron, Exact)> {
    Columns::new()
        .words("neuron", |(ranked, _): &(&RankedNeuron, Exact)| {
            ranked.neuron.to_string()
        })
        .level("estimate", digits, |(ranked, _)| Some(ranked.estimate))
        .number("rank by\nestimate", |(ranked, _)| {
            count(ranked.estimate_rank)
        })
        .difference("exact effect\n[95 % interval]", digits, |(_, exact)| {
            (Some(exact.cost.effect), exact.cost.interval)
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
