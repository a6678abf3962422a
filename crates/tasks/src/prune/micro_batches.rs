//! Pruning of trained networks: what [`thalweg_mfac::ObsPruner`] wants to know of them.

use rand::Rng;
use rand::seq::SliceRandom;
use thalweg_core::{MethodError, Seed};
use thalweg_mfac::GradientSource;
use thalweg_mfac::prune::Layer;
use thalweg_net::{FlatGrads, Mode, Net, NetError, Pass};

use crate::train::{Examples, Minibatch};

/// Losses and gradients of random micro-batches of examples in evaluation mode, without
/// augmentation. Each round draws afresh; no example comes twice before all came once.
pub struct MicroBatches<'a> {
    net: Net<f32>,
    buffers: Vec<f32>,
    examples: &'a Examples,
    size: usize,
    seed: Seed,
    workspace: FlatGrads<f32>,
    first: First,
}

/// What the first round gave at some parameters: often the start of several sparsities and methods.
#[derive(Default)]
struct First {
    theta: Vec<f32>,
    loss: Option<(usize, f64)>,
    gradients: Option<Gradients>,
}

struct Gradients {
    alive: Vec<usize>,
    rows: Vec<Vec<f32>>,
    losses: Vec<f64>,
}

/// Numbers that the first round may keep: 512 MiB.
const KEPT: usize = 1 << 27;

/// Micro-batches that are held in memory at the same time.
const AT_ONCE: usize = 16;

impl<'a> MicroBatches<'a> {
    /// Micro-batches of `size` examples (at least 1; more than there are means all) for a network
    /// with the running statistics `buffers`, of which `layers` are to be pruned.
    pub fn new(
        net: &Net<f32>,
        buffers: Vec<f32>,
        examples: &'a Examples,
        layers: &[Layer],
        size: usize,
        seed: Seed,
    ) -> Result<Self, NetError> {
        let mut own = Net::new(net.graph().clone())?;
        // Only the gradients that are asked for are computed.
        for block in net.layout().blocks() {
            own.set_frozen(&block.name, !layers.iter().any(|l| l.name == block.name));
        }
        let (size, workspace) = (size.clamp(1, examples.len()), FlatGrads::default());
        Ok(Self { net: own, buffers, examples, size, seed, workspace, first: First::default() })
    }

    /// Goes on with other running statistics.
    pub fn set_buffers(&mut self, buffers: &[f32]) {
        if self.buffers != buffers {
            self.buffers = buffers.to_vec();
            self.first = First::default();
        }
    }

    /// The first `m` micro-batches of a round.
    fn batches(&self, m: usize, round: usize) -> impl Iterator<Item = Minibatch> + '_ {
        let mut rng = self.seed.stream("micro-batches", round as u64);
        let mut order = Vec::new();
        while order.len() < m * self.size {
            order.extend(shuffled(self.examples, &mut rng));
        }
        (0..m).map(move |k| minibatch(self.examples, &order[k * self.size..][..self.size]))
    }

    /// Mean loss of the first `m` micro-batches of a round.
    pub fn loss(&mut self, theta: &[f32], m: usize, round: usize) -> Result<f64, NetError> {
        let first = self.is_first(theta, round);
        if let Some((_, loss)) = self.first.loss.filter(|(count, _)| first && *count == m) {
            return Ok(loss);
        }
        let (mut pass, mut sum) = (Pass::default(), 0.0);
        for batch in self.batches(m, round) {
            sum += pass.loss(&self.net, theta, &self.buffers, &batch.batch(), Mode::Eval)?;
        }
        let loss = sum / m as f64;
        if first {
            self.first.loss = Some((m, loss));
        }
        Ok(loss)
    }

    /// Whether this is the first round at the parameters that are remembered; the first parameters
    /// that come are.
    fn is_first(&mut self, theta: &[f32], round: usize) -> bool {
        if self.first.theta.is_empty() {
            self.first.theta = theta.to_vec();
        }
        round == 0 && self.first.theta == theta
    }
}

impl GradientSource for MicroBatches<'_> {
    fn gradients(
        &mut self,
        theta: &[f32],
        alive: &[usize],
        round: usize,
        rows: &mut [&mut [f32]],
    ) -> Result<Vec<f64>, MethodError> {
        let first = self.is_first(theta, round);
        let fits = |g: &&Gradients| first && g.rows.len() == rows.len() && g.alive == alive;
        if let Some(g) = self.first.gradients.as_ref().filter(fits) {
            rows.iter_mut().zip(&g.rows).for_each(|(to, from)| to.copy_from_slice(from));
            return Ok(g.losses.clone());
        }
        let mut batches = self.batches(rows.len(), round);
        let mut losses = Vec::new();
        for rows in rows.chunks_mut(AT_ONCE) {
            let some: Vec<Minibatch> = batches.by_ref().take(rows.len()).collect();
            let some: Vec<_> = some.iter().map(Minibatch::batch).collect();
            let (net, buffers) = (&self.net, &self.buffers);
            losses.extend(self.workspace.run(net, theta, buffers, &some, Mode::Eval, Some(alive), rows)?);
        }
        drop(batches);
        if first && rows.len() * alive.len() <= KEPT {
            let (alive, rows) = (alive.to_vec(), rows.iter().map(|r| r.to_vec()).collect());
            self.first.gradients = Some(Gradients { alive, rows, losses: losses.clone() });
        }
        Ok(losses)
    }
}

/// Running statistics of batch normalisation estimated afresh for the parameters `theta`, over at
/// most `most` examples in random order: pruning shifts them.
pub fn refreshed(
    net: &Net<f32>,
    theta: &[f32],
    examples: &Examples,
    most: usize,
    seed: Seed,
) -> Result<Vec<f32>, NetError> {
    const BATCH: usize = 128;
    let mut places = shuffled(examples, &mut seed.stream("statistics", 0));
    places.truncate(most.max(1));
    let inputs: Vec<Minibatch> = places.chunks(BATCH).map(|some| minibatch(examples, some)).collect();
    Pass::default().reestimate(net, theta, inputs.iter().map(|batch| batch.batch().x))
}

/// Where the examples lie, in random order.
fn shuffled(examples: &Examples, rng: &mut impl Rng) -> Vec<usize> {
    let mut places: Vec<usize> = (0..examples.len()).map(|i| examples.place(i)).collect();
    places.shuffle(rng);
    places
}

fn minibatch(examples: &Examples, places: &[usize]) -> Minibatch {
    let mut batch = Minibatch::default();
    examples.gather(places, None, &mut batch);
    batch
}
