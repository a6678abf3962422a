use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use faer::{Mat, MatRef, Scale};
use rayon::prelude::*;
use thalweg_core::{Invalid, Problem};
use thalweg_linalg::dense::{Cholesky, Svd, product, pseudo_inverse};

use crate::baselines::linear;
use crate::certificate::{Certified, certify};
use crate::cone::{Cone, Supports};
use crate::samples::{add, norm};
use crate::{ConvexError, Loss, Patterns, Samples};

/// A gap as good as solvers' accuracy allows.
pub(crate) const FINE: f64 = 1e-7;
/// Gigabytes that a factorisation may take.
pub(crate) const MEMORY: f64 = 8.0;

/// What the programs on one data set share: samples, patterns, factorisations. None of it depends
/// on loss, β, targets or ρ.
#[derive(Debug)]
pub struct Geometry {
    samples: Samples,
    patterns: Patterns,
    /// D, `[n, P]`, column-major.
    dense: Vec<f64>,
    norms: Vec<f64>,
    linear_part: bool,
    factors: OnceLock<Factors>,
    range: OnceLock<Mat<f64>>,
    narrow: OnceLock<Option<Narrow>>,
    inside: OnceLock<(Vec<f64>, Inside)>,
}

/// A point strictly inside the robust cone of each pattern that has one.
pub(crate) type Inside = Vec<Option<Vec<f64>>>;

/// The same patterns over as many features as there are samples: with X = L Qᵀ, QᵀQ = I, the programs have the same
/// norms, cones and outputs for v = Q v'.
#[derive(Debug)]
pub(crate) struct Narrow {
    geometry: Arc<Geometry>,
    /// Q, `[d, n]`.
    q: Mat<f64>,
}

/// The inverses of the structured ADMM.
#[derive(Debug)]
pub(crate) struct Factors {
    /// (I + XᵀX)⁻¹, `[d, d]`.
    pub inverse: Mat<f64>,
    /// The rest of the system.
    pub kernel: Kernel,
    /// Orthonormal basis of the range of X, with a linear part.
    pub range: Option<Mat<f64>>,
}

/// What couples the patterns, on the smaller side of Woodbury's identity; inverted, since a product,
/// unlike a triangular solve, is work for all threads. Q projects off the range of X if there is a
/// linear part, and is I else.
#[derive(Debug)]
pub(crate) enum Kernel {
    /// (½ I + Q H Q)⁻¹ with H = (X C⁻¹ Xᵀ) ∘ (D Dᵀ), `[n, n]`.
    Samples(Mat<f64>),
    /// (I ⊗ C + 2 Fᵀ Q F)⁻¹ with F = (F_1 … F_P), `[d P, d P]`.
    Patterns(Mat<f64>),
}

impl Geometry {
    /// Of these samples and patterns. `linear_part`: the network also has an unpenalised linear part.
    ///
    /// # Errors
    /// Patterns of another number of samples, or none.
    pub fn new(samples: Samples, patterns: Patterns, linear_part: bool) -> Result<Self, ConvexError> {
        ConvexError::check("samples of the patterns", patterns.n(), samples.n())?;
        if patterns.is_empty() {
            return Err(ConvexError::NoPattern);
        }
        let (dense, norms) = (patterns.dense(), samples.rows().map(norm).collect());
        let (factors, range, narrow, inside) = Default::default();
        Ok(Self { samples, patterns, dense, norms, linear_part, factors, range, narrow, inside })
    }

    /// The data matrix.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The patterns.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Whether there is a linear part.
    pub fn linear_part(&self) -> bool {
        self.linear_part
    }

    /// Pattern `i` as zeros and ones, `[n]`.
    pub(crate) fn pattern(&self, i: usize) -> &[f64] {
        &self.dense[i * self.samples.n()..][..self.samples.n()]
    }

