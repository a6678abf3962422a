//! The problem: both levels' values and gradients, and the oracle that counts and checks them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{MethodError, Problem};
use thalweg_linalg::vector::max_abs;

use crate::{BilevelError, Set};

/// `min_{x∈X} f(x,y)` over the minimisers y of `g(x,·)` in Y, best y first (optimistic).
///
/// Only values and gradients are needed. f and g may be finite sums, means over [`Bilevel::terms`]
/// terms, of which a [`Batch`] takes some.
pub trait Bilevel: Sync {
    /// Lengths of x and y.
    fn dims(&self) -> (usize, usize);

    /// Terms in the means f and g; `u64::MAX` for an endless stream, where a term's number is a seed.
    fn terms(&self) -> (u64, u64) {
        (1, 1)
    }

    /// Where to begin.
    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        let (n, m) = self.dims();
        (vec![0.0; n], vec![0.0; m])
    }

    /// X.
    fn x_set(&self) -> &Set {
        &Set::Free
    }

    /// Y.
    fn y_set(&self) -> &Set {
        &Set::Free
    }

    /// The upper objective f: its value over `batch`; overwrites the gradients asked for.
    fn upper(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64;

    /// The lower objective g, likewise.
    fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64;

    /// Second derivatives of g for the methods that want them: `∇²_yy g · v` into `out.y`, `∇²_xy g · v`
    /// into `out.x`; `false` if there are none (central differences of ∇g are used then).
    fn product(&self, _x: &[f64], _y: &[f64], _v: &[f64], _batch: Batch<'_>, _out: Grad<'_>) -> bool {
        false
    }

    /// Upper bounds of the curvature of g in each coordinate of y, for scaling; `false` if unknown.
    fn curvature(&self, _x: &[f64], _bound: &mut [f64]) -> bool {
        false
    }
}

/// Which terms of a mean to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Batch<'a> {
    /// All; the expectation of an endless stream.
    Full,
    /// The mean over these, numbered from 0.
    Terms(&'a [u64]),
}

/// Where gradients are wanted; the other blocks are not computed.
#[derive(Debug, Default)]
pub struct Grad<'a> {
    /// By x.
    pub x: Option<&'a mut [f64]>,
    /// By y.
    pub y: Option<&'a mut [f64]>,
}

impl<'a> Grad<'a> {
    /// The value alone.
    pub const NONE: Grad<'static> = Grad { x: None, y: None };

    /// By x alone.
    pub fn x(x: &'a mut [f64]) -> Self {
        Self { x: Some(x), y: None }
    }

    /// By y alone.
    pub fn y(y: &'a mut [f64]) -> Self {
        Self { x: None, y: Some(y) }
    }

    /// By both.
    pub fn both(x: &'a mut [f64], y: &'a mut [f64]) -> Self {
        Self { x: Some(x), y: Some(y) }
    }

    /// The same places, lent for a shorter time.
    pub fn again(&mut self) -> Grad<'_> {
        Grad { x: self.x.as_deref_mut(), y: self.y.as_deref_mut() }
    }
}

/// Draws of terms for one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw(Option<Vec<u64>>);

impl Draw {
    /// All terms.
    pub const FULL: Self = Self(None);

    /// `size` of `terms` terms without replacement, in order; all of them if there are no more, or if
    /// `size` is 0.
    pub fn new(rng: &mut ChaCha8Rng, terms: u64, size: u64) -> Self {
        if size == 0 || size >= terms {
            return Self::FULL;
        }
        if terms == u64::MAX {
            return Self(Some((0..size).map(|_| rng.next_u64()).collect()));
        }
        let drawn = rand::seq::index::sample(rng, terms as usize, size as usize);
        let mut drawn: Vec<u64> = drawn.into_iter().map(|i| i as u64).collect();
        drawn.sort_unstable();
        Self(Some(drawn))
    }

    /// As the problem takes it.
    pub fn batch(&self) -> Batch<'_> {
        self.0.as_deref().map_or(Batch::Full, Batch::Terms)
    }
}

/// What has been asked of a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Evaluations of f or its gradient, of whatever batch.
    pub upper: u64,
    /// Evaluations of g or its gradient.
    pub lower: u64,
    /// Products with second derivatives of g.
    pub products: u64,
    /// Terms of f and g, and of products with second derivatives, that were evaluated.
    pub terms: u64,
}

impl Calls {
    /// Gradients and products.
    pub fn total(&self) -> u64 {
        self.upper + self.lower + self.products
    }
}

/// A problem with its calls counted and its answers checked: what the methods work on.
pub struct Oracle<'a> {
    problem: &'a dyn Bilevel,
    calls: Calls,
}

impl<'a> Oracle<'a> {
    /// # Errors
    /// A problem without unknowns, a start of the wrong length or outside the real numbers, and a projection
    /// that moves a point that it has just projected.
    pub fn new(problem: &'a dyn Bilevel) -> Result<Self, BilevelError> {
        let (n, m) = problem.dims();
        if n == 0 || m == 0 {
            return Err(BilevelError::Empty { n, m });
        }
        let (x, y) = problem.start();
        for (level, set, start, length) in [("X", problem.x_set(), x, n), ("Y", problem.y_set(), y, m)] {
            set.check(level, length)?;
            if start.len() != length || start.iter().any(|v| !v.is_finite()) {
                return Err(BilevelError::Start { level, found: start.len(), needed: length });
            }
        }
        Ok(Self { problem, calls: Calls::default() })
    }

