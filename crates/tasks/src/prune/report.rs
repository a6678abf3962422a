//! Table, pictures and report of pruned models.

use thalweg_mfac::prune::LayerSparsity;
use thalweg_plot::{Figure, Report, Table};

use super::{Outcome, Row};
use crate::source::of_data;
use crate::train::Score;
use crate::{Folder, Result};

/// Results as a table for people.
pub fn table(rows: &[Row], dense: &Score) -> Table {
    let percent = |a: Option<f64>| a.map_or_else(String::new, |a| format!("{:.2}", 100.0 * a));
    let number = |x: f64| format!("{x:.4}");
    let mut table = Table::new([
        "method",
        "sparsity %",
        "as pruned %",
        "accuracy %",
        "test loss",
        "predicted increase",
        "actual increase",
        "seconds",
    ]);
    let blank = String::new;
    let (accuracy, loss) = (percent(dense.accuracy), number(dense.loss));
    table.row(["dense".into(), "0.0".into(), accuracy.clone(), accuracy, loss, blank(), blank(), blank()]);
    for r in rows {
        table.row([
            r.method.clone(),
            format!("{:.1}", 100.0 * r.sparsity),
            percent(r.accuracy_as_pruned),
            percent(r.accuracy),
            number(r.loss),
            r.predicted_increase.map_or_else(blank, number),
            number(r.actual_increase),
            format!("{:.1}", r.seconds),
        ]);
    }
    table
}

/// A line per method over the sparsity.
pub fn curves(title: &str, y: &str, rows: &[Row], value: impl Fn(&Row) -> Option<f64>) -> Figure {
    let figure = Figure::new(title).x_label("share of weights removed").y_label(y);
    rows.chunk_by(|a, b| a.method == b.method).fold(figure, |figure, of| {
        let points: Vec<_> = of.iter().filter_map(|r| Some((r.sparsity, value(r)?))).collect();
        figure.line(&of[0].method, &points)
    })
}

/// Writes the pictures and the report into the run folder.
///
/// # Errors
/// The disk refuses.
pub fn write(folder: &Folder, data: &str, outcome: &Outcome) -> Result<()> {
    let Outcome { dense, models: rows, notes } = outcome;
    let mut report = Report::new("Pruning");
    report.lead(data);
    of_data(&mut report, notes);
    report.section("Results").table(&table(rows, dense));
    let section = report.section("Curves");
    let mut figures = vec![(
        "increase",
        curves("Increase of the training loss", "increase", rows, |r| Some(r.actual_increase)),
        "Before fine-tuning and fresh statistics, over the micro-batches of the first round.",
    )];
    if dense.accuracy.is_some() {
        let accuracy = curves("Accuracy after pruning", "share of right classes", rows, |r| r.accuracy);
        figures.insert(0, ("accuracy", accuracy, "On the test part."));
    }
    if let Some(last) = rows.last() {
        let share = |l: &LayerSparsity| l.pruned as f64 / l.weights.max(1) as f64;
        let bar = |l: &LayerSparsity| (l.name.trim_end_matches(".weight").to_string(), share(l), 0.0);
        let title = format!("Layers of {} at {:.1} %", last.method, 100.0 * last.sparsity);
        let bars: Vec<_> = last.layers.iter().map(bar).collect();
        let layers = Figure::new(title).y_label("share of weights removed").bars("removed", &bars);
        figures.push(("layers", layers, "All layers compete for the same number of weights."));
    }
    for (name, figure, caption) in figures {
        figure.save(&folder.file(&format!("{name}.svg")))?;
        section.figure(&figure, caption);
    }
    folder.report(report)
}
