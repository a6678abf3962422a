use std::time::{Duration, Instant};

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use thalweg_comm::Collective;
use thalweg_core::{LayerStats, Layered, Layout, MethodError, Objective, Problem, Seed, StopReason};
use thalweg_net::{Gather, Mode, Net, NetError, Pass};

use super::ranks::Ranks;
use super::{Augment, Examples, Minibatch, TrainError};

/// How mini-batches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Examples per mini-batch, of all ranks together, at least 1; more than there are means all.
    /// Default 128.
    pub batch: usize,
    /// Where order, dropout and augmentation come from.
    pub seed: Seed,
    /// Random changes of training images. Default none.
    pub augment: Augment,
    /// Parts in which a mini-batch goes through the network one after the other, at least 1 and at most its
    /// examples: the memory of one part, the derivatives of the whole. Batch normalisation sees each part by
    /// itself. Default 1.
    pub accumulate: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { batch: 128, seed: Seed(0), augment: Augment::default(), accumulate: 1 }
    }
}

/// Mean loss of a network over mini-batches of examples: the objective of training.
///
/// Each epoch goes once through a fresh random order of the examples and leaves out the last,
/// incomplete mini-batch; texts draw random windows instead. Order, dropout masks and augmentation
/// depend on the seed and the step alone, so that a resumed run sees what the uninterrupted one
/// does. Running statistics move once per step.
pub struct Training<'a> {
    net: &'a Net<f32>,
    theta: Vec<f32>,
    examples: &'a Examples,
    sampling: Sampling,
    pass: Pass<f32>,
    ranks: Ranks<'a>,
    /// This rank's share.
    minibatch: Minibatch,
    /// Epoch and order of its examples.
    order: Option<(u64, Vec<usize>)>,
    step: u64,
    began: Option<Instant>,
    saved: Saved,
}

/// What a resumed run needs beside the method's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    buffers: Vec<f32>,
    /// Time spent in steps, without tests and files.
    stepping: Duration,
    /// Sum of the losses of the current epoch's mini-batches, and their number.
    losses: (f64, u64),
    /// Mean loss of the last whole epoch.
    last_epoch: Option<f64>,
}

impl<'a> Training<'a> {
    /// The objective of training `net` from `theta` and the running statistics `buffers`.
    pub fn new(
        net: &'a Net<f32>,
        theta: Vec<f32>,
        buffers: Vec<f32>,
        examples: &'a Examples,
        mut sampling: Sampling,
    ) -> Result<Self, TrainError> {
        if net.input_shape() != examples.shape() {
            let (model, data) = (net.input_shape().to_vec(), examples.shape().to_vec());
            return Err(TrainError::Shape { model, data });
        }
        if sampling.batch == 0 {
            return Err(TrainError::Batch(0));
        }
        if sampling.augment != Augment::default() && examples.shape().len() != 3 {
            return Err(TrainError::Augment(examples.shape().to_vec()));
        }
        sampling.batch = sampling.batch.min(examples.len());
        let (accumulate, batch) = (sampling.accumulate, sampling.batch);
        if !(1..=batch).contains(&accumulate) {
            return Err(TrainError::Accumulate { accumulate, batch });
        }
        let saved = Saved { buffers, ..Saved::default() };
        let (pass, ranks, minibatch) = Default::default();
        let (order, step, began) = Default::default();
        Ok(Self { net, theta, examples, sampling, pass, ranks, minibatch, order, step, began, saved })
    }

