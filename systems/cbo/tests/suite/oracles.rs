//! Closed forms, invariances and a naive version.

use thalweg_cbo::alpha::Alpha;
use thalweg_cbo::consensus::{alpha_for_ess, consensus};
use thalweg_cbo::method::cbo::{CboSwarm, Memory, Noise};
use thalweg_cbo::search::{Ended, FRESH, YOUNG};
use thalweg_cbo::space::Surface;
use thalweg_cbo::{Algorithm, Answer, Auto, Cbo, Space, Swarm, laplace};
use thalweg_core::{Seed, Stop, StopReason, normal};
use thalweg_optim::blackbox::BlackBox;
use thalweg_optim::functions::by_name as function;

use crate::{by_name, search};

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol, "{a} is not {b} to {tol}");
}

const X: [f64; 6] = [0.0, 0.0, 1.0, 0.0, 0.0, 2.0];
const F: [f64; 3] = [1.0, 1.5, 3.0];

#[test]
fn consensus_of_three_points() {
    for (alpha, c, softmin) in [
        (1.0, [0.348207427884, 0.155391158297], 1.543655369026),
        (10.0, [0.006692850911, 4.094717248640e-9], 1.109189693813),
        (1e5, [0.0, 0.0], 1.0000109861),
    ] {
        let found = consensus(&X, 2, &F, alpha).unwrap();
        close(found.point[0], c[0], 1e-11);
        close(found.point[1], c[1], 1e-14_f64.max(c[1] * 1e-9));
        close(found.softmin, softmin, 1e-10);
        // An offset that would underflow every exp(−αf).
        let far: Vec<f64> = F.iter().map(|f| f + 1e8).collect();
        close(consensus(&X, 2, &far, alpha).unwrap().point[0], c[0], 1e-7);
    }
    let mean = consensus(&X, 2, &F, 0.0).unwrap();
    close(mean.point[1], 2.0 / 3.0, 1e-15);
    close(mean.ess, 3.0, 1e-14);
    // Ties are averaged; failures weigh nothing.
    let tie = consensus(&X, 2, &[1.0, 1.0, f64::NAN], f64::INFINITY).unwrap();
    assert_eq!((tie.point, tie.ess), (vec![0.5, 0.0], 2.0));
    assert!(consensus(&X, 2, &[f64::NAN, f64::INFINITY, f64::NAN], 1.0).is_none());
    // The last bits of a small cloud far away survive.
    let far = consensus(&[1e8, 1e8 + 2.0], 1, &[0.0, 0.0], f64::INFINITY).unwrap();
    assert_eq!(far.point, [1e8 + 1.0]);
}

#[test]
fn alpha_from_the_effective_sample_size() {
    let f = [0.0, 0.1, 0.5, 2.0, 5.0];
    for (ess, alpha) in [(2.0, 5.6242811741), (2.5, 2.6624283424), (4.0, 0.4096954058)] {
        close(alpha_for_ess(&f, ess), alpha, 1e-9);
    }
    assert_eq!(alpha_for_ess(&[1.0, 1.0, 2.0], 2.0), f64::INFINITY);
}

#[test]
fn a_gaussian_cloud_on_a_quadratic() {
    let (point, softmin) = laplace::quadratic(3.0, -1.0, 2.0, 0.5, 8.0);
    close(point, -0.571428571429, 1e-11);
    close(softmin, 2.050190812887, 1e-11);
    // Near enough for a sample.
    let (point, softmin) = laplace::quadratic(3.0, -1.0, -0.5, 0.5, 8.0);
    let f = |x: &[f64]| 1.5 * (x[0] + 1.0).powi(2);
    let found = laplace::gaussian(&f, &[-0.5], 0.5, 8.0, 400_000, Seed(1)).unwrap();
    close(found.point[0], point, 3e-3);
    close(found.softmin, softmin, 1e-3);
    // A hop is the proximal step with τ = ασ̃²: (1.5, −1).
    let f = |x: &[f64]| 1.5 * x[0] * x[0] + x[0] * x[1] + x[1] * x[1] - x[0] + 0.5 * x[1];
    let hop = laplace::gaussian(&f, &[2.0, -1.0], 0.2, 5.0, 400_000, Seed(1)).unwrap();
    close(hop.point[0], 1.5, 1e-2);
    close(hop.point[1], -1.0, 1e-2);
}

