//! MKOR and MKOR-H.

use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Layered, Method, MethodError, Progress, Real, Seed};

use crate::Storage;
use crate::factor::Recursion;
use crate::knee::KneeScheduleState;
use crate::knee::{KneeSchedule, KneeState};
use crate::layer::{Layers, Seen, admit};
use crate::precondition::State;
use crate::precondition::{self, Curvature, Plan};
use crate::settings::Vector;
use crate::spectra::{leading, rank_one_errors};
use crate::{Backend, Form, Knee, KroneckerFactor, Rescale, Rule};

/// MKOR (Mozaffari et al., arXiv:2306.01685), and MKOR-H with [`Mkor::hybrid`].
///
/// For each layer with gradient 𝒢 = [∂W | ∂b], mean input ā (1 appended for the bias) and mean
/// output gradient ḡ:
///
/// ```text
/// L⁻¹, R⁻¹ take in ḡ, ā        every `inv_freq` steps and in the first `warmup_steps`
/// U ← L⁻¹ 𝒢 R⁻¹                every step
/// U ← U ‖𝒢‖/‖U‖                every step
/// θ ← backend(θ, U)            weight decay, momentum and averages live in the backend
/// ```
///
/// The first update only sets L⁻¹ = R⁻¹ = I. [`KroneckerFactor::update`] has the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mkor {
    /// The first-order method that makes the step. Default: SGD with its defaults.
    pub backend: Backend,
    /// Steps f from one update of the factors to the next, at least 1. Default 10.
    pub inv_freq: u64,
    /// Steps at the start that all update the factors. Default 10, as in the authors' examples
    /// (their package: 0).
    pub warmup_steps: u64,
    /// How the factors take in a vector. Default: as the authors' program does.
    pub rule: Rule,
    /// Decay γ in (0, 1) of a factor per update. Default 0.95.
    pub decay: f64,
    /// Whether a factor with an entry beyond `threshold` is drawn towards I before its next
    /// update. Default yes. Under [`Rule::Released`] no entry ever exceeds 1.
    pub stabilise: bool,
    /// ε > 0. Default 2.
    pub threshold: f64,
    /// ζ in [0, 1], the share of J⁻¹ in the mixture with I. Default 0.9 (the authors' program
    /// names 1 − ζ `stabilization_factor`).
    pub stabilisation: f64,
    /// What U is scaled to. Default: the norm of 𝒢.
    pub rescale: Rescale,
    /// Bound > 0 of the entries of ā and ḡ. Default 100.
    pub clip: f64,
    /// How the factors are kept. Default: low rank where that pays.
    pub form: Form,
    /// Number type of the factors. Default: the problem's own.
    pub storage: Storage,
    /// The vector that the factors take in. Default: the mean.
    pub vector: Vector,
    /// Patterns of weights that keep their raw gradient, e.g. of a vocabulary-sized head. Default
    /// none.
    pub exclude: Vec<String>,
    /// MKOR-H: at the first knee of the training curve the factors are freed and the backend goes
    /// on with raw gradients and its own state. Default: never. The paper only says that the
    /// switch watches how fast the loss falls; the detector is ours.
    pub hybrid: Option<Knee>,
    /// MKOR-H takes the preconditioner up again, from I, at the next knee, and so on. Default no.
    pub reenter: bool,
    /// Lowers the backend's rate at knees. Default: never.
    pub knee_schedule: Option<KneeSchedule>,
    /// Report at each update the extreme eigenvalues of the factors and how far the second moments
    /// are from rank one, per layer. Needs second moments, and time. Default no.
    pub diagnostics: bool,
}

impl Default for Mkor {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            inv_freq: 10,
            warmup_steps: 10,
            rule: Rule::Released,
            decay: 0.95,
            stabilise: true,
            threshold: 2.0,
            stabilisation: 0.9,
            rescale: Rescale::Joint,
            clip: 100.0,
            form: Form::Auto,
            storage: Storage::Full,
            vector: Vector::Mean,
            exclude: Vec::new(),
            hybrid: None,
            reenter: false,
            knee_schedule: None,
            diagnostics: false,
        }
    }
}

