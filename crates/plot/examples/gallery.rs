//! Writes one picture of each kind, light and dark, and a report of them all into a folder:
//! `cargo run -p thalweg-plot --example gallery -- gallery/`.

use std::path::{Path, PathBuf};

use thalweg_plot::{Figure, PlotError, Report, Table, Theme};

/// A deterministic wiggle in −1..1 in place of noise.
fn noise(i: usize) -> f64 {
    let x = (i as f64 * 12.9898).sin() * 43758.547;
    2.0 * (x - x.floor()) - 1.0
}

/// About normal.
fn bell(i: usize) -> f64 {
    (0..6).map(|k| noise(6 * i + k)).sum::<f64>() / 1.4
}

fn rosenbrock(x: f64, y: f64) -> f64 {
    (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2)
}

/// Gradient descent with momentum on Rosenbrock's function.
fn descent(start: (f64, f64), rate: f64, momentum: f64, steps: usize) -> Vec<(f64, f64)> {
    let ((mut x, mut y), (mut u, mut v)) = (start, (0.0, 0.0));
    let mut path = vec![(x, y)];
    for _ in 0..steps {
        let g = (2.0 * (x - 1.0) - 400.0 * x * (y - x * x), 200.0 * (y - x * x));
        (u, v) = (momentum * u - rate * g.0, momentum * v - rate * g.1);
        (x, y) = (x + u, y + v);
        path.push((x, y));
    }
    path
}

fn loss(rate: f64, floor: f64, shift: usize) -> Vec<(f64, f64)> {
    let at = |t: usize| 2.3 * (-(t as f64) * rate).exp() + floor;
    (0..300).map(|t| (t as f64, at(t) * (1.0 + 0.08 * noise(t + shift)))).collect()
}

