use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use thalweg_core::{Bar, Checkpointer, Every, Iterate, Method, Outcome, Recorder, Run, RunError, Seed, Stop};

use super::{Examples, Score, Training, score};

/// How long to train, what to watch, what to write.
#[derive(Default)]
pub struct Plan<'a> {
    /// Steps to make.
    pub steps: u64,
    /// Where the method's own randomness comes from.
    pub seed: Seed,
    /// Upper bound on the time.
    pub time: Option<Duration>,
    /// Scored after every epoch, recorded as `test_loss` and `test_accuracy`.
    pub test: Option<&'a Examples>,
    /// Filled with the scores after every epoch.
    pub curve: Option<&'a RefCell<Vec<Epoch>>>,
    /// Title of a progress bar on a terminal.
    pub bar: Option<String>,
    /// Files of the run.
    pub saving: Option<Saving>,
    /// Stop at the next step after Ctrl-C.
    pub interruptible: bool,
    /// Settings that a resumed run must share, beside the method's.
    pub configuration: Value,
}

/// State of a training after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Steps made.
    pub step: u64,
    /// Time of the steps, without tests and files.
    pub seconds: f64,
    /// Mean loss of the last whole epoch's mini-batches.
    pub train_loss: f64,
    /// Loss on the test part.
    pub test_loss: f64,
    /// Share of right classes on the test part; none for real targets.
    pub test_accuracy: Option<f64>,
}

/// Files of a run.
#[derive(Clone, Debug)]
pub struct Saving {
    /// JSON lines, one per recorded step.
    pub metrics: PathBuf,
    /// Checkpoint, replaced atomically.
    pub checkpoint: PathBuf,
    /// How often.
    pub every: Every,
    /// Continue from the checkpoint.
    pub resume: bool,
}

/// Records kept of a run, about.
const RECORDS: u64 = 2000;

/// Trains until the plan says stop. The solution is the last iterate.
///
/// Of several ranks that train together ([`Training::distributed`]) the first alone tests, shows a
/// bar and writes files; all of them resume from the same checkpoint.
pub fn fit<'a, M>(
    method: &M,
    training: &mut Training<'a>,
    plan: &Plan<'_>,
) -> Result<Outcome<Vec<f32>>, RunError>
where
    M: Method<Training<'a>, Solution = Vec<f32>>,
    M::State: Iterate<f32>,
{
    let epoch = training.steps_per_epoch();
    let first = training.collective().rank() == 0;
    let bar = plan.bar.as_ref().filter(|_| first).map(|title| Bar::new(title, Some(plan.steps)));
    let mut run = Run::new(method, training)
        .seed(plan.seed)
        .configuration(&plan.configuration)
        .stop(Stop::Steps(plan.steps))
        .observe(bar);
    if let Some(time) = plan.time {
        run = run.stop(Stop::Time(time));
    }
    if plan.interruptible {
        run = run.stop(Stop::Interrupt);
    }
    if let Some(test) = plan.test.filter(|_| first) {
        run = run.each(epoch, move |tick, training| {
            let Score { accuracy, loss, .. } =
                score(training.net(), tick.state.theta(), training.buffers(), test)?;
            tick.note("test_loss", loss);
            if let Some(accuracy) = accuracy {
                tick.note("test_accuracy", accuracy);
            }
            let train_loss = training.train_loss().unwrap_or(f64::NAN);
            tick.note("train_loss", train_loss);
            if let Some(curve) = plan.curve {
                let seconds = training.stepping().as_secs_f64();
                let (step, test_loss, test_accuracy) = (tick.step, loss, accuracy);
                curve.borrow_mut().push(Epoch { step, seconds, train_loss, test_loss, test_accuracy });
            }
            Ok(ControlFlow::Continue(()))
        });
    }
    if let Some(saving) = &plan.saving {
        if first {
            let (path, every) = (saving.checkpoint.clone(), saving.every);
            run = run
                .observe(Recorder::new(&saving.metrics, plan.steps.div_ceil(RECORDS).max(1)))
                .checkpoint(Checkpointer { path, every });
        }
        if saving.resume {
            run = run.resume(&saving.checkpoint)?;
        }
    }
    run.run()
}
