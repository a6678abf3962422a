//! The convex program by interior point, whole or for a few groups.

use crate::certificate::certify;
use crate::certificate::{Certified, Solution};
use crate::cone::Supports;
use crate::conic::{Conic, Kind};
use crate::grow::reach;
use crate::loss::sigmoid;
use crate::program::FINE;
use crate::samples::dot;
use crate::{ConvexError, Loss, Program};

/// Rounds of [`finish`] at most.
const ROUNDS: usize = 30;

/// Cone constraints of a group that a [`finish`] starts with, by dimension of a sample: more cannot
/// be active at once unless they depend on each other.
const TIGHTEST: usize = 2;

/// A group of the restricted program (all v, then all w, by pattern) with the samples whose cone
/// constraints it holds.
#[derive(Clone, PartialEq)]
struct Group {
    index: usize,
    rows: Vec<usize>,
}

/// Solves (P) with all groups by the interior-point method, or ends with the best so far when the program's time
/// is up.
///
/// # Errors
/// If the solver gives no point. A poor point gives a poor certificate, not an error.
pub fn exact(program: &Program) -> Result<Certified, ConvexError> {
    let all: Vec<Group> = (0..2 * program.patterns().len()).map(|g| whole(program, g)).collect();
    let first = restricted(program, &all, None, &mut Supports::default())?.certified;
    if first.certificate.gap <= FINE || program.late() {
        return Ok(first);
    }
    // Exponential cones end at reduced accuracy, and noise in many groups adds up.
    Ok(finish(program, &first, FINE).unwrap_or(first))
}

/// Finishes what a first-order method began: solves the program of the groups that are not 0 with
/// their tightest constraints, adds the groups whose dual distance exceeds β and the constraints that
/// are broken, and repeats until the certified gap is at most `tol`.
///
/// # Errors
/// As [`exact`].
pub fn finish(program: &Program, start: &Certified, tol: f64) -> Result<Certified, ConvexError> {
    let Solution { v, w, .. } = &start.solution;
    let mut active: Vec<Group> =
        used(program, v, w).map(|(index, v)| Group { index, rows: tightest(program, index, v) }).collect();
    let mut best = start.clone();
    let mut supports = Supports::default();
    for _ in 0..ROUNDS {
        let before = best.certificate.gap;
        let newton = (program.loss() == Loss::Bce).then(|| margins(program, &best.solution.outputs));
        let now = restricted(program, &active, newton.as_deref(), &mut supports)?;
        best = now.certified.clone().or(best);
        if best.certificate.gap <= tol || program.late() {
            break;
        }
        let distances = program.distances(&now.theta, &mut supports.dual);
        let far = |g: usize| distances[g] > program.beta() * (1.0 + 1e-9);
        let mut wider = active.clone();
        for group in &mut wider {
            let v = now.column(program, group.index);
            let broken = |k: &usize| slack(program, group.index, v, *k) < 0.0 && !group.rows.contains(k);
            let broken: Vec<usize> = (0..program.samples().n()).filter(broken).collect();
            group.rows.extend(broken);
        }
        for g in (0..2 * program.patterns().len()).filter(|&g| far(g)) {
            if active.iter().all(|a| a.index != g) {
                let direction = steepest(program, &now.theta, g);
                wider.push(Group { index: g, rows: tightest(program, g, &direction) });
            }
        }
        if wider == active {
            // Groups that the optimum does not use hold the solver's noise.
            let Solution { v, w, .. } = &now.certified.solution;
            let kept: Vec<usize> = used(program, v, w).map(|(g, _)| g).collect();
            wider.retain(|group| kept.contains(&group.index));
            if wider == active && best.certificate.gap > 0.5 * before {
                break;
            }
        }
        active = wider;
    }
    Ok(best)
}

/// The groups of (v, w) that are not 0.
fn used<'a>(program: &Program, v: &'a [f64], w: &'a [f64]) -> impl Iterator<Item = (usize, &'a [f64])> {
    let group = program.samples().d() * program.outputs();
    v.chunks(group).chain(w.chunks(group)).enumerate().filter(|(_, v)| v.iter().any(|x| *x != 0.0))
}

/// A group with all its constraints.
fn whole(program: &Program, index: usize) -> Group {
    Group { index, rows: (0..program.samples().n()).collect() }
}

