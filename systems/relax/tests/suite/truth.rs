//! What a solver says of its solution is true, whatever the scales of the system.

use proptest::prelude::*;
use thalweg_core::{Run, Seed, Stop};
use thalweg_relax::method::{Arm, Cost};
use thalweg_relax::oracle::compare;
use thalweg_relax::sequence::{Shift, Shifted, Systems};
use thalweg_relax::solver::{Reason, Solved};
use thalweg_relax::{Csr, Matrix, Policy, RelaxError, Scheme, Sequence, Solver, Stencil, TunedSolver};
use thalweg_testing::normals;

/// `scale` times the matrix of −u″ on a line, whose solution for b = 1 is i (n + 1 − i) / 2.
fn line(n: usize, scale: f64) -> Csr {
    let beside = (1..n).flat_map(|i| [(i, i - 1, -scale), (i - 1, i, -scale)]);
    Csr::from_triplets(n, n, (0..n).map(|i| (i, i, 2.0 * scale)).chain(beside)).expect("legal")
}

/// −u″ on a line without boundary values: singular, and b = 1 is not in its range.
fn singular(n: usize) -> Csr {
    let diagonal = (0..n).map(|i| (i, i, if i == 0 || i == n - 1 { 1.0 } else { 2.0 }));
    let beside = (1..n).flat_map(|i| [(i, i - 1, -1.0), (i - 1, i, -1.0)]);
    Csr::from_triplets(n, n, diagonal.chain(beside)).expect("legal")
}

fn hilbert(n: usize) -> Csr {
    let entries = (0..n * n).map(|k| (k / n, k % n, 1.0 / (k / n + k % n + 1) as f64));
    Csr::from_triplets(n, n, entries).expect("legal")
}

/// S A S for a grid's Laplacian A and a diagonal S that spans 10^±`decades`.
fn badly_scaled(side: usize, decades: f64, seed: u64) -> (Csr, Vec<f64>) {
    let n = side * side;
    let z: Vec<f64> = normals(&mut Seed(seed).stream("scale", 0), n);
    let s: Vec<f64> = z.iter().map(|z| 10f64.powf(decades * z.sin())).collect();
    let a = Stencil::laplacian(side, side).and_then(|a| a.to_csr()).expect("legal");
    let entries = a.triplets().map(|(i, j, v)| (i, j, s[i] * v * s[j]));
    (Csr::from_triplets(n, n, entries).expect("legal"), s)
}

/// ‖b − A x‖ / ‖b‖, and what rounding does to it.
fn residual(a: &Csr, b: &[f64], x: &[f64]) -> (f64, f64) {
    let (mut r, mut terms) = (b.to_vec(), b.iter().map(|b| b.abs()).collect::<Vec<_>>());
    for (i, j, v) in a.triplets() {
        r[i] -= v * x[j];
        terms[i] += (v * x[j]).abs();
    }
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    (norm(&r) / norm(b), 1e-14 * norm(&terms) / norm(b))
}

fn all_methods(tol: f64) -> impl Iterator<Item = Solver> {
    Scheme::ALL.into_iter().map(move |method| Solver { method, omega: 1.9, tol, ..Solver::default() })
}

#[test]
fn extreme_scales_change_nothing() {
    for (matrix, right) in [
        (1e-180, 1e-180),
        (1.0, 1e200),
        (1.0, 1e-200),
        (1e-200, 1.0),
        (1e200, 1.0),
        (1e250, 1e300),
        (1e-310, 1e-310),
    ] {
        let a = line(50, matrix);
        for solver in all_methods(1e-10) {
            let (x, solved) = solver.solve(&a, &[right; 50]).expect("a solve");
            let what = format!("{}, A × {matrix:e}, b × {right:e}", solver.method);
            assert_eq!(solved.reason, Reason::Converged, "{what}");
            assert!(solved.relative_residual <= 1e-10 && solved.iterations > 0, "{what}");
            for (i, x) in x.iter().enumerate() {
                let exact = (i + 1) as f64 * (50 - i) as f64 / 2.0 * (right / matrix);
                assert!((x - exact).abs() < 1e-6 * exact, "{what}: {x} instead of {exact}");
            }
        }
    }
    let a = Stencil::plane(6, 7, 4e-200, [1e-200, 1e-200]).expect("legal");
    for solver in all_methods(1e-8) {
        let (x, solved) = solver.solve(&a, &[1e-200; 42]).expect("a solve");
        let (y, same) = solver.solve(&Stencil::laplacian(6, 7).expect("legal"), &[1.0; 42]).expect("a solve");
        assert_eq!(solved.reason, Reason::Converged);
        assert!(solved.iterations.abs_diff(same.iterations) <= 1);
        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-5 * y));
    }
}

