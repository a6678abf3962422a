//! What can be known of a problem at a point: whether the assumptions of the theory hold there.

use thalweg_core::{Seed, normal};

use crate::baselines::implicit::{unheld, unique};
use crate::descent::{Goal, minimize, reach, stationarity};
use crate::explicit::{curvature, hypergradient, optimistic};
use crate::penalty::{Accuracy, Limit, evaluate, limit, relaxed};
use crate::set::norm2;
use crate::{Batch, BilevelError, Grad, Oracle, Set, Solution};

/// The state of both levels at a solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// ψ_σ at the solution's x.
    pub psi_sigma: f64,
    /// ψ, extrapolated; f(x,y) at the optimistic y.
    pub psi: f64,
    /// How far the last extrapolations of ψ are from each other.
    pub psi_error: f64,
    /// `‖x − Π_X(x − t∇ψ_σ)‖/t`, t at most 1 and a step of at most |x| or 1.
    pub stationarity: f64,
    /// g(x,y) − min g(x,·).
    pub gap: f64,
    /// What the theory does not cover here, in words.
    pub warnings: Vec<String>,
}

/// Evaluates ψ_σ and ψ at `at.x` precisely.
///
/// # Errors
/// As [`limit`].
pub fn report(oracle: &mut Oracle<'_>, at: &Solution, sigma: f64) -> Result<Report, BilevelError> {
    let mut here = at.clone();
    let psi = evaluate(oracle, &mut here, sigma, Accuracy::Relative(1e-9))?;
    let limit = limit(oracle, &at.x, &here)?;
    let t = reach(&at.x, &psi.gradient);
    let stationarity = stationarity(&at.x, &psi.gradient, oracle.problem().x_set(), t);
    let mut warnings = warnings(&limit);
    warnings.extend(bias(psi.value, sigma, &limit, psi.noise));
    if psi.swapped {
        warnings.push("the lower level has several basins: y was found in a better one than z".into());
    }
    Ok(Report {
        psi_sigma: psi.value,
        psi: limit.value,
        psi_error: limit.error,
        stationarity,
        gap: psi.gap,
        warnings,
    })
}

/// Whether implicit differentiation is right at a solution: one lower solution, held by no constraint of Y.
///
/// # Errors
/// [`BilevelError::NotUnique`], [`BilevelError::Held`], a lower level that cannot be solved.
pub fn implicit(oracle: &mut Oracle<'_>, at: &Solution) -> Result<(), BilevelError> {
    let mut y = at.y.clone();
    let left = relaxed(oracle, &at.x, &mut y, 0.0, Goal::Relative(1e-8))?.residual;
    unheld(oracle, (&at.x, &y), left)?;
    let slope = oracle.f_y((&at.x, &y), Batch::Full)?;
    unique(oracle, (&at.x, &y), &slope, &mut vec![0.0; y.len()], 1e-8)
}

fn warnings(limit: &Limit) -> Vec<String> {
    let mut all = Vec::new();
    let steepest = limit.table.iter().max_by(|a, b| norm2(&a.2).total_cmp(&norm2(&b.2)));
    if let Some((sigma, _, gradient)) = steepest.filter(|_| limit.jumps) {
        all.push(format!(
            "the gradient of the penalty grows as 1/σ ({:.1e} at σ = {sigma:.1e}): the lower level's solutions jump here, \
             and a stationary point of the penalty says nothing about the bilevel problem",
            norm2(gradient).sqrt()
        ));
    }
    if !limit.settled {
        all.push(format!(
            "ψ is known to {:.1e} only: the penalty does not begin to fall with σ before the digits run out",
            limit.error
        ));
    }
    all
}

/// Warns of a σ at which the penalty is far from its limit.
fn bias(psi_sigma: f64, sigma: f64, limit: &Limit, noise: f64) -> Option<String> {
    let bias = (limit.value - psi_sigma).abs();
    (bias > (1e-2 * limit.value.abs()).max(10.0 * limit.error).max(10.0 * noise)).then(|| {
        format!(
            "σ = {sigma:.1e} is not small beside the lower level's curvature: ψ_σ is {bias:.1e} from ψ, and its gradient \
             another one; use a smaller σ, or multiply g by a number"
        )
    })
}

/// What [`check`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Largest relative error of each gradient against central differences: ∇_x f, ∇_y f, ∇_x g, ∇_y g.
    pub gradients: [f64; 4],
    /// Largest relative error of ∇²_yy g·v and ∇²_xy g·v, if the problem has them.
    pub products: Option<f64>,
    /// Estimate (from above) of the constant μ of the proximal error bound, at σ = 0 and at 0.01; NaN where the lower
    /// level cannot be solved.
    pub error_bound: [f64; 2],
    /// ψ_σ and ∇ψ_σ as σ falls, or why they cannot be had.
    pub limit: Result<Limit, String>,
    /// The explicit hyper-gradient, or why there is none.
    pub explicit: Result<Vec<f64>, String>,
    /// What the theory does not cover here, in words.
    pub warnings: Vec<String>,
}

