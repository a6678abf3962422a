use serde::{Deserialize, Serialize};

use crate::ConvexError;

/// Loss of an output r against a target y, summed (not averaged) over samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// ½ (r − y)², any y.
    Squared,
    /// max(0, 1 − y r), y = ±1.
    #[default]
    Hinge,
    /// log(1 + exp(−2 y r)), y = ±1: binary cross-entropy with the authors' factor 2.
    Bce,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Squared, Self::Hinge, Self::Bce];

    /// Name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squared => "squared",
            Self::Hinge => "hinge",
            Self::Bce => "bce",
        }
    }

    /// Σ ℓ(r_k, y_k).
    pub fn value(self, r: &[f64], y: &[f64]) -> f64 {
        r.iter().zip(y).map(|(&r, &y)| self.one(r, y)).sum()
    }

    /// ℓ(r, y).
    pub fn one(self, r: f64, y: f64) -> f64 {
        match self {
            Self::Squared => 0.5 * (r - y).powi(2),
            Self::Hinge => (1.0 - y * r).max(0.0),
            Self::Bce => softplus(-2.0 * y * r),
        }
    }

    /// ∂ℓ/∂r; at the hinge's kink the one towards smaller loss.
    pub fn slope(self, r: f64, y: f64) -> f64 {
        match self {
            Self::Squared => r - y,
            Self::Hinge if y * r < 1.0 => -y,
            Self::Hinge => 0.0,
            Self::Bce => -2.0 * y * sigmoid(-2.0 * y * r),
        }
    }

    /// argmin over r of ℓ(r, y) + (ρ/2)(r − q)².
    pub fn prox(self, q: f64, y: f64, rho: f64) -> f64 {
        let m = y * q;
        match self {
            Self::Squared => (y + rho * q) / (1.0 + rho),
            Self::Hinge if m >= 1.0 => q,
            Self::Hinge => y * (m + 1.0 / rho).min(1.0),
            Self::Bce => y * bce_margin(m, rho),
        }
    }

    /// The nearest point to θ at which ℓ* is finite.
    pub fn clip(self, theta: f64, y: f64) -> f64 {
        match self {
            Self::Squared => theta,
            Self::Hinge => -y * (-y * theta).clamp(0.0, 1.0),
            Self::Bce => -y * (-y * theta).clamp(0.0, 2.0),
        }
    }

    /// −ℓ*(θ), the sample's share of the dual value; θ as [`Loss::clip`] leaves it.
    pub fn dual(self, theta: f64, y: f64) -> f64 {
        match self {
            Self::Squared => -0.5 * theta * theta - theta * y,
            Self::Hinge => -y * theta,
            Self::Bce => entropy(-0.5 * y * theta),
        }
    }

    /// Refuses targets that the loss does not know.
    ///
    /// # Errors
    /// Targets that are not finite; for hinge and bce other ones than ±1, and one class alone.
    pub fn check(self, y: &[f64]) -> Result<(), ConvexError> {
        if let Some(row) = y.iter().position(|y| !y.is_finite()) {
            return Err(ConvexError::NotFinite { what: "targets", row, column: 0, value: y[row] });
        }
        if self == Self::Squared {
            return Ok(());
        }
        if y.iter().any(|y| y.abs() != 1.0) {
            let mut values = y.to_vec();
            values.sort_by(f64::total_cmp);
            values.dedup();
            let shown: Vec<String> = values.iter().take(5).map(f64::to_string).collect();
            let found = format!("{}{}", shown.join(", "), if values.len() > 5 { ", …" } else { "" });
            return Err(ConvexError::Labels { loss: self.name(), found });
        }
        match y.iter().all(|v| *v == y[0]) {
            true => Err(ConvexError::SingleClass { label: y[0] }),
            false => Ok(()),
        }
    }
}

/// log(1 + eˣ) without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// −p ln p − (1 − p) ln(1 − p).
fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// Root of f(x) = x − m − (2/ρ)/(1 + e²ˣ), which lies in [m, m + 2/ρ]. f rises, convex left of 0 and
/// concave right of it: Newton's steps from the end of the bracket nearer to 0 (or from 0) run
/// monotonically into the root, whatever ρ. From elsewhere they may diverge.
fn bce_margin(m: f64, rho: f64) -> f64 {
    let (low, high) = (m, m + 2.0 / rho);
    let mut x = 0f64.clamp(low, high);
    for _ in 0..100 {
        let s = sigmoid(-2.0 * x);
        let step = (x - m - 2.0 / rho * s) / (1.0 + 4.0 / rho * s * (1.0 - s));
        x = (x - step).clamp(low, high);
        if step.abs() <= 1e-15 * x.abs().max(1.0) {
            break;
        }
    }
    x
}
