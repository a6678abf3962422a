//! Each update rule against its published formula, written out again in plain scalars.

use thalweg_core::{Kind, Method, Objective, Run, RunError, Seed, Stop};
use thalweg_optim::functions::{Function, Quadratic};
use thalweg_optim::{Adam, AdamW, Group, Lamb, Masked, Muon, Schedule, Sgd, orthogonalise};
use thalweg_testing::{Bowl, close};

use crate::common::blocks;

fn run<P, M>(method: &M, problem: &mut P, steps: u64) -> Vec<P::Scalar>
where
    P: Objective + ?Sized,
    M: Method<P, Solution = Vec<P::Scalar>>,
{
    Run::new(method, problem).seed(Seed(1)).stop(Stop::Steps(steps)).run().unwrap().solution
}

const H: [f64; 2] = [1.0, 4.0];
const X0: [f64; 2] = [1.0, -2.0];

fn bowl() -> Function<Quadratic> {
    Function::new(Quadratic::diagonal(&H), X0.to_vec())
}

#[test]
fn sgd_by_hand() {
    // g = (1, −8); θ₁ = θ₀ − 0.1 g = (0.9, −1.2); b₂ = 0.9 g₁ + g₂ = (1.8, −12).
    let sgd = Sgd::default();
    close(&run(&sgd, &mut bowl(), 1), &[0.9, -1.2], 1e-15);
    close(&run(&sgd, &mut bowl(), 2), &[0.9 - 0.18, -1.2 + 1.2], 1e-15);
    // Nesterov: d = g + 0.9 b; b₁ = g, so θ₁ = θ₀ − 0.1 · 1.9 g.
    let nesterov = Sgd { nesterov: true, ..Sgd::default() };
    close(&run(&nesterov, &mut bowl(), 1), &[1.0 - 0.19, -2.0 + 1.52], 1e-15);
    // Coupled decay: g + 0.5 θ = (1.5, −9).
    let decay = Sgd { weight_decay: 0.5, momentum: 0.0, ..Sgd::default() };
    close(&run(&decay, &mut bowl(), 1), &[0.85, -1.1], 1e-15);
    // Without momentum a quadratic shrinks by 1 − η h per step.
    let plain = Sgd { momentum: 0.0, ..Sgd::default() };
    close(&run(&plain, &mut bowl(), 7), &[0.9f64.powi(7), -2.0 * 0.6f64.powi(7)], 1e-14);
}

/// The algorithm boxes of `torch.optim.SGD`, `Adam` and `AdamW`, one coordinate at a time.
fn torch(name: &str, steps: u32, decay: f64) -> Vec<f64> {
    let coordinate = |(mut x, h): (f64, f64)| {
        let (mut m, mut v, mut b) = (0.0, 0.0, None);
        for t in 1..=steps as i32 {
            let mut g: f64 = h * x;
            match name {
                "adam" | "adamw" => {
                    if name == "adam" {
                        g += decay * x;
                    } else {
                        x -= 0.01 * decay * x;
                    }
                    m = 0.9 * m + 0.1 * g;
                    v = 0.999 * v + 0.001 * g * g;
                    let (m, v) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
                    x -= 0.01 * m / (v.sqrt() + 1e-8);
                }
                _ => {
                    g += decay * x;
                    let buffer = b.map_or(g, |b: f64| 0.9 * b + g);
                    b = Some(buffer);
                    x -= 0.01 * (g + 0.9 * buffer);
                }
            }
        }
        x
    };
    X0.into_iter().zip(H).map(coordinate).collect()
}

#[test]
fn many_steps_follow_pytorch() {
    let (lr, weight_decay) = (0.01, 0.1);
    let adam = Adam { lr, weight_decay, ..Adam::default() };
    close(&run(&adam, &mut bowl(), 50), &torch("adam", 50, weight_decay), 1e-12);
    let adamw = AdamW { lr, weight_decay, ..AdamW::default() };
    close(&run(&adamw, &mut bowl(), 50), &torch("adamw", 50, weight_decay), 1e-12);
    let sgd = Sgd { lr, weight_decay, nesterov: true, ..Sgd::default() };
    close(&run(&sgd, &mut bowl(), 50), &torch("sgd", 50, weight_decay), 1e-12);
}

