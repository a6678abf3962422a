//! What decides the result of a training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thalweg_core::Seed;
use thalweg_net::{Init, Normalize};
use thalweg_optim::Schedule;

use super::{Augment, Sampling, Trainer};
use crate::error::bail;
use crate::settings::{field_value, value};
use crate::source::{DataSource, Reading};
use crate::{Context, Result};

/// What decides the result of a run.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `digits`, a file or a folder
    #[arg(long)]
    pub data: Option<String>,
    /// File of the test part
    #[arg(long)]
    pub test: Option<PathBuf>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    pub label: Option<String>,
    /// Use only the first N training examples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Architecture: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// A trained model to go on from: its architecture, preprocessing, classes and weights
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "normalize", "init"])]
    pub from: Option<PathBuf>,
    /// Preprocessing, e.g. mean=0.5,std=0.5 [default: standardised by channel]
    #[arg(long, value_name = "mean=…,std=…")]
    pub normalize: Option<Normalize>,
    /// Initialisation [default: the architecture's own]
    #[arg(long, value_name = "pytorch|kaiming|xavier|orthogonal|normal:STD", value_parser = parse_init)]
    pub init: Option<Init>,
    /// Method: adahessian, mkor, mkor-h, mfac, kfac, eva, sgd, adam, adamw, lamb, muon, lbfgs [default: adahessian]
    #[arg(long, conflicts_with = "compare")]
    pub method: Option<String>,
    /// Several methods, side by side
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    pub compare: Option<Vec<String>>,
    /// Passes over the training part [default: 10]
    #[arg(long, conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Steps instead of epochs
    #[arg(long)]
    pub steps: Option<u64>,
    /// Examples per step [default: 128]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Parts in which the examples of a step go through the network, to save memory [default: 1]
    #[arg(long, value_name = "N")]
    pub accumulate: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
    /// Share of the target spread over all classes
    #[arg(long, value_name = "P")]
    pub label_smoothing: Option<f64>,
    /// Random crops and reflections of training images: pad=4,flip
    #[arg(long, value_name = "pad=N,flip", value_parser = parse_augment)]
    pub augment: Option<Augment>,
    /// Steps between checkpoints [default: one every 10 s]
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<u64>,

    /// Learning rate, or auto (mfac: 1/window) [default: the method's]
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true, value_parser = parse_rate)]
    pub lr: Option<Value>,
    /// constant, linear, cosine, inverse-sqrt, step:50%,75%:0.1; warmup:N+… [default: linear after a twentieth of the steps as warm-up]
    #[arg(long, help_heading = "Of the method")]
    pub schedule: Option<String>,
    /// Weight decay
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Momentum (sgd, muon)
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Decay rates of the two averages, e.g. 0.9,0.999
    #[arg(long, help_heading = "Of the method", value_delimiter = ',', value_name = "B1,B2")]
    pub betas: Option<Vec<f64>>,
    /// Added to the denominator
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    pub eps: Option<f64>,
    /// First-order method behind the preconditioner: sgd, adam, adamw, lamb, muon (mkor, mkor-h, kfac, eva)
    #[arg(long, help_heading = "Of the method", value_name = "NAME")]
    pub backend: Option<String>,
    /// Steps from one update of the factors to the next (mkor, mkor-h, kfac)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    pub inv_freq: Option<u64>,
    /// Update of the factors: released, sherman-morrison or printed (mkor, mkor-h)
    #[arg(long, help_heading = "Of the method")]
    pub rule: Option<String>,
    /// Form of the factors: auto, dense or low-rank:N (mkor, mkor-h)
    #[arg(long, help_heading = "Of the method")]
    pub form: Option<String>,
    /// Gradients in the window (mfac)
    #[arg(long, help_heading = "Of the method", value_name = "M")]
    pub window: Option<u64>,
    /// Damping of the Fisher matrix (mfac)
    #[arg(long, alias = "damp", help_heading = "Of the method", allow_negative_numbers = true)]
    #[serde(alias = "damp")]
    pub damping: Option<f64>,
    /// Power of the curvature, 0 to 1 (adahessian)
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    pub hessian_power: Option<f64>,
    /// Steps from one curvature to the next (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    pub hessian_every: Option<u64>,
    /// Random probes per curvature (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    pub probes: Option<u64>,
    /// abs, signed or none (adahessian)
    #[arg(long, help_heading = "Of the method")]
    pub average: Option<String>,
    /// rademacher or gaussian (adahessian)
    #[arg(long, help_heading = "Of the method")]
    pub probe: Option<String>,
    /// Averaging blocks, e.g. linear=row,conv2d=kernel or linear=32 (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "KIND=RULE,…")]
    pub block: Option<String>,
    /// Record the curvature's norm in each layer (adahessian)
    #[arg(long, help_heading = "Of the method", num_args = 0, default_missing_value = "true")]
    pub diagnostics: Option<bool>,
    /// How the data are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: Reading,
    /// Fields of methods: `lr=0.1`, or `sgd.lr=0.1` for one of several.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,

    /// Hyper-parameters by method, from the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, Map<String, Value>>,
}

