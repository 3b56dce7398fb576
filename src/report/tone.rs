//! The colours of pictures, each with its counterpart on a dark page.
//!
//! plotters writes colours as `#RRGGBB` and knows neither classes nor variables. So a picture is drawn in the light
//! colours, which are all different, and [`themed`] puts a CSS variable in the place of each: the page then decides. A
//! picture by itself stays light.

use plotters::style::RGBColor;

use crate::io_class::Class;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Text and axes.
    Ink,
    /// Text that is less important.
    Muted,
    /// Lines behind the data.
    Grid,
    /// The ground.
    Paper,
    /// Where there is nothing to show.
    Absent,
    /// What was measured.
    Accent,
    /// Random draws.
    Draw,
    /// Neurons of a class.
    Class(Class),
    /// A colour that is the same on every page.
    Fixed(RGBColor),
}

/// On a light and on a dark page. Classes that write along what they read are blue, those that write against it red and
/// orange; the atypical ones are the paler of each pair.
const COLOURS: [(Tone, u32, u32); 18] = [
    (Tone::Ink, 0x1b1f24, 0xe6e9ee),
    (Tone::Muted, 0x5b6470, 0xa3adb9),
    (Tone::Grid, 0xe3e6ea, 0x2d343c),
    (Tone::Paper, 0xfefefe, 0x171b20),
    (Tone::Absent, 0xe2e2e2, 0x3a3f46),
    (Tone::Accent, 0x0b62b8, 0x63b1ff),
    (Tone::Draw, 0x868e98, 0x87919d),
    (Tone::Class(Class::Enrichment), 0x08457e, 0x9ad0ff),
    (Tone::Class(Class::AtypicalEnrichment), 0x5f86ad, 0x6b90b5),
    (
        Tone::Class(Class::ConditionalEnrichment),
        0x3493d6,
        0x3b9ae0,
    ),
    (
        Tone::Class(Class::AtypicalConditionalEnrichment),
        0xa5d0ee,
        0x3f7dae,
    ),
    (Tone::Class(Class::ProportionalChange), 0x2d8a57, 0x4cb57c),
    (
        Tone::Class(Class::AtypicalProportionalChange),
        0xa2d4b3,
        0x37875d,
    ),
    (Tone::Class(Class::OrthogonalOutput), 0xc8cac6, 0x6d737b),
    (Tone::Class(Class::Depletion), 0xa01c10, 0xff8068),
    (Tone::Class(Class::AtypicalDepletion), 0xd58a78, 0xb8604b),
    (Tone::Class(Class::ConditionalDepletion), 0xdf7220, 0xf09c4c),
    (
        Tone::Class(Class::AtypicalConditionalDepletion),
        0xf4c296,
        0xa36d38,
    ),
];

impl Tone {
    /// The tone of a class by its name; that of measurements for unions and neuron files.
    pub fn of_class(name: &str) -> Tone {
        name.parse().map_or(Tone::Accent, Tone::Class)
    }

    /// The colour that pictures are drawn in.
    pub fn light(self) -> RGBColor {
        match (self, COLOURS.iter().find(|(tone, ..)| *tone == self)) {
            (Tone::Fixed(colour), _) => colour,
            (_, Some((_, light, _))) => rgb(*light),
            (_, None) => rgb(0),
        }
    }

    /// The colour as a value in CSS.
    pub fn css(self) -> String {
        format!("var(--{})", self.name())
    }

    fn name(self) -> String {
        match self {
            Tone::Class(class) => format!("class-{class}"),
            frame => format!("{frame:?}").to_lowercase(),
        }
    }
}

fn rgb(colour: u32) -> RGBColor {
    let [_, r, g, b] = colour.to_be_bytes();
    RGBColor(r, g, b)
}

/// The variables' values: for a light page, and for a dark one.
pub(super) fn variables() -> [String; 2] {
    let value = |tone: Tone, colour| format!("--{}:#{colour:06x};", tone.name());
    let light = COLOURS.iter().map(|(tone, light, _)| value(*tone, light));
    let dark = COLOURS.iter().map(|(tone, _, dark)| value(*tone, dark));
    [light.collect(), dark.collect()]
}

/// A picture whose colours follow the page.
pub(super) fn themed(svg: &str) -> String {
    COLOURS
        .iter()
        .fold(svg.to_string(), |svg, (tone, light, _)| {
            svg.replace(&format!("\"#{light:06X}\""), &format!("\"{}\"", tone.css()))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn light_colours_tell_tones_apart() {
        let colours: BTreeSet<u32> = COLOURS.iter().map(|(_, light, _)| *light).collect();
        assert_eq!(colours.len(), 7 + Class::ALL.len());
        for class in Class::ALL {
            assert_ne!(Tone::Class(class).light(), rgb(0), "{class} has a colour");
        }
        for black_or_white in [0x000000, 0xffffff] {
            assert!(
                !colours.contains(&black_or_white),
                "inks of the heat map's cells"
            );
        }
    }

    #[test]
    fn a_colour_becomes_its_variable() {
        let svg =
            r##"<rect fill="#FEFEFE"/><text fill="#A01C10">#A01C10</text><text fill="#000000"/>"##;
        let expected = r##"<rect fill="var(--paper)"/><text fill="var(--class-depletion)">#A01C10</text><text fill="#000000"/>"##;
        assert_eq!(themed(svg), expected);
        let [light, dark] = variables();
        assert!(light.contains("--class-depletion:#a01c10;"), "{light}");
        assert!(dark.contains("--class-depletion:#ff8068;"), "{dark}");
        assert_eq!(Tone::of_class("depletion"), Tone::Class(Class::Depletion));
        assert_eq!(Tone::of_class("any-depletion"), Tone::Accent);
    }
}