#[test]
fn a_solution_beyond_the_numbers_is_a_failure() {
    for (matrix, right) in [(1e300, 1e-300), (1e-300, 1e300)] {
        for solver in all_methods(1e-8) {
            let (_, solved) = solver.solve(&line(20, matrix), &[right; 20]).expect("an answer");
            assert!(!solved.converged(), "{}: {solved:?}", solver.method);
        }
    }
}

#[test]
fn systems_without_a_solution_never_converge() {
    let (a, b) = (singular(20), [1.0; 20]);
    for solver in all_methods(1e-8) {
        let (x, solved) = solver.solve(&a, &b).expect("an answer");
        assert!(!solved.converged(), "{}", solver.method);
        let (truth, rounding) = residual(&a, &b, &x);
        assert!(truth > 0.9, "no x does better than 1");
        assert!((solved.relative_residual - truth).abs() <= rounding.max(1e-9 * truth), "{solved:?} {truth}");
        assert!(solved.relative_residual.is_finite());
    }
}

#[test]
fn a_tolerance_below_rounding_is_not_met() {
    let beam = {
        let band = |i: usize, j: usize| [6.0, -4.0, 1.0, 0.0][i.abs_diff(j).min(3)];
        let entries = (0..3600).map(|k| (k / 60, k % 60, band(k / 60, k % 60))).filter(|e| e.2 != 0.0);
        Csr::from_triplets(60, 60, entries).expect("legal")
    };
    for a in [hilbert(12), beam] {
        let b = vec![1.0; a.rows()];
        for tol in [1e-12, 1e-15, 1e-200] {
            for solver in all_methods(tol) {
                let (x, solved) = solver.solve(&a, &b).expect("an answer");
                let (truth, rounding) = residual(&a, &b, &x);
                let what = format!("{} to {tol:e}: {:?} at {truth:e}", solver.method, solved.reason);
                assert!(!solved.converged() || solved.relative_residual <= tol, "{what}");
                assert!((solved.relative_residual - truth).abs() <= rounding, "{what}: {solved:?}");
                assert!(!matches!(solved.reason, Reason::Indefinite | Reason::Diverged), "{what}");
            }
        }
    }
}

#[test]
fn growth_of_the_residual_is_not_divergence() {
    let (a, s) = badly_scaled(8, 3.0, 5);
    // S A S x = 1, so that S x = A⁻¹ S⁻¹ 1.
    let laplacian = Stencil::laplacian(8, 8).expect("legal");
    let right: Vec<f64> = s.iter().map(|s| 1.0 / s).collect();
    let (y, _) = Solver { method: Scheme::Cg, tol: 1e-14, ..Solver::default() }
        .solve(&laplacian, &right)
        .expect("a solve");
    let (b, largest) = ([1.0; 64], y.iter().fold(0.0, |most: f64, y| most.max(y.abs())));
    for (method, most) in
        [(Scheme::JacobiCg, 80), (Scheme::SsorCg, 80), (Scheme::SsorCgPlain, 80), (Scheme::Sor, 2000)]
    {
        let solver = Solver { method, omega: 1.5, ..Solver::default() };
        let (got, solved) = solver.solve(&a, &b).expect("a solve");
        assert_eq!(solved.reason, Reason::Converged, "{method} after {}", solved.iterations);
        assert!(solved.iterations <= most, "{method}: {}", solved.iterations);
        if method == Scheme::JacobiCg {
            let highest = solved.residuals.iter().copied().fold(0.0, f64::max);
            assert!(highest > 1e4 * solved.residuals[0], "the test wants a residual that grows");
        }
        for ((got, s), y) in got.iter().zip(&s).zip(&y) {
            assert!((got * s - y).abs() < 1e-6 * largest, "{method}: {} instead of {y}", got * s);
        }
    }
    // The same line of equations, read from either end.
    for method in [Scheme::Sor, Scheme::SorBackward, Scheme::Ssor] {
        let steep = |i: usize| 10f64.powf(0.12 * i as f64);
        let entries =
            line(40, 1.0).triplets().map(|(i, j, v)| (i, j, steep(i) * v * steep(j))).collect::<Vec<_>>();
        let a = Csr::from_triplets(40, 40, entries).expect("legal");
        let solver = Solver { method, omega: 1.8, ..Solver::default() };
        let (_, solved) = solver.solve(&a, &[1.0; 40]).expect("a solve");
        assert_eq!(solved.reason, Reason::Converged, "{method}");
    }
}