    /// The cone of pattern `i`.
    pub(crate) fn cone(&self, i: usize) -> Cone<'_> {
        Cone { samples: &self.samples, norms: &self.norms, pattern: self.pattern(i) }
    }

    /// Points inside the robust cones of these boxes: made once for the first boxes that are asked for, as the
    /// programs of several classes share them.
    pub(crate) fn inside(&self, eps: &[f64], make: impl Fn() -> Inside) -> Inside {
        let (of, inside) = self.inside.get_or_init(|| (eps.to_vec(), make()));
        if of == eps { inside.clone() } else { make() }
    }

    /// Orthonormal basis of the range of X, with a linear part.
    fn range(&self) -> Option<&Mat<f64>> {
        self.linear_part.then(|| self.range.get_or_init(|| range(&self.samples)))
    }

    /// The narrow version, of more features than samples.
    fn narrow(&self) -> Option<&Narrow> {
        let make = || {
            let (n, d) = (self.samples.n(), self.samples.d());
            let Svd { u, values, v } = (d > n).then(|| Svd::thin(self.samples.mat()).ok())??;
            let l = (0..n).flat_map(|k| (0..n).map(move |j| (k, j))).map(|(k, j)| u[(k, j)] * values[j]);
            let samples = Samples::new(l.collect(), n).ok()?;
            let geometry = Self::new(samples, self.patterns.clone(), self.linear_part).ok()?;
            Some(Narrow { geometry: Arc::new(geometry), q: v })
        };
        self.narrow.get_or_init(make).as_ref()
    }

    /// Inverts C = I + XᵀX and the kernel once.
    ///
    /// # Errors
    /// Too large for memory; not positive definite in floating point.
    pub(crate) fn factors(&self) -> Result<&Factors, ConvexError> {
        if let Some(factors) = self.factors.get() {
            return Ok(factors);
        }
        let (n, d, p) = (self.samples.n(), self.samples.d(), self.patterns.len());
        let side = n.min(d * p);
        let needed = 8e-9 * (3 * side * side + d * d + 12 * (n + d) * p) as f64;
        if needed > MEMORY {
            let most = (MEMORY / 24e-9).sqrt() as usize;
            let instead = format!("rbcd, or fewer than {most} samples, or patterns times features");
            return Err(ConvexError::Memory { method: "admm", needed, limit: MEMORY, instead });
        }
        let inverse = gram(&self.samples)?.inverse();
        let range = self.range().cloned();
        let invert = |m: Mat<f64>| Cholesky::new(m).map(|m| m.inverse());
        let kernel = if side == n {
            invert(self.over_samples(&inverse, range.as_ref())).map(Kernel::Samples)
        } else {
            invert(self.over_patterns(range.as_ref())).map(Kernel::Patterns)
        };
        let kernel = kernel.map_err(|_| ConvexError::Factor { what: "kernel" })?;
        Ok(self.factors.get_or_init(|| Factors { inverse, kernel, range }))
    }

    /// ½ I + Q H Q.
    fn over_samples(&self, inverse: &Mat<f64>, range: Option<&Mat<f64>>) -> Mat<f64> {
        let (n, x) = (self.samples.n(), self.samples.mat());
        let dense = MatRef::from_column_major_slice(&self.dense, n, self.patterns.len());
        let (xcx, ddt) = (product(product(x, inverse), x.transpose()), product(dense, dense.transpose()));
        let mut h = Mat::from_fn(n, n, |i, j| xcx[(i, j)] * ddt[(i, j)]);
        if let Some(u) = range {
            h = outside(u, &h);
            h = outside(u, &h.transpose().to_owned());
        }
        (0..n).for_each(|k| h[(k, k)] += 0.5);
        h
    }

    /// I ⊗ C + 2 Fᵀ Q F, from a few rows of F at a time.
    fn over_patterns(&self, range: Option<&Mat<f64>>) -> Mat<f64> {
        const ROWS: usize = 1024;
        let (n, d, x) = (self.samples.n(), self.samples.d(), self.samples.mat());
        let side = d * self.patterns.len();
        let c = gram_matrix(&self.samples);
        let mut m = Mat::from_fn(side, side, |i, j| if i / d == j / d { c[(i % d, j % d)] } else { 0.0 });
        let mut seen = range.map(|u| Mat::zeros(u.ncols(), side));
        for first in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - first);
            let f = Mat::from_fn(rows, side, |k, j| self.pattern(j / d)[first + k] * x[(first + k, j % d)]);
            m += product(Scale(2.0) * f.transpose(), &f);
            if let Some((seen, u)) = seen.as_mut().zip(range) {
                *seen += product(u.subrows(first, rows).transpose(), &f);
            }
        }
        if let Some(seen) = seen {
            m -= product(Scale(2.0) * seen.transpose(), &seen);
        }
        m
    }

    /// F_iᵀ θ for every pattern i, `[d, P]`.
    pub(crate) fn pull(&self, theta: &[f64]) -> Mat<f64> {
        let n = self.samples.n();
        let masked = Mat::from_fn(n, self.patterns.len(), |k, i| self.dense[i * n + k] * theta[k]);
        product(self.samples.t(), masked)
    }
}

