//! M-FAC's claims at small scale (Frantar et al., arXiv:2107.03356), one table each.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use thalweg::core::{Seed, normal};
use thalweg::mfac::baselines::Recursion;
use thalweg::mfac::fisher::FisherOptions as Fisher;
use thalweg::mfac::gradients::{Gradients, Storage};
use thalweg::mfac::{Compensation, Saliency, StaticFisher, WindowFisher};
use thalweg::net::Model;
use thalweg::plot::Table;
use thalweg::tasks::Finding;
use thalweg::tasks::prune::{Job as PruneJob, Row as Pruned, Settings, curves, table};
use thalweg::tasks::source::Prepared;
use thalweg::train::{Job, Sampling};

use crate::claim::{Entry, publish};
use crate::measure::{exponent, seconds, seconds_after};
use crate::sources::{MLP, Sources, named};
use thalweg::train::compare::{By, Length, Row, Setting, best, moments, spread, trainer, tuned, variant};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims mfac training scaling --data digits
  thalweg-claims mfac one-shot --model resnet20-cifar10.safetensors --cifar data_batch_1.bin --cifar-test test_batch.bin

Without these options the data are looked for in the folder THALWEG_DATA (default ../shared/data).")]
pub struct Claims {
    /// training, fine-tuning, one-shot, gradual, scaling, bandwidth, all
    #[arg(required = true)]
    which: Vec<String>,
    /// The ResNet-20 to prune in one shot
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// CIFAR-10 test images (binary)
    #[arg(long, value_name = "FILE")]
    cifar_test: Option<PathBuf>,
    #[command(flatten)]
    on: Sources,
}

