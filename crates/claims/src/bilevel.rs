//! Bilevel optimisation by penalties (Kwon et al., arXiv:2309.01753): the paper has theorems and no experiment, so
//! these are ours, beside other people's methods in one run.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use thalweg::bilevel::explicit::{hypergradient, optimistic};
use thalweg::bilevel::tasks::quadratic::{Quadratic, Spec};
use thalweg::bilevel::tasks::toys::{RandomSimplex, Toy};
use thalweg::bilevel::{Algorithm, Bilevel, Oracle, Solution};
use thalweg::core::Seed;
use thalweg::plot::{Figure, Table};

use thalweg::tasks::bilevel::hyperclean::{self, Judged};
use thalweg::tasks::bilevel::job::{Job, Trace, algorithm, no_observer, trace};
use thalweg::tasks::bilevel::regularization::{self, Evaluator, Task, precise};
use thalweg::tasks::source::DataSource;
use thalweg::tasks::{Finding, Host, TaskError};
use thalweg::train::compare::moments;

use crate::claim::{Entry, Options, publish};
use crate::measure::exponent;
use crate::sources::shared_file;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims bilevel toys quadratics
  thalweg-claims bilevel regularisation cleaning --out report/")]
pub struct Claims {
    /// toys, rates, regularisation, text, cleaning, network, quadratics, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Claims>] = &[
    ("toys", |_| toys()),
    ("rates", |b| rates(&b.options)),
    ("regularisation", |b| regularized(&b.options, &IJCNN)),
    ("text", |b| regularized(&b.options, &REUTERS)),
    ("cleaning", |b| cleaning(&b.options)),
    ("network", |_| network()),
    ("quadratics", |b| quadratics(&b.options)),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.options.start()?;
        publish("Bilevel optimisation", &self.options, &self, &self.which, ALL)
    }
}

fn fields(pairs: &[(&str, Value)], name: &str) -> Result<Algorithm> {
    Ok(algorithm(name, &[], pairs)?)
}

