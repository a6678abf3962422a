//! Examples with classes, and the loss of linear and one-hidden-layer classifiers on them.

use pulp::Arch;
use rayon::prelude::*;

use crate::{Batch, BilevelError, Sparse};

/// Most pieces that a sum over examples is cut into, and fewest examples of a piece. The cuts do not depend
/// on the number of threads, nor do the bits of the sum.
const PIECES: usize = 16;
const PIECE: usize = 512;

/// Inputs with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    rows: Sparse,
    classes: Vec<u32>,
}

impl Examples {
    /// Inputs `[n, columns]` and the class of each, from 0.
    ///
    /// # Errors
    /// No example or column, and lengths that differ.
    pub fn new(rows: Sparse, classes: Vec<u32>) -> Result<Self, BilevelError> {
        let (n, found) = (rows.rows(), classes.len());
        if n == 0 || rows.columns() == 0 || n != found {
            let (columns, remedy) = (rows.columns(), "give one class each, to one at least");
            let cause = format!("{found} classes for {n} examples of {columns} inputs; {remedy}");
            return Err(BilevelError::Data(cause));
        }
        Ok(Self { rows, classes })
    }

    /// Those with these numbers, in that order.
    ///
    /// # Panics
    /// If a number is not below `len()`.
    pub fn select(&self, index: &[usize]) -> Self {
        Self { rows: self.rows.select(index), classes: index.iter().map(|&i| self.classes[i]).collect() }
    }

    /// Every third one, and the others.
    pub fn thirds(&self) -> (Self, Self) {
        let (third, rest): (Vec<_>, Vec<_>) = (0..self.len()).partition(|i| i % 3 == 2);
        (self.select(&third), self.select(&rest))
    }

    /// How many; at least one.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// The inputs.
    pub fn rows(&self) -> &Sparse {
        &self.rows
    }

    /// Class of each.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// Σ weight(i) d_ij² of each column j.
    pub(crate) fn squares(&self, weight: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut squares = vec![0.0; self.rows.columns()];
        for i in 0..self.len() {
            let (w, (indices, values)) = (weight(i), self.rows.row(i));
            indices.iter().zip(values).for_each(|(&j, v)| squares[j as usize] += w * v * v);
        }
        squares
    }
}

/// A classifier without intercepts: scores `d·W`, or `tanh(d·U)·V` with hidden units.
///
/// One score is that of class 1 against class 0, with the logistic loss; several are those of the classes,
/// with the cross entropy of their softmax. Parameters are `W [columns, scores]`, or `U [columns, hidden]`
/// followed by `V [hidden, scores]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classifier {
    /// Inputs.
    pub columns: usize,
    /// Hidden units, 0 for a linear classifier.
    pub hidden: usize,
    /// Scores: 1 for two classes or as many as there are classes.
    pub scores: usize,
}

/// Examples at work: all of a batch, each with a weight.
pub(crate) struct Weighted<'a, W> {
    pub examples: &'a Examples,
    pub batch: Batch<'a>,
    /// By the number of the example.
    pub weight: W,
}

impl<W: Fn(usize) -> f64 + Sync> Weighted<'_, W> {
    fn len(&self) -> usize {
        match self.batch {
            Batch::Full => self.examples.len(),
            Batch::Terms(some) => some.len(),
        }
    }

    /// The example that is number `k` of the batch.
    #[inline(always)]
    pub fn number(&self, k: usize) -> usize {
        match self.batch {
            Batch::Full => k,
            Batch::Terms(some) => some[k] as usize,
        }
    }
}

