use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_comm::{Alone, Collective, World};
use thalweg_core::{Every, Seed, StopReason};
use thalweg_net::{Init, Model, Net, default_init, initial};
use thalweg_optim::Schedule;

use super::settings::{schedule_of, without_null};
use super::{Epoch, Plan, Sampling, Score, Settings, Trainer, Training, report, score};
use crate::error::bail;
use crate::folder::{CONFIG, SUMMARY, read_table};
use crate::settings::named_twice;
use crate::source::Prepared;
use crate::{Folder, Host, Result, TaskError};

/// The trained network's file.
pub const MODEL: &str = "model.safetensors";

/// What a training has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// Steps made.
    pub steps: u64,
    /// Passes over the training part.
    pub epochs: f64,
    /// Mean loss of the last epoch's mini-batches.
    pub train_loss: Option<f64>,
    /// Loss on the test part: cross-entropy in nats, or of real targets the mean squared error.
    pub test_loss: f64,
    /// Share of right classes; none for real targets.
    pub test_accuracy: Option<f64>,
    /// Root of the mean squared error on the test part; none for classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_rmse: Option<f64>,
    /// R² on the test part; none for classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
    /// Time of the steps, without tests and files.
    pub seconds: f64,
    /// Time of one step.
    pub seconds_per_step: f64,
    /// What was found out about the data, left out and looks odd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What [`fit`] gives back: of each method what was found, and the network.
pub struct Fitted {
    /// What the data are.
    pub description: String,
    /// One result per method, in the order asked for; in a folder, those of earlier sessions have no network.
    pub trained: Vec<(Summary, Option<Model>)>,
}

/// Trains as the settings say: the whole of `thalweg train`. With a folder, everything is written there,
/// and an interrupted run goes on.
///
/// ```
/// use thalweg_tasks::Host;
/// use thalweg_tasks::train::{Settings, fit};
///
/// let settings = Settings {
///     data: Some("digits".into()),
///     model: Some("mlp:64-32-10".into()),
///     method: Some("adahessian".into()),
///     epochs: Some(2),
///     ..Settings::default()
/// };
/// let fitted = fit(&settings, None, &Host::default())?;
/// assert!(fitted.trained[0].0.test_accuracy > Some(0.8));
/// # Ok::<(), thalweg_tasks::TaskError>(())
/// ```
///
/// # Errors
/// Settings or data that do not fit, a run that fails or diverges, an interruption.
pub fn fit(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Fitted> {
    fit_shared(settings, folder, host, None)
}

/// As [`fit`], by all processes of `world` together; the first one shows and writes.
///
/// # Errors
/// As [`fit`].
pub fn fit_shared(
    settings: &Settings,
    folder: Option<&Folder>,
    host: &Host,
    mut world: Option<&mut World>,
) -> Result<Fitted> {
    let first = world.as_ref().is_none_or(|w| w.rank() == 0);
    let (data, arch, start) = match (&settings.model, &settings.from) {
        (Some(_), Some(_)) => bail!("`from` brings its own architecture; leave `model` out"),
        (None, None) => {
            bail!("no model; set `model`, e.g. mlp:64-128-10, lenet, resnet20, or `from` to a trained one")
        }
        (Some(arch), None) => {
            (Prepared::load(&settings.source()?, arch, settings.normalize.as_ref())?, arch.clone(), None)
        }
        (None, Some(_)) if settings.normalize.is_some() || settings.init.is_some() => {
            bail!("`from` brings its own preprocessing and weights; leave `normalize` and `init` out")
        }
        (None, Some(file)) => {
            let (data, model) = Prepared::of_model(settings.source()?, file)?;
            (data, format!("that of {}", file.display()), Some((model.theta, model.buffers)))
        }
    };
    host.note(&data.description);
    data.notes.iter().for_each(|note| host.note(note));

    let names = settings.names();
    if let Some(name) = named_twice(&names) {
        bail!("{name} is compared twice; name each method once");
    }
    let mut job = Job::new(&data, settings)?;
    if let Some((theta, buffers)) = start {
        job.start_from(theta, buffers);
    }
    if let Some(folder) = folder.filter(|f| f.reopened()) {
        not_longer(folder, job.steps)?;
    }
    let trainer = |name: &String| Ok(settings.trainer(name, job.steps)?.suited(&job.net));
    let trainers = names.iter().map(trainer).collect::<Result<Vec<_>>>()?;
    trainers.iter().try_for_each(|trainer| job.check(trainer))?;
    let many = settings.compare.is_some();
    let place = |name: &str| folder.map(|f| if many { f.inner(name) } else { f.clone() });
    // The first process clears the folder; all must have looked at it before.
    barrier(&mut world)?;
    if let Some(folder) = folder.filter(|_| first) {
        let effective = job.effective(settings, &trainers)?;
        folder.begin(&effective, &[MODEL])?;
        for name in names.iter().filter(|_| many) {
            folder.inner(name).clear(&[MODEL])?;
        }
    }
    barrier(&mut world)?;

    let mut trained = Vec::new();
    for (name, trainer) in names.iter().zip(&trainers) {
        let place = place(name);
        if let Some(done) = place.as_ref().and_then(Folder::finished) {
            trained.push((done, None));
            continue;
        }
        let ranks: Box<dyn Collective + '_> = match &mut world {
            Some(world) => world.collective(),
            None => Box::new(Alone),
        };
        let result = job.run(trainer, place.as_ref(), host, ranks)?;
        if result.reason == StopReason::Interrupted {
            return Err(TaskError::Interrupted { folder: folder.map(|f| f.path().into()) });
        }
        if result.reason == StopReason::Time {
            let made = result.summary.steps;
            host.note(format!(
                "{name}: the time was up after {made} of {} steps; `resume` goes on",
                job.steps
            ));
        }
        trained.push((result.summary, Some(result.model)));
    }
    if let Some(folder) = folder.filter(|_| first) {
        let summaries: Vec<&Summary> = trained.iter().map(|t| &t.0).collect();
        if many {
            folder.write_json(SUMMARY, &json!({ "methods": summaries }))?;
        }
        report::write(folder, &data, &arch, &summaries, &|name| {
            place(name).unwrap_or_else(|| folder.clone())
        })?;
    }
    Ok(Fitted { description: data.description, trained })
}

