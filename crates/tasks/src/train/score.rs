use serde::Serialize;
use thalweg_net::{Mode, Net, NetError, Pass};

use super::{Examples, Minibatch};

/// How well a network does on examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Share of right classes; none for real targets.
    pub accuracy: Option<f64>,
    /// Mean loss: cross-entropy in nats, or squared error.
    pub loss: f64,
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
    for first in (0..examples.len()).step_by(batch) {
        let places: Vec<usize> =
            (first..examples.len().min(first + batch)).map(|i| examples.place(i)).collect();
        examples.gather(&places, None, &mut minibatch);
        let mean = pass.loss(net, theta, buffers, &minibatch.batch(), Mode::Eval)?;
        let rows = pass.output().chunks_exact(net.classes());
        n += rows.len();
        loss += mean * rows.len() as f64;
        right += rows.zip(minibatch.labels()).filter(|(row, label)| largest(row) == **label as usize).count();
    }
    let accuracy = (!minibatch.labels().is_empty()).then_some(right as f64 / n as f64);
    Ok(Score { accuracy, loss: loss / n as f64, n })
}

/// Index of the largest number, the first of equal ones.
fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, x)| if *x > row[best] { i } else { best })
}