fn figures() -> Vec<(&'static str, Figure)> {
    let band = |points: &[(f64, f64)]| -> Vec<(f64, f64, f64)> {
        points.iter().map(|&(t, v)| (t, v * 0.8, v * 1.25)).collect()
    };
    let curves = [
        ("adahessian", loss(0.03, 0.02, 0)),
        ("adamw", loss(0.02, 0.06, 999)),
        ("sgd", loss(0.012, 0.09, 5000)),
    ];
    let lines = curves.iter().fold(
        Figure::new("Training loss on the handwritten digits")
            .x_label("step")
            .y_label("gradient norm ‖∇f‖")
            .log_y(),
        |f, (name, points)| f.band(name, &band(points)).line(name, points),
    );
    let accuracy = curves.iter().fold(
        Figure::new("Test accuracy").x_label("seconds").y_label("accuracy (%)"),
        |f, (name, points)| {
            let points: Vec<_> = points.iter().step_by(12).map(|p| (p.0 / 20.0, 98.0 - 30.0 * p.1)).collect();
            f.line(name, &points)
        },
    );
    let many = (0..12).fold(
        Figure::new("Twelve series").x_label("evaluations").y_label("f − f*").log_x().log_y(),
        |f, k| {
            let slope = 0.3 + k as f64 * 0.12;
            let points: Vec<_> = (0..80)
                .map(|i| 10f64.powf(i as f64 / 20.0))
                .map(|t| (t, t.powf(-slope) * (1.0 + k as f64)))
                .collect();
            f.line(&format!("method {}", k + 1), &points)
        },
    );
    let samples = |mean: f64, sd: f64, from: usize| -> Vec<f64> {
        (0..4000).map(|i| mean + sd * bell(i + from)).collect()
    };
    let histogram = Figure::new("Curvature along random directions")
        .x_label("vᵀHv")
        .y_label("count")
        .histogram("before training", &samples(0.0, 1.0, 0), 48)
        .histogram("after training", &samples(2.2, 0.6, 9000), 48);
    let clouds = (0..3).fold(
        Figure::new("Three clouds").x_label("first component").y_label("second component"),
        |f, k| {
            let centre = (k as f64 * 2.0, (k as f64 - 1.0).powi(2) * 3.0);
            let points: Vec<_> = (0..150)
                .map(|i| (centre.0 + bell(i + 700 * k), centre.1 + bell(i + 90_000 + 700 * k)))
                .collect();
            f.scatter(["zeros", "ones", "sevens"][k], &points)
        },
    );
    let field: Vec<f64> = (0..60 * 80)
        .map(|i| ((i / 80) as f64 / 9.0).sin() * ((i % 80) as f64 / 11.0).cos() + 0.1 * noise(i))
        .collect();
    let heat = Figure::new("A field").x_label("column").y_label("row").colour_label("value").heat_map(
        (0.0, 80.0),
        (0.0, 60.0),
        60,
        80,
        &field,
    );
    let rosenbrock = Figure::new("Rosenbrock’s valley")
        .x_label("x")
        .y_label("y")
        .log_colour()
        .colour_label("f(x, y)")
        .contours((-2.0, 2.0), (-1.0, 3.0), 12, rosenbrock)
        .path("gradient descent", &descent((0.6, 2.6), 0.0003, 0.0, 2000))
        .path("momentum", &descent((-1.5, 1.8), 0.0008, 0.9, 150));
    let bar = |name: &str, v: f64, e: f64| (name.to_string(), v, e);
    let bars = Figure::new("Accuracy after ten epochs")
        .y_label("accuracy (%)")
        .y_range(90.0, 99.0)
        .bars(
            "digits",
            &[
                bar("adahessian", 97.8, 0.3),
                bar("adamw", 97.1, 0.4),
                bar("sgd", 95.9, 0.6),
                bar("lamb", 96.4, 0.2),
            ],
        )
        .bars(
            "MNIST",
            &[
                bar("adahessian", 98.1, 0.1),
                bar("adamw", 97.9, 0.2),
                bar("sgd", 97.2, 0.3),
                bar("lamb", 97.6, 0.2),
            ],
        );
    let lying = Figure::new("Cost of one step").y_label("milliseconds").bars(
        "",
        &[
            bar("SGD with Nesterov momentum and weight decay", 2.1, 0.1),
            bar("AdaHessian, a fresh Hutchinson sample per step", 5.2, 0.3),
            bar("AdaHessian, one sample in five steps", 2.8, 0.2),
            bar("L-BFGS with a strong Wolfe line search", 6.9, 1.1),
            bar("Muon (five Newton–Schulz iterations)", 3.6, 0.2),
        ],
    );
    let gaps: Vec<_> =
        (0..200).map(|i| (i as f64, if i % 50 < 5 { f64::NAN } else { (i as f64 / 20.0).sin() })).collect();
    let odd = Figure::new("Gaps, a lone point, <markup> & a very long name")
        .x_label("t")
        .line("with gaps", &gaps)
        .line("a name so long that it has to be cut with an ellipsis", &[(100.0, 0.3)])
        .y_range(-1.5, 1.5);
    let narrow: Vec<_> = (0..50).map(|i| (1e9 + i as f64, 1e-7 * (3.0 + (i as f64 / 8.0).sin()))).collect();
    vec![
        ("lines", lines),
        ("accuracy", accuracy),
        ("many", many),
        ("histogram", histogram),
        ("scatter", clouds),
        ("heat", heat),
        ("rosenbrock", rosenbrock),
        ("bars", bars),
        ("lying-bars", lying),
        ("odd", odd),
        ("narrow", Figure::new("Far from zero").x_label("t").y_label("size").line("", &narrow)),
        ("constant", Figure::new("Constant").line("constant", &[(0.0, 5.0), (1.0, 5.0)])),
        ("empty", Figure::new("Nothing yet").x_label("step").y_label("loss").line("sgd", &[])),
    ]
}

fn main() -> Result<(), PlotError> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "gallery".into()));
    let failed = |path: &Path, source| PlotError::Write { path: path.into(), source };
    std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
    let mut report = Report::new("A gallery of pictures");
    report.lead(
        "One figure of each kind, drawn from made-up numbers.\n\nColours follow the reader’s preference.",
    );
    let mut table = Table::new(["method", "test accuracy", "seconds", "remark"]);
    table.row(["adahessian", "97.8 ± 0.3 %", "12.4", "fresh sample per step"]);
    table.row(["adamw", "97.1 ± 0.4 %", "5.1", ""]);
    table.row(["sgd", "95.9 ± 0.6 %", "4.8", "momentum 0.9"]);
    table.highlight(1, false).highlight(2, true);
    println!("{}", table.text());
    let section = report.section("A table");
    section
        .text("The best of each column is set in bold.")
        .table(&table)
        .code("thalweg train --data digits --method adahessian --epochs 10");
    for (name, figure) in figures() {
        figure.save(&folder.join(format!("{name}.svg")))?;
        for (theme, suffix) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
            let path = folder.join(format!("{name}-{suffix}.png"));
            std::fs::write(&path, figure.png(theme, 2.0)?).map_err(|e| failed(&path, e))?;
        }
        if name == "lines" {
            report
                .section("Curves")
                .text("Two figures side by side where there is room.")
                .figure(&figure, "Mean and band of three methods.");
        } else if name == "accuracy" {
            report.section("More pictures").figure(&figure, "Accuracy over time.");
        }
    }
    let section = report.section("The others");
    for (name, figure) in figures().into_iter().skip(2) {
        section.figure(&figure, name);
    }
    report.save(&folder.join("report.html"))
}
