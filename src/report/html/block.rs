//! The parts of a page: figures, tables, and what cannot be shown.

use maud::{Markup, PreEscaped, html};

use crate::report::ReportError;
use crate::report::chart::{Chart, Mark};
use crate::report::number::with_minus;
use crate::report::tone::themed;
use crate::report::view::{Align, Table};

/// A part of a page, or what of it cannot be drawn.
pub type Block = Result<Markup, ReportError>;

/// One or more pictures of one thing, each with its title, which may be empty. `caption`: what they show, and of what;
/// `numbers`: the same as a table.
pub fn figure(title: &str, panels: &[(String, Chart)], caption: &str, numbers: &Table) -> Block {
    let drawn = panels.iter().map(|(name, chart)| panel(title, name, chart));
    let drawn: Vec<Markup> = drawn.collect::<Result<_, _>>()?;
    let mut keys: Vec<&Mark> = Vec::new();
    for mark in panels.iter().flat_map(|(_, chart)| &chart.marks) {
        let is_key = !mark.name.is_empty() && !mark.sign().is_empty();
        if is_key && keys.iter().all(|key| key.name != mark.name) {
            keys.push(mark);
        }
    }
    Ok(html! {
        section.single[panels.len() == 1] {
            h2 { (title) }
            ul.keys { @for key in keys {
                li { span aria-hidden="true" style={ "color:" (key.tone.css()) } { (key.sign()) } " " (key.name) }
            } }
            div.panels { @for panel in &drawn { (panel) } }
            (captions(caption))
            @if !numbers.groups.is_empty() { details { summary { "numbers" } (rows(numbers)) } }
        }
    })
}

fn panel(title: &str, name: &str, chart: &Chart) -> Block {
    let label = if name.is_empty() {
        title.to_string()
    } else {
        format!("{title}: {name}")
    };
    let svg = chart.svg().map_err(|why| ReportError::Encode {
        name: "report.html",
        why,
    })?;
    Ok(html! { figure { @if !name.is_empty() { h3 { (name) } } (drawing(&svg, &label)) } })
}

/// A finished drawing that is too wide for a phone.
pub fn wide_picture(title: &str, svg: &str, caption: &str, numbers: &Table) -> Markup {
    html! {
        section {
            h2 { (title) }
            p.hint { "The picture scrolls sideways." }
            div.scroll tabindex="0" role="region" aria-label=(title) { (drawing(svg, title)) }
            (captions(caption))
            details { summary { "numbers" } (rows(numbers)) }
        }
    }
}

/// What the drawing library wrote, which has escaped all text, with the page's colours and a name for readers that
/// see no pictures.
fn drawing(svg: &str, label: &str) -> Markup {
    let label = html! { (label) }.into_string();
    let named = format!("<svg role=\"img\" aria-label=\"{label}\" ");
    PreEscaped(themed(svg).replacen("<svg ", &named, 1))
}

pub fn table(title: &str, caption: &str, table: &Table) -> Markup {
    html! { section { h2 { (title) } (rows(table)) (captions(caption)) } }
}

/// Something that the folder lacks: what cannot be shown, and why.
pub fn lacking(what: &str) -> Markup {
    html! { section.lacking { p { (what) } } }
}

fn captions(caption: &str) -> Markup {
    html! { div.caption { @for line in caption.lines() { p { (line) } } } }
}

/// On a phone each row is a card.
fn rows(table: &Table) -> Markup {
    let columns = || {
        table
            .columns
            .iter()
            .map(|(header, align)| (header.replace('\n', " "), style(*align)))
    };
    html! {
        div.scroll { table {
            thead { tr { @for (header, style) in columns() { th scope="col" .(style) { (header) } } } }
            @for (title, rows) in &table.groups { tbody {
                @if !title.is_empty() {
                    tr.group { th scope="rowgroup" colspan=(table.columns.len()) { (title) } }
                }
                @for row in rows { tr { @for ((header, style), cell) in columns().zip(row) {
                    td data-label=(header) .(style) { span { (text(cell, style)) } }
                } } }
            } }
        } }
    }
}

/// The class of a column's cells in the style sheet.
fn style(align: Align) -> &'static str {
    match align {
        Align::Left => "words",
        Align::Right => "number",
    }
}

fn text(cell: &str, style: &str) -> String {
    if style == "number" {
        with_minus(cell)
    } else {
        cell.to_string()
    }
}
