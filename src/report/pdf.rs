//! A picture as a PDF of one page. The text is Helvetica, one of the fourteen fonts that every reader of PDF has; the file
//! does not hold it, and of other signs than Western European letters knows few (`helvetica`).

mod helvetica;

use std::collections::BTreeSet;
use std::convert::Infallible;

use helvetica::{encoded, font, width};
use pdf_writer::types::{LineCapStyle, LineJoinStyle};
use pdf_writer::writers::{DocumentInfo, ExtGraphicsState};
use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str, TextStr};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform,
};

/// What a file says of its picture where that does not show.
pub struct About<'a> {
    pub title: &'a str,
    /// What is seen, and of what.
    pub caption: &'a str,
    /// The program and its version.
    pub creator: &'a str,
    /// Units that a point (1/72 inch) has.
    pub per_point: f64,
}

/// Draws what plotters asks for, and writes the file when all is drawn.
pub struct PdfBackend<'b> {
    to: &'b mut Vec<u8>,
    size: (u32, u32),
    about: &'b About<'b>,
    /// In units, from the upper left corner down.
    content: Content,
    /// Opacities that were used, in per cent.
    opacities: BTreeSet<u8>,
    /// What is drawn with: opacity, colour and width of lines.
    pen: Option<Pen>,
}

type Pen = (u8, (u8, u8, u8), u32);

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Names of the fonts in the file: for text, and for titles.
const FONTS: [(&[u8], &[u8]); 2] = [(b"F1", b"Helvetica"), (b"F2", b"Helvetica-Bold")];

/// Of an arc of 90 degrees, the part of the radius where the control points of its curve are.
const ARC: f32 = 0.552_284_8;

impl<'b> PdfBackend<'b> {
    pub fn new(to: &'b mut Vec<u8>, size: (u32, u32), about: &'b About<'b>) -> Self {
        let mut content = Content::new();
        let scale = (1.0 / about.per_point) as f32;
        content.transform([scale, 0.0, 0.0, -scale, 0.0, scale * size.1 as f32]);
        content.set_line_cap(LineCapStyle::ButtCap);
        content.set_line_join(LineJoinStyle::MiterJoin);
        let opacities = BTreeSet::new();
        PdfBackend {
            to,
            size,
            about,
            content,
            opacities,
            pen: None,
        }
    }

    /// Where to draw in this colour; nowhere in one that cannot be seen.
    fn pen(
        &mut self,
        BackendColor { alpha, rgb }: BackendColor,
        width: u32,
    ) -> Option<&mut Content> {
        let opacity = (100.0 * alpha).round() as u8;
        if opacity == 0 {
            return None;
        }
        let pen = Some((opacity, rgb, width));
        if self.pen != pen {
            self.opacities.insert(opacity);
            let [r, g, b] = [rgb.0, rgb.1, rgb.2].map(|part| f32::from(part) / 255.0);
            let content = self.content.set_parameters(Name(&parameters(opacity)));
            let content = content.set_fill_rgb(r, g, b).set_stroke_rgb(r, g, b);
            content.set_line_width(width as f32);
            self.pen = pen;
        }
        Some(&mut self.content)
    }

    fn path(
        &mut self,
        points: impl IntoIterator<Item = BackendCoord>,
        style: &impl BackendStyle,
        end: fn(&mut Content),
    ) {
        let Some(content) = self.pen(style.color(), style.stroke_width()) else {
            return;
        };
        let points = points.into_iter().map(|(x, y)| (x as f32, y as f32));
        for (i, (x, y)) in points.enumerate() {
            match i {
                0 => content.move_to(x, y),
                _ => content.line_to(x, y),
            };
        }
        end(content);
    }

    /// The file of what was drawn.
    fn write(&mut self) -> Vec<u8> {
        let mut pdf = Pdf::new();
        pdf.set_version(1, 5); // what pdflatex includes without a warning
        let [catalog, pages, page, content, info] = [1, 2, 3, 4, 5].map(Ref::new);
        let fonts = [6, 7].map(Ref::new);
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let [width, height] = [self.size.0, self.size.1]
            .map(|units| (f64::from(units) / self.about.per_point) as f32);
        let mut sheet = pdf.page(page);
        sheet.media_box(Rect::new(0.0, 0.0, width, height));
        sheet.parent(pages).contents(content);
        let mut resources = sheet.resources();
        let named = FONTS.into_iter().zip(fonts);
        resources
            .fonts()
            .pairs(named.map(|((name, _), font)| (Name(name), font)));
        let mut states = resources.ext_g_states();
        for opacity in &self.opacities {
            let alpha = f32::from(*opacity) / 100.0;
            let mut state = states
                .insert(Name(&parameters(*opacity)))
                .start::<ExtGraphicsState<'_>>();
            state.non_stroking_alpha(alpha).stroking_alpha(alpha);
        }
        drop(states);
        drop(resources);
        drop(sheet);
        for ((_, name), id) in FONTS.into_iter().zip(fonts) {
            font(pdf.type1_font(id), name);
        }
        self.describe(pdf.document_info(info));
        let drawn = std::mem::replace(&mut self.content, Content::new()).finish();
        pdf.stream(content, drawn.as_slice());
        pdf.finish()
    }

