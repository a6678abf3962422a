//! Learned relaxation (Khodak et al., arXiv:2310.02246): what learners save in iterations and in time,
//! what they cost, and how fast the kernels are.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use rayon::prelude::*;
use serde_json::{Value, json};
use thalweg::core::Seed;
use thalweg::plot::{Figure, Table};
use thalweg::relax::learner::omega_grid;
use thalweg::relax::matrix::Order;
use thalweg::relax::oracle::compare;
use thalweg::relax::sequence::{Heat, Shift, Shifted};
use thalweg::relax::{Interval, Learner, Matrix, Scheme, Sequence, Stencil};

use thalweg::tasks::Finding;
use thalweg::tasks::linsolve::tour::{self, solve, tuned};
use thalweg::train::compare::moments;

use crate::claim::{Entry, Options, publish};
use crate::measure::{median, seconds};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims relax shift heat
  thalweg-claims relax time kernels --out report/")]
pub struct Claims {
    /// shift, heat, time, overhead, kernels, joint, tour, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Claims>] = &[
    ("shift", |b| shift(&b.options)),
    ("heat", |b| heat(&b.options)),
    ("time", |_| time()),
    ("overhead", |_| overhead()),
    ("kernels", |_| kernels()),
    ("joint", |b| joint(&b.options)),
    ("tour", |claims| Ok(tour::heat(&claims.options.host())?)),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.options.start()?;
        publish("Learned relaxation", &self.options, &self, &self.which, ALL)
    }
}

const SHIFTS: [(&str, Shift, f64); 2] = [("high", Shift::High, 0.70), ("low", Shift::Low, 0.80)];

/// Total iterations of each policy with each seed, all in parallel.
fn shifted(policies: &[String], shift: Shift, options: &Options) -> Result<Vec<Vec<f64>>> {
    let jobs: Vec<(&String, u64)> =
        policies.iter().flat_map(|p| (1..=options.seeds).map(move |seed| (p, seed))).collect();
    let total = |(policy, seed): (&String, u64)| {
        let mut sequence = Shifted::new(shift, 10, 5000, Seed(seed))?;
        Ok(solve(&tuned(policy, Scheme::Sor)?, &mut sequence, seed)?.evaluations as f64)
    };
    let totals = jobs.into_par_iter().map(total).collect::<Result<Vec<f64>>>()?;
    Ok(totals.chunks(options.seeds.max(1) as usize).map(<[f64]>::to_vec).collect())
}

fn shift(options: &Options) -> Result<Finding> {
    let clock = Instant::now();
    let mut table = Table::new(["ω by", "high variance", "of best fixed", "low variance", "of best fixed"]);
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    let mut columns = Vec::new();
    let learners =
        ["tsallis-inf", "tsallis-inf-rv", "tsallis-inf-cb:5", "chebcb", "joint", "young", "oracle"];
    // Below 1.4 every ω takes more than twice the best: they cannot be the best in hindsight.
    let grid = omega_grid(1.4, 1.95, 12);
    let fixed = grid.iter().map(|omega| format!("fixed:{omega}"));
    let policies: Vec<String> = fixed.chain(learners.map(String::from)).collect();
    for (name, shift, target) in SHIFTS {
        let all = shifted(&policies, shift, options)?;
        let (fixed, piloted) = all.split_at(grid.len());
        let fixed = grid.iter().zip(fixed).map(|(omega, totals)| (*omega, moments(totals).0));
        let best = fixed.fold((0.0, f64::INFINITY), |b, f| if f.1 < b.1 { f } else { b });
        let mut column = vec![(format!("best fixed ω ({:.2})", best.0), best.1)];
        for (policy, totals) in learners.into_iter().zip(piloted) {
            let ratio = moments(totals).0 / best.1;
            column.push((policy.into(), moments(totals).0));
            data.push(
                json!({ "variance": name, "policy": policy, "iterations": totals, "best_fixed": best.1 }),
            );
            let limit = match policy {
                "chebcb" => target,
                "tsallis-inf" => 1.35,
                _ => continue,
            };
            marks.push((
                format!("{name} variance: {policy} takes {ratio:.2} ≤ {limit} of the best fixed ω"),
                ratio <= limit,
            ));
        }
        columns.push(column);
    }
    for (high, low) in columns[0].iter().zip(&columns[1]) {
        let name = if high.0.starts_with("best") { "best fixed ω" } else { &high.0 };
        let cells = |c: &[(String, f64)], v: f64| [format!("{v:.0}"), format!("{:.2}", v / c[0].1)];
        let [a, b] = cells(&columns[0], high.1);
        let [c, d] = cells(&columns[1], low.1);
        table.row([name.to_owned(), a, b, c, d]);
    }
    let took = clock.elapsed().as_secs_f64();
    marks.push((format!("all of it in {took:.1} s ≤ 30 s"), took <= 30.0));
    Ok(Finding {
        name: "shift",
        title: "Shifted Laplacians".into(),
        text: format!(
            "The paper's experiment: 5000 systems of 100 unknowns, SOR to 1e-8, total iterations, means of {} seeds.",
            options.seeds
        ),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(data),
    })
}

