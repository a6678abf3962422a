//! The explicit hyper-gradient where the lower level may have many solutions: pseudo-inverse of its KKT matrix.

use faer::Mat;
use thalweg_linalg::dense::Eigen;

use crate::penalty::limit;
use crate::set::{AT, Active, dot, norm2};
use crate::{Batch, BilevelError, Grad, Oracle, Solution};

/// KKT matrices up to this size are decomposed, larger ones solved by MINRES.
const DENSE: usize = 2_000;
/// Eigenvalues below this share of the largest are zero: of exact second derivatives, and of differences.
const CUT: [f64; 2] = [1e-12, 1e-8];
/// A residual above this says that the right-hand side is outside the range.
const RANGE: f64 = 1e-6;
/// Multipliers below this share of the gradient are none.
const STRICT: f64 = 1e-7;
/// Or below this share of what the curvature makes of |y|.
const NEAR: f64 = 1e-8;

/// `∇ψ = ∇_x f − [0 ∇²_xy g] K† [0; ∇_y f]`, `K = [[0, A], [Aᵀ, L_yy]]` at the optimistic solution y of the
/// lower level (arXiv:2309.01753, theorem on the explicit gradient). A are the constraints of Y active at y, L_yy
/// the second derivative of the lower level's Lagrangian. Without constraints: `∇_x f − ∇²_xy g (∇²_yy g)† ∇_y f`.
///
/// # Errors
/// [`BilevelError::NotOptimistic`] where y is not the best lower solution or the solutions jump,
/// [`BilevelError::NotStrict`] where ψ has a kink, [`BilevelError::NoConstraints`] of a set known by its projection
/// alone.
pub fn hypergradient(oracle: &mut Oracle<'_>, x: &[f64], y: &[f64]) -> Result<Vec<f64>, BilevelError> {
    let m = y.len();
    let active = oracle.problem().y_set().active(y).ok_or(BilevelError::NoConstraints)?;
    let mut of_g = vec![0.0; m];
    oracle.lower(x, y, Batch::Full, Grad::y(&mut of_g))?;
    let (mut gradient, mut of_f) = (vec![0.0; x.len()], vec![0.0; m]);
    oracle.upper(x, y, Batch::Full, Grad::both(&mut gradient, &mut of_f))?;
    let curvature = curvature(oracle, (x, y))?;
    // Constraints are active within AT.
    let force = multipliers(&active, &of_g, curvature * norm2(y).sqrt().max(10.0 * AT / NEAR))?;

    let rows = active.len();
    let cut = CUT[usize::from(!oracle.is_exact((x, y)))];
    let mut kkt = |v: &[f64]| kkt_times(oracle, (x, y), &active, (&force, curvature), v);
    let rhs: Vec<f64> = std::iter::repeat_n(0.0, rows).chain(of_f.iter().copied()).collect();
    let v = match rhs.len() <= DENSE {
        true => pseudo_inverse(&mut kkt, &rhs, cut)?,
        false => minres(&mut kkt, &rhs)?,
    };
    let left: f64 = kkt(&v)?.iter().zip(&rhs).map(|(a, b)| (a - b).powi(2)).sum();
    let residual = (left / norm2(&rhs).max(f64::MIN_POSITIVE)).sqrt();
    // The whole right-hand side may be rounding where f is flat in y.
    if residual > RANGE && left.sqrt() > 1e-9 * oracle.slope(x, y)? {
        return Err(BilevelError::NotOptimistic { residual });
    }
    let mut cross = vec![0.0; x.len()];
    oracle.product(x, y, &v[rows..], Batch::Full, Grad::x(&mut cross))?;
    gradient.iter_mut().zip(&cross).for_each(|(g, c)| *g -= c);
    Ok(gradient)
}

