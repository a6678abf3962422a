//! AdaHessian's claims at small scale (Yao et al., arXiv:2006.00719), one table each.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use thalweg::plot::{Figure, Table};

use crate::claim::{Entry, publish};
use crate::cost;
use crate::sources::{MLP, Sources};
use thalweg::train::compare::{By, Length, Row, Setting, Variant, best, compare, moments, tuned, variant};

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
        let mut variants = rivals();
        variants.extend([
            variant(NONE, "adahessian", json!({ "average": "none" })),
            variant(SIGNED, "adahessian", json!({ "average": "signed" })),
            variant("AdaHessian, chunks of 32", "adahessian", json!({ "blocks": { "linear": 32 } })),
            variant(ROWS, "adahessian", json!({})),
        ]);
        // The same again with a warm-up, which tames the first steps in another way.
        variants.extend([
            warm(variant("Adam", "adam", json!({}))),
            warm(variant(NONE, "adahessian", json!({ "average": "none" }))),
            warm(variant(ROWS, "adahessian", json!({}))),
        ]);
        let setting = self.on.setting(Length::Epochs(4));
        let rows = tuned(&task, variants, &setting, By::Accuracy, &self.on.options.host())?;
        let mean = |label: &str| best(&rows, label).mean();
        let mut marks = Vec::new();
        for (suffix, how) in [("", "without"), (WARM, "with")] {
            let ours = mean(&format!("{ROWS}{suffix}"));
            for (other, least) in [(NONE, 0.5), ("Adam", 0.3)] {
                let gain = ours - mean(&format!("{other}{suffix}"));
                let what = format!(
                    "{how} warm-up, rows beat {other} by ≥ {least} points, each at its best rate (by {gain:.2})"
                );
                marks.push((what, gain >= least));
            }
        }
        let (ours, muon) = (mean(ROWS), mean("Muon"));
        marks.push((format!("rows do at least as well as Muon ({ours:.2} against {muon:.2})"), ours >= muon));
        let signed = mean(SIGNED);
        marks.push((format!("the signed average is worse by ≥ 1 point ({signed:.2})"), signed < ours - 1.0));
        let text = format!(
            "{MLP}, {} images, batch 128, 4 epochs, linear decay; where marked, after a warm-up of 10 steps.",
            task.train.len()
        );
        Ok(self.on.finding("averaging", "Block averaging", text, &rows, By::Accuracy, marks))
    }

    fn convolutions(&self) -> Result<Finding> {
        let task = self.on.digits("lenet", 8_000)?;
        let kernel_only = json!({ "linear": "none", "conv2d": "kernel" });
        let mut variants = rivals();
        variants.extend([
            variant(NONE, "adahessian", json!({ "average": "none" })),
            variant("AdaHessian, kernels", "adahessian", json!({ "blocks": kernel_only })),
            variant(KERNELS, "adahessian", json!({})),
            variant("… power ½", "adahessian", json!({ "hessian_power": 0.5 })),
            warm(variant("Adam", "adam", json!({}))),
            warm(variant(NONE, "adahessian", json!({ "average": "none" }))),
            warm(variant(KERNELS, "adahessian", json!({}))),
            // The first curvature rests on one probe; used for several steps it needs the warm-up.
            warm(variant("… curvature every 5 steps", "adahessian", json!({ "hessian_every": 5 }))),
        ]);
        let setting = self.on.setting(Length::Epochs(3));
        let rows = tuned(&task, variants, &setting, By::Accuracy, &self.on.options.host())?;
        let mean = |label: &str| best(&rows, label).mean();
        let ours = mean(KERNELS);
        let gain = ours - mean(NONE);
        let mut marks =
            vec![(format!("kernels and rows beat no averaging by ≥ 3 points (by {gain:.2})"), gain >= 3.0)];
        for rival in ["Adam", "Muon"] {
            let theirs = mean(rival);
            let what =
                format!("kernels and rows do at least as well as {rival} ({ours:.2} against {theirs:.2})");
            marks.push((what, ours >= theirs));
        }
        let text = format!(
            "lenet, {} images, batch 128, 3 epochs, linear decay; where marked, after a warm-up of 10 steps.",
            task.train.len()
        );
        Ok(self.on.finding("convolutions", "Convolutions", text, &rows, By::Accuracy, marks))
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
        let methods =
            [(ROWS, "adahessian"), ("SGD", "sgd"), ("Adam", "adam"), ("AdamW", "adamw"), ("Muon", "muon")];
        let factors = [0.25, 0.5, 1.0, 2.0, 4.0];
        let (setting, host) = (self.on.setting(Length::Epochs(4)), self.on.options.host());
        let plain = methods.map(|(label, method)| variant(label, method, json!({}))).into();
        let best = tuned(&task, plain, &Setting { seeds: 1, ..setting }, By::Accuracy, &host.quiet())?;
        let rates =
            best.iter().map(|row| row.lr.context("a row without a rate")).collect::<Result<Vec<f64>>>()?;
        let of = methods.iter().zip(&rates);
        let variants: Vec<Variant> = of
            .flat_map(|((label, method), lr)| {
                factors.map(|f| variant(*label, method, json!({ "lr": lr * f })))
            })
            .collect();
        let rows = compare(&task, &variants, &setting, &host)?;
        let mut table = Table::new(["method", "rate", "¼", "½", "1", "2", "4", "spread"]);
        let mut figure = Figure::new("Robustness to the learning rate")
            .x_label("factor on the tuned rate")
            .y_label("test accuracy %")
            .log_x();
        let mut spreads = Vec::new();
        for ((label, lr), of) in methods.iter().map(|m| m.0).zip(&rates).zip(rows.chunks(factors.len())) {
            let means: Vec<f64> = of.iter().map(Row::mean).collect();
            let spread =
                means.iter().fold(f64::MIN, |a, b| a.max(*b)) - means.iter().fold(f64::MAX, |a, b| a.min(*b));
            let mut cells = vec![label.to_string(), lr.to_string()];
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
                "Test accuracy in percent, means of {} seeds, for factors on the rate that is each method's best on held-out images ({MLP}, 4 epochs). Least spread: {least}.",
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
        let chunks = json!({ "betas": [0.9, 0.98], "blocks": blocks });
        let variants = vec![
            variant("AdamW", "adamw", json!({})),
            variant("Muon", "muon", json!({})),
            variant(ours, "adahessian", chunks),
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
        let (ours, adamw) = (best(&rows, ours), best(&rows, "AdamW"));
        let ratio = moments(&ours.seconds).0 / moments(&adamw.seconds).0;
        let marks = vec![(
            format!(
                "test loss at equal steps no higher than AdamW's, each at its best rate ({:.4} against {:.4}; time ratio {ratio:.2})",
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
            By::Loss,
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

const NONE: &str = "AdaHessian, no averaging";
const SIGNED: &str = "AdaHessian, signed rows";
const ROWS: &str = "AdaHessian, rows";
const KERNELS: &str = "AdaHessian, kernels and rows";

/// The first-order methods of every comparison.
fn rivals() -> Vec<Variant> {
    [("SGD", "sgd"), ("Adam", "adam"), ("AdamW", "adamw"), ("Muon", "muon")]
        .map(|(label, method)| variant(label, method, json!({})))
        .into()
}
