//! From settings to a network with its proof.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use thalweg_convex_relu::network::Network;
use thalweg_convex_relu::path::{PathPoint, path};
use thalweg_convex_relu::patterns::improvement_probability;
use thalweg_convex_relu::reduce::reduce;
use thalweg_convex_relu::scp::{Scp, unit_vectors};
use thalweg_convex_relu::solver::Algorithm;
use thalweg_convex_relu::{Certificate, ConvexRelu, Fit, Geometry, Loss, Patterns, Program};
use thalweg_core::StopReason;
use thalweg_data::Arrays;
use thalweg_net::Model;

use super::beta::{ChosenBeta, choose_beta};
use super::check::check;
use super::compare::Row;
use super::robustness::{Withstood, half_widths};
use super::words::{self, Method, Multiclass};
use super::{Data, Settings, report};
use crate::error::bail;
use crate::{Folder, Host, Result, TaskError};

/// What a fit leaves beside the files of every run.
pub(super) const PRODUCTS: &[&str] =
    &[MODEL, DUAL, PATTERNS, "path.json", "cv.json", "gap.svg", "path.svg", "values.svg", "outputs.svg"];

/// The network, on raw features.
pub const MODEL: &str = "model.safetensors";
/// θ: anyone can recheck the bound from it.
pub(super) const DUAL: &str = "dual.npy";
/// D.
pub(super) const PATTERNS: &str = "patterns.npy";

/// What is said of a fit; sums over classes where each has a program of its own.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The loss, summed over samples.
    pub loss: Loss,
    /// Weight decay β.
    pub beta: f64,
    /// Value of the convex program at a feasible point.
    pub objective: f64,
    /// No network of the patterns below is better than this.
    pub dual_bound: f64,
    /// (objective − dual bound) / |objective|.
    pub gap: f64,
    /// What the bound holds for: `all patterns`, `listed patterns` (of adversarial training those of neurons that
    /// keep their signs in every box) or `sampled neurons`.
    pub certified: &'static str,
    /// The same as a truth value.
    pub complete_patterns: bool,
    /// The network's own objective.
    pub nonconvex_objective: f64,
    /// Neurons of the network.
    pub neurons: usize,
    /// Directions that the list of patterns was drawn by, or sampled neurons; 0 of other lists.
    pub patterns_drawn: u64,
    /// Distinct patterns; none of sampled programs.
    pub patterns: Option<usize>,
    /// What one more draw could do; none unless the list is what independent draws gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_bound: Option<SamplingBound>,
    /// Share of right classes on the training part; none for numbers.
    pub train_accuracy: Option<f64>,
    /// The same on the test part.
    pub test_accuracy: Option<f64>,
    /// Root of the mean squared error on the training part, over samples and outputs; none for classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_rmse: Option<f64>,
    /// The same on the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rmse: Option<f64>,
    /// R² on the training part, averaged over outputs; none for classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_r2: Option<f64>,
    /// The same on the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
    /// What attacks leave.
    #[serde(flatten)]
    pub withstood: Withstood,
    /// Iterations of iterative methods.
    pub iterations: u64,
    /// Time of choosing β and solving.
    pub seconds: f64,
    /// Why an iterative method ended, or that the time was up.
    pub stopped_because: Option<StopReason>,
    /// Training by gradients on the same objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Vec<Row>>,
}

impl Summary {
    /// Refuses a bound that a network lies below: the solved one, or with all patterns one that gradients found.
    fn check(&self) -> Result<()> {
        let compared = self.compare.iter().flatten().filter(|row| self.complete_patterns && row.is_network());
        let all = compared.map(|row| row.objective).chain([self.nonconvex_objective]);
        let least = all.fold(f64::INFINITY, f64::min);
        if least < self.dual_bound - 1e-5 * self.dual_bound.abs() - 1e-12 {
            return Err(TaskError::Failed(format!(
                "a network has the objective {least}, below the bound {} for all: one of them is wrong; please report it",
                self.dual_bound
            )));
        }
        Ok(())
    }
}

