//! Yardsticks that take trial solves: the best fixed setting in hindsight, the best ω for every instance.

use std::time::Instant;

use rayon::prelude::*;
use thalweg_core::MethodError;

use crate::method::{Arm, Cost};
use crate::{RelaxError, Scheme, Sequence, TunedSolver};

/// A solve for comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// What it cost, in the unit of [`TunedSolver::cost`].
    pub cost: f64,
    /// Its iterations; of a solve that failed, the most that are allowed.
    pub iterations: u64,
    /// Whether the system was solved to the tolerance.
    pub converged: bool,
}

/// The best setting of one system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Its method.
    pub method: Scheme,
    /// Its ω.
    pub omega: f64,
    /// What it takes.
    pub trial: Trial,
}

fn try_out<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver, arm: Arm) -> Result<Trial, RelaxError> {
    let clock = Instant::now();
    let solved = sequence.try_out(&tuned.solver(arm))?;
    let seconds = clock.elapsed().as_secs_f64();
    Ok(Trial {
        cost: tuned.cost.of(arm.method, sequence.matrix(), &solved, seconds),
        iterations: solved.counted() as u64,
        converged: solved.converged(),
    })
}

/// What every arm takes on one system, `[arms]`. Where time is the cost, one after the other.
pub fn trials<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Vec<Trial>, RelaxError> {
    let trial = |arm: &Arm| try_out(sequence, tuned, *arm);
    match tuned.cost {
        Cost::Time => tuned.arms.iter().map(trial).collect(),
        Cost::Iterations | Cost::Flops => tuned.arms.par_iter().map(trial).collect(),
    }
}

/// The best ω for the system at hand: Young's where the matrix is consistently ordered and the method
/// is SOR; else the best arm, and golden sections between its neighbours.
pub fn instance_optimal<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Best, RelaxError> {
    match young(sequence, tuned)? {
        Some(best) => Ok(best),
        None => refine(sequence, tuned, &trials(sequence, tuned)?),
    }
}

fn young<P: Sequence + ?Sized>(sequence: &P, tuned: &TunedSolver) -> Result<Option<Best>, RelaxError> {
    let sor = tuned.arms.iter().all(|a| a.method.is_sor());
    let Some(omega) = sequence.optimal_omega().filter(|_| sor) else { return Ok(None) };
    let arm = Arm { method: tuned.arms[0].method, omega };
    Ok(Some(Best { method: arm.method, omega, trial: try_out(sequence, tuned, arm)? }))
}

/// Golden sections around the cheapest arm.
fn refine<P: Sequence + ?Sized>(
    sequence: &P,
    tuned: &TunedSolver,
    trials: &[Trial],
) -> Result<Best, RelaxError> {
    let best = (0..trials.len()).min_by(|&a, &b| trials[a].cost.total_cmp(&trials[b].cost)).unwrap_or(0);
    let Arm { method, omega } = tuned.arms[best];
    let mut best = Best { method, omega, trial: trials[best] };
    if !method.relaxes() {
        return Ok(best);
    }
    // All arms as cheap as the best, and the neighbours that enclose them.
    let least = best.trial.cost;
    let same = || tuned.arms.iter().zip(trials).filter(|(a, _)| a.method == method);
    let flat = || same().filter(|(_, t)| t.cost == least).map(|f| f.0.omega);
    let others = || same().map(|f| f.0.omega);
    let (first, last) = (flat().fold(2.0, f64::min), flat().fold(0.0, f64::max));
    let low = others().filter(|o| *o < first).fold(first, |l, o| if l == first { o } else { l.max(o) });
    let high = others().filter(|o| *o > last).fold(last, |h, o| if h == last { o } else { h.min(o) });
    golden_section((low, high), 0.01, |omega| {
        let trial = try_out(sequence, tuned, Arm { method, omega })?;
        if trial.cost < best.trial.cost {
            best = Best { omega, trial, ..best };
        }
        Ok::<_, RelaxError>(trial.cost)
    })?;
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

/// The yardsticks of a whole sequence; costs are in the unit of [`TunedSolver::cost`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What each arm would have taken in all, had it solved every system, `[arms]`.
    pub fixed: Vec<Total>,
    /// What the best ω for every instance takes in all.
    pub oracle: Total,
    /// Cost of each arm on each system, `[steps][arms]`.
    pub costs: Vec<Vec<f64>>,
    /// The best ω of each system.
    pub omegas: Vec<f64>,
    /// Its cost.
    pub optimal: Vec<f64>,
}

/// What several solves take together; those that failed count as the most iterations that are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// In the unit of [`TunedSolver::cost`].
    pub cost: f64,
    /// Iterations.
    pub iterations: u64,
    /// Systems that were not solved to the tolerance.
    pub unsolved: u64,
}

impl Total {
    fn add(&mut self, trial: &Trial) {
        self.cost += trial.cost;
        self.iterations += trial.iterations;
        self.unsolved += u64::from(!trial.converged);
    }
}

impl Comparison {
    /// The arm with the smallest cost.
    pub fn best_arm(&self) -> usize {
        let cost = |arm: usize| self.fixed[arm].cost;
        (0..self.fixed.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(0)
    }

    /// What it takes.
    pub fn best_fixed(&self) -> Total {
        self.fixed.get(self.best_arm()).copied().unwrap_or_default()
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
    let mut all = Comparison { fixed: vec![Total::default(); tuned.arms.len()], ..Comparison::default() };
    for t in 0..sequence.steps() {
        if !go_on(t) {
            break;
        }
        sequence.begin_step(t)?;
        let trials = trials(sequence, tuned)?;
        let best = match young(sequence, tuned)? {
            Some(best) => best,
            None => refine(sequence, tuned, &trials)?,
        };
        all.fixed.iter_mut().zip(&trials).for_each(|(sum, trial)| sum.add(trial));
        all.oracle.add(&best.trial);
        all.omegas.push(best.omega);
        all.optimal.push(best.trial.cost);
        all.costs.push(trials.iter().map(|t| t.cost).collect());
        sequence.solve(&tuned.solver(Arm { method: best.method, omega: best.omega }))?;
        sequence.end_step()?;
    }
    Ok(all)
}
