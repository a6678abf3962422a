//! Known counts, closed forms, exact enumerations and properties.

use faer::Mat;
use proptest::prelude::*;
use thalweg_core::{Problem, Run, Seed, Stop};
use thalweg_linalg::dense::{Lu, lambda_min, product};
use thalweg_relax::bounds::Surrogates;
use thalweg_relax::learner::{
    Axis, JointModel, inverse_gap_weighting, least_squares, log_grid, omega_grid, tsallis_probabilities,
};
use thalweg_relax::matrix::Order;
use thalweg_relax::method::Arm;
use thalweg_relax::sequence::{Heat, Shift, Shifted};
use thalweg_relax::solver::{Reason, Workspace};
use thalweg_relax::{
    Csr, Interval, Learner, Matrix, Policy, RelaxError, Scheme, Sequence, Solver, Stencil, TunedSolver,
    theory,
};
use thalweg_testing::normals;

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol * b.abs().max(1e-300), "{a} is not {b}");
}

fn count(a: &dyn Matrix, method: Scheme, omega: f64) -> usize {
    let (_, solved) =
        Solver { method, omega, ..Solver::default() }.solve(a, &vec![1.0; a.rows()]).expect("a solve");
    assert_eq!(solved.reason, Reason::Converged);
    solved.iterations
}

fn laplacian(shift: f64) -> Stencil {
    Stencil::laplacian(10, 10).and_then(|a| a.shifted(shift)).expect("legal")
}

#[test]
fn two_unknowns() {
    let a = Csr::from_triplets(2, 2, [(0, 0, 2.0), (0, 1, -1.0), (1, 0, -1.0), (1, 1, 2.0)]).expect("legal");
    let optimum = theory::optimal_omega(0.5);
    close(optimum, 8.0 - 4.0 * 3f64.sqrt(), 1e-15);
    for (omega, radius, iterations) in
        [(1.0, 0.25, 14), (optimum, 0.071_796_769_724_491_2, 9), (1.2, 0.2, 13), (1.5, 0.5, 28)]
    {
        close(theory::spectral_radius(omega, 0.5), radius, 1e-12);
        assert_eq!(count(&a, Scheme::Sor, omega), iterations, "ω = {omega}");
    }
}

#[test]
fn ten_by_ten() {
    let a = laplacian(0.0);
    close(a.jacobi_radius(), 0.959_492_973_614_497_4, 1e-15);
    let optimum = theory::optimal_omega(a.jacobi_radius());
    close(optimum, 1.560_387_921_274_774_2, 1e-15);
    let csr = a.to_csr().expect("legal");
    let rows = [
        (1.0, 0.920627, 223, 13),
        (1.2, 0.880262, 145, 12),
        (1.4, 0.805890, 88, 13),
        (1.5, 0.728007, 62, 13),
        (optimum, 0.560388, 41, 13),
        (1.6, 0.6, 43, 13),
        (1.8, 0.8, 89, 15),
        (1.9, 0.9, 187, 16),
        (1.95, 0.95, 383, 17),
    ];
    for (omega, radius, sor, cg) in rows {
        close(theory::spectral_radius(omega, a.jacobi_radius()), radius, 1e-6);
        for matrix in [&a as &dyn Matrix, &csr] {
            assert_eq!(count(matrix, Scheme::Sor, omega), sor, "SOR, ω = {omega}");
            assert_eq!(count(matrix, Scheme::SsorCgPlain, omega), cg, "SSOR-CG, ω = {omega}");
            assert_eq!(count(matrix, Scheme::SsorCg, omega), cg, "Eisenstat, ω = {omega}");
        }
    }
    assert_eq!((count(&a, Scheme::Cg, 1.0), count(&csr, Scheme::JacobiCg, 1.0)), (15, 15));
}

