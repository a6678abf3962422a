//! MKOR's claims at small scale (Mozaffari et al., arXiv:2306.01685), one table each.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use thalweg::comm::{Collective, local};
use thalweg::core::{Method, Problem, Seed};
use thalweg::mkor::factor::Recursion;
use thalweg::mkor::{Backend, Form, Kfac, KroneckerFactor, Mkor, Rule, Storage, spectra};
use thalweg::optim::{Muon, Sgd};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;
use thalweg::tasks::source::Prepared;
use thalweg::train::{Epoch, Job, Plan, Sampling, Trainer};

use crate::claim::{Entry, publish};
use crate::measure::{Timed, exponent, in_turn, seconds, stepper};
use crate::sources::{MLP, RULE, Sources};
use thalweg::train::compare::{
    By, Length, Row, Setting, Variant, compare, leader, moments, spread, trainer, tuned, variant,
};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims mkor perceptron scaling --data digits
  thalweg-claims mkor all --mnist train-images-idx3-ubyte.gz --text book.txt

Without --mnist and --text, the data are looked for in the folder THALWEG_DATA (default
../shared/data).")]
pub struct Claims {
    /// perceptron, autoencoder, scaling, communication, lenet, transformer, robustness, rank-one, all
    #[arg(required = true)]
    which: Vec<String>,
    /// Steps of the transformer
    #[arg(long, default_value_t = 1500)]
    steps: u64,
    #[command(flatten)]
    on: Sources,
}

