//! Settings that several preconditioners share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;

/// How a factor's inverse takes in a new vector v, with γ = `decay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// What the authors' program runs: Q = γJ⁻¹ + (1−γ)I, then J⁻¹ ← (Q⁻¹ + vvᵀ)⁻¹. The spectrum
    /// stays in (0, 1].
    #[default]
    Released,
    /// The inverse of the exponential average J ← γJ + (1−γ)vvᵀ. Directions without news grow by
    /// 1/γ per update; the stabiliser bounds them.
    ShermanMorrison,
    /// The formula as printed, for study. It is not an inverse: it amplifies the direction v, and
    /// networks train badly with it.
    Printed,
}

/// How the inverse of a factor is kept.
///
/// As text: `auto`, `dense`, `low-rank:40`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Form {
    /// Low rank 40 for factors of more than 160 rows under [`Rule::Released`], else dense.
    #[default]
    Auto,
    /// All d² numbers; preconditioning a `[p, d]` gradient costs p·d² multiplications.
    Dense,
    /// I − Σ ωᵢqᵢqᵢᵀ with the last r pairs, at least 1: r·d numbers, 2·r·p·d multiplications. Only
    /// under [`Rule::Released`]. Older pairs are forgotten, which changes the preconditioned
    /// gradient by about 5 % for r = 20, 2 % for r = 40, 0.7 % for r = 60; so are pairs that would
    /// change it by less than 0.01 % each.
    LowRank(usize),
}

impl Form {
    const RANK: usize = 40;
    const LEGAL: &str = "auto, dense or low-rank:R with R ≥ 1, e.g. low-rank:40";

    /// The rank for a factor of `dim` rows; `None` is dense.
    pub(crate) fn rank(self, dim: usize, rule: Rule) -> Option<usize> {
        match self {
            Self::Auto if rule == Rule::Released && dim > 4 * Self::RANK => Some(Self::RANK),
            Self::Auto | Self::Dense => None,
            Self::LowRank(rank) => Some(rank),
        }
    }

    pub(crate) fn validate(self, rule: Rule) -> Result<(), Invalid> {
        let Self::LowRank(rank) = self else { return Ok(()) };
        Invalid::check(rank > 0, "form", self, Self::LEGAL)?;
        let legal = "dense or auto with this rule; only released is a recursion of low rank";
        Invalid::check(rule == Rule::Released, "form", self, legal)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Dense => f.write_str("dense"),
            Self::LowRank(rank) => write!(f, "low-rank:{rank}"),
        }
    }
}

impl FromStr for Form {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rank = text.strip_prefix("low-rank:").and_then(|r| r.parse().ok()).filter(|r| *r > 0);
        match (text, rank) {
            ("auto", _) => Ok(Self::Auto),
            ("dense", _) => Ok(Self::Dense),
            (_, Some(rank)) => Ok(Self::LowRank(rank)),
            _ => Err(Invalid { field: "form".into(), value: text.into(), legal: Self::LEGAL.into() }),
        }
    }
}

impl TryFrom<String> for Form {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Form> for String {
    fn from(form: Form) -> Self {
        form.to_string()
    }
}

/// Number type in which factors are kept. Computations are in the problem's own precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// The problem's own: `f32` for networks. Also read from the word `f32`.
    #[default]
    #[serde(alias = "f32")]
    Full,
    /// 16 bits, 8 of them significant.
    Bf16,
    /// 16 bits, 11 of them significant; the authors' choice. Safe under [`Rule::Released`], whose
    /// entries never exceed 1.
    F16,
}

/// What the preconditioned gradient U of a layer is scaled to, with 𝒢 the raw one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rescale {
    /// ‖U‖ ← ‖𝒢‖, Frobenius norms over weight and bias together, as in the paper.
    #[default]
    Joint,
    /// One factor (‖𝒢_W‖ + ‖𝒢_b‖)/(‖U_W‖ + ‖U_b‖) for both, as in the authors' program.
    Sum,
    /// No rescaling.
    None,
}

/// The vector that stands for a layer's second-moment matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vector {
    /// The mean, as published: costs nothing beside the gradient.
    #[default]
    Mean,
    /// √λ·u of the leading eigenpair of the second moments, by two power iterations from the mean
    /// (an extension). Needs the second moments: rows × inputs² operations per update.
    Power,
}
