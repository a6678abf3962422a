//! M-FAC's stop of the tour.

use serde_json::json;
use thalweg_mfac::Saliency;

use super::{Job, Settings, curves, table};
use crate::source::Prepared;
use crate::train::tour::{ARCH, trained};
use crate::{Finding, Host, Result};

/// One-shot pruning of a small network.
///
/// # Errors
/// What training or pruning fails with.
pub fn mfac(host: &Host) -> Result<Finding> {
    let quiet = host.quiet();
    let (data, model) = trained(ARCH, json!({}), &quiet)?;
    let settings = Settings {
        compare: Some(vec![Saliency::Mfac, Saliency::DiagFisher, Saliency::Magnitude]),
        sparsity: Some(vec![0.5, 0.7, 0.8, 0.85, 0.9, 0.95]),
        recompute: Some(8),
        seed: Some(1),
        ..Settings::default()
    };
    let Prepared { description, train, test, .. } = data;
    let job = Job::new(&settings, &quiet, description, model, train, test)?;
    let (dense, rows) = (job.dense()?, job.rows(&mut job.source()?, None)?);
    let figure = curves("Accuracy after pruning", "share of right classes", &rows, |r| r.accuracy);
    Ok(Finding {
        name: "mfac",
        title: "M-FAC: pruning with the inverse Fisher matrix".into(),
        text: format!(
            "{ARCH} trained on the digits, then pruned in one go without fine-tuning; fresh gradients 8 times on the way."
        ),
        table: table(&rows, &dense),
        figures: vec![(figure, "Higher is better.".into())],
        marks: Vec::new(),
        data: serde_json::to_value(&rows)?,
    })
}
