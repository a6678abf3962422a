//! The methods against closed forms (the numbered oracles of the design), brute force and general properties.

use proptest::prelude::*;
use thalweg_bilevel::diagnose::{check, report};
use thalweg_bilevel::explicit::{hypergradient, optimistic};
use thalweg_bilevel::method::Difference;
use thalweg_bilevel::penalty::{limit, lower, penalty};
use thalweg_bilevel::tasks::toys::{RandomSimplex, Toy};
use thalweg_bilevel::{
    Batch, Bilevel, BilevelError, Continuation, DoubleLoop, Grad, Oracle, Set, SingleLoop, Solution,
};
use thalweg_core::{Method, Run, RunError, Seed, Stop};
use thalweg_testing::same_bits;

fn toy(name: &str) -> Toy {
    Toy::named(name).unwrap()
}

fn near(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    assert!(
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance),
        "{a:?} is not {b:?} within {tolerance}"
    );
}

/// ψ_σ and its gradient at x, and y.
fn psi(problem: &dyn Bilevel, x: &[f64], sigma: f64) -> (f64, Vec<f64>, Vec<f64>) {
    let mut oracle = Oracle::new(problem).unwrap();
    let mut at = Solution { x: x.to_vec(), ..oracle.start() };
    let found = penalty(&mut oracle, &mut at, sigma, 1e-12).unwrap();
    assert!(found.gap >= -1e-13, "{}", found.gap);
    (found.value, found.gradient, at.y)
}

fn explicit(problem: &dyn Bilevel, x: &[f64]) -> Result<Vec<f64>, BilevelError> {
    let mut oracle = Oracle::new(problem).unwrap();
    let start = oracle.start();
    let y = optimistic(&mut oracle, x, &start)?;
    hypergradient(&mut oracle, x, &y)
}

fn solve(problem: &dyn Bilevel, method: &Continuation) -> Solution {
    let mut oracle = Oracle::new(problem).unwrap();
    Run::new(method, &mut oracle).stop(Stop::Steps(1000)).run().unwrap().solution
}

/// Oracle 1: the explicit gradient with a line of lower solutions.
#[test]
fn line_of_solutions() {
    for x in [-2.0, 0.3, 5.0] {
        near(&explicit(&toy("line"), &[x]).unwrap(), &[(x - 3.0) / 2.0], 1e-9);
    }
}

/// Oracle 2: ψ_σ in closed form, its error linear in σ.
#[test]
fn under_determined_least_squares() {
    let problem = toy("least-squares");
    let x = [0.5, -1.0];
    let (value, gradient, _) = psi(&problem, &x, 0.1);
    near(&[value], &[0.0596125186], 1e-9);
    near(&gradient, &[-0.2384500745, -0.2309985097], 1e-9);
    let (value, gradient, y) = psi(&problem, &x, 0.01);
    near(&[value], &[0.0621900792], 1e-9);
    near(&gradient, &[-0.2487603191, -0.2479366145], 1e-8); // y is precise to 1e-10, and σ = 0.01
    near(&y, &[1.0, -0.25, -0.25], 0.01);
    near(&explicit(&problem, &x).unwrap(), &[-0.25, -0.25], 1e-9);
    let mut oracle = Oracle::new(&problem).unwrap();
    let start = oracle.start();
    near(&optimistic(&mut oracle, &x, &start).unwrap(), &[1.0, -0.25, -0.25], 1e-8);
    let errors: Vec<f64> = [0.02, 0.01].iter().map(|&s| 0.0625 - psi(&problem, &x, s).0).collect();
    assert!((errors[0] / errors[1] - 2.0).abs() < 0.05, "{errors:?}");
}

/// Oracle 3: a constraint that is active on one side.
#[test]
fn active_constraint() {
    let problem = toy("active");
    for sigma in [0.1, 0.01] {
        for x in [-1.5f64, -0.5 * sigma, 0.4, 1.7] {
            let truth = match () {
                () if x >= 0.0 => 0.5 * (x - 2.0).powi(2) / (1.0 + sigma) + 0.1 * x * x,
                () if x > -2.0 * sigma => {
                    0.5 * (x - 2.0).powi(2) / (1.0 + sigma) - x * x / (2.0 * sigma) + 0.1 * x * x
                }
                () => 2.0 + 0.1 * x * x,
            };
            near(&[psi(&problem, &[x], sigma).0], &[truth], 1e-9);
        }
    }
    let fixed = Continuation {
        sigma: 0.1,
        sigma_min: 0.1,
        difference: Difference::Forward,
        ..Continuation::default()
    };
    near(&solve(&problem, &fixed).x, &[2.0 / 1.22], 1e-5);
    near(&solve(&problem, &Continuation::default()).x, &[5.0 / 3.0], 1e-5);
    near(&explicit(&problem, &[1.0]).unwrap(), &[-0.8], 1e-8);
    near(&explicit(&problem, &[-1.0]).unwrap(), &[-0.2], 1e-8);
    assert!(matches!(explicit(&problem, &[0.0]), Err(BilevelError::NotStrict { count: 1, .. })));
}

