use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};

use crate::method::sampled::{
    Curvature, Sampled, add, decayed, descend, descend_within, exponents, positive, report,
};
use crate::penalty::{check_sigma, worse_basin};
use crate::set::norm2;
use crate::{Batch, BilevelError, Oracle, Solution};

/// Algorithm 2 of arXiv:2309.01753: one step on z, y and x each per iteration, along recursive estimators
/// (momentum with the same terms at the old and the new point), O(1) terms per iteration.
///
/// The exponents follow from the proven rate: σ 1/5, γ and β 2/5, α 3/5, η 4/5. [`SingleLoop::deterministic`]
/// has those without noise. Every rate a decays as `a(1 + k/shift)^{−power}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SingleLoop {
    /// Penalty σ at first. Default 0.3.
    pub sigma: f64,
    /// Its exponent. Default 1/5.
    pub sigma_power: f64,
    /// Step on x at first. Default 0.1.
    pub alpha: f64,
    /// Its exponent. Default 3/5.
    pub alpha_power: f64,
    /// Step of the lower levels at first, in units of 1/L. Default 0.5.
    pub gamma: f64,
    /// Largest curvature L of the lower level (after scaling). Default: estimated by power iteration on differences
    /// of gradients of all terms, and refreshed every thousand steps.
    pub lipschitz: Option<f64>,
    /// Its exponent. Default 2/5.
    pub gamma_power: f64,
    /// Share of the proximal point that is taken, in (0, 1]; less than 1 with `moreau` only. Default 1.
    pub beta: f64,
    /// Its exponent. Default 2/5.
    pub beta_power: f64,
    /// Weight of the new gradient in the estimators, in (0, 1]; 1 for none of the past. Default 0.3.
    pub eta: f64,
    /// Its exponent. Default 4/5.
    pub eta_power: f64,
    /// Terms per gradient; 0 for all. Default 64.
    pub batch: u64,
    /// Weight 1/ρ of the Moreau smoothing. Default 0: plain steps.
    pub moreau: f64,
    /// Iterations before decay sets in, > 0. Default 2000.
    pub shift: f64,
    /// Divide lower-level steps by the curvature of each coordinate, where the problem knows it. Default true.
    pub scaled: bool,
    /// Longest step on x. Default 1e3.
    pub trust: f64,
}

impl Default for SingleLoop {
    fn default() -> Self {
        Self {
            sigma: 0.3,
            sigma_power: 0.2,
            alpha: 0.1,
            alpha_power: 0.6,
            gamma: 0.5,
            lipschitz: None,
            gamma_power: 0.4,
            beta: 1.0,
            beta_power: 0.4,
            eta: 0.3,
            eta_power: 0.8,
            batch: 64,
            moreau: 0.0,
            shift: 2000.0,
            scaled: true,
            trust: 1e3,
        }
    }
}

impl SingleLoop {
    /// All terms, no momentum: exponents 1/3, 0, 1/3 for σ, γ, α.
    pub fn deterministic() -> Self {
        Self {
            sigma_power: 1.0 / 3.0,
            gamma_power: 0.0,
            beta_power: 0.0,
            alpha_power: 1.0 / 3.0,
            eta: 1.0,
            eta_power: 0.0,
            batch: 0,
            ..Self::default()
        }
    }
}

/// Steps between two looks at the curvature.
const REFRESH: u64 = 1000;

/// What [`SingleLoop`] remembers: the estimators and the points that they belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Estimators {
    before: Solution,
    /// Of ∇_y g at z, of ∇_y g and ∇_y f at y.
    d_z: Vec<f64>,
    d_y: Vec<f64>,
    f_y: Vec<f64>,
    /// Of ∇_x f at y, of ∇_x g at y and z.
    f_x: Vec<f64>,
    g_y: Vec<f64>,
    g_z: Vec<f64>,
    curvature: Curvature,
    /// Proximal iterates.
    u: Vec<f64>,
    w: Vec<f64>,
}

/// All gradients at one point on one batch, in the order of the estimators, and the surrogate's parts.
struct Six {
    grads: [Vec<f64>; 6],
    f: f64,
    gap: f64,
}

fn six(oracle: &mut Oracle<'_>, at: &Solution, xi: Batch<'_>, zeta: Batch<'_>) -> Result<Six, BilevelError> {
    let of_z = oracle.g_xy((&at.x, &at.z), zeta)?;
    let of_y = oracle.g_xy((&at.x, &at.y), zeta)?;
    let f = oracle.f_xy((&at.x, &at.y), xi)?;
    let gap = of_y.value - of_z.value;
    Ok(Six { grads: [of_z.y, of_y.y, f.y, f.x, of_y.x, of_z.x], f: f.value, gap })
}

impl Estimators {
    fn all(&mut self) -> [&mut Vec<f64>; 6] {
        let Self { d_z, d_y, f_y, f_x, g_y, g_z, .. } = self;
        [d_z, d_y, f_y, f_x, g_y, g_z]
    }
}

impl<'p> Method<Oracle<'p>> for SingleLoop {
    type State = Sampled<Option<Estimators>>;
    type Solution = Solution;

