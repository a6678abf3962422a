//! From a figure to a drawing: frame, axes, layers, legend.

use crate::figure::{Figure, Layer};
use crate::scale::{Scale, Tick};
use crate::scene::{Anchor, Scene, escape, px, width};
use crate::theme::{HUES, ROOT};
use crate::{bars, field};

/// Size of axis and legend text.
pub(crate) const SMALL: f64 = 12.0;
/// Free room along the outer edge.
const EDGE: f64 = 20.0;
/// Curves may overlap the frame by half their width.
const BLEED: f64 = 3.0;
/// Distance between legend entries.
const ROW: f64 = 18.0;
/// From the frame to the legend's marks, and from there to the legend's texts.
const GAP: f64 = 18.0;
const MARK: f64 = 24.0;
/// A line with more points is thinned to what its pixel columns can show.
const MANY: usize = 2000;

/// The rectangle between the axes, in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

/// An entry beside the picture.
struct Entry {
    series: usize,
    /// Height at which its curve leaves the frame, if it does so at the right.
    end: Option<f64>,
}

/// A drawn figure.
pub(crate) struct Drawing {
    pub scene: Scene,
    /// Width and height in pixels.
    pub size: (f64, f64),
}

impl Drawing {
    pub fn new(figure: &Figure) -> Self {
        let (mut body, mut scene) = (Scene::default(), Scene::default());
        let size = (figure.size.0, draw(figure, &mut body));
        scene.rect("paper", 0.0, 0.0, size.0, size.1);
        scene.shapes.append(&mut body.shapes);
        Self { scene, size }
    }

    /// The SVG document; without `style` the surrounding page must hold the style sheet.
    pub fn svg(&self, title: &str, style: Option<&str>) -> String {
        let (w, h) = (px(self.size.0), px(self.size.1));
        let style = style.map(|s| format!("<style>{s}</style>")).unwrap_or_default();
        let title = if title.is_empty() { "figure" } else { title };
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="{ROOT}" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{}">{style}{}</svg>"#,
            escape(title),
            self.scene.svg()
        )
    }
}

