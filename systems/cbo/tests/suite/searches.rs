//! Searches that follow a schedule, keep to constraints, and go on where they were interrupted.

use std::time::Duration;

use thalweg_cbo::{
    Adaptive, Alpha, Answer, Auto, Batch, Cbo, Constrained, Course, Hopping, Limits, Memory, Noise, Penalty,
    Saved, Search, Space, StopCause, TestFunction,
};
use thalweg_core::Seed;

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol, "{a} is not {b} to {tol}");
}

/// Facts of the first iterations and the answer.
fn trace(method: &dyn Search, steps: u64) -> (Vec<(f64, f64)>, Answer) {
    let f = TestFunction::named("rastrigin", 3).unwrap().shifted(vec![0.5, -1.0, 2.0]).unwrap();
    let limits = Limits { max_iters: Some(steps), ..Limits::default() };
    let mut facts = Vec::new();
    let space = Space::cube(3, -5.12, 5.12);
    let answer = method
        .watch(&space, &f, &limits, Seed(1), &mut |s| {
            facts.push((s.record.facts.noise, s.record.facts.alpha))
        })
        .unwrap();
    (facts, Answer { seconds: 0.0, ..answer })
}

#[test]
fn settings_follow_any_function_of_the_iteration() {
    let plain = Cbo { alpha: Alpha::Fixed(8.0), noise_ratio: 0.5, ..Cbo::default() };
    let closure = plain.clone().scheduled(|k, cbo| {
        cbo.noise_ratio = 0.5 * (40 - k.min(40)) as f64 / 40.0;
        cbo.alpha = Alpha::Fixed(if k < 10 { 8.0 } else { 80.0 });
    });
    let text = Cbo {
        sigma_schedule: "linear:40".parse().unwrap(),
        alpha_schedule: "step:10:10".parse().unwrap(),
        ..plain.clone()
    };
    let (facts, answer) = trace(&closure, 30);
    assert_eq!((facts[0], facts[20]), ((0.5, 8.0), (0.25, 80.0)));
    assert_eq!(trace(&text, 30), (facts, answer.clone()), "the text form is the same");
    assert_ne!(trace(&plain, 30).1, answer);
    // α = ∞ is not to become ∞ · 0.
    let infinite = Cbo { alpha_schedule: "linear:2".parse().unwrap(), ..Cbo::default() };
    assert_eq!(trace(&infinite, 5).0[4].1, f64::INFINITY);
    // Both kinds are looked at before the start.
    let space = Space::cube(2, -1.0, 1.0);
    let unbound = Cbo { sigma_schedule: "linear".parse().unwrap(), ..Cbo::default() };
    let said = unbound.validate(&space).unwrap_err().to_string();
    assert!(said.contains("sigma_schedule") && said.contains("linear:1000"), "{said}");
    let wrong = Cbo::default().scheduled(|_, cbo| cbo.lambda = -1.0).validate(&space).unwrap_err();
    assert!(wrong.to_string().contains("lambda"), "{wrong}");
}

/// Goes on until something stops it, or `steps` more are made.
fn go(course: &mut Course<'_>, f: &TestFunction, steps: u64) -> Option<StopCause> {
    (0..steps).find_map(|_| course.step(f).unwrap())
}