#[test]
fn contraction_while_the_consensus_stays() {
    let growth = |noise, d| {
        let cbo = Cbo { noise, sigma: Some(0.5), ..Cbo::default() };
        (2.0 * cbo.exponents(d).0).exp()
    };
    close(growth(Noise::Isotropic, 3), 0.885, 1e-12);
    close(growth(Noise::Anisotropic, 3), 0.835, 1e-12);
    let path = |s| Cbo { noise_ratio: s, ..Cbo::default() }.exponents(1).1;
    for (s, exponent) in [(0.1, -0.1117), (0.63, -0.3469), (0.95, -0.2975), (1.5, -0.0600)] {
        close(path(s), exponent, 0.03);
    }
}

/// One step of a cloud of `x` with known values.
fn step(settings: &Cbo, x: &[f64], dim: usize, f: &dyn Fn(&[f64]) -> f64, steps: usize) -> Vec<f64> {
    let space = Space::around(vec![0.0; dim], 1.0);
    let mut swarm = CboSwarm::at(settings.clone(), space, x.to_vec(), Seed(7)).unwrap();
    for _ in 0..steps {
        let values: Vec<f64> = swarm.ask().chunks_exact(dim).map(f).collect();
        swarm.tell(&values);
    }
    swarm.positions().to_vec()
}

fn cloud(n: usize, dim: usize) -> Vec<f64> {
    let mut x = vec![0.0; n * dim];
    normal(&mut Seed(3).stream("test", 0), &mut x);
    x
}

fn bowl(x: &[f64]) -> f64 {
    x.iter().enumerate().map(|(j, x)| (j as f64 + 1.0) * (x - 0.3).powi(2)).sum()
}

/// Twenty lines that do what the formulas say, with the same normal numbers.
#[test]
fn the_naive_version_agrees() {
    let (n, d, alpha, dt, sigma) = (7, 3, 20.0, 0.05, 0.9);
    for noise in [Noise::Isotropic, Noise::Anisotropic] {
        let cbo = Cbo { noise, alpha: Alpha::Fixed(alpha), dt, sigma: Some(sigma), ..Cbo::default() };
        let start = cloud(n, d);
        let ours = step(&cbo, &start, d, &bowl, 100);
        let (mut x, mut rng) = (start, Seed(7).stream("cbo", 0));
        for _ in 0..100 {
            let f: Vec<f64> = x.chunks(d).map(bowl).collect();
            let w: Vec<f64> = f.iter().map(|f| (-alpha * f).exp()).collect();
            let total: f64 = w.iter().sum();
            let c: Vec<f64> =
                (0..d).map(|j| (0..n).map(|i| w[i] * x[i * d + j]).sum::<f64>() / total).collect();
            for i in 0..n {
                let mut xi = [0.0; 3];
                normal(&mut rng, &mut xi);
                let away: Vec<f64> = (0..d).map(|j| x[i * d + j] - c[j]).collect();
                let length = away.iter().map(|a| a * a).sum::<f64>().sqrt();
                for j in 0..d {
                    let size = if noise == Noise::Isotropic { length } else { away[j].abs() };
                    x[i * d + j] += -dt * away[j] + sigma * dt.sqrt() * size * xi[j];
                }
            }
        }
        ours.iter().zip(&x).for_each(|(a, b)| close(*a, *b, 1e-12));
    }
}