/// Draws everything and returns the height needed.
fn draw(figure: &Figure, scene: &mut Scene) -> f64 {
    let (w, h) = figure.size;
    let mut top = EDGE - 4.0;
    if !figure.title.is_empty() {
        scene.text("ink bold", EDGE, top + 16.0, Anchor::Start, 16.0, w - 2.0 * EDGE, &figure.title);
        top += 28.0;
    }
    if figure.layers.iter().any(|l| matches!(l, Layer::Bars { .. })) {
        return bars::draw(figure, scene, top);
    }

    let Axes { x, y } = Axes::fitting(figure);
    let fields: Vec<_> =
        figure.layers.iter().filter_map(|l| if let Layer::Field(f) = l { Some(f) } else { None }).collect();
    let shades = field::Shades::fitting(&fields, figure.log_colour);
    let bar = shades.as_ref().map(|s| s.labels());

    // Legend first: the frame takes what it leaves.
    let mut entries = entries(figure, &x);
    let names = entries.iter().map(|e| width(&figure.names[e.series], SMALL)).fold(0.0, f64::max).min(180.0);
    let legend = if entries.is_empty() { 0.0 } else { GAP + MARK + names };
    let bar_width = bar.as_ref().map_or(0.0, |labels| {
        let labels = labels.iter().map(|t| width(&t.label, SMALL)).fold(0.0, f64::max);
        (GAP + field::BAR + 6.0 + labels).max(GAP + width(&figure.colour_label, SMALL).min(120.0))
    });
    let right = EDGE + legend.max(bar_width);

    let bottom = EDGE + 20.0 + if figure.x_label.is_empty() { 0.0 } else { 22.0 };
    let rows = entries.len() as f64 * ROW + if bar.is_some() && !entries.is_empty() { 150.0 } else { 0.0 };
    let (y_major, y_minor, y_note) = y.ticks(((h - top - bottom - 24.0) / 55.0) as usize);
    let above = axis_title(&figure.y_label, y_note);
    if !above.is_empty() {
        scene.text("muted", EDGE, top + 12.0, Anchor::Start, SMALL, w - 2.0 * EDGE, &above);
        top += 24.0;
    }
    let height = h.max(top + rows + bottom);
    let left = EDGE + 8.0 + y_major.iter().map(|t| width(&t.label, SMALL)).fold(0.0, f64::max);
    let frame = Frame { x: left, y: top, w: (w - left - right).max(40.0), h: height - top - bottom };

    let (x_major, x_minor, x_note) = x_ticks(&x, frame.w);
    if fields.is_empty() {
        grid(scene, frame, &x_major, &y_major);
    }
    scene.clipped(frame.x - BLEED, frame.y - BLEED, frame.w + 2.0 * BLEED, frame.h + 2.0 * BLEED, |scene| {
        let axes = Axes { x, y };
        let pen = Pen { axes: &axes, w: frame.w, h: frame.h };
        if let Some(shades) = &shades {
            for f in &fields {
                field::draw(f, shades, &pen, scene);
            }
        }
        layers(figure, &pen, scene, !fields.is_empty());
    });
    axis(scene, frame, (&x_major, &x_minor), (&y_major, &y_minor));
    let below = axis_title(&figure.x_label, x_note);
    if !below.is_empty() {
        let middle = frame.x + frame.w / 2.0;
        scene.text("muted", middle, height - EDGE, Anchor::Middle, SMALL, frame.w + right, &below);
    }
    if !figure.layers.iter().any(has_data(figure)) {
        let (x, y) = (frame.x + frame.w / 2.0, frame.y + frame.h / 2.0);
        scene.text("muted", x, y, Anchor::Middle, 14.0, frame.w, "no data");
    }

    let direct = shades.is_none()
        && figure.layers.iter().all(|l| matches!(l, Layer::Line { .. } | Layer::Band { .. }));
    for e in &mut entries {
        e.end = e.end.filter(|_| direct).and_then(|v| y.at(v)).map(|at| frame.y + frame.h * (1.0 - at));
    }
    draw_legend(figure, scene, frame, &mut entries);
    if let (Some(shades), Some(labels)) = (&shades, bar) {
        let from = if entries.is_empty() { 0.0 } else { entries.len() as f64 * ROW + 12.0 };
        let frame = Frame { x: frame.x + frame.w + GAP, y: frame.y + from, w: field::BAR, h: frame.h - from };
        field::colour_bar(scene, frame, shades, &labels, &figure.colour_label);
    }
    height
}

/// Label and the note of its ticks in one line.
pub(crate) fn axis_title(label: &str, note: Option<String>) -> String {
    match note {
        Some(note) if label.is_empty() => note,
        Some(note) => format!("{label}  ({note})"),
        None => label.into(),
    }
}

/// As many ticks as fit without their labels touching.
fn x_ticks(x: &Scale, w: f64) -> (Vec<Tick>, Vec<Tick>, Option<String>) {
    let mut target = ((w / 70.0) as usize).max(2);
    loop {
        let ticks = x.ticks(target);
        let widest = ticks.0.iter().map(|t| width(&t.label, SMALL) + 10.0).fold(0.0, f64::max);
        let nearest = ticks.0.windows(2).map(|p| (p[1].at - p[0].at) * w).fold(w, f64::min);
        if widest <= nearest || target <= 2 {
            return ticks;
        }
        target -= 1;
    }
}

pub(crate) fn grid(scene: &mut Scene, f: Frame, x: &[Tick], y: &[Tick]) {
    for t in x {
        let x = (f.x + t.at * f.w).round() + 0.5;
        scene.line("grid", x, f.y, x, f.y + f.h);
    }
    for t in y {
        let y = (f.y + (1.0 - t.at) * f.h).round() + 0.5;
        scene.line("grid", f.x, y, f.x + f.w, y);
    }
}

