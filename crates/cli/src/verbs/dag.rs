//! `thalweg dag`: directed acyclic graphs from data.

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::dag::{
    EvaluationSettings, LearnedGraph, Settings, SimulationSettings, evaluate, exact, fit, polish, simulate,
};
use thalweg::tasks::{Folder, Host, TaskError};

use crate::args::{Common, RunFlags};
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
pub struct Dag {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Learn a graph from data
    #[command(after_help = "Examples:
  thalweg dag fit sachs --log --out g/
  thalweg dag fit data.csv --bootstrap 100 --seed 1 --out g/
  thalweg dag fit data.csv --score l2 --init td --restarts 8 --seed 1 --json

`sachs` is embedded. BIC, the default, does not depend on the units of the variables; least squares (l2, ev, mlp) does.
A compelled edge has its direction in the whole equivalence class; how sure an edge is, --bootstrap tells. The run
folder holds edges.csv, graph.csv (a matrix), weights.csv (before the threshold), cpdag.csv, order.txt, graph.dot,
graph.graphml and pictures.")]
    Fit(Box<Search>),
    /// Improve the graph of another method
    #[command(after_help = "Examples:
  thalweg dag polish --w w.csv data.csv --json
  thalweg dag polish --w notears.csv data.csv --score l2 --out g/

A matrix without names has the columns of the data, in turn. The default score is that of `dag fit`.")]
    Polish {
        /// The graph to improve: a list of edges or a matrix
        #[arg(long, value_name = "FILE")]
        w: Option<String>,
        #[command(flatten)]
        search: Box<Search>,
    },
    /// The best graph of all, for few variables
    #[command(after_help = "Examples:
  thalweg dag exact sachs --log --score bic
  thalweg dag exact data.csv --json

At most 20 variables (14 for logistic, mcp, mlp and penalised l2).")]
    Exact(Box<Search>),
    /// Compare a graph with the true one
    #[command(after_help = "Examples:
  thalweg dag fit sachs --log --score bic --out g/ && thalweg dag eval --truth sachs --est g/graph.csv
  thalweg dag eval --truth sim/truth.csv --est g/graph.csv --data sim/data.csv --json

Graphs are lists of edges (from,to,weight) or square matrices, with names above or as numpy writes them. Edges in
which the two differ are listed.")]
    Eval {
        #[command(flatten)]
        settings: EvaluationSettings,
        #[command(flatten)]
        common: Common,
    },
    /// Make a random graph and data
    #[command(after_help = "Examples:
  thalweg dag simulate --graph er:4 --dim 20 --samples 1000 --noise gauss-ev --seed 1 --out sim/
  thalweg dag simulate --graph er:0.5 --dim 20 --samples 100 --out sparse/
  thalweg dag simulate --graph sf:2 --dim 10 --samples 500 --mechanism mlp --out sim/ --json

The folder holds data.csv and truth.csv.")]
    Simulate {
        #[command(flatten)]
        settings: SimulationSettings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
}

/// What learning takes.
#[derive(Args)]
struct Search {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    run: RunFlags,
}

/// A way to a graph.
type Learn = fn(&Settings, Option<&Folder>, &Host) -> Result<LearnedGraph, TaskError>;

impl Search {
    fn run(self, learn: Learn) -> Result<()> {
        let opened = self.run.open(&self.settings, None)?;
        let graph = learn(&opened.settings, opened.folder.as_ref(), &opened.host)?;
        match opened.json {
            true => print_json(&graph.summary()),
            false => print(&graph.text()),
        }
    }
}

impl Dag {
    pub fn run(self) -> Result<Status> {
        match self.task {
            Task::Fit(search) => search.run(fit)?,
            Task::Polish { w, mut search } => {
                search.settings.w = w;
                search.run(polish)?;
            }
            Task::Exact(search) => search.run(exact)?,
            Task::Eval { settings, common } => {
                let evaluation = evaluate(&settings, &common.start()?)?;
                match common.json {
                    true => print_json(&evaluation.summary())?,
                    false if evaluation.differing.is_empty() => print(&evaluation.table().text())?,
                    false => {
                        print(&format!("{}\n{}", evaluation.table().text(), evaluation.differences().text()))?
                    }
                }
            }
            Task::Simulate { settings, run } => {
                let (settings, folder, _, json) = run.open(&settings, None)?.into_folder()?;
                let simulated = simulate(&settings, &folder)?;
                match json {
                    true => print_json(&simulated)?,
                    false => {
                        let (data, truth) = (simulated.data.display(), simulated.truth.display());
                        print(&format!("{}\n{data} and {truth}\n", simulated.text()))?;
                    }
                }
            }
        }
        Ok(Status::Done)
    }
}
