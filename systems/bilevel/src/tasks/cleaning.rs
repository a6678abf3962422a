//! Data hyper-cleaning: weights of training examples, some with wrong labels, by a small clean set (Franceschi
//! et al. 2017; Shaban et al. 2019).

use rand::RngExt;
use thalweg_core::{Invalid, Seed};

use crate::descent::{Goal, minimize};
use crate::tasks::classify::{Classifier, Examples, Weighted, total};
use crate::tasks::regularization::share;
use crate::{Batch, Bilevel, BilevelError, Grad, Set};

/// Steps of [`Cleaning::fit`] at most.
const LIMIT: u64 = 20_000;

/// `x_i ∈ [−6, 6]`, from 0, says how far training example i is to be trusted:
///
/// `g(x,y) = mean over training of σ(x_i)·CE_i(y) + C ‖y‖²`, `f(x,y) = mean over validation of CE_i(y)`,
///
/// with the logistic function σ and the cross entropy CE of a [`Classifier`], linear or with one hidden layer
/// (then the lower level is not convex). An example is *kept* where x_i > 0.
///
/// The gradient by x is of order 1/n, n training examples: steps must be of order n.
#[derive(Clone, Debug)]
pub struct Cleaning {
    train: Examples,
    val: Examples,
    held: Option<Examples>,
    classifier: Classifier,
    ridge: f64,
    x_set: Set,
    start: Vec<f64>,
}

impl Cleaning {
    /// A linear classifier of `classes` classes. The validation labels are trusted; `ridge` is C, 1e-3 in the
    /// literature for pixels in 0..1.
    ///
    /// # Errors
    /// Parts of different width, fewer than two classes or examples outside them, a ridge that is not > 0.
    pub fn new(train: Examples, val: Examples, classes: usize, ridge: f64) -> Result<Self, BilevelError> {
        let (columns, n) = (train.rows().columns(), train.len());
        if columns != val.rows().columns() {
            let other = val.rows().columns();
            let cause = format!("{columns} inputs in training, {other} in validation; give the same");
            return Err(BilevelError::Data(cause));
        }
        let most = train.classes().iter().chain(val.classes()).max().map_or(0, |&c| c as usize);
        if classes < 2 || most >= classes {
            let cause =
                format!("class {most} of {classes} classes; give two at least, and those of all examples");
            return Err(BilevelError::Data(cause));
        }
        Invalid::positive("ridge", ridge)?;
        let classifier = Classifier { columns, hidden: 0, scores: classes };
        let start = vec![0.0; classifier.parameters()];
        Ok(Self { train, val, held: None, classifier, ridge, x_set: Set::cube(n, -6.0, 6.0), start })
    }

    /// With that many hidden units, which start at small random weights: zeros are a saddle point.
    pub fn hidden(mut self, units: usize, seed: Seed) -> Self {
        self.classifier.hidden = units;
        self.start = vec![0.0; self.classifier.parameters()];
        if units > 0 {
            let mut rng = seed.stream("weights", 0);
            let (u, v) = self.start.split_at_mut(self.classifier.columns * units);
            for (block, inputs) in [(u, self.classifier.columns), (v, units)] {
                let most = 1.0 / (inputs as f64).sqrt();
                block.iter_mut().for_each(|w| *w = rng.random_range(-most..most));
            }
        }
        self
    }

    /// With every third validation example put aside into [`Cleaning::held`], to stop by: the others are soon
    /// learned by heart.
    pub fn hold_out(mut self) -> Self {
        let (held, val) = self.val.thirds();
        if held.len() > 0 {
            (self.held, self.val) = (Some(held), val);
        }
        self
    }

    /// Training examples.
    pub fn train(&self) -> &Examples {
        &self.train
    }

    /// Validation examples that f is made of.
    pub fn val(&self) -> &Examples {
        &self.val
    }

    /// Validation examples put aside.
    pub fn held(&self) -> Option<&Examples> {
        self.held.as_ref()
    }

    /// The classifier, for its loss and accuracy on any examples.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The baseline: parameters with the least mean cross entropy of these examples, all of full weight, plus
    /// C‖y‖², to a gradient of `tolerance` times its own size, curvature times ‖y‖.
    ///
    /// # Errors
    /// Too many steps.
    pub fn fit(&self, parts: &[&Examples], tolerance: f64) -> Result<Vec<f64>, BilevelError> {
        let share = 1.0 / parts.iter().map(|part| part.len()).sum::<usize>() as f64;
        let mut of_part = vec![0.0; self.start.len()];
        let mut fun = |y: &[f64], grad: &mut [f64]| {
            grad.fill(0.0);
            let mut value = self.ridge_of(y, Some(grad));
            for examples in parts {
                let on = Weighted { examples, batch: Batch::Full, weight: |_| share };
                value += share * total(&self.classifier.losses(y, &on, Some(&mut of_part)));
                grad.iter_mut().zip(&of_part).for_each(|(g, p)| *g += p);
            }
            Ok(value)
        };
        let mut squares = vec![0.0; self.classifier.columns];
        for part in parts {
            squares.iter_mut().zip(part.squares(|_| share)).for_each(|(s, p)| *s += p);
        }
        let mut scale = vec![0.0; self.start.len()];
        let scale = self.bound(&squares, &mut scale).then_some(scale);
        let mut y = self.start.clone();
        minimize(&mut fun, &Set::Free, scale.as_deref(), &mut y, Goal::Relative(tolerance), LIMIT)?;
        Ok(y)
    }

