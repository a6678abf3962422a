//! One pruned model after the other; each has a folder that is whole once its summary is there.

use std::path::PathBuf;
use std::time::Instant;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_core::{MethodError, Run, Seed, Stop, StopReason};
use thalweg_mfac::prune::{Layer, LayerSparsity, Weights};
use thalweg_mfac::{GradientSource, Gradual, ObsPruner, Saliency};
use thalweg_net::{Mask, Model, Net};
use thalweg_optim::{Masked, Sgd};

use super::settings::name_of;
use super::{MicroBatches, Settings, refreshed, report};
use crate::error::bail;
use crate::model::{DataPart, cut_anew, load_with_data};
use crate::train::{Examples, Sampling, Score, Training, score};
use crate::{Folder, Host, Result, TaskError};

/// Examples behind fresh statistics.
const STATISTICS: usize = 5000;

/// What is said of one pruned model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Name of the method.
    pub method: String,
    /// Share of the prunable weights that is gone.
    pub sparsity: f64,
    /// Share of right classes on the test part; none for real targets.
    pub accuracy: Option<f64>,
    /// Loss on the test part.
    pub loss: f64,
    /// Increase of the training loss that the quadratic model predicts; none without gradients.
    pub predicted_increase: Option<f64>,
    /// Increase of the training loss over the first round's micro-batches, before fine-tuning and
    /// fresh statistics.
    pub actual_increase: f64,
    /// Accuracy before fine-tuning and fresh statistics.
    pub accuracy_as_pruned: Option<f64>,
    /// Time of pruning and fine-tuning.
    pub seconds: f64,
    /// File of the model.
    pub model: Option<PathBuf>,
    /// Sparsity of each layer.
    pub layers: Vec<LayerSparsity>,
}

impl Row {
    fn metrics(&self, step: usize) -> Value {
        json!({
            "step": step,
            "seconds": self.seconds,
            "value": self.loss,
            "method": self.method,
            "sparsity": self.sparsity,
            "accuracy": self.accuracy,
        })
    }
}

/// What [`prune`] gives back.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Score of the given model.
    pub dense: Score,
    /// One pruned model after the other.
    pub models: Vec<Row>,
    /// What was found out about the data, left out and looks odd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Prunes as the settings say: the whole of `thalweg prune`. With a folder, every model and its mask is
/// written there, and an interrupted run goes on.
///
/// # Errors
/// Settings, model or data that do not fit, an interruption.
pub fn prune(settings: &Settings, folder: Option<&Folder>, host: &Host) -> Result<Outcome> {
    let job = Job::load(settings, host)?;
    if let Some(folder) = folder {
        folder.begin(settings, &[])?;
        // Models of an older run in this folder are none of this one.
        job.places(folder)?.iter().try_for_each(|place| place.clear(&[MODEL, MASK]))?;
    }
    let dense = job.dense()?;
    host.note(describe("dense", 0.0, dense.accuracy, dense.loss));
    let rows = job.rows(&mut job.source()?, folder).map_err(|e| match e {
        TaskError::Interrupted { .. } => TaskError::Interrupted { folder: folder.map(|f| f.path().into()) },
        e => e,
    })?;
    let outcome = Outcome { dense, models: rows, notes: job.notes.clone() };
    if let Some(folder) = folder {
        report::write(folder, &job.description, &outcome)?;
        folder.end(&outcome, None)?;
    }
    Ok(outcome)
}

/// A model on its way: parameters, running statistics, mask.
#[derive(Clone)]
pub struct Pruned {
    theta: Vec<f32>,
    buffers: Vec<f32>,
    mask: Mask,
}

/// A model with its data and how to prune it.
pub struct Job<'a> {
    settings: &'a Settings,
    host: &'a Host,
    /// What the data are.
    pub description: String,
    /// What was found out about them, left out and looks odd.
    pub notes: Vec<String>,
    model: Model,
    net: Net<f32>,
    train: Examples,
    test: Examples,
    layers: Vec<Layer>,
}

impl<'a> Job<'a> {
    /// Reads the model and the data that the settings name.
    ///
    /// # Errors
    /// They cannot be read or do not go together.
    pub fn load(settings: &'a Settings, host: &'a Host) -> Result<Self> {
        let Some(file) = &settings.model else { bail!("no model; set `model` to a safetensors file") };
        let source = settings.source()?;
        let (arch, normalize) = (settings.arch.as_deref(), settings.normalize.as_ref());
        let (model, mut loaded) = load_with_data(file, arch, normalize, source.clone())?;
        host.note(&loaded.description);
        loaded.notes.extend(cut_anew(&model, source.for_model(&model).cut_of(&loaded).as_ref()));
        loaded.notes.iter().for_each(|note| host.note(note));
        let (train, test) = DataPart::both(loaded.source);
        let (train, test) = (train.for_model(&model)?, test.for_model(&model)?);
        let job = Self::new(settings, host, loaded.description, model, train, test)?;
        Ok(Self { notes: loaded.notes, ..job })
    }