const ALL: &[Entry<Claims>] = &[
    ("perceptron", Claims::perceptron),
    ("autoencoder", Claims::autoencoder),
    ("scaling", |_| scaling()),
    ("communication", Claims::communication),
    ("lenet", Claims::lenet),
    ("transformer", Claims::transformer),
    ("robustness", Claims::robustness),
    ("rank-one", Claims::rank_one),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.on.start()?;
        publish("MKOR's claims", &self.on.options, &self, &self.which, ALL)
    }

    fn perceptron(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let setting = self.on.setting(Length::Epochs(4));
        let rows = tuned(&task, rivals(), &setting, By::Accuracy, &self.on.options.host())?;
        let (times, names) = step_times(&task, 0.01)?;
        let mut table = Table::new([
            "method",
            "rate",
            "accuracy % after 2",
            "after 4",
            "train loss in epoch 2",
            "in epoch 4",
            "seconds",
            "epochs to 95 %",
        ]);
        for r in &rows {
            table.row([
                r.label.clone(),
                r.rate(),
                spread(&r.after(2, accuracy), 2),
                spread(&r.accuracy, 2),
                spread(&r.after(2, |e| e.train_loss), 3),
                spread(&r.train_loss, 3),
                spread(&r.seconds, 2),
                epochs_to(r, 95.0),
            ]);
        }
        for (name, time) in names.iter().zip(&times) {
            let cost = format!("{:.2} ms a step, {:.2} of SGD's", 1e3 * time, time / times[0]);
            let mut cells = vec![format!("cost of {name}"), String::new(), cost];
            cells.resize(8, String::new());
            table.row(cells);
        }
        let find = |label: &str| rows.iter().find(|r| r.label == label).context("a variant is missing");
        let (sgd, mkor, printed) = (find("SGD")?, find("MKOR, released")?, find("MKOR, printed")?);
        let early = |r: &Row| moments(&r.after(2, |e| e.train_loss)).0;
        let ratio = early(mkor) / early(sgd);
        let marks = vec![
            (format!("training loss in epoch 2 ≤ 0.85 of SGD's ({ratio:.2})"), ratio <= 0.85),
            (
                format!("accuracy ≥ SGD's ({:.2} against {:.2})", mkor.mean(), sgd.mean()),
                mkor.mean() >= sgd.mean(),
            ),
            (format!("a step costs ≤ 1.3 of SGD's ({:.2})", times[1] / times[0]), times[1] <= 1.3 * times[0]),
            (format!("the printed formula fails ({:.2} %)", printed.mean()), printed.mean() < 80.0),
        ];
        let text = format!(
            "{} {MLP}, {} images, batch 128, 4 epochs, linear decay; SGD with momentum 0.9 behind the preconditioners. {RULE} Mean ± standard deviation over {} seeds; costs are medians of rounds in turn.",
            leader(&rows, By::Accuracy),
            task.train.len(),
            self.on.options.seeds
        );
        let figure = by_epoch(&rows, "Training loss", "mini-batch loss", |e| e.train_loss);
        Ok(Finding {
            name: "perceptron",
            title: "Perceptron".into(),
            text,
            table,
            figures: vec![(figure.log_y(), "Means over the seeds.".into())],
            marks,
            data: json!({ "rows": rows, "cost": names.iter().zip(&times).collect::<Vec<_>>() }),
        })
    }

    fn autoencoder(&self) -> Result<Finding> {
        let arch = "mlp:784-256-64-16-64-256-784:tanh";
        let task = self.on.autoencoder(arch, 10_000)?;
        let every = [1, 10, 100];
        let mkor = every.map(|f| {
            let fields = json!({ "inv_freq": f, "warmup_steps": 0 });
            variant(format!("MKOR, f = {f}"), "mkor", fields)
        });
        let kfac = every.map(|f| {
            let fields = json!({ "inv_freq": f, "factor_freq": f, "rescale": "joint", "kl_clip": null });
            variant(format!("K-FAC, f = {f}"), "kfac", fields)
        });
        let mut variants = vec![variant("SGD", "sgd", json!({}))];
        variants.extend(mkor.into_iter().chain(kfac));
        variants.extend([variant("AdamW", "adamw", json!({})), variant("Muon", "muon", json!({}))]);
        let setting = self.on.setting(Length::Epochs(4));
        let rows = tuned(&task, variants, &setting, By::Loss, &self.on.options.host())?;
        let mut table = Table::new(["method", "rate", "test loss", "train loss", "ms/step"]);
        let steps = (task.train.len() / 128 * 4) as f64;
        let per_step = |r: &Row| 1e3 * moments(&r.seconds).0 / steps;
        for r in &rows {
            table.row([
                r.label.clone(),
                r.rate(),
                spread(&r.test_loss, 4),
                spread(&r.train_loss, 4),
                format!("{:.2}", per_step(r)),
            ]);
        }
        let loss = |r: &Row| moments(&r.train_loss).0;
        let flat = per_step(&rows[1]) / per_step(&rows[3]);
        let steep = per_step(&rows[4]) / per_step(&rows[6]);
        let marks = vec![
            (
                format!(
                    "MKOR's step at f = 1 costs ≤ 1.5 of that at f = 100 ({flat:.2}; K-FAC's {steep:.1})"
                ),
                flat <= 1.5 && steep > flat,
            ),
            ("MKOR: f = 1 trains at least as far as f = 100".into(), loss(&rows[1]) <= loss(&rows[3])),
        ];
        Ok(Finding {
            name: "autoencoder",
            title: "Frequency of the updates".into(),
            text: format!(
                "{} {arch}, {} images, squared error, batch 128, 4 epochs, linear decay, factors updated every f steps. {RULE} Mean ± standard deviation over {} seeds.",
                leader(&rows, By::Loss),
                task.train.len(),
                self.on.options.seeds
            ),
            table,
            figures: vec![(
                by_epoch(&rows, "Test loss", "squared error", |e| e.test_loss).log_y(),
                String::new(),
            )],
            marks,
            data: serde_json::to_value(&rows)?,
        })
    }

    fn communication(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 2_000)?;
        let methods: [(&str, Trainer); 2] = [
            ("mkor", trainer("mkor", json!({ "lr": 0.05, "warmup_steps": 0 }))?),
            ("kfac", trainer("kfac", json!({ "lr": 0.05, "inv_freq": 10 }))?),
        ];
        const STEPS: u64 = 30;
        let sampling = Sampling { batch: 128, seed: Seed(1), ..Sampling::default() };
        let job = Job::plain(&task, None, sampling, STEPS)?;
        let plan = || Plan { steps: STEPS, seed: Seed(1), ..Plan::default() };
        let work = |trainer: &Trainer, workers: usize| -> Result<(Vec<f32>, u64)> {
            // A thread of its own each, as processes would have.
            let worker = |ranks: thalweg::comm::Local| -> Result<(Vec<f32>, u64)> {
                rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| {
                    let mut training = job.training()?.distributed(ranks)?;
                    let solution = trainer.run(&mut training, &plan())?.solution;
                    Ok((solution, training.collective().traffic().bytes))
                })
            };
            std::thread::scope(|s| {
                let ends: Vec<_> = local(workers).into_iter().map(|r| s.spawn(|| worker(r))).collect();
                let mut results = ends.into_iter().map(|end| match end.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                let first = results.next().context("no worker")?;
                results.try_for_each(|r| r.map(drop))?;
                first
            })
        };
        let layers = [784, 256, 128, 10];
        let pairs: Vec<(usize, usize)> = layers.windows(2).map(|w| (w[1], w[0] + 1)).collect();
        let vectors: usize = pairs.iter().map(|(p, d)| 4 * (p + d - 1)).sum();
        let matrices: usize = pairs.iter().map(|(p, d)| 4 * (p + d - 1 + p * p + (d - 1) * (d - 1))).sum();
        let (_, gradient_only) = work(&trainer("sgd", json!({ "lr": 0.05 }))?, 2)?;
        let mut table = Table::new([
            "method",
            "bytes per update",
            "by the formula",
            "largest difference from one worker",
        ]);
        let (mut marks, mut data) = (Vec::new(), Vec::new());
        for ((name, trainer), formula) in methods.iter().zip([vectors, matrices]) {
            let ((one, _), (two, bytes)) = (work(trainer, 1)?, work(trainer, 2)?);
            let updates = STEPS.div_ceil(10);
            let per_update = (bytes - gradient_only) / updates;
            let differs = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            table.row([
                name.to_string(),
                per_update.to_string(),
                formula.to_string(),
                format!("{differs:.1e}"),
            ]);
            if self.on.data.is_none() {
                marks.push((format!("{name} sends what the formula says"), per_update == formula as u64));
            }
            marks.push((format!("{name}: two workers go where one goes ({differs:.1e})"), differs < 1e-3));
            data.push(json!({ "method": name, "bytes": per_update, "formula": formula, "differs": differs }));
        }
        Ok(Finding {
            name: "communication",
            title: "Communication".into(),
            text: format!(
                "{MLP}, two workers with half the batch each, {STEPS} steps, an update every 10: what each worker hands over for one update of all factors, beside the gradient. MKOR: the vectors of every layer, 4(p + q) bytes; K-FAC: their second moments too."
            ),
            table,
            figures: Vec::new(),
            marks,
            data: data.into(),
        })
    }

    fn lenet(&self) -> Result<Finding> {
        let task = self.on.digits("lenet", 8_000)?;
        let setting = self.on.setting(Length::Epochs(3));
        let rows = tuned(&task, rivals(), &setting, By::Accuracy, &self.on.options.host())?;
        let find = |label: &str| rows.iter().find(|r| r.label == label).context("a variant is missing");
        let (sgd, mkor) = (find("SGD")?.mean(), find("MKOR, released")?.mean());
        let gain = mkor - sgd;
        let marks = vec![(format!("MKOR beats SGD by ≥ 0.4 points (by {gain:.2})"), gain >= 0.4)];
        let text = format!("lenet, {} images, batch 128, 3 epochs, linear decay.", task.train.len());
        Ok(self.on.finding("lenet", "LeNet", text, &rows, By::Accuracy, marks))
    }

    fn transformer(&self) -> Result<Finding> {
        let arch = "char-transformer:2,64,4,64";
        let task = self.on.text(arch)?;
        let hybrid = json!({ "backend": "adamw", "hybrid": { "window": 25 } });
        let variants = vec![
            variant("AdamW", "adamw", json!({})),
            variant("MKOR on AdamW", "mkor", json!({ "backend": "adamw" })),
            variant("MKOR-H on AdamW", "mkor-h", hybrid),
            variant("LAMB", "lamb", json!({})),
            variant("MKOR on LAMB", "mkor", json!({ "backend": "lamb" })),
        ];
        let setting = Setting {
            batch: 32,
            length: Length::Steps(self.steps),
            schedule: "warmup:100+linear",
            seeds: self.on.options.seeds,
            from: &[],
        };
        let rows = tuned(&task, variants, &setting, By::Loss, &self.on.options.host())?;
        let loss = |r: &Row| moments(&r.test_loss).0;
        let marks = vec![
            (
                format!(
                    "MKOR on AdamW ends no higher than AdamW ({:.4} against {:.4})",
                    loss(&rows[1]),
                    loss(&rows[0])
                ),
                loss(&rows[1]) <= loss(&rows[0]),
            ),
            (
                format!(
                    "MKOR on LAMB ends no higher than LAMB ({:.4} against {:.4})",
                    loss(&rows[4]),
                    loss(&rows[3])
                ),
                loss(&rows[4]) <= loss(&rows[3]),
            ),
        ];
        // Where a preconditioned run first passes the loss that its backend ends with.
        let passes = |row: &Row, backend: &Row| -> String {
            let level = loss(backend);
            match reached(row, |e| e.test_loss <= level) {
                None => format!("{}: not in every run.", row.label),
                Some([_, steps, time]) => format!(
                    "{}: after {steps:.0} steps, {time:.1} s; {} takes {:.1} s.",
                    row.label,
                    backend.label,
                    moments(&backend.seconds).0
                ),
            }
        };
        let passed =
            [(1, 0), (2, 0), (4, 3)].map(|(row, backend)| passes(&rows[row], &rows[backend])).join(" ");
        let text = format!(
            "{arch}, {} steps of 32 windows, warm-up and linear decay. At the loss that the backend alone ends with, looked at after each epoch: {passed}",
            self.steps
        );
        Ok(self.on.finding("transformer", "Character transformer", text, &rows, By::Loss, marks))
    }

    fn robustness(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let rates = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
        let kinds: [(&str, &'static str, Value); 4] = [
            ("SGD", "sgd", json!({})),
            ("SGD, warm-up", "sgd", json!({ "schedule": "warmup:30+linear" })),
            ("MKOR", "mkor", json!({})),
            ("MKOR, warm-up", "mkor", json!({ "schedule": "warmup:30+linear" })),
        ];
        let variants: Vec<Variant> = kinds
            .iter()
            .flat_map(|(label, method, fields)| {
                rates.map(|lr| {
                    let mut fields = fields.clone();
                    fields["lr"] = lr.into();
                    variant(*label, method, fields)
                })
            })
            .collect();
        let rows = compare(&task, &variants, &self.on.setting(Length::Epochs(4)), &self.on.options.host())?;
        let mut table = Table::new(["method", "0.003", "0.01", "0.03", "0.1", "0.3", "1"]);
        let mut figure = Figure::new("Robustness to the learning rate")
            .x_label("learning rate")
            .y_label("test accuracy %")
            .log_x();
        let mut data = Vec::new();
        for of in rows.chunks(rates.len()) {
            let means: Vec<f64> = of.iter().map(Row::mean).collect();
            let mut cells = vec![of[0].label.clone()];
            cells.extend(means.iter().map(|m| format!("{m:.2}")));
            table.row(cells);
            figure = figure.line(&of[0].label, &rates.into_iter().zip(means.clone()).collect::<Vec<_>>());
            data.push(json!({ "method": of[0].label, "rates": rates, "accuracy": means }));
        }
        let lost = |of: &[Row]| of.iter().filter(|r| r.mean() < 80.0).count();
        let (sgd, mkor) = (lost(&rows[..6]), lost(&rows[12..18]));
        Ok(Finding {
            name: "robustness",
            title: "Robustness to the learning rate".into(),
            text: format!(
                "{MLP}, 4 epochs, linear decay, with and without a warm-up of 30 steps; means of {} seeds, 0 where training diverged.",
                self.on.options.seeds
            ),
            table,
            figures: vec![(figure, "Test accuracy by learning rate.".into())],
            marks: vec![(
                format!("MKOR fails at no more rates than SGD ({mkor} against {sgd})"),
                mkor <= sgd,
            )],
            data: data.into(),
        })
    }

    /// How far second moments are from one vector, and what the factors look like.
    fn rank_one(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let sampling = Sampling { batch: 128, seed: Seed(1), ..Sampling::default() };
        let job = Job::plain(&task, None, sampling, 0)?;
        let mut training = job.training()?;
        let backend = Backend::Sgd(Sgd { lr: 0.05, ..Sgd::default() });
        let mkor = Mkor { backend, diagnostics: true, ..Mkor::default() };
        let mut state = mkor.init(&mut training, Seed(1))?;
        let mut last = Vec::new();
        for t in 0..200 {
            training.begin_step(t)?;
            let progress = mkor.step(&mut training, &mut state)?;
            training.end_step()?;
            if progress.metrics.iter().any(|(name, _)| name.contains('/')) {
                last = progress.metrics;
            }
        }
        let mut table = Table::new([
            "layer",
            "side",
            "smallest eigenvalue of J⁻¹",
            "largest",
            "‖C − vvᵀ‖/‖C‖ of the mean",
            "of the best v",
        ]);
        let mut marks = Vec::new();
        let mut data = Vec::new();
        for block in training_blocks(&job) {
            for side in ["left", "right"] {
                let of = |what: &str| {
                    let name = format!("{side}_{what}/{block}");
                    last.iter().find(|(n, _)| *n == name).map_or(f64::NAN, |m| m.1)
                };
                let values = ["min", "max", "rank1_mean", "rank1_best"].map(of);
                let mut cells = vec![block.clone(), side.into()];
                cells.extend(values.iter().map(|x| format!("{x:.4}")));
                table.row(cells);
                marks.push((
                    format!("{block}, {side}: the mean is not nearer than the best vector"),
                    values[2] >= values[3] - 1e-6,
                ));
                data.push(json!({ "layer": block, "side": side, "values": values }));
            }
        }
        Ok(Finding {
            name: "rank-one",
            title: "How well one vector stands for the second moments".into(),
            text: format!(
                "{MLP} after 200 steps of MKOR: extreme eigenvalues of the factors' inverses, and the relative error of the rank-1 approximation of a mini-batch's second moments."
            ),
            table,
            figures: Vec::new(),
            marks: marks.into_iter().filter(|m| !m.1).collect(),
            data: data.into(),
        })
    }
}