const ALL: &[Entry<Claims>] = &[
    ("training", Claims::training),
    ("fine-tuning", Claims::fine_tuning),
    ("one-shot", Claims::one_shot),
    ("gradual", Claims::gradual),
    ("scaling", |_| scaling()),
    ("bandwidth", |_| bandwidth()),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.on.start()?;
        publish("M-FAC's claims", &self.on.options, &self, &self.which, ALL)
    }

    fn training(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let mfac = |m: usize, damping: f64| {
            let label = format!("M-FAC, m = {m}, λ = {damping:e}");
            // The rate of the paper's formula, 1/m, is where its grid is centred.
            variant(label, "mfac", json!({ "window": m, "damping": damping, "lr": 1.0 / m as f64 }))
        };
        let variants = vec![
            variant("SGD", "sgd", json!({})),
            variant("Adam", "adam", json!({})),
            variant("AdamW", "adamw", json!({})),
            variant("Muon", "muon", json!({})),
            mfac(16, 1e-3),
            mfac(64, 1e-5),
            mfac(64, 1e-3),
            mfac(64, 1e-2),
            mfac(256, 1e-5),
            mfac(256, 1e-3),
        ];
        let setting = self.on.setting(Length::Epochs(4));
        let rows = tuned(&task, variants, &setting, By::Accuracy, &self.on.options.host())?;
        let of = |label: &str| best(&rows, label);
        let windows = [16, 64, 256].map(|m| of(&format!("M-FAC, m = {m}, λ = 1e-3")));
        let (sgd, m64, m256) = (of("SGD").mean(), windows[1].mean(), windows[2].mean());
        let losses = windows.map(|row| moments(&row.test_loss).0);
        let muon = of("Muon").mean();
        let marks = vec![
            (format!("m = 64 reaches SGD − 0.1 points ({:+.2})", m64 - sgd), m64 >= sgd - 0.1),
            (format!("m = 256 reaches SGD + 0.2 points ({:+.2})", m256 - sgd), m256 >= sgd + 0.2),
            (
                format!("a longer window is better: test loss {losses:.3?} at m = 16, 64, 256"),
                losses.is_sorted_by(|a, b| a > b),
            ),
            (format!("m = 256 does at least as well as Muon ({m256:.2} against {muon:.2})"), m256 >= muon),
        ];
        let text = format!(
            "{MLP}, {} images, batch 128, 4 epochs, linear decay, marks at λ = 1e-3.",
            task.train.len()
        );
        Ok(self.on.finding("training", "Training", text, &rows, By::Accuracy, marks))
    }

    /// A character transformer trained on one half of a text goes on with the other half.
    fn fine_tuning(&self) -> Result<Finding> {
        let arch = "char-transformer:2,64,4,64";
        let (first, second) = self.on.halves(arch)?;
        let host = self.on.options.host();
        let start = |seed| {
            let sampling = Sampling { batch: 32, seed: Seed(seed), ..Sampling::default() };
            let job = Job::plain(&first, None, sampling, 600)?;
            let adamw = json!({ "lr": 3e-3, "schedule": "warmup:100+linear:600" });
            Ok(job.try_out(&trainer("adamw", adamw)?, &host)?.model)
        };
        let from = (1..=self.on.options.seeds).map(start).collect::<Result<Vec<Model>>>()?;
        let mfac = |damping: f64| {
            let label = format!("M-FAC, m = 256, λ = {damping:e}");
            variant(label, "mfac", json!({ "window": 256, "damping": damping, "lr": 1.0 / 256.0 }))
        };
        let variants = vec![
            variant("Adam", "adam", json!({})),
            variant("AdamW", "adamw", json!({})),
            mfac(1e-6),
            mfac(1e-3),
        ];
        let setting = Setting {
            batch: 32,
            length: Length::Steps(300),
            schedule: "linear",
            seeds: self.on.options.seeds,
            from: &from,
        };
        let rows = tuned(&second, variants, &setting, By::Loss, &host)?;
        let loss = |row: &Row| moments(&row.test_loss).0;
        let (adam, mfac) = (loss(&rows[0]).min(loss(&rows[1])), loss(&rows[2]).min(loss(&rows[3])));
        let marks = vec![(
            format!("M-FAC at its better λ ends no higher than Adam or AdamW ({mfac:.4} against {adam:.4})"),
            mfac <= adam,
        )];
        let text = format!(
            "{arch}: 600 steps of AdamW on the first half of a text, then 300 steps on the second half, 32 windows each, linear decay."
        );
        Ok(self.on.finding("fine-tuning", "Fine-tuning a transformer", text, &rows, By::Loss, marks))
    }

    fn one_shot(&self) -> Result<Finding> {
        let common = &self.on.options.host();
        const CURVE: [f64; 4] = [0.5, 0.6, 0.7, 0.8];
        let common_to_all = Settings {
            model: Some(named(&self.model, "mfac/resnet20-cifar10.safetensors", "--model")?),
            arch: Some("resnet20:projection".into()),
            normalize: "mean=0.5,std=0.5".parse().ok(),
            data: Some(self.on.cifar()?.display().to_string()),
            test: Some(named(&self.cifar_test, "vision/cifar10-devtest-400.bin.gz", "--cifar-test")?),
            sparsity: Some(CURVE.to_vec()),
            seed: Some(1),
            ..Settings::default()
        };
        let settings = |method, recompute, compensation, sparsity: &[f64]| Settings {
            method: Some(method),
            recompute: Some(recompute),
            compensation: Some(compensation),
            sparsity: Some(sparsity.to_vec()),
            ..common_to_all.clone()
        };
        let (single, joint) = (Compensation::Single, Compensation::Joint);
        let asked = [
            ("magnitude", settings(Saliency::Magnitude, 1, joint, &CURVE)),
            ("diagonal Fisher", settings(Saliency::DiagFisher, 1, joint, &CURVE)),
            ("M-FAC, single, R = 1", settings(Saliency::Mfac, 1, single, &CURVE)),
            ("M-FAC, joint, R = 1", settings(Saliency::Mfac, 1, joint, &CURVE)),
            ("M-FAC, joint, R = 4", settings(Saliency::Mfac, 4, joint, &CURVE[1..])),
            ("M-FAC, single, R = 4", settings(Saliency::Mfac, 4, single, &CURVE[1..])),
            (
                "M-FAC, single, R = 1, B = 2048",
                Settings { block: Some(2048), ..settings(Saliency::Mfac, 1, single, &CURVE[1..]) },
            ),
        ];
        let clock = std::time::Instant::now();
        let (mut rows, mut curve_seconds): (Vec<Pruned>, f64) = (Vec::new(), 0.0);
        let job = PruneJob::load(&common_to_all, common)?;
        let (dense, mut source) = (job.dense()?, job.source()?);
        for (i, (label, settings)) in asked.iter().enumerate() {
            let found = job.with(settings)?.rows(&mut source, None)?;
            rows.extend(found.into_iter().map(|r| Pruned { method: (*label).into(), ..r }));
            if i == 4 {
                curve_seconds = clock.elapsed().as_secs_f64();
            }
        }
        let of =
            |method: &str, s: f64| rows.iter().find(|r| r.method == method && (r.sparsity - s).abs() < 1e-3);
        let accuracy =
            |method: &str, s: f64| of(method, s).and_then(|r| r.accuracy).map_or(f64::NAN, |a| 100.0 * a);
        let gain = |method: &str, s: f64| accuracy(method, s) - accuracy("magnitude", s);
        let (g60, g70) = (gain("M-FAC, joint, R = 1", 0.6), gain("M-FAC, joint, R = 1", 0.7));
        let g80 = gain("M-FAC, joint, R = 4", 0.8);
        let increase = |method: &str| of(method, 0.6).map_or(f64::NAN, |r| r.actual_increase);
        let (j, s) = (increase("M-FAC, joint, R = 1"), increase("M-FAC, single, R = 1"));
        let marks = vec![
            (
                format!("R = 1 beats magnitude by ≥ 2 points at 60 % and 70 % (by {g60:.1}, {g70:.1})"),
                g60 >= 2.0 && g70 >= 2.0,
            ),
            (format!("R = 4 beats magnitude by ≥ 15 points at 80 % (by {g80:.1})"), g80 >= 15.0),
            (
                format!("joint raises the training loss at 60 % no more than single ({j:.4} against {s:.4})"),
                j <= s,
            ),
            (
                format!("the curve (first five methods) takes ≤ 180 s ({curve_seconds:.0} s)"),
                curve_seconds <= 180.0,
            ),
        ];
        Ok(Finding {
            name: "one-shot",
            title: "One-shot pruning".into(),
            text: "The authors' ResNet-20 for CIFAR-10; 64 gradients of 32 training images, λ = 1e-5, blocks of 128 but where noted, no fine-tuning, running statistics as they were.".into(),
            table: table(&rows, &dense),
            figures: vec![(curves("Accuracy after one-shot pruning", "share of right classes", &rows, |r| r.accuracy), "On the test images.".into())],
            marks,
            data: serde_json::to_value(&rows)?,
        })
    }

    fn gradual(&self) -> Result<Finding> {
        let (common, seeds) = (&self.on.options.host(), self.on.options.seeds);
        let task = self.on.digits(MLP, 50_000)?;
        let stages = [0.5, 0.75, 0.875, 0.95, 0.98];
        let settings = |seed| Settings {
            compare: Some(vec![Saliency::Mfac, Saliency::Magnitude]),
            gradual: Some(stages.to_vec()),
            every: Some(1),
            recompute: Some(4),
            finetune_lr: Some(vec![0.01]),
            seed: Some(seed),
            ..Settings::default()
        };
        let mut table = Table::new(["method", "dense", "50 %", "75 %", "87.5 %", "95 %", "98 %", "seconds"]);
        let mut by_method = [vec![Vec::new(); stages.len()], vec![Vec::new(); stages.len()]];
        let (mut dense, mut time) = (Vec::new(), [Vec::new(), Vec::new()]);
        for seed in 1..=seeds {
            let sampling = Sampling { batch: 128, seed: Seed(seed), ..Sampling::default() };
            let mut job = Job::plain(&task, None, sampling, 0)?;
            let epoch = job.training()?.steps_per_epoch();
            job.steps = 4 * epoch;
            let sgd = json!({ "lr": 0.1, "schedule": format!("linear:{}", job.steps) });
            let model: Model = job.try_out(&trainer("sgd", sgd)?, common)?.model;
            let settings = settings(seed);
            let Prepared { description, train, test, .. } = &task;
            let prune =
                PruneJob::new(&settings, common, description.clone(), model, train.clone(), test.clone())?;
            dense.push(100.0 * prune.dense()?.accuracy.unwrap_or(f64::NAN));
            for (m, rows) in prune.rows(&mut prune.source()?, None)?.chunks(stages.len()).enumerate() {
                for (stage, row) in rows.iter().enumerate() {
                    by_method[m][stage].push(100.0 * row.accuracy.unwrap_or(f64::NAN));
                }
                time[m].push(rows.iter().map(|r| r.seconds).sum());
            }
        }
        for (name, (stages, time)) in ["M-FAC", "magnitude"].into_iter().zip(by_method.iter().zip(&time)) {
            let mut cells = vec![name.to_string(), spread(&dense, 2)];
            cells.extend(stages.iter().map(|a| spread(a, 2)));
            cells.push(spread(time, 1));
            table.row(cells);
        }
        let gain = |stage: usize| moments(&by_method[0][stage]).0 - moments(&by_method[1][stage]).0;
        let start = moments(&dense).0;
        let marks = vec![
            (format!("the dense model reaches 97 % ({start:.2})"), start >= 97.0),
            (format!("M-FAC is no worse at 95 % ({:+.2} points)", gain(3)), gain(3) >= 0.0),
            (format!("M-FAC is better at 98 % ({:+.2} points)", gain(4)), gain(4) > 0.0),
        ];
        Ok(Finding {
            name: "gradual",
            title: "Gradual pruning".into(),
            text: format!(
                "{MLP} trained on {} images, then pruned in steps with an epoch of SGD (rate 0.01, momentum 0.9) after each; 4 sets of gradients per step. Test accuracy in percent, mean ± standard deviation over {seeds} seeds.",
                task.train.len()
            ),
            table,
            figures: Vec::new(),
            marks,
            data: json!({ "sparsity": stages, "mfac": by_method[0], "magnitude": by_method[1], "dense": dense }),
        })
    }
}

