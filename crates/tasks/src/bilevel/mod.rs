//! `thalweg bilevel`: one problem inside another.

mod check;
pub mod hyperclean;
pub mod job;
pub mod regularisation;
pub mod tour;
mod toy;

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::bilevel::Sparse;
use thalweg::data::{Dataset, Targets, Values};

#[derive(Args)]
pub struct Bilevel {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find out which training labels to trust, from a few clean ones
    Hyperclean(Box<hyperclean::Hyperclean>),
    /// Choose a ridge weight for every feature of a logistic regression
    Regularisation(Box<regularisation::Regularisation>),
    /// Solve a small problem whose answer is known
    Toy(toy::Toy),
    /// The claims as tables: toys, rates, regularisation, cleaning, quadratics
    Bench(crate::bench::Bilevel),
    /// Test a problem's gradients and the theory's assumptions at a point
    Check(check::Check),
}

impl Bilevel {
    pub fn run(self) -> Result<()> {
        match self.task {
            Task::Hyperclean(clean) => clean.run(),
            Task::Regularisation(choose) => choose.run(),
            Task::Toy(toy) => toy.run(),
            Task::Bench(bench) => bench.run(),
            Task::Check(check) => check.run(),
        }
    }
}

/// Numbers separated by commas.
#[derive(Clone)]
struct Numbers(Vec<f64>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.trim().parse::<f64>().map_err(|_| format!("{t:?} in {text:?} is no number"));
        text.split(',').map(number).collect::<Result<_, _>>().map(Self)
    }
}

/// `LO:HI`.
fn parse_range(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("{text:?} is no box; use LO:HI, e.g. -10:2");
    let (lo, hi) = text.split_once(':').ok_or_else(wrong)?;
    let (lo, hi): (f64, f64) = (lo.parse().map_err(|_| wrong())?, hi.parse().map_err(|_| wrong())?);
    if lo.is_finite() && hi.is_finite() && lo <= hi { Ok((lo, hi)) } else { Err(wrong()) }
}

/// The brightest pixel of the embedded digits.
const DIGITS_WHITE: f64 = 16.0;

/// The inputs of a data set, bytes divided by `white`.
fn inputs(data: &Dataset, white: f64) -> Result<Sparse> {
    let values: Vec<f64> = match &data.x {
        Values::Bytes(x) => x.iter().map(|&v| f64::from(v) / white).collect(),
        Values::Floats(x) => x.iter().map(|&v| f64::from(v)).collect(),
    };
    Ok(Sparse::dense(&values, data.example_len())?)
}

/// The class of each example; none of real targets.
fn classes(data: &Dataset) -> &[u32] {
    match &data.targets {
        Targets::Classes { labels, .. } => labels,
        Targets::Values { .. } => &[],
    }
}
