//! The stop of the tour that certifies.

use serde_json::{Value, json};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::{LipSdp, Norm};
use thalweg_plot::Table;

use super::job::object;
use super::{network, report};
use crate::train::tour::trained;
use crate::{Finding, Host, Result};

/// All bounds of a small MaxMin network that has just been trained on the digits.
///
/// # Errors
/// What training fails with.
pub fn all_bounds(host: &Host) -> Result<Finding> {
    const ARCH: &str = "mlp:64-16-16-10:maxmin";
    let (_, model) = trained(ARCH, json!({ "weight_decay": 0.1 }), host)?;
    let net = network(&model)?;
    let lower = lower_bound(&net, Norm::L2, &[], &Sampling::default()).ok();

    let mut table = Table::new(["method", "bound", "over the sampled", "proved", "seconds"]);
    let (mut found, mut list) = (Vec::new(), Vec::new());
    for certificate in LipSdp::default().all(&net).into_iter().filter_map(|(_, c)| c.ok()) {
        table.row([
            certificate.method.clone(),
            format!("{:.4}", certificate.bound),
            lower.map_or_else(String::new, |l| format!("{:.3}", certificate.bound / l)),
            if certificate.verified { "yes" } else { "no" }.into(),
            format!("{:.3}", certificate.seconds),
        ]);
        found.push((certificate.method.clone(), certificate.bound));
        list.push(Value::Object(object(&certificate, lower)));
    }
    let proved = list.iter().all(|c| c["verified"] == true);
    let least = found.iter().map(|f| f.1).fold(f64::INFINITY, f64::min);
    let marks = vec![
        ("every bound is proved after its solve".into(), proved),
        ("no bound lies below the sampled value".into(), lower.is_none_or(|l| l <= least)),
    ];
    let caption = "Lower is tighter; the true constant lies between the two.";
    Ok(Finding {
        name: "lipsdp",
        title: "LipSDP: Lipschitz bounds that are proved".into(),
        text: format!(
            "{ARCH} trained on the digits; all bounds in ℓ2, per 255 grey levels (the model's scale is 1/255; the digits go from 0 to 16)."
        ),
        table,
        figures: vec![(report::bounds(&found, lower), caption.into())],
        marks,
        data: list.into(),
    })
}
