//! Choosing a ridge penalty for every feature of logistic regression, as in benchopt's `benchmark_bilevel`
//! (Dagréou, Ablin, Vaiter and Moreau 2022).

use crate::tasks::classify::{Classifier, Examples, Weighted, total};
use crate::{Batch, Bilevel, BilevelError, Grad, Set, Sparse};

/// `x_j` is the logarithm of the penalty on feature j:
///
/// `g(x,y) = mean over training of loss(y; d_i, a_i) + ½ Σ_j e^{x_j} ‖y_j‖²`,
/// `f(x,y) = mean over validation of loss(y; d_i, a_i)`,
///
/// with the logistic loss for two classes and the cross entropy of the softmax for more, without intercept.
/// `x [features]` starts at 0; `y [features, scores]`, one score for two classes.
///
/// Without bounds x runs away to where f is flat, and above 5 the lower level is stiff: keep the box. f(x,y(x))
/// is not convex, so where x starts matters.
///
/// ```
/// use thalweg_bilevel::{Oracle, Sparse, tasks::regularization::Regularization};
/// use thalweg_bilevel::penalty::lower;
///
/// let rows = || Sparse::dense(&[1.0, 0.5, -0.2, 1.0, -1.0, 0.0], 2);
/// let labels = [1.0, -1.0, -1.0];
/// let problem = Regularization::new((rows()?, &labels), (rows()?, &labels), -10.0, 2.0)?;
/// let mut oracle = Oracle::new(&problem)?;
/// let mut at = oracle.start();
/// let g = lower(&mut oracle, &at.x, &mut at.z, 1e-10)?;
/// assert!(g < 2f64.ln());
/// # Ok::<(), thalweg_bilevel::BilevelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Regularization {
    train: Examples,
    validation: Examples,
    labels: Vec<f64>,
    classifier: Classifier,
    x_set: Set,
    start: Vec<f64>,
    /// Curvature of the training loss by feature, at most.
    curvature: Vec<f64>,
}

impl Regularization {
    /// Training and validation rows with their labels, whatever numbers stand for the classes, and the bounds of
    /// all x. Of two classes the larger label is the positive one.
    ///
    /// # Errors
    /// Rows and labels that do not fit, fewer than two classes, labels in the validation part alone.
    pub fn new(
        train: (Sparse, &[f64]),
        validation: (Sparse, &[f64]),
        lo: f64,
        hi: f64,
    ) -> Result<Self, BilevelError> {
        let mut labels = train.1.to_vec();
        labels.sort_unstable_by(f64::total_cmp);
        labels.dedup();
        if labels.len() < 2 {
            let cause = format!("{} class(es) in the training labels; two are needed", labels.len());
            return Err(BilevelError::Data(cause));
        }
        if train.0.columns() != validation.0.columns() {
            let (a, b) = (train.0.columns(), validation.0.columns());
            return Err(BilevelError::Data(format!(
                "{a} features to train on, {b} to validate on; give the same"
            )));
        }
        let (train, validation) = (examples(train, &labels)?, examples(validation, &labels)?);
        let columns = train.rows().columns();
        let scores = if labels.len() == 2 { 1 } else { labels.len() };
        let classifier = Classifier { columns, hidden: 0, scores };
        let curvature = train.squares(|_| 0.25 / train.len() as f64);
        let x_set = Set::cube(columns, lo, hi);
        Ok(Self { train, validation, labels, classifier, x_set, start: vec![0.0; columns], curvature })
    }

    /// With another start of x, `[features]`.
    #[must_use]
    pub fn from(mut self, start: Vec<f64>) -> Self {
        self.start = start;
        self
    }

    /// Share of the validation examples that y classifies as they are labelled.
    pub fn accuracy(&self, y: &[f64]) -> f64 {
        self.classifier.accuracy(y, &self.validation)
    }

