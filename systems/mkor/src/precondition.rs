//! A preconditioner is a method around a method.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thalweg_core::{Iterate, Layered, Layout, Method, MethodError, Objective, Problem, Progress, Real};
use thalweg_linalg::vector;
use thalweg_optim::zero_masked;

use crate::backend::BackendState;
use crate::layer::{Layers, Seen};
use crate::{Backend, Rescale};

/// What a method keeps of the layers' statistics and does with it to their gradients.
pub(crate) trait Curvature<T: Real>: Sync {
    /// What is kept of one layer; the default knows nothing.
    type Factors: Default + Send + Sync + Serialize + DeserializeOwned;

    /// What holds for all layers.
    fn plan(&self) -> Plan<'_>;

    /// Whether step `t` needs the layers' statistics: `None`, or whether second moments too.
    fn asks(&self, t: u64) -> Option<bool>;

    /// Takes in what step `t` has seen of a layer.
    fn observe(&self, factors: &mut Self::Factors, seen: &Seen<'_>, t: u64) -> Result<(), MethodError>;

    /// 𝒢 ← U for the row-major `[p, d]` gradient of a layer.
    fn apply(&self, factors: &Self::Factors, g: &mut Vec<T>, p: usize, d: usize);

    /// Numbers worth recording of a layer after an update.
    fn diagnose(
        &self,
        _name: &str,
        _factors: &Self::Factors,
        _seen: &Seen<'_>,
    ) -> Result<Vec<(String, f64)>, MethodError> {
        Ok(Vec::new())
    }
}

/// What holds for all layers of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// Patterns of weights that stay as they are.
    pub exclude: &'a [String],
    /// What the preconditioned gradient is scaled to.
    pub rescale: Rescale,
    /// Bound κ of the step's KL divergence.
    pub kl_clip: Option<f64>,
}

/// State of a method that preconditions layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real, F: Serialize + DeserializeOwned")]
pub struct State<T, F> {
    /// Iterate and moments.
    pub backend: BackendState<T>,
    /// The layers and their factors.
    pub layers: Layers<T, F>,
}

impl<T, F> Iterate<T> for State<T, F> {
    fn theta(&self) -> &[T] {
        self.backend.theta()
    }
}

/// The objective that a backend sees: its gradient is the preconditioned one.
struct Preconditioned<'a, P: Objective + ?Sized, C: Curvature<P::Scalar>> {
    problem: &'a mut P,
    method: &'a C,
    layers: &'a mut Layers<P::Scalar, C::Factors>,
    lr: f64,
    /// ‖g‖∞ of the raw gradient, by which runs stop.
    grad_max: f64,
    diagnostics: Vec<(String, f64)>,
}

impl<P: Layered + ?Sized, C: Curvature<P::Scalar>> Problem for Preconditioned<'_, P, C> {}

impl<P: Layered + ?Sized, C: Curvature<P::Scalar>> Objective for Preconditioned<'_, P, C> {
    type Scalar = P::Scalar;

    fn layout(&self) -> &Layout {
        self.problem.layout()
    }

    fn mask(&self) -> Option<&[bool]> {
        self.problem.mask()
    }

    fn start(&mut self) -> Result<Vec<P::Scalar>, MethodError> {
        self.problem.start()
    }

    fn value_grad(&mut self, theta: &[P::Scalar], grad: &mut [P::Scalar]) -> Result<f64, MethodError> {
        let Self { problem, method, layers, .. } = self;
        let value = match method.asks(layers.t) {
            None => problem.value_grad(theta, grad)?,
            Some(moments) => {
                let value = problem.value_grad_layers(theta, grad, moments, &mut layers.stats)?;
                if value.is_finite() {
                    self.diagnostics = layers.observe(*method, problem.layout())?;
                }
                value
            }
        };
        layers.t += 1;
        for block in problem.layout().blocks().iter().filter(|b| b.frozen) {
            grad[block.range()].fill(Real::ZERO);
        }
        zero_masked(grad, problem.mask());
        self.grad_max = vector::max_abs(grad);
        layers.precondition(*method, grad, problem.mask(), self.lr);
        Ok(value)
    }
}

/// One step of `backend` along the preconditioned gradient. It reports ‖g‖∞ of the raw gradient and
/// ‖U‖₂ of the preconditioned one, which is ‖g‖₂ where U is rescaled to it.
pub(crate) fn step<P: Layered + ?Sized, C: Curvature<P::Scalar>>(
    method: &C,
    backend: &Backend,
    problem: &mut P,
    state: &mut State<P::Scalar, C::Factors>,
) -> Result<Progress, MethodError> {
    let State { backend: moments, layers } = state;
    let (lr, diagnostics) = (backend.lr(layers.t), Vec::new());
    let mut seen = Preconditioned { problem, method, layers, lr, grad_max: f64::NAN, diagnostics };
    // One copy of the backends' code for all problems.
    let mut progress = backend.step(&mut seen as &mut dyn Objective<Scalar = P::Scalar>, moments)?;
    let mut metrics = progress.metrics.iter_mut();
    // A step that the backend skipped has no gradient.
    if let Some((_, value)) = metrics.find(|(name, x)| name == Progress::GRAD_MAX && !x.is_nan()) {
        *value = seen.grad_max;
    }
    progress.metrics.append(&mut seen.diagnostics);
    let skipped = layers.list.iter().map(|l| l.guard.skipped).sum::<u64>();
    let counts = [("factor_updates", layers.updates), ("bytes", layers.bytes), ("updates_skipped", skipped)];
    let counts = counts.into_iter().filter(|(name, n)| *n > 0 || *name != "updates_skipped");
    progress.metrics.extend(counts.map(|(name, n)| (name.into(), n as f64)));
    Ok(progress)
}
