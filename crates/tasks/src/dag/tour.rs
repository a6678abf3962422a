//! The tour's stop: one graph by several methods.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use thalweg::core::Seed;
use thalweg::plot::{Figure, Table};
use thalweg::topo::{
    Dagma, Given, Golem, Init, Mat, Mechanism, Noise, Notears, Sample, Score, Simulation, Topo, TopoError,
    compare, made_acyclic, topological_order,
};

use super::picture;
use crate::bench::Finding;

/// Weights of a method on a covariance matrix.
type Fit = fn(&Mat<f64>) -> Result<Mat<f64>, TopoError>;

/// The continuous methods, with their official defaults.
const CONTINUOUS: [(&str, Fit); 3] = [
    ("NOTEARS", |s| Notears::default().fit(s)),
    ("DAGMA", |s| Dagma { lambda: 0.02, ..Dagma::default() }.fit(s)),
    ("GOLEM", |s| Golem::default().fit(s)),
];

/// Topological swaps beside the continuous methods on one simulated graph, raw and standardised.
pub fn stop() -> Result<Finding> {
    let simulation = Simulation {
        family: "er:2".parse()?,
        dim: 12,
        samples: 1000,
        noise: Noise::GaussEv,
        mechanism: Mechanism::Linear,
    };
    let (truth, raw) = simulation.run(Seed(1))?;
    let given = Given::seed(1);
    let random = Topo { init: Init::Random, ..Topo::default() };
    let order_score = |order: &[usize], sample: &Sample| -> Result<f64> {
        Ok(Topo::default().fit_from(order, sample, &given)?.trace[0])
    };
    let mut table = Table::new(["method", "score of its order", "SHD", "SHD, standardised", "seconds"]);
    let (mut bars, mut data, mut polished) = (Vec::new(), Vec::new(), true);
    let mut add = |name: &str, score: f64, shd: usize, other: usize, seconds: f64| {
        table.row([
            name.to_owned(),
            format!("{score:.4}"),
            shd.to_string(),
            other.to_string(),
            format!("{seconds:.4}"),
        ]);
        bars.push((name.to_owned(), shd as f64, other as f64));
        data.push(json!({ "method": name, "score": score, "shd": shd, "shd_standardised": other, "seconds": seconds }));
    };
    let standardised = raw.standardised();
    for (name, fit) in CONTINUOUS {
        let clock = Instant::now();
        let w = fit(&raw.covariance())?;
        let seconds = clock.elapsed().as_secs_f64();
        let (w, _) = made_acyclic(&w);
        let order = topological_order(&w).unwrap_or_default();
        let score = order_score(&order, &raw)?;
        let other = made_acyclic(&fit(&standardised.covariance())?).0;
        add(name, score, compare(&truth, &w)?.shd, compare(&truth, &other)?.shd, seconds);
        let clock = Instant::now();
        let after = Topo::default().polish(&w, &raw, &given)?.learned;
        let seconds = seconds + clock.elapsed().as_secs_f64();
        polished &= after.score <= score + 1e-9;
        let again = Topo::default().polish(&other, &standardised, &given)?.learned;
        let (shd, other) = (compare(&truth, &after.graph)?.shd, compare(&truth, &again.graph)?.shd);
        add(&format!("{name}, then swaps"), after.score, shd, other, seconds);
    }
    let clock = Instant::now();
    let swaps = random.fit(&raw, &given)?;
    let seconds = clock.elapsed().as_secs_f64();
    let other = random.fit(&standardised, &given)?;
    let (shd, wrong) = (compare(&truth, &swaps.graph)?.shd, compare(&truth, &other.graph)?.shd);
    add("swaps from a random order", swaps.score, shd, wrong, seconds);
    let bic = Topo { score: Score::Bic(2.0), ..Topo::default() };
    let clock = Instant::now();
    let learned = bic.fit(&raw, &given)?;
    let seconds = clock.elapsed().as_secs_f64();
    let other = bic.fit(&standardised, &given)?;
    let class = compare(&truth, &other.graph)?.cpdag_shd;
    let score = order_score(&learned.order, &raw)?;
    add(
        "swaps with BIC",
        score,
        compare(&truth, &learned.graph)?.shd,
        compare(&truth, &other.graph)?.shd,
        seconds,
    );

    let split = |second: bool| -> Vec<(String, f64, f64)> {
        bars.iter().map(|b| (b.0.clone(), if second { b.2 } else { b.1 }, 0.0)).collect()
    };
    let figure = Figure::new("Structural Hamming distance")
        .y_label("edges wrong, missing or reversed")
        .size(760.0, 460.0)
        .bars("raw data", &split(false))
        .bars("standardised", &split(true));
    let arcs = picture::arcs("The graph that swaps found", &swaps.order, &swaps.graph, Some(&truth));
    Ok(Finding {
        name: "topo",
        title: "TOPO: acyclic graphs by topological swaps".into(),
        text: "A random graph of 12 variables and 24 edges, 1000 samples with equal noise variances. On raw data the \
               variances give the order away; standardising takes that away, and least squares with it: BIC is what \
               remains."
            .into(),
        table,
        figures: vec![
            (arcs, "Edges along the order found: above the line those of the true graph, below those it has not.".into()),
            (figure, "Lower is better.".into()),
        ],
        marks: vec![
            ("no swap makes the score of another method's order worse".into(), polished),
            (format!("BIC on standardised data is within 2 of the true equivalence class ({class})"), class <= 2),
        ],
        data: json!(data),
    })
}
