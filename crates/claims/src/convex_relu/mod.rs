//! Convex training of two-layer ReLU networks (Bai et al., arXiv:2201.01965), one file per claim.

mod first;
mod gradient;
mod images;
mod pixels;
mod robust;
mod scaling;
mod scp;
mod solve;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use thalweg::convex_relu::certificate::Solution;
use thalweg::convex_relu::{Geometry, Loss, Network, Program};
use thalweg::fit::{Data, Settings};
use thalweg::plot::Table;
use thalweg::tasks::Finding;

use crate::claim::{Entry, Options, publish};
use crate::sources::shared_file;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims convex-relu solve scp
  thalweg-claims convex-relu all --out report/

The problems with known optima and the images are looked for in the folder THALWEG_DATA (default
../shared/data): convex-relu/, vision/.")]
pub struct Claims {
    /// solve, scaling, scp, gradient, robust, images, first, all
    #[arg(required = true)]
    which: Vec<String>,
    /// Training samples of the largest scaling and image runs
    #[arg(long, default_value_t = 1000)]
    samples: usize,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Claims>] = &[
    ("solve", |_| solve::solve()),
    ("scaling", |c| scaling::scaling(c.samples)),
    ("scp", |_| scp::scp()),
    ("gradient", |c| gradient::gradient(c.options.seeds)),
    ("robust", |_| robust::robust()),
    ("images", |c| images::images(c.samples)),
    ("first", |_| first::first()),
];

/// Problems with listed patterns: name and β.
const PLAIN: [(&str, f64); 4] =
    [("sampled_bc", 0.1), ("sampled_dg38", 0.1), ("adv_bc", 0.01), ("adv_dg38", 0.01)];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.options.start()?;
        publish("Convex two-layer ReLU networks", &self.options, &self, &self.which, ALL)
    }
}

/// One of the shared problems.
fn load(name: &str, loss: Loss) -> Result<Data> {
    let file = shared_file(format!("convex-relu/{name}.npz"))?;
    let train = Some(file.display().to_string());
    Ok(Data::load(&Settings { train, loss: Some(loss), raw: Some(true), ..Settings::default() })?)
}

fn program(data: &Data, loss: Loss, beta: f64) -> Result<Program> {
    let patterns = data.patterns.clone().context("the archive lists no patterns D")?;
    Ok(Program::new(Geometry::new(data.train.clone(), patterns, false)?, data.y.clone(), loss, beta)?)
}

fn network(program: &Program, solution: &Solution) -> Network {
    Network::recover(solution, program.samples().d(), program.outputs())
}

/// A result and the seconds that it took.
fn timed<T, E>(f: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
    let clock = Instant::now();
    let value = f()?;
    Ok((value, clock.elapsed().as_secs_f64()))
}

fn accuracy(network: &Network, data: &Data) -> Result<f64> {
    let (x, y) = data.test.as_ref().context("the archive has no test part")?;
    Ok(network.accuracy(x, y)?)
}

fn finding(
    name: &'static str,
    title: &str,
    text: &str,
    table: Table,
    marks: Vec<(String, bool)>,
    rows: Vec<Value>,
) -> Finding {
    Finding {
        name,
        title: title.into(),
        text: text.into(),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(rows),
    }
}
