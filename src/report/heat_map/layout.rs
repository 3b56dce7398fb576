//! Where the parts of the picture are, in pixels.

use super::HeatMap;

pub const MARGIN: i32 = 16;
pub const CELL_HEIGHT: i32 = 17;
const NARROWEST_CELL: i32 = 54;
const NARROWEST_PANEL: i32 = 172;
const GAP: i32 = 26;
pub const BAR_WIDTH: i32 = 14;
pub const BAR_LABELS: i32 = 56;

/// Sizes of text, and from one line to the next.
pub const TITLE: i32 = 14;
pub const TITLE_LINE: i32 = 19;
pub const SUBTITLE: i32 = 11;
pub const PANEL_TITLE: i32 = 12;
pub const SMALL: i32 = 10;
pub const LINE: i32 = 13;

/// The middles of lines of text, the edges of the rest.
pub struct Layout {
    pub size: (u32, u32),
    /// The title in lines.
    pub title: Vec<String>,
    pub quantity_y: i32,
    pub panel_title_y: i32,
    /// Of the last line of the columns' names.
    pub column_y: i32,
    pub left: i32,
    pub top: i32,
    pub bottom: i32,
    pub cell_width: i32,
    panel_width: i32,
    pub notes: Vec<String>,
}

impl Layout {
    pub fn of(map: &HeatMap) -> Layout {
        let cell_width = NARROWEST_CELL.max(widest(map.columns.iter().flatten()) + 6);
        let panel_width = NARROWEST_PANEL.max(cell_width * map.columns.len() as i32);
        let left = MARGIN + LINE + widest(&map.rows) + 12;
        let bar = BAR_WIDTH + BAR_LABELS;
        let width = left + map.panels.len() as i32 * (panel_width + GAP) + bar + MARGIN;
        let wrapped = |text: &str, size| wrap(text, size, width - 2 * MARGIN);

        let title = wrapped(&map.title, TITLE);
        let notes: Vec<String> = map.notes.iter().flat_map(|n| wrapped(n, SMALL)).collect();
        let column_lines = map.columns.iter().map(Vec::len).max().unwrap_or(1) as i32;
        let quantity_y = MARGIN + title.len() as i32 * TITLE_LINE + SUBTITLE / 2;
        let panel_title_y = quantity_y + 30;
        let column_y = panel_title_y + LINE + 10 + column_lines * LINE;
        let top = column_y + LINE;
        let bottom = top + map.rows.len() as i32 * CELL_HEIGHT;
        let height = bottom + (2 + notes.len() as i32) * LINE + MARGIN;
        Layout {
            size: (width as u32, height as u32),
            title,
            quantity_y,
            panel_title_y,
            column_y,
            left,
            top,
            bottom,
            cell_width,
            panel_width,
            notes,
        }
    }

    /// The left edge of a panel, or of what stands beside the last one.
    pub fn panel_left(&self, panel: usize) -> i32 {
        self.left + panel as i32 * (self.panel_width + GAP)
    }
}

fn widest<'t>(texts: impl IntoIterator<Item = &'t String>) -> i32 {
    let widths = texts.into_iter().map(|text| text_width(text, SMALL));
    widths.max().unwrap_or(0)
}

/// About how wide a text is: an SVG does not know its reader's fonts.
fn text_width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * 0.58 * f64::from(size)).ceil() as i32
}

/// The text in lines of at most `width` pixels.
fn wrap(text: &str, size: i32, width: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = |line: &&mut String| text_width(&format!("{line} {word}"), size) <= width;
        match lines.last_mut().filter(fits) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two three", 10, 60), ["one two", "three"]);
        assert!(wrap("", 10, 60).is_empty());
        assert_eq!(
            wrap("incomprehensibilities", 10, 20),
            ["incomprehensibilities"]
        );
    }
}