/// Base line, ticks and labels; each axis as (major, minor).
pub(crate) fn axis(scene: &mut Scene, f: Frame, x: (&[Tick], &[Tick]), y: (&[Tick], &[Tick])) {
    let base = (f.y + f.h).round() + 0.5;
    scene.line("axis", f.x, base, f.x + f.w, base);
    for (ticks, length) in [(x.0, 5.0), (x.1, 3.0)] {
        for t in ticks {
            let at = (f.x + t.at * f.w).round() + 0.5;
            scene.line("axis", at, base, at, base + length);
            scene.text("muted", at, base + 18.0, Anchor::Middle, SMALL, f64::INFINITY, &t.label);
        }
    }
    for t in y.0 {
        let at = f.y + (1.0 - t.at) * f.h;
        scene.text("muted", f.x - 8.0, at + 4.0, Anchor::End, SMALL, f64::INFINITY, &t.label);
    }
    for t in y.1 {
        let at = (f.y + (1.0 - t.at) * f.h).round() + 0.5;
        scene.line("axis", f.x - 3.0, at, f.x, at);
    }
}

/// Both axes of a figure.
pub(crate) struct Axes {
    x: Scale,
    y: Scale,
}

impl Axes {
    fn fitting(figure: &Figure) -> Self {
        let mut xs = Vec::new();
        for layer in &figure.layers {
            match layer {
                Layer::Line { points, .. } | Layer::Scatter { points, .. } | Layer::Path { points, .. } => {
                    xs.extend(
                        points.iter().filter(|p| crate::scale::drawable(p.1, figure.log_y)).map(|p| p.0),
                    );
                }
                Layer::Band { points, .. } => xs.extend(points.iter().map(|p| p.0)),
                Layer::Histogram { values, .. } => xs.extend(values),
                Layer::Bars { .. } | Layer::Field(_) => {}
            }
        }
        let field = figure.layers.iter().find_map(|l| if let Layer::Field(f) = l { Some(f) } else { None });
        let loose = |l: &Layer| matches!(l, Layer::Scatter { .. } | Layer::Path { .. });
        let pad = if figure.layers.iter().any(loose) { 0.04 } else { 0.0 };
        let range = figure.x_range.or(field.map(|f| f.x));
        let x = Scale::fitting(xs.into_iter(), figure.log_x, range, pad);

        let mut ys = Vec::new();
        let seen = |v: f64| x.at(v).is_some_and(|at| (-1e-9..=1.0 + 1e-9).contains(&at));
        for layer in &figure.layers {
            match layer {
                Layer::Line { points, .. } | Layer::Scatter { points, .. } | Layer::Path { points, .. } => {
                    ys.extend(points.iter().filter(|p| seen(p.0)).map(|p| p.1));
                }
                Layer::Band { points, .. } => {
                    ys.extend(points.iter().filter(|p| seen(p.0)).flat_map(|p| [p.1, p.2]));
                }
                Layer::Histogram { values, .. } => {
                    ys.push(if figure.log_y { 0.5 } else { 0.0 });
                    ys.extend(counts(values, &x, bins(figure)).into_iter().map(|c| c as f64));
                }
                Layer::Bars { .. } | Layer::Field(_) => {}
            }
        }
        let range = figure.y_range.or(field.map(|f| f.y));
        let y = Scale::fitting(ys.into_iter(), figure.log_y, range, 0.05);
        Self { x, y }
    }
}

/// Number of histogram cells: the finest division asked for.
fn bins(figure: &Figure) -> usize {
    let asked = figure
        .layers
        .iter()
        .filter_map(|l| if let Layer::Histogram { bins, .. } = l { Some(*bins) } else { None });
    asked.max().unwrap_or(1)
}

/// Histogram over equal cells of the axis; what lies outside is not counted.
fn counts(values: &[f64], x: &Scale, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for at in values.iter().filter_map(|&v| x.at(v)).filter(|at| (-1e-9..=1.0 + 1e-9).contains(at)) {
        counts[((at * bins as f64) as usize).min(bins - 1)] += 1;
    }
    counts
}

/// Maps values to pixels of the clipped frame.
pub(crate) struct Pen<'a> {
    axes: &'a Axes,
    w: f64,
    h: f64,
}

impl Pen<'_> {
    pub fn x(&self, v: f64) -> Option<f64> {
        self.axes.x.at(v).map(|at| BLEED + at * self.w)
    }

    pub fn y(&self, v: f64) -> Option<f64> {
        self.axes.y.at(v).map(|at| BLEED + (1.0 - at) * self.h)
    }

    /// The drawable stretches of a curve.
    fn runs(&self, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let pixels = points.iter().map(|&(x, y)| Some((self.x(x)?, self.y(y)?)));
        stretches(pixels).into_iter().map(thinned).collect()
    }
}

