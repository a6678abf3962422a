//! The update: one pass over θ, m, v, g and D, in pieces of fixed size aligned to averaging chunks.

use rayon::prelude::*;
use thalweg_core::Real;

use crate::Average;
use crate::average::mean;

/// Elements of one piece of parallel work.
pub(crate) const PIECE: usize = 1 << 14;
/// Below this size starting threads costs more than it saves.
pub(crate) const SERIAL: usize = 2 * PIECE;
/// Elements whose denominators are held at a time; stays in the first cache level.
const TILE: usize = 512;
/// Elements that one vector operation may take together.
const LANES: usize = 8;

/// The numbers of one step on one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers<T> {
    pub beta: (T, T),
    /// 1 − β.
    pub rest: (T, T),
    /// 1 − β₁ᵗ and 1 − β₂ˢ.
    pub correction: (T, T),
    pub lr: T,
    pub decay: T,
    pub eps: T,
    pub power: T,
    pub min_denominator: T,
    /// Bound of |m̂ / denominator|.
    pub clip: T,
    pub chunk: usize,
    pub mode: Average,
}

/// One piece of a block; `v` has one element per averaging chunk.
pub(crate) struct Piece<'a, T> {
    pub numbers: Numbers<T>,
    pub theta: &'a mut [T],
    pub m: &'a mut [T],
    pub v: &'a mut [T],
    pub g: &'a [T],
    /// Fresh curvature, if any.
    pub d: Option<&'a [T]>,
}

impl<'a, T: Real> Piece<'a, T> {
    /// Cuts a block into pieces.
    pub fn cut(self, into: &mut Vec<Self>) {
        let chunks = (PIECE / self.numbers.chunk).max(1);
        let size = chunks * self.numbers.chunk;
        let mut d = self.d.map(|d| d.chunks(size));
        let parts = self.theta.chunks_mut(size).zip(self.m.chunks_mut(size));
        let parts = parts.zip(self.v.chunks_mut(chunks)).zip(self.g.chunks(size));
        into.extend(parts.map(|(((theta, m), v), g)| Piece {
            numbers: self.numbers,
            theta,
            m,
            v,
            g,
            d: d.as_mut().and_then(Iterator::next),
        }));
    }
}

/// Updates all pieces and returns the largest |Δθ|.
pub(crate) fn update<T: Real>(pieces: Vec<Piece<'_, T>>) -> T {
    let size: usize = pieces.iter().map(|p| p.theta.len()).sum();
    if size < SERIAL {
        pieces.into_iter().map(piece).fold(T::ZERO, larger)
    } else {
        pieces.into_par_iter().map(piece).reduce(|| T::ZERO, larger)
    }
}

fn larger<T: Real>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

fn piece<T: Real>(p: Piece<'_, T>) -> T {
    let n = p.numbers;
    if let Some(d) = p.d {
        let refresh = |v: &mut T, d: T| *v = n.beta.1 * *v + n.rest.1 * (d * d);
        if n.chunk == 1 {
            p.v.iter_mut().zip(d).for_each(|(v, &d)| refresh(v, d));
        } else {
            p.v.iter_mut().zip(d.chunks(n.chunk)).for_each(|(v, d)| refresh(v, mean(d, n.mode)));
        }
    }
    let sqrt = T::sqrt;
    match n.power.to_f64() {
        0.0 => step(p, |_| T::ONE),
        0.5 => step(p, |v| sqrt(sqrt(v))),
        1.0 => step(p, sqrt),
        k => step(p, |v| v.powf(T::from_f64(k / 2.0))),
    }
}

