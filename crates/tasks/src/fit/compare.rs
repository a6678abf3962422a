//! Training by gradients on the objective that the convex program solves.

use std::time::{Duration, Instant};

use serde::Serialize;
use thalweg_convex_relu::Network;
use thalweg_convex_relu::attack::Attack;
use thalweg_convex_relu::baselines::{Training, linear};
use thalweg_core::{Objective, Run, Stop};
use thalweg_optim::{Adam, Sgd};

use super::Data;
use super::job::Job;
use super::words::Baseline;
use crate::error::bail;
use crate::{Context, Result};

/// Steps of each; adversarial ones take ten times as long.
const STEPS: u64 = 2000;

/// Where a baseline ended.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub method: Baseline,
    /// The network's own objective; of the linear model its loss and (β/2)‖c‖².
    pub objective: f64,
    /// Share of right classes on the test part, if there is one; none for numbers.
    pub test_accuracy: Option<f64>,
    /// Root of the mean squared error on the test part, if there is one; none for classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rmse: Option<f64>,
    /// Time of training and scoring.
    pub seconds: f64,
}

impl Row {
    /// Whether it is a two-layer network with the objective of the plain program.
    pub(super) fn is_network(&self) -> bool {
        matches!(self.method, Baseline::Adam | Baseline::Sgd)
    }
}

impl Job<'_> {
    /// Refuses comparisons that cannot be made.
    pub fn check_baselines(&self) -> Result<()> {
        let Some(names) = &self.settings.compare else { return Ok(()) };
        if self.data.outputs() > 1 {
            bail!("`compare` is for one output; leave it out");
        }
        if names.contains(&Baseline::Pgd) && self.eps.is_none() {
            bail!("pgd needs the boxes; set `adversarial` to eps=E");
        }
        Ok(())
    }

    /// Trains each of the baselines that are asked for, with `hidden` neurons.
    pub fn compare(&self, beta: f64, hidden: usize) -> Result<Option<Vec<Row>>> {
        let Some(names) = &self.settings.compare else { return Ok(None) };
        names.iter().map(|name| self.baseline(*name, beta, hidden)).collect::<Result<_>>().map(Some)
    }

    fn baseline(&self, name: Baseline, beta: f64, hidden: usize) -> Result<Row> {
        let (x, y, clock) = (&self.data.train, &self.data.y, Instant::now());
        let network = match name {
            Baseline::Linear => linear(x, y, self.loss, beta)?,
            _ => self.descend(name, beta, hidden)?,
        };
        self.heed()?;
        let test = self.data.test.as_ref();
        let classes = self.data.classifies(self.loss);
        let of_classes = test.filter(|_| classes).map(|(x, y)| network.accuracy(x, y));
        let of_numbers = test.filter(|_| !classes).map(|(x, y)| Data::errors(&network, x, y));
        let ridge = network.linear_part.iter().flatten().map(|c| 0.5 * beta * c * c).sum::<f64>();
        Ok(Row {
            method: name,
            objective: network.objective(x, y, self.loss, beta)? + ridge,
            test_accuracy: of_classes.transpose()?,
            test_rmse: of_numbers.transpose()?.map(|errors| errors.rmse),
            seconds: clock.elapsed().as_secs_f64(),
        })
    }

    fn descend(&self, name: Baseline, beta: f64, hidden: usize) -> Result<Network> {
        let seed = self.settings.seed();
        let mut training = Training::new(&self.data.train, &self.data.y, self.loss, beta, hidden, seed)?;
        let mut steps = STEPS;
        if name == Baseline::Pgd {
            let eps = self.eps.clone().context("pgd needs the boxes; set `adversarial` to eps=E")?;
            training = training.attacked(Attack { eps, loss: self.loss }, 10);
            steps /= 10;
        }
        let (steps, interrupt) = (Stop::Steps(steps), self.host.interrupt.clone());
        let time = Stop::Time(self.left().unwrap_or(Duration::MAX));
        let problem = &mut training as &mut dyn Objective<Scalar = f64>;
        let theta = if name == Baseline::Sgd {
            let method = Sgd { lr: 1e-3, momentum: 0.9, ..Sgd::default() };
            Run::new(&method, problem).stop(steps).stop(time).interrupt(interrupt).run()?.solution
        } else {
            let method = Adam { lr: 0.01, ..Adam::default() };
            Run::new(&method, problem).stop(steps).stop(time).interrupt(interrupt).run()?.solution
        };
        Ok(training.network(&theta))
    }
}
