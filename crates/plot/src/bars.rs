//! Bar charts: upright while the labels fit under the bars, else lying.

use crate::draw::{self, Frame, SMALL, axis_title, hue};
use crate::figure::{Figure, Layer};
use crate::number;
use crate::scale::{Scale, drawable};
use crate::scene::{Anchor, Scene, width};

const EDGE: f64 = 20.0;
/// Share of a label's slot that its bars take.
const FILL: f64 = 0.7;
/// Share of the width that the labels of lying bars may take.
const LABEL: f64 = 0.45;

type Bars<'a> = (usize, &'a [(String, f64, f64)]);

/// Draws the bars of a figure below `top` and returns the height needed.
pub(crate) fn draw(figure: &Figure, scene: &mut Scene, mut top: f64) -> f64 {
    let groups: Vec<Bars<'_>> = figure
        .layers
        .iter()
        .filter_map(|l| if let Layer::Bars { series, bars } = l { Some((*series, &bars[..])) } else { None })
        .collect();
    let mut labels: Vec<&str> = Vec::new();
    for (label, ..) in groups.iter().flat_map(|g| g.1) {
        if !labels.contains(&label.as_str()) {
            labels.push(label);
        }
    }
    let heights = groups.iter().flat_map(|g| g.1).filter(|b| b.1.is_finite()).flat_map(|b| {
        let error = if b.2.is_finite() { b.2.abs() } else { 0.0 };
        [b.1 - error, b.1, b.1 + error]
    });
    let zero = (!figure.log_y).then_some(0.0);
    let scale = Scale::fitting(heights.chain(zero), figure.log_y, figure.y_range, 0.06);

    let (w, h) = figure.size;
    let named: Vec<usize> = groups.iter().map(|g| g.0).filter(|&s| !figure.names[s].is_empty()).collect();
    if groups.len() > 1 && !named.is_empty() {
        top = legend(figure, scene, &named, top);
    }
    let widest = labels.iter().map(|l| width(l, SMALL)).fold(0.0, f64::max);
    let upright = widest + 8.0 <= (w - 2.0 * EDGE - 50.0) / labels.len().max(1) as f64;
    let (major, minor, note) = scale.ticks(if upright { 6 } else { 7 });
    let title = axis_title(&figure.y_label, note);
    let frame;
    let height;
    if upright {
        if !title.is_empty() {
            scene.text("muted", EDGE, top + 12.0, Anchor::Start, SMALL, w - 2.0 * EDGE, &title);
            top += 24.0;
        }
        let left = EDGE + 8.0 + major.iter().map(|t| width(&t.label, SMALL)).fold(0.0, f64::max);
        let bottom = EDGE + 20.0 + if figure.x_label.is_empty() { 0.0 } else { 22.0 };
        height = h.max(top + 120.0 + bottom);
        frame = Frame { x: left, y: top, w: w - left - EDGE, h: height - top - bottom };
        draw::grid(scene, frame, &[], &major);
        draw::axis(scene, frame, (&[], &[]), (&major, &minor));
        if !figure.x_label.is_empty() {
            let (x, y) = (frame.x + frame.w / 2.0, height - EDGE);
            scene.text("muted", x, y, Anchor::Middle, SMALL, w - 2.0 * EDGE, &figure.x_label);
        }
    } else {
        let left = EDGE + 8.0 + widest.min(w * LABEL);
        let bottom = EDGE + 20.0 + if title.is_empty() { 0.0 } else { 22.0 };
        let slot = 10.0 + 16.0 * groups.len() as f64;
        height = h.max(top + slot * labels.len() as f64 + bottom);
        frame = Frame { x: left, y: top, w: w - left - EDGE - 24.0, h: height - top - bottom };
        draw::grid(scene, frame, &major, &[]);
        draw::axis(scene, frame, (&major, &minor), (&[], &[]));
        if !title.is_empty() {
            let (x, y) = (frame.x + frame.w / 2.0, height - EDGE);
            scene.text("muted", x, y, Anchor::Middle, SMALL, w - 2.0 * EDGE, &title);
        }
    }

    // Along the labels and up the values, whichever way the chart lies.
    let length = if upright { frame.w } else { frame.h };
    let slot = length / labels.len().max(1) as f64;
    let along = |at: f64| if upright { frame.x + at } else { frame.y + at };
    let up = |at: f64| {
        let at = at.clamp(0.0, 1.0);
        if upright { frame.y + frame.h * (1.0 - at) } else { frame.x + frame.w * at }
    };
    let base = up(scale.at(0.0).unwrap_or(0.0));
    for (i, label) in labels.iter().enumerate() {
        let middle = along((i as f64 + 0.5) * slot);
        if upright {
            scene.text("ink", middle, frame.y + frame.h + 18.0, Anchor::Middle, SMALL, slot, label);
        } else {
            scene.text("ink", frame.x - 8.0, middle + 4.0, Anchor::End, SMALL, w * LABEL, label);
        }
    }
    let share = (slot * FILL / groups.len().max(1) as f64).min(64.0);
    for (g, (series, bars)) in groups.iter().enumerate() {
        for (label, value, error) in bars.iter() {
            let Some(i) = labels.iter().position(|l| l == label) else { continue };
            let offset = (g as f64 - groups.len() as f64 / 2.0) * share;
            let from = along((i as f64 + 0.5) * slot + offset);
            let (near, far) = (from + share * 0.04, from + share * 0.96);
            let Some(end) = scale.at(*value).map(up) else { continue };
            rect(scene, upright, &format!("f{}", hue(*series)), (near, far), (base, end));
            let mut tip = end;
            if *error > 0.0 && error.is_finite() {
                let at = |v: f64| scale.at(v).map_or(up(0.0), up);
                let (low, high) = (at(value - error), at(value + error));
                let middle = (near + far) / 2.0;
                let cap = (share * 0.18).min(5.0);
                line(scene, upright, (middle, low), (middle, high));
                line(scene, upright, (middle - cap, low), (middle + cap, low));
                line(scene, upright, (middle - cap, high), (middle + cap, high));
                tip = if *value < 0.0 { low } else { high };
            }
            let text = number(*value);
            let fits = if upright { width(&text, 11.0) <= share + 6.0 } else { share >= 11.0 };
            if fits && drawable(*value, figure.log_y) {
                let middle = (near + far) / 2.0;
                let down = *value < 0.0;
                let (x, y, anchor) = match (upright, down) {
                    (true, false) => (middle, tip - 5.0, Anchor::Middle),
                    (true, true) => (middle, tip + 13.0, Anchor::Middle),
                    (false, false) => (tip + 5.0, middle + 4.0, Anchor::Start),
                    (false, true) => (tip - 5.0, middle + 4.0, Anchor::End),
                };
                scene.text("muted", x, y, anchor, 11.0, f64::INFINITY, &text);
            }
        }
    }
    if labels.is_empty() {
        let (x, y) = (frame.x + frame.w / 2.0, frame.y + frame.h / 2.0);
        scene.text("muted", x, y, Anchor::Middle, 14.0, frame.w, "no data");
    }
    height
}

