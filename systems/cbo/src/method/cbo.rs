//! Consensus-based optimisation: particles drift to their consensus and diffuse the more, the
//! farther they are from it.

use std::fmt;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};
use thalweg_linalg::vector::dot_in_turn as dot;
use thalweg_optim::Schedule;

use super::Diagnostics;
use crate::alpha::Alpha;
use crate::consensus::consensus;
use crate::frame::Frame;
use crate::search::Ended;
use crate::space::{NARROW, Start, Surface};
use crate::{CboError, Space, Swarm};

/// How the noise depends on the offset D = X − c from the consensus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// |D| ξ: the same in all directions; contracts only if 2λ > dσ².
    Isotropic,
    /// D ⊙ ξ: coordinate by coordinate; contracts in any dimension.
    #[default]
    Anisotropic,
    /// As anisotropic, in the eigenframe of the best quarter of the particles: for rotated problems.
    Eigenframe,
}

/// Particles remember their best positions, and are drawn to them (Riedl 2022).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Drift to the own best position; λ₂.
    pub lambda: f64,
    /// Noise from the distance to it; σ₂ [default: λ₂ σ].
    pub sigma: Option<f64>,
    /// Rate of the smooth update; κ [default: 1/Δt]. Needs `beta`.
    pub kappa: Option<f64>,
    /// Steepness of the smooth update by tanh; β [default: the strict one, β = ∞]. It moves what is remembered between
    /// positions that were evaluated, and is evaluated too: twice the evaluations per step.
    pub beta: Option<f64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { lambda: 0.4, sigma: None, kappa: None, beta: None }
    }
}

/// A drift along −∇f (Riedl 2022).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientDrift {
    /// Strength γ.
    pub gamma: f64,
    /// Learning rate η.
    pub eta: f64,
    /// Half the distance of central differences, 2d evaluations per particle, one-sided at the walls of the box; none:
    /// the function gives its gradient ([`thalweg_optim::blackbox::BlackBox::gradients`]).
    pub difference: Option<f64>,
}

impl Default for GradientDrift {
    fn default() -> Self {
        Self { gamma: 1.0, eta: 0.01, difference: Some(1e-3) }
    }
}

/// Random batches of particles (Carrillo, Jin, Li, Zhu): each step sees one batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batches {
    /// Particles evaluated per step.
    pub size: usize,
    /// Move the batch alone; else all particles.
    pub partial: bool,
    /// When the consensus moves less than this, all particles get a kick of σ√Δt ξ.
    pub kick: f64,
}

impl Default for Batches {
    fn default() -> Self {
        Self { size: 10, partial: false, kick: 1e-5 }
    }
}

/// Consensus-based optimisation. With λ = 1/Δt it hops; `delta` > 0 is δ-CBO, with `freezing`
/// consensus freezing.
///
/// K. Riedl, T. Klock, C. Geldhauser, M. Fornasier, *Gradient is All You Need?*, arXiv:2306.09778;
/// R. Pinnau, C. Totzeck, O. Tse, S. Martin, *A consensus-based model for global optimization and its
/// mean-field limit*, 2017; J. A. Carrillo, S. Jin, L. Li, Y. Zhu, *A consensus-based global
/// optimization method for high dimensional machine learning problems*, 2021 (anisotropic noise);
/// δ-CBO and freezing: *From Consensus-Based Optimization to Evolution Strategies*, arXiv:2602.11677.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cbo {
    /// Number of particles; 0: 20 per dimension, from 50 to 400.
    pub particles: usize,
    /// Drift λ.
    pub lambda: f64,
    /// Step Δt; λΔt is at most 1.
    pub dt: f64,
    /// Noise per step s = σ√Δt, which decides whether the cloud contracts ([`Cbo::exponents`]).
    pub noise_ratio: f64,
    /// Noise σ, if given: replaces `noise_ratio`.
    pub sigma: Option<f64>,
    /// How noise depends on the distance from the consensus.
    pub noise: Noise,
    /// Truncation M: no more noise than from this distance.
    pub cap: Option<f64>,
    /// Additive noise δ that does not vanish.
    pub delta: f64,
    /// Moves exactly to the law of a step with frozen consensus and additive noise alone.
    pub freezing: bool,
    /// The noise sees the particle after its drift, as in the paper's published program.
    pub noise_after_drift: bool,
    /// Inverse temperature.
    pub alpha: Alpha,
    /// α grows by this factor per step.
    pub alpha_factor: f64,
    /// Further factor on α, e.g. `step:100,200:10`. A closure instead: [`Cbo::scheduled`].
    pub alpha_schedule: Schedule,
    /// Further factor on the noise σ, e.g. `linear:500` or `inverse-sqrt`.
    pub sigma_schedule: Schedule,
    /// Cooling every that many steps: α doubles, and σ after e coolings is σ/log₂(e + 2). None: no
    /// cooling.
    pub cool_every: Option<u64>,
    /// With cooling, the number of particles shrinks with the variance of the cloud at this rate µ
    /// in [0, 1]; 0: never.
    pub reduction: f64,
    /// Particles remember their best positions.
    pub memory: Option<Memory>,
    /// Drift along the gradient.
    pub gradient: Option<GradientDrift>,
    /// Random batches of particles.
    pub batches: Option<Batches>,
}