fn training_blocks(job: &Job<'_>) -> Vec<String> {
    let blocks = job.net().layout().blocks().iter();
    blocks.filter(|b| b.name.ends_with(".weight")).map(|b| b.name.clone()).collect()
}

fn accuracy(e: &Epoch) -> f64 {
    100.0 * e.test_accuracy.unwrap_or(f64::NAN)
}

/// Mean epoch, step and time at which a test first finds what is wanted; none if not for every seed.
fn reached(row: &Row, wanted: impl Fn(&Epoch) -> bool) -> Option<[f64; 3]> {
    let first = |c: &Vec<Epoch>| {
        let (i, e) = c.iter().enumerate().find(|(_, e)| wanted(e))?;
        Some([i as f64 + 1.0, e.step as f64, e.seconds])
    };
    let all: Vec<[f64; 3]> = row.curves.iter().map(first).collect::<Option<_>>()?;
    Some([0, 1, 2].map(|k| moments(&all.iter().map(|r| r[k]).collect::<Vec<_>>()).0))
}

/// Epochs until the test accuracy is reached, and the time.
fn epochs_to(row: &Row, percent: f64) -> String {
    let reached = reached(row, |e| accuracy(e) >= percent);
    reached.map_or_else(|| "never".into(), |[epochs, _, time]| format!("{epochs:.1} ({time:.2} s)"))
}