/// The distance of `v`, the columns of a group, to the side of sample k's hyperplane that its cone
/// forbids: the least of its outputs.
fn slack(program: &Program, index: usize, v: &[f64], k: usize) -> f64 {
    let cone = program.geometry().cone(index % program.patterns().len());
    let e = cone.sign(k) / cone.norms[k].max(f64::MIN_POSITIVE);
    let height = |v: &[f64]| e * dot(program.samples().row(k), v);
    v.chunks(program.samples().d()).map(height).fold(f64::INFINITY, f64::min)
}

/// The constraints of a group that its columns `v` are nearest to breaking.
fn tightest(program: &Program, index: usize, v: &[f64]) -> Vec<usize> {
    let mut order: Vec<(f64, usize)> =
        (0..program.samples().n()).map(|k| (slack(program, index, v, k), k)).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    order.truncate(TIGHTEST * program.samples().d());
    order.into_iter().map(|(_, k)| k).collect()
}

/// The direction in a group's cone that lowers the objective most at θ, by outputs.
fn steepest(program: &Program, theta: &[f64], index: usize) -> Vec<f64> {
    let p = program.patterns().len();
    let (sign, on) = (if index < p { 1.0 } else { -1.0 }, program.geometry().pattern(index % p));
    let one = |theta: &[f64]| reach(program, theta, sign, on).1.into_iter().map(|c| -c);
    theta.chunks(program.samples().n()).flat_map(one).collect()
}

/// The solution of a restricted program before its certificate moved it into the cones.
struct Restricted {
    certified: Certified,
    v: Vec<f64>,
    w: Vec<f64>,
    theta: Vec<f64>,
}

impl Restricted {
    /// The columns of a group.
    fn column(&self, program: &Program, index: usize) -> &[f64] {
        let (group, p) = (program.samples().d() * program.outputs(), program.patterns().len());
        let side = if index < p { &self.v } else { &self.w };
        &side[index % p * group..][..group]
    }
}

/// −2yr, the margins that [`margin_rows`] models the cross-entropy at.
fn margins(program: &Program, r: &[f64]) -> Vec<f64> {
    r.iter().zip(program.targets()).map(|(r, y)| -2.0 * y * r).collect()
}

/// The program of the active groups only, certified against all; and its multiplier θ. With
/// `newton` the cross-entropy is replaced by its quadratic model at these margins.
fn restricted(
    program: &Program,
    active: &[Group],
    newton: Option<&[f64]>,
    supports: &mut Supports,
) -> Result<Restricted, ConvexError> {
    let (samples, outputs) = (program.samples(), program.outputs());
    let (n, d, p) = (samples.n(), samples.d(), program.patterns().len());
    let group = d * outputs;
    let mut conic = Conic::default();
    let groups: Vec<(&Group, usize)> =
        active.iter().map(|g| (g, conic.variables(group, 0.0, 0.0).start)).collect();
    let norms = conic.variables(groups.len(), program.beta(), 0.0).start;
    let linear = program.geometry().linear_part().then(|| conic.variables(group, 0.0, 0.0).start);

    for (at, &(g, first)) in groups.iter().enumerate() {
        let cone = program.geometry().cone(g.index % p);
        for o in 0..outputs {
            let first_row = conic.rows();
            for &k in g.rows.iter().filter(|&&k| cone.norms[k] > 0.0) {
                let e = cone.sign(k) / cone.norms[k];
                let terms = samples.row(k).iter().enumerate().map(|(i, x)| (first + o * d + i, e * x));
                conic.row(0.0, terms.collect::<Vec<_>>());
            }
            conic.cone(Kind::NonnegativeConeT(conic.rows() - first_row));
        }
        conic.row(0.0, [(norms + at, 1.0)]);
        (0..group).for_each(|i| {
            conic.row(0.0, [(first + i, 1.0)]);
        });
        conic.cone(Kind::SecondOrderConeT(group + 1));
    }

    // s times output k.
    let output = |k: usize, s: f64| {
        let (k, o) = (k % n, k / n);
        let mut terms = Vec::new();
        let mut put = |first: usize, s: f64| {
            terms.extend(samples.row(k).iter().enumerate().map(|(i, x)| (first + o * d + i, s * x)));
        };
        for &(g, first) in groups.iter().filter(|(g, _)| program.patterns().on(g.index % p, k)) {
            put(first, if g.index < p { s } else { -s });
        }
        linear.into_iter().for_each(|first| put(first, s));
        terms
    };
    let y = program.targets();
    let rows = match program.loss() {
        Loss::Squared => {
            // e_k = r_k − y_k
            let e = conic.variables(y.len(), 0.0, 1.0).start;
            let row = |k: usize| conic.row(-y[k], output(k, 1.0).into_iter().chain([(e + k, -1.0)]));
            let rows = (0..y.len()).map(row).collect();
            conic.cone(Kind::ZeroConeT(y.len()));
            rows
        }
        loss => margin_rows(&mut conic, loss, y, newton, |k, s, _| output(k, s)),
    };

    let point = conic.solve(program.left())?;
    let mut v = vec![0.0; group * p];
    let mut w = v.clone();
    for &(g, first) in &groups {
        let side = if g.index < p { &mut v } else { &mut w };
        side[g.index % p * group..][..group].copy_from_slice(&point.x[first..first + group]);
    }
    let mut r = program.predict(&v, &w);
    if let Some(first) = linear {
        for (o, r) in r.chunks_mut(n).enumerate() {
            let outputs = samples.times(&point.x[first + o * d..][..d]);
            r.iter_mut().zip(outputs).for_each(|(r, l)| *r += l);
        }
    }
    let theta: Vec<f64> = match program.loss() {
        Loss::Hinge => rows.iter().zip(y).map(|(row, y)| -y * point.z[*row]).collect(),
        loss => r.iter().zip(y).map(|(r, y)| loss.slope(*r, *y)).collect(),
    };
    Ok(Restricted { certified: certify(program, &v, &w, &r, &theta, supports)?, v, w, theta })
}

