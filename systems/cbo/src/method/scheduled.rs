use serde::{Serialize, Serializer};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use super::cbo::{Cbo, CboSwarm};
use crate::search::State;
use crate::{Answer, CboError, SearchProblem, Space};

/// Consensus-based optimisation with settings that are any function of the iteration, from 0: σ, α, or
/// whatever else; see [`Cbo::scheduled`]. Only the number of particles stays that of iteration 0.
pub struct Scheduled<F> {
    cbo: Cbo,
    set: F,
}

impl Cbo {
    /// Before each iteration `set` changes the settings, of which the number of the iteration (from 0)
    /// should decide alone, so that a resumed search takes the same course.
    ///
    /// ```
    /// use thalweg_cbo::{Cbo, SearchProblem, Space, alpha::Alpha};
    /// use thalweg_core::{Run, Seed, Stop};
    ///
    /// let cbo = Cbo::default().scheduled(|k, cbo| {
    ///     cbo.noise_ratio = 0.95 / (1.0 + 0.01 * k as f64);
    ///     cbo.alpha = Alpha::Fixed(10.0 * 1.05f64.powi(k as i32));
    /// });
    /// let f = |x: &[f64]| (x[0] - 0.5).powi(2) + x[1].abs();
    /// let mut problem = SearchProblem::new(&Space::cube(2, -4.0, 4.0), &f);
    /// let run = Run::new(&cbo, &mut problem).seed(Seed(1)).stop(Stop::Evaluations(100_000)).run()?;
    /// assert!(run.solution.best_f < 1e-2);
    /// # Ok::<(), thalweg_core::RunError>(())
    /// ```
    pub fn scheduled<F: Fn(u64, &mut Self)>(self, set: F) -> Scheduled<F> {
        Scheduled { cbo: self, set }
    }
}

impl<F: Fn(u64, &mut Cbo)> Scheduled<F> {
    fn first(&self) -> Cbo {
        let mut cbo = self.cbo.clone();
        (self.set)(0, &mut cbo);
        cbo
    }

    /// As [`Cbo::check`], of the settings of iteration 0.
    ///
    /// # Errors
    /// A field outside its range; a start without spread.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        self.first().check(space)
    }
}

/// Checkpoints hold the settings before [`Scheduled`] changes them.
impl<F> Serialize for Scheduled<F> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.cbo.serialize(to)
    }
}

impl<F: Fn(u64, &mut Cbo)> Method<SearchProblem<'_>> for Scheduled<F> {
    type State = State<CboSwarm>;
    type Solution = Answer;

    fn name(&self) -> &'static str {
        "scheduled cbo"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.first().validate()
    }

    fn init(&self, problem: &mut SearchProblem<'_>, seed: Seed) -> Result<Self::State, MethodError> {
        self.first().init(problem, seed)
    }

    fn step(
        &self,
        problem: &mut SearchProblem<'_>,
        state: &mut Self::State,
    ) -> Result<Progress, MethodError> {
        if let Some(swarm) = state.idle() {
            (self.set)(swarm.step(), &mut swarm.settings);
        }
        state.step(problem)
    }

    fn upcoming(&self, state: &Self::State) -> u64 {
        state.upcoming()
    }

    fn finish(&self, problem: &mut SearchProblem<'_>, state: Self::State) -> Result<Answer, MethodError> {
        state.finish(problem)
    }
}