#[test]
fn shifted() {
    let a = laplacian(-0.15);
    close(a.jacobi_radius(), 0.996_875_816_7, 1e-10);
    let optimum = theory::optimal_omega(a.jacobi_radius());
    close(optimum, 1.853_594_150_353_635_7, 1e-12);
    for (omega, sor) in [(1.0, 2927), (1.4, 1252), (1.8, 293), (optimum, 147), (1.9, 189)] {
        assert_eq!(count(&a, Scheme::Sor, omega), sor, "ω = {omega}");
    }
    let a = laplacian(0.45);
    let optimum = theory::optimal_omega(a.jacobi_radius());
    close(optimum, 1.327_919_232_251_750_2, 1e-12);
    for (omega, sor) in [(1.0, 64), (1.4, 25), (optimum, 23), (1.8, 89)] {
        assert_eq!(count(&a, Scheme::Sor, omega), sor, "ω = {omega}");
    }
}

#[test]
fn surrogate_bounds() {
    let s = Surrogates::new(&laplacian(0.0).to_csr().expect("legal")).expect("spectra");
    close(s.beta, 0.959_492_973_614_497_4, 1e-10);
    close(s.alpha, 24.687_075_039_354_12, 1e-9);
    close(s.delta, -0.003_522_141_6, 1e-7);
    close(s.condition, 48.374_15, 1e-6);
    for (omega, bound) in [(1.0, 27.82), (1.5, 20.30), (1.56, 20.17), (1.7, 21.30), (1.9, 33.59)] {
        close(s.axelsson(omega, 1e-8), bound, 1e-3);
        assert!(s.axelsson(omega, 1e-8) >= count(&laplacian(0.0), Scheme::SsorCg, omega) as f64);
    }
    for omega in [1.0, 1.3, 1.7, 1.9] {
        close(s.spectral_radius(omega).expect("eigenvalues"), theory::spectral_radius(omega, s.beta), 1e-6);
        assert!(s.energy(omega, 1e-8) >= count(&laplacian(0.0), Scheme::Sor, omega) as f64);
    }
    let grid = omega_grid(1.0, 1.94, 48);
    let counts: Vec<usize> = grid.iter().map(|o| count(&laplacian(0.0), Scheme::Sor, *o)).collect();
    let transients = grid.iter().zip(&counts).map(|(o, k)| s.transient(*o, *k).expect("norms"));
    let tau = transients.fold(0.0, f64::max);
    close(tau, 0.1701, 2e-2);
    for (omega, k) in grid.iter().zip(counts) {
        assert!(s.near_asymptotic(*omega, tau, 1e-8).expect("a bound") >= k as f64 - 1.0, "ω = {omega}");
    }
}

#[test]
fn probabilities_of_tsallis_inf() {
    let check = |q: &[f64], t: f64, expected: &[f64]| {
        let (x, p) = tsallis_probabilities(q, 2.0 / t.sqrt());
        p.iter().zip(expected).for_each(|(p, e)| close(*p, *e, 1e-7));
        close(p.iter().sum(), 1.0, 1e-12);
        x
    };
    close(check(&[0.0; 4], 1.0, &[0.25; 4]), -2.0, 1e-10);
    let x = check(&[0.0, 1.0, 2.0, 3.0], 4.0, &[0.46407542, 0.25821422, 0.16418515, 0.11352521]);
    close(x, -2.935_862_517, 1e-9);
    check(&[0.0, 10.0, 20.0, 30.0], 100.0, &[0.64992662, 0.19922422, 0.09523533, 0.05561383]);
    check(&[3.0, 0.5, 0.5, 7.0], 9.0, &[0.16639242, 0.38189983, 0.38189983, 0.06980793]);
}

#[test]
fn inverse_gaps() {
    let p = inverse_gap_weighting(&[0.2, 0.1, 0.4], 10.0);
    p.iter().zip([0.25, 0.583_333_333_3, 0.166_666_666_7]).for_each(|(p, e)| close(*p, e, 1e-9));
    assert!(inverse_gap_weighting(&[3.0, 1.0, 2.0], 0.0).iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-15));
}