impl Default for Cbo {
    fn default() -> Self {
        Self {
            particles: 0,
            lambda: 1.0,
            dt: 0.1,
            noise_ratio: 0.95,
            sigma: None,
            noise: Noise::default(),
            cap: None,
            delta: 0.0,
            freezing: false,
            noise_after_drift: false,
            alpha: Alpha::INFINITE,
            alpha_factor: 1.0,
            alpha_schedule: Schedule::default(),
            sigma_schedule: Schedule::default(),
            cool_every: None,
            reduction: 0.0,
            memory: None,
            gradient: None,
            batches: None,
        }
    }
}

impl Cbo {
    /// Noise per step, σ√Δt.
    pub fn ratio(&self) -> f64 {
        self.sigma.map_or(self.noise_ratio, |sigma| sigma * self.dt.sqrt())
    }

    /// Number of particles in `dim` dimensions.
    pub fn count(&self, dim: usize) -> usize {
        if self.particles > 0 { self.particles } else { (20 * dim).clamp(50, 400) }
    }

    /// Growth of |X − c| per step while the consensus stays: of the mean square, log √E|D⁺|²/|D|², and
    /// of a typical path, E log|D⁺|/|D| (by sampling). Negative: contracts.
    pub fn exponents(&self, dim: usize) -> (f64, f64) {
        let (keep, s) = (1.0 - self.lambda * self.dt, self.ratio());
        let spread = if self.noise == Noise::Isotropic { dim as f64 } else { 1.0 };
        let square = 0.5 * (keep * keep + spread * s * s).ln();
        let (n, d) = (20_000, if self.noise == Noise::Isotropic { dim } else { 1 });
        let mut xi = vec![0.0; n * d];
        normal(&mut Seed(0).stream("exponent", 0), &mut xi);
        // D = e₁ without loss of generality.
        let growth = |z: &[f64]| 0.5 * ((keep + s * z[0]).powi(2) + s * s * dot(&z[1..], &z[1..])).ln();
        (square, xi.chunks_exact(d).map(growth).sum::<f64>() / n as f64)
    }

    /// Names the bad field of the method or the space, or what of the two does not fit.
    ///
    /// # Errors
    /// A field outside its range; a start without spread that nothing widens.
    pub fn check(&self, space: &Space) -> Result<(), CboError> {
        space.validate()?;
        self.ranges()?;
        if let Some(b) = self.batches {
            let n = self.count(space.dim);
            let whole = b.size > 0 && b.size <= n && n.is_multiple_of(b.size);
            Invalid::check(whole, "batches.size", b.size, &format!("a divisor of the {n} particles"))?;
        }
        self.used(space)?;
        let point = matches!(space.start, Start::Normal { std: 0.0, .. });
        if point && self.delta == 0.0 {
            return Err(CboError::NoSpread);
        }
        Ok(())
    }

