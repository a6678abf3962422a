//! Time of an iteration over a grid of n and P, against the published splitting.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use thalweg::convex_relu::admm::Admm;
use thalweg::convex_relu::baselines::{AdmmPaper, BlockProgram, DenseProgram, Rbcd};
use thalweg::convex_relu::{Geometry, Loss, Patterns, Program};
use thalweg::core::{Method, Problem, Run, Seed, Stop};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use super::pixels::threes_and_eights;
use super::{finding, load, program, timed};
use crate::measure::exponent;

const P: [u64; 5] = [25, 50, 100, 200, 400];
/// No certificates while iterations are timed.
const NEVER: u64 = u64::MAX;

/// Seconds per step of a method on a problem, after a first step.
fn per_step<M: Method<P>, P: Problem>(method: &M, problem: &mut P, steps: u64) -> Result<f64> {
    let mut state = method.init(problem, Seed(1))?;
    method.step(problem, &mut state)?;
    let clock = Instant::now();
    for _ in 0..steps {
        method.step(problem, &mut state)?;
    }
    Ok(clock.elapsed().as_secs_f64() / steps as f64)
}

/// What is measured: table, rows for programs, and seconds per iteration by n and P.
struct Grid {
    table: Table,
    rows: Vec<Value>,
    points: Vec<(f64, f64, f64)>,
}

pub fn scaling(samples: usize) -> Result<Finding> {
    let mut grid = grid(samples)?;
    // On a full grid ln n and ln P are orthogonal: each exponent is a fit of its own.
    let in_n = exponent(&grid.points.iter().map(|(n, _, s)| (*n, *s)).collect::<Vec<_>>());
    let in_p = exponent(&grid.points.iter().map(|(_, p, s)| (*p, *s)).collect::<Vec<_>>());
    let mut marks = vec![
        (format!("the iteration grows like n^{in_n:.2} (1 ± 0.2)"), (in_n - 1.0).abs() <= 0.2),
        (format!("the iteration grows like P^{in_p:.2} (1 ± 0.2)"), (in_p - 1.0).abs() <= 0.2),
    ];
    marks.extend(published(&mut grid.rows)?);
    let mut finding = finding(
        "scaling",
        "Scaling",
        "MNIST 3 against 8 (8 × 8 averages of the middle 24 × 24 pixels), squared loss, β = 0.1 n/200.",
        grid.table,
        marks,
        grid.rows,
    );
    let figure = Figure::new("Time of an iteration").x_label("P").y_label("seconds").log_x().log_y();
    let line = |figure: Figure, of: &[(f64, f64, f64)]| {
        figure.line(&format!("n = {}", of[0].0), &of.iter().map(|(_, p, s)| (*p, *s)).collect::<Vec<_>>())
    };
    let figure = grid.points.chunks(P.len()).fold(figure, line);
    finding.figures.push((figure, "One thread pool for all.".into()));
    Ok(finding)
}

/// The structured ADMM on up to so many samples; RBCD and a whole solve beside it at P = 100.
fn grid(samples: usize) -> Result<Grid> {
    let mut header = vec!["n".to_string()];
    header.extend(P.map(|p| format!("P = {p}, ms")));
    header.extend(["set-up s", "RBCD ms", "s to gap 1e-3"].map(|h| format!("{h}, P = 100")));
    let mut table = Table::new(header);
    let (mut rows, mut points) = (Vec::new(), Vec::new());
    for n in [8, 4, 2, 1].map(|part| samples / part) {
        let mut cells = vec![n.to_string()];
        let (samples, y) = threes_and_eights(n)?;
        let mut at_100 = None;
        for p in P {
            let geometry = Geometry::new(samples.clone(), Patterns::sample(&samples, p, Seed(1))?, false)?;
            let mut program = Program::new(geometry, y.clone(), Loss::Squared, 0.1 * n as f64 / 200.0)?;
            let quiet = Admm { check_every: NEVER, ..Admm::default() };
            let (_, setup) = timed(|| quiet.init(&mut program, Seed(1)))?;
            let ours = per_step(&quiet, &mut program, 50)?;
            cells.push(format!("{:.2}", 1e3 * ours));
            points.push((n as f64, p as f64, ours));
            rows.push(json!({ "n": n, "patterns": p, "structured": ours, "setup": setup }));
            if p == 100 {
                at_100 = Some((program, setup));
            }
        }
        let (mut program, setup) = at_100.context("100 is one of the numbers of patterns")?;
        let rbcd = Rbcd { check_every: NEVER, ..Rbcd::default() };
        let blocks = per_step(&rbcd, &mut BlockProgram::new(program.clone(), program.beta())?, 3)?;
        let method = Admm { tol: 1e-3, ..Admm::default() };
        let (_, whole) = timed(|| Run::new(&method, &mut program).stop(Stop::Steps(5000)).run())?;
        cells.extend([format!("{setup:.2}"), format!("{:.1}", 1e3 * blocks), format!("{whole:.2}")]);
        table.row(cells);
        rows.push(json!({ "n": n, "patterns": 100, "rbcd": blocks, "to_gap_1e-3": whole }));
    }
    Ok(Grid { table, rows, points })
}

/// Iteration and set-up beside the published splitting's.
fn published(rows: &mut Vec<Value>) -> Result<[(String, bool); 2]> {
    let data = load("sampled_dg38", Loss::Squared)?;
    let mut plain = program(&data, Loss::Squared, 0.1)?;
    let ours = per_step(&Admm { check_every: NEVER, ..Admm::default() }, &mut plain, 100)?;
    let mut dense = DenseProgram::new(plain.clone(), 0.1)?;
    let paper = per_step(&AdmmPaper { check_every: NEVER, ..AdmmPaper::default() }, &mut dense, 10)?;
    // As many unknowns as the specification's 2dP = 20,000.
    let many = Geometry::new(data.train.clone(), Patterns::sample(&data.train, 154, Seed(1))?, false)?;
    let mut many = Program::new(many, data.y.clone(), Loss::Squared, 0.1)?;
    let (_, our_setup) = timed(|| Admm::default().init(&mut many, Seed(1)))?;
    let (_, setup) = timed(|| DenseProgram::new(many.clone(), 0.1))?;
    rows.push(json!({ "set": "sampled_dg38", "structured": ours, "published": paper }));
    rows.push(json!({ "unknowns": 20_020, "structured setup": our_setup, "published setup": setup }));
    Ok([
        (
            format!(
                "sampled_dg38: ≥ 10× as fast as the published iteration ({:.2} ms, {:.2} ms: {:.0}×)",
                1e3 * ours,
                1e3 * paper,
                paper / ours
            ),
            paper >= 10.0 * ours,
        ),
        (
            format!(
                "20,000 unknowns: set-up ≥ 100× as fast as the published ({:.2} ms, {setup:.0} s: {:.0}×)",
                1e3 * our_setup,
                setup / our_setup
            ),
            setup >= 100.0 * our_setup,
        ),
    ])
}
