//! Success rates of CBO over two of its settings: the published diagram, or a grid of one's own.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use rayon::prelude::*;
use serde_json::{Value, json};
use thalweg::cbo::alpha::Alpha;
use thalweg::cbo::method::cbo::Noise;
use thalweg::cbo::{Cbo, SearchProblem, Space};
use thalweg::core::{Run, Seed, Stop, named};
use thalweg::optim::functions::{TestFunction, by_name};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;
use thalweg::tasks::settings::fields;

use super::{Own, cell, published};
use crate::claim::Options;
use crate::sources::shared_file;

/// Success rates of CBO.
#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims cbo phase --function rastrigin25 --dim 2 --x cap=0:4:2 --y sigma=0.5:1.5:0.5 --runs 5 --horizon 500
  thalweg-claims cbo phase --x noise_ratio=0.3:1.5:0.3 --y particles=50:150:50 --runs 5 --horizon 500 --out phase/

Without --x and --y: cells of the published diagram, which is looked for in the folder THALWEG_DATA (default
../shared/data).")]
pub struct Phase {
    /// A test function
    #[arg(long, default_value = "rastrigin25")]
    function: String,
    /// Number of unknowns
    #[arg(long, default_value_t = 4)]
    dim: usize,
    /// A field of CBO and its values
    #[arg(long, value_name = "FIELD=FROM:TO:STEP", requires = "y", value_parser = axis)]
    x: Option<Axis>,
    /// Another one
    #[arg(long, value_name = "FIELD=FROM:TO:STEP", requires = "x", value_parser = axis)]
    y: Option<Axis>,
    /// Any field of CBO [default: isotropic noise, λ = 1, Δt = 0.01, α = 1e5, 100 particles]
    #[arg(long, value_name = "FIELD=VALUE", requires = "x")]
    set: Vec<String>,
    /// Steps of each run
    #[arg(long, default_value_t = 5000)]
    horizon: u64,
    /// Variance of the start, whose mean is (1, …, 1)
    #[arg(long, default_value_t = 2000.0)]
    variance: f64,
    /// Success: the value of the consensus is less than this
    #[arg(long, default_value_t = 0.1)]
    below: f64,
    /// Runs per cell
    #[arg(long, default_value_t = 100)]
    runs: u64,
    /// Seed; run k of a cell has the seed of k more
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

/// A field and its values.
#[derive(Clone, Debug)]
struct Axis {
    field: String,
    values: Vec<f64>,
}

/// `FIELD=FROM:TO:STEP`.
fn axis(text: &str) -> Result<Axis> {
    let legal = || {
        format!("{text:?} is no axis; use FIELD=FROM:TO:STEP, e.g. sigma=0:4:0.1, with at most 1000 values")
    };
    let (field, range) = text.split_once('=').with_context(legal)?;
    let numbers: Vec<f64> =
        range.split(':').map(str::parse).collect::<Result<_, _>>().ok().with_context(legal)?;
    let [from, to, step] = numbers[..] else { bail!(legal()) };
    let count = ((to - from) / step + 1e-9).floor();
    if !(step > 0.0 && (0.0..1000.0).contains(&count)) {
        bail!(legal());
    }
    // Rounded, so that 0.1 · 3 prints as 0.3.
    let value = |k: usize| ((from + step * k as f64) * 1e9).round() / 1e9;
    Ok(Axis { field: field.into(), values: (0..=count as usize).map(value).collect() })
}

/// Cells of the published phase diagram; an infinite truncation: plain CBO.
const SIGMAS: [&str; 6] = ["0.50", "0.70", "0.90", "1.20", "1.60", "2.00"];
const CAPS: [&str; 5] = ["0.5", "1.0", "2.0", "5.0", "inf"];

impl Own for Phase {
    fn options(&self) -> &Options {
        &self.options
    }