    /// Refuses what would change nothing beside the other settings.
    fn used(&self, space: &Space) -> Result<(), Invalid> {
        let plain = Self::default();
        let refuse = |idle: bool, field: &str, value: &dyn fmt::Debug, legal: &str| {
            Invalid::check(!idle, field, format!("{value:?}"), legal)
        };
        let frozen = "the default with freezing, which moves by delta alone";
        let own = "the default on the sphere, whose tangential scheme has a noise of its own";
        let sphere = space.surface == Surface::Sphere && !self.freezing;
        for (idle, why) in [(self.freezing, frozen), (sphere, own)] {
            refuse(idle && self.noise != plain.noise, "noise", &self.noise, why)?;
            refuse(idle && self.noise_after_drift, "noise_after_drift", &true, why)?;
            refuse(idle && self.memory.is_some(), "memory", &self.memory, why)?;
            refuse(idle && self.gradient.is_some(), "gradient", &self.gradient, why)?;
        }
        let still = self.freezing && self.batches.is_none(); // a kick has this noise
        refuse(still && self.ratio() != plain.ratio(), "noise_ratio", &self.ratio(), frozen)?;
        refuse(self.freezing && self.cap.is_some(), "cap", &self.cap, frozen)?;
        let off = space.surface != Surface::None && self.gradient.is_some_and(|g| g.difference.is_some());
        let legal = "null (the function's own gradient) on a surface, which differences would leave";
        refuse(off, "gradient.difference", &self.gradient.and_then(|g| g.difference), legal)?;
        let infinite = self.alpha == Alpha::INFINITE;
        let legal = "the default at α = ∞, which no factor changes";
        let factor = infinite && self.alpha_factor != plain.alpha_factor;
        refuse(factor, "alpha_factor", &self.alpha_factor, legal)?;
        let schedule = infinite && self.alpha_schedule != plain.alpha_schedule;
        refuse(schedule, "alpha_schedule", &self.alpha_schedule.to_string(), legal)?;
        let idle = self.reduction > 0.0 && self.cool_every.is_none();
        refuse(idle, "reduction", &self.reduction, "0 without cool_every")?;
        let kappa = self.memory.filter(|m| m.beta.is_none()).and_then(|m| m.kappa);
        refuse(
            kappa.is_some(),
            "memory.kappa",
            &kappa,
            "none without memory.beta: the strict update has no rate",
        )
    }

    /// The cloud before its first step. The settings must be valid in this space.
    pub fn swarm(&self, space: &Space, seed: Seed) -> CboSwarm {
        CboSwarm::new(self.clone(), space.clone(), seed)
    }
}

search!(Cbo, "cbo", CboSwarm);

impl Cbo {
    /// Names the first field outside its range.
    pub(super) fn ranges(&self) -> Result<(), Invalid> {
        Invalid::check(
            self.particles != 1,
            "particles",
            1,
            "at least 2, or 0 for a number from the dimension",
        )?;
        Invalid::positive("lambda", self.lambda)?;
        Invalid::positive("dt", self.dt)?;
        Invalid::in_closed("lambda · dt", self.lambda * self.dt, 0.0, 1.0)?;
        Invalid::at_least_zero("noise_ratio", self.noise_ratio)?;
        Invalid::at_least_zero("sigma", self.sigma.unwrap_or(0.0))?;
        let cap = self.cap.unwrap_or(f64::INFINITY);
        Invalid::check(cap >= 0.0, "cap", cap, "a number ≥ 0")?;
        Invalid::at_least_zero("delta", self.delta)?;
        self.alpha.validate()?;
        Invalid::positive("alpha_factor", self.alpha_factor)?;
        for (name, schedule) in [("alpha", &self.alpha_schedule), ("sigma", &self.sigma_schedule)] {
            schedule.validate().map_err(|e| Invalid { field: format!("{name}_schedule"), ..e })?;
        }
        Invalid::in_closed("reduction", self.reduction, 0.0, 1.0)?;
        Invalid::check(self.cool_every != Some(0), "cool_every", 0, "at least 1")?;
        if let Some(m) = self.memory {
            Invalid::at_least_zero("memory.lambda", m.lambda)?;
            Invalid::at_least_zero("memory.sigma", m.sigma.unwrap_or(0.0))?;
            Invalid::at_least_zero("memory.kappa", m.kappa.unwrap_or(0.0))?;
            Invalid::at_least_zero("memory.beta", m.beta.unwrap_or(0.0))?;
        }
        if let Some(g) = self.gradient {
            Invalid::at_least_zero("gradient.gamma", g.gamma)?;
            Invalid::at_least_zero("gradient.eta", g.eta)?;
            Invalid::positive("gradient.difference", g.difference.unwrap_or(1.0))?;
        }
        if let Some(b) = self.batches {
            let alone = self.memory.is_none() && self.gradient.is_none();
            Invalid::check(alone, "batches", b.size, "batches without memory and gradient drift")?;
        }
        Ok(())
    }
}

