//! `thalweg train`: one method, or several side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg::comm::{Alone, Collective, World};
use thalweg::core::{Every, MethodError, Outcome, RunError, Seed, StopReason};
use thalweg::mfac::Lr;
use thalweg::net::{Init, Model, Net, Preprocess, default_init, initial};
use thalweg::optim::Schedule;
use thalweg::plot::Table;
use thalweg::train::{Augment, Epoch, Plan, Sampling, Saving, Score, Trainer, Training, score};

use crate::config::{self, Common, Time};
use crate::failure::Interrupted;
use crate::output;
use crate::pictures;
use crate::task::{From, Task};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg train --data digits --model mlp:64-128-10 --method adahessian --epochs 10 --out run/
  thalweg train --data digits --model mlp:64-128-10 --compare adahessian,adamw,sgd --out cmp/ --json

Models: mlp:a-b-c[:act], lenet, cnn:depth,width, resnet8|20|32[:projection],
char-transformer:layers,width,heads,context, or a TOML file of layers.
Data: `digits`; a folder with MNIST IDX or CIFAR binary files; a single file of those; text;
CSV or npz with a label column. All may be gzipped.")]
pub struct Train {
    #[command(flatten)]
    settings: Settings,
    /// TOML file with settings named as the flags, and tables [methods.NAME]; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for models, metrics and pictures [default: run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue an interrupted run of that folder; ends in the same bits as without interruption
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out"])]
    resume: Option<PathBuf>,
    /// Replace an unfinished run in the output folder
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    common: Common,
}

/// What decides the result of a run.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// `digits`, a file or a folder
    #[arg(long)]
    data: Option<String>,
    /// File of the test part
    #[arg(long)]
    test: Option<PathBuf>,
    /// Column of the labels (CSV, npz)
    #[arg(long)]
    label: Option<String>,
    /// Use only the first N training examples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Architecture: a name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// Preprocessing, e.g. mean=0.5,std=0.5 [default: standardised by channel]
    #[arg(long, value_name = "mean=…,std=…")]
    normalize: Option<Preprocess>,
    /// Initialisation [default: the architecture's own]
    #[arg(long, value_name = "pytorch|kaiming|xavier|orthogonal|normal:STD", value_parser = parse_init)]
    init: Option<Init>,
    /// Method: adahessian, mkor, mkor-h, mfac, kfac, eva, sgd, adam, adamw, lamb, muon, lbfgs [default: adahessian]
    #[arg(long, conflicts_with = "compare")]
    method: Option<String>,
    /// Several methods, side by side
    #[arg(long, value_delimiter = ',', value_name = "M,M,…")]
    compare: Option<Vec<String>>,
    /// Passes over the training part [default: 10]
    #[arg(long, conflicts_with = "steps")]
    epochs: Option<u64>,
    /// Steps instead of epochs
    #[arg(long)]
    steps: Option<u64>,
    /// Stop after this time, e.g. 30s, 5m; the run can be resumed
    #[arg(long)]
    time: Option<Time>,
    /// Examples per step [default: 128]
    #[arg(long)]
    batch: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's largest
    seed: Option<u64>,
    /// Share of the target spread over all classes
    #[arg(long, value_name = "P")]
    label_smoothing: Option<f64>,
    /// Random crops and reflections of training images: pad=4,flip
    #[arg(long, value_name = "pad=N,flip", value_parser = parse_augment)]
    augment: Option<Augment>,
    /// Steps between checkpoints [default: one every 10 s]
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,

    /// Learning rate, or auto (mfac: 1/window) [default: the method's]
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    lr: Option<Lr>,
    /// constant, linear, cosine, inverse-sqrt, step:50%,75%:0.1; warmup:N+… [default: linear after a twentieth of the steps as warm-up]
    #[arg(long, help_heading = "Of the method")]
    schedule: Option<String>,
    /// Weight decay
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Momentum (sgd, muon)
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Decay rates of the two averages, e.g. 0.9,0.999
    #[arg(long, help_heading = "Of the method", value_delimiter = ',', value_name = "B1,B2")]
    betas: Option<Vec<f64>>,
    /// Added to the denominator
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    eps: Option<f64>,
    /// First-order method behind the preconditioner: sgd, adam, adamw, lamb, muon (mkor, mkor-h, kfac, eva)
    #[arg(long, help_heading = "Of the method", value_name = "NAME")]
    backend: Option<String>,
    /// Steps from one update of the factors to the next (mkor, mkor-h, kfac)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    inv_freq: Option<u64>,
    /// Update of the factors: released, sherman-morrison or printed (mkor, mkor-h)
    #[arg(long, help_heading = "Of the method")]
    rule: Option<String>,
    /// Form of the factors: auto, dense or low-rank:N (mkor, mkor-h)
    #[arg(long, help_heading = "Of the method")]
    form: Option<String>,
    /// Gradients in the window (mfac)
    #[arg(long, help_heading = "Of the method", value_name = "M")]
    window: Option<u64>,
    /// Damping of the Fisher matrix (mfac)
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    damp: Option<f64>,
    /// Power of the curvature, 0 to 1 (adahessian)
    #[arg(long, help_heading = "Of the method", allow_negative_numbers = true)]
    hessian_power: Option<f64>,
    /// Steps from one curvature to the next (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    hessian_every: Option<u64>,
    /// Random probes per curvature (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "N")]
    probes: Option<u64>,
    /// abs, signed or none (adahessian)
    #[arg(long, help_heading = "Of the method")]
    average: Option<String>,
    /// rademacher or gaussian (adahessian)
    #[arg(long, help_heading = "Of the method")]
    probe: Option<String>,
    /// Averaging blocks, e.g. linear=row,conv2d=kernel or linear=32 (adahessian)
    #[arg(long, help_heading = "Of the method", value_name = "KIND=RULE,…")]
    block: Option<String>,
    /// Record the curvature's norm in each layer (adahessian)
    #[arg(long, help_heading = "Of the method", num_args = 0, default_missing_value = "true")]
    diagnostics: Option<bool>,
    /// Any field of a method: `lr=0.1`, or `sgd.lr=0.1` for one of several
    #[arg(long, help_heading = "Of the method", value_name = "FIELD=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,

    /// Hyper-parameters by method, from the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    methods: BTreeMap<String, Map<String, Value>>,
}