fn parse_rate(text: &str) -> Result<Value, String> {
    match value(text) {
        rate if rate.is_number() || rate == "auto" => Ok(rate),
        _ => Err("use a finite number ≥ 0 or auto".into()),
    }
}

fn parse_augment(text: &str) -> Result<Augment, String> {
    let mut augment = Augment::default();
    for part in text.split(',') {
        match part.trim().split_once('=') {
            Some(("pad", n)) => {
                augment.pad = n
                    .parse::<u16>()
                    .map_err(|_| format!("pad = {n} is no whole number from 0 to 65535"))?
                    .into()
            }
            None if part.trim() == "flip" => augment.flip = true,
            _ => return Err(format!("{part:?} is unknown; use pad=4,flip")),
        }
    }
    Ok(augment)
}

fn parse_init(text: &str) -> Result<Init, String> {
    match (text, text.strip_prefix("normal:").map(str::parse)) {
        ("pytorch", _) => Ok(Init::PyTorch),
        ("kaiming", _) => Ok(Init::Kaiming),
        ("xavier", _) => Ok(Init::Xavier),
        ("orthogonal", _) => Ok(Init::Orthogonal),
        (_, Some(Ok(deviation))) if deviation > 0.0 => Ok(Init::Normal(deviation)),
        _ => Err("use pytorch, kaiming, xavier, orthogonal or normal:0.02".into()),
    }
}

impl Settings {
    /// The data that are asked for.
    ///
    /// # Errors
    /// None are.
    pub fn source(&self) -> Result<DataSource> {
        let (test, label) = (self.test.as_deref(), self.label.as_deref());
        let source = DataSource::named(self.data.as_deref(), test, label, &self.reading)?;
        Ok(source.with(self.limit, self.seed))
    }

    /// The methods that are asked for.
    pub fn names(&self) -> Vec<String> {
        let one = || vec![self.method.clone().unwrap_or_else(|| "adahessian".into())];
        self.compare.clone().unwrap_or_else(one)
    }

    /// The hyper-parameter flags as fields of a method.
    fn fields(&self) -> Result<Vec<(&'static str, Value)>> {
        let mut fields = Vec::new();
        let mut add = |name, value: Option<Value>| fields.extend(value.map(|v| (name, v)));
        add("lr", self.lr.clone());
        add("weight_decay", self.weight_decay.map(Value::from));
        add("momentum", self.momentum.map(Value::from));
        add("betas", self.betas.clone().map(Value::from));
        add("eps", self.eps.map(Value::from));
        add("inv_freq", self.inv_freq.map(Value::from));
        add("rule", self.rule.clone().map(Value::from));
        add("form", self.form.clone().map(Value::from));
        add("window", self.window.map(Value::from));
        add("damping", self.damping.map(Value::from));
        add("hessian_power", self.hessian_power.map(Value::from));
        add("hessian_every", self.hessian_every.map(Value::from));
        add("probes", self.probes.map(Value::from));
        add("average", self.average.clone().map(Value::from));
        add("probe", self.probe.clone().map(Value::from));
        add("diagnostics", self.diagnostics.map(Value::from));
        add("blocks", self.block.as_deref().map(blocks).transpose()?);
        // JSON has no other numbers.
        if let Some((field, _)) = fields.iter().find(|(_, v)| v.is_null()) {
            bail!("{field} is not finite; use a number");
        }
        Ok(fields)
    }