#[test]
fn a_restored_search_ends_in_the_same_bits() {
    let f = TestFunction::named("rastrigin", 4).unwrap().shifted(vec![0.3, -1.1, 2.0, 0.7]).unwrap();
    let space = Space::cube(4, -5.12, 5.12);
    let limits = Limits { max_evals: 30_000, ..Limits::default() };
    let batches = Some(thalweg_cbo::Batches { size: 20, ..Default::default() });
    let cooled = Cbo::default().scheduled(|k, cbo| cbo.noise_ratio = 0.95 / (1.0 + 0.001 * k as f64));
    let methods: [&dyn Search; 8] = [
        &Auto { particles: 50 }, // several restarts
        &Cbo { alpha: Alpha::Ess(0.1), ..Cbo::default() },
        &Cbo { noise: Noise::Eigenframe, ..Cbo::default() },
        &Cbo { memory: Some(Memory::default()), ..Cbo::default() },
        &Cbo { particles: 100, batches, cool_every: Some(50), reduction: 0.2, ..Cbo::default() },
        &cooled,
        &Hopping::default(),
        &Adaptive::default(),
    ];
    for (number, method) in methods.into_iter().enumerate() {
        let mut whole = method.course(&space, &limits, Seed(3)).unwrap();
        let stop = go(&mut whole, &f, u64::MAX).unwrap();
        let whole = Answer { seconds: 0.0, ..whole.finish(&f, stop).unwrap() };
        for pause in [0, 1, 37] {
            let mut course = method.course(&space, &limits, Seed(3)).unwrap();
            let stop = loop {
                if let Some(stop) = go(&mut course, &f, pause.max(1)) {
                    break stop;
                }
                if pause == 0 && course.evals() > 2000 {
                    break go(&mut course, &f, u64::MAX).unwrap();
                }
                let bytes = postcard::to_stdvec(&course.save().unwrap()).unwrap();
                // Another seed: nothing of the new course may survive.
                course = method.course(&space, &limits, Seed(99)).unwrap();
                course.restore(postcard::from_bytes::<Saved>(&bytes).unwrap()).unwrap();
            };
            let answer = Answer { seconds: 0.0, ..course.finish(&f, stop).unwrap() };
            assert_eq!(answer, whole, "method {number}, saved every {pause} steps");
        }
    }
    let hopping = Hopping::default();
    let mut course = hopping.course(&space, &limits, Seed(3)).unwrap();
    let other = Adaptive::default().course(&space, &limits, Seed(3)).unwrap().save().unwrap();
    let said = course.restore(other).unwrap_err().to_string();
    assert!(said.contains("saved search"), "{said}");
}

#[test]
fn a_search_whose_time_is_up_goes_on_as_if_it_had_not_been() {
    let space = Space::cube(2, -3.0, 4.0);
    let f = |x: &[f64]| x[0] * x[0] + x[1].abs();
    let limits = Limits { max_evals: 5000, ..Limits::default() };
    let whole = Cbo::default().minimize(&space, &f, &limits, Seed(1)).unwrap();
    // In its last moment, a function that is out of time has no values.
    let hurried = |x: &[f64]| {
        std::thread::sleep(Duration::from_millis(1));
        if x[0] < 0.0 { f64::NAN } else { f(x) }
    };
    let short = Limits { time: Some(Duration::from_millis(5)), ..limits };
    let method = Cbo::default();
    let mut course = method.course(&space, &short, Seed(1)).unwrap();
    assert_eq!(course.step(&hurried).unwrap(), Some(StopCause::Time));
    let saved = course.save().unwrap();
    let cut = course.finish(&hurried, StopCause::Time).unwrap();
    assert_eq!((cut.evals, cut.iterations, cut.stop), (51, 0, StopCause::Time));
    let mut course = method.course(&space, &limits, Seed(1)).unwrap();
    course.restore(saved).unwrap();
    let stop = loop {
        if let Some(stop) = course.step(&f).unwrap() {
            break stop;
        }
    };
    let answer = course.finish(&f, stop).unwrap();
    assert_eq!(Answer { seconds: whole.seconds, ..answer }, whole);
}

fn over_line(f: &dyn thalweg_cbo::BlackBox, limits: &Limits) -> Answer {
    let cbo = Cbo { particles: 60, ..Cbo::default() };
    cbo.minimize(&Space::cube(1, -4.0, 4.0), f, limits, Seed(1)).unwrap()
}

/// (x − 2)² where x ≤ 1: the multiplier is 2.
fn bounded(penalty: Penalty) -> impl thalweg_cbo::BlackBox {
    Constrained::new(|x: &[f64]| (x[0] - 2.0).powi(2), penalty).at_most_zero(|x| x[0] - 1.0)
}