fn parse_augment(text: &str) -> Result<Augment, String> {
    let mut augment = Augment::default();
    for part in text.split(',') {
        match part.trim().split_once('=') {
            Some(("pad", n)) => {
                augment.pad = n
                    .parse::<u16>()
                    .map_err(|_| format!("pad = {n} is no whole number from 0 to 65535"))?
                    .into()
            }
            None if part.trim() == "flip" => augment.flip = true,
            _ => return Err(format!("{part:?} is unknown; use pad=4,flip")),
        }
    }
    Ok(augment)
}

fn parse_init(text: &str) -> Result<Init, String> {
    match (text, text.strip_prefix("normal:").map(str::parse)) {
        ("pytorch", _) => Ok(Init::PyTorch),
        ("kaiming", _) => Ok(Init::Kaiming),
        ("xavier", _) => Ok(Init::Xavier),
        ("orthogonal", _) => Ok(Init::Orthogonal),
        (_, Some(Ok(deviation))) if deviation > 0.0 => Ok(Init::Normal(deviation)),
        _ => Err("use pytorch, kaiming, xavier, orthogonal or normal:0.02".into()),
    }
}

impl Settings {
    fn names(&self) -> Vec<String> {
        let one = || vec![self.method.clone().unwrap_or_else(|| "adahessian".into())];
        self.compare.clone().unwrap_or_else(one)
    }

