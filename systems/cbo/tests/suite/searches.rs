//! Searches that follow a schedule, keep to constraints, and go on where they were interrupted.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_cbo::alpha::Alpha;
use thalweg_cbo::method::cbo::{Batches, Memory, Noise};
use thalweg_cbo::search::{MOVED, SPREAD};
use thalweg_cbo::{Adaptive, Algorithm, Answer, Auto, Cbo, Hopping, SearchProblem, Space};
use thalweg_core::{Checkpointer, Every, Interrupt, Method, Run, RunError, Seed, Stop, StopReason};
use thalweg_optim::blackbox::{Batch, BlackBox, Constrained, Penalty};
use thalweg_optim::functions::by_name as function;

use crate::{by_name, search};

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol, "{a} is not {b} to {tol}");
}

/// Noise and inverse temperature of the first iterations, and the answer.
fn trace<M>(method: &M, steps: u64) -> (Vec<(f64, f64)>, Answer)
where
    M: for<'a> Method<SearchProblem<'a>, Solution = Answer>,
{
    let f = function("rastrigin", 3).unwrap().shifted(vec![0.5, -1.0, 2.0]).unwrap();
    let mut problem = SearchProblem::new(&Space::cube(3, -5.12, 5.12), &f);
    let mut seen = Vec::new();
    let run = Run::new(method, &mut problem).seed(Seed(1)).stop(Stop::Steps(steps)).each(1, |tick, _| {
        let metric = |name| tick.progress.metric(name).unwrap();
        seen.push((metric("noise"), metric("alpha")));
        Ok(ControlFlow::Continue(()))
    });
    let answer = run.run().unwrap().solution;
    (seen, answer)
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
    let (seen, answer) = trace(&closure, 30);
    assert_eq!((seen[0], seen[20]), ((0.5, 8.0), (0.25, 80.0)));
    assert_eq!(trace(&text, 30), (seen, answer.clone()), "the text form is the same");
    assert_ne!(trace(&plain, 30).1, answer);
    // No factor changes α = ∞: the schedule would do nothing.
    let infinite = Cbo { alpha_schedule: "linear:2".parse().unwrap(), ..Cbo::default() };
    let said = infinite.check(&Space::cube(2, -1.0, 1.0)).unwrap_err().to_string();
    assert!(said.contains("alpha_schedule"), "{said}");
    // Both kinds are looked at before the start.
    let space = Space::cube(2, -1.0, 1.0);
    let unbound = Cbo { sigma_schedule: "linear".parse().unwrap(), ..Cbo::default() };
    let said = unbound.check(&space).unwrap_err().to_string();
    assert!(said.contains("sigma_schedule") && said.contains("linear:1000"), "{said}");
    let wrong = Cbo::default().scheduled(|_, cbo| cbo.lambda = -1.0).check(&space).unwrap_err();
    assert!(wrong.to_string().contains("lambda"), "{wrong}");
}