/// Refuses a run that is to go on to another end: the schedule of its rates was made for its own.
fn not_longer(folder: &Folder, steps: u64) -> Result<()> {
    let own: Settings = read_table(&folder.file(CONFIG))?.try_into()?;
    match own.steps {
        Some(own) if own != steps => bail!(
            "the run of {} is one of {own} steps, not {steps}; to train its model on, start a run with `from` {}",
            folder.path().display(),
            folder.file(MODEL).display()
        ),
        _ => Ok(()),
    }
}

fn barrier(world: &mut Option<&mut World>) -> Result<()> {
    match world {
        Some(world) => Ok(world.collective().barrier()?),
        None => Ok(()),
    }
}

/// Data and network with what all methods share: start, order of the examples, number of steps.
pub struct Job<'a> {
    data: &'a Prepared,
    net: Net<f32>,
    start: (Vec<f32>, Vec<f32>),
    sampling: Sampling,
    every: Option<Every>,
    /// Steps of the run.
    pub steps: u64,
}

/// Result of one method.
pub struct Trained {
    /// What is said of it.
    pub summary: Summary,
    /// Why it ended.
    pub reason: StopReason,
    /// Scores by epoch.
    pub curve: Vec<Epoch>,
    /// The trained network.
    pub model: Model,
}

