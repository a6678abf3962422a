//! Robust training against attacks.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use thalweg::convex_relu::attack::Attack;
use thalweg::convex_relu::baselines::Training;
use thalweg::convex_relu::exact::exact;
use thalweg::convex_relu::robust::RobustProgram;
use thalweg::convex_relu::{Loss, Network};
use thalweg::core::{Objective, Run, Seed, Stop};
use thalweg::fit::Data;
use thalweg::optim::Adam;
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::{finding, load, network, program, timed};

/// The reference's problem: name, ε, and by loss the optimum and the CPU seconds that its solver took on the
/// plain formulation; its failure is ∞.
type Reference = (&'static str, f64, [(f64, f64); 3]);

const REFERENCE: [Reference; 2] = [
    ("adv_bc", 0.01, [(10.823604, 4.86), (1.746620, 7.62), (3.211599, 9.03)]),
    ("adv_dg38", 0.02, [(9.991838, 12.49), (0.621611, 9.40), (1.6967, f64::INFINITY)]),
];

/// What is measured.
#[derive(Default)]
struct Measured {
    cells: Vec<[String; 10]>,
    marks: Vec<(String, bool)>,
    rows: Vec<Value>,
}

pub fn robust() -> Result<Finding> {
    let (mut measured, mut figures) = (Measured::default(), Vec::new());
    for (name, eps, by_loss) in REFERENCE {
        for (loss, reference) in Loss::ALL.into_iter().zip(by_loss) {
            measured.problem(name, eps, loss, reference)?;
        }
        figures.extend(sweep(name)?);
    }
    let mut table = Table::new([
        "set",
        "loss",
        "model",
        "value",
        "gap",
        "seconds",
        "clean",
        "FGSM",
        "PGD-40",
        "certified",
    ]);
    measured.cells.into_iter().for_each(|cells| {
        table.row(cells);
    });
    let mut finding = finding(
        "robust",
        "Robust training",
        "β = 0.01; accuracy on the test part within the boxes; the attack ascends the training loss.",
        table,
        measured.marks,
        measured.rows,
    );
    finding.figures = figures;
    Ok(finding)
}

/// ε for all features but the constant.
fn half_widths(eps: f64, data: &Data) -> Vec<f64> {
    let mut all = vec![eps; data.train.d()];
    all[data.train.d() - 1] = 0.0;
    all
}

impl Measured {
    /// The plain program, the robust one, and adversarial training by gradients.
    fn problem(&mut self, name: &str, eps: f64, loss: Loss, (optimum, before): (f64, f64)) -> Result<()> {
        let data = load(name, loss)?;
        let program = program(&data, loss, 0.01)?;
        let attack = Attack { eps: half_widths(eps, &data), loss };
        let (plain, seconds) = timed(|| exact(&program))?;
        let c = &plain.certificate;
        let found = network(&program, &plain.solution);
        let broken = self.show(name, "plain", &found, &data, &attack, [c.objective, c.gap, seconds])?;
        let (solved, seconds) = timed(|| RobustProgram::new(&program, attack.eps.clone())?.solve())?;
        let c = &solved.certificate;
        let found = network(&program, &solved.solution);
        let kept = self.show(name, "robust", &found, &data, &attack, [c.objective, c.gap, seconds])?;
        let hidden = found.neurons.len().max(1);
        let mut training =
            Training::new(&data.train, &data.y, loss, 0.01, hidden, Seed(1))?.attacked(attack.clone(), 10);
        let (theta, trained) = timed(|| {
            let problem = &mut training as &mut dyn Objective<Scalar = f64>;
            Run::new(&Adam { lr: 0.01, ..Adam::default() }, problem).stop(Stop::Steps(200)).run()
        })?;
        let found = training.network(&theta.solution);
        let value = theta.progress.value;
        self.show(name, "Adam on PGD-10", &found, &data, &attack, [value, f64::NAN, trained])?;

        let problem = format!("{name} {}", loss.name());
        self.marks.extend([
            (
                format!("{problem}: {:.5}, as the reference {optimum}", c.objective),
                (c.objective / optimum - 1.0).abs() <= 1e-4,
            ),
            (
                format!(
                    "{problem}: PGD accuracy not below the plain network's by more than 0.01 ({kept:.3}, {broken:.3})"
                ),
                kept >= broken - 0.01,
            ),
        ]);
        if before.is_finite() {
            self.marks.push((
                format!("{problem}: at most half the reference's {before} s ({seconds:.2} s)"),
                seconds <= 0.5 * before,
            ));
        }
        Ok(())
    }

    /// Scores a model under attacks, and the accuracy that PGD leaves.
    fn show(
        &mut self,
        name: &str,
        model: &str,
        network: &Network,
        data: &Data,
        attack: &Attack,
        [value, gap, seconds]: [f64; 3],
    ) -> Result<f64> {
        let (x, y) = data.test.as_ref().context("the archive has no test part")?;
        let loss = attack.loss;
        let clean = network.accuracy(x, y)?;
        let fgsm = attack.fgsm_all(network, x, y)?.accuracy;
        let pgd = attack.pgd_all(network, x, y, 40, Seed(1))?.accuracy;
        let proved = attack.certified_accuracy(network, x, y)?;
        self.cells.push([
            name.into(),
            loss.name().into(),
            model.into(),
            format!("{value:.5}"),
            format!("{gap:.1e}"),
            format!("{seconds:.2}"),
            format!("{clean:.4}"),
            format!("{fgsm:.4}"),
            format!("{pgd:.4}"),
            format!("{proved:.4}"),
        ]);
        self.rows.push(json!({ "set": name, "loss": loss, "model": model, "value": value, "gap": gap, "seconds": seconds, "clean": clean, "fgsm": fgsm, "pgd": pgd, "certified": proved }));
        Ok(pgd)
    }
}

/// Convex value, loss under PGD and certified accuracy as ε grows.
fn sweep(name: &str) -> Result<[(Figure, String); 2]> {
    let data = load(name, Loss::Hinge)?;
    let program = program(&data, Loss::Hinge, 0.01)?;
    let (mut convex, mut attacked, mut proved) = (Vec::new(), Vec::new(), Vec::new());
    for eps in [0.0025, 0.005, 0.01, 0.02] {
        let all = half_widths(eps, &data);
        let Ok(robust) = RobustProgram::new(&program, all.clone()) else { break };
        let solved = robust.solve()?;
        let net = network(robust.program(), &solved.solution);
        let attack = Attack { eps: all, loss: Loss::Hinge };
        convex.push((eps, solved.certificate.objective));
        let left = attack.pgd_all(&net, &data.train, &data.y, 40, Seed(1))?;
        attacked.push((eps, left.loss + net.decay(0.01)));
        proved.push((eps, attack.certified_accuracy(&net, &data.train, &data.y)?));
    }
    let figure = |title: &str| Figure::new(format!("{name}, hinge: {title}")).x_label("ε").log_x();
    let values = figure("worst-case objective").log_y();
    let values = values.line("convex value", &convex).scatter("under PGD-40", &attacked);
    let accuracies = figure("certified accuracy").line("training part", &proved);
    Ok([
        (values, "On the training part: no attack exceeds the convex value.".into()),
        (accuracies, String::new()),
    ])
}