/// Interrupted every so many steps, a search ends in the same bits.
fn resumes<M>(method: &M)
where
    M: for<'a> Method<SearchProblem<'a>, Solution = Answer>,
{
    let f = function("rastrigin", 4).unwrap().shifted(vec![0.3, -1.1, 2.0, 0.7]).unwrap();
    let (space, budget) = (Space::cube(4, -5.12, 5.12), Stop::Evaluations(30_000));
    let whole = search(method, &space, &f, &[budget], 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    for pause in [37, 250] {
        let (mut end, mut resume) = (pause, false);
        let again = loop {
            let mut problem = SearchProblem::new(&space, &f);
            let saver = Checkpointer { path: path.clone(), every: Every::Steps(u64::MAX) };
            let mut run = Run::new(method, &mut problem).seed(Seed(3)).checkpoint(saver).stop(budget);
            run = run.stop(Stop::Steps(end));
            let part = if resume { run.resume(&path).unwrap() } else { run }.run().unwrap();
            if part.stopped_because != StopReason::Steps {
                break part;
            }
            (end, resume) = (end + pause, true);
        };
        assert_eq!(again.solution, whole.solution, "{}, paused every {pause} steps", method.name());
        assert_eq!((again.steps, again.stopped_because), (whole.steps, whole.stopped_because));
        // What is through just reports.
        let mut problem = SearchProblem::new(&space, &f);
        let run = Run::new(method, &mut problem).seed(Seed(3)).stop(budget).resume(&path).unwrap();
        assert_eq!(run.run().unwrap().solution, whole.solution);
    }
}

#[test]
fn a_restored_search_ends_in_the_same_bits() {
    resumes(&Auto { particles: 50 }); // several restarts
    resumes(&Cbo { alpha: Alpha::Ess(0.1), ..Cbo::default() });
    resumes(&Cbo { noise: Noise::Eigenframe, ..Cbo::default() });
    resumes(&Cbo { memory: Some(Memory::default()), ..Cbo::default() });
    let batches = Some(Batches { size: 20, ..Batches::default() });
    resumes(&Cbo { particles: 100, batches, cool_every: Some(50), reduction: 0.2, ..Cbo::default() });
    resumes(&Cbo::default().scheduled(|k, cbo| cbo.noise_ratio = 0.95 / (1.0 + 0.001 * k as f64)));
    resumes(&Hopping::default());
    resumes(&Adaptive::default());
}

/// x₀² + |x₁|, which in its last moment has no values.
#[derive(Default)]
struct Hurried(AtomicBool);

impl BlackBox for Hurried {
    fn values(&self, points: &[f64], _: usize, values: &mut [f64]) {
        let hurry = self.0.load(Ordering::Relaxed);
        let value = |x: &[f64]| if hurry && x[0] < 0.0 { f64::NAN } else { x[0] * x[0] + x[1].abs() };
        points.chunks(2).zip(values).for_each(|(x, v)| *v = value(x));
    }

    fn stopped(&self) -> Option<StopReason> {
        self.0.load(Ordering::Relaxed).then_some(StopReason::Time)
    }
}

#[test]
fn a_search_whose_time_is_up_goes_on_as_if_it_had_not_been() {
    let (space, method, f) = (Space::cube(2, -3.0, 4.0), Cbo::default(), Hurried::default());
    let budget = Stop::Evaluations(5000);
    let whole = search(&method, &space, &f, &[budget], 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search");
    for after in [0, 7] {
        let f = Hurried::default();
        f.0.store(after == 0, Ordering::Relaxed);
        let mut problem = SearchProblem::new(&space, &f);
        let saver = Checkpointer { path: path.clone(), every: Every::Steps(u64::MAX) };
        let run = Run::new(&method, &mut problem).seed(Seed(1)).checkpoint(saver).stop(budget);
        let run = run.each(1, |tick, _| {
            f.0.store(tick.step == after, Ordering::Relaxed);
            Ok(ControlFlow::Continue(()))
        });
        let cut = run.run().unwrap();
        // The batch that was cut short and the consensus were evaluated, but the step does not count.
        assert_eq!((cut.steps, cut.stopped_because), (after, StopReason::Time));
        assert_eq!(cut.solution.evaluations, 50 * (after + 1) + 1);
        f.0.store(false, Ordering::Relaxed);
        let mut problem = SearchProblem::new(&space, &f);
        let run = Run::new(&method, &mut problem).seed(Seed(1)).stop(budget).resume(&path).unwrap();
        let again = run.run().unwrap();
        assert_eq!((again.solution, again.steps), (whole.solution.clone(), whole.steps));
    }
}

#[test]
fn a_token_stops_a_search_and_a_budget_is_kept() {
    let (space, method) = (Space::cube(2, -3.0, 4.0), Cbo::default());
    let token = Interrupt::default();
    let f = |x: &[f64]| x[0] * x[0] + x[1].abs();
    let mut problem = SearchProblem::new(&space, &f);
    let run = Run::new(&method, &mut problem).interrupt(token.clone()).each(1, |tick, _| {
        if tick.step == 3 {
            token.request();
        }
        Ok(ControlFlow::Continue(()))
    });
    let cut = run.run().unwrap();
    assert_eq!((cut.steps, cut.stopped_because), (3, StopReason::Interrupted));
    // 50 particles: the third cloud and the consensus do not fit any more.
    let short = search(&method, &space, &f, &[Stop::Evaluations(150)], 1);
    assert_eq!((short.steps, short.solution.evaluations), (2, 101));
    // The consensus rests, or the cloud is small.
    for (metric, value) in [(MOVED, 1e-3), (SPREAD, 1e-2)] {
        let end = search(&method, &space, &f, &[Stop::Below { metric, value }], 1);
        assert_eq!(end.stopped_because, StopReason::Below);
        assert!(end.progress.metric(metric).unwrap() < value && end.steps >= 20, "{end:?}");
    }
    let none = search(&method, &space, &f, &[Stop::Evaluations(50)], 1);
    assert_eq!((none.steps, none.solution.evaluations), (0, 1));
    let cbo = Algorithm::named("cbo", Default::default()).unwrap();
    let said = cbo.check_budget(&space, 50).unwrap_err().to_string();
    assert!(said.contains("max_evaluations = 50") && cbo.check_budget(&space, 51).is_ok(), "{said}");
}

fn over_line(f: &dyn BlackBox, stops: &[Stop]) -> Answer {
    let cbo = Cbo { particles: 60, ..Cbo::default() };
    search(&cbo, &Space::cube(1, -4.0, 4.0), f, stops, 1).solution
}

/// (x − 2)² where x ≤ 1: the multiplier is 2.
fn bounded(penalty: Penalty) -> impl BlackBox {
    Constrained::new(|x: &[f64]| (x[0] - 2.0).powi(2), penalty).at_most_zero(|x| x[0] - 1.0)
}

#[test]
fn penalties_have_the_minimisers_of_theory() {
    let stops = [Stop::Evaluations(20_000)];
    let fixed = Penalty { growth: 1.0, ..Penalty::default() };
    // Weight w < 2: the minimizer of (x − 2)² + w (x − 1)⁺ is 2 − w/2; from 2 on it is exact.
    for (weight, x) in [(0.5, 1.75), (1.0, 1.5), (3.0, 1.0), (50.0, 1.0)] {
        let answer = over_line(&bounded(Penalty { weight, ..fixed }), &stops);
        close(answer.consensus[0], x, 1e-6);
        assert_eq!(answer.consensus_feasible, x == 1.0, "{answer:?}");
        assert!(answer.best_feasible && answer.best_x[0] <= 1.0 + 1e-6, "{answer:?}");
        // Without penalty.
        close(answer.consensus_f, (x - 2.0).powi(2), 1e-5);
    }
    // Quadratic: (2 + w)/(1 + w), never quite feasible.
    let answer = over_line(&bounded(Penalty { weight: 9.0, quadratic: true, ..fixed }), &stops);
    close(answer.consensus[0], 1.1, 1e-6);
    assert!(!answer.consensus_feasible);
    // A weight that grows gets there.
    for quadratic in [false, true] {
        let answer = over_line(&bounded(Penalty { quadratic, ..Penalty::default() }), &stops);
        close(answer.best_x[0], 1.0, 1e-3);
        assert!(answer.best_feasible);
    }
    // For others it is a function with the penalty at its first weight.
    let mut values = [0.0; 2];
    let f = bounded(Penalty { weight: 3.0, ..fixed });
    BlackBox::values(&f, &[2.0, 0.0], 1, &mut values);
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
    let methods = [
        (Algorithm::Auto(Auto::default()), 2e-3),
        (Algorithm::Cbo(Cbo { noise: Noise::Eigenframe, ..Cbo::default() }), 0.1),
        (Algorithm::Cbo(Cbo { memory: Some(Memory::default()), ..Cbo::default() }), 0.1),
    ];
    for (method, tol) in methods {
        let answer = by_name(&method, &space, &f, &[Stop::Evaluations(60_000)], 2).unwrap().solution;
        assert!(answer.best_feasible && answer.best_f > least - 1e-3, "{answer:?}");
        close(answer.best_f, least, tol);
    }
}

#[test]
fn an_infeasible_point_is_no_success() {
    // Nothing is feasible: the least violation is the best.
    let f = Constrained::new(|x: &[f64]| x[0], Penalty::default()).zero(|x| 2.0 + x[0] * x[0]);
    let stops = [Stop::Evaluations(4000)];
    let cbo = Cbo { particles: 60, ..Cbo::default() };
    let aimed = [stops[0], Stop::Target(0.5)];
    let outcome = search(&cbo, &Space::cube(1, -4.0, 4.0), &f, &aimed, 1);
    assert_ne!(outcome.stopped_because, StopReason::Target);
    let answer = outcome.solution;
    assert!(!answer.best_feasible && !answer.consensus_feasible, "{answer:?}");
    close(answer.best_x[0], 0.0, 1e-2);
    // −∞ out of bounds does not draw the cloud.
    let f = Batch(|x: &[f64], values: &mut [f64]| {
        let value = |x: &f64| if *x > 3.0 { f64::NEG_INFINITY } else { -x };
        values.iter_mut().zip(x).for_each(|(v, x)| *v = value(x));
    });
    let f = Constrained::new(f, Penalty { weight: 5.0, ..Penalty::default() }).at_most_zero(|x| x[0] - 1.0);
    let answer = over_line(&f, &stops);
    assert!(answer.best_feasible);
    close(answer.best_f, -1.0, 1e-3);
    // NaN is no constraint that holds.
    let f = Constrained::new(|x: &[f64]| x[0].abs(), Penalty::default()).zero(|x| (x[0] - 1.0).sqrt());
    assert!(over_line(&f, &stops).best_x[0] >= 1.0);
    let f = Constrained::new(|x: &[f64]| x[0], Penalty { weight: 0.0, ..Penalty::default() }).zero(|x| x[0]);
    let mut problem = SearchProblem::new(&Space::cube(1, -1.0, 1.0), &f);
    let said: RunError = Run::new(&cbo, &mut problem).run().unwrap_err();
    assert!(said.to_string().contains("penalty.weight = 0"), "{said}");
}