/// The optimistic lower solution at x, by extrapolating the penalty's, then put back onto the lower level's
/// solutions; [`hypergradient`] wants it.
///
/// # Errors
/// As [`limit`].
pub fn optimistic(oracle: &mut Oracle<'_>, x: &[f64], start: &Solution) -> Result<Vec<f64>, BilevelError> {
    let mut y = limit(oracle, x, start)?.y;
    let set = oracle.problem().y_set();
    set.project(&mut y);
    // Newton's shortest steps to ∇_y g = 0 on the constraints that are active; solutions are a smooth family, so
    // two digits double twice.
    for _ in 0..2 {
        let Some(active) = set.active(&y) else { break };
        let mut of_g = vec![0.0; y.len()];
        oracle.lower(x, &y, Batch::Full, Grad::y(&mut of_g))?;
        let (rows, m) = (active.len(), y.len());
        if rows + m > DENSE || active.iter().any(|a| !a.curved.is_empty()) {
            break;
        }
        let force = vec![0.0; rows]; // nothing is curved here
        let curvature = curvature(oracle, (x, &y))?;
        let cut = CUT[usize::from(!oracle.is_exact((x, &y)))];
        let mut kkt = |v: &[f64]| kkt_times(oracle, (x, &y), &active, (&force, curvature), v);
        let rhs: Vec<f64> = std::iter::repeat_n(0.0, rows).chain(of_g.iter().map(|g| -g)).collect();
        let v = pseudo_inverse(&mut kkt, &rhs, cut)?;
        y.iter_mut().zip(&v[rows..]).for_each(|(y, v)| *y += v);
        set.project(&mut y);
    }
    Ok(y)
}

/// The largest curvature of g in y, by power iteration; 1 where there is none.
pub(crate) fn curvature(oracle: &mut Oracle<'_>, at: (&[f64], &[f64])) -> Result<f64, BilevelError> {
    let mut along: Vec<f64> = (0..at.1.len()).map(|i| 1.0 + 0.3 * (1.0 + 2.7 * i as f64).sin()).collect();
    let mut largest = 0.0;
    for _ in 0..10 {
        let norm = norm2(&along).sqrt();
        if norm == 0.0 {
            break;
        }
        along.iter_mut().for_each(|a| *a /= norm);
        along = oracle.hessian(at, &along, Batch::Full)?.1;
        largest = norm2(&along).sqrt().max(largest);
    }
    Ok(if largest > 0.0 { largest } else { 1.0 })
}

/// K·v, v the constraints' part and then y's part. The constraints' gradients are made as long as the curvature, so that
/// one cut of the eigenvalues is right for both parts.
fn kkt_times(
    oracle: &mut Oracle<'_>,
    (x, y): (&[f64], &[f64]),
    active: &[Active],
    (force, curvature): (&[f64], f64),
    v: &[f64],
) -> Result<Vec<f64>, BilevelError> {
    let (of_rows, of_y) = v.split_at(active.len());
    let mut out = vec![0.0; v.len()];
    let (top, bottom) = out.split_at_mut(active.len());
    oracle.product(x, y, of_y, Batch::Full, Grad::y(bottom))?;
    for ((constraint, top), (l, force)) in active.iter().zip(top).zip(of_rows.iter().zip(force)) {
        let length = curvature / norm2(&constraint.row).sqrt();
        *top = length * dot(&constraint.row, of_y);
        bottom.iter_mut().zip(&constraint.row).for_each(|(b, a)| *b += length * l * a);
        constraint.curved.clone().for_each(|i| bottom[i] += force * of_y[i]);
    }
    Ok(out)
}

/// Multipliers of the active constraints: least squares of `∇_y g + Aᵀλ = 0`. `size` is the curvature times |y|.
fn multipliers(active: &[Active], of_g: &[f64], size: f64) -> Result<Vec<f64>, BilevelError> {
    if active.is_empty() {
        return Ok(Vec::new());
    }
    let gram = |v: &[f64]| {
        let mut sum = vec![0.0; of_g.len()];
        active.iter().zip(v).for_each(|(a, l)| sum.iter_mut().zip(&a.row).for_each(|(s, a)| *s += l * a));
        Ok(active.iter().map(|a| dot(&a.row, &sum)).collect())
    };
    let rhs: Vec<f64> = active.iter().map(|a| -dot(&a.row, of_g)).collect();
    let force = pseudo_inverse(&mut { gram }, &rhs, CUT[0])?;
    let least = (STRICT * norm2(of_g).sqrt()).max(NEAR * size);
    let weak = |(a, l): &(&Active, &f64)| a.inequality && **l * norm2(&a.row).sqrt() <= least;
    let weak: Vec<f64> = active.iter().zip(&force).filter(weak).map(|(_, l)| l.abs()).collect();
    if !weak.is_empty() {
        let multiplier = weak.iter().copied().fold(f64::INFINITY, f64::min);
        return Err(BilevelError::NotStrict { count: weak.len(), multiplier });
    }
    Ok(force)
}

type Symmetric<'a> = &'a mut dyn FnMut(&[f64]) -> Result<Vec<f64>, BilevelError>;

