//! Consensus-based optimisation (Riedl et al., arXiv:2306.09778): barriers, classic functions, the
//! theorem's rates, the published phase diagrams, learning, speed.

mod learning;
mod sensing;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use thalweg::cbo::{
    Adaptive, Alpha, Auto, Cbo, CboSwarm, Limits, Noise, Runs, Search, Space, Swarm, TestFunction,
};
use thalweg::core::Seed;
use thalweg::data::read_text;
use thalweg::plot::{Figure, Table};

use super::{Entry, Finding, Options, publish};
use crate::config::shared_file;
use crate::minimize::lab::{self, Laboratory};
use crate::minimize::objective::rows;
use crate::minimize::tour;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg bench cbo barriers theorem
  thalweg bench cbo all --out report/

Shifts, rotations and the published phase diagram are looked for in the folder THALWEG_DATA (default
../shared/data): cbo/. BBOB functions and other programs: peers/cbo.py.")]
pub struct Bench {
    /// barriers, classic, theorem, phase, sensing, learning, speed, rugged, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Bench>] = &[
    ("barriers", "B1", |_| barriers()),
    ("classic", "B2", |b| classic(&b.options)),
    ("theorem", "B3", |_| theorem()),
    ("phase", "B4", |b| phase(&b.options)),
    ("sensing", "B5", |b| sensing::sensing(&b.options)),
    ("learning", "B7", |b| learning::learning(&b.options)),
    ("speed", "B8", |_| speed()),
    ("rugged", "", |_| tour::stop()),
];

impl Bench {
    pub fn run(self) -> Result<()> {
        self.options.common.start()?;
        publish("Consensus-based optimisation", &self.options, &self, &self.which, ALL)
    }
}

fn barriers() -> Result<Finding> {
    let f = TestFunction::named("grandcanyon3noisy", 2)?;
    let lab = Laboratory { f: &f, start: &[8.0, 8.0], within: 0.25, seed: 0 };
    let (warm, cold) = (Alpha::Fixed(100.0), Alpha::Fixed(1e15));
    let all = [
        lab.langevin(0.0, 1)?,
        lab.langevin(10.0, 400)?,
        lab.proximal(0.1)?,
        lab.ch(200, 0.4, warm, 400)?,
        lab.ch(200, 0.6, warm, 400)?,
        lab.ch(200, 0.7, warm, 400)?,
        lab.ch(200, 0.7, Alpha::Fixed(10.0), 400)?,
        lab.ch(200, 0.7, cold, 400)?,
        lab.cbo(50, 1.6, warm, 400)?,
        lab.cbo(200, 1.6, warm, 1000)?,
        lab.cbo(3200, 1.6, warm, 100)?,
    ];
    let known = [0.0, 0.305, f64::NAN, 0.0, 0.675, 0.825, 0.80, 0.78, 0.53, 0.994, 1.0];
    let labels = ["", "", "τ = 0.1", "α = 100", "α = 100", "α = 100", "α = 10", "α = 1e15", "", "", ""];
    let mut table =
        Table::new(["method", "", "success", "95 % interval", "reference", "median f", "runs", "seconds"]);
    let mut bars = Vec::new();
    for ((r, known), label) in all.iter().zip(known).zip(labels) {
        table.row([
            r.method.clone(),
            label.into(),
            format!("{:.3}", r.rate),
            format!("{:.3} to {:.3}", r.rate_interval.0, r.rate_interval.1),
            if known.is_nan() { String::new() } else { known.to_string() },
            format!("{:.4}", r.median_f),
            r.runs.to_string(),
            format!("{:.2}", r.seconds),
        ]);
        bars.push((format!("{} {label}", r.method), r.rate, 0.5 * (r.rate_interval.1 - r.rate_interval.0)));
    }
    let marks = vec![
        (
            format!("CBO with 200 particles succeeds in at least 98 % ({:.3})", all[9].rate),
            all[9].rate >= 0.98,
        ),
        ("gradient descent never does".into(), all[0].successes == 0),
        (
            format!("hopping of width 0.7 does in 82.5 ± 5 % ({:.3})", all[5].rate),
            (all[5].rate - 0.825).abs() <= 0.05,
        ),
    ];
    Ok(Finding {
        name: "barriers",
        title: "Passing barriers".into(),
        text: "A winding valley with barriers from (8, 8); success: the end is within 0.25 of the minimiser in both \
               coordinates. The paper's settings; references from its published program's settings in NumPy."
            .into(),
        table,
        figures: vec![(Figure::new("Success").y_label("rate").bars("success", &bars), String::new())],
        marks,
        data: serde_json::to_value(&all)?,
    })
}

/// Function, evaluations per success of CBO with 200 particles in the specification.
const CLASSIC: &[(&str, Option<f64>)] = &[
    ("sphere", Some(17_300.0)),
    ("rosen", None),
    ("rastrigin", Some(40_620.0)),
    ("rastrigin25", Some(27_820.0)),
    ("ackley", Some(35_500.0)),
    ("griewank", None),
    ("salomon", None),
];

