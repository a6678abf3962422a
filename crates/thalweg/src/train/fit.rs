use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Title of a progress bar on a terminal.
    pub bar: Option<String>,
    /// Files of the run.
    pub saving: Option<Saving>,
    /// Stop at the next step after Ctrl-C.
    pub interruptible: bool,
    /// Settings that a resumed run must share, beside the method's.
    pub configuration: Value,
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
    let bar = plan.bar.as_ref().map(|title| Bar::new(title, Some(plan.steps)));
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
    if let Some(test) = plan.test {
        run = run.each(epoch, move |tick, training| {
            let Score { accuracy, loss, .. } =
                score(training.net(), tick.state.theta(), training.buffers(), test)?;
            tick.note("test_loss", loss);
            if let Some(accuracy) = accuracy {
                tick.note("test_accuracy", accuracy);
            }
            tick.note("train_loss", training.train_loss().unwrap_or(f64::NAN));
            Ok(ControlFlow::Continue(()))
        });
    }
    if let Some(saving) = &plan.saving {
        let (path, every) = (saving.checkpoint.clone(), saving.every);
        run = run
            .observe(Recorder::new(&saving.metrics, plan.steps.div_ceil(RECORDS).max(1)))
            .checkpoint(Checkpointer { path, every });
        if saving.resume {
            run = run.resume(&saving.checkpoint)?;
        }
    }
    run.run()
}
