//! Maps by structure, and networks of any wiring, against matrices.

use proptest::prelude::*;
use thalweg_linalg::dense::norm2;
use thalweg_lipsdp::operator::{Convolution, Number, Operator, Rows};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::wired::{Neurons, Term, Wired};
use thalweg_lipsdp::{Activation, Bound, LipSdp, Norm};
use thalweg_testing::gaussian;

fn numbers(n: usize, seed: u64) -> Vec<Number> {
    let g = gaussian(n.max(1), 1, seed);
    (0..n).map(|i| Number::exact(g[(i, 0)])).collect()
}

#[derive(Clone, Debug)]
struct Case(Convolution);

fn convolutions() -> impl Strategy<Value = Case> {
    let axis = || (1..9usize, 1..4usize, 1..4usize, 1..3usize, 0..4usize, 0..4usize);
    (axis(), axis(), 1..3usize, 1..3usize, 1..3usize, any::<bool>(), 0..1000u64).prop_filter_map(
        "the kernel fits",
        |(y, x, groups, per, own, circular, seed)| {
            let taps = per * y.1 * x.1;
            let c = Convolution {
                input: [y.0, x.0, groups * per],
                out: groups * own,
                k: [y.1, x.1],
                stride: [y.2, x.2],
                pad: [y.4, y.5, x.4, x.5],
                dilation: [y.3, x.3],
                groups,
                circular,
                weight: numbers(groups * own * taps, seed),
                bias: numbers(groups * own, seed + 1),
            };
            c.validate("a convolution").is_ok().then_some(Case(c))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Zero padding, stride, dilation, groups, images that wrap around, more than once too.
    #[test]
    fn the_norm_of_a_convolution_is_never_below_that_of_its_matrix(Case(c) in convolutions()) {
        let matrix = c.rows().affine().weight;
        let exact = norm2(&matrix);
        let bound = Operator::Convolution(c.clone()).norm(Norm::L2);
        prop_assert!(bound >= exact * (1.0 - 1e-12), "{} < {}", bound, exact);
        if c.circular && c.pad == [0; 4] && c.stride == [1, 1] && c.dilation == [1, 1] {
            // A valid convolution on a torus without padding leaves outputs out; only 1×1 kernels keep all.
            if c.k == [1, 1] {
                prop_assert!(bound <= exact * (1.0 + 1e-6), "{} > {}", bound, exact);
            }
        }
        let rows = Operator::Rows(c.rows()).norm(Norm::Linf);
        prop_assert!(Operator::Convolution(c).norm(Norm::Linf) >= rows * (1.0 - 1e-12));
    }
}

/// As many outputs as cells, all around: the frequencies tell the norm exactly.
#[test]
fn the_norm_of_a_circular_convolution_is_exact_and_that_of_a_padded_one_is_close() {
    for (stride, slack) in [([1, 1], 1e-6), ([2, 2], 1e-6), ([1, 2], 1e-6)] {
        let make = |circular| Convolution {
            input: [8, 6, 3],
            out: 4,
            k: [3, 3],
            stride,
            pad: [1; 4],
            dilation: [1, 1],
            groups: 1,
            circular,
            weight: numbers(4 * 27, 5),
            bias: numbers(4, 6),
        };
        let exact = |c: &Convolution| norm2(&c.rows().affine().weight);
        let ratio = |c: Convolution| Operator::Convolution(c.clone()).norm(Norm::L2) / exact(&c);
        let around = ratio(make(true));
        assert!((1.0 - 1e-12..1.0 + slack).contains(&around), "{stride:?}: {around}");
        let padded = ratio(make(false));
        assert!((1.0 - 1e-12..1.15).contains(&padded), "{stride:?}: {padded}");
    }
}

#[test]
fn a_scaled_convolution_is_a_convolution_and_a_diagonal() {
    let c = Convolution {
        input: [4, 5, 2],
        out: 3,
        k: [3, 2],
        stride: [1, 1],
        pad: [1, 1, 0, 1],
        dilation: [1, 1],
        groups: 1,
        circular: false,
        weight: numbers(36, 1),
        bias: numbers(3, 2),
    };
    let (by, shift) = (numbers(3, 3), numbers(3, 4));
    let n: usize = c.output().iter().product();
    let spread = |v: &[Number]| (0..n).map(|i| v[i % 3]).collect::<Vec<_>>();
    let apart = c.rows().then(&Rows::diagonal(&spread(&by), spread(&shift))).affine();
    let folded = c.scaled(&by, &shift).rows().affine();
    let radii = folded.radii.expect("products are rounded");
    for i in 0..n {
        assert!((apart.bias[i] - folded.bias[i]).abs() <= 2.0 * radii.bias[i], "{i}");
        for j in 0..40 {
            let difference = (apart.weight[(i, j)] - folded.weight[(i, j)]).abs();
            assert!(difference <= 2.0 * radii.weight[(i, j)], "{i} {j}");
        }
    }
}

/// 2⁶⁰ + 1 − 2⁶⁰ is 1, with numbers of single precision and with others.
#[test]
fn cancellation_in_a_product_of_maps_costs_nothing() {
    for unit in [1.0, 0.1] {
        let big = 2f64.powi(60);
        let first = Rows::dense(1, &[big, unit, -big], vec![0.0; 3]);
        let both = first.then(&Rows::dense(3, &[1.0, 1.0, 1.0], vec![0.0])).affine();
        let radius = both.radii.map_or(0.0, |r| r.weight[(0, 0)]);
        assert!(
            (both.weight[(0, 0)] - unit).abs() <= radius && radius < 1e-10,
            "{} ± {radius}",
            both.weight[(0, 0)]
        );
    }
    // What even twice the precision loses is in the radius.
    let big = 2f64.powi(120);
    let first = Rows::dense(1, &[big, 0.1, -big], vec![0.0; 3]);
    let both = first.then(&Rows::dense(3, &[1.0, 1.0, 1.0], vec![0.0])).affine();
    let radius = both.radii.map_or(0.0, |r| r.weight[(0, 0)]);
    assert!((both.weight[(0, 0)] - 0.1).abs() <= radius, "{} ± {radius}", both.weight[(0, 0)]);
}

fn dense(rows: usize, columns: usize, seed: u64) -> Operator {
    let g = gaussian(rows, columns, seed);
    let all: Vec<f64> = (0..rows * columns).map(|k| g[(k / columns, k % columns)]).collect();
    Operator::Rows(Rows::dense(columns, &all, vec![0.1; rows]))
}

/// Three values that all later neurons read, by way of maps and as they are.
fn knot(activation: &str, seed: u64) -> Wired {
    let activation: Activation = activation.parse().unwrap();
    let term = |from, maps: Vec<Operator>| Term { from, maps };
    let neurons = |terms| Neurons { terms, activation: activation.clone() };
    let list = vec![
        neurons(vec![term(0, vec![dense(6, 5, seed), dense(4, 6, seed + 1)])]),
        neurons(vec![term(1, vec![dense(4, 4, seed + 2)]), term(0, vec![dense(4, 5, seed + 3)])]),
        neurons(vec![term(1, Vec::new()), term(2, vec![dense(4, 4, seed + 4)]), term(2, Vec::new())]),
    ];
    let output = vec![term(3, vec![dense(3, 4, seed + 5)]), term(1, vec![dense(3, 4, seed + 6)])];
    Wired::new(5, list, output).unwrap()
}

#[test]
fn any_wiring_is_a_chain_of_blocks_with_the_same_bounds_in_order() {
    for (act, seed) in ["relu", "tanh", "leaky:0.2", "maxmin", "gelu"].into_iter().zip(0..) {
        let wired = knot(act, 100 * seed);
        let net = wired.written_out().unwrap();
        assert_eq!((net.neurons(), net.outputs()), (wired.neurons(), wired.outputs()));
        for norm in [Norm::L2, Norm::Linf, Norm::LinfL2] {
            let tight = LipSdp { norm, ..LipSdp::default() }.certify(&net).unwrap();
            let found = lower_bound(&net, norm, &[], &Sampling::default()).unwrap();
            let product = wired.product(norm);
            assert!(tight.verified && found <= tight.bound, "{act} {norm:?}: {found} {}", tight.bound);
            if norm == Norm::L2 {
                assert!(tight.bound <= product * (1.0 + 1e-9), "{act}: {} above {product}", tight.bound);
            }
            assert!(found <= product, "{act} {norm:?}: {found} above {product}");
        }
        let first = LipSdp { bound: Bound::FirstOrder, max_seconds: 5.0, ..LipSdp::default() }.certify(&net);
        let found = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
        assert!(first.unwrap().bound >= found);
        let pair = wired.difference(2, Some(0)).unwrap();
        for norm in [Norm::L2, Norm::Linf, Norm::LinfL2] {
            let (all, one) = (wired.pair_products(norm), pair.product(norm));
            assert!(
                (all[(2, 0)] / one - 1.0).abs() < 1e-9 && all[(0, 2)] == all[(2, 0)] && all[(1, 1)] == 0.0
            );
        }
        let bound = LipSdp::default().certify(&pair.written_out().unwrap()).unwrap().bound;
        assert!(bound <= pair.product(Norm::L2) * (1.0 + 1e-9));
        let (a, b) = (net.pair(2, 0).unwrap(), pair.written_out().unwrap());
        assert!((a.forward(&[0.3; 5]).unwrap()[0] - b.forward(&[0.3; 5]).unwrap()[0]).abs() < 1e-9);
    }
}

/// A block h + G φ(W h) counts 1 + ‖G‖‖W‖, not 2 or more.
#[test]
fn the_product_of_norms_adds_up_branches() {
    let small = |n: f64| Operator::Rows(Rows::diagonal(&[Number::exact(n); 3], vec![Number::ZERO; 3]));
    let relu: Activation = "relu".parse().unwrap();
    let neurons = vec![Neurons { terms: vec![Term { from: 0, maps: vec![small(0.5)] }], activation: relu }];
    let output = vec![Term { from: 0, maps: Vec::new() }, Term { from: 1, maps: vec![small(0.25)] }];
    let wired = Wired::new(3, neurons, output).unwrap();
    assert!((wired.product(Norm::L2) - 1.125).abs() < 1e-12);
    assert!((LipSdp::default().certify(&wired.written_out().unwrap()).unwrap().bound - 1.125).abs() < 1e-6);
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let term = |from, maps: Vec<Operator>| Term { from, maps };
    assert!(Wired::new(4, Vec::new(), vec![term(0, vec![dense(2, 3, 1)])]).is_err());
    assert!(Wired::new(4, Vec::new(), vec![term(1, Vec::new())]).is_err());
    assert!(Wired::new(4, Vec::new(), Vec::new()).is_err());
    let sum = vec![term(0, vec![dense(2, 4, 1)]), term(0, Vec::new())];
    assert!(Wired::new(4, Vec::new(), sum).is_err());
    // A number that is none would vanish in a maximum.
    for bad in [f64::NAN, f64::INFINITY] {
        let map = Operator::Rows(Rows::dense(2, &[1.0, bad, 2.0, 3.0], vec![0.0; 2]));
        assert!(Wired::new(2, Vec::new(), vec![term(0, vec![map])]).is_err());
        let weight = vec![Number::exact(1.0), Number::exact(bad)];
        let c = Convolution {
            input: [2, 2, 1],
            out: 1,
            k: [1, 2],
            stride: [1, 1],
            pad: [0; 4],
            dilation: [1, 1],
            groups: 1,
            circular: false,
            weight,
            bias: vec![Number::ZERO],
        };
        assert!(Wired::new(4, Vec::new(), vec![term(0, vec![Operator::Convolution(c)])]).is_err());
    }
    let number = Number { value: f64::NAN, radius: 0.0 };
    assert!(Rows::new(1, vec![Vec::new()], vec![number]).is_err());
}