impl Classifier {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        match self.hidden {
            0 => self.columns * self.scores,
            hidden => (self.columns + self.scores) * hidden,
        }
    }

    /// Mean loss on all examples with the parameters `y`.
    pub fn loss(&self, y: &[f64], examples: &Examples) -> f64 {
        let all = Weighted { examples, batch: Batch::Full, weight: |_| 1.0 };
        total(&self.losses(y, &all, None)) / examples.len() as f64
    }

    /// Share of the examples whose class has the highest score.
    pub fn accuracy(&self, y: &[f64], examples: &Examples) -> f64 {
        let mut buffers = Buffers::new(self);
        let right = |&i: &usize| {
            self.score(y, &examples.rows, i, &mut buffers);
            examples.classes[i] == best(&buffers.scores)
        };
        (0..examples.len()).filter(right).count() as f64 / examples.len() as f64
    }

    /// The loss of each example; overwrites `grad` by the weighted sum of their gradients.
    pub(crate) fn losses<W>(&self, y: &[f64], on: &Weighted<'_, W>, grad: Option<&mut [f64]>) -> Vec<f64>
    where
        W: Fn(usize) -> f64 + Sync,
    {
        pieces(on.len(), grad, |from, losses, grad| {
            Arch::new().dispatch(
                #[inline(always)]
                || self.losses_from(y, on, from, losses, grad),
            );
        })
    }

    /// Of the examples from that one of the batch on; adds to `grad`.
    #[inline(always)]
    fn losses_from<W>(
        &self,
        y: &[f64],
        on: &Weighted<'_, W>,
        from: usize,
        losses: &mut [f64],
        mut grad: Option<&mut [f64]>,
    ) where
        W: Fn(usize) -> f64 + Sync,
    {
        let mut buffers = Buffers::new(self);
        for (k, loss) in losses.iter_mut().enumerate() {
            let i = on.number(from + k);
            self.score(y, &on.examples.rows, i, &mut buffers);
            *loss = slope(&mut buffers.scores, on.examples.classes[i]);
            if let Some(grad) = grad.as_deref_mut() {
                let weight = (on.weight)(i);
                buffers.scores.iter_mut().for_each(|s| *s *= weight);
                self.pull_back(y, &on.examples.rows, i, &mut buffers, grad);
            }
        }
    }

    /// Of a linear classifier: the slope of each loss along `v`; overwrites `out` by the weighted sum of
    /// their second derivatives times `v`.
    pub(crate) fn slopes<W>(
        &self,
        y: &[f64],
        v: &[f64],
        on: &Weighted<'_, W>,
        out: Option<&mut [f64]>,
    ) -> Vec<f64>
    where
        W: Fn(usize) -> f64 + Sync,
    {
        pieces(on.len(), out, |from, slopes, out| {
            Arch::new().dispatch(
                #[inline(always)]
                || self.slopes_from(y, v, on, from, slopes, out),
            );
        })
    }

    /// Of the examples from that one of the batch on; adds to `out`.
    #[inline(always)]
    fn slopes_from<W>(
        &self,
        y: &[f64],
        v: &[f64],
        on: &Weighted<'_, W>,
        from: usize,
        slopes: &mut [f64],
        mut out: Option<&mut [f64]>,
    ) where
        W: Fn(usize) -> f64 + Sync,
    {
        let (mut scores, mut along) = (vec![0.0; self.scores], vec![0.0; self.scores]);
        for (k, slope) in slopes.iter_mut().enumerate() {
            let i = on.number(from + k);
            on.examples.rows.times(i, y, &mut scores);
            on.examples.rows.times(i, v, &mut along);
            *slope = bend(&mut scores, on.examples.classes[i], &mut along);
            if let Some(out) = out.as_deref_mut() {
                let weight = (on.weight)(i);
                along.iter_mut().for_each(|s| *s *= weight);
                on.examples.rows.add(i, &along, out);
            }
        }
    }

    /// Scores of example `i`.
    #[inline(always)]
    fn score(&self, y: &[f64], rows: &Sparse, i: usize, to: &mut Buffers) {
        if self.hidden == 0 {
            return rows.times(i, y, &mut to.scores);
        }
        let (u, v) = y.split_at(self.columns * self.hidden);
        rows.times(i, u, &mut to.hidden);
        to.scores.fill(0.0);
        for (h, v) in to.hidden.iter_mut().zip(v.chunks_exact(self.scores)) {
            *h = h.tanh();
            to.scores.iter_mut().zip(v).for_each(|(s, v)| *s += *h * v);
        }
    }

    /// Adds to `grad` what the derivatives by the scores, in their place, come to.
    #[inline(always)]
    fn pull_back(&self, y: &[f64], rows: &Sparse, i: usize, from: &mut Buffers, grad: &mut [f64]) {
        if self.hidden == 0 {
            return rows.add(i, &from.scores, grad);
        }
        let cut = self.columns * self.hidden;
        let (by_u, by_v) = grad.split_at_mut(cut);
        let layers = y[cut..].chunks_exact(self.scores).zip(by_v.chunks_exact_mut(self.scores));
        for (h, (v, by_v)) in from.hidden.iter_mut().zip(layers) {
            let mut back = 0.0;
            for ((v, by_v), r) in v.iter().zip(by_v).zip(&from.scores) {
                back += v * r;
                *by_v += *h * r;
            }
            *h = back * (1.0 - *h * *h);
        }
        rows.add(i, &from.hidden, by_u);
    }
}