#[test]
fn adam_by_hand() {
    // m̂ = g, √v̂ = |g| after one step: every coordinate moves by the learning rate.
    let adam = Adam { lr: 0.25, eps: 0.0, ..Adam::default() };
    close(&run(&adam, &mut bowl(), 1), &[0.75, -1.75], 1e-14);
    let adamw = AdamW { lr: 0.25, eps: 0.0, weight_decay: 0.2, ..AdamW::default() };
    close(&run(&adamw, &mut bowl(), 1), &[0.95 - 0.25, -1.9 + 0.25], 1e-14);
}

#[test]
fn lamb_by_hand() {
    // One step: m̂/√v̂ = sign g = (1, −1); u = (1, −1) + 0.5 θ = (1.5, −2);
    // ‖θ‖/‖u‖ = √5/2.5.
    let lamb = Lamb { lr: 0.1, eps: 0.0, weight_decay: 0.5, ..Lamb::default() };
    let trust = 5f64.sqrt() / 2.5;
    close(&run(&lamb, &mut bowl(), 1), &[1.0 - 0.15 * trust, -2.0 + 0.2 * trust], 1e-14);
}

/// Ten steps of LAMB's algorithm box on one block.
#[test]
fn lamb_follows_its_algorithm() {
    let (mut x, mut m, mut v) = (X0, [0.0; 2], [0.0; 2]);
    for t in 1..=10 {
        let mut u = [0.0; 2];
        for i in 0..2 {
            let g = H[i] * x[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let (m, v): (f64, f64) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
            u[i] = m / (v.sqrt() + 1e-6) + 0.01 * x[i];
        }
        let trust = x[0].hypot(x[1]) / u[0].hypot(u[1]);
        (0..2).for_each(|i| x[i] -= 0.05 * trust * u[i]);
    }
    close(&run(&Lamb { lr: 0.05, ..Lamb::default() }, &mut bowl(), 10), &x, 1e-12);
}

/// X ← 3.4445 X − 4.7750 (XXᵀ)X + 2.0315 (XXᵀ)²X, five times from X/‖X‖, by plain loops.
fn newton_schulz(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let times = |a: &[f64], b: &[f64], n: usize, k: usize, m: usize| -> Vec<f64> {
        let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * m + j]).sum();
        (0..n * m).map(|at| entry(at / m, at % m)).collect()
    };
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut x: Vec<f64> = x.iter().map(|x| x / norm).collect();
    for _ in 0..5 {
        let transposed: Vec<f64> = (0..x.len()).map(|at| x[(at % rows) * columns + at / rows]).collect();
        let a = times(&x, &transposed, rows, columns, rows);
        let ax = times(&a, &x, rows, rows, columns);
        let aax = times(&a, &ax, rows, rows, columns);
        for i in 0..x.len() {
            x[i] = 3.4445 * x[i] - 4.7750 * ax[i] + 2.0315 * aax[i];
        }
    }
    x
}

#[test]
fn muon_follows_its_algorithm() {
    for nesterov in [true, false] {
        let mut problem = blocks::<f64>(0.0);
        let range = problem.layout.get("fc.weight").unwrap().range();
        let mut x = problem.start().unwrap()[range.clone()].to_vec();
        let mut m = vec![0.0; x.len()];
        for _ in 0..6 {
            let g: Vec<f64> = x.iter().enumerate().map(|(i, x)| (2.0 + (i as f64).cos()) * x).collect();
            m.iter_mut().zip(&g).for_each(|(m, g)| *m = 0.95 * *m + 0.05 * g);
            let ahead = m.iter().zip(&g).map(|(m, g)| if nesterov { 0.95 * m + 0.05 * g } else { *m });
            let update = newton_schulz(&ahead.collect::<Vec<f64>>(), 6, 4);
            let step = 0.02 * (6.0f64 / 4.0).sqrt();
            x.iter_mut().zip(&update).for_each(|(x, u)| *x = (1.0 - 0.02 * 0.1) * *x - step * u);
        }
        let muon = Muon { nesterov, weight_decay: 0.1, ..Muon::default() };
        // Ours multiplies in single precision.
        close(&run(&muon, &mut problem, 6)[range], &x, 1e-5);
    }
}

/// Singular values of the row-major matrix.
fn singular_values(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    thalweg_linalg::dense::singular_values(faer::MatRef::from_row_major_slice(x, rows, columns)).unwrap()
}

