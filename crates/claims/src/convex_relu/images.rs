//! Images, plain, against linear models.

use anyhow::Result;
use serde_json::{Value, json};
use thalweg::convex_relu::attack::Attack;
use thalweg::convex_relu::baselines::linear;
use thalweg::convex_relu::scaling::Scaling;
use thalweg::convex_relu::{ConvexError, ConvexRelu, Loss, Network, PatternChoice, Samples, Solver};
use thalweg::core::Seed;
use thalweg::plot::Table;
use thalweg::tasks::Finding;

use super::finding;
use super::pixels::{images as read, pool, threes_and_eights};

const MNIST: &str = "vision/mnist-train-images-idx3-ubyte.gz";

/// What is measured.
#[derive(Default)]
struct Measured {
    cells: Vec<Vec<String>>,
    marks: Vec<(String, bool)>,
    rows: Vec<Value>,
}

pub fn images(samples: usize) -> Result<Finding> {
    let mut measured = Measured::default();
    measured.two_digits(samples)?;
    measured.ten_digits(samples)?;
    measured.birds_and_ships()?;
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
    measured.cells.into_iter().for_each(|cells| {
        table.row(cells);
    });
    let text = "Test accuracy in percent ± standard error.";
    Ok(finding("images", "Images", text, table, measured.marks, measured.rows))
}

/// The plain fit of all tasks.
fn settings() -> ConvexRelu {
    ConvexRelu {
        loss: Loss::Bce,
        beta: 1.0,
        patterns: PatternChoice::Sample(50),
        solver: Solver { tol: 1e-3, ..Solver::default() },
        ..ConvexRelu::default()
    }
}

/// A share of `n` in percent ± standard error.
fn percent(p: f64, n: usize) -> String {
    format!("{:.2} ± {:.2}", 100.0 * p, 100.0 * (p * (1.0 - p) / n as f64).sqrt())
}

impl Measured {
    /// Task, training and test samples; accuracies of the linear model and of ours; the gap.
    fn add(&mut self, task: &str, [n, tested]: [usize; 2], [straight, ours]: [f64; 2], gap: f64) {
        let scores = [percent(straight, tested), percent(ours, tested), format!("{gap:.1e}")];
        self.cells.push([task.to_owned(), n.to_string()].into_iter().chain(scores).collect());
    }

    /// The mark that ours is no worse.
    fn compare(&mut self, task: &str, against: &str, ours: f64, straight: f64) {
        let (a, b) = (100.0 * ours, 100.0 * straight);
        self.marks
            .push((format!("{task}: no worse than {against} ({a:.2} against {b:.2})"), ours >= straight));
    }

    /// MNIST 3 against 8.
    fn two_digits(&mut self, n: usize) -> Result<()> {
        let (all, y) = threes_and_eights(2 * n)?;
        let (train, test) = split(&all, &y, n)?;
        let fit = settings().fit(&train.0, &train.1)?;
        let ours = fit.network.accuracy(&test.0, &test.1)?;
        let straight = linear(&train.0, &train.1, Loss::Bce, 1.0)?.accuracy(&test.0, &test.1)?;
        let gap = fit.certificate.gap;
        self.add("MNIST 3 / 8", [n, test.1.len()], [straight, ours], gap);
        self.compare("MNIST 3 / 8", "logistic regression", ours, straight);
        self.rows.push(json!({ "task": "mnist 3/8", "accuracy": ours, "linear": straight, "gap": gap }));
        Ok(())
    }