/// Factor of C = I + XᵀX.
pub(crate) fn gram(samples: &Samples) -> Result<Cholesky, ConvexError> {
    Cholesky::new(gram_matrix(samples)).map_err(|_| ConvexError::Factor { what: "matrix I + XᵀX" })
}

fn gram_matrix(samples: &Samples) -> Mat<f64> {
    Mat::<f64>::identity(samples.d(), samples.d()) + product(samples.t(), samples.mat())
}

/// Orthonormal basis of the range of X.
pub(crate) fn range(samples: &Samples) -> Mat<f64> {
    let (n, rank) = (samples.n(), crate::patterns::rank(samples));
    match Svd::thin(samples.mat()) {
        Ok(svd) => svd.u.subcols(0, rank).to_owned(),
        Err(_) => Mat::zeros(n, 0),
    }
}

/// A less its part in the range of `u`.
pub(crate) fn outside(u: &Mat<f64>, a: &Mat<f64>) -> Mat<f64> {
    a - product(u, product(u.transpose(), a))
}

/// The convex program (P) of one network: min ℓ(r, y) + β Σ_i (‖v_i‖ + ‖w_i‖) over the cones of
/// the patterns, r = Σ_i F_i (v_i − w_i). With several outputs ‖·‖ is Frobenius' over the columns
/// of one pattern.
#[derive(Clone, Debug)]
pub struct Program {
    geometry: Arc<Geometry>,
    targets: Vec<f64>,
    loss: Loss,
    beta: f64,
    until: Option<Instant>,
}

impl Problem for Program {}

impl Program {
    /// With `targets` `[n]`, or `[n, outputs]` column-major.
    ///
    /// # Errors
    /// β ≤ 0, targets that the loss does not know, other sizes.
    pub fn new(
        geometry: impl Into<Arc<Geometry>>,
        targets: Vec<f64>,
        loss: Loss,
        beta: f64,
    ) -> Result<Self, ConvexError> {
        let geometry = geometry.into();
        let n = geometry.samples.n();
        Invalid::positive("beta", beta)?;
        let outputs = (targets.len() / n).max(1);
        ConvexError::check("targets", targets.len(), n * outputs)?;
        targets.chunks(n).try_for_each(|y| loss.check(y))?;
        if geometry.linear_part && loss == Loss::Hinge {
            return Err(ConvexError::Unsupported {
                method: "the certificate",
                what: "the hinge loss with a linear part",
                instead: "squared or bce, or no linear part",
            });
        }
        Ok(Self { geometry, targets, loss, beta, until: None })
    }

    /// Refuses what only the structured ADMM and the interior point solve.
    pub(crate) fn check_plain(&self, method: &'static str) -> Result<(), ConvexError> {
        let what = match (self.outputs(), self.geometry.linear_part) {
            (1, false) => return Ok(()),
            (1, true) => "a linear part",
            _ => "several outputs at once",
        };
        Err(ConvexError::Unsupported { method, what, instead: "admm or exact" })
    }

    /// The same with another β.
    ///
    /// # Errors
    /// β ≤ 0.
    pub fn with_beta(&self, beta: f64) -> Result<Self, ConvexError> {
        Ok(Self::new(self.geometry.clone(), self.targets.clone(), self.loss, beta)?.until(self.until))
    }

    /// The same, to be solved by then: interior points, growth and paths end there with their best so far, whose
    /// certificate tells how good it is. What is solved in a run ends by the run's own rules.
    pub fn until(self, until: Option<Instant>) -> Self {
        Self { until, ..self }
    }

