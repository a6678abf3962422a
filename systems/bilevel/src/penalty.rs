//! The penalty objective ψ_σ, its gradient, and ψ itself as its limit.

use thalweg_core::Invalid;

use crate::descent::{Solved, minimize};
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// Steps of a lower-level solve at most.
const LIMIT: u64 = 20_000;

/// `ψ_σ(x) = min_y { f(x,y) + (g(x,y) − min g(x,·))/σ }` at one x (arXiv:2309.01753, section 3).
#[derive(Clone, Debug, PartialEq)]
pub struct Penalty {
    /// ψ_σ(x) ≤ ψ(x).
    pub value: f64,
    /// `∇ψ_σ = ∇_x f(x,y) + (∇_x g(x,y) − ∇_x g(x,z))/σ`, `[n]`.
    pub gradient: Vec<f64>,
    /// `(g(x,y) − g(x,z))/σ ≥ 0`.
    pub price: f64,
    /// f(x,y).
    pub upper: f64,
    /// g(x,y) − g(x,z) ≥ 0.
    pub gap: f64,
    /// Norms of the projected gradients that y and z are left with.
    pub residuals: (f64, f64),
    /// Whether z was in a worse basin than y and was moved there.
    pub swapped: bool,
}

/// Minimises g(x,·) over Y from z, to that norm of the projected gradient.
///
/// # Errors
/// An oracle that fails, a lower level without minimiser.
pub fn lower(oracle: &mut Oracle<'_>, x: &[f64], z: &mut [f64], tolerance: f64) -> Result<f64, BilevelError> {
    Ok(relaxed(oracle, x, z, 0.0, tolerance)?.value)
}

/// Minimises σf + g over Y from y. A negative σ is allowed where g is strongly convex.
pub(crate) fn relaxed(
    oracle: &mut Oracle<'_>,
    x: &[f64],
    y: &mut [f64],
    sigma: f64,
    tolerance: f64,
) -> Result<Solved, BilevelError> {
    let problem = oracle.problem();
    let mut scale = vec![0.0; y.len()];
    let scale = problem.curvature(x, &mut scale).then_some(scale);
    let mut of_f = vec![0.0; y.len()];
    let mut h = |y: &[f64], grad: &mut [f64]| {
        let mut value = oracle.lower(x, y, Batch::Full, Grad::y(grad))?;
        if sigma != 0.0 {
            value += sigma * oracle.upper(x, y, Batch::Full, Grad::y(&mut of_f))?;
            grad.iter_mut().zip(&of_f).for_each(|(g, f)| *g += sigma * f);
        }
        Ok(value)
    };
    minimize(&mut h, problem.y_set(), scale.as_deref(), y, tolerance, LIMIT)
}

/// ψ_σ and its gradient at `at.x`; y and z are solved for from where they are, to a projected gradient of
/// `tolerance`. An error e of theirs is one of e/σ in the gradient.
///
/// # Errors
/// σ outside [1e-8, ∞), an oracle that fails, a lower level without minimiser.
pub fn penalty(
    oracle: &mut Oracle<'_>,
    at: &mut Solution,
    sigma: f64,
    tolerance: f64,
) -> Result<Penalty, BilevelError> {
    check_sigma("sigma", sigma)?;
    let of_z = relaxed(oracle, &at.x, &mut at.z, 0.0, tolerance)?;
    let of_y = relaxed(oracle, &at.x, &mut at.y, sigma, tolerance)?;
    let mut g_z = of_z.value;
    let (upper, mut gradient) = oracle.f_x((&at.x, &at.y), Batch::Full)?;
    let (g_y, by_y) = oracle.g_x((&at.x, &at.y), Batch::Full)?;
    let swapped = worse_basin(g_z, g_y);
    if swapped {
        at.z.copy_from_slice(&at.y);
        g_z = relaxed(oracle, &at.x, &mut at.z, 0.0, tolerance)?.value;
    }
    let (_, by_z) = oracle.g_x((&at.x, &at.z), Batch::Full)?;
    for i in 0..gradient.len() {
        gradient[i] += (by_y[i] - by_z[i]) / sigma;
    }
    let gap = g_y - g_z;
    let (price, residuals) = (gap / sigma, (of_y.residual, of_z.residual));
    Ok(Penalty { value: upper + price, gradient, price, upper, gap, residuals, swapped })
}

/// Whether z, with that value of g, cannot be the lower level's minimiser, y having the other.
pub(crate) fn worse_basin(g_z: f64, g_y: f64) -> bool {
    g_y < g_z - 1e-12 * g_z.abs().max(1.0)
}

/// Refuses a σ at which rounding would hide the gap.
pub(crate) fn check_sigma(field: &str, sigma: f64) -> Result<(), Invalid> {
    Invalid::check((1e-8..f64::INFINITY).contains(&sigma), field, sigma, "a number ≥ 1e-8")
}

/// ψ_σ for falling σ, and the limit that they point to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// σ, ψ_σ and ∇ψ_σ, σ halved each time.
    pub table: Vec<(f64, f64, Vec<f64>)>,
    /// ψ, extrapolated by the last three.
    pub value: f64,
    /// ∇ψ, likewise.
    pub gradient: Vec<f64>,
    /// The optimistic lower solution, likewise.
    pub y: Vec<f64>,
    /// How far the last two extrapolations of the value are from each other.
    pub error: f64,
    /// The gradient grows as 1/σ: the lower level's solutions jump at x, and ψ_σ is no smoothing of ψ.
    pub jumps: bool,
}

/// ψ(x), ∇ψ(x) and the optimistic y as limits of the penalty's, by extrapolation in σ = 1e-2, 5e-3, …
///
/// The error of ψ_σ is a power series in σ where the lower solutions move smoothly: Richardson's
/// extrapolation removes its first two terms. Where they jump it cannot be trusted, which is said.
///
/// # Errors
/// As [`penalty`].
pub fn limit(oracle: &mut Oracle<'_>, x: &[f64], start: &Solution) -> Result<Limit, BilevelError> {
    const LEVELS: usize = 6;
    let mut at = Solution { x: x.to_vec(), ..start.clone() };
    let mut table = Vec::new();
    let mut ys = Vec::new();
    for k in 0..LEVELS {
        let sigma = 1e-2 / f64::from(1 << k);
        let here = penalty(oracle, &mut at, sigma, 1e-11 * sigma)?;
        ys.push(at.y.clone());
        table.push((sigma, here.value, here.gradient));
    }
    let romberg = |last: usize, of: &dyn Fn(usize) -> f64| {
        let (a, b, c) = (of(last - 2), of(last - 1), of(last));
        let (ab, bc) = (2.0 * b - a, 2.0 * c - b);
        (4.0 * bc - ab) / 3.0
    };
    let last = LEVELS - 1;
    let value = romberg(last, &|k| table[k].1);
    let error = (value - romberg(last - 1, &|k| table[k].1)).abs();
    let gradient = (0..x.len()).map(|i| romberg(last, &|k| table[k].2[i])).collect();
    let y = (0..at.y.len()).map(|i| romberg(last, &|k| ys[k][i])).collect();
    let norm = |k: usize| crate::set::norm2(&table[k].2).sqrt();
    let jumps = norm(last) > 1.6 * norm(last - 1) && norm(last - 1) > 1.6 * norm(last - 2);
    Ok(Limit { value, gradient, y, error, jumps, table })
}