/// Oracle 4: a nonconvex lower level with the error bound.
#[test]
fn nonconvex_lower_level() {
    let problem = toy("pl");
    let (value, gradient, y) = psi(&problem, &[0.2], 0.1);
    near(&[value, y[0], gradient[0]], &[0.3360492876, 0.2098770190, -0.5901229813], 1e-9);
    let (value, gradient, _) = psi(&problem, &[0.2], 0.01);
    near(&[value, gradient[0]], &[0.3396004993, -0.5990012482], 1e-9);
    near(&explicit(&problem, &[0.2]).unwrap(), &[-0.6], 1e-8);
    near(&solve(&problem, &Continuation::default()).x, &[0.5], 1e-5);
}

/// Oracle 5: where the lower solutions jump, ψ_σ has a slope of 1/σ, and that is said.
#[test]
fn jumping_lower_level() {
    let problem = toy("jump");
    let mut oracle = Oracle::new(&problem).unwrap();
    for sigma in [0.1, 0.01] {
        for x in [0.5 * sigma, sigma, 3.0 * sigma] {
            let truth = match x <= 2.0 * sigma {
                true => x * x - x * x / (4.0 * sigma * sigma) + x / sigma,
                false => x * x + 1.0,
            };
            near(&[psi(&problem, &[x], sigma).0], &[truth], 1e-9);
        }
    }
    let start = oracle.start();
    assert!(limit(&mut oracle, &[1e-6], &start).unwrap().jumps);
    assert!(!limit(&mut oracle, &[0.5], &start).unwrap().jumps);
    let found = solve(&problem, &Continuation::default());
    let told = report(&mut oracle, &Solution { x: vec![1e-6], ..found }, 1e-3).unwrap();
    assert!(told.warnings[0].contains("jump"), "{:?}", told.warnings);
}

/// Oracle 6: from anywhere to one of the local minima, or to an end where the projected gradient vanishes.
#[test]
fn three_local_minima() {
    let problem = toy("cosine");
    for k in 0..100 {
        let start = vec![3.0 * (0.5 + f64::from(k)) / 100.0];
        let from = problem.clone().from(start.clone(), vec![-start[0]]);
        let x = solve(&from, &Continuation::default()).x[0];
        let minimum = problem.minima.iter().any(|(m, _)| (x - m[0]).abs() < 1e-4);
        let slope = problem.psi(&[x]).1.unwrap()[0];
        let end = (x == 0.0 && slope >= 0.0) || (x == 3.0 && slope <= 0.0);
        assert!(minimum || end, "from {start:?} to {x} of slope {slope}");
    }
    for &(x, value) in problem.minima {
        near(&[problem.psi(x).0], &[value], 1e-15);
        near(&problem.psi(x).1.unwrap(), &[0.0], 1e-14);
    }
}

/// Oracle 7, and the sets of the toys: ∇ψ_σ is the derivative of ψ_σ.
#[test]
fn envelope_gradient_is_the_derivative() {
    for problem in Toy::all() {
        let (x, _) = problem.start();
        let gradient = psi(&problem, &x, 0.1).1;
        let differences = thalweg_testing::gradient(|x| psi(&problem, x, 0.1).0, &x, 1e-4);
        assert!(
            gradient.iter().zip(&differences).all(|(g, d)| (g - d).abs() < 1e-6),
            "{}: {gradient:?} {differences:?}",
            problem.name
        );
    }
}

