//! Pictures and the report of training runs, from the recorded metrics.

use std::collections::BTreeSet;

use serde_json::Value;
use thalweg_plot::{Figure, Report, Table};

use super::Summary;
use crate::Result;
use crate::folder::Folder;
pub use crate::folder::read_metrics;
use crate::source::{Prepared, of_data};

/// Points of one curve.
pub type Points = Vec<(f64, f64)>;

/// The records that have both numbers, as points.
pub fn points(records: &[Value], x: &str, y: &str) -> Points {
    let number = |r: &Value, key: &str| r.get(key).and_then(Value::as_f64);
    records.iter().filter_map(|r| Some((number(r, x)?, number(r, y)?))).collect()
}

/// Means of about 200 neighbouring points: mini-batch losses are noisy.
pub fn smooth(points: &Points) -> Points {
    let mean = |p: &[(f64, f64)]| {
        let n = p.len() as f64;
        (p.iter().map(|p| p.0).sum::<f64>() / n, p.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(points.len().div_ceil(200).max(1)).map(mean).collect()
}

/// A figure of one metric with a line per method.
fn compare(title: &str, labels: (&str, &str), curves: &[(String, Points)]) -> Option<Figure> {
    if curves.iter().all(|(_, points)| points.is_empty()) {
        return None;
    }
    let figure = Figure::new(title).x_label(labels.0).y_label(labels.1);
    Some(curves.iter().fold(figure, |f, (name, points)| f.line(name, points)))
}

/// Results as a table for people.
pub fn table(summaries: &[&Summary]) -> Table {
    let regression = summaries.iter().any(|s| s.test_rmse.is_some());
    let scores: &[&str] = match regression {
        true => &["train MSE", "test MSE", "test RMSE", "test R²"],
        false => &["train loss", "test loss", "test accuracy"],
    };
    let header = ["method", "steps"].iter().chain(scores).chain(&["seconds", "ms/step"]);
    let mut table = Table::new(header.copied());
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.4}"));
    for s in summaries {
        let mut row =
            vec![s.method.clone(), s.steps.to_string(), number(s.train_loss), number(Some(s.test_loss))];
        match regression {
            true => row.extend([number(s.test_rmse), number(s.test_r2)]),
            false => row.push(s.test_accuracy.map_or_else(String::new, |a| format!("{:.2} %", 100.0 * a))),
        }
        row.extend([format!("{:.2}", s.seconds), format!("{:.3}", 1e3 * s.seconds_per_step)]);
        table.row(row);
    }
    table
}

/// Writes the pictures of one or several runs and the report into the run folder.
///
/// # Errors
/// Metrics that cannot be read, pictures that cannot be written.
pub fn write(
    folder: &Folder,
    data: &Prepared,
    arch: &str,
    summaries: &[&Summary],
    place: &dyn Fn(&str) -> Folder,
) -> Result<()> {
    let runs =
        summaries.iter().map(|s| Ok((*s, read_metrics(&place(&s.method))?))).collect::<Result<Vec<_>>>()?;
    // Records count steps; people count epochs.
    let epochs = |s: &Summary, p: Points| -> Points {
        let per_step = s.epochs / s.steps.max(1) as f64;
        p.into_iter().map(|(step, y)| (step * per_step, y)).collect()
    };
    let by_epoch = |y: &'static str| -> Vec<(String, Points)> {
        runs.iter().map(|(s, r)| (s.method.clone(), epochs(s, points(r, "step", y)))).collect()
    };
    let by_seconds = |y: &'static str| -> Vec<(String, Points)> {
        runs.iter().map(|(s, r)| (s.method.clone(), points(r, "seconds", y))).collect()
    };
    let smoothed: Vec<_> = by_epoch("value").into_iter().map(|(name, p)| (name, smooth(&p))).collect();

    let mut report = Report::new("Training");
    report.lead(&format!("{}. Model: {arch}.", data.description));
    of_data(&mut report, &data.notes);
    let loss = match summaries.iter().any(|s| s.test_rmse.is_some()) {
        true => "MSE is the mean squared error over examples and outputs, and the loss that is minimised.",
        false => "The loss is the cross-entropy, in nats.",
    };
    report.section("Results").table(&table(summaries)).text(loss);
    let section = report.section("Curves");
    let figures = [
        (
            "training-loss",
            compare("Training loss", ("epoch", "mini-batch loss"), &smoothed).map(Figure::log_y),
            "Loss of the mini-batches, neighbouring steps averaged.",
        ),
        (
            "test-loss",
            compare("Test loss", ("epoch", "loss"), &by_epoch("test_loss")).map(Figure::log_y),
            "Loss on the test part after each epoch.",
        ),
        (
            "test-accuracy",
            compare("Test accuracy", ("epoch", "share of right classes"), &by_epoch("test_accuracy")),
            "Share of right classes on the test part after each epoch.",
        ),
        (
            "test-loss-by-seconds",
            compare("Test loss by time", ("seconds", "loss"), &by_seconds("test_loss")).map(Figure::log_y),
            "The same against the time of the run, tests included.",
        ),
    ];
    for (name, figure, caption) in figures {
        if let Some(figure) = figure {
            figure.save(&folder.file(&format!("{name}.svg")))?;
            section.figure(&figure, caption);
        }
    }
    for (s, records) in &runs {
        if let Some(figure) = curvature(s, records) {
            figure.save(&folder.file(&format!("curvature-{}.svg", s.method)))?;
            section.figure(&figure, "Norm of the averaged estimate of the Hessian's diagonal, by layer.");
        }
    }
    folder.report(report)?;
    Ok(())
}

/// The norms ‖D‖ that the diagnostics recorded, a line per block.
fn curvature(summary: &Summary, records: &[Value]) -> Option<Figure> {
    // Only steps with fresh curvature have them.
    let all = records.iter().filter_map(Value::as_object).flat_map(|record| record.keys());
    let keys: BTreeSet<&String> = all.filter(|k| k.starts_with("hessian_norm/")).collect();
    if keys.is_empty() {
        return None;
    }
    let figure =
        Figure::new(format!("Curvature under {}", summary.method)).x_label("step").y_label("‖D‖").log_y();
    let weights = |k: &&&String| k.ends_with(".weight");
    // Weights carry the picture; a net of many layers would drown it otherwise.
    Some(keys.iter().filter(weights).take(12).fold(figure, |f, key| {
        f.line(key.trim_start_matches("hessian_norm/"), &smooth(&points(records, "step", key)))
    }))
}
