//! Blocks, probes, guards, diagnostics; the same bits after a resume and on any number of threads.

use thalweg_adahessian::{AdaHessian, Average, BlockRule, Group, Probe, State, exact_diagonal};
use thalweg_core::{Kind, Layout, Method, Objective, Run, Seed, Stop, StopReason};
use thalweg_optim::{Masked, Schedule};
use thalweg_testing::{Bowl, bits, close, same_bits};

use crate::common::{refusal, run, update};

fn method() -> AdaHessian {
    AdaHessian::default()
}

/// Settings that exercise every branch of the step.
fn variants() -> Vec<AdaHessian> {
    let table = Group { pattern: "table".into(), block: Some(BlockRule::Chunks(32)), ..Group::default() };
    let bias = Group { kind: Some(Kind::Bias), hessian_power: Some(0.0), ..Group::default() };
    vec![
        method(),
        AdaHessian { hessian_every: 3, clip_update: Some(0.5), weight_decay: 0.01, ..method() },
        AdaHessian { probes: 3, average: Average::Signed, lr: 0.01, ..method() },
        AdaHessian { probe: Probe::Gaussian, hessian_power: 0.7, groups: vec![table, bias], ..method() },
        AdaHessian {
            average: Average::None,
            schedule: Schedule::parse("warmup:2+cosine:8").unwrap(),
            ..method()
        },
        AdaHessian { hessian_power: 0.0, lr: 0.02, ..method() },
    ]
}

#[test]
fn threads_and_resumes_do_not_change_a_bit() {
    for method in variants() {
        same_bits(&method, Bowl::<f32>::network, 7, [0, 2, 3, 6]);
        same_bits(&method, Bowl::<f64>::network, 7, [0, 2, 3, 6]);
    }
}

#[test]
fn a_state_saved_and_loaded_continues_alike() {
    for method in variants() {
        let mut problem = Bowl::<f64>::network();
        let mut state = method.init(&mut problem, Seed(5)).unwrap();
        for _ in 0..4 {
            method.step(&mut problem, &mut state).unwrap();
        }
        let text = postcard::to_stdvec(&state).unwrap();
        let mut loaded: State<f64> = postcard::from_bytes(&text).unwrap();
        for _ in 0..4 {
            let (a, b) = (method.step(&mut problem, &mut state), method.step(&mut problem, &mut loaded));
            assert_eq!(a.unwrap(), b.unwrap());
        }
        assert_eq!((bits(&state.theta), &state.moments), (bits(&loaded.theta), &loaded.moments));
    }
}

#[test]
fn frozen_blocks_have_no_probe_and_no_update() {
    let mut problem = Bowl::<f64>::network();
    let fixed = problem.layout.get("fixed.weight").unwrap().range();
    let start = problem.start().unwrap();
    let mut z = [vec![7.0; start.len()]];
    for probe in [Probe::Rademacher, Probe::Gaussian] {
        let method = AdaHessian { probe, ..method() };
        method.draw(&problem.layout, &method.moments::<f64>(&problem.layout).unwrap(), Seed(1), &mut z);
        let zeros = z[0].iter().enumerate().filter(|(_, z)| **z == 0.0);
        assert!(zeros.map(|(i, _)| i).eq(fixed.clone()));
    }
    let end = run(&AdaHessian { weight_decay: 0.1, ..method() }, &mut problem, 3);
    assert_eq!(end[fixed.clone()], start[fixed.clone()]);
    let moved = (0..end.len()).filter(|i| !fixed.contains(i)).all(|i| end[i] != start[i]);
    assert!(moved);
    assert!(exact_diagonal(&mut Bowl::<f64>::flat(&[1.0, 2.0], &[0.0; 2]), &[0.0; 2]).unwrap() == [1.0, 2.0]);
    // A broken derivative in a frozen block hurts nobody.
    let bad = Some((0..99, Some(fixed.start)));
    run(&method(), &mut Bowl { bad, ..Bowl::<f64>::network() }, 20);
}

#[test]
fn pruned_unknowns_stay_zero_and_do_not_dilute_their_chunk() {
    let mut layout = Layout::default();
    layout.push("w", &[1, 4], Kind::Linear);
    let mut problem = Bowl::<f64>::new(layout, vec![3.0; 4], &[1.0; 4]);
    let mut masked = Masked::new(&mut problem, vec![true, false, true, false]).unwrap();
    let theta = run(&method(), &mut masked, 1);
    // D = 3 from the living two, not 1.5.
    close(&theta, &[1.0 - 0.15 * 3.0 / (3.0 + 1e-4), 0.0, 1.0 - 0.15 * 3.0 / (3.0 + 1e-4), 0.0], 1e-14);
}

