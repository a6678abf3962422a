//! The optimiser: SGD preconditioned by a window of gradients.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::vector;
use thalweg_optim::{Guard, Schedule, zero_masked};

use crate::WindowFisher;
use crate::gradients::Storage;

/// A learning rate, or `auto`: 1/m.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub enum Lr {
    /// 1/m for a window of m gradients.
    #[default]
    Auto,
    /// This number ≥ 0.
    Fixed(f64),
}

impl Lr {
    const LEGAL: &str = "auto (1/window) or a finite number ≥ 0";

    /// The rate for a window of m gradients.
    pub fn value(self, m: usize) -> f64 {
        match self {
            Self::Auto => 1.0 / m as f64,
            Self::Fixed(lr) => lr,
        }
    }
}

impl fmt::Display for Lr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(lr) => lr.fmt(f),
        }
    }
}

impl FromStr for Lr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let lr = if text == "auto" { Some(Self::Auto) } else { text.parse().ok().map(Self::Fixed) };
        lr.ok_or_else(|| Invalid { field: "lr".into(), value: text.into(), legal: Self::LEGAL.into() })
    }
}

/// A rate in a file: a word or a number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Number(f64),
    Word(String),
}

impl From<Lr> for Text {
    fn from(lr: Lr) -> Self {
        match lr {
            Lr::Auto => Self::Word("auto".into()),
            Lr::Fixed(lr) => Self::Number(lr),
        }
    }
}

impl TryFrom<Text> for Lr {
    type Error = Invalid;

    fn try_from(text: Text) -> Result<Self, Invalid> {
        match text {
            Text::Number(lr) => Ok(Self::Fixed(lr)),
            Text::Word(word) => word.parse(),
        }
    }
}

/// M-FAC's optimiser: the gradient multiplied by the inverse of the Fisher matrix of the last m
/// mini-batch gradients.
///
/// ```text
/// g ← ∇L(θ) + wd·θ;  insert g, dropping the oldest;  u ← F⁻¹g = m Gᵀ(mλI + GGᵀ)⁻¹ e_g
/// v ← μ v + (1−μ) u;  θ ← θ − η v                     (θ ← θ − η u without momentum)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MFac {
    /// Learning rate η ≥ 0. Default `auto`: 1/m, which is close to the authors' 1e-3 at their
    /// m = 1024. A rate tuned for one window must be scaled for another.
    pub lr: Lr,
    /// Window m ≥ 1. Default 64: the window takes the memory of m models and is read twice per
    /// step, and 64 is where the method overtakes SGD on small networks. The authors use 1024;
    /// more is better.
    pub window: usize,
    /// Damping λ > 0, in the units of a squared gradient of the mean loss. Default 1e-5, the
    /// authors'. 1e-4 to 1e-2 were better for small perceptrons; far below ‖g‖²/m it does nothing.
    #[serde(alias = "damp")]
    pub damping: f64,
    /// Instead of `damping`: λ = `damp_rel` · mean‖g‖²/m over the window, at every step. Costs m³/3.
    /// Default none.
    pub damp_rel: Option<f64>,
    /// Momentum μ in [0, 1) of the preconditioned gradient. Default 0.
    pub momentum: f64,
    /// Weight decay ≥ 0, added to the gradient before it enters the window. Default 0.
    pub weight_decay: f64,
    /// Unknowns that are exactly 0 at the start stay 0 and do not enter the window. Default no.
    pub sparse: bool,
    /// Factor on the learning rate. Default constant. Gradients from before a drop stay in the
    /// window until they are too old; that is harmless.
    pub schedule: Schedule,
    /// How the window is kept. Default: in the precision of the problem.
    pub storage: Storage,
}

impl Default for MFac {
    fn default() -> Self {
        Self {
            lr: Lr::Auto,
            window: 64,
            damping: 1e-5,
            damp_rel: None,
            momentum: 0.0,
            weight_decay: 0.0,
            sparse: false,
            schedule: Schedule::default(),
            storage: Storage::Full,
        }
    }
}

/// State of [`MFac`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct MFacState<T> {
    /// The iterate, `[layout.len()]`.
    pub theta: Vec<T>,
    /// Steps made, also skipped ones; the clock of the schedule.
    pub t: u64,
    /// Which unknowns move, if not all do. The vectors below hold these alone.
    free: Option<Vec<bool>>,
    /// The last gradients.
    pub window: WindowFisher,
    /// Momentum, empty without.
    velocity: Vec<T>,
    /// Non-finite steps.
    pub guard: Guard,
    #[serde(skip)]
    scratch: (Vec<T>, Vec<T>),
}

impl<T> Iterate<T> for MFacState<T> {
    fn theta(&self) -> &[T] {
        &self.theta
    }
}

