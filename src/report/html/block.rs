//! Blocks as HTML.

use maud::{Markup, PreEscaped, html};

use crate::report::ReportError;
use crate::report::blocks::{Block, Figure, Panel, Width, lines};
use crate::report::chart;
use crate::report::number::with_minus;
use crate::report::tone::themed;
use crate::report::view::{Align, Table};

type Drawn = Result<Markup, ReportError>;

/// A block on a page.
///
/// # Errors
/// What of it cannot be drawn.
pub fn shown(block: &Block) -> Drawn {
    match block {
        Block::Figure(figure) => self::figure(figure),
        Block::Table {
            title,
            legend,
            caption,
            rows,
        } => {
            let words = lines([legend, caption]);
            Ok(html! { section { h2 { (title) } (table(rows)) (captions(&words)) } })
        }
        Block::Lacking(what) => Ok(html! { section.lacking { p { (what) } } }),
    }
}

fn figure(figure: &Figure) -> Drawn {
    let Figure {
        title,
        panels,
        numbers,
        ..
    } = figure;
    let is_wide = figure.width == Width::Wide;
    let drawn = panels.iter().map(|shown| panel(title, shown));
    let drawn: Vec<Markup> = drawn.collect::<Result<_, _>>()?;
    let keys = chart::keys(panels.iter().map(|panel| &panel.chart));
    Ok(html! {
        section.single[panels.len() == 1 && !is_wide] {
            h2 { (title) }
            @if is_wide {
                p.hint { "The picture scrolls sideways." }
                div.scroll tabindex="0" role="region" aria-label=(title) { @for panel in &drawn { (panel) } }
            } @else {
                ul.keys { @for key in keys {
                    li { span aria-hidden="true" style={ "color:" (key.tone.css()) } { (key.sign()) } " " (key.name) }
                } }
                div.panels { @for panel in &drawn { figure { (panel) } } }
            }
            (captions(&figure.words()))
            @if !numbers.groups.is_empty() { details { summary { "numbers" } (table(numbers)) } }
        }
    })
}

/// What the drawing library wrote, which has escaped all text, with the page's colours and a name for readers that
/// see no pictures.
fn panel(title: &str, panel: &Panel) -> Drawn {
    let name = &panel.title;
    let svg = chart::svg(&[&panel.chart]).map_err(|why| ReportError::Encode {
        name: "report.html",
        why,
    })?;
    let label = html! { (title) @if !name.is_empty() { ": " (name) } }.into_string();
    let named = format!("<svg role=\"img\" aria-label=\"{label}\" ");
    let drawing = PreEscaped(themed(&svg).replacen("<svg ", &named, 1));
    Ok(html! { @if !name.is_empty() { h3 { (name) } } (drawing) })
}

fn captions(caption: &str) -> Markup {
    html! { div.caption { @for line in caption.lines() { p { (line) } } } }
}

/// On a phone each row is a card.
fn table(table: &Table) -> Markup {
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