#[test]
fn regret_on_two_arms_grows_slowly() {
    let regret = |policy: &str, rounds: u64| {
        let policy: Policy = policy.parse().expect("a policy");
        let mut learner =
            Learner::new(&policy, &[1.0, 1.5], Interval::new(0.0, 1.0), Seed(3)).expect("legal");
        let play = |t: u64| {
            let choice = learner.choose((t % 10) as f64 / 10.0).expect("a context");
            let cost = [20.0, 10.0][choice.arm];
            learner.feedback(&choice, cost).expect("a cost");
            cost - 10.0
        };
        (0..rounds).map(play).sum::<f64>()
    };
    for policy in ["tsallis-inf", "tsallis-inf-rv", "tsallis-inf-cb:2", "chebcb:3", "joint"] {
        let (short, long) = (regret(policy, 2000), regret(policy, 32_000));
        // 16 times the rounds: √t would be 4 times the regret.
        assert!(long <= 4.0 * short.max(50.0), "{policy}: {short} then {long}");
        assert!(long < 0.05 * 10.0 * 32_000.0, "{policy}: {long}");
    }
}

#[test]
fn chebyshev_regression_reproduces_a_cubic() {
    let policy = Policy::ChebCb { features: 4 };
    let mut learner = thalweg_relax::learner::ChebCb::new(1, 4, Interval::new(-1.0, 3.0));
    let cubic = |c: f64| 40.0 + 3.0 * c - 2.0 * c * c + c * c * c;
    for t in 0..60 {
        let context = -1.0 + 4.0 * (t as f64 * 0.618).fract();
        let predicted = learner.predict(context)[0];
        learner.learn(context, 0, predicted, cubic(context));
    }
    for c in [-0.9, 0.0, 1.3, 2.8] {
        close(learner.predict(c)[0], cubic(c), 1e-4);
    }
    assert_eq!(policy, "chebcb:4".parse().expect("a policy"));
}

#[test]
fn heat_decays_as_the_closed_form_says() {
    use std::f64::consts::PI;
    let decay = |nx: usize, dt: f64, kappa: f64, steps: u64| {
        let wave = |(x, y): (f64, f64)| (PI * x).sin() * (PI * y).sin();
        let mut heat = Heat::decay(nx, (5.0 / dt).round() as u64, kappa, wave).expect("legal");
        let before = heat.solution();
        let tuned = TunedSolver {
            policy: Policy::Fixed(1.2),
            arms: vec![Arm { method: Scheme::SsorCg, omega: 1.2 }],
            tol: 1e-12,
            ..TunedSolver::default()
        };
        Run::new(&tuned, &mut heat).stop(Stop::Steps(steps)).run().expect("a run");
        let after = heat.solution();
        let factor = after[after.len() / 2] / before[before.len() / 2];
        after.iter().zip(&before).for_each(|(a, b)| close(*a, factor * b, 1e-8));
        factor
    };
    close(decay(8, 1e-3, 1.0, 1), 0.980_701_196_666_152_7, 1e-10);
    close(decay(8, 1e-3, 1.0, 10), 0.822_937_877_878_819_3, 1e-9);
    close(decay(25, 1e-3, 0.1, 100), 0.821_081_807_3, 1e-8);
}

#[test]
fn a_saved_pilot_goes_on_in_the_same_bits() {
    for policy in ["tsallis-inf", "tsallis-inf-cb", "chebcb", "joint"] {
        let policy: Policy = policy.parse().expect("a policy");
        let mut learner =
            Learner::new(&policy, &omega_grid(1.0, 1.9, 5), Interval::new(0.0, 1.0), Seed(1)).expect("legal");
        let play = |learner: &mut Learner, t: u64| {
            let choice = learner.choose((t as f64 * 0.37).fract()).expect("a context");
            let cost = 10.0 + 100.0 * (choice.omega - 1.4 - 0.3 * choice.context).powi(2);
            learner.feedback(&choice, cost).expect("a cost");
            choice.arm
        };
        for t in 0..50 {
            play(&mut learner, t);
        }
        let text = serde_json::to_string(&learner).expect("JSON");
        let mut saved: Learner = serde_json::from_str(&text).expect("the same pilot");
        for t in 50..100 {
            assert_eq!(play(&mut learner, t), play(&mut saved, t), "{policy}");
        }
    }
}

