//! Who passes barriers: CBO, hopping, gradient descent, Langevin and the proximal scheme from one start.

use std::ops::ControlFlow;

use anyhow::{Context, Result, bail};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use thalweg::cbo::alpha::Alpha;
use thalweg::cbo::baselines::langevin;
use thalweg::cbo::method::cbo::Noise;
use thalweg::cbo::runs::rate_interval;
use thalweg::cbo::theory::proximal;
use thalweg::cbo::{Answer, Cbo, Hopping, SearchProblem, Space};
use thalweg::core::{Iterate, Method, Run, Seed, Stop};
use thalweg::optim::functions::{TestFunction, by_name};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::Own;
use crate::claim::Options;

/// The paper's comparison on a function of one's choice.
#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims cbo compare --function grandcanyon3noisy --start 8,8 --runs 20 --out paths/
  thalweg-claims cbo compare --function grandcanyon3noisy --start 8,8 --methods cbo,gd --runs 100 --json")]
pub struct Compare {
    /// A test function
    #[arg(long, default_value = "grandcanyon3noisy")]
    function: String,
    /// Where all start
    #[arg(
        long,
        value_delimiter = ',',
        allow_hyphen_values = true,
        value_name = "X,X,…",
        default_value = "8,8"
    )]
    start: Vec<f64>,
    /// Of cbo, ch, gd, langevin, prox
    #[arg(long, value_delimiter = ',', default_value = "cbo,ch,gd,langevin,prox")]
    methods: Vec<String>,
    /// Runs of each method that is random
    #[arg(long, default_value_t = 100)]
    runs: u64,
    /// Particles of CBO and hopping
    #[arg(long, default_value_t = 200)]
    particles: usize,
    /// Inverse temperature of CBO and hopping
    #[arg(long, default_value = "100")]
    alpha: Alpha,
    /// Noise σ of CBO
    #[arg(long, default_value_t = 1.6)]
    sigma: f64,
    /// Width σ̃ of hopping
    #[arg(long, default_value_t = 0.7)]
    width: f64,
    /// Step τ of the proximal scheme
    #[arg(long, default_value_t = 0.1)]
    tau: f64,
    /// Success: no coordinate of the end is farther than this from the minimizer
    #[arg(long, default_value_t = 0.25)]
    within: f64,
    /// Seed; run k has the seed of k more
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

impl Own for Compare {
    fn options(&self) -> &Options {
        &self.options
    }

    fn measure(&self) -> Result<Finding> {
        if self.runs == 0 {
            bail!("runs = 0 is not allowed; use at least 1");
        }
        let f = by_name(&self.function, self.start.len())?;
        let lab = Laboratory { f: &f, start: &self.start, within: self.within, seed: self.seed };
        let one = |name: &String| match name.as_str() {
            "cbo" => lab.cbo(self.particles, self.sigma, self.alpha, self.runs),
            "ch" => lab.ch(self.particles, self.width, self.alpha, self.runs),
            "gd" => lab.langevin(0.0, 1),
            "langevin" => lab.langevin(10.0, self.runs),
            "prox" => lab.proximal(self.tau),
            other => bail!("there is no method `{other}` here; use cbo, ch, gd, langevin or prox"),
        };
        let all = self.methods.iter().map(one).collect::<Result<Vec<_>>>()?;
        let mut table = Table::new(["method", "success", "95 % interval", "median f", "runs", "seconds"]);
        for r in &all {
            let [rate, interval, median, runs, seconds] = r.cells();
            table.row([r.method.clone(), rate, interval, median, runs, seconds]);
        }
        let caption = "The path of the consensus, or of the point, in the first run.";
        let figure = || (picture(&f, &self.start, &all), caption.into());
        Ok(Finding {
            name: "compare",
            title: "Who passes barriers".into(),
            text: format!(
                "{} from {:?}; success: within {} of the minimizer.",
                f.name(),
                self.start,
                self.within
            ),
            table,
            figures: (self.start.len() == 2).then(figure).into_iter().collect(),
            marks: Vec::new(),
            data: serde_json::to_value(&all)?,
        })
    }
}

fn picture(f: &TestFunction, start: &[f64], all: &[Reached]) -> Figure {
    let side = (-2.0, 10.0);
    let figure = Figure::new(format!("From ({}, {})", start[0], start[1]))
        .size(640.0, 560.0)
        .x_label("x₁")
        .y_label("x₂")
        .colour_label("f")
        .contours(side, side, 12, |x, y| f.value(&[x, y]))
        .x_range(side.0, side.1)
        .y_range(side.0, side.1);
    all.iter().fold(figure, |figure, r| figure.path(&r.method, &r.path))
}

/// What a method reached from the common start.
#[derive(Serialize)]
pub struct Reached {
    pub method: String,
    pub runs: u64,
    pub successes: usize,
    pub rate: f64,
    pub rate_interval: (f64, f64),
    pub median_f: f64,
    pub seconds: f64,
    #[serde(skip)]
    path: Vec<(f64, f64)>,
}

