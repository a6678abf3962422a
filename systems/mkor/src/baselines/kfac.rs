use faer::Accum;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Iterate, Layered, Method, MethodError, Progress, Real, Seed};

use crate::layer::{Layers, Seen, admit};
use crate::method::no_moments;
use crate::precondition::State;
use crate::precondition::{self, Curvature, Plan};
use crate::product::{Matrix, identity, product};
use crate::spectra::eigen;
use crate::{Backend, Rescale};

/// K-FAC by eigen-decomposition in the style of KAISA (Pauloski et al. 2021, arXiv:2107.01739), as
/// a baseline.
///
/// With A = E\[aaᵀ\] over inputs (1 appended for the bias) and G = E\[ggᵀ\] over the derivatives of
/// each example's own loss, both averaged exponentially from the
/// identity, A = Q_A Λ_A Q_Aᵀ and G = Q_G Λ_G Q_Gᵀ:
///
/// ```text
/// U = Q_G [(Q_Gᵀ 𝒢 Q_A) ⊘ (λ_G λ_Aᵀ + damping)] Q_Aᵀ = (G ⊗ A + damping I)⁻¹ 𝒢
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kfac {
    /// The first-order method that makes the step. Default: SGD with its defaults.
    pub backend: Backend,
    /// Steps from one update of A and G to the next, at least 1. Default 10.
    pub factor_freq: u64,
    /// Least number of steps between eigen-decompositions, at least 1. Default 100.
    pub inv_freq: u64,
    /// Weight of the past in A and G, in [0, 1). Default 0.95.
    pub decay: f64,
    /// Damping > 0. Default 1e-3.
    pub damping: f64,
    /// κ > 0 of the bound min(1, √(κ/Σ η²⟨U, 𝒢⟩)) on all layers together. Default 1e-3.
    pub kl_clip: Option<f64>,
    /// What U is scaled to before that bound. Default: nothing.
    pub rescale: Rescale,
    /// Patterns of weights that keep their raw gradient. Default none.
    pub exclude: Vec<String>,
}

impl Default for Kfac {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            factor_freq: 10,
            inv_freq: 100,
            decay: 0.95,
            damping: 1e-3,
            kl_clip: Some(1e-3),
            rescale: Rescale::None,
            exclude: Vec::new(),
        }
    }
}

/// The covariances of one layer and their eigen-decompositions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct Covariances<T> {
    /// A, row-major `[d, d]`.
    pub input: Vec<f64>,
    /// G, row-major `[p, p]`.
    pub output: Vec<f64>,
    /// Of A and of G.
    bases: (Basis<T>, Basis<T>),
    /// Step of the last decomposition.
    decomposed_at: Option<u64>,
}

/// Eigenvalues, and eigenvectors as the columns of a row-major matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
struct Basis<T> {
    values: Vec<f64>,
    vectors: Vec<T>,
}

impl<T: Real> Basis<T> {
    fn of(matrix: &[f64], d: usize) -> Result<Self, MethodError> {
        let (values, vectors) = eigen(matrix, d)?;
        let values = values.into_iter().map(|x| x.max(0.0)).collect(); // rounding errors below 0
        Ok(Self { values, vectors: vectors.into_iter().map(T::from_f64).collect() })
    }
}

impl<T: Real> Curvature<T> for Kfac {
    type Factors = Option<Covariances<T>>;

    fn plan(&self) -> Plan<'_> {
        Plan { exclude: &self.exclude, rescale: self.rescale, kl_clip: self.kl_clip }
    }

    fn asks(&self, t: u64) -> Option<bool> {
        t.is_multiple_of(self.factor_freq).then_some(true)
    }

    fn observe(&self, factors: &mut Self::Factors, seen: &Seen<'_>, t: u64) -> Result<(), MethodError> {
        let moments = seen.right_moments().zip(seen.left_moments());
        let (a, g) = moments.ok_or_else(|| no_moments("eva or mkor"))?;
        let (d, p) = (seen.right().len(), seen.left().len());
        // From the identity, as KAISA: one batch alone would leave most directions undamped.
        let known = factors.get_or_insert_with(|| Covariances {
            input: identity(d),
            output: identity(p),
            bases: Default::default(),
            decomposed_at: None,
        });
        for (old, new) in [(&mut known.input, &a), (&mut known.output, &g)] {
            let mix = |(old, new): (&mut f64, &f64)| *old = self.decay * *old + (1.0 - self.decay) * new;
            old.iter_mut().zip(new).for_each(mix);
        }
        if known.decomposed_at.is_none_or(|last| t >= last + self.inv_freq) {
            known.bases = (Basis::of(&known.input, d)?, Basis::of(&known.output, p)?);
            known.decomposed_at = Some(t);
        }
        Ok(())
    }

    fn apply(&self, factors: &Self::Factors, grad: &mut Vec<T>, p: usize, d: usize) {
        let Some(Covariances { bases: (a, g), .. }) = factors else { return };
        let (q_a, q_g) = (|| Matrix::new(&a.vectors, d, d), || Matrix::new(&g.vectors, p, p));
        let mut half = vec![T::ZERO; p * d];
        product(&mut half, Accum::Replace, &q_g().t(), &Matrix::new(grad, p, d));
        product(grad, Accum::Replace, &Matrix::new(&half, p, d), &q_a());
        for (row, lambda_g) in grad.chunks_mut(d).zip(&g.values) {
            let damp = |lambda_a: &f64| T::from_f64(1.0 / (lambda_g * lambda_a + self.damping));
            row.iter_mut().zip(&a.values).for_each(|(x, lambda_a)| *x *= damp(lambda_a));
        }
        product(&mut half, Accum::Replace, &q_g(), &Matrix::new(grad, p, d));
        product(grad, Accum::Replace, &Matrix::new(&half, p, d), &q_a().t());
    }
}

impl<P: Layered + ?Sized> Method<P> for Kfac {
    type State = State<P::Scalar, Option<Covariances<P::Scalar>>>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "kfac"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.backend.check()?;
        Invalid::count("factor_freq", self.factor_freq)?;
        Invalid::count("inv_freq", self.inv_freq)?;
        Invalid::in_half_open("decay", self.decay, 0.0, 1.0)?;
        Invalid::positive("damping", self.damping)?;
        Invalid::positive("kl_clip", self.kl_clip.unwrap_or(1.0))
    }

    fn init(&self, problem: &mut P, seed: Seed) -> Result<Self::State, MethodError> {
        admit(problem.layout(), &self.exclude, "mkor, or ", |d| d * d * size_of::<f64>())?;
        Ok(State { backend: self.backend.init(problem, seed)?, layers: Layers::default() })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        precondition::step(self, &self.backend, problem, state)
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.theta().to_vec())
    }
}
