//! `thalweg fit`: models whose training is a convex program.

pub mod arrays;
mod compare;
pub mod data;
mod tour;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg::convex_relu::{
    Algorithm, Attack, Certificate, Certified, Choice, ConvexError, ConvexRelu, Drive, Geometry, Loss,
    Network, PathPoint, Patterns, Program, Scp, Solver, betas, cross_validate, improvement_probability, path,
    reduce, unit_vectors,
};
use thalweg::core::{
    Bar, Checkpointer, Every, Method, Outcome, Problem, Recorder, Run, RunError, Seed, Stop, StopReason,
};
use thalweg::plot::{Figure, Table};

use crate::config::{self, Common, Time};
use crate::failure::Interrupted;
use crate::output;
use data::Data;
pub use tour::certified_gap;

#[derive(Args)]
pub struct Fit {
    #[command(subcommand)]
    system: System,
}

#[derive(Subcommand)]
enum System {
    /// A two-layer ReLU network with a certified gap to the global optimum
    ConvexRelu(Box<ConvexReluFit>),
}

impl Fit {
    pub fn run(self) -> Result<()> {
        match self.system {
            System::ConvexRelu(fit) => fit.run(),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg fit convex-relu --data digits --limit 300 --patterns 20 --out m/
  thalweg fit convex-relu --train a.csv --test b.csv --target y --loss bce --beta auto --out m/ --json
  thalweg fit convex-relu --train a.csv --adversarial eps=0.02 --attack fgsm,pgd:40 --json

Features are standardised, a constant is appended for the bias, and all are divided by √(d+1); β and
ε are on this scale, β against the SUM of losses. The saved model takes raw features. Archives with
Xtrain or patterns D are taken as they are. Exit code 3: the gap was not reached; the result is
written with the gap that it has.")]
struct ConvexReluFit {
    #[command(flatten)]
    settings: Settings,
    /// TOML file with settings named as the flags; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the model, its proof and pictures [default: fit]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue an interrupted run of that folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What decides the result.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Training data: CSV, npz, images, `digits`
    #[arg(long, visible_alias = "data", value_name = "FILE")]
    train: Option<String>,
    /// Test data [default: cut off the end, or in the format]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Column of the targets
    #[arg(long)]
    target: Option<String>,
    /// Use only the first N training samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Take features as they are: no scaling, no constant
    #[arg(long, num_args = 0, default_missing_value = "true")]
    raw: Option<bool>,
    /// squared, hinge or bce [default: hinge for classes, squared for numbers]
    #[arg(long, value_parser = parse_loss)]
    loss: Option<Loss>,
    /// admm, admm-paper, rbcd, scp or exact [default: exact for small programs, else admm]
    #[arg(long)]
    method: Option<String>,
    /// Directions to draw patterns from (neurons of scp), `all`, or a file with a 0/1 matrix D
    #[arg(long, value_name = "N|all|FILE")]
    patterns: Option<String>,
    /// Weight decay against the sum of losses; `auto` by cross-validation; path:N for N values
    #[arg(long, value_name = "B|auto|path:N", allow_negative_numbers = true)]
    beta: Option<String>,
    /// Folds of the cross-validation [default: 5]
    #[arg(long, value_name = "K")]
    cv: Option<usize>,
    /// Relative certified gap to stop at [default: 1e-4]
    #[arg(long)]
    tol: Option<f64>,
    /// Iterations at most [default: 20000]
    #[arg(long, value_name = "N")]
    max_iters: Option<u64>,
    /// Stop after this time, e.g. 30s, 5m
    #[arg(long)]
    time: Option<Time>,
    /// Searches for missing patterns after each solve
    #[arg(long, value_name = "TRIES")]
    grow: Option<u64>,
    /// An unpenalised linear part (squared and bce)
    #[arg(long, num_args = 0, default_missing_value = "true")]
    skip: Option<bool>,
    /// Reduce the network to at most n neurons
    #[arg(long, num_args = 0, default_missing_value = "true")]
    prune: Option<bool>,
    /// Several classes: ova (one against the rest) or shared (one norm per pattern) [default: ova]
    #[arg(long, value_name = "ova|shared")]
    multiclass: Option<String>,
    /// Train against the worst case in boxes of this half width (of scaled features)
    #[arg(long, value_name = "eps=E")]
    adversarial: Option<String>,
    /// File with the numbers (from 0) of features that no attack may move
    #[arg(long, value_name = "FILE")]
    eps_mask: Option<PathBuf>,
    /// Attacks on the test part: fgsm, pgd:STEPS; without --adversarial with eps=E among them
    #[arg(long, value_delimiter = ',', value_name = "fgsm,pgd:40")]
    attack: Option<Vec<String>>,
    /// Also train by gradients on the same objective: adam, sgd, pgd (adversarial), linear
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    compare: Option<Vec<String>>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    seed: Option<u64>,
}

fn parse_loss(text: &str) -> Result<Loss, String> {
    let found = Loss::ALL.into_iter().find(|l| l.name() == text);
    found.ok_or_else(|| "use squared, hinge or bce".into())
}

/// A trained network with what is known of it.
struct Trained {
    network: Network,
    certificates: Vec<Certificate>,
    /// The networks' own objective.
    scored: f64,
    patterns: Option<Patterns>,
    drawn: u64,
    complete: bool,
    iterations: u64,
    stopped: Option<StopReason>,
}

impl ConvexReluFit {
    fn run(self) -> Result<()> {
        self.common.start()?;
        let out = self.out.as_deref().unwrap_or(Path::new("fit"));
        let (folder, settings) =
            config::of_run(&self.settings, self.resume.as_deref(), out, self.config.as_deref())?;
        let Some(train) = settings.train.clone() else {
            bail!("no data; add --train with a CSV file, an npz archive or `digits`")
        };
        let raw = settings.raw.unwrap_or(false);
        let loss = settings.loss.unwrap_or(Loss::Hinge);
        let mut data = Data::load(&train, settings.test.as_deref(), settings.target.as_deref(), loss, raw)?;
        let numbers = data.classes.is_empty() && data.y.iter().any(|y| y.abs() != 1.0);
        let loss = settings.loss.unwrap_or(if numbers { Loss::Squared } else { Loss::Hinge });
        if let Some(limit) = settings.limit {
            data.limit(limit)?;
        }
        self.common.note(&data.description);
        output::make_folder(&folder)?;
        if self.resume.is_none() {
            output::write(&folder.join("config.toml"), config::to_toml(&settings)?.as_bytes())?;
        }

        let started = Instant::now();
        let job = Job {
            settings: &settings,
            data: &data,
            loss,
            folder: &folder,
            common: &self.common,
            resume: self.resume.is_some(),
        };
        let trained = job.train()?;
        let seconds = started.elapsed().as_secs_f64();
        let summary = job.summary(&trained, seconds)?;
        job.write(&trained, &summary)?;
        let gap = summary["gap"].as_f64().unwrap_or(f64::INFINITY);
        if self.common.json {
            output::print_json(&summary)?;
        } else {
            output::print(&job.table(&summary).text())?;
        }
        let tol = settings.tol.unwrap_or(if settings.method.as_deref() == Some("scp") { 1e-6 } else { 1e-4 });
        if gap > tol.max(if settings.adversarial.is_some() { 1e-3 } else { 0.0 }) {
            self.common.note(format!(
                "the gap is {gap:.1e}, not {tol:.1e}; allow more with --max-iters or use --method exact"
            ));
            std::process::exit(3);
        }
        Ok(())
    }
}

/// One fit of one data set.
struct Job<'a> {
    settings: &'a Settings,
    data: &'a Data,
    loss: Loss,
    folder: &'a Path,
    common: &'a Common,
    resume: bool,
}

impl Job<'_> {
    fn seed(&self) -> Seed {
        Seed(self.settings.seed.unwrap_or(0))
    }

    fn solver(&self) -> Result<Solver> {
        let algorithm = match self.settings.method.as_deref() {
            None | Some("scp") => None,
            Some("admm") => Some(Algorithm::Admm),
            Some("admm-paper") => Some(Algorithm::AdmmPaper),
            Some("rbcd") => Some(Algorithm::Rbcd),
            Some("exact") => Some(Algorithm::Exact),
            Some(other) => bail!("there is no method `{other}`; use admm, admm-paper, rbcd, scp or exact"),
        };
        let plain = Solver::default();
        let tol = self.settings.tol.unwrap_or(plain.tol);
        let max_iterations = self.settings.max_iters.unwrap_or(plain.max_iterations);
        Ok(Solver { algorithm, tol, max_iterations, rho: None })
    }

    /// The draws of patterns, and patterns from data or file.
    fn patterns(&self) -> Result<(Choice, Option<Patterns>)> {
        match self.settings.patterns.as_deref() {
            None => Ok((Choice::Sample(50), self.data.patterns.clone())),
            Some("all") => Ok((Choice::All, None)),
            Some(text) => match text.parse() {
                Ok(0) => bail!("patterns = 0 is not allowed; draw at least 1 direction"),
                Ok(draws) => Ok((Choice::Sample(draws), None)),
                Err(_) => {
                    let found = arrays::read(Path::new(text))?;
                    let Some(d) = found.get("D").or(found.get("")) else {
                        bail!("{text} holds no array D; save the 0/1 matrix of patterns under this name")
                    };
                    Ok((Choice::Sample(50), Some(data::columns(d, self.data.train.n())?)))
                }
            },
        }
    }

    /// ε by feature: of --adversarial, else of --attack.
    fn eps(&self) -> Result<Option<Vec<f64>>> {
        let attack = self.settings.attack.iter().flatten().find(|a| a.starts_with("eps="));
        let Some(text) = self.settings.adversarial.as_ref().or(attack) else { return Ok(None) };
        let eps: f64 = match text.strip_prefix("eps=").unwrap_or(text).parse() {
            Ok(eps) if eps >= 0.0 => eps,
            _ => bail!("{text:?} is no half width; use e.g. eps=0.1"),
        };
        let mut all = vec![eps; self.data.train.d()];
        if self.data.constant() {
            all[self.data.train.d() - 1] = 0.0;
        }
        if let Some(file) = &self.settings.eps_mask {
            let text = std::fs::read_to_string(file)?;
            for (line, word) in text.lines().enumerate().filter(|(_, w)| !w.trim().is_empty()) {
                match word.trim().parse::<usize>().ok().and_then(|j| all.get_mut(j)) {
                    Some(entry) => *entry = 0.0,
                    None => bail!("{}, line {}: {word:?} is no feature number", file.display(), line + 1),
                }
            }
        }
        Ok(Some(all))
    }

    /// β, by cross-validation if that is asked for; the path if it is.
    fn beta(&self) -> Result<(f64, Vec<f64>)> {
        let text = self.settings.beta.as_deref().unwrap_or("0.1");
        let (count, choose) = match text.strip_prefix("path:").map(str::parse::<usize>) {
            _ if text == "auto" => (12, true),
            Some(Ok(count)) if count >= 2 => (count, self.settings.cv.is_some()),
            Some(_) => bail!("beta = {text}: give at least 2 values, e.g. path:30"),
            None => match text.parse::<f64>() {
                Ok(beta) if self.settings.cv.is_none() => return Ok((beta, Vec::new())),
                Ok(_) => (12, true),
                Err(_) => bail!("beta = {text} is not allowed; use a number > 0, auto or path:30"),
            },
        };
        if self.data.outputs() > 1 {
            bail!("beta = {text} needs one output; give a number for several classes");
        }
        let program = Program::new(self.geometry()?, self.data.y.clone(), self.loss, 1.0)?;
        let path = betas(&program, count, 1e-3);
        if !choose {
            return Ok((path[count - 1], path));
        }
        let (draws, folds) = (program.patterns().drawn().max(20), self.settings.cv.unwrap_or(5));
        let (x, y) = (&self.data.train, &self.data.y);
        let scores = cross_validate(x, y, self.loss, draws, &path, folds, &self.solver()?, self.seed())?;
        let best = scores.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).map_or(0.1, |s| s.beta);
        self.common.note(format!("beta = {best:.4e} has the least loss in {folds}-fold cross-validation"));
        output::write_json(&self.folder.join("cv.json"), &scores)?;
        let listed = if text == "auto" { Vec::new() } else { path };
        Ok((best, listed))
    }