#[test]
fn a_resumed_sequence_ends_in_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint");
    let tuned = TunedSolver {
        policy: Policy::ChebCb { features: 6 },
        arms: thalweg_relax::method::arms(&[Scheme::SsorCg], &omega_grid(1.0, 1.9, 10)),
        ..TunedSolver::default()
    };
    let run = |resume: bool, steps: u64, save: bool| {
        let mut heat = Heat::new(12, 500).expect("legal");
        let mut run = Run::new(&tuned, &mut heat).seed(Seed(5)).stop(Stop::Steps(steps));
        if save {
            let every = thalweg_core::Every::Steps(50);
            run = run.checkpoint(thalweg_core::Checkpointer { path: path.clone(), every });
        }
        if resume {
            run = run.resume(&path).expect("a checkpoint");
        }
        let evaluations = run.run().expect("a run").evaluations;
        (evaluations, heat.solution())
    };
    let whole = run(false, 120, false);
    run(false, 60, true);
    assert_eq!(run(true, 120, false), whole);
}

/// Any finite list with any cost: tolerances of an inner solve, costed by what the outer loop pays.
#[test]
fn generic_arms() {
    let tolerances = [1e-1, 1e-2, 1e-4, 1e-8];
    let places: Vec<f64> = tolerances.iter().map(|t: &f64| t.log10()).collect();
    let cost = |tolerance: f64, stiffness: f64| {
        let inner = 5.0 * -tolerance.log10() * stiffness;
        let outer = 10.0 * (1.0 + 50.0 * tolerance);
        outer * (inner + 1.0)
    };
    let linear = JointModel { axis: Axis::Linear, ..JointModel::default() };
    for policy in [Policy::TsallisInf, Policy::ChebCb { features: 6 }, Policy::Joint(linear)] {
        let mut learner = Learner::new(&policy, &places, Interval::new(1.0, 3.0), Seed(2)).expect("legal");
        let (mut total, mut worst, mut best) = (0.0, 0.0, 0.0);
        for t in 0..3000 {
            let stiffness = 1.0 + 2.0 * (t as f64 * 0.618).fract();
            let choice = learner.choose(stiffness).expect("a context");
            let all = tolerances.map(|tol| cost(tol, stiffness));
            learner.feedback(&choice, all[choice.arm]).expect("a cost");
            total += all[choice.arm];
            best += all.iter().copied().fold(f64::INFINITY, f64::min);
            worst += all.iter().copied().fold(0.0, f64::max);
        }
        assert!(total - best < 0.3 * (worst - best), "{policy}: {total} between {best} and {worst}");
    }
}

#[test]
fn what_is_refused() {
    let entries = |last: f64| [(0, 0, 1.0), (1, 1, 2.0), (2, 2, last)];
    assert_eq!(Csr::from_triplets(3, 2, []), Err(RelaxError::NotSquare { rows: 3, cols: 2 }));
    // A size alone claims no memory.
    let huge = Csr::from_triplets(3_000_000_000, 3_000_000_000, [(0, 0, 2.0), (2, 2, 1.0)]);
    assert_eq!(huge, Err(RelaxError::Diagonal { row: 2, value: 0.0 }));
    assert_eq!(Csr::from_triplets(3, 3, entries(0.0)), Err(RelaxError::Diagonal { row: 3, value: 0.0 }));
    assert_eq!(Csr::from_triplets(3, 3, entries(-1.0)), Err(RelaxError::Diagonal { row: 3, value: -1.0 }));
    assert!(matches!(Csr::from_triplets(3, 3, entries(f64::NAN)), Err(RelaxError::NotFinite { row: 3, .. })));
    let skew = Csr::from_triplets(2, 2, [(0, 0, 1.0), (0, 1, 0.5), (1, 1, 1.0)]).expect("legal");
    let cg = Solver { method: Scheme::Cg, ..Solver::default() };
    assert_eq!(cg.solve(&skew, &[1.0, 1.0]), Err(RelaxError::NotSymmetric { row: 1, col: 2 }));
    for omega in [0.0, 2.0, -1.0, f64::NAN] {
        let error = Solver { omega, ..Solver::default() }.solve(&skew, &[1.0, 1.0]).expect_err("no ω");
        assert!(error.to_string().contains("(0, 2)"), "{error}");
    }
    assert!(Solver::default().solve(&skew, &[1.0]).is_err());
    assert!(Solver::default().solve(&skew, &[1.0, f64::INFINITY]).is_err());
}

