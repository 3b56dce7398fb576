//! The tables of a run as LaTeX, with the rules of the package booktabs. They are the tables of its page, with the same digits,
//! but for the columns that paper has no room for.

use std::path::Path;

use super::ReportError;
use super::blocks::{Block, Folder};
use super::number::ABSENT;
use super::view::{Align, Table};
use crate::printable::printable;

/// Signs of the size of a footnote that a column of a page of two columns has room for.
const COLUMN: usize = 50;

/// Words beyond this many signs are broken into lines.
const WORDS: usize = 30;

/// The same of a title over some rows.
const TITLE: usize = 80;

/// A header of numbers beyond this many signs is broken at its hyphens.
const HEADER: usize = 12;

/// The tables of the finished run in `folder`, each a float with its caption above it.
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
                ..
            } => (title, caption, rows),
            Block::Lacking(what) => {
                lacking.push(what.clone());
                parts.push(comment(what));
                continue;
            }
        };
        if !table.groups.is_empty() {
            parts.push(float(&format!("{title}.\n{caption}"), &table.on_paper()));
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

/// The table below its caption, as wide as one column of a page or as all of them.
fn float(caption: &str, table: &Table) -> String {
    let caption = text(&caption.lines().collect::<Vec<_>>().join(" "));
    let kind = match width(table) > COLUMN {
        true => "table*",
        false => "table",
    };
    format!(
        "\\begin{{{kind}}}\n\\caption{{{caption}}}\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n{}\\end{{{kind}}}\n",
        tabular(table)
    )
}

/// About how many signs wide a table is, what parts its columns among them.
fn width(table: &Table) -> usize {
    let columns = 0..table.columns.len();
    columns.map(|at| widest(table, at).min(WORDS) + 2).sum()
}

/// The signs of the longest text in a column.
fn widest(table: &Table, column: usize) -> usize {
    let (header, align) = &table.columns[column];
    let rows = table.groups.iter().flat_map(|(_, rows)| rows);
    let cells = rows.map(|row| row[column].chars().count());
    let header = in_lines(header, *align);
    let lines = header.lines().map(|line| line.chars().count());
    cells.chain(lines).max().unwrap_or(0)
}

/// The table alone.
fn tabular(table: &Table) -> String {
    let are_long =
        |column: usize| table.columns[column].1 == Align::Left && widest(table, column) > WORDS;
    let long = (0..table.columns.len()).filter(|at| are_long(*at)).count();
    let aligns = table
        .columns
        .iter()
        .enumerate()
        .map(|(column, (_, align))| match align {
            Align::Left if are_long(column) => {
                format!(r"p{{{:.2}\linewidth}}", 0.45 / long as f64)
            }
            Align::Left => "l".to_string(),
            Align::Right => "r".to_string(),
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
            let align = match title.chars().count() > TITLE {
                true => r"p{0.95\linewidth}",
                false => "l",
            };
            let (columns, title) = (table.columns.len(), text(title));
            lines.push(format!(
                r"\multicolumn{{{columns}}}{{{align}}}{{\emph{{{title}}}}} \\"
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

/// A header in lines, that of numbers with one for each word of a class.
fn in_lines(header: &str, align: Align) -> String {
    match align {
        Align::Right if header.chars().count() > HEADER => header.replace('-', "-\n"),
        _ => header.to_string(),
    }
}

/// As many rows as the longest header has lines, what is shorter at the bottom.
fn header(table: &Table) -> impl Iterator<Item = String> {
    let columns = table.columns.iter();
    let headers = columns.map(|(header, align)| {
        let lines = in_lines(header, *align);
        lines.lines().rev().map(str::to_string).collect()
    });
    let headers: Vec<Vec<String>> = headers.collect();
    let lines = headers.iter().map(Vec::len).max().unwrap_or(0);
    (0..lines).rev().map(move |line| {
        row(headers
            .iter()
            .map(|header| header.get(line).map_or(String::new(), |words| text(words))))
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
    use crate::report::number::Digits;
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
    #[test]
    fn a_float_has_its_caption_above_and_no_more_than_paper_has_room_for() {
        let difference = |_: &String| (Some(0.5), None);
        let columns = Columns::new()
            .words("class", String::clone)
            .difference("minus clean", Digits::Size, difference)
            .spare()
            .difference("conditional-depletion", Digits::Size, difference);
        let of = |class: &str| {
            let rows = [class.to_string()];
            float("By relation.\n50 %", &columns.table(&rows).on_paper())
        };
        let narrow = of("a");
        let expected = [
            r"\begin{table}",
            r"\caption{By relation. 50 \%}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            r"\begin{tabular}{lr}",
            r"\toprule",
            r" & conditional- \\",
            r"class & depletion \\",
            r"\midrule",
            r"a & $+0.500$ \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ];
        assert_eq!(narrow, expected.join("\n"));
        let words = "many words that go on and on and on, without an end";
        let long = of(words);
        assert!(long.contains(r"{p{0.45\linewidth}r}"), "{long}");
        let columns = columns.words("and again", String::clone);
        let wide = float("", &columns.table(&[words.to_string()]));
        assert!(wide.starts_with(r"\begin{table*}"), "{wide}");
    }
}
