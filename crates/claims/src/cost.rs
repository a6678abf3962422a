//! Cost of AdaHessian's step beside SGD's.

use anyhow::Result;
use thalweg::adahessian::AdaHessian;
use thalweg::core::Seed;
use thalweg::optim::Sgd;
use thalweg::tasks::source::Prepared;
use thalweg::train::{Job, Sampling};

use crate::measure::{in_turn, stepper};

/// Times of one model in seconds per step.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Cost {
    /// Architecture.
    pub model: String,
    /// SGD's step.
    pub sgd: f64,
    /// AdaHessian's step with the curvature refreshed every 1, 2, … steps.
    pub every: Vec<f64>,
}

impl Cost {
    /// Ratio to SGD at a refresh every `n` steps.
    pub fn ratio(&self, n: usize) -> f64 {
        self.every[n - 1] / self.sgd
    }

    /// What the ratio should be if only refreshes cost: 1 + (c − 1)/n.
    pub fn expected(&self, n: usize) -> f64 {
        1.0 + (self.ratio(1) - 1.0) / n as f64
    }
}

/// Measures SGD and AdaHessian with refreshes every 1 to `most` steps, in turn.
pub fn measure(task: &Prepared, model: &str, batch: usize, most: u64) -> Result<Cost> {
    let sampling = Sampling { batch, seed: Seed(1), ..Sampling::default() };
    let job = Job::plain(task, None, sampling, 0)?;
    let mut methods = vec![(stepper(Sgd { lr: 0.01, ..Sgd::default() }, job.training()?)?, 4)];
    for every in 1..=most {
        let method = AdaHessian { lr: 0.01, hessian_every: every, ..AdaHessian::default() };
        // Whole periods, about four steps.
        methods.push((stepper(method, job.training()?)?, every * 4_u64.div_ceil(every)));
    }
    let times = in_turn(&mut methods)?;
    Ok(Cost { model: model.into(), sgd: times[0], every: times[1..].to_vec() })
}
