//! Closed forms and published numbers.

use thalweg_adahessian::{
    AdaHessian, Average, BlockRules, Probe, average, estimated_diagonal, exact_diagonal,
};
use thalweg_core::{Kind, Layout, Objective, Seed};
use thalweg_optim::functions::{Function, Quadratic, Rosenbrock};
use thalweg_testing::{Bowl, bits, close};

use crate::common::{run, update};

const H: [f64; 2] = [1.0, 100.0];
const ONES: [f64; 2] = [1.0, 1.0];

/// The symmetric matrix of the enumeration.
const A: [f64; 16] = [2.0, 1.0, 0.0, 0.5, 1.0, 3.0, -1.0, 0.0, 0.0, -1.0, 1.0, 0.25, 0.5, 0.0, 0.25, 4.0];

fn method() -> AdaHessian {
    AdaHessian::default()
}

#[test]
fn a_diagonal_quadratic_forgets_its_condition_number() {
    let printed = [[0.8500149985, 0.8500001500], [0.7118697342, 0.7118423816], [0.5853021382, 0.5852645091]];
    // A constant diagonal: how often it is refreshed, and by how many probes, does not matter.
    for (hessian_every, probes) in [(1, 1), (2, 1), (3, 4), (10, 1)] {
        for (steps, expected) in (1..).zip(&printed) {
            let method = AdaHessian { hessian_every, probes, ..method() };
            let theta = run(&method, &mut Bowl::<f64>::flat(&H, &ONES), steps);
            for (x, expected) in theta.iter().zip(expected) {
                assert!(
                    (x - expected).abs() <= 0.5e-10,
                    "every {hessian_every}, step {steps}: {x} {expected}"
                );
            }
        }
    }
    let every =
        |hessian_every| run(&AdaHessian { hessian_every, ..method() }, &mut Bowl::<f64>::flat(&H, &ONES), 40);
    (2..8).for_each(|n| close(&every(n), &every(1), 1e-13));
}

#[test]
fn newton_in_one_step() {
    let newton = AdaHessian { lr: 1.0, eps: 0.0, ..method() };
    assert_eq!(run(&newton, &mut Bowl::<f64>::flat(&H, &ONES), 1), [0.0, 0.0]);
}

#[test]
fn powers_between_momentum_and_newton() {
    let half = AdaHessian { hessian_power: 0.5, ..method() };
    let theta = run(&half, &mut Bowl::<f64>::flat(&H, &ONES), 1);
    close(&theta, &[0.8500149985, -0.4999850002], 0.51e-10);
    close(&theta, &[1.0 - 0.15 / 1.0001, 1.0 - 15.0 / 10.0001], 1e-14);
    // k = 0 is θ ← θ − η m̂/(1+ε), and asks for no product.
    let (mut x, mut m, mut problem) = (ONES, [0.0; 2], Bowl::<f64>::flat(&H, &ONES));
    let flat = AdaHessian { hessian_power: 0.0, lr: 0.01, ..method() };
    for t in 1..=20 {
        for i in 0..2 {
            m[i] = 0.9 * m[i] + 0.1 * H[i] * x[i];
            x[i] -= 0.01 * m[i] / (1.0 - 0.9f64.powi(t)) / (1.0 + 1e-4);
        }
    }
    close(&run(&flat, &mut problem, 20), &x, 1e-12);
    assert_eq!(problem.products, 0);
    // Every other k interpolates: a general power agrees with the two special ones nearby.
    let at =
        |hessian_power| run(&AdaHessian { hessian_power, ..method() }, &mut Bowl::<f64>::flat(&H, &ONES), 3);
    close(&at(0.5 + 1e-12), &at(0.5), 1e-9);
    close(&at(1.0 - 1e-12), &at(1.0), 1e-9);
}

/// z ⊙ Az for each of the 2⁴ probes.
fn estimates() -> Vec<Vec<f64>> {
    let product = |bits: u32| {
        let z: Vec<f64> = (0..4).map(|i| if bits >> i & 1 == 1 { 1.0 } else { -1.0 }).collect();
        let row = |i: usize| z[i] * (0..4).map(|j| A[4 * i + j] * z[j]).sum::<f64>();
        (0..4).map(row).collect()
    };
    (0..16).map(product).collect()
}

fn mean(f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let terms: Vec<_> = estimates().iter().map(|d| f(d)).collect();
    (0..terms[0].len()).map(|i| terms.iter().map(|t| t[i]).sum::<f64>() / 16.0).collect()
}

/// One number per block of two, averaged.
fn pairs(d: &[f64], mode: Average) -> Vec<f64> {
    let mut d = d.to_vec();
    average(&mut d, 2, mode);
    assert!(d[0] == d[1] && d[2] == d[3]);
    vec![d[0], d[2]]
}

