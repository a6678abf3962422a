//! What is returned lies where it may and has been evaluated there.

use std::sync::Mutex;

use rand::RngExt;
use thalweg_cbo::method::cbo::{Batches, CboSwarm, GradientDrift, Memory, Noise};
use thalweg_cbo::space::{Boundary, Surface};
use thalweg_cbo::{Adaptive, Algorithm, Auto, Cbo, Hopping, Space, Swarm};
use thalweg_core::{Seed, Stop};

use crate::by_name;

/// Every method, with the options that ask for points of their own.
fn methods() -> Vec<(&'static str, Algorithm)> {
    let plain = Cbo { particles: 40, ..Cbo::default() };
    let smooth = Memory { beta: Some(5.0), ..Memory::default() };
    let differences = GradientDrift { difference: Some(0.3), ..GradientDrift::default() };
    vec![
        ("auto", Algorithm::Auto(Auto::default())),
        ("cbo", Algorithm::Cbo(plain.clone())),
        ("memory", Algorithm::Cbo(Cbo { memory: Some(Memory::default()), ..plain.clone() })),
        ("smooth memory", Algorithm::Cbo(Cbo { memory: Some(smooth), ..plain.clone() })),
        ("differences", Algorithm::Cbo(Cbo { gradient: Some(differences), ..plain.clone() })),
        ("eigenframe", Algorithm::Cbo(Cbo { noise: Noise::Eigenframe, ..plain.clone() })),
        ("freezing", Algorithm::Cbo(Cbo { freezing: true, delta: 0.4, ..plain.clone() })),
        ("batches", Algorithm::Cbo(Cbo { batches: Some(Batches::default()), ..plain })),
        ("ch", Algorithm::Hopping(Hopping { particles: 50, ..Hopping::default() })),
        ("adaptive", Algorithm::Adaptive(Adaptive::default())),
    ]
}

/// How far a point is from the surface.
fn off(surface: &Surface, x: &[f64]) -> f64 {
    match surface {
        Surface::None => 0.0,
        Surface::Sphere => (x.iter().map(|x| x * x).sum::<f64>() - 1.0).abs(),
        Surface::Plane { normal, offset } => {
            (x.iter().zip(normal).map(|(x, n)| x * n).sum::<f64>() - offset).abs()
        }
        Surface::Stiefel { rows, cols } => {
            let product =
                |a: usize, b: usize| -> f64 { (0..*rows).map(|i| x[i * cols + a] * x[i * cols + b]).sum() };
            let pairs = (0..*cols).flat_map(|a| (0..=a).map(move |b| (a, b)));
            pairs
                .map(|(a, b)| product(a, b) - f64::from(u8::from(a == b)))
                .fold(0.0, |m, e: f64| m.max(e.abs()))
        }
    }
}

fn spaces() -> Vec<Space> {
    let corner = Space::in_box(vec![(1.0, 3.0), (-2.0, 0.5), (0.2, 0.4), (-1.0, 4.0)]);
    let tight = Space::in_box(vec![(0.0, 0.9), (0.0, 0.9), (0.0, 0.4), (-0.3, 0.9)]);
    let plane = Surface::Plane { normal: vec![1.0, 1.0, 1.0, 0.5], offset: 2.0 };
    let mut all = vec![corner.clone(), Space { boundary: Boundary::Clip, ..corner.clone() }];
    all.push(Space { boundary: Boundary::Resample, ..corner });
    all.push(Space { surface: plane, ..tight.clone() });
    all.push(Space { surface: Surface::Sphere, ..tight });
    all.push(Space { surface: Surface::Stiefel { rows: 2, cols: 2 }, ..Space::cube(4, -2.0, 2.0) });
    all
}