    /// The hyper-parameter flags as fields of a method.
    fn fields(&self) -> Result<Vec<(&'static str, Value)>> {
        let mut fields = Vec::new();
        let mut add = |name, value: Option<Value>| fields.extend(value.map(|v| (name, v)));
        add("lr", self.lr.map(serde_json::to_value).transpose()?);
        add("weight_decay", self.weight_decay.map(Value::from));
        add("momentum", self.momentum.map(Value::from));
        add("betas", self.betas.clone().map(Value::from));
        add("eps", self.eps.map(Value::from));
        add("inv_freq", self.inv_freq.map(Value::from));
        add("rule", self.rule.clone().map(Value::from));
        add("form", self.form.clone().map(Value::from));
        add("window", self.window.map(Value::from));
        add("damp", self.damp.map(Value::from));
        add("hessian_power", self.hessian_power.map(Value::from));
        add("hessian_every", self.hessian_every.map(Value::from));
        add("probes", self.probes.map(Value::from));
        add("average", self.average.clone().map(Value::from));
        add("probe", self.probe.clone().map(Value::from));
        add("diagnostics", self.diagnostics.map(Value::from));
        let blocks =
            self.block.as_ref().map(|text| text.parse::<thalweg::adahessian::BlockRules>()).transpose()?;
        add("blocks", blocks.map(serde_json::to_value).transpose()?);
        // JSON has no other numbers.
        if let Some((field, _)) = fields.iter().find(|(_, v)| v.is_null()) {
            bail!("{field} is not finite; use a number");
        }
        Ok(fields)
    }

    /// The method `name` for a run of `steps` steps. Where several are compared, a flag speaks to
    /// those methods that know it.
    fn trainer(&self, name: &str, steps: u64) -> Result<Trainer> {
        let names = self.names();
        let blank = self.blank(name)?;
        let mut fields = self.methods.get(name).cloned().unwrap_or_default();
        let others = names.iter().map(|n| self.blank(n)).collect::<Result<Vec<_>>>()?;
        let known = |field: &str| match others.iter().any(|n| n.has(field)) {
            _ if self.compare.is_none() => Ok(true),
            true => Ok(blank.has(field)),
            false => bail!("none of {} has a field `{field}`; leave it out", names.join(", ")),
        };
        if let Some(backend) = self.backend.clone().filter(|_| known("backend").unwrap_or(true)) {
            // Another one than the file's takes none of the settings there.
            let same = fields.get("backend").and_then(|b| b.get("name")) == Some(&Value::from(&*backend));
            if !same {
                fields.insert("backend".into(), backend.into());
            }
        }
        for (field, value) in self.fields()? {
            if known(field)? {
                fields.insert(field.into(), value);
            }
        }
        for entry in &self.set {
            let (key, value) = config::field_value(entry)?;
            let (method, field) = match key.split_once('.') {
                Some((method, field)) if names.iter().any(|n| n == method) => (Some(method), field),
                _ => (None, key),
            };
            if method.map_or_else(|| known(field), |m| Ok(m == name))? {
                fields.insert(field.trim().into(), config::value(value.trim()));
            }
        }
        if blank.has("schedule") {
            let in_file = schedule_of(&mut fields).and_then(|s| s.as_str().map(String::from));
            let text =
                self.schedule.clone().or(in_file).unwrap_or_else(|| format!("warmup:{}+linear", steps / 20));
            fields.insert("schedule".into(), text.parse::<Schedule>()?.bind(steps).to_string().into());
        }
        let trainer = Trainer::new(name, fields)?;
        trainer.validate().with_context(|| name.to_string())?;
        Ok(trainer)
    }

    /// The method `name` with its defaults, with the backend that is asked for.
    fn blank(&self, name: &str) -> Result<Trainer> {
        let plain = Trainer::new(name, Map::new())?;
        let in_file = self.methods.get(name).and_then(|fields| fields.get("backend"));
        match self.backend.clone().map(Value::from).or_else(|| in_file.cloned()) {
            Some(backend) if plain.has("backend") => {
                Ok(Trainer::new(name, Map::from_iter([("backend".into(), backend)]))?)
            }
            _ => Ok(plain),
        }
    }

    fn sampling(&self) -> Sampling {
        let (batch, augment) = (self.batch.unwrap_or(128), self.augment.unwrap_or_default());
        Sampling { batch, seed: Seed(self.seed.unwrap_or(0)), augment }
    }
}

/// The schedule among the fields of a method or of its backend.
fn schedule_of(fields: &mut Map<String, Value>) -> Option<&mut Value> {
    match fields.contains_key("schedule") {
        true => fields.get_mut("schedule"),
        false => fields.get_mut("backend")?.get_mut("schedule"),
    }
}

