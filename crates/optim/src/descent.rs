use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, MethodError, Objective, Progress, Real};
use thalweg_linalg::vector;

use crate::{Group, Guard, Rates, Schedule, group};

/// What the states of all first-order methods share: the iterate, the counters, the guard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct FirstOrderState<T> {
    /// The iterate, `[layout.len()]`.
    pub theta: Vec<T>,
    /// Steps made, also skipped ones; the clock of the schedule.
    pub t: u64,
    /// Updates made; the clock of bias corrections.
    pub updates: u64,
    /// Non-finite steps.
    pub guard: Guard,
    /// Scratch for the gradient.
    #[serde(skip)]
    grad: Vec<T>,
}

/// The hyper-parameters that [`FirstOrderState::step`] needs.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings<'a> {
    /// Learning rate.
    pub lr: f64,
    /// Factor on it.
    pub schedule: &'a Schedule,
    /// Weight decay of blocks that no group speaks of.
    pub weight_decay: f64,
    /// Overrides.
    pub groups: &'a [Group],
}

/// The block that an update rule is asked to move.
#[derive(Debug)]
pub struct BlockStep<'a, T> {
    /// Block, range and weight decay.
    pub rates: &'a Rates<'a>,
    /// Learning rate after schedule and group.
    pub lr: f64,
    /// Number of this update, from 1.
    pub update: u64,
    /// The block's part of the iterate.
    pub theta: &'a mut [T],
    /// The block's part of the gradient.
    pub grad: &'a [T],
}

impl StepSettings<'_> {
    /// Names the bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::at_least_zero("lr", self.lr)?;
        Invalid::at_least_zero("weight_decay", self.weight_decay)?;
        self.schedule.validate()?;
        self.groups.iter().try_for_each(Group::validate)
    }
}

impl<T: Real> FirstOrderState<T> {
    /// Starts where the problem says.
    pub fn new<P: Objective<Scalar = T> + ?Sized>(problem: &mut P) -> Result<Self, MethodError> {
        let (mut theta, n) = (problem.start()?, problem.layout().len());
        if problem.layout().blocks().iter().all(|b| b.frozen || b.is_empty()) {
            return Err(MethodError::Empty);
        }
        MethodError::check_length("the start", theta.len(), n)?;
        zero_masked(&mut theta, problem.mask());
        Ok(Self { theta, t: 0, updates: 0, guard: Guard::default(), grad: Vec::new() })
    }

    /// One step: the gradient, the guard, then `rule` for every block that is not frozen. It
    /// reports ‖g‖∞ and ‖g‖₂ over these blocks, not a number where the guard skips the step.
    pub fn step<P: Objective<Scalar = T> + ?Sized>(
        &mut self,
        problem: &mut P,
        pace: StepSettings<'_>,
        mut rule: impl FnMut(BlockStep<'_, T>),
    ) -> Result<Progress, MethodError> {
        self.grad.resize(self.theta.len(), T::ZERO);
        let value = free_gradient(problem, &self.theta, &mut self.grad)?;
        let lr = pace.lr * pace.schedule.factor(self.t);
        self.t += 1;
        let (mut grad_max, mut grad_norm) = (f64::NAN, f64::NAN);
        if self.guard.admit(problem.layout(), value, &[("the gradient", &self.grad)])? {
            (grad_max, grad_norm) = (vector::max_abs(&self.grad), vector::dot(&self.grad, &self.grad).sqrt());
            self.updates += 1;
            for rates in &group::rates(problem.layout(), pace.groups, pace.weight_decay)? {
                rule(BlockStep {
                    rates,
                    lr: lr * rates.lr_scale,
                    update: self.updates,
                    theta: &mut self.theta[rates.range.clone()],
                    grad: &self.grad[rates.range.clone()],
                });
            }
            zero_masked(&mut self.theta, problem.mask());
        }
        let mut metrics =
            vec![(Progress::GRAD_MAX.into(), grad_max), ("grad_norm".into(), grad_norm), ("lr".into(), lr)];
        if self.guard.skipped > 0 {
            metrics.push(("skipped".into(), self.guard.skipped as f64));
        }
        Ok(Progress { value, evaluations: 1, metrics, ..Progress::default() })
    }
}

impl<T> Iterate<T> for FirstOrderState<T> {
    fn theta(&self) -> &[T] {
        &self.theta
    }
}

/// Value and gradient at `theta`, with exactly 0 for frozen blocks and for what is masked.
pub(crate) fn free_gradient<P: Objective + ?Sized>(
    problem: &mut P,
    theta: &[P::Scalar],
    grad: &mut [P::Scalar],
) -> Result<f64, MethodError> {
    let value = problem.value_grad(theta, grad)?;
    for block in problem.layout().blocks().iter().filter(|b| b.frozen) {
        grad[block.range()].fill(Real::ZERO);
    }
    zero_masked(grad, problem.mask());
    Ok(value)
}

/// Sets what is masked to exactly 0.
pub fn zero_masked<T: Real>(theta: &mut [T], mask: Option<&[bool]>) {
    for (x, _) in theta.iter_mut().zip(mask.unwrap_or_default()).filter(|(_, mask)| !**mask) {
        *x = T::ZERO;
    }
}

pub(crate) fn check_betas(betas: (f64, f64)) -> Result<(), Invalid> {
    let legal = |b| (0.0..1.0).contains(&b);
    let shown = format!("({}, {})", betas.0, betas.1);
    Invalid::check(legal(betas.0) && legal(betas.1), "betas", shown, "two numbers in [0, 1)")
}
