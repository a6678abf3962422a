//! The scale on which samples are fitted, and the way back.

use serde::{Deserialize, Serialize};

use crate::network::Neuron;
use crate::{ConvexError, Network, Samples};

/// Standardised features, a column of ones for the bias, all divided by √(d + 1): the scale on which
/// β, ε and ρ mean the same for every data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Standard deviation of each feature; 1 for a constant one, which becomes 0.
    pub deviation: Vec<f64>,
}

/// A two-layer network on raw features, as common tools store it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// First weight, `[m, d]` row-major.
    pub weight: Vec<f64>,
    /// First bias, `[m]`.
    pub bias: Vec<f64>,
    /// Second weight, `[outputs, m]` row-major.
    pub output: Vec<f64>,
}

impl Scaling {
    /// Of raw samples.
    pub fn of(raw: &Samples) -> Self {
        let (n, d) = (raw.n() as f64, raw.d());
        let mean: Vec<f64> = (0..d).map(|j| raw.rows().map(|x| x[j]).sum::<f64>() / n).collect();
        let spread = |j: usize| (raw.rows().map(|x| (x[j] - mean[j]).powi(2)).sum::<f64>() / n).sqrt();
        let size = |j: usize| mean[j].abs().max(f64::MIN_POSITIVE);
        let deviation = (0..d).map(|j| if spread(j) > 1e-12 * size(j) { spread(j) } else { 1.0 }).collect();
        Self { mean, deviation }
    }

    fn root(&self) -> f64 {
        (self.mean.len() as f64 + 1.0).sqrt()
    }

    /// Scaled samples of one feature more, the constant.
    ///
    /// # Errors
    /// Another number of features.
    pub fn apply(&self, raw: &Samples) -> Result<Samples, ConvexError> {
        ConvexError::check("features", raw.d(), self.mean.len())?;
        let one = |x: &[f64]| -> Vec<f64> {
            let scaled = x.iter().enumerate().map(|(j, x)| (x - self.mean[j]) / self.deviation[j]);
            scaled.chain([1.0]).map(|z| z / self.root()).collect()
        };
        Samples::new(raw.rows().flat_map(one).collect(), raw.d() + 1)
    }

    /// The network on raw features: scaling folded into the first layer, the constant's weight into
    /// its bias, a linear part into two neurons an output.
    ///
    /// # Errors
    /// A network of another number of features.
    pub fn fold(&self, network: &Network) -> Result<Layers, ConvexError> {
        network.check(self.mean.len() + 1)?;
        let network = network.without_linear_part();
        let (d, m) = (self.mean.len(), network.neurons.len());
        let mut layers =
            Layers { weight: Vec::new(), bias: Vec::new(), output: vec![0.0; network.outputs * m] };
        for (j, neuron) in network.neurons.iter().enumerate() {
            let own = |i: usize| neuron.weights[i] / (self.deviation[i] * self.root());
            layers.weight.extend((0..d).map(own));
            let shift: f64 = (0..d).map(|i| own(i) * self.mean[i]).sum();
            layers.bias.push(neuron.weights[d] / self.root() - shift);
            layers.output[neuron.output * m + j] = neuron.scale;
        }
        Ok(layers)
    }
}

/// The network as layers without bias, for data of `d` features that bring their own constant.
///
/// # Errors
/// A network of another number of features.
pub fn plain_layers(network: &Network, d: usize) -> Result<Layers, ConvexError> {
    network.check(d)?;
    let scaling = Scaling { mean: vec![0.0; d], deviation: vec![1.0; d] };
    let root = scaling.root();
    let lifted = |mut n: Neuron| {
        n.weights.iter_mut().for_each(|w| *w *= root);
        n.weights.push(0.0);
        n
    };
    let neurons = network.without_linear_part().neurons.into_iter().map(lifted).collect();
    scaling.fold(&Network { neurons, linear_part: None, outputs: network.outputs })
}
