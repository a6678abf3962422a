//! Consensus hopping: every step draws a new Gaussian cloud around the consensus. As α → ∞ with
//! τ = α σ̃² fixed, a step is the proximal step argmin f(x) + |x − x_k|²/(2τ).

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};

use super::Diagnostics;
use crate::alpha::Alpha;
use crate::consensus::consensus;
use crate::space::{NARROW, Start};
use crate::{CboError, Space, Swarm};

/// Consensus hopping (CH) of *Gradient is All You Need?*, arXiv:2306.09778.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hopping {
    /// Points per cloud.
    pub particles: usize,
    /// Standard deviation σ̃ of the cloud [default: a tenth of the mean side of the box].
    pub width: Option<f64>,
    /// σ̃ shrinks by this factor …
    pub width_factor: f64,
    /// … every that many steps …
    pub width_every: u64,
    /// … down to this.
    pub width_min: f64,
    /// Inverse temperature.
    pub alpha: Alpha,
}

impl Default for Hopping {
    fn default() -> Self {
        Self {
            particles: 200,
            width: None,
            width_factor: 0.98,
            width_every: 1,
            width_min: 0.0,
            alpha: Alpha::INFINITE,
        }
    }
}

impl Hopping {
    /// Names the bad field of the method or the space.
    ///
    /// # Errors
    /// A field outside its range.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        self.ranges()?;
        space.validate()
    }

    /// The cloud before its first step. The settings must be valid.
    pub fn swarm(&self, space: &Space, seed: Seed) -> HoppingSwarm {
        let mut rng = seed.stream("hopping", 0);
        let mut c = vec![0.0; space.dim];
        space.sample(&mut rng, &mut c);
        if let Start::Normal { mean, .. } = &space.start {
            c.copy_from_slice(mean);
            space.project(&mut c);
        }
        let mean_side = space.widths().iter().sum::<f64>() / space.dim as f64;
        let width = self.width.unwrap_or(if mean_side > 0.0 { 0.1 * mean_side } else { 1.0 });
        let (space, diagnostics) = (space.clone(), Diagnostics::default());
        HoppingSwarm { settings: self.clone(), space, rng, width, c, cloud: Vec::new(), step: 0, diagnostics }
    }
}

search!(Hopping, "ch", HoppingSwarm);

impl Hopping {
    /// Names the first field outside its range.
    fn ranges(&self) -> Result<(), Invalid> {
        Invalid::count("particles", self.particles)?;
        Invalid::positive("width", self.width.unwrap_or(1.0))?;
        Invalid::share("width_factor", self.width_factor)?;
        Invalid::count("width_every", self.width_every)?;
        Invalid::at_least_zero("width_min", self.width_min)?;
        self.alpha.validate()
    }
}

/// The cloud of [`Hopping`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoppingSwarm {
    settings: Hopping,
    space: Space,
    rng: ChaCha8Rng,
    width: f64,
    c: Vec<f64>,
    cloud: Vec<f64>,
    step: u64,
    diagnostics: Diagnostics,
}

impl Swarm for HoppingSwarm {
    fn upcoming(&self) -> usize {
        self.settings.particles
    }

    fn ask(&mut self) -> &[f64] {
        self.cloud.resize(self.settings.particles * self.space.dim, 0.0);
        normal(&mut self.rng, &mut self.cloud);
        for x in self.cloud.chunks_exact_mut(self.space.dim) {
            x.iter_mut().zip(&self.c).for_each(|(x, c)| *x = c + self.width * *x);
            self.space.confine(&mut self.rng, x);
        }
        &self.cloud
    }

    fn tell(&mut self, values: &[f64]) {
        let alpha = self.settings.alpha.at(values);
        if let Some(found) = consensus(&self.cloud, self.space.dim, values, alpha) {
            self.c = found.point;
            self.diagnostics = Diagnostics { ess: found.ess, alpha, noise: self.width };
        }
        self.step += 1;
        if self.step.is_multiple_of(self.settings.width_every) {
            self.width = (self.width * self.settings.width_factor).max(self.settings.width_min);
        }
    }

    fn consensus(&self) -> &[f64] {
        &self.c
    }

    fn spread(&self) -> f64 {
        self.width
    }

    fn settled(&self) -> bool {
        let s = &self.settings;
        s.width_factor == 1.0 || self.width <= s.width_min.max(NARROW * self.space.width())
    }

    fn diagnostics(&self) -> Diagnostics {
        self.diagnostics
    }
}