/// Oracle 7: any z of the lower solutions gives the same gradient.
#[test]
fn gradient_does_not_depend_on_the_lower_solution() {
    let gradients: Vec<Vec<f64>> = [-30.0, 0.0, 40.0]
        .iter()
        .map(|&z| {
            let problem = toy("line");
            let mut oracle = Oracle::new(&problem).unwrap();
            let mut at = Solution { x: vec![1.0], y: vec![0.0; 2], z: vec![z, 1.0 - z] };
            penalty(&mut oracle, &mut at, 0.1, 1e-13).unwrap().gradient
        })
        .collect();
    near(&gradients[0], &gradients[1], 1e-9);
    near(&gradients[2], &gradients[1], 1e-9);
}

/// Oracle 10: ψ_σ rises to ψ as σ falls.
#[test]
fn penalty_is_a_lower_bound() {
    for problem in Toy::all() {
        let (x, _) = problem.start();
        let truth = problem.psi(&x).0;
        let values: Vec<f64> = [1.0, 0.3, 0.1, 0.03, 0.01].iter().map(|&s| psi(&problem, &x, s).0).collect();
        assert!(values.windows(2).all(|v| v[0] <= v[1] + 1e-10), "{}: {values:?}", problem.name);
        assert!(values[4] <= truth + 1e-10, "{}: {values:?} {truth}", problem.name);
        let mut oracle = Oracle::new(&problem).unwrap();
        let start = oracle.start();
        let limit = limit(&mut oracle, &x, &start).unwrap();
        near(&[limit.value], &[truth], 1e-7);
        near(&limit.gradient, &problem.psi(&x).1.unwrap(), 1e-6);
    }
}

/// B5: the three pieces on the simplex, and the minimum.
#[test]
fn simplex() {
    let problem = toy("simplex");
    for x in [0.05, 0.3, 0.5, 0.8, 0.95] {
        near(&explicit(&problem, &[x]).unwrap(), &problem.psi(&[x]).1.unwrap(), 1e-8);
    }
    near(&explicit(&problem, &[0.4]).unwrap(), &[2.2 * 0.4 - 1.0], 1e-8);
    assert!(matches!(explicit(&problem, &[1.0 / 6.0]), Err(BilevelError::NotStrict { .. })));
    near(&solve(&problem, &Continuation::default()).x, &[5.0 / 11.0], 1e-5);
}

/// B5, larger: the minimum is that of a grid over X.
#[test]
fn random_simplex_against_a_grid() {
    let problem = RandomSimplex::new(50, Seed(1));
    let mut oracle = Oracle::new(&problem).unwrap();
    let mut z = oracle.start().z;
    let mut value = |x: f64| {
        lower(&mut oracle, &[x], &mut z, 1e-11).unwrap();
        problem.upper(&[x], &z, Batch::Full, Grad::NONE)
    };
    let grid: Vec<f64> = (0..=200).map(|i| value(f64::from(i) / 200.0)).collect();
    let best = grid.iter().copied().fold(f64::INFINITY, f64::min);
    let mut best_kept = f64::INFINITY;
    for start in [0.1, 0.5, 0.9] {
        let x = solve(&problem.clone().from(start), &Continuation::default()).x[0];
        best_kept = best_kept.min(value(x));
    }
    assert!(best_kept <= best + 1e-7, "{best_kept} {best}");
}

/// A ball for Y: the curvature of the boundary enters the explicit gradient.
#[test]
fn explicit_gradient_on_a_ball() {
    struct OnBall(Set);
    impl Bilevel for OnBall {
        fn dims(&self) -> (usize, usize) {
            (1, 2)
        }
        fn y_set(&self) -> &Set {
            &self.0
        }
        fn upper(&self, _: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
            grad.x.into_iter().for_each(|g| g[0] = 0.0);
            grad.y.into_iter().for_each(|g| g.copy_from_slice(&[y[0] - 0.2, y[1] - 3.0]));
            0.5 * ((y[0] - 0.2).powi(2) + (y[1] - 3.0).powi(2))
        }
        fn lower(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
            let d = [y[0] - x[0], y[1] - 2.0];
            grad.x.into_iter().for_each(|g| g[0] = -d[0]);
            grad.y.into_iter().for_each(|g| g.copy_from_slice(&d));
            0.5 * (d[0] * d[0] + d[1] * d[1])
        }
    }
    // y = (x, 2)/√(x² + 4): the projection onto the unit circle.
    let problem = OnBall(Set::Ball { centre: vec![0.0; 2], radius: 1.0 });
    let psi = |x: f64| {
        let r = x.hypot(2.0);
        0.5 * ((x / r - 0.2).powi(2) + (2.0 / r - 3.0).powi(2))
    };
    for x in [-1.0, 0.4, 2.0] {
        let truth = (psi(x + 1e-5) - psi(x - 1e-5)) / 2e-5;
        near(&explicit(&problem, &[x]).unwrap(), &[truth], 1e-7);
        let mut oracle = Oracle::new(&problem).unwrap();
        let start = oracle.start();
        near(&limit(&mut oracle, &[x], &start).unwrap().gradient, &[truth], 1e-6);
    }
}