/// Maximal stretches without gaps.
fn stretches<T>(points: impl Iterator<Item = Option<T>>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for p in points {
        match (p, runs.last_mut()) {
            (Some(p), Some(run)) => run.push(p),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|r| !r.is_empty());
    runs
}

/// A long curve reduced to what can be seen: per pixel column its first, lowest, highest and last
/// point; where it runs back and forth, only points half a pixel apart.
fn thinned(run: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if run.len() <= MANY {
        return run;
    }
    let mut kept = Vec::new();
    if run.is_sorted_by(|a, b| a.0 <= b.0) {
        for column in run.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
            let extreme = |sign: f64| {
                (0..column.len()).min_by(|&i, &j| (sign * column[i].1).total_cmp(&(sign * column[j].1)))
            };
            let mut picks = vec![0, extreme(1.0).unwrap_or(0), extreme(-1.0).unwrap_or(0), column.len() - 1];
            picks.sort_unstable();
            picks.dedup();
            kept.extend(picks.into_iter().map(|i| column[i]));
        }
    } else {
        let last = run[run.len() - 1];
        for p in run {
            if kept.last().is_none_or(|q: &(f64, f64)| (p.0 - q.0).hypot(p.1 - q.1) >= 0.5) {
                kept.push(p);
            }
        }
        kept.push(last);
    }
    kept
}

/// Hue and dash of a series.
pub(crate) fn hue(series: usize) -> usize {
    series % HUES
}

fn stroke(series: usize) -> String {
    format!("s{} d{}", hue(series), series / HUES % 3)
}

/// Whether a layer of this figure shows anything.
fn has_data(figure: &Figure) -> impl Fn(&Layer) -> bool {
    let ok =
        |x: f64, y: f64| crate::scale::drawable(x, figure.log_x) && crate::scale::drawable(y, figure.log_y);
    move |layer| match layer {
        Layer::Line { points, .. } | Layer::Scatter { points, .. } | Layer::Path { points, .. } => {
            points.iter().any(|p| ok(p.0, p.1))
        }
        Layer::Band { points, .. } => points.iter().any(|p| ok(p.0, p.2)),
        Layer::Histogram { values, .. } => values.iter().any(|&v| crate::scale::drawable(v, figure.log_x)),
        Layer::Bars { bars, .. } => !bars.is_empty(),
        Layer::Field(f) => f.values.iter().any(|v| v.is_finite()),
    }
}

/// Draws all layers but the fields: bands, histograms, curves, dots.
fn layers(figure: &Figure, pen: &Pen<'_>, scene: &mut Scene, on_field: bool) {
    let bins = bins(figure);
    for layer in &figure.layers {
        match layer {
            Layer::Band { series, points } => band(points, pen, scene, *series),
            Layer::Histogram { series, values, .. } => {
                histogram(&counts(values, &pen.axes.x, bins), pen, scene, *series);
            }
            _ => {}
        }
    }
    for layer in &figure.layers {
        match layer {
            Layer::Line { series, points } => {
                for run in pen.runs(points) {
                    match run[..] {
                        [(x, y)] => scene.circle(&format!("f{}", hue(*series)), x, y, 2.5),
                        _ => scene.curve(&format!("curve {}", stroke(*series)), run),
                    }
                }
            }
            Layer::Path { series, points } => trajectory(&pen.runs(points), scene, *series, on_field),
            Layer::Scatter { series, points } => {
                let class = format!("dot f{}", hue(*series));
                let radius = if points.len() > 500 { 2.0 } else { 3.0 };
                for (x, y) in points.iter().filter_map(|p| Some((pen.x(p.0)?, pen.y(p.1)?))) {
                    scene.circle(&class, x, y, radius);
                }
            }
            _ => {}
        }
    }
}