/// The cloud of [`Cbo`]. Its settings may be changed between steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CboSwarm {
    /// The hyper-parameters.
    pub settings: Cbo,
    space: Space,
    rng: ChaCha8Rng,
    /// Positions, `[n, dim]`.
    x: Vec<f64>,
    /// What is evaluated where that is not all particles alone: a batch, or differences too.
    asked: Vec<f64>,
    /// Particles in a random order; the batch is `order[at..at + size]`.
    order: Vec<usize>,
    at: usize,
    /// Best positions and their values, with memory.
    memory: Option<(Vec<f64>, Vec<f64>)>,
    gradients: Vec<f64>,
    frame: Frame,
    covariance: Vec<f64>,
    c: Vec<f64>,
    step: u64,
    variance: f64,
    diagnostics: Diagnostics,
}

impl CboSwarm {
    /// The cloud before its first step. The settings must be valid in this space.
    pub fn new(settings: Cbo, space: Space, seed: Seed) -> Self {
        let (dim, mut rng) = (space.dim, seed.stream("cbo", 0));
        let mut x = vec![0.0; settings.count(dim) * dim];
        x.chunks_exact_mut(dim).for_each(|x| space.sample(&mut rng, x));
        Self::of(settings, space, x, rng)
    }

    /// A cloud of given positions, `[n, dim]`, which are moved into the space.
    pub fn at(settings: Cbo, space: Space, mut positions: Vec<f64>, seed: Seed) -> Result<Self, CboError> {
        let n = positions.len() / space.dim.max(1);
        CboError::check_length("the cloud", positions.len(), n.max(1) * space.dim)?;
        positions.chunks_exact_mut(space.dim).for_each(|x| space.project(x));
        Ok(Self::of(settings, space, positions, seed.stream("cbo", 0)))
    }

    fn of(settings: Cbo, space: Space, x: Vec<f64>, rng: ChaCha8Rng) -> Self {
        let dim = space.dim;
        let order = (0..x.len() / dim).collect();
        let c = x[..dim].to_vec();
        let mut covariance = vec![0.0; dim * dim];
        covariance.iter_mut().step_by(dim + 1).for_each(|v| *v = 1.0 / dim as f64);
        let (frame, diagnostics) = (Frame::axes(dim), Diagnostics::default());
        let (asked, gradients, memory, at) = Default::default();
        let (step, variance) = (0, f64::NAN);
        Self {
            settings,
            space,
            rng,
            x,
            asked,
            order,
            at,
            memory,
            gradients,
            frame,
            covariance,
            c,
            step,
            variance,
            diagnostics,
        }
    }

    /// Positions of the particles, `[n, dim]`.
    pub fn positions(&self) -> &[f64] {
        &self.x
    }

    /// What the particles remember: positions `[n, dim]` and the values that were told of them (of a smooth memory,
    /// before its last move). None without memory or before the first step.
    pub fn remembered(&self) -> Option<(&[f64], &[f64])> {
        self.memory.as_ref().map(|(y, fy)| (y.as_slice(), fy.as_slice()))
    }

    /// Steps made.
    pub fn step(&self) -> u64 {
        self.step
    }

    fn n(&self) -> usize {
        self.x.len() / self.space.dim
    }

