//! Grounds: heat maps, filled contours, and their colour bar.

use std::collections::HashMap;

use crate::draw::{Frame, Pen, SMALL};
use crate::figure::Field;
use crate::scale::{Scale, Tick};
use crate::scene::{Anchor, Scene};
use crate::theme::SHADES;

/// Width of the colour bar.
pub(crate) const BAR: f64 = 14.0;

/// The colour scale shared by all fields of a figure.
pub(crate) struct Shades {
    scale: Scale,
    /// Number of contour levels; 0 for the continuous scale of heat maps.
    levels: usize,
}

impl Shades {
    pub fn fitting(fields: &[&Field], log: bool) -> Option<Self> {
        let levels = fields.first()?.levels;
        let values =
            || fields.iter().flat_map(|f| &f.values).copied().filter(|v| crate::scale::drawable(*v, log));
        let mut scale = Scale::fitting(values(), log, None, 0.0);
        if log && levels > 0 {
            // A minimum of 0 has −∞ as its logarithm: the lowest hundredth shares the first level.
            let mut sorted: Vec<f64> = values().collect();
            sorted.sort_unstable_by(f64::total_cmp);
            if let Some(&low) = sorted.get(sorted.len() / 100)
                && low < scale.hi
            {
                scale.lo = low;
            }
        }
        Some(Self { scale, levels })
    }

    pub fn labels(&self) -> Vec<Tick> {
        let (mut ticks, _, note) = self.scale.ticks(5);
        if let (Some(note), Some(last)) = (note, ticks.last_mut()) {
            last.label = format!("{} {note}", last.label);
        }
        ticks
    }

    /// Class of step `i` of `of`.
    fn class(&self, i: usize, of: usize) -> String {
        let kind = if self.levels == 0 { 'v' } else { 'l' };
        let last = (of.max(2) - 1) as f64;
        format!("{kind}{}", (i as f64 / last * (SHADES - 1) as f64).round() as usize)
    }
}

pub(crate) fn draw(field: &Field, shades: &Shades, pen: &Pen<'_>, scene: &mut Scene) {
    if field.levels == 0 { heat_map(field, shades, pen, scene) } else { contours(field, shades, pen, scene) }
}

/// One path per colour; neighbours of one colour in a row become one rectangle.
fn heat_map(field: &Field, shades: &Shades, pen: &Pen<'_>, scene: &mut Scene) {
    let edge = |(a, b): (f64, f64), i: usize, n: usize| a + (b - a) * i as f64 / n.max(1) as f64;
    let shade = |v: f64| {
        let at = shades.scale.at(v)?;
        Some(((at.clamp(0.0, 1.0) * SHADES as f64) as usize).min(SHADES - 1))
    };
    let mut areas = vec![Vec::new(); SHADES];
    for (row, values) in field.values.chunks(field.cols.max(1)).take(field.rows).enumerate() {
        let (low, high) = (pen.y(edge(field.y, row, field.rows)), pen.y(edge(field.y, row + 1, field.rows)));
        let (Some(low), Some(high)) = (low, high) else { continue };
        let shaded: Vec<_> = values.iter().map(|&v| shade(v)).collect();
        let mut col = 0;
        for run in shaded.chunk_by(|a, b| a == b) {
            let ends =
                (pen.x(edge(field.x, col, field.cols)), pen.x(edge(field.x, col + run.len(), field.cols)));
            col += run.len();
            if let (Some(s), (Some(from), Some(to))) = (run[0], ends) {
                areas[s].push(vec![(from, low), (to, low), (to, high), (from, high)]);
            }
        }
    }
    for (s, cells) in areas.into_iter().enumerate() {
        scene.area(&format!("cell v{s}"), cells);
    }
}

/// Paints {f ≥ level} for ascending levels, each over the one before.
fn contours(field: &Field, shades: &Shades, pen: &Pen<'_>, scene: &mut Scene) {
    let node = |(a, b): (f64, f64), at: f64, n: usize| a + (b - a) * at / (n.max(2) - 1) as f64;
    // On the colour scale, so that levels are equidistant and contours interpolate on it too.
    let at = |v: f64| shades.scale.at(v).or((v <= 0.0).then_some(-1.0)).unwrap_or(f64::NAN);
    let values: Vec<f64> = field.values.iter().map(|&v| at(v)).collect();
    for level in 0..field.levels {
        let threshold = if level == 0 { f64::NEG_INFINITY } else { level as f64 / field.levels as f64 };
        let place = |&(col, row): &(f64, f64)| {
            Some((pen.x(node(field.x, col, field.cols))?, pen.y(node(field.y, row, field.rows))?))
        };
        let rings = rings(&values, field.rows, field.cols, threshold);
        let chains = rings.iter().map(|ring| ring.iter().filter_map(place).collect()).collect();
        scene.area(&format!("level {}", shades.class(level, field.levels)), chains);
    }
}

