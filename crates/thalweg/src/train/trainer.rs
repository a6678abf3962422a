use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thalweg_core::{Invalid, Outcome, RunError};
use thalweg_net::Net;
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Muon, Sgd};
use thiserror::Error;

use super::{Plan, Training, fit};

macro_rules! trainers {
    ($($(#[$feature:meta])? $name:literal => $variant:ident($method:ty)),* $(,)?) => {
        /// A method chosen by name, with its hyper-parameters.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Trainer {
            $($(#[$feature])? #[doc = concat!("`", $name, "`.")] $variant($method),)*
        }

        impl Trainer {
            /// The names of the methods that train networks.
            pub const NAMES: &'static [&'static str] = &[$($(#[$feature])? $name,)*];

            /// The method `name` with its defaults but for `fields`, checked.
            pub fn new(name: &str, fields: Map<String, Value>) -> Result<Self, TrainerError> {
                match name {
                    $($(#[$feature])? $name => read(name, fields).map(Self::$variant),)*
                    _ => Err(TrainerError::Unknown { name: name.into(), known: Self::NAMES.join(", ") }),
                }
            }

            /// The name that [`Trainer::new`] takes.
            pub fn name(&self) -> &'static str {
                match self { $($(#[$feature])? Self::$variant(_) => $name,)* }
            }

            /// Trains with this method: [`fit`].
            pub fn fit(&self, training: &mut Training<'_>, plan: &Plan<'_>) -> Result<Outcome<Vec<f32>>, RunError> {
                match self { $($(#[$feature])? Self::$variant(m) => fit(m, training, plan),)* }
            }

            /// Names the first hyper-parameter that is out of range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $($(#[$feature])? Self::$variant(m) => {
                        <$method as thalweg_core::Method<Training<'_>>>::validate(m)
                    })*
                }
            }
        }
    };
}

trainers! {
    #[cfg(feature = "adahessian")]
    "adahessian" => AdaHessian(thalweg_adahessian::AdaHessian),
    "sgd" => Sgd(Sgd),
    "adam" => Adam(Adam),
    "adamw" => AdamW(AdamW),
    "lamb" => Lamb(Lamb),
    "muon" => Muon(Muon),
    "lbfgs" => Lbfgs(Lbfgs),
    #[cfg(feature = "mkor")]
    "mkor" => Mkor(thalweg_mkor::Mkor),
    #[cfg(feature = "mkor")]
    "mkor-h" => MkorH(thalweg_mkor::Mkor),
    #[cfg(feature = "mkor")]
    "kfac" => Kfac(thalweg_mkor::Kfac),
    #[cfg(feature = "mkor")]
    "eva" => Eva(thalweg_mkor::Eva),
    #[cfg(feature = "mfac")]
    "mfac" => MFac(thalweg_mfac::MFac),
}

/// Why a method cannot be set up.
#[derive(Debug, Error)]
pub enum TrainerError {
    /// No method of that name.
    #[error("there is no training method `{name}`; use one of {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A field that the method has not, or a value that does not fit it.
    #[error("{method}: {cause}")]
    Field {
        /// The method.
        method: String,
        /// The decoder's answer.
        cause: String,
    },
}

fn read<M: DeserializeOwned + Default + Serialize>(
    name: &str,
    fields: Map<String, Value>,
) -> Result<M, TrainerError> {
    let mut fields = route(&defaults::<M>(), fields);
    if name == "mkor-h" && !fields.contains_key(SWITCH) {
        fields.insert(SWITCH.into(), Map::new().into()); // with its defaults
    }
    let decode = |fields: Map<_, _>| serde_json::from_value::<M>(Value::Object(fields));
    decode(fields.clone()).map_err(|e| {
        // The decoder names a field that it does not know, but not one whose value does not fit.
        let alone = |(field, value)| decode(Map::from_iter([(field, value)])).is_err();
        let culprit = fields.into_iter().find(|f| alone(f.clone())).map(|(field, _)| field);
        let cause = match culprit.filter(|field| !e.to_string().contains(&format!("`{field}`"))) {
            Some(field) => format!("{field}: {e}"),
            None => e.to_string(),
        };
        TrainerError::Field { method: name.into(), cause }
    })
}

fn defaults<M: Default + Serialize>() -> Value {
    serde_json::to_value(M::default()).unwrap_or_default()
}

/// Hands what a preconditioner does not know itself (`lr`, `momentum`, …) to its backend.
fn route(defaults: &Value, fields: Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(backend)) = defaults.get(BACKEND) else { return fields };
    let (mut own, rest): (Map<_, _>, Map<_, _>) =
        fields.into_iter().partition(|(field, _)| defaults.get(field).is_some());
    let mut chosen = match own.remove(BACKEND) {
        Some(Value::Object(backend)) => backend,
        Some(name) => Map::from_iter([(NAME.into(), name)]),
        None => Map::new(),
    };
    chosen.extend(rest);
    if let Some(name) = backend.get(NAME).filter(|_| !chosen.contains_key(NAME)) {
        chosen.insert(NAME.into(), name.clone());
    }
    own.insert(BACKEND.into(), Value::Object(chosen));
    own
}

/// Where preconditioners keep the first-order method that they feed, and that method's name.
const BACKEND: &str = "backend";
const NAME: &str = "name";

/// When MKOR-H leaves its preconditioner.
const SWITCH: &str = "hybrid";

impl Trainer {
    /// The method as it suits the network: Muon leaves the last linear layer to Adam, as its author
    /// does (Jordan 2024), unless it is told which blocks to leave.
    pub fn suited(mut self, net: &Net<f32>) -> Self {
        if let (Self::Muon(muon), Some((offset, ..))) = (&mut self, net.head())
            && muon.adam_blocks.is_empty()
        {
            muon.adam_blocks.push(net.layout().name_of(offset).into());
        }
        self
    }

    /// The value of a hyper-parameter, the method's own or its backend's.
    pub fn field(&self, field: &str) -> Option<Value> {
        let json = serde_json::to_value(self).ok()?;
        json.get(field).or_else(|| json.get(BACKEND)?.get(field)).cloned()
    }

    /// Whether the method has a hyper-parameter of that name.
    pub fn has(&self, field: &str) -> bool {
        self.field(field).is_some()
    }
}
