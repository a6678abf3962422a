//! Consensus-based optimisation (Riedl et al., arXiv:2306.09778): barriers, classic functions, the
//! theorem's rates, the published phase diagrams, learning, speed.

mod compare;
mod learning;
mod phase;
mod sensing;
mod theorem;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Command, Subcommand};
use serde_json::{Value, json};
use thalweg::cbo::alpha::Alpha;
use thalweg::cbo::method::cbo::{CboSwarm, Noise};
use thalweg::cbo::theory::Map;
use thalweg::cbo::{Adaptive, Algorithm, Auto, Cbo, Runs, SearchProblem, Space, Swarm};
use thalweg::core::{Seed, Stop};
use thalweg::data;
use thalweg::minimize::{rows, tour};
use thalweg::optim::blackbox::BlackBox;
use thalweg::optim::functions::{TestFunction, by_name};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use crate::claim::{Entry, Options, publish};
use crate::sources::shared_file;
use compare::{Compare, Laboratory};
use phase::Phase;
use theorem::Theorem;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  thalweg-claims cbo barriers classic
  thalweg-claims cbo all --out report/

Shifts and the published phase diagrams are looked for in the folder THALWEG_DATA (default ../shared/data): cbo/.
BBOB functions and other programs: peers/cbo.py."
)]
pub struct Claims {
    #[command(subcommand)]
    one: Option<One>,
    /// barriers, compare, classic, theorem, phase, sensing, learning, speed, rugged, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// A claim with options of its own.
#[derive(Subcommand)]
enum One {
    /// CBO, hopping, gradient descent, Langevin and the proximal scheme from the same start
    Compare(Compare),
    /// Parts of the one-step perturbation of hopping against gradient descent, with their rates
    Theorem(Theorem),
    /// Success rates of CBO over a grid of two of its settings
    Phase(Phase),
}

const ALL: &[Entry<Claims>] = &[
    ("barriers", |_| barriers()),
    ("compare", |_| usual::<Compare>()),
    ("classic", |c| classic(&c.options)),
    ("theorem", |_| usual::<Theorem>()),
    ("phase", |_| usual::<Phase>()),
    ("sensing", |c| sensing::sensing(&c.options)),
    ("learning", |c| learning::learning(&c.options)),
    ("speed", |_| speed()),
    ("rugged", |c| Ok(tour::rugged(&c.options.host())?)),
];

const TITLE: &str = "Consensus-based optimisation";

impl Claims {
    pub fn run(self) -> Result<()> {
        match &self.one {
            Some(One::Compare(claim)) => alone("compare", claim),
            Some(One::Theorem(claim)) => alone("theorem", claim),
            Some(One::Phase(claim)) => alone("phase", claim),
            None => {
                self.options.start()?;
                publish(TITLE, &self.options, &self, &self.which, ALL)
            }
        }
    }
}

/// A claim with options of its own.
trait Own: Args {
    fn options(&self) -> &Options;

    fn measure(&self) -> Result<Finding>;
}

fn alone<C: Own>(name: &'static str, claim: &C) -> Result<()> {
    claim.options().start()?;
    publish(TITLE, claim.options(), claim, &[name.into()], &[(name, C::measure)])
}

/// The claim with the options that it has when none is given.
fn usual<C: Own>() -> Result<Finding> {
    let command = C::augment_args(Command::new("claim").no_binary_name(true));
    C::from_arg_matches(&command.try_get_matches_from([""; 0])?)?.measure()
}

fn barriers() -> Result<Finding> {
    let f = by_name("grandcanyon3noisy", 2)?;
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
        let [rate, interval, median, runs, seconds] = r.cells();
        let known = if known.is_nan() { String::new() } else { known.to_string() };
        table.row([r.method.clone(), label.into(), rate, interval, known, median, runs, seconds]);
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
        text: "A winding valley with barriers from (8, 8); success: the end is within 0.25 of the minimizer in both \
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
    let methods = [
        ("cbo", Algorithm::Cbo(plain)),
        ("cbo, α by ESS", Algorithm::Cbo(ess)),
        ("cbo, eigenframe, 0.63", Algorithm::Cbo(frame)),
        ("adaptive hopping", Algorithm::Adaptive(Adaptive::default())),
        ("auto", Algorithm::Auto(Auto::default())),
    ];
    let host = options.host();
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
            let runs = Runs::make(all.len() as u64 * options.seeds, Seed(1), |r, seed| {
                let f = &all[r as usize % all.len()];
                let space = Space::cube(10, -f.half_width(), f.half_width());
                let mut stops: &[Stop] = &[Stop::Target(1e-3), Stop::Evaluations(200_000)];
                method.drive(&mut stops, &mut SearchProblem::new(&space, f), seed)
            })?;
            let count = runs.outcomes.len();
            host.note(format!("  {function}, {name}: {} of {count}", runs.successes));
            let shown = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.0}"));
            let interval = runs.ert_interval(Seed(1));
            table.row([
                function.into(),
                (*name).to_owned(),
                format!("{} of {count}", runs.successes),
                shown(runs.ert),
                interval.map_or_else(String::new, |(l, h)| format!("{l:.0} to {h:.0}")),
                shown(known.filter(|_| k == 0)),
            ]);
            if let (0, Some(known)) = (k, known) {
                let most = 10 * runs.successes >= 8 * count;
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
    let table = data::Table::read(file, &data::TableOptions::default())?;
    let columns = table.columns().len();
    let numbers = |row| (0..columns).map(|column| Ok(table.cell(row, column).parse()?)).collect();
    (0..table.rows()).map(numbers).collect()
}

/// The rate, in the third column, where the first two have these values.
fn cell(rows: &[Vec<f64>], x: f64, y: f64) -> Result<f64> {
    let same = |a: f64, b: f64| a == b || (a - b).abs() < 1e-9;
    let row = rows.iter().find(|r| same(r[0], x) && same(r[1], y));
    Ok(row.with_context(|| format!("the published table has no cell {x}, {y}"))?[2])
}

/// The ten shifted versions of a function.
fn shifted(file: &Path, function: &str) -> Result<Vec<TestFunction>> {
    let one = |shift: Vec<f64>| Ok(by_name(function, shift.len())?.shifted(shift)?);
    rows(file, 10, Some(function))?.into_iter().map(one).collect()
}

fn speed() -> Result<Finding> {
    const STEPS: u32 = 200;
    let mut table = Table::new(["objective", "threads", "µs per step", "speed-up"]);
    let mut data = Vec::new();
    let cheap = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let dear = |x: &[f64]| (0..1500).fold(cheap(x), |v, k| v + 1e-15 * (f64::from(k) + x[0]).sin());
    let functions: [(&str, Map<'_>); 2] = [("sphere", &cheap), ("10 µs per evaluation", &dear)];
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
                    BlackBox::values(&function, &points, 20, &mut values);
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