    fn geometry(&self) -> Result<Geometry> {
        let (patterns, given) = self.patterns()?;
        let skip = self.settings.skip.unwrap_or(false);
        let settings = ConvexRelu { patterns, skip, seed: self.seed(), ..ConvexRelu::default() };
        let patterns = given.map_or_else(|| settings.choose(&self.data.train), Ok)?;
        Ok(Geometry::new(self.data.train.clone(), patterns, skip)?)
    }

    fn train(&self) -> Result<Trained> {
        if self.settings.method.as_deref() == Some("scp") {
            return self.sampled();
        }
        let (beta, listed) = self.beta()?;
        let (patterns, given) = self.patterns()?;
        let s = self.settings;
        let settings = ConvexRelu {
            loss: self.loss,
            beta,
            patterns,
            solver: self.solver()?,
            skip: s.skip.unwrap_or(false),
            grow: s.grow.unwrap_or(0),
            prune: s.prune.unwrap_or(false),
            eps: self.eps()?.filter(|_| s.adversarial.is_some()),
            seed: self.seed(),
        };
        let (x, y, outputs) = (&self.data.train, &self.data.y, self.data.outputs());
        match s.multiclass.as_deref() {
            None | Some("ova") if outputs > 1 => {
                let (network, fits) = settings.one_vs_all(x, y)?;
                let first = &fits[0];
                return Ok(Trained {
                    certificates: fits.iter().map(|f| f.certificate.clone()).collect(),
                    scored: fits.iter().map(|f| f.nonconvex_objective).sum(),
                    patterns: Some(first.program.patterns().clone()),
                    drawn: first.program.patterns().drawn(),
                    complete: first.program.patterns().complete(),
                    iterations: fits.iter().map(|f| f.solved.iterations).sum(),
                    stopped: None,
                    network,
                });
            }
            None | Some("ova" | "shared") => {}
            Some(other) => bail!("multiclass = {other} is not allowed; use ova or shared"),
        }
        let patterns = given.map_or_else(|| settings.choose(x), Ok)?;
        if patterns.len() < 4 && settings.eps.is_some() {
            self.common
                .note("fewer than 4 patterns admit a neuron at this eps: the model is close to linear");
        }
        let program =
            Program::new(Geometry::new(x.clone(), patterns, settings.skip)?, y.clone(), self.loss, beta)?;
        if !listed.is_empty() {
            self.write_path(&path(&program, &listed, &settings.solver)?)?;
        }
        let mut watch = Watch { job: self, gaps: Vec::new() };
        let fit = settings.fit_driven(program, &mut watch)?;
        let gaps = watch.gaps;
        if fit.solved.stopped_because == Some(StopReason::Interrupted) {
            let resume = Some(format!("thalweg fit convex-relu --resume {}", self.folder.display()));
            return Err(Interrupted { resume }.into());
        }
        if gaps.len() > 1 {
            let figure = Figure::new("Certified gap").x_label("seconds").y_label("relative gap").log_y();
            figure.line("gap", &gaps).save(&self.folder.join("gap.svg"))?;
        }
        let patterns = fit.program.patterns().clone();
        Ok(Trained {
            network: fit.network,
            certificates: vec![fit.certificate],
            scored: fit.nonconvex_objective,
            drawn: patterns.drawn(),
            complete: patterns.complete(),
            patterns: Some(patterns),
            iterations: fit.solved.iterations,
            stopped: fit.solved.stopped_because,
        })
    }

