use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Invalid, MethodError, Problem, Seed};

/// What one step reports to the driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Objective value seen by this step: of its mini-batch, before the update; methods with a
    /// line search report the value after it.
    pub value: f64,
    /// Evaluations spent: gradients and Hessian-vector products count one each.
    pub evaluations: u64,
    /// Further numbers worth recording, e.g. `("grad_norm", 0.3)`. A method that knows its gradient
    /// reports ‖g‖∞ as [`Progress::GRAD_MAX`], which [`crate::Stop::Tolerance`] reads.
    pub metrics: Vec<(String, f64)>,
    /// The method's own convergence test holds.
    pub converged: bool,
    /// The method ends itself for this reason, in words that follow "it ended because": the run stops
    /// with [`crate::StopReason::Method`].
    pub ended: Option<String>,
}

impl Progress {
    /// Name under which methods report the largest absolute entry of the gradient.
    pub const GRAD_MAX: &'static str = "grad_max";

    /// The metric of that name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(n, _)| n == name).map(|m| m.1)
    }
}

/// A state that has an iterate.
pub trait Iterate<T> {
    /// The current iterate, `[layout.len()]`.
    fn theta(&self) -> &[T];
}

/// A method is its hyper-parameters: `init → step → finish` move a state that holds everything a
/// resumed run needs, and nothing else.
///
/// `P` is the problem: often `dyn Objective<Scalar = f32>`. The driver [`crate::Run`] calls
/// [`Problem::begin_step`] and [`Problem::end_step`] around each step.
pub trait Method<P: Problem + ?Sized>: Serialize {
    /// What changes: iterate, moments, random generators, counters.
    type State: Serialize + DeserializeOwned;
    /// What the user wants in the end.
    type Solution;

    /// The literature's name in lower case, e.g. `adahessian`.
    fn name(&self) -> &'static str;

    /// Names the bad field, its value and its legal range.
    fn validate(&self) -> Result<(), Invalid>;

    /// The state before the first step.
    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError>;

    /// One iteration.
    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError>;

    /// Evaluations that the next step and [`Method::finish`] will take together, where that is known:
    /// [`crate::Stop::Evaluations`] ends a run that cannot afford them.
    fn upcoming(&self, _state: &Self::State) -> u64 {
        0
    }

    /// The solution so far, where the state holds it whole: for who looks on.
    fn current<'s>(&self, _state: &'s Self::State) -> Option<&'s Self::Solution> {
        None
    }

    /// Turns the last state into the solution.
    fn finish(&self, problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError>;
}
