use faer::Mat;
use thalweg_linalg::vector::dot;

use super::cone::Cone;
use super::variables::Variables;
use crate::lmi::{Lmi, Part};

/// How far the variables are from the optimum, and what the Newton system is made of.
pub(super) struct Residuals {
    /// The Newton matrix H.
    pub hessian: Mat<f64>,
    /// Entries g_j = ⟨A_j, Z⁻¹⟩.
    pub g: Vec<f64>,
    /// Sum ⟨X,Z⟩ + wᵀp.
    pub complementarity: f64,
    /// Its mean μ.
    pub mu: f64,
    /// Complementarity or dual residual over costᵀp, the larger.
    pub gap: f64,
}

impl Residuals {
    pub fn of(at: &Variables<'_>, lmi: &Lmi) -> Self {
        let Variables { p, w, cones } = at;
        let m = p.len();
        let n: usize = lmi.parts.iter().map(Part::side).sum();
        let mut hessian = Mat::<f64>::zeros(m, m);
        let (mut g, mut ax) = (vec![0.0; m], vec![0.0; m]);
        for cone in cones {
            cone.schur(&mut hessian, &mut g, &mut ax);
        }
        let complementarity = cones.iter().map(Cone::complementarity).sum::<f64>() + dot(w, p);
        let value = dot(&lmi.cost, p);
        let residual = (0..m).map(|j| (lmi.cost[j] - ax[j] - w[j]).abs() * p[j]).fold(0.0, f64::max) / value;
        let gap = (complementarity / value).max(residual);
        (0..m).for_each(|j| hessian[(j, j)] += w[j] / p[j]);
        Self { hessian, g, complementarity, mu: complementarity / (n + m) as f64, gap }
    }
}