fn rect(scene: &mut Scene, upright: bool, class: &str, (a, b): (f64, f64), (from, to): (f64, f64)) {
    let (low, size) = (from.min(to), (from - to).abs());
    if upright { scene.rect(class, a, low, b - a, size) } else { scene.rect(class, low, a, size, b - a) }
}

fn line(scene: &mut Scene, upright: bool, a: (f64, f64), b: (f64, f64)) {
    if upright {
        scene.line("whisker", a.0, a.1, b.0, b.1)
    } else {
        scene.line("whisker", a.1, a.0, b.1, b.0)
    }
}

/// Names in rows above the bars; returns the new top.
fn legend(figure: &Figure, scene: &mut Scene, series: &[usize], top: f64) -> f64 {
    let (mut x, mut y) = (EDGE, top + 8.0);
    for &s in series {
        let step = 20.0 + width(&figure.names[s], SMALL).min(180.0) + 20.0;
        if x > EDGE && x + step > figure.size.0 - EDGE {
            (x, y) = (EDGE, y + 18.0);
        }
        scene.rect(&format!("f{}", hue(s)), x, y - 5.5, 11.0, 11.0);
        scene.text("ink", x + 18.0, y + 4.0, Anchor::Start, SMALL, 180.0, &figure.names[s]);
        x += step;
    }
    y + 18.0
}