fn classic(options: &Options) -> Result<Finding> {
    let file = shared_file("cbo/shifts_d10.csv")?;
    let plain = Cbo { particles: 200, ..Cbo::default() };
    let ess = Cbo { alpha: Alpha::Ess(0.1), ..plain.clone() };
    let frame = Cbo { noise: Noise::Eigenframe, noise_ratio: 0.63, ..plain.clone() };
    let (auto, hop) = (Auto::default(), Adaptive::default());
    let methods: [(&str, &dyn Search); 5] = [
        ("cbo", &plain),
        ("cbo, α by ESS", &ess),
        ("cbo, eigenframe, 0.63", &frame),
        ("adaptive hopping", &hop),
        ("auto", &auto),
    ];
    let mut table = Table::new([
        "function",
        "method",
        "successes",
        "evaluations per success",
        "95 % interval",
        "reference",
    ]);
    let (mut data, mut marks) = (Vec::new(), Vec::new());
    for &(function, known) in CLASSIC {
        let all = shifted(&file, function)?;
        for (k, (name, method)) in methods.iter().enumerate() {
            let limits = Limits { max_evals: 200_000, target: Some(1e-3), ..Limits::default() };
            let runs = Runs::make(all.len() as u64 * options.seeds, Seed(1), |r, seed| {
                let f = &all[r as usize % all.len()];
                method.minimize(&Space::cube(10, -f.half_width(), f.half_width()), f, &limits, seed)
            })?;
            options.common.note(format!(
                "  {function}, {name}: {} of {}",
                runs.successes,
                runs.answers.len()
            ));
            let count = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.0}"));
            let interval = runs.ert_interval(Seed(1));
            table.row([
                function.into(),
                (*name).to_owned(),
                format!("{} of {}", runs.successes, runs.answers.len()),
                count(runs.ert),
                interval.map_or_else(String::new, |(l, h)| format!("{l:.0} to {h:.0}")),
                count(known.filter(|_| k == 0)),
            ]);
            if let (0, Some(known)) = (k, known) {
                let most = 10 * runs.successes >= 8 * runs.answers.len();
                let within = runs.ert.is_some_and(|e| e < 1.8 * known) && most;
                let text = format!("CBO on {function}: at least 8 in 10, within 1.8 times the reference");
                marks.push((text, within));
            }
            data.push(
                json!({ "function": function, "method": name, "successes": runs.successes, "ert": runs.ert }),
            );
        }
    }
    Ok(Finding {
        name: "classic",
        title: "Classic functions, shifted, ten unknowns".into(),
        text: "Ten shifts with each seed, target 1e-3, at most 200000 evaluations; the start is uniform in the box. CBO: coordinate-wise \
               noise 0.95 per step, α = ∞, 200 particles."
            .into(),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(data),
    })
}

/// Rows of a published table.
fn published(file: &Path) -> Result<Vec<Vec<f64>>> {
    let text = read_text(file)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let numbers = |row: csv::StringRecord| row.iter().map(|x| Ok(x.parse()?)).collect();
    reader.records().map(|row| numbers(row?)).collect()
}

/// The rate, in the third column, where the first two have these values.
fn cell(rows: &[Vec<f64>], x: f64, y: f64) -> Result<f64> {
    let same = |a: f64, b: f64| a == b || (a - b).abs() < 1e-9;
    let row = rows.iter().find(|r| same(r[0], x) && same(r[1], y));
    Ok(row.with_context(|| format!("the published table has no cell {x}, {y}"))?[2])
}

/// The ten shifted versions of a function.
fn shifted(file: &Path, function: &str) -> Result<Vec<TestFunction>> {
    let one = |shift: Vec<f64>| Ok(TestFunction::named(function, shift.len())?.shifted(shift)?);
    rows(file, 10, Some(function))?.into_iter().map(one).collect()
}

