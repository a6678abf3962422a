//! The tour's stop: one graph by several methods.

use std::time::Instant;

use serde_json::{Value, json};
use thalweg_core::Seed;
use thalweg_plot::{Figure, Table};
use thalweg_topo::baselines::{Dagma, Golem, Notears};
use thalweg_topo::graph::{made_acyclic, topological_order};
use thalweg_topo::metrics::compare;
use thalweg_topo::simulate::{Mechanism, Noise, Simulation};
use thalweg_topo::{FitOptions, Init, Learned, Mat, Sample, Score, Topo, TopoError};

use super::picture;
use crate::{Finding, Host, Result};

/// Weights of a method on a covariance matrix.
type Fit = fn(&Mat<f64>) -> Result<Mat<f64>, TopoError>;

/// The continuous methods, with their official defaults.
const CONTINUOUS: [(&str, Fit); 3] = [
    ("NOTEARS", |s| Notears::default().fit(s)),
    ("DAGMA", |s| Dagma { lambda: 0.02, ..Dagma::default() }.fit(s)),
    ("GOLEM", |s| Golem::default().fit(s)),
];

/// One method on raw and on standardized data.
struct Row {
    method: String,
    score: f64,
    shd: usize,
    shd_standardized: usize,
    seconds: f64,
}

/// A graph, data from it, and the same standardized.
struct Case {
    truth: Mat<f64>,
    raw: Sample,
    standardized: Sample,
}

impl Case {
    fn new() -> Result<Self> {
        let simulation = Simulation {
            family: "er:2".parse()?,
            dim: 12,
            samples: 1000,
            noise: Noise::GaussEv,
            mechanism: Mechanism::Linear,
        };
        let (truth, raw) = simulation.run(Seed(1))?;
        Ok(Self { truth, standardized: raw.standardized(), raw })
    }

    fn shd(&self, w: &Mat<f64>) -> Result<usize> {
        Ok(compare(&self.truth, w)?.shd)
    }

    fn row(
        &self,
        method: impl Into<String>,
        score: f64,
        graph: &Mat<f64>,
        other: &Mat<f64>,
        seconds: f64,
    ) -> Result<Row> {
        let (shd, shd_standardized) = (self.shd(graph)?, self.shd(other)?);
        Ok(Row { method: method.into(), score, shd, shd_standardized, seconds })
    }

    /// Least-squares score of an order on the raw data.
    fn order_score(&self, order: &[usize]) -> Result<f64> {
        let from = FitOptions { start: Some(order), ..FitOptions::seed(1) };
        Ok(Topo::default().fit(&self.raw, &from)?.trace[0])
    }

    /// A continuous method, and what swaps make of its graph.
    fn continuous(&self, name: &str, fit: Fit) -> Result<[Row; 2]> {
        let clock = Instant::now();
        let w = fit(&self.raw.covariance())?;
        let seconds = clock.elapsed().as_secs_f64();
        let (w, _) = made_acyclic(&w);
        let score = self.order_score(&topological_order(&w).unwrap_or_default())?;
        let other = made_acyclic(&fit(&self.standardized.covariance())?).0;
        let alone = self.row(name, score, &w, &other, seconds)?;
        let options = FitOptions::seed(1);
        let clock = Instant::now();
        let after = Topo::default().polish(&w, &self.raw, &options)?.learned;
        let seconds = seconds + clock.elapsed().as_secs_f64();
        let again = Topo::default().polish(&other, &self.standardized, &options)?.learned;
        let swapped = format!("{name}, then swaps");
        Ok([alone, self.row(swapped, after.score, &after.graph, &again.graph, seconds)?])
    }

    /// Swaps alone: on both data, and the time on the raw ones.
    fn swaps(&self, topo: &Topo) -> Result<(Learned, Learned, f64)> {
        let options = FitOptions::seed(1);
        let clock = Instant::now();
        let learned = topo.fit(&self.raw, &options)?;
        let seconds = clock.elapsed().as_secs_f64();
        Ok((learned, topo.fit(&self.standardized, &options)?, seconds))
    }
}

/// Topological swaps beside the continuous methods on one simulated graph, raw and standardized.
///
/// # Errors
/// What a method fails with.
pub fn topo(_host: &Host) -> Result<Finding> {
    let case = Case::new()?;
    let mut rows = Vec::new();
    for (name, fit) in CONTINUOUS {
        rows.extend(case.continuous(name, fit)?);
    }
    let polished = rows.chunks(2).all(|pair| pair[1].score <= pair[0].score + 1e-9);
    let (random, other, seconds) = case.swaps(&Topo { init: Init::Random, ..Topo::default() })?;
    rows.push(case.row("swaps from a random order", random.score, &random.graph, &other.graph, seconds)?);
    let (bic, other, seconds) = case.swaps(&Topo { score: Score::Bic(2.0), ..Topo::default() })?;
    let class = compare(&case.truth, &other.graph)?.cpdag_shd;
    rows.push(case.row(
        "swaps with BIC",
        case.order_score(&bic.order)?,
        &bic.graph,
        &other.graph,
        seconds,
    )?);

    let bars = |shd: fn(&Row) -> usize| -> Vec<(String, f64, f64)> {
        rows.iter().map(|r| (r.method.clone(), shd(r) as f64, 0.0)).collect()
    };
    let figure = Figure::new("Structural Hamming distance")
        .y_label("edges wrong, missing or reversed")
        .size(760.0, 460.0)
        .bars("raw data", &bars(|r| r.shd))
        .bars("standardized", &bars(|r| r.shd_standardized));
    let arcs = picture::arcs("The graph that swaps found", &random.order, &random.graph, Some(&case.truth));
    Ok(Finding {
        name: "topo",
        title: "TOPO: acyclic graphs by topological swaps".into(),
        text: "A random graph of 12 variables and 24 edges, 1000 samples with equal noise variances. On raw data the \
               variances give the order away; standardizing takes that away, and least squares with it: BIC is what \
               remains."
            .into(),
        table: table(&rows),
        figures: vec![
            (arcs, "Edges along the order found: above the line those of the true graph, below those it has not.".into()),
            (figure, "Lower is better.".into()),
        ],
        marks: vec![
            ("no swap makes the score of another method's order worse".into(), polished),
            (format!("BIC on standardized data is within 2 of the true equivalence class ({class})"), class <= 2),
        ],
        data: rows.iter().map(Row::json).collect(),
    })
}

impl Row {
    fn json(&self) -> Value {
        let Self { method, score, shd, shd_standardized, seconds } = self;
        json!({ "method": method, "score": score, "shd": shd, "shd_standardized": shd_standardized, "seconds": seconds })
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["method", "score of its order", "SHD", "SHD, standardized", "seconds"]);
    for Row { method, score, shd, shd_standardized, seconds } in rows {
        table.row([
            method.clone(),
            format!("{score:.4}"),
            shd.to_string(),
            shd_standardized.to_string(),
            format!("{seconds:.4}"),
        ]);
    }
    table
}