    /// The sampled convex program.
    fn sampled(&self) -> Result<Trained> {
        if self.data.outputs() > 1 || self.settings.adversarial.is_some() || self.settings.skip == Some(true)
        {
            bail!("scp fits one output without adversary and linear part; use admm");
        }
        let beta = self.beta()?.0;
        let draw = |count| unit_vectors(count, self.data.train.d(), self.seed());
        let directions = match self.settings.patterns.as_deref() {
            None => self.data.directions.clone().unwrap_or_else(|| draw(400)),
            Some(text) => {
                draw(text.parse().ok().context("scp samples neurons; give their number with --patterns")?)
            }
        };
        let plain = Scp::default();
        let tol = self.settings.tol.unwrap_or(plain.tol);
        let max_iterations = self.settings.max_iters.unwrap_or(plain.max_iterations);
        let scp = Scp { loss: self.loss, beta, tol, max_iterations, ..plain };
        let sampled = scp.solve(&self.data.train, &self.data.y, &directions)?;
        let mut network = sampled.network;
        if self.settings.prune == Some(true) {
            network = reduce(&network, &self.data.train);
        }
        let scored = network.objective(&self.data.train, &self.data.y, self.loss, beta);
        let (certificates, iterations) = (vec![sampled.certificate], sampled.iterations);
        let drawn = directions.len() as u64;
        Ok(Trained {
            network,
            certificates,
            scored,
            patterns: None,
            drawn,
            complete: false,
            iterations,
            stopped: None,
        })
    }

