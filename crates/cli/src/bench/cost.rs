//! Time of a step, all methods measured in turn in one run.

use std::time::Instant;

use anyhow::Result;
use thalweg::adahessian::AdaHessian;
use thalweg::core::{Method, Problem, Seed};
use thalweg::optim::Sgd;
use thalweg::train::{Sampling, Training};

use crate::task::Task;
use crate::train::Job;

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

/// Rounds that the medians are taken over.
const ROUNDS: usize = 9;

/// Measures SGD and AdaHessian with refreshes every 1 to `most` steps, in turn.
pub fn measure(task: &Task, model: &str, batch: usize, most: u64) -> Result<Cost> {
    let sampling = Sampling { batch, seed: Seed(1), ..Sampling::default() };
    let job = Job::plain(task, None, sampling, 0)?;
    let mut sgd = Stepper::new(Sgd { lr: 0.01, ..Sgd::default() }, job.training()?)?;
    let hessian = |every| AdaHessian { lr: 0.01, hessian_every: every, ..AdaHessian::default() };
    let mut ada =
        (1..=most).map(|n| Stepper::new(hessian(n), job.training()?)).collect::<Result<Vec<_>>>()?;
    // Workspaces are made in the first steps.
    sgd.time(2)?;
    ada.iter_mut().zip(1..).try_for_each(|(a, n)| a.time(n).map(drop))?;
    let mut times = vec![Vec::new(); 1 + ada.len()];
    for _ in 0..ROUNDS {
        times[0].push(sgd.time(4)?);
        for (i, a) in ada.iter_mut().enumerate() {
            // Whole periods, about four steps.
            let n = i + 1;
            times[n].push(a.time((n * 4_usize.div_ceil(n)) as u64)?);
        }
    }
    let median = |t: &mut Vec<f64>| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    };
    let sgd = median(&mut times[0]);
    Ok(Cost { model: model.into(), sgd, every: times[1..].iter_mut().map(median).collect() })
}

/// A method in the middle of its run.
struct Stepper<'a, M: Method<Training<'a>>> {
    method: M,
    training: Training<'a>,
    state: M::State,
    t: u64,
}

impl<'a, M: Method<Training<'a>>> Stepper<'a, M> {
    fn new(method: M, mut training: Training<'a>) -> Result<Self> {
        let state = method.init(&mut training, Seed(1))?;
        Ok(Self { method, training, state, t: 0 })
    }

    /// Makes `steps` steps; seconds per step.
    fn time(&mut self, steps: u64) -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..steps {
            self.training.begin_step(self.t)?;
            self.method.step(&mut self.training, &mut self.state)?;
            self.training.end_step()?;
            self.t += 1;
        }
        Ok(clock.elapsed().as_secs_f64() / steps as f64)
    }
}
