//! What the sampled methods share: gradients as vectors, decaying rates, steps within a set.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::set::norm2;
use crate::{At, Batch, BilevelError, Calls, Draw, Grad, Oracle, Set, Solution};

/// `a += t·d`.
pub(crate) fn add(a: &mut [f64], t: f64, d: &[f64]) {
    a.iter_mut().zip(d).for_each(|(a, d)| *a += t * d);
}

/// `a(1 + k/shift)^−power`.
pub(crate) fn decayed(a: f64, power: f64, shift: f64, k: u64) -> f64 {
    if power == 0.0 { a } else { a * (1.0 + k as f64 / shift).powf(-power) }
}

/// Moves `v` by −t·d/scale and back into the set.
pub(crate) fn descend(v: &mut [f64], set: &Set, t: f64, d: &[f64], scale: Option<&[f64]>) {
    match scale {
        None => add(v, -t, d),
        Some(scale) => v.iter_mut().zip(d).zip(scale).for_each(|((v, d), s)| *v -= t * d / s),
    }
    set.project(v);
}

/// The x-step, shortened to `radius` if it is longer.
pub(crate) fn descend_within(v: &mut [f64], set: &Set, t: f64, d: &[f64], radius: f64) {
    let length = t * norm2(d).sqrt();
    descend(v, set, if length > radius { t * radius / length } else { t }, d, None);
}

/// Gradients as vectors of their own.
impl Oracle<'_> {
    pub(crate) fn f_x(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.0.len()];
        self.upper(at.0, at.1, batch, Grad::x(&mut out))?;
        Ok(out)
    }

    pub(crate) fn f_y(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.1.len()];
        self.upper(at.0, at.1, batch, Grad::y(&mut out))?;
        Ok(out)
    }

    pub(crate) fn g_x(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.0.len()];
        self.lower(at.0, at.1, batch, Grad::x(&mut out))?;
        Ok(out)
    }

    pub(crate) fn g_y(&mut self, at: (&[f64], &[f64]), batch: Batch<'_>) -> Result<Vec<f64>, BilevelError> {
        let mut out = vec![0.0; at.1.len()];
        self.lower(at.0, at.1, batch, Grad::y(&mut out))?;
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

impl<M> At for Sampled<M> {
    fn at(&self) -> &Solution {
        &self.at
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
        (Progress::GRAD_MAX.to_owned(), gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()))),
        ("grad_norm".into(), norm2(gradient).sqrt()),
    ];
    metrics.extend(more.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    let evaluations = oracle.calls().total() - before.total();
    Progress { value, evaluations, metrics, converged: false }
}
