//! AdaHessian's claims at small scale (Yao et al., arXiv:2006.00719), one table each.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use thalweg::plot::{Figure, Table};

use crate::claim::{Entry, publish};
use crate::cost;
use crate::sources::{MLP, Sources};
use thalweg::train::compare::{Length, Row, Setting, Variant, best, compare, moments, variant};

use thalweg::minimize::tour::trajectories;
use thalweg::tasks::Finding;
use thalweg::train::tour::diagonal;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims adahessian diagonal cost --data digits
  thalweg-claims adahessian all --mnist train-images-idx3-ubyte.gz --cifar data_batch_1.bin --text book.txt

Without --mnist, --cifar and --text, the data are looked for in the folder THALWEG_DATA
(default ../shared/data).")]
pub struct Claims {
    /// averaging, convolutions, cost, robustness, transformer, trajectories, diagonal, all
    #[arg(required = true)]
    which: Vec<String>,
    /// Steps of the transformer
    #[arg(long, default_value_t = 1500)]
    steps: u64,
    #[command(flatten)]
    on: Sources,
}

const ALL: &[Entry<Claims>] = &[
    ("averaging", Claims::averaging),
    ("convolutions", Claims::convolutions),
    ("cost", Claims::cost),
    ("robustness", Claims::robustness),
    ("transformer", Claims::transformer),
    ("trajectories", |claims| Ok(trajectories(&claims.on.options.host())?)),
    ("diagonal", |claims| Ok(diagonal(&claims.on.options.host())?)),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.on.start()?;
        publish("AdaHessian's claims", &self.on.options, &self, &self.which, ALL)
    }

    fn averaging(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let mut variants = first_order(&[0.03, 0.1, 0.3], &[1e-3, 3e-3, 6e-3]);
        variants.push(variant("AdamW", "adamw", json!({ "lr": 3e-3 })));
        variants.push(variant("Muon", "muon", json!({ "lr": 0.01 })));
        for lr in [0.015, 0.05, 0.1, 0.15] {
            variants.push(variant(
                "AdaHessian, no averaging",
                "adahessian",
                json!({ "lr": lr, "average": "none" }),
            ));
            variants.push(variant(
                "AdaHessian, signed rows",
                "adahessian",
                json!({ "lr": lr, "average": "signed" }),
            ));
        }
        variants.push(variant(
            "AdaHessian, abs, chunks of 32",
            "adahessian",
            json!({ "lr": 0.15, "blocks": { "linear": 32 } }),
        ));
        for lr in [0.05, 0.1, 0.15] {
            variants.push(variant("AdaHessian, abs rows", "adahessian", json!({ "lr": lr })));
        }
        // The same again with a warm-up, which tames the first steps in another way.
        for (label, method, fields) in [
            ("Adam", "adam", json!({ "lr": 3e-3 })),
            ("Adam", "adam", json!({ "lr": 6e-3 })),
            ("AdaHessian, no averaging", "adahessian", json!({ "lr": 0.05, "average": "none" })),
            ("AdaHessian, no averaging", "adahessian", json!({ "lr": 0.15, "average": "none" })),
            ("AdaHessian, abs rows", "adahessian", json!({ "lr": 0.15 })),
        ] {
            variants.push(warm(variant(label, method, fields)));
        }
        let rows = compare(&task, &variants, &self.on.setting(Length::Epochs(4)), &self.on.options.host())?;
        const DEFAULT: f64 = 0.15;
        let mut marks = Vec::new();
        for (suffix, how) in [("", "without"), (WARM, "with")] {
            let best = |label: &str| best(&rows, &format!("{label}{suffix}"));
            let name = format!("AdaHessian, abs rows{suffix}");
            let default = rows.iter().find(|r| r.label == name && r.lr == Some(DEFAULT));
            let tuned = Some(best("AdaHessian, abs rows")).filter(|r| r.lr != Some(DEFAULT));
            for ours in default.into_iter().chain(tuned) {
                let lr = ours.lr.unwrap_or(DEFAULT);
                for (other, least) in [("AdaHessian, no averaging", 0.5), ("Adam", 0.3)] {
                    let gain = ours.mean() - best(other).mean();
                    let what = format!(
                        "{how} warm-up, rows at the rate {lr} beat {other} at its best rate by ≥ {least} points (by {gain:.2})"
                    );
                    marks.push((what, gain >= least));
                }
            }
        }
        let signed = rows.iter().find(|r| r.label.contains("signed") && r.lr == Some(DEFAULT));
        let fails = signed.is_some_and(|s| s.mean() < best(&rows, "AdaHessian, abs rows").mean() - 1.0);
        marks.push(("the signed average fails at the rate 0.15, as expected".into(), fails));
        Ok(self.on.finding("averaging", "Block averaging helps", format!("{MLP}, {} images, batch 128, 4 epochs, linear decay; where marked, after a warm-up of 10 steps.", task.train.len()), &rows, marks))
    }

    fn convolutions(&self) -> Result<Finding> {
        let task = self.on.digits("lenet", 8_000)?;
        let ada = |label: &str, fields: Value| {
            let mut all = json!({ "lr": 0.15 });
            all.as_object_mut()
                .into_iter()
                .for_each(|a| a.extend(fields.as_object().cloned().unwrap_or_default()));
            variant(label, "adahessian", all)
        };
        let kernel_only = json!({ "linear": "none", "conv2d": "kernel" });
        let variants = [
            variant("SGD", "sgd", json!({ "lr": 0.05 })),
            variant("Adam", "adam", json!({ "lr": 3e-3 })),
            variant("Muon", "muon", json!({ "lr": 0.01 })),
            ada("AdaHessian, no averaging", json!({ "average": "none", "lr": 0.05 })),
            ada("AdaHessian, no averaging", json!({ "average": "none" })),
            ada("AdaHessian, kernels", json!({ "blocks": kernel_only, "lr": 0.05 })),
            ada("AdaHessian, kernels", json!({ "blocks": kernel_only })),
            ada("AdaHessian, kernels and rows", json!({})),
            ada("… power ½", json!({ "hessian_power": 0.5 })),
            warm(variant("Adam", "adam", json!({ "lr": 3e-3 }))),
            warm(ada("AdaHessian, no averaging", json!({ "average": "none" }))),
            warm(ada("AdaHessian, kernels and rows", json!({}))),
            // The first curvature rests on one probe; used for several steps it needs the warm-up.
            warm(ada("… curvature every 2 steps", json!({ "hessian_every": 2 }))),
            warm(ada("… curvature every 5 steps", json!({ "hessian_every": 5 }))),
            warm(ada("… 4 probes", json!({ "probes": 4 }))),
        ];
        let rows = compare(&task, &variants, &self.on.setting(Length::Epochs(3)), &self.on.options.host())?;
        let (ours, none, adam) = (
            best(&rows, "AdaHessian, kernels and rows"),
            best(&rows, "AdaHessian, no averaging"),
            best(&rows, "Adam"),
        );
        let gain = ours.mean() - none.mean();
        let marks = vec![
            (format!("kernels and rows beat no averaging by ≥ 3 points (by {gain:.2})"), gain >= 3.0),
            (
                format!(
                    "kernels and rows do at least as well as Adam ({:.2} against {:.2})",
                    ours.mean(),
                    adam.mean()
                ),
                ours.mean() >= adam.mean(),
            ),
        ];
        Ok(self.on.finding("convolutions", "Convolutions", format!("lenet, {} images, batch 128, 3 epochs, linear decay; where marked, after a warm-up of 10 steps.", task.train.len()), &rows, marks))
    }

    fn cost(&self) -> Result<Finding> {
        const EVERY: usize = 5;
        let mut costs = vec![cost::measure(&self.on.digits(MLP, 10_000)?, MLP, 128, EVERY as u64)?];
        if self.on.data.is_none() {
            costs.push(cost::measure(&self.on.digits("lenet", 8_000)?, "lenet", 128, EVERY as u64)?);
            costs.push(cost::measure(&self.on.images("resnet8")?, "resnet8", 128, EVERY as u64)?);
        }
        let mut table = Table::new(["model", "SGD ms/step", "N = 1", "N = 2", "N = 3", "N = 4", "N = 5"]);
        let mut marks = Vec::new();
        for c in &costs {
            let mut cells = vec![c.model.clone(), format!("{:.2}", 1e3 * c.sgd)];
            cells.extend((1..=EVERY).map(|n| format!("{:.2}×", c.ratio(n))));
            table.row(cells);
            marks.push((
                format!("{}: a fresh step costs ≤ 2.6 of SGD's ({:.2})", c.model, c.ratio(1)),
                c.ratio(1) <= 2.6,
            ));
            let close = (1..=EVERY).all(|n| (c.ratio(n) / c.expected(n) - 1.0).abs() <= 0.2);
            marks.push((format!("{}: every N steps costs 1 + (c − 1)/N within 20 %", c.model), close));
        }
        Ok(Finding {
            name: "cost",
            title: "Cost of a step".into(),
            text: "Time of an AdaHessian step over that of an SGD step, batch 128, curvature refreshed every N steps; medians of rounds in turn.".into(),
            table,
            figures: Vec::new(),
            marks,
            data: serde_json::to_value(&costs)?,
        })
    }

    fn robustness(&self) -> Result<Finding> {
        let task = self.on.digits(MLP, 10_000)?;
        let tuned = [
            ("AdaHessian, abs rows", "adahessian", 0.15),
            ("SGD", "sgd", 0.1),
            ("Adam", "adam", 3e-3),
            ("AdamW", "adamw", 3e-3),
        ];
        let factors = [0.25, 0.5, 1.0, 2.0, 4.0];
        let variants: Vec<Variant> = tuned
            .iter()
            .flat_map(|(label, method, lr)| factors.map(|f| variant(*label, method, json!({ "lr": lr * f }))))
            .collect();
        let rows = compare(&task, &variants, &self.on.setting(Length::Epochs(4)), &self.on.options.host())?;
        let mut table = Table::new(["method", "¼", "½", "1", "2", "4", "spread"]);
        let mut figure = Figure::new("Robustness to the learning rate")
            .x_label("factor on the tuned rate")
            .y_label("test accuracy %")
            .log_x();
        let mut spreads = Vec::new();
        for (label, of) in tuned.iter().map(|t| t.0).zip(rows.chunks(factors.len())) {
            let means: Vec<f64> = of.iter().map(Row::mean).collect();
            let spread =
                means.iter().fold(f64::MIN, |a, b| a.max(*b)) - means.iter().fold(f64::MAX, |a, b| a.min(*b));
            let mut cells = vec![label.to_string()];
            cells.extend(means.iter().map(|m| format!("{m:.2}")));
            cells.push(format!("{spread:.2}"));
            table.row(cells);
            let points: Vec<(f64, f64)> = factors.iter().copied().zip(means).collect();
            let band: Vec<(f64, f64, f64)> = factors
                .iter()
                .zip(of)
                .map(|(f, r)| {
                    let (mean, sd) = moments(&r.accuracy);
                    (*f, mean - sd, mean + sd)
                })
                .collect();
            figure = figure.band(label, &band).line(label, &points);
            spreads.push((label, spread));
        }
        let least = spreads.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |s| s.0);
        Ok(Finding {
            name: "robustness",
            title: "Robustness to the learning rate".into(),
            text: format!(
                "Test accuracy in percent, means of {} seeds, for factors on each method's tuned rate ({MLP}, 4 epochs). Least spread: {least}.",
                self.on.options.seeds
            ),
            table,
            figures: vec![(figure, "Band: one standard deviation over the seeds.".into())],
            marks: vec![("AdaHessian varies less than SGD".into(), spreads[0].1 < spreads[1].1)],
            data: serde_json::to_value(&rows)?,
        })
    }

    fn transformer(&self) -> Result<Finding> {
        let arch = "char-transformer:2,64,4,64";
        let task = self.on.text(arch)?;
        let ours = "AdaHessian, chunks of 32";
        let blocks = json!({ "linear": 32, "embedding": 32 });
        let chunks = |lr| json!({ "lr": lr, "betas": [0.9, 0.98], "blocks": blocks });
        let adamw = [1e-3, 3e-3, 1e-2].map(|lr| variant("AdamW", "adamw", json!({ "lr": lr })));
        let variants: Vec<_> = adamw
            .into_iter()
            .chain([0.15, 0.3, 0.6].map(|lr| variant(ours, "adahessian", chunks(lr))))
            .collect();
        let setting = Setting {
            batch: 32,
            length: Length::Steps(self.steps),
            schedule: "warmup:100+linear",
            seeds: self.on.options.seeds,
        };
        let rows = compare(&task, &variants, &setting, &self.on.options.host())?;
        let loss = |r: &Row| moments(&r.test_loss).0;
        let least = |label: &str| {
            let of = rows.iter().filter(|r| r.label == label);
            of.min_by(|a, b| loss(a).total_cmp(&loss(b))).context("no run")
        };
        let (ours, adamw) = (least(ours)?, least("AdamW")?);
        let ratio = moments(&ours.seconds).0 / moments(&adamw.seconds).0;
        let marks = vec![(
            format!(
                "test loss at equal steps no higher than AdamW's, each at its best of three rates ({:.4} against {:.4}; time ratio {ratio:.2})",
                loss(ours),
                loss(adamw)
            ),
            loss(ours) <= loss(adamw),
        )];
        Ok(self.on.finding(
            "transformer",
            "Character transformer",
            format!("{arch}, {} steps of 32 windows, warm-up and linear decay.", self.steps),
            &rows,
            marks,
        ))
    }
}

const WARM: &str = ", warm-up";

/// The variant after a warm-up of ten steps.
fn warm(mut v: Variant) -> Variant {
    v.label += WARM;
    v.fields["schedule"] = "warmup:10+linear".into();
    v
}

fn first_order(sgd: &[f64], adam: &[f64]) -> Vec<Variant> {
    let sgd = sgd.iter().map(|lr| variant("SGD", "sgd", json!({ "lr": lr })));
    sgd.chain(adam.iter().map(|lr| variant("Adam", "adam", json!({ "lr": lr })))).collect()
}
