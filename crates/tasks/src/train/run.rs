use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use thalweg_core::{Every, Iterate, Method, MethodError, Outcome, Run, RunError, Seed};

use super::{Examples, Score, Training, score};
use crate::{Folder, Host};

/// How long to train, who looks on, what to write.
#[derive(Clone, Default)]
pub struct Plan<'a> {
    /// Steps to make.
    pub steps: u64,
    /// Where the method's own randomness comes from.
    pub seed: Seed,
    /// Scored after every epoch, recorded as `test_loss` and `test_accuracy`.
    pub test: Option<&'a Examples>,
    /// Filled with the scores after every epoch.
    pub curve: Option<&'a RefCell<Vec<Epoch>>>,
    /// Bar, interruption, time limit.
    pub host: Host,
    /// Where metrics and checkpoints go.
    pub folder: Option<&'a Folder>,
    /// Rhythm of checkpoints. Default 10 s.
    pub every: Option<Every>,
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

/// Records kept of a run, about.
const RECORDS: u64 = 2000;

/// Rhythm of checkpoints.
const EVERY: Every = Every::Time(Duration::from_secs(10));

/// Moves a method over the training until the plan says stop. The solution is the last iterate.
///
/// Of several ranks that train together ([`Training::distributed`]) the first alone tests, shows a
/// bar and writes files; all of them resume from the same checkpoint.
///
/// # Errors
/// What the run fails with.
pub fn run<'a, M>(
    method: &M,
    training: &mut Training<'a>,
    plan: &Plan<'_>,
) -> Result<Outcome<Vec<f32>>, RunError>
where
    M: Method<Training<'a>, Solution = Vec<f32>>,
    M::State: Iterate<f32>,
{
    let epoch = training.steps_per_epoch();
    let mut driver = plan.host.driver(method.name(), plan.folder);
    driver.steps = Some(plan.steps);
    driver.every = plan.every.unwrap_or(EVERY);
    driver.records = plan.steps.div_ceil(RECORDS).max(1);
    driver.configuration = plan.configuration.clone();
    driver.follows = training.collective().rank() != 0;
    // The first rank writes a checkpoint soon; all must have looked for the old one.
    let met = plan.folder.map_or(Ok(()), |_| training.collective().barrier());
    met.map_err(|e| RunError::Method { step: 0, source: MethodError::Problem(Box::new(e)) })?;
    let mut run = driver.dress(Run::new(method, training).seed(plan.seed))?;
    if let Some(test) = plan.test.filter(|_| !driver.follows) {
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
    run.run().inspect_err(|e| driver.give_up(e))
}