/// With confidence 1 − ψ one more draw improves the optimum with probability ξ at most.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SamplingBound {
    /// ψ.
    pub psi: f64,
    /// ξ.
    pub xi: f64,
}

/// What a fit gives back.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is said of it.
    pub summary: Summary,
    /// The network, on scaled samples.
    pub network: Network,
    /// The same on raw data.
    pub model: Model,
    /// The proof; one per class where each has a program of its own.
    pub certificates: Vec<Certificate>,
    /// The patterns; none of sampled programs.
    pub patterns: Option<Patterns>,
    /// β, and how it was chosen.
    pub beta: ChosenBeta,
    /// The optimum along the path of β, if one was asked for.
    pub path: Vec<PathPoint>,
    /// The gap that was asked for.
    pub wanted_gap: f64,
}

impl Outcome {
    /// Whether the gap that was asked for is proved.
    pub fn proved(&self) -> bool {
        self.summary.gap <= self.wanted_gap
    }
}

/// Fits a two-layer ReLU network as the settings say: the whole of `thalweg fit convex-relu`. With a folder
/// the model, its proof and pictures are written there, and an interrupted run goes on.
///
/// ```
/// use thalweg_tasks::Host;
/// use thalweg_tasks::fit::{Settings, convex_relu};
///
/// let settings = Settings { train: Some("digits".into()), limit: Some(60), ..Settings::default() };
/// let settings = Settings { patterns: Some("5".parse()?), beta: Some("1".parse()?), ..settings };
/// let fit = convex_relu(&settings, None, &Host::default())?;
/// assert!(fit.proved() && fit.summary.dual_bound <= fit.summary.objective);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Data or settings that do not fit, an interruption; not that the gap is not reached: see
/// [`Outcome::proved`].
pub fn convex_relu(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Outcome> {
    if settings.train.is_none() {
        bail!("no data; set `train` to a CSV file, an npz archive or digits")
    }
    let until = host.time.map(|time| Instant::now() + time);
    let data = Data::load(settings)?;
    let time = until.map(|until| until.saturating_duration_since(Instant::now()));
    fit_data(settings, &data, folder, &Host { time, ..host.clone() })
}

/// [`convex_relu`] for data at hand.
///
/// # Errors
/// As [`convex_relu`].
pub fn fit_data(settings: &Settings, data: &Data, folder: Option<&Folder>, host: &Host) -> Result<Outcome> {
    let clock = Instant::now();
    host.note(&data.description);
    data.notes.iter().for_each(|note| host.note(note));
    let loss = settings.loss.unwrap_or_else(|| data.loss());
    check(settings, data, loss)?;
    data.check_classes()?;
    let beta = settings.beta.or(settings.cv.is_none().then_some(words::Beta::Value(0.1)));
    let settings = &Settings { loss: Some(loss), beta, ..settings.clone() };
    let eps = half_widths(settings, data)?;
    let until = host.time.map(|time| clock + time);
    let job = Job { settings, data, loss, eps, until, folder, host };
    job.check_baselines()?;
    let trained = if settings.method == Some(Method::Scp) { job.sampled()? } else { job.listed()? };
    let seconds = clock.elapsed().as_secs_f64();
    let summary = job.summary(&trained, seconds)?;
    summary.check()?;
    let saved = json!({ "method": "convex-relu", "summary": summary });
    let outcome = Outcome {
        model: data.model(&trained.network, saved)?,
        summary,
        network: trained.network,
        certificates: trained.certificates,
        patterns: trained.patterns,
        beta: trained.beta,
        path: trained.path,
        wanted_gap: settings.wanted_gap(),
    };
    if let Some(folder) = folder {
        if !trained.recorded {
            let records = outcome.certificates.iter().enumerate().map(|(i, c)| {
                json!({ "step": i + 1, "seconds": seconds, "value": c.objective, "dual_bound": c.dual_bound, "gap": c.gap })
            });
            folder.write_metrics(records)?;
        }
        report::write(folder, data, &outcome, trained.recorded)?;
        folder.end(&outcome.summary, outcome.summary.stopped_because)?;
    }
    Ok(outcome)
}

/// Patterns of a file, or those that came with the data.
pub(super) fn patterns(settings: &Settings, data: &Data) -> Result<Option<Patterns>> {
    match &settings.patterns {
        None => Ok(data.patterns.clone()),
        Some(words::Patterns::File(file)) => {
            let matrix = Arrays::open(file)?.take_any_or_only(&["D"])?;
            Ok(Some(super::data::columns(matrix, data.train.n())?))
        }
        Some(words::Patterns::Draw(_) | words::Patterns::All) => Ok(None),
    }
}

/// One fit of one data set.
pub(super) struct Job<'a> {
    pub settings: &'a Settings,
    pub data: &'a Data,
    pub loss: Loss,
    /// ε by feature, if there are boxes.
    pub eps: Option<Vec<f64>>,
    /// When the time is up, if there is a limit.
    until: Option<Instant>,
    folder: Option<&'a Folder>,
    pub host: &'a Host,
}

