//! What decides the result of a certificate.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;
use thalweg_lipsdp::sample::Sampling;
use thalweg_lipsdp::{Bound, LipSdp, Norm};
use thalweg_net::Normalize;

use super::{ReadOptions, Subject};
use crate::error::bail;
use crate::settings::first_given;
use crate::source::Reading;
use crate::{Context, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Model that `train` saved (safetensors), or an npz archive of weights
    pub model: Option<PathBuf>,
    /// Norm of the inputs' change [default: l2]
    #[arg(long)]
    pub norm: Option<InputNorm>,
    /// auto, neuron, layer, nsr, nsr-paper, first-order, eclipse, split:K, product, patterns, all [default: auto]
    #[arg(long, visible_alias = "method")]
    #[serde(alias = "method")]
    pub bound: Option<String>,
    /// Of weights alone (npz, or safetensors without layers): relu, leaky:0.1, tanh, slope:a,b, maxmin, groupsort:N, householder, …
    #[arg(long, value_name = "NAME")]
    pub activation: Option<String>,
    /// Of a file that does not describe itself: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub arch: Option<String>,
    /// Shape of an example for an architecture by name, channels last [default: the model's own]
    #[arg(long, value_name = "H,W,C", value_delimiter = ',')]
    pub input: Option<Vec<usize>>,
    /// Outputs of an architecture by name that does not say them [default: 10]
    #[arg(long, value_name = "N")]
    pub outputs: Option<usize>,
    /// Layers between the first and the last of weights alone are blocks x + φ(W x + b)
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub residual: Option<bool>,
    /// Preprocessing instead of the model's; weights alone take its scale only
    #[arg(long, value_name = "mean=…,std=…")]
    pub normalize: Option<Normalize>,
    /// One output alone, from 0
    #[arg(long, value_name = "ROW", conflicts_with_all = ["pair", "to"])]
    pub output_row: Option<usize>,
    /// The difference of two outputs
    #[arg(long, value_name = "K,J", value_parser = parse_pair, conflicts_with = "to")]
    pub pair: Option<(usize, usize)>,
    /// Norm of the outputs' change under the input norm linf [default: l1]
    #[arg(long)]
    pub to: Option<OutputNorm>,
    /// Data to certify: `digits`, a file or a folder
    #[arg(long)]
    pub data: Option<String>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    pub label: Option<String>,
    /// Sizes of changes, in the unit of eps-unit [default: 0.05,0.1,0.2]
    #[arg(long, value_delimiter = ',')]
    pub eps: Option<Vec<f64>>,
    /// What a change of 1 is [default: range]
    #[arg(long)]
    pub eps_unit: Option<EpsUnit>,
    /// Certify only the first N samples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// A program of its own for each pair of classes: tighter radii, more time
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub pairs: Option<bool>,
    /// Relative gap at which the solver stops; never affects whether a bound holds [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// Memory for the solver [default: 4G]
    #[arg(long)]
    pub max_memory: Option<Memory>,
    /// Random points that the lower bound is sampled at, and at most as many of the data; 0: none [default: 200]
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// Seed of the points that the lower bound is sampled at [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// How the data are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: Reading,
}

/// Norm of the inputs' change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputNorm {
    /// Euclidean.
    #[default]
    L2,
    /// The largest change of an input.
    Linf,
}

/// Norm of the outputs' change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputNorm {
    /// The sum of the absolute changes.
    L1,
    /// Euclidean.
    L2,
}

/// What a change of size 1 is, of an input; radii are in the same unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpsUnit {
    /// The range of the training data, from the least to the largest of all their inputs
    #[default]
    Range,
    /// One in the data's own numbers, as they stand in the file
    Raw,
}

/// `3,8`.
fn parse_pair(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(',').and_then(|(k, j)| Some((k.trim().parse().ok()?, j.trim().parse().ok()?)));
    pair.ok_or_else(|| "use two classes, e.g. 3,8".into())
}

/// Memory in bytes, as `4G`, `500M` or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_alphabetic()).len());
        let factor: f64 = match unit {
            "" | "B" => 1.0,
            "K" => 1024.0,
            "M" => 1048576.0,
            "G" => 1073741824.0,
            _ => return Err("use e.g. 500M or 4G".into()),
        };
        match number.parse::<f64>() {
            Ok(n) if n > 0.0 => Ok(Self((n * factor) as u64)),
            _ => Err("use e.g. 500M or 4G".into()),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.0.to_string()
    }
}

/// Sizes of changes where none are given.
const EPS: [f64; 3] = [0.05, 0.1, 0.2];