#[test]
fn penalties_have_the_minimisers_of_theory() {
    let limits = Limits { max_evals: 20_000, ..Limits::default() };
    let fixed = Penalty { growth: 1.0, ..Penalty::default() };
    // Weight w < 2: the minimiser of (x − 2)² + w (x − 1)⁺ is 2 − w/2; from 2 on it is exact.
    for (weight, x) in [(0.5, 1.75), (1.0, 1.5), (3.0, 1.0), (50.0, 1.0)] {
        let answer = over_line(&bounded(Penalty { weight, ..fixed }), &limits);
        close(answer.consensus[0], x, 1e-6);
        assert_eq!(answer.consensus_feasible, x == 1.0, "{answer:?}");
        assert!(answer.best_feasible && answer.best_x[0] <= 1.0 + 1e-6, "{answer:?}");
        // Without penalty.
        close(answer.consensus_f, (x - 2.0).powi(2), 1e-5);
    }
    // Quadratic: (2 + w)/(1 + w), never quite feasible.
    let answer = over_line(&bounded(Penalty { weight: 9.0, quadratic: true, ..fixed }), &limits);
    close(answer.consensus[0], 1.1, 1e-6);
    assert!(!answer.consensus_feasible);
    // A weight that grows gets there.
    for quadratic in [false, true] {
        let answer = over_line(&bounded(Penalty { quadratic, ..Penalty::default() }), &limits);
        close(answer.best_x[0], 1.0, 1e-3);
        assert!(answer.best_feasible);
    }
    // For others it is a function with the penalty at its first weight.
    let mut values = [0.0; 2];
    let f = bounded(Penalty { weight: 3.0, ..fixed });
    thalweg_cbo::BlackBox::values(&f, &[2.0, 0.0], 1, &mut values);
    assert_eq!(values, [3.0, 4.0]);
}

#[test]
fn every_method_keeps_to_equalities_and_inequalities() {
    // x² + 2y² + 3z² where x + y + z = 1 and x ≤ 1/3: (1/3, 2/5, 4/15).
    let f = |x: &[f64]| x[0] * x[0] + 2.0 * x[1] * x[1] + 3.0 * x[2] * x[2];
    let f = Constrained::new(f, Penalty { tolerance: 1e-4, ..Penalty::default() })
        .zero(|x| x[0] + x[1] + x[2] - 1.0)
        .at_most_zero(|x| x[0] - 1.0 / 3.0);
    let least = 1.0 / 9.0 + 8.0 / 25.0 + 48.0 / 225.0;
    let space = Space::cube(3, -2.0, 2.0);
    let limits = Limits { max_evals: 60_000, ..Limits::default() };
    let methods: [(&dyn Search, f64); 3] = [
        (&Auto::default(), 2e-3),
        (&Cbo { noise: Noise::Eigenframe, ..Cbo::default() }, 0.1),
        (&Cbo { memory: Some(Memory::default()), ..Cbo::default() }, 0.1),
    ];
    for (method, tol) in methods {
        let answer = method.minimize(&space, &f, &limits, Seed(2)).unwrap();
        assert!(answer.best_feasible && answer.best_f > least - 1e-3, "{answer:?}");
        close(answer.best_f, least, tol);
    }
}

#[test]
fn an_infeasible_point_is_no_success() {
    // Nothing is feasible: the least violation is the best.
    let f = Constrained::new(|x: &[f64]| x[0], Penalty::default()).zero(|x| 2.0 + x[0] * x[0]);
    let limits = Limits { max_evals: 4000, target: Some(0.5), ..Limits::default() };
    let answer = over_line(&f, &limits);
    assert!(!answer.best_feasible && !answer.consensus_feasible, "{answer:?}");
    assert_ne!(answer.stop, StopCause::Target);
    close(answer.best_x[0], 0.0, 1e-2);
    let limits = Limits { target: None, ..limits };
    // −∞ out of bounds does not draw the cloud.
    let f = Batch(|x: &[f64], values: &mut [f64]| {
        let value = |x: &f64| if *x > 3.0 { f64::NEG_INFINITY } else { -x };
        values.iter_mut().zip(x).for_each(|(v, x)| *v = value(x));
    });
    let f = Constrained::new(f, Penalty { weight: 5.0, ..Penalty::default() }).at_most_zero(|x| x[0] - 1.0);
    let answer = over_line(&f, &limits);
    assert!(answer.best_feasible);
    close(answer.best_f, -1.0, 1e-3);
    // NaN is no constraint that holds.
    let f = Constrained::new(|x: &[f64]| x[0].abs(), Penalty::default()).zero(|x| (x[0] - 1.0).sqrt());
    assert!(over_line(&f, &limits).best_x[0] >= 1.0);
    let f = Constrained::new(|x: &[f64]| x[0], Penalty { weight: 0.0, ..Penalty::default() }).zero(|x| x[0]);
    let said = Cbo::default().minimize(&Space::cube(1, -1.0, 1.0), &f, &limits, Seed(1)).unwrap_err();
    assert!(said.to_string().contains("penalty.weight = 0"), "{said}");
}