/// Closed forms: minima, and the explicit gradient.
fn toys() -> Result<Finding> {
    let mut table =
        Table::new(["toy", "x − nearest minimum", "ψ − its value", "explicit ∇ψ − truth", "seconds"]);
    let (mut worst, mut slowest, mut data) = (0.0f64, 0.0f64, Vec::new());
    for toy in Toy::all() {
        let clock = Instant::now();
        let settings = [("tolerance", json!(1e-9)), ("sigma_min", json!(1e-4))];
        let (_, end) = trace(&toy, &fields(&settings, "pbo")?, (1000, None), 1, 1.0, &mut no_observer)?;
        let end = end.map_err(anyhow::Error::msg)?;
        let counts = toy.name != "jump"; // a counter-example: no ψ_σ has its minimum
        let seconds = clock.elapsed().as_secs_f64();
        let distance = |m: &[f64]| m.iter().zip(&end.x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let nearest = toy.minima.iter().min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
        let (minimum, value) = nearest.context("a toy has a minimum")?;
        let (x, psi) = (distance(minimum), (toy.psi(&end.x).0 - value).abs());
        let start = toy.start().0;
        let mut oracle = Oracle::new(&toy)?;
        let from = oracle.start();
        let y = optimistic(&mut oracle, &start, &from)?;
        let explicit = hypergradient(&mut oracle, &start, &y)?;
        let truth = toy.psi(&start).1.unwrap_or_default();
        let gradient = explicit.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if counts {
            worst = worst.max(psi.max(gradient));
        }
        slowest = slowest.max(seconds);
        table.row([
            toy.name.to_owned(),
            format!("{x:.1e}"),
            format!("{psi:.1e}"),
            format!("{gradient:.1e}"),
            format!("{seconds:.3}"),
        ]);
        data.push(json!({ "toy": toy.name, "x_error": x, "psi_error": psi, "gradient_error": gradient, "seconds": seconds }));
    }
    let mut figure = Figure::new("ψ_σ → ψ").x_label("σ").y_label("ψ − ψ_σ").log_x().log_y();
    for toy in Toy::all() {
        // Beside the kink of the counter-example, where σ and x are of one size.
        let x = if toy.name == "jump" { vec![1e-3] } else { toy.start().0 };
        let mut oracle = Oracle::new(&toy)?;
        let mut at = Solution { x: x.clone(), ..oracle.start() };
        let mut points = Vec::new();
        for k in 0..14 {
            let sigma = 0.5f64.powi(k);
            let here = thalweg::bilevel::penalty::penalty(&mut oracle, &mut at, sigma, 1e-11)?;
            points.push((sigma, toy.psi(&x).0 - here.value));
        }
        points.retain(|p| p.1 > 1e-12);
        figure = figure.line(toy.name, &points);
    }
    let simplex = RandomSimplex::new(50, Seed(1));
    let (_, end) = trace(&simplex, &fields(&[], "pbo")?, (1000, None), 1, 1.0, &mut no_observer)?;
    let end = end.map_err(anyhow::Error::msg)?;
    let mut oracle = Oracle::new(&simplex)?;
    let mut z = end.z.clone();
    let mut psi = |x: f64| -> Result<f64> {
        thalweg::bilevel::penalty::lower(&mut oracle, &[x], &mut z, 1e-11)?;
        Ok(oracle.upper(&[x], &z, thalweg::bilevel::Batch::Full, thalweg::bilevel::Grad::NONE)?)
    };
    let grid = (0..=1000).map(|i| psi(f64::from(i) / 1000.0)).collect::<Result<Vec<_>>>()?;
    let best = grid.into_iter().fold(f64::INFINITY, f64::min);
    let over = psi(end.x[0])? - best;
    table.row([
        "simplex, 50 unknowns".into(),
        String::new(),
        format!("{over:.1e} (grid of 1001)"),
        String::new(),
        String::new(),
    ]);
    Ok(Finding {
        name: "toys",
        title: "Problems in closed form".into(),
        text: "pbo to σ = 1e-4 with Richardson's extrapolation, from each toy's start; the explicit gradient at the start."
            .into(),
        table,
        figures: vec![(figure, "Linear in σ, but for the counter-example `jump` beside its jump: there ψ_σ is far from ψ until σ is below x = 0.001.".into())],
        marks: vec![
            (format!("ψ and ∇ψ of all but the counter-example to {worst:.1e} ≤ 1e-6"), worst <= 1e-6),
            (format!("each within {slowest:.3} s ≤ 1 s"), slowest <= 1.0),
            (format!("50 unknowns on a simplex: {over:.1e} above the best of a grid"), over <= 1e-6),
        ],
        data: json!(data),
    })
}

/// How many gradients an ε-stationary point takes.
fn rates(options: &Options) -> Result<Finding> {
    let toy = Toy::named("least-squares").context("the toy is known")?;
    let norm =
        |x: &[f64]| -> f64 { toy.psi(x).1.unwrap_or_default().iter().map(|g| g * g).sum::<f64>().sqrt() };
    let mut look = |at: &Solution| Ok((vec![("gradient", norm(&at.x))], ControlFlow::Continue(())));
    // Root mean squares over the seeds at the same number of calls.
    let mut curve =
        |toy: &Toy, name: &str, set: &[(&str, Value)], steps: u64, seeds: u64| -> Result<Vec<(f64, f64)>> {
            let method = fields(set, name)?;
            let mut sums: Vec<(f64, f64)> = Vec::new();
            for seed in 1..=seeds {
                let (seen, _) = trace(toy, &method, (steps, None), seed, 1.5, &mut look)?;
                for (i, s) in seen.iter().enumerate() {
                    let square = s.number("gradient").unwrap_or(f64::NAN).powi(2) / seeds as f64;
                    match sums.get_mut(i) {
                        Some(sum) => sum.1 += square,
                        None => sums.push((s.calls as f64, square)),
                    }
                }
            }
            Ok(sums.into_iter().map(|(calls, square)| (calls, square.sqrt())).collect())
        };
    let double = [("shift", json!(1.0)), ("sigma", json!(1.0)), ("alpha", json!(1.0))];
    let single = [
        ("eta", json!(1.0)),
        ("eta_power", json!(0.0)),
        ("batch", json!(0)),
        ("sigma", json!(1.0)),
        ("sigma_power", json!(1.0 / 3.0)),
        ("gamma_power", json!(0.0)),
        ("alpha", json!(0.1)),
        ("alpha_power", json!(1.0 / 3.0)),
        ("shift", json!(10.0)),
    ];
    let noisy = toy.clone().noisy(0.3);
    let noise = [
        ("batch", json!(1)),
        ("shift", json!(10.0)),
        ("sigma", json!(1.0)),
        ("alpha", json!(0.3)),
        ("eta", json!(1.0)),
    ];
    let mut curves = vec![
        ("double loop", 3.0, curve(&toy, "pbo-double", &double, 20_000, 1)?),
        ("single loop", 3.0, curve(&toy, "pbo-single", &single, 100_000, 1)?),
        ("single loop with noise", 5.0, curve(&noisy, "pbo-single", &noise, 300_000, options.seeds.max(5))?),
    ];
    // The double loop with noise has batches and loops of the wanted ε: one run each.
    let mut points = Vec::new();
    for epsilon in [0.7f64, 0.5, 0.35, 0.25] {
        let (steps, inner) = ((2.0 * epsilon.powi(-3)).ceil() as u64, epsilon.powi(-4).ceil() as u64);
        let set = [
            ("sigma", json!(epsilon)),
            ("sigma_power", json!(0.0)),
            ("alpha", json!(0.3)),
            ("alpha_power", json!(0.0)),
            ("gamma", json!(0.5 * epsilon)),
            ("inner", json!(inner)),
            ("shift", json!(1e9)),
            ("batch", json!(1)),
            ("batch_x", json!(inner)),
        ];
        let end = curve(&noisy, "pbo-double", &set, steps, options.seeds)?;
        let last = end.last().context("a run has an end")?;
        // A batch of M terms is M gradients.
        points.push((steps as f64 * (4.0 * inner as f64 + 3.0 * inner as f64), last.1));
    }
    curves.push(("double loop with noise", 7.0, points));

    let mut table = Table::new(["algorithm", "gradients", "‖∇ψ‖ at last", "exponent p", "proved"]);
    let mut figure = Figure::new("Gradients for an ε-stationary point")
        .x_label("gradients")
        .y_label("‖∇ψ‖")
        .log_x()
        .log_y();
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    for (name, proved, points) in &curves {
        let (calls, end) = *points.last().context("a curve has an end")?;
        // gradients ∝ ε^{−p}, over the last two thirds (by the logarithm) of the run.
        let late: Vec<(f64, f64)> =
            points.iter().copied().filter(|p| p.0 >= calls.cbrt() && p.1 > 1e-13).collect();
        let p = -1.0 / exponent(&late);
        table.row([
            (*name).to_owned(),
            format!("{calls:.0}"),
            format!("{end:.2e}"),
            format!("{p:.2}"),
            format!("{proved}"),
        ]);
        marks.push((format!("{name}: ε^−{p:.2}, at most ε^−{proved}"), p > 0.0 && p <= proved + 0.05));
        figure = figure.line(name, points);
        data.push(json!({ "algorithm": name, "points": points, "exponent": p, "proved": proved }));
    }
    Ok(Finding {
        name: "rates",
        title: "Gradients for an ε-stationary point".into(),
        text: format!(
            "The toy `least-squares`, of which ∇ψ is known; with noise of standard deviation 0.3 in each coordinate of each \
             gradient, root mean squares of {} seeds.",
            options.seeds.max(5)
        ),
        table,
        figures: vec![(figure, "Both axes logarithmic: the slope is −1/p.".into())],
        marks,
        data: json!(data),
    })
}

/// A task of regularisation selection.
struct Chosen {
    name: &'static str,
    title: &'static str,
    files: [&'static str; 2],
    bounds: (f64, f64),
    start: f64,
    /// The local minimum that L-BFGS-B with exact gradients finds from the start, or the best that is known.
    reference: f64,
    seconds: f64,
}

const IJCNN: Chosen = Chosen {
    name: "regularisation",
    title: "Regularisation selection: ijcnn1",
    files: ["bilevel/ijcnn1.train.svm.bz2", "bilevel/ijcnn1.test.svm.bz2"],
    bounds: (-10.0, 2.0),
    start: 0.0,
    reference: 0.206_399_012_059,
    seconds: 60.0,
};

const REUTERS: Chosen = Chosen {
    name: "text",
    title: "Regularisation selection: Reuters",
    files: ["bilevel/reuters.train.svm.bz2", "bilevel/reuters.test.svm.bz2"],
    bounds: (-12.0, 0.0),
    start: -10.0,
    reference: 0.0,
    seconds: 100.0,
};

fn regularized(options: &Options, chosen: &Chosen) -> Result<Finding> {
    let [train, test] = chosen.files.map(shared_file);
    let problem = Task::of_files(&train?, &test?, None, chosen.bounds)?.problem;
    let n = problem.dims().0;
    let problem = problem.from(vec![chosen.start; n]);
    let known = chosen.reference > 0.0;
    let limit = Some(Duration::from_secs_f64(chosen.seconds));
    let mut table = Table::new([
        "method",
        "validation loss",
        "above the minimum",
        "seconds to 1e-2",
        "to 1e-3",
        "to 1e-4",
        "gradients",
        "seconds",
    ]);
    let mut figure = Figure::new("Validation loss by time")
        .x_label("seconds")
        .y_label(if known { "above the minimum" } else { "validation loss" })
        .log_x()
        .log_y();
    let mut by_calls = Figure::new("Validation loss by oracle calls")
        .x_label("gradients and products")
        .y_label(if known { "above the minimum" } else { "validation loss" })
        .log_x()
        .log_y();
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    let names = [
        "pbo",
        "implicit",
        "pbo-double",
        "pbo-single",
        "f2sa",
        "aid",
        "stocbio",
        "soba",
        "saba",
        "amigo",
        "grid",
    ];
    for name in names {
        let algorithm = fields(&regularization::usual(name), name)?;
        let single = matches!(name, "pbo-single" | "soba" | "saba");
        let steps = if single { 200_000 } else { 100_000 };
        let (mut ends, mut failure) = (Vec::new(), None);
        let mut shown: Vec<Trace> = Vec::new();
        // Methods that draw nothing are the same for any seed.
        let seeds = if precise(name) || matches!(name, "pbo-double" | "aid") { 1 } else { options.seeds };
        for seed in 1..=seeds {
            let mut watcher = Evaluator::new(&problem)?;
            let mut look = |at: &Solution| watcher.look(at, 1e-8);
            // Stages of 20,000 steps of single-loop methods are looked at too.
            let spacing = if precise(name) { 1.0 } else { 1.2589254117941673 };
            let (seen, end) = trace(&problem, &algorithm, (steps, limit), seed, spacing, &mut look)?;
            failure = failure.or(end.err());
            let least = seen.iter().filter_map(|s| s.number("upper")).fold(f64::INFINITY, f64::min);
            ends.push(least);
            shown = seen;
        }
        let (end, spread) = moments(&ends);
        let above = |s: &Trace| s.number("upper").map(|u| u - chosen.reference);
        let reach = |tolerance: f64| {
            let first = shown.iter().find(|s| above(s).is_some_and(|a| a <= tolerance));
            first.map_or("–".to_owned(), |s| format!("{:.2}", s.seconds))
        };
        let Some(last) = shown.last() else { continue };
        table.row([
            format!("{name}{}", if failure.is_some() { " (diverged)" } else { "" }),
            format!("{end:.6}{}", if seeds > 1 { format!(" ± {spread:.1e}") } else { String::new() }),
            if known { format!("{:.1e}", end - chosen.reference) } else { String::new() },
            if known { reach(1e-2) } else { String::new() },
            if known { reach(1e-3) } else { String::new() },
            if known { reach(1e-4) } else { String::new() },
            last.calls.to_string(),
            format!("{:.1}", last.seconds),
        ]);
        let points = |of: fn(&Trace) -> f64| -> Vec<(f64, f64)> {
            shown.iter().filter_map(|s| Some((of(s).max(1e-3), above(s)?.max(1e-9)))).collect()
        };
        figure = figure.line(name, &points(|s| s.seconds));
        by_calls = by_calls.line(name, &points(|s| s.calls as f64));
        if known && name == "pbo" {
            let first = shown.iter().find(|s| above(s).is_some_and(|a| a <= 1e-4));
            let text = first.map_or("never".into(), |s| format!("after {:.1} s", s.seconds));
            marks.push((
                format!("pbo within 1e-4 of the minimum {text} ≤ 30 s"),
                first.is_some_and(|s| s.seconds <= 30.0),
            ));
        }
        if known && name == "pbo-single" {
            for (steps, tolerance) in [(20_000, 1e-2), (200_000, 2e-3)] {
                let best =
                    shown.iter().filter(|s| s.step <= steps).filter_map(above).fold(f64::INFINITY, f64::min);
                marks.push((
                    format!("pbo-single within {steps} steps: {best:.1e} ≤ {tolerance:.0e}"),
                    best <= tolerance,
                ));
            }
        }
        data.push(json!({
            "method": name,
            "ends": ends,
            "failure": failure,
            "curve": shown.iter().map(|s| json!([s.step, s.calls, s.seconds, s.number("upper")])).collect::<Vec<_>>(),
        }));
    }
    if !known {
        let end = |name: &str| data.iter().find(|d| d["method"] == name).and_then(|d| d["ends"][0].as_f64());
        let ours = end("pbo").unwrap_or(f64::NAN);
        marks.push((
            format!("pbo reaches {ours:.5}, the reference after 100 s is 0.02250"),
            ours <= 0.022_504_2,
        ));
    }
    Ok(Finding {
        name: chosen.name,
        title: chosen.title.into(),
        text: format!(
            "A ridge weight for each of {n} features, in [{}, {}], from {} each; every method has {} s (and single loops \
             200,000 steps), lower-level steps scaled by curvature where the method allows. Looking at the validation loss is \
             not counted.",
            chosen.bounds.0, chosen.bounds.1, chosen.start, chosen.seconds
        ),
        table,
        figures: vec![(figure, String::new()), (by_calls, String::new())],
        marks,
        data: json!(data),
    })
}

fn mnist(split: &str, ridge: f64) -> Result<Judged> {
    let images = shared_file("bilevel/mnist10k-images-idx3-ubyte.gz")?;
    let split = shared_file(format!("bilevel/{split}"))?;
    let images = DataSource { data: images.display().to_string(), ..DataSource::default() };
    Ok(Judged::of_split(&images, &split, ridge)?)
}

fn clean(
    task: &Judged,
    name: &str,
    set: &[&str],
    steps: u64,
    seed: u64,
    time: Option<f64>,
) -> Result<hyperclean::Solved> {
    let host = Host { time: time.map(Duration::from_secs_f64), ..Host::default() };
    let spacing = if steps > 1000 { 1.1 } else { 1.0 };
    let job = Job { spacing, ..Job::plain(steps, seed, host) };
    let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
    Ok(task.solve(job, name, &set)?)
}

/// Data hyper-cleaning on MNIST's 10,000-image file.
fn cleaning(_: &Options) -> Result<Finding> {
    let mut table = Table::new(["labels", "method", "steps", "test accuracy", "F1", "seconds", "gradients"]);
    let (mut marks, mut data, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for (label, split, marked) in [
        ("50 % wrong", "hyperclean_mnist10k_p50.csv.gz", true),
        ("30 % wrong", "hyperclean_mnist10k_p30.csv.gz", false),
    ] {
        let task = mnist(split, 1e-3)?;
        let names = ["given labels", "validation part", "both", "rightly labelled and validation part"];
        let baselines = task.baselines()?;
        for (name, accuracy) in names.iter().zip(baselines) {
            table.row([label, name, "", &format!("{accuracy:.4}"), "", "", ""]);
        }
        data.push(json!({ "labels": label, "baselines": baselines }));
        let rivals: [(&str, &[&str], u64); 6] = [
            ("pbo-double", &[], 100),
            ("pbo", &[], 60),
            ("pbo-single", &[], 20_000),
            ("f2sa", &[], 1000),
            ("aid", &[], 200),
            ("implicit", &[], 60),
        ];
        for (name, set, steps) in rivals {
            let solved = match clean(&task, name, set, steps, 1, Some(60.0)) {
                Err(e) if matches!(e.downcast_ref(), Some(TaskError::Interrupted { .. })) => return Err(e),
                Err(e) => {
                    table.row([label, name, "", "diverged", "", "", ""]);
                    data.push(json!({ "labels": label, "method": name, "failure": format!("{e:#}") }));
                    continue;
                }
                Ok(solved) => solved,
            };
            let mut row = |s: &Trace| {
                let number = |n: &str| s.number(n).map_or(String::new(), |v| format!("{v:.4}"));
                table.row([
                    label.to_owned(),
                    name.to_owned(),
                    s.step.to_string(),
                    number("test_accuracy"),
                    number("f1"),
                    format!("{:.1}", s.seconds),
                    s.calls.to_string(),
                ]);
            };
            let last = solved.seen.last().context("a run has an end")?;
            if name == "pbo-double" {
                solved.seen.iter().filter(|s| [10, 25, 50].contains(&s.step)).for_each(&mut row);
                figures.push((hyperclean::curves(&solved.seen), format!("{label}: pbo-double.")));
                figures.push((
                    task.histogram(&solved.solution.x),
                    format!("{label}: the weights that pbo-double learned."),
                ));
            }
            row(last);
            if marked && name == "pbo-double" {
                let good = |accuracy: f64, f1: f64| {
                    let meets = |s: &&Trace| {
                        s.number("test_accuracy").is_some_and(|a| a >= accuracy)
                            && s.number("f1").is_some_and(|f| f >= f1)
                    };
                    solved.seen.iter().find(|s| meets(s) && s.seconds <= 60.0).map(|s| (s.step, s.seconds))
                };
                let (a, b) = (good(0.8805, 0.89), good(0.875, 0.90));
                let text = |found: Option<(u64, f64)>| {
                    found.map_or("never".to_owned(), |(step, seconds)| {
                        format!("at step {step}, {seconds:.1} s")
                    })
                };
                let held = a.is_some() || b.is_some();
                marks.push((
                    format!(
                        "accuracy ≥ 0.8805 with F1 ≥ 0.89 {}, or ≥ 0.875 with F1 ≥ 0.90 {}, within 60 s",
                        text(a),
                        text(b)
                    ),
                    held,
                ));
            }
            data.push(json!({
                "labels": label,
                "method": name,
                "curve": solved.seen.iter().map(|s| json!([s.step, s.calls, s.seconds, s.number("test_accuracy"), s.number("f1")])).collect::<Vec<_>>(),
            }));
        }
    }
    Ok(Finding {
        name: "cleaning",
        title: "Data hyper-cleaning".into(),
        text: "MNIST's 10,000-image file: 5,000 training images, some labels wrong, 1,000 clean ones to validate, 4,000 to \
               test; linear softmax, C = 1e-3; each method has 60 s. Gradients by x are of order 1/n: steps on x are scaled by \
               n = 5,000."
            .into(),
        table,
        figures,
        marks,
        data: json!(data),
    })
}

/// A hidden layer makes the lower level nonconvex.
fn network() -> Result<Finding> {
    let mut task = mnist("hyperclean_mnist10k_p50.csv.gz", 1e-3)?;
    let linear = task.test_accuracy(&task.problem.fit(&[task.problem.train()], 1e-6)?);
    task.problem = task.problem.hidden(64, Seed(1));
    let mut table = Table::new(["steps", "test accuracy", "F1", "seconds"]);
    let solved = clean(&task, "pbo-double", &["inner=20"], 60, 1, Some(240.0))?;
    for s in solved.seen.iter().filter(|s| [1, 5, 10, 20, 40, 60].contains(&s.step)) {
        let number = |n: &str| s.number(n).map_or(String::new(), |v| format!("{v:.4}"));
        table.row([s.step.to_string(), number("test_accuracy"), number("f1"), format!("{:.1}", s.seconds)]);
    }
    let best = solved.seen.iter().filter_map(|s| s.number("test_accuracy")).fold(0.0, f64::max);
    Ok(Finding {
        name: "network",
        title: "Hyper-cleaning with a nonconvex lower level".into(),
        text: "As above with 50 % wrong labels, but a 784-64-10 network with tanh: 20 lower steps per step on the weights.".into(),
        table,
        figures: vec![(hyperclean::curves(&solved.seen), String::new())],
        marks: vec![(format!("test accuracy {best:.4} above the linear classifier on the given labels, {linear:.4}"), best > linear)],
        data: json!(solved.seen.iter().map(|s| json!([s.step, s.seconds, s.number("test_accuracy"), s.number("f1")])).collect::<Vec<_>>()),
    })
}

/// A method, its settings and its steps.
type Rival<'a> = (&'static str, &'a [(&'static str, Value)], u64);

