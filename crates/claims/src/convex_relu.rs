//! Convex training of two-layer ReLU networks (Bai et al., arXiv:2201.01965), one table per claim.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use thalweg::convex_relu::{
    Admm, AdmmPaper, Algorithm, Attack, BlockProgram, Choice, ConvexError, ConvexRelu, DenseProgram,
    Geometry, LassoSolver, Loss, Network, Patterns, Program, Rbcd, RobustProgram, Samples, Scaling, Scp,
    Solver, Training, exact, linear, sampling_bound, unit_vectors,
};
use thalweg::core::{Method, Objective, Problem, Run, Seed, Stop};
use thalweg::data::{self, Source, Targets, Values};
use thalweg::optim::{Adam, Sgd};
use thalweg::plot::{Figure, Table};

use super::timing::{exponent, median};
use super::{Entry, Finding, Options, publish};
use crate::config::shared_file;
use crate::fit::data::Data;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg bench convex-relu solve scp
  thalweg bench convex-relu all --out report/

The problems with known optima and the images are looked for in the folder THALWEG_DATA (default
../shared/data): convex-relu/, vision/.")]
pub struct Bench {
    /// solve, scaling, scp, gradient, robust, images, first, all
    #[arg(required = true)]
    which: Vec<String>,
    /// Training samples of the largest scaling and image runs
    #[arg(long, default_value_t = 1000)]
    samples: usize,
    #[command(flatten)]
    options: Options,
}

/// Names, with those of the specification.
const ALL: &[Entry<Bench>] = &[
    ("solve", "b1", |_| solve()),
    ("scaling", "b2", Bench::scaling),
    ("scp", "b3", |_| scp()),
    ("gradient", "b4", Bench::gradient),
    ("robust", "b5", |_| robust()),
    ("images", "b6", Bench::images),
    ("first", "b7", |_| first()),
];

/// Problems with listed patterns: name and β.
const PLAIN: [(&str, f64); 4] =
    [("sampled_bc", 0.1), ("sampled_dg38", 0.1), ("adv_bc", 0.01), ("adv_dg38", 0.01)];

/// Small problems whose list holds every pattern that there is: name and β.
const COMPLETE: [(&str, f64); 3] = [("exact2d_0", 0.05), ("exact2d_1", 0.05), ("exact3d_0", 0.02)];

impl Bench {
    pub fn run(self) -> Result<()> {
        if self.options.seeds == 0 {
            bail!("seeds = 0 is not allowed; use at least 1");
        }
        self.options.common.start()?;
        publish("Convex two-layer ReLU networks", &self.options, &self, &self.which, ALL)
    }
}

/// One of the shared problems.
fn shared(name: &str) -> Result<PathBuf> {
    shared_file(format!("convex-relu/{name}.npz"))
}

fn load(name: &str, loss: Loss) -> Result<Data> {
    Data::load(&shared(name)?.display().to_string(), None, None, loss, true)
}

fn program(data: &Data, loss: Loss, beta: f64) -> Result<Program> {
    let patterns = data.patterns.clone().context("the archive lists no patterns D")?;
    Ok(Program::new(Geometry::new(data.train.clone(), patterns, false)?, data.y.clone(), loss, beta)?)
}