    /// Shares every mini-batch among the ranks of `collective`, all of which must be set up alike:
    /// each takes its contiguous part, and loss, gradient, Hessian-vector products and running
    /// statistics are means over all of them. Every rank thus makes the steps of a single process,
    /// but for the order of additions; checkpoints fit any number of ranks.
    ///
    /// As in PyTorch's `DistributedDataParallel`, batch normalisation sees the statistics of each
    /// share alone, and each share draws its own dropout masks. Ranks stop together, for the reason
    /// of the first that has one.
    ///
    /// ```
    /// # use {thalweg_comm as comm, thalweg_data as data, thalweg_net as net};
    /// # use {thalweg_core::Seed, thalweg_optim::Sgd, thalweg_tasks::train::*};
    /// # let (data, _) = data::digits();
    /// # let examples = Examples::set(data.clone(), &standardize(&data))?;
    /// # let net = net::Net::new(net::named("mlp:64-10", examples.shape(), 10)?)?;
    /// # let (theta, buffers) = net::initial(net.graph(), &net::Init::default(), Seed(1))?;
    /// let mut world = comm::world()?; // all processes, where mpirun started this program
    /// let training = Training::new(&net, theta, buffers, &examples, Sampling::default())?;
    /// let mut training = training.distributed(world.collective())?;
    /// run(&Sgd::default(), &mut training, &Plan { steps: 5, ..Plan::default() })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn distributed(mut self, collective: impl Collective + 'a) -> Result<Self, TrainError> {
        let (batch, ranks) = (self.sampling.batch, collective.size());
        if batch < ranks {
            return Err(TrainError::Ranks { batch, ranks });
        }
        self.ranks.collective = Box::new(collective);
        Ok(self)
    }

    /// The ranks that train together: one, unless [`Training::distributed`] was called.
    pub fn collective(&mut self) -> &mut (dyn Collective + 'a) {
        &mut *self.ranks.collective
    }

    /// Mini-batches per epoch, at least 1.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.examples.len() / self.sampling.batch).max(1) as u64
    }

    /// The network.
    pub fn net(&self) -> &'a Net<f32> {
        self.net
    }

    /// The running statistics.
    pub fn buffers(&self) -> &[f32] {
        &self.saved.buffers
    }

    /// Time spent in steps, also before a resume; tests and files do not count.
    pub fn stepping(&self) -> Duration {
        self.saved.stepping
    }

    /// Mean loss of the last whole epoch's mini-batches, or of those seen so far in the first.
    pub fn train_loss(&self) -> Option<f64> {
        let (sum, n) = self.saved.losses;
        self.saved.last_epoch.or((n > 0).then(|| sum / n as f64))
    }

    /// Where the examples of step `t` start.
    fn places(&mut self, t: u64) -> Vec<usize> {
        let (batch, seed, n) = (self.sampling.batch, self.sampling.seed, self.examples.places());
        if self.examples.is_text() {
            let mut rng = seed.stream("windows", t);
            return (0..batch).map(|_| rng.random_range(0..n)).collect();
        }
        let (epoch, first) = (t / self.steps_per_epoch(), (t % self.steps_per_epoch()) as usize * batch);
        let order = match self.order.take() {
            Some((e, order)) if e == epoch => order,
            _ => {
                let mut order: Vec<usize> = (0..n).collect();
                order.shuffle(&mut seed.stream("order", epoch));
                order
            }
        };
        let places = order[first..first + batch].to_vec();
        self.order = Some((epoch, order));
        places
    }

    /// Loss and derivatives of this rank's share become those of the whole mini-batch.
    fn averaged<'o>(
        &mut self,
        value: Result<f64, NetError>,
        derivatives: impl IntoIterator<Item = &'o mut [f32]>,
    ) -> Result<f64, MethodError> {
        let (weight, mut value) = (self.ranks.loss, [value?]);
        self.ranks.mean_f64(weight, &mut value)?;
        derivatives.into_iter().try_for_each(|x| self.ranks.mean(weight, x))?;
        Ok(value[0])
    }

    /// [`Training::averaged`], noted for the mean loss of the epoch.
    fn seen<'o>(
        &mut self,
        value: Result<f64, NetError>,
        derivatives: impl IntoIterator<Item = &'o mut [f32]>,
    ) -> Result<f64, MethodError> {
        let value = self.averaged(value, derivatives)?;
        self.saved.losses.0 += value;
        self.saved.losses.1 += 1;
        Ok(value)
    }

    fn mode(&self) -> Mode {
        // The engine draws masks from the start of what it is given: ranks need seeds of their own.
        let rank = self.ranks.collective.rank() as u64;
        Mode::Train { seed: Seed(self.sampling.seed.0 ^ rank << 32), step: self.step }
    }
}