/// Tests gradients and assumptions at x, from the start of y.
///
/// # Errors
/// x of the wrong length or outside X.
pub fn check(oracle: &mut Oracle<'_>, x: &[f64], seed: Seed) -> Result<Check, BilevelError> {
    inside(oracle, x)?;
    let mut start = oracle.start();
    start.x = x.to_vec();
    let gradients = gradient_errors(oracle, &start, seed);
    let products = product_error(oracle, &start, seed);
    let mut warnings = Vec::new();
    for (name, error) in ["∇_x f", "∇_y f", "∇_x g", "∇_y g"].iter().zip(gradients) {
        if error > 1e-5 {
            warnings
                .push(format!("{name} is not the derivative of its function: relative error {error:.1e}"));
        }
    }
    if products.is_some_and(|e| e > 1e-5) {
        warnings.push("the second derivatives of g are not those of its gradient".into());
    }
    let limit = match limit(oracle, x, &start) {
        Ok(limit) => limit,
        Err(e) => {
            warnings.push(format!("ψ cannot be had: {e}"));
            let (error_bound, why) = ([f64::NAN; 2], e.to_string());
            return Ok(Check {
                gradients,
                products,
                error_bound,
                limit: Err(why.clone()),
                explicit: Err(why),
                warnings,
            });
        }
    };
    warnings.extend(self::warnings(&limit));
    // Near the σ that methods end with.
    let (sigma, value, _) = &limit.table[3];
    warnings.extend(bias(*value, *sigma, &limit, 0.0));
    let solution = Solution { x: x.to_vec(), y: limit.y.clone(), z: limit.y.clone() };
    let bound =
        |oracle: &mut Oracle<'_>, sigma| error_bound(oracle, &solution, sigma, seed).unwrap_or(f64::NAN);
    let error_bound = [bound(oracle, 0.0), bound(oracle, 0.01)];
    if error_bound[0] < 1e-6 * curvature(oracle, (x, &limit.y))? {
        warnings.push(format!(
            "the lower level is nearly flat beside its solutions (error bound {:.1e}): y and z, and with them the \
             gradient, will be imprecise",
            error_bound[0]
        ));
    }
    let explicit =
        optimistic(oracle, x, &start).and_then(|y| hypergradient(oracle, x, &y)).map_err(|e| e.to_string());
    match &explicit {
        Err(e) => warnings.push(format!("there is no explicit gradient: {e}")),
        Ok(explicit) => {
            let difference: f64 = explicit.iter().zip(&limit.gradient).map(|(a, b)| (a - b).powi(2)).sum();
            let relative = difference.sqrt() / norm2(explicit).sqrt().max(f64::MIN_POSITIVE);
            if relative > 1e-3 && difference.sqrt() > 10.0 * limit.gradient_error {
                warnings.push(format!("the limit of the penalty's gradient is not the explicit one: they differ by {relative:.1e}"));
            }
        }
    }
    Ok(Check { gradients, products, error_bound, limit: Ok(limit), explicit, warnings })
}

/// Refuses a point outside X.
fn inside(oracle: &Oracle<'_>, x: &[f64]) -> Result<(), BilevelError> {
    let needed = oracle.problem().dims().0;
    if x.len() != needed || x.iter().any(|v| !v.is_finite()) {
        return Err(BilevelError::Start { level: "X", found: x.len(), needed });
    }
    let mut near = x.to_vec();
    oracle.problem().x_set().project(&mut near);
    let off = near.iter().zip(x).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    if off > 1e-9 * norm2(x).sqrt().max(1.0) {
        let cause = format!("does not have this point: it is {off:.1e} away; the nearest one is {near:?}");
        return Err(BilevelError::Set { level: "X", cause });
    }
    Ok(())
}