    /// The problem.
    pub fn problem(&self) -> &'a dyn Bilevel {
        self.problem
    }

    /// What has been asked of it.
    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// The start, within X and Y.
    pub fn start(&self) -> Solution {
        let (mut x, mut y) = self.problem.start();
        self.problem.x_set().project(&mut x);
        self.problem.y_set().project(&mut y);
        Solution { z: y.clone(), x, y }
    }

    /// f and the gradients asked for.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn upper(
        &mut self,
        x: &[f64],
        y: &[f64],
        batch: Batch<'_>,
        mut grad: Grad<'_>,
    ) -> Result<f64, BilevelError> {
        self.calls.upper += 1;
        self.calls.terms += size(batch, self.problem.terms().0);
        let value = self.problem.upper(x, y, batch, grad.again());
        finite("f", value, &grad, x, y)
    }

    /// g and the gradients asked for.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn lower(
        &mut self,
        x: &[f64],
        y: &[f64],
        batch: Batch<'_>,
        mut grad: Grad<'_>,
    ) -> Result<f64, BilevelError> {
        self.calls.lower += 1;
        self.calls.terms += size(batch, self.problem.terms().1);
        let value = self.problem.lower(x, y, batch, grad.again());
        finite("g", value, &grad, x, y)
    }

    /// `∇²_yy g · v` and `∇²_xy g · v`, exact or by central differences.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn product(
        &mut self,
        x: &[f64],
        y: &[f64],
        v: &[f64],
        batch: Batch<'_>,
        mut out: Grad<'_>,
    ) -> Result<(), BilevelError> {
        self.calls.products += 1;
        self.calls.terms += size(batch, self.problem.terms().1);
        if !self.problem.product(x, y, v, batch, out.again()) {
            self.difference(x, y, v, batch, out.again());
        }
        finite("second derivatives of g", 0.0, &out, x, y).map(|_| ())
    }

    /// Whether the problem has second derivatives of its own.
    pub(crate) fn is_exact(&self, at: (&[f64], &[f64])) -> bool {
        self.problem.product(at.0, at.1, &vec![0.0; at.1.len()], Batch::Full, Grad::NONE)
    }

    /// The size of ∇_y f at y: its own, or what it changes by over |y| where y is nearly stationary.
    pub(crate) fn slope(&mut self, x: &[f64], y: &[f64]) -> Result<f64, BilevelError> {
        let size = thalweg_linalg::vector::square(y).sqrt();
        let size = if size > 0.0 { size } else { 1.0 };
        let step = |i: usize| 1e-3 * size * (1.3 * i as f64 + 0.7).sin();
        let mut moved: Vec<f64> = y.iter().enumerate().map(|(i, y)| y + step(i)).collect();
        self.problem.y_set().project(&mut moved);
        let (here, there) = (self.f_y((x, y), Batch::Full)?, self.f_y((x, &moved), Batch::Full)?);
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let change = norm(&mut here.iter().zip(&there).map(|(a, b)| a - b));
        let length = norm(&mut moved.iter().zip(y).map(|(a, b)| a - b));
        let own = norm(&mut here.iter().copied());
        Ok(if length > 0.0 { own.max(change / length * size) } else { own })
    }

    /// (∇g(x, y + tv) − ∇g(x, y − tv)) / 2t, with t for half of the digits.
    pub(crate) fn difference(&self, x: &[f64], y: &[f64], v: &[f64], batch: Batch<'_>, mut out: Grad<'_>) {
        if max_abs(v) == 0.0 {
            out.x.into_iter().chain(out.y).for_each(|out| out.fill(0.0));
            return;
        }
        let t = 6e-6 * max_abs(y).max(1.0) / max_abs(v);
        let shifted = |t: f64| -> Vec<f64> { y.iter().zip(v).map(|(y, v)| y + t * v).collect() };
        let mut behind = (vec![0.0; x.len()], vec![0.0; y.len()]);
        self.problem.lower(x, &shifted(t), batch, out.again());
        self.problem.lower(x, &shifted(-t), batch, Grad::both(&mut behind.0, &mut behind.1));
        for (out, behind) in [(out.x, behind.0), (out.y, behind.1)] {
            for (out, behind) in out.into_iter().flatten().zip(behind) {
                *out = (*out - behind) / (2.0 * t);
            }
        }
    }
}

impl Problem for Oracle<'_> {
    fn save(&self) -> Vec<u8> {
        let Calls { upper, lower, products, terms } = self.calls;
        [upper, lower, products, terms].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        MethodError::check_length("saved calls", saved.len(), 32)?;
        let mut numbers = saved.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
        let mut next = || numbers.next().unwrap_or(0);
        self.calls = Calls { upper: next(), lower: next(), products: next(), terms: next() };
        Ok(())
    }
}

fn size(batch: Batch<'_>, terms: u64) -> u64 {
    match batch {
        Batch::Terms(some) => some.len() as u64,
        Batch::Full if terms == u64::MAX => 1,
        Batch::Full => terms,
    }
}

fn finite(
    what: &'static str,
    value: f64,
    grad: &Grad<'_>,
    x: &[f64],
    y: &[f64],
) -> Result<f64, BilevelError> {
    let bad = |g: &Option<&mut [f64]>| g.as_ref().is_some_and(|g| g.iter().any(|v| !v.is_finite()));
    let part = match () {
        () if !value.is_finite() => "value",
        () if bad(&grad.x) => "gradient by x",
        () if bad(&grad.y) => "gradient by y",
        () => return Ok(value),
    };
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    Err(BilevelError::NonFinite { what, part, x: norm(x), y: norm(y) })
}

/// Where a method is, and what it returns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// The upper unknowns.
    pub x: Vec<f64>,
    /// The lower unknowns that go with them: minimiser of σf + g for penalty methods.
    pub y: Vec<f64>,
    /// The lower level's own minimiser, as far as the method knows it; y otherwise.
    pub z: Vec<f64>,
}
