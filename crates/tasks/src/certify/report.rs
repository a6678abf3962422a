//! Pictures and report of a certificate.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use thalweg::plot::{Figure, Report, Table};

/// The bounds of one network side by side, with the sampled lower bound.
pub fn bounds(found: &[(String, f64)], lower: Option<f64>) -> Figure {
    let bars: Vec<_> = found.iter().map(|(method, bound)| (method.clone(), *bound, 0.0)).collect();
    let figure = Figure::new("Proved bounds").y_label("Lipschitz constant").bars("proved", &bars);
    match lower {
        Some(l) => {
            let floor: Vec<_> = found.iter().map(|(method, _)| (method.clone(), l, 0.0)).collect();
            figure.bars("reached by an input", &floor)
        }
        None => figure,
    }
}

/// Certified and attacked accuracy over the size of the change.
pub fn accuracy(curve: &[Value]) -> Figure {
    let line = |key: &str| -> Vec<(f64, f64)> {
        curve.iter().filter_map(|row| Some((row["eps"].as_f64()?, row[key].as_f64()?))).collect()
    };
    let figure = Figure::new("Accuracy under change").x_label("size of the change");
    let figure = figure.y_label("share of samples").line("attacked", &line("attacked"));
    figure.line("certified", &line("certified"))
}

/// Writes report.html with the table, and the picture beside it.
pub fn write(folder: &Path, title: &str, table: &Table, picture: (&str, &Figure, &str)) -> Result<()> {
    let mut report = Report::new("Certificate");
    let (name, figure, caption) = picture;
    report.lead(title).section("Results").table(table).figure(figure, caption);
    figure.save(&folder.join(format!("{name}.svg")))?;
    Ok(report.save(&folder.join("report.html"))?)
}
