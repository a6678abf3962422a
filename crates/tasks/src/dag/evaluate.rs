//! A graph beside the true one.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg_plot::Table;
use thalweg_topo::Mat;
use thalweg_topo::graph::{edges, is_order};
use thalweg_topo::metrics::{Metrics, compare, order_divergence, r2_sortability, varsortability};

use super::table;
use crate::error::bail;
use crate::{Context, Host, Result};

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvaluationSettings {
    /// The true graph: a file, or `sachs`
    #[arg(long, value_name = "FILE")]
    pub truth: Option<String>,
    /// The estimated graph
    #[arg(long, value_name = "FILE")]
    pub est: Option<String>,
    /// Data, to tell how far their variances give the true order away
    #[arg(long, value_name = "FILE")]
    pub data: Option<String>,
    /// The estimated order, to count the true edges that go against it
    #[arg(long, value_name = "FILE")]
    pub order: Option<PathBuf>,
}

/// How far a graph is from the true one.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Counts and shares of edges.
    pub metrics: Metrics,
    /// Edges of the true graph.
    pub true_edges: usize,
    /// Edges in which they differ, as they stand in the estimated graph, or, where missing, in the true one.
    pub differing: Vec<Difference>,
    /// Varsortability and R²-sortability of the data; none without data, or where the graph has no edge.
    pub sortability: Option<(Option<f64>, Option<f64>)>,
    /// True edges against the order; none without an order.
    pub order_divergence: Option<usize>,
}

/// An edge in which two graphs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Tail.
    pub from: String,
    /// Head.
    pub to: String,
    /// `extra`, `missing` or `reversed`.
    pub how: &'static str,
}

/// Edges of `w` that `other` has not, with `how` they differ; those that it has the other way round are named by
/// `reversed` alone.
fn differing(
    names: &[String],
    w: &Mat<f64>,
    other: &Mat<f64>,
    how: &'static str,
    reversed: bool,
) -> Vec<Difference> {
    let of = |(u, v, _): (usize, usize, f64)| {
        let turned = other[(v, u)] != 0.0;
        let how = match (other[(u, v)] != 0.0, turned) {
            (true, _) => return None,
            (_, true) if reversed => "reversed",
            (_, true) => return None,
            _ => how,
        };
        Some(Difference { from: names[u].clone(), to: names[v].clone(), how })
    };
    edges(w).into_iter().filter_map(of).collect()
}

/// Compares two graphs: the whole of `thalweg dag eval`.
///
/// # Errors
/// Files that cannot be read or do not go together, a true graph with a cycle.
pub fn evaluate(settings: &EvaluationSettings, host: &Host) -> Result<Evaluation> {
    let truth_name =
        settings.truth.as_deref().context("no true graph; set `truth` to a file, or to sachs")?;
    let est_name = settings.est.as_deref().context("no estimated graph; set `est` to a file")?;
    let (truth, est) = (table::graph(truth_name)?, table::graph(est_name)?);
    for (graph, name) in [(&truth, truth_name), (&est, est_name)] {
        if !graph.zeros.is_empty() {
            host.note(format!("{name}: {} edges of weight 0 are none", graph.zeros.len()));
        }
    }
    let names = match (truth.unnamed, est.unnamed) {
        // A graph without names takes those of the other.
        (true, false) => est.names.clone(),
        (false, true) => truth.names.clone(),
        _ => {
            let more = est.names.iter().filter(|n| !truth.names.contains(n)).cloned();
            truth.names.iter().cloned().chain(more).collect()
        }
    };
    let (t, e) = (truth.among(&names, truth_name)?, est.among(&names, est_name)?);
    let metrics = compare(&t, &e)?;
    let sortability = settings.data.as_deref().map(|data| -> Result<_> {
        let sample = table::data(data, &table::Reading::default(), host)?;
        let (t, s) = (truth.among(sample.names(), truth_name)?, sample.covariance());
        Ok((varsortability(&t, &s), r2_sortability(&t, &s)))
    });
    let order_divergence = settings.order.as_deref().map(|file| {
        let order = table::order(file, &names)?;
        if !is_order(&order, names.len()) {
            bail!("{}: every variable must stand in the order once", file.display());
        }
        Ok(order_divergence(&t, &order))
    });
    Ok(Evaluation {
        metrics,
        true_edges: edges(&t).len(),
        differing: [differing(&names, &e, &t, "extra", true), differing(&names, &t, &e, "missing", false)]
            .concat(),
        sortability: sortability.transpose()?,
        order_divergence: order_divergence.transpose()?,
    })
}

impl Evaluation {
    /// For programs.
    pub fn summary(&self) -> Map<String, Value> {
        let m = &self.metrics;
        let mut all = Map::new();
        for (key, value) in [
            ("shd", json!(m.shd)),
            ("tpr", json!(m.tpr)),
            ("fdr", json!(m.fdr)),
            ("cpdag_shd", json!(m.cpdag_shd)),
            ("skeleton_f1", json!(m.skeleton_f1)),
            ("fpr", json!(m.fpr)),
            ("skeleton_shd", json!(m.skeleton_shd)),
            ("edges_found", json!(m.nnz)),
            ("true_edges", json!(self.true_edges)),
            ("differing", json!(self.differing)),
        ] {
            all.insert(key.into(), value);
        }
        if let Some((by_variance, by_r2)) = self.sortability {
            all.insert("varsortability".into(), json!(by_variance));
            all.insert("r2_sortability".into(), json!(by_r2));
        }
        if let Some(divergence) = self.order_divergence {
            all.insert("order_divergence".into(), json!(divergence));
        }
        all
    }

    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["measure", "value"]);
        let text = |v: &Value| match v.as_f64() {
            Some(x) if !v.is_u64() => format!("{x:.4}"),
            _ => v.to_string(),
        };
        for (key, value) in self.summary().iter().filter(|(key, _)| *key != "differing") {
            table.row([key.clone(), text(value)]);
        }
        table
    }

    /// The edges in which they differ, for people.
    pub fn differences(&self) -> Table {
        let mut table = Table::new(["from", "to", "edge"]);
        for Difference { from, to, how } in &self.differing {
            table.row([from.as_str(), to, how]);
        }
        table
    }
}
