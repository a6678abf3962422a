//! `thalweg bilevel check`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use thalweg::bilevel::{self, Bilevel, Oracle};
use thalweg::core::Seed;
use thalweg::plot::Table;

use super::Numbers;
use super::toy::named;
use crate::config::Common;
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg bilevel check cosine
  thalweg bilevel check jump --at 0.000001

Gradients against differences, the error bound's constant, how ψ_σ and its gradient go as σ falls, and the explicit
gradient with the pseudo-inverse of the lower level's KKT matrix.")]
pub struct Check {
    /// A toy: line, least-squares, active, pl, jump, cosine, simplex
    name: String,
    /// The point x
    #[arg(long, value_name = "X,…", allow_hyphen_values = true)]
    at: Option<Numbers>,
    /// Seed of the directions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

impl Check {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let toy = named(&self.name)?;
        let x = self.at.map_or(toy.start().0, |at| at.0);
        if x.len() != toy.dims().0 {
            bail!("--at has {} numbers, {} has {} unknowns x", x.len(), self.name, toy.dims().0);
        }
        let mut oracle = Oracle::new(&toy)?;
        let found = bilevel::check(&mut oracle, &x, Seed(self.seed))?;
        let truth = toy.psi(&x);
        if self.common.json {
            let table: Vec<_> = found
                .limit
                .table
                .iter()
                .map(|(sigma, value, gradient)| json!({ "sigma": sigma, "psi_sigma": value, "gradient": gradient }))
                .collect();
            return output::print_json(&json!({
                "problem": self.name,
                "x": x,
                "gradient_errors": found.gradients,
                "product_error": found.products,
                "error_bound": found.error_bound,
                "sigma": table,
                "psi": found.limit.value,
                "psi_error": found.limit.error,
                "gradient": found.limit.gradient,
                "explicit": found.explicit.as_ref().ok(),
                "explicit_error": found.explicit.as_ref().err(),
                "truth": truth.0,
                "truth_gradient": truth.1,
                "warnings": found.warnings,
            }));
        }
        let list = |v: &[f64]| v.iter().map(|v| format!("{v:.8}")).collect::<Vec<_>>().join(", ");
        let mut table = Table::new(["σ", "ψ_σ", "∇ψ_σ"]);
        for (sigma, value, gradient) in &found.limit.table {
            table.row([format!("{sigma:.6}"), format!("{value:.10}"), list(gradient)]);
        }
        table.row(["limit".into(), format!("{:.10}", found.limit.value), list(&found.limit.gradient)]);
        if let Ok(explicit) = &found.explicit {
            table.row(["explicit".into(), String::new(), list(explicit)]);
        }
        table.row([
            "truth".into(),
            format!("{:.10}", truth.0),
            truth.1.as_deref().map_or("none".into(), list),
        ]);
        let mut text = format!("{} at {}: {}\n{}", self.name, list(&x), toy.about, table.text());
        let names = ["∇_x f", "∇_y f", "∇_x g", "∇_y g"];
        let errors = names.iter().zip(found.gradients).map(|(n, e)| format!("{n} {e:.1e}"));
        text += &format!("gradients against differences: {}\n", errors.collect::<Vec<_>>().join(", "));
        let [bare, penalised] = found.error_bound;
        text += &format!("error bound μ: at most {bare:.3e} (σ = 0), {penalised:.3e} (σ = 0.01)\n");
        for warning in &found.warnings {
            text += &format!("warning: {warning}\n");
        }
        output::print(&text)
    }
}