#[test]
fn newton_schulz_orthogonalises() {
    for (rows, columns) in [(7, 7), (5, 40), (40, 5), (1, 9), (9, 1), (3, 300)] {
        let x: Vec<f64> = (0..rows * columns).map(|i| (i as f64 * 1.7 + (i as f64).powi(2)).sin()).collect();
        let mut y = x.clone();
        orthogonalise(&mut y, rows, columns, 5);
        let values = singular_values(&y, rows, columns);
        assert!(values.iter().all(|s| (0.6..1.3).contains(s)), "{rows}×{columns}: {values:?}");
        // The singular vectors stay: Xᵀ Y is symmetric where Y = U f(Σ) Vᵀ.
        let at = |m: &[f64], i: usize, j: usize| m[i * columns + j];
        let product = |i: usize, j: usize| (0..rows).map(|r| at(&x, r, i) * at(&y, r, j)).sum::<f64>();
        for i in 0..columns.min(8) {
            for j in 0..i {
                assert!((product(i, j) - product(j, i)).abs() < 1e-4 * rows as f64);
            }
        }
    }
    let mut zero = vec![0.0f32; 6];
    orthogonalise(&mut zero, 2, 3, 5);
    assert_eq!(zero, [0.0; 6]);
}

#[test]
fn muon_moves_matrices_by_an_orthogonal_step_and_the_rest_by_adamw() {
    let mut problem = blocks::<f64>(0.0);
    let start = problem.start().unwrap();
    let muon = Muon { adam_blocks: vec!["head.*".into()], ..Muon::default() };
    let end = run(&muon, &mut problem, 1);
    let step = |name: &str| {
        let range = problem.layout.get(name).unwrap().range();
        let pairs = end[range.clone()].iter().zip(&start[range]);
        pairs.map(|(a, b)| a - b).collect::<Vec<f64>>()
    };
    let stretch = (6.0f64 / 4.0).sqrt();
    let linear: Vec<f64> = step("fc.weight").iter().map(|d| d / (0.02 * stretch)).collect();
    assert!(singular_values(&linear, 6, 4).iter().all(|s| (0.6..1.3).contains(s)));
    let conv: Vec<f64> = step("conv.weight").iter().map(|d| d / 0.02).collect();
    assert!(singular_values(&conv, 4, 18).iter().all(|s| (0.6..1.3).contains(s)));
    for name in ["fc.bias", "table", "head.weight"] {
        assert!(
            step(name).iter().all(|d| (0.9e-3..1.000001e-3).contains(&d.abs())),
            "{name} moves by Adam's rate"
        );
    }
    assert!(step("fixed.weight").iter().all(|d| *d == 0.0));
}

#[test]
fn groups_override_rates_and_decay() {
    let start = blocks::<f64>(0.0).start().unwrap();
    let groups = vec![
        Group { pattern: "fc.*".into(), kind: Some(Kind::Bias), weight_decay: Some(0.0), ..Group::default() },
        Group { pattern: "fc.*".into(), lr_scale: 0.5, ..Group::default() },
    ];
    let sgd = Sgd { momentum: 0.0, weight_decay: 0.1, groups, ..Sgd::default() };
    let mut problem = blocks(0.0);
    let end = run(&sgd, &mut problem, 1);
    for block in problem.layout.blocks() {
        let (lr, decay) = match block.name.as_str() {
            "fc.weight" => (0.05, 0.1),
            "fc.bias" => (0.1, 0.0),
            "fixed.weight" => (0.0, 0.0),
            _ => (0.1, 0.1),
        };
        let formula = |i: usize| start[i] * (1.0 - lr * (2.0 + (i as f64).cos() + decay));
        let expected: Vec<f64> = block.range().map(formula).collect();
        close(&end[block.range()], &expected, 1e-14);
    }
    let groups = vec![Group { pattern: "cf.*".into(), ..Group::default() }];
    let error = Run::new(&Sgd { groups, ..Sgd::default() }, &mut problem).stop(Stop::Steps(1)).run();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("groups.pattern = \"cf.*\"") && error.contains("fc.weight"), "{error}");
}

