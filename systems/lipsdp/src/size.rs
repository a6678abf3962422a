//! What a matrix inequality takes, before it is built.

use serde::{Deserialize, Serialize};

use crate::constraint::Form;
use crate::lmi::Layout;
use crate::network::{Block, Network};
use crate::{Activation, LipError, Norm};

/// Size of a matrix inequality before it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Side n of the largest block of the matrix.
    pub side: usize,
    /// Number K of rank-one terms.
    pub terms: usize,
    /// Number m of multipliers.
    pub multipliers: usize,
}

impl Size {
    pub(crate) fn of(net: &Network, norm: Norm, form: Form) -> Self {
        let (mut width, mut side, mut terms) = (net.inputs(), net.inputs(), 0);
        let border = if norm == Norm::Linf { net.outputs() } else { 0 };
        let mut largest = side;
        for block in net.blocks() {
            if let Some((inner, gains, _)) = counts(block, width, form) {
                largest = largest.max(inner);
                side += inner;
                terms += gains;
            }
            width = block.outputs(width);
        }
        // The published form falls apart into one block per layer.
        let split = form == Form::Paper && net.is_feedforward();
        let multipliers = Layout::new(net, norm, form).len();
        Self { side: border + if split { largest } else { side }, terms, multipliers }
    }

    /// Bytes that the solver needs, about.
    pub fn bytes(&self) -> f64 {
        let (n, k, m) = (self.side as f64, self.terms as f64, self.multipliers as f64);
        8.0 * (14.0 * n * n + 4.0 * n * k + 2.0 * k * k + 2.0 * m * m)
    }

    /// Seconds that the solver needs, about, at 10 Gflop/s and 20 iterations.
    pub fn seconds(&self) -> f64 {
        let (n, k, m) = (self.side as f64, self.terms as f64, self.multipliers as f64);
        20.0 * (14.0 * n.powi(3) + 6.0 * n * n * k + 4.0 * n * k * k + m.powi(3) / 3.0) / 1e10
    }

    /// An error with the estimate if the solver needs more than `memory` bytes.
    pub(crate) fn check(&self, memory: u64) -> Result<(), LipError> {
        let size = |bytes: f64| match bytes / f64::from(1u32 << 20) {
            mib if mib < 1024.0 => format!("{mib:.0} MiB"),
            mib => format!("{:.1} GiB", mib / 1024.0),
        };
        if self.bytes() <= memory as f64 {
            return Ok(());
        }
        Err(LipError::TooLarge {
            side: self.side,
            rows: self.terms,
            needed: size(self.bytes()),
            allowed: size(memory as f64),
            time: format!("about {:.0} minutes", (self.seconds() / 60.0).ceil()),
        })
    }
}

/// Length of the remainder, number of gain rows and number of multipliers of a block.
pub(crate) fn counts(block: &Block, width: usize, form: Form) -> Option<(usize, usize, usize)> {
    let (act, n) = match block {
        Block::Affine(_) => return None,
        Block::Activation(act) => (act, width),
        Block::Residual { inner: w, activation, .. } | Block::Equilibrium { input: w, activation, .. } => {
            (activation, w.weight.nrows())
        }
    };
    let groups = n / act.group();
    Some(match act {
        Activation::Slope(s) if s.interval().0 == s.interval().1 => (0, 0, 0),
        Activation::Slope(_) if form == Form::Layer => (n, n, 1),
        Activation::Slope(_) => (n, n, n),
        Activation::MaxPool { windows: w } => (w.len(), w.iter().map(Vec::len).sum(), w.len()),
        _ if form == Form::Paper => (n, n, 2 * groups),
        Activation::GroupSort { .. } => (n - groups, n - groups, groups),
        Activation::Householder { .. } => (groups, groups, groups),
    })
}
