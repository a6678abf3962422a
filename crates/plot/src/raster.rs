//! A drawing as PNG. Text is set in an embedded face, so that the pixels do not depend on the
//! machine.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Mask, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::PlotError;
use crate::draw::Drawing;
use crate::scene::{Anchor, Shape};
use crate::theme::{Rule, Theme, rules};

const REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.otf");
/// Longest side of a picture, in pixels.
const LONGEST: f64 = 16384.0;

/// The drawing with `scale` pixels per unit.
pub(crate) fn png(drawing: &Drawing, theme: Theme, scale: f64) -> Result<Vec<u8>, PlotError> {
    let (w, h) = ((drawing.size.0 * scale).round(), (drawing.size.1 * scale).round());
    if !(1.0..=LONGEST).contains(&w) || !(1.0..=LONGEST).contains(&h) {
        return Err(PlotError::Scale(scale));
    }
    let face = |bytes| Face::parse(bytes, 0).map_err(|e| PlotError::Raster(e.to_string()));
    let mut canvas = Canvas {
        pixels: Pixmap::new(w as u32, h as u32).ok_or(PlotError::Scale(scale))?,
        rules: rules(theme),
        faces: [face(REGULAR)?, face(SEMI_BOLD)?],
    };
    canvas.draw(&drawing.scene.shapes, Transform::from_scale(scale as f32, scale as f32), None);
    canvas.pixels.encode_png().map_err(|e| PlotError::Raster(e.to_string()))
}

