//! Tables, pictures and report of certificates.

use thalweg_lipsdp::Certificate;
use thalweg_plot::{Figure, Report, Table};

use super::{CurvePoint, Outcome};
use crate::{Folder, Result};

const PROVED: &str = "No two outputs differ by more than this per unit of their inputs' distance.";

impl Outcome {
    /// For people: of one bound a line, with a table of what is certified of the data; of all a table.
    pub fn text(&self) -> String {
        match &self.certificates[..] {
            [one] if !self.all => {
                let table = self.samples.as_ref().map(|s| format!("\n{}", accuracies(&s.curve).text()));
                format!("{}\n{}", headline(one, self.norm, self.lower_bound), table.unwrap_or_default())
            }
            all => {
                let (table, lower) = (table(all, self.lower_bound), sampled(self.lower_bound));
                format!(
                    "{}\nsampled lower bound {lower}, in {} per unit of the scaled input\n",
                    table.text(),
                    self.norm
                )
            }
        }
    }
}

/// The sampled lower bound in words.
fn sampled(lower: Option<f64>) -> String {
    lower.map_or_else(|| "–".into(), |l| format!("{l:.6}"))
}

fn headline(c: &Certificate, norm: &str, lower: Option<f64>) -> String {
    let lower = sampled(lower);
    let (bound, method, seconds) = (c.bound, &c.method, c.seconds);
    format!(
        "bound {bound:.6}   sampled {lower}   in {norm} per unit of the scaled input   by {method} in {seconds:.3} s"
    )
}

/// The bounds of one network.
fn table(certificates: &[Certificate], lower: Option<f64>) -> Table {
    let mut table = Table::new(["method", "bound", "over the sampled", "verified", "seconds"]);
    for c in certificates {
        let ratio = lower.map_or_else(|| "–".into(), |l| format!("{:.4}", c.bound / l));
        let verified = if c.verified { "yes" } else { "fallback" };
        let cells = [c.method.clone(), format!("{:.6}", c.bound), ratio, verified.into()];
        table.row(cells.into_iter().chain([format!("{:.3}", c.seconds)]));
    }
    table
}

/// Certified and attacked accuracy as a table.
fn accuracies(curve: &[CurvePoint]) -> Table {
    let mut table = Table::new(["eps", "certified %", "attacked %"]);
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    for point in curve {
        let eps = serde_json::Value::from(point.eps).to_string();
        table.row([eps, percent(point.certified), percent(point.attacked)]);
    }
    table
}

/// The bounds of one network side by side, with the sampled lower bound.
pub(super) fn bounds(found: &[(String, f64)], lower: Option<f64>) -> Figure {
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
fn accuracy(curve: &[CurvePoint]) -> Figure {
    let line = |share: fn(&CurvePoint) -> f64| -> Vec<(f64, f64)> {
        curve.iter().map(|p| (p.eps, share(p))).collect()
    };
    let figure = Figure::new("Accuracy under change").x_label("size of the change");
    let figure = figure.y_label("share of samples").line("attacked", &line(|p| p.attacked));
    figure.line("certified", &line(|p| p.certified))
}

/// Writes report.html, and the picture beside it: with data their accuracy, else the bounds.
pub(super) fn write(folder: &Folder, outcome: &Outcome) -> Result<()> {
    let lower = outcome.lower_bound;
    let title = match &outcome.certificates[..] {
        [one] if !outcome.all => format!("{}: {}", outcome.title, headline(one, outcome.norm, lower)),
        _ => outcome.title.clone(),
    };
    let (name, table, figure, caption) = match &outcome.samples {
        Some(samples) => (
            "accuracy",
            accuracies(&samples.curve),
            accuracy(&samples.curve),
            "Certified: no change of this size can alter the answer. Attacked: none was found that does.",
        ),
        None => {
            let found: Vec<_> = outcome.certificates.iter().map(|c| (c.method.clone(), c.bound)).collect();
            ("bounds", table(&outcome.certificates, lower), bounds(&found, lower), PROVED)
        }
    };
    figure.save(&folder.file(&format!("{name}.svg")))?;
    let mut report = Report::new("Certificate");
    report.lead(&title).section("Results").table(&table).figure(&figure, caption);
    folder.report(report)
}