#[test]
fn no_point_outside_the_feasible_set_is_evaluated_or_returned() {
    for space in spaces() {
        let inside = |x: &[f64]| {
            let within = x.iter().zip(space.bounds.as_ref().unwrap()).all(|(x, b)| *x >= b.0 && *x <= b.1);
            let tight = matches!(space.surface, Surface::Stiefel { .. }); // its box is wider than it
            (within || tight) && off(&space.surface, x) < 1e-10
        };
        for (name, method) in methods() {
            if method.check(&space).is_err() {
                assert_ne!(space.surface, Surface::None, "{name} fits any box");
                continue;
            }
            let stray = Mutex::new(None);
            let value = |x: &[f64]| (0..4).map(|j| (j + 1) as f64 * (x[j] + 0.5).powi(2)).sum::<f64>();
            let f = |x: &[f64]| {
                if !inside(x) {
                    *stray.lock().unwrap() = Some(x.to_vec());
                }
                value(x)
            };
            let answer = by_name(&method, &space, &f, &[Stop::Evaluations(6_000)], 3).unwrap().solution;
            let stray = stray.into_inner().unwrap();
            assert!(stray.is_none(), "{name} in {space:?}: {stray:?}");
            assert!(inside(&answer.best_x) && inside(&answer.consensus), "{name}: {answer:?}");
            assert_eq!(
                (answer.best_f, answer.consensus_f),
                (value(&answer.best_x), value(&answer.consensus))
            );
        }
    }
}

#[test]
fn a_box_and_a_plane_are_searched_where_they_meet() {
    // The nearest point to 0 of the plane Σx = 2 in the box: (0.8, 0.8, 0.4), not the point that clamping leaves.
    let mut space = Space::in_box(vec![(0.0, 0.9), (0.0, 0.9), (0.0, 0.4)]);
    space.surface = Surface::Plane { normal: vec![1.0; 3], offset: 2.0 };
    let f = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    for name in ["auto", "cbo", "adaptive"] {
        let method = Algorithm::named(name, Default::default()).unwrap();
        let answer = by_name(&method, &space, &f, &[Stop::Evaluations(20_000)], 1).unwrap().solution;
        assert!((answer.best_f - 1.44).abs() < 1e-3 && answer.best_f > 1.44 - 1e-12, "{name}: {answer:?}");
    }
}

#[test]
fn the_projection_is_the_nearest_point_of_box_and_plane() {
    let mut rng = Seed(5).stream("projections", 0);
    for _ in 0..100 {
        let mut number = || rng.random_range(-2.0..2.0);
        let bounds: Vec<(f64, f64)> = (0..5)
            .map(|_| (number(), number()))
            .map(|(a, b): (f64, f64)| (a.min(b), a.max(b) + 0.1))
            .collect();
        let normal: Vec<f64> = (0..5).map(|_| number()).collect();
        let offset = normal.iter().zip(&bounds).map(|(n, b)| n * (0.3 * b.0 + 0.7 * b.1)).sum();
        let space = Space { surface: Surface::Plane { normal, offset }, ..Space::in_box(bounds) };
        space.validate().unwrap();
        let mut pair = || {
            let x: Vec<f64> = (0..5).map(|_| 3.0 * number()).collect();
            let mut y = x.clone();
            space.project(&mut y);
            assert!(off(&space.surface, &y) < 1e-12);
            assert!(y.iter().zip(space.bounds.as_ref().unwrap()).all(|(y, b)| *y >= b.0 && *y <= b.1));
            (x, y)
        };
        // y is the nearest point to x of a convex set if and only if ⟨x − y, z − y⟩ ≤ 0 for all z in it.
        let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
        for (x, y) in &pairs {
            for (_, z) in &pairs {
                let angle: f64 = (0..5).map(|j| (x[j] - y[j]) * (z[j] - y[j])).sum();
                assert!(angle < 1e-9, "{x:?} to {y:?}, {z:?} in {space:?}");
            }
            let mut again = y.clone();
            space.project(&mut again);
            assert!(y.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-9), "a projection stays");
        }
    }
}

#[test]
fn a_surface_that_misses_the_box_is_refused() {
    let square = Space::cube(2, 1.0, 3.0);
    let plane = |offset| Surface::Plane { normal: vec![1.0, -1.0], offset };
    let cube = Space::cube(4, -0.5, 0.5);
    for (space, surface, words) in [
        (&square, Surface::Sphere, "sphere"),
        (&square, plane(2.5), "plane"),
        (&cube, Surface::Stiefel { rows: 2, cols: 2 }, "Stiefel"),
    ] {
        let met = Space { surface, ..space.clone() };
        assert!(met.validate().unwrap_err().to_string().contains(words), "{met:?}");
        assert!(Space { boundary: Boundary::Open, ..met }.validate().is_ok());
    }
    assert!(Space { surface: plane(-1.5), ..square }.validate().is_ok());
}

