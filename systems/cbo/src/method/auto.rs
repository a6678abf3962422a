//! Two searches that share the evaluations evenly, so that neither can cost more than twice the
//! better one: CBO with restarts, and hopping with adapted covariance with restarts.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};
use thalweg_optim::blackbox::lowest;

use super::Diagnostics;
use super::adaptive::{Adaptive, AdaptiveSwarm};
use super::cbo::{Cbo, CboSwarm, Noise};
use crate::{CboError, Space, Swarm};

/// A search without settings: CBO beside adaptive hopping, each restarted with twice the particles
/// whenever its cloud has collapsed. CBO alternates coordinate-wise and eigenframe noise, and each of
/// its runs ends with adaptive hopping from its best point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auto {
    /// Particles of the first CBO cloud; 0: 20 per dimension, from 50 to 400.
    pub particles: usize,
}

impl Auto {
    /// As [`Cbo::check`] of the first cloud.
    ///
    /// # Errors
    /// A field outside its range; a start without spread.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        self.first().check(space)
    }

    fn first(&self) -> Cbo {
        Cbo { particles: self.particles, ..Cbo::default() }
    }

    /// The clouds before their first step. The settings must be valid.
    pub fn swarm(&self, space: &Space, seed: Seed) -> AutoSwarm {
        let arm = |kind, index| {
            let mut rng = seed.stream("auto", index);
            let phase = Phase::start(kind, self.particles, 0, space, &mut rng);
            let (spent, best, stale, best_x) = (0, f64::INFINITY, 0, vec![0.0; space.dim]);
            Arm { kind, rng, phase, spent, restarts: 0, best, best_x, stale }
        };
        let arms = [arm(Kind::Hop, 0), arm(Kind::Cbo, 1)];
        let c = arms[1].phase.swarm().consensus().to_vec();
        let first = self.particles;
        let (space, best, asked) = (space.clone(), f64::INFINITY, Vec::new());
        AutoSwarm { first, space, arms, turn: 0, asked, best, holder: (1, 0), c }
    }
}

search!(Auto, "auto", AutoSwarm);

impl Auto {
    /// Names the first field outside its range.
    fn ranges(&self) -> Result<(), Invalid> {
        self.first().ranges()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Hop,
    Cbo,
}

/// What an arm is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    Cbo(Box<CboSwarm>),
    Hop(Box<AdaptiveSwarm>),
    /// Adaptive hopping from the best point of the CBO run before.
    Polish(Box<AdaptiveSwarm>),
}

impl Phase {
    fn start(kind: Kind, first: usize, restarts: u64, space: &Space, rng: &mut ChaCha8Rng) -> Self {
        let seed = Seed(rand::Rng::next_u64(rng));
        // Beyond this a cloud would never end.
        let double = |n: usize| n.saturating_mul(1 << restarts.min(6));
        match kind {
            Kind::Hop => {
                let adaptive = Adaptive::default();
                let particles = double(adaptive.count(space.dim));
                Self::Hop(Box::new(Adaptive { particles, ..adaptive }.swarm(space, seed)))
            }
            Kind::Cbo => {
                let cbo = Cbo { particles: first, ..Cbo::default() };
                let noise = if restarts.is_multiple_of(2) { Noise::Anisotropic } else { Noise::Eigenframe };
                let particles = double(cbo.count(space.dim));
                Self::Cbo(Box::new(CboSwarm::new(Cbo { particles, noise, ..cbo }, space.clone(), seed)))
            }
        }
    }

    fn swarm(&self) -> &dyn Swarm {
        match self {
            Self::Cbo(s) => s.as_ref(),
            Self::Hop(s) | Self::Polish(s) => s.as_ref(),
        }
    }