impl<P: Objective + ?Sized> Method<P> for MFac {
    type State = MFacState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "mfac"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.check()
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        self.check()?;
        let mut theta = problem.start()?;
        MethodError::check_length("the start", theta.len(), problem.layout().len())?;
        zero_masked(&mut theta, problem.mask());
        let mut free = problem.mask().map_or_else(|| vec![true; theta.len()], <[bool]>::to_vec);
        problem.layout().blocks().iter().filter(|b| b.frozen).for_each(|b| free[b.range()].fill(false));
        if self.sparse {
            free.iter_mut().zip(&theta).for_each(|(free, x)| *free &= *x != Real::ZERO);
        }
        let d = free.iter().filter(|f| **f).count();
        if d == 0 {
            return Err(MethodError::Empty);
        }
        let window = WindowFisher::new::<P::Scalar>(self.window, d, self.damping, self.storage)?;
        let velocity = vec![Real::ZERO; if self.momentum > 0.0 { d } else { 0 }];
        let free = (d < theta.len()).then_some(free);
        Ok(MFacState {
            theta,
            t: 0,
            free,
            window,
            velocity,
            guard: Guard::default(),
            scratch: Default::default(),
        })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let MFacState { theta, t, free, window, velocity, guard, scratch: (grad, u) } = state;
        let real = P::Scalar::from_f64;
        grad.resize(theta.len(), Real::ZERO);
        let value = problem.value_grad(theta, grad)?;
        zero_masked(grad, free.as_deref());
        let lr = self.lr.value(self.window) * self.schedule.factor(*t);
        *t += 1;
        let mut norms = [f64::NAN; 3];
        if guard.admit(problem.layout(), value, &[("the gradient", grad)])? {
            let (grad_max, grad_norm) = (vector::max_abs(grad), vector::dot(grad, grad).sqrt());
            if self.weight_decay > 0.0 {
                let decay = real(self.weight_decay);
                vector::each2(grad, theta, |g, x| *g += decay * x);
            }
            let g = gather(grad, free.as_deref());
            window.insert(g)?;
            if let Some(rel) = self.damp_rel.filter(|_| window.mean_square() > 0.0) {
                window.set_damp(rel * window.mean_square() / self.window as f64)?;
            }
            u.resize(g.len(), Real::ZERO);
            window.precondition_newest(u)?;
            let step = if velocity.is_empty() {
                &*u
            } else {
                let (mu, rest) = (real(self.momentum), real(1.0 - self.momentum));
                vector::each2(velocity, u, |v, u| *v = mu * *v + rest * u);
                &*velocity
            };
            norms = [grad_max, grad_norm, lr * vector::dot(step, step).sqrt()];
            descend(theta, free.as_deref(), step, real(lr));
            zero_masked(theta, problem.mask());
        }
        let [grad_max, grad_norm, step_norm] = norms;
        let mut metrics: Vec<(String, f64)> = vec![
            (Progress::GRAD_MAX.into(), grad_max),
            ("grad_norm".into(), grad_norm),
            ("step_norm".into(), step_norm),
            ("lr".into(), lr),
        ];
        if self.damp_rel.is_some() {
            metrics.push(("damping".into(), window.damping()));
        }
        if guard.skipped > 0 {
            metrics.push(("skipped".into(), guard.skipped as f64));
        }
        Ok(Progress { value, evaluations: 1, metrics, ..Progress::default() })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta)
    }
}

impl MFac {
    /// Names the first field that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        let lr = self.lr.value(1);
        Invalid::check(lr >= 0.0 && lr.is_finite(), "lr", self.lr, Lr::LEGAL)?;
        Invalid::count("window", self.window)?;
        Invalid::positive("damping", self.damping)?;
        Invalid::positive("damp_rel", self.damp_rel.unwrap_or(1.0))?;
        Invalid::in_half_open("momentum", self.momentum, 0.0, 1.0)?;
        Invalid::at_least_zero("weight_decay", self.weight_decay)?;
        self.schedule.validate()
    }
}

/// Moves the free elements to the front and returns them.
fn gather<'a, T: Real>(x: &'a mut [T], free: Option<&[bool]>) -> &'a [T] {
    let Some(free) = free else { return x };
    let mut n = 0;
    for i in (0..x.len()).filter(|i| free[*i]) {
        x[n] = x[i];
        n += 1;
    }
    &x[..n]
}

/// `θ ← θ − η u` for the free elements.
fn descend<T: Real>(theta: &mut [T], free: Option<&[bool]>, u: &[T], lr: T) {
    match free {
        None => vector::each2(theta, u, |x, u| *x -= lr * u),
        Some(free) => {
            let moving = theta.iter_mut().zip(free).filter(|(_, free)| **free);
            moving.zip(u).for_each(|((x, _), u)| *x -= lr * *u);
        }
    }
}