    fn name(&self) -> &'static str {
        "pbo-single"
    }

    fn validate(&self) -> Result<(), Invalid> {
        let &Self { sigma, alpha, gamma, moreau, shift, trust, .. } = self;
        check_sigma("sigma", sigma)?;
        exponents([
            ("sigma_power", self.sigma_power),
            ("alpha_power", self.alpha_power),
            ("gamma_power", self.gamma_power),
            ("beta_power", self.beta_power),
            ("eta_power", self.eta_power),
        ])?;
        positive([("alpha", alpha), ("gamma", gamma), ("shift", shift), ("trust", trust)])?;
        Invalid::positive("lipschitz", self.lipschitz.unwrap_or(1.0))?;
        Invalid::share("beta", self.beta)?;
        Invalid::share("eta", self.eta)?;
        Invalid::at_least_zero("moreau", moreau)
    }

    fn init(&self, oracle: &mut Oracle<'p>, seed: Seed) -> Result<Self::State, MethodError> {
        Ok(Sampled::new(oracle.start(), seed, None))
    }

    fn step(&self, oracle: &mut Oracle<'p>, state: &mut Self::State) -> Result<Progress, MethodError> {
        let calls = oracle.calls();
        let (x_set, y_set) = (oracle.problem().x_set(), oracle.problem().y_set());
        let rate = |a: f64, power: f64| decayed(a, power, self.shift, state.k);
        let (sigma, alpha) = (rate(self.sigma, self.sigma_power), rate(self.alpha, self.alpha_power));
        let (gamma, beta) = (rate(self.gamma, self.gamma_power), rate(self.beta, self.beta_power));
        let eta = rate(self.eta, self.eta_power);
        check_sigma("sigma", sigma)?;

        // Estimators at the current point; the correction takes the same terms at the point before.
        let (xi, zeta) = state.draw(oracle, self.batch);
        let now = six(oracle, &state.at, xi.batch(), zeta.batch())?;
        let whole = zeta.batch() == Batch::Full;
        let Sampled { at, memory, k, swaps, .. } = &mut *state;
        let memory = match memory {
            Some(memory) => {
                let old = match eta < 1.0 {
                    true => Some(six(oracle, &memory.before, xi.batch(), zeta.batch())?),
                    false => None,
                };
                for (i, (d, new)) in memory.all().into_iter().zip(now.grads).enumerate() {
                    if let Some(old) = &old {
                        for ((d, n), o) in d.iter_mut().zip(new).zip(&old.grads[i]) {
                            *d = n + (1.0 - eta) * (*d - o);
                        }
                    } else {
                        *d = new;
                    }
                }
                memory.before.clone_from(at);
                memory
            }
            None => {
                let [d_z, d_y, f_y, f_x, g_y, g_z] = now.grads;
                let (u, w, curvature) = (at.z.clone(), at.y.clone(), Curvature::default());
                memory.insert(Estimators {
                    before: at.clone(),
                    d_z,
                    d_y,
                    f_y,
                    f_x,
                    g_y,
                    g_z,
                    curvature,
                    u,
                    w,
                })
            }
        };

        let Solution { x, y, z } = at;
        let scale = oracle.curvature(self.scaled, x, y.len());
        let largest = match self.lipschitz {
            Some(largest) => largest,
            None => {
                if k.is_multiple_of(REFRESH) {
                    memory.curvature.refresh(oracle, (x, y), sigma, scale.as_deref())?;
                }
                memory.curvature.largest
            }
        };
        // z is in a worse basin than y; it stays there, but is counted.
        *swaps += u64::from(whole && worse_basin(0.0, now.gap, f64::EPSILON * largest * norm2(z)));
        let gamma = gamma / (largest + self.moreau);
        let mut d_h = memory.d_y.clone();
        add(&mut d_h, sigma, &memory.f_y);
        let mut left = 0.0f64;
        for (v, prox, d) in [(z, &mut memory.u, &memory.d_z), (y, &mut memory.w, &d_h)] {
            let mut d = d.clone();
            if self.moreau == 0.0 {
                left = left.max(descend(v, y_set, gamma, &d, scale.as_deref()));
                continue;
            }
            d.iter_mut().zip(&*prox).zip(&*v).for_each(|((d, p), v)| *d += self.moreau * (p - v));
            prox.copy_from_slice(v);
            left = left.max(descend(prox, y_set, gamma, &d, scale.as_deref()));
            v.iter_mut().zip(&*prox).for_each(|(v, p)| *v += beta * (p - *v));
        }
        let mut d = memory.f_x.clone();
        add(&mut d, 1.0 / sigma, &memory.g_y);
        add(&mut d, -1.0 / sigma, &memory.g_z);
        descend_within(x, x_set, alpha, &d, self.trust);
        *k += 1;
        let more = [
            ("sigma", sigma),
            ("gap", now.gap),
            ("eta", eta),
            ("lipschitz", largest),
            ("swaps", *swaps as f64),
            ("inner_residual/sigma", left / sigma),
        ];
        Ok(report(oracle, calls, now.f + now.gap / sigma, &d, &more))
    }

    fn current<'s>(&self, state: &'s Self::State) -> Option<&'s Solution> {
        Some(&state.at)
    }

    fn finish(&self, _: &mut Oracle<'p>, state: Self::State) -> Result<Solution, MethodError> {
        Ok(state.at)
    }
}