fn heat(options: &Options) -> Result<Finding> {
    let clock = Instant::now();
    let total = |policy: &str, method, seed| -> Result<f64> {
        Ok(solve(&tuned(policy, method)?, &mut Heat::new(50, 5000)?, seed)?.evaluations as f64)
    };
    let mut table = Table::new(["ω by", "iterations", "of best fixed"]);
    let grid = omega_grid(1.3, 1.9, 13);
    let fixed: Vec<f64> =
        grid.par_iter().map(|o| total(&format!("fixed:{o}"), Scheme::SsorCg, 1)).collect::<Result<_>>()?;
    let best = fixed.iter().copied().fold(f64::INFINITY, f64::min);
    let cg = total("fixed:1", Scheme::Cg, 1)?;
    table.row(["conjugate gradients".into(), format!("{cg:.0}"), format!("{:.2}", cg / best)]);
    table.row(["best fixed ω".into(), format!("{best:.0}"), "1.00".into()]);
    let (mut marks, mut data, mut bars) =
        (Vec::new(), vec![json!({ "policy": "best-fixed", "iterations": best })], Vec::new());
    for policy in ["tsallis-inf", "tsallis-inf-cb", "chebcb", "joint", "young"] {
        let totals = (1..=options.seeds)
            .into_par_iter()
            .map(|seed| total(policy, Scheme::SsorCg, seed))
            .collect::<Result<Vec<_>>>()?;
        let (mean, sd) = moments(&totals);
        table.row([policy.to_owned(), format!("{mean:.0}"), format!("{:.2}", mean / best)]);
        bars.push((policy.to_owned(), mean, sd));
        data.push(json!({ "policy": policy, "iterations": totals }));
        if policy == "chebcb" {
            marks.push((
                format!("chebcb takes {:.2} ≤ 0.85 of the best fixed ω", mean / best),
                mean <= 0.85 * best,
            ));
        }
    }
    let took = clock.elapsed().as_secs_f64();
    marks.push((format!("all of it in {took:.1} s ≤ 30 s"), took <= 30.0));
    let figure = Figure::new("Heat, nx = 50").y_label("SSOR-CG iterations").bars("total", &bars);
    Ok(Finding {
        name: "heat",
        title: "The heat simulation, nx = 50".into(),
        text: "2401 unknowns, 5000 steps, SSOR-CG to 1e-8 from the last solution; the best of 13 fixed ω from 1.3 to 1.9.".into(),
        table,
        figures: vec![(figure, "Lower is better.".into())],
        marks,
        data: Value::Array(data),
    })
}

