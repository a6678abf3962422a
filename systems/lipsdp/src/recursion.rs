//! The anytime first-order bound: the tight program's value as an unconstrained convex function of
//! log λ, minimised by L-BFGS. No matrix is larger than a layer.
//!
//! Backwards from P = I at the output, for a block with output `N_h h + N_r r` and gain D:
//!
//! ```text
//! K = Λ − N_rᵀ P N_r ≻ 0,   F = K⁻¹ N_rᵀ P N_h,   S = N_hᵀ P (N_h + N_r F) + Dᵀ Λ D
//! ```
//!
//! r = F h is the worst remainder, so by the envelope theorem a change of S is that of P seen
//! through N_h + N_r F plus that of Λ times |Dh|² − |Fh|². The bound is √λ_max(P) at the input,
//! smoothed as (tr P^q)^{1/2q} with q = 10, 60, 400.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use faer::Mat;
use thalweg_core::{Run, Seed, Stop};
use thalweg_linalg::dense::{Eigen, congruence, product, scale_rows, solve, symmetric};
use thalweg_optim::Lbfgs;
use thalweg_optim::functions::Function;

use crate::LipError;
use crate::certificate::Multipliers;
use crate::constraint::{Form, Step};
use crate::network::{Block, Network};

/// Exponents of the smoothed norm, in turn.
const POWERS: [f64; 3] = [10.0, 60.0, 400.0];

/// Multipliers after at most `evaluations`, or `limit` of time, from a feasible `start`.
pub(crate) fn descend(
    net: &Network,
    start: &Multipliers,
    evaluations: u64,
    limit: Duration,
) -> Result<(Multipliers, f64, u64), LipError> {
    let value = Value::new(net)?;
    // λ_max(P) and log λ of the best point seen. The start is one; without multipliers it is all there is.
    let logs: Vec<f64> = start.layers.iter().flatten().map(|p| p.ln()).collect();
    let first = value.evaluate(&logs, POWERS[0]).map_or(f64::INFINITY, |found| found.0);
    let powers = if logs.is_empty() { &[][..] } else { &POWERS[..] };
    let best = RefCell::new((first, logs));
    let clock = Instant::now();
    let mut spent = 1;
    for &power in powers {
        let left = limit.saturating_sub(clock.elapsed());
        if left.is_zero() {
            break;
        }
        let smoothed = |logs: &[f64], grad: &mut [f64]| match value.evaluate(logs, power) {
            Some((top, value, gradient)) => {
                if top < best.borrow().0 {
                    best.replace((top, logs.to_vec()));
                }
                grad.copy_from_slice(&gradient);
                value
            }
            // Outside the domain: the line search backs off.
            None => {
                grad.fill(0.0);
                f64::INFINITY
            }
        };
        // Every stage starts at the best point so far.
        let from = best.borrow().1.clone();
        let mut problem = Function::new(smoothed, from);
        let method = Lbfgs { history: 20, tolerance: 1e-9, ..Lbfgs::default() };
        let run = Run::new(&method, &mut problem)
            .seed(Seed(0))
            .stop(Stop::Evaluations(evaluations.div_ceil(POWERS.len() as u64)))
            .stop(Stop::Time(left));
        // A search that ends early keeps its best point.
        spent += run.run().map_or(0, |done| done.evaluations);
    }
    let (bound, logs) = best.into_inner();
    if !bound.is_finite() {
        return Err(LipError::NoStart);
    }
    let mut p = logs.iter().map(|u: &f64| u.exp());
    let layers = start.layers.iter().map(|l| p.by_ref().take(l.len()).collect()).collect();
    Ok((Multipliers { input: vec![bound], output: Vec::new(), layers }, bound.sqrt(), spent))
}

/// The value function P of a network.
struct Value {
    /// Affine maps, and the steps of activations, from the input.
    blocks: Vec<Result<Mat<f64>, Local>>,
    outputs: usize,
}

/// One step in the coordinates (h, r) of its input and its remainder.
struct Local {
    next_h: Mat<f64>,
    next_r: Mat<f64>,
    gain: Mat<f64>,
    gain_owner: Vec<usize>,
    rest_owner: Vec<usize>,
    /// First multiplier.
    at: usize,
}

impl Value {
    fn new(net: &Network) -> Result<Self, LipError> {
        let mut width = net.inputs();
        let mut at = 0;
        let mut blocks = Vec::new();
        for block in net.blocks() {
            blocks.push(match (block, Step::new(block, width, Form::Tight)?) {
                (Block::Affine(a), _) => Ok(a.weight.clone()),
                (Block::Equilibrium { .. }, _) | (_, None) => {
                    let why = "is for feed-forward and residual networks";
                    return Err(LipError::not_applicable("the first-order bound", why, "`bound` neuron"));
                }
                (_, Some(s)) => {
                    let base = at;
                    at += s.count;
                    Err(Local {
                        next_h: s.next.mid.subcols(0, width).to_owned(),
                        next_r: s.next.mid.subcols(width, s.inner).to_owned(),
                        gain: s.gain.mid.subcols(0, width).to_owned(),
                        gain_owner: s.gain_owner,
                        rest_owner: s.rest_owner,
                        at: base,
                    })
                }
            });
            width = block.outputs(width);
        }
        Ok(Self { blocks, outputs: width })
    }