#[test]
fn a_start_at_the_solution_has_converged() {
    let a = line(30, 1.0);
    for solver in all_methods(1e-8) {
        let (x, _) = Solver { tol: 1e-15, ..solver }.solve(&a, &[1.0; 30]).expect("a solve");
        let (_, again) = solver.solve_from(&a, &[1.0; 30], &x).expect("a solve");
        assert!(again.converged() && again.iterations < 200, "{}: {again:?}", solver.method);
    }
}

#[test]
fn who_looks_on_may_stop_a_solve() {
    let a = line(50, 1.0);
    for solver in all_methods(1e-8) {
        let mut seen = Vec::new();
        let mut go_on = |made: usize, residual: f64| {
            seen.push((made, residual));
            made < 3
        };
        let (_, solved) = solver.solve_while(&a, &[1.0; 50], &[0.0; 50], &mut go_on).expect("an answer");
        assert_eq!((solved.iterations, solved.reason), (3, Reason::Stopped), "{}", solver.method);
        assert_eq!(solved.counted(), solver.max_iterations, "what was not solved counts as the limit");
        assert!(seen.iter().map(|s| s.0).eq(1..=3));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// No symmetric positive definite system, however badly scaled, is called divergent or indefinite, and whatever
    /// is called solved is solved.
    #[test]
    fn positive_definite_systems_never_diverge(side in 2usize..9, decades in 0.0f64..6.0, seed in 0u64..1000, omega in 0.3f64..1.95) {
        let (a, _) = badly_scaled(side, decades, seed);
        let b: Vec<f64> = normals(&mut Seed(seed).stream("right", 0), a.rows());
        for method in Scheme::ALL {
            let solver = Solver { method, omega, max_iterations: 3000, ..Solver::default() };
            let (x, solved) = solver.solve(&a, &b).expect("an answer");
            prop_assert!(
                matches!(solved.reason, Reason::Converged | Reason::Cap | Reason::Stalled),
                "{}: {:?}", method, solved.reason
            );
            let (truth, rounding) = residual(&a, &b, &x);
            prop_assert!((solved.relative_residual - truth).abs() <= rounding.max(1e-9 * truth));
            prop_assert!(!solved.converged() || truth <= 1e-8 + rounding, "{}: {}", method, truth);
        }
    }
}

#[test]
fn failed_solves_cost_the_limit_in_every_unit() {
    let a = line(10, 1.0);
    let of = |reason, iterations| Solved {
        iterations,
        reason,
        residuals: vec![1.0; iterations + 1],
        relative_residual: 1.0,
        max_iterations: 100,
    };
    for reason in Reason::ALL {
        let counted = if reason == Reason::Converged { 20.0 } else { 100.0 };
        for (cost, unit) in [
            (Cost::Iterations, 1.0),
            (Cost::Flops, Scheme::Cg.flops(10, 18) / 1e3),
            (Cost::Time, 2e-3 * 1e6 / 20.0),
        ] {
            let got = cost.of(Scheme::Cg, &a, &of(reason, 20), 2e-3);
            assert!((got - counted * unit).abs() < 1e-9 * got, "{reason:?} by {cost:?}: {got}");
        }
    }
}

#[test]
fn failures_count_alike_in_totals_and_yardsticks() {
    let systems = || {
        let b = |t: u64| normals(&mut Seed(t).stream("right", 0), 36);
        let a = |t: u64| Stencil::laplacian(6, 6)?.shifted(0.05 + 3.0 * t as f64)?.to_csr();
        let all = (0..12).map(|t| Ok::<_, RelaxError>((a(t)?.into(), b(t), t as f64)));
        Systems::new(all.collect::<Result<_, _>>().expect("legal")).expect("legal")
    };
    for cost in [Cost::Iterations, Cost::Flops] {
        let arm = Arm { method: Scheme::Cg, omega: 1.0 };
        let tuned = TunedSolver {
            policy: Policy::Fixed(1.0),
            arms: vec![arm],
            max_iterations: 8,
            cost,
            ..TunedSolver::default()
        };
        let outcome = Run::new(&tuned, &mut systems()).stop(Stop::Steps(12)).run().expect("a run");
        let best = compare(&mut systems(), &tuned, |_| true).expect("a comparison").best_fixed();
        assert!((1..12).contains(&best.unsolved), "some are solved and some are not: {}", best.unsolved);
        assert_eq!((outcome.evaluations, outcome.solution.unsolved), (best.iterations, best.unsolved));
        assert_eq!(outcome.solution.cost, best.cost);
        assert!(best.iterations >= 8 * best.unsolved);
    }
}

/// Between two methods whose iterations do not compare, the yardstick goes by the cost that was asked for.
#[test]
fn the_best_fixed_arm_is_the_best_by_the_chosen_cost() {
    let run = |cost| {
        let arms = [Scheme::Ssor, Scheme::Sor].map(|method| Arm { method, omega: 1.5 });
        let tuned =
            TunedSolver { policy: Policy::TsallisInf, arms: arms.into(), cost, ..TunedSolver::default() };
        let mut shifts = Shifted::new(Shift::High, 8, 20, Seed(1)).expect("legal");
        compare(&mut shifts, &tuned, |_| true).expect("a comparison")
    };
    let (by_count, by_flops) = (run(Cost::Iterations), run(Cost::Flops));
    let least =
        |c: &thalweg_relax::oracle::Comparison| c.fixed.iter().map(|t| t.cost).fold(f64::INFINITY, f64::min);
    for c in [&by_count, &by_flops] {
        assert_eq!(c.best_fixed().cost, least(c));
        assert!(c.oracle.cost <= c.best_fixed().cost);
    }
    for arm in 0..2 {
        let per_iteration = by_flops.fixed[arm].cost / by_count.fixed[arm].cost;
        let flops = [Scheme::Ssor, Scheme::Sor][arm].flops(64, 224) / 1e3;
        assert!((per_iteration - flops).abs() < 1e-9 * flops);
    }
}

#[test]
fn shifted_matrices_are_positive_definite_on_every_grid() {
    for side in [1, 2, 5, 10, 11, 20, 50] {
        for shift in [Shift::High, Shift::Low] {
            let mut shifts = Shifted::new(shift, side, 200, Seed(4)).expect("legal");
            let (low, high) = shifts.interval();
            for t in 0..200 {
                thalweg_core::Problem::begin_step(&mut shifts, t).expect("a step");
                let omega = shifts.optimal_omega().expect("Young's");
                assert!(omega < 2.0 && (low..=high).contains(&shifts.context()), "{side}: {omega}");
            }
            // The smallest eigenvalue of the smallest shift.
            let least = 8.0 * (std::f64::consts::FRAC_PI_2 / (side + 1) as f64).sin().powi(2);
            assert!(low > -least && (side > 10 || low == -0.15), "{side}: {low} beside {least}");
        }
    }
    let golden = Shift::Golden { low: -0.15, width: 0.6 };
    assert!(Shifted::new(golden, 10, 5, Seed(0)).is_ok());
    let error = Shifted::new(golden, 11, 5, Seed(0)).expect_err("indefinite").to_string();
    assert!(error.contains("smallest eigenvalue"), "{error}");
    assert!(Shifted::new(Shift::High, 0, 5, Seed(0)).is_err());
}

#[test]
fn compressed_rows_are_the_same_matrix() {
    let a = Stencil::laplacian(4, 5).and_then(|a| a.to_csr()).expect("legal");
    let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in 0..20 {
        for (_, j, v) in a.triplets().filter(|e| e.0 == row) {
            columns.push(j);
            values.push(v);
        }
        starts.push(columns.len());
    }
    assert_eq!(Csr::from_rows(&starts, &columns, &values), Ok(a));
    assert!(matches!(Csr::from_rows(&starts, &columns[1..], &values), Err(RelaxError::Length { .. })));
    assert!(matches!(Csr::from_rows(&[0, 2, 1], &[0], &[1.0]), Err(RelaxError::Invalid(_))));
    assert!(matches!(Csr::from_rows(&[1, 1], &[0], &[1.0]), Err(RelaxError::Invalid(_))));
    assert_eq!(Csr::from_rows(&[], &[], &[]), Err(RelaxError::Empty));
    assert_eq!(Csr::from_rows(&[0, 1], &[3], &[1.0]), Err(RelaxError::Outside { row: 1, col: 4, size: 1 }));
}

#[test]
fn consistent_order_is_recognised() {
    let grid = Stencil::cube([3, 4, 5], 6.0, [1.0; 3]).and_then(|a| a.to_csr()).expect("legal");
    assert!(line(9, 1.0).consistently_ordered() && grid.consistently_ordered());
    assert!(!hilbert(3).consistently_ordered(), "a triangle");
    // A ring of four is, numbered 0 1 3 2 around, and is not, numbered around.
    let ring = |around: [usize; 4]| {
        let beside = (0..4).map(|k| (around[k], around[(k + 1) % 4]));
        let beside = beside.flat_map(|(i, j)| [(i, j, -1.0), (j, i, -1.0)]);
        Csr::from_triplets(4, 4, (0..4).map(|i| (i, i, 3.0)).chain(beside)).expect("legal")
    };
    assert!(ring([0, 1, 3, 2]).consistently_ordered());
    assert!(!ring([0, 1, 2, 3]).consistently_ordered());
}
