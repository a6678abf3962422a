//! `thalweg minimize compare|theorem|phase`: the laboratory of consensus-based optimisation.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use thalweg::cbo::{Alpha, Cbo, Hopping, Limits, Noise, Search, Space, TestFunction, lab, rate_interval};
use thalweg::core::Seed;
use thalweg::plot::{Figure, Report, Table};

use crate::config::{self, Common};
use crate::output;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg minimize compare --function grandcanyon3noisy --start 8,8 --runs 20 --out paths/
  thalweg minimize compare --function grandcanyon3noisy --start 8,8 --methods cbo,gd --runs 100 --json")]
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
    /// Success: no coordinate of the end is farther than this from the minimiser
    #[arg(long, default_value_t = 0.25)]
    within: f64,
    /// Seed; run k has the seed of k more
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for paths.svg, summary.json and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
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

impl Compare {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let all = self.measure()?;
        let mut table = Table::new(["method", "success", "95 % interval", "median f", "runs", "seconds"]);
        for r in &all {
            table.row([
                r.method.clone(),
                format!("{:.3}", r.rate),
                format!("{:.3} to {:.3}", r.rate_interval.0, r.rate_interval.1),
                format!("{:.4}", r.median_f),
                r.runs.to_string(),
                format!("{:.2}", r.seconds),
            ]);
        }
        if let Some(out) = &self.out {
            output::write_json(&out.join("summary.json"), &all)?;
            let mut report = Report::new("Who passes barriers");
            let section = report.section(&self.function);
            section.table(&table);
            if self.start.len() == 2 {
                let figure = self.picture(&all)?;
                figure.save(&out.join("paths.svg"))?;
                section.figure(&figure, "The path of the consensus, or of the point, in the first run.");
            }
            report.save(&out.join("report.html"))?;
        }
        if self.common.json { output::print_json(&all) } else { output::print(&table.text()) }
    }

    /// Each method's runs.
    fn measure(&self) -> Result<Vec<Reached>> {
        if self.runs == 0 {
            bail!("runs = 0 is not allowed; use at least 1");
        }
        let f = TestFunction::named(&self.function, self.start.len())?;
        let lab = Laboratory { f: &f, start: &self.start, within: self.within, seed: self.seed };
        let one = |name: &String| match name.as_str() {
            "cbo" => lab.cbo(self.particles, self.sigma, self.alpha, self.runs),
            "ch" => lab.ch(self.particles, self.width, self.alpha, self.runs),
            "gd" => lab.langevin(0.0, 1),
            "langevin" => lab.langevin(10.0, self.runs),
            "prox" => lab.proximal(self.tau),
            other => bail!("there is no method `{other}` here; use cbo, ch, gd, langevin or prox"),
        };
        self.methods.iter().map(one).collect()
    }

    fn picture(&self, all: &[Reached]) -> Result<Figure> {
        let f = TestFunction::named(&self.function, 2)?;
        let side = (-2.0, 10.0);
        let figure = Figure::new(format!("From ({}, {})", self.start[0], self.start[1]))
            .size(640.0, 560.0)
            .x_label("x₁")
            .y_label("x₂")
            .colour_label("f")
            .contours(side, side, 12, |x, y| f.value(&[x, y]))
            .x_range(side.0, side.1)
            .y_range(side.0, side.1);
        Ok(all.iter().fold(figure, |figure, r| figure.path(&r.method, &r.path)))
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

impl Laboratory<'_> {
    /// Isotropic CBO, λ = 1, Δt = 0.01, from N(start, 0.5²).
    pub fn cbo(&self, particles: usize, sigma: f64, alpha: Alpha, runs: u64) -> Result<Reached> {
        let (dt, sigma, noise) = (0.01, Some(sigma), Noise::Isotropic);
        let cbo = Cbo { particles, dt, sigma, noise, alpha, ..Cbo::default() };
        self.search(&format!("cbo N={particles}"), &cbo, 0.5, particles, runs)
    }

    /// Hopping of constant width.
    pub fn ch(&self, particles: usize, width: f64, alpha: Alpha, runs: u64) -> Result<Reached> {
        let ch = Hopping { particles, width: Some(width), width_factor: 1.0, alpha, ..Hopping::default() };
        self.search(&format!("ch {width}"), &ch, 0.0, particles, runs)
    }

    fn search(
        &self,
        name: &str,
        method: &dyn Search,
        std: f64,
        particles: usize,
        runs: u64,
    ) -> Result<Reached> {
        let space = Space::around(self.start.to_vec(), std);
        let max_evals = STEPS * particles as u64 + 1;
        let limits = Limits { max_evals, max_iters: Some(STEPS), ..Limits::default() };
        self.reach(name, runs, |seed| {
            let mut path = vec![plane(self.start)];
            let answer =
                method.watch(&space, self.f, &limits, seed, &mut |step| path.push(plane(step.consensus)))?;
            Ok((answer.consensus, path))
        })
    }

    /// Gradient descent (`heat` 0) or annealed Langevin, Δt = 0.001.
    pub fn langevin(&self, heat: f64, runs: u64) -> Result<Reached> {
        let name = if heat > 0.0 { "langevin" } else { "gd" };
        self.reach(name, runs, |seed| {
            let path = lab::langevin(&|x| self.f.value(x), self.start, SMALL_STEPS, 1e-3, heat, seed);
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
                x = lab::proximal(&|x| self.f.value(x), &x, tau)?;
                path.push(plane(&x));
            }
            Ok((x, path))
        })
    }

    fn reach(
        &self,
        name: &str,
        runs: u64,
        run: impl Fn(Seed) -> Result<(Vec<f64>, Vec<(f64, f64)>)> + Sync,
    ) -> Result<Reached> {
        let clock = std::time::Instant::now();
        let ends: Vec<_> =
            (0..runs).into_par_iter().map(|k| run(Seed(self.seed.wrapping_add(k)))).collect::<Result<_>>()?;
        let near = |x: &[f64]| x.iter().zip(self.f.minimiser()).all(|(x, s)| (x - s).abs() < self.within);
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

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg minimize theorem --function quartic --dim 2
  thalweg minimize theorem --function quartic --dim 5 --points 10 --json")]
pub struct Theorem {
    /// A smooth test function
    #[arg(long, default_value = "quartic")]
    function: String,
    /// Number of unknowns
    #[arg(long, default_value_t = 2)]
    dim: usize,
    /// Steps τ = ασ̃²
    #[arg(long, value_delimiter = ',', default_value = "0.001,0.002,0.004,0.008")]
    tau: Vec<f64>,
    /// Inverse temperatures
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    alpha: Vec<f64>,
    /// Points per hop
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000")]
    particles: Vec<usize>,
    /// Points x from which a hop is made, uniform in [−1, 1]
    #[arg(long, default_value_t = 20)]
    points: u64,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

impl Theorem {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        let rates = self.rates()?;
        if self.common.json { output::print_json(&rates) } else { output::print(&table(&rates).text()) }
    }

    /// Each part of the perturbation against the parameter that drives it; the others are in the
    /// middle of their lists (for the Monte-Carlo part, α is the smallest: the weights stay even).
    fn rates(&self) -> Result<Vec<Rate>> {
        if self.points == 0 || self.tau.is_empty() || self.alpha.is_empty() || self.particles.is_empty() {
            bail!("theorem needs at least one point, τ, α and number of particles");
        }
        for (name, all) in [("tau", &self.tau), ("alpha", &self.alpha)] {
            if let Some(bad) = all.iter().find(|x| !(**x > 0.0 && x.is_finite())) {
                bail!("{name} = {bad} is not allowed; use numbers > 0");
            }
        }
        if self.particles.contains(&0) {
            bail!("particles = 0 is not allowed; use at least 1");
        }
        let f = TestFunction::named(&self.function, self.dim)?;
        rates(&f, self.dim, &self.tau, &self.alpha, &self.particles, self.points, Seed(self.seed))
    }
}

/// A part of the perturbation along one parameter.
#[derive(Serialize)]
pub struct Rate {
    pub part: &'static str,
    pub parameter: &'static str,
    pub lengths: Vec<(f64, f64)>,
    pub exponent: f64,
}

/// The three rates.
pub fn rates(
    f: &TestFunction,
    dim: usize,
    taus: &[f64],
    alphas: &[f64],
    particles: &[usize],
    points: u64,
    seed: Seed,
) -> Result<Vec<Rate>> {
    use rand::RngExt;
    let mean = |tau: f64, alpha: f64, n: usize, part: fn(&lab::Perturbation) -> f64| -> Result<f64> {
        let lengths: Vec<f64> = (0..points)
            .into_par_iter()
            .map(|k| {
                let mut rng = seed.stream("points", k);
                let x: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
                let seed = Seed(seed.0.wrapping_add(k));
                let parts = lab::perturbation(&|x| f.value(x), &x, tau, alpha, n, seed)?;
                Ok(part(&parts.context("the function has no value there")?))
            })
            .collect::<Result<_>>()?;
        Ok((lengths.iter().map(|l| l * l).sum::<f64>() / points as f64).sqrt())
    };
    let (tau, alpha) = (taus[taus.len() / 2], alphas[0]);
    let few = particles[0];
    let rate = |part, parameter, lengths: Vec<(f64, f64)>| {
        let exponent = crate::bench::exponent(&lengths);
        Rate { part, parameter, lengths, exponent }
    };
    let over_n = particles.iter().map(|&n| Ok((n as f64, mean(tau, alpha, n, |p| p.monte_carlo)?)));
    let over_alpha = alphas.iter().map(|&a| Ok((a, mean(tau, a, few, |p| p.laplace)?)));
    let over_tau = taus.iter().map(|&t| Ok((t, mean(t, alpha, few, |p| p.implicit)?)));
    Ok(vec![
        rate("Monte Carlo", "particles", over_n.collect::<Result<_>>()?),
        rate("finite α", "α", over_alpha.collect::<Result<_>>()?),
        rate("implicit against explicit", "τ", over_tau.collect::<Result<_>>()?),
    ])
}

/// Lengths and exponents.
pub fn table(rates: &[Rate]) -> Table {
    let mut table = Table::new(["part", "over", "lengths (root mean square)", "exponent"]);
    for r in rates {
        let lengths: Vec<String> = r.lengths.iter().map(|(x, l)| format!("{x}: {l:.2e}")).collect();
        table.row([r.part, r.parameter, &lengths.join("  "), &format!("{:.3}", r.exponent)]);
    }
    table
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg minimize phase --function rastrigin25 --dim 2 --x cap=0:4:2 --y sigma=0.5:1.5:0.5 --runs 5 --horizon 500
  thalweg minimize phase --function rastrigin25 --dim 4 --x noise_ratio=0.3:1.5:0.3 --y particles=50:150:50 --runs 5 --horizon 500 --out phase/")]
pub struct Phase {
    /// A test function
    #[arg(long, default_value = "rastrigin25")]
    function: String,
    /// Number of unknowns
    #[arg(long, default_value_t = 4)]
    dim: usize,
    /// A field of CBO and its values
    #[arg(long, value_name = "FIELD=FROM:TO:STEP")]
    x: String,
    /// Another one
    #[arg(long, value_name = "FIELD=FROM:TO:STEP")]
    y: String,
    /// Any field of CBO [default: isotropic noise, λ = 1, Δt = 0.01, α = 1e5, 100 particles]
    #[arg(long, value_name = "FIELD=VALUE")]
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
    /// Folder for phase.csv and phase.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Phase {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        if self.runs == 0 {
            bail!("runs = 0 is not allowed; use at least 1");
        }
        if let Some(out) = &self.out {
            output::make_folder(out)?;
        }
        let ((fx, xs), (fy, ys)) = (axis(&self.x)?, axis(&self.y)?);
        let f = TestFunction::named(&self.function, self.dim)?;
        let start = Space::around(vec![1.0; self.dim], self.variance.sqrt());
        let mut settings = json!({ "noise": "isotropic", "dt": 0.01, "alpha": 1e5, "particles": 100 });
        for (key, value) in config::fields(&self.set)? {
            settings[key] = value;
        }
        let (mut cells, mut csv) = (Vec::new(), format!("{fx},{fy},success_rate\n"));
        for &y in &ys {
            for &x in &xs {
                (settings[&fx], settings[&fy]) = (number(x), number(y));
                let cbo: Cbo = serde_json::from_value(settings.clone()).context("settings of cbo")?;
                let rate = rate(&cbo, &f, &start, self.horizon, self.below, self.runs, self.seed)?;
                csv += &format!("{x},{y},{rate}\n");
                cells.push((x, y, rate));
            }
        }
        let half = |all: &[f64]| 0.5 * all.get(1).map_or(1.0, |b| b - all[0]);
        let range = |all: &[f64]| (all[0] - half(all), all[all.len() - 1] + half(all));
        let rates: Vec<f64> = cells.iter().map(|c| c.2).collect();
        let figure = Figure::new(format!("Success on {}", f.name()))
            .x_label(&fx)
            .y_label(&fy)
            .colour_label("rate")
            .heat_map(range(&xs), range(&ys), ys.len(), xs.len(), &rates);
        if let Some(out) = &self.out {
            output::write(&out.join("phase.csv"), csv.as_bytes())?;
            figure.save(&out.join("phase.svg"))?;
        }
        if self.common.json {
            let cell = |c: &(f64, f64, f64)| json!({ &fx: c.0, &fy: c.1, "success_rate": c.2 });
            return output::print_json(&cells.iter().map(cell).collect::<Vec<_>>());
        }
        output::print(&csv)
    }
}

/// Whole numbers stay whole: counts are read as such.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { (x as i64).into() } else { x.into() }
}

/// `FIELD=FROM:TO:STEP`.
fn axis(text: &str) -> Result<(String, Vec<f64>)> {
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
    Ok((field.into(), (0..=count as usize).map(value).collect()))
}

/// Share of runs whose consensus ends below `below`.
pub fn rate(
    cbo: &Cbo,
    f: &TestFunction,
    space: &Space,
    horizon: u64,
    below: f64,
    runs: u64,
    seed: u64,
) -> Result<f64> {
    let max_evals = horizon * cbo.count(space.dim) as u64 + 1;
    let limits = Limits { max_evals, max_iters: Some(horizon), ..Limits::default() };
    let hit = |k| {
        let answer = cbo.minimize(space, f, &limits, Seed(seed.wrapping_add(k)))?;
        Ok(usize::from(answer.consensus_f < below))
    };
    let hits = (0..runs).into_par_iter().map(hit).collect::<Result<Vec<usize>>>()?;
    Ok(hits.iter().sum::<usize>() as f64 / runs as f64)
}
