use faer::Mat;
use thalweg_linalg::dense::{self, lambda_max, solve, symmetric};

use crate::certificate::Multipliers;
use crate::network::{Block, Network};
use crate::{Activation, LipError};

/// Multipliers of ECLipsE-fast (arXiv:2404.04375) in closed form, one per layer, and the value:
///
/// ```text
/// M₀ = I;  A = W_l M_{l−1}⁻¹ W_lᵀ,  s = ‖A‖₂,  M_l = (2/s) I − A/s²;  ρ = ‖W_L M_{L−1}⁻¹ W_Lᵀ‖₂
/// ```
///
/// T_l = I/s is the multiplier for an input that counts 1; here the output counts 1.
pub(crate) fn eclipse(net: &Network) -> Result<(Multipliers, f64), LipError> {
    let fits = |b: &Block| match b {
        Block::Affine(_) => true,
        Block::Activation(Activation::Slope(s)) => s.interval() == (0.0, 1.0),
        _ => false,
    };
    if !net.blocks().iter().all(fits) {
        let why = "is a closed form for feed-forward networks with slopes in [0, 1]";
        return Err(LipError::not_applicable("ECLipsE-fast", why, "`bound` first-order or split:K"));
    }
    let n0 = net.inputs();
    // A = W M⁻¹ Wᵀ of the affine maps since the last activation.
    let mut a = Mat::identity(n0, n0);
    let mut scales = Vec::new();
    for block in net.blocks() {
        match block {
            Block::Affine(affine) => {
                a = symmetric(&dense::product(&affine.weight, dense::product(&a, affine.weight.transpose())))
            }
            _ => {
                let s = lambda_max(&a).max(f64::MIN_POSITIVE);
                let n = a.nrows();
                let m = Mat::<f64>::identity(n, n) * faer::Scale(2.0 / s) - &a * faer::Scale(1.0 / (s * s));
                a = solve(&m, Mat::<f64>::identity(n, n)).ok_or(LipError::NoStart)?;
                scales.push(s);
            }
        }
    }
    let rho = lambda_max(&a);
    let layers = scales.iter().map(|s| vec![2.0 * rho / s]).collect();
    Ok((Multipliers { input: vec![rho], output: Vec::new(), layers }, rho.sqrt()))
}
