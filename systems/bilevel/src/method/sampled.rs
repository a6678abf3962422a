//! What the sampled methods share: gradients as vectors, decaying rates, steps within a set.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;
pub(crate) use thalweg_linalg::vector::axpy as add;
use thalweg_linalg::vector::max_abs;

use crate::problem::{Calls, Draw};
use crate::set::norm2;
use crate::{Batch, BilevelError, Grad, Oracle, Set, Solution};

/// Refuses rates that are not > 0 and finite.
pub(crate) fn positive<const N: usize>(rates: [(&str, f64); N]) -> Result<(), Invalid> {
    rates.into_iter().try_for_each(|(name, rate)| Invalid::positive(name, rate))
}

/// Refuses exponents outside [0, 1].
pub(crate) fn exponents<const N: usize>(powers: [(&str, f64); N]) -> Result<(), Invalid> {
    powers.into_iter().try_for_each(|(name, power)| Invalid::in_closed(name, power, 0.0, 1.0))
}

/// `a(1 + k/shift)^−power`.
pub(crate) fn decayed(a: f64, power: f64, shift: f64, k: u64) -> f64 {
    if power == 0.0 { a } else { a * (1.0 + k as f64 / shift).powf(-power) }
}

/// Moves `v` by −t·d/scale and back into the set; the projected gradient that it moved by (in the metric of the scale).
pub(crate) fn descend(v: &mut [f64], set: &Set, t: f64, d: &[f64], scale: Option<&[f64]>) -> f64 {
    let before = v.to_vec();
    match scale {
        None => add(v, -t, d),
        Some(scale) => v.iter_mut().zip(d).zip(scale).for_each(|((v, d), s)| *v -= t * d / s),
    }
    set.project(v);
    let weight = |i: usize| scale.map_or(1.0, |s| s[i]);
    let part = |i: usize| weight(i) * (v[i] - before[i]) / t;
    (0..v.len()).map(|i| part(i).powi(2)).sum::<f64>().sqrt()
}

/// The x-step, shortened to `radius` if it is longer.
pub(crate) fn descend_within(v: &mut [f64], set: &Set, t: f64, d: &[f64], radius: f64) {
    let length = t * norm2(d).sqrt();
    descend(v, set, if length > radius { t * radius / length } else { t }, d, None);
}

/// Gradients as vectors of their own.
impl Oracle<'_> {
    /// f and its gradient by x.
    pub(crate) fn f_x(
        &mut self,
        at: (&[f64], &[f64]),
        batch: Batch<'_>,
    ) -> Result<(f64, Vec<f64>), BilevelError> {
        let mut out = vec![0.0; at.0.len()];
        Ok((self.upper(at.0, at.1, batch, Grad::x(&mut out))?, out))
    }

    pub(crate) fn f_y(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.1.len()];
        self.upper(at.0, at.1, batch, Grad::y(&mut out))?;
        Ok(out)
    }

    /// g and its gradient by x.
    pub(crate) fn g_x(
        &mut self,
        at: (&[f64], &[f64]),
        batch: Batch<'_>,
    ) -> Result<(f64, Vec<f64>), BilevelError> {
        let mut out = vec![0.0; at.0.len()];
        Ok((self.lower(at.0, at.1, batch, Grad::x(&mut out))?, out))
    }

    pub(crate) fn g_y(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.1.len()];
        self.lower(at.0, at.1, batch, Grad::y(&mut out))?;
        Ok(out)
    }

    /// ∇_y (σf + g).
    pub(crate) fn h_y(
        &mut self,
        at: (&[f64], &[f64]),
        sigma: f64,
        xi: Batch<'_>,
        zeta: Batch<'_>,
    ) -> Result<Vec<f64>, BilevelError> {
        let mut out = self.g_y(at, zeta)?;
        add(&mut out, sigma, &self.f_y(at, xi)?);
        Ok(out)
    }

    /// f and both its gradients.
    pub(crate) fn f_xy(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Valued, BilevelError> {
        let (mut x, mut y) = (vec![0.0; at.0.len()], vec![0.0; at.1.len()]);
        let value = self.upper(at.0, at.1, batch, Grad::both(&mut x, &mut y))?;
        Ok(Valued { value, x, y })
    }

    /// g and both its gradients.
    pub(crate) fn g_xy(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Valued, BilevelError> {
        let (mut x, mut y) = (vec![0.0; at.0.len()], vec![0.0; at.1.len()]);
        let value = self.lower(at.0, at.1, batch, Grad::both(&mut x, &mut y))?;
        Ok(Valued { value, x, y })
    }

    /// `∇²_xy g · v` and `∇²_yy g · v`.
    pub(crate) fn hessian(
        &mut self,
        at: (&[f64], &[f64]),
        v: &[f64],
        batch: Batch<'_>,
    ) -> Result<(Vec<f64>, Vec<f64>), BilevelError> {
        let (mut x, mut y) = (vec![0.0; at.0.len()], vec![0.0; at.1.len()]);
        self.product(at.0, at.1, v, batch, Grad::both(&mut x, &mut y))?;
        Ok((x, y))
    }

    /// Curvatures by coordinate of y at x, if wanted and known.
    pub(crate) fn curvature(&self, wanted: bool, x: &[f64], m: usize) -> Option<Vec<f64>> {
        let mut scale = vec![0.0; m];
        (wanted && self.problem().curvature(x, &mut scale)).then_some(scale)
    }
}

/// The largest curvature of σf + g in y, in the metric of the scaling, by power iteration on differences of gradients:
/// the unit of the lower level's steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Curvature {
    along: Vec<f64>,
    /// The estimate, > 0.
    pub(crate) largest: f64,
}

