//! A problem's gradients and the theory's assumptions at a point.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_bilevel::diagnose::{self, Check};
use thalweg_bilevel::tasks::toys;
use thalweg_bilevel::{Bilevel, Oracle};
use thalweg_core::Seed;
use thalweg_plot::Table;

use super::toy::named;
use crate::error::bail;
use crate::{Host, Result};

/// What is checked.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// A toy: line, least-squares, active, pl, jump, cosine, simplex
    #[arg(required = true)]
    pub name: Option<String>,
    /// The point x
    #[arg(long, value_name = "X,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub at: Option<Vec<f64>>,
    /// Seed of the directions [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// What was found.
pub struct Found {
    toy: toys::Toy,
    x: Vec<f64>,
    /// The measurements.
    pub check: Check,
    /// ψ(x) and its gradient, as far as it has one.
    pub truth: (f64, Option<Vec<f64>>),
}

/// Gradients against differences, the error bound's constant, how ψ_σ and its gradient go as σ falls, and the
/// explicit gradient with the pseudo-inverse of the lower level's KKT matrix.
///
/// # Errors
/// No such toy, a point of another size or outside X.
pub fn check(settings: &Settings, _host: &Host) -> Result<Found> {
    let toy = named(settings.name.as_deref().unwrap_or_default())?;
    let x = settings.at.clone().unwrap_or(toy.start().0);
    if x.len() != toy.dims().0 {
        bail!("`at` has {} numbers, {} has {} unknowns x", x.len(), toy.name, toy.dims().0);
    }
    let check = diagnose::check(&mut Oracle::new(&toy)?, &x, Seed(settings.seed.unwrap_or(0)))?;
    let truth = toy.psi(&x);
    Ok(Found { toy, x, check, truth })
}

impl Found {
    /// For programs.
    pub fn json(&self) -> Value {
        let (found, truth) = (&self.check, &self.truth);
        let row = |(sigma, value, gradient): &(f64, f64, Vec<f64>)| json!({ "sigma": sigma, "psi_sigma": value, "gradient": gradient });
        let limit = found.limit.as_ref();
        let table: Option<Vec<_>> = limit.ok().map(|limit| limit.table.iter().map(row).collect());
        json!({
            "problem": self.toy.name,
            "x": self.x,
            "gradient_errors": found.gradients,
            "product_error": found.products,
            "error_bound": found.error_bound,
            "sigma": table,
            "psi": limit.ok().map(|l| l.value),
            "psi_error": limit.ok().map(|l| l.error),
            "gradient": limit.ok().map(|l| &l.gradient),
            "gradient_error": limit.ok().map(|l| l.gradient_error),
            "limit_error": limit.err(),
            "explicit": found.explicit.as_ref().ok(),
            "explicit_error": found.explicit.as_ref().err(),
            "truth": truth.0,
            "truth_gradient": truth.1,
            "warnings": found.warnings,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let (found, truth) = (&self.check, &self.truth);
        let list = |v: &[f64]| v.iter().map(|v| format!("{v:.8}")).collect::<Vec<_>>().join(", ");
        let mut table = Table::new(["σ", "ψ_σ", "∇ψ_σ"]);
        if let Ok(limit) = &found.limit {
            for (sigma, value, gradient) in &limit.table {
                table.row([format!("{sigma:.3e}"), format!("{value:.10}"), list(gradient)]);
            }
            table.row(["limit".into(), format!("{:.10}", limit.value), list(&limit.gradient)]);
        }
        if let Ok(explicit) = &found.explicit {
            table.row(["explicit".into(), String::new(), list(explicit)]);
        }
        table.row([
            "truth".into(),
            format!("{:.10}", truth.0),
            truth.1.as_deref().map_or("none".into(), list),
        ]);
        let mut text =
            format!("{} at {}: {}\n{}", self.toy.name, list(&self.x), self.toy.about, table.text());
        let names = ["∇_x f", "∇_y f", "∇_x g", "∇_y g"];
        let errors = names.iter().zip(found.gradients).map(|(n, e)| format!("{n} {e:.1e}"));
        text += &format!("gradients against differences: {}\n", errors.collect::<Vec<_>>().join(", "));
        let [bare, penalized] = found.error_bound;
        text += &format!("error bound μ: at most {bare:.3e} (σ = 0), {penalized:.3e} (σ = 0.01)\n");
        for warning in &found.warnings {
            text += &format!("warning: {warning}\n");
        }
        text
    }
}