fn band(points: &[(f64, f64, f64)], pen: &Pen<'_>, scene: &mut Scene, series: usize) {
    let low = |v: f64| pen.y(v).or((v <= 0.0 && v.is_finite()).then_some(BLEED + pen.h));
    let pixels = points.iter().map(|&(x, lo, hi)| Some((pen.x(x)?, low(lo)?, pen.y(hi)?)));
    for run in stretches(pixels) {
        let upper = thinned(run.iter().map(|p| (p.0, p.2)).collect());
        let lower = thinned(run.iter().map(|p| (p.0, p.1)).collect());
        let ring: Vec<_> = upper.into_iter().chain(lower.into_iter().rev()).collect();
        scene.area(&format!("soft f{}", hue(series)), vec![ring]);
    }
}

fn histogram(counts: &[usize], pen: &Pen<'_>, scene: &mut Scene, series: usize) {
    let base = BLEED + pen.h;
    let edge = |i: usize| BLEED + pen.w * i as f64 / counts.len() as f64;
    let mut outline = vec![(edge(0), base)];
    for (i, &c) in counts.iter().enumerate() {
        let y = pen.y(c as f64).unwrap_or(base);
        outline.extend([(edge(i), y), (edge(i + 1), y)]);
    }
    outline.push((edge(counts.len()), base));
    scene.area(&format!("half f{}", hue(series)), vec![outline.clone()]);
    scene.curve(&format!("curve thin {}", stroke(series)), outline);
}

fn trajectory(runs: &[Vec<(f64, f64)>], scene: &mut Scene, series: usize, on_field: bool) {
    let fill = format!("f{}", hue(series));
    for run in runs {
        if on_field {
            scene.curve("halo", run.clone());
        }
        scene.curve(&format!("curve {}", stroke(series)), run.clone());
        // Dots tell the speed; closer than a few pixels they would only thicken the line.
        let mut last: Option<(f64, f64)> = None;
        for &(x, y) in run {
            if last.is_none_or(|(a, b)| (x - a).hypot(y - b) >= 5.0) {
                scene.circle(&fill, x, y, 2.5);
                last = Some((x, y));
            }
        }
    }
    if let (Some(start), Some(end)) =
        (runs.first().and_then(|r| r.first()), runs.last().and_then(|r| r.last()))
    {
        scene.circle(&format!("start s{}", hue(series)), start.0, start.1, 5.0);
        scene.circle(&format!("end {fill}"), end.0, end.1, 5.0);
    }
}

/// One entry per name that has a layer. A curve that ends near the right edge also tells where.
fn entries(figure: &Figure, x: &Scale) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for layer in &figure.layers {
        let (series, line) = match layer {
            Layer::Line { series, points } => (*series, Some(points)),
            Layer::Band { series, .. }
            | Layer::Scatter { series, .. }
            | Layer::Path { series, .. }
            | Layer::Histogram { series, .. }
            | Layer::Bars { series, .. } => (*series, None),
            Layer::Field(_) => continue,
        };
        if figure.names[series].is_empty() {
            continue;
        }
        let near = |p: &&(f64, f64)| {
            crate::scale::drawable(p.1, figure.log_y)
                && x.at(p.0).is_some_and(|at| (0.9..=1.0 + 1e-9).contains(&at))
        };
        let end = line.and_then(|points| points.iter().rev().find(near)).map(|p| p.1);
        match entries.iter_mut().find(|e| e.series == series) {
            Some(e) => e.end = e.end.or(end),
            None => entries.push(Entry { series, end }),
        }
    }
    entries.sort_by_key(|e| e.series);
    entries
}

