//! The loop over a sequence of systems: choose, solve, learn.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::learner::omega_grid;
use crate::oracle::instance_optimal;
use crate::solver::Solved;
use crate::{Interval, Learner, Policy, Scheme, Sequence, Solver};

/// What a learner is told a solve cost.
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
    /// What learners learn from.
    pub cost: Cost,
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
    failed: u64,
    /// Seconds in solvers and learner.
    seconds: f64,
}

/// What a sequence took; the iterations are the run's evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedSolverSummary {
    /// Systems that were not solved to the tolerance.
    pub failed: u64,
    /// Costs that were clipped before the learner saw them.
    pub clipped: u64,
    /// Contexts outside the interval.
    pub outside: u64,
    /// Seconds in solvers and learner, without setting up the systems.
    pub seconds: f64,
}

impl TunedSolver {
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
        Ok(TunedSolverState { learner: self.learner(problem.interval(), seed)?, failed: 0, seconds: 0.0 })
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
                let choice = learner.choose_for(context, dominance, self.arms[0].method);
                state.seconds += clock.elapsed().as_secs_f64();
                (choice.omega, self.arms[choice.arm].method, Some(choice))
            }
        };
        let solver = self.solver(Arm { method, omega });
        let clock = Instant::now();
        let solved = problem.solve(&solver)?;
        let seconds = clock.elapsed().as_secs_f64();
        state.failed += u64::from(solved.reason != crate::solver::Reason::Converged);
        let mut metrics = vec![("context".into(), context), ("omega".into(), omega)];
        if let (Some(learner), Some(choice)) = (&mut state.learner, choice) {
            let clock = Instant::now();
            let cost = self.cost(problem, &solver, &solved, seconds);
            let learnt = learner.feedback_solved(&choice, cost, (method, self.tol), &solved);
            state.seconds += clock.elapsed().as_secs_f64();
            metrics.push(("probability".into(), choice.probability));
            metrics.extend(choice.predicted.map(|p| ("predicted".into(), p)));
            if learnt < cost {
                metrics.push(("clipped".into(), learnt));
            }
        }
        state.seconds += seconds;
        let iterations = solved.iterations as u64;
        Ok(Progress { value: iterations as f64, evaluations: iterations, metrics, ..Progress::default() })
    }

    fn finish(&self, _: &mut P, state: TunedSolverState) -> Result<TunedSolverSummary, MethodError> {
        let TunedSolverState { learner, failed, seconds } = state;
        let (clipped, outside) = learner.map_or((0, 0), |p| (p.clipped(), p.outside()));
        Ok(TunedSolverSummary { failed, clipped, outside, seconds })
    }
}

impl TunedSolver {
    fn cost<P: Sequence + ?Sized>(&self, problem: &P, solver: &Solver, solved: &Solved, seconds: f64) -> f64 {
        match self.cost {
            Cost::Iterations => solved.cost(),
            Cost::Flops => {
                let matrix = problem.matrix();
                solved.cost() * solver.method.flops(matrix.rows(), matrix.entries()) / 1e3
            }
            Cost::Time => seconds * 1e6,
        }
    }
}