/// TOML has no null.
fn without_null(fields: &mut Map<String, Value>) {
    fields.retain(|_, v| !v.is_null());
    fields.values_mut().filter_map(Value::as_object_mut).for_each(without_null);
}

/// What `train` says of a finished run.
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
    /// Loss on the test part.
    pub test_loss: f64,
    /// Share of right classes; none for real targets.
    pub test_accuracy: Option<f64>,
    /// Time of the steps, without tests and files.
    pub seconds: f64,
    /// Time of one step.
    pub seconds_per_step: f64,
}

impl Train {
    pub fn run(mut self, world: &mut World) -> Result<()> {
        self.common.start()?;
        let first = world.rank() == 0;
        self.common.quiet |= !first;
        let out = self.out.as_deref().unwrap_or(Path::new("run"));
        let (folder, settings) =
            config::of_run(&self.settings, self.resume.as_deref(), out, self.config.as_deref())?;
        let Some(data) = settings.data.clone() else {
            bail!("no data; add --data digits, a file or a folder")
        };
        let Some(arch) = settings.model.clone() else {
            bail!("no model; add --model, e.g. mlp:64-128-10, lenet, resnet20")
        };
        let from =
            From { data, test: settings.test.clone(), label: settings.label.clone(), limit: settings.limit };
        let task = Task::load(&from, &arch, settings.normalize.as_ref())?;
        self.common.note(&task.description);

        let names = settings.names();
        if let Some((_, name)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            bail!("{name} is compared twice; name each method once");
        }
        let many = settings.compare.is_some();
        let job = Job::new(&task, &settings)?;
        let trainer = |name: &String| Ok(settings.trainer(name, job.steps)?.suited(&job.net));
        let trainers = names.iter().map(trainer).collect::<Result<Vec<_>>>()?;
        let place = |name: &str| if many { folder.join(name) } else { folder.clone() };
        // Also one of the other kind, whose settings this run would replace.
        let places = Trainer::NAMES.iter().map(|n| folder.join(n)).chain([folder.clone()]);
        let unfinished: Vec<PathBuf> = places.filter(|p| p.join(CHECKPOINT).exists()).collect();
        if let Some(unfinished) = unfinished.first().filter(|_| self.resume.is_none() && !self.overwrite) {
            let (at, folder) = (unfinished.display(), folder.display());
            bail!("{at} holds an unfinished run; continue it with --resume {folder}, or add --overwrite");
        }
        let effective = job.effective(&settings, &trainers)?;
        // Nobody looks for unfinished runs any more.
        world.collective().barrier()?;
        if first {
            output::make_folder(&folder)?;
        }
        if self.resume.is_none() && first {
            for place in names.iter().map(|n| place(n)).chain(unfinished) {
                clear(&place)?;
            }
            output::write(&folder.join("config.toml"), config::to_toml(&effective)?.as_bytes())?;
        }

        let mut summaries = Vec::new();
        for (name, trainer) in names.iter().zip(&trainers) {
            let place = place(name);
            if let Some(done) = finished(&place).filter(|_| self.resume.is_some()) {
                summaries.push(done);
                continue;
            }
            if first {
                output::make_folder(&place)?;
            }
            let outcome =
                job.run(trainer, Some(&place), self.resume.is_some(), &self.common, world.collective())?;
            if outcome.reason == StopReason::Interrupted {
                let resume = Some(format!("thalweg train --resume {}", folder.display()));
                return Err(Interrupted { resume }.into());
            }
            if outcome.reason == StopReason::Time {
                let (made, folder) = (outcome.summary.steps, folder.display());
                self.common.note(format!(
                    "{name}: the time was up after {made} of {} steps; go on with --resume {folder} --time LONGER",
                    job.steps
                ));
            }
            summaries.push(outcome.summary);
        }
        if !first {
            return Ok(());
        }
        if many {
            output::write_json(&folder.join("summary.json"), &summaries)?;
        }
        pictures::training_report(&folder, &task.description, &arch, &summaries, &place)?;
        if self.common.json {
            return match (many, summaries.first()) {
                (false, Some(one)) => output::print_json(one),
                _ => output::print_json(&summaries),
            };
        }
        output::print(&table(&summaries).text())?;
        self.common.note(format!("report: {}", folder.join("report.html").display()));
        Ok(())
    }
}