    /// What is left of the time; none without a limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether the time is up.
    pub(crate) fn late(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The same program over fewer features, if there are more than samples, and the way back of its solution,
    /// which is certified anew on the samples as they are.
    pub(crate) fn narrow(&self) -> Option<(Self, impl Fn(Certified) -> Result<Certified, ConvexError>)> {
        let Narrow { geometry, q } = self.geometry.narrow()?;
        let widened = move |v: &[f64]| -> Vec<f64> {
            let n = q.ncols();
            let wide = product(q, MatRef::from_column_major_slice(v, n, v.len() / n));
            (0..wide.ncols()).flat_map(|j| wide.col_as_slice(j).to_vec()).collect()
        };
        let back = move |found: Certified| {
            let Certified { solution, certificate } = found;
            let (v, w) = (widened(&solution.v), widened(&solution.w));
            certify(self, &v, &w, &solution.outputs, &certificate.theta, &mut Supports::default())
        };
        Some((Self { geometry: geometry.clone(), ..self.clone() }, back))
    }

    /// The same over other patterns of the samples.
    pub(crate) fn with_patterns(&self, patterns: Patterns) -> Result<Self, ConvexError> {
        let geometry = Geometry::new(self.samples().clone(), patterns, self.geometry.linear_part)?;
        Ok(Self::new(geometry, self.targets.clone(), self.loss, self.beta)?.until(self.until))
    }

    /// What it shares with other programs.
    pub fn geometry(&self) -> &Arc<Geometry> {
        &self.geometry
    }

    /// The data matrix.
    pub fn samples(&self) -> &Samples {
        &self.geometry.samples
    }

    /// The patterns.
    pub fn patterns(&self) -> &Patterns {
        &self.geometry.patterns
    }

    /// y, `[n, outputs]` column-major.
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Weight of the norms (sums over samples, not means).
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        self.targets.len() / self.samples().n()
    }

    /// Columns of v: patterns × outputs, those of one pattern side by side.
    pub(crate) fn columns(&self) -> usize {
        self.patterns().len() * self.outputs()
    }

    /// r = Σ_i F_i (v_i − w_i), `[n, outputs]`.
    pub(crate) fn predict(&self, v: &[f64], w: &[f64]) -> Vec<f64> {
        let (n, d, outputs) = (self.samples().n(), self.samples().d(), self.outputs());
        let mut r = vec![0.0; n * outputs];
        for (j, (v, w)) in v.chunks(d).zip(w.chunks(d)).enumerate() {
            if v.iter().chain(w).all(|x| *x == 0.0) {
                continue;
            }
            let a: Vec<f64> = v.iter().zip(w).map(|(v, w)| v - w).collect();
            let masked = self.geometry.pattern(j / outputs);
            let r = &mut r[j % outputs * n..][..n];
            r.iter_mut().zip(self.samples().times(&a)).zip(masked).for_each(|((r, h), m)| *r += m * h);
        }
        r
    }

    /// ℓ(r, y) + β Σ (‖v_i‖ + ‖w_i‖).
    pub(crate) fn objective(&self, r: &[f64], v: &[f64], w: &[f64]) -> f64 {
        let group = self.samples().d() * self.outputs();
        let norms: f64 = v.chunks(group).chain(w.chunks(group)).map(norm).sum();
        self.loss.value(r, &self.targets) + self.beta * norms
    }

    /// X c of the linear part, which is fitted to the outputs `rest` that the neurons leave.
    pub(crate) fn fit_linear_part(&self, rest: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        if !self.geometry.linear_part {
            return None;
        }
        let (n, d, outputs) = (self.samples().n(), self.samples().d(), self.outputs());
        let rest = MatRef::from_column_major_slice(rest, n, outputs);
        let c = match pseudo_inverse(self.samples().mat()) {
            Ok(inverse) => product(inverse, rest),
            Err(_) => Mat::zeros(d, outputs),
        };
        let fitted = product(self.samples().mat(), &c);
        let flat = |m: &Mat<f64>| (0..outputs).flat_map(|j| m.col_as_slice(j).to_vec()).collect::<Vec<_>>();
        Some((flat(&c), flat(&fitted)))
    }

    /// The smallest β at which every neuron is 0: the largest dual distance of θ = ∇ℓ at the best outputs
    /// without neurons, which are 0 or those of the linear part.
    pub fn beta_max(&self) -> f64 {
        self.limit(&self.slopes(&self.without_neurons()), &mut Vec::new())
    }

