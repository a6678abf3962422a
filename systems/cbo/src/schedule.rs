use thalweg_core::Seed;

use crate::{Cbo, CboError, CboSwarm, Facts, Search, Space, StopCause, Swarm};

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
    /// use thalweg_cbo::{Alpha, Cbo, Limits, Search, Space};
    /// use thalweg_core::Seed;
    ///
    /// let cbo = Cbo::default().scheduled(|k, cbo| {
    ///     cbo.noise_ratio = 0.95 / (1.0 + 0.01 * k as f64);
    ///     cbo.alpha = Alpha::Fixed(10.0 * 1.05f64.powi(k as i32));
    /// });
    /// let f = |x: &[f64]| (x[0] - 0.5).powi(2) + x[1].abs();
    /// let answer = cbo.minimize(&Space::cube(2, -4.0, 4.0), &f, &Limits::default(), Seed(1))?;
    /// assert!(answer.best_f < 1e-2);
    /// # Ok::<(), thalweg_cbo::CboError>(())
    /// ```
    pub fn scheduled<F: Fn(u64, &mut Self) + Sync>(self, set: F) -> Scheduled<F> {
        Scheduled { cbo: self, set }
    }
}

impl<F: Fn(u64, &mut Cbo) + Sync> Scheduled<F> {
    fn first(&self) -> Cbo {
        let mut cbo = self.cbo.clone();
        (self.set)(0, &mut cbo);
        cbo
    }
}

impl<F: Fn(u64, &mut Cbo) + Sync> Search for Scheduled<F> {
    /// Of the settings of iteration 0.
    fn validate(&self, space: &Space) -> Result<(), CboError> {
        self.first().validate(space)
    }

    fn swarm(&self, space: &Space, seed: Seed) -> Box<dyn Swarm + '_> {
        Box::new(Guided { swarm: CboSwarm::new(self.first(), space.clone(), seed), set: &self.set })
    }
}

/// A cloud whose settings follow the iteration.
struct Guided<'a, F> {
    swarm: CboSwarm,
    set: &'a F,
}

impl<F: Fn(u64, &mut Cbo)> Swarm for Guided<'_, F> {
    fn ask(&mut self) -> &[f64] {
        (self.set)(self.swarm.step(), &mut self.swarm.settings);
        self.swarm.ask()
    }
    fn tell(&mut self, values: &[f64]) {
        self.swarm.tell(values);
    }
    fn tell_gradients(&mut self, gradients: &[f64]) {
        self.swarm.tell_gradients(gradients);
    }
    fn wants_gradients(&self) -> bool {
        self.swarm.wants_gradients()
    }
    fn consensus(&self) -> &[f64] {
        self.swarm.consensus()
    }
    fn spread(&self) -> f64 {
        self.swarm.spread()
    }
    fn facts(&self) -> Facts {
        self.swarm.facts()
    }
    fn over(&self) -> Option<StopCause> {
        self.swarm.over()
    }
    fn forget(&mut self) {
        self.swarm.forget();
    }
    fn save(&self) -> Result<Vec<u8>, CboError> {
        self.swarm.save()
    }
    fn restore(&mut self, saved: &[u8]) -> Result<(), CboError> {
        self.swarm.restore(saved)
    }
}