/// Moves m and θ; `power` maps v̂ to (√v̂)ᵏ.
#[inline(always)]
fn step<T: Real>(p: Piece<'_, T>, power: impl Fn(T) -> T) -> T {
    let n = p.numbers;
    // The bias correction of m is folded in. A direction without any curvature and without ε
    // has no Newton step: its denominator is infinite.
    let denominator = |v: T| {
        let denominator = larger(power(v / n.correction.1) + n.eps, n.min_denominator);
        n.correction.0 * if denominator > T::ZERO { denominator } else { T::from_f64(f64::INFINITY) }
    };
    let chunks = (TILE / n.chunk).max(1);
    let size = chunks * n.chunk;
    let mut tile = [T::ONE; TILE];
    let mut largest = [T::ZERO; LANES];
    let parts = p.theta.chunks_mut(size).zip(p.m.chunks_mut(size)).zip(p.g.chunks(size));
    for (((theta, m), g), v) in parts.zip(p.v.chunks(chunks)) {
        if n.chunk == 1 {
            tile.iter_mut().zip(v).for_each(|(d, &v)| *d = denominator(v));
        } else {
            let filled = tile.chunks_mut(n.chunk.min(TILE)).zip(v);
            filled.for_each(|(d, &v)| d.fill(denominator(v)));
        }
        let parts = theta.chunks_mut(TILE).zip(m.chunks_mut(TILE)).zip(g.chunks(TILE));
        for ((theta, m), g) in parts {
            lanes(&n, theta, m, g, &tile, &mut largest);
        }
    }
    largest.into_iter().fold(T::ZERO, larger)
}

/// The formula, eight elements at a time.
#[inline(always)]
fn lanes<T: Real>(n: &Numbers<T>, theta: &mut [T], m: &mut [T], g: &[T], d: &[T], largest: &mut [T; LANES]) {
    let element = |theta: &mut T, m: &mut T, g: T, d: T, largest: &mut T| {
        *m = n.beta.0 * *m + n.rest.0 * g;
        let ratio = *m / d;
        let ratio = if ratio > n.clip { n.clip } else { ratio };
        let ratio = if ratio < -n.clip { -n.clip } else { ratio };
        let step = n.lr * (ratio + n.decay * *theta);
        *theta -= step;
        *largest = larger(*largest, step.abs());
    };
    let (theta, theta_tail) = theta.as_chunks_mut::<LANES>();
    let (m, m_tail) = m.as_chunks_mut::<LANES>();
    let (g, g_tail) = g.as_chunks::<LANES>();
    let (head, d_tail) = d.split_at(LANES * g.len());
    let parts = theta.iter_mut().zip(m).zip(g.iter().zip(head.as_chunks::<LANES>().0));
    for ((theta, m), (g, d)) in parts {
        for i in 0..LANES {
            element(&mut theta[i], &mut m[i], g[i], d[i], &mut largest[i]);
        }
    }
    let tails = theta_tail.iter_mut().zip(m_tail).zip(g_tail.iter().zip(d_tail));
    for ((theta, m), (&g, &d)) in tails {
        element(theta, m, g, d, &mut largest[0]);
    }
}

/// What one pass over a piece of a derivative shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Σ x².
    pub squares: f64,
    /// max |x|.
    pub largest: f64,
    /// All x² are finite.
    pub finite: bool,
}

impl Scan {
    /// Scans a block in pieces of fixed size, folded in order.
    pub fn of<T: Real>(x: &[T]) -> Self {
        let join = |a: Self, b: Self| Self {
            squares: a.squares + b.squares,
            largest: larger(a.largest, b.largest),
            finite: a.finite && b.finite,
        };
        let zero = Self { finite: true, ..Self::default() };
        if x.len() < SERIAL {
            return x.chunks(PIECE).map(scan).fold(zero, join);
        }
        let parts: Vec<_> = x.par_chunks(PIECE).map(scan).collect();
        parts.into_iter().fold(zero, join)
    }
}

fn scan<T: Real>(x: &[T]) -> Scan {
    let (mut squares, mut largest, mut finite) = ([0.0; LANES], [T::ZERO; LANES], [true; LANES]);
    let mut element = |i: usize, x: T| {
        squares[i] += x.to_f64() * x.to_f64();
        largest[i] = larger(largest[i], x.abs());
        finite[i] &= (x * x).is_finite();
    };
    let (body, tail) = x.as_chunks::<LANES>();
    for x in body {
        for i in 0..LANES {
            element(i, x[i]);
        }
    }
    tail.iter().enumerate().for_each(|(i, &x)| element(i, x));
    Scan {
        squares: squares.iter().sum(),
        largest: largest.into_iter().fold(T::ZERO, larger).to_f64(),
        finite: finite.iter().all(|&f| f),
    }
}