#[test]
fn invariances() {
    let (n, d) = (9, 2);
    let cbo = Cbo { alpha: Alpha::Fixed(30.0), ..Cbo::default() };
    let x = cloud(n, d);
    let plain = step(&cbo, &x, d, &bowl, 20);
    // f → af with α → α/a.
    let scaled = Cbo { alpha: Alpha::Fixed(3.0), ..cbo.clone() };
    let other = step(&scaled, &x, d, &|x| 10.0 * bowl(x), 20);
    plain.iter().zip(&other).for_each(|(a, b)| close(*a, *b, 1e-11));
    // Translation.
    let moved: Vec<f64> = x.iter().map(|x| x + 5.0).collect();
    let other = step(&cbo, &moved, d, &|x| bowl(&[x[0] - 5.0, x[1] - 5.0]), 20);
    plain.iter().zip(&other).for_each(|(a, b)| close(a + 5.0, *b, 1e-11));
    // Coordinate-wise noise commutes with the scale of a coordinate.
    let wide: Vec<f64> = x.iter().enumerate().map(|(i, x)| if i % 2 == 0 { 100.0 * x } else { *x }).collect();
    let other = step(&cbo, &wide, d, &|x| bowl(&[x[0] / 100.0, x[1]]), 20);
    plain.iter().zip(&other).enumerate().for_each(|(i, (a, b))| {
        close(if i % 2 == 0 { 100.0 * a } else { *a }, *b, 1e-9);
    });
    // The order of the particles does not move the consensus.
    let f: Vec<f64> = x.chunks(d).map(bowl).collect();
    let back: Vec<f64> = x.chunks(d).rev().flatten().copied().collect();
    let turned: Vec<f64> = f.iter().rev().copied().collect();
    let (a, b) = (consensus(&x, d, &f, 2.0).unwrap(), consensus(&back, d, &turned, 2.0).unwrap());
    a.point.iter().zip(&b.point).for_each(|(a, b)| close(*a, *b, 1e-14));
}

#[test]
fn without_noise_the_cloud_shrinks_to_its_best() {
    let cbo = Cbo { noise_ratio: 0.0, ..Cbo::default() };
    let x = cloud(12, 2);
    let diameter = |x: &[f64]| {
        let distance = |a: &[f64], b: &[f64]| ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt();
        x.chunks(2).flat_map(|a| x.chunks(2).map(move |b| distance(a, b))).fold(0.0, f64::max)
    };
    close(diameter(&step(&cbo, &x, 2, &bowl, 1)), 0.9 * diameter(&x), 1e-12);
    // At α = 0 the mean is conserved.
    let mean = |x: &[f64]| x.iter().step_by(2).sum::<f64>();
    let flat = Cbo { alpha: Alpha::Fixed(0.0), ..cbo.clone() };
    close(mean(&step(&flat, &x, 2, &bowl, 10)), mean(&x), 1e-12);
    // Truncation at 0 leaves no noise, none changes nothing.
    let still = Cbo { cap: Some(0.0), ..Cbo::default() };
    assert_eq!(step(&still, &x, 2, &bowl, 5), step(&cbo, &x, 2, &bowl, 5));
    let open = Cbo { cap: Some(f64::INFINITY), ..Cbo::default() };
    assert_eq!(step(&open, &x, 2, &bowl, 5), step(&Cbo::default(), &x, 2, &bowl, 5));
}

#[test]
fn freezing_has_the_law_of_hopping() {
    // After many steps with a consensus that stays, the variance is δ²/(2λ).
    let cbo = Cbo { freezing: true, delta: 0.6, lambda: 2.0, dt: 0.4, ..Cbo::default() };
    let n = 20_000;
    let mut start = vec![0.0; n];
    start[0] = -1.0;
    let x = step(&Cbo { alpha: Alpha::Fixed(0.0), ..cbo }, &start, 1, &|_| 1.0, 12);
    let mean = x.iter().sum::<f64>() / n as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
    close(variance, 0.09, 0.003);
}