    /// The solution without neurons with its proof, if β is so large that it is one.
    pub(crate) fn zero(&self) -> Result<Option<Certified>, ConvexError> {
        let (outputs, none) = (self.without_neurons(), vec![0.0; self.samples().d() * self.columns()]);
        let theta = self.slopes(&outputs);
        let mut supports = Supports::default();
        if self.limit(&theta, &mut supports.dual) > self.beta * (1.0 + 1e-9) {
            return Ok(None);
        }
        let certified = certify(self, &none, &none, &outputs, &theta, &mut supports)?;
        Ok((certified.certificate.gap <= FINE).then_some(certified))
    }

    /// Outputs of the best network without neurons.
    fn without_neurons(&self) -> Vec<f64> {
        let zeros = vec![0.0; self.targets.len()];
        if !self.geometry.linear_part {
            return zeros;
        }
        match self.loss {
            Loss::Squared => self.fit_linear_part(&self.targets).map_or(zeros, |(_, fitted)| fitted),
            loss => {
                // As good as without penalty; classes that a line separates have no optimum without one.
                let one = |y: &[f64]| linear(self.samples(), y, loss, 1e-9)?.outputs_on(self.samples());
                let fitted: Result<Vec<_>, _> = self.targets.chunks(self.samples().n()).map(one).collect();
                fitted.map_or(zeros, |fitted| fitted.concat())
            }
        }
    }

    fn slopes(&self, r: &[f64]) -> Vec<f64> {
        r.iter().zip(&self.targets).map(|(r, y)| self.loss.slope(*r, *y)).collect()
    }

    /// The largest dual distance of θ over patterns and signs: with θ/limit·β the dual is feasible.
    pub(crate) fn limit(&self, theta: &[f64], supports: &mut Vec<Vec<u32>>) -> f64 {
        let distances = self.distances(theta, supports);
        distances.into_iter().fold(0.0, f64::max) * (1.0 + 1e-12)
    }

    /// min_{μ≥0} ‖±F_iᵀθ − G_iᵀμ‖ by pattern: all with +, then all with −.
    pub(crate) fn distances(&self, theta: &[f64], supports: &mut Vec<Vec<u32>>) -> Vec<f64> {
        let (n, p, outputs) = (self.samples().n(), self.patterns().len(), self.outputs());
        supports.resize(2 * p * outputs, Vec::new());
        let pulled: Vec<Mat<f64>> = theta.chunks(n).map(|t| self.geometry.pull(t)).collect();
        let group = |(i, supports): (usize, &mut [Vec<u32>])| {
            let sign = if i < p { 1.0 } else { -1.0 };
            let one = |(c, support): (usize, &mut Vec<u32>)| {
                let mut rest: Vec<f64> = pulled[c].col_as_slice(i % p).iter().map(|x| sign * x).collect();
                self.geometry.cone(i % p).residual(&mut rest, support);
                norm(&rest)
            };
            norm(&supports.iter_mut().enumerate().map(one).collect::<Vec<_>>())
        };
        supports.par_chunks_mut(outputs).enumerate().map(group).collect()
    }

    /// Every non-zero column of v moved to the nearest point of its cone.
    pub(crate) fn project(&self, v: &[f64], supports: &mut [Vec<u32>]) -> Vec<f64> {
        let (d, outputs) = (self.samples().d(), self.outputs());
        let mut projected = v.to_vec();
        let columns = projected.par_chunks_mut(d).zip(supports).enumerate();
        columns.filter(|(_, (v, _))| v.iter().any(|x| *x != 0.0)).for_each(|(j, (v, support))| {
            let inside = self.geometry.cone(j / outputs).project(v, support);
            v.copy_from_slice(&inside);
        });
        projected
    }

    /// θ less its part in the range of X, which a linear part needs.
    pub(crate) fn orthogonal(&self, theta: &mut [f64]) {
        if let Some(u) = self.geometry.range() {
            for theta in theta.chunks_mut(self.samples().n()) {
                for j in 0..u.ncols() {
                    let u = u.col_as_slice(j);
                    let p = crate::samples::dot(u, theta);
                    add(theta, -p, u);
                }
            }
        }
    }
}
