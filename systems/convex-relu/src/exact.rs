//! The convex program by interior point, whole or for a few groups.

use crate::certificate::certify;
use crate::cone::Supports;
use crate::conic::{Conic, Kind};
use crate::{Certified, ConvexError, Loss, Program, Solution};

/// A gap as good as the solver's accuracy allows.
const FINE: f64 = 1e-7;
/// Rounds of [`finish`] at most.
const ROUNDS: usize = 30;

/// Solves (P) with all groups by the interior-point method.
///
/// # Errors
/// If the solver gives no point. A poor point gives a poor certificate, not an error.
pub fn exact(program: &Program) -> Result<Certified, ConvexError> {
    let (all, mut supports) = (vec![true; 2 * program.patterns().len()], Supports::default());
    let first = restricted(program, &all, None, &mut supports)?.0;
    if first.certificate.gap <= FINE {
        return Ok(first);
    }
    // Exponential cones end at reduced accuracy, and noise in many groups adds up.
    Ok(finish(program, &first, FINE).unwrap_or(first))
}

/// Finishes what a first-order method began: solves the program of the groups (all v, then all w,
/// by pattern) that are not 0, adds those whose dual distance exceeds β, and repeats until the
/// certified gap is at most `tol`.
///
/// # Errors
/// As [`exact`].
pub fn finish(program: &Program, start: &Certified, tol: f64) -> Result<Certified, ConvexError> {
    let p = program.patterns().len();
    let mut active = used(program, start);
    let mut best = start.clone();
    let mut supports = Supports::default();
    for _ in 0..ROUNDS {
        let before = best.certificate.gap;
        let newton = (program.loss() == Loss::Bce).then(|| best.solution.outputs.clone());
        let (now, theta) = restricted(program, &active, newton.as_deref(), &mut supports)?;
        let without_noise = used(program, &now);
        best = now.or(best);
        if best.certificate.gap <= tol {
            break;
        }
        let distances = program.distances(&theta, &mut supports.dual);
        let violated: Vec<usize> =
            (0..2 * p).filter(|&g| !active[g] && distances[g] > program.beta() * (1.0 + 1e-9)).collect();
        if !violated.is_empty() {
            violated.into_iter().for_each(|g| active[g] = true);
        } else if best.certificate.gap <= 0.5 * before || without_noise != active {
            // Groups that the optimum does not use hold the solver's noise.
            active = without_noise;
        } else {
            break;
        }
    }
    Ok(best)
}

/// Which groups of a solution are not 0.
fn used(program: &Program, certified: &Certified) -> Vec<bool> {
    let group = program.samples().d() * program.outputs();
    let Solution { v, w, .. } = &certified.solution;
    v.chunks(group).chain(w.chunks(group)).map(|g| g.iter().any(|x| *x != 0.0)).collect()
}

/// The program of the active groups only, certified against all; and its multiplier θ. With
/// `newton` the loss is replaced by its quadratic model at these outputs.
fn restricted(
    program: &Program,
    active: &[bool],
    newton: Option<&[f64]>,
    supports: &mut Supports,
) -> Result<(Certified, Vec<f64>), ConvexError> {
    let (samples, outputs) = (program.samples(), program.outputs());
    let (n, d, p) = (samples.n(), samples.d(), program.patterns().len());
    let group = d * outputs;
    let mut conic = Conic::default();
    let groups: Vec<(usize, usize)> =
        (0..2 * p).filter(|&g| active[g]).map(|g| (g, conic.variables(group, 0.0, 0.0).start)).collect();
    let norms = conic.variables(groups.len(), program.beta(), 0.0).start;
    let skip = program.geometry().skip().then(|| conic.variables(group, 0.0, 0.0).start);

    for (at, &(g, first)) in groups.iter().enumerate() {
        let cone = program.geometry().cone(g % p);
        for o in 0..outputs {
            for k in (0..n).filter(|&k| cone.norms[k] > 0.0) {
                let e = (2.0 * cone.pattern[k] - 1.0) / cone.norms[k];
                let terms = samples.row(k).iter().enumerate().map(|(i, x)| (first + o * d + i, e * x));
                conic.row(0.0, terms.collect::<Vec<_>>());
            }
            conic.cone(Kind::NonnegativeConeT(cone.norms.iter().filter(|s| **s > 0.0).count()));
        }
        conic.row(0.0, [(norms + at, 1.0)]);
        (0..group).for_each(|i| {
            conic.row(0.0, [(first + i, 1.0)]);
        });
        conic.cone(Kind::SecondOrderConeT(group + 1));
    }

    // The output of sample k: terms of r[k, o].
    let output = |k: usize, o: usize| {
        let mut terms = Vec::new();
        let mut put = |first: usize, s: f64| {
            terms.extend(samples.row(k).iter().enumerate().map(|(i, x)| (first + o * d + i, s * x)));
        };
        for &(g, first) in groups.iter().filter(|(g, _)| program.patterns().on(g % p, k)) {
            put(first, if g < p { 1.0 } else { -1.0 });
        }
        skip.into_iter().for_each(|first| put(first, 1.0));
        terms
    };
    let margins = match newton {
        Some(r) => model_rows(&mut conic, program, r, |k| output(k % n, k / n)),
        None => loss_rows(&mut conic, program.loss(), program.targets(), |k| output(k % n, k / n)),
    };

    let point = conic.solve()?;
    let mut v = vec![0.0; group * p];
    let mut w = v.clone();
    for &(g, first) in &groups {
        let side = if g < p { &mut v } else { &mut w };
        side[g % p * group..][..group].copy_from_slice(&point.x[first..first + group]);
    }
    let mut r = program.predict(&v, &w);
    if let Some(first) = skip {
        for (o, r) in r.chunks_mut(n).enumerate() {
            let linear = samples.times(&point.x[first + o * d..][..d]);
            r.iter_mut().zip(linear).for_each(|(r, l)| *r += l);
        }
    }
    let y = program.targets();
    let theta: Vec<f64> = match program.loss() {
        Loss::Hinge => margins.iter().zip(y).map(|(row, y)| -y * point.z[*row]).collect(),
        loss => r.iter().zip(y).map(|(r, y)| loss.slope(*r, *y)).collect(),
    };
    Ok((certify(program, &v, &w, &r, &theta, supports)?, theta))
}

