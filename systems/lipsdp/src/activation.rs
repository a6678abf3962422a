use std::str::FromStr;

use faer::Mat;

use crate::LipError;

/// An activation whose differences obey a quadratic constraint.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// Elementwise, with slopes in a known interval.
    Slope(Slope),
    /// Sorts consecutive groups of `size` neurons. The order matters to values only, never to
    /// bounds. `size = 2` is MaxMin (Anil et al. 2019).
    GroupSort {
        /// Neurons in a group, at least 1.
        size: usize,
        /// Largest first.
        descending: bool,
    },
    /// Per consecutive group z with the row v of `normals`: z where vᵀz > 0, else its reflection
    /// (I − 2vvᵀ/vᵀv) z (Singla et al. 2022). One row a group.
    Householder {
        /// Directions, `[groups, group size]`; only their directions matter.
        normals: Mat<f64>,
    },
    /// Maximum over windows: outputs `windows.len()`, each the largest of the inputs listed.
    MaxPool {
        /// Input indices of each window.
        windows: Vec<Vec<usize>>,
    },
}

/// Elementwise activations with bounded slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slope {
    /// x.
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, or a·x for negative x; any finite a.
    LeakyRelu(f64),
    /// |x|.
    Abs,
    /// tanh x.
    Tanh,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// x, or eˣ − 1 for negative x; also CELU with α = 1.
    Elu,
    /// x clipped to [−1, 1].
    Hardtanh,
    /// x Φ(x).
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// x/(1 + e⁻ˣ).
    Silu,
    /// x tanh ln(1 + eˣ).
    Mish,
    /// Anything with slopes in [α, β]: bounds only, no values.
    Between(f64, f64),
}

impl Slope {
    /// The interval [α, β] of slopes, rounded outward where it is not exact.
    pub fn interval(self) -> (f64, f64) {
        match self {
            Self::Identity => (1.0, 1.0),
            Self::Relu | Self::Relu6 | Self::Tanh | Self::Softplus | Self::Elu | Self::Hardtanh => (0.0, 1.0),
            Self::LeakyRelu(a) => (a.min(1.0), a.max(1.0)),
            Self::Abs => (-1.0, 1.0),
            Self::Sigmoid => (0.0, 0.25),
            Self::Gelu => (-0.12891, 1.12891),
            Self::GeluTanh => (-0.12900, 1.12900),
            Self::Silu => (-0.09984, 1.09984),
            Self::Mish => (-0.11253, 1.08850),
            Self::Between(alpha, beta) => (alpha, beta),
        }
    }

    /// Value and derivative, at a kink that from the left; `None` where the function is not known.
    pub fn at(self, x: f64) -> Option<(f64, f64)> {
        let step = |below: f64, above: f64| if x > 0.0 { above } else { below };
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let softplus = x.max(0.0) + (-x.abs()).exp().ln_1p();
        let pair = match self {
            Self::Identity => (x, 1.0),
            Self::Relu => (x.max(0.0), step(0.0, 1.0)),
            Self::Relu6 => (x.clamp(0.0, 6.0), f64::from(x > 0.0 && x <= 6.0)),
            Self::LeakyRelu(a) => (x * step(a, 1.0), step(a, 1.0)),
            Self::Abs => (x.abs(), step(-1.0, 1.0)),
            Self::Tanh => (x.tanh(), 1.0 - x.tanh().powi(2)),
            Self::Sigmoid => (sigmoid, sigmoid * (1.0 - sigmoid)),
            Self::Softplus => (softplus, sigmoid),
            Self::Elu => (step(x.exp_m1(), x), step(x.exp(), 1.0)),
            Self::Hardtanh => (x.clamp(-1.0, 1.0), f64::from(x > -1.0 && x <= 1.0)),
            Self::Gelu => {
                let phi = 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (x * phi, phi + x * density)
            }
            Self::GeluTanh => {
                let c = (2.0 / std::f64::consts::PI).sqrt();
                let t = (c * (x + 0.044715 * x.powi(3))).tanh();
                let slope = c * (1.0 + 3.0 * 0.044715 * x * x) * (1.0 - t * t);
                (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * slope)
            }
            Self::Silu => (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))),
            Self::Mish => {
                let t = softplus.tanh();
                (x * t, t + x * (1.0 - t * t) * sigmoid)
            }
            Self::Between(..) => return None,
        };
        Some(pair)
    }

    /// Where the derivative jumps.
    pub(crate) fn kinks(self) -> &'static [f64] {
        match self {
            Self::Relu | Self::LeakyRelu(_) | Self::Abs => &[0.0],
            Self::Relu6 => &[0.0, 6.0],
            Self::Hardtanh => &[-1.0, 1.0],
            _ => &[],
        }
    }
}

