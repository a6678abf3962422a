use serde::{Deserialize, Serialize};

use crate::solver::{Reason, Solved};
use crate::{Scheme, theory};

/// Adaptive relaxation after Hageman and Young (1981): the rate at which a solve below the optimal ω
/// converged gives β = ρ(I − D⁻¹A), and β gives the optimum.
///
/// What is carried from system to system is γ = β / dominance, which neither a shift nor a scaling of
/// the off-diagonal part changes. Optimal after a handful of solves where Young's theory holds;
/// [`Young::disagrees`] tells when it does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Young {
    belief: Option<Belief>,
    misses: u32,
}

/// γ and its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Belief {
    gamma: f64,
    error: f64,
}

impl Young {
    /// ω for a system of this dominance. Conjugate gradients reveal no rate of relaxation: their ω
    /// comes from β ≤ dominance alone.
    pub fn choose(&self, dominance: f64, method: Scheme) -> f64 {
        let beta = |gamma: f64| (gamma * dominance).clamp(0.0, 1.0 - 1e-6);
        if method.is_sor() {
            // From below: an ω that is too small shows in the rate, one that is too large does not.
            self.belief.map_or(1.0, |b| theory::optimal_omega(beta(b.gamma - b.error)))
        } else {
            theory::ssor_omega(beta(1.0))
        }
    }

    /// Learns from a solve with this ω.
    pub fn learn(&mut self, omega: f64, dominance: f64, (method, tol): (Scheme, f64), solved: &Solved) {
        let (true, Some(rate)) = (method.is_sor(), solved.rate()) else {
            return;
        };
        let (k, floor) = (solved.iterations as f64, omega - 1.0);
        // At the optimum residuals fall as k λᵏ: over the last half of the iterations that looks like a
        // rate 2^{2/k} times as slow.
        let rate = if omega > 1.0 { rate * 0.25_f64.powf(1.0 / k) } else { rate };
        let beta = theory::jacobi_radius(omega, rate).filter(|_| rate > floor * (1.0 + 2.0 / k));
        match (beta.map(|b| b / dominance), &mut self.belief) {
            (Some(gamma), belief) => {
                // An error of 2/k in the rate, through Young's relation.
                let error = (gamma * (rate - floor) / (rate + floor) / k).max(1e-7);
                let old = belief.unwrap_or(Belief { gamma, error: f64::INFINITY });
                let weight = 1.0 / (1.0 + (error / old.error).powi(2));
                let gamma = (old.gamma + weight * (gamma - old.gamma)).min(1.0);
                *belief = Some(Belief { gamma, error: error * weight.sqrt() });
            }
            // At or above the optimum: γ is not larger than what was used.
            (None, Some(belief)) => {
                *belief = Belief { gamma: belief.gamma - belief.error, error: 0.7 * belief.error };
            }
            (None, None) => {}
        }
        let Some(Belief { gamma, .. }) = self.belief else { return };
        let expected = tol.ln() / theory::spectral_radius(omega, (gamma * dominance).min(1.0)).ln();
        let missed = solved.reason != Reason::Converged || solved.cost() > 3.0 * expected + 10.0;
        self.misses = if missed { self.misses + 1 } else { 0 };
    }

    /// Whether the last solves took far longer than the theory says.
    pub fn disagrees(&self) -> bool {
        self.misses >= 3
    }
}
