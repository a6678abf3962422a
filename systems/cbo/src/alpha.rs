//! Inverse temperature α of the consensus.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use thalweg_core::Invalid;

use crate::consensus::alpha_for_ess;

/// Inverse temperature of the consensus: a number, `inf`, or `ess:ETA`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(into = "String")]
pub enum Alpha {
    /// This one; infinity: the best particle is the consensus.
    Fixed(f64),
    /// Each step the one at which the effective sample size is this share of the particles.
    Ess(f64),
}

impl Alpha {
    /// The best particle is the consensus.
    pub const INFINITE: Self = Self::Fixed(f64::INFINITY);

    /// Names the legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        match *self {
            Self::Fixed(a) => Invalid::check(a >= 0.0, "alpha", a, "a number ≥ 0, inf or ess:ETA"),
            Self::Ess(eta) => {
                Invalid::check(eta > 0.0 && eta <= 1.0, "alpha", self, "ess:ETA with ETA in (0, 1]")
            }
        }
    }

    /// Its value for a cloud with these values.
    pub fn at(&self, values: &[f64]) -> f64 {
        match *self {
            Self::Fixed(a) => a,
            Self::Ess(eta) => alpha_for_ess(values, eta * values.len() as f64),
        }
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(a) => write!(f, "{a}"),
            Self::Ess(eta) => write!(f, "ess:{eta}"),
        }
    }
}

impl FromStr for Alpha {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (kind, number) =
            text.strip_prefix("ess:").map_or((Self::Fixed as fn(f64) -> Self, text), |eta| (Self::Ess, eta));
        let bad = Invalid {
            field: "alpha".into(),
            value: text.into(),
            legal: "a number ≥ 0, inf or ess:ETA".into(),
        };
        let alpha = kind(number.parse().map_err(|_| bad)?);
        alpha.validate().map(|()| alpha)
    }
}

/// As it may stand in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Alpha {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Checkpoints do not say what follows; there it is always text.
        let text = match from.is_human_readable() {
            false => String::deserialize(from)?,
            true => match Written::deserialize(from)? {
                Written::Number(a) => a.to_string(),
                Written::Text(text) => text,
            },
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl From<Alpha> for String {
    fn from(alpha: Alpha) -> Self {
        alpha.to_string()
    }
}