#[test]
fn masked_weights_stay_exactly_zero() {
    fn check<M: for<'a> Method<Masked<'a, Bowl<f32>>, Solution = Vec<f32>>>(method: M, name: &str) {
        let mut problem = blocks::<f32>(0.3);
        let n = problem.layout.len();
        let alive: Vec<bool> = (0..n).map(|i| i % 3 != 0).collect();
        let mut masked = Masked::new(&mut problem, alive.clone()).unwrap();
        let end = Run::new(&method, &mut masked).stop(Stop::Steps(4)).run().unwrap().solution;
        for (x, alive) in end.iter().zip(alive) {
            assert_eq!(alive, x.to_bits() != 0, "{name}");
        }
    }
    check(Sgd::default(), "sgd");
    check(Adam::default(), "adam");
    check(AdamW::default(), "adamw");
    check(Lamb::default(), "lamb");
    check(Muon::default(), "muon");
    check(thalweg_optim::Lbfgs::default(), "lbfgs");
    let mut problem = blocks::<f32>(0.0);
    let error = Masked::new(&mut problem, vec![true; 3]).expect_err("the mask is too short").to_string();
    assert!(error.contains("the mask has 3 elements"), "{error}");
}

#[test]
fn the_schedule_scales_the_learning_rate() {
    let schedule = Schedule::parse("step:1,2:0.5").unwrap();
    let sgd = Sgd { momentum: 0.0, schedule, ..Sgd::default() };
    close(&run(&sgd, &mut bowl(), 3)[..1], &[0.9 * 0.95 * 0.975], 1e-15);
}

#[test]
fn trait_objects_are_problems() {
    let mut problem: Box<dyn Objective<Scalar = f64>> = Box::new(bowl());
    let a = run(&Adam::default(), &mut *problem, 5);
    assert_eq!(a, run(&Adam::default(), &mut bowl(), 5));
}

#[test]
fn bad_hyper_parameters_are_named() {
    let refuse = |result: Result<(), RunError>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
    };
    macro_rules! refuse {
        ($method:expr, $expected:literal) => {
            let mut problem = bowl();
            let result = Run::new(&$method, &mut problem).stop(Stop::Steps(1)).run();
            refuse(result.map(|_| ()), $expected);
        };
    }
    refuse!(Sgd { lr: -0.1, ..Sgd::default() }, "lr = -0.1 is not allowed");
    refuse!(Sgd { lr: f64::NAN, ..Sgd::default() }, "lr = NaN");
    refuse!(Sgd { momentum: 1.0, ..Sgd::default() }, "momentum = 1");
    refuse!(Sgd { momentum: 0.0, nesterov: true, ..Sgd::default() }, "nesterov = true");
    refuse!(Adam { betas: (0.9, 1.0), ..Adam::default() }, "betas = (0.9, 1)");
    refuse!(AdamW { weight_decay: -1.0, ..AdamW::default() }, "weight_decay = -1");
    refuse!(Lamb { eps: -1.0, ..Lamb::default() }, "eps = -1");
    refuse!(Muon { iterations: 0, ..Muon::default() }, "iterations = 0");
    refuse!(Muon { adam_blocks: vec!["y".into()], ..Muon::default() }, "step 0: adam_blocks = \"y\"");
    refuse!(thalweg_optim::Lbfgs { c2: 1.0, ..Default::default() }, "c2 = 1");
    let linear = Schedule::parse("linear").unwrap();
    refuse!(Adam { schedule: linear, ..Adam::default() }, "schedule = linear");
    let typo = serde_json::from_str::<Adam>(r#"{"lr": 0.1, "beta": 0.9}"#).unwrap_err().to_string();
    assert!(typo.contains("unknown field `beta`"), "{typo}");
    let read: AdamW = serde_json::from_str(r#"{"lr": 0.1, "schedule": "warmup:5+cosine"}"#).unwrap();
    assert_eq!((read.lr, read.eps, read.schedule.warmup), (0.1, 1e-8, 5));
    assert!(serde_json::from_str::<AdamW>(r#"{"schedule": "sine"}"#).is_err());
    let mut empty = Function::new(|_: &[f64], _: &mut [f64]| 0.0, vec![]);
    let error = Run::new(&Adam::default(), &mut empty).stop(Stop::Steps(1)).run().unwrap_err();
    assert!(error.to_string().contains("no unknowns"), "{error}");
}