/// Entries at the ends of their curves if all have one, else from the top.
fn draw_legend(figure: &Figure, scene: &mut Scene, frame: Frame, entries: &mut [Entry]) {
    let right = frame.x + frame.w;
    let direct = !entries.is_empty() && entries.iter().all(|e| e.end.is_some());
    let mut rows: Vec<f64> = (0..entries.len()).map(|i| frame.y + 8.0 + i as f64 * ROW).collect();
    if direct {
        let limits = (frame.y, frame.y + frame.h);
        for e in entries.iter_mut() {
            e.end = e.end.map(|v| v.clamp(limits.0, limits.1));
        }
        entries.sort_by(|a, b| a.end.unwrap_or(0.0).total_cmp(&b.end.unwrap_or(0.0)));
        let ends: Vec<f64> = entries.iter().filter_map(|e| e.end).collect();
        rows = spread(&ends, ROW, (limits.0 + 4.0, limits.1 - 4.0));
    }
    for (e, &row) in entries.iter().zip(&rows) {
        let from = right + GAP - 4.0;
        if let Some(end) = e.end.filter(|_| direct) {
            scene.line(&format!("leader s{}", hue(e.series)), right + 3.0, end, from, row);
        }
        mark(figure, scene, e.series, from, row);
        scene.text("ink", from + MARK, row + 4.0, Anchor::Start, SMALL, 180.0, &figure.names[e.series]);
    }
}

/// The sample before a legend text, of the kind of the series' main layer.
pub(crate) fn mark(figure: &Figure, scene: &mut Scene, series: usize, x: f64, y: f64) {
    let of = |l: &&Layer| match l {
        Layer::Line { series: s, .. }
        | Layer::Band { series: s, .. }
        | Layer::Scatter { series: s, .. }
        | Layer::Path { series: s, .. }
        | Layer::Histogram { series: s, .. }
        | Layer::Bars { series: s, .. } => *s == series,
        Layer::Field(_) => false,
    };
    let mine: Vec<_> = figure.layers.iter().filter(of).collect();
    let fill = format!("f{}", hue(series));
    if mine.iter().any(|l| matches!(l, Layer::Line { .. } | Layer::Path { .. })) {
        scene.line(&format!("curve {}", stroke(series)), x + 1.0, y, x + 17.0, y);
        if mine.iter().any(|l| matches!(l, Layer::Path { .. })) {
            scene.circle(&fill, x + 9.0, y, 3.0);
        }
    } else if mine.iter().any(|l| matches!(l, Layer::Scatter { .. })) {
        scene.circle(&fill, x + 9.0, y, 4.0);
    } else {
        scene.rect(&fill, x + 3.0, y - 5.5, 11.0, 11.0);
    }
}

/// Moves ascending positions as little as needed to be `gap` apart within the limits.
fn spread(wanted: &[f64], gap: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    // Pool neighbours that touch, each pool centred on the mean of its members.
    let mut pools: Vec<(f64, usize)> = Vec::new(); // centre, members
    let clamp = |(centre, n): (f64, usize)| {
        let half = gap * (n - 1) as f64 / 2.0;
        (centre.min(bottom - half).max(top + half), n)
    };
    for &w in wanted {
        let mut pool = clamp((w, 1));
        while let Some(&(centre, n)) = pools.last() {
            if pool.0 - centre >= gap * (n + pool.1) as f64 / 2.0 {
                break;
            }
            pools.pop();
            let all = n + pool.1;
            pool = clamp(((centre * n as f64 + pool.0 * pool.1 as f64) / all as f64, all));
        }
        pools.push(pool);
    }
    pools
        .into_iter()
        .flat_map(|(centre, n)| (0..n).map(move |i| centre + gap * (i as f64 - (n - 1) as f64 / 2.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legend_rows_keep_their_distance_and_their_order() {
        let rows = spread(&[10.0, 11.0, 12.0, 80.0, 99.0], 18.0, (0.0, 100.0));
        assert!(rows.windows(2).all(|p| p[1] - p[0] >= 18.0 - 1e-9), "{rows:?}");
        assert!(rows[0] >= 0.0 && rows[4] <= 100.0, "{rows:?}");
        assert_eq!(spread(&[10.0, 50.0], 18.0, (0.0, 100.0)), [10.0, 50.0]);
    }

    #[test]
    fn thinning_keeps_every_spike() {
        let mut run: Vec<(f64, f64)> = (0..100_000).map(|i| (i as f64 / 200.0, 0.0)).collect();
        run[77_777].1 = 9.0;
        run[33_333].1 = -9.0;
        let thin = thinned(run);
        assert!(thin.len() <= MANY, "{}", thin.len());
        assert!(thin.iter().any(|p| p.1 == 9.0) && thin.iter().any(|p| p.1 == -9.0));
    }
}
