//! Training by gradients on the objective that the convex program solves.

use anyhow::{Result, bail};
use serde::Serialize;
use thalweg::convex_relu::{Attack, Network, Training, linear};
use thalweg::core::{Objective, Run, Stop};
use thalweg::optim::{Adam, Sgd};

use super::Job;

/// Steps of each.
const STEPS: u64 = 2000;

/// Where a baseline ended.
#[derive(Serialize)]
pub struct Row {
    method: String,
    objective: f64,
    test_accuracy: Option<f64>,
    seconds: f64,
}

/// Trains each of the named baselines with `hidden` neurons.
pub fn run(job: &Job<'_>, names: &[String], beta: f64, hidden: usize) -> Result<Vec<Row>> {
    if job.data.outputs() > 1 {
        bail!("baselines are compared for one output; leave --compare out");
    }
    names.iter().map(|name| one(job, name, beta, hidden)).collect()
}

fn one(job: &Job<'_>, name: &str, beta: f64, hidden: usize) -> Result<Row> {
    let (x, y) = (&job.data.train, &job.data.y);
    let started = std::time::Instant::now();
    let network = if name == "linear" {
        linear(x, y, job.loss, beta)?
    } else {
        let mut training = Training::new(x, y, job.loss, beta, hidden, job.seed())?;
        if name == "pgd" {
            let Some(eps) = job.eps()? else { bail!("pgd needs the boxes; add --adversarial eps=E") };
            training = training.attacked(Attack { eps, loss: job.loss }, 10);
        }
        let theta = descend(name, &mut training)?;
        training.network(&theta)
    };
    let test_accuracy = match &job.data.test {
        Some((x, y)) => Some(network.accuracy(x, y)?),
        None => None,
    };
    let objective = score(&network, job, beta);
    Ok(Row { method: name.into(), objective, test_accuracy, seconds: started.elapsed().as_secs_f64() })
}

fn score(network: &Network, job: &Job<'_>, beta: f64) -> f64 {
    network.objective(&job.data.train, &job.data.y, job.loss, beta)
}

fn descend(name: &str, training: &mut Training<'_>) -> Result<Vec<f64>> {
    let steps = if name == "pgd" { STEPS / 10 } else { STEPS };
    let problem = training as &mut dyn Objective<Scalar = f64>;
    Ok(match name {
        "adam" | "pgd" => {
            let method = Adam { lr: 0.01, ..Adam::default() };
            Run::new(&method, problem).stop(Stop::Steps(steps)).run()?.solution
        }
        "sgd" => {
            let method = Sgd { lr: 1e-3, momentum: 0.9, ..Sgd::default() };
            Run::new(&method, problem).stop(Stop::Steps(steps)).run()?.solution
        }
        _ => bail!("there is no baseline `{name}`; use adam, sgd, pgd or linear"),
    })
}
