//! The words of the settings: what `beta`, `patterns`, `attack` and their like may say.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_convex_relu::PatternChoice;
use thalweg_convex_relu::solver::Algorithm;

/// The methods that fit a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The structured ADMM, finished by the interior point.
    Admm,
    /// The ADMM as published.
    AdmmPaper,
    /// The published ADMM with random block coordinate descent.
    Rbcd,
    /// Weights of sampled neurons.
    Scp,
    /// The interior point.
    Exact,
}

impl Method {
    /// The solver of the program of patterns; sampled neurons are another program.
    pub fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Admm => Some(Algorithm::Admm),
            Self::AdmmPaper => Some(Algorithm::AdmmPaper),
            Self::Rbcd => Some(Algorithm::Rbcd),
            Self::Exact => Some(Algorithm::Exact),
            Self::Scp => None,
        }
    }
}

/// How several classes or targets are fitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Multiclass {
    /// One program for each class against the rest, or for each target.
    #[default]
    Ova,
    /// One program, with one norm per pattern over all of them.
    Shared,
}

/// What a fit is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Adam on the network's own objective.
    Adam,
    /// Gradient descent with momentum.
    Sgd,
    /// Adam at samples attacked by projected gradients.
    Pgd,
    /// Ridge or logistic regression.
    Linear,
}

/// Weight decay β.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub enum Beta {
    /// This one.
    Value(f64),
    /// The best of twelve in cross-validation.
    Auto,
    /// So many, from the largest that matters to a thousandth of it; the least is taken, or the best in
    /// cross-validation if folds are set.
    Path(usize),
}

impl FromStr for Beta {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("beta = {text} is not allowed; use a number > 0, auto or path:30");
        match text.strip_prefix("path:") {
            Some(count) => match count.parse() {
                Ok(count) if count >= 2 => Ok(Self::Path(count)),
                _ => Err(format!("beta = {text}: give at least 2 values, e.g. path:30")),
            },
            None if text == "auto" => Ok(Self::Auto),
            None => text.parse().map(Self::Value).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for Beta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(beta) => write!(f, "{beta}"),
            Self::Auto => f.write_str("auto"),
            Self::Path(count) => write!(f, "path:{count}"),
        }
    }
}

/// Activation patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub enum Patterns {
    /// Those of so many random directions; of sampled programs their neurons.
    Draw(u64),
    /// All that there are.
    All,
    /// The columns of the matrix D of zeros and ones in this file.
    File(PathBuf),
}

impl Patterns {
    /// The choice where they are not listed in a file.
    pub(super) fn choice(&self) -> PatternChoice {
        match self {
            Self::Draw(count) => PatternChoice::Sample(*count),
            Self::All => PatternChoice::All,
            Self::File(_) => PatternChoice::Sample(50),
        }
    }
}

impl FromStr for Patterns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(0) => Err("patterns = 0 is not allowed; draw at least 1 direction".into()),
            Ok(draws) => Ok(Self::Draw(draws)),
            Err(_) => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draw(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}

/// Half width ε ≥ 0 of the boxes around samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub struct HalfWidth(pub f64);

impl FromStr for HalfWidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("eps=").unwrap_or(text).parse() {
            Ok(eps) if eps >= 0.0 => Ok(Self(eps)),
            _ => Err(format!("{text:?} is no half width; use e.g. eps=0.1")),
        }
    }
}

impl fmt::Display for HalfWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eps={}", self.0)
    }
}

/// What the network has to stand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "String")]
pub enum Robustness {
    /// One step along the gradient's signs.
    Fgsm,
    /// So many steps of projected gradients.
    Pgd(u32),
    /// The boxes, where training names none.
    Eps(HalfWidth),
}

impl FromStr for Robustness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("there is no attack `{text}`; use fgsm or pgd:40");
        match text.strip_prefix("pgd") {
            _ if text == "fgsm" => Ok(Self::Fgsm),
            _ if text.starts_with("eps=") => text.parse().map(Self::Eps),
            Some("") => Ok(Self::Pgd(40)),
            Some(steps) => {
                steps.strip_prefix(':').and_then(|n| n.parse().ok()).map(Self::Pgd).ok_or_else(bad)
            }
            None => Err(bad()),
        }
    }
}

impl fmt::Display for Robustness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fgsm => f.write_str("fgsm"),
            Self::Pgd(steps) => write!(f, "pgd:{steps}"),
            Self::Eps(eps) => write!(f, "{eps}"),
        }
    }
}

/// Words are texts in files, or numbers where they are numbers.
macro_rules! written {
    ($($word:ty),*) => {$(
        impl TryFrom<Value> for $word {
            type Error = String;

            fn try_from(value: Value) -> Result<Self, String> {
                value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse()
            }
        }

        impl From<$word> for String {
            fn from(word: $word) -> Self {
                word.to_string()
            }
        }
    )*};
}
written!(Beta, Patterns, HalfWidth, Robustness);