fn theorem() -> Result<Finding> {
    let taus = [0.001, 0.002, 0.004, 0.008];
    let (alphas, particles) = ([10.0, 100.0, 1000.0, 10_000.0], [100, 1000, 10_000, 100_000]);
    let mut table = Table::new(["function", "part", "over", "exponent", "expected"]);
    let (mut data, mut figures, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for dim in [2, 5] {
        let f = TestFunction::named("quartic", dim)?;
        let rates = lab::rates(&f, dim, &taus, &alphas, &particles, 100, Seed(0))?;
        let expected = ["-0.5 ± 0.05", "-0.5 or less", "2 ± 0.1"];
        let e: Vec<f64> = rates.iter().map(|r| r.exponent).collect();
        let holds = [(e[0] + 0.5).abs() <= 0.05, e[1] <= -0.45, (e[2] - 2.0).abs() <= 0.1];
        for ((r, expected), holds) in rates.iter().zip(expected).zip(holds) {
            let name = format!("quartic, d = {dim}");
            table.row([name.as_str(), r.part, r.parameter, &format!("{:.3}", r.exponent), expected]);
            marks.push((format!("{name}, {}: exponent {expected} in {}", r.part, r.parameter), holds));
            if dim == 2 {
                let figure = Figure::new(r.part).x_label(r.parameter).y_label("length").log_x().log_y();
                figures.push((figure.line(r.part, &r.lengths), String::new()));
            }
        }
        data.push(json!({ "dim": dim, "rates": rates }));
    }
    Ok(Finding {
        name: "theorem",
        title: "A hop is a gradient step, up to three parts".into(),
        text: "Root mean squares over 100 points, uniform in [−1, 1]ᵈ. Monte-Carlo part at α = 10, τ = 0.004; part of \
               finite α at τ = 0.004; implicit against explicit step over τ."
            .into(),
        table,
        figures,
        marks,
        data: Value::Array(data),
    })
}

/// Cells of the published phase diagram; none: plain CBO.
const SIGMAS: [&str; 6] = ["0.50", "0.70", "0.90", "1.20", "1.60", "2.00"];
const CAPS: [&str; 5] = ["0.5", "1.0", "2.0", "5.0", "inf"];

fn phase(options: &Options) -> Result<Finding> {
    let file = shared_file("cbo/phase_truncated_rastrigin_d4.csv.gz")?;
    let rows = published(&file)?;
    let f = TestFunction::named("rastrigin25", 4)?;
    let space = Space::around(vec![1.0; 4], 2000f64.sqrt());
    let mut table = Table::new(["σ", "M", "ours", "published", "difference"]);
    let (mut data, mut close, mut cells) = (Vec::new(), 0, 0);
    let clock = Instant::now();
    for sigma in SIGMAS {
        for cap in CAPS {
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
            let ours = lab::rate(&cbo, &f, &space, 5000, 0.1, 100, 0)?;
            options.common.note(format!("  σ = {sigma}, M = {cap}: {ours} ({published})"));
            cells += 1;
            close += usize::from((ours - published).abs() <= 0.13);
            let difference = format!("{:+.2}", ours - published);
            table.row([
                sigma.into(),
                cap.into(),
                format!("{ours:.2}"),
                format!("{published:.2}"),
                difference,
            ]);
            data.push(json!({ "sigma": sigma, "cap": cap, "ours": ours, "published": published }));
        }
    }
    Ok(Finding {
        name: "phase",
        title: "Truncated noise: the published success rates".into(),
        text: format!(
            "Rastrigin with amplitude 2.5, d = 4, 100 particles, isotropic noise truncated at M; 100 runs of 5000 steps per \
             cell; {:.0} s.",
            clock.elapsed().as_secs_f64()
        ),
        table,
        figures: Vec::new(),
        marks: vec![(format!("{close} of {cells} cells within 0.13 (27 needed)"), close >= 27)],
        data: Value::Array(data),
    })
}

fn speed() -> Result<Finding> {
    const STEPS: u32 = 200;
    let mut table = Table::new(["objective", "threads", "µs per step", "speed-up"]);
    let mut data = Vec::new();
    let cheap = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let dear = |x: &[f64]| (0..1500).fold(cheap(x), |v, k| v + 1e-15 * (f64::from(k) + x[0]).sin());
    let functions: [(&str, thalweg::cbo::lab::Map<'_>); 2] =
        [("sphere", &cheap), ("10 µs per evaluation", &dear)];
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build();
    let pools = [pool(1)?, pool(2)?];
    let mut gain = 0.0;
    for (name, f) in functions {
        let cbo = Cbo { particles: 200, noise_ratio: 0.3, ..Cbo::default() };
        let mut swarm = CboSwarm::new(cbo, Space::cube(20, -5.0, 5.0), Seed(1));
        let mut values = vec![0.0; 200];
        let function = |x: &[f64]| f(x);
        let mut round = |pool: &rayon::ThreadPool| {
            let clock = Instant::now();
            pool.install(|| {
                for _ in 0..STEPS {
                    let points = swarm.ask().to_vec();
                    thalweg::cbo::BlackBox::values(&function, &points, 20, &mut values);
                    swarm.tell(&values);
                }
            });
            1e6 * clock.elapsed().as_secs_f64() / f64::from(STEPS)
        };
        let mut times = [f64::INFINITY; 2];
        for _ in 0..8 {
            // In turn: what else the machine does hits both.
            for (time, pool) in times.iter_mut().zip(&pools) {
                *time = time.min(round(pool));
            }
        }
        gain = times[0] / times[1];
        for (threads, time) in (1..).zip(times) {
            table.row([
                name.into(),
                threads.to_string(),
                format!("{time:.1}"),
                format!("{:.2}", times[0] / time),
            ]);
            data.push(json!({ "objective": name, "threads": threads, "microseconds": time }));
        }
    }
    Ok(Finding {
        name: "speed",
        title: "Speed of a step".into(),
        text: "200 particles, 20 unknowns, coordinate-wise noise; the best of eight rounds of 200 steps, in turn."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![(
            format!("two threads are at least 1.8 times as fast where an evaluation takes 10 µs ({gain:.2})"),
            gain >= 1.8,
        )],
        data: Value::Array(data),
    })
}
