//! The penalty objective ψ_σ, its gradient, and ψ itself as its limit.

use std::cell::Cell;

use thalweg_core::Invalid;

use crate::descent::{Goal, Solved, minimize};
use crate::set::norm2;
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// Steps of a lower-level solve at most.
const LIMIT: u64 = 20_000;
/// A residual above this share of σ‖∇_y f‖ is visible in the penalty's gradient.
const VISIBLE: f64 = 1e-4;

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
    /// How much of the value may be rounding.
    pub noise: f64,
    /// Estimate of the gradient's error by rounding, and by residuals that are larger than asked for.
    pub error: f64,
    /// Whether z was in a worse basin than y and was moved there.
    pub swapped: bool,
}

/// Minimises g(x,·) over Y from z, which need not be in Y, until the projected gradient is below `tolerance` times the
/// gradients' own size, curvature times |z|, or the digits run out.
///
/// # Errors
/// An oracle that fails, a lower level without minimiser, one where no point along the gradient is better.
pub fn lower(oracle: &mut Oracle<'_>, x: &[f64], z: &mut [f64], tolerance: f64) -> Result<f64, BilevelError> {
    Ok(relaxed(oracle, x, z, 0.0, Goal::Relative(tolerance))?.value)
}

/// Minimises σf + g over Y from y. A negative σ is allowed where g is strongly convex.
pub(crate) fn relaxed(
    oracle: &mut Oracle<'_>,
    x: &[f64],
    y: &mut [f64],
    sigma: f64,
    goal: Goal<'_>,
) -> Result<Solved, BilevelError> {
    relaxed_by(oracle, x, y, sigma, goal, &Cell::new(0.0))
}

/// The same; `slope` is kept at σ‖∇_y f‖.
fn relaxed_by(
    oracle: &mut Oracle<'_>,
    x: &[f64],
    y: &mut [f64],
    sigma: f64,
    goal: Goal<'_>,
    slope: &Cell<f64>,
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
            slope.set(sigma.abs() * norm2(&of_f).sqrt());
        }
        Ok(value)
    };
    minimize(&mut h, problem.y_set(), scale.as_deref(), y, goal, LIMIT)
}

/// How precise lower solutions must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accuracy {
    /// Projected gradients of this norm.
    Absolute(f64),
    /// Of this share of σ‖∇_y f‖, which is what parts y from z.
    Relative(f64),
}

/// ψ_σ and its gradient at `at.x`; y and z are solved for from where they are, until their projected gradients are
/// below `tolerance` times σ‖∇_y f‖, which is what parts them, or the digits run out. That share of ∇ψ_σ's second part
/// is then its error.
///
/// # Errors
/// σ outside [1e-8, ∞), an oracle that fails, a lower level without minimiser,
/// [`BilevelError::Imprecise`] where rounding is not small beside σ.
pub fn penalty(
    oracle: &mut Oracle<'_>,
    at: &mut Solution,
    sigma: f64,
    tolerance: f64,
) -> Result<Penalty, BilevelError> {
    check_sigma("sigma", sigma)?;
    evaluate(oracle, at, sigma, Accuracy::Relative(tolerance))
}

