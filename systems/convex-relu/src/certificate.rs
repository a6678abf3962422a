//! Proofs: feasible points and feasible dual points.

use serde::{Deserialize, Serialize};

use crate::cone::Supports;
use crate::samples::norm;
use crate::{ConvexError, Loss, Program};

/// A feasible pair of the convex program and its dual: the optimum lies between the two values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Value of (P) at a point that meets all cone constraints.
    pub objective: f64,
    /// Value of the dual at a feasible θ; −∞ if none is known.
    pub dual_bound: f64,
    /// (objective − dual bound) / |objective|.
    pub gap: f64,
    /// The feasible θ, `[n, outputs]` column-major: anyone can recheck the bound from it.
    pub theta: Vec<f64>,
}

impl Certificate {
    pub(crate) fn new(objective: f64, dual_bound: f64, theta: Vec<f64>) -> Self {
        let gap = (objective - dual_bound) / objective.abs().max(f64::MIN_POSITIVE);
        Self { objective, dual_bound, gap, theta }
    }

    /// The better value with the better bound of two; and whether the value is that of `self`.
    pub(crate) fn or(self, other: Self) -> (Self, bool) {
        let own = self.objective <= other.objective;
        let (dual_bound, theta) = match self.dual_bound >= other.dual_bound {
            true => (self.dual_bound, self.theta),
            false => (other.dual_bound, other.theta),
        };
        (Self::new(self.objective.min(other.objective), dual_bound, theta), own)
    }
}

/// A feasible point of (P): non-zero columns v_i and w_i, `[d, patterns · outputs]`, and the
/// unpenalised linear part `[d, outputs]` if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Neurons with positive output weights.
    pub v: Vec<f64>,
    /// Neurons with negative output weights.
    pub w: Vec<f64>,
    /// Linear part.
    pub linear_part: Option<Vec<f64>>,
    /// Outputs on the samples, `[n, outputs]`.
    pub outputs: Vec<f64>,
}

/// A solution with its certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// The feasible point.
    pub solution: Solution,
    /// What it proves.
    pub certificate: Certificate,
}

impl Certified {
    /// The better feasible point of two with the better bound of two.
    pub(crate) fn or(self, other: Self) -> Self {
        let (certificate, own) = self.certificate.or(other.certificate);
        Self { solution: if own { self.solution } else { other.solution }, certificate }
    }
}

/// Projects (v, w) onto the cones and makes a feasible θ of `theta`, so that both values bound the
/// optimum whatever the solver did. `rest` is what the linear part is fitted to.
pub(crate) fn certify(
    program: &Program,
    v: &[f64],
    w: &[f64],
    outputs: &[f64],
    theta: &[f64],
    supports: &mut Supports,
) -> Result<Certified, ConvexError> {
    let columns = program.columns();
    supports.primal.resize(2 * columns, Vec::new());
    let (first, second) = supports.primal.split_at_mut(columns);
    let (v, w) = cleaned(v, w, program.samples().d());
    let (v, w) = (program.project(&v, first), program.project(&w, second));
    let mut r = program.predict(&v, &w);
    let wanted = if program.loss() == Loss::Squared { program.targets() } else { outputs };
    let rest: Vec<f64> = wanted.iter().zip(&r).map(|(a, b)| a - b).collect();
    let linear_part = program.fit_linear_part(&rest).map(|(c, fitted)| {
        r.iter_mut().zip(fitted).for_each(|(r, f)| *r += f);
        c
    });
    let objective = program.objective(&r, &v, &w);
    let (theta, dual_bound) = feasible_dual(program, theta, &mut supports.dual)?;
    let solution = Solution { v, w, linear_part, outputs: r };
    Ok(Certified { solution, certificate: Certificate::new(objective, dual_bound, theta) })
}

/// Columns below 1e-7 of all norms together are a solver's noise, not neurons.
fn cleaned(v: &[f64], w: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let total: f64 = v.chunks(d).chain(w.chunks(d)).map(norm).sum();
    let clean = |v: &[f64]| -> Vec<f64> {
        let keep = |v: &[f64]| if norm(v) > 1e-7 * total { 1.0 } else { 0.0 };
        v.chunks(d).flat_map(|v| v.iter().map(move |x| keep(v) * x)).collect()
    };
    (clean(v), clean(w))
}

/// The best feasible multiple of θ (clipped to where ℓ* is finite) and its dual value.
///
/// # Errors
/// θ of another length.
pub fn feasible_dual(
    program: &Program,
    theta: &[f64],
    supports: &mut Vec<Vec<u32>>,
) -> Result<(Vec<f64>, f64), ConvexError> {
    let (loss, y) = (program.loss(), program.targets());
    ConvexError::check("entries of theta", theta.len(), y.len())?;
    let clip = |theta: &[f64]| -> Vec<f64> { theta.iter().zip(y).map(|(t, y)| loss.clip(*t, *y)).collect() };
    let mut theta = clip(theta);
    program.orthogonal(&mut theta);
    let most = program.beta() / program.limit(&theta, supports).max(f64::MIN_POSITIVE);
    let scale = match loss {
        Loss::Squared => {
            let square: f64 = theta.iter().map(|t| t * t).sum();
            let slope: f64 = -theta.iter().zip(y).map(|(t, y)| t * y).sum::<f64>();
            (slope / square.max(f64::MIN_POSITIVE)).clamp(0.0, most)
        }
        Loss::Hinge | Loss::Bce => most.min(1.0),
    };
    theta.iter_mut().for_each(|t| *t *= scale);
    if program.geometry().linear_part() && clip(&theta) != theta {
        return Ok((theta, f64::NEG_INFINITY)); // orthogonal to X but outside the domain of ℓ*
    }
    let value = theta.iter().zip(y).map(|(t, y)| loss.dual(*t, *y)).sum();
    Ok((theta, value))
}