#[test]
fn memory_never_forgets_the_better() {
    let (space, f) = (Space::cube(2, -5.12, 5.12), function("rastrigin", 2).unwrap());
    let cbo = Cbo { memory: Some(Memory::default()), ..Cbo::default() };
    let mut swarm = CboSwarm::new(cbo, space, Seed(1));
    let mut before = vec![f64::INFINITY; swarm.upcoming()];
    for _ in 0..60 {
        let values: Vec<f64> = swarm.ask().chunks_exact(2).map(|x| f.value(x)).collect();
        swarm.tell(&values);
        let (y, fy) = swarm.remembered().unwrap();
        for (i, y) in y.chunks_exact(2).enumerate() {
            // It holds a value of its own position, which never rises and is the better of the two.
            assert!(fy[i] == f.value(y) && fy[i] == before[i].min(values[i]));
        }
        before = fy.to_vec();
    }
}

#[test]
fn a_smooth_memory_is_weighed_by_values_of_its_own_positions() {
    let (space, f) = (Space::cube(2, -5.12, 5.12), function("rastrigin", 2).unwrap());
    for beta in [0.5, 1e12] {
        let memory = Some(Memory { beta: Some(beta), ..Memory::default() });
        let mut swarm = CboSwarm::new(Cbo { memory, ..Cbo::default() }, space.clone(), Seed(1));
        let n = swarm.upcoming();
        let mut better: Option<Vec<f64>> = None;
        for step in 0..40 {
            let points = swarm.ask().to_vec();
            assert_eq!(points.len(), if step == 0 { 2 * n } else { 4 * n });
            let values: Vec<f64> = points.chunks_exact(2).map(|x| f.value(x)).collect();
            swarm.tell(&values);
            let (x, y) = points.split_at(2 * n);
            let (fx, fy) = values.split_at(n);
            if step == 0 {
                continue;
            }
            // At α = ∞ the consensus is the best of what is remembered.
            let best = (0..n).min_by(|&a, &b| fy[a].total_cmp(&fy[b])).unwrap();
            swarm.consensus().iter().zip(&y[2 * best..]).for_each(|(c, y)| close(*c, *y, 1e-12));
            // β → ∞ is the strict update: the better of the two positions.
            let next = (0..2 * n).map(|k| if fx[k / 2] < fy[k / 2] { x[k] } else { y[k] }).collect();
            if let Some(expected) = better.replace(next).filter(|_| beta > 1e6) {
                expected.iter().zip(y).for_each(|(a, b)| close(*a, *b, 1e-9));
            }
        }
    }
}

#[test]
fn a_search_that_improves_no_more_is_not_fresh() {
    let f = |x: &[f64]| x[0] * x[0] + 3.0 * x[1] * x[1] + 5.0;
    let stops = [Stop::Evaluations(100_000), Stop::Below { metric: FRESH, value: 1.0 / 3.0 }];
    for name in ["auto", "cbo", "adaptive"] {
        let method = Algorithm::named(name, Default::default()).unwrap();
        let end = by_name(&method, &Space::cube(2, -5.0, 5.0), &f, &stops, 1).unwrap();
        assert!(end.evaluations < 60_000 && end.solution.best_f < 5.0 + 1e-6, "{name}: {end:?}");
        assert!(end.stopped_because != StopReason::Below || end.evaluations > YOUNG, "{name}: {end:?}");
    }
}

fn sixty(method: &Cbo, space: &Space, f: &dyn BlackBox, target: f64) -> Answer {
    search(method, space, f, &[Stop::Evaluations(60_000), Stop::Target(target)], 2).solution
}

#[test]
fn surfaces_hold_the_answer() {
    // The smallest eigenvalue, 1, of diag(1, 2, 3) over the sphere.
    let f = |x: &[f64]| x.iter().enumerate().map(|(j, x)| (j as f64 + 1.0) * x * x).sum::<f64>();
    let mut space = Space::cube(3, -1.0, 1.0);
    space.surface = Surface::Sphere;
    let cbo = Cbo { noise_ratio: 0.3, ..Cbo::default() };
    let answer = sixty(&cbo, &space, &f, 1.0 + 1e-6);
    close(answer.consensus.iter().map(|x| x * x).sum::<f64>(), 1.0, 1e-12);
    close(answer.best_f, 1.0, 1e-5);
    // The same in the plane Σx = 1: 1/Σ(1/j) = 6/11.
    space.surface = Surface::Plane { normal: vec![1.0; 3], offset: 1.0 };
    let answer = sixty(&Cbo::default(), &space, &f, 6.0 / 11.0 + 1e-7);
    close(answer.best_f, 6.0 / 11.0, 1e-6);
    close(answer.best_x.iter().sum::<f64>(), 1.0, 1e-12);
    // And over two orthonormal columns: 1 + 2.
    let mut space = Space::cube(6, -1.0, 1.0);
    space.surface = Surface::Stiefel { rows: 3, cols: 2 };
    let f = |x: &[f64]| (0..6).map(|k| (k / 2 + 1) as f64 * x[k] * x[k]).sum::<f64>();
    let answer = sixty(&Cbo { noise_ratio: 0.5, ..Cbo::default() }, &space, &f, 3.0 + 1e-4);
    close(answer.best_f, 3.0, 1e-3);
}