    /// The particle of the `k`-th value.
    fn member(&self, k: usize) -> usize {
        if self.settings.batches.is_some() { self.order[self.at + k] } else { k }
    }

    /// Inverse temperature of this step.
    fn alpha(&self, values: &[f64]) -> f64 {
        let s = &self.settings;
        let alpha = s.alpha.at(values);
        if alpha.is_infinite() {
            return alpha; // also where a schedule has come down to 0
        }
        let doubled = s.cool_every.map_or(1.0, |every| 2f64.powf((self.step / every) as f64));
        alpha * doubled * s.alpha_factor.powf(self.step as f64) * s.alpha_schedule.factor(self.step)
    }

    /// σ√Δt of this step.
    fn ratio(&self) -> f64 {
        let cooled = self.settings.cool_every.map_or(1.0, |every| ((self.step / every + 2) as f64).log2());
        self.settings.ratio() / cooled * self.settings.sigma_schedule.factor(self.step)
    }

    /// Whether what is remembered moves between positions, so that its values are asked for.
    fn smooth(&self) -> bool {
        self.memory.is_some() && self.settings.memory.is_some_and(|m| m.beta.is_some())
    }

    /// The two places of coordinate `j` whose difference is taken at `x`, within the box.
    fn ends(&self, j: usize, x: f64, h: f64) -> (f64, f64) {
        let (lo, hi) = self.space.walls().map_or((f64::NEG_INFINITY, f64::INFINITY), |bounds| bounds[j]);
        ((x + h).min(hi), (x - h).max(lo))
    }

    /// Gradients from the differences that were asked for after the particles.
    fn differences(&mut self, values: &[f64], h: f64) {
        let dim = self.space.dim;
        let slope = |(k, f): (usize, &[f64])| {
            let (up, down) = self.ends(k % dim, self.x[k], h);
            (f[0] - f[1]) / (up - down)
        };
        self.gradients = values.chunks_exact(2).enumerate().map(slope).collect();
    }

    /// The memory takes over what is better: what it holds has been evaluated there.
    fn remember(&mut self, values: &[f64]) {
        if self.settings.memory.is_none() {
            return;
        }
        let dim = self.space.dim;
        let Some((y, fy)) = &mut self.memory else {
            self.memory = Some((self.x.clone(), values.to_vec()));
            return;
        };
        let rows = y.chunks_exact_mut(dim).zip(fy).zip(self.x.chunks_exact(dim).zip(values));
        for ((y, fy), (x, &f)) in rows.filter(|((_, fy), (_, f))| **f < **fy || fy.is_nan()) {
            y.copy_from_slice(x);
            *fy = f;
        }
    }

    /// The memory moves towards what is better, by tanh; its values are asked for next.
    fn drift_memory(&mut self, values: &[f64]) {
        let (dim, dt) = (self.space.dim, self.settings.dt);
        let Some(Memory { beta: Some(beta), kappa, .. }) = self.settings.memory else { return };
        let Some((y, fy)) = &mut self.memory else { return };
        let kappa = kappa.map_or(1.0, |k| k * dt).min(1.0);
        for (i, (&f, &fy)) in values.iter().zip(&*fy).enumerate() {
            let y = &mut y[i * dim..(i + 1) * dim];
            let rate = match (f.is_finite(), fy.is_finite()) {
                (true, true) => 0.5 * kappa * (1.0 + (beta * (fy - f)).tanh()),
                _ => f64::from(u8::from(f < fy || (fy.is_nan() && !f.is_nan()))),
            };
            y.iter_mut().zip(&self.x[i * dim..(i + 1) * dim]).for_each(|(y, x)| *y += rate * (x - *y));
            if rate > 0.0 {
                self.space.project(y);
            }
        }
    }

