//! What is proved, and what proves it.

use serde::{Deserialize, Serialize};

use crate::Norm;
use crate::size::Size;

/// A proved bound and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The Lipschitz constant is at most this, for the stored weights in real arithmetic.
    pub bound: f64,
    /// Norms.
    pub norm: Norm,
    /// Name of the [`Bound`](crate::Bound).
    pub method: String,
    /// That the bound is proved; `false` only if the proof failed and `bound` is the product of
    /// norms instead.
    pub verified: bool,
    /// Margin: the smallest certified eigenvalue of the scaled matrix inequalities; absent for closed forms.
    pub margin: Option<f64>,
    /// Enlargement θ of the multipliers that the proof needed.
    pub theta: Option<f64>,
    /// What the solver found before the proof.
    pub solver_value: Option<f64>,
    /// Relative duality gap of the solver.
    pub gap: Option<f64>,
    /// Iterations, or evaluations of the first-order method.
    pub iterations: Option<usize>,
    /// Seconds for solve and proof.
    pub seconds: f64,
    /// Neurons behind activations.
    pub neurons: usize,
    /// Size of the matrix inequality that was solved.
    pub lmi_size: Option<Size>,
    /// What the proof starts from; absent for closed forms.
    pub multipliers: Option<Multipliers>,
}

/// What proves a bound: one number per quadratic constraint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Multipliers {
    /// Of the input: ρ for ℓ2, τ (one per input) for ℓ∞.
    pub input: Vec<f64>,
    /// Of the output: σ, one per output, for ℓ∞ → ℓ1; empty otherwise.
    pub output: Vec<f64>,
    /// Of each block with an activation, from the input: λ.
    pub layers: Vec<Vec<f64>>,
}

impl Multipliers {
    pub(crate) fn flat(&self) -> Vec<f64> {
        [&self.input, &self.output].into_iter().chain(&self.layers).flatten().copied().collect()
    }
}