#[test]
fn non_finite_steps_are_skipped_and_ten_in_a_row_are_an_error() {
    let at = Bowl::<f64>::network().layout.get("table").unwrap().range().start + 100;
    for (element, what) in [(Some(at), "the gradient was not finite in table"), (None, "the objective value")]
    {
        // Nine bad steps leave no trace: the probes of the steps after them differ, nothing else,
        // and on a diagonal quadratic probes do not matter.
        let calm = || Bowl { coupling: 0.0, noise: 0.0, ..Bowl::<f64>::network() };
        let mut problem = Bowl { bad: Some((2..11, element)), ..calm() };
        let out = Run::new(&method(), &mut problem).seed(Seed(1)).stop(Stop::Steps(14)).run().unwrap();
        assert_eq!(out.progress.metric("skipped"), Some(9.0));
        assert_eq!(bits(&out.solution), bits(&run(&method(), &mut calm(), 5)));
        let error = refusal(&method(), &mut Bowl { bad: Some((3..99, element)), ..calm() });
        assert!(
            error.starts_with("step 12: ") && error.contains(what) && error.contains("10 times"),
            "{error}"
        );
        // A skipped step has no gradient that a tolerance could be satisfied with.
        let mut problem = Bowl { bad: Some((0..3, element)), ..calm() };
        let run =
            Run::new(&method(), &mut problem).stop(Stop::Tolerance(1e-3)).stop(Stop::Steps(2)).run().unwrap();
        assert_eq!(run.stopped_because, StopReason::Steps);
        assert!(run.progress.metric("grad_max").unwrap().is_nan() && run.progress.metric("lr") == Some(0.15));
    }
    let layout = Layout::flat(2);
    let (mut moments, mut theta) = (method().moments(&layout).unwrap(), [1.0, 2.0]);
    let nan = Some(&[1.0, f64::NAN][..]);
    for time in 1..=10 {
        let made = method().update(&layout, &mut moments, &mut theta, &[1.0; 2], nan);
        match made {
            Ok(update) => assert!(update.skipped && time < 10),
            Err(e) => assert!(time == 10 && e.to_string().contains("the Hessian-vector product"), "{e}"),
        }
    }
    assert_eq!((theta, moments.t, moments.s), ([1.0, 2.0], 0, 0));
}

#[test]
fn updates_are_clipped_and_denominators_bounded() {
    let (layout, g, d) = (Layout::flat(3), [4.0, -8.0, 1e-3], [1.0, 1.0, 1e-9]);
    let step = |method: AdaHessian| {
        let mut theta = [0.0; 3];
        let mut moments = method.moments(&layout).unwrap();
        let report = method.update(&layout, &mut moments, &mut theta, &g, Some(&d)).unwrap();
        (theta, report)
    };
    let plain = AdaHessian { lr: 1.0, eps: 0.0, ..method() };
    close(&step(plain.clone()).0, &[-4.0, 8.0, -1e6], 1e-9);
    // The clip is on m̂ / denominator and comes before rate and decay; moments are untouched.
    let (theta, report) = step(AdaHessian { clip_update: Some(5.0), lr: 0.5, ..plain.clone() });
    close(&theta, &[-2.0, 2.5, -2.5], 1e-12);
    assert!((report.max_update - 2.5).abs() < 1e-12 && report.grad_max == 8.0);
    assert!((report.grad_norm - (80.0f64 + 1e-6).sqrt()).abs() < 1e-12);
    close(&step(AdaHessian { min_denominator: 0.1, ..plain.clone() }).0, &[-4.0, 8.0, -0.01], 1e-9);
    // A row of an embedding that never occurred has no curvature at all: nothing moves, nothing breaks.
    let mut theta = [1.0; 3];
    update(&plain, &layout, &mut theta, &[0.0; 3], &[0.0; 3]);
    assert_eq!(theta, [1.0; 3]);
}