    /// A job with a model and data at hand.
    ///
    /// # Errors
    /// Settings that do not fit the model.
    pub fn new(
        settings: &'a Settings,
        host: &'a Host,
        description: String,
        model: Model,
        train: Examples,
        test: Examples,
    ) -> Result<Self> {
        settings.targets()?;
        let (pruner, net) = (settings.pruner(Saliency::Mfac), model.net()?);
        pruner.validate()?;
        let layers = pruner.prunable(net.layout())?;
        Ok(Self { settings, host, description, notes: Vec::new(), model, net, train, test, layers })
    }

    /// The same model and data under other settings.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub fn with(&self, settings: &'a Settings) -> Result<Self> {
        let (description, model) = (self.description.clone(), self.model.clone());
        Self::new(settings, self.host, description, model, self.train.clone(), self.test.clone())
    }

    /// All methods at all sparsities, with the gradients of `source`, as far as the host's time reaches. With
    /// a folder, each model is written to a folder in it, and those that a resumed run finds there are not
    /// made again.
    ///
    /// # Errors
    /// A model that cannot be pruned or written, an interruption.
    pub fn rows(&self, source: &mut MicroBatches<'_>, folder: Option<&Folder>) -> Result<Vec<Row>> {
        let (clock, mut rows) = (Instant::now(), Vec::new());
        let targets = self.settings.targets()?;
        let methods = self.settings.methods();
        for method in &methods {
            let mut from = self.start();
            for (stage, &sparsity) in targets.iter().enumerate() {
                if self.host.time.is_some_and(|limit| clock.elapsed() >= limit) {
                    let (made, all) = (rows.len(), methods.len() * targets.len());
                    self.host.note(format!("the time was up after {made} of {all} models; `resume` goes on"));
                    return Ok(rows);
                }
                let place = folder.map(|f| place(f, *method, sparsity));
                let done = place.as_ref().and_then(|p| self.finished(p));
                let (row, model) = match done {
                    Some(done) => done,
                    None => self.prune(*method, stage, sparsity, from.clone(), source, place.as_ref())?,
                };
                self.host.note(describe(&row.method, row.sparsity, row.accuracy, row.loss));
                rows.push(row);
                if let Some(folder) = folder {
                    folder.write_metrics(rows.iter().enumerate().map(|(i, row)| row.metrics(i + 1)))?;
                }
                if self.settings.gradual.is_some() {
                    from = model;
                }
            }
        }
        Ok(rows)
    }

    /// The folders of all models.
    fn places(&self, folder: &Folder) -> Result<Vec<Folder>> {
        let (methods, targets) = (self.settings.methods(), self.settings.targets()?);
        let of = |method: Saliency| targets.iter().map(move |sparsity| place(folder, method, *sparsity));
        Ok(methods.into_iter().flat_map(of).collect())
    }

    fn seed(&self) -> Seed {
        Seed(self.settings.seed.unwrap_or(0))
    }

    /// Score of the given model.
    ///
    /// # Errors
    /// None but defects.
    pub fn dense(&self) -> Result<Score> {
        Ok(score(&self.net, &self.model.theta, &self.model.buffers, &self.test)?)
    }

    /// The given model; weights that are exactly 0 in it count as pruned.
    fn start(&self) -> Pruned {
        let (theta, buffers) = (self.model.theta.clone(), self.model.buffers.clone());
        let mut mask = Mask(vec![true; theta.len()]);
        for i in self.layers.iter().flat_map(|l| l.range.clone()) {
            mask.0[i] = theta[i] != 0.0;
        }
        Pruned { theta, buffers, mask }
    }

    /// Gradients and losses at the given model's running statistics.
    ///
    /// # Errors
    /// None but defects.
    pub fn source(&self) -> Result<MicroBatches<'_>> {
        let size = self.settings.pruner(Saliency::Mfac).micro_batch;
        let buffers = self.model.buffers.clone();
        Ok(MicroBatches::new(&self.net, buffers, &self.train, &self.layers, size, self.seed())?)
    }

    /// What a folder holds, if it is whole and the run is resumed.
    fn finished(&self, place: &Folder) -> Option<(Row, Pruned)> {
        let row: Row = place.finished()?;
        let Model { theta, buffers, .. } = Model::load(place.file(MODEL)).ok()?;
        let mask = Mask::load(self.net.layout(), place.file(MASK)).ok()?;
        Some((row, Pruned { theta, buffers, mask }))
    }

    /// Prunes `from` to a sparsity, fine-tunes it if asked, scores it and writes its folder if it has one.
    fn prune(
        &self,
        method: Saliency,
        stage: usize,
        sparsity: f64,
        from: Pruned,
        source: &mut MicroBatches<'_>,
        place: Option<&Folder>,
    ) -> Result<(Row, Pruned)> {
        let (clock, pruner) = (Instant::now(), self.settings.pruner(method));
        let Pruned { mut theta, mut buffers, mut mask } = from;
        let (net, layers) = (&self.net, &self.layers);
        source.set_buffers(&buffers);
        let m = pruner.gradients[stage.min(pruner.gradients.len() - 1)];
        let round = stage * pruner.recompute;

        let before = source.loss(&theta, m, round)?;
        let weights = Weights { theta: &mut theta, alive: &mut mask.0, layers };
        let mut until_stopped =
            |theta: &[f32], alive: &[usize], round: usize, rows: &mut [&mut [f32]]| match self
                .host
                .interrupt
                .requested()
            {
                true => Err(MethodError::Problem("interrupted".into())),
                false => source.gradients(theta, alive, round, rows),
            };
        let found = pruner.one_shot(weights, sparsity, stage, &mut until_stopped).map_err(|e| {
            let asked = self.host.interrupt.requested();
            if asked { TaskError::Interrupted { folder: None } } else { e.into() }
        })?;
        let actual_increase = source.loss(&theta, m, round)? - before;
        let as_pruned = score(net, &theta, &buffers, &self.test)?;
        if let Some(schedule) = self.settings.schedule() {
            (theta, buffers) = self.tune(&schedule, stage, theta, buffers, &mask)?;
        }
        if self.settings.bn_refresh == Some(true) && !buffers.is_empty() {
            buffers = refreshed(net, &theta, &self.train, STATISTICS, self.seed())?;
        }
        let Score { accuracy, loss, .. } = score(net, &theta, &buffers, &self.test)?;

        found.warnings.iter().for_each(|w| self.host.note(format!("warning: {w}")));
        let row = Row {
            method: name_of(method),
            sparsity: found.sparsity,
            accuracy,
            loss,
            predicted_increase: found.predicted_increase,
            actual_increase,
            accuracy_as_pruned: as_pruned.accuracy,
            seconds: clock.elapsed().as_secs_f64(),
            model: place.map(|p| p.file(MODEL)),
            layers: found.layers,
        };
        let pruned = Pruned { theta, buffers, mask };
        if let Some(place) = place {
            self.save(place, &pruner, &row, &pruned)?;
        }
        Ok((row, pruned))
    }

    /// Writes a folder, the summary last.
    fn save(&self, place: &Folder, pruner: &ObsPruner, row: &Row, pruned: &Pruned) -> Result<()> {
        let model = Model {
            theta: pruned.theta.clone(),
            buffers: pruned.buffers.clone(),
            training: json!({ "pruning": pruner, "seed": self.seed(), "before": self.model.training }),
            ..self.model.clone()
        };
        model.save(place.file(MODEL))?;
        pruned.mask.save(self.net.layout(), place.file(MASK))?;
        place.end(row, None)
    }

    /// The epochs of SGD with momentum after a pruning step, the mask held; momentum starts afresh
    /// with each.
    fn tune(
        &self,
        schedule: &Gradual,
        stage: usize,
        mut theta: Vec<f32>,
        mut buffers: Vec<f32>,
        mask: &Mask,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        for epoch in schedule.epochs_after(stage) {
            let mut rng = self.seed().stream("fine-tuning", epoch as u64);
            let sampling =
                Sampling { batch: schedule.batch, seed: Seed(rng.random()), ..Sampling::default() };
            let mut training = Training::new(&self.net, theta, buffers, &self.train, sampling)?;
            let steps = Stop::Steps(training.steps_per_epoch());
            let sgd = Sgd { lr: schedule.lr(epoch), momentum: schedule.momentum, ..Sgd::default() };
            let mut masked = Masked::new(&mut training, mask.0.clone())?;
            let run = Run::new(&sgd, &mut masked).stop(steps).interrupt(self.host.interrupt.clone());
            let done = run.run()?;
            let (solution, stopped_because) = (done.solution, done.stopped_because);
            if stopped_because == StopReason::Interrupted {
                return Err(TaskError::Interrupted { folder: None });
            }
            (theta, buffers) = (solution, training.buffers().to_vec());
        }
        Ok((theta, buffers))
    }
}

fn place(folder: &Folder, method: Saliency, sparsity: f64) -> Folder {
    folder.inner(&format!("{}-{sparsity}", name_of(method)))
}

const MODEL: &str = "model.safetensors";
const MASK: &str = "mask.safetensors";

fn describe(method: &str, sparsity: f64, accuracy: Option<f64>, loss: f64) -> String {
    let accuracy = accuracy.map_or_else(String::new, |a| format!("   accuracy {:.2} %", 100.0 * a));
    format!("{method:<12} sparsity {:.1} %{accuracy}   loss {:.4}", 100.0 * sparsity, loss)
}