    /// C ← 0.9 C + 0.1 cov(best quarter)/trace, and its frame every d/10 steps.
    fn turn_frame(&mut self, values: &[f64]) {
        let dim = self.space.dim;
        let mut ranked: Vec<usize> = (0..values.len()).filter(|&k| values[k].is_finite()).collect();
        ranked.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        ranked.truncate((values.len() / 4).max(2));
        let rows = || ranked.iter().map(|&k| self.member(k)).map(|i| &self.x[i * dim..(i + 1) * dim]);
        let mean: Vec<f64> =
            (0..dim).map(|j| rows().map(|x| x[j]).sum::<f64>() / ranked.len().max(1) as f64).collect();
        let mut cov = vec![0.0; dim * dim];
        for x in rows() {
            for i in 0..dim {
                for j in 0..dim {
                    cov[i * dim + j] += (x[i] - mean[i]) * (x[j] - mean[j]);
                }
            }
        }
        let trace: f64 = cov.iter().step_by(dim + 1).sum();
        if trace.is_normal() {
            self.covariance.iter_mut().zip(&cov).for_each(|(c, new)| *c = 0.9 * *c + 0.1 * new / trace);
        }
        if self.step.is_multiple_of((dim as u64 / 10).max(1)) {
            self.frame = Frame::of(&self.covariance, dim).unwrap_or_else(|| Frame::axes(dim));
        }
    }

    /// One Euler–Maruyama step of particle `i`; the buffers hold a vector each.
    fn advance(&mut self, i: usize, s: f64, [xi, noise, more]: &mut [Vec<f64>; 3]) {
        let dim = self.space.dim;
        let set = &self.settings;
        let (dt, pull) = (set.dt, set.lambda * set.dt);
        normal(&mut self.rng, xi);
        let x = &mut self.x[i * dim..(i + 1) * dim];
        if set.freezing {
            let (keep, std) =
                ((-pull).exp(), set.delta * ((1.0 - (-2.0 * pull).exp()) / (2.0 * set.lambda)).sqrt());
            x.iter_mut().zip(&self.c).zip(&*xi).for_each(|((x, c), xi)| *x = c + keep * (*x - c) + std * xi);
        } else if self.space.surface == Surface::Sphere {
            let away = x.iter().zip(&self.c).map(|(x, c)| (x - c).powi(2)).sum::<f64>();
            let reach = away.sqrt().min(set.cap.unwrap_or(f64::INFINITY));
            let (along_c, along_xi) = (dot(x, &self.c), dot(x, xi));
            let curve = 0.5 * s * s * (dim as f64 - 1.0) * reach * reach;
            for ((x, c), xi) in x.iter_mut().zip(&self.c).zip(&*xi) {
                *x += pull * (c - along_c * *x) + (s * reach + set.delta * dt.sqrt()) * (xi - along_xi * *x)
                    - curve * *x;
            }
        } else {
            let shrink = if set.noise_after_drift { 1.0 - pull } else { 1.0 };
            let law = Law { kind: set.noise, s, shrink, cap: set.cap, additive: set.delta * set.delta * dt };
            let memory = self.memory.as_ref().zip(set.memory);
            law.draw(x, &self.c, &self.frame, xi, noise);
            let (mut toward, mut wander) = (None, 0.0);
            if let Some(((y, _), m)) = memory {
                toward = Some((&y[i * dim..(i + 1) * dim], m.lambda * dt));
                wander = m.sigma.map_or(m.lambda * s, |sigma| sigma * dt.sqrt());
            }
            if let Some((y, rate)) = toward {
                normal(&mut self.rng, xi);
                let own = Law { s: wander, additive: 0.0, ..law };
                own.draw(x, y, &self.frame, xi, more);
                for ((n, m), (x, y)) in noise.iter_mut().zip(&*more).zip(x.iter().zip(y)) {
                    *n += m - rate * (x - y);
                }
            }
            if let Some(g) = set.gradient.filter(|_| !self.gradients.is_empty()) {
                let gradient = &self.gradients[i * dim..(i + 1) * dim];
                let rate = g.gamma * g.eta * dt;
                noise.iter_mut().zip(gradient).filter(|g| g.1.is_finite()).for_each(|(n, g)| *n -= rate * g);
            }
            x.iter_mut().zip(&self.c).zip(&*noise).for_each(|((x, c), n)| *x += n - pull * (*x - c));
        }
        self.space.confine(&mut self.rng, &mut self.x[i * dim..(i + 1) * dim]);
    }

