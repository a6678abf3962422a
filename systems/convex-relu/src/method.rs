use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_core::{Drive, Invalid, Seed, Stop, StopReason};

use crate::attack::Attack;
use crate::certificate::Certified;
use crate::grow::grow;
use crate::reduce::{merge, reduce};
use crate::robust::{RobustProgram, check_eps, robust_patterns};
use crate::solver::{Algorithm, Solved};
use crate::{Certificate, ConvexError, Geometry, Loss, Network, Patterns, Program, Samples, Solver};

/// Rounds of pattern growth at most.
const ROUNDS: u32 = 20;

/// Which activation patterns the program lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatternChoice {
    /// Those of so many random directions.
    Sample(u64),
    /// All: the bound of a plain program then holds for every network.
    All,
}

/// A two-layer ReLU network by convex optimisation: settings of one fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvexRelu {
    /// The loss, summed over samples. Default hinge.
    pub loss: Loss,
    /// Weight decay β > 0 against the sum of losses. Default 0.1.
    pub beta: f64,
    /// The patterns. Default 50 directions.
    pub patterns: PatternChoice,
    /// How the program is solved.
    pub solver: Solver,
    /// An unpenalised linear part (squared and bce). Default false.
    #[serde(alias = "skip")]
    pub linear_part: bool,
    /// Searches for further patterns after the solve, by round. Default 0: none.
    #[serde(alias = "grow")]
    pub extra_pattern_searches: u64,
    /// Reduce the network to at most n neurons. Default false.
    #[serde(alias = "prune")]
    pub minimal_network: bool,
    /// Half width of the box that training is robust against, by feature. Default none.
    pub eps: Option<Vec<f64>>,
    /// Seed of patterns and block choices.
    pub seed: Seed,
}

impl Default for ConvexRelu {
    fn default() -> Self {
        Self {
            loss: Loss::Hinge,
            beta: 0.1,
            patterns: PatternChoice::Sample(50),
            solver: Solver::default(),
            linear_part: false,
            extra_pattern_searches: 0,
            minimal_network: false,
            eps: None,
            seed: Seed(0),
        }
    }
}

/// A trained network with its proof.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The network, on the samples as they were given.
    pub network: Network,
    /// Convex value, bound and gap, for the listed patterns; for all networks if [`Patterns::complete`], which
    /// no robust program's list is: its bound is one for networks whose neurons keep their signs in every box,
    /// and its value an upper bound of the best worst case of all networks.
    pub certificate: Certificate,
    /// The network's own objective, scored with true ReLUs: at the worst points of the boxes if
    /// training was robust.
    pub nonconvex_objective: f64,
    /// The program that was solved.
    pub program: Program,
    /// How it was solved.
    pub solved: Solved,
}

