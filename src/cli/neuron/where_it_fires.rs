//! Where a neuron fires, shown alike whether it comes from a run or from a recording.

use serde::Serialize;

use crate::cli::table::{ABSENT, Columns, count, table_of};
use crate::cli::terminal::Paint;
use crate::experiment::{Firing, FiringStatistics, SignCaseSummary};
use crate::printable::printable;

/// What is known of where a neuron fires.
pub(super) struct WhereItFires {
    /// The names of the texts.
    pub texts: String,
    /// Where they were recorded; `None`: they were read now.
    pub recorded: Option<Recorded>,
    pub statistics: FiringStatistics,
    /// Strongest first.
    pub strongest: Vec<Occurrence>,
}

/// A recording.
#[derive(Serialize)]
pub(super) struct Recorded {
    pub folder: String,
    /// Which tokens of the prompts are in it.
    pub positions: String,
}

/// One place in a text, without line breaks.
#[derive(Serialize)]
pub(super) struct Occurrence {
    pub id: String,
    pub values: Values,
    pub before: String,
    pub token: String,
    pub after: String,
}

/// A neuron's values there.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Values {
    Run(Firing),
    /// A recording has no more of them.
    Recorded {
        position: u32,
        post: f32,
    },
}

impl Values {
    fn in_words(&self) -> String {
        match self {
            Values::Run(Firing { gate, up, post, .. }) => {
                format!("post {post:+8.3}  gate {gate:+7.3}  up {up:+7.3}")
            }
            Values::Recorded { post, .. } => format!("post {post:+8.3}"),
        }
    }
}

impl WhereItFires {
    /// Prints the sign cases, also in reference sign where the neuron's `sign` makes that another, and the strongest
    /// tokens.
    pub fn print(&self, sign: i8) {
        self.print_cases(sign);
        self.print_strongest();
    }

    /// The sign cases in reference sign, in the order of the raw ones.
    pub fn in_reference_sign(&self, sign: i8) -> [SignCaseSummary; 4] {
        let cases = self.statistics.sign_cases;
        cases.map(|case| case.in_reference_sign(sign))
    }

    fn print_cases(&self, sign: i8) {
        let FiringStatistics {
            tokens,
            frequency,
            sign_cases,
        } = self.statistics;
        outln!(
            "On {}, {} tokens: gate positive at {:.1} %\n",
            self.place(),
            count(tokens as usize),
            100.0 * frequency
        );
        let share = move |case: &SignCaseSummary| 100.0 * case.tokens as f64 / tokens as f64;
        let mut columns = Columns::new()
            .words("signs", |case: &SignCaseSummary| case.case.to_string())
            .number("tokens", |case| count(case.tokens as usize))
            .number("%", move |case| format!("{:.1}", share(case)))
            .number("mean post", |case| post(case.mean_post))
            .number("strongest post", |case| strongest(*case));
        if sign < 0 {
            let turned = move |case: &SignCaseSummary| case.in_reference_sign(sign);
            columns = columns
                .number("in reference\nsign", move |case| {
                    turned(case).case.to_string()
                })
                .number("mean post", move |case| post(turned(case).mean_post))
                .number("strongest post", move |case| strongest(turned(case)));
        }
        outln!("{}\n", table_of(&columns, &sign_cases));
    }

    fn print_strongest(&self) {
        outln!("Strongest on {}:\n", self.place());
        let ids = self.strongest.iter().map(|o| printable(&o.id));
        let width = ids.clone().map(|id| id.chars().count()).max().unwrap_or(0);
        for (occurrence, id) in self.strongest.iter().zip(ids) {
            let Occurrence {
                values,
                before,
                token,
                after,
                ..
            } = occurrence;
            let (values, token) = (values.in_words(), marked(token));
            outln!("  {id:<width$}  {values}   {before}{token}{after}");
        }
    }

    fn place(&self) -> String {
        let texts = &self.texts;
        match &self.recorded {
            None => texts.clone(),
            Some(Recorded { folder, positions }) if positions == "all" => {
                format!("{texts} (recorded in {folder})")
            }
            Some(Recorded { folder, positions }) => {
                format!("{texts} (positions {positions}, recorded in {folder})")
            }
        }
    }
}

fn post(value: Option<f64>) -> String {
    value.map_or(ABSENT.to_string(), |value| format!("{value:+.4}"))
}

fn strongest(case: SignCaseSummary) -> String {
    post(case.strongest_post.map(f64::from))
}

/// A token in colour, or between brackets where there is none.
fn marked(token: &str) -> String {
    if console::colors_enabled() {
        Paint::Reverse.on(token)
    } else {
        format!("[{token}]")
    }
}

/// White space made visible, so that a line stays one.
pub(super) fn visible(text: &str) -> String {
    text.replace('\n', "⏎")
        .replace('\t', "⇥")
        .replace('\r', "␍")
}