struct Buffers {
    hidden: Vec<f64>,
    scores: Vec<f64>,
}

impl Buffers {
    fn new(of: &Classifier) -> Self {
        Self { hidden: vec![0.0; of.hidden], scores: vec![0.0; of.scores] }
    }
}

/// Σ in a fixed order.
pub(crate) fn total(terms: &[f64]) -> f64 {
    thalweg_linalg::vector::sum2(terms, terms, |t, _| t)
}

/// Runs `work(first, results, sum)` on pieces of `count` results; `sum` becomes that of the pieces' sums, in
/// their order.
fn pieces(
    count: usize,
    sum: Option<&mut [f64]>,
    work: impl Fn(usize, &mut [f64], Option<&mut [f64]>) + Sync,
) -> Vec<f64> {
    let mut results = vec![0.0; count];
    let size = count.div_ceil(PIECES).max(PIECE);
    let Some(sum) = sum else {
        results.par_chunks_mut(size).enumerate().for_each(|(k, piece)| work(k * size, piece, None));
        return results;
    };
    sum.fill(0.0);
    if count <= size {
        work(0, &mut results, Some(sum));
        return results;
    }
    let part = |(k, piece): (usize, &mut [f64])| {
        let mut part = vec![0.0; sum.len()];
        work(k * size, piece, Some(&mut part));
        part
    };
    let parts: Vec<Vec<f64>> = results.par_chunks_mut(size).enumerate().map(part).collect();
    parts.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(s, p)| *s += p));
    results
}

fn best(scores: &[f64]) -> u32 {
    match scores {
        [score] => u32::from(*score > 0.0),
        _ => (0..).zip(scores).fold((0, f64::NEG_INFINITY), |m, (c, &s)| if s > m.1 { (c, s) } else { m }).0,
    }
}

/// The loss; overwrites the scores by its derivatives.
#[inline(always)]
fn slope(scores: &mut [f64], class: u32) -> f64 {
    if let [score] = scores {
        // log(1 + e^−m) of the margin m, without overflow.
        let sign = if class == 1 { 1.0 } else { -1.0 };
        let margin = sign * *score;
        let e = (-margin.abs()).exp();
        *score = -sign * if margin > 0.0 { e } else { 1.0 } / (1.0 + e);
        return (-margin).max(0.0) + e.ln_1p();
    }
    let most = scores.iter().fold(f64::NEG_INFINITY, |m, &s| m.max(s));
    let own = scores[class as usize];
    let mut sum = 0.0;
    for s in scores.iter_mut() {
        *s = (*s - most).exp();
        sum += *s;
    }
    scores.iter_mut().for_each(|s| *s /= sum);
    scores[class as usize] -= 1.0;
    sum.ln() + (most - own)
}

/// The slope of the loss along `along`, in the space of the scores; overwrites `along` by the second
/// derivatives times itself.
#[inline(always)]
fn bend(scores: &mut [f64], class: u32, along: &mut [f64]) -> f64 {
    slope(scores, class);
    if let ([r], [t]) = (&*scores, &mut *along) {
        let slope = r * *t;
        *t *= r.abs() * (1.0 - r.abs());
        return slope;
    }
    let slope: f64 = scores.iter().zip(&*along).map(|(r, t)| r * t).sum();
    let mean = slope + along[class as usize]; // under the softmax, of which the derivatives lack the class
    for (c, (r, t)) in (0..).zip(scores.iter().zip(along)) {
        let p = r + if c == class { 1.0 } else { 0.0 };
        *t = p * (*t - mean);
    }
    slope
}