impl FromStr for Activation {
    type Err = LipError;

    /// By name: `relu`, `leaky:0.1`, `slope:-0.1,1.1`, `maxmin`, `groupsort:4`, …
    fn from_str(text: &str) -> Result<Self, LipError> {
        let unknown = || LipError::NoSlopeBound(text.into());
        let (name, value) = text.split_once(':').map_or((text, None), |(n, v)| (n, Some(v)));
        let number = |v: &str| v.trim().parse::<f64>().map_err(|_| unknown());
        let slope = match (name, value) {
            ("maxmin", None) => return Ok(Self::GroupSort { size: 2, descending: true }),
            ("groupsort", Some(n)) => {
                let size = n.parse().map_err(|_| unknown())?;
                return Ok(Self::GroupSort { size, descending: false });
            }
            ("identity" | "linear" | "none", None) => Slope::Identity,
            ("relu", None) => Slope::Relu,
            ("relu6", None) => Slope::Relu6,
            ("leaky", Some(a)) => Slope::LeakyRelu(number(a)?),
            ("abs", None) => Slope::Abs,
            ("tanh", None) => Slope::Tanh,
            ("sigmoid", None) => Slope::Sigmoid,
            ("softplus", None) => Slope::Softplus,
            ("elu" | "celu", None) => Slope::Elu,
            ("hardtanh", None) => Slope::Hardtanh,
            ("gelu", None) => Slope::Gelu,
            ("gelu-tanh", None) => Slope::GeluTanh,
            ("silu", None) => Slope::Silu,
            ("mish", None) => Slope::Mish,
            ("slope", Some(ab)) => {
                let (a, b) = ab.split_once(',').ok_or_else(unknown)?;
                Slope::Between(number(a)?, number(b)?)
            }
            _ => return Err(unknown()),
        };
        Ok(Self::Slope(slope))
    }
}

impl Activation {
    /// Checks it against a layer of `width` neurons.
    pub(crate) fn validate(&self, width: usize, place: &str) -> Result<(), LipError> {
        let group = |size: usize| LipError::Group { place: place.into(), size, width };
        match self {
            Self::Slope(slope) => {
                let (alpha, beta) = slope.interval();
                // `min` and `max` of an interval lose a NaN.
                let given = if let Slope::LeakyRelu(a) = slope { *a } else { alpha };
                let legal = alpha <= beta && [given, alpha, beta].iter().all(|s| s.is_finite());
                if legal { Ok(()) } else { Err(LipError::Slopes { alpha: given, beta }) }
            }
            Self::GroupSort { size, .. } if *size == 0 || !width.is_multiple_of(*size) => Err(group(*size)),
            Self::GroupSort { .. } => Ok(()),
            Self::Householder { normals } => {
                if normals.nrows() * normals.ncols() != width {
                    return Err(group(normals.ncols()));
                }
                crate::network::finite(normals, &format!("{place}: normals"))?;
                let zero = |g: &usize| (0..normals.ncols()).all(|k| normals[(*g, k)] == 0.0);
                match (0..normals.nrows()).find(zero) {
                    Some(group) => Err(LipError::ZeroNormal { place: place.into(), group }),
                    None => Ok(()),
                }
            }
            Self::MaxPool { windows } => match windows.iter().flatten().find(|i| **i >= width) {
                Some(i) => {
                    Err(LipError::shape(place, format!("input {i} of a window"), format!("< {width}")))
                }
                None => Ok(()),
            },
        }
    }

    /// Neurons in a group; 1 for elementwise activations.
    pub(crate) fn group(&self) -> usize {
        match self {
            Self::Slope(_) | Self::MaxPool { .. } => 1,
            Self::GroupSort { size, .. } => *size,
            Self::Householder { normals } => normals.ncols(),
        }
    }

    /// Number of outputs for `width` inputs.
    pub(crate) fn outputs(&self, width: usize) -> usize {
        match self {
            Self::MaxPool { windows } => windows.len(),
            _ => width,
        }
    }

    /// Whether scaling the input by s > 0 scales the output.
    pub fn is_homogeneous(&self) -> bool {
        match self {
            Self::Slope(s) => {
                matches!(s, Slope::Identity | Slope::Relu | Slope::LeakyRelu(_) | Slope::Abs)
            }
            _ => true,
        }
    }
}