/// MKOR in its variants and its rivals, SGD first.
fn rivals() -> Vec<Variant> {
    let mkor = |rule: &str| variant(format!("MKOR, {rule}"), "mkor", json!({ "rule": rule }));
    vec![
        variant("SGD", "sgd", json!({})),
        mkor("released"),
        mkor("sherman-morrison"),
        mkor("printed"),
        variant("MKOR, power vectors", "mkor", json!({ "vector": "power" })),
        variant("MKOR on AdamW", "mkor", json!({ "backend": "adamw" })),
        variant("K-FAC", "kfac", json!({ "inv_freq": 10, "rescale": "joint", "kl_clip": null })),
        variant("Eva", "eva", json!({})),
        variant("Adam", "adam", json!({})),
        variant("AdamW", "adamw", json!({})),
        variant("LAMB", "lamb", json!({})),
        variant("Muon", "muon", json!({})),
    ]
}

/// Seconds per step of SGD and its rivals, in turn; with their names.
fn step_times(task: &Prepared, lr: f64) -> Result<(Vec<f64>, Vec<&'static str>)> {
    let sampling = Sampling { batch: 128, seed: Seed(1), ..Sampling::default() };
    let job = Job::plain(task, None, sampling, 0)?;
    let sgd = || Sgd { lr, ..Sgd::default() };
    let backend = || Backend::Sgd(sgd());
    // Whole periods of the updates; the first round is MKOR's warm-up.
    const STEPS: u64 = 10;
    let mut methods: Vec<(Box<dyn Timed + '_>, u64)> = vec![
        (stepper(sgd(), job.training()?)?, STEPS),
        (stepper(Mkor { backend: backend(), ..Mkor::default() }, job.training()?)?, STEPS),
        (stepper(Mkor { backend: backend(), form: Form::Dense, ..Mkor::default() }, job.training()?)?, STEPS),
        (stepper(Kfac { backend: backend(), inv_freq: 10, ..Kfac::default() }, job.training()?)?, STEPS),
        (stepper(Muon::default(), job.training()?)?, STEPS),
    ];
    let names = vec!["SGD", "MKOR", "MKOR, dense factors", "K-FAC, f = 10", "Muon"];
    Ok((in_turn(&mut methods)?, names))
}