/// Whole simulations in turn, so that what else the machine does disturbs all alike.
fn time() -> Result<Finding> {
    let rows = [
        ("conjugate gradients", "fixed:1", Scheme::Cg),
        ("SSOR-CG, ω = 1", "fixed:1", Scheme::SsorCg),
        ("SSOR-CG, ω = 1.7", "fixed:1.7", Scheme::SsorCg),
        ("SSOR-CG, ω = 1.75", "fixed:1.75", Scheme::SsorCg),
        ("SSOR-CG without Eisenstat, ω = 1.75", "fixed:1.75", Scheme::SsorCgPlain),
        ("tsallis-inf", "tsallis-inf", Scheme::SsorCg),
        ("chebcb", "chebcb", Scheme::SsorCg),
        ("joint (default)", "joint", Scheme::SsorCg),
        ("young", "young", Scheme::SsorCg),
    ];
    const ROUNDS: usize = 3;
    let mut times = vec![Vec::new(); rows.len()];
    let mut totals = vec![0; rows.len()];
    for _ in 0..ROUNDS {
        for (i, (_, policy, method)) in rows.iter().enumerate() {
            let outcome = solve(&tuned(policy, *method)?, &mut Heat::new(100, 5000)?, 1)?;
            times[i].push(outcome.solution.seconds);
            totals[i] = outcome.evaluations;
        }
    }
    // Whatever else the machine does only adds time.
    let least = |times: &Vec<f64>| times.iter().copied().fold(f64::INFINITY, f64::min);
    let best: Vec<f64> = times.iter().map(least).collect();
    let fixed = best[1..4].iter().copied().fold(f64::INFINITY, f64::min);
    let mut table = Table::new(["solver", "iterations", "seconds", "of CG's time"]);
    let mut data = Vec::new();
    for (i, (name, ..)) in rows.iter().enumerate() {
        let share = best[i] / best[0];
        table.row([
            (*name).to_owned(),
            totals[i].to_string(),
            format!("{:.2}", best[i]),
            format!("{share:.2}"),
        ]);
        data.push(json!({ "solver": name, "iterations": totals[i], "seconds": times[i] }));
    }
    let (of_cg, of_fixed) = (best[7] / best[0], best[7] / fixed);
    Ok(Finding {
        name: "time",
        title: "Time of the heat simulation, nx = 100".into(),
        text: format!(
            "9801 unknowns, 5000 steps to 1e-8; seconds in solver and learner on one thread, the best of {ROUNDS} rounds in turn."
        ),
        table,
        figures: Vec::new(),
        marks: vec![
            (format!("the default learner takes {of_cg:.2} ≤ 0.9 of CG's time"), of_cg <= 0.9),
            (
                format!("the default learner takes {of_fixed:.2} ≤ 1 of the best fixed ω's time"),
                of_fixed <= 1.0,
            ),
        ],
        data: Value::Array(data),
    })
}

fn overhead() -> Result<Finding> {
    let mut table = Table::new(["pilot", "µs per system", "allowed"]);
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    for (name, allowed) in
        [("tsallis-inf", Some(2.0)), ("tsallis-inf-cb", None), ("chebcb", Some(20.0)), ("joint", None)]
    {
        let mut learner =
            Learner::new(&name.parse()?, &omega_grid(1.0, 1.95, 20), Interval::new(0.0, 1.0), Seed(1))?;
        let mut t = 0u64;
        let rounds = 2000;
        let micros = seconds(|| {
            for _ in 0..rounds {
                t += 1;
                let choice = learner.choose((t as f64 * 0.618).fract())?;
                let miss = choice.omega - 1.2 - 0.5 * choice.context;
                learner.feedback(&choice, 20.0 + 200.0 * miss * miss + (t % 7) as f64)?;
            }
            Ok(())
        })? / rounds as f64
            * 1e6;
        let limit = allowed.map_or_else(|| "–".into(), |a: f64| format!("{a}"));
        table.row([name.to_owned(), format!("{micros:.2}"), limit]);
        data.push(json!({ "pilot": name, "microseconds": micros }));
        if let Some(a) = allowed {
            marks.push((format!("{name} takes {micros:.2} ≤ {a} µs"), micros <= a));
        }
    }
    Ok(Finding {
        name: "overhead",
        title: "What a decision costs".into(),
        text: "Decision and feedback together, 20 arms, 6 Chebyshev polynomials.".into(),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(data),
    })
}

/// Natural order, a sweep and then a residual: what one writes first. `x` has a rim of zeros.
fn naive(side: usize, omega: f64, b: &[f64], x: &mut [f64]) -> f64 {
    let w = side + 2;
    for i in 1..=side {
        for j in 1..=side {
            let k = i * w + j;
            let gauss_seidel = 0.25 * (b[k] + x[k - w] + x[k - 1] + x[k + 1] + x[k + w]);
            x[k] = (1.0 - omega) * x[k] + omega * gauss_seidel;
        }
    }
    let mut norm = 0.0;
    for i in 1..=side {
        for j in 1..=side {
            let k = i * w + j;
            let r = b[k] - 4.0 * x[k] + x[k - w] + x[k - 1] + x[k + 1] + x[k + w];
            norm += r * r;
        }
    }
    norm
}