impl Settings {
    /// With everything decided.
    pub(super) fn effective(&self) -> Self {
        let default = LipSdp::default();
        Self {
            norm: Some(self.norm.unwrap_or_default()),
            bound: Some(self.bound.clone().unwrap_or_else(|| default.bound.to_string())),
            eps: self.eps.clone().or_else(|| self.data.as_ref().map(|_| EPS.to_vec())),
            eps_unit: self.eps_unit.or_else(|| self.data.as_ref().map(|_| EpsUnit::default())),
            tol: Some(self.tol.unwrap_or(default.tol)),
            max_memory: Some(self.max_memory.unwrap_or(Memory(default.max_memory))),
            samples: Some(self.samples()),
            seed: Some(self.seed.unwrap_or(1)),
            ..self.clone()
        }
    }

    /// Refuses what does not go together.
    pub(super) fn validate(&self) -> Result<()> {
        for eps in self.eps() {
            Invalid::at_least_zero("eps", *eps)?;
        }
        let part = self.pair.is_some() || self.output_row.is_some();
        if self.pair.is_some() && self.output_row.is_some() {
            bail!("`pair` and `output-row` are two outputs; set one of them");
        }
        match self.to {
            Some(_) if part => bail!("`to` is the norm of all outputs; leave out `pair` and `output-row`"),
            Some(OutputNorm::L1) if self.norm.unwrap_or_default() == InputNorm::L2 => {
                bail!("`to` l1 belongs to `norm` linf")
            }
            _ => {}
        }
        if self.limit == Some(0) {
            bail!("`limit` = 0 is not allowed; use at least 1");
        }
        if self.data.is_none() {
            let given = [
                ("eps", self.eps.is_some()),
                ("eps-unit", self.eps_unit.is_some()),
                ("label", self.label.is_some()),
                ("limit", self.limit.is_some()),
                ("pairs", self.pairs == Some(true)),
                ("data", self.reading != Reading::default()),
            ];
            match first_given(given) {
                Some("data") => bail!("how data are read is set, but no data; set `data`"),
                Some(name) => bail!("`{name}` is for samples; set `data` to digits, a file or a folder"),
                None => {}
            }
        } else if part {
            bail!("`data` certifies whole networks; leave out `pair` and `output-row`");
        } else if self.bounds()?.len() > 1 {
            bail!("`data` is certified by one bound; set `bound` to another than all");
        }
        self.method(Bound::Auto).validate()?;
        Ok(())
    }

    /// The network's file.
    pub(super) fn file(&self) -> Result<&Path> {
        self.model.as_deref().context("no model; name a safetensors file or an npz archive")
    }

    /// Random points of the lower bound.
    pub(super) fn samples(&self) -> usize {
        self.samples.unwrap_or(Sampling::default().points)
    }

    /// Sizes of changes.
    pub(super) fn eps(&self) -> &[f64] {
        self.eps.as_deref().unwrap_or_default()
    }

    /// Whether every bound is asked for.
    pub(super) fn all(&self) -> bool {
        self.bound.as_deref() == Some("all")
    }

    /// The bounds that are asked for.
    pub(super) fn bounds(&self) -> Result<Vec<Bound>> {
        match self.bound.as_deref() {
            None => Ok(vec![Bound::Auto]),
            Some("all") => Ok(Bound::ALL.to_vec()),
            Some(bound) => Ok(vec![bound.parse()?]),
        }
    }

    /// The method for one of them.
    pub(super) fn method(&self, bound: Bound) -> LipSdp {
        let default = LipSdp::default();
        let max_memory = self.max_memory.map_or(default.max_memory, |m| m.0);
        LipSdp { norm: self.norm(), bound, tol: self.tol.unwrap_or(default.tol), max_memory, ..default }
    }

    /// What is measured.
    pub(super) fn norm(&self) -> Norm {
        match (self.norm.unwrap_or_default(), self.to) {
            (InputNorm::L2, _) => Norm::L2,
            (InputNorm::Linf, Some(OutputNorm::L2)) => Norm::LinfL2,
            (InputNorm::Linf, _) => Norm::Linf,
        }
    }

    /// The network with the output that is asked for.
    pub(super) fn aimed(&self, net: &Subject) -> Result<Subject> {
        match (self.pair, self.output_row) {
            (Some((k, j)), _) => net.difference(k, Some(j)),
            (_, Some(row)) => net.difference(row, None),
            _ => Ok(net.clone()),
        }
    }

    /// How to read the network.
    pub(super) fn read_options(&self) -> ReadOptions {
        ReadOptions {
            activation: self.activation.clone(),
            arch: self.arch.clone(),
            input: self.input.clone(),
            outputs: self.outputs,
            residual: self.residual.unwrap_or(false),
            normalize: self.normalize.clone(),
        }
    }
}
