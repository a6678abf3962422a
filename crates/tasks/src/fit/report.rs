//! Table, pictures and report of a fit.

use serde_json::{Value, json};
use thalweg_convex_relu::path::PathPoint;
use thalweg_data::npy;
use thalweg_plot::{Figure, Report, Table};

use super::job::{DUAL, MODEL, PATTERNS};
use super::{Data, Outcome, Summary};
use crate::source::of_data;
use crate::train::report::{points, read_metrics};
use crate::{Folder, Result};

impl Summary {
    /// The result as a table for people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", ""]);
        let mut row = |name: &str, text: String| {
            table.row([name.to_owned(), text]);
        };
        row("loss", format!("{}, β {}", self.loss.name(), short(self.beta)));
        row("objective", format!("{:.6}", self.objective));
        row("lower bound", format!("{:.6} ({})", self.dual_bound, self.certified));
        row("gap", format!("{:.2e}", self.gap));
        row("neurons", self.neurons.to_string());
        for (name, value) in self.scores() {
            row(name, format!("{value:.4}"));
        }
        for compared in self.compare.iter().flatten() {
            let name = json!(compared.method).as_str().unwrap_or_default().to_owned();
            let score = match (compared.test_accuracy, compared.test_rmse) {
                (Some(accuracy), _) => format!("  test accuracy {accuracy:.4}"),
                (_, Some(rmse)) => format!("  test RMSE {rmse:.4}"),
                _ => String::new(),
            };
            row(&name, format!("objective {:.6}{score}", compared.objective));
        }
        table
    }

    /// What is known of the network on the two parts and under attack.
    fn scores(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let left = &self.withstood;
        let all = [
            ("training accuracy", self.train_accuracy),
            ("test accuracy", self.test_accuracy),
            ("training RMSE", self.train_rmse),
            ("test RMSE", self.test_rmse),
            ("training R²", self.train_r2),
            ("test R²", self.test_r2),
            ("accuracy under FGSM", left.fgsm_accuracy),
            ("accuracy under PGD", left.pgd_accuracy),
            ("certified accuracy", left.certified_accuracy),
            ("RMSE under FGSM", left.fgsm_rmse),
            ("RMSE under PGD", left.pgd_rmse),
            ("worst training loss in the boxes", left.worst_case_train_loss),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// How the result came about, as a table for people.
    pub fn details(&self) -> Table {
        let mut table = Table::new(["", ""]);
        let mut row = |name: &str, text: String| {
            table.row([name.to_owned(), text]);
        };
        if let Some(patterns) = self.patterns {
            row("patterns", patterns.to_string());
        }
        if self.patterns_drawn > 0 {
            row("directions drawn", self.patterns_drawn.to_string());
        }
        if let Some(draw) = self.draw() {
            row("sampling bound", draw);
        }
        row("the network's own objective", format!("{:.6}", self.nonconvex_objective));
        row("iterations", self.iterations.to_string());
        row("seconds", format!("{:.3}", self.seconds));
        if let Some(reason) = self.stopped_because {
            row("stopped because", reason.to_string());
        }
        table
    }

    /// What one more draw could do, if that says anything.
    fn draw(&self) -> Option<String> {
        let xi = self.sampling_bound.map(|bound| bound.xi).filter(|xi| *xi < 1.0)?;
        Some(format!("one more draw improves the optimum with probability ≤ {xi:.3} (confidence 90 %)"))
    }

    /// What the certificate says, for people.
    pub fn proof(&self) -> String {
        let robust = self.withstood.worst_case_train_loss;
        let which = match (self.complete_patterns, self.patterns) {
            (true, _) => "No two-layer ReLU network, whatever its width,".to_owned(),
            (false, Some(patterns)) if robust.is_some() => format!(
                "No network of the {patterns} listed activation patterns whose neurons keep their signs in every box"
            ),
            (false, Some(patterns)) => format!("No network of the {patterns} listed activation patterns"),
            (false, None) => "No network of the sampled neurons".to_owned(),
        };
        let what = if robust.is_some() { "a worst-case objective" } else { "an objective" };
        let mut text = format!(
            "{which} has {what} below {:.6}; this one has {:.6}, so it is at most {:.2e} of its value above \
             the optimum. Both numbers come from feasible points of the convex program and its dual, whatever the \
             solver did",
            self.dual_bound, self.objective, self.gap
        );
        text += &match robust {
            None => format!("; {DUAL} holds the dual point, from which anyone can recheck the bound."),
            Some(worst) => format!(
                ". No perturbation within the boxes raises the training loss above {worst:.6}: of the best worst case \
                 of all networks the objective is an upper bound, and the lower bound says nothing of networks whose \
                 neurons change their signs in a box."
            ),
        };
        match self.draw() {
            _ if self.complete_patterns || robust.is_some() => {}
            Some(draw) => text += &format!(" Of patterns not listed: {draw}."),
            None => text += " Other patterns may do better.",
        }
        text
    }
}

/// A number as short as it is clear.
fn short(x: f64) -> String {
    if (1e-3..1e4).contains(&x) { format!("{x}") } else { format!("{x:.4e}") }
}

/// Writes the model, its proof, the pictures and the report into the run folder; `recorded`: the metrics are those
/// of one run.
pub(super) fn write(folder: &Folder, data: &Data, outcome: &Outcome, recorded: bool) -> Result<()> {
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
    report.lead(&data.description);
    report.section("Result").table(&outcome.summary.table());
    report.section("Proof").text(&outcome.summary.proof());
    let records = if recorded { read_metrics(folder)? } else { Vec::new() };
    let section = report.section("Pictures");
    let outputs = outputs(data, outcome)?;
    for (name, figure, caption) in std::iter::once(outputs).chain(figures(&records, &outcome.path)) {
        figure.save(&folder.file(&format!("{name}.svg")))?;
        section.figure(&figure, caption);
    }
    report.section("How it was computed").table(&outcome.summary.details());
    of_data(&mut report, &data.notes);
    folder.report(report)
}

fn on_path(point: &PathPoint) -> Value {
    let c = &point.certified.certificate;
    json!({ "beta": point.beta, "objective": c.objective, "dual_bound": c.dual_bound, "gap": c.gap, "neurons": point.neurons })
}

/// Points of a picture at most.
const MOST: usize = 400;

/// What the network says of the two parts: predictions beside numbers, margins of classes.
fn outputs(data: &Data, outcome: &Outcome) -> Result<(&'static str, Figure, &'static str)> {
    let parts = [
        ("training part", Some((&data.train, &data.y))),
        ("test part", data.test.as_ref().map(|t| (&t.0, &t.1))),
    ];
    let classes = data.classifies(outcome.summary.loss);
    let mut figure = match classes {
        true => Figure::new("Margins").x_label("share of the samples").y_label("margin of the right class"),
        false => Figure::new("Predictions").x_label("true").y_label("predicted"),
    };
    for (name, part) in parts {
        let Some((x, y)) = part else { continue };
        let (n, f) = (x.n(), outcome.network.outputs_on(x)?);
        let every = n.div_ceil(MOST);
        let points: Vec<(f64, f64)> = if classes {
            let mut margins: Vec<f64> = (0..n).map(|k| margin(&f, y, n, k)).collect();
            margins.sort_by(f64::total_cmp);
            (0..n).step_by(every).map(|k| (k as f64 / n as f64, margins[k])).collect()
        } else {
            let offset = |i: usize| data.offset.get(i / n).copied().unwrap_or(0.0);
            (0..f.len()).step_by(every).map(|i| (y[i] + offset(i), f[i] + offset(i))).collect()
        };
        figure = if classes { figure.line(name, &points) } else { figure.scatter(name, &points) };
    }
    let caption = match classes {
        true => "From the least to the largest; a sample is right where its margin is above 0.",
        false => "The nearer to the diagonal, the better.",
    };
    Ok(("outputs", figure, caption))
}

/// By how much sample `k` is on the right side, or its class above all others.
fn margin(f: &[f64], y: &[f64], n: usize, k: usize) -> f64 {
    if f.len() == n {
        return f[k] * y[k];
    }
    let of = |own: bool| (k..f.len()).step_by(n).filter(move |&i| (y[i] > 0.0) == own).map(|i| f[i]);
    of(true).fold(f64::NEG_INFINITY, f64::max) - of(false).fold(f64::NEG_INFINITY, f64::max)
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
