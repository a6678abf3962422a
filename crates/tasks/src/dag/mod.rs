//! `thalweg dag`: directed acyclic graphs from data.

mod fit;
pub mod picture;
mod settings;
pub mod table;
pub mod tour;
mod watch;
mod write;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use thalweg::core::Seed;
use thalweg::plot::Table;
use thalweg::topo::{Simulation, compare, edges, order_divergence, r2_sortability, varsortability};

use crate::config::Common;
use crate::output;

#[derive(Args)]
pub struct Dag {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Learn a graph from data
    Fit(Box<fit::Fit>),
    /// Improve the graph of another method
    Polish(Box<fit::Polish>),
    /// The best graph of all, for few variables
    Exact(Box<fit::Exact>),
    /// Compare a graph with the true one
    Eval(Eval),
    /// Make a random graph and data
    Simulate(Simulate),
}

impl Dag {
    pub fn run(self) -> Result<()> {
        match self.what {
            What::Fit(args) => args.run(),
            What::Polish(args) => args.run(),
            What::Exact(args) => args.run(),
            What::Eval(args) => args.run(),
            What::Simulate(args) => args.run(),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg dag fit sachs --log --score bic --out g/ && thalweg dag eval --truth sachs --est g/graph.csv
  thalweg dag eval --truth sim/truth.csv --est g/graph.csv --data sim/data.csv --json

Graphs are lists of edges (from,to,weight) or square matrices with names above.")]
struct Eval {
    /// The true graph: a file, or `sachs`
    #[arg(long, value_name = "FILE")]
    truth: String,
    /// The estimated graph
    #[arg(long, value_name = "FILE")]
    est: String,
    /// Data, to tell how far their variances give the true order away
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// The estimated order, to count the true edges that go against it
    #[arg(long, value_name = "FILE")]
    order: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Eval {
    fn run(self) -> Result<()> {
        self.common.start()?;
        let (truth, est) = (table::graph(&self.truth)?, table::graph(&self.est)?);
        let mut names = truth.names.clone();
        names.extend(est.names.iter().filter(|n| !truth.names.contains(n)).cloned());
        let (t, e) = (truth.among(&names, &self.truth)?, est.among(&names, &self.est)?);
        let m = compare(&t, &e)?;
        let mut all = Map::new();
        for (key, value) in [
            ("shd", json!(m.shd)),
            ("tpr", json!(m.tpr)),
            ("fdr", json!(m.fdr)),
            ("cpdag_shd", json!(m.cpdag_shd)),
            ("skeleton_f1", json!(m.skeleton_f1)),
        ] {
            all.insert(key.into(), value);
        }
        if let Some(data) = &self.data {
            let s = table::data(data, false)?.0;
            let t = truth.among(s.names(), &self.truth)?;
            all.insert("varsortability".into(), json!(varsortability(&t, &s.covariance())));
            all.insert("r2_sortability".into(), json!(r2_sortability(&t, &s.covariance())));
        }
        if let Some(file) = &self.order {
            let order = table::order(file, &names)?;
            if !thalweg::topo::is_order(&order, names.len()) {
                anyhow::bail!("{}: every variable must stand in the order once", file.display());
            }
            all.insert("order_divergence".into(), json!(order_divergence(&t, &order)));
        }
        if self.common.json {
            return output::print_json(&all);
        }
        let mut table = Table::new(["measure", "value"]);
        let text = |v: &Value| match v.as_f64() {
            Some(x) if !v.is_u64() => format!("{x:.4}"),
            _ => v.to_string(),
        };
        for (key, value) in &all {
            table.row([key.clone(), text(value)]);
        }
        table.row(["fpr".to_owned(), format!("{:.4}", m.fpr)]);
        table.row(["skeleton_shd".to_owned(), m.skeleton_shd.to_string()]);
        table.row(["edges found".to_owned(), m.nnz.to_string()]);
        table.row(["true edges".to_owned(), edges(&t).len().to_string()]);
        output::print(&table.text())
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg dag simulate --graph er:4 --dim 20 --samples 1000 --noise gauss-ev --seed 1 --out sim/
  thalweg dag simulate --graph sf:2 --dim 10 --samples 500 --mechanism mlp --out sim/ --json")]
struct Simulate {
    /// er:K (Erdős–Rényi), sf:K (scale-free) or bp:K (bipartite), with K edges per node
    #[arg(long)]
    graph: String,
    /// Variables
    #[arg(long)]
    dim: usize,
    /// Samples
    #[arg(long)]
    samples: usize,
    /// gauss-ev, gauss-nv, exp, gumbel, uniform, logistic or poisson
    #[arg(long, default_value = "gauss-ev")]
    noise: String,
    /// linear, mlp, mim, gp or gp-add
    #[arg(long, default_value = "linear")]
    mechanism: String,
    /// Divide each column by its standard deviation
    #[arg(long, visible_alias = "standardise")]
    standardize: bool,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for data.csv and truth.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Simulate {
    fn run(self) -> Result<()> {
        self.common.start()?;
        let simulation = Simulation {
            family: self.graph.parse()?,
            dim: self.dim,
            samples: self.samples,
            noise: self.noise.parse()?,
            mechanism: self.mechanism.parse()?,
        };
        let clock = Instant::now();
        let (truth, sample) = simulation.run(Seed(self.seed))?;
        let sample = if self.standardize { sample.standardised() } else { sample };
        output::make_folder(&self.out)?;
        let (data, graph) = (self.out.join("data.csv"), self.out.join("truth.csv"));
        let mut text = sample.names().join(",") + "\n";
        for i in 0..sample.n() {
            let row: Vec<String> = sample.x().row(i).iter().map(f64::to_string).collect();
            text += &(row.join(",") + "\n");
        }
        output::write(&data, text.as_bytes())?;
        write::list(&graph, sample.names(), &truth)?;
        let s = sample.covariance();
        let summary = json!({
            "dim": self.dim,
            "samples": self.samples,
            "edges": edges(&truth).len(),
            "varsortability": varsortability(&truth, &s),
            "r2_sortability": r2_sortability(&truth, &s),
            "data": data,
            "truth": graph,
            "seconds": clock.elapsed().as_secs_f64(),
        });
        output::write_json(&self.out.join("summary.json"), &summary)?;
        if self.common.json {
            return output::print_json(&summary);
        }
        let number = |key: &str| summary[key].as_f64().map_or("–".to_owned(), |v| format!("{v:.3}"));
        output::print(&format!(
            "{} variables, {} samples, {} edges; varsortability {}, R²-sortability {}\n{} and {}\n",
            self.dim,
            self.samples,
            summary["edges"],
            number("varsortability"),
            number("r2_sortability"),
            data.display(),
            graph.display(),
        ))
    }
}

/// Reads data and says what they are.
fn read(common: &Common, name: &str, log: bool, drop_missing: bool) -> Result<thalweg::topo::Sample> {
    let (sample, dropped) = table::data(name, drop_missing)?;
    if dropped > 0 {
        common.note(format!("{dropped} rows with missing values were left out"));
    }
    common.note(format!("{name}: {} samples of {} variables", sample.n(), sample.d()));
    match log {
        false => Ok(sample),
        true => sample.log().with_context(|| format!("{name} has values ≤ 0; leave out --log")),
    }
}
