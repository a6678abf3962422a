//! `thalweg bench`: the claims of a method as tables that this machine measures now.

mod adahessian;
mod bilevel;
mod cbo;
mod convex_relu;
mod cost;
mod diagonal;
mod lipsdp;
mod mfac;
mod mkor;
mod relax;
mod runs;
mod sources;
mod timing;
mod topo;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use thalweg::plot::{Figure, Report, Table};

use crate::config::Common;
use crate::output;

pub use adahessian::trajectories;
pub use bilevel::Bench as Bilevel;
pub use diagonal::diagonal;
pub use runs::{Length, Setting, Variant, moments, run as train, table, trainer, variant};
pub use timing::exponent;

#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    method: Which,
}

#[derive(Subcommand)]
enum Which {
    /// AdaHessian: block averaging, convolutions, cost, robustness, transformer, trajectories
    Adahessian(adahessian::Bench),
    /// MKOR: perceptron, autoencoder, scaling, communication, LeNet, transformer, robustness, rank one
    Mkor(mkor::Bench),
    /// M-FAC: training, fine-tuning, one-shot and gradual pruning, scaling, memory bandwidth
    Mfac(mfac::Bench),
    /// Bilevel optimisation: toys, rates, regularisation, hyper-cleaning, quadratics
    Bilevel(bilevel::Bench),
    /// Convex two-layer ReLU networks
    ConvexRelu(convex_relu::Bench),
    /// Consensus-based optimisation: barriers, classic functions, theorem, phase diagram, speed
    Cbo(cbo::Bench),
    /// Lipschitz certificates
    Lipsdp(lipsdp::Bench),
    /// Learned relaxation: iterations, time, overhead, kernels
    Relax(relax::Bench),
    /// Acyclic graphs by topological swaps
    Topo(topo::Bench),
}

impl Bench {
    pub fn run(self) -> Result<()> {
        match self.method {
            Which::Adahessian(bench) => bench.run(),
            Which::Mkor(bench) => bench.run(),
            Which::Mfac(bench) => bench.run(),
            Which::Bilevel(bench) => bench.run(),
            Which::ConvexRelu(bench) => bench.run(),
            Which::Cbo(bench) => bench.run(),
            Which::Lipsdp(bench) => bench.run(),
            Which::Relax(bench) => bench.run(),
            Which::Topo(bench) => bench.run(),
        }
    }
}

/// Options of every benchmark.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seeds 1..=N
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u64,
    /// Folder for report.html and results.json
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// What a benchmark found: a table, pictures, and the marks it is held to.
pub struct Finding {
    /// Name, as on the command line.
    pub name: &'static str,
    /// What is measured.
    pub title: String,
    /// Setting and source.
    pub text: String,
    /// The measurements.
    pub table: Table,
    /// Pictures with captions.
    pub figures: Vec<(Figure, String)>,
    /// Statements with their truth in this run.
    pub marks: Vec<(String, bool)>,
    /// The same for programs.
    pub data: Value,
}

impl Finding {
    /// Adds it to a report.
    pub fn add_to(&self, report: &mut Report) {
        let section = report.section(&self.title);
        section.text(&self.text).table(&self.table);
        for (figure, caption) in &self.figures {
            section.figure(figure, caption);
        }
        for (mark, holds) in &self.marks {
            section.text(&format!("{} {mark}", if *holds { "✓" } else { "✗" }));
        }
    }

    fn print(&self) -> Result<()> {
        let mut text = format!("{}\n{}\n\n{}", self.title, self.text, self.table.text());
        for (mark, holds) in &self.marks {
            text += &format!("{} {mark}\n", if *holds { "[holds] " } else { "[misses]" });
        }
        output::print(&format!("{text}\n"))
    }
}

/// A benchmark of `B`: its name, the specification's, and what measures it.
pub type Entry<B> = (&'static str, &'static str, fn(&B) -> Result<Finding>);

/// Those of the known benchmarks that are asked for by either of their names; `all` are all.
fn select<'a, B>(asked: &[String], known: &'a [Entry<B>]) -> Result<Vec<&'a Entry<B>>> {
    if matches!(asked, [one] if one == "all") {
        return Ok(known.iter().collect());
    }
    let place = |name: &String| match known.iter().find(|k| k.0 == name || k.1 == name) {
        Some(entry) => Ok(entry),
        None => {
            let names: Vec<&str> = known.iter().map(|k| k.0).collect();
            bail!("there is no benchmark `{name}`; use one of {}, or all", names.join(", "))
        }
    };
    asked.iter().map(place).collect()
}

/// Runs the benchmarks asked for one after the other, prints and writes what they find.
pub fn publish<B>(
    title: &str,
    options: &Options,
    bench: &B,
    asked: &[String],
    known: &[Entry<B>],
) -> Result<()> {
    let chosen = select(asked, known)?;
    if let Some(out) = &options.out {
        output::make_folder(out)?;
    }
    let mut report = Report::new(title);
    let mut all = Map::new();
    for (.., measure) in chosen {
        let finding = measure(bench)?;
        if !options.common.json {
            finding.print()?;
        }
        finding.add_to(&mut report);
        let marks: Vec<Value> =
            finding.marks.iter().map(|(m, holds)| serde_json::json!({ "mark": m, "holds": holds })).collect();
        all.insert(finding.name.into(), serde_json::json!({ "results": finding.data, "marks": marks }));
    }
    if let Some(out) = &options.out {
        output::write_json(&out.join("results.json"), &all)?;
        report.save(&out.join("report.html"))?;
    }
    if options.common.json { output::print_json(&all) } else { Ok(()) }
}
