//! Yardsticks that take trial solves: the best fixed setting in hindsight, the best ω for every instance.

use rayon::prelude::*;
use thalweg_core::MethodError;

use crate::method::Arm;
use crate::{RelaxError, Scheme, Sequence, TunedSolver};

/// The best setting of one system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Its method.
    pub method: Scheme,
    /// Its ω.
    pub omega: f64,
    /// Its iterations.
    pub cost: f64,
}

/// What every arm takes on one system, `[arms]`.
pub fn costs<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Vec<f64>, RelaxError> {
    let cost = |arm: &Arm| Ok(sequence.try_out(&tuned.solver(*arm))?.cost());
    tuned.arms.par_iter().map(cost).collect()
}

/// The best ω for the system at hand: Young's where the matrix is consistently ordered and the method
/// is SOR; else the best arm, and golden sections between its neighbours.
pub fn instance_optimal<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Best, RelaxError> {
    match young(sequence, tuned)? {
        Some(best) => Ok(best),
        None => refine(sequence, tuned, &costs(sequence, tuned)?),
    }
}

fn young<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Option<Best>, RelaxError> {
    let sor = tuned.arms.iter().all(|a| a.method.is_sor());
    let Some(omega) = sequence.optimal_omega().filter(|_| sor) else { return Ok(None) };
    let arm = Arm { method: tuned.arms[0].method, omega };
    let cost = sequence.try_out(&tuned.solver(arm))?.cost();
    Ok(Some(Best { method: arm.method, omega, cost }))
}

/// Golden sections around the cheapest arm.
fn refine<P: Sequence + ?Sized>(
    sequence: &P,
    tuned: &TunedSolver,
    costs: &[f64],
) -> Result<Best, RelaxError> {
    let best = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(0);
    let Arm { method, omega } = tuned.arms[best];
    let mut best = Best { method, omega, cost: costs[best] };
    if !method.relaxes() {
        return Ok(best);
    }
    // All arms as cheap as the best, and the neighbours that enclose them.
    let flat = || {
        tuned
            .arms
            .iter()
            .zip(costs)
            .filter(|(a, c)| a.method == method && **c == best.cost)
            .map(|f| f.0.omega)
    };
    let others = || tuned.arms.iter().filter(|a| a.method == method).map(|a| a.omega);
    let (first, last) = (flat().fold(2.0, f64::min), flat().fold(0.0, f64::max));
    let low = others().filter(|o| *o < first).fold(first, |l, o| if l == first { o } else { l.max(o) });
    let high = others().filter(|o| *o > last).fold(last, |h, o| if h == last { o } else { h.min(o) });
    let cost =
        |omega: f64| Ok::<_, RelaxError>(sequence.try_out(&tuned.solver(Arm { method, omega }))?.cost());
    let (omega, least) = golden_section((low, high), 0.01, cost)?;
    if least < best.cost {
        best = Best { omega, cost: least, ..best };
    }
    Ok(best)
}

/// The minimum of a function that falls and then rises, by golden sections until the bracket is `width`
/// wide. Costs are whole numbers: where two points tie, the minimum lies between them.
pub fn golden_section<E>(
    (mut low, mut high): (f64, f64),
    width: f64,
    mut f: impl FnMut(f64) -> Result<f64, E>,
) -> Result<(f64, f64), E> {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let mut best = (0.5 * (low + high), f64::INFINITY);
    let mut at = |x: f64| -> Result<f64, E> {
        let y = f(x)?;
        if y < best.1 {
            best = (x, y);
        }
        Ok(y)
    };
    let points = |low: f64, high: f64| (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut a, mut b) = points(low, high);
    let (mut fa, mut fb) = (at(a)?, at(b)?);
    while high - low > width {
        if fa < fb {
            (high, b, fb) = (b, a, fa);
            a = points(low, high).0;
            fa = at(a)?;
        } else if fb < fa {
            (low, a, fa) = (a, b, fb);
            b = points(low, high).1;
            fb = at(b)?;
        } else {
            (low, high) = (a, b);
            (a, b) = points(low, high);
            (fa, fb) = (at(a)?, at(b)?);
        }
    }
    at(0.5 * (low + high))?;
    Ok(best)
}

/// The yardsticks of a whole sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Total of each arm, had it solved every system, `[arms]`.
    pub fixed: Vec<u64>,
    /// Total of the best ω for every instance.
    pub oracle: u64,
    /// Iterations of each arm on each system, `[steps][arms]`.
    pub costs: Vec<Vec<f64>>,
    /// The best ω of each system.
    pub omegas: Vec<f64>,
    /// Its iterations.
    pub optimal: Vec<f64>,
}

impl Comparison {
    /// The arm with the smallest total.
    pub fn best_arm(&self) -> usize {
        (0..self.fixed.len()).min_by_key(|&a| self.fixed[a]).unwrap_or(0)
    }

    /// The smallest total of a fixed arm.
    pub fn best_fixed(&self) -> u64 {
        self.fixed.iter().copied().min().unwrap_or(0)
    }
}

/// Solves every system with every arm. Where systems start from the last solution, all arms start from
/// the one that the best arm found: at a tight tolerance the paths hardly differ. `go_on` is asked
/// before each step.
pub fn compare<P: Sequence + ?Sized>(
    sequence: &mut P,
    tuned: &TunedSolver,
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<Comparison, MethodError> {
    let mut all = Comparison { fixed: vec![0; tuned.arms.len()], ..Comparison::default() };
    for t in 0..sequence.steps() {
        if !go_on(t) {
            break;
        }
        sequence.begin_step(t)?;
        let costs = costs(sequence, tuned)?;
        let best = match young(sequence, tuned)? {
            Some(best) => best,
            None => refine(sequence, tuned, &costs)?,
        };
        all.fixed.iter_mut().zip(&costs).for_each(|(sum, c)| *sum += *c as u64);
        all.oracle += best.cost as u64;
        all.omegas.push(best.omega);
        all.optimal.push(best.cost);
        all.costs.push(costs);
        sequence.solve(&tuned.solver(Arm { method: best.method, omega: best.omega }))?;
        sequence.end_step()?;
    }
    Ok(all)
}
