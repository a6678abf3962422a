//! The loop over a sequence of systems: choose, solve, learn.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::learner::omega_grid;
use crate::oracle::instance_optimal;
use crate::solver::Solved;
use crate::{Interval, Learner, Matrix, Policy, Scheme, Sequence, Solver};

/// What a solve costs: what learners learn from and what totals and yardsticks compare. A solve that failed costs
/// what the largest allowed number of iterations would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Iterations.
    #[default]
    Iterations,
    /// Thousands of floating-point operations, by [`Scheme::flops`].
    Flops,
    /// Microseconds on the clock: what the user waits for, but no run repeats another.
    Time,
}

/// One solver setting of a list that a learner chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// The method.
    pub method: Scheme,
    /// Its ω.
    pub omega: f64,
}

/// Solves a sequence of systems and lets a learner choose the setting of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TunedSolver {
    /// How ω is chosen.
    pub policy: Policy,
    /// The settings to choose from.
    pub arms: Vec<Arm>,
    /// Relative tolerance.
    pub tol: f64,
    /// Iterations at most.
    pub max_iterations: usize,
    /// What solves cost.
    pub cost: Cost,
}

impl Cost {
    /// The unit, for people.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Iterations => "iterations",
            Self::Flops => "thousand flops",
            Self::Time => "µs",
        }
    }

    /// What a solve with this method took.
    pub fn of(self, method: Scheme, matrix: &dyn Matrix, solved: &Solved, seconds: f64) -> f64 {
        match self {
            Self::Iterations => solved.counted() as f64,
            Self::Flops => solved.counted() as f64 * method.flops(matrix.rows(), matrix.entries()) / 1e3,
            Self::Time => 1e6 * seconds * solved.cost() / solved.iterations.max(1) as f64,
        }
    }
}

impl Default for TunedSolver {
    /// The joint model over the paper's 20 values of ω for SOR.
    fn default() -> Self {
        let Solver { tol, max_iterations, .. } = Solver::default();
        let arms = arms(&[Scheme::Sor], &omega_grid(1.0, 1.95, 20));
        Self { policy: Policy::default(), arms, tol, max_iterations, cost: Cost::default() }
    }
}

/// Every method with every ω; methods without ω once.
pub fn arms(methods: &[Scheme], omegas: &[f64]) -> Vec<Arm> {
    let of = |&method: &Scheme| {
        let omegas = if method.relaxes() { omegas } else { &[1.0] };
        omegas.iter().map(move |&omega| Arm { method, omega }).collect::<Vec<_>>()
    };
    methods.iter().flat_map(of).collect()
}

/// What changes while a sequence is solved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunedSolverState {
    /// The learner; `None` under the oracle.
    learner: Option<Learner>,
    /// Systems that were not solved to the tolerance.
    unsolved: u64,
    /// Cost of all solves, in the unit of [`TunedSolver::cost`].
    cost: f64,
    /// Seconds in solvers and learner.
    seconds: f64,
}

/// What a sequence took; the iterations are the run's evaluations, where a solve that failed counts as
/// [`TunedSolver::max_iterations`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedSolverSummary {
    /// Systems that were not solved to the tolerance.
    pub unsolved: u64,
    /// Cost of all solves, in the unit of [`TunedSolver::cost`].
    pub cost: f64,
    /// Costs that were clipped before the learner saw them.
    pub clipped: u64,
    /// Contexts outside the interval.
    pub outside: u64,
    /// Seconds in solvers and learner, without setting up the systems.
    pub seconds: f64,
}

impl TunedSolver {
    /// The metric of a step that says which of [`Scheme::ALL`] was used.
    pub const METHOD: &'static str = "method";
    /// The metric of a step that says for which of [`Reason::ALL`](crate::solver::Reason::ALL) the solve ended.
    pub const REASON: &'static str = "reason";

    /// The solver of an arm.
    pub fn solver(&self, arm: Arm) -> Solver {
        Solver { method: arm.method, omega: arm.omega, tol: self.tol, max_iterations: self.max_iterations }
    }