#[test]
fn failures_of_a_solve() {
    let wild = Csr::from_triplets(2, 2, [(0, 0, 1.0), (0, 1, 9.0), (1, 0, 9.0), (1, 1, 1.0)]).expect("legal");
    let (x, solved) = Solver::default().solve(&wild, &[1.0, 2.0]).expect("an answer");
    assert_eq!(solved.reason, Reason::Diverged);
    assert!(solved.iterations < 20 && x.iter().all(|x| x.is_finite()));
    assert_eq!(solved.cost(), 10_000.0);
    let (_, solved) =
        Solver { method: Scheme::Cg, ..Solver::default() }.solve(&wild, &[1.0, -1.0]).expect("an answer");
    assert_eq!(solved.reason, Reason::Indefinite);
    let (x, solved) = Solver::default().solve(&laplacian(0.0), &[0.0; 100]).expect("an answer");
    assert_eq!((solved.iterations, solved.reason, solved.cost()), (0, Reason::Converged, 1.0));
    assert!(x.iter().all(|x| *x == 0.0));
    let (_, solved) = Solver { max_iterations: 5, ..Solver::default() }
        .solve(&laplacian(0.0), &[1.0; 100])
        .expect("an answer");
    assert_eq!((solved.iterations, solved.reason, solved.cost()), (5, Reason::Cap, 5.0));
}

/// A random symmetric, strictly diagonally dominant matrix.
fn random_spd(n: usize, seed: u64) -> Csr {
    let values: Vec<f64> = normals(&mut Seed(seed).stream("matrix", 0), n * n);
    let off = |i: usize, j: usize| {
        if (i + 2 * j).is_multiple_of(3) || i + 1 == j { values[i * n + j] } else { 0.0 }
    };
    let mut entries = Vec::new();
    let mut sums = vec![0.1; n];
    for i in 0..n {
        for j in i + 1..n {
            let v: f64 = off(i, j);
            if v != 0.0 {
                entries.extend([(i, j, v), (j, i, v)]);
                sums[i] += v.abs();
                sums[j] += v.abs();
            }
        }
    }
    entries.extend(sums.into_iter().enumerate().map(|(i, s)| (i, i, s)));
    Csr::from_triplets(n, n, entries).expect("a positive diagonal")
}

fn dense(a: &Csr) -> Mat<f64> {
    let mut m = Mat::zeros(a.rows(), a.rows());
    a.triplets().for_each(|(i, j, v)| m[(i, j)] = v);
    m
}

/// SOR as it stands in a textbook, with dense rows.
fn naive_sor(a: &Mat<f64>, b: &[f64], omega: f64, tol: f64) -> (usize, Vec<f64>) {
    let n = b.len();
    let mut x = vec![0.0; n];
    let norm = |x: &[f64]| {
        (0..n).map(|i| (b[i] - (0..n).map(|j| a[(i, j)] * x[j]).sum::<f64>()).powi(2)).sum::<f64>().sqrt()
    };
    let first = norm(&x);
    for k in 1.. {
        for i in 0..n {
            let others: f64 = (0..n).filter(|j| *j != i).map(|j| a[(i, j)] * x[j]).sum();
            x[i] = (1.0 - omega) * x[i] + omega * (b[i] - others) / a[(i, i)];
        }
        if norm(&x) < tol * first {
            return (k, x);
        }
    }
    unreachable!("the loop ends when the residual is small")
}