    fn describe(&self, mut info: DocumentInfo<'_>) {
        info.title(TextStr(self.about.title));
        info.subject(TextStr(self.about.caption));
        info.creator(TextStr(self.about.creator));
    }
}

/// The name of the state that has this opacity.
fn parameters(opacity: u8) -> Vec<u8> {
    format!("O{opacity}").into_bytes()
}

impl DrawingBackend for PdfBackend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        *self.to = self.write();
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        if fill {
            return self.fill_polygon(corners, style);
        }
        self.path(corners, style, |content| {
            content.close_and_stroke();
        });
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.path(path, style, |content| {
            content.stroke();
        });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        self.path(path, style, |content| {
            content.fill_nonzero();
        });
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let Some(content) = self.pen(style.color(), style.stroke_width()) else {
            return Ok(());
        };
        let (x, y, r) = (x as f32, y as f32, radius as f32);
        content.move_to(x + r, y);
        // From the right by way of the bottom, the left and the top.
        for (a, b) in [
            ((1.0, 0.0), (0.0, 1.0)),
            ((0.0, 1.0), (-1.0, 0.0)),
            ((-1.0, 0.0), (0.0, -1.0)),
            ((0.0, -1.0), (1.0, 0.0)),
        ] {
            let [first, second] = [(a, b), (b, a)].map(|(near, far): ((f32, f32), (f32, f32))| {
                (
                    x + r * (near.0 + ARC * far.0),
                    y + r * (near.1 + ARC * far.1),
                )
            });
            content.cubic_to(
                first.0,
                first.1,
                second.0,
                second.1,
                x + r * b.0,
                y + r * b.1,
            );
        }
        match fill {
            true => content.fill_nonzero(),
            false => content.close_and_stroke(),
        };
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        // As the backend for SVG has size and height.
        let size = style.size() / 1.24;
        let down = match style.anchor().v_pos {
            VPos::Top => 0.76,
            VPos::Center => 0.26,
            VPos::Bottom => -0.26,
        } * size;
        let text = encoded(text);
        let along = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -0.5,
            HPos::Right => -1.0,
        } * width(&text, size);
        // Cosine and sine of the angle, clockwise.
        let (cos, sin) = match style.transform() {
            FontTransform::None => (1.0, 0.0),
            FontTransform::Rotate90 => (0.0, 1.0),
            FontTransform::Rotate180 => (-1.0, 0.0),
            FontTransform::Rotate270 => (0.0, -1.0),
        };
        let x = f64::from(x) + cos * along - sin * down;
        let y = f64::from(y) + sin * along + cos * down;
        let [(normal, _), (bold, _)] = FONTS;
        let font = match style.style() {
            FontStyle::Bold => bold,
            _ => normal,
        };
        if let Some(content) = self.pen(style.color(), 0) {
            // Letters are upright where the picture's second axis points down.
            let matrix = [cos, sin, sin, -cos, x, y].map(|part| part as f32);
            content.begin_text().set_font(Name(font), size as f32);
            content.set_text_matrix(matrix).show(Str(&text)).end_text();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::{Axis, Chart, Kind, Mark, SQUARE, Ticks, pdf};
    use crate::report::tone::Tone;
    use plotters::style::BLUE;

    #[test]
    fn every_mark_is_drawn_on_a_page_of_its_size() {
        let (x, y) = (
            Axis::around_zero("nats", [1.0]),
            Axis::new("share", 0.0..1.0, Ticks::Anywhere),
        );
        let kinds = [
            Kind::Line(4),
            Kind::Band,
            Kind::Circles,
            Kind::Bars,
            Kind::Dots,
        ];
        let marks = kinds.map(|kind| Mark::new(kind, Tone::Fixed(BLUE), [(0.0, 0.0), (1.0, 1.0)]));
        let chart = Chart::new(SQUARE, x, y, marks.into());
        let about = About {
            title: "a (b)",
            caption: "",
            creator: "gatelens",
            per_point: 2.0,
        };
        let bytes = pdf(&[&chart], &about).unwrap();
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let lines: Vec<&str> = text.lines().collect();
        // The label of the second axis reads upwards.
        for part in [
            "/MediaBox [0 0 260 260]",
            "/Title (a (b))",
            "0.5 0 0 -0.5 0 260 cm",
            "(share) Tj",
            "/O30 gs",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("0 -1 -1 0 ") && line.ends_with(" Tm"))
        );
        assert_eq!(
            text.matches("0 0 1 rg").count(),
            4,
            "a pen for each kind of mark; bars and dots share theirs"
        );
        assert_eq!(
            lines.iter().filter(|line| line.ends_with(" c")).count(),
            4 * 4,
            "four circles"
        );
    }
}