fn squares(d: Vec<f64>) -> Vec<f64> {
    d.into_iter().map(|d| d * d).collect()
}

#[test]
fn all_probes_of_four_unknowns() {
    assert_eq!(mean(<[f64]>::to_vec), [2.0, 3.0, 1.0, 4.0]);
    assert_eq!(mean(|d| squares(d.to_vec())), [5.25, 11.0, 2.0625, 16.3125]);
    assert_eq!(mean(|d| d.iter().map(|d| d.abs()).collect()), [2.0, 3.0, 1.125, 4.0]);
    assert_eq!(mean(|d| squares(pairs(d, Average::Signed))), [7.5625, 6.625]);
    assert_eq!(mean(|d| pairs(d, Average::Abs)), [2.5, 2.5625]);
    assert_eq!(mean(|d| squares(pairs(d, Average::Abs))), [7.5625, 6.859375]);
}

#[test]
fn signed_blocks_have_their_closed_form() {
    let a = |i: usize, j: usize| A[4 * i + j];
    for (block, expected) in [([0, 1], 7.5625), ([2, 3], 6.625)] {
        let diagonal = (a(block[0], block[0]) + a(block[1], block[1])) / 2.0;
        let outside: f64 =
            (0..4).filter(|j| !block.contains(j)).flat_map(|j| block.map(|i| a(i, j).powi(2))).sum();
        let inside = 2.0 * a(block[0], block[1]).powi(2); // the ordered pairs i ≠ j
        assert_eq!(diagonal * diagonal + (outside + 2.0 * inside) / 4.0, expected);
    }
}

#[test]
fn an_update_keeps_the_squared_average_of_each_chunk() {
    // v after one update is (1 − β₂) D²: what the enumeration says of D holds for the method.
    let mut layout = Layout::default();
    layout.push("w", &[2, 2], Kind::Linear);
    for mode in [Average::Abs, Average::Signed] {
        let method = AdaHessian { average: mode, ..method() };
        let v = mean(|d| {
            let v = update(&method, &layout, &mut [0.0; 4], &[0.0; 4], d).v;
            v.iter().map(|v| v / (1.0 - 0.999)).collect()
        });
        close(&v, &mean(|d| squares(pairs(d, mode))), 1e-14);
    }
    let v = update(
        &AdaHessian { average: Average::None, ..method() },
        &layout,
        &mut [0.0; 4],
        &[0.0; 4],
        &ONES.repeat(2),
    )
    .v;
    assert_eq!(v.len(), 4, "no averaging keeps one number per unknown");
}

#[test]
fn products_of_the_rosenbrock_function() {
    let mut problem = Function::new(Rosenbrock, vec![-1.2, 1.0]);
    let (mut grad, mut products) = (vec![0.0; 2], vec![vec![0.0; 2]; 2]);
    let (u, v) = (vec![1.0, 1.0], vec![1.0, -1.0]);
    let probes = [u.clone(), v.clone()];
    problem.value_grad_hvp(&[-1.2, 1.0], &mut grad, &probes, &mut products).unwrap();
    close(&grad, &[-215.6, -88.0], 1e-13);
    close(&products[0], &[1810.0, 680.0], 1e-13);
    close(&products[1], &[850.0, 280.0], 1e-13);
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!((inner(&v, &products[0]) - inner(&u, &products[1])).abs() < 1e-9);
    // The Hessian's columns: 1200 x² − 400 y + 2 and 200 on the diagonal.
    close(&exact_diagonal(&mut problem, &[-1.2, 1.0]).unwrap(), &[1330.0, 200.0], 1e-13);
}

#[test]
fn the_estimate_converges_at_its_standard_error() {
    let mut problem = Function::new(Quadratic::new(A.to_vec(), vec![0.0; 4]).unwrap(), vec![0.0; 4]);
    let theta = [0.3; 4];
    let exact = exact_diagonal(&mut problem, &theta).unwrap();
    assert_eq!(exact, [2.0, 3.0, 1.0, 4.0]);
    for (probe, own) in [(Probe::Rademacher, 0.0), (Probe::Gaussian, 2.0)] {
        for r in [50, 5000] {
            let estimate = estimated_diagonal(&mut problem, &theta, r, probe, Seed(4)).unwrap();
            for i in 0..4 {
                // Variance of z_i Σ_j H_ij z_j: the off-diagonal squares, and 2 H_ii² for a normal z.
                let others: f64 = (0..4).filter(|j| *j != i).map(|j| A[4 * i + j].powi(2)).sum();
                let error = ((others + own * exact[i] * exact[i]) / r as f64).sqrt();
                assert!((estimate[i] - exact[i]).abs() <= 5.0 * error, "{probe:?} {r} {i}: {estimate:?}");
            }
        }
    }
}

