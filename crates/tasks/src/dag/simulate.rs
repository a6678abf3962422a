//! A random graph and data from it.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_core::Seed;
use thalweg_core::named::text;
use thalweg_plot::Report;
use thalweg_topo::graph::{edges, topological_order};
use thalweg_topo::metrics::{r2_sortability, varsortability};
use thalweg_topo::simulate::{Family, Mechanism, Noise, Simulation};
use thalweg_topo::{Mat, Sample};

use super::{picture, write};
use crate::{Context, Folder, Result};

const DATA: &str = "data.csv";
const TRUTH: &str = "truth.csv";

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SimulationSettings {
    /// er:K (Erdős–Rényi), sf:K (scale-free, K whole) or bp:K (bipartite), with K edges per node
    #[arg(long)]
    pub graph: Option<Family>,
    /// Variables
    #[arg(long)]
    pub dim: Option<usize>,
    /// Samples
    #[arg(long)]
    pub samples: Option<usize>,
    /// gauss-ev, gauss-nv, exp, gumbel, uniform, logistic or poisson [default: gauss-ev]
    #[arg(long, value_parser = text::<Noise>)]
    pub noise: Option<Noise>,
    /// linear, mlp, mim, gp or gp-add [default: linear]
    #[arg(long, value_parser = text::<Mechanism>)]
    pub mechanism: Option<Mechanism>,
    /// Divide each column by its standard deviation
    #[arg(long, visible_alias = "standardise", num_args = 0, default_missing_value = "true")]
    #[serde(alias = "standardise")]
    pub standardize: Option<bool>,
    /// Seed [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    pub seed: Option<u64>,
}

/// What is said of simulated data.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// Variables.
    pub dim: usize,
    /// Samples.
    pub samples: usize,
    /// Edges of the true graph.
    pub edges: usize,
    /// How far variances give the order away; none without edges.
    pub varsortability: Option<f64>,
    /// How far shares of explained variance do.
    pub r2_sortability: Option<f64>,
    /// File of the data.
    pub data: PathBuf,
    /// File of the true graph.
    pub truth: PathBuf,
    /// Time of the simulation.
    pub seconds: f64,
}

/// Makes a graph and data and writes them: the whole of `thalweg dag simulate`.
///
/// # Errors
/// Sizes that do not fit together, a folder that cannot be written to.
pub fn simulate(settings: &SimulationSettings, folder: &Folder) -> Result<Simulated> {
    let simulation = Simulation {
        family: settings.graph.context("no family of graphs; set `graph`, e.g. er:4")?,
        dim: settings.dim.context("no number of variables; set `dim`")?,
        samples: settings.samples.context("no number of samples; set `samples`")?,
        noise: settings.noise.unwrap_or_default(),
        mechanism: settings.mechanism.unwrap_or_default(),
    };
    let clock = Instant::now();
    let (truth, sample) = simulation.run(Seed(settings.seed.unwrap_or(0)))?;
    let sample = if settings.standardize == Some(true) { sample.standardized() } else { sample };
    let effective = SimulationSettings {
        noise: Some(simulation.noise),
        mechanism: Some(simulation.mechanism),
        seed: Some(settings.seed.unwrap_or(0)),
        ..settings.clone()
    };
    folder.begin(&effective, &[DATA, TRUTH])?;
    folder.write(DATA, write::samples(&sample).as_bytes())?;
    folder.write(TRUTH, write::list(sample.names(), &truth).as_bytes())?;
    let s = sample.covariance();
    let simulated = Simulated {
        dim: simulation.dim,
        samples: simulation.samples,
        edges: edges(&truth).len(),
        varsortability: varsortability(&truth, &s),
        r2_sortability: r2_sortability(&truth, &s),
        data: folder.file(DATA),
        truth: folder.file(TRUTH),
        seconds: clock.elapsed().as_secs_f64(),
    };
    report(folder, &simulated, &truth, &sample)?;
    folder.end(&simulated, None)?;
    Ok(simulated)
}

fn report(folder: &Folder, simulated: &Simulated, truth: &Mat<f64>, sample: &Sample) -> Result<()> {
    let order = topological_order(truth).unwrap_or_default();
    let names: Vec<&str> = order.iter().map(|v| &*sample.names()[*v]).collect();
    let mut report = Report::new("A simulated graph");
    report.lead(&simulated.text());
    let section = report.section("The true graph");
    section.figure(
        &picture::arcs("Edges along the order", &order, truth, None),
        &format!("The order: {}.", names.join(", ")),
    );
    section.figure(&picture::weights("Weights", &order, truth), "Names stand in truth.csv.");
    folder.report(report)?;
    Ok(())
}

impl Simulated {
    /// One line for people.
    pub fn text(&self) -> String {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
        format!(
            "{} variables, {} samples, {} edges; varsortability {}, R²-sortability {}",
            self.dim,
            self.samples,
            self.edges,
            number(self.varsortability),
            number(self.r2_sortability),
        )
    }
}
