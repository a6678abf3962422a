//! What the tour shows of certificates.

use anyhow::Result;
use serde_json::{Value, json};
use thalweg::lipsdp::{LipSdp, Norm, Sampling as Search, lower_bound};
use thalweg::plot::Table;

use super::{model, report, summary};
use crate::bench::Finding;
use crate::config::Common;
use crate::tour;

/// All bounds of a small MaxMin network that has just been trained on the digits.
pub fn all_bounds(common: &Common) -> Result<Finding> {
    const ARCH: &str = "mlp:64-16-16-10:maxmin";
    let (_, trained) = tour::trained(ARCH, json!({ "weight_decay": 0.1 }), common)?;
    let net = model::from_graph(&trained, &trained.preprocess)?;
    let lower = lower_bound(&net, Norm::L2, &[], &Search::default());

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
        list.push(Value::Object(summary(&certificate, lower)));
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
        text: format!("{ARCH} trained on the digits; all bounds in ℓ2 per unit of pixels in [0, 1]."),
        table,
        figures: vec![(report::bounds(&found, lower), caption.into())],
        marks,
        data: list.into(),
    })
}