/// The same for any σ > 0.
pub(crate) fn evaluate(
    oracle: &mut Oracle<'_>,
    at: &mut Solution,
    sigma: f64,
    accuracy: Accuracy,
) -> Result<Penalty, BilevelError> {
    let slope = Cell::new(0.0);
    let goal = match accuracy {
        Accuracy::Absolute(tolerance) => Goal::Absolute(tolerance),
        Accuracy::Relative(share) => Goal::Times(share, &slope),
    };
    let of_y = relaxed_by(oracle, &at.x, &mut at.y, sigma, goal, &slope)?;
    let f = oracle.f_xy((&at.x, &at.y), Batch::Full)?;
    let (upper, mut gradient) = (f.value, f.x);
    slope.set(sigma * norm2(&f.y).sqrt());
    let mut of_z = relaxed(oracle, &at.x, &mut at.z, 0.0, goal)?;
    let by_y = oracle.g_xy((&at.x, &at.y), Batch::Full)?;
    let g_y = by_y.value;
    let swapped = worse_basin(of_z.value, g_y, of_y.noise + of_z.noise);
    if swapped {
        at.z.copy_from_slice(&at.y);
        of_z = relaxed(oracle, &at.x, &mut at.z, 0.0, goal)?;
    }
    let by_z = oracle.g_xy((&at.x, &at.z), Batch::Full)?;
    let (residual, slope) = (of_y.residual.max(of_z.residual), slope.get());
    let asked = match accuracy {
        Accuracy::Absolute(tolerance) => tolerance,
        Accuracy::Relative(share) => share * slope,
    };
    // Where f is nearly stationary in y, σ times its slope elsewhere is the measure.
    if residual > asked.max(VISIBLE * slope)
        && residual > 1e-2 * VISIBLE * sigma * oracle.slope(&at.x, &at.y)?
    {
        return Err(BilevelError::Imprecise { residual, sigma });
    }
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    // What the residuals do to the gradient by x is what the difference of y and z, made by σ∇_y f, does.
    let forced = apart(&by_y.y, &by_z.y).max(slope).max(f64::MIN_POSITIVE);
    let rounding = f64::EPSILON * (norm2(&by_y.x).sqrt() + norm2(&by_z.x).sqrt());
    let left = if residual > asked { (2.0 * residual / forced).min(1.0) } else { 0.0 };
    let error = (apart(&by_y.x, &by_z.x) * left + rounding) / sigma;
    for (gradient, (by_y, by_z)) in gradient.iter_mut().zip(by_y.x.iter().zip(&by_z.x)) {
        *gradient += (by_y - by_z) / sigma;
    }
    let gap = g_y - of_z.value;
    let noise = f64::EPSILON * upper.abs() + 1e-2 * (of_y.noise + of_z.noise) / sigma;
    let residuals = (of_y.residual, of_z.residual);
    Ok(Penalty {
        value: upper + gap / sigma,
        gradient,
        price: gap / sigma,
        upper,
        gap,
        residuals,
        noise,
        error,
        swapped,
    })
}

/// Whether z, with that value of g, cannot be the lower level's minimiser, y having the other; values may be wrong by
/// `noise`.
pub(crate) fn worse_basin(g_z: f64, g_y: f64, noise: f64) -> bool {
    g_y < g_z - 1e-12 * g_z.abs() - 100.0 * noise
}

/// Refuses a σ at which rounding would hide the gap, f and g being of one size.
pub(crate) fn check_sigma(field: &str, sigma: f64) -> Result<(), Invalid> {
    Invalid::check((1e-8..f64::INFINITY).contains(&sigma), field, sigma, "a number ≥ 1e-8")
}

/// ψ_σ for falling σ, and the limit that they point to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// σ, ψ_σ and ∇ψ_σ, σ halved each time.
    pub table: Vec<(f64, f64, Vec<f64>)>,
    /// ψ, extrapolated.
    pub value: f64,
    /// ∇ψ, likewise.
    pub gradient: Vec<f64>,
    /// The optimistic lower solution, likewise.
    pub y: Vec<f64>,
    /// How far the last two extrapolations of the value are from each other, and what rounding does to them; all of
    /// the penalty where it has not begun to fall with σ.
    pub error: f64,
    /// Likewise of the gradient.
    pub gradient_error: f64,
    /// Whether the penalty falls with σ at last. Where it does not, σ is not small beside the lower level's curvature,
    /// and a smaller one is hidden by rounding.
    pub settled: bool,
    /// The gradient grew as 1/σ, to far more than the values' change: the lower level's solutions jump at or beside x,
    /// and ψ_σ is no smoothing of ψ.
    pub jumps: bool,
}

/// Levels of σ at least and at most.
const LEVELS: (usize, usize) = (6, 45);

