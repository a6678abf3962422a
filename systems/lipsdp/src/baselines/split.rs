use super::norms::constant;
use crate::ball::times;
use crate::network::{Block, Network};
use crate::{LipError, Norm};

/// Consecutive groups of `size` affine maps, with the activations between them; the factor is that
/// of the activations between groups.
pub(crate) fn split(net: &Network, size: usize) -> Result<(Vec<Network>, f64), LipError> {
    if size == 0 || !net.is_feedforward() {
        let why = "needs a feed-forward network and groups of at least one layer";
        return Err(LipError::not_applicable(format!("split:{size}"), why, "`bound` nsr or product"));
    }
    let (mut groups, mut current, mut layers) = (Vec::new(), Vec::new(), 0);
    let (mut factor, mut width, mut inputs) = (1.0, net.inputs(), net.inputs());
    for block in net.blocks() {
        let boundary = layers == size;
        match block {
            Block::Activation(act) if boundary => {
                factor = times(factor, constant(act, Norm::L2));
                groups.push(Network::new(inputs, std::mem::take(&mut current))?);
                layers = 0;
                inputs = act.outputs(width);
            }
            _ => current.push(block.clone()),
        }
        layers += usize::from(matches!(block, Block::Affine(_)));
        width = block.outputs(width);
    }
    if !current.is_empty() {
        groups.push(Network::new(inputs, current)?);
    }
    Ok((groups, factor))
}
