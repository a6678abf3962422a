//! A classifier of digits without backpropagation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;
use thalweg::cbo::{Alpha, Batches, Cbo, CboSwarm, Limits, Space, search};
use thalweg::core::Seed;
use thalweg::data::{Dataset, Targets, Values, digits};
use thalweg::plot::{Figure, Table};

use crate::bench::{Finding, Options};

const CLASSES: usize = 10;
const INPUTS: usize = 64;
/// Weights and biases.
const DIM: usize = (INPUTS + 1) * CLASSES;
/// Images and particles per batch.
const IMAGES: usize = 60;
const SIZE: usize = 10;
const PARTICLES: usize = 100;
const EPOCHS: usize = 60;

/// Pixels in [0, 1] and labels.
struct Images {
    x: Vec<f64>,
    labels: Vec<usize>,
}

impl Images {
    fn of(set: &Dataset) -> Result<Self> {
        let (Values::Bytes(x), Targets::Classes { labels, .. }) = (&set.x, &set.targets) else {
            bail!("the digits are bytes with classes");
        };
        let x = x.iter().map(|&x| f64::from(x) / 16.0).collect();
        Ok(Self { x, labels: labels.iter().map(|&l| l as usize).collect() })
    }

    /// Softmax regression: cross-entropy over images `from..to`, their hits; adds the gradient.
    fn score(&self, w: &[f64], from: usize, to: usize, mut gradient: Option<&mut [f64]>) -> (f64, usize) {
        let (mut loss, mut hits) = (0.0, 0);
        for i in from..to {
            let x = &self.x[i * INPUTS..(i + 1) * INPUTS];
            let mut p = [0.0; CLASSES];
            for (c, p) in p.iter_mut().enumerate() {
                let row = &w[c * (INPUTS + 1)..(c + 1) * (INPUTS + 1)];
                *p = row[INPUTS] + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            }
            let top = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            hits += usize::from(p[self.labels[i]] == top);
            p.iter_mut().for_each(|p| *p = (*p - top).exp());
            let total: f64 = p.iter().sum();
            loss -= (p[self.labels[i]] / total).ln();
            if let Some(g) = gradient.as_deref_mut() {
                for c in 0..CLASSES {
                    let slope = p[c] / total - f64::from(u8::from(c == self.labels[i]));
                    let row = &mut g[c * (INPUTS + 1)..(c + 1) * (INPUTS + 1)];
                    row.iter_mut().zip(x).for_each(|(g, x)| *g += slope * x);
                    row[INPUTS] += slope;
                }
            }
        }
        (loss / (to - from) as f64, hits)
    }

    fn accuracy(&self, w: &[f64]) -> f64 {
        self.score(w, 0, self.labels.len(), None).1 as f64 / self.labels.len() as f64
    }
}

/// CBO with random batches and cooling beside gradient descent, by evaluations of images.
pub fn learning(options: &Options) -> Result<Finding> {
    let (train, test) = digits();
    let (train, test) = (Images::of(&train)?, Images::of(&test)?);
    let data_batches = train.labels.len() / IMAGES;
    let steps = data_batches * PARTICLES / SIZE;
    let cbo = Cbo {
        particles: PARTICLES,
        sigma: Some(0.4f64.sqrt()),
        alpha: Alpha::Fixed(50.0),
        cool_every: Some(steps as u64),
        batches: Some(Batches { size: SIZE, ..Batches::default() }),
        ..Cbo::default()
    };
    let space = Space::around(vec![0.0; DIM], 1.0);
    let mut swarm = CboSwarm::new(cbo, space.clone(), Seed(1));
    // All particle batches of a cloud see the same images.
    let step = AtomicUsize::new(0);
    let f = |w: &[f64]| {
        let batch = step.load(Ordering::Relaxed) * SIZE / PARTICLES % data_batches;
        train.score(w, batch * IMAGES, (batch + 1) * IMAGES, None).0
    };
    let iterations = (EPOCHS * steps) as u64;
    let limits = Limits { max_evals: u64::MAX, max_iters: Some(iterations), ..Limits::default() };
    let clock = Instant::now();
    let mut curve = Vec::new();
    let answer = search(&mut swarm, &space, &f, &limits, &mut |s| {
        step.store(s.record.iteration as usize, Ordering::Relaxed);
        if (s.record.iteration as usize).is_multiple_of(steps) {
            let accuracy = test.accuracy(s.consensus);
            options.common.note(format!("  epoch {}: {accuracy:.4}", s.record.iteration as usize / steps));
            curve.push((s.record.evals as f64 * IMAGES as f64, accuracy));
        }
    })?;
    let (ours, seconds) = (test.accuracy(&answer.consensus), clock.elapsed().as_secs_f64());

    let clock = Instant::now();
    let (mut w, mut descent, n) = (vec![0.0; DIM], Vec::new(), train.labels.len());
    for k in 1..=300 {
        let mut g = vec![0.0; DIM];
        train.score(&w, 0, n, Some(&mut g));
        w.iter_mut().zip(&g).for_each(|(w, g)| *w -= 0.5 * g / n as f64);
        descent.push(((k * n) as f64, test.accuracy(&w)));
    }
    let theirs = test.accuracy(&w);
    let mut table = Table::new(["method", "test accuracy", "images evaluated", "seconds"]);
    let row = |name: &str, accuracy: f64, images: f64, seconds: f64| {
        [name.into(), format!("{accuracy:.4}"), format!("{images:.2e}"), format!("{seconds:.1}")]
    };
    table.row(row("CBO, no gradient", ours, answer.evals as f64 * IMAGES as f64, seconds));
    table.row(row("gradient descent", theirs, (300 * n) as f64, clock.elapsed().as_secs_f64()));
    let figure =
        Figure::new("Digits without backpropagation").x_label("images evaluated").y_label("test accuracy");
    Ok(Finding {
        name: "learning",
        title: "Digits without backpropagation".into(),
        text: format!(
            "Softmax regression on the embedded 8 × 8 digits, {DIM} unknowns; {PARTICLES} particles in batches of {SIZE}, \
             {IMAGES} images per batch, {EPOCHS} epochs, α and σ cooled per epoch. Gradient descent: 300 full steps of 0.5."
        ),
        table,
        figures: vec![(figure.log_x().line("CBO", &curve).line("gradient descent", &descent), String::new())],
        marks: vec![(
            format!("CBO learns without a gradient: more than 85 % ({:.1} %)", 100.0 * ours),
            ours > 0.85,
        )],
        data: json!({ "cbo": ours, "gradient_descent": theirs, "seconds": seconds }),
    })
}