/// Means over the seeds of a quantity by epoch, a line per row that did not diverge.
fn by_epoch(rows: &[Row], title: &str, y: &str, of: impl Fn(&Epoch) -> f64 + Copy) -> Figure {
    let figure = Figure::new(title).x_label("epoch").y_label(y);
    rows.iter().fold(figure, |figure, row| {
        let epochs = row.curves.iter().map(Vec::len).min().unwrap_or(0);
        let points: Vec<_> = (1..=epochs).map(|e| (e as f64, moments(&row.after(e, of)).0)).collect();
        figure.line(&row.label, &points)
    })
}

/// Times of updating, inverting and applying a factor, by its size.
fn scaling() -> Result<Finding> {
    const SIZES: [usize; 5] = [256, 512, 1024, 2048, 4096];
    /// Beyond this a decomposition takes too long for a look.
    const DECOMPOSED: usize = 1024;
    let vector = |d: usize, k: usize| -> Vec<f64> {
        (0..d).map(|i| ((i * 7 + k * 13) as f64).sin() / (d as f64).sqrt()).collect()
    };
    let columns = [
        "dense update",
        "low-rank update",
        "dense product",
        "low-rank product",
        "Cholesky inverse",
        "eigen-decomposition",
    ];
    let mut table = Table::new(std::iter::once("d").chain(columns));
    let mut points = vec![Vec::new(); columns.len()];
    let recursion = Recursion::default();
    for d in SIZES {
        let factor = |form| KroneckerFactor::<f32>::identity(d, Rule::Released, form, Storage::Full);
        let (mut dense, mut low) = (factor(Form::Dense), factor(Form::LowRank(40)));
        (0..40).for_each(|k| {
            low.update(&vector(d, k), &recursion);
        });
        let v = vector(d, 41);
        let update = |f: &mut KroneckerFactor<f32>| {
            seconds(|| {
                f.update(&v, &recursion);
                Ok(())
            })
        };
        let times = [update(&mut dense)?, update(&mut low)?];
        let gradient: Vec<f32> = (0..d * d).map(|i| (i as f32 * 0.37).sin()).collect();
        let apply = |f: &KroneckerFactor<f32>| {
            let mut g = gradient.clone();
            seconds(|| {
                f.apply_right(&mut g, d);
                f.apply_left(&mut g, d);
                Ok(())
            })
        };
        let low_product = apply(&low)?;
        let mut all = vec![Some(times[0]), Some(times[1]), None, Some(low_product), None, None];
        if d <= 2048 {
            all[2] = Some(apply(&dense)?);
        }
        if d <= DECOMPOSED {
            let matrix = dense.matrix();
            all[4] = Some(seconds(|| Ok(spectra::cholesky_inverse(&matrix, d)?))?);
            all[5] = Some(seconds(|| Ok(spectra::eigen(&matrix, d)?))?);
        }
        let mut cells = vec![d.to_string()];
        cells.extend(all.iter().map(|t| t.map_or_else(|| "–".into(), |t| format!("{:.2} ms", 1e3 * t))));
        table.row(cells);
        points.iter_mut().zip(all).for_each(|(p, t)| p.extend(t.map(|t| (d as f64, t))));
    }
    let mut ranks = Vec::new();
    let d = 1024;
    for rank in [20, 40, 80, 160] {
        let mut factor =
            KroneckerFactor::<f32>::identity(d, Rule::Released, Form::LowRank(rank), Storage::Full);
        (0..rank).for_each(|k| {
            factor.update(&vector(d, k), &recursion);
        });
        let mut g: Vec<f32> = (0..d * d).map(|i| (i as f32 * 0.37).sin()).collect();
        let time = seconds(|| {
            factor.apply_right(&mut g, d);
            Ok(())
        })?;
        ranks.push((rank as f64, time));
    }
    // Small factors lie in the cache and cost calls more than numbers.
    let fit: Vec<f64> = points.iter().map(|p| exponent(&p[1..])).collect();
    let mut cells = vec!["exponent".to_string()];
    cells.extend(fit.iter().map(|k| format!("{k:.2}")));
    table.row(cells);
    let by_rank = exponent(&ranks);
    let at =
        |column: usize, d: usize| points[column].iter().find(|p| p.0 == d as f64).map_or(f64::NAN, |p| p.1);
    let gain = at(4, DECOMPOSED) / at(0, DECOMPOSED);
    let marks = vec![
        (format!("a dense update grows like d^(2 ± 0.2) ({:.2})", fit[0]), (fit[0] - 2.0).abs() <= 0.2),
        (format!("a low-rank product grows like its rank ({by_rank:.2})"), (by_rank - 1.0).abs() <= 0.25),
        (
            format!("at d = {DECOMPOSED} an update is faster than a Cholesky inverse (by {gain:.0}×)"),
            gain > 1.0,
        ),
    ];
    let figure = columns.iter().zip(&points).fold(
        Figure::new("Time by size of the factor").x_label("d").y_label("seconds").log_x().log_y(),
        |figure, (name, points)| figure.line(name, points),
    );
    Ok(Finding {
        name: "scaling",
        title: "Scaling with the size of a factor".into(),
        text: "Single precision (decompositions double); products: both sides of a d × d gradient; low rank: 40 pairs. Exponents are fitted from d = 512 on.".into(),
        table,
        figures: vec![(figure, String::new())],
        marks,
        data: json!({ "columns": columns, "points": points, "exponents": fit, "exponent_of_rank": by_rank }),
    })
}