/// The shortest least-squares solution by the eigen-decomposition; eigenvalues below `cut` times the largest are zero.
fn pseudo_inverse(apply: Symmetric<'_>, rhs: &[f64], cut: f64) -> Result<Vec<f64>, BilevelError> {
    let n = rhs.len();
    let mut matrix = Mat::<f64>::zeros(n, n);
    let mut unit = vec![0.0; n];
    for j in 0..n {
        unit[j] = 1.0;
        apply(&unit)?.into_iter().enumerate().for_each(|(i, v)| matrix[(i, j)] = v);
        unit[j] = 0.0;
    }
    // Differences are not quite symmetric.
    let matrix = Mat::from_fn(n, n, |i, j| 0.5 * (matrix[(i, j)] + matrix[(j, i)]));
    let Eigen { values, vectors } = Eigen::new(matrix).map_err(|_| {
        BilevelError::Data(
            "the KKT matrix has no eigen-decomposition; check the second derivatives of g".into(),
        )
    })?;
    let largest = (0..n).fold(0.0, |m: f64, i| m.max(values[i].abs()));
    let mut solution = vec![0.0; n];
    for k in (0..n).filter(|&k| values[k].abs() > cut * largest) {
        let part = (0..n).map(|i| vectors[(i, k)] * rhs[i]).sum::<f64>() / values[k];
        (0..n).for_each(|i| solution[i] += part * vectors[(i, k)]);
    }
    Ok(solution)
}

/// MINRES from 0 (Paige and Saunders 1975): the shortest solution of a singular consistent system.
fn minres(apply: Symmetric<'_>, rhs: &[f64]) -> Result<Vec<f64>, BilevelError> {
    let n = rhs.len();
    let norm = norm2(rhs).sqrt();
    let mut x = vec![0.0; n];
    if norm == 0.0 {
        return Ok(x);
    }
    // Lanczos vectors, and directions of the QR factorisation.
    let mut v: Vec<f64> = rhs.iter().map(|r| r / norm).collect();
    let (mut v_old, mut w, mut w_old) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let (mut beta, mut phi) = (0.0, norm);
    let (mut c, mut s, mut c_old, mut s_old) = (1.0, 0.0, 1.0, 0.0);
    for _ in 0..10 * n {
        let mut next = apply(&v)?;
        let alpha = dot(&next, &v);
        for i in 0..n {
            next[i] -= alpha * v[i] + beta * v_old[i];
        }
        let beta_next = norm2(&next).sqrt();
        let epsilon = s_old * beta;
        let delta = c * c_old * beta + s * alpha;
        let gamma_bar = c * alpha - s * c_old * beta;
        let gamma = gamma_bar.hypot(beta_next);
        if gamma <= f64::EPSILON * norm {
            break;
        }
        (c_old, s_old) = (c, s);
        (c, s) = (gamma_bar / gamma, beta_next / gamma);
        for i in 0..n {
            let direction = (v[i] - delta * w[i] - epsilon * w_old[i]) / gamma;
            w_old[i] = w[i];
            w[i] = direction;
            x[i] += c * phi * direction;
        }
        phi *= -s;
        if phi.abs() <= 1e-10 * norm || beta_next <= 1e-14 * alpha.abs() {
            break;
        }
        v_old = std::mem::replace(&mut v, next.iter().map(|u| u / beta_next).collect());
        beta = beta_next;
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A singular, indefinite, consistent system: both solvers give the shortest solution.
    #[test]
    fn minres_is_the_pseudo_inverse() {
        let diagonal = [3.0, -2.0, 0.0, 0.5, 0.0, -1.0, 7.0];
        let mix = |v: &[f64]| -> Vec<f64> {
            // A reflection: symmetric and orthogonal.
            let u: Vec<f64> = (0..7).map(|i| 1.0 + i as f64).collect();
            let t = 2.0 * dot(&u, v) / norm2(&u);
            v.iter().zip(&u).map(|(v, u)| v - t * u).collect()
        };
        let mut apply = |v: &[f64]| -> Result<Vec<f64>, BilevelError> {
            Ok(mix(&mix(v).iter().zip(diagonal).map(|(v, d)| v * d).collect::<Vec<_>>()))
        };
        let rhs = apply(&[1.0, -1.0, 2.0, 0.5, 0.0, 3.0, -2.0]).unwrap();
        let (a, b) = (pseudo_inverse(&mut apply, &rhs, CUT[0]).unwrap(), minres(&mut apply, &rhs).unwrap());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }
}