/// The factors of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Factors<T> {
    /// L⁻¹, `[p, p]`.
    pub left: KroneckerFactor<T>,
    /// R⁻¹, `[d, d]`.
    pub right: KroneckerFactor<T>,
    /// How often the stabiliser acted on either.
    pub stabilised: u64,
}

/// State of [`Mkor`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct MkorState<T> {
    /// Iterate, moments, layers with their factors.
    pub state: State<T, Option<Factors<T>>>,
    /// Steps made.
    pub t: u64,
    /// Whether gradients are preconditioned; MKOR-H's switch.
    pub preconditions: bool,
    /// Steps made before the last switch.
    pub switched_at: Option<u64>,
    knee: KneeState,
    schedule: KneeScheduleState,
}

impl<T> Iterate<T> for MkorState<T> {
    fn theta(&self) -> &[T] {
        self.state.theta()
    }
}

impl Mkor {
    /// The numbers of a factor's update.
    pub fn recursion(&self) -> Recursion {
        let stabiliser = self.stabilise.then_some((self.threshold, self.stabilisation));
        Recursion { rule: self.rule, decay: self.decay, stabiliser }
    }

    /// What a factor takes in for a mean, with the second moments for [`Vector::Power`].
    fn vector(&self, mean: Vec<f64>, moments: Option<Vec<f64>>) -> Result<Vec<f64>, MethodError> {
        let mut v = match (self.vector, moments) {
            (Vector::Mean, _) => mean,
            (Vector::Power, Some(c)) => {
                let (lambda, mut u) = leading(&c, &mean, 2);
                u.iter_mut().for_each(|u| *u *= lambda.max(0.0).sqrt());
                u
            }
            (Vector::Power, None) => return Err(no_moments("vector = mean")),
        };
        v.iter_mut().for_each(|v| *v = v.clamp(-self.clip, self.clip));
        Ok(v)
    }
}

impl<T: Real> Curvature<T> for Mkor {
    type Factors = Option<Factors<T>>;

    fn plan(&self) -> Plan<'_> {
        Plan { exclude: &self.exclude, rescale: self.rescale, kl_clip: None }
    }

    fn asks(&self, t: u64) -> Option<bool> {
        let due = t.is_multiple_of(self.inv_freq) || t < self.warmup_steps;
        due.then_some(self.vector == Vector::Power || self.diagnostics)
    }

    fn observe(&self, factors: &mut Self::Factors, seen: &Seen<'_>, _t: u64) -> Result<(), MethodError> {
        let Some(Factors { left, right, stabilised }) = factors else {
            let identity = |dim| KroneckerFactor::identity(dim, self.rule, self.form, self.storage);
            let (left, right) = (identity(seen.left().len()), identity(seen.right().len()));
            *factors = Some(Factors { left, right, stabilised: 0 });
            return Ok(());
        };
        let (a, g) = (
            self.vector(seen.right(), seen.right_moments())?,
            self.vector(seen.left(), seen.left_moments())?,
        );
        *stabilised += u64::from(right.update(&a, &self.recursion()));
        *stabilised += u64::from(left.update(&g, &self.recursion()));
        Ok(())
    }

    fn apply(&self, factors: &Self::Factors, g: &mut Vec<T>, p: usize, d: usize) {
        let Some(Factors { left, right, .. }) = factors else { return };
        left.apply_left(g, d);
        right.apply_right(g, p);
    }

    fn diagnose(
        &self,
        name: &str,
        factors: &Self::Factors,
        seen: &Seen<'_>,
    ) -> Result<Vec<(String, f64)>, MethodError> {
        let Some(Factors { left, right, .. }) = factors.as_ref().filter(|_| self.diagnostics) else {
            return Ok(Vec::new());
        };
        let mut metrics = Vec::new();
        let sides = [
            ("left", left, seen.left(), seen.left_moments()),
            ("right", right, seen.right(), seen.right_moments()),
        ];
        for (side, factor, mean, moments) in sides {
            let spectrum = factor.spectrum()?;
            let mut note = |what: &str, x: f64| metrics.push((format!("{side}_{what}/{name}"), x));
            if let (Some(least), Some(greatest)) = (spectrum.first(), spectrum.last()) {
                note("min", *least);
                note("max", *greatest);
            }
            if let Some(c) = moments {
                let (of_mean, best) = rank_one_errors(&c, &mean);
                note("rank1_mean", of_mean);
                note("rank1_best", best);
            }
        }
        Ok(metrics)
    }
}