const CHECKPOINT: &str = "checkpoint.bin";

/// Summary of a folder whose run has ended.
fn finished(place: &Path) -> Option<Summary> {
    let text = fs::read_to_string(place.join("summary.json")).ok()?;
    serde_json::from_str(&text).ok().filter(|_| !place.join(CHECKPOINT).exists())
}

/// Removes what an earlier run left under the names that this one writes.
fn clear(place: &Path) -> Result<()> {
    for name in [CHECKPOINT, "summary.json", "metrics.jsonl", "model.safetensors"] {
        let file = place.join(name);
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot replace {}", file.display()))?;
        }
    }
    Ok(())
}

/// Results as a table for people.
pub fn table(summaries: &[Summary]) -> Table {
    let mut table =
        Table::new(["method", "steps", "train loss", "test loss", "test accuracy", "seconds", "ms/step"]);
    for s in summaries {
        table.row([
            s.method.clone(),
            s.steps.to_string(),
            s.train_loss.map_or_else(String::new, |l| format!("{l:.4}")),
            format!("{:.4}", s.test_loss),
            s.test_accuracy.map_or_else(String::new, |a| format!("{:.2} %", 100.0 * a)),
            format!("{:.2}", s.seconds),
            format!("{:.3}", 1e3 * s.seconds_per_step),
        ]);
    }
    table
}

/// A task with what all its methods share: start, order of the examples, number of steps.
pub struct Job<'a> {
    task: &'a Task,
    net: Net<f32>,
    start: (Vec<f32>, Vec<f32>),
    sampling: Sampling,
    every: Every,
    time: Option<Duration>,
    /// Steps of the run.
    pub steps: u64,
}

/// Result of one run.
pub struct Finished {
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
    fn new(task: &'a Task, settings: &Settings) -> Result<Self> {
        let smoothing = settings.label_smoothing.unwrap_or(0.0);
        if !(0.0..1.0).contains(&smoothing) {
            bail!("label-smoothing = {smoothing} is not allowed; use a number in [0, 1)");
        }
        let mut job = Self::plain(task, settings.init.as_ref(), settings.sampling(), 0)?;
        job.net.loss.label_smoothing = smoothing;
        let epoch = job.training()?.steps_per_epoch();
        job.steps = settings.steps.unwrap_or_else(|| settings.epochs.unwrap_or(10).saturating_mul(epoch));
        job.time = settings.time.map(|t| t.0);
        if let Some(steps) = settings.checkpoint_every {
            job.every = Every::Steps(steps);
        }
        Ok(job)
    }

    /// A job without the trimmings of the command line.
    pub fn plain(task: &'a Task, init: Option<&Init>, sampling: Sampling, steps: u64) -> Result<Self> {
        let graph = &task.graph;
        let init = init.cloned().unwrap_or_else(|| default_init(graph));
        let start = initial(graph, &init, sampling.seed)?;
        let every = Every::Time(Duration::from_secs(10));
        let net = Net::new(graph.clone())?;
        Ok(Self { task, net, start, sampling, every, time: None, steps })
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
    pub fn training(&self) -> Result<Training<'_>> {
        let (theta, buffers) = self.start.clone();
        Ok(Training::new(&self.net, theta, buffers, &self.task.train, self.sampling.clone())?)
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
        let Sampling { batch, seed, augment } = self.sampling.clone();
        let keep = settings.clone();
        Ok(Settings {
            method: keep.compare.is_none().then(|| trainers[0].name().to_string()),
            batch: Some(batch),
            seed: Some(seed.0),
            augment: Some(augment),
            steps: Some(self.steps),
            epochs: None,
            normalize: Some(self.task.preprocess.clone()).filter(|_| !self.task.train.is_text()),
            methods,
            data: keep.data,
            test: keep.test,
            label: keep.label,
            limit: keep.limit,
            model: keep.model,
            init: keep.init,
            compare: keep.compare,
            time: keep.time,
            label_smoothing: keep.label_smoothing,
            checkpoint_every: keep.checkpoint_every,
            ..Settings::default()
        })
    }