#[test]
fn groups_override_rate_decay_power_and_chunk() {
    let mut layout = Layout::default();
    layout.push("a.weight", &[2, 2], Kind::Linear);
    layout.push("b.weight", &[2, 2], Kind::Linear);
    layout.push("b.bias", &[2], Kind::Bias);
    let groups = vec![
        Group { pattern: "b.*".into(), kind: Some(Kind::Bias), weight_decay: Some(0.5), ..Group::default() },
        Group {
            pattern: "b.*".into(),
            lr_scale: 0.1,
            hessian_power: Some(0.0),
            block: Some(BlockRule::None),
            ..Group::default()
        },
    ];
    let method = AdaHessian { lr: 1.0, eps: 0.0, groups, ..method() };
    let (mut theta, g) = ([1.0; 10], [1.0; 10]);
    let moments =
        update(&method, &layout, &mut theta, &g, &[2.0, 6.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 2.0, 4.0]);
    assert_eq!(moments.v.len(), 2 + 4 + 2);
    let expected = [0.75, 0.75, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 1.0 - 0.5 - 0.5, 1.0 - 0.25 - 0.5];
    close(&theta, &expected, 1e-12);
}

#[test]
fn diagnostics_report_the_norm_of_each_block() {
    let (h, start) = ([3.0, 4.0, 12.0], [1.0; 3]);
    let mut layout = Layout::default();
    layout.push("a", &[2], Kind::Bias);
    layout.push("b", &[1], Kind::Bias);
    let method = AdaHessian { diagnostics: true, hessian_every: 2, ..method() };
    let mut problem = Bowl::<f64>::new(layout, h.to_vec(), &start);
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let first = method.step(&mut problem, &mut state).unwrap();
    assert_eq!((first.metric("hessian_norm/a"), first.metric("hessian_norm/b")), (Some(5.0), Some(12.0)));
    assert_eq!((first.metric("grad_max"), first.evaluations), (Some(12.0), 2));
    assert!((first.metric("max_update").unwrap() - 0.15).abs() < 1e-5);
    let second = method.step(&mut problem, &mut state).unwrap();
    assert_eq!((second.metric("hessian_norm/a"), second.evaluations), (None, 1));
    assert_eq!(problem.products, 1);
}

#[test]
fn stale_curvature_is_kept_not_added_again() {
    // v changes only when it is refreshed, and s counts just these.
    let method = AdaHessian { hessian_every: 4, ..method() };
    let mut problem = Bowl::<f64>::network();
    let mut state = method.init(&mut problem, Seed(1)).unwrap();
    let mut v = Vec::new();
    for t in 0..12u64 {
        method.step(&mut problem, &mut state).unwrap();
        assert_eq!(state.moments.v != v, t % 4 == 0, "step {t}");
        assert_eq!((state.moments.t, state.moments.s), (t + 1, t / 4 + 1));
        v.clone_from(&state.moments.v);
    }
}

#[test]
fn foreign_engines_may_drive_the_method_by_its_parts() {
    let method = AdaHessian { probes: 3, probe: Probe::Gaussian, hessian_every: 2, ..method() };
    let mut problem = Bowl { noise: 0.0, ..Bowl::<f64>::network() };
    let expected = run(&method, &mut problem, 5);
    let (layout, mut theta) = (problem.layout.clone(), problem.start().unwrap());
    let n = layout.len();
    let mut moments = method.moments(&layout).unwrap();
    let mut z = vec![vec![0.0; n]; method.probes];
    let (mut products, mut g) = (z.clone(), vec![0.0; n]);
    for _ in 0..5 {
        let fresh = method.wants_curvature(&layout, &moments);
        if fresh {
            method.draw(&layout, &moments, Seed(1), &mut z);
            problem.value_grad_hvp(&theta, &mut g, &z, &mut products).unwrap();
            method.estimate(&z, &mut products);
        } else {
            problem.value_grad(&theta, &mut g).unwrap();
        }
        method.update(&layout, &mut moments, &mut theta, &g, fresh.then_some(&products[0][..])).unwrap();
    }
    assert_eq!(bits(&theta), bits(&expected));
}

#[test]
fn a_problem_without_products_is_told_which_methods_remain() {
    use thalweg_optim::functions::Function;
    let parabola = |x: &[f64], g: &mut [f64]| {
        g[0] = 2.0 * x[0];
        x[0] * x[0]
    };
    let error = refusal(&method(), &mut Function::new(parabola, vec![1.0]));
    assert!(error.contains("no Hessian-vector product") && error.contains("adamw"), "{error}");
    let momentum = AdaHessian { hessian_power: 0.0, lr: 0.1, ..method() };
    assert!(run(&momentum, &mut Function::new(parabola, vec![1.0]), 100)[0].abs() < 0.1);
}
