//! No certificate lies below what sampling finds, on more than 1,000 random networks.

use proptest::prelude::*;
use rayon::prelude::*;
use thalweg_core::Seed;
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::*;
use thalweg_testing::{gaussian, normals};

use crate::networks::*;

const QUICK: Sampling = Sampling { points: 30, max_steps: 20, seed: 3 };

/// Networks of every kind, small.
fn network(seed: u64) -> Network {
    let names =
        ["relu", "leaky:0.2", "abs", "tanh", "gelu", "maxmin", "groupsort:3", "householder", "slope-mix"];
    let pick = |n: usize| ((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % n as u64) as usize;
    let act = |i: u64| match names[(pick(names.len()) + i as usize) % names.len()] {
        "householder" => Activation::Householder { normals: gaussian(3, 2, seed + i) },
        "slope-mix" => Activation::Slope(Slope::Hardtanh),
        name => name.parse().unwrap(),
    };
    let affine = |rows, columns, i| Affine::linear(gaussian(rows, columns, 31 * seed + i));
    match seed % 5 {
        0 => Network::residual(
            affine(6, 3, 1),
            vec![affine(6, 6, 2), affine(6, 6, 3)],
            affine(2, 6, 4),
            &act(0),
        )
        .unwrap(),
        1 => {
            let state = gaussian(6, 6, 31 * seed + 2);
            let state = Mat::from_fn(6, 6, |i, j| 0.05 * state[(i, j)]);
            Network::equilibrium(affine(6, 3, 1), state, affine(2, 6, 4), &act(0)).unwrap()
        }
        // Each layer with an activation of another kind.
        2 => Network::layered(vec![affine(6, 3, 1), affine(6, 6, 2), affine(2, 6, 3)], vec![act(0), act(4)])
            .unwrap(),
        _ => random(&act(0), &[3, 6, 6, 6, 2], seed),
    }
}

#[test]
fn no_certificate_is_below_a_sampled_bound() {
    let checked: usize = (0..1200u64)
        .into_par_iter()
        .map(|seed| {
            let net = network(seed);
            let norm = [Norm::L2, Norm::L2, Norm::Linf, Norm::LinfL2][(seed / 5 % 4) as usize];
            let lower = lower_bound(&net, norm, &[], &QUICK).unwrap();
            let settings = LipSdp { norm, tol: 1e-6, max_evaluations: 30, ..LipSdp::default() };
            let mut done = 0;
            let all = [
                Bound::Auto,
                Bound::NsrPaper,
                Bound::Layer,
                Bound::FirstOrder,
                Bound::Eclipse,
                Bound::Product,
            ];
            for bound in all {
                let Ok(c) = (LipSdp { bound, ..settings.clone() }).certify(&net) else { continue };
                assert!(c.bound >= lower, "seed {seed}, {bound}: {} < {lower}", c.bound);
                assert!(c.verified, "seed {seed}, {bound}: {c:?}");
                if let Some(value) = c.solver_value {
                    assert!(c.bound <= value * (1.0 + 1e-4), "seed {seed}, {bound}: {c:?}");
                }
                done += 1;
            }
            assert!(done >= 2, "seed {seed}: only {done}");
            done
        })
        .sum();
    assert!(checked > 3000, "{checked}");
}

/// One pair of runs, through the activation itself.
fn secant(act: &Activation, width: usize, seed: u64) -> Option<(Vec<f64>, Vec<f64>)> {
    let net = Network::new(width, vec![Block::Activation(act.clone())]).unwrap();
    let z: Vec<f64> = normals(&mut Seed(seed).stream("pair", 0), 2 * width);
    let (a, b) = z.split_at(width);
    let (x, y) = (net.forward(a)?, net.forward(b)?);
    let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
    Some((minus(a, b), minus(&x, &y)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The facts that the group constraints rest on: what is preserved, what does not grow.
    #[test]
    fn groups_preserve_and_do_not_expand(seed in 0u64..1_000_000, size in 2usize..5) {
        let sort = Activation::GroupSort { size, descending: seed % 2 == 0 };
        let (z, x) = secant(&sort, size, seed).unwrap();
        let (sum_z, sum_x) = (z.iter().sum::<f64>(), x.iter().sum::<f64>());
        prop_assert!((sum_z - sum_x).abs() < 1e-12);
        let square = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
        prop_assert!(square(&z) - square(&x) >= -1e-12);

        let v = gaussian(1, size, seed + 1);
        let flip = Activation::Householder { normals: v.clone() };
        let (z, x) = secant(&flip, size, seed).unwrap();
        let along = |u: &[f64]| (0..size).map(|k| v[(0, k)] * u[k]).sum::<f64>() / v.norm_l2();
        let rest = |k: usize, u: &[f64]| u[k] - along(u) * v[(0, k)] / v.norm_l2();
        prop_assert!((0..size).all(|k| (rest(k, &z) - rest(k, &x)).abs() < 1e-12));
        prop_assert!(along(&z).abs() - along(&x).abs() >= -1e-12);
    }

    /// The published constraint, with its free γ, ν, τ.
    #[test]
    fn the_published_constraint_holds(seed in 0u64..1_000_000, l in 0.0f64..3.0, g in -3.0f64..3.0, nu in -3.0f64..3.0, tau in -3.0f64..3.0) {
        let (z, x) = secant(&"groupsort:4".parse().unwrap(), 4, seed).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (a, b) = (z.iter().sum::<f64>(), x.iter().sum::<f64>());
        let t = |u: &[f64], s: f64| l * dot(u, u) + g * s * s;
        let form = t(&z, a) - 2.0 * nu * a * a + 2.0 * (tau + nu) * a * b - t(&x, b) - 2.0 * tau * b * b;
        prop_assert!(form >= -1e-11, "{form}");
    }
}
