//! The tables as one file that a person can read: every column of every table, with its type and what it is. Names and
//! types are a contract with other programs: a line may come, none may change.

use std::any::type_name;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use gatelens::report::rows::{
    ActivationsRow, DrawsRow, NeuronsRow, OutcomesRow, RankingRow, RatesRow, SummaryRow,
    SweepOutcomesRow, TextOutcomesRow, TokensRow, TopTokensRow,
};
use gatelens::report::table::schema_of;
use serde::de::DeserializeOwned;

use super::common::goldens;

/// Where the structs are.
const SOURCES: [&str; 4] = [
    "report/rows.rs",
    "report/text_outcomes.rs",
    "report/record/rows.rs",
    "experiment/record/rows.rs",
];

/// The struct whose fields those of both outcomes are.
const SHARED: &str = "$name";

struct Source(String);

impl Source {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let texts = SOURCES.map(|name| fs::read_to_string(src.join(name)).unwrap());
        Self(texts.concat())
    }

    /// The lines of a struct, from those of its documentation on.
    fn lines(&self, row: &str) -> Vec<&str> {
        let lines: Vec<&str> = self.0.lines().map(str::trim).collect();
        let begins = |line: &&str| line.split(' ').rev().nth(1) == Some(row) && line.contains('{');
        let start = lines.iter().position(begins).unwrap();
        let is_about = |line: &&&str| line.starts_with("///") || line.starts_with("#[");
        let about = lines[..start].iter().rev().take_while(is_about).count();
        let lines = lines[start - about..].iter();
        lines.copied().take_while(|line| *line != "}").collect()
    }

    /// What stands above the line that begins with `what`.
    fn doc(&self, row: &str, what: &str) -> Option<String> {
        let mut doc = Vec::new();
        for line in self.lines(row) {
            match line.strip_prefix("///") {
                Some(text) => doc.push(text.trim()),
                None if line.trim_start_matches("pub ").starts_with(what) => {
                    return Some(doc.join(" "));
                }
                None if line.starts_with("#[") => {}
                None => doc.clear(),
            }
        }
        None
    }
}

fn table<T: DeserializeOwned>(source: &Source) -> String {
    let row = type_name::<T>().rsplit("::").next().unwrap();
    let about = source.doc(row, &format!("struct {row}"));
    let about = about.or_else(|| source.doc(row, row)).unwrap();
    let mut text = about.trim_start_matches("A row of ").to_string() + "\n";
    for column in schema_of::<T>().unwrap().fields() {
        let field = format!("{}:", column.name());
        let doc = source.doc(row, &field);
        let doc = doc.or_else(|| source.doc(SHARED, &field));
        let doc = doc.filter(|doc| !doc.is_empty());
        let doc = doc.unwrap_or_else(|| panic!("{row}.{field} says nothing of itself"));
        let null = if column.is_nullable() { "null" } else { "" };
        let kind = column.data_type().to_string();
        writeln!(text, "  {:<18} {kind:<8} {null:<5} {doc}", column.name()).unwrap();
    }
    text
}

#[test]
fn every_table_has_the_columns_of_the_list() {
    let source = &Source::read();
    let found = [
        table::<NeuronsRow>(source),
        table::<OutcomesRow>(source),
        table::<SweepOutcomesRow>(source),
        table::<TextOutcomesRow>(source),
        table::<DrawsRow>(source),
        table::<RankingRow>(source),
        table::<RatesRow>(source),
        table::<TokensRow>(source),
        table::<ActivationsRow>(source),
        table::<SummaryRow>(source),
        table::<TopTokensRow>(source),
    ];
    let found = found.join("\n");
    let path = goldens().join("schemas.txt");
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} should be:\n{found}", path.display());
}
