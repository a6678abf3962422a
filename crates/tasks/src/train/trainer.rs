use serde_json::{Map, Value};
use thalweg_core::{Invalid, Method, NamedError, Outcome, RunError, named};
use thalweg_net::Net;
use thalweg_optim::{Adam, AdamW, Lamb, Lbfgs, Muon, Sgd};

use super::{Plan, Training, run};

named! {
    /// A method that trains networks, chosen by name, with its hyper-parameters.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Trainer: "training method", each_trainer {
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
}

impl Trainer {
    /// The method `name` with its defaults but for `fields`. What a preconditioner does not know itself
    /// goes to its backend.
    ///
    /// # Errors
    /// No such name, no such field, or a value of the wrong kind.
    pub fn new(name: &str, fields: Map<String, Value>) -> Result<Self, NamedError> {
        let mut fields = route(&Self::defaults(name), fields);
        if name == "mkor-h" && !fields.contains_key(SWITCH) {
            fields.insert(SWITCH.into(), Map::new().into()); // with its defaults
        }
        Self::named(name, fields)
    }

    /// Trains with this method: [`run`].
    ///
    /// # Errors
    /// What the run fails with.
    pub fn run(&self, training: &mut Training<'_>, plan: &Plan<'_>) -> Result<Outcome<Vec<f32>>, RunError> {
        each_trainer!(self, method => run(method, training, plan))
    }

    /// Names the first hyper-parameter that is out of range.
    ///
    /// # Errors
    /// Field, value, legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        each_trainer!(self, method => Method::<Training<'_>>::validate(method))
    }
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