    fn summary(&self, trained: &Trained, seconds: f64) -> Result<Value> {
        let sum = |of: fn(&Certificate) -> f64| trained.certificates.iter().map(of).sum::<f64>();
        let (objective, bound) = (sum(|c| c.objective), sum(|c| c.dual_bound));
        let gap = (objective - bound) / objective.abs().max(f64::MIN_POSITIVE);
        let classify = self.loss != Loss::Squared || self.data.y.iter().all(|y| y.abs() == 1.0);
        let accuracy = |x, y: &Vec<f64>| classify.then(|| trained.network.accuracy(x, y)).transpose();
        let train_accuracy = accuracy(&self.data.train, &self.data.y)?;
        let test_accuracy = match &self.data.test {
            Some((x, y)) => accuracy(x, y)?,
            None => None,
        };
        let mut summary = json!({
            "objective": objective,
            "dual_bound": bound,
            "gap": gap,
            "certified": if trained.complete { "all patterns" } else { "listed patterns" },
            "complete_patterns": trained.complete,
            "nonconvex_objective": trained.scored,
            "neurons": trained.network.neurons.len(),
            "patterns_drawn": trained.drawn,
            "patterns": trained.patterns.as_ref().map(Patterns::len),
            "sampling_bound": {
                "xi": improvement_probability(self.data.train.n(), trained.drawn.max(1), 0.1),
                "psi": 0.1,
            },
            "train_accuracy": train_accuracy,
            "test_accuracy": test_accuracy,
            "fgsm_accuracy": null,
            "pgd_accuracy": null,
            "iterations": trained.iterations,
            "seconds": seconds,
            "stopped_because": trained.stopped,
        });
        if let (Some(eps), 1) = (self.eps()?, self.data.outputs()) {
            let attack = Attack { eps, loss: self.loss };
            let (x, y) = self.data.test.as_ref().map_or((&self.data.train, &self.data.y), |t| (&t.0, &t.1));
            let attacks =
                self.settings.attack.clone().unwrap_or_else(|| vec!["fgsm".into(), "pgd:40".into()]);
            for name in attacks.iter().filter(|a| !a.starts_with("eps=")) {
                match name.strip_prefix("pgd").map(|rest| rest.strip_prefix(':').unwrap_or("40").parse()) {
                    None if name == "fgsm" => {
                        summary["fgsm_accuracy"] = attack.fgsm_all(&trained.network, x, y).accuracy.into();
                    }
                    Some(Ok(steps)) => {
                        let left = attack.pgd_all(&trained.network, x, y, steps, self.seed());
                        summary["pgd_accuracy"] = left.accuracy.into();
                    }
                    _ => bail!("there is no attack `{name}`; use fgsm or pgd:40"),
                }
            }
            summary["certified_accuracy"] = attack.certified_accuracy(&trained.network, x, y).into();
            if self.settings.adversarial.is_some() {
                let worst = attack.worst_case(&trained.network, &self.data.train, &self.data.y);
                summary["worst_case_train_loss"] = worst.into();
            }
        }
        if let Some(names) = &self.settings.compare {
            let beta = self.beta()?.0;
            let rows = compare::run(self, names, beta, trained.network.neurons.len().max(1))?;
            summary["compare"] = serde_json::to_value(rows)?;
        }
        Ok(summary)
    }