struct Canvas {
    pixels: Pixmap,
    rules: Vec<Rule>,
    /// Regular and semi-bold.
    faces: [Face<'static>; 2],
}

/// What the style sheet says of a class list.
struct Style {
    fill: Option<Color>,
    stroke: Option<Color>,
    line: Stroke,
    crisp: bool,
    bold: bool,
}

impl Style {
    fn of(rules: &[Rule], classes: &str) -> Self {
        let mut style = Self {
            fill: None,
            stroke: None,
            line: Stroke { line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() },
            crisp: false,
            bold: false,
        };
        let (mut fill_opacity, mut stroke_opacity) = (1.0, 1.0);
        for (class, property, value) in rules {
            if !classes.split(' ').any(|c| c == class) {
                continue;
            }
            let number = || value.parse().unwrap_or(1.0);
            match *property {
                "fill" => style.fill = colour(value),
                "stroke" => style.stroke = colour(value),
                "stroke-width" => style.line.width = number(),
                "fill-opacity" => fill_opacity = number(),
                "stroke-opacity" => stroke_opacity = number(),
                "stroke-dasharray" => {
                    let dashes = value.split(' ').filter_map(|v| v.parse().ok()).collect();
                    style.line.dash = StrokeDash::new(dashes, 0.0);
                }
                "shape-rendering" => style.crisp = true,
                "font-weight" => style.bold = true,
                _ => {}
            }
        }
        style.fill.iter_mut().for_each(|c| c.apply_opacity(fill_opacity));
        style.stroke.iter_mut().for_each(|c| c.apply_opacity(stroke_opacity));
        style
    }
}

/// `#rrggbb`.
fn colour(hex: &str) -> Option<Color> {
    let rgb = u32::from_str_radix(hex.strip_prefix('#')?, 16).ok()?;
    Some(Color::from_rgba8((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8, 255))
}

impl Canvas {
    fn draw(&mut self, shapes: &[Shape], at: Transform, mask: Option<&Mask>) {
        for shape in shapes {
            match shape {
                Shape::Path { class, chains, closed } => {
                    let mut path = PathBuilder::new();
                    for chain in chains {
                        for (i, &(x, y)) in chain.iter().enumerate() {
                            let (x, y) = (x.clamp(-1e5, 1e5) as f32, y.clamp(-1e5, 1e5) as f32);
                            if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
                        }
                        if *closed {
                            path.close();
                        }
                    }
                    self.paint(path.finish(), FillRule::EvenOdd, &Style::of(&self.rules, class), at, mask);
                }
                Shape::Circle { class, x, y, r } => {
                    let circle = PathBuilder::from_circle(*x as f32, *y as f32, *r as f32);
                    self.paint(circle, FillRule::Winding, &Style::of(&self.rules, class), at, mask);
                }
                Shape::Text { class, x, y, anchor, size, shown, .. } => {
                    let style = Style::of(&self.rules, class);
                    let text = self.set(shown, (*x, *y), *anchor, *size, style.bold);
                    self.paint(text, FillRule::Winding, &style, at, mask);
                }
                Shape::Clip { frame, shapes } => {
                    let [x, y, w, h] = frame.map(|v| v as f32);
                    let mask =
                        Rect::from_xywh(x, y, w, h).zip(Mask::new(self.pixels.width(), self.pixels.height()));
                    if let Some((frame, mut mask)) = mask {
                        mask.fill_path(&PathBuilder::from_rect(frame), FillRule::Winding, true, at);
                        self.draw(shapes, at.pre_translate(x, y), Some(&mask));
                    }
                }
            }
        }
    }

    fn paint(
        &mut self,
        path: Option<Path>,
        rule: FillRule,
        style: &Style,
        at: Transform,
        mask: Option<&Mask>,
    ) {
        let Some(path) = path else { return };
        let mut paint = Paint { anti_alias: !style.crisp, ..Paint::default() };
        if let Some(c) = style.fill {
            paint.set_color(c);
            self.pixels.fill_path(&path, &paint, rule, at, mask);
        }
        if let Some(c) = style.stroke {
            paint.set_color(c);
            self.pixels.stroke_path(&path, &paint, &style.line, at, mask);
        }
    }

    /// Outlines of a line of text.
    fn set(&self, text: &str, (x, y): (f64, f64), anchor: Anchor, size: f64, bold: bool) -> Option<Path> {
        let face = &self.faces[usize::from(bold)];
        let em = size as f32 / f32::from(face.units_per_em());
        let glyphs: Vec<_> = text.replace('‖', "||").chars().map(|c| Glyph::of(c, face)).collect();
        let advance = |g: &Glyph| f32::from(face.glyph_hor_advance(g.id).unwrap_or(0)) * em * g.scale;
        let width: f32 = glyphs.iter().map(advance).sum();
        let start = x as f32 - width * [0.0, 0.5, 1.0][anchor as usize];
        let mut pen = Pen { path: PathBuilder::new(), x: start, y: y as f32, em: (em, em) };
        for g in &glyphs {
            (pen.y, pen.em) = (y as f32 - g.rise * size as f32, (em * g.scale, em * g.scale * g.flip));
            face.outline_glyph(g.id, &mut pen);
            pen.x += advance(g);
        }
        pen.path.finish()
    }
}

/// A glyph of the face and how to set it: relative size, rise in em, −1 to stand on its head.
struct Glyph {
    id: GlyphId,
    scale: f32,
    rise: f32,
    flip: f32,
}

impl Glyph {
    /// The face lacks ᵀ and ∇, which are made from T and Δ; the rest it lacks shows as a box.
    fn of(c: char, face: &Face<'_>) -> Self {
        let (c, scale, rise, flip) = match c {
            'ᵀ' => ('T', 0.62, 0.32, 1.0),
            '∇' => ('Δ', 1.0, 0.73, -1.0),
            c => (c, 1.0, 0.0, 1.0),
        };
        Self { id: face.glyph_index(c).unwrap_or(GlyphId(0)), scale, rise, flip }
    }
}

/// Glyph outlines (y upwards, font units) to a path (y downwards, pixels).
struct Pen {
    path: PathBuilder,
    x: f32,
    y: f32,
    em: (f32, f32),
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.em.0, self.y - y * self.em.1)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