fn vector(n: usize, seed: u64) -> Vec<f64> {
    let v: Vec<f64> = normals(&mut Seed(seed).stream("vector", 0), n);
    v
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counts_equal_a_dense_implementation(n in 2usize..30, omega in 0.2f64..1.9, seed in 0u64..1000) {
        let (a, b) = (random_spd(n, seed), vector(n, seed));
        let (count, x) = naive_sor(&dense(&a), &b, omega, 1e-8);
        let (ours, solved) = Solver { omega, ..Solver::default() }.solve(&a, &b).expect("a solve");
        prop_assert_eq!(solved.iterations, count);
        for (a, b) in ours.iter().zip(x) {
            prop_assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn eisenstat_equals_the_plain_form(n in 2usize..40, omega in 0.2f64..1.95, seed in 0u64..1000) {
        let (a, b) = (random_spd(n, seed), vector(n, seed));
        let solve = |method| Solver { method, omega, tol: 1e-11, ..Solver::default() }.solve(&a, &b).expect("a solve");
        let ((x, one), (y, other)) = (solve(Scheme::SsorCg), solve(Scheme::SsorCgPlain));
        prop_assert!(one.iterations.abs_diff(other.iterations) <= 1);
        for (x, y) in x.iter().zip(y) {
            prop_assert!((x - y).abs() < 1e-9);
        }
        // M⁻¹ A M⁻ᵀ p the cheap way and with dense matrices.
        let m = Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Greater => dense(&a)[(i, j)],
            std::cmp::Ordering::Equal => dense(&a)[(i, i)] / omega,
            std::cmp::Ordering::Less => 0.0,
        });
        let p = Mat::from_fn(n, 1, |i, _| b[i]);
        let direct = Lu::new(&m).solve(product(dense(&a), Lu::new(m.transpose()).solve(&p)));
        let (mut y, mut z) = (vec![0.0; n], vec![0.0; n]);
        a.split_product(Order::Forward, omega, &b, &mut y, &mut z);
        for i in 0..n {
            prop_assert!((y[i] + z[i] - direct[(i, 0)]).abs() < 1e-9);
        }
    }

    #[test]
    fn stencils_equal_their_matrices(
        planes in 1usize..4, rows in 1usize..7, cols in 1usize..9, omega in 0.2f64..1.9, seed in 0u64..1000,
    ) {
        let stencil = Stencil::cube([planes, rows, cols], 6.1, [1.0, 0.7, 1.3]).expect("legal");
        let csr = stencil.to_csr().expect("legal");
        let b = vector(stencil.rows(), seed);
        let x = vector(stencil.rows(), seed + 1);
        let own = stencil.pack(&b);
        prop_assert_eq!(&stencil.unpack(&own), &b);
        prop_assert_eq!(stencil.entries(), csr.entries());
        prop_assert!((stencil.dominance() - csr.dominance()).abs() < 1e-12);
        let beta = 1.0 - lambda_min(dense(&csr)) / 6.1;
        prop_assert!((stencil.jacobi_radius() - beta).abs() < 1e-10);
        for order in [Order::Forward, Order::Backward] {
            let (mut sx, mut sr) = (stencil.pack(&x), vec![0.0; stencil.len()]);
            let (mut cx, mut cr) = (x.clone(), vec![0.0; csr.len()]);
            let norm = stencil.sweep(order, omega, &own, &mut sx, &mut sr);
            let other = csr.sweep(order, omega, &b, &mut cx, &mut cr);
            prop_assert!((norm - other).abs() < 1e-10 * other.max(1.0));
            // The residual that a sweep hands out is that of the x it leaves.
            let mut fresh = vec![0.0; csr.len()];
            csr.residual(&b, &cx, &mut fresh);
            for ((s, c), f) in stencil.unpack(&sr).iter().zip(&cr).zip(&fresh) {
                prop_assert!((s - c).abs() < 1e-11 && (c - f).abs() < 1e-11);
            }
            for (s, c) in stencil.unpack(&sx).iter().zip(&cx) {
                prop_assert!((s - c).abs() < 1e-12);
            }
        }
        for method in Scheme::ALL {
            let solver = Solver { method, omega, ..Solver::default() };
            let ((x, s), (y, c)) = (solver.solve(&stencil, &b).expect("a solve"), solver.solve(&csr, &b).expect("a solve"));
            prop_assert!(s.iterations.abs_diff(c.iterations) <= 1, "{method}: {} and {}", s.iterations, c.iterations);
            for (x, y) in x.iter().zip(y) {
                prop_assert!((x - y).abs() < 1e-6);
            }
        }
    }

    /// Young's formula and the eigenvalues of any tridiagonal matrix.
    #[test]
    fn youngs_formula(n in 2usize..25, omega in 1.0f64..1.95, seed in 0u64..1000) {
        let v = vector(n, seed);
        let mut entries: Vec<_> = (0..n).map(|i| (i, i, 2.0 + v[i].abs())).collect();
        for i in 1..n {
            let off = -0.9 * v[i].abs().min(1.0);
            entries.extend([(i, i - 1, off), (i - 1, i, off)]);
        }
        let s = Surrogates::new(&Csr::from_triplets(n, n, entries).expect("legal")).expect("spectra");
        let radius = s.spectral_radius(omega).expect("eigenvalues");
        // Near the optimum two eigenvalues meet, and rounding splits them by its root.
        prop_assert!((radius - theory::spectral_radius(omega, s.beta)).abs() < 1e-5);
        if radius > omega - 1.0 + 1e-3 {
            prop_assert!((theory::jacobi_radius(omega, radius).expect("below the optimum") - s.beta).abs() < 1e-4);
        }
    }

    /// Optimality of least squares in a box.
    #[test]
    fn box_least_squares_meets_the_kkt_conditions(m in 1usize..7, seed in 0u64..1000, size in 0.05f64..3.0) {
        let rows = 12;
        let (x, y) = (vector(rows * m, seed), vector(rows, seed + 1));
        let at = |r: usize, j: usize| x[r * m + j];
        let g: Vec<f64> =
            (0..m * m).map(|k| (0..rows).map(|r| at(r, k / m) * at(r, k % m)).sum()).collect();
        let h: Vec<f64> = (0..m).map(|j| (0..rows).map(|r| at(r, j) * y[r]).sum()).collect();
        let bound: Vec<f64> = (0..m).map(|j| size / (j + 1) as f64).collect();
        let mut theta = vec![0.0; m];
        let active = least_squares(&g, &h, &bound, &mut theta);
        let mut touched = false;
        for i in 0..m {
            let gradient = (0..m).map(|j| g[i * m + j] * theta[j]).sum::<f64>() - h[i];
            prop_assert!(theta[i].abs() <= bound[i] * (1.0 + 1e-12));
            if theta[i].abs() < bound[i] * (1.0 - 1e-9) {
                prop_assert!(gradient.abs() < 1e-6, "free: {gradient}");
            } else {
                touched = true;
                prop_assert!(gradient * theta[i].signum() < 1e-6, "bound: {gradient}");
            }
        }
        prop_assert_eq!(active, touched);
    }
}

#[test]
fn grids_and_warm_starts() {
    let grid = log_grid(1.0, 1.95, 8);
    assert!(grid.windows(2).all(|w| w[0] < w[1]) && (grid[7] - 1.95).abs() < 1e-12);
    // A warm start at the solution takes no iteration.
    let a = laplacian(0.2);
    let b = a.pack(&[1.0; 100]);
    for method in [Scheme::SsorCg, Scheme::Cg] {
        let solver = Solver { method, omega: 1.4, ..Solver::default() };
        let mut x = vec![0.0; a.len()];
        let mut work = Workspace::default();
        solver.solve_in(&a, &b, &mut x, &mut work).expect("a solve");
        let again = Solver { tol: 1e-7, ..solver }.solve_in(&a, &b, &mut x, &mut work).expect("a solve");
        assert_eq!((again.iterations, again.reason), (0, Reason::Converged));
    }
    let mut shift = Shifted::new(Shift::High, 10, 10, Seed(1)).expect("legal");
    shift.begin_step(3).expect("a step");
    assert!((-0.15..=0.45).contains(&shift.context()));
}