/// Central differences of l(x,·) where the lower level is strongly convex: error O(σ²).
#[test]
fn central_difference_is_of_second_order() {
    let problem = toy("pl");
    let errors: Vec<f64> = [0.1, 0.05]
        .iter()
        .map(|&sigma| {
            let method = Continuation {
                sigma,
                sigma_min: sigma,
                difference: Difference::Central,
                tolerance: 1e-9,
                ..Continuation::default()
            };
            (solve(&problem, &method).x[0] - 0.5).abs()
        })
        .collect();
    assert!(errors[0] / errors[1] > 3.5 || errors[0] < 1e-8, "{errors:?}");
}

/// Both of the paper's algorithms, without noise, on all toys that are smooth near their minimum.
#[test]
fn papers_algorithms_reach_the_minima() {
    fn end<M>(problem: &Toy, method: &M, steps: u64) -> f64
    where
        M: for<'p> Method<Oracle<'p>, Solution = Solution>,
    {
        let mut oracle = Oracle::new(problem).unwrap();
        let found = Run::new(method, &mut oracle).stop(Stop::Steps(steps)).run().unwrap().solution;
        problem.psi(&found.x).0
    }
    for name in ["line", "least-squares", "active", "pl", "simplex"] {
        let problem = toy(name);
        let best = problem.minima[0].1;
        let double =
            end(&problem, &DoubleLoop { shift: 10.0, sigma: 0.5, alpha: 0.3, ..DoubleLoop::default() }, 3000);
        assert!(double - best < 3e-3, "double loop on {name}: {double} {best}");
        let method = SingleLoop { alpha: 0.05, ..SingleLoop::deterministic() };
        let single = end(&problem, &SingleLoop { shift: 100.0, ..method }, 20_000);
        assert!(single - best < 3e-3, "single loop on {name}: {single} {best}");
    }
}

/// Noise, five seeds: the single loop ends near the minimum, and momentum helps.
#[test]
fn single_loop_with_noise() {
    let problem = toy("line").noisy(0.3);
    let error = |eta: f64, eta_power: f64, seed: u64| {
        let method = SingleLoop { alpha: 0.1, eta, eta_power, batch: 1, ..SingleLoop::default() };
        let mut oracle = Oracle::new(&problem).unwrap();
        let run = Run::new(&method, &mut oracle).seed(Seed(seed)).stop(Stop::Steps(20_000));
        (run.run().unwrap().solution.x[0] - 3.0).abs()
    };
    let with: f64 = (0..5).map(|s| error(0.3, 0.8, s)).sum::<f64>() / 5.0;
    let without: f64 = (0..5).map(|s| error(1.0, 0.0, s)).sum::<f64>() / 5.0;
    assert!(with < 0.2 && with < without, "{with} {without}");
}