impl ConvexRelu {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::positive("beta", self.beta)?;
        if let PatternChoice::Sample(draws) = self.patterns {
            Invalid::count("patterns", draws)?;
        }
        check_eps(self.eps.as_deref().unwrap_or_default())?;
        self.solver.validate()
    }

    /// Refuses programs that these settings do not solve, before any work.
    ///
    /// # Errors
    /// Settings out of range, what the method does not solve.
    pub fn check(&self, program: &Program) -> Result<(), ConvexError> {
        self.validate()?;
        if self.extra_pattern_searches > 0 && program.outputs() > 1 {
            let what = "several outputs at once";
            return Err(ConvexError::Unsupported {
                method: "pattern growth",
                what,
                instead: "a program each",
            });
        }
        match self.eps {
            Some(_) => program.check_plain("adversarial training"),
            None => self.solver.check(program),
        }
    }

    /// Fits `targets`, `[n]` or `[n, outputs]` column-major, on samples that bring their own constant
    /// feature if a bias is wanted ([`crate::scaling::Scaling`] adds one). Several outputs are fitted jointly with
    /// one norm per pattern; [`ConvexRelu::one_vs_all`] fits them separately.
    ///
    /// # Errors
    /// Every variant of [`ConvexError`].
    pub fn fit(&self, samples: &Samples, targets: &[f64]) -> Result<Fit, ConvexError> {
        self.fit_patterns(samples, targets, self.choose(samples)?)
    }

    /// The patterns that the settings choose for these samples.
    ///
    /// # Errors
    /// Settings out of range; none left, too many to enumerate, none admissible.
    pub fn choose(&self, samples: &Samples) -> Result<Patterns, ConvexError> {
        self.validate()?;
        match (self.patterns, &self.eps) {
            (PatternChoice::All, _) => Patterns::all(samples),
            (PatternChoice::Sample(draws), None) => Patterns::sample(samples, draws, self.seed),
            (PatternChoice::Sample(draws), Some(eps)) => robust_patterns(samples, eps, draws, self.seed),
        }
    }

    /// [`ConvexRelu::fit`] with patterns of the caller's.
    ///
    /// # Errors
    /// As [`ConvexRelu::fit`].
    pub fn fit_patterns(
        &self,
        samples: &Samples,
        targets: &[f64],
        patterns: Patterns,
    ) -> Result<Fit, ConvexError> {
        let geometry = Geometry::new(samples.clone(), patterns, self.linear_part)?;
        let program = Program::new(geometry, targets.to_vec(), self.loss, self.beta)?;
        self.fit_program(program)
    }

    /// Fits a stated program.
    ///
    /// # Errors
    /// As [`ConvexRelu::fit`].
    pub fn fit_program(&self, program: Program) -> Result<Fit, ConvexError> {
        self.fit_driven(program, &mut Stop::Steps(self.solver.max_steps))
    }

    /// Fits a stated program, with the steps of iterative methods made by `drive`; what is no run ends by the
    /// program's own time ([`Program::until`]).
    ///
    /// # Errors
    /// As [`ConvexRelu::fit`].
    pub fn fit_driven(
        &self,
        mut program: Program,
        drive: &mut impl Drive<Certified>,
    ) -> Result<Fit, ConvexError> {
        self.check(&program)?;
        if let Some(eps) = &self.eps {
            return self.fit_robust(RobustProgram::new(&program, eps.clone())?);
        }
        let mut solved = self.solver.solve_with(&program, self.seed, drive)?;
        if self.extra_pattern_searches > 0 && !program.patterns().complete() {
            let start = solved.certified;
            (program, solved.certified) =
                grow(program, start, ROUNDS, self.extra_pattern_searches, self.solver.tol, self.seed)?;
        }
        let mut network = recover(&solved.certified, &program);
        if self.minimal_network {
            network = reduce(&network, program.samples())?;
        }
        let nonconvex_objective =
            network.objective(program.samples(), program.targets(), program.loss(), program.beta())?;
        let certificate = solved.certified.certificate.clone();
        Ok(Fit { network, certificate, nonconvex_objective, program, solved })
    }

    fn fit_robust(&self, robust: RobustProgram) -> Result<Fit, ConvexError> {
        let certified = robust.solve()?;
        let program = robust.program().clone();
        let mut network = recover(&certified, &program);
        if self.minimal_network {
            network = merge(&network);
        }
        let attack = Attack { eps: robust.eps().to_vec(), loss: program.loss() };
        let worst = attack.worst_case(&network, program.samples(), program.targets())?;
        let nonconvex_objective = worst + network.decay(program.beta());
        let certificate = certified.certificate.clone();
        let algorithm = Algorithm::Exact;
        let late = program.late() && certificate.gap > self.solver.tol;
        let stopped_because = late.then_some(StopReason::Time);
        let solved = Solved { certified, algorithm, iterations: 0, stopped_because };
        Ok(Fit { network, certificate, nonconvex_objective, program, solved })
    }

    /// One program per output, all on the same patterns and factorisations, and the networks put
    /// side by side. `targets` `[n, outputs]` column-major of ±1.
    ///
    /// # Errors
    /// As [`ConvexRelu::fit`].
    pub fn one_vs_all(&self, samples: &Samples, targets: &[f64]) -> Result<(Network, Vec<Fit>), ConvexError> {
        let geometry = Arc::new(Geometry::new(samples.clone(), self.choose(samples)?, self.linear_part)?);
        let one = |y: &[f64]| {
            let program = Program::new(geometry.clone(), y.to_vec(), self.loss, self.beta)?;
            self.fit_program(program)
        };
        let fits = targets.chunks(samples.n()).map(one).collect::<Result<Vec<_>, _>>()?;
        let networks = fits.iter().map(|f| f.network.clone()).collect::<Vec<_>>();
        Ok((Network::side_by_side(&networks), fits))
    }
}

fn recover(certified: &Certified, program: &Program) -> Network {
    Network::recover(&certified.solution, program.samples().d(), program.outputs())
}