    /// λ_max(P), log (tr P^q)^{1/q} and the gradient of that; `None` outside the domain.
    fn evaluate(&self, logs: &[f64], power: f64) -> Option<(f64, f64, Vec<f64>)> {
        let p: Vec<f64> = logs.iter().map(|u| u.exp()).collect();
        let mut value = Mat::identity(self.outputs, self.outputs);
        // N_h + N_r F and F of every step, from the output.
        let mut worst = Vec::new();
        for block in self.blocks.iter().rev() {
            match block {
                Ok(w) => value = congruence(w, &value),
                Err(s) => {
                    let pr = product(&value, &s.next_r);
                    let mut k = symmetric(&product(s.next_r.transpose(), &pr)) * faer::Scale(-1.0);
                    for (i, o) in s.rest_owner.iter().enumerate() {
                        k[(i, i)] += p[s.at + o];
                    }
                    let f = solve(&k, product(pr.transpose(), &s.next_h))?;
                    let through = &s.next_h + product(&s.next_r, &f);
                    let weighted = scale_rows(&s.gain, |i| p[s.at + s.gain_owner[i]]);
                    let own = product(s.gain.transpose(), weighted);
                    value = symmetric(&(product(s.next_h.transpose(), product(&value, &through)) + own));
                    worst.push((f, through));
                }
            }
        }
        let e = Eigen::new(&value).ok()?;
        let n = value.nrows();
        let top = e.values[n - 1];
        if !(top > 0.0 && top.is_finite()) {
            return None;
        }
        let powers: Vec<f64> = (0..n).map(|i| (e.values[i].max(0.0) / top).powf(power)).collect();
        let total: f64 = powers.iter().sum();
        // ∂/∂P = V diag(λ^(q−1)/Σλ^q) Vᵀ.
        let weight = |i: usize| powers[i] / (e.values[i].max(top * 1e-300) * total);
        let scaled = Mat::from_fn(n, n, |i, j| e.vectors[(i, j)] * weight(j));
        let mut g = symmetric(&product(scaled, e.vectors.transpose()));
        let mut gradient = vec![0.0; p.len()];
        let mut worst = worst.into_iter().rev();
        for block in &self.blocks {
            match block {
                Ok(w) => g = congruence(&w.transpose().to_owned(), &g),
                Err(s) => {
                    let (f, through) = worst.next()?;
                    let diagonal = |rows: &Mat<f64>, k: usize, rg: &Mat<f64>| -> f64 {
                        (0..rows.ncols()).map(|j| rows[(k, j)] * rg[(k, j)]).sum()
                    };
                    let (dg, fg) = (product(&s.gain, &g), product(&f, &g));
                    for (k, o) in s.gain_owner.iter().enumerate() {
                        gradient[s.at + o] += diagonal(&s.gain, k, &dg);
                    }
                    for (k, o) in s.rest_owner.iter().enumerate() {
                        gradient[s.at + o] -= diagonal(&f, k, &fg);
                    }
                    g = congruence(&through.transpose().to_owned(), &g);
                }
            }
        }
        gradient.iter_mut().zip(&p).for_each(|(g, p)| *g *= p);
        Some((top, top.ln() + total.ln() / power, gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Affine};

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        for act in ["relu", "leaky:0.1", "maxmin"] {
            let layer = |s: f64, rows: usize, columns: usize| {
                let entry = |i: usize, j: usize| ((i * 7 + j * 3) as f64 * s).sin() / 2.0;
                Affine::linear(Mat::from_fn(rows, columns, entry))
            };
            let act: Activation = act.parse().unwrap();
            let net = Network::feedforward(vec![layer(1.0, 4, 3), layer(0.7, 4, 4), layer(1.3, 2, 4)], &act)
                .unwrap();
            let at = match act {
                Activation::GroupSort { .. } => vec![vec![20.0, 22.0], vec![9.0, 8.0]],
                _ => vec![vec![20.0, 22.0, 18.0, 24.0], vec![9.0, 8.0, 10.0, 11.0]],
            };
            let at: Vec<f64> = at.iter().flatten().map(|p: &f64| p.ln()).collect();
            let value = Value::new(&net).unwrap();
            let (.., gradient) = value.evaluate(&at, POWERS[0]).unwrap();
            for i in 0..at.len() {
                let along = |h: f64| {
                    let mut at = at.clone();
                    at[i] += h;
                    value.evaluate(&at, POWERS[0]).unwrap().1
                };
                let slope = (along(1e-5) - along(-1e-5)) / 2e-5;
                assert!((slope - gradient[i]).abs() < 1e-7, "{i}: {slope} and {}", gradient[i]);
            }
        }
    }
}
