use rayon::prelude::*;
use thalweg_core::Real;

use crate::NetError;
use crate::kernel::{Scalar, vectorize};
use crate::num::{Dual, Num};
use crate::planes::{Lane, Planes, PlanesMut};

/// What a network's output is compared with, one entry per row of the output (an example, or a
/// position of a sequence).
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// Class indices: softmax cross-entropy.
    Classes(&'a [u32]),
    /// Values of the output's shape: squared error, averaged over examples and outputs.
    Values(&'a [T]),
}

/// Examples and what is wanted of them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// Inputs, one example after the other, channels last; tokens as whole numbers.
    pub x: &'a [T],
    /// What is wanted.
    pub targets: Targets<'a, T>,
    /// One factor per row of the output; the mean still divides by the number of rows.
    pub weights: Option<&'a [T]>,
}

/// Options of the loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Share of the target spread evenly over all classes (Szegedy et al. 2016); 0 is off.
    pub label_smoothing: f64,
    /// Factor per class; the mean then divides by the sum of the factors, as in PyTorch.
    pub class_weights: Option<Vec<f64>>,
}

impl Loss {
    /// Checks targets against rows and classes.
    pub(crate) fn check<T: Scalar>(
        &self,
        rows: usize,
        c: usize,
        batch: &Batch<'_, T>,
    ) -> Result<(), NetError> {
        match batch.targets {
            Targets::Classes(labels) => {
                NetError::check("the list of labels", labels.len(), rows)?;
                if let Some(index) = labels.iter().position(|&l| l as usize >= c) {
                    return Err(NetError::Label { index, label: labels[index], classes: c });
                }
            }
            Targets::Values(values) => NetError::check("the list of targets", values.len(), rows * c)?,
        }
        if let Some(w) = batch.weights {
            NetError::check("the list of example weights", w.len(), rows)?;
        }
        let option = |legal, field, value: String, range| match legal {
            true => Ok(()),
            false => Err(NetError::Loss { field, value, range }),
        };
        let share = self.label_smoothing;
        option((0.0..1.0).contains(&share), "label_smoothing", share.to_string(), "a number in [0, 1)")?;
        if let Some(w) = &self.class_weights {
            NetError::check("the list of class weights", w.len(), c)?;
            let legal = w.iter().all(|w| *w >= 0.0 && w.is_finite());
            option(legal, "class_weights", format!("{w:?}"), "finite numbers ≥ 0")?;
        }
        Ok(())
    }

    /// What the mean over `rows` rows divides by.
    pub(crate) fn total<T: Scalar>(&self, batch: &Batch<'_, T>, rows: usize) -> f64 {
        match (batch.targets, &self.class_weights) {
            (Targets::Classes(labels), Some(w)) => labels.iter().map(|&l| w[l as usize]).sum(),
            _ => rows as f64,
        }
    }

    /// Writes the loss of each row (value, tangent) and the cotangent of the output.
    pub(crate) fn rows<T: Scalar, N: Num<T>>(
        &self,
        c: usize,
        batch: &Batch<'_, T>,
        y: Planes<'_, T>,
        dy: &mut PlanesMut<'_, T>,
        losses: &mut [(f64, f64)],
        p: usize,
    ) {
        let (y, n) = (y.lane::<N>(p), losses.len());
        let total = match batch.targets {
            Targets::Classes(_) => self.total(batch, n),
            Targets::Values(_) => self.total(batch, n) * c as f64,
        };
        let factor = |row: usize| batch.weights.map_or(1.0, |w| w[row].to_f64()) / total;
        let one = |row: usize, v: &mut [T], t: &mut [T]| {
            let (y, w) = (y.slice(row * c..(row + 1) * c), factor(row));
            let loss: N = match batch.targets {
                Targets::Classes(labels) => self.cross_entropy(y, labels[row] as usize, w, v, t),
                Targets::Values(values) => squared_error(y, &values[row * c..(row + 1) * c], w, v, t),
            };
            (loss.value().to_f64() * w, loss.tangent().to_f64() * w)
        };
        let (v, t) = dy.lane::<N>(p);
        let group = 64 * c;
        let run = |g: usize, losses: &mut [(f64, f64)], v: &mut [T], t: &mut [T]| {
            vectorize(|| {
                for (i, loss) in losses.iter_mut().enumerate() {
                    let part = i * c..(i + 1) * c;
                    let t = if N::DUAL { &mut t[part.clone()] } else { &mut [][..] };
                    *loss = one(g * 64 + i, &mut v[part], t);
                }
            });
        };
        let losses = losses.par_chunks_mut(64).enumerate();
        if N::DUAL {
            losses
                .zip(v.par_chunks_mut(group))
                .zip(t.par_chunks_mut(group))
                .for_each(|(((g, l), v), t)| run(g, l, v, t));
        } else {
            losses.zip(v.par_chunks_mut(group)).for_each(|((g, l), v)| run(g, l, v, &mut []));
        }
    }
}

