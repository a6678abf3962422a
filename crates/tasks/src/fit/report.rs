//! Table, pictures and report of a fit.

use serde_json::{Value, json};
use thalweg_convex_relu::path::PathPoint;
use thalweg_data::npy;
use thalweg_plot::{Figure, Report, Table};

use super::job::{DUAL, MODEL, PATTERNS};
use super::{Outcome, Summary};
use crate::folder::REPORT;
use crate::train::report::{points, read_metrics};
use crate::{Folder, Result};

impl Summary {
    /// As a table for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", ""]);
        let fields = serde_json::to_value(self).unwrap_or_default();
        for (name, value) in fields.as_object().into_iter().flatten() {
            let text = match value {
                Value::Number(x) if x.is_f64() => format!("{:.6}", x.as_f64().unwrap_or(f64::NAN)),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::String(s) => s.clone(),
                _ => continue,
            };
            table.row([name.replace('_', " "), text]);
        }
        if self.sampling_bound.xi < 1.0 {
            table.row(["sampling bound".into(), self.draw()]);
        }
        for row in self.compare.iter().flatten() {
            let name = json!(row.method).as_str().unwrap_or_default().to_owned();
            let (objective, accuracy) = (json!(row.objective), json!(row.test_accuracy));
            table.row([name, format!("objective {objective}  test accuracy {accuracy}")]);
        }
        table
    }

    fn draw(&self) -> String {
        let xi = self.sampling_bound.xi;
        format!("one more draw improves the optimum with probability ≤ {xi:.3} (confidence 90 %)")
    }

    /// What the certificate says, for people.
    pub fn proof(&self) -> String {
        let which = match (self.complete_patterns, self.patterns) {
            (true, _) => "No two-layer ReLU network, whatever its width,".to_owned(),
            (false, Some(patterns)) => format!("No network of the {patterns} listed activation patterns"),
            (false, None) => format!("No network of the {} sampled neurons", self.patterns_drawn),
        };
        let mut text = format!(
            "{which} has an objective below {:.6}; this one has {:.6}, so it is at most {:.2e} of its value above \
             the optimum. Both numbers come from feasible points of the convex program and its dual, whatever the \
             solver did; {DUAL} holds the dual point, from which anyone can recheck the bound.",
            self.dual_bound, self.objective, self.gap
        );
        if !self.complete_patterns && self.sampling_bound.xi < 1.0 {
            text += &format!(" Of patterns not listed: {}.", self.draw());
        } else if !self.complete_patterns {
            text += " Other patterns may do better.";
        }
        if let Some(worst) = self.withstood.worst_case_train_loss {
            text += &format!(" No perturbation within the boxes raises the training loss above {worst:.6}.");
        }
        text
    }
}

/// Writes the model, its proof, the pictures and the report into the run folder; `recorded`: the metrics are those
/// of one run.
pub(super) fn write(folder: &Folder, data: &str, outcome: &Outcome, recorded: bool) -> Result<()> {
    outcome.model.save(folder.file(MODEL))?;
    let theta: Vec<f64> = outcome.certificates.iter().flat_map(|c| c.theta.clone()).collect();
    folder.write(DUAL, &npy(&[theta.len()], theta))?;
    if let Some(patterns) = &outcome.patterns {
        let (n, p) = (patterns.n(), patterns.len());
        let bits = (0..n).flat_map(|k| (0..p).map(move |i| u8::from(patterns.on(i, k))));
        folder.write(PATTERNS, &npy(&[n, p], bits))?;
    }
    if !outcome.beta.folds.is_empty() {
        folder.write_json("cv.json", &outcome.beta.folds)?;
    }
    if !outcome.path.is_empty() {
        folder.write_json("path.json", &outcome.path.iter().map(on_path).collect::<Vec<_>>())?;
    }
    let mut report = Report::new("A two-layer ReLU network, fitted by convex optimisation");
    report.lead(data);
    report.section("Result").table(&outcome.summary.table());
    report.section("Proof").text(&outcome.summary.proof());
    let records = if recorded { read_metrics(folder)? } else { Vec::new() };
    let figures = figures(&records, &outcome.path);
    if !figures.is_empty() {
        let section = report.section("Pictures");
        for (name, figure, caption) in figures {
            figure.save(&folder.file(&format!("{name}.svg")))?;
            section.figure(&figure, caption);
        }
    }
    Ok(report.save(&folder.file(REPORT))?)
}

fn on_path(point: &PathPoint) -> Value {
    let c = &point.certified.certificate;
    json!({ "beta": point.beta, "objective": c.objective, "dual_bound": c.dual_bound, "gap": c.gap, "neurons": point.neurons })
}

/// Values and gap over time, from the metrics; the optimum over β.
fn figures(records: &[Value], path: &[PathPoint]) -> Vec<(&'static str, Figure, &'static str)> {
    let mut figures = Vec::new();
    let mut gaps = points(records, "seconds", "gap");
    gaps.retain(|(_, gap)| *gap > 0.0);
    gaps.dedup_by_key(|(_, gap)| *gap);
    if gaps.len() > 1 {
        let values = Figure::new("Value and bound")
            .x_label("seconds")
            .y_label("objective")
            .line("best feasible value", &points(records, "seconds", "value"))
            .line("dual bound", &points(records, "seconds", "dual_bound"));
        figures.push(("values", values, "The optimum lies between the two lines."));
        let gap = Figure::new("Certified gap").x_label("seconds").y_label("relative gap").log_y();
        figures.push(("gap", gap.line("gap", &gaps), "Of the best value and the best bound so far."));
    }
    if !path.is_empty() {
        let line: Vec<_> = path.iter().map(|p| (p.beta, p.certified.certificate.objective)).collect();
        let figure = Figure::new("Regularisation path").x_label("β").y_label("optimal value").log_x();
        figures.push(("path", figure.line("optimum", &line), "From the largest β that leaves a neuron."));
    }
    figures
}