    fn write(&self, trained: &Trained, summary: &Value) -> Result<()> {
        let model =
            self.data.model(&trained.network, json!({ "method": "convex-relu", "summary": summary }))?;
        let folder = self.folder;
        model.save(folder.join("model.safetensors"))?;
        output::write_json(&folder.join("summary.json"), summary)?;
        let theta: Vec<f64> = trained.certificates.iter().flat_map(|c| c.theta.clone()).collect();
        output::write(
            &folder.join("dual.npy"),
            &npy(&[theta.len()], "<f8", theta.iter().flat_map(|t| t.to_le_bytes())),
        )?;
        if let Some(patterns) = &trained.patterns {
            let (n, p) = (patterns.n(), patterns.len());
            let bits = (0..n).flat_map(|k| (0..p).map(move |i| u8::from(patterns.on(i, k))));
            output::write(&folder.join("patterns.npy"), &npy(&[n, p], "|u1", bits))?;
        }
        let checkpoint = folder.join(CHECKPOINT);
        if checkpoint.exists() {
            std::fs::remove_file(checkpoint)?;
        }
        self.common.note(format!("model: {}", folder.join("model.safetensors").display()));
        Ok(())
    }

    /// Values and neurons along the path, as a picture and as numbers.
    fn write_path(&self, points: &[PathPoint]) -> Result<()> {
        let rows: Vec<Value> = points
            .iter()
            .map(|p| json!({ "beta": p.beta, "objective": p.certified.certificate.objective, "dual_bound": p.certified.certificate.dual_bound, "gap": p.certified.certificate.gap, "neurons": p.neurons }))
            .collect();
        output::write_json(&self.folder.join("path.json"), &rows)?;
        let line: Vec<(f64, f64)> =
            points.iter().map(|p| (p.beta, p.certified.certificate.objective)).collect();
        let figure = Figure::new("Regularisation path").x_label("β").y_label("optimal value").log_x();
        Ok(figure.line("optimum", &line).save(&self.folder.join("path.svg"))?)
    }

