use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Layered, Method, MethodError, Progress, Real, Seed};

use crate::layer::{Layers, Seen, admit};
use crate::precondition::State;
use crate::precondition::{self, Curvature, Plan};
use crate::{Backend, Rescale};

/// Eva (Zhang, Shi, Li 2023, arXiv:2308.02123), as a baseline: K-FAC whose covariances are the
/// outer products of running means, inverted with damping in closed form,
///
/// ```text
/// U = (𝒢 − ḡāᵀ (ḡᵀ𝒢ā)/(‖ā‖²‖ḡ‖² + δ))/δ
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Eva {
    /// The first-order method that makes the step. Default: SGD with its defaults.
    pub backend: Backend,
    /// Steps from one update of the means to the next, at least 1 (default).
    pub factor_freq: u64,
    /// Weight of the past in the means, in [0, 1). Default 0.05, as in the authors' program.
    pub decay: f64,
    /// Damping δ > 0. Default 0.03.
    pub damping: f64,
    /// κ > 0 of the bound min(1, √(κ/Σ η²⟨U, 𝒢⟩)) on all layers together. Default 1e-3.
    pub kl_clip: Option<f64>,
    /// What U is scaled to before that bound. Default: nothing.
    pub rescale: Rescale,
    /// Patterns of weights that keep their raw gradient. Default none.
    pub exclude: Vec<String>,
}

impl Default for Eva {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            factor_freq: 1,
            decay: 0.05,
            damping: 0.03,
            kl_clip: Some(1e-3),
            rescale: Rescale::None,
            exclude: Vec::new(),
        }
    }
}

/// The running means of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Means {
    /// ā, `[d]`.
    pub input: Vec<f64>,
    /// ḡ, `[p]`.
    pub output: Vec<f64>,
}

impl<T: Real> Curvature<T> for Eva {
    type Factors = Option<Means>;

    fn plan(&self) -> Plan<'_> {
        Plan { exclude: &self.exclude, rescale: self.rescale, kl_clip: self.kl_clip }
    }

    fn asks(&self, t: u64) -> Option<bool> {
        t.is_multiple_of(self.factor_freq).then_some(false)
    }

    fn observe(&self, means: &mut Self::Factors, seen: &Seen<'_>, _t: u64) -> Result<(), MethodError> {
        let (a, g) = (seen.right(), seen.left());
        let Some(known) = means else {
            *means = Some(Means { input: a, output: g });
            return Ok(());
        };
        for (old, new) in [(&mut known.input, a), (&mut known.output, g)] {
            let mix = |(old, new): (&mut f64, f64)| *old = self.decay * *old + (1.0 - self.decay) * new;
            old.iter_mut().zip(new).for_each(mix);
        }
        Ok(())
    }

    fn apply(&self, means: &Self::Factors, grad: &mut Vec<T>, _p: usize, d: usize) {
        let Some(Means { input: a, output: g }) = means else { return };
        let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
        let row = |row: &[T]| row.iter().zip(a).map(|(x, a)| x.to_f64() * a).sum::<f64>();
        let form: f64 = grad.chunks(d).zip(g).map(|(x, g)| g * row(x)).sum();
        let share = form / (square(a) * square(g) + self.damping);
        for (row, g) in grad.chunks_mut(d).zip(g) {
            let move_one =
                |(x, a): (&mut T, &f64)| *x = T::from_f64((x.to_f64() - share * g * a) / self.damping);
            row.iter_mut().zip(a).for_each(move_one);
        }
    }
}

impl<P: Layered + ?Sized> Method<P> for Eva {
    type State = State<P::Scalar, Option<Means>>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "eva"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.backend.check()?;
        Invalid::count("factor_freq", self.factor_freq)?;
        Invalid::in_half_open("decay", self.decay, 0.0, 1.0)?;
        Invalid::positive("damping", self.damping)?;
        Invalid::positive("kl_clip", self.kl_clip.unwrap_or(1.0))
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        admit(problem.layout(), &self.exclude, "", |d| d * size_of::<f64>())?;
        Ok(State { backend: self.backend.init(problem, seed)?, layers: Layers::default() })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        precondition::step(self, &self.backend, problem, state)
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta().to_vec())
    }
}
