use serde::Serialize;
use thalweg_net::{Mode, Net, NetError, Pass};

use super::{Examples, Minibatch};

/// How well a network does on examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Share of right classes; none for real targets.
    pub accuracy: Option<f64>,
    /// Mean loss: cross-entropy in nats, or of real targets the squared error, averaged over examples and outputs.
    pub loss: f64,
    /// Root of the mean squared error; none for classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Coefficient of determination R², averaged over the outputs; none for classes, and where a target is constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Predictions scored: examples, or characters of a text.
    pub n: usize,
}

/// Numbers that one forward pass may keep, which bounds its memory.
const CELLS: usize = 1 << 25;

/// Scores the network in evaluation mode and by the plain loss on all examples, in order. Texts are
/// cut into windows beside each other.
pub fn score(net: &Net<f32>, theta: &[f32], buffers: &[f32], examples: &Examples) -> Result<Score, NetError> {
    let net = &Net::new(net.graph().clone())?; // without options of the loss
    let cells = net.graph().activation_bytes(1, 0, 1)?.max(1);
    let batch = (CELLS / cells).clamp(1, 1000);
    let (mut pass, mut minibatch) = (Pass::default(), Minibatch::default());
    let (mut loss, mut right, mut n) = (0.0, 0, 0);
    let mut spread = Spread::default();
    for first in (0..examples.len()).step_by(batch) {
        let places: Vec<usize> =
            (first..examples.len().min(first + batch)).map(|i| examples.place(i)).collect();
        examples.gather(&places, None, &mut minibatch);
        let mean = pass.loss(net, theta, buffers, &minibatch.batch(), Mode::Eval)?;
        let rows = pass.output().chunks_exact(net.classes());
        n += rows.len();
        loss += mean * rows.len() as f64;
        spread.add(pass.output(), minibatch.values(), net.classes());
        right += rows.zip(minibatch.labels()).filter(|(row, label)| largest(row) == **label as usize).count();
    }
    let accuracy = (!minibatch.labels().is_empty()).then_some(right as f64 / n as f64);
    let loss = loss / n as f64;
    let rmse = (!minibatch.values().is_empty()).then(|| loss.sqrt());
    Ok(Score { accuracy, loss, rmse, r2: rmse.and_then(|_| spread.r2(n)), n })
}

/// Of each output: the first target, sums of the targets less it and of their squares, and of squared errors.
#[derive(Default)]
struct Spread(Vec<[f64; 4]>);

impl Spread {
    fn add(&mut self, outputs: &[f32], targets: &[f32], width: usize) {
        if self.0.is_empty() {
            self.0 = targets.iter().take(width).map(|&first| [first.into(), 0.0, 0.0, 0.0]).collect();
        }
        for (outputs, targets) in outputs.chunks_exact(width).zip(targets.chunks_exact(width)) {
            for (([first, sum, squares, errors], &y), &t) in self.0.iter_mut().zip(outputs).zip(targets) {
                let (t, y) = (f64::from(t), f64::from(y));
                *sum += t - *first;
                *squares += (t - *first).powi(2);
                *errors += (t - y).powi(2);
            }
        }
    }

    fn r2(&self, n: usize) -> Option<f64> {
        let of_output = |[_, sum, squares, errors]: &[f64; 4]| {
            let varied = squares - sum * sum / n as f64;
            (varied > 0.0).then(|| 1.0 - errors / varied)
        };
        let all: Option<Vec<f64>> = self.0.iter().map(of_output).collect();
        all.map(|all| all.iter().sum::<f64>() / all.len() as f64)
    }
}

/// Index of the largest number, the first of equal ones.
fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, x)| if *x > row[best] { i } else { best })
}