/// Power iterations of the first estimate; one each refreshes it.
const POWER: usize = 20;

impl Curvature {
    /// Moves the estimate to the point `at`; all terms are used, and counted.
    pub(crate) fn refresh(
        &mut self,
        oracle: &mut Oracle<'_>,
        at: (&[f64], &[f64]),
        sigma: f64,
        scale: Option<&[f64]>,
    ) -> Result<(), BilevelError> {
        let m = at.1.len();
        let fresh = self.along.is_empty();
        if fresh {
            // Any direction that is nobody's eigenvector.
            self.along = (0..m).map(|i| 1.0 + 0.3 * (1.0 + 2.7 * i as f64).sin()).collect();
        }
        let weight = |i: usize| scale.map_or(1.0, |s| s[i]);
        let here = oracle.h_y(at, sigma, Batch::Full, Batch::Full)?;
        for _ in 0..if fresh { POWER } else { 1 } {
            let length = (0..m).map(|i| weight(i) * self.along[i] * self.along[i]).sum::<f64>().sqrt();
            let t = 1e-6 * norm2(at.1).sqrt().max(1.0) / norm2(&self.along).sqrt();
            let mut moved = at.1.to_vec();
            add(&mut moved, t, &self.along);
            let mut product = oracle.h_y((at.0, &moved), sigma, Batch::Full, Batch::Full)?;
            add(&mut product, -1.0, &here);
            let along: f64 = product.iter().zip(&self.along).map(|(p, a)| p * a).sum();
            self.largest = (along / t / (length * length)).abs().max(f64::MIN_POSITIVE);
            let next: Vec<f64> = (0..m).map(|i| product[i] / (t * weight(i))).collect();
            let norm = norm2(&next).sqrt();
            if norm == 0.0 {
                break;
            }
            self.along = next.iter().map(|v| v / norm).collect();
        }
        Ok(())
    }
}

/// A value with both gradients.
pub(crate) struct Valued {
    pub value: f64,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

/// State of the sampled methods: where they are, the steps made, the generator of batches, and what the
/// method keeps besides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sampled<M> {
    pub(crate) at: Solution,
    pub(crate) k: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) memory: M,
    pub(crate) swaps: u64,
}

impl<M> Sampled<M> {
    pub(crate) fn new(at: Solution, seed: thalweg_core::Seed, memory: M) -> Self {
        Self { at, k: 0, rng: seed.stream("bilevel batches", 0), memory, swaps: 0 }
    }

    /// A batch of f and a batch of g.
    pub(crate) fn draw(&mut self, oracle: &Oracle<'_>, size: u64) -> (Draw, Draw) {
        let (f, g) = oracle.problem().terms();
        (Draw::new(&mut self.rng, f, size), Draw::new(&mut self.rng, g, size))
    }
}

impl<M> thalweg_core::Iterate<f64> for Sampled<M> {
    fn theta(&self) -> &[f64] {
        &self.at.x
    }
}

/// What a sampled step reports: the surrogate on its batch and the gradient that it moved by.
pub(crate) fn report(
    oracle: &Oracle<'_>,
    before: Calls,
    value: f64,
    gradient: &[f64],
    more: &[(&str, f64)],
) -> thalweg_core::Progress {
    use thalweg_core::Progress;
    let mut metrics = vec![
        (Progress::GRAD_MAX.to_owned(), max_abs(gradient)),
        ("grad_norm".into(), norm2(gradient).sqrt()),
    ];
    metrics.extend(more.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    let evaluations = oracle.calls().total() - before.total();
    Progress { value, evaluations, metrics, ..Progress::default() }
}
