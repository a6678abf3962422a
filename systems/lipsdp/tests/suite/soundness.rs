//! No certificate lies below what sampling finds, on 2,000 random networks.

use proptest::prelude::*;
use rayon::prelude::*;
use thalweg_core::Seed;
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::*;
use thalweg_testing::{gaussian, normals};

const QUICK: Sampling = Sampling { points: 30, max_steps: 20, seed: 3 };

const ACTIVATIONS: [&str; 18] = [
    "identity",
    "relu",
    "relu6",
    "leaky:0.2",
    "leaky:1.7",
    "leaky:-1.5",
    "abs",
    "tanh",
    "sigmoid",
    "softplus",
    "elu",
    "hardtanh",
    "gelu",
    "gelu-tanh",
    "silu",
    "mish",
    "maxmin",
    "groupsort:3",
];

/// A number below `n` of the seed's stream.
fn pick(seed: u64, stream: u64, n: usize) -> usize {
    // Steele et al.'s SplitMix64.
    let mut z = (seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % n as u64) as usize
}

fn affine(rows: usize, columns: usize, seed: u64, i: u64) -> Affine {
    let g = gaussian(rows, columns + 1, 31 * seed + i);
    let bias = (0..rows).map(|r| if seed.is_multiple_of(3) { 0.0 } else { 0.3 * g[(r, columns)] });
    Affine::new(Mat::from_fn(rows, columns, |i, j| g[(i, j)]), bias.collect())
}

/// Networks of every kind, small.
fn network(seed: u64) -> Network {
    let act = |i: u64| match pick(seed, i, ACTIVATIONS.len() + 1) {
        18 => Activation::Householder { normals: gaussian(3, 2, seed + i) },
        name => ACTIVATIONS[name].parse().unwrap(),
    };
    let affine = |rows, columns, i| affine(rows, columns, seed, i);
    let pool = || Activation::MaxPool { windows: vec![vec![0, 1], vec![2, 3], vec![4, 5, 1]] };
    let block = |inner, i, outer| Block::Residual { inner, activation: act(i), outer };
    match seed % 7 {
        0 => Network::new(
            3,
            vec![
                Block::Affine(affine(6, 3, 1)),
                block(affine(6, 6, 2), 0, None),
                block(affine(6, 6, 3), 1, Some(affine(6, 6, 5))),
                Block::Affine(affine(2, 6, 4)),
            ],
        ),
        1 => {
            let state = gaussian(6, 6, 31 * seed + 2);
            let state = Mat::from_fn(6, 6, |i, j| 0.03 * state[(i, j)]);
            Network::equilibrium(affine(6, 3, 1), state, affine(2, 6, 4), &act(0))
        }
        2 => Network::layered(vec![affine(6, 3, 1), affine(6, 6, 2), affine(2, 3, 3)], vec![act(0), pool()]),
        3 => Network::layered(vec![affine(6, 3, 1), affine(2, 6, 2)], vec![act(0)]),
        4 => Network::layered(
            vec![affine(6, 3, 1), affine(6, 6, 2), affine(6, 6, 3), affine(2, 6, 4)],
            vec![act(0), act(1), act(2)],
        ),
        _ => Network::layered(vec![affine(6, 3, 1), affine(6, 6, 2), affine(2, 6, 3)], vec![act(0), act(1)]),
    }
    .unwrap()
}

