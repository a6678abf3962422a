use crate::{MethodError, Objective};

/// What a Kronecker-factored preconditioner is told of one linear map in one step (MKOR, K-FAC,
/// Eva). With R rows (examples × positions), inputs a and loss derivatives δ at the outputs:
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerStats {
    /// Index of the weight `[out, …]` in the layout.
    pub weight: usize,
    /// Index of the bias `[out]`, if the layer has one.
    pub bias: Option<usize>,
    /// Independent groups of outputs and inputs; 1 but for grouped convolutions. Every quantity
    /// below lists the groups one after the other.
    pub groups: usize,
    /// Output positions per example that share the weight: of a convolution; 1 for linear layers,
    /// whose sequence positions are rows like any others.
    pub positions: usize,
    /// Rows R that carried the loss's mean.
    pub rows: usize,
    /// Mean of a, `[groups, inputs]`, in the order of a weight row.
    pub input_mean: Vec<f64>,
    /// Sum of δ, `[out]`: the gradient of the bias, whether there is one or not.
    pub output_grad: Vec<f64>,
    /// Second moments, where asked for.
    pub moments: Option<SecondMoments>,
}

/// Second moments of a layer's inputs and loss derivatives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecondMoments {
    /// Mean of a aᵀ over the rows, `[groups, inputs, inputs]`.
    pub input: Vec<f64>,
    /// Sum of δ δᵀ over the rows, `[groups, out/groups, out/groups]`.
    pub output: Vec<f64>,
}

/// An objective that is a network of linear maps and can describe their inputs and outputs.
pub trait Layered: Objective {
    /// As [`Objective::value_grad`], and `stats` is overwritten by one entry per linear or
    /// convolutional layer, in the layout's order; with second moments (cost: rows × inputs²) if
    /// `moments`.
    fn value_grad_layers(
        &mut self,
        theta: &[Self::Scalar],
        grad: &mut [Self::Scalar],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError>;
}
