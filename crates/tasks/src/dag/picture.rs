//! Pictures of graphs.

use thalweg_plot::Figure;
use thalweg_topo::Mat;
use thalweg_topo::bootstrap::Bootstrap;
use thalweg_topo::cpdag::Cpdag;
use thalweg_topo::graph::{edges, positions};

use super::write::escaped;

/// Points of half an ellipse from one position of an order to another.
fn arc(from: f64, to: f64, side: f64) -> Vec<(f64, f64)> {
    const POINTS: usize = 33;
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let angle = |k: usize| std::f64::consts::PI * k as f64 / (POINTS - 1) as f64;
    (0..POINTS).map(|k| (middle - half * angle(k).cos(), side * half.abs() * angle(k).sin())).collect()
}

/// The graph as arcs over its order, from left to right. With a truth: edges that it has are above the
/// line, those it has not (or has the other way round) below, and what was missed is there too.
pub fn arcs(title: &str, order: &[usize], graph: &Mat<f64>, truth: Option<&Mat<f64>>) -> Figure {
    let at = positions(order);
    let place = |v: usize| at[v] as f64 + 1.0;
    let gap = (f64::NAN, f64::NAN);
    let lines = |chosen: Vec<(usize, usize)>, side: f64| -> Vec<(f64, f64)> {
        let one = |(u, v): (usize, usize)| arc(place(u), place(v), side).into_iter().chain([gap]);
        chosen.into_iter().flat_map(one).collect()
    };
    let of = |w: &Mat<f64>| edges(w).into_iter().map(|e| (e.0, e.1)).collect::<Vec<_>>();
    let figure =
        Figure::new(title).x_label("position in the order").y_label("half the span").size(640.0, 420.0);
    let nodes: Vec<(f64, f64)> = (0..order.len()).map(|k| (k as f64 + 1.0, 0.0)).collect();
    let figure = match truth {
        None => figure.line("edges", &lines(of(graph), 1.0)),
        Some(truth) => {
            let has = |w: &Mat<f64>, e: &(usize, usize)| w[*e] != 0.0;
            let (right, wrong): (Vec<_>, Vec<_>) = of(graph).into_iter().partition(|e| has(truth, e));
            let missed =
                of(truth).into_iter().filter(|e| !has(graph, e) && !has(graph, &(e.1, e.0))).collect();
            let figure = figure.line("right", &lines(right, 1.0));
            figure.line("wrong", &lines(wrong, -1.0)).line("missed", &lines(missed, -1.0))
        }
    };
    figure.scatter("variables", &nodes)
}

/// Weights as a matrix, variables in the given order: no cycle means nothing below the diagonal.
pub fn weights(title: &str, order: &[usize], graph: &Mat<f64>) -> Figure {
    let d = order.len();
    // Rows from the bottom: the last variable first.
    let values: Vec<f64> = (0..d * d)
        .map(|i| graph[(order[d - 1 - i / d], order[i % d])].abs())
        .map(|x| if x == 0.0 { f64::NAN } else { x })
        .collect();
    let span = (0.5, d as f64 + 0.5);
    Figure::new(title)
        .x_label("to (position in the order)")
        .y_label("from (position from the end)")
        .colour_label("|weight|")
        .size(520.0, 460.0)
        .heat_map(span, span, d, d, &values)
}

/// Scores after each round.
pub fn trace(scores: &[f64]) -> Figure {
    let points: Vec<(f64, f64)> = scores.iter().enumerate().map(|(k, s)| (k as f64, *s)).collect();
    Figure::new("Score").x_label("round").y_label("score").line("score", &points)
}