/// Derivatives along random directions against central differences, near the start.
fn gradient_errors(oracle: &Oracle<'_>, at: &Solution, seed: Seed) -> [f64; 4] {
    let problem = oracle.problem();
    let mut worst = [0.0f64; 4];
    for trial in 0..5 {
        let mut rng = seed.stream("bilevel check", trial);
        let mut random = |n: usize| {
            let mut v = vec![0.0; n];
            normal(&mut rng, &mut v);
            v
        };
        let mut y = at.y.clone();
        crate::method::sampled::add(&mut y, 0.1, &random(at.y.len()));
        for (i, upper) in [true, true, false, false].into_iter().enumerate() {
            let value = |x: &[f64], y: &[f64], grad: Grad<'_>| match upper {
                true => problem.upper(x, y, Batch::Full, grad),
                false => problem.lower(x, y, Batch::Full, grad),
            };
            let by_x = i % 2 == 0;
            let d = random(if by_x { at.x.len() } else { y.len() });
            let d: Vec<f64> = d.iter().map(|v| v / norm2(&d).sqrt()).collect();
            let mut grad = vec![0.0; d.len()];
            value(&at.x, &y, if by_x { Grad::x(&mut grad) } else { Grad::y(&mut grad) });
            let t = 1e-5 * norm2(if by_x { &at.x } else { &y }).sqrt().max(1.0);
            let shifted = |t: f64| {
                let (mut x, mut y) = (at.x.clone(), y.clone());
                crate::method::sampled::add(if by_x { &mut x } else { &mut y }, t, &d);
                value(&x, &y, Grad::NONE)
            };
            let (ahead, behind) = (shifted(t), shifted(-t));
            let difference = (ahead - behind) / (2.0 * t);
            // Rounding of the values limits what the difference can show.
            let rounding = 1e-15 * ahead.abs().max(behind.abs()) / t;
            let slope = crate::set::dot(&grad, &d);
            let scale = slope
                .abs()
                .max(difference.abs())
                .max(1e-3 * norm2(&grad).sqrt())
                .max(1e-8 * ahead.abs())
                .max(f64::MIN_POSITIVE);
            worst[i] = worst[i].max(((slope - difference).abs() - rounding).max(0.0) / scale);
        }
    }
    worst
}

/// The problem's products against differences of its gradients.
fn product_error(oracle: &Oracle<'_>, at: &Solution, seed: Seed) -> Option<f64> {
    let problem = oracle.problem();
    let (n, m) = (at.x.len(), at.y.len());
    let mut v = vec![0.0; m];
    normal(&mut seed.stream("bilevel check products", 0), &mut v);
    let (mut x, mut y) = (vec![0.0; n], vec![0.0; m]);
    if !problem.product(&at.x, &at.y, &v, Batch::Full, Grad::both(&mut x, &mut y)) {
        return None;
    }
    let (mut near_x, mut near_y) = (vec![0.0; n], vec![0.0; m]);
    oracle.difference(&at.x, &at.y, &v, Batch::Full, Grad::both(&mut near_x, &mut near_y));
    let mut slope = (vec![0.0; n], vec![0.0; m]);
    problem.lower(&at.x, &at.y, Batch::Full, Grad::both(&mut slope.0, &mut slope.1));
    // What differences of gradients can show at all.
    let least = 1e-5 * (norm2(&slope.0) + norm2(&slope.1)).sqrt().max(f64::MIN_POSITIVE) * norm2(&v).sqrt();
    let error = |exact: &[f64], near: &[f64]| {
        let off: f64 = exact.iter().zip(near).map(|(e, n)| (e - n).powi(2)).sum();
        off.sqrt() / norm2(exact).sqrt().max(least)
    };
    Some(error(&x, &near_x).max(error(&y, &near_y)))
}

/// The smallest ratio `ρ⁻¹‖y − prox(y)‖ / dist(y, solutions)` met around the solutions of σf + g: an estimate from
/// above of the μ of the proximal error bound (arXiv:2309.01753, assumption 2).
fn error_bound(oracle: &mut Oracle<'_>, at: &Solution, sigma: f64, seed: Seed) -> Result<f64, BilevelError> {
    const RADIUS: f64 = 1e-2;
    // Of a curvature that the proximal step sees well.
    let rho = 0.2 / curvature(oracle, (&at.x, &at.y))?;
    let set: &Set = oracle.problem().y_set();
    let mut smallest = f64::INFINITY;
    for trial in 0..8 {
        let mut y = at.y.clone();
        let mut d = vec![0.0; y.len()];
        normal(&mut seed.stream("bilevel error bound", trial), &mut d);
        crate::method::sampled::add(&mut y, RADIUS * norm2(&at.y).sqrt().max(1.0) / norm2(&d).sqrt(), &d);
        set.project(&mut y);
        // The solution that descent from y reaches is taken for the nearest.
        let mut solution = y.clone();
        relaxed(oracle, &at.x, &mut solution, sigma, Goal::Relative(1e-10))?;
        let distance = y.iter().zip(&solution).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        if distance < 1e-7 * norm2(&at.y).sqrt().max(1.0) {
            continue;
        }
        let mut prox = y.clone();
        let mut of_f = vec![0.0; y.len()];
        let mut smoothed = |v: &[f64], grad: &mut [f64]| {
            let mut value = oracle.lower(&at.x, v, Batch::Full, Grad::y(grad))?;
            if sigma > 0.0 {
                value += sigma * oracle.upper(&at.x, v, Batch::Full, Grad::y(&mut of_f))?;
                crate::method::sampled::add(grad, sigma, &of_f);
            }
            for i in 0..v.len() {
                grad[i] += (v[i] - y[i]) / rho;
                value += (v[i] - y[i]).powi(2) / (2.0 * rho);
            }
            Ok(value)
        };
        minimize(&mut smoothed, set, None, &mut prox, Goal::Relative(1e-10), 10_000)?;
        let residual = y.iter().zip(&prox).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / rho;
        smallest = smallest.min(residual / distance);
    }
    Ok(smallest)
}