    fn swarm_mut(&mut self) -> &mut dyn Swarm {
        match self {
            Self::Cbo(s) => s.as_mut(),
            Self::Hop(s) | Self::Polish(s) => s.as_mut(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Arm {
    kind: Kind,
    rng: ChaCha8Rng,
    phase: Phase,
    spent: u64,
    restarts: u64,
    /// Of this run of the arm.
    best: f64,
    best_x: Vec<f64>,
    /// Steps without improvement.
    stale: u64,
}

impl Arm {
    fn tell(&mut self, values: &[f64], points: &[f64], first: usize, space: &Space) {
        let dim = space.dim;
        self.spent += values.len() as u64;
        self.stale += 1;
        if let Some(i) = lowest(values).filter(|&i| values[i] < self.best) {
            if self.best - values[i] > 1e-12 * values[i].abs() || self.best.is_infinite() {
                self.stale = 0;
            }
            self.best = values[i];
            self.best_x.copy_from_slice(&points[i * dim..(i + 1) * dim]);
        }
        self.phase.swarm_mut().tell(values);
        let width = space.width();
        let patience = 50 + 30 * dim as u64 / (values.len() as u64).max(1);
        let swarm = self.phase.swarm();
        match self.phase {
            Phase::Cbo(_)
                if self.stale > patience || swarm.spread() < 1e-9 * width || swarm.over().is_some() =>
            {
                let polish = Adaptive {
                    width: (swarm.spread() / width.max(1e-300)).clamp(1e-3, 0.05),
                    ..Adaptive::default()
                };
                let seed = Seed(rand::Rng::next_u64(&mut self.rng));
                let from = self.best_x.clone();
                self.phase = Phase::Polish(Box::new(polish.around(space, from, seed.stream("polish", 0))));
            }
            Phase::Hop(_) | Phase::Polish(_) if swarm.over().is_some() => {
                self.restarts += 1;
                self.phase = Phase::start(self.kind, first, self.restarts, space, &mut self.rng);
                (self.best, self.stale) = (f64::INFINITY, 0);
            }
            _ => {}
        }
    }
}

/// The two clouds of [`Auto`], which take turns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AutoSwarm {
    first: usize,
    space: Space,
    arms: [Arm; 2],
    turn: usize,
    asked: Vec<f64>,
    best: f64,
    /// Arm and restart that found the best point.
    holder: (usize, u64),
    c: Vec<f64>,
}

impl AutoSwarm {
    /// The arm that has spent less, CBO at first.
    fn whose_turn(&self) -> usize {
        usize::from(self.arms[1].spent <= self.arms[0].spent)
    }
}

impl Swarm for AutoSwarm {
    fn upcoming(&self) -> usize {
        self.arms[self.whose_turn()].phase.swarm().upcoming()
    }

    fn ask(&mut self) -> &[f64] {
        self.turn = self.whose_turn();
        self.asked.clear();
        self.asked.extend_from_slice(self.arms[self.turn].phase.swarm_mut().ask());
        &self.asked
    }

    fn tell(&mut self, values: &[f64]) {
        let (a, epoch) = (self.turn, self.arms[self.turn].restarts);
        let arm = &mut self.arms[a];
        arm.tell(values, &self.asked, self.first, &self.space);
        if let Some(i) = lowest(values).filter(|&i| values[i] < self.best) {
            self.best = values[i];
            self.holder = (a, epoch);
        }
        if self.holder == (a, epoch) && arm.restarts == epoch {
            self.c.copy_from_slice(arm.phase.swarm().consensus());
        }
    }

    fn consensus(&self) -> &[f64] {
        &self.c
    }

    fn spread(&self) -> f64 {
        self.arms[self.holder.0].phase.swarm().spread()
    }

    fn diagnostics(&self) -> Diagnostics {
        self.arms[self.turn].phase.swarm().diagnostics()
    }

    /// Each arm has come to its end once.
    fn settled(&self) -> bool {
        self.arms.iter().all(|arm| arm.restarts > 0)
    }

    fn restarts(&self) -> u64 {
        self.arms.iter().map(|a| a.restarts).sum()
    }

    fn forget(&mut self) {
        self.best = f64::INFINITY;
        for arm in &mut self.arms {
            arm.best = f64::INFINITY;
            arm.phase.swarm_mut().forget();
        }
    }
}