    fn learner(&self, interval: (f64, f64), seed: Seed) -> Result<Option<Learner>, MethodError> {
        if self.policy == Policy::Oracle {
            return Ok(None);
        }
        let places: Vec<f64> = self.arms.iter().map(|a| a.omega).collect();
        Ok(Some(Learner::new(&self.policy, &places, Interval::new(interval.0, interval.1), seed)?))
    }
}

impl<P: Sequence + ?Sized> Method<P> for TunedSolver {
    type State = TunedSolverState;
    type Solution = TunedSolverSummary;

    fn name(&self) -> &'static str {
        self.policy.name()
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.policy.validate()?;
        Invalid::count("arms", self.arms.len())?;
        let mixed = self.arms.iter().any(|a| a.method != self.arms[0].method);
        let one_line = matches!(self.policy, Policy::Joint(_) | Policy::Young);
        Invalid::check(
            !(mixed && one_line),
            "policy",
            &self.policy,
            "chebcb or tsallis-inf over arms of several methods; joint and young expect one",
        )?;
        self.arms.iter().try_for_each(|arm| self.solver(*arm).validate())
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<TunedSolverState, MethodError> {
        let learner = self.learner(problem.interval(), seed)?;
        Ok(TunedSolverState { learner, unsolved: 0, cost: 0.0, seconds: 0.0 })
    }

    fn step(&self, problem: &mut P, state: &mut TunedSolverState) -> Result<Progress, MethodError> {
        let context = problem.context();
        let (omega, method, choice) = match &mut state.learner {
            None => {
                let best = instance_optimal(problem, self)?;
                (best.omega, best.method, None)
            }
            Some(learner) => {
                let clock = Instant::now();
                let wants = matches!(self.policy, Policy::Young);
                let dominance = wants.then(|| problem.matrix().dominance());
                let choice = learner.choose_for(context, dominance, self.arms[0].method)?;
                state.seconds += clock.elapsed().as_secs_f64();
                (choice.omega, self.arms[choice.arm].method, Some(choice))
            }
        };
        let solver = self.solver(Arm { method, omega });
        let clock = Instant::now();
        let solved = problem.solve(&solver)?;
        let seconds = clock.elapsed().as_secs_f64();
        let cost = self.cost.of(method, problem.matrix(), &solved, seconds);
        state.unsolved += u64::from(!solved.converged());
        state.cost += cost;
        let mut metrics = vec![("context".into(), context), ("omega".into(), omega)];
        metrics.extend([
            (Self::METHOD.into(), method as u8 as f64),
            (Self::REASON.into(), solved.reason as u8 as f64),
            ("iterations".into(), solved.iterations as f64),
            ("cost".into(), cost),
        ]);
        if let (Some(learner), Some(choice)) = (&mut state.learner, choice) {
            let clock = Instant::now();
            // A start may have been the solution, and a clock is coarse.
            let cost = cost.max(if self.cost == Cost::Time { 1e-3 } else { 1.0 });
            let learnt = learner.feedback_solved(&choice, cost, (method, self.tol), &solved)?;
            state.seconds += clock.elapsed().as_secs_f64();
            metrics.push(("probability".into(), choice.probability));
            metrics.extend(choice.predicted.map(|p| ("predicted".into(), p)));
            if learnt < cost {
                metrics.push(("clipped".into(), learnt));
            }
        }
        state.seconds += seconds;
        let evaluations = solved.counted() as u64;
        Ok(Progress { value: evaluations as f64, evaluations, metrics, ..Progress::default() })
    }

    fn finish(&self, _: &mut P, state: TunedSolverState) -> Result<TunedSolverSummary, MethodError> {
        let TunedSolverState { learner, unsolved, cost, seconds } = state;
        let (clipped, outside) = learner.map_or((0, 0), |p| (p.clipped(), p.outside()));
        Ok(TunedSolverSummary { unsolved, cost, clipped, outside, seconds })
    }
}