fn network(program: &Program, solution: &thalweg::convex_relu::Solution) -> Network {
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

/// Certified solves: the default against the interior-point method on the whole program.
fn solve() -> Result<Finding> {
    let mut table = Table::new([
        "set",
        "loss",
        "ADMM s",
        "iterations",
        "gap",
        "finished gap",
        "interior point s",
        "gap",
        "ratio",
    ]);
    let (mut marks, mut rows) = (Vec::new(), Vec::new());
    for (name, beta) in PLAIN {
        for loss in Loss::ALL {
            let program = program(&load(name, loss)?, loss, beta)?;
            let solver = |tol| Solver { algorithm: Some(Algorithm::Admm), tol, ..Solver::default() };
            let (ours, seconds) = timed(|| solver(1e-4).solve(&program, Seed(0)))?;
            let tight = solver(1e-6).solve(&program, Seed(0))?.certified.certificate.gap;
            let (direct, theirs) = timed(|| exact(&program))?;
            let (gap, ratio) = (ours.certified.certificate.gap, theirs / seconds);
            table.row([
                name.into(),
                loss.name().into(),
                format!("{seconds:.3}"),
                ours.iterations.to_string(),
                format!("{gap:.1e}"),
                format!("{tight:.1e}"),
                format!("{theirs:.3}"),
                format!("{:.1e}", direct.certificate.gap),
                format!("{ratio:.1}×"),
            ]);
            let wanted = if name == "sampled_dg38" { 10.0 } else { 1.0 };
            marks.push((
                format!("{name} {}: ≥ {wanted}× the interior point ({ratio:.1}×), gap ≤ 1e-4", loss.name()),
                ratio >= wanted && gap <= 1e-4,
            ));
            marks.push((
                format!("{name} {}: finished to a gap ≤ 1e-6 ({tight:.1e})", loss.name()),
                tight <= 1e-6,
            ));
            rows.push(json!({ "set": name, "loss": loss, "admm_seconds": seconds, "iterations": ours.iterations, "gap": gap, "finished_gap": tight, "exact_seconds": theirs, "exact_gap": direct.certificate.gap }));
        }
    }
    Ok(finding(
        "solve",
        "Certified solves",
        "Time to a certified gap of 1e-4 of the default method, and of Clarabel on the whole program at its full accuracy, in one run.",
        table,
        marks,
        rows,
    ))
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

/// Seconds per step of a method on a problem, after a first step.
fn per_step<M: Method<P>, P: Problem>(method: &M, problem: &mut P, steps: u64) -> Result<f64> {
    let mut state = method.init(problem, Seed(1))?;
    method.step(problem, &mut state)?;
    let clock = Instant::now();
    for _ in 0..steps {
        method.step(problem, &mut state)?;
    }
    Ok(clock.elapsed().as_secs_f64() / steps as f64)
}

/// Digits 3 and 8, the middle 24 × 24 pixels pooled to 8 × 8; labels −1 and +1.
fn threes_and_eights(limit: usize) -> Result<(Samples, Vec<f64>)> {
    let (x, labels) = images("vision/mnist-train-images-idx3-ubyte.gz", 28, 1)?;
    let mut features = Vec::new();
    let mut y = Vec::new();
    for (image, label) in x.iter().zip(&labels).filter(|(_, l)| **l == 3 || **l == 8).take(limit) {
        features.extend(pool(image, 28, 1, 2, 3, 8));
        y.push(if *label == 8 { 1.0 } else { -1.0 });
    }
    let raw = Samples::new(features, 64)?;
    Ok((Scaling::of(&raw).apply(&raw)?, y))
}

/// Images as rows of bytes with their labels.
fn images(file: &str, side: usize, channels: usize) -> Result<(Vec<Vec<f64>>, Vec<u32>)> {
    let file = shared_file(file)?;
    let loaded = data::load(&file.display().to_string(), &data::Options::default())?;
    let Source::Examples { train, test } = loaded.source else { bail!("{} holds no images", file.display()) };
    let (mut x, mut labels) = (Vec::new(), Vec::new());
    for part in [train, test] {
        let (Values::Bytes(bytes), Targets::Classes { labels: l, .. }) = (part.x, part.targets) else {
            bail!("{} holds no labelled images", file.display())
        };
        let image = |b: &[u8]| b.iter().map(|b| f64::from(*b) / 255.0).collect();
        x.extend(bytes.chunks(side * side * channels).map(image).collect::<Vec<Vec<f64>>>());
        labels.extend(l);
    }
    Ok((x, labels))
}

/// Averages of `size` × `size` cells from the offset on, `cells` × `cells` of them.
fn pool(image: &[f64], side: usize, channels: usize, offset: usize, size: usize, cells: usize) -> Vec<f64> {
    let mut out = vec![0.0; cells * cells * channels];
    for i in 0..cells * size {
        for j in 0..cells * size {
            for c in 0..channels {
                let pixel = image[((offset + i) * side + offset + j) * channels + c];
                out[(i / size * cells + j / size) * channels + c] += pixel / (size * size) as f64;
            }
        }
    }
    out
}

impl Bench {
    /// Time of an iteration over a grid of n and P, against the published splitting.
    fn scaling(&self) -> Result<Finding> {
        const P: [u64; 5] = [25, 50, 100, 200, 400];
        let mut header = vec!["n".to_string()];
        header.extend(P.map(|p| format!("P = {p}, ms")));
        header.extend(["set-up s", "RBCD ms", "s to gap 1e-3"].map(|h| format!("{h}, P = 100")));
        let mut table = Table::new(header);
        let never = u64::MAX;
        let (mut rows, mut points) = (Vec::new(), Vec::new());
        for n in [8, 4, 2, 1].map(|part| self.samples / part) {
            let mut cells = vec![n.to_string()];
            let (samples, y) = threes_and_eights(n)?;
            let mut at_100 = None;
            for p in P {
                let geometry =
                    Geometry::new(samples.clone(), Patterns::sample(&samples, p, Seed(1))?, false)?;
                let mut program = Program::new(geometry, y.clone(), Loss::Squared, 0.1 * n as f64 / 200.0)?;
                let quiet = Admm { check_every: never, ..Admm::default() };
                let (_, setup) = timed(|| quiet.init(&mut program, Seed(1)))?;
                let ours = per_step(&quiet, &mut program, 50)?;
                cells.push(format!("{:.2}", 1e3 * ours));
                points.push((n as f64, p as f64, ours));
                rows.push(json!({ "n": n, "patterns": p, "structured": ours, "setup": setup }));
                if p == 100 {
                    at_100 = Some((program, setup));
                }
            }
            let (mut program, setup) = at_100.context("100 is one of the numbers of patterns")?;
            let rbcd = Rbcd { check_every: never, ..Rbcd::default() };
            let blocks = per_step(&rbcd, &mut BlockProgram::new(program.clone(), program.beta())?, 3)?;
            let method = Admm { tol: 1e-3, ..Admm::default() };
            let (_, whole) = timed(|| Run::new(&method, &mut program).stop(Stop::Steps(5000)).run())?;
            cells.extend([format!("{setup:.2}"), format!("{:.1}", 1e3 * blocks), format!("{whole:.2}")]);
            table.row(cells);
            rows.push(json!({ "n": n, "patterns": 100, "rbcd": blocks, "to_gap_1e-3": whole }));
        }
        // On a full grid ln n and ln P are orthogonal: each exponent is a fit of its own.
        let in_n = exponent(&points.iter().map(|(n, _, s)| (*n, *s)).collect::<Vec<_>>());
        let in_p = exponent(&points.iter().map(|(_, p, s)| (*p, *s)).collect::<Vec<_>>());
        let data = load("sampled_dg38", Loss::Squared)?;
        let mut plain = program(&data, Loss::Squared, 0.1)?;
        let ours = per_step(&Admm { check_every: never, ..Admm::default() }, &mut plain, 100)?;
        let mut dense = DenseProgram::new(plain.clone(), 0.1)?;
        let paper = per_step(&AdmmPaper { check_every: never, ..AdmmPaper::default() }, &mut dense, 10)?;
        // As many unknowns as the specification's 2dP = 20,000.
        let many = Geometry::new(data.train.clone(), Patterns::sample(&data.train, 154, Seed(1))?, false)?;
        let mut many = Program::new(many, data.y.clone(), Loss::Squared, 0.1)?;
        let (_, our_setup) = timed(|| Admm::default().init(&mut many, Seed(1)))?;
        let (_, setup) = timed(|| DenseProgram::new(many.clone(), 0.1))?;
        rows.push(json!({ "set": "sampled_dg38", "structured": ours, "published": paper }));
        rows.push(json!({ "unknowns": 20_020, "structured setup": our_setup, "published setup": setup }));
        let marks = vec![
            (format!("the iteration grows like n^{in_n:.2} (1 ± 0.2)"), (in_n - 1.0).abs() <= 0.2),
            (format!("the iteration grows like P^{in_p:.2} (1 ± 0.2)"), (in_p - 1.0).abs() <= 0.2),
            (
                format!(
                    "sampled_dg38: ≥ 10× as fast as the published iteration ({:.2} ms, {:.2} ms: {:.0}×)",
                    1e3 * ours,
                    1e3 * paper,
                    paper / ours
                ),
                paper >= 10.0 * ours,
            ),
            (
                format!(
                    "20,000 unknowns: set-up ≥ 100× as fast as the published ({:.2} ms, {setup:.0} s: {:.0}×)",
                    1e3 * our_setup,
                    setup / our_setup
                ),
                setup >= 100.0 * our_setup,
            ),
        ];
        let mut finding = finding(
            "scaling",
            "Scaling",
            "MNIST 3 against 8 (8 × 8 averages of the middle 24 × 24 pixels), squared loss, β = 0.1 n/200.",
            table,
            marks,
            rows,
        );
        let figure = Figure::new("Time of an iteration").x_label("P").y_label("seconds").log_x().log_y();
        let line = |figure: Figure, of: &[(f64, f64, f64)]| {
            figure.line(&format!("n = {}", of[0].0), &of.iter().map(|(_, p, s)| (*p, *s)).collect::<Vec<_>>())
        };
        let figure = points.chunks(P.len()).fold(figure, line);
        finding.figures.push((figure, "One thread pool for all.".into()));
        Ok(finding)
    }

    /// Training by gradients on the same objective with as many neurons.
    fn gradient(&self) -> Result<Finding> {
        let mut table = Table::new([
            "set",
            "loss",
            "method",
            "value",
            "seconds",
            "to 1e-3 of the grown",
            "test accuracy",
        ]);
        let (mut marks, mut rows) = (Vec::new(), Vec::new());
        for (name, beta) in PLAIN[..2].iter().chain(&COMPLETE) {
            for loss in Loss::ALL {
                let data = load(name, loss)?;
                let program = program(&data, loss, *beta)?;
                let solver = Solver { tol: 1e-3, ..Solver::default() };
                let (solved, seconds) = timed(|| solver.solve(&program, Seed(0)))?;
                let listed = &solved.certified.certificate;
                let ours = network(&program, &solved.certified.solution);
                let tested = data.test.is_some().then(|| accuracy(&ours, &data)).transpose()?;
                let percent = |a: Option<f64>| a.map_or_else(String::new, |a| format!("{a:.4}"));
                let in_seconds = |s: f64| if s.is_finite() { format!("{s:.2}") } else { "∞".into() };
                let mut row = |method: &str, value: f64, seconds: f64, later: String, tested: Option<f64>| {
                    let first = if method == "ours" { [name, loss.name()] } else { ["", ""] };
                    let cells =
                        [method.into(), format!("{value:.4}"), in_seconds(seconds), later, percent(tested)];
                    table.row(first.map(String::from).into_iter().chain(cells));
                };
                row("ours", listed.objective, seconds, String::new(), tested);
                // The best that is known: the program of all patterns, or of those that growth finds.
                let complete = COMPLETE.iter().any(|(all, _)| all == name);
                let known = if complete {
                    listed.clone()
                } else {
                    let fit = ConvexRelu { loss, beta: *beta, grow: 20, solver, ..ConvexRelu::default() };
                    let listed = program.patterns().clone();
                    let (fit, seconds) = timed(|| fit.fit_patterns(&data.train, &data.y, listed))?;
                    let tested = accuracy(&fit.network, &data)?;
                    row("ours, grown", fit.certificate.objective, seconds, String::new(), Some(tested));
                    fit.certificate
                };
                let (mut best, mut adam) = (f64::INFINITY, f64::INFINITY);
                for (method, rates) in
                    [("SGD", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]), ("Adam", [1e-3, 3e-3, 1e-2, 3e-2, 1e-1])]
                {
                    let hidden = ours.neurons.len().max(1);
                    let targets = [listed.objective, known.objective].map(|value| 1.001 * value);
                    let mut runs = Vec::new();
                    for lr in rates {
                        for seed in 1..=self.options.seeds {
                            runs.push(descend(method, lr, seed, &data, loss, *beta, hidden, targets)?);
                        }
                    }
                    let least = runs.iter().min_by(|a, b| a.value.total_cmp(&b.value)).context("no run")?;
                    let [listed_at, known_at] =
                        [0, 1].map(|i| median(runs.iter().map(|r| r.reached[i]).collect()));
                    row(method, least.value, listed_at, in_seconds(known_at), least.accuracy);
                    rows.push(json!({ "set": name, "loss": loss, "method": method, "best": least.value, "listed": listed.objective, "bound": known.dual_bound, "to_listed": listed_at, "to_known": known_at, "ours_seconds": seconds, "accuracy": least.accuracy, "our_accuracy": tested }));
                    (best, adam) = (best.min(least.value), listed_at);
                }
                let all = if complete { "the bound for all patterns" } else { "the grown program's bound" };
                marks.push((
                    format!(
                        "{name} {}: no run ends below {all} ({best:.4}, {:.4})",
                        loss.name(),
                        known.dual_bound
                    ),
                    best >= known.dual_bound * (1.0 - 1e-9),
                ));
                marks.push((
                    format!(
                        "{name} {}: gap 1e-3 before the median Adam run is that low ({seconds:.2} s, {adam:.2} s)",
                        loss.name()
                    ),
                    seconds < adam,
                ));
            }
        }
        Ok(finding(
            "gradient",
            "Against training by gradients",
            "Full-batch SGD (momentum 0.9) and Adam on the same objective with as many neurons, five rates: the least value, and the medians of the seconds to within 1e-3 of ours for the listed patterns and for those that growth adds. ∞: not within 3000 steps. A run is free to use other patterns than the listed ones, so it may end below their optimum.",
            table,
            marks,
            rows,
        ))
    }

    /// Images, plain, against linear models.
    fn images(&self) -> Result<Finding> {
        let mut table = Table::new([
            "task",
            "n",
            "linear",
            "convex",
            "gap",
            "robust: clean",
            "FGSM",
            "PGD-40",
            "plain PGD-40",
        ]);
        let (mut marks, mut rows) = (Vec::new(), Vec::new());
        let percent =
            |p: f64, n: usize| format!("{:.2} ± {:.2}", 100.0 * p, 100.0 * (p * (1.0 - p) / n as f64).sqrt());

        let n = self.samples;
        let (all, y) = threes_and_eights(2 * n)?;
        let (train, test) = split(&all, &y, n)?;
        let settings = ConvexRelu {
            loss: Loss::Bce,
            beta: 1.0,
            patterns: Choice::Sample(50),
            solver: Solver { tol: 1e-3, ..Solver::default() },
            ..ConvexRelu::default()
        };
        let fit = settings.fit(&train.0, &train.1)?;
        let (ours, straight) = (
            fit.network.accuracy(&test.0, &test.1)?,
            linear(&train.0, &train.1, Loss::Bce, 1.0)?.accuracy(&test.0, &test.1)?,
        );
        table.row([
            "MNIST 3 / 8".to_string(),
            n.to_string(),
            percent(straight, test.1.len()),
            percent(ours, test.1.len()),
            format!("{:.1e}", fit.certificate.gap),
        ]);
        marks.push((
            format!(
                "MNIST 3 / 8: no worse than logistic regression ({:.2} against {:.2})",
                100.0 * ours,
                100.0 * straight
            ),
            ours >= straight,
        ));
        rows.push(
            json!({ "task": "mnist 3/8", "accuracy": ours, "linear": straight, "gap": fit.certificate.gap }),
        );

        let (x, labels) = images("vision/mnist-train-images-idx3-ubyte.gz", 28, 1)?;
        let features: Vec<f64> = x.iter().take(2 * n).flat_map(|image| pool(image, 28, 1, 2, 3, 8)).collect();
        let raw = Samples::new(features, 64)?;
        let scaled = Scaling::of(&raw).apply(&raw)?;
        let count = scaled.n();
        let one = |c: u32, from: usize, to: usize| {
            labels[from..to].iter().map(|l| if *l == c { 1.0 } else { -1.0 }).collect::<Vec<f64>>()
        };
        let part = |from: usize, to: usize| scaled.select(&(from..to).collect::<Vec<_>>());
        let (half, columns) =
            (count / 2, |from, to| (0..10).flat_map(|c| one(c, from, to)).collect::<Vec<f64>>());
        let squared = ConvexRelu { loss: Loss::Squared, patterns: Choice::Sample(30), ..settings.clone() };
        let (many, fits) = squared.one_vs_all(&part(0, half)?, &columns(0, half))?;
        let (outer, wanted) = (part(half, count)?, columns(half, count));
        let ours = many.accuracy(&outer, &wanted)?;
        let straight: Vec<Network> = (0..10)
            .map(|c| linear(&part(0, half)?, &one(c, 0, half), Loss::Squared, 1.0))
            .collect::<Result<_, ConvexError>>()?;
        let straight = Network::side_by_side(&straight).accuracy(&outer, &wanted)?;
        let gap = fits.iter().map(|f| f.certificate.gap).fold(0.0, f64::max);
        table.row([
            "MNIST, ten classes".to_string(),
            half.to_string(),
            percent(straight, outer.n()),
            percent(ours, outer.n()),
            format!("{gap:.1e}"),
        ]);
        marks.push((
            format!(
                "ten classes: no worse than ridge regression ({:.2} against {:.2})",
                100.0 * ours,
                100.0 * straight
            ),
            ours >= straight,
        ));
        rows.push(json!({ "task": "mnist", "accuracy": ours, "linear": straight, "gap": gap }));

        let birds = |file: &str| -> Result<(Vec<f64>, Vec<f64>)> {
            let (x, labels) = images(file, 32, 3)?;
            let chosen = x.iter().zip(&labels).filter(|(_, l)| **l == 2 || **l == 8);
            let (mut features, mut y) = (Vec::new(), Vec::new());
            for (image, label) in chosen.take(600) {
                features.extend(pool(image, 32, 3, 2, 4, 7));
                y.push(if *label == 8 { 1.0 } else { -1.0 });
            }
            Ok((features, y))
        };
        let ((x, y), (tx, ty)) =
            (birds("vision/cifar10-train-3000.bin.gz")?, birds("vision/cifar10-devtest-400.bin.gz")?);
        let (raw, test) = (Samples::new(x, 147)?, Samples::new(tx, 147)?);
        let scaling = Scaling::of(&raw);
        let (x, test) = (scaling.apply(&raw)?, scaling.apply(&test)?);
        let mut eps: Vec<f64> =
            scaling.deviation.iter().map(|s| 10.0 / 255.0 / s / (148f64).sqrt()).collect();
        eps.push(0.0);
        let plain = settings.fit(&x, &y)?;
        let attack = Attack { eps: eps.clone(), loss: Loss::Bce };
        let broken = attack.pgd_all(&plain.network, &test, &ty, 40, Seed(1)).accuracy;
        let straight = linear(&x, &y, Loss::Bce, 1.0)?.accuracy(&test, &ty)?;
        let clean = plain.network.accuracy(&test, &ty)?;
        let mut cells = vec![
            "CIFAR bird / ship".to_string(),
            y.len().to_string(),
            percent(straight, ty.len()),
            percent(clean, ty.len()),
            format!("{:.1e}", plain.certificate.gap),
        ];
        let robust =
            ConvexRelu { eps: Some(eps), loss: Loss::Hinge, patterns: Choice::Sample(20), ..settings };
        match robust.fit(&x, &y) {
            Ok(fit) => {
                let kept = attack.pgd_all(&fit.network, &test, &ty, 40, Seed(1)).accuracy;
                let fgsm = attack.fgsm_all(&fit.network, &test, &ty).accuracy;
                let clean = fit.network.accuracy(&test, &ty)?;
                cells.extend([
                    percent(clean, ty.len()),
                    percent(fgsm, ty.len()),
                    percent(kept, ty.len()),
                    percent(broken, ty.len()),
                ]);
                marks.push((
                    format!(
                        "bird / ship at ε = 10/255: PGD accuracy ≥ the plain network's ({:.2}, {:.2})",
                        100.0 * kept,
                        100.0 * broken
                    ),
                    kept >= broken,
                ));
                rows.push(json!({ "task": "bird/ship", "clean": clean, "fgsm": fgsm, "pgd": kept, "plain_pgd": broken }));
            }
            Err(e) => marks.push((format!("bird / ship at ε = 10/255: {e}"), false)),
        }
        table.row(cells);
        marks.push((
            format!(
                "bird / ship: no worse than logistic regression ({:.2} against {:.2})",
                100.0 * clean,
                100.0 * straight
            ),
            clean >= straight,
        ));
        Ok(finding("images", "Images", "Test accuracy in percent ± standard error.", table, marks, rows))
    }
}

type Part = (Samples, Vec<f64>);

/// The first `n` samples and the others.
fn split(samples: &Samples, y: &[f64], n: usize) -> Result<(Part, Part)> {
    let n = n.min(samples.n() / 2);
    let part = |from: usize, to: usize| -> Result<Part> {
        Ok((samples.select(&(from..to).collect::<Vec<_>>())?, y[from..to].to_vec()))
    };
    Ok((part(0, n)?, part(n, samples.n())?))
}

/// A run by gradients: last value, seconds to two values, test accuracy.
struct Descent {
    value: f64,
    reached: [f64; 2],
    accuracy: Option<f64>,
}

fn descend(
    method: &str,
    lr: f64,
    seed: u64,
    data: &Data,
    loss: Loss,
    beta: f64,
    hidden: usize,
    targets: [f64; 2],
) -> Result<Descent> {
    let mut training = Training::new(&data.train, &data.y, loss, beta, hidden, Seed(seed))?;
    let mut reached = [f64::INFINITY; 2];
    let problem = &mut training as &mut dyn Objective<Scalar = f64>;
    let watch = |value: f64, seconds: f64, reached: &mut [f64; 2]| {
        for (at, target) in reached.iter_mut().zip(targets) {
            if at.is_infinite() && value <= target {
                *at = seconds;
            }
        }
    };
    macro_rules! run {
        ($method:expr) => {
            Run::new(&$method, problem)
                .stop(Stop::Steps(3000))
                .each(1, |tick, _| {
                    watch(tick.progress.value, tick.elapsed.as_secs_f64(), &mut reached);
                    Ok(std::ops::ControlFlow::Continue(()))
                })
                .run()
        };
    }
    let outcome = match method {
        "SGD" => run!(Sgd { lr, momentum: 0.9, ..Sgd::default() }),
        _ => run!(Adam { lr, ..Adam::default() }),
    };
    // A rate that is too high ends in numbers that are not finite.
    let Ok(outcome) = outcome else { return Ok(Descent { value: f64::INFINITY, reached, accuracy: None }) };
    let network = training.network(&outcome.solution);
    let value = network.objective(&data.train, &data.y, loss, beta);
    let accuracy = data.test.is_some().then(|| accuracy(&network, data)).transpose()?;
    Ok(Descent { value, reached, accuracy })
}

/// The sampled convex program, and its value as neurons are added.
fn scp() -> Result<Finding> {
    let data = load("scp_bc", Loss::Squared)?;
    let directions = data.directions.clone().context("the archive has no array U")?;
    let d = data.train.d();
    let mut table =
        Table::new(["loss", "solver", "N", "value", "gap", "neurons", "sweeps", "seconds", "test accuracy"]);
    let (mut marks, mut rows, mut curve) = (Vec::new(), Vec::new(), Vec::new());
    let mut one = |loss: Loss, solver: LassoSolver, directions: &[Vec<f64>]| -> Result<(f64, f64, f64)> {
        let scp = Scp { loss, beta: 0.1, solver, ..Scp::default() };
        let (sampled, seconds) = timed(|| scp.solve(&data.train, &data.y, directions))?;
        let (c, tested) = (&sampled.certificate, accuracy(&sampled.network, &data)?);
        let solver = if solver == LassoSolver::Fista { "FISTA" } else { "coordinate descent" };
        table.row([
            loss.name().into(),
            solver.into(),
            directions.len().to_string(),
            format!("{:.6}", c.objective),
            format!("{:.1e}", c.gap),
            sampled.network.neurons.len().to_string(),
            sampled.iterations.to_string(),
            format!("{seconds:.3}"),
            format!("{tested:.4}"),
        ]);
        rows.push(json!({ "loss": loss, "solver": solver, "neurons": directions.len(), "value": c.objective, "gap": c.gap, "seconds": seconds, "accuracy": tested }));
        Ok((c.objective, seconds, tested))
    };
    for (loss, optimum) in [(Loss::Squared, 12.584433), (Loss::Bce, 10.403677)] {
        let (value, seconds, tested) = one(loss, LassoSolver::CoordinateDescent, &directions)?;
        one(loss, LassoSolver::Fista, &directions)?;
        marks.push((
            format!("{}: {value:.6}, as the reference {optimum}", loss.name()),
            (value / optimum - 1.0).abs() < 1e-6,
        ));
        marks.push((format!("{}: gap 1e-6 in ≤ 0.05 s ({seconds:.3} s)", loss.name()), seconds <= 0.05));
        if loss == Loss::Squared {
            marks.push((format!("test accuracy 0.9675 ({tested:.4})"), (tested - 0.9675).abs() < 1e-3));
        }
    }
    for count in [100, 1000, 10_000] {
        let value = one(Loss::Squared, LassoSolver::CoordinateDescent, &unit_vectors(count, d, Seed(1)))?.0;
        curve.push((count as f64, value));
    }
    let bound = sampling_bound(data.train.n(), 0.1, 0.1);
    let text = format!(
        "After {bound:.0} draws one more improves the optimum with probability ≤ 0.1, with confidence 0.9."
    );
    let mut finding = finding("scp", "Sampled convex programs", &text, table, marks, rows);
    let figure =
        Figure::new("Value against neurons").x_label("N").y_label("value").log_x().line("squared", &curve);
    finding.figures.push((figure, "The first neurons of the larger sets are those of the smaller.".into()));
    Ok(finding)
}

/// Robust training against attacks.
fn robust() -> Result<Finding> {
    // CPU seconds that the reference's solver took on the plain formulation; its failure is ∞.
    let reference = [("adv_bc", 0.01, [4.86, 7.62, 9.03]), ("adv_dg38", 0.02, [12.49, 9.40, f64::INFINITY])];
    let optima = [[10.823604, 1.746620, 3.211599], [9.991838, 0.621611, 1.6967]];
    let mut table = Table::new([
        "set",
        "loss",
        "model",
        "value",
        "gap",
        "seconds",
        "clean",
        "FGSM",
        "PGD-40",
        "certified",
    ]);
    let (mut marks, mut rows, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for ((name, eps, times), optima) in reference.into_iter().zip(optima) {
        for ((loss, before), optimum) in Loss::ALL.into_iter().zip(times).zip(optima) {
            let data = load(name, loss)?;
            let program = program(&data, loss, 0.01)?;
            let mut all = vec![eps; data.train.d()];
            all[data.train.d() - 1] = 0.0;
            let attack = Attack { eps: all.clone(), loss };
            let (x, y) = data.test.as_ref().context("the archive has no test part")?;
            let mut show = |model: &str,
                            network: &Network,
                            value: f64,
                            gap: f64,
                            seconds: f64|
             -> Result<f64> {
                let clean = network.accuracy(x, y)?;
                let [fgsm, pgd] = [
                    attack.fgsm_all(network, x, y).accuracy,
                    attack.pgd_all(network, x, y, 40, Seed(1)).accuracy,
                ];
                let proved = attack.certified_accuracy(network, x, y);
                table.row([
                    name.into(),
                    loss.name().into(),
                    model.into(),
                    format!("{value:.5}"),
                    format!("{gap:.1e}"),
                    format!("{seconds:.2}"),
                    format!("{clean:.4}"),
                    format!("{fgsm:.4}"),
                    format!("{pgd:.4}"),
                    format!("{proved:.4}"),
                ]);
                rows.push(json!({ "set": name, "loss": loss, "model": model, "value": value, "gap": gap, "seconds": seconds, "clean": clean, "fgsm": fgsm, "pgd": pgd, "certified": proved }));
                Ok(pgd)
            };
            let (plain, seconds) = timed(|| exact(&program))?;
            let c = &plain.certificate;
            let broken = show("plain", &network(&program, &plain.solution), c.objective, c.gap, seconds)?;
            let (solved, seconds) = timed(|| RobustProgram::new(&program, all.clone())?.solve())?;
            let c = &solved.certificate;
            marks.push((
                format!("{name} {}: {:.5}, as the reference {optimum}", loss.name(), c.objective),
                (c.objective / optimum - 1.0).abs() <= 1e-4,
            ));
            let kept = show("robust", &network(&program, &solved.solution), c.objective, c.gap, seconds)?;
            let hidden = network(&program, &solved.solution).neurons.len().max(1);
            let mut training = Training::new(&data.train, &data.y, loss, 0.01, hidden, Seed(1))?
                .attacked(attack.clone(), 10);
            let (theta, trained) = timed(|| {
                let problem = &mut training as &mut dyn Objective<Scalar = f64>;
                Run::new(&Adam { lr: 0.01, ..Adam::default() }, problem).stop(Stop::Steps(200)).run()
            })?;
            show(
                "Adam on PGD-10",
                &training.network(&theta.solution),
                theta.progress.value,
                f64::NAN,
                trained,
            )?;
            marks.push((format!("{name} {}: PGD accuracy not below the plain network's by more than 0.01 ({kept:.3}, {broken:.3})", loss.name()), kept >= broken - 0.01));
            if before.is_finite() {
                marks.push((
                    format!(
                        "{name} {}: at most half the reference's {before} s ({seconds:.2} s)",
                        loss.name()
                    ),
                    seconds <= 0.5 * before,
                ));
            }
        }
        figures.extend(sweep(name)?);
    }
    let mut finding = finding(
        "robust",
        "Robust training",
        "β = 0.01; accuracy on the test part within the boxes; the attack ascends the training loss.",
        table,
        marks,
        rows,
    );
    finding.figures = figures;
    Ok(finding)
}

/// Convex value, loss under PGD and certified accuracy as ε grows.
fn sweep(name: &str) -> Result<[(Figure, String); 2]> {
    let data = load(name, Loss::Hinge)?;
    let program = program(&data, Loss::Hinge, 0.01)?;
    let (mut convex, mut attacked, mut proved) = (Vec::new(), Vec::new(), Vec::new());
    for eps in [0.0025, 0.005, 0.01, 0.02] {
        let mut all = vec![eps; data.train.d()];
        all[data.train.d() - 1] = 0.0;
        let Ok(robust) = RobustProgram::new(&program, all.clone()) else { break };
        let solved = robust.solve()?;
        let net = network(robust.program(), &solved.solution);
        let attack = Attack { eps: all, loss: Loss::Hinge };
        convex.push((eps, solved.certificate.objective));
        let left = attack.pgd_all(&net, &data.train, &data.y, 40, Seed(1));
        attacked.push((eps, left.loss + net.decay(0.01)));
        proved.push((eps, attack.certified_accuracy(&net, &data.train, &data.y)));
    }
    let figure = |title: &str| Figure::new(format!("{name}, hinge: {title}")).x_label("ε").log_x();
    let values = figure("worst-case objective").log_y();
    let values = values.line("convex value", &convex).scatter("under PGD-40", &attacked);
    let accuracies = figure("certified accuracy").line("training part", &proved);
    Ok([
        (values, "On the training part: no attack exceeds the convex value.".into()),
        (accuracies, String::new()),
    ])
}

/// The claim that the first few iterations already predict well.
fn first() -> Result<Finding> {
    let mut table = Table::new(["set", "loss", "1", "2", "5", "10", "20", "converged"]);
    let mut figure =
        Figure::new("Test accuracy after few iterations").x_label("iteration").y_label("accuracy").log_x();
    let (mut rows, mut marks) = (Vec::new(), Vec::new());
    for (name, beta) in &PLAIN[..2] {
        for loss in Loss::ALL {
            let data = load(name, loss)?;
            let mut program = program(&data, loss, *beta)?;
            let (d, mut seen) = (program.samples().d(), Vec::new());
            let copy = |state: &thalweg::convex_relu::AdmmState| {
                let (v, w) = state.copies();
                let solution = thalweg::convex_relu::Solution {
                    v: v.to_vec(),
                    w: w.to_vec(),
                    skip: None,
                    outputs: Vec::new(),
                };
                accuracy(&Network::recover(&solution, d, 1), &data)
            };
            let outcome = Run::new(&Admm::default(), &mut program)
                .stop(Stop::Steps(20_000))
                .each(1, |tick, _| {
                    if [1, 2, 5, 10, 20].contains(&tick.step) {
                        seen.push((tick.step as f64, copy(tick.state)?));
                    }
                    Ok(std::ops::ControlFlow::Continue(()))
                })
                .run()?;
            let last = accuracy(&network(&program, &outcome.solution.solution), &data)?;
            let mut cells = vec![(*name).to_string(), loss.name().into()];
            cells.extend(seen.iter().map(|s| format!("{:.4}", s.1)));
            cells.push(format!("{last:.4}"));
            table.row(cells);
            figure = figure.line(&format!("{name} {}", loss.name()), &seen);
            rows.push(json!({ "set": name, "loss": loss, "accuracy": seen, "converged": last }));
            let tenth = seen.iter().find(|s| s.0 == 10.0).map_or(0.0, |s| s.1);
            marks.push((
                format!(
                    "{name} {}: within 0.03 of the end after 10 iterations ({tenth:.3}, {last:.3})",
                    loss.name()
                ),
                tenth >= last - 0.03,
            ));
        }
    }
    let mut finding = finding(
        "first",
        "The first iterations",
        "Test accuracy of the penalised copies after so many iterations of the structured ADMM.",
        table,
        marks,
        rows,
    );
    finding.figures.push((figure, "Accuracy is not convergence: the gap is still large.".into()));
    Ok(finding)
}
