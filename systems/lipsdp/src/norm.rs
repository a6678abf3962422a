use serde::{Deserialize, Serialize};

use crate::Network;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Euclidean input, Euclidean output. Default.
    #[default]
    L2,
    /// Largest change of an input, sum of the absolute changes of the outputs; of one output
    /// ([`Network::row`], [`Network::pair`]) its absolute change.
    Linf,
    /// Largest change of an input, Euclidean output.
    LinfL2,
}

impl Norm {
    /// The same norm in its simplest terms: with one output ℓ1 and ℓ2 are one, and the program of
    /// ℓ2 has no σ.
    pub(crate) fn over(self, net: &Network) -> Self {
        if self == Self::Linf && net.outputs() == 1 { Self::LinfL2 } else { self }
    }
}