/// The graph with the names of its nodes as an SVG document: nodes in layers, each below its parents; the weight
/// beside each edge, and the share of resamples that link the two. Edges that the equivalence class leaves open
/// are broken and have no head.
pub fn svg(
    names: &[String],
    order: &[usize],
    graph: &Mat<f64>,
    class: Option<&Cpdag>,
    support: Option<&Bootstrap>,
) -> String {
    let d = order.len();
    let mut layer = vec![0; d];
    for &v in order {
        layer[v] = (0..d).filter(|u| graph[(*u, v)] != 0.0).map(|u| layer[u] + 1).max().unwrap_or(0);
    }
    let layers = layer.iter().max().map_or(0, |l| l + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers];
    order.iter().for_each(|v| rows[layer[*v]].push(*v));
    // A few sweeps that put nodes below the middle of their neighbours take most crossings away.
    let mut x = vec![0.0; d];
    let spread = |rows: &[Vec<usize>], x: &mut [f64]| {
        for row in rows {
            row.iter().enumerate().for_each(|(k, v)| x[*v] = (k as f64 + 0.5) / row.len() as f64);
        }
    };
    spread(&rows, &mut x);
    for _ in 0..12 {
        let middle = |v: usize| {
            let near: Vec<f64> =
                (0..d).filter(|u| graph[(*u, v)] != 0.0 || graph[(v, *u)] != 0.0).map(|u| x[u]).collect();
            if near.is_empty() { x[v] } else { near.iter().sum::<f64>() / near.len() as f64 }
        };
        let key: Vec<f64> = (0..d).map(middle).collect();
        rows.iter_mut().for_each(|r| r.sort_by(|a, b| key[*a].total_cmp(&key[*b]).then(a.cmp(b))));
        spread(&rows, &mut x);
    }
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1) as f64;
    let longest = names.iter().map(|n| n.chars().count()).max().unwrap_or(1) as f64;
    let room = 8.0 * longest + 24.0;
    let (width, height) = (widest * (room + 26.0) + 20.0, layers as f64 * 84.0);
    let centre = |v: usize| (10.0 + x[v] * (width - 20.0), 42.0 + 84.0 * layer[v] as f64);
    let most = edges(graph).iter().map(|e| e.2.abs()).fold(1e-12, f64::max);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" class=\"dag\" font-family=\"system-ui,sans-serif\" font-size=\"13\">\n<style>\
         .dag .n{{fill:#fff;stroke:#0060a0;stroke-width:1.5}}.dag .e{{fill:none;stroke:#5b6570}}.dag .a{{fill:#5b6570}}\
         .dag text{{fill:#1b1f24;text-anchor:middle}}.dag .w{{font-size:11px;paint-order:stroke;stroke:#fff;\
         stroke-width:3px}}@media (prefers-color-scheme:dark){{.dag .n{{fill:#14181d;stroke:#7cc0f5}}\
         .dag .e{{stroke:#9aa5b1}}.dag .a{{fill:#9aa5b1}}.dag text{{fill:#e8ebef}}.dag .w{{stroke:#14181d}}}}</style>\n\
         <defs><marker id=\"dag-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"a\" \
         d=\"M0 0L8 4L0 8Z\"/></marker></defs>\n"
    );
    let mut labels = String::new();
    for (u, v, w) in edges(graph) {
        let ((x1, y1), (x2, y2)) = (centre(u), centre(v));
        // Edges over several layers bend around what lies between.
        let bend = if layer[v] - layer[u] > 1 { if x1 + x2 < width { -0.35 } else { 0.35 } } else { 0.0 };
        let aside = bend * (y2 - y1).min(260.0);
        let (cx, cy) = ((x1 + x2) / 2.0 + aside, (y1 + y2) / 2.0);
        let thick = 0.8 + 1.7 * w.abs() / most;
        let open = class.is_some_and(|class| !class.directed.contains(&(u, v)));
        let end = if open { "stroke-dasharray=\"5 3\"" } else { "marker-end=\"url(#dag-head)\"" };
        let share = support.map_or(String::new(), |found| format!(" · {:.0} %", 100.0 * found.of(u, v).0));
        let (from, to) = (escaped(&names[u]), escaped(&names[v]));
        let way = if open { "–" } else { "→" };
        out += &format!(
            "<path class=\"e\" stroke-width=\"{thick:.2}\" {end} d=\"M{x1:.1} {:.1}Q{cx:.1} {cy:.1} {x2:.1} {:.1}\"><title>\
             {from} {way} {to}: {w:.4}{share}</title></path>\n",
            y1 + 14.0,
            y2 - 15.0,
        );
        // Half way along the curve.
        let (lx, ly) = ((x1 + 2.0 * cx + x2) / 4.0, (y1 + 2.0 * cy + y2) / 4.0);
        labels += &format!("<text class=\"w\" x=\"{lx:.1}\" y=\"{:.1}\">{w:.2}{share}</text>\n", ly + 4.0);
    }
    out += &labels;
    for v in 0..d {
        let (x, y) = centre(v);
        out += &format!(
            "<rect class=\"n\" x=\"{:.1}\" y=\"{:.1}\" width=\"{room:.1}\" height=\"28\" rx=\"14\"/><text x=\"{x:.1}\" \
             y=\"{:.1}\">{}</text>\n",
            x - room / 2.0,
            y - 14.0,
            y + 4.5,
            escaped(&names[v])
        );
    }
    out + "</svg>\n"
}