    /// Mean loss and share of right classes of y on rows that have no part in the problem.
    ///
    /// # Errors
    /// Labels that are not among the training labels.
    pub fn score(&self, y: &[f64], (rows, labels): (Sparse, &[f64])) -> Result<(f64, f64), BilevelError> {
        if rows.columns() != self.classifier.columns {
            let (a, b) = (self.classifier.columns, rows.columns());
            return Err(BilevelError::Data(format!(
                "{a} features to train on, {b} to test on; give the same"
            )));
        }
        let test = examples((rows, labels), &self.labels)?;
        Ok((self.classifier.loss(y, &test), self.classifier.accuracy(y, &test)))
    }

    /// The labels, ascending: that of each class.
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    fn mean(&self, examples: &Examples, y: &[f64], batch: Batch<'_>, grad: Option<&mut [f64]>) -> f64 {
        let share = share(examples.len(), batch);
        let on = Weighted { examples, batch, weight: |_| share };
        total(&self.classifier.losses(y, &on, grad)) * share
    }
}

/// Rows with the number of each label among the known ones.
fn examples((rows, labels): (Sparse, &[f64]), known: &[f64]) -> Result<Examples, BilevelError> {
    let class = |l: &f64| {
        let unknown = || {
            BilevelError::Data(format!("the label {l} is not among the training labels; correct or drop it"))
        };
        known.iter().position(|k| k == l).map(|c| c as u32).ok_or_else(unknown)
    };
    Examples::new(rows, labels.iter().map(class).collect::<Result<_, _>>()?)
}

/// What one of the terms of a batch counts.
pub(crate) fn share(terms: usize, batch: Batch<'_>) -> f64 {
    1.0 / match batch {
        Batch::Full => terms,
        Batch::Terms(some) => some.len(),
    } as f64
}

impl Bilevel for Regularization {
    fn dims(&self) -> (usize, usize) {
        (self.classifier.columns, self.classifier.parameters())
    }

    fn terms(&self) -> (u64, u64) {
        (self.validation.len() as u64, self.train.len() as u64)
    }

    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        (self.start.clone(), vec![0.0; self.classifier.parameters()])
    }

    fn x_set(&self) -> &Set {
        &self.x_set
    }

    fn upper(&self, _x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        if let Some(by_x) = grad.x {
            by_x.fill(0.0);
        }
        self.mean(&self.validation, y, batch, grad.y)
    }

    fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, mut grad: Grad<'_>) -> f64 {
        let mut value = self.mean(&self.train, y, batch, grad.y.as_deref_mut());
        let scores = self.classifier.scores;
        for (j, (x, y)) in x.iter().zip(y.chunks_exact(scores)).enumerate() {
            let penalty = x.exp();
            let half = 0.5 * penalty * y.iter().map(|y| y * y).sum::<f64>();
            value += half;
            if let Some(by_x) = &mut grad.x {
                by_x[j] = half;
            }
            if let Some(by_y) = &mut grad.y {
                by_y[j * scores..].iter_mut().zip(y).for_each(|(by_y, y)| *by_y += penalty * y);
            }
        }
        value
    }

    fn product(&self, x: &[f64], y: &[f64], v: &[f64], batch: Batch<'_>, mut out: Grad<'_>) -> bool {
        let scores = self.classifier.scores;
        if let Some(out) = out.y.as_deref_mut() {
            let share = share(self.train.len(), batch);
            let on = Weighted { examples: &self.train, batch, weight: |_| share };
            self.classifier.slopes(y, v, &on, Some(out));
        }
        for (j, x) in x.iter().enumerate() {
            let (penalty, of) = (x.exp(), j * scores..(j + 1) * scores);
            if let Some(out) = &mut out.x {
                out[j] = penalty * y[of.clone()].iter().zip(&v[of.clone()]).map(|(y, v)| y * v).sum::<f64>();
            }
            if let Some(out) = &mut out.y {
                out[of.clone()].iter_mut().zip(&v[of]).for_each(|(out, v)| *out += penalty * v);
            }
        }
        true
    }

    fn curvature(&self, x: &[f64], bound: &mut [f64]) -> bool {
        for ((bound, c), x) in bound.chunks_exact_mut(self.classifier.scores).zip(&self.curvature).zip(x) {
            bound.fill(c + x.exp());
        }
        true
    }
}
