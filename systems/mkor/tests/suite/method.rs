//! The methods: preconditioned gradients, schedules, MKOR-H, masks, guards; the same bits after a
//! resume and on any number of threads.

use proptest::prelude::*;
use thalweg_core::{
    Iterate, LayerStats, Layered, Layout, Method, MethodError, Objective, Problem, Progress, Real, Run,
    SecondMoments, Seed, Stop,
};
use thalweg_mkor::backend::BackendState;
use thalweg_mkor::knee::Scheduled;
use thalweg_mkor::method::MkorState;
use thalweg_mkor::settings::Vector;
use thalweg_mkor::{Backend, Eva, Form, Kfac, Knee, Mkor, Rescale, Rule, Storage};
use thalweg_optim::{Adam, AdamW, Lamb, Muon, Sgd};
use thalweg_testing::{bits, close, on_threads};

use crate::common::{Given, Op, Tiny, descent, inverse, linear, mkor, momentum, refusal, run, times, wave};

fn step<P: Layered, M: Method<P>>(method: &M, problem: &mut P, state: &mut M::State, t: u64) -> Progress {
    problem.begin_step(t).unwrap();
    method.step(problem, state).unwrap()
}

/// U of the last of `steps` steps on a gradient that never changes.
fn direction<M: Method<Given, Solution = Vec<f64>>>(method: &M, problem: &Given, steps: u64) -> Vec<f64> {
    let after = |steps| run(method, &mut problem.clone(), steps);
    after(steps - 1).iter().zip(after(steps)).map(|(a, b)| a - b).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The published program's trajectory, written down from its description in plain loops: `released`,
/// the sum of norms, SGD with momentum 0.9. It stands for the official package, whose parameters a
/// re-implementation from the same description has followed to 4e-8 over 12 steps in f32.
fn official(problem: &mut Tiny<f64>, steps: u64, freq: u64, warmup: u64, lr: f64) -> Vec<f64> {
    struct Pair {
        l: Vec<f64>,
        r: Vec<f64>,
    }
    let update = |j: &mut Vec<f64>, v: &[f64]| {
        let d = v.len();
        let q: Vec<f64> =
            (0..d * d).map(|at| 0.95 * j[at] + if at / d == at % d { 0.05 } else { 0.0 }).collect();
        let qv: Vec<f64> = (0..d).map(|i| (0..d).map(|k| q[i * d + k] * v[k]).sum()).collect();
        let denominator = 1.0 + (0..d).map(|i| v[i] * qv[i]).sum::<f64>();
        *j = (0..d * d).map(|at| q[at] - qv[at / d] * qv[at % d] / denominator).collect();
    };
    let eye = |d: usize| (0..d * d).map(|at| f64::from(at / d == at % d)).collect::<Vec<f64>>();
    let layout = problem.layout.clone();
    let mut theta = problem.start().unwrap();
    let (mut grad, mut buffer) = (vec![0.0; theta.len()], vec![0.0; theta.len()]);
    let (mut stats, mut pairs) = (Vec::new(), Vec::<Pair>::new());
    for t in 0..steps {
        problem.begin_step(t).unwrap();
        problem.value_grad_layers(&theta, &mut grad, false, &mut stats).unwrap();
        let due = t % freq == 0 || t < warmup;
        for (l, s) in stats.iter().enumerate() {
            let (p, bias) = (s.output_grad.len(), s.bias.is_some());
            let right: Vec<f64> = s
                .input_mean
                .iter()
                .copied()
                .chain(bias.then_some(1.0))
                .map(|x| x.clamp(-100.0, 100.0))
                .collect();
            let left: Vec<f64> =
                s.output_grad.iter().map(|g| (g / s.positions as f64).clamp(-100.0, 100.0)).collect();
            let (q, d) = (s.input_mean.len(), right.len());
            match pairs.get_mut(l) {
                None => pairs.push(Pair { l: eye(p), r: eye(d) }),
                Some(pair) if due => {
                    update(&mut pair.r, &right);
                    update(&mut pair.l, &left);
                }
                Some(_) => {}
            }
            let w = layout.blocks()[s.weight].offset;
            let b = s.bias.map(|b| layout.blocks()[b].offset);
            let raw: Vec<f64> = (0..p * d)
                .map(|at| {
                    let (i, j) = (at / d, at % d);
                    if j < q { grad[w + i * q + j] } else { grad[b.unwrap() + i] }
                })
                .collect();
            let u = times(&times(&pairs[l].l, &raw, p), &pairs[l].r, d);
            let sum_of_norms = |x: &[f64]| {
                let part = |weight: bool| {
                    let kept = x.iter().enumerate().filter(|(at, _)| (at % d < q) == weight);
                    kept.map(|(_, x)| x * x).sum::<f64>().sqrt()
                };
                part(true) + part(false)
            };
            let ratio = sum_of_norms(&raw) / sum_of_norms(&u);
            for (at, u) in u.iter().enumerate() {
                let (i, j) = (at / d, at % d);
                grad[if j < q { w + i * q + j } else { b.unwrap() + i }] = ratio * u;
            }
        }
        for i in 0..theta.len() {
            buffer[i] = 0.9 * buffer[i] + grad[i];
            theta[i] -= lr * buffer[i];
        }
    }
    theta
}

#[test]
fn the_official_trajectory_is_followed() {
    let expected = official(&mut Tiny::conv(), 12, 3, 2, 0.1);
    let start = Tiny::<f64>::conv().start;
    assert!(expected.iter().zip(&start).any(|(a, b)| (a - b).abs() > 0.05));
    // The low-rank form leaves out what changes a gradient by less than 1e-4.
    for (form, tolerance) in [(Form::Auto, 1e-12), (Form::Dense, 1e-12), (Form::LowRank(12), 1e-3)] {
        let method = Mkor { inv_freq: 3, warmup_steps: 2, rescale: Rescale::Sum, form, ..mkor() };
        close(&run(&method, &mut Tiny::<f64>::conv(), 12), &expected, tolerance);
        let single = run(&method, &mut Tiny::<f32>::conv(), 12);
        let single: Vec<f64> = single.into_iter().map(f64::from).collect();
        close(&single, &expected, tolerance.max(2e-5));
    }
}

#[test]
fn without_means_it_is_the_backend() {
    fn check<T: Real>() {
        let ops = [linear(6, 8, false, true), linear(8, 3, false, false)];
        let silent = || Tiny::<T> { silent: true, ..Tiny::new(&ops, 40, 10) };
        let backends = [
            momentum(0.1),
            Backend::Adam(Adam::default()),
            Backend::AdamW(AdamW::default()),
            Backend::Lamb(Lamb::default()),
            Backend::Muon(Muon::default()),
        ];
        for backend in backends {
            let plain = bits(&run(&backend, &mut silent(), 25));
            for form in [Form::Dense, Form::LowRank(7)] {
                let method = Mkor { backend: backend.clone(), inv_freq: 2, form, ..mkor() };
                assert!(bits(&run(&method, &mut silent(), 25)) == plain, "{method:?}");
            }
            let method = Mkor { backend: backend.clone(), exclude: vec!["fc*".into()], ..mkor() };
            assert!(
                bits(&run(&method, &mut Tiny::<T>::mlp(), 25))
                    == bits(&run(&backend, &mut Tiny::<T>::mlp(), 25))
            );
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn factors_change_only_on_schedule() {
    let method = Mkor { inv_freq: 4, warmup_steps: 3, ..mkor() };
    let mut problem = Tiny::<f64>::mlp();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let factors =
        |s: &MkorState<f64>| s.state.layers.list.iter().map(|l| l.factors.clone()).collect::<Vec<_>>();
    let mut before = factors(&state);
    let mut updates = 0.0;
    for t in 0..14 {
        let due = t % 4 == 0 || t < 3;
        updates += f64::from(due);
        let progress = step(&method, &mut problem, &mut state, t);
        let after = factors(&state);
        assert_eq!(after != before, due, "step {t}");
        assert_eq!(progress.metric("factor_updates"), Some(updates));
        // Two vectors per layer: 8 and 6 + 1, 3 and 8 + 1 numbers of four bytes.
        assert_eq!(progress.metric("bytes"), Some(4.0 * (15.0 + 12.0) * updates));
        if t == 0 {
            // The first update only sets the identity.
            assert!(after.iter().flatten().all(|f| f.right.spectrum().unwrap() == [1.0; 9][..f.right.dim()]));
        }
        before = after;
    }
    let (theta, layer) = (state.theta().to_vec(), &state.state.layers.list[0]);
    assert_eq!((theta.len(), layer.outputs(), layer.inputs(), layer.name.as_str()), (83, 8, 7, "fc0.weight"));
}

fn kronecker(rows: usize, positions: usize) -> (Given, Vec<f64>, Vec<f64>) {
    // Symmetric positive definite second moments, with the mean as a bias needs it.
    let (p, q) = (3, 4);
    let gram = |n: usize, speed: f64| {
        let x = wave(n * 9, speed);
        let entry = |at: usize| (0..9).map(|k| x[at / n * 9 + k] * x[at % n * 9 + k]).sum::<f64>();
        (0..n * n).map(entry).collect::<Vec<f64>>()
    };
    let (mean, output) = (wave(q, 0.2), gram(p, 0.59));
    let scatter = gram(q, 0.83).into_iter().enumerate();
    let a: Vec<f64> = scatter.map(|(at, x)| x + mean[at / q] * mean[at % q]).collect();
    let mut problem = Given::new(wave(p * q + p, 0.47), mean.clone(), vec![0.1; p], true);
    problem.stats.moments = Some(SecondMoments { input: a.clone(), output: output.clone() });
    (problem.stats.rows, problem.stats.positions) = (rows, positions);
    let augmented = (0..25).map(|at| match (at / 5, at % 5) {
        (4, 4) => 1.0,
        (4, j) => mean[j],
        (i, 4) => mean[i],
        (i, j) => a[i * 4 + j],
    });
    let examples = rows as f64 / positions as f64;
    let scale = examples / positions as f64;
    (problem.clone(), augmented.collect(), output.iter().map(|g| scale * g).collect())
}

#[test]
fn kfac_is_the_damped_inverse_of_the_kronecker_product() {
    let (problem, a, g) = kronecker(12, 2);
    let method = Kfac { backend: descent(1.0), damping: 0.02, kl_clip: None, ..Kfac::default() };
    let u = direction(&method, &problem, 1);
    let (p, d, n) = (3, 5, 15);
    // The averages start from the identity.
    let mix = |m: &[f64], d: usize| -> Vec<f64> {
        m.iter().enumerate().map(|(i, x)| 0.05 * x + if i % (d + 1) == 0 { 0.95 } else { 0.0 }).collect()
    };
    let (a, g) = (mix(&a, d), mix(&g, p));
    let matrix: Vec<f64> = (0..n * n)
        .map(|at| {
            let (r, c) = (at / n, at % n);
            g[r / d * p + c / d] * a[r % d * d + c % d] + if r == c { 0.02 } else { 0.0 }
        })
        .collect();
    let raw: Vec<f64> = (0..n)
        .map(|at| if at % d < 4 { problem.grad[at / d * 4 + at % d] } else { problem.grad[12 + at / d] })
        .collect();
    let expected = times(&inverse(&matrix, n), &raw, n);
    let expected: Vec<f64> = (0..n)
        .map(|i| if i < 12 { expected[i / 4 * d + i % 4] } else { expected[(i - 12) * d + 4] })
        .collect();
    close(&u, &expected, 1e-10);
    // It sends matrices where MKOR sends vectors.
    let mut state = method.init(&mut problem.clone(), Seed(1)).unwrap();
    let progress = step(&method, &mut problem.clone(), &mut state, 0);
    assert_eq!(progress.metric("bytes"), Some(4.0 * (3.0 + 5.0 + 9.0 + 25.0)));
    // The bound on the step: ν²Σ η²⟨U, 𝒢⟩ = κ.
    let inner = |u: &[f64]| u.iter().zip(&problem.grad).map(|(u, g)| u * g).sum::<f64>();
    let clipped = direction(&Kfac { kl_clip: Some(1e-3), ..method.clone() }, &problem, 1);
    let nu = (1e-3 / inner(&u)).sqrt();
    assert!(nu < 1.0);
    close(&clipped, &u.iter().map(|u| nu * u).collect::<Vec<f64>>(), 1e-12);
    // A bound that is not reached changes nothing; rescaling comes before it.
    assert_eq!(direction(&Kfac { kl_clip: Some(1e9), ..method.clone() }, &problem, 1), u);
    let joint = direction(&Kfac { rescale: Rescale::Joint, ..method }, &problem, 1);
    assert!((norm(&joint) / norm(&problem.grad) - 1.0).abs() < 1e-12);
}

#[test]
fn eva_is_the_damped_inverse_of_the_outer_product_of_means() {
    let problem = Given::new(wave(15, 0.47), wave(5, 0.9), wave(3, 0.7), false);
    let method = Eva { backend: descent(1.0), damping: 0.3, kl_clip: None, ..Eva::default() };
    let u = direction(&method, &problem, 2);
    let v: Vec<f64> =
        (0..15).map(|at| problem.stats.output_grad[at / 5] * problem.stats.input_mean[at % 5]).collect();
    let matrix: Vec<f64> =
        (0..225).map(|at| v[at / 15] * v[at % 15] + if at / 15 == at % 15 { 0.3 } else { 0.0 }).collect();
    close(&u, &times(&inverse(&matrix, 15), &problem.grad, 15), 1e-12);
    // Running means: a new value weighs 0.95.
    let mut problem = problem;
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    step(&method, &mut problem, &mut state, 0);
    problem.stats.input_mean = vec![1.0; 5];
    step(&method, &mut problem, &mut state, 1);
    let means = state.layers.list[0].factors.as_ref().unwrap();
    assert!((means.input[0] - (0.95 + 0.05 * 0.4f64.sin())).abs() < 1e-15);
}

#[test]
fn rescaling_keeps_the_norm_of_each_layer() {
    let problem = Given::new(wave(15, 0.47), wave(4, 0.9), wave(3, 0.7), true);
    let method = |rescale| Mkor { backend: descent(1.0), rescale, ..mkor() };
    let (weight, bias) = (norm(&problem.grad[..12]), norm(&problem.grad[12..]));
    let joint = direction(&method(Rescale::Joint), &problem, 7);
    assert!((norm(&joint) / norm(&problem.grad) - 1.0).abs() < 1e-12);
    let sum = direction(&method(Rescale::Sum), &problem, 7);
    assert!(((norm(&sum[..12]) + norm(&sum[12..])) / (weight + bias) - 1.0).abs() < 1e-12);
    let none = direction(&method(Rescale::None), &problem, 7);
    let ratios: Vec<f64> = joint.iter().zip(&none).map(|(a, b)| a / b).collect();
    assert!(norm(&none) < 0.9 * norm(&joint));
    close(&ratios, &[norm(&joint) / norm(&none); 15], 1e-9);
    // A gradient of zeros stays one.
    let still = Given { grad: vec![0.0; 15], ..problem };
    for rescale in [Rescale::Joint, Rescale::Sum, Rescale::None] {
        assert_eq!(direction(&method(rescale), &still, 7), [0.0; 15]);
    }
}

#[test]
fn entries_of_the_means_are_clipped() {
    let at = |a: f64| {
        let problem = Given::new(wave(4, 0.47), vec![a, 0.3], vec![0.2, -a], false);
        direction(&Mkor { backend: descent(1.0), ..mkor() }, &problem, 5)
    };
    assert_eq!(bits(&at(100.0)), bits(&at(1e9)));
    assert_ne!(bits(&at(100.0)), bits(&at(50.0)));
}

#[test]
fn groups_of_a_convolution_are_layers_of_their_own() {
    let (a, g, grad) = (wave(6, 0.9), wave(4, 0.7), wave(16, 0.47));
    let method = Mkor { backend: descent(1.0), ..mkor() };
    let mut both = Given::new(grad[..].to_vec(), vec![0.0; 3], g.clone(), true);
    (both.stats.groups, both.stats.input_mean) = (2, a.clone());
    let u = direction(&method, &both, 6);
    for k in 0..2 {
        let part = grad[6 * k..6 * k + 6].iter().chain(&grad[12 + 2 * k..14 + 2 * k]).copied().collect();
        let alone = Given::new(part, a[3 * k..3 * k + 3].into(), g[2 * k..2 * k + 2].into(), true);
        let expected = direction(&method, &alone, 6);
        close(&u[6 * k..6 * k + 6], &expected[..6], 1e-15);
        close(&u[12 + 2 * k..14 + 2 * k], &expected[6..], 1e-15);
    }
    let conv =
        Op { out: 4, inp: 2, kernel: 3, stride: 1, pad: 1, groups: 2, size: 4, bias: true, tanh: true };
    let mut problem = Tiny::<f64>::new(&[conv, linear(64, 3, true, false)], 20, 10);
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    step(&method, &mut problem, &mut state, 0);
    let names: Vec<&str> = state.state.layers.list.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["conv0.weight/0", "conv0.weight/1", "fc1.weight"]);
}

#[test]
fn frozen_blocks_and_pruned_weights_stay_as_they_are() {
    type Fit = fn(&mut Tiny<f64>) -> Vec<f64>;
    let methods: [Fit; 3] = [
        |p| run(&Mkor { inv_freq: 1, ..mkor() }, p, 9),
        |p| run(&Kfac { factor_freq: 1, inv_freq: 1, ..Kfac::default() }, p, 9),
        |p| run(&Eva::default(), p, 9),
    ];
    for method in methods {
        let mut problem = Tiny::<f64>::mlp();
        problem.layout.set_frozen("fc0.bias", true);
        problem.layout.set_frozen("fc1.weight", true);
        let start = problem.start.clone();
        let fixed: Vec<usize> = ["fc0.bias", "fc1.weight"]
            .iter()
            .flat_map(|name| problem.layout.get(name).unwrap().range())
            .collect();
        let end = method(&mut problem);
        assert!((0..end.len()).all(|i| (end[i] == start[i]) == fixed.contains(&i)));

        let mask: Vec<bool> = (0..start.len()).map(|i| i % 3 != 1).collect();
        let mut problem = Tiny { mask: Some(mask.clone()), ..Tiny::<f64>::mlp() };
        let end = method(&mut problem);
        assert!(end.iter().zip(&mask).all(|(x, mask)| (*x != 0.0) == *mask));
    }
    // The norm is that of the living part, and descent holds.
    let mut problem = Tiny { mask: Some((0..83).map(|i| i % 2 == 0).collect()), ..Tiny::<f64>::mlp() };
    let method = Mkor { backend: descent(1e-3), inv_freq: 1, ..mkor() };
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    for t in 0..6 {
        let (before, mut grad) = (state.theta().to_vec(), vec![0.0; 83]);
        problem.begin_step(t).unwrap();
        problem.value_grad(&before, &mut grad).unwrap();
        let raw: Vec<f64> = (0..83).map(|i| if i % 2 == 0 { grad[i] } else { 0.0 }).collect();
        let progress = method.step(&mut problem, &mut state).unwrap();
        let u: Vec<f64> = before.iter().zip(state.theta()).map(|(a, b)| 1e3 * (a - b)).collect();
        assert!((norm(&u) / norm(&raw) - 1.0).abs() < 1e-9);
        assert!(u.iter().zip(&raw).map(|(u, g)| u * g).sum::<f64>() > 0.0);
        // What is reported is the raw gradient.
        assert!((progress.metric("grad_norm").unwrap() / norm(&raw) - 1.0).abs() < 1e-12);
        let largest = raw.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
        assert_eq!(progress.metric("grad_max"), Some(largest));
    }
}

#[test]
fn statistics_that_are_not_finite_are_passed_over_and_ten_in_a_row_are_an_error() {
    let method = Mkor { inv_freq: 1, ..mkor() };
    let mut problem = Tiny { bad: 4..13, ..Tiny::<f64>::mlp() };
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    for t in 0..20 {
        let before = state.state.layers.list.first().map(|l| l.factors.clone());
        let progress = step(&method, &mut problem, &mut state, t);
        let bad = (4..13).contains(&t);
        assert_eq!(Some(&state.state.layers.list[0].factors) == before.as_ref(), bad, "step {t}");
        let skipped = (t.clamp(3, 12) - 3) as f64;
        assert_eq!(progress.metric("updates_skipped").unwrap_or(0.0), skipped);
    }
    assert!(state.theta().iter().all(|x| x.is_finite()));
    let mut problem = Tiny { bad: 4..99, ..Tiny::<f64>::mlp() };
    let error = refusal(&method, &mut problem);
    assert!(error.starts_with("step 13: ") && error.contains("fc0.weight 10 times in a row"), "{error}");
}

#[test]
fn after_the_switch_mkor_h_is_the_backend_alone() {
    let knee = Knee { beta: 0.6, window: 2, smoothing: 0.3, patience: 2 };
    let method = Mkor { hybrid: Some(knee), inv_freq: 2, ..mkor() };
    assert_eq!(Method::<Tiny<f64>>::name(&method), "mkor-h");
    let mut problem = Tiny::<f64>::mlp();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let mut t = 0;
    while state.preconditions {
        assert!(!state.state.layers.list.is_empty() || t == 0);
        step(&method, &mut problem, &mut state, t);
        t += 1;
        assert!(t < 500, "no knee");
    }
    assert!(t > 6 && state.switched_at == Some(t) && state.state.layers.list.is_empty());
    let mut alone: BackendState<f64> = state.state.backend.clone();
    for t in t..t + 20 {
        let a = step(&method, &mut problem, &mut state, t);
        let b = step(&method.backend, &mut problem, &mut alone, t);
        assert_eq!(a.metric("grad_norm"), b.metric("grad_norm"));
        assert_eq!(a.metric("switched_at"), state.switched_at.map(|t| t as f64));
        assert_eq!(bits(state.theta()), bits(alone.theta()));
    }
}

#[test]
fn mkor_h_may_come_back_with_fresh_factors() {
    let knee = Knee { beta: 0.9, window: 1, smoothing: 0.0, patience: 1 };
    let method = Mkor { hybrid: Some(knee), reenter: true, inv_freq: 1, ..mkor() };
    let mut problem = Tiny::<f64>::mlp();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let mut switches = 0;
    for t in 0..40 {
        let was = state.preconditions;
        step(&method, &mut problem, &mut state, t);
        if was != state.preconditions {
            switches += 1;
            assert!(state.state.layers.list.is_empty() && state.switched_at == Some(t + 1));
        }
    }
    assert!(switches > 2);
}

#[test]
fn power_vectors_stand_for_the_leading_eigenpair() {
    // One sharp direction that the mean does not see: the power vector damps it, the mean cannot.
    let mut problem = Given::new(vec![1.0, 1.0, 1.0], vec![0.1, 0.0, 0.0], vec![1e-9], false);
    let input = vec![0.02, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.01];
    problem.stats.moments = Some(SecondMoments { input, output: vec![1e-18] });
    problem.stats.input_mean[1] = 0.05;
    let u = |vector| direction(&Mkor { backend: descent(1.0), vector, ..mkor() }, &problem, 8);
    let (mean, power) = (u(Vector::Mean), u(Vector::Power));
    assert!((mean[1] / mean[2] - 1.0).abs() < 0.1, "{mean:?}");
    assert!(power[1] / power[2] < 0.3, "{power:?}");
    // Without second moments it says so.
    problem.stats.moments = None;
    let error = refusal(&Mkor { vector: Vector::Power, ..mkor() }, &mut problem);
    assert!(error.contains("no second moments") && error.contains("vector = mean"), "{error}");
}

#[test]
fn diagnostics_tell_spectra_and_distance_from_rank_one() {
    let method = Mkor { diagnostics: true, inv_freq: 2, warmup_steps: 0, ..mkor() };
    let mut problem = Tiny::<f64>::mlp();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    for t in 0..9 {
        let progress = step(&method, &mut problem, &mut state, t);
        let get = |name: &str| progress.metric(&format!("{name}/fc1.weight"));
        if t % 2 == 1 {
            assert_eq!(get("left_min"), None);
            continue;
        }
        for side in ["left", "right"] {
            let get = |name: &str| get(&format!("{side}_{name}")).unwrap();
            assert!(0.0 < get("min") && get("min") <= get("max") && get("max") <= 1.0 + 1e-12);
            assert!(get("rank1_best") <= get("rank1_mean") + 1e-12 && get("rank1_best") > 0.0);
        }
        assert!(t == 0 || get("right_min").unwrap() < 0.9);
    }
    // A matrix of rank one is one.
    let v = wave(5, 0.9);
    let c: Vec<f64> = (0..25).map(|at| v[at / 5] * v[at % 5]).collect();
    let (mean, best) = thalweg_mkor::spectra::rank_one_errors(&c, &v);
    assert!(mean < 1e-7 && best < 1e-7);
    let (mean, best) = thalweg_mkor::spectra::rank_one_errors(&[4.0, 0.0, 0.0, 3.0], &[0.0, 0.0]);
    assert!((mean - 1.0).abs() < 1e-15 && (best - 0.6).abs() < 1e-10);
}

/// Settings that exercise every branch of the step.
fn variants() -> Vec<Mkor> {
    let knee = Knee { beta: 0.6, window: 2, smoothing: 0.3, patience: 2 };
    vec![
        mkor(),
        Mkor { form: Form::LowRank(3), inv_freq: 1, storage: Storage::F16, ..mkor() },
        Mkor {
            rule: Rule::ShermanMorrison,
            inv_freq: 2,
            rescale: Rescale::Sum,
            storage: Storage::Bf16,
            ..mkor()
        },
        Mkor {
            rule: Rule::Printed,
            vector: Vector::Power,
            backend: Backend::Lamb(Lamb::default()),
            ..mkor()
        },
        Mkor { hybrid: Some(knee.clone()), reenter: true, inv_freq: 1, diagnostics: true, ..mkor() },
        Mkor {
            knee_schedule: Some(thalweg_mkor::knee::KneeSchedule { knee, factor: 0.5 }),
            backend: Backend::Muon(Muon::default()),
            ..mkor()
        },
    ]
}

fn same_bits<T: Real, M: Method<Tiny<T>, State: Iterate<T> + Send> + Sync>(method: &M) {
    let wide = [linear(200, 170, true, true), linear(170, 3, true, false)];
    for make in [|_: &[Op]| Tiny::<T>::conv(), |wide: &[Op]| Tiny::<T>::new(wide, 8, 2)] {
        let whole = |threads| {
            on_threads(threads, || {
                let mut problem = make(&wide);
                let mut state = method.init(&mut problem, Seed(1)).unwrap();
                (0..16).for_each(|t| {
                    step(method, &mut problem, &mut state, t);
                });
                bits(state.theta())
            })
        };
        let reference = whole(1);
        assert!(whole(2) == reference, "threads");
        for cut in [0, 1, 7, 12] {
            let mut problem = make(&wide);
            let mut state = method.init(&mut problem, Seed(1)).unwrap();
            for t in 0..16 {
                if t == cut {
                    let saved = postcard::to_stdvec(&state).unwrap();
                    state = postcard::from_bytes(&saved).unwrap();
                }
                step(method, &mut problem, &mut state, t);
            }
            assert!(bits(state.theta()) == reference, "cut at {cut}");
        }
    }
}

#[test]
fn threads_and_resumes_do_not_change_a_bit() {
    for method in variants() {
        same_bits::<f32, _>(&method);
        same_bits::<f64, _>(&method);
    }
    same_bits::<f32, _>(&Kfac { factor_freq: 2, inv_freq: 5, ..Kfac::default() });
    same_bits::<f64, _>(&Eva::default());
    let schedule = thalweg_mkor::knee::KneeSchedule {
        knee: Knee { window: 2, beta: 0.6, ..Knee::default() },
        factor: 0.3,
    };
    same_bits::<f64, _>(&Scheduled { backend: Backend::Adam(Adam::default()), schedule });
}

#[test]
fn curvature_helps_where_inputs_have_a_mean() {
    let loss = |theta: &[f64]| {
        let mut problem = Tiny { batch: 40, ..Tiny::<f64>::mlp() };
        problem.value_grad(theta, &mut vec![0.0; theta.len()]).unwrap()
    };
    let sgd = Sgd { lr: 0.1, momentum: 0.0, ..Sgd::default() };
    let plain = loss(&run(&sgd, &mut Tiny::<f64>::mlp(), 200));
    let ours = loss(&run(&Mkor { backend: Backend::Sgd(sgd), ..mkor() }, &mut Tiny::<f64>::mlp(), 200));
    println!("loss after 200 steps: sgd {plain:.4}, mkor {ours:.4}");
    assert!(ours < plain);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn preconditioned_gradients_descend_and_keep_their_norm(
        grad in prop::collection::vec(-5.0f64..5.0, 15),
        a in prop::collection::vec(-4.0f64..4.0, 4),
        g in prop::collection::vec(-4.0f64..4.0, 3),
        steps in 1u64..30,
        rule in 0usize..3,
        sum in any::<bool>(),
    ) {
        prop_assume!(norm(&grad) > 1e-3);
        let rule = [Rule::Released, Rule::ShermanMorrison, Rule::Printed][rule];
        let problem = Given::new(grad.clone(), a, g, true);
        let rescale = if sum { Rescale::Sum } else { Rescale::Joint };
        let method = Mkor { backend: descent(1.0), rule, rescale, inv_freq: 1, ..mkor() };
        let u = direction(&method, &problem, steps);
        let inner: f64 = u.iter().zip(&grad).map(|(u, g)| u * g).sum();
        prop_assert!(inner > 0.0);
        let split = |x: &[f64]| if sum { norm(&x[..12]) + norm(&x[12..]) } else { norm(x) };
        prop_assert!((split(&u) / split(&grad) - 1.0).abs() < 1e-9);
    }
}

/// A problem whose loss is multiplied by a power of two.
struct Scaled(Tiny<f64>, f64);

impl Problem for Scaled {}

impl Objective for Scaled {
    type Scalar = f64;
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn start(&mut self) -> Result<Vec<f64>, MethodError> {
        self.0.start()
    }
    fn value_grad(&mut self, theta: &[f64], grad: &mut [f64]) -> Result<f64, MethodError> {
        let value = self.0.value_grad(theta, grad)?;
        grad.iter_mut().for_each(|g| *g *= self.1);
        Ok(self.1 * value)
    }
}

impl Layered for Scaled {
    fn value_grad_layers(
        &mut self,
        theta: &[f64],
        grad: &mut [f64],
        moments: bool,
        stats: &mut Vec<LayerStats>,
    ) -> Result<f64, MethodError> {
        let value = self.0.value_grad_layers(theta, grad, moments, stats)?;
        grad.iter_mut().for_each(|g| *g *= self.1);
        for layer in stats {
            layer.output_grad.iter_mut().for_each(|x| *x *= self.1);
            let moments = layer.moments.iter_mut().flat_map(|m| &mut m.output);
            moments.for_each(|x| *x *= self.1 * self.1);
        }
        Ok(self.1 * value)
    }
}

#[test]
fn a_scaled_loss_makes_the_same_steps_once_the_scale_is_named() {
    let ops = [linear(5, 4, true, true), linear(4, 3, true, false)];
    let power = Mkor { vector: Vector::Power, ..Mkor::default() };
    fn end<P: Layered<Scalar = f64>>(method: &Mkor, mut problem: P) -> Vec<f64> {
        Run::new(method, &mut problem).stop(Stop::Steps(25)).run().unwrap().solution
    }
    for method in [Mkor::default(), power] {
        let plain = end(&method, Tiny::new(&ops, 12, 12));
        let scaled =
            end(&method, thalweg_optim::Unscaled::new(Scaled(Tiny::new(&ops, 12, 12), 1024.0), 1024.0));
        assert_eq!(bits(&plain), bits(&scaled));
    }
}