/// Boundary of {v ≥ level} as closed rings in grid coordinates (col, row), by marching squares on
/// the grid with a border of −∞; nodes that are not numbers are outside.
fn rings(values: &[f64], rows: usize, cols: usize, level: f64) -> Vec<Vec<(f64, f64)>> {
    /// A grid edge: its lower left node and whether it goes up.
    type Edge = (isize, isize, bool);
    let value = |c: isize, r: isize| -> Option<f64> {
        let inside = c >= 0 && r >= 0 && (c as usize) < cols && (r as usize) < rows;
        values.get((r * cols as isize + c) as usize).copied().filter(|v| inside && !v.is_nan())
    };
    let within = |c, r| value(c, r).is_some_and(|v| v >= level);

    let mut next: HashMap<Edge, Edge> = HashMap::new();
    for r in -1..rows as isize {
        for c in -1..cols as isize {
            // Corners and edges counter-clockwise from the lower left; edge i joins corners i, i + 1.
            let corner = [within(c, r), within(c + 1, r), within(c + 1, r + 1), within(c, r + 1)];
            let edge: [Edge; 4] = [(c, r, false), (c + 1, r, true), (c, r + 1, false), (c, r, true)];
            for i in 0..4 {
                // Walk with the inside to the left: leave where in turns to out counter-clockwise …
                if corner[i] && !corner[(i + 1) % 4] {
                    // … having entered at the last crossing before; saddles keep insides apart.
                    let enter = (1..4).map(|k| (i + 4 - k) % 4).find(|&j| !corner[j] && corner[(j + 1) % 4]);
                    if let Some(j) = enter {
                        next.insert(edge[i], edge[j]);
                    }
                }
            }
        }
    }
    // Where the level cuts an edge; at the border and at gaps, on the node inside.
    let cut = |(c, r, up): Edge| {
        let (dc, dr) = if up { (0, 1) } else { (1, 0) };
        let t = match (value(c, r), value(c + dc, r + dr)) {
            (Some(a), Some(b)) if level.is_finite() => ((level - a) / (b - a)).clamp(0.0, 1.0),
            (Some(_), _) => 0.0,
            (None, _) => 1.0,
        };
        (c as f64 + t * dc as f64, r as f64 + t * dr as f64)
    };
    let mut starts: Vec<Edge> = next.keys().copied().collect();
    starts.sort_unstable(); // the same picture from the same data
    let mut rings = Vec::new();
    for start in starts {
        let (mut ring, mut edge) = (Vec::new(), start);
        while let Some(following) = next.remove(&edge) {
            ring.push(cut(edge));
            edge = following;
        }
        if ring.len() > 2 {
            rings.push(ring);
        }
    }
    rings
}

/// The bar from low (bottom) to high with its labels.
pub(crate) fn colour_bar(scene: &mut Scene, f: Frame, shades: &Shades, labels: &[Tick], title: &str) {
    let head = if title.is_empty() { 0.0 } else { 16.0 };
    if !title.is_empty() {
        scene.text("muted", f.x, f.y + 8.0, Anchor::Start, SMALL, 120.0, title);
    }
    let (y, h) = (f.y + head, f.h - head);
    let steps = if shades.levels == 0 { SHADES } else { shades.levels };
    for i in 0..steps {
        let top = y + h * (1.0 - (i + 1) as f64 / steps as f64);
        scene.rect(&format!("cell {}", shades.class(i, steps)), f.x, top, f.w, h / steps as f64 + 0.3);
    }
    for t in labels {
        let at = y + h * (1.0 - t.at);
        scene.line("axis", f.x + f.w, at, f.x + f.w + 3.0, at);
        scene.text("muted", f.x + f.w + 6.0, at + 4.0, Anchor::Start, SMALL, f64::INFINITY, &t.label);
    }
}