    /// C‖y‖²; adds its gradient.
    fn ridge_of(&self, y: &[f64], grad: Option<&mut [f64]>) -> f64 {
        if let Some(grad) = grad {
            grad.iter_mut().zip(y).for_each(|(g, y)| *g += 2.0 * self.ridge * y);
        }
        self.ridge * crate::set::norm2(y)
    }

    /// Curvature by the sums of squares of each input.
    fn bound(&self, squares: &[f64], bound: &mut [f64]) -> bool {
        if self.classifier.hidden > 0 {
            return false;
        }
        for (bound, square) in bound.chunks_exact_mut(self.classifier.scores).zip(squares) {
            bound.fill(0.25 * square + 2.0 * self.ridge);
        }
        true
    }
}

impl Bilevel for Cleaning {
    fn dims(&self) -> (usize, usize) {
        (self.train.len(), self.classifier.parameters())
    }

    fn terms(&self) -> (u64, u64) {
        (self.val.len() as u64, self.train.len() as u64)
    }

    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        (vec![0.0; self.train.len()], self.start.clone())
    }

    fn x_set(&self) -> &Set {
        &self.x_set
    }

    fn upper(&self, _x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        if let Some(by_x) = grad.x {
            by_x.fill(0.0);
        }
        let share = share(self.val.len(), batch);
        let on = Weighted { examples: &self.val, batch, weight: |_| share };
        share * total(&self.classifier.losses(y, &on, grad.y))
    }

    fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, mut grad: Grad<'_>) -> f64 {
        let share = share(self.train.len(), batch);
        let on = Weighted { examples: &self.train, batch, weight: |i: usize| share * logistic(x[i]) };
        let losses = self.classifier.losses(y, &on, grad.y.as_deref_mut());
        let mut value = 0.0;
        for (k, loss) in losses.iter().enumerate() {
            value += (on.weight)(on.number(k)) * loss;
        }
        if let Some(by_x) = grad.x {
            spread(x, &on, share, &losses, by_x);
        }
        value + self.ridge_of(y, grad.y)
    }

    fn product(&self, x: &[f64], y: &[f64], v: &[f64], batch: Batch<'_>, mut out: Grad<'_>) -> bool {
        if self.classifier.hidden > 0 {
            return false;
        }
        let share = share(self.train.len(), batch);
        let on = Weighted { examples: &self.train, batch, weight: |i: usize| share * logistic(x[i]) };
        let slopes = self.classifier.slopes(y, v, &on, out.y.as_deref_mut());
        if let Some(out) = out.x {
            spread(x, &on, share, &slopes, out);
        }
        self.ridge_of(v, out.y);
        true
    }

    fn curvature(&self, x: &[f64], bound: &mut [f64]) -> bool {
        let share = share(self.train.len(), Batch::Full);
        self.classifier.hidden == 0 && self.bound(&self.train.squares(|i| share * logistic(x[i])), bound)
    }
}

/// `share·σ'(x_i)` times what each example of the batch has, 0 for the others.
fn spread<W: Fn(usize) -> f64 + Sync>(
    x: &[f64],
    on: &Weighted<'_, W>,
    share: f64,
    terms: &[f64],
    out: &mut [f64],
) {
    out.fill(0.0);
    for (k, term) in terms.iter().enumerate() {
        let i = on.number(k);
        let s = logistic(x[i]);
        out[i] += share * s * (1.0 - s) * term;
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// F1 score of "kept" (x_i > 0) as a test for "the given label is the clean one"; 0 if nothing is kept.
pub fn f1(x: &[f64], given: &[u32], clean: &[u32]) -> f64 {
    let (mut kept_clean, mut kept, mut all_clean) = (0.0, 0.0, 0.0);
    for ((x, given), clean) in x.iter().zip(given).zip(clean) {
        let (keep, right) = (f64::from(u8::from(*x > 0.0)), f64::from(u8::from(given == clean)));
        kept_clean += keep * right;
        kept += keep;
        all_clean += right;
    }
    if kept_clean > 0.0 { 2.0 * kept_clean / (kept + all_clean) } else { 0.0 }
}

/// Each class of a list replaced, with that probability, by another one of `classes`, all equally likely.
pub fn corrupt(clean: &[u32], classes: u32, probability: f64, seed: Seed) -> Vec<u32> {
    let mut rng = seed.stream("labels", 0);
    let mut other = |class: u32| match rng.random::<f64>() < probability && classes > 1 {
        true => (class + rng.random_range(1..classes)) % classes,
        false => class,
    };
    clean.iter().map(|&class| other(class)).collect()
}