impl<P: Layered + ?Sized> Method<P> for Mkor {
    type State = MkorState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        if self.hybrid.is_some() { "mkor-h" } else { "mkor" }
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.backend.check()?;
        Invalid::count("inv_freq", self.inv_freq)?;
        Invalid::in_open("decay", self.decay, 0.0, 1.0)?;
        Invalid::positive("threshold", self.threshold)?;
        Invalid::in_closed("stabilisation", self.stabilisation, 0.0, 1.0)?;
        Invalid::positive("clip", self.clip)?;
        self.form.validate(self.rule)?;
        let legal = !self.reenter || self.hybrid.is_some();
        Invalid::check(legal, "reenter", self.reenter, "hybrid together with reenter")?;
        self.hybrid.as_ref().map_or(Ok(()), Knee::validate)?;
        self.knee_schedule.as_ref().map_or(Ok(()), KneeSchedule::validate)
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        let element = if self.storage == Storage::Full { size_of::<P::Scalar>() } else { 2 };
        let moments = self.vector == Vector::Power || self.diagnostics;
        let remedy = match (moments, self.rule) {
            (true, _) => "vector = mean without diagnostics, or ",
            (false, Rule::Released) => "form = low-rank:40 or ",
            (false, _) => "rule = released, or ",
        };
        admit(problem.layout(), &self.exclude, remedy, |d| match self.form.rank(d, self.rule) {
            _ if moments => d * d * size_of::<f64>(),
            None => d * d * element,
            Some(rank) => rank * d * element,
        })?;
        Ok(MkorState {
            state: State { backend: self.backend.init(problem, seed)?, layers: Layers::default() },
            t: 0,
            preconditions: true,
            switched_at: None,
            knee: KneeState::default(),
            schedule: KneeScheduleState::default(),
        })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let backend = self.backend.scaled(state.schedule.factor);
        let mut progress = match state.preconditions {
            true => precondition::step(self, &backend, problem, &mut state.state)?,
            false => backend.step(problem, &mut state.state.backend)?,
        };
        state.t += 1;
        if let Some(schedule) = &self.knee_schedule {
            schedule.observe(&mut state.schedule, progress.value);
        }
        let watch = self.hybrid.as_ref().filter(|_| state.preconditions || self.reenter);
        if watch.is_some_and(|knee| knee.observe(&mut state.knee, progress.value)) {
            state.preconditions = !state.preconditions;
            state.switched_at = Some(state.t);
            state.state.layers.forget();
        }
        let stabilised =
            state.state.layers.list.iter().filter_map(|l| l.factors.as_ref()).map(|f| f.stabilised);
        if state.preconditions {
            progress.metrics.push(("stabilised".into(), stabilised.sum::<u64>() as f64));
        }
        progress.metrics.extend(state.switched_at.map(|t| ("switched_at".into(), t as f64)));
        Ok(progress)
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta().to_vec())
    }
}

pub(crate) fn no_moments(remedy: &str) -> MethodError {
    MethodError::Problem(format!("the problem gives no second moments of its layers; use {remedy}").into())
}