/// Random quadratics of benchmark_bilevel.
fn quadratics(options: &Options) -> Result<Finding> {
    let mut table = Table::new(["method", "y of 10", "y of 100"]);
    let mut figures = Vec::new();
    let mut data = Vec::new();
    let methods: [Rival<'_>; 11] = [
        ("pbo", &[], 500),
        ("implicit", &[], 500),
        ("pbo-double", &[("sigma", json!(0.3)), ("alpha", json!(0.5))], 20_000),
        ("pbo-single", &[("alpha", json!(0.05))], 20_000),
        (
            "f2sa",
            &[
                ("alpha", json!(0.1)),
                ("gamma", json!(0.5)),
                ("a", json!(0.05)),
                ("lambda", json!(5.0)),
                ("shift", json!(100.0)),
            ],
            5_000,
        ),
        (
            "pbgd",
            &[
                ("gamma", json!(0.5)),
                ("penalty_end", json!(30.0)),
                ("ramp", json!(5000)),
                ("alpha", json!(0.5)),
                ("beta", json!(0.5)),
            ],
            20_000,
        ),
        ("bome", &[("gamma", json!(0.5)), ("alpha", json!(0.05)), ("beta", json!(0.05))], 5_000),
        ("aid", &[("gamma", json!(0.5)), ("alpha", json!(0.5))], 2_000),
        ("stocbio", &[("gamma", json!(0.1)), ("alpha", json!(0.1))], 2_000),
        ("soba", &[("gamma", json!(0.1)), ("alpha", json!(0.1)), ("power", json!(0.4))], 20_000),
        ("saba", &[("gamma", json!(0.1)), ("alpha", json!(0.1))], 20_000),
    ];
    let amigo: Rival<'_> =
        ("amigo", &[("gamma", json!(0.1)), ("alpha", json!(0.1)), ("power", json!(0.4))], 2_000);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut exact = 0.0f64;
    for inner in [10, 100] {
        let mut figure = Figure::new(format!("{inner} lower unknowns"))
            .x_label("gradients and products")
            .y_label("ψ − min ψ")
            .log_x()
            .log_y();
        for (k, (name, set, steps)) in methods.iter().chain([&amigo]).enumerate() {
            let (mut ends, mut shown) = (Vec::new(), Vec::new());
            for seed in 1..=options.seeds {
                let problem = Quadratic::new(Spec { inner, ..Spec::default() }, Seed(seed))?;
                let least = problem.minimum();
                let mut look = |at: &Solution| {
                    Ok((vec![("above", problem.value(&at.x) - least)], ControlFlow::Continue(())))
                };
                let limit = Some(Duration::from_secs(10));
                let (seen, _) = trace(&problem, &fields(set, name)?, (*steps, limit), seed, 1.2, &mut look)?;
                ends.push(seen.last().and_then(|s| s.number("above")).unwrap_or(f64::NAN));
                shown = seen;
            }
            let points: Vec<(f64, f64)> =
                shown.iter().filter_map(|s| Some((s.calls as f64, s.number("above")?.max(1e-14)))).collect();
            figure = figure.line(name, &points);
            let (mean, sd) = moments(&ends);
            if *name == "pbo" {
                exact = exact.max(mean);
            }
            if rows.len() <= k {
                rows.push(vec![(*name).to_owned()]);
            }
            rows[k].push(format!("{mean:.1e} ± {sd:.0e}"));
            data.push(json!({ "inner": inner, "method": name, "above": ends, "calls": shown.last().map(|s| s.calls) }));
        }
        figures.push((figure, "One seed; the lower the better.".into()));
    }
    rows.into_iter().for_each(|row| {
        table.row(row);
    });
    Ok(Finding {
        name: "quadratics",
        title: "Random quadratics of benchmark_bilevel".into(),
        text: format!(
            "x of 100, y of 10 and 100, 1,024 terms, curvature 0.1 to 1, mixed derivatives 0.1: ψ − min ψ at the end (10 s at most), \
             {} seeds.",
            options.seeds
        ),
        table,
        figures,
        marks: vec![(format!("pbo within {exact:.1e} ≤ 1e-6 of the minimum"), exact <= 1e-6)],
        data: json!(data),
    })
}
