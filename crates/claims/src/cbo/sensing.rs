//! Compressed sensing with a gradient drift: the published success rates.

use anyhow::Result;
use rand::seq::index;
use rayon::prelude::*;
use serde_json::{Value, json};
use thalweg::cbo::alpha::Alpha;
use thalweg::cbo::method::cbo::{GradientDrift, Memory};
use thalweg::cbo::{Cbo, SearchProblem, Space};
use thalweg::core::{Run, Seed, Stop, normal};
use thalweg::linalg::dense;
use thalweg::optim::blackbox::BlackBox;
use thalweg::plot::Table;
use thalweg::tasks::Finding;

use crate::claim::Options;
use crate::sources::shared_file;

const DIM: usize = 50;
const RUNS: u64 = 100;
/// Measurements, strength of the drift, published rate.
const CELLS: &[(usize, f64)] = &[(8, 0.0), (8, 0.5), (8, 1.0), (16, 0.0), (16, 0.5), (16, 1.0), (30, 1.0)];

/// |Ax − y|² + ¼ |x|₁ for a sparse truth of ±1.
struct Sensing {
    a: Vec<f64>,
    y: Vec<f64>,
    truth: Vec<f64>,
}

impl Sensing {
    fn random(measurements: usize, sparsity: usize, seed: Seed) -> Self {
        let mut rng = seed.stream("sensing", 0);
        let mut a = vec![0.0; measurements * DIM];
        normal(&mut rng, &mut a);
        a.iter_mut().for_each(|a| *a /= (measurements as f64).sqrt());
        let (mut truth, mut entries) = (vec![0.0; DIM], vec![0.0; sparsity]);
        normal(&mut rng, &mut entries);
        for (j, e) in index::sample(&mut rng, DIM, sparsity).iter().zip(&entries) {
            truth[j] = f64::signum(*e);
        }
        let y = product(&a, &truth);
        Self { a, y, truth }
    }

    fn residual(&self, x: &[f64]) -> Vec<f64> {
        product(&self.a, x).iter().zip(&self.y).map(|(p, y)| p - y).collect()
    }

    /// Relative error after entries below 0.01 are dropped and the others fitted.
    fn error(&self, x: &[f64]) -> f64 {
        let support: Vec<usize> = (0..DIM).filter(|&j| x[j].abs() >= 0.01).collect();
        if support.is_empty() || support.len() > self.y.len() {
            return f64::INFINITY;
        }
        let a = faer::Mat::from_fn(self.y.len(), support.len(), |i, k| self.a[i * DIM + support[k]]);
        let y = faer::Mat::from_fn(self.y.len(), 1, |i, _| self.y[i]);
        let Ok(inverse) = dense::pseudo_inverse(&a) else { return f64::INFINITY };
        let fit = dense::product(&inverse, &y);
        let mut x = vec![0.0; DIM];
        support.iter().enumerate().for_each(|(k, &j)| x[j] = fit[(k, 0)]);
        let square = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
        (square(&x, &self.truth) / square(&self.truth, &[0.0; DIM])).sqrt()
    }
}

fn product(a: &[f64], x: &[f64]) -> Vec<f64> {
    a.chunks_exact(DIM).map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect()
}

impl BlackBox for Sensing {
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        for (x, v) in points.chunks_exact(dim).zip(values) {
            let fit: f64 = self.residual(x).iter().map(|r| r * r).sum();
            *v = fit + 0.25 * x.iter().map(|x| x.abs()).sum::<f64>();
        }
    }

    fn gradients(&self, points: &[f64], dim: usize, gradients: &mut [f64]) -> bool {
        for (x, g) in points.chunks_exact(dim).zip(gradients.chunks_exact_mut(dim)) {
            g.iter_mut().zip(x).for_each(|(g, x)| *g = if *x == 0.0 { 0.0 } else { 0.25 * x.signum() });
            for (row, r) in self.a.chunks_exact(DIM).zip(self.residual(x)) {
                g.iter_mut().zip(row).for_each(|(g, a)| *g += 2.0 * r * a);
            }
        }
        true
    }
}

/// Success rates by measurements and drift for three sparsities, of which the file records none.
pub fn sensing(options: &Options) -> Result<Finding> {
    let file = "cbo/phase_cs_p10div10_d50_anisotropic11_alpha100_beta-1_N10_sigma10div100.csv.gz";
    let rows = super::published(&shared_file(file)?)?;
    let mut table = Table::new(["measurements", "γ", "published", "s = 2", "s = 3", "s = 4"]);
    let (mut data, mut errors) = (Vec::new(), [0.0f64; 3]);
    for &(measurements, gamma) in CELLS {
        let published = super::cell(&rows, measurements as f64, gamma)?;
        let mut cells = vec![measurements.to_string(), gamma.to_string(), format!("{published:.2}")];
        for (k, sparsity) in [2, 3, 4].into_iter().enumerate() {
            let rate = rate(measurements, sparsity, gamma)?;
            errors[k] = errors[k].max((rate - published).abs());
            cells.push(format!("{rate:.2}"));
            data.push(json!({ "measurements": measurements, "gamma": gamma, "sparsity": sparsity, "rate": rate, "published": published }));
        }
        options.host().note(format!("  {}", cells.join("  ")));
        table.row(cells);
    }
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Finding {
        name: "sensing",
        title: "Compressed sensing with a gradient drift".into(),
        text: format!(
            "|Ax − y|² + ¼|x|₁, d = {DIM}, ten particles with memory, no noise, α = 100, Δt = 0.02, 1000 steps, {RUNS} runs. \
             The sparsity s of the published rates is not recorded; entries ±1 are assumed."
        ),
        table,
        figures: Vec::new(),
        marks: vec![(
            format!("for one sparsity all rates are within 0.15 of the published ones ({best:.2})"),
            best <= 0.15,
        )],
        data: Value::Array(data),
    })
}

fn rate(measurements: usize, sparsity: usize, gamma: f64) -> Result<f64> {
    let cbo = Cbo {
        particles: 10,
        dt: 0.02,
        noise_ratio: 0.0,
        alpha: Alpha::Fixed(100.0),
        memory: Some(Memory { lambda: 0.0, ..Memory::default() }),
        gradient: Some(GradientDrift { gamma, eta: 1.0, difference: None }),
        ..Cbo::default()
    };
    let space = Space::around(vec![0.0; DIM], 1.0);
    let hit = |k| {
        let problem = Sensing::random(measurements, sparsity, Seed(k));
        let mut search = SearchProblem::new(&space, &problem);
        let run = Run::new(&cbo, &mut search).seed(Seed(k)).stop(Stop::Steps(1000));
        let answer = run.stop(Stop::Evaluations(20_000)).run()?.solution;
        Ok(usize::from(problem.error(&answer.consensus) < 1e-12))
    };
    let hits = (0..RUNS).into_par_iter().map(hit).collect::<Result<Vec<usize>>>()?;
    Ok(hits.iter().sum::<usize>() as f64 / RUNS as f64)
}
