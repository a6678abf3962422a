//! A hop is a gradient step, up to three parts, each with its rate.

use anyhow::{Context, Result, bail};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use thalweg::cbo::theory::{Perturbation, perturbation};
use thalweg::core::Seed;
use thalweg::optim::functions::{TestFunction, by_name};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::Own;
use crate::claim::Options;
use crate::measure::exponent;

/// Each part of the perturbation against the parameter that drives it.
#[derive(Args, Clone)]
#[command(after_help = "Examples:
  thalweg-claims cbo theorem --function quartic --dim 2
  thalweg-claims cbo theorem --function quartic --dim 5 --points 10 --json
  thalweg-claims cbo theorem --function grandcanyon3 --points 20")]
pub struct Theorem {
    /// A smooth test function
    #[arg(long, default_value = "quartic")]
    function: String,
    /// Numbers of unknowns [default: 2,5; of grandcanyon3, which has two, 2]
    #[arg(long, value_delimiter = ',')]
    dim: Vec<usize>,
    /// Steps τ = ασ̃²; the rates are those of steps in which f varies little: a larger one leaves the weights to a
    /// few points, and the exponents are others [default: 0.001,0.002,0.004,0.008; of grandcanyon3 a hundredth]
    #[arg(long, value_delimiter = ',')]
    tau: Vec<f64>,
    /// Inverse temperatures
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    alpha: Vec<f64>,
    /// Points per hop
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000")]
    particles: Vec<usize>,
    /// Points x from which a hop is made, uniform in [−1, 1]
    #[arg(long, default_value_t = 100)]
    points: u64,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

impl Own for Theorem {
    fn options(&self) -> &Options {
        &self.options
    }

    fn measure(&self) -> Result<Finding> {
        let filled = self.filled();
        filled.check()?;
        filled.finding()
    }
}

impl Theorem {
    /// With the dimensions and steps that suit the function, where none are given.
    fn filled(&self) -> Self {
        let canyon = self.function.starts_with("grandcanyon3");
        let (dim, scale) = if canyon { (vec![2], 1e-5) } else { (vec![2, 5], 1e-3) };
        let tau = [1.0, 2.0, 4.0, 8.0].map(|t| t * scale).to_vec();
        let mut filled = self.clone();
        filled.dim = if self.dim.is_empty() { dim } else { filled.dim };
        filled.tau = if self.tau.is_empty() { tau } else { filled.tau };
        filled
    }

    fn finding(&self) -> Result<Finding> {
        let mut table =
            Table::new(["function", "part", "over", "lengths (root mean square)", "exponent", "expected"]);
        let (mut data, mut figures, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for &dim in &self.dim {
            let f = by_name(&self.function, dim)?;
            let rates = self.rates(&f, dim)?;
            let expected = ["-0.5 ± 0.05", "-0.5 or less", "2 ± 0.1"];
            let e: Vec<f64> = rates.iter().map(|r| r.exponent).collect();
            let holds = [(e[0] + 0.5).abs() <= 0.05, e[1] <= -0.45, (e[2] - 2.0).abs() <= 0.1];
            for ((r, expected), holds) in rates.iter().zip(expected).zip(holds) {
                let name = format!("{}, d = {dim}", f.name());
                let lengths: Vec<String> = r.lengths.iter().map(|(x, l)| format!("{x}: {l:.2e}")).collect();
                let exponent = format!("{:.3}", r.exponent);
                table.row([&name, r.part, r.parameter, &lengths.join("  "), &exponent, expected]);
                marks.push((format!("{name}, {}: exponent {expected} in {}", r.part, r.parameter), holds));
                if dim == self.dim[0] {
                    let figure = Figure::new(r.part).x_label(r.parameter).y_label("length").log_x().log_y();
                    figures.push((figure.line(r.part, &r.lengths), String::new()));
                }
            }
            data.push(json!({ "dim": dim, "rates": rates }));
        }
        Ok(Finding {
            name: "theorem",
            title: "A hop is a gradient step, up to three parts".into(),
            text: format!(
                "Root mean squares over {} points, uniform in [−1, 1]ᵈ. Monte-Carlo part at α = {}, τ = {}; part of \
                 finite α at τ = {1}; implicit against explicit step over τ.",
                self.points,
                self.alpha[0],
                self.middle()
            ),
            table,
            figures,
            marks,
            data: Value::Array(data),
        })
    }
}

/// A part of the perturbation along one parameter.
#[derive(Serialize)]
struct Rate {
    part: &'static str,
    parameter: &'static str,
    lengths: Vec<(f64, f64)>,
    exponent: f64,
}

impl Theorem {
    fn check(&self) -> Result<()> {
        if [self.dim.len(), self.tau.len(), self.alpha.len(), self.particles.len()].contains(&0)
            || self.points == 0
        {
            bail!("theorem needs at least one point, dim, τ, α and number of particles");
        }
        for (name, all) in [("tau", &self.tau), ("alpha", &self.alpha)] {
            if let Some(bad) = all.iter().find(|x| !(**x > 0.0 && x.is_finite())) {
                bail!("{name} = {bad} is not allowed; use numbers > 0");
            }
        }
        if self.particles.contains(&0) {
            bail!("particles = 0 is not allowed; use at least 1");
        }
        Ok(())
    }

    /// The τ at which the other parameters vary.
    fn middle(&self) -> f64 {
        self.tau[self.tau.len() / 2]
    }

    /// The three rates. Parameters that do not vary are in the middle of their lists; α, and the particles of the
    /// parts that do not see them, are the smallest: the weights stay even.
    fn rates(&self, f: &TestFunction, dim: usize) -> Result<Vec<Rate>> {
        let (tau, alpha, few) = (self.middle(), self.alpha[0], self.particles[0]);
        let mean = |tau, alpha, n, part| self.mean(f, dim, (tau, alpha, n), part);
        let rate = |part, parameter, lengths: Vec<(f64, f64)>| {
            let exponent = exponent(&lengths);
            Rate { part, parameter, lengths, exponent }
        };
        let over_n = self.particles.iter().map(|&n| Ok((n as f64, mean(tau, alpha, n, |p| p.monte_carlo)?)));
        let over_alpha = self.alpha.iter().map(|&a| Ok((a, mean(tau, a, few, |p| p.laplace)?)));
        let over_tau = self.tau.iter().map(|&t| Ok((t, mean(t, alpha, few, |p| p.implicit)?)));
        Ok(vec![
            rate("Monte Carlo", "particles", over_n.collect::<Result<_>>()?),
            rate("finite α", "α", over_alpha.collect::<Result<_>>()?),
            rate("implicit against explicit", "τ", over_tau.collect::<Result<_>>()?),
        ])
    }

    /// Root mean square of a part over the points.
    fn mean(
        &self,
        f: &TestFunction,
        dim: usize,
        (tau, alpha, particles): (f64, f64, usize),
        part: fn(&Perturbation) -> f64,
    ) -> Result<f64> {
        use rand::RngExt;
        let length = |k: u64| {
            let mut rng = Seed(self.seed).stream("points", k);
            let x: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            let seed = Seed(self.seed.wrapping_add(k));
            let parts = perturbation(&|x| f.value(x), &x, tau, alpha, particles, seed)?;
            Ok(part(&parts.context("the function has no value there")?))
        };
        let lengths = (0..self.points).into_par_iter().map(length).collect::<Result<Vec<f64>>>()?;
        Ok((lengths.iter().map(|l| l * l).sum::<f64>() / self.points as f64).sqrt())
    }
}