/// ψ(x), ∇ψ(x) and the optimistic y as limits of the penalty's, by extrapolation in σ = 1e-2, 5e-3, …
///
/// The error of ψ_σ is a power series in σ where the lower solutions move smoothly and σ is small beside the lower
/// level's curvature: Richardson's extrapolation removes its first two terms. σ falls until the price of the lower
/// level falls with it and two extrapolations agree as well as the digits allow. Where the solutions jump the limit
/// cannot be trusted, which is said.
///
/// # Errors
/// As [`penalty`].
pub fn limit(oracle: &mut Oracle<'_>, x: &[f64], start: &Solution) -> Result<Limit, BilevelError> {
    let mut at = Solution { x: x.to_vec(), ..start.clone() };
    let mut seen: Vec<(Penalty, Vec<f64>)> = Vec::new();
    let mut best: Option<Extrapolated> = None;
    for k in 0..LEVELS.1 {
        let here = match evaluate(oracle, &mut at, level(k), Accuracy::Relative(1e-11)) {
            Ok(here) => here,
            // A smaller σ is hidden by rounding.
            Err(BilevelError::Imprecise { .. }) if best.is_some() => break,
            Err(e) => return Err(e),
        };
        seen.push((here, at.y.clone()));
        if k < 3 {
            continue;
        }
        let now = Extrapolated::of(&seen);
        let over = k + 1 >= LEVELS.0 && now.settled && now.error <= 10.0 * now.noise;
        if best.as_ref().is_none_or(|best| now.score() < best.score()) {
            best = Some(now);
        }
        if over {
            break;
        }
    }
    let Some(best) = best else { unreachable!("there are more than three levels") };
    let jumps = jumps(&seen, norm2(x).sqrt());
    let table = seen.into_iter().enumerate().map(|(k, (p, _))| (level(k), p.value, p.gradient)).collect();
    let Extrapolated { value, gradient, y, error, gradient_error, settled, .. } = best;
    Ok(Limit { value, gradient, y, error, gradient_error, settled, jumps, table })
}

/// σ of the k-th level.
fn level(k: usize) -> f64 {
    1e-2 * 0.5f64.powi(k as i32)
}

/// Whether a penalty that was `before` at 2σ has fallen to that share with σ, or is nothing beside its rounding.
pub(crate) fn settled(before: &Penalty, now: &Penalty, share: f64) -> bool {
    now.price <= share * before.price + 10.0 * (before.noise + now.noise)
}

/// What the last levels of a table say.
struct Extrapolated {
    value: f64,
    gradient: Vec<f64>,
    y: Vec<f64>,
    error: f64,
    gradient_error: f64,
    /// What of the error is rounding.
    noise: f64,
    settled: bool,
}

impl Extrapolated {
    fn of(seen: &[(Penalty, Vec<f64>)]) -> Self {
        let last = seen.len() - 1;
        let romberg = |last: usize, of: &dyn Fn(usize) -> f64| {
            let (a, b, c) = (of(last - 2), of(last - 1), of(last));
            let (ab, bc) = (2.0 * b - a, 2.0 * c - b);
            (4.0 * bc - ab) / 3.0
        };
        let two = |of: &dyn Fn(usize) -> f64| (romberg(last, of), romberg(last - 1, of));
        let (value, before) = two(&|k| seen[k].0.value);
        let (gradient, old): (Vec<f64>, Vec<f64>) =
            (0..seen[0].0.gradient.len()).map(|i| two(&|k| seen[k].0.gradient[i])).unzip();
        let y = (0..seen[0].1.len()).map(|i| romberg(last, &|k| seen[k].1[i])).collect();
        let settled = (last - 2..last).all(|k| settled(&seen[k].0, &seen[k + 1].0, 0.7));
        let now = &seen[last].0;
        // What is left of the penalty is how far ψ_σ may be from ψ.
        let (off, off_gradient) = match settled {
            true => (0.0, 0.0),
            false => (now.price.abs(), norm2(&now.gradient).sqrt()),
        };
        let noise = 5.0 * now.noise;
        let changed = norm2(&gradient.iter().zip(&old).map(|(a, b)| a - b).collect::<Vec<_>>()).sqrt();
        Self {
            error: (value - before).abs() + noise + off,
            gradient_error: changed + 5.0 * now.error + off_gradient,
            value,
            gradient,
            y,
            noise,
            settled,
        }
    }

    /// The smaller the better: the gradient's error, those that have not settled last.
    fn score(&self) -> (bool, f64) {
        (!self.settled, self.gradient_error)
    }
}

/// Whether the gradient grew as 1/σ to much more than ψ_σ changes over the size of x. Growth alone says nothing: it ends
/// where σ is small beside the lower level's curvature.
fn jumps(seen: &[(Penalty, Vec<f64>)], size: f64) -> bool {
    let norm = |k: usize| norm2(&seen[k].0.gradient).sqrt();
    let values = || seen.iter().map(|(p, _)| p.value);
    let spread = values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min);
    let grows = |k: usize| norm(k) > 1.6 * norm(k - 1) && norm(k - 1) > 1.6 * norm(k - 2);
    let steep = |k: usize| norm(k) * size.max(1.0) > 30.0 * spread && norm(k - 2) > 10.0 * seen[k].0.error;
    (2..seen.len()).any(|k| grows(k) && steep(k))
}