/// Oracle 8: a batch of all terms is the deterministic step, bit for bit; η = 1 forgets the past.
#[test]
fn full_batches_are_deterministic() {
    let problem = toy("least-squares");
    fn bits<M: for<'p> Method<Oracle<'p>, Solution = Solution>>(problem: &Toy, method: &M) -> Vec<u64> {
        let mut oracle = Oracle::new(problem).unwrap();
        let found = Run::new(method, &mut oracle).stop(Stop::Steps(7)).run().unwrap().solution;
        [found.x, found.y, found.z].concat().iter().map(|v| v.to_bits()).collect()
    }
    let all = DoubleLoop { batch: 1, batch_x: 1, ..DoubleLoop::default() };
    assert_eq!(bits(&problem, &all), bits(&problem, &DoubleLoop::default()));
    let single = SingleLoop { eta: 1.0, eta_power: 0.0, lipschitz: Some(2.0), ..SingleLoop::default() };
    assert_eq!(bits(&problem, &single), bits(&problem, &SingleLoop { batch: 1, ..single.clone() }));

    // By hand: plain steps on the three blocks.
    let (gamma, sigma, alpha) = (single.gamma / 2.0, single.sigma, single.alpha);
    let mut oracle = Oracle::new(&problem).unwrap();
    let found = Run::new(&single, &mut oracle).stop(Stop::Steps(1)).run().unwrap().solution;
    let (x, y) = problem.start();
    let (mut g_x, mut g_y, mut f_x, mut f_y) = (vec![0.0; 2], vec![0.0; 3], vec![0.0; 2], vec![0.0; 3]);
    problem.lower(&x, &y, Batch::Full, Grad::both(&mut g_x, &mut g_y));
    problem.upper(&x, &y, Batch::Full, Grad::both(&mut f_x, &mut f_y));
    let z: Vec<f64> = (0..3).map(|i| y[i] - gamma * g_y[i]).collect();
    let w: Vec<f64> = (0..3).map(|i| y[i] - gamma * (g_y[i] + sigma * f_y[i])).collect();
    near(&found.z, &z, 1e-15);
    near(&found.y, &w, 1e-15);
    near(&found.x, &[x[0] - alpha * f_x[0], x[1] - alpha * f_x[1]], 1e-15);
}

#[test]
fn threads_and_resumes_do_not_change_a_bit() {
    let problem = toy("least-squares").noisy(0.2);
    let method = SingleLoop { batch: 3, ..SingleLoop::default() };
    same_bits(&method, || Oracle::new(&problem).unwrap(), 40, [20]);
}

/// `check` finds nothing wrong with the smooth toys, and a wrong gradient.
#[test]
fn checks() {
    for name in ["line", "least-squares", "pl", "cosine"] {
        let problem = toy(name);
        let mut oracle = Oracle::new(&problem).unwrap();
        let x = problem.start().0;
        let found = check(&mut oracle, &x, Seed(1)).unwrap();
        assert!(found.warnings.is_empty(), "{name}: {:?}", found.warnings);
        near(&found.explicit.unwrap(), &problem.psi(&x).1.unwrap(), 1e-6);
    }
    // The error bound of ½(y1 + y2 − x)² is its only curvature, 2, seen through a prox of ρ = 0.1: 2/1.2.
    let problem = toy("line");
    let found = check(&mut Oracle::new(&problem).unwrap(), &[0.5], Seed(1)).unwrap();
    near(&[found.error_bound[0]], &[2.0 / 1.2], 1e-3);

    struct Wrong(Toy);
    impl Bilevel for Wrong {
        fn dims(&self) -> (usize, usize) {
            self.0.dims()
        }
        fn upper(&self, x: &[f64], y: &[f64], batch: Batch<'_>, mut grad: Grad<'_>) -> f64 {
            let value = self.0.upper(x, y, batch, grad.again());
            grad.y.into_iter().for_each(|g| g[0] *= 1.1);
            value
        }
        fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
            self.0.lower(x, y, batch, grad)
        }
    }
    let wrong = Wrong(toy("line"));
    let found = check(&mut Oracle::new(&wrong).unwrap(), &[0.5], Seed(1)).unwrap();
    assert!(found.warnings.iter().any(|w| w.contains("∇_y f")), "{:?}", found.warnings);
}