/// Adds the hinge or cross-entropy losses of the outputs r_k − y_k·reach_k, the worst of a box around
/// each sample; `terms(k, s, t)` are those of s·r_k + t·reach_k. With margins `at` the cross-entropy is
/// replaced by its quadratic model there. The row of each sample whose multiplier is its weight.
pub(crate) fn margin_rows(
    conic: &mut Conic,
    loss: Loss,
    y: &[f64],
    at: Option<&[f64]>,
    terms: impl Fn(usize, f64, f64) -> Vec<(usize, f64)>,
) -> Vec<usize> {
    let n = y.len();
    match at {
        _ if loss == Loss::Hinge => {
            // ξ_k ≥ 1 − y_k r_k + reach_k, ξ_k ≥ 0
            let xi = conic.variables(n, 1.0, 0.0).start;
            let row = |k: usize| conic.row(-1.0, terms(k, y[k], -1.0).into_iter().chain([(xi + k, 1.0)]));
            let rows = (0..n).map(row).collect();
            (0..n).for_each(|k| {
                conic.row(0.0, [(xi + k, 1.0)]);
            });
            conic.cone(Kind::NonnegativeConeT(2 * n));
            rows
        }
        Some(at) => {
            let x = conic.variables(n, 0.0, 0.0).start;
            for (k, at) in at.iter().enumerate() {
                let slope = sigmoid(*at);
                let curvature = (slope * (1.0 - slope)).max(1e-9);
                conic.cost(x + k, slope - curvature * at, curvature);
            }
            let row = |k: usize| conic.row(0.0, terms(k, 2.0 * y[k], -2.0).into_iter().chain([(x + k, 1.0)]));
            let rows = (0..n).map(row).collect();
            conic.cone(Kind::NonnegativeConeT(n));
            rows
        }
        None => softplus_rows(conic, n, |k| terms(k, -2.0 * y[k], 2.0)),
    }
}

/// Adds Σ log(1 + exp(x_k)), x_k given by terms: t with exp(x − t) + exp(−t) ≤ 1.
fn softplus_rows(conic: &mut Conic, count: usize, x: impl Fn(usize) -> Vec<(usize, f64)>) -> Vec<usize> {
    let t = conic.variables(count, 1.0, 0.0).start;
    let parts = conic.variables(2 * count, 0.0, 0.0).start;
    let mut rows = Vec::with_capacity(count);
    for k in 0..count {
        rows.push(conic.rows());
        for (part, terms) in [(2 * k, x(k)), (2 * k + 1, Vec::new())] {
            conic.row(0.0, terms.into_iter().chain([(t + k, -1.0)]));
            conic.row(1.0, []);
            conic.row(0.0, [(parts + part, 1.0)]);
            conic.cone(Kind::ExponentialConeT());
        }
    }
    for k in 0..count {
        conic.row(1.0, [(parts + 2 * k, -1.0), (parts + 2 * k + 1, -1.0)]);
    }
    conic.cone(Kind::NonnegativeConeT(count));
    rows
}