/// Adds Σ ℓ'(r⁰_k) e_k + ½ ℓ''(r⁰_k) e_k² for e = r − r⁰, the model of the cross-entropy.
fn model_rows(
    conic: &mut Conic,
    program: &Program,
    r: &[f64],
    output: impl Fn(usize) -> Vec<(usize, f64)>,
) -> Vec<usize> {
    let e = conic.variables(r.len(), 0.0, 0.0).start;
    for (k, (r, y)) in r.iter().zip(program.targets()).enumerate() {
        let slope = program.loss().slope(*r, *y);
        conic.cost(e + k, slope, slope.abs() * (2.0 - slope.abs()));
    }
    let row = |k: usize| output(k).into_iter().chain([(e + k, -1.0)]).collect::<Vec<_>>();
    let rows = (0..r.len()).map(|k| conic.row(-r[k], row(k))).collect();
    conic.cone(Kind::ZeroConeT(r.len()));
    rows
}

/// Adds Σ ℓ(r_k, y_k) with the terms of r_k to the program; the first row of each sample.
pub(crate) fn loss_rows(
    conic: &mut Conic,
    loss: Loss,
    y: &[f64],
    output: impl Fn(usize) -> Vec<(usize, f64)>,
) -> Vec<usize> {
    let scaled = |k: usize, s: f64| output(k).into_iter().map(move |(j, a)| (j, s * a)).collect::<Vec<_>>();
    match loss {
        Loss::Squared => {
            // e_k = r_k − y_k
            let e = conic.variables(y.len(), 0.0, 1.0).start;
            let row = |k: usize| scaled(k, 1.0).into_iter().chain([(e + k, -1.0)]).collect::<Vec<_>>();
            let rows = (0..y.len()).map(|k| conic.row(-y[k], row(k))).collect();
            conic.cone(Kind::ZeroConeT(y.len()));
            rows
        }
        Loss::Hinge => {
            // ξ_k ≥ 1 − y_k r_k, ξ_k ≥ 0
            let xi = conic.variables(y.len(), 1.0, 0.0).start;
            let row = |k: usize| scaled(k, y[k]).into_iter().chain([(xi + k, 1.0)]).collect::<Vec<_>>();
            let rows = (0..y.len()).map(|k| conic.row(-1.0, row(k))).collect();
            (0..y.len()).for_each(|k| {
                conic.row(0.0, [(xi + k, 1.0)]);
            });
            conic.cone(Kind::NonnegativeConeT(2 * y.len()));
            rows
        }
        Loss::Bce => {
            let margin = |k: usize| (0.0, scaled(k, -2.0 * y[k]));
            softplus_rows(conic, y.len(), margin)
        }
    }
}

/// Adds Σ log(1 + exp(x_k)), x_k an affine expression: t with exp(x − t) + exp(−t) ≤ 1.
pub(crate) fn softplus_rows(
    conic: &mut Conic,
    count: usize,
    x: impl Fn(usize) -> (f64, Vec<(usize, f64)>),
) -> Vec<usize> {
    let t = conic.variables(count, 1.0, 0.0).start;
    let parts = conic.variables(2 * count, 0.0, 0.0).start;
    let mut rows = Vec::with_capacity(count);
    for k in 0..count {
        let (constant, terms) = x(k);
        for (part, constant, terms) in [(0, constant, terms), (1, 0.0, Vec::new())] {
            let row = conic.row(constant, terms.into_iter().chain([(t + k, -1.0)]).collect::<Vec<_>>());
            conic.row(1.0, []);
            conic.row(0.0, [(parts + 2 * k + part, 1.0)]);
            conic.cone(Kind::ExponentialConeT());
            if part == 0 {
                rows.push(row);
            }
        }
    }
    for k in 0..count {
        conic.row(1.0, [(parts + 2 * k, -1.0), (parts + 2 * k + 1, -1.0)]);
    }
    conic.cone(Kind::NonnegativeConeT(count));
    rows
}
