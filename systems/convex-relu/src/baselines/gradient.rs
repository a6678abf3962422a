//! The non-convex objective for training by gradients.

use thalweg_core::{Invalid, Kind, Layout, MethodError, Objective, Problem, Seed, normal};

use crate::attack::Attack;
use crate::network::Neuron;
use crate::samples::{add, dot};
use crate::{ConvexError, Loss, Network, Samples};

/// The non-convex objective ℓ(Σ_j (Xu_j)₊ α_j, y) + (β/2) Σ (‖u_j‖² + α_j²) of one output as a function
/// of all weights, for SGD, Adam and their like; with an attack, the loss at attacked samples.
pub struct Training<'a> {
    samples: &'a Samples,
    y: &'a [f64],
    loss: Loss,
    beta: f64,
    hidden: usize,
    seed: Seed,
    attack: Option<(Attack, u32)>,
    batch: usize,
    step: u64,
    layout: Layout,
}

impl<'a> Training<'a> {
    /// With `hidden` neurons, started from N(0, 1/d) and N(0, 1/hidden).
    ///
    /// # Errors
    /// Targets that the loss does not know or of another number, no neuron.
    pub fn new(
        samples: &'a Samples,
        y: &'a [f64],
        loss: Loss,
        beta: f64,
        hidden: usize,
        seed: Seed,
    ) -> Result<Self, ConvexError> {
        ConvexError::check("targets", y.len(), samples.n())?;
        Invalid::count("hidden", hidden)?;
        loss.check(y)?;
        let mut layout = Layout::default();
        layout.push("hidden.weight", &[hidden, samples.d()], Kind::Linear);
        layout.push("output.weight", &[1, hidden], Kind::Linear);
        Ok(Self { samples, y, loss, beta, hidden, seed, attack: None, batch: samples.n(), step: 0, layout })
    }

    /// Adversarial training: every gradient is taken at the points of PGD with so many steps.
    pub fn attacked(mut self, attack: Attack, steps: u32) -> Self {
        self.attack = Some((attack, steps));
        self
    }

    /// Mini-batches of so many samples, drawn by the seed, the loss scaled up to all samples.
    pub fn batches(mut self, size: usize) -> Self {
        self.batch = size.clamp(1, self.samples.n());
        self
    }

    /// The network of these weights.
    pub fn network(&self, theta: &[f64]) -> Network {
        let d = self.samples.d();
        let (u, alpha) = theta.split_at(self.hidden * d);
        let neuron = |(u, a): (&[f64], &f64)| Neuron { weights: u.to_vec(), scale: *a, output: 0 };
        Network { neurons: u.chunks(d).zip(alpha).map(neuron).collect(), linear_part: None, outputs: 1 }
    }

    fn chosen(&self) -> Vec<usize> {
        use rand::seq::index::sample;
        let n = self.samples.n();
        if self.batch == n {
            return (0..n).collect();
        }
        sample(&mut self.seed.stream("batch", self.step), n, self.batch).into_vec()
    }
}

impl Problem for Training<'_> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.step = t;
        Ok(())
    }
}

impl Objective for Training<'_> {
    type Scalar = f64;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        let d = self.samples.d();
        let mut theta = vec![0.0; self.layout.len()];
        normal(&mut self.seed.stream("start", 0), &mut theta);
        let (u, alpha) = theta.split_at_mut(self.hidden * d);
        u.iter_mut().for_each(|u| *u /= (d as f64).sqrt());
        alpha.iter_mut().for_each(|a| *a /= (self.hidden as f64).sqrt());
        Ok(theta)
    }

    fn value_grad(&mut self, theta: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        let d = self.samples.d();
        let chosen = self.chosen();
        let share = self.samples.n() as f64 / chosen.len() as f64;
        let network = self.attack.is_some().then(|| self.network(theta));
        let (u, alpha) = theta.split_at(self.hidden * d);
        grad.iter_mut().zip(theta).for_each(|(g, t)| *g = self.beta * t);
        let (du, dalpha) = grad.split_at_mut(self.hidden * d);
        let mut value = 0.5 * self.beta * dot(theta, theta);
        for k in chosen {
            let moved = self.attack.as_ref().zip(network.as_ref()).map(|((attack, steps), network)| {
                let mut rng = self.seed.stream("attack", self.step << 20 | k as u64);
                attack.pgd(network, self.samples.row(k), &self.y[k..=k], *steps, &mut rng)
            });
            let x = moved.as_deref().unwrap_or(self.samples.row(k));
            let heights: Vec<f64> = u.chunks(d).map(|u| dot(u, x)).collect();
            let f: f64 = heights.iter().zip(alpha).map(|(h, a)| h.max(0.0) * a).sum();
            value += share * self.loss.one(f, self.y[k]);
            let slope = share * self.loss.slope(f, self.y[k]);
            for j in (0..self.hidden).filter(|&j| heights[j] > 0.0) {
                add(&mut du[j * d..][..d], slope * alpha[j], x);
                dalpha[j] += slope * heights[j];
            }
        }
        Ok(value)
    }
}
