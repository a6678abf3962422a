//! A primal–dual interior-point method for `min costᵀp, M(p) ⪰ 0, p ≥ 0` (HKM direction, predictor
//! and corrector) that uses the rank-one structure of M. p is feasible at every iteration.
//!
//! ```text
//! X, w: dual variables of M(p) ⪰ 0 and p ≥ 0;  Z = M(p);  g_j = ⟨A_j, Z⁻¹⟩;  μ = (⟨X,Z⟩ + wᵀp)/(n+m)
//! H_jk = ⟨A_j, X A_k Z⁻¹⟩ + [j=k] w_j/p_j
//! dp = H⁻¹(σμ(g + 1/p) − cost − ⟨A,E⟩ − e)          dZ = Σ dp_j A_j
//! dX = σμ Z⁻¹ − X − sym(X dZ Z⁻¹) − E               dw = σμ/p − w − w∘dp/p − e
//! ```
//!
//! with E = e = 0 in the predictor and the products of its steps in the corrector.

mod cone;
mod factor;
mod newton;
mod residuals;
mod variables;

use crate::LipError;
use crate::lmi::Lmi;
use newton::Newton;
use residuals::Residuals;
use variables::Variables;

/// Multipliers near the optimum.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    pub p: Vec<f64>,
    /// (⟨X,Z⟩ + wᵀp)/costᵀp: how far from the optimum at most.
    pub gap: f64,
    pub iterations: usize,
}

/// Share of the way to the boundary.
const SHARE: f64 = 0.95;

/// Iterations at most; 30 are many.
const MOST: usize = 150;

/// Solves from a strictly feasible `start` to the relative gap `tol`, or as far as the precision
/// allows; `early` may stop it sooner.
pub(crate) fn minimize(
    lmi: &Lmi,
    start: Vec<f64>,
    tol: f64,
    early: impl Fn(&[f64]) -> bool,
) -> Result<Solution, LipError> {
    let mut at = Variables::central(lmi, start).ok_or(LipError::NoStart)?;
    let mut best = Solution { p: at.p.clone(), gap: f64::INFINITY, iterations: 0 };
    let mut stuck = 0;
    for iteration in 0..MOST {
        let residuals = Residuals::of(&at, lmi);
        best = Solution { p: at.p.clone(), gap: residuals.gap, iterations: iteration };
        if best.gap <= tol || early(&at.p) || stuck >= 4 {
            break;
        }
        let Some(newton) = Newton::new(&residuals.hessian) else { break };
        let predictor = at.direction(lmi, &residuals, &newton, 0.0, None);
        let sigma = at.centering(&residuals, &predictor);
        let corrector = at.direction(lmi, &residuals, &newton, sigma, Some(&predictor));
        let Some(length) = at.advance(&corrector) else { break };
        stuck = if length < 1e-3 { stuck + 1 } else { 0 };
    }
    Ok(best)
}
