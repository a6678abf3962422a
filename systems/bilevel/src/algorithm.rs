use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thalweg_core::{Method, Outcome, RunError};

use crate::baselines::{
    Bome, F2sa, Implicit, ImplicitLbfgs, Linear, Pbgd, Points, Search, Value as Penalised,
};
use crate::{At, BilevelError, Continuation, DoubleLoop, Oracle, SingleLoop, Solution};

/// Any of the methods, by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Algorithm {
    /// Precise lower solves, L-BFGS on ψ_σ.
    Pbo(Continuation),
    /// The paper's algorithm 1.
    PboDouble(DoubleLoop),
    /// The paper's algorithm 2.
    PboSingle(SingleLoop),
    /// F2SA.
    F2sa(F2sa),
    /// V-PBGD and G-PBGD.
    Pbgd(Pbgd),
    /// BOME.
    Bome(Bome),
    /// AID, stocBiO, SOBA, SABA, AmIGO.
    Aid(Implicit),
    /// The exact implicit gradient with L-BFGS.
    Implicit(ImplicitLbfgs),
    /// Grid and random search.
    Search(Search),
}

/// Runs whatever method is asked for: with stopping rules, observers, checkpoints of its own.
pub trait Drive {
    /// Makes the run.
    ///
    /// # Errors
    /// What the run fails with.
    fn drive<'p, M>(&mut self, method: &M, oracle: &mut Oracle<'p>) -> Result<Outcome<Solution>, RunError>
    where
        M: Method<Oracle<'p>, Solution = Solution>,
        M::State: At;
}

impl Algorithm {
    /// Names that [`Algorithm::named`] knows, ours first.
    pub const NAMES: [&str; 15] = [
        "pbo",
        "pbo-double",
        "pbo-single",
        "f2sa",
        "pbgd",
        "g-pbgd",
        "bome",
        "aid",
        "stocbio",
        "soba",
        "saba",
        "amigo",
        "implicit",
        "grid",
        "random",
    ];

    /// The method of that name, some of its fields set.
    ///
    /// # Errors
    /// No such name, no such field, or a value of the wrong kind.
    pub fn named(name: &str, fields: Map<String, Value>) -> Result<Self, BilevelError> {
        fn read<M: serde::de::DeserializeOwned>(
            name: &str,
            fields: Map<String, Value>,
        ) -> Result<M, BilevelError> {
            serde_json::from_value(Value::Object(fields))
                .map_err(|e| BilevelError::Data(format!("settings of {name}: {e}")))
        }
        let linear = |linear| Ok(Self::Aid(Implicit { linear, ..read(name, fields.clone())? }));
        Ok(match name {
            "pbo" => Self::Pbo(read(name, fields)?),
            "pbo-double" => Self::PboDouble(read(name, fields)?),
            "pbo-single" => Self::PboSingle(read(name, fields)?),
            "f2sa" => Self::F2sa(read(name, fields)?),
            "pbgd" => Self::Pbgd(read(name, fields)?),
            "g-pbgd" => Self::Pbgd(Pbgd { value: Penalised::Gradient, ..read(name, fields)? }),
            "bome" => Self::Bome(read(name, fields)?),
            "aid" => return linear(Linear::Aid),
            "stocbio" => return linear(Linear::Stocbio),
            "soba" => return linear(Linear::Soba),
            "saba" => return linear(Linear::Saba),
            "amigo" => return linear(Linear::Amigo),
            "implicit" => Self::Implicit(read(name, fields)?),
            "grid" => Self::Search(Search { points: Points::Grid, ..read(name, fields)? }),
            "random" => Self::Search(Search { points: Points::Random, ..read(name, fields)? }),
            other => {
                let known = Self::NAMES.join(", ");
                return Err(BilevelError::Data(format!("there is no method `{other}`; use one of {known}")));
            }
        })
    }

    /// The last σ that the method works with, for reports.
    pub fn sigma(&self) -> f64 {
        match self {
            Self::Pbo(m) => m.sigma_min,
            _ => 1e-3,
        }
    }

    /// Hands the method to whoever runs it.
    ///
    /// # Errors
    /// What the run fails with.
    pub fn drive(
        &self,
        oracle: &mut Oracle<'_>,
        drive: &mut impl Drive,
    ) -> Result<Outcome<Solution>, RunError> {
        match self {
            Self::Pbo(m) => drive.drive(m, oracle),
            Self::PboDouble(m) => drive.drive(m, oracle),
            Self::PboSingle(m) => drive.drive(m, oracle),
            Self::F2sa(m) => drive.drive(m, oracle),
            Self::Pbgd(m) => drive.drive(m, oracle),
            Self::Bome(m) => drive.drive(m, oracle),
            Self::Aid(m) => drive.drive(m, oracle),
            Self::Implicit(m) => drive.drive(m, oracle),
            Self::Search(m) => drive.drive(m, oracle),
        }
    }
}