fn kernels() -> Result<Finding> {
    let mut table = Table::new(["points", "naive, M unknowns/s", "ours, M unknowns/s", "times as fast"]);
    let (mut ratios, mut data) = (Vec::new(), Vec::new());
    for side in [32, 64, 100, 160] {
        let w = side + 2;
        let mut b = vec![0.0; w * w];
        (0..side * side).for_each(|k| b[(k / side + 1) * w + k % side + 1] = 1.0);
        let a = Stencil::laplacian(side, side)?;
        let own = a.pack(&vec![1.0; side * side]);
        // From the same start, so that neither meets denormal numbers.
        let (mut x, mut y, mut r) = (vec![0.0; w * w], vec![0.0; a.len()], vec![0.0; a.len()]);
        let sweeps = 100;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            x.fill(0.0);
            y.fill(0.0);
            let clock = Instant::now();
            for _ in 0..sweeps {
                black_box(naive(side, 1.5, &b, &mut x));
            }
            theirs.push(clock.elapsed().as_secs_f64());
            let clock = Instant::now();
            for _ in 0..sweeps {
                black_box(a.sweep(Order::Forward, 1.5, &own, &mut y, &mut r));
            }
            ours.push(clock.elapsed().as_secs_f64());
        }
        let rate = |t: Vec<f64>| (sweeps * side * side) as f64 / median(t) / 1e6;
        let (slow, fast) = (rate(theirs), rate(ours));
        ratios.push(fast / slow);
        table.row([
            format!("{side}²"),
            format!("{slow:.0}"),
            format!("{fast:.0}"),
            format!("{:.1}", fast / slow),
        ]);
        data.push(json!({ "side": side, "naive": slow, "ours": fast }));
    }
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Finding {
        name: "kernels",
        title: "SOR sweep and residual on the 5-point stencil".into(),
        text: "One thread, in cache; the naive loop runs in the natural order with a second pass for the residual.".into(),
        table,
        figures: Vec::new(),
        marks: vec![(format!("at least {least:.1} ≥ 2 times as fast"), least >= 2.0)],
        data: Value::Array(data),
    })
}

fn joint(options: &Options) -> Result<Finding> {
    let mut table = Table::new(["sequence", "joint", "best ω for every instance", "ratio"]);
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    let golden = |low, width| Shift::Golden { low, width };
    let rows = [
        ("shift, high variance", Shift::High, 10, 5000),
        ("shift, low variance", Shift::Low, 10, 5000),
        ("S10_T2000", golden(-0.15, 0.6), 10, 2000),
        ("S20_T500", golden(-0.03, 0.3), 20, 500),
    ];
    for (name, shift, side, steps) in rows {
        let total = |policy: &str, seed| -> Result<f64> {
            let mut sequence = Shifted::new(shift, side, steps, Seed(seed))?;
            Ok(solve(&tuned(policy, Scheme::Sor)?, &mut sequence, seed)?.evaluations as f64)
        };
        let mean = |policy: &str| -> Result<f64> {
            let all = (1..=options.seeds).map(|s| total(policy, s)).collect::<Result<Vec<_>>>()?;
            Ok(moments(&all).0)
        };
        let (ours, optimal) = (mean("joint")?, mean("oracle")?);
        record(&mut table, &mut marks, &mut data, name, ours, optimal);
    }
    // Where theory gives no optimum, all arms and golden sections do.
    let tuned = tuned("joint", Scheme::SsorCg)?;
    let ours = solve(&tuned, &mut Heat::new(25, 5000)?, 1)?.evaluations as f64;
    let optimal = compare(&mut Heat::new(25, 5000)? as &mut dyn Sequence, &tuned, |_| true)?.oracle.cost;
    record(&mut table, &mut marks, &mut data, "heat, nx = 25", ours, optimal);
    Ok(Finding {
        name: "joint",
        title: "The joint model against the best ω for every instance".into(),
        text: "Total iterations; ridge weight, bonus and scale are the defaults throughout.".into(),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(data),
    })
}

fn record(
    table: &mut Table,
    marks: &mut Vec<(String, bool)>,
    data: &mut Vec<Value>,
    name: &str,
    ours: f64,
    optimal: f64,
) {
    let ratio = ours / optimal;
    table.row([name.to_owned(), format!("{ours:.0}"), format!("{optimal:.0}"), format!("{ratio:.3}")]);
    marks.push((format!("{name}: within {ratio:.3} ≤ 1.2 of the optimum"), ratio <= 1.2));
    data.push(json!({ "sequence": name, "joint": ours, "optimal": optimal }));
}
