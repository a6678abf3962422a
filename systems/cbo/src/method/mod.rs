//! The methods: each is its hyper-parameters, from which swarms start. By name: [`Algorithm`].

/// Makes a [`thalweg_core::Method`] of a search: all of them loop alike ([`crate::search::State`]), and only their
/// swarms differ. Its `ranges` names a bad field, its `check` what does not fit the space, its `swarm` starts.
macro_rules! search {
    ($method:ty, $name:literal, $swarm:ty) => {
        impl thalweg_core::Method<crate::SearchProblem<'_>> for $method {
            type State = crate::search::State<$swarm>;
            type Solution = crate::Answer;

            fn name(&self) -> &'static str {
                $name
            }

            fn validate(&self) -> Result<(), thalweg_core::Invalid> {
                self.ranges()
            }

            fn init(
                &self,
                problem: &mut crate::SearchProblem<'_>,
                seed: thalweg_core::Seed,
            ) -> Result<Self::State, thalweg_core::MethodError> {
                self.check(problem.space())?;
                let swarm = self.swarm(problem.space(), seed);
                Ok(crate::search::State::new(problem, swarm))
            }

            fn step(
                &self,
                problem: &mut crate::SearchProblem<'_>,
                state: &mut Self::State,
            ) -> Result<thalweg_core::Progress, thalweg_core::MethodError> {
                state.step(problem)
            }

            fn upcoming(&self, state: &Self::State) -> u64 {
                state.upcoming()
            }

            fn finish(
                &self,
                problem: &mut crate::SearchProblem<'_>,
                state: Self::State,
            ) -> Result<crate::Answer, thalweg_core::MethodError> {
                state.finish(problem)
            }
        }
    };
}

pub mod adaptive;
pub mod auto;
pub mod cbo;
pub mod hopping;
mod scheduled;

use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Outcome, RunError, Seed};

use crate::error::STEPS;
use crate::search::{Answer, Ended, SearchProblem};
use crate::{Adaptive, Auto, Cbo, CboError, Hopping, Space};

pub use scheduled::Scheduled;

/// A cloud of particles that asks for values and moves by them.
///
/// ```
/// use thalweg_cbo::{Cbo, Space, Swarm};
/// use thalweg_core::Seed;
///
/// let mut swarm = Cbo::default().swarm(&Space::cube(2, -5.0, 5.0), Seed(1));
/// for _ in 0..200 {
///     let values: Vec<f64> = swarm.ask().chunks(2).map(|x| x[0] * x[0] + x[1].abs()).collect();
///     swarm.tell(&values);
/// }
/// assert!(swarm.consensus().iter().all(|x| x.abs() < 1e-3));
/// ```
pub trait Swarm {
    /// Number of points that [`Swarm::ask`] will ask for next.
    fn upcoming(&self) -> usize;

    /// The points to evaluate next, `[n, dim]`, row by row.
    fn ask(&mut self) -> &[f64];

    /// Their values, `[n]`; NaN and +∞ are failures.
    fn tell(&mut self, values: &[f64]);

    /// The gradients at the same points, before the values, if the function knows them.
    fn tell_gradients(&mut self, _gradients: &[f64]) {}

    /// Whether gradients would be used.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// Where the cloud agrees to be, `[dim]`; its best point before the first [`Swarm::tell`].
    fn consensus(&self) -> &[f64];

    /// Largest distance of a particle from the consensus in any coordinate.
    fn spread(&self) -> f64;

    /// Numbers worth recording: effective sample size, α, noise.
    fn diagnostics(&self) -> Diagnostics {
        Diagnostics::default()
    }

    /// Whether it has had its chance: a cloud that is still wide may find better without having improved for long.
    fn settled(&self) -> bool {
        true
    }

    /// Why the swarm can do no more, if so.
    fn over(&self) -> Option<Ended> {
        None
    }

    /// Restarts made.
    fn restarts(&self) -> u64 {
        0
    }

    /// The function has changed: what is remembered of its values is void.
    fn forget(&mut self) {}
}

/// Numbers of one iteration; NaN where the method has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Effective sample size.
    pub ess: f64,
    /// Inverse temperature.
    pub alpha: f64,
    /// Noise per step, σ√Δt.
    pub noise: f64,
}

impl Default for Diagnostics {
    fn default() -> Self {
        Self { ess: f64::NAN, alpha: f64::NAN, noise: f64::NAN }
    }
}

thalweg_core::named! {
    /// A search by its name.
    #[derive(Clone, Debug)]
    pub enum Algorithm: "method", each_algorithm {
        "auto" => Auto(Auto),
        "cbo" => Cbo(Cbo),
        "ch" => Hopping(Hopping),
        "adaptive" => Adaptive(Adaptive),
    }
}

impl Algorithm {
    /// Names the bad field of the method or the space.
    ///
    /// # Errors
    /// A field outside its range, or a method that does not fit the space.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        each_algorithm!(self, method => method.check(space))
    }

    /// Whether a budget pays for the first cloud in this space and the final consensus, and for some steps where
    /// gradients are differences.
    ///
    /// # Errors
    /// [`CboError::Budget`], [`CboError::Differences`].
    pub fn check_budget(&self, space: &Space, max_evaluations: u64) -> Result<(), CboError> {
        let needed = each_algorithm!(self, method => method.swarm(space, Seed(0)).upcoming()) as u64;
        if needed >= max_evaluations {
            return Err(CboError::Budget { budget: max_evaluations, needed });
        }
        match self {
            Self::Cbo(cbo) if cbo.gradient.is_some_and(|g| g.difference.is_some()) => {
                let differences = 2 * (cbo.count(space.dim) * space.dim) as u64;
                match needed.saturating_mul(STEPS) >= max_evaluations {
                    true => Err(CboError::Differences { differences, needed, budget: max_evaluations }),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Makes the run of `driver`.
    ///
    /// # Errors
    /// What the run fails with.
    pub fn drive(
        &self,
        driver: &mut impl Drive<Answer>,
        problem: &mut SearchProblem<'_>,
        seed: Seed,
    ) -> Result<Outcome<Answer>, RunError> {
        each_algorithm!(self, method => driver.drive(method, problem, seed))
    }
}
