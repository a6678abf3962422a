use thiserror::Error;

use crate::Slope;

/// Why no certificate could be made. Each says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LipError {
    /// A weight that is not a number.
    #[error(
        "{tensor}[{row}, {column}] is {value}; a certificate needs finite weights, train or export the model anew"
    )]
    NotFinite {
        /// Name of the matrix, vector or setting.
        tensor: String,
        /// Row.
        row: usize,
        /// Column.
        column: usize,
        /// What stands there.
        value: f64,
    },
    /// Layers that do not fit together.
    #[error(
        "{place}: {found} where {needed} is needed; a layer computes W x + b, the rows of W are its outputs"
    )]
    Shape {
        /// Which layer.
        place: String,
        /// What is there.
        found: String,
        /// What should be there.
        needed: String,
    },
    /// Groups that do not fit the layer.
    #[error(
        "{place}: groups of {size} do not divide its {width} neurons; use a group size that divides every hidden width"
    )]
    Group {
        /// Which layer.
        place: String,
        /// Neurons in a group.
        size: usize,
        /// Neurons.
        width: usize,
    },
    /// A Householder vector without direction.
    #[error("{place}: the Householder vector of group {group} is zero; it must have a direction")]
    ZeroNormal {
        /// Which layer.
        place: String,
        /// Which group, from 0.
        group: usize,
    },
    /// An activation without bounded slope.
    #[error(
        "the activation `{0}` has no bounded slope, so the network has no global Lipschitz constant that these \
         constraints could prove; supported are identity, relu, relu6, leaky:A, abs, tanh, sigmoid, softplus, elu, celu, \
         hardtanh, gelu, gelu-tanh, silu, mish, slope:A,B, maxmin, groupsort:N, householder"
    )]
    NoSlopeBound(String),
    /// Slopes in the wrong order.
    #[error("slopes {alpha} to {beta}: the smaller one comes first, both finite")]
    Slopes {
        /// Lower slope.
        alpha: f64,
        /// Upper slope.
        beta: f64,
    },
    /// The unsound coupling of neurons.
    #[error(
        "LipSDP-Network (`{0}`) is unsound: it assumes that differences of two neurons' outputs are slope-restricted in \
         differences of their inputs, which ReLU violates at z = (1, 0), z' = (0, -2); its value can lie below the true \
         constant. Use `neuron`, or the cheaper `layer`"
    )]
    NetworkForm(String),
    /// A method that does not apply to this network or norm.
    #[error("{what} {why}; use {instead}")]
    NotApplicable {
        /// The method or option.
        what: String,
        /// Why not.
        why: String,
        /// What to use.
        instead: String,
    },
    /// The matrix inequality is too large.
    #[error(
        "the matrix inequality has side {side} and {rows} rank-one terms and needs about {needed} of memory (allowed \
         {allowed}) and {time}; raise `max_memory`, or use `bound` first-order, eclipse or split:K"
    )]
    TooLarge {
        /// Side of the matrix.
        side: usize,
        /// Rank-one terms.
        rows: usize,
        /// Bytes needed, in words.
        needed: String,
        /// Bytes allowed, in words.
        allowed: String,
        /// Estimated time, in words.
        time: String,
    },
    /// Too many patterns to enumerate.
    #[error("{patterns} activation patterns are too many to enumerate (at most 2^24); use `bound` {instead}")]
    TooManyPatterns {
        /// How many, in words.
        patterns: String,
        /// A bound that scales.
        instead: String,
    },
    /// An implicit layer that may have no or several states.
    #[error(
        "no diagonal multiplier proves that the equilibrium is unique, so the network may not be a function; train it \
         with a bound on Wz (for instance ‖Wz‖₂ < 1)"
    )]
    NotWellPosed,
    /// No multipliers could be verified.
    #[error(
        "no multipliers passed the verification ({0}); the bound by the product of norms is still proved"
    )]
    Unverified(String),
    /// The solver failed.
    #[error("the solver found no strictly feasible multipliers; rescale the weights, which are extreme")]
    NoStart,
    /// Values of a network whose activation is known by its slopes only.
    #[error(
        "the activation {0:?} is known by its slopes only, so the network has bounds but no values; name the function"
    )]
    NoValues(Slope),
    /// An equilibrium that the fixed-point iteration does not reach.
    #[error(
        "the equilibrium was not reached in 20,000 steps of the damped fixed-point iteration; its bound holds, its values \
         are unknown"
    )]
    NoEquilibrium,
    /// A certificate of another network.
    #[error(
        "the certificate is for another network (fingerprint {of}, this one has {this}); certify this one, or name the \
         network that it was made for"
    )]
    OtherNetwork {
        /// Fingerprint in the certificate.
        of: String,
        /// That of the network at hand.
        this: String,
    },
    /// A bound below what an input reaches.
    #[error(
        "the bound {bound} by {method} contradicts an input at which the network is steeper, {lower}; this is a defect, \
         please report it with the network"
    )]
    Contradiction {
        /// Name of the bound.
        method: String,
        /// Its value.
        bound: f64,
        /// The slope found.
        lower: f64,
    },
    /// A hyper-parameter outside its range.
    #[error(transparent)]
    Invalid(#[from] thalweg_core::Invalid),
}

impl LipError {
    pub(crate) fn shape(place: impl Into<String>, found: impl ToString, needed: impl ToString) -> Self {
        Self::Shape { place: place.into(), found: found.to_string(), needed: needed.to_string() }
    }

    pub(crate) fn not_applicable(what: impl Into<String>, why: &str, instead: &str) -> Self {
        Self::NotApplicable { what: what.into(), why: why.into(), instead: instead.into() }
    }
}