/// CBO, `auto` and hopping.
fn all() -> [Algorithm; 3] {
    ["cbo", "auto", "ch"].map(|name| Algorithm::named(name, Default::default()).unwrap())
}

#[test]
fn bad_functions_are_survived() {
    let space = Space::cube(2, -3.0, 3.0);
    let stops = [Stop::Evaluations(5_000), Stop::Target(1e-2)];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let nasty = |x: &[f64]| match x[0] {
        x if x < -2.0 => panic!("not there"),
        x if x < -1.0 => f64::NAN,
        x if x < 0.0 => f64::INFINITY,
        _ => (x[0] - 1.0).powi(2) + x[1] * x[1],
    };
    let ends = all().map(|m| by_name(&m, &space, &nasty, &stops, 1));
    std::panic::set_hook(hook);
    for end in ends {
        let answer = end.unwrap().solution;
        assert!(answer.best_f <= 1e-2 && answer.failures > 0, "{answer:?}");
    }
    let never = |_: &[f64]| f64::NAN;
    let error = by_name(&all()[1], &space, &never, &stops, 1).unwrap_err().to_string();
    assert!(error.contains("no finite objective value") && error.contains('['), "{error}");
    let deep = |x: &[f64]| if x[0] > 2.0 { f64::NEG_INFINITY } else { -x[0] };
    let end = search(&Cbo::default(), &space, &deep, &stops, 1);
    assert_eq!((end.stopped_because, end.solution.ended), (StopReason::Target, Some(Ended::Unbounded)));
    let end = search(&Cbo::default(), &space, &deep, &stops[..1], 1);
    assert!(end.stopped_because == StopReason::Method && end.why().contains("−∞"), "{end:?}");
}

#[test]
fn one_unknown_and_small_budgets() {
    let f = |x: &[f64]| (x[0] - 0.5).powi(2);
    let stops = [Stop::Evaluations(3000)];
    let space = Space::cube(1, -2.0, 2.0);
    for method in all() {
        let answer = by_name(&method, &space, &f, &stops, 1).unwrap().solution;
        assert!(answer.best_f < 1e-4 && answer.evaluations <= 3000, "{answer:?}");
    }
    let cbo = &all()[0];
    assert!(cbo.check_budget(&space, 20).is_err());
    let point = Space::around(vec![1.0], 0.0);
    assert!(by_name(cbo, &point, &f, &stops, 1).is_err() && cbo.check(&point).is_err());
    let reversed = Space::cube(1, 2.0, -2.0);
    let error = by_name(cbo, &reversed, &f, &stops, 1).unwrap_err().to_string();
    assert!(error.contains("coordinate 0"), "{error}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let slow = |x: &[f64]| (0..2000).fold(x[0] * x[0] + x[1] * x[1], |v, k| v + 1e-12 * f64::from(k).sin());
    let run = |threads| {
        let (auto, stops) = (Auto::default(), [Stop::Evaluations(6_000)]);
        let space = Space::cube(2, -4.0, 5.0);
        thalweg_testing::on_threads(threads, || search(&auto, &space, &slow, &stops, 5).solution)
    };
    let one = run(1);
    assert!(run(2) == one && run(8) == one);
}