impl<'a> Job<'a> {
    /// As the settings say.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn new(data: &'a Prepared, settings: &Settings) -> Result<Self> {
        let smoothing = settings.label_smoothing.unwrap_or(0.0);
        if !(0.0..1.0).contains(&smoothing) {
            bail!("label-smoothing = {smoothing} is not allowed; use a number in [0, 1)");
        }
        let mut job = Self::plain(data, settings.init.as_ref(), settings.sampling(), 0)?;
        job.net.loss.label_smoothing = smoothing;
        let epoch = job.training()?.steps_per_epoch();
        job.steps = settings.steps.unwrap_or_else(|| settings.epochs.unwrap_or(10).saturating_mul(epoch));
        job.every = settings.checkpoint_every.map(Every::Steps);
        Ok(job)
    }

    /// A job of `steps` steps with everything else at its default.
    ///
    /// # Errors
    /// A network that cannot be built.
    pub fn plain(data: &'a Prepared, init: Option<&Init>, sampling: Sampling, steps: u64) -> Result<Self> {
        let graph = &data.graph;
        let init = init.cloned().unwrap_or_else(|| default_init(graph));
        let start = initial(graph, &init, sampling.seed)?;
        let net = Net::new(graph.clone())?;
        Ok(Self { data, net, start, sampling, every: None, steps })
    }

    /// The network.
    pub fn net(&self) -> &Net<f32> {
        &self.net
    }

    /// Starts from these parameters and running statistics instead.
    pub fn start_from(&mut self, theta: Vec<f32>, buffers: Vec<f32>) {
        self.start = (theta, buffers);
    }

    /// The objective at its start.
    ///
    /// # Errors
    /// Network and data do not go together.
    pub fn training(&self) -> Result<Training<'_>> {
        let (theta, buffers) = self.start.clone();
        Ok(Training::new(&self.net, theta, buffers, &self.data.train, self.sampling.clone())?)
    }
    /// Refuses a method that these mini-batches do not suit.
    fn check(&self, trainer: &Trainer) -> Result<()> {
        if matches!(trainer, Trainer::Lbfgs(_)) && self.training()?.steps_per_epoch() > 1 {
            bail!("lbfgs needs the same examples in every step; set `batch` to {}", self.data.train.len());
        }
        Ok(())
    }

    /// Settings with everything decided, so that the run can be repeated from them.
    fn effective(&self, settings: &Settings, trainers: &[Trainer]) -> Result<Settings> {
        let mut methods = BTreeMap::new();
        for trainer in trainers {
            let Value::Object(mut fields) = serde_json::to_value(trainer)? else { continue };
            without_null(&mut fields);
            // Without this run's length, so that the settings serve for one of another length too.
            if let Some(Value::String(text)) = schedule_of(&mut fields) {
                let mut schedule: Schedule = text.parse()?;
                schedule.total = schedule.total.filter(|total| *total != self.steps);
                *text = schedule.to_string();
            }
            methods.insert(trainer.name().to_string(), fields);
        }
        let Sampling { batch, seed, augment, accumulate } = self.sampling.clone();
        let keep = settings.clone();
        Ok(Settings {
            method: keep.compare.is_none().then(|| trainers[0].name().to_string()),
            batch: Some(batch),
            seed: Some(seed.0),
            augment: Some(augment),
            accumulate: Some(accumulate).filter(|parts| *parts > 1),
            steps: Some(self.steps),
            epochs: None,
            normalize: Some(self.data.preprocess.clone().into())
                .filter(|_| !self.data.train.is_text() && settings.from.is_none()),
            methods,
            data: keep.data,
            test: keep.test,
            label: keep.label,
            limit: keep.limit,
            model: keep.model,
            from: keep.from,
            init: keep.init,
            compare: keep.compare,
            label_smoothing: keep.label_smoothing,
            checkpoint_every: keep.checkpoint_every,
            reading: keep.reading,
            ..Settings::default()
        })
    }

    /// What a resumed run must share, beside the method.
    fn shared(&self) -> Value {
        json!({
            "graph": self.data.graph.to_json(),
            "preprocess": self.data.preprocess,
            "examples": self.data.train.len(),
            "parted": self.data.parted,
            "sampling": self.sampling,
            "label_smoothing": self.net.loss.label_smoothing,
        })
    }

    /// Trains with one method and scores it, in this process alone and without files.
    ///
    /// # Errors
    /// What the run fails with.
    pub fn try_out(&self, trainer: &Trainer, host: &Host) -> Result<Trained> {
        self.run(trainer, None, host, Box::new(Alone))
    }

    /// Trains with one method, scores it and writes its folder.
    fn run(
        &self,
        trainer: &Trainer,
        folder: Option<&Folder>,
        host: &Host,
        ranks: Box<dyn Collective + '_>,
    ) -> Result<Trained> {
        self.check(trainer)?;
        let first = ranks.rank() == 0;
        let mut training = self.training()?.distributed(ranks)?;
        let curve = RefCell::default();
        let plan = Plan {
            steps: self.steps,
            seed: self.sampling.seed,
            test: Some(&self.data.test),
            curve: Some(&curve),
            host: host.clone(),
            folder,
            every: self.every,
            configuration: self.shared(),
        };
        let outcome = trainer.run(&mut training, &plan)?;
        let Score { accuracy, loss, rmse, r2, .. } =
            score(&self.net, &outcome.solution, training.buffers(), &self.data.test)?;
        let seconds = training.stepping().as_secs_f64();
        let traffic = training.collective().traffic();
        if traffic.bytes > 0 {
            let sent = traffic.bytes as f64 / 1e6;
            host.note(format!("{}: each process sent {sent:.1} MB", trainer.name()));
        }
        let Seed(seed) = self.sampling.seed;
        let summary = Summary {
            method: trainer.name().into(),
            seed,
            steps: outcome.steps,
            epochs: outcome.steps as f64 / training.steps_per_epoch() as f64,
            train_loss: training.train_loss(),
            test_loss: loss,
            test_accuracy: accuracy,
            test_rmse: rmse,
            test_r2: r2,
            seconds,
            seconds_per_step: seconds / outcome.steps.max(1) as f64,
            notes: self.data.notes.clone(),
        };
        let reason = outcome.stopped_because;
        let model = Model {
            graph: self.data.graph.clone(),
            theta: outcome.solution,
            buffers: training.buffers().to_vec(),
            preprocess: self.data.preprocess.clone(),
            classes: self.data.classes.clone(),
            features: self.data.features.clone(),
            data: json!(self.data.parted),
            training: json!({ "method": trainer.name(), "hyper_parameters": trainer, "steps": outcome.steps, "seed": seed }),
        };
        if let Some(folder) = folder.filter(|_| first) {
            model.save(folder.file(MODEL))?;
            folder.end(&summary, Some(reason))?;
        }
        Ok(Trained { summary, reason, curve: curve.take(), model })
    }
}