/// A trained network with what is known of it.
struct Trained {
    beta: ChosenBeta,
    path: Vec<PathPoint>,
    network: Network,
    certificates: Vec<Certificate>,
    /// The networks' own objective.
    scored: f64,
    patterns: Option<Patterns>,
    drawn: u64,
    iterations: u64,
    stopped: Option<StopReason>,
    /// Whether a run wrote the metrics.
    recorded: bool,
}

impl Job<'_> {
    /// The program of patterns that are drawn, listed or all.
    fn listed(&self) -> Result<Trained> {
        let (s, x, y) = (self.settings, &self.data.train, &self.data.y);
        let number = match s.beta {
            Some(words::Beta::Value(beta)) => beta,
            _ => 0.1,
        };
        let mut model = s.model(self.loss, number, self.eps.clone());
        model.validate()?;
        let patterns = match patterns(s, self.data)? {
            Some(listed) => listed,
            None => model.choose(x)?,
        };
        if patterns.len() < 4 && model.eps.is_some() {
            self.host.note("fewer than 4 patterns admit a neuron at this eps: the model is close to linear");
        }
        let geometry = Arc::new(Geometry::new(x.clone(), patterns, model.linear_part)?);
        let shared = Program::new(geometry.clone(), y.clone(), self.loss, number)?;
        let separate = self.data.outputs() > 1 && s.multiclass.unwrap_or_default() == Multiclass::Ova;
        let one = || Program::new(geometry.clone(), y[..x.n()].to_vec(), self.loss, number);
        model.check(&if separate { one()? } else { shared.clone() })?;
        self.begin()?;

        let beta = self.beta()?;
        model.beta = beta.beta;
        if separate {
            return self.one_vs_all(&model, geometry, beta);
        }
        let program = shared.with_beta(beta.beta)?.until(self.until);
        let points =
            if beta.path.is_empty() { Vec::new() } else { path(&program, &beta.path, &model.solver)? };
        if points.len() < beta.path.len() {
            self.host.note(format!(
                "the time was up after {} of {} values of beta",
                points.len(),
                beta.path.len()
            ));
        }
        self.heed()?;
        let fit = self.fit(&model, program, self.left(), self.folder)?;
        let (stopped, iterations) = (fit.solved.stopped_because, fit.solved.iterations);
        let iterative = fit.solved.algorithm != Algorithm::Exact;
        match stopped {
            Some(StopReason::Time) if iterative => {
                self.host.note(format!("the time was up after {iterations} iterations; `resume` goes on"));
            }
            Some(StopReason::Time) => self.host.note("the time was up: the result is the best so far"),
            None if s.max_steps.is_some() && !iterative => {
                self.host
                    .note("`max_steps` was not needed: the program is small enough for the interior point");
            }
            _ => {}
        }
        Ok(Trained {
            beta,
            path: points,
            certificates: vec![fit.certificate],
            scored: fit.nonconvex_objective,
            drawn: fit.program.patterns().drawn(),
            patterns: Some(fit.program.patterns().clone()),
            network: fit.network,
            iterations,
            stopped,
            recorded: iterations > 0,
        })
    }

    /// One program per class or target on the same patterns and factorisations; those that are left share the time
    /// that is left.
    fn one_vs_all(&self, model: &ConvexRelu, geometry: Arc<Geometry>, beta: ChosenBeta) -> Result<Trained> {
        let outputs = self.data.outputs();
        let mut fits = Vec::new();
        for (o, y) in self.data.y.chunks(self.data.train.n()).enumerate() {
            let time = self.left().map(|left| left / (outputs - o) as u32);
            let program = Program::new(geometry.clone(), y.to_vec(), self.loss, beta.beta)?;
            let program = program.until(time.map(|time| Instant::now() + time));
            fits.push(self.fit(model, program, time, None)?);
            self.heed()?;
        }
        let cut = fits.iter().filter(|f| f.solved.stopped_because == Some(StopReason::Time)).count();
        if cut > 0 {
            let what = if self.data.classes.is_empty() { "targets" } else { "classes" };
            self.host.note(format!(
                "the time was up for {cut} of {outputs} {what}: their results are the best so far"
            ));
        }
        let networks: Vec<Network> = fits.iter().map(|f| f.network.clone()).collect();
        let patterns = fits[0].program.patterns().clone();
        Ok(Trained {
            beta,
            path: Vec::new(),
            network: Network::side_by_side(&networks),
            certificates: fits.iter().map(|f| f.certificate.clone()).collect(),
            scored: fits.iter().map(|f| f.nonconvex_objective).sum(),
            drawn: patterns.drawn(),
            patterns: Some(patterns),
            iterations: fits.iter().map(|f| f.solved.iterations).sum(),
            stopped: (cut > 0).then_some(StopReason::Time),
            recorded: false,
        })
    }

    /// The sampled convex program.
    fn sampled(&self) -> Result<Trained> {
        let (s, x, y) = (self.settings, &self.data.train, &self.data.y);
        if self.data.outputs() > 1 || s.adversarial.is_some() || s.linear_part == Some(true) {
            bail!("scp fits one output without `adversarial` and `linear_part`; set `method` to admm");
        }
        let draw = |count| unit_vectors(count, x.d(), s.seed());
        let (directions, given) = match s.patterns {
            None if self.data.directions.is_some() => {
                (self.data.directions.clone().unwrap_or_default(), true)
            }
            None => (draw(400), false),
            Some(words::Patterns::Draw(count)) => (draw(count as usize), false),
            Some(_) => bail!("scp samples neurons; set `patterns` to their number"),
        };
        let plain = Scp::default();
        let (tol, max_steps) = (s.tol.unwrap_or(plain.tol), s.max_steps.unwrap_or(plain.max_steps));
        let mut scp = Scp { loss: self.loss, tol, max_steps, ..plain };
        if let Some(words::Beta::Value(beta)) = s.beta {
            scp.beta = beta;
        }
        scp.validate()?;
        self.loss.check(y)?;
        self.begin()?;
        let beta = self.beta()?;
        scp.beta = beta.beta;
        self.heed()?;
        let sampled = scp.solve_until(x, y, &directions, self.until)?;
        let late = sampled.certificate.gap > tol && self.left().is_some_and(|left| left.is_zero());
        if late {
            self.host.note("the time was up: the result is the best so far");
        }
        let mut network = sampled.network;
        if s.minimal_network == Some(true) {
            network = reduce(&network, x)?;
        }
        Ok(Trained {
            scored: network.objective(x, y, self.loss, beta.beta)?,
            beta,
            path: Vec::new(),
            network,
            certificates: vec![sampled.certificate],
            patterns: None,
            drawn: if given { 0 } else { directions.len() as u64 },
            iterations: sampled.iterations,
            stopped: late.then_some(StopReason::Time),
            recorded: false,
        })
    }

    /// Solves a program under the host's eyes; an iterative method goes on from the folder's checkpoint.
    fn fit(
        &self,
        model: &ConvexRelu,
        program: Program,
        time: Option<Duration>,
        folder: Option<&Folder>,
    ) -> Result<Fit> {
        let host = Host { time, ..self.host.clone() };
        let mut driver = host.driver("convex-relu", folder);
        driver.steps = Some(model.solver.max_steps);
        driver.records = 100;
        driver.configuration = serde_json::to_value(self.settings)?;
        let fit = model.fit_driven(program, &mut driver)?;
        match fit.solved.stopped_because {
            Some(StopReason::Interrupted) => Err(self.interrupted()),
            _ => Ok(fit),
        }
    }

    /// What is asked for can be done: the folder is made ready.
    fn begin(&self) -> Result<()> {
        self.folder.map_or(Ok(()), |folder| folder.begin(self.settings, PRODUCTS))
    }

    fn beta(&self) -> Result<ChosenBeta> {
        let boxes = self.eps.as_deref().filter(|_| self.settings.adversarial.is_some());
        let chosen = choose_beta(self.settings, self.data, self.loss, boxes, self.left())?;
        if !chosen.folds.is_empty() {
            let folds = self.settings.cv.unwrap_or(5);
            self.host.note(format!(
                "beta = {:.4e} has the least loss in {folds}-fold cross-validation",
                chosen.beta
            ));
            if chosen.at_edge {
                self.host.note("the least beta that was tried is the best: a smaller one may be better");
            }
        }
        self.heed()?;
        Ok(chosen)
    }

    /// What is left of the time, if there is a limit.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Leaves where the host asks to.
    pub fn heed(&self) -> Result<()> {
        if self.host.interrupt.requested() { Err(self.interrupted()) } else { Ok(()) }
    }

    fn interrupted(&self) -> TaskError {
        TaskError::Interrupted { folder: self.folder.map(|f| f.path().into()) }
    }

    fn summary(&self, trained: &Trained, seconds: f64) -> Result<Summary> {
        let sum = |of: fn(&Certificate) -> f64| trained.certificates.iter().map(of).sum::<f64>();
        let (objective, dual_bound) = (sum(|c| c.objective), sum(|c| c.dual_bound));
        let classes = self.data.classifies(self.loss);
        let network = &trained.network;
        let accuracy = |x, y: &[f64]| classes.then(|| network.accuracy(x, y)).transpose();
        let errors = |x, y: &[f64]| (!classes).then(|| Data::errors(network, x, y)).transpose();
        let (x, y, test) = (&self.data.train, &self.data.y, self.data.test.as_ref());
        let train_errors = errors(x, y)?;
        let test_errors = test.map_or(Ok(None), |(x, y)| errors(x, y))?;
        let complete = trained.patterns.as_ref().is_some_and(Patterns::complete);
        let xi = improvement_probability(x.n(), trained.drawn.max(1), 0.1);
        Ok(Summary {
            loss: self.loss,
            beta: trained.beta.beta,
            objective,
            dual_bound,
            gap: (objective - dual_bound) / objective.abs().max(f64::MIN_POSITIVE),
            certified: match &trained.patterns {
                None => "sampled neurons",
                Some(_) if complete => "all patterns",
                Some(_) => "listed patterns",
            },
            complete_patterns: complete,
            nonconvex_objective: trained.scored,
            neurons: trained.network.neurons.len(),
            patterns_drawn: trained.drawn,
            patterns: trained.patterns.as_ref().map(Patterns::len),
            sampling_bound: (trained.drawn > 0).then_some(SamplingBound { psi: 0.1, xi }),
            train_accuracy: accuracy(x, y)?,
            test_accuracy: test.map_or(Ok(None), |(x, y)| accuracy(x, y))?,
            train_rmse: train_errors.as_ref().map(|e| e.rmse),
            test_rmse: test_errors.as_ref().map(|e| e.rmse),
            train_r2: train_errors.and_then(|e| e.r2),
            test_r2: test_errors.and_then(|e| e.r2),
            withstood: self.withstood(network)?,
            iterations: trained.iterations,
            seconds,
            stopped_because: trained.stopped,
            compare: self.compare(trained.beta.beta, trained.network.neurons.len().max(1))?,
        })
    }
}