/// The network with something out of the ordinary: dead neurons, equal ones, extreme scales, zero layers.
fn twisted(net: &Network, seed: u64) -> Network {
    let mut blocks = net.blocks().to_vec();
    let mut maps: Vec<&mut Affine> = blocks
        .iter_mut()
        .filter_map(|b| match b {
            Block::Affine(a) | Block::Residual { inner: a, .. } | Block::Equilibrium { input: a, .. } => {
                Some(a)
            }
            Block::Activation(_) => None,
        })
        .collect();
    let at = pick(seed, 7, maps.len());
    let map = &mut maps[at];
    let (row, column) = (pick(seed, 8, map.weight.nrows()), pick(seed, 9, map.weight.ncols()));
    let (rows, columns) = (map.weight.nrows(), map.weight.ncols());
    match pick(seed, 10, 6) {
        0 => (0..columns).for_each(|j| map.weight[(row, j)] = 0.0),
        1 => (0..rows).for_each(|i| map.weight[(i, column)] = 0.0),
        2 => {
            (0..columns).for_each(|j| map.weight[(row, j)] = map.weight[(row ^ 1, j)]);
            map.bias[row] = map.bias[row ^ 1];
        }
        3 => {
            let up = [1e-12, 1e-4, 1e4, 1e12][pick(seed, 11, 4)];
            (0..columns).for_each(|j| map.weight[(row, j)] *= up);
        }
        4 => {
            let up = [1e-100, 1e-9, 1e9, 1e60][pick(seed, 11, 4)];
            map.weight = Mat::from_fn(rows, columns, |i, j| up * map.weight[(i, j)]);
        }
        _ => map.weight = Mat::zeros(rows, columns),
    }
    Network::new(net.inputs(), blocks).unwrap()
}

/// Bounds of network number `seed`, and what is wrong with them.
fn bounded(seed: u64) -> (usize, Vec<String>) {
    let plain = network(seed);
    let strange = (seed / 7).is_multiple_of(3);
    let net = if strange { twisted(&plain, seed) } else { plain };
    let norm = [Norm::L2, Norm::L2, Norm::Linf, Norm::LinfL2][pick(seed, 12, 4)];
    let settings = LipSdp { norm, tol: 1e-6, max_evaluations: 30, ..LipSdp::default() };
    // An equilibrium that was made steep may have no state.
    let lower = match lower_bound(&net, norm, &[], &QUICK) {
        Ok(lower) => lower,
        Err(e) => return (0, vec![format!("seed {seed}: {e}")]),
    };
    let (mut done, mut wrong) = (0, Vec::new());
    for bound in Bound::ALL.into_iter().chain([Bound::Auto]) {
        if bound == Bound::Patterns && seed % 7 == 4 {
            // 2¹⁸ patterns take a second.
            continue;
        }
        let c = match (LipSdp { bound, ..settings.clone() }).certify(&net) {
            Ok(c) => c,
            Err(LipError::NotApplicable { .. } | LipError::TooManyPatterns { .. }) => continue,
            Err(e) => {
                wrong.push(format!("seed {seed}, {bound}: {e}"));
                continue;
            }
        };
        done += 1;
        let loose = c.solver_value.is_some_and(|value| c.bound > value * (1.0 + 1e-4));
        if let Err(e) = c.against(lower) {
            wrong.push(format!("seed {seed}: {e}"));
        } else if !strange && (!c.verified || loose) {
            wrong.push(format!("seed {seed}, {bound}: {c:?}"));
        }
    }
    if done < 2 {
        wrong.push(format!("seed {seed}: only {done} bounds"));
    }
    (done, wrong)
}

/// Every bound of every network lies above the steepest slope found; of networks that are nothing out of the ordinary
/// it is proved by its own method, close to what the solver found.
#[test]
fn two_thousand_random_networks_are_bounded_from_both_sides() {
    // What a thread of the pool says is lost with it.
    let safely = |seed| std::panic::catch_unwind(|| bounded(seed));
    let lost = |seed| (0, vec![format!("seed {seed}: a panic")]);
    let all: Vec<(usize, Vec<String>)> =
        (0..2000).into_par_iter().map(|seed| safely(seed).unwrap_or_else(|_| lost(seed))).collect();
    let wrong: Vec<String> = all.iter().flat_map(|a| a.1.clone()).collect();
    assert!(wrong.is_empty(), "{} of 2000:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    let checked: usize = all.iter().map(|a| a.0).sum();
    assert!(checked > 10_000, "{checked}");
}

/// One pair of runs, through the activation itself.
fn secant(act: &Activation, width: usize, seed: u64) -> Option<(Vec<f64>, Vec<f64>)> {
    let net = Network::new(width, vec![Block::Activation(act.clone())]).unwrap();
    let z: Vec<f64> = normals(&mut Seed(seed).stream("pair", 0), 2 * width);
    let (a, b) = z.split_at(width);
    let (x, y) = (net.forward(a).ok()?, net.forward(b).ok()?);
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
