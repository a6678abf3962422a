use std::path::Path;

use serde_json::{Value, json};
use thalweg_lipsdp::Certificate;

use super::{Settings, read};
use crate::folder::read_file;
use crate::{Context, Host, Result};

/// A proof that was repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the certificate claims.
    pub bound: f64,
    /// What its multipliers prove, no more than that but for rounding.
    pub proved: f64,
    /// Name of its bound.
    pub method: String,
}

impl Checked {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "verified": true, "bound": self.bound, "proved": self.proved })
    }
}

/// Repeats the proof of a certificate that [`certify`](super::certify) wrote, for the network that the settings
/// name, without a solver.
///
/// # Errors
/// Files that cannot be read, a certificate that proves less than it claims.
pub fn check(settings: &Settings, certificate: &Path, host: &Host) -> Result<Checked> {
    settings.validate()?;
    let loaded = read(settings.file()?, &settings.read_options())?;
    loaded.notes.iter().for_each(|n| host.note(n));
    let net = settings.aimed(&loaded.net)?;
    let named = || certificate.display().to_string();
    let claimed: Certificate = serde_json::from_str(&read_file(certificate)?).with_context(named)?;
    let proved = net.check(&claimed).with_context(named)?;
    Ok(Checked { bound: claimed.bound, proved, method: claimed.method })
}