impl Loss {
    /// `−Σ q_k ln softmax(y)_k` where q is the smoothed one-hot target times the class weights; the
    /// gradient times `w` goes to `(v, t)`.
    #[inline(always)]
    fn cross_entropy<T: Scalar, N: Num<T>>(
        &self,
        y: Lane<'_, T>,
        label: usize,
        w: f64,
        v: &mut [T],
        t: &mut [T],
    ) -> N {
        let c = v.len();
        let share = self.label_smoothing / c as f64;
        let target = |k: usize| {
            let q = if k == label { 1.0 - self.label_smoothing + share } else { share };
            q * self.class_weights.as_ref().map_or(1.0, |w| w[k])
        };
        let mass = if self.class_weights.is_some() { (0..c).map(target).sum() } else { 1.0 };
        let max = y.v.iter().fold(y.v[0], |m, &x| Real::max(m, x));
        let (mut sum, mut expected) = (N::zero(), N::zero());
        for k in 0..c {
            let y = N::load(y, k) - N::constant(max);
            let e = y.exp();
            sum = sum + e;
            expected = expected + y.scale(T::from_f64(target(k)));
            e.store(v, t, k);
        }
        let (mass, inverse) = (T::from_f64(mass), N::one() / sum);
        for k in 0..c {
            let p = N::load(Lane { v, t }, k) * inverse;
            let d = p.scale(mass) - N::constant(T::from_f64(target(k)));
            d.scale(T::from_f64(w)).store(v, t, k);
        }
        sum.ln().scale(mass) - expected
    }
}

/// `Σ (y − target)²`.
#[inline(always)]
fn squared_error<T: Scalar, N: Num<T>>(y: Lane<'_, T>, target: &[T], w: f64, v: &mut [T], t: &mut [T]) -> N {
    let mut sum = N::zero();
    for k in 0..v.len() {
        let d = N::load(y, k) - N::constant(target[k]);
        sum = sum + d * d;
        d.scale(T::from_f64(2.0 * w)).store(v, t, k);
    }
    sum
}

/// Draws a label for each row of logits from the model's own distribution: with them, gradients
/// estimate the true Fisher matrix instead of the empirical one.
pub fn sample_labels<T: Scalar>(logits: &[T], classes: usize, rng: &mut impl rand::Rng) -> Vec<u32> {
    let draw = |row: &[T]| {
        let max = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.to_f64()));
        let weights: Vec<f64> = row.iter().map(|x| (x.to_f64() - max).exp()).collect();
        let mut left = rng.next_u64() as f64 / 2f64.powi(64) * weights.iter().sum::<f64>();
        for (k, w) in weights.iter().enumerate() {
            left -= w;
            if left < 0.0 {
                return k as u32;
            }
        }
        classes as u32 - 1
    };
    logits.chunks_exact(classes).map(draw).collect()
}

/// The number types of the loss for plain and tangent passes.
pub(crate) fn run<T: Scalar>(
    loss: &Loss,
    c: usize,
    batch: &Batch<'_, T>,
    y: Planes<'_, T>,
    dy: &mut PlanesMut<'_, T>,
    losses: &mut [(f64, f64)],
) {
    let r = dy.count() - 1;
    if r == 0 {
        loss.rows::<T, T>(c, batch, y, dy, losses, 0);
    }
    for p in 0..r {
        loss.rows::<T, Dual<T>>(c, batch, y, dy, losses, p);
    }
}
