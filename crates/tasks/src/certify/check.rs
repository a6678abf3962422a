//! Certificates in files, and their proofs repeated.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg_lipsdp::Certificate;
use thalweg_lipsdp::certificate::Basis;

use super::{Settings, read};
use crate::error::bail;
use crate::folder::read_file;
use crate::{Context, Host, Result};

/// A certificate in a file, with the settings that say what it is for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(flatten)]
    certificate: Certificate,
    /// Absent in certificates that were written by the library alone.
    #[serde(default)]
    of: Map<String, Value>,
}

/// Settings that say which network of a file is certified. A check takes them from the certificate.
const OF: [&str; 8] =
    ["activation", "arch", "input", "outputs", "residual", "normalize", "output-row", "pair"];
/// Settings that a check has no use for.
const IDLE: [&str; 5] = ["data", "tol", "max-memory", "samples", "seed"];

impl Saved {
    /// What these settings certified.
    pub fn new(certificate: &Certificate, settings: &Settings) -> Result<Self> {
        let all = serde_json::to_value(settings)?;
        let of = OF.iter().filter(|key| !all[**key].is_null());
        let of = of.map(|key| ((*key).to_owned(), all[*key].clone())).collect();
        Ok(Self { certificate: certificate.clone(), of })
    }

    /// Settings with what they leave out.
    fn complete(&self, settings: &Settings) -> Result<Settings> {
        let mut all = serde_json::to_value(settings)?;
        if let Some(name) = IDLE.iter().find(|key| !all[**key].is_null()) {
            bail!("a check solves and samples nothing; leave out `{name}`");
        }
        let another = |name: &str| {
            format!("the certificate was made with another `{name}`; leave it out, it is in the certificate")
        };
        let Certificate { method, norm, .. } = &self.certificate;
        if settings.bound.as_ref().is_some_and(|bound| bound != method) {
            bail!("{}", another("bound"));
        }
        if (settings.norm.is_some() || settings.to.is_some()) && settings.norm() != *norm {
            bail!("{}", another("norm"));
        }
        if self.of.is_empty() {
            return Ok(settings.clone());
        }
        for key in OF {
            let certified = self.of.get(key).cloned().unwrap_or_default();
            if !all[key].is_null() && all[key] != certified {
                bail!("{}", another(key));
            }
            all[key] = certified;
        }
        Ok(serde_json::from_value(all)?)
    }
}

/// A proof that was repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the certificate claims.
    pub bound: f64,
    /// What was proved again, no more than that but for rounding.
    pub proved: f64,
    /// Name of its bound.
    pub method: String,
    /// What it rests on, and what was therefore repeated.
    pub basis: Basis,
    /// Whether its bound was proved by its own method; the product of norms stood in for it else.
    pub verified: bool,
}

impl Checked {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "verified": self.verified,
            "bound": self.bound,
            "proved": self.proved,
            "method": self.method,
            "basis": self.basis,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { bound, proved, method, .. } = self;
        let repeated = match self.basis {
            Basis::Multipliers => "from its multipliers",
            Basis::Product => "the product of norms",
            Basis::Parts => "from its parts",
            Basis::Patterns => "all patterns searched again",
            Basis::Constant => "no output depends on an input",
        };
        match self.verified {
            true => format!("proved: {proved:.8} (claimed {bound:.8}, by {method}; {repeated})\n"),
            false => format!(
                "not proved by {method}: {proved:.8} is the product of norms, which stands in for it (claimed {bound:.8})\n"
            ),
        }
    }
}

/// Repeats the proof of a certificate that [`certify`](super::certify) wrote, for the network that the settings
/// name, without a solver. Which row, pair and activation it is for stands in the certificate.
///
/// # Errors
/// Files that cannot be read, settings that contradict the certificate, another network, a certificate that proves
/// less than it claims.
pub fn check(settings: &Settings, certificate: &Path, host: &Host) -> Result<Checked> {
    let named = || certificate.display().to_string();
    let saved: Saved = serde_json::from_str(&read_file(certificate)?).with_context(named)?;
    settings.validate()?;
    let settings = &saved.complete(settings)?;
    let loaded = read(settings.file()?, &settings.read_options())?;
    loaded.notes.iter().for_each(|n| host.note(n));
    let net = settings.aimed(&loaded.net)?;
    let claimed = saved.certificate;
    let proved = net.check(&claimed).with_context(named)?;
    let Certificate { bound, method, basis, verified, .. } = claimed;
    Ok(Checked { bound, proved, method, basis, verified })
}
