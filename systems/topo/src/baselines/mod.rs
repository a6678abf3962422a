//! Continuous methods whose graphs can be improved: NOTEARS, DAGMA and GOLEM, linear, from the
//! covariance matrix `s`. All return weights `[(from, to)]` with the small ones set to 0.

mod dagma;
mod golem;
mod notears;

use faer::Mat;
use thalweg_linalg::dense::product;

pub use dagma::Dagma;
pub use golem::Golem;
pub use notears::Notears;

use crate::walks::{exponential, trace};

/// ½ tr((I − W)ᵀ S (I − W)) and S (W − I).
fn squares(s: &Mat<f64>, w: &Mat<f64>) -> (f64, Mat<f64>) {
    let d = s.nrows();
    let residual = Mat::from_fn(d, d, |i, j| f64::from(i == j) - w[(i, j)]);
    let g = product(s, &residual);
    let value = 0.5 * (0..d).map(|j| (0..d).map(|i| residual[(i, j)] * g[(i, j)]).sum::<f64>()).sum::<f64>();
    (value, Mat::from_fn(d, d, |i, j| -g[(i, j)]))
}

fn squared(w: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(w.nrows(), w.ncols(), |i, j| w[(i, j)] * w[(i, j)])
}

/// tr exp(W∘W) − d and its gradient.
fn cycles(w: &Mat<f64>) -> (f64, Mat<f64>) {
    let d = w.nrows();
    let e = exponential(&squared(w));
    (trace(&e) - d as f64, Mat::from_fn(d, d, |i, j| 2.0 * w[(i, j)] * e[(j, i)]))
}

/// Adam (Kingma and Ba 2015) on a matrix.
struct Adam {
    m: Mat<f64>,
    v: Mat<f64>,
    betas: (f64, f64),
    t: i32,
}

impl Adam {
    fn new(d: usize, betas: (f64, f64)) -> Self {
        Self { m: Mat::zeros(d, d), v: Mat::zeros(d, d), betas, t: 0 }
    }

    /// The step to subtract, for a learning rate of 1; none on the diagonal.
    fn step(&mut self, g: &Mat<f64>) -> Mat<f64> {
        self.t += 1;
        let (b1, b2) = self.betas;
        let (c1, c2) = (1.0 - b1.powi(self.t), 1.0 - b2.powi(self.t));
        let d = g.nrows();
        let (m, v) = (&mut self.m, &mut self.v);
        Mat::from_fn(d, d, |i, j| {
            let g = g[(i, j)];
            m[(i, j)] = b1 * m[(i, j)] + (1.0 - b1) * g;
            v[(i, j)] = b2 * v[(i, j)] + (1.0 - b2) * g * g;
            if i == j { 0.0 } else { m[(i, j)] / c1 / ((v[(i, j)] / c2).sqrt() + 1e-8) }
        })
    }
}

/// Steps between two looks at convergence.
const LOOK: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::topological_order;
    use crate::metrics::compare;
    use crate::simulate::{Mechanism, Noise, Simulation};
    use thalweg_core::Seed;

    fn small() -> (Mat<f64>, Mat<f64>) {
        let s = Simulation {
            family: "er:1".parse().unwrap(),
            dim: 8,
            samples: 1000,
            noise: Noise::GaussEv,
            mechanism: Mechanism::Linear,
        };
        let (w, x) = s.run(Seed(4)).unwrap();
        (w, x.covariance())
    }

    #[test]
    fn each_finds_a_small_sparse_graph() {
        let (truth, s) = small();
        let golem = Golem { equal_variances: false, max_steps: 20_000, ..Golem::default() };
        for (name, w) in [
            ("notears", Notears::default().fit(&s)),
            ("dagma", Dagma::default().fit(&s)),
            ("golem-ev", Golem::default().fit(&s)),
            ("golem-nv", golem.fit(&s)),
        ] {
            let w = w.unwrap();
            assert!(topological_order(&w).is_some(), "{name}");
            let m = compare(&truth, &w).unwrap();
            assert!(m.shd <= 1, "{name}: {m:?}");
        }
    }

    #[test]
    fn the_gradient_of_cycles_is_that_of_finite_differences() {
        let w = thalweg_testing::gaussian(4, 4, 3);
        let (h, g) = cycles(&w);
        for at in [(0, 1), (2, 3), (3, 0)] {
            let mut moved = w.clone();
            moved[at] += 1e-6;
            let slope = (cycles(&moved).0 - h) / 1e-6;
            assert!((slope / g[at] - 1.0).abs() < 1e-4);
        }
    }
}