impl Reached {
    /// Rate of success, its interval, median of f, runs, seconds.
    pub fn cells(&self) -> [String; 5] {
        [
            format!("{:.3}", self.rate),
            format!("{:.3} to {:.3}", self.rate_interval.0, self.rate_interval.1),
            format!("{:.4}", self.median_f),
            self.runs.to_string(),
            format!("{:.2}", self.seconds),
        ]
    }
}

/// The setting of the paper's comparison.
pub struct Laboratory<'a> {
    pub f: &'a TestFunction,
    pub start: &'a [f64],
    pub within: f64,
    pub seed: u64,
}

/// Steps of CBO, hopping and the proximal scheme; of gradient descent and Langevin.
const STEPS: u64 = 250;
const SMALL_STEPS: u64 = 10_000;

/// Where a run ended, and its way in the plane.
type End = (Vec<f64>, Vec<(f64, f64)>);

impl Laboratory<'_> {
    /// Isotropic CBO, λ = 1, Δt = 0.01, from N(start, 0.5²).
    pub fn cbo(&self, particles: usize, sigma: f64, alpha: Alpha, runs: u64) -> Result<Reached> {
        let (dt, sigma, noise) = (0.01, Some(sigma), Noise::Isotropic);
        let cbo = Cbo { particles, dt, sigma, noise, alpha, ..Cbo::default() };
        self.search(&format!("cbo N={particles}"), &cbo, 0.5, runs)
    }

    /// Hopping of constant width.
    pub fn ch(&self, particles: usize, width: f64, alpha: Alpha, runs: u64) -> Result<Reached> {
        let ch = Hopping { particles, width: Some(width), width_factor: 1.0, alpha, ..Hopping::default() };
        self.search(&format!("ch {width}"), &ch, 0.0, runs)
    }

    fn search<M>(&self, name: &str, method: &M, std: f64, runs: u64) -> Result<Reached>
    where
        M: for<'p> Method<SearchProblem<'p>, Solution = Answer, State: Iterate<f64>> + Sync,
    {
        let space = Space::around(self.start.to_vec(), std);
        self.reach(name, runs, |seed| {
            let mut path = vec![plane(self.start)];
            let mut problem = SearchProblem::new(&space, self.f);
            let run =
                Run::new(method, &mut problem).seed(seed).stop(Stop::Steps(STEPS)).each(1, |tick, _| {
                    path.push(plane(tick.state.theta()));
                    Ok(ControlFlow::Continue(()))
                });
            let answer = run.run()?.solution;
            Ok((answer.consensus, path))
        })
    }

    /// Gradient descent (`heat` 0) or annealed Langevin, Δt = 0.001.
    pub fn langevin(&self, heat: f64, runs: u64) -> Result<Reached> {
        let name = if heat > 0.0 { "langevin" } else { "gd" };
        self.reach(name, runs, |seed| {
            let path = langevin(&|x| self.f.value(x), self.start, SMALL_STEPS, 1e-3, heat, seed);
            let end = path.last().context("a path has a start")?.clone();
            Ok((end, path.iter().step_by(40).map(|x| plane(x)).collect()))
        })
    }

    /// Proximal steps of τ.
    pub fn proximal(&self, tau: f64) -> Result<Reached> {
        if !(tau > 0.0 && tau.is_finite()) {
            bail!("tau = {tau} is not allowed; use a number > 0");
        }
        self.reach("prox", 1, |_| {
            let mut x = self.start.to_vec();
            let mut path = vec![plane(&x)];
            for _ in 0..STEPS {
                x = proximal(&|x| self.f.value(x), &x, tau)?;
                path.push(plane(&x));
            }
            Ok((x, path))
        })
    }

    fn reach(&self, name: &str, runs: u64, run: impl Fn(Seed) -> Result<End> + Sync) -> Result<Reached> {
        let clock = std::time::Instant::now();
        let ends = (0..runs).into_par_iter().map(|k| run(Seed(self.seed.wrapping_add(k))));
        let ends = ends.collect::<Result<Vec<End>>>()?;
        let near = |x: &[f64]| x.iter().zip(self.f.minimizer()).all(|(x, s)| (x - s).abs() < self.within);
        let successes = ends.iter().filter(|e| near(&e.0)).count();
        let mut values: Vec<f64> = ends.iter().map(|e| self.f.value(&e.0)).collect();
        values.sort_by(f64::total_cmp);
        Ok(Reached {
            method: name.into(),
            runs,
            successes,
            rate: successes as f64 / runs as f64,
            rate_interval: rate_interval(successes, runs as usize),
            median_f: values[values.len() / 2],
            seconds: clock.elapsed().as_secs_f64(),
            path: ends.into_iter().next().map(|e| e.1).unwrap_or_default(),
        })
    }
}

fn plane(x: &[f64]) -> (f64, f64) {
    (x[0], x.get(1).copied().unwrap_or(0.0))
}