    /// What a resumed run must share, beside the method.
    fn shared(&self) -> Value {
        json!({
            "graph": self.task.graph.to_json(),
            "preprocess": self.task.preprocess,
            "examples": self.task.train.len(),
            "sampling": self.sampling,
            "label_smoothing": self.net.loss.label_smoothing,
        })
    }

    /// Trains with one method and scores it, in this process alone and without files.
    pub fn try_out(&self, trainer: &Trainer, common: &Common) -> Result<Finished> {
        self.run(trainer, None, false, common, Box::new(Alone))
    }

    /// Trains with one method, scores it and writes its folder.
    fn run(
        &self,
        trainer: &Trainer,
        place: Option<&Path>,
        resume: bool,
        common: &Common,
        mut ranks: Box<dyn Collective + '_>,
    ) -> Result<Finished> {
        let first = ranks.rank() == 0;
        let saving = place.map(|place| {
            let checkpoint = place.join(CHECKPOINT);
            let resume = resume && checkpoint.exists();
            Saving { metrics: place.join("metrics.jsonl"), checkpoint, every: self.every, resume }
        });
        // The first rank writes a checkpoint soon; all must have looked for the old one.
        ranks.barrier()?;
        let mut training = self.training()?.distributed(ranks)?;
        if matches!(trainer, Trainer::Lbfgs(_)) && training.steps_per_epoch() > 1 {
            bail!("lbfgs needs the same examples in every step; add --batch {}", self.task.train.len());
        }
        let curve = RefCell::default();
        let plan = Plan {
            steps: self.steps,
            seed: self.sampling.seed,
            time: self.time,
            test: Some(&self.task.test),
            curve: Some(&curve),
            bar: (!common.quiet).then(|| trainer.name().to_string()),
            saving,
            interruptible: true,
            configuration: self.shared(),
        };
        let outcome: Outcome<Vec<f32>> = trainer.fit(&mut training, &plan).inspect_err(|e| {
            // Going on would only diverge again.
            if let (RunError::Method { source: MethodError::NonFinite { .. }, .. }, Some(place)) = (e, place)
            {
                let _ = fs::remove_file(place.join(CHECKPOINT));
            }
        })?;
        let Score { accuracy, loss, .. } =
            score(&self.net, &outcome.solution, training.buffers(), &self.task.test)?;
        let seconds = training.stepping().as_secs_f64();
        let traffic = training.collective().traffic();
        if traffic.bytes > 0 {
            common.note(format!(
                "{}: each process sent {:.1} MB",
                trainer.name(),
                traffic.bytes as f64 / 1e6
            ));
        }
        let summary = Summary {
            method: trainer.name().into(),
            seed: self.sampling.seed.0,
            steps: outcome.steps,
            epochs: outcome.steps as f64 / training.steps_per_epoch() as f64,
            train_loss: training.train_loss(),
            test_loss: loss,
            test_accuracy: accuracy,
            seconds,
            seconds_per_step: seconds / outcome.steps.max(1) as f64,
        };
        let reason = outcome.stopped_because;
        let model = Model {
            graph: self.task.graph.clone(),
            theta: outcome.solution,
            buffers: training.buffers().to_vec(),
            preprocess: self.task.preprocess.clone(),
            classes: self.task.classes.clone(),
            training: json!({ "method": trainer.name(), "hyper_parameters": trainer, "steps": outcome.steps, "seed": self.sampling.seed }),
        };
        if let Some(place) = place.filter(|_| first) {
            model.save(place.join("model.safetensors"))?;
            output::write_json(&place.join("summary.json"), &summary)?;
            // The checkpoint of a run that has ended is of no more use; one cut short may go on.
            if !matches!(reason, StopReason::Interrupted | StopReason::Time) {
                let _ = fs::remove_file(place.join(CHECKPOINT));
            }
        }
        Ok(Finished { summary, reason, curve: curve.take(), model })
    }
}
