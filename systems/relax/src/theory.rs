//! Young's theory of consistently ordered matrices: D. M. Young, *Iterative Solution of Large Linear
//! Systems*, 1971.

/// The ω at which ρ(C_ω) is smallest, 2/(1 + √(1 − β²)), from β = ρ(I − D⁻¹A) < 1.
pub fn optimal_omega(beta: f64) -> f64 {
    2.0 / (1.0 + (1.0 - beta * beta).max(0.0).sqrt())
}

/// ρ(C_ω), the factor by which a sweep reduces the error in the long run.
pub fn spectral_radius(omega: f64, beta: f64) -> f64 {
    if omega >= optimal_omega(beta) {
        return omega - 1.0;
    }
    let root = (omega * omega * beta * beta - 4.0 * (omega - 1.0)).max(0.0).sqrt();
    0.25 * (omega * beta + root).powi(2)
}

/// The β at which ρ(C_ω) = `lambda`, from Young's relation (λ + ω − 1)² = λ ω² β²; `None` where the
/// rate says no more than that ω is at or above the optimum.
pub fn jacobi_radius(omega: f64, lambda: f64) -> Option<f64> {
    (lambda > omega - 1.0 && lambda < 1.0).then(|| (lambda + omega - 1.0) / (omega * lambda.sqrt()))
}

/// The ω near which SSOR converges fastest, 2/(1 + √(2(1 − β))).
pub fn ssor_omega(beta: f64) -> f64 {
    2.0 / (1.0 + (2.0 * (1.0 - beta)).max(0.0).sqrt())
}