    fn measure(&self) -> Result<Finding> {
        if self.runs == 0 {
            bail!("runs = 0 is not allowed; use at least 1");
        }
        let f = by_name(&self.function, self.dim)?;
        match (&self.x, &self.y) {
            (Some(x), Some(y)) => self.grid(&f, x, y),
            _ if self.function != "rastrigin25" || self.dim != 4 => {
                bail!(
                    "the published diagram is of rastrigin25 in 4 unknowns; give --x and --y for another one"
                )
            }
            _ => self.published(&f),
        }
    }
}

impl Phase {
    /// A grid of one's own.
    fn grid(&self, f: &TestFunction, x: &Axis, y: &Axis) -> Result<Finding> {
        let mut settings = json!({ "noise": "isotropic", "dt": 0.01, "alpha": 1e5, "particles": 100 });
        for (key, value) in fields(&self.set)? {
            settings[key] = value;
        }
        let mut table = Table::new([x.field.as_str(), &y.field, "success"]);
        let (mut cells, mut rates) = (Vec::new(), Vec::new());
        for &v in &y.values {
            for &u in &x.values {
                (settings[&x.field], settings[&y.field]) = (number(u), number(v));
                let cbo: Cbo = named::read("cbo", settings.as_object().cloned().unwrap_or_default())?;
                let rate = self.rate(&cbo, f)?;
                table.row([u.to_string(), v.to_string(), rate.to_string()]);
                cells.push(json!({ &x.field: u, &y.field: v, "success_rate": rate }));
                rates.push(rate);
            }
        }
        let half = |all: &[f64]| 0.5 * all.get(1).map_or(1.0, |b| b - all[0]);
        let range = |all: &[f64]| (all[0] - half(all), all[all.len() - 1] + half(all));
        let figure = Figure::new(format!("Success on {}", f.name()))
            .x_label(&x.field)
            .y_label(&y.field)
            .colour_label("rate")
            .heat_map(range(&x.values), range(&y.values), y.values.len(), x.values.len(), &rates);
        Ok(Finding {
            name: "phase",
            title: format!("Success rates on {}", f.name()),
            text: format!("d = {}, {} runs of {} steps per cell.", self.dim, self.runs, self.horizon),
            table,
            figures: vec![(figure, String::new())],
            marks: Vec::new(),
            data: Value::Array(cells),
        })
    }

    /// Cells of the published diagram.
    fn published(&self, f: &TestFunction) -> Result<Finding> {
        let rows = published(&shared_file("cbo/phase_truncated_rastrigin_d4.csv.gz")?)?;
        let mut table = Table::new(["σ", "M", "ours", "published", "difference"]);
        let (mut data, mut close) = (Vec::new(), 0);
        let (host, clock) = (self.options.host(), Instant::now());
        for (sigma, cap) in SIGMAS.into_iter().flat_map(|sigma| CAPS.map(|cap| (sigma, cap))) {
            let published = cell(&rows, sigma.parse()?, cap.parse()?)?;
            let cbo = Cbo {
                particles: 100,
                dt: 0.01,
                sigma: Some(sigma.parse()?),
                noise: Noise::Isotropic,
                cap: cap.parse().ok().filter(|c: &f64| c.is_finite()),
                alpha: Alpha::Fixed(1e5),
                ..Cbo::default()
            };
            let ours = self.rate(&cbo, f)?;
            host.note(format!("  σ = {sigma}, M = {cap}: {ours} ({published})"));
            close += usize::from((ours - published).abs() <= 0.13);
            let difference = format!("{:+.2}", ours - published);
            let (a, b) = (format!("{ours:.2}"), format!("{published:.2}"));
            table.row([sigma.into(), cap.into(), a, b, difference]);
            data.push(json!({ "sigma": sigma, "cap": cap, "ours": ours, "published": published }));
        }
        let cells = data.len();
        Ok(Finding {
            name: "phase",
            title: "Truncated noise: the published success rates".into(),
            text: format!(
                "Rastrigin with amplitude 2.5, d = 4, 100 particles, isotropic noise truncated at M; {} runs of {} steps \
                 per cell; {:.0} s.",
                self.runs,
                self.horizon,
                clock.elapsed().as_secs_f64()
            ),
            table,
            figures: Vec::new(),
            marks: vec![(format!("{close} of {cells} cells within 0.13 (27 needed)"), close >= 27)],
            data: Value::Array(data),
        })
    }

    /// Share of runs whose consensus ends below.
    fn rate(&self, cbo: &Cbo, f: &TestFunction) -> Result<f64> {
        let space = Space::around(vec![1.0; self.dim], self.variance.sqrt());
        let hit = |k| {
            let mut problem = SearchProblem::new(&space, f);
            let run = Run::new(cbo, &mut problem).seed(Seed(self.seed.wrapping_add(k)));
            let answer = run.stop(Stop::Steps(self.horizon)).run()?.solution;
            Ok(usize::from(answer.consensus_f < self.below))
        };
        let hits = (0..self.runs).into_par_iter().map(hit).collect::<Result<Vec<usize>>>()?;
        Ok(hits.iter().sum::<usize>() as f64 / self.runs as f64)
    }
}

/// Whole numbers stay whole: counts are read as such.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { (x as i64).into() } else { x.into() }
}