    /// MNIST, each class against the rest.
    fn ten_digits(&mut self, n: usize) -> Result<()> {
        let (x, labels) = read(MNIST, 28, 1)?;
        let features: Vec<f64> = x.iter().take(2 * n).flat_map(|image| pool(image, 28, 1, 2, 3, 8)).collect();
        let raw = Samples::new(features, 64)?;
        let scaled = Scaling::of(&raw).apply(&raw)?;
        let (count, half) = (scaled.n(), scaled.n() / 2);
        let one = |c: u32, from: usize, to: usize| {
            labels[from..to].iter().map(|l| if *l == c { 1.0 } else { -1.0 }).collect::<Vec<f64>>()
        };
        let part = |from: usize, to: usize| scaled.select(&(from..to).collect::<Vec<_>>());
        let columns = |from, to| (0..10).flat_map(|c| one(c, from, to)).collect::<Vec<f64>>();
        let patterns = PatternChoice::Sample(30);
        let squared = ConvexRelu { loss: Loss::Squared, patterns, ..settings() };
        let (many, fits) = squared.one_vs_all(&part(0, half)?, &columns(0, half))?;
        let (outer, wanted) = (part(half, count)?, columns(half, count));
        let ours = many.accuracy(&outer, &wanted)?;
        let straight: Vec<Network> = (0..10)
            .map(|c| linear(&part(0, half)?, &one(c, 0, half), Loss::Squared, 1.0))
            .collect::<Result<_, ConvexError>>()?;
        let straight = Network::side_by_side(&straight).accuracy(&outer, &wanted)?;
        let gap = fits.iter().map(|f| f.certificate.gap).fold(0.0, f64::max);
        self.add("MNIST, ten classes", [half, outer.n()], [straight, ours], gap);
        self.compare("ten classes", "ridge regression", ours, straight);
        self.rows.push(json!({ "task": "mnist", "accuracy": ours, "linear": straight, "gap": gap }));
        Ok(())
    }

    /// CIFAR-10 birds against ships, plain and robust at ε = 10/255.
    fn birds_and_ships(&mut self) -> Result<()> {
        let ((x, y), (tx, ty)) =
            (birds("vision/cifar10-train-3000.bin.gz")?, birds("vision/cifar10-devtest-400.bin.gz")?);
        let (raw, test) = (Samples::new(x, 147)?, Samples::new(tx, 147)?);
        let scaling = Scaling::of(&raw);
        let (x, test) = (scaling.apply(&raw)?, scaling.apply(&test)?);
        let mut eps: Vec<f64> =
            scaling.deviation.iter().map(|s| 10.0 / 255.0 / s / (148f64).sqrt()).collect();
        eps.push(0.0);
        let plain = settings().fit(&x, &y)?;
        let attack = Attack { eps: eps.clone(), loss: Loss::Bce };
        let broken = attack.pgd_all(&plain.network, &test, &ty, 40, Seed(1))?.accuracy;
        let straight = linear(&x, &y, Loss::Bce, 1.0)?.accuracy(&test, &ty)?;
        let clean = plain.network.accuracy(&test, &ty)?;
        self.add("CIFAR bird / ship", [y.len(), ty.len()], [straight, clean], plain.certificate.gap);
        self.compare("bird / ship", "logistic regression", clean, straight);
        let patterns = PatternChoice::Sample(20);
        let robust = ConvexRelu { eps: Some(eps), loss: Loss::Hinge, patterns, ..settings() };
        let fit = match robust.fit(&x, &y) {
            Ok(fit) => fit,
            Err(e) => {
                self.marks.push((format!("bird / ship at ε = 10/255: {e}"), false));
                return Ok(());
            }
        };
        let kept = attack.pgd_all(&fit.network, &test, &ty, 40, Seed(1))?.accuracy;
        let fgsm = attack.fgsm_all(&fit.network, &test, &ty)?.accuracy;
        let clean = fit.network.accuracy(&test, &ty)?;
        if let Some(cells) = self.cells.last_mut() {
            cells.extend([clean, fgsm, kept, broken].map(|p| percent(p, ty.len())));
        }
        let (a, b) = (100.0 * kept, 100.0 * broken);
        self.marks.push((
            format!("bird / ship at ε = 10/255: PGD accuracy ≥ the plain network's ({a:.2}, {b:.2})"),
            kept >= broken,
        ));
        self.rows.push(
            json!({ "task": "bird/ship", "clean": clean, "fgsm": fgsm, "pgd": kept, "plain_pgd": broken }),
        );
        Ok(())
    }
}

/// Birds −1 and ships +1, the middle 28 × 28 pixels pooled to 7 × 7.
fn birds(file: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let (x, labels) = read(file, 32, 3)?;
    let chosen = x.iter().zip(&labels).filter(|(_, l)| **l == 2 || **l == 8);
    let (mut features, mut y) = (Vec::new(), Vec::new());
    for (image, label) in chosen.take(600) {
        features.extend(pool(image, 32, 3, 2, 4, 7));
        y.push(if *label == 8 { 1.0 } else { -1.0 });
    }
    Ok((features, y))
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