    fn table(&self, summary: &Value) -> Table {
        let mut table = Table::new(["", ""]);
        for (name, value) in summary.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            let text = match value {
                Value::Number(x) if x.is_f64() => format!("{:.6}", x.as_f64().unwrap_or(f64::NAN)),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::String(s) => s.clone(),
                _ => continue,
            };
            table.row([name.replace('_', " "), text]);
        }
        if let Some(xi) = summary["sampling_bound"]["xi"].as_f64().filter(|xi| *xi < 1.0) {
            table.row([
                "sampling bound".into(),
                format!("one more draw improves the optimum with probability ≤ {xi:.3} (confidence 90 %)"),
            ]);
        }
        for row in summary["compare"].as_array().into_iter().flatten() {
            table.row([
                row["method"].as_str().unwrap_or("").to_owned(),
                format!("objective {}  test accuracy {}", row["objective"], row["test_accuracy"]),
            ]);
        }
        table
    }
}

const CHECKPOINT: &str = "checkpoint.bin";

/// Watches, saves and stops the iterative methods.
struct Watch<'a, 'b> {
    job: &'a Job<'b>,
    gaps: Vec<(f64, f64)>,
}

impl Drive for Watch<'_, '_> {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<Certified>, RunError>
    where
        M: Method<P, Solution = Certified>,
        P: Problem,
    {
        let (job, gaps) = (self.job, &mut self.gaps);
        let steps = job.settings.max_iters.unwrap_or(Solver::default().max_iterations);
        let path = job.folder.join(CHECKPOINT);
        let every = Every::Time(Duration::from_secs(10));
        let mut run = Run::new(method, problem)
            .seed(seed)
            .configuration(&job.settings)
            .stop(Stop::Steps(steps))
            .stop(Stop::Interrupt)
            .observe((!job.common.quiet).then(|| Bar::new(method.name(), Some(steps))))
            .observe(Recorder::new(job.folder.join("metrics.jsonl"), 100))
            .checkpoint(Checkpointer { path: path.clone(), every })
            .each(1, |tick, _| {
                let gap = tick.progress.metric("gap").filter(|g| g.is_finite() && *g > 0.0);
                if let Some(gap) = gap.filter(|gap| gaps.last().is_none_or(|last| last.1 != *gap)) {
                    gaps.push((tick.elapsed.as_secs_f64(), gap));
                }
                Ok(std::ops::ControlFlow::Continue(()))
            });
        if let Some(time) = job.settings.time {
            run = run.stop(Stop::Time(time.0));
        }
        if job.resume && path.exists() {
            run = run.resume(path)?;
        }
        run.run()
    }
}

/// An array in NumPy's format.
fn npy(shape: &[usize], descr: &str, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Signature and length take 10 bytes; the numbers start at a multiple of 64.
    header.push_str(&" ".repeat((10 + header.len() + 1).next_multiple_of(64) - 10 - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

impl Data {
    /// Keeps the first training samples.
    fn limit(&mut self, limit: usize) -> Result<(), ConvexError> {
        let (n, outputs) = (self.train.n(), self.outputs());
        let keep = limit.min(n);
        self.train = self.train.select(&(0..keep).collect::<Vec<_>>())?;
        self.y = (0..outputs).flat_map(|o| self.y[o * n..o * n + keep].to_vec()).collect();
        if keep < n {
            self.patterns = None;
        }
        Ok(())
    }
}