    /// The method `name` for a run of `steps` steps. Where several are compared, a flag speaks to
    /// those methods that know it.
    ///
    /// # Errors
    /// An unknown method or field, a value out of range.
    pub fn trainer(&self, name: &str, steps: u64) -> Result<Trainer> {
        let names = self.names();
        let blank = self.blank(name)?;
        let mut fields = self.methods.get(name).cloned().unwrap_or_default();
        let others = names.iter().map(|n| self.blank(n)).collect::<Result<Vec<_>>>()?;
        let known = |field: &str| match others.iter().any(|n| n.has(field)) {
            _ if self.compare.is_none() => Ok(true),
            true => Ok(blank.has(field)),
            false => bail!("none of {} has a field `{field}`; leave it out", names.join(", ")),
        };
        if let Some(backend) = self.backend.clone().filter(|_| known("backend").unwrap_or(true)) {
            // Another one than the file's takes none of the settings there.
            let same = fields.get("backend").and_then(|b| b.get("name")) == Some(&Value::from(&*backend));
            if !same {
                fields.insert("backend".into(), backend.into());
            }
        }
        for (field, value) in self.fields()? {
            if known(field)? {
                fields.insert(field.into(), value);
            }
        }
        for entry in &self.set {
            let (key, written) = field_value(entry)?;
            let (method, field) = match key.split_once('.') {
                Some((method, field)) if names.iter().any(|n| n == method) => (Some(method), field),
                _ => (None, key),
            };
            if method.map_or_else(|| known(field), |m| Ok(m == name))? {
                fields.insert(field.trim().into(), value(written.trim()));
            }
        }
        if blank.has("schedule") {
            let in_file = schedule_of(&mut fields).and_then(|s| s.as_str().map(String::from));
            let text =
                self.schedule.clone().or(in_file).unwrap_or_else(|| format!("warmup:{}+linear", steps / 20));
            fields.insert("schedule".into(), text.parse::<Schedule>()?.bind(steps).to_string().into());
        }
        let trainer = Trainer::new(name, fields)?;
        trainer.validate().with_context(|| name.to_string())?;
        Ok(trainer)
    }

    /// The method `name` with its defaults, with the backend that is asked for.
    fn blank(&self, name: &str) -> Result<Trainer> {
        let plain = Trainer::new(name, Map::new())?;
        let in_file = self.methods.get(name).and_then(|fields| fields.get("backend"));
        match self.backend.clone().map(Value::from).or_else(|| in_file.cloned()) {
            Some(backend) if plain.has("backend") => {
                Ok(Trainer::new(name, Map::from_iter([("backend".into(), backend)]))?)
            }
            _ => Ok(plain),
        }
    }

    /// How mini-batches are drawn.
    pub fn sampling(&self) -> Sampling {
        let (batch, augment) = (self.batch.unwrap_or(128), self.augment.unwrap_or_default());
        Sampling {
            batch,
            seed: Seed(self.seed.unwrap_or(0)),
            augment,
            accumulate: self.accumulate.unwrap_or(1),
        }
    }
}

#[cfg(feature = "adahessian")]
fn blocks(text: &str) -> Result<Value> {
    Ok(serde_json::to_value(text.parse::<thalweg_adahessian::BlockRules>()?)?)
}

#[cfg(not(feature = "adahessian"))]
fn blocks(_: &str) -> Result<Value> {
    bail!("`block` belongs to adahessian, which this build lacks; build with the feature of that name")
}

/// The schedule among the fields of a method or of its backend.
pub(super) fn schedule_of(fields: &mut Map<String, Value>) -> Option<&mut Value> {
    match fields.contains_key("schedule") {
        true => fields.get_mut("schedule"),
        false => fields.get_mut("backend")?.get_mut("schedule"),
    }
}

/// TOML has no null.
pub(super) fn without_null(fields: &mut Map<String, Value>) {
    fields.retain(|_, v| !v.is_null());
    fields.values_mut().for_each(inside);

    fn inside(value: &mut Value) {
        match value {
            Value::Object(fields) => without_null(fields),
            Value::Array(all) => all.iter_mut().for_each(inside),
            _ => (),
        }
    }
}
