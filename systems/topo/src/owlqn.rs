//! Minimisation of a smooth function plus Σ λ_i |x_i|: orthant-wise L-BFGS (Andrew and Gao 2007).

use thalweg_linalg::quasi_newton::Pairs;
use thalweg_linalg::vector::dot_in_turn as dot;

/// How long and how exactly to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub steps: usize,
    /// Relative decrease of a step below which the search ends.
    pub decrease: f64,
    /// Largest entry of the pseudo-gradient at which it ends.
    pub gradient: f64,
}

const HISTORY: usize = 10;

/// Minimises from `x`, in place; `f` gives the smooth value and overwrites the gradient. A value that
/// is not finite makes a step shorter. Returns the value with penalty.
pub(crate) fn minimize(
    x: &mut Vec<f64>,
    lambda: &[f64],
    limits: Limits,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> f64 {
    let len = x.len();
    let penalty = |x: &[f64]| x.iter().zip(lambda).map(|(x, l)| x.abs() * l).sum::<f64>();
    let mut gradient = vec![0.0; len];
    let mut value = f(x, &mut gradient) + penalty(x);
    let mut pairs = Pairs::default();
    for _ in 0..limits.steps {
        let steepest: Vec<f64> = (0..len).map(|i| pseudo(x[i], gradient[i], lambda[i])).collect();
        if steepest.iter().fold(0.0, |m, g| f64::max(m, g.abs())) <= limits.gradient {
            break;
        }
        let mut direction = pairs.direction(&steepest, dot);
        // Penalised unknowns move only where the model agrees with the sign of steepest descent.
        for i in 0..len {
            if lambda[i] > 0.0 && direction[i] * steepest[i] >= 0.0 {
                direction[i] = 0.0;
            }
        }
        let orthant: Vec<f64> =
            (0..len).map(|i| if x[i] != 0.0 { x[i].signum() } else { -steepest[i] }).collect();
        let slope = dot(&direction, &steepest);
        let mut step = if pairs.is_empty() { (1.0 / dot(&steepest, &steepest).sqrt()).min(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; len];
        let accepted = loop {
            let next: Vec<f64> = (0..len)
                .map(|i| {
                    let to = x[i] + step * direction[i];
                    // Penalised unknowns stop at 0.
                    if lambda[i] > 0.0 && to * orthant[i] < 0.0 { 0.0 } else { to }
                })
                .collect();
            let next_value = f(&next, &mut next_gradient) + penalty(&next);
            if next_value.is_finite() && next_value <= value + 1e-4 * step * slope {
                break Some((next, next_value));
            }
            step *= 0.5;
            if step < 1e-12 {
                break None;
            }
        };
        let Some((next, next_value)) = accepted else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let s: Vec<f64> = next.iter().zip(&*x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        pairs.learn((s, y), 1e-12, HISTORY, dot);
        let done = value - next_value <= limits.decrease * value.abs().max(1e-12);
        *x = next;
        gradient = next_gradient;
        value = next_value;
        if done {
            break;
        }
    }
    value
}

/// The one-sided derivative of least size.
fn pseudo(x: f64, g: f64, l: f64) -> f64 {
    match x {
        0.0 if g + l < 0.0 => g + l,
        0.0 if g - l > 0.0 => g - l,
        0.0 => 0.0,
        _ => g + l * x.signum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasso_has_the_solution_of_coordinate_descent() {
        use crate::score::NodeScore;
        use crate::score::{Linear, Loss, Penalty};
        let s = thalweg_testing::covariance(6, 8);
        let allowed = [0, 1, 2, 3, 4];
        let fit = Linear::new(s.clone(), Loss::Squares, Penalty::L1(0.05)).fit(5, &allowed, &[]);
        let mut x = vec![0.0; 5];
        let limits = Limits { steps: 500, decrease: 0.0, gradient: 1e-10 };
        let value = minimize(&mut x, &[0.05; 5], limits, |x, g| {
            let mut value = 0.5 * s[(5, 5)];
            for i in 0..5 {
                let fitted: f64 = (0..5).map(|j| s[(i, j)] * x[j]).sum();
                g[i] = fitted - s[(i, 5)];
                value += x[i] * (0.5 * fitted - s[(i, 5)]);
            }
            value
        });
        assert!((value - fit.score).abs() < 1e-9, "{value} {}", fit.score);
        assert!(x.iter().zip(&fit.weights).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn without_penalty_it_is_lbfgs() {
        let mut x = vec![-1.2, 1.0];
        let limits = Limits { steps: 500, decrease: 0.0, gradient: 1e-9 };
        minimize(&mut x, &[0.0; 2], limits, |x, g| {
            g[0] = -400.0 * x[0] * (x[1] - x[0] * x[0]) - 2.0 * (1.0 - x[0]);
            g[1] = 200.0 * (x[1] - x[0] * x[0]);
            100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)
        });
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{x:?}");
    }
}
