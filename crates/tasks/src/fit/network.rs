//! From a fitted network to a saved model.

use serde_json::Value;
use thalweg_convex_relu::Network;
use thalweg_convex_relu::scaling::{Layers, plain_layers};
use thalweg_net::{Model, Preprocess, named};

use super::Data;
use crate::{Context, Result};

impl Data {
    /// The network as a model on raw data: of two classes with outputs −f and f, whose cross-entropy
    /// is log(1 + exp(−2yf)). `training` is what the model says of its training.
    ///
    /// # Errors
    /// A network of other data.
    pub fn model(&self, network: &Network, training: Value) -> Result<Model> {
        let mut layers = match &self.scaling {
            Some(scaling) => scaling.fold(network),
            None => plain_layers(network, self.train.d()),
        };
        let d: usize = self.shape.iter().product();
        if layers.bias.is_empty() {
            layers = Layers { weight: vec![0.0; d], bias: vec![0.0], output: vec![0.0; network.outputs] };
        }
        if self.classes.len() == 2 {
            layers.output = layers.output.iter().map(|a| -a).chain(layers.output.iter().copied()).collect();
        }
        model(&layers, &self.shape, self.classes.clone(), training)
    }
}

/// Two layers as a model on examples of a shape.
///
/// # Errors
/// Layers that do not fit the shape.
pub fn model(layers: &Layers, shape: &[usize], classes: Vec<String>, training: Value) -> Result<Model> {
    let d: usize = shape.iter().product();
    let (hidden, outputs) = (layers.bias.len(), layers.output.len() / layers.bias.len());
    let graph = named(&format!("mlp:{d}-{hidden}-{outputs}"), shape, outputs)?;
    let layout = graph.layout()?;
    let mut theta = vec![0.0; layout.len()];
    for (name, values) in
        [("fc1.weight", &layers.weight), ("fc1.bias", &layers.bias), ("fc2.weight", &layers.output)]
    {
        let block = layout.get(name).with_context(|| format!("the architecture has no {name}"))?;
        theta[block.range()].iter_mut().zip(values).for_each(|(t, v)| *t = *v as f32);
    }
    Ok(Model { graph, theta, preprocess: Preprocess::default(), classes, training, ..Model::default() })
}