    /// Fewer particles when the cloud has become narrower.
    fn reduce(&mut self) {
        let (dim, mu, n) = (self.space.dim, self.settings.reduction, self.n());
        let mean: Vec<f64> =
            (0..dim).map(|j| self.x.iter().skip(j).step_by(dim).sum::<f64>() / n as f64).collect();
        let square = |x: &[f64]| x.iter().zip(&mean).map(|(x, m)| (x - m).powi(2)).sum::<f64>();
        let now = self.x.chunks_exact(dim).map(square).sum::<f64>() / n as f64;
        let old = std::mem::replace(&mut self.variance, now);
        if !old.is_normal() {
            return;
        }
        let size = self.settings.batches.map_or(1, |b| b.size);
        let share = ((mu * now + (1.0 - mu) * old) / old).clamp(1.0 - mu, 1.0);
        let left = ((n as f64 / size as f64 * share).ceil() as usize).max(1) * size;
        if left < n && left >= 2 {
            self.x.truncate(left * dim);
            self.order = (0..left).collect();
            self.at = 0;
            if let Some((y, fy)) = &mut self.memory {
                y.truncate(left * dim);
                fy.truncate(left);
            }
        }
    }
}

impl Swarm for CboSwarm {
    fn upcoming(&self) -> usize {
        let differences = match self.settings.gradient {
            Some(GradientDrift { difference: Some(_), .. }) => 2 * self.x.len(),
            _ => 0,
        };
        let remembered = if self.smooth() { self.n() } else { 0 };
        self.settings.batches.map_or(self.n(), |b| b.size) + remembered + differences
    }

    fn ask(&mut self) -> &[f64] {
        let dim = self.space.dim;
        let difference = self.settings.gradient.and_then(|g| g.difference);
        self.asked.clear();
        match self.settings.batches {
            None if difference.is_none() && !self.smooth() => return &self.x,
            None => self.asked.extend_from_slice(&self.x),
            Some(b) => {
                if self.at == 0 {
                    self.order.shuffle(&mut self.rng);
                }
                for &i in &self.order[self.at..self.at + b.size] {
                    self.asked.extend_from_slice(&self.x[i * dim..(i + 1) * dim]);
                }
            }
        }
        if let Some((y, _)) = self.memory.as_ref().filter(|_| self.smooth()) {
            self.asked.extend_from_slice(y);
        }
        if let Some(h) = difference {
            for k in 0..self.x.len() {
                let (i, j) = (k / dim, k % dim);
                let (up, down) = self.ends(j, self.x[k], h);
                for end in [up, down] {
                    let at = self.asked.len();
                    self.asked.extend_from_slice(&self.x[i * dim..(i + 1) * dim]);
                    self.asked[at + j] = end;
                }
            }
        }
        &self.asked
    }

    fn wants_gradients(&self) -> bool {
        self.settings.gradient.is_some_and(|g| g.difference.is_none())
    }

    fn tell_gradients(&mut self, gradients: &[f64]) {
        self.gradients = gradients.to_vec();
    }

