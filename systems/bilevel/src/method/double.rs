use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{
    Curvature, Sampled, add, decayed, descend, descend_within, exponents, positive, report,
};
use crate::penalty::{check_sigma, worse_basin};
use crate::{Batch, Oracle, Solution};

/// Algorithm 1 of arXiv:2309.01753: lower-level loops on g and on σf + g, then a step on x, with σ falling.
///
/// The rates are the paper's; the exponents of deterministic runs are reconstructed from them: σ and α as
/// k^{-1/3}, γ and β constant, T as log k. Every rate a decays as `a(1 + k/shift)^{−power}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DoubleLoop {
    /// Penalty σ at first. Default 1.
    pub sigma: f64,
    /// Its exponent. Default 1/3.
    pub sigma_power: f64,
    /// Step on x at first. Default 0.1.
    pub alpha: f64,
    /// Its exponent. Default 1/3.
    pub alpha_power: f64,
    /// Step of the lower levels, in units of 1/L. Default 1.
    pub gamma: f64,
    /// Largest curvature L of the lower level (after scaling). Default: estimated by power iteration on differences
    /// of gradients, and refreshed at every step on x.
    pub lipschitz: Option<f64>,
    /// Share of the lower level's result that is taken, in (0, 1]. Default 1.
    pub beta: f64,
    /// Lower-level steps T of the first iteration; they grow as 1 + ln(1 + k/shift). Default 10.
    pub inner: u64,
    /// Terms per lower-level gradient; 0 for all. Default 0.
    pub batch: u64,
    /// Terms M per x-gradient; 0 for all. Default 0.
    pub batch_x: u64,
    /// Weight 1/ρ of the Moreau smoothing, for nonconvex lower levels that jump. Default 0.
    pub moreau: f64,
    /// Iterations before decay sets in, > 0. Default 100.
    pub shift: f64,
    /// Divide lower-level steps by the curvature of each coordinate, where the problem knows it. Default true.
    pub scaled: bool,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for DoubleLoop {
    fn default() -> Self {
        Self {
            sigma: 1.0,
            sigma_power: 1.0 / 3.0,
            alpha: 0.1,
            alpha_power: 1.0 / 3.0,
            gamma: 1.0,
            lipschitz: None,
            beta: 1.0,
            inner: 10,
            batch: 0,
            batch_x: 0,
            moreau: 0.0,
            shift: 100.0,
            scaled: true,
            trust: 1e3,
        }
    }
}

impl<'p> Method<Oracle<'p>> for DoubleLoop {
    type State = Sampled<Curvature>;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "pbo-double"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { sigma, alpha, gamma, beta, inner, moreau, shift, trust, .. } = self;
        check_sigma("sigma", sigma)?;
        exponents([("sigma_power", self.sigma_power), ("alpha_power", self.alpha_power)])?;
        positive([("alpha", alpha), ("gamma", gamma), ("shift", shift), ("trust", trust)])?;
        Invalid::positive("lipschitz", self.lipschitz.unwrap_or(1.0))?;
        Invalid::share("beta", beta)?;
        Invalid::at_least_zero("moreau", moreau)?;
        Invalid::count("inner", inner)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(Sampled::new(oracle.start(), seed, Curvature::default()))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let before = oracle.calls();
        let (x_set, y_set) = (oracle.problem().x_set(), oracle.problem().y_set());
        let k = state.k;
        let sigma = decayed(self.sigma, self.sigma_power, self.shift, k);
        let alpha = decayed(self.alpha, self.alpha_power, self.shift, k);
        check_sigma("sigma", sigma)?;
        let scale = oracle.curvature(self.scaled, &state.at.x, state.at.y.len());
        let largest = match self.lipschitz {
            Some(largest) => largest,
            None => {
                let Sampled { at, memory, .. } = &mut *state;
                memory.refresh(oracle, (&at.x, &at.y), sigma, scale.as_deref())?;
                memory.largest
            }
        };
        let gamma = self.gamma / (largest + self.moreau);
        let inner = (self.inner as f64 * (1.0 + (k as f64 / self.shift).ln_1p())) as u64;

        let (mut u, mut w) = (state.at.z.clone(), state.at.y.clone());
        let mut left = 0.0;
        for _ in 0..inner {
            let (xi, zeta) = state.draw(oracle, self.batch);
            let Solution { x, y, z } = &state.at;
            // A proximal step of g, and one of h = σf + g.
            let mut d = oracle.g_y((x, &u), zeta.batch())?;
            d.iter_mut().zip(&u).zip(z).for_each(|((d, u), z)| *d += self.moreau * (u - z));
            let of_z = descend(&mut u, y_set, gamma, &d, scale.as_deref());
            let mut d = oracle.h_y((x, &w), sigma, xi.batch(), zeta.batch())?;
            d.iter_mut().zip(&w).zip(y).for_each(|((d, w), y)| *d += self.moreau * (w - y));
            left = descend(&mut w, y_set, gamma, &d, scale.as_deref()).max(of_z);
        }
        for (old, new) in [(&mut state.at.z, u), (&mut state.at.y, w)] {
            old.iter_mut().zip(new).for_each(|(o, n)| *o += self.beta * (n - *o));
        }

        // Both x-gradients of g on the same terms: their noise is then of the order of y − z.
        let (xi, zeta) = state.draw(oracle, self.batch_x);
        let Solution { x, y, z } = &mut state.at;
        let (upper, mut d) = oracle.f_x((x, y), xi.batch())?;
        let (g_y, of_y) = oracle.g_x((x, y), zeta.batch())?;
        let (g_z, of_z) = oracle.g_x((x, z), zeta.batch())?;
        if zeta.batch() == Batch::Full && worse_basin(g_z, g_y, f64::EPSILON * largest * crate::set::norm2(z))
        {
            z.copy_from_slice(y); // z was in a worse basin
            state.swaps += 1;
        } else {
            add(&mut d, 1.0 / sigma, &of_y);
            add(&mut d, -1.0 / sigma, &of_z);
        }
        descend_within(x, x_set, alpha, &d, self.trust);
        state.k += 1;
        let more = [
            ("sigma", sigma),
            ("lipschitz", largest),
            ("gap", g_y - g_z),
            ("swaps", state.swaps as f64),
            ("inner_residual/sigma", left / sigma),
        ];
        Ok(report(oracle, before, upper + (g_y - g_z) / sigma, &d, &more))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
