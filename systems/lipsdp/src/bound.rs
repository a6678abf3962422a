use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::LipError;
use crate::constraint::Form;

/// How a bound is found, from the tightest to the cheapest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Bound {
    /// The tight program if it takes less than a minute, else [`Bound::FirstOrder`]. Default.
    #[default]
    Auto,
    /// One multiplier per neuron (elementwise activations only).
    Neuron,
    /// One multiplier per layer (elementwise activations only).
    Layer,
    /// One multiplier per neuron or group, preserved directions eliminated.
    Nsr,
    /// The published form for GroupSort and Householder (Pauli et al., S = P = 0).
    NsrPaper,
    /// The same value as `Nsr` from above, by descent on its multipliers; no large matrix.
    FirstOrder,
    /// Closed form for slopes in [0, 1] (ECLipsE-fast).
    Eclipse,
    /// Product of the bounds of consecutive groups of this many layers.
    Split(usize),
    /// Product of the layers' norms.
    Product,
    /// Largest norm over all activation patterns: the best that a method blind to reachability
    /// can prove.
    Patterns,
}

/// The bounds without a number, with their names.
const NAMED: [(&str, Bound); 9] = [
    ("auto", Bound::Auto),
    ("neuron", Bound::Neuron),
    ("layer", Bound::Layer),
    ("nsr", Bound::Nsr),
    ("nsr-paper", Bound::NsrPaper),
    ("first-order", Bound::FirstOrder),
    ("eclipse", Bound::Eclipse),
    ("product", Bound::Product),
    ("patterns", Bound::Patterns),
];

impl Bound {
    /// All bounds, from the tightest to the cheapest; `Auto` is one of them.
    pub const ALL: [Self; 9] = [
        Self::Patterns,
        Self::Nsr,
        Self::Neuron,
        Self::FirstOrder,
        Self::NsrPaper,
        Self::Layer,
        Self::Eclipse,
        Self::Split(2),
        Self::Product,
    ];

    /// The form of the constraints that its multipliers belong to.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Layer | Self::Eclipse => Form::Layer,
            Self::NsrPaper => Form::Paper,
            _ => Form::Tight,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMED.iter().find(|(_, bound)| bound == self)) {
            (_, Some((name, _))) => f.write_str(name),
            (Self::Split(size), _) => write!(f, "split:{size}"),
            _ => unreachable!("every bound but split:K has a name"),
        }
    }
}

impl FromStr for Bound {
    type Err = LipError;

    /// By its name; `lipsdp-` before it is ignored.
    fn from_str(text: &str) -> Result<Self, LipError> {
        let name = text.strip_prefix("lipsdp-").unwrap_or(text);
        if let Some((_, bound)) = NAMED.iter().find(|(known, _)| *known == name) {
            return Ok(*bound);
        }
        match (name, name.strip_prefix("split:").and_then(|k| k.parse().ok())) {
            ("exact", _) => Ok(Self::Patterns),
            ("network" | "network-rand" | "network-dec-vars", _) => Err(LipError::NetworkForm(name.into())),
            (_, Some(size)) if size > 0 => Ok(Self::Split(size)),
            _ => Err(LipError::not_applicable(
                format!("the bound `{text}`"),
                "is not known",
                "auto, neuron, layer, nsr, nsr-paper, first-order, eclipse, split:K, product, patterns or all",
            )),
        }
    }
}

impl TryFrom<String> for Bound {
    type Error = LipError;

    fn try_from(text: String) -> Result<Self, LipError> {
        text.parse()
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> Self {
        bound.to_string()
    }
}