    fn tell(&mut self, values: &[f64]) {
        let (dim, n) = (self.space.dim, self.n());
        let batches = self.settings.batches;
        let size = batches.map_or(n, |b| b.size);
        let (values, rest) = values.split_at(size);
        let smooth = self.smooth();
        let (remembered, differences) = rest.split_at(if smooth { n } else { 0 });
        if let Some(GradientDrift { difference: Some(h), .. }) = self.settings.gradient {
            self.differences(differences, h);
        }
        match &mut self.memory {
            Some((_, fy)) if smooth => fy.copy_from_slice(remembered),
            _ => self.remember(values),
        }
        let (points, weighed) = match &self.memory {
            Some((y, fy)) => (y.as_slice(), fy.as_slice()),
            None if batches.is_some() => (self.asked.as_slice(), values),
            None => (self.x.as_slice(), values),
        };
        let (alpha, s) = (self.alpha(weighed), self.ratio());
        let Some(found) = consensus(points, dim, weighed, alpha) else {
            // No finite value: resample all particles.
            self.x.chunks_exact_mut(dim).for_each(|x| self.space.sample(&mut self.rng, x));
            return;
        };
        let moved = found.point.iter().zip(&self.c).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        self.c = found.point;
        self.diagnostics = Diagnostics { ess: found.ess, alpha, noise: s };
        if self.settings.noise == Noise::Eigenframe {
            self.turn_frame(values);
        }
        if smooth {
            self.drift_memory(values);
        }
        let mut buffers = [(); 3].map(|()| vec![0.0; dim]);
        match batches.filter(|b| b.partial) {
            Some(_) => (0..size).for_each(|k| self.advance(self.member(k), s, &mut buffers)),
            None => (0..n).for_each(|i| self.advance(i, s, &mut buffers)),
        }
        if batches.is_some_and(|b| moved < b.kick) {
            let [xi, ..] = &mut buffers;
            for x in self.x.chunks_exact_mut(dim) {
                normal(&mut self.rng, xi);
                x.iter_mut().zip(&*xi).for_each(|(x, xi)| *x += s * xi);
                self.space.confine(&mut self.rng, x);
            }
        }
        self.at = if batches.is_some() { (self.at + size) % n } else { 0 };
        self.step += 1;
        let cooled = self.settings.cool_every.is_some_and(|every| self.step.is_multiple_of(every));
        if cooled && self.settings.reduction > 0.0 && self.at == 0 {
            self.reduce();
        }
    }

    fn consensus(&self) -> &[f64] {
        &self.c
    }

    fn spread(&self) -> f64 {
        // By coordinate, which the compiler turns into vectors.
        let mut most = vec![0.0; self.space.dim];
        for x in self.x.chunks_exact(self.space.dim) {
            for ((m, x), c) in most.iter_mut().zip(x).zip(&self.c) {
                let away = (x - c).abs();
                *m = if away > *m { away } else { *m };
            }
        }
        most.into_iter().fold(0.0, f64::max)
    }

    fn diagnostics(&self) -> Diagnostics {
        self.diagnostics
    }

    fn settled(&self) -> bool {
        self.settings.delta > 0.0 || self.spread() <= NARROW * self.space.width()
    }

    fn over(&self) -> Option<Ended> {
        let dead = self.settings.delta == 0.0 && self.settings.gradient.is_none();
        let met = || self.x.chunks_exact(self.space.dim).all(|x| x == self.c);
        (dead && self.step > 0 && met()).then_some(Ended::Collapsed)
    }

    fn forget(&mut self) {
        if let Some((_, values)) = &mut self.memory {
            values.fill(f64::INFINITY);
        }
    }
}

/// The law of the noise of one particle.
#[derive(Clone, Copy)]
struct Law {
    kind: Noise,
    s: f64,
    shrink: f64,
    cap: Option<f64>,
    /// Variance of the additive part.
    additive: f64,
}

impl Law {
    /// Noise of a particle at `x` with the consensus `c` from the normal numbers `xi`, which are used up.
    /// Independent additive noise enters through the variance, which is the same in law.
    fn draw(&self, x: &[f64], c: &[f64], frame: &Frame, xi: &mut [f64], out: &mut [f64]) {
        let (s, cap) = (self.s, self.cap.unwrap_or(f64::INFINITY));
        let scale = |reach: f64| {
            let own = s * (self.shrink * reach.abs()).min(cap);
            if self.additive == 0.0 { own } else { (own * own + self.additive).sqrt() }
        };
        out.iter_mut().zip(x).zip(c).for_each(|((d, x), c)| *d = x - c);
        match self.kind {
            Noise::Isotropic => {
                let size = scale(dot(out, out).sqrt());
                out.iter_mut().zip(&*xi).for_each(|(n, xi)| *n = size * xi);
            }
            Noise::Anisotropic => out.iter_mut().zip(&*xi).for_each(|(n, xi)| *n = scale(*n) * xi),
            Noise::Eigenframe => {
                for (xi, v) in xi.iter_mut().zip(frame.vectors.chunks_exact(out.len())) {
                    *xi *= scale(dot(v, out));
                }
                frame.vector(xi, out);
            }
        }
    }
}