/// Random gradients, `m` rows of `d`.
fn random(m: usize, d: usize) -> Vec<f32> {
    let mut all = vec![0.0; m * d];
    all.par_chunks_mut(d)
        .enumerate()
        .for_each(|(k, row)| normal(&mut Seed(1).stream("gradients", k as u64), row));
    all
}

/// Times of the products by number and length of the gradients.
fn scaling() -> Result<Finding> {
    let columns =
        ["factor", "with elements", "product", "element", "slide", "push-through", "published recursion"];
    let mut table = Table::new(["m", "d"].into_iter().chain(columns));
    let mut points = Vec::new();
    let mut measure = |m: usize, d: usize, recursion: bool| -> Result<()> {
        let flat = random(m, d);
        let options = Fisher { damping: 1e-3, block: 0 };
        let gradients = || Ok(Gradients::from_flat(flat.clone(), m)?);
        let factor = seconds_after(gradients, |g| Ok(StaticFisher::new(g, options)?))?;
        let elements = seconds_after(gradients, |g| Ok(StaticFisher::new(g, options)?.with_elements()?))?;
        let fisher = StaticFisher::new(gradients()?, options)?.with_elements()?;
        let x = &flat[..d];
        let product = seconds(|| Ok(fisher.ihvp(x)?))?;
        let element = seconds(|| Ok(fisher.element(d / 2, d / 3)?))?;
        drop(fisher);
        let mut window = WindowFisher::new::<f32>(m, d, 1e-3, Storage::Full)?;
        flat.chunks(d).try_for_each(|g| window.insert(g))?;
        let mut k = 0;
        let slide = seconds(|| {
            k = (k + 1) % m;
            Ok(window.insert(&flat[k * d..(k + 1) * d])?)
        })?;
        let mut u = vec![0f32; d];
        let push = seconds(|| Ok(window.precondition_newest(&mut u)?))?;
        let published = recursion
            .then(|| {
                let rows: Vec<&[f32]> = flat.chunks(d).collect();
                seconds(|| {
                    let _ = Recursion::<f32>::new(&rows, 1e-3);
                    Ok(())
                })
            })
            .transpose()?;
        let ours = [factor, elements, product, element, slide, push].map(Some);
        let times: Vec<Option<f64>> = ours.into_iter().chain([published]).collect();
        let mut cells = vec![m.to_string(), d.to_string()];
        cells.extend(times.iter().map(|t| t.map_or_else(|| "–".into(), |t| format!("{:.3} ms", 1e3 * t))));
        table.row(cells);
        points.push((m, d, times));
        Ok(())
    };
    for m in [32, 64, 128, 256, 512] {
        measure(m, 100_000, m <= 256)?;
    }
    for d in [10_000, 1_000_000] {
        measure(64, d, true)?;
    }
    let by = |column: usize, chosen: &dyn Fn(usize, usize) -> Option<usize>| {
        let of = points.iter().filter_map(|(m, d, t)| Some((chosen(*m, *d)? as f64, t[column]?)));
        exponent(&of.collect::<Vec<_>>())
    };
    let in_m = |column: usize| by(column, &|m, d| (d == 100_000 && m >= 64).then_some(m));
    let in_d = |column: usize| by(column, &|m, d| (m == 64).then_some(d));
    let near = |k: f64, expected: f64| (k - expected).abs() <= 0.15;
    let [(fm, fd), (em, ed), (qm, qd), (sm, sd)] = [0, 1, 2, 4].map(|column| (in_m(column), in_d(column)));
    let gain = points.iter().filter_map(|(_, _, t)| Some(t[6]? / t[1]?)).fold(f64::INFINITY, f64::min);
    let marks = vec![
        (format!("factoring grows like m² ({fm:.2}) and d ({fd:.2})"), near(fm, 2.0) && near(fd, 1.0)),
        (format!("with elements too: m² ({em:.2}) and d ({ed:.2})"), near(em, 2.0) && near(ed, 1.0)),
        (format!("a product grows like m ({qm:.2}) and d ({qd:.2})"), near(qm, 1.0) && near(qd, 1.0)),
        (
            format!("a slide grows like m ({sm:.2}) and d ({sd:.2}) where md outweighs m²"),
            near(sm, 1.0) && near(sd, 1.0),
        ),
        (
            format!("both together are faster than the published recursion everywhere (≥ {gain:.1}×)"),
            gain > 1.0,
        ),
    ];
    Ok(Finding {
        name: "scaling",
        title: "Scaling of the products".into(),
        text: "Random gradients in single precision, λ = 1e-3, one block; exponents in m are fitted from m = 64 at d = 100000, in d at m = 64.".into(),
        table,
        figures: Vec::new(),
        marks,
        data: json!(points.iter().map(|(m, d, t)| json!({ "m": m, "d": d, "seconds": t })).collect::<Vec<_>>()),
    })
}