/// Bad input is an error that names its cause.
#[test]
fn bad_input() {
    struct Bad {
        y_set: Set,
        at: f64,
        slope: f64,
    }
    impl Bilevel for Bad {
        fn dims(&self) -> (usize, usize) {
            (1, 1)
        }
        fn y_set(&self) -> &Set {
            &self.y_set
        }
        fn upper(&self, x: &[f64], _: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
            let value = if x[0] > self.at { f64::NAN } else { -x[0] };
            grad.x.into_iter().for_each(|g| g[0] = -1.0);
            grad.y.into_iter().for_each(|g| g[0] = 0.0);
            value
        }
        fn lower(&self, _: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
            grad.x.into_iter().for_each(|g| g[0] = 0.0);
            let e = (-y[0]).exp();
            grad.y.into_iter().for_each(|g| g[0] = if self.slope > 0.0 { self.slope } else { -e });
            if self.slope > 0.0 { self.slope * y[0] } else { e }
        }
    }
    let says = |bad: Bad, words: &[&str]| {
        let text = match Oracle::new(&bad) {
            Err(e) => e.to_string(),
            Ok(mut oracle) => {
                let method = DoubleLoop { alpha: 1.0, ..DoubleLoop::default() };
                let double = Run::new(&method, &mut oracle).stop(Stop::Steps(100)).run();
                let exact = Run::new(&Continuation::default(), &mut oracle).stop(Stop::Steps(100)).run();
                [double.err(), exact.err()]
                    .into_iter()
                    .flatten()
                    .map(|e| e.to_string())
                    .collect::<Vec<_>>()
                    .join("; ")
            }
        };
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
    };
    let inf = f64::INFINITY;
    says(Bad { y_set: Set::cube(1, 1.0, -1.0), at: inf, slope: 0.0 }, &["Y", "empty", "coordinate 0"]);
    says(Bad { y_set: Set::cube(2, -1.0, 1.0), at: inf, slope: 0.0 }, &["2 numbers for 1 unknowns"]);
    let shift = Set::Custom(std::sync::Arc::new(|v: &mut [f64]| v[0] += 1.0));
    says(Bad { y_set: shift, at: inf, slope: 0.0 }, &["projected again"]);
    let parallel = Set::Polyhedron { rows: vec![vec![1.0], vec![-1.0]], rhs: vec![-1.0, -1.0], equations: 0 };
    says(Bad { y_set: parallel, at: inf, slope: 0.0 }, &["Y"]);
    says(Bad { y_set: Set::cube(1, 0.0, 1.0), at: 3.0, slope: 0.0 }, &["value of f", "|x|", "step"]);
    says(Bad { y_set: Set::Free, at: inf, slope: 1.0 }, &["runs away", "regulariser"]);
    for sigma in [0.0, -1.0, 1e-9, f64::NAN] {
        let problem = toy("line");
        let mut oracle = Oracle::new(&problem).unwrap();
        let mut at = oracle.start();
        assert!(penalty(&mut oracle, &mut at, sigma, 1e-6).is_err());
        let method = SingleLoop { sigma, ..SingleLoop::default() };
        let run = Run::new(&method, &mut oracle).stop(Stop::Steps(1)).run();
        assert!(matches!(run, Err(RunError::Invalid(e)) if e.field == "sigma"));
    }
}

fn sets() -> Vec<Set> {
    let rows = vec![vec![1.0, 1.0, 1.0, 0.0], vec![1.0, -1.0, 0.0, 0.0], vec![0.0, 2.0, 1.0, -1.0]];
    vec![
        Set::Free,
        Set::Box { lo: vec![-1.0, 0.0, f64::NEG_INFINITY, 2.0], hi: vec![1.0, 0.5, 3.0, 2.0] },
        Set::Ball { centre: vec![1.0, 0.0, -1.0, 0.5], radius: 1.5 },
        Set::Simplex { sum: 1.0 },
        Set::L1Ball { radius: 1.2 },
        Set::Polyhedron { rows: rows.clone(), rhs: vec![1.0, 0.3, 0.5], equations: 1 },
        Set::Polyhedron { rows, rhs: vec![1.0, 0.3, 0.5], equations: 3 },
        Set::Product(vec![(1, Set::cube(1, 0.0, 1.0)), (3, Set::Simplex { sum: 2.0 })]),
    ]
}

proptest! {
    /// Oracle 9: projections are idempotent and non-expansive, and satisfy the variational inequality that
    /// characterises the nearest point.
    #[test]
    fn projections(v in prop::collection::vec(-5.0..5.0f64, 4), w in prop::collection::vec(-5.0..5.0f64, 4)) {
        for set in sets() {
            let project = |v: &[f64]| {
                let mut p = v.to_vec();
                set.project(&mut p);
                p
            };
            let (p, q) = (project(&v), project(&w));
            let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            prop_assert!(distance(&project(&p), &p) < 1e-9, "{set:?}");
            prop_assert!(distance(&p, &q) <= distance(&v, &w) + 1e-9, "{set:?}");
            // q is in the set, so (v − p)·(q − p) ≤ 0.
            let angle: f64 = (0..4).map(|i| (v[i] - p[i]) * (q[i] - p[i])).sum();
            prop_assert!(angle <= 1e-7, "{set:?}: {angle}");
            // What is active at p explains how p differs from v: v − p is in the span of the active rows.
            if let Some(active) = set.active(&p).filter(|_| distance(&v, &p) > 1e-3) {
                prop_assert!(!active.is_empty(), "{set:?}");
            }
        }
    }
}
