//! A picture as a list of shapes, and its SVG. Every text of a picture is escaped here.

use std::fmt::Write as _;

/// Escapes text for XML and HTML, in content and in attributes. Characters that XML 1.0 forbids
/// become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            '\0'..' ' | '\u{7f}'..='\u{9f}' | '\u{fffe}'..='\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate in pixels: two decimals, no trailing zeros, never outside what renderers take.
pub(crate) fn px(v: f64) -> String {
    let v = if v.is_nan() { 0.0 } else { (v.clamp(-1e5, 1e5) * 100.0).round() / 100.0 };
    format!("{}", v + 0.0) // + 0.0 turns −0 into 0
}

/// Where a text hangs on its anchor point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A closed or open chain of straight lines, in pixels.
pub(crate) type Chain = Vec<(f64, f64)>;

/// What a picture consists of. `class` names rules of the style sheet in `theme.rs`.
pub(crate) enum Shape {
    Path {
        class: String,
        chains: Vec<Chain>,
        closed: bool,
    },
    Circle {
        class: String,
        x: f64,
        y: f64,
        r: f64,
    },
    Text {
        class: String,
        x: f64,
        y: f64,
        anchor: Anchor,
        size: f64,
        shown: String,
        tip: Option<String>,
    },
    /// Shapes in the coordinates of a rectangle (x, y, width, height); what lies outside is cut off.
    Clip {
        frame: [f64; 4],
        shapes: Vec<Shape>,
    },
}

/// Shapes from back to front.
#[derive(Default)]
pub(crate) struct Scene {
    pub shapes: Vec<Shape>,
}

impl Scene {
    pub fn rect(&mut self, class: &str, x: f64, y: f64, w: f64, h: f64) {
        let (w, h) = (w.max(0.0), h.max(0.0));
        self.area(class, vec![vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]]);
    }

    pub fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.curve(class, vec![(x1, y1), (x2, y2)]);
    }

    pub fn curve(&mut self, class: &str, chain: Chain) {
        self.shapes.push(Shape::Path { class: class.into(), chains: vec![chain], closed: false });
    }

    /// Closed chains, filled by the even-odd rule.
    pub fn area(&mut self, class: &str, chains: Vec<Chain>) {
        if !chains.is_empty() {
            self.shapes.push(Shape::Path { class: class.into(), chains, closed: true });
        }
    }

    pub fn circle(&mut self, class: &str, x: f64, y: f64, r: f64) {
        self.shapes.push(Shape::Circle { class: class.into(), x, y, r });
    }

    /// Text on its base line; cut to `room` pixels with an ellipsis, the whole then in a tool tip.
    pub fn text(&mut self, class: &str, x: f64, y: f64, anchor: Anchor, size: f64, room: f64, text: &str) {
        let shown = fit(text, size, room);
        let tip = (shown != text).then(|| text.into());
        self.shapes.push(Shape::Text { class: class.into(), x, y, anchor, size, shown, tip });
    }

    /// Draws into a rectangle with its own origin; what lies outside is cut off.
    pub fn clipped(&mut self, x: f64, y: f64, w: f64, h: f64, draw: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        draw(&mut inner);
        self.shapes.push(Shape::Clip { frame: [x, y, w, h], shapes: inner.shapes });
    }

    /// The shapes as SVG elements.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        write(&self.shapes, &mut out);
        out
    }
}

fn write(shapes: &[Shape], out: &mut String) {
    for shape in shapes {
        // Writing to a String cannot fail.
        let _ = match shape {
            Shape::Path { class, chains, closed } => {
                let _ = write!(out, r#"<path class="{class}" d=""#);
                for chain in chains {
                    for (i, &(x, y)) in chain.iter().enumerate() {
                        let _ = write!(out, "{}{} {}", ["M", "L", ""][i.min(2)], px(x), px(y));
                        out.push_str(if i > 0 && i + 1 < chain.len() { " " } else { "" });
                    }
                    out.push_str(if *closed { "Z" } else { "" });
                }
                write!(out, r#""/>"#)
            }
            Shape::Circle { class, x, y, r } => {
                write!(out, r#"<circle class="{class}" cx="{}" cy="{}" r="{}"/>"#, px(*x), px(*y), px(*r))
            }
            Shape::Text { class, x, y, anchor, size, shown, tip } => {
                let tip = tip.as_ref().map(|t| format!("<title>{}</title>", escape(t))).unwrap_or_default();
                let anchor = ["", r#" text-anchor="middle""#, r#" text-anchor="end""#][*anchor as usize];
                let (x, y, shown) = (px(*x), px(*y), escape(shown));
                write!(
                    out,
                    r#"<text class="{class}" x="{x}" y="{y}" font-size="{size}"{anchor}>{tip}{shown}</text>"#
                )
            }
            Shape::Clip { frame, shapes } => {
                let [x, y, w, h] = frame.map(px);
                let _ = write!(out, r#"<svg x="{x}" y="{y}" width="{w}" height="{h}" overflow="hidden">"#);
                write(shapes, out);
                write!(out, "</svg>")
            }
        };
    }
}

/// Estimated width of a text in a sans-serif face, in pixels; the reader's font is unknown, so
/// the estimate leans to the wide side.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.30,
            'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 0.40,
            '⁰'..='⁹' | '¹' | '²' | '³' | '⁻' => 0.42,
            'm' | 'w' | 'M' | 'W' | '%' | '@' | '—' => 0.90,
            'A'..='Z' => 0.69,
            c if c > '\u{2e7f}' => 1.0,
            _ => 0.60,
        })
        .sum();
    em * size
}

/// `text` itself if it fits into `room` pixels, else its beginning and an ellipsis.
fn fit(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars() {
        shown.push(c);
        if width(&shown, size) + size > room {
            break;
        }
    }
    format!("{}…", shown.trim_end())
}