/// The optimiser's extra work beside the time to stream its window from memory twice.
fn bandwidth() -> Result<Finding> {
    let mut table =
        Table::new(["m", "d", "slide and step", "two readings of the window", "a copy of it", "ratio"]);
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    for (m, d) in [(64, 235_146), (256, 235_146), (64, 1_000_000)] {
        let flat = random(m, d);
        let mut window = WindowFisher::new::<f32>(m, d, 1e-3, Storage::Full)?;
        flat.chunks(d).try_for_each(|g| window.insert(g))?;
        let (mut u, mut k) = (vec![0f32; d], 0);
        let step = seconds(|| {
            k = (k + 1) % m;
            window.insert(&flat[k * d..(k + 1) * d])?;
            Ok(window.precondition_newest(&mut u)?)
        })?;
        drop(window);
        // A copy moves as many bytes as two readings, but half of them out, which some machines do at the
        // same time.
        let mut copy = vec![0f32; m * d];
        let pieces = 1 << 16;
        let copied = seconds(|| {
            let pairs = copy.par_chunks_mut(pieces).zip(flat.par_chunks(pieces));
            pairs.for_each(|(to, from)| to.copy_from_slice(from));
            Ok(())
        })?;
        let read = 2.0 * seconds(|| Ok(flat.par_chunks(pieces).map(sum).sum::<f32>()))?;
        let ratio = step / read;
        let milliseconds = |t: f64| format!("{:.2} ms", 1e3 * t);
        let times = [step, read, copied].map(milliseconds);
        table.row([m.to_string(), d.to_string()].into_iter().chain(times).chain([format!("{ratio:.2}")]));
        marks.push((
            format!("m = {m}, d = {d}: ≤ 1.5 of reading the window twice ({ratio:.2})"),
            ratio <= 1.5,
        ));
        data.push(json!({ "m": m, "d": d, "step": step, "read_twice": read, "copy": copied }));
    }
    Ok(Finding {
        name: "bandwidth",
        title: "The optimiser beside memory".into(),
        text: "Time to take a gradient into the window and to compute the step, which reads the window twice, beside two sums over all its numbers and a copy of it on the same threads.".into(),
        table,
        figures: Vec::new(),
        marks,
        data: data.into(),
    })
}

/// A sum in so many parts that memory alone limits it.
fn sum(x: &[f32]) -> f32 {
    let mut parts = [0.0; 32];
    for x in x.as_chunks::<32>().0 {
        parts.iter_mut().zip(x).for_each(|(part, x)| *part += x);
    }
    parts.iter().sum()
}