#[test]
fn the_scale_of_the_loss_does_not_matter() {
    // ε = 0, k = 1, λ = 0; powers of two are exact, so even the bits agree.
    let at = |scale: f64, clip_update: Option<f64>| {
        let method = AdaHessian { eps: 0.0, clip_update, ..method() };
        let mut problem = Bowl { scale, ..Bowl::<f64>::network() };
        run(&method, &mut problem, 6)
    };
    for clip in [None, Some(0.01)] {
        assert_eq!(bits(&at(1024.0, clip)), bits(&at(1.0, clip)));
        close(&at(1e-3, clip), &at(1.0, clip), 1e-9);
    }
}

#[test]
fn decay_alone_shrinks_by_one_minus_rate_times_decay() {
    let method = AdaHessian { weight_decay: 0.2, ..method() };
    let mut problem = Bowl::<f64>::flat(&[0.0; 3], &[1.0, -2.0, 3.0]);
    let factor = (1.0 - 0.15 * 0.2f64).powi(7);
    close(&run(&method, &mut problem, 7), &[factor, -2.0 * factor, 3.0 * factor], 1e-14);
}

#[test]
fn a_saddle_is_left() {
    let mut before = vec![1.0, 1e-3];
    for steps in 1..=20 {
        let theta = run(&method(), &mut Bowl::<f64>::flat(&[1.0, -1.0], &[1.0, 1e-3]), steps);
        assert!(theta[1] > before[1], "step {steps}: {theta:?}");
        assert!(steps > 6 || theta[0].abs() < before[0].abs(), "step {steps}: {theta:?}");
        before = theta;
    }
    assert!(before[0].abs() < 1.0 && before[1] > 5e-3, "{before:?}");
}

/// The authors' program for images, written again as plain scalars from the formulas: `chunks` are
/// the averaged runs of elements.
struct Reference<'a> {
    chunks: &'a [usize],
    k: f64,
    decay: f64,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Reference<'_> {
    fn step(&mut self, t: i32, theta: &mut [f64], g: &[f64], products: &[f64]) {
        let mut first = 0;
        for &b in self.chunks {
            let range = first..first + b;
            let d = products[range.clone()].iter().map(|h| h.abs()).sum::<f64>() / b as f64;
            for i in range {
                self.m[i] = 0.9 * self.m[i] + 0.1 * g[i];
                self.v[i] = 0.999 * self.v[i] + 0.001 * d * d;
                let (m, v) = (self.m[i] / (1.0 - 0.9f64.powi(t)), self.v[i] / (1.0 - 0.999f64.powi(t)));
                theta[i] -= 0.15 * (m / (v.sqrt().powf(self.k) + 1e-4) + self.decay * theta[i]);
            }
            first += b;
        }
    }
}

#[test]
fn many_steps_follow_the_reference() {
    let mut layout = Layout::default();
    layout.push("conv.weight", &[2, 2, 3, 3], Kind::Conv);
    layout.push("conv1d.weight", &[2, 1, 5], Kind::Conv);
    layout.push("norm.weight", &[3], Kind::NormScale);
    layout.push("fc.weight", &[3, 40], Kind::Linear);
    layout.push("table", &[2, 6], Kind::Embedding);
    let n = layout.len();
    let natural: Vec<usize> = [vec![9; 4], vec![5; 2], vec![1; 3], vec![40; 3], vec![6; 2]].concat();
    let thirty_twos: Vec<usize> =
        [vec![9; 4], vec![5; 2], vec![1; 3], vec![32, 32, 32, 24], vec![6; 2]].concat();
    let wave = |seed: f64| (0..n).map(|i| (seed + 1.7 * i as f64).sin()).collect::<Vec<f64>>();
    for (rules, chunks) in [("", &natural), ("linear=32", &thirty_twos)] {
        for (k, decay) in [(1.0, 0.01), (0.5, 0.0), (0.3, 0.1)] {
            let blocks: BlockRules = rules.parse().unwrap();
            let method = AdaHessian { hessian_power: k, weight_decay: decay, blocks, ..method() };
            let mut reference = Reference { chunks, k, decay, m: vec![0.0; n], v: vec![0.0; n] };
            let (mut ours, mut theirs) = (wave(0.1), wave(0.1));
            let mut moments = method.moments(&layout).unwrap();
            for t in 1..=20 {
                let (g, hz) = (wave(t as f64), wave(10.0 * t as f64));
                method.update(&layout, &mut moments, &mut ours, &g, Some(&hz)).unwrap();
                reference.step(t, &mut theirs, &g, &hz);
            }
            close(&ours, &theirs, 1e-11);
        }
    }
}