#[test]
fn differences_are_one_sided_at_the_walls() {
    // On a linear function any difference is exact: the drift is −γηΔt times the slope.
    let gradient = Some(GradientDrift { gamma: 1.0, eta: 1.0, difference: Some(0.5) });
    let cbo = Cbo { gradient, noise_ratio: 0.0, lambda: 1e-9, dt: 0.01, ..Cbo::default() };
    let space = Space { boundary: Boundary::Clip, ..Space::cube(2, 0.0, 1.0) };
    let mut swarm = CboSwarm::at(cbo, space, vec![0.0, 1.0, 0.4, 0.6], Seed(1)).unwrap();
    let values: Vec<f64> = swarm.ask().chunks(2).map(|x| 2.0 * x[1] - 3.0 * x[0]).collect();
    swarm.tell(&values);
    for (x, y) in swarm.positions().iter().zip([0.03, 0.98, 0.43, 0.58]) {
        assert!((x - y).abs() < 1e-7, "{:?}", swarm.positions());
    }
}

#[test]
fn what_would_change_nothing_is_refused() {
    let sphere = Space { surface: Surface::Sphere, ..Space::cube(3, -1.0, 1.0) };
    let cube = Space::cube(3, -1.0, 1.0);
    let (plain, memory) = (Cbo::default(), Memory::default());
    let own = GradientDrift { difference: None, ..GradientDrift::default() };
    let frozen = Cbo { freezing: true, delta: 0.1, ..Cbo::default() };
    for (space, cbo, field) in [
        (&sphere, Cbo { noise: Noise::Isotropic, ..plain.clone() }, "noise"),
        (&sphere, Cbo { noise: Noise::Eigenframe, ..plain.clone() }, "noise"),
        (&sphere, Cbo { noise_after_drift: true, ..plain.clone() }, "noise_after_drift"),
        (&sphere, Cbo { memory: Some(memory), ..plain.clone() }, "memory"),
        (&sphere, Cbo { gradient: Some(own), ..plain.clone() }, "gradient"),
        (&cube, Cbo { memory: Some(memory), ..frozen.clone() }, "memory"),
        (&cube, Cbo { gradient: Some(own), ..frozen.clone() }, "gradient"),
        (&cube, Cbo { noise_ratio: 0.3, ..frozen.clone() }, "noise_ratio"),
        (&cube, Cbo { cap: Some(1.0), ..frozen.clone() }, "cap"),
        (&cube, Cbo { alpha_factor: 1.1, ..plain.clone() }, "alpha_factor"),
        (&cube, Cbo { alpha_schedule: "step:9:10".parse().unwrap(), ..plain.clone() }, "alpha_schedule"),
        (&cube, Cbo { reduction: 0.2, ..plain.clone() }, "reduction"),
        (&cube, Cbo { memory: Some(Memory { kappa: Some(1.0), ..memory }), ..plain.clone() }, "memory.kappa"),
    ] {
        let said = cbo.check(space).expect_err(field).to_string();
        assert!(said.starts_with(field), "{field}: {said}");
    }
    assert!(plain.check(&sphere).is_ok() && frozen.check(&cube).is_ok());
    let plane = Surface::Plane { normal: vec![1.0; 3], offset: 0.5 };
    let plane = Space { surface: plane, ..cube };
    let differences = Cbo { gradient: Some(GradientDrift::default()), ..plain.clone() };
    assert!(differences.check(&plane).unwrap_err().to_string().contains("gradient.difference"));
    assert!(Cbo { gradient: Some(own), ..plain }.check(&plane).is_ok());
}

#[test]
fn differences_that_eat_up_the_budget_are_refused() {
    let cbo = Algorithm::Cbo(Cbo { gradient: Some(GradientDrift::default()), ..Cbo::default() });
    let space = Space::cube(200, -1.0, 1.0);
    let said = cbo.check_budget(&space, 1_000_000).unwrap_err().to_string();
    assert!(said.contains("160000") && said.contains("gradient.difference"), "{said}");
    assert!(cbo.check_budget(&space, 10_000_000).is_ok());
    assert!(Algorithm::Cbo(Cbo::default()).check_budget(&space, 1_000_000).is_ok());
}
