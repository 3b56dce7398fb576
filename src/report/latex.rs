//! The tables of a run as LaTeX, with the rules of the package booktabs. They are the tables of its page, with the same digits.

use std::path::Path;

use super::ReportError;
use super::blocks::{Block, Folder};
use super::number::ABSENT;
use super::view::{Align, Table};
use crate::printable::printable;

/// The tables of the finished run in `folder`, each a `tabular` below comments that say what it shows.
///
/// # Errors
/// [`ReportError::NoRun`], [`ReportError::NotFinished`], [`ReportError::Damaged`] for what cannot be read,
/// [`ReportError::NothingToShow`] for a run without a table.
pub fn report_latex(folder: &Path) -> Result<String, ReportError> {
    let opened = Folder::finished(folder)?;
    let blocks = opened.blocks()?;
    let mut parts = vec![head(&opened)];
    let mut lacking = Vec::new();
    for block in &blocks {
        let (title, caption, table) = match block {
            Block::Figure(figure) => (&figure.title, &figure.caption, &figure.numbers),
            Block::Table {
                title,
                caption,
                rows,
            } => (title, caption, rows),
            Block::Lacking(what) => {
                lacking.push(what.clone());
                parts.push(comment(what));
                continue;
            }
        };
        if !table.groups.is_empty() {
            parts.push(comment(&format!("{title}\n{caption}")) + &tabular(table));
        }
    }
    if parts.len() == 1 + lacking.len() {
        return Err(ReportError::NothingToShow {
            path: folder.to_path_buf(),
            what: "table",
            why: lacking.join(" "),
        });
    }
    Ok(parts.join("\n"))
}

/// What was run, and what the document needs.
fn head(opened: &Folder<'_>) -> String {
    let run = &opened.run;
    let sets = run.prompts.iter().chain(&run.texts);
    let sets: Vec<&str> = sets.map(|set| set.name.as_str()).collect();
    let (version, model) = (&run.version, &run.model.id);
    let mut lines = vec![format!(
        "gatelens {version} on {model}: {}",
        run.command_line()
    )];
    if !sets.is_empty() {
        lines.push(format!("on {}", sets.join(", ")));
    }
    if let Some(control) = &run.control {
        lines.push(format!("a control, no result about the model: {control}"));
    }
    lines.push(r"needs \usepackage{booktabs}".to_string());
    comment(&lines.join("\n"))
}

fn comment(text: &str) -> String {
    let text = printable(text);
    let lines = text.lines().map(|line| format!("% {line}\n"));
    lines.collect()
}

/// The table alone.
fn tabular(table: &Table) -> String {
    let aligns = table.columns.iter().map(|(_, align)| match align {
        Align::Left => 'l',
        Align::Right => 'r',
    });
    let aligns: String = aligns.collect();
    let mut lines = vec![
        format!(r"\begin{{tabular}}{{{aligns}}}"),
        r"\toprule".to_string(),
    ];
    lines.extend(header(table));
    for (title, rows) in &table.groups {
        lines.push(r"\midrule".to_string());
        if !title.is_empty() {
            let (columns, title) = (table.columns.len(), text(title));
            lines.push(format!(
                r"\multicolumn{{{columns}}}{{l}}{{\emph{{{title}}}}} \\"
            ));
        }
        let cells = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&table.columns);
            row(cells.map(|(cell, (_, align))| match align {
                Align::Left => text(cell),
                Align::Right => number(cell),
            }))
        };
        lines.extend(rows.iter().map(cells));
    }
    lines.extend([r"\bottomrule", r"\end{tabular}", ""].map(str::to_string));
    lines.join("\n")
}

/// As many rows as the longest header has lines, what is shorter at the bottom.
fn header(table: &Table) -> impl Iterator<Item = String> {
    let headers = table
        .columns
        .iter()
        .map(|(header, _)| header.lines().rev().collect());
    let headers: Vec<Vec<&str>> = headers.collect();
    let lines = headers.iter().map(Vec::len).max().unwrap_or(0);
    (0..lines).rev().map(move |line| {
        row(headers
            .iter()
            .map(|header| text(header.get(line).copied().unwrap_or_default())))
    })
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells = cells.collect::<Vec<_>>().join(" & ");
    // Behind a line's end these would be its argument.
    let guard = if cells.starts_with(['[', '*']) {
        "{}"
    } else {
        ""
    };
    format!(r"{guard}{cells} \\")
}

/// A text in which no sign is a command.
fn text(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out += r"\textbackslash{}",
            '~' => out += r"\textasciitilde{}",
            '^' => out += r"\textasciicircum{}",
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => out.extend(['\\', c]),
            '<' | '>' | '|' => out.extend(['$', c, '$']),
            '\u{a0}' => out.push('~'),
            '\n' | '\t' => out.push(' '),
            '–' => out += "--",
            '…' => out += r"\ldots{}",
            '−' => out += "$-$",
            '·' => out += r"$\cdot$",
            '×' | '✗' => out += r"$\times$",
            '‖' => out += r"$\|$",
            '✓' => out += r"$\surd$",
            '○' => out += r"$\circ$",
            c => out.push(c),
        }
    }
    out
}

/// The same of a cell of numbers, those with a sign in math mode.
fn number(cell: &str) -> String {
    if cell == ABSENT {
        return text(cell);
    }
    let mut out = String::new();
    let mut rest = cell;
    while let Some(at) = rest.find(['-', '+']) {
        let (before, signed) = rest.split_at(at);
        let digits = signed[1..].find(|c: char| !c.is_ascii_digit() && c != '.');
        let (signed, after) = signed.split_at(digits.map_or(signed.len(), |end| end + 1));
        out += &format!("{}${signed}$", text(before));
        rest = after;
    }
    out + &text(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::Columns;

    #[test]
    fn signs_are_in_math_mode_and_no_character_is_a_command() {
        let numbers = [
            "-5.423",
            "+0.001 [-0.051, +2]",
            "1,234",
            "<.001",
            "–",
            "12.3 %",
        ]
        .map(number);
        let expected = [
            "$-5.423$",
            "$+0.001$ [$-0.051$, $+2$]",
            "1,234",
            "$<$.001",
            "--",
            r"12.3 \%",
        ];
        assert_eq!(numbers, expected);
        assert_eq!(
            text(r"a_b & 50% #1 {x} \y ~^"),
            r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{}"
        );
        assert_eq!(text("a\u{1b}b\nc"), r"a\textbackslash{}u\{1b\}b c");
        assert_eq!(comment("a\nb \\x"), "% a\n% b \\x\n");
    }

    #[test]
    fn a_table_by_hand() {
        let columns = Columns::new()
            .words("class", |row: &(&str, f64)| row.0.to_string())
            .number("difference\n[95 % interval]", |row| {
                format!("{:+.1}", row.1)
            });
        let table = columns.groups([("loss_a".to_string(), &[("[x]", -0.5), ("b&c", 1.0)][..])]);
        let expected = [
            r"\begin{tabular}{lr}",
            r"\toprule",
            r" & difference \\",
            r"class & [95 \% interval] \\",
            r"\midrule",
            r"\multicolumn{2}{l}{\emph{loss\_a}} \\",
            r"{}[x] & $-0.5$ \\",
            r"b\&c & $+1.0$ \\",
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ];
        assert_eq!(tabular(&table), expected.join("\n"));
    }
}