impl Problem for Training<'_> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.began = Some(Instant::now());
        self.step = t;
        let places = self.places(t);
        let share = self.ranks.share(places.len());
        let (augment, minibatch) = (self.sampling.augment, &mut self.minibatch);
        if augment == Augment::default() {
            self.examples.gather(&places[share], None, minibatch);
        } else {
            let mut rng = self.sampling.seed.stream("augment", t);
            // Each example is changed as in a single process: the ranks before draw first.
            for part in [&places[..share.start], &places[share]] {
                self.examples.gather(part, Some((augment, &mut rng)), minibatch);
            }
        }
        let labels = self.minibatch.labels();
        if let Some(weights) = self.net.loss.class_weights.as_ref().filter(|_| !labels.is_empty()) {
            let weight = |&label: &u32| weights.get(label as usize).copied().unwrap_or(0.0);
            self.ranks.weigh_loss(labels.iter().map(weight).sum())?;
        }
        Ok(())
    }

    fn end_step(&mut self) -> Result<(), MethodError> {
        let mut moved = self.saved.buffers.clone();
        self.pass.update_running(self.net, &mut moved);
        self.ranks.mean(self.ranks.examples, &mut moved)?;
        // A step that overflowed is skipped by the method and must not spoil the statistics.
        if moved.iter().all(|x| x.is_finite()) {
            self.saved.buffers = moved;
        }
        if (self.step + 1).is_multiple_of(self.steps_per_epoch()) {
            let (sum, n) = std::mem::take(&mut self.saved.losses);
            self.saved.last_epoch = Some(sum / n as f64);
        }
        self.saved.stepping += self.began.take().map_or(Duration::ZERO, |b| b.elapsed());
        Ok(())
    }

    fn agree(&mut self, stop: Option<StopReason>) -> Result<Option<StopReason>, MethodError> {
        self.ranks.agree(stop)
    }

    fn save(&self) -> Vec<u8> {
        // Numbers in memory always serialise.
        postcard::to_stdvec(&self.saved).unwrap_or_default()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        let saved: Saved = postcard::from_bytes(saved).map_err(|e| MethodError::Problem(Box::new(e)))?;
        MethodError::check_length("the saved statistics", saved.buffers.len(), self.net.buffers().len())?;
        self.saved = saved;
        Ok(())
    }
}

impl Objective for Training<'_> {
    type Scalar = f32;

    fn layout(&self) -> &Layout {
        self.net.layout()
    }

    fn start(&mut self) -> Result<Vec<f32>, MethodError> {
        Ok(self.theta.clone())
    }

    fn value_grad(&mut self, theta: &[f32], grad: &mut [f32]) -> Result<f64, MethodError> {
        self.value_grad_hvp(theta, grad, &[], &mut [])
    }

    fn value_grad_hvp(
        &mut self,
        theta: &[f32],
        grad: &mut [f32],
        probes: &[Vec<f32>],
        products: &mut [Vec<f32>],
    ) -> Result<f64, MethodError> {
        let (mode, parts) = (self.mode(), self.minibatch.parts(self.sampling.accumulate));
        let probes: Vec<&[f32]> = probes.iter().map(Vec::as_slice).collect();
        let (net, pass, buffers) = (self.net, &mut self.pass, &self.saved.buffers);
        let value = match &parts[..] {
            [all] if probes.is_empty() => pass.loss_grad(net, theta, buffers, all, mode, grad),
            [all] => pass.loss_grad_hvp(net, theta, buffers, all, mode, grad, &probes, products),
            parts => pass.loss_grad_hvp_pieces(net, theta, buffers, parts, mode, grad, &probes, products),
        };
        self.seen(value, std::iter::once(grad).chain(products.iter_mut().map(Vec::as_mut_slice)))
    }

    fn value(&mut self, theta: &[f32]) -> Result<f64, MethodError> {
        let (mode, parts) = (self.mode(), self.minibatch.parts(self.sampling.accumulate));
        let (net, pass, buffers) = (self.net, &mut self.pass, &self.saved.buffers);
        let value = match &parts[..] {
            [all] => pass.loss(net, theta, buffers, all, mode),
            parts => {
                let mut unused = vec![0.0; theta.len()];
                pass.loss_grad_hvp_pieces(net, theta, buffers, parts, mode, &mut unused, &[], &mut [])
            }
        };
        self.averaged(value, [])
    }
}

impl Layered for Training<'_> {
    fn value_grad_layers(
        &mut self,
        theta: &[f32],
        grad: &mut [f32],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        self.pass.gather = if moments { Gather::Moments } else { Gather::Means };
        let value = self.value_grad(theta, grad);
        self.pass.gather = Gather::Nothing;
        let value = value?;
        *stats = self.pass.take_stats();
        self.ranks.mean_stats(stats)?;
        Ok(value)
    }
}
