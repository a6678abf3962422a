use serde_json::{Map, Value};
use thalweg_core::{Drive, NamedError, Outcome, RunError, Seed, named};

use crate::baselines::{Bome, F2sa, Implicit, ImplicitLbfgs, Pbgd, Search};
use crate::{Continuation, DoubleLoop, Oracle, SingleLoop, Solution};

named! {
    /// Any of the methods, by its name; ours first.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Algorithm: "method", each_algorithm {
        "pbo" => Pbo(Continuation),
        "pbo-double" => PboDouble(DoubleLoop),
        "pbo-single" => PboSingle(SingleLoop),
        "f2sa" => F2sa(F2sa),
        "pbgd" => Pbgd(Pbgd),
        "g-pbgd" => GPbgd(Pbgd),
        "bome" => Bome(Bome),
        "aid" => Aid(Implicit),
        "stocbio" => Stocbio(Implicit),
        "soba" => Soba(Implicit),
        "saba" => Saba(Implicit),
        "amigo" => Amigo(Implicit),
        "implicit" => Implicit(ImplicitLbfgs),
        "grid" => Grid(Search),
        "random" => Random(Search),
    }
}

impl Algorithm {
    /// The method of that name, some of its fields set.
    ///
    /// # Errors
    /// No such name, no such field, or a value of the wrong kind.
    pub fn new(name: &str, mut fields: Map<String, Value>) -> Result<Self, NamedError> {
        // One struct serves several names.
        let of_name = match name {
            "g-pbgd" => Some(("value", "gradient")),
            "aid" | "stocbio" | "soba" | "saba" | "amigo" => Some(("linear", name)),
            "grid" | "random" => Some(("points", name)),
            _ => None,
        };
        if let Some((field, value)) = of_name {
            fields.insert(field.into(), value.into());
        }
        Self::named(name, fields)
    }

    /// The last σ that the method works with, for reports.
    pub fn sigma(&self) -> f64 {
        match self {
            Self::Pbo(m) => m.sigma_min,
            _ => 1e-3,
        }
    }

    /// Whether the method differentiates one lower solution implicitly, and knows of no other and no constraint.
    pub fn is_implicit(&self) -> bool {
        matches!(
            self,
            Self::Aid(_)
                | Self::Stocbio(_)
                | Self::Soba(_)
                | Self::Saba(_)
                | Self::Amigo(_)
                | Self::Implicit(_)
        )
    }

    /// Hands the method to whoever runs it.
    ///
    /// # Errors
    /// What the run fails with.
    pub fn drive(
        &self,
        oracle: &mut Oracle<'_>,
        seed: Seed,
        drive: &mut impl Drive<Solution>,
    ) -> Result<Outcome<Solution>, RunError> {
        each_algorithm!(self, method => drive.drive(method, oracle, seed))
    }
}
