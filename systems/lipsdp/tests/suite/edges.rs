//! Where a bound could be wrong without a word: slopes beyond 1, dead neurons, constants, extreme scales, wrong sizes,
//! certificates of something else.

use thalweg_lipsdp::certificate::Basis;
use thalweg_lipsdp::robust::{Pairs, attacked_accuracy, certify_samples, pair_bounds};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::*;
use thalweg_testing::{gaussian, normals};

use crate::networks::*;

fn act(name: &str) -> Activation {
    name.parse().unwrap()
}

fn certify(net: &Network, norm: Norm, bound: Bound) -> Result<Certificate, LipError> {
    LipSdp { norm, bound, ..LipSdp::default() }.certify(net)
}

fn weights(net: &Network) -> Vec<Mat<f64>> {
    let of = |b: &Block| if let Block::Affine(a) = b { Some(a.weight.clone()) } else { None };
    net.blocks().iter().filter_map(of).collect()
}

fn norm(a: &Mat<f64>) -> f64 {
    thalweg_linalg::dense::singular_values(a).unwrap()[0]
}

/// The largest norm of W₃ D₂ W₂ D₁ W₁ over all diagonal D with entries α or β, one by one.
fn every_pattern(net: &Network, (alpha, beta): (f64, f64)) -> f64 {
    let w = weights(net);
    let (n1, n2) = (w[0].nrows(), w[1].nrows());
    let product = |a: &Mat<f64>, b: &Mat<f64>| thalweg_linalg::dense::product(a, b);
    let scaled = |w: &Mat<f64>, pattern: usize| {
        let slope = |i: usize| if pattern >> i & 1 == 0 { alpha } else { beta };
        Mat::from_fn(w.nrows(), w.ncols(), |i, j| slope(i) * w[(i, j)])
    };
    let mut best: f64 = 0.0;
    for first in 0..1 << n1 {
        let inner = product(&w[1], &scaled(&w[0], first));
        for second in 0..1 << n2 {
            best = best.max(norm(&product(&w[2], &scaled(&inner, second))));
        }
    }
    best
}

#[test]
fn the_pattern_bound_is_the_maximum_over_all_patterns_of_every_activation() {
    let names = [
        "relu",
        "leaky:0.1",
        "leaky:1.7",
        "leaky:-1.5",
        "abs",
        "sigmoid",
        "gelu",
        "gelu-tanh",
        "silu",
        "mish",
        "slope:0,2",
        "slope:-3,1",
        "slope:0.2,0.4",
        "slope:0,1e6",
    ];
    for name in names {
        let Activation::Slope(slope) = act(name) else { unreachable!() };
        for seed in 0..12 {
            let net = random(&act(name), &[3, 4, 4, 2], seed);
            let found = certify(&net, Norm::L2, Bound::Patterns).unwrap();
            let all = every_pattern(&net, slope.interval());
            assert!(found.bound >= all, "{name} {seed}: {} below {all}", found.bound);
            assert!(found.bound <= all * (1.0 + 1e-6), "{name} {seed}: {} above {all}", found.bound);
        }
    }
}

#[test]
fn a_bound_below_a_slope_that_was_found_is_an_error() {
    let good = certify(&random(&act("relu"), &[3, 4, 2], 1), Norm::L2, Bound::Auto).unwrap();
    assert_eq!(good.against(good.bound), Ok(()));
    let error = good.against(good.bound * (1.0 + 1e-9)).unwrap_err();
    assert!(matches!(error, LipError::Contradiction { .. }) && error.to_string().contains("neuron"));
}

fn zero(net: &Network, map: usize, rows: &[usize]) -> Network {
    let mut blocks = net.blocks().to_vec();
    let mut maps = blocks.iter_mut().filter_map(|b| if let Block::Affine(a) = b { Some(a) } else { None });
    let a = maps.nth(map).unwrap();
    a.weight = Mat::from_fn(a.weight.nrows(), a.weight.ncols(), |i, j| {
        if rows.contains(&i) { 0.0 } else { a.weight[(i, j)] }
    });
    Network::new(net.inputs(), blocks).unwrap()
}

#[test]
fn what_does_not_depend_on_the_input_has_the_bound_zero() {
    for name in ["relu", "tanh", "maxmin"] {
        let net = random(&act(name), &[4, 6, 6, 3], 3);
        let constants = [
            zero(&zero(&zero(&net, 0, &[0, 1, 2, 3, 4, 5]), 1, &[0, 1, 2, 3, 4, 5]), 2, &[0, 1, 2]),
            zero(&net, 1, &[0, 1, 2, 3, 4, 5]),
            zero(&net, 2, &[1]).row(1).unwrap(),
            zero(&net, 2, &[0, 2]).pair(0, 2).unwrap(),
        ];
        for (i, net) in constants.iter().enumerate() {
            for norm in [Norm::L2, Norm::Linf, Norm::LinfL2] {
                let mut done = 0;
                for bound in Bound::ALL.into_iter().chain([Bound::Auto]) {
                    let c = match certify(net, norm, bound) {
                        Err(LipError::NotApplicable { .. }) => continue,
                        c => c.unwrap(),
                    };
                    assert!(c.bound == 0.0 && c.verified, "{name} {i} {bound}: {c:?}");
                    assert_eq!(LipSdp::check(&c, net), Ok(0.0));
                    done += 1;
                }
                assert!(done >= 3, "{name} {i} {norm:?}: {done}");
                assert_eq!(lower_bound(net, norm, &[], &Sampling::default()), Ok(0.0));
            }
        }
        // Two outputs of three are constant.
        let net = zero(&net, 2, &[0, 2]);
        let settings = LipSdp::default();
        let whole = settings.certify(&net).unwrap();
        for pairs in [Pairs::Cheap, Pairs::Program] {
            let bounds = pair_bounds(&settings, &net, &whole, pairs).unwrap();
            assert!(bounds[(2, 0)] == 0.0 && bounds[(1, 0)] > 0.0, "{bounds:?}");
            // One row against a constant: the row's own bound.
            assert!(bounds[(1, 0)] <= whole.bound * (1.0 + 1e-6), "{bounds:?}");
        }
        let settings = LipSdp { norm: Norm::Linf, ..settings };
        assert!(settings.certify(&net).unwrap().verified);
        assert_eq!(pair_bounds(&settings, &net, &whole, Pairs::Program).unwrap()[(2, 0)], 0.0);
    }
}

#[test]
fn outputs_that_cancel_have_a_proved_bound_of_rounding_size() {
    let net = random(&act("relu"), &[4, 6, 6, 3], 3);
    let mut blocks = net.blocks().to_vec();
    if let Some(Block::Affine(a)) = blocks.last_mut() {
        (0..6).for_each(|j| a.weight[(1, j)] = a.weight[(0, j)]);
    }
    let pair = Network::new(4, blocks).unwrap().pair(0, 1).unwrap();
    for bound in [Bound::Auto, Bound::Layer, Bound::FirstOrder, Bound::Eclipse, Bound::Product] {
        let c = certify(&pair, Norm::L2, bound).unwrap();
        assert!(c.verified && c.bound < 1e-13, "{bound}: {c:?}");
        assert!(LipSdp::check(&c, &pair).is_ok());
    }
}

/// The network with one neuron more in its first hidden layer (a group of them for GroupSort), which has these
/// weights in and out.
fn with_dead(net: &Network, size: usize, into: f64, out: f64) -> Network {
    let mut blocks = net.blocks().to_vec();
    let Block::Affine(a) = &blocks[0] else { unreachable!() };
    let n = a.weight.nrows();
    let weight = Mat::from_fn(n + size, net.inputs(), |i, j| if i < n { a.weight[(i, j)] } else { into });
    let bias = a.bias.iter().copied().chain(vec![0.0; size]).collect();
    blocks[0] = Block::Affine(Affine::new(weight, bias));
    let Block::Affine(b) = &blocks[2] else { unreachable!() };
    let weight = Mat::from_fn(b.weight.nrows(), n + size, |i, j| if j < n { b.weight[(i, j)] } else { out });
    blocks[2] = Block::Affine(Affine::new(weight, b.bias.clone()));
    Network::new(net.inputs(), blocks).unwrap()
}

#[test]
fn a_dead_neuron_changes_neither_bounds_nor_certified_nor_attacked_shares() {
    for (name, size) in [("relu", 1), ("maxmin", 2), ("leaky:0.1", 1)] {
        let plain = random(&act(name), &[5, 8, 8, 4], 6);
        let samples: Vec<Vec<f64>> =
            (0..60).map(|i| normals(&mut thalweg_core::Seed(4).stream("samples", i), 5)).collect();
        let largest = |y: Vec<f64>| (0..y.len()).max_by(|a, b| y[*a].total_cmp(&y[*b])).unwrap();
        let labels: Vec<usize> = samples.iter().map(|x| largest(plain.forward(x).unwrap())).collect();
        let summary = |net: &Network| {
            let settings = LipSdp::default();
            let whole = settings.certify(net).unwrap();
            let pairs = pair_bounds(&settings, net, &whole, Pairs::Cheap).unwrap();
            let done = certify_samples(net, &pairs, &samples, &labels).unwrap();
            let attacked = [0.1, 0.3, 1.0]
                .map(|eps| attacked_accuracy(net, Norm::L2, &samples, &labels, eps, 20).unwrap());
            let lower = lower_bound(net, Norm::L2, &[], &Sampling::default()).unwrap();
            (whole.bound, pairs, done.radii, attacked, lower)
        };
        let (bound, pairs, radii, attacked, lower) = summary(&plain);
        assert!(attacked[2] < 0.9, "{attacked:?}");
        for (into, out) in [(0.0, 1.3), (0.7, 0.0), (0.0, 0.0)] {
            let net = with_dead(&plain, size, into, out);
            let (b, p, r, a, l) = summary(&net);
            assert!((b / bound - 1.0).abs() < 1e-7, "{name}: {b} and {bound}");
            assert!((&p - &pairs).norm_max() < 1e-6 * bound, "{name}: {p:?} and {pairs:?}");
            assert!(r.iter().zip(&radii).all(|(r, s)| (r - s).abs() <= 1e-6 * s), "{name}: {r:?}");
            assert_eq!(a, attacked, "{name}");
            assert!((l / lower - 1.0).abs() < 1e-6, "{name}: {l} and {lower}");
            for norm in [Norm::L2, Norm::Linf] {
                for bound in [Bound::Auto, Bound::Patterns, Bound::Eclipse, Bound::FirstOrder] {
                    match (certify(&plain, norm, bound), certify(&net, norm, bound)) {
                        (Ok(a), Ok(b)) => {
                            assert!((a.bound / b.bound - 1.0).abs() < 1e-5, "{name} {bound}: {a:?} {b:?}")
                        }
                        (a, b) => assert_eq!(a.is_err(), b.is_err(), "{name} {bound}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_dead_neuron_of_a_residual_branch_changes_nothing() {
    for name in ["relu", "maxmin"] {
        let inner = Affine::linear(gaussian(6, 4, 1));
        let build = |inner: Affine, outer: Option<Affine>| {
            let block = Block::Residual { inner, activation: act(name), outer };
            let last = Block::Affine(Affine::linear(gaussian(2, 4, 5)));
            Network::new(4, vec![block, last]).unwrap()
        };
        let outer = gaussian(4, 6, 2);
        let small = build(
            Affine::linear(Mat::from_fn(4, 4, |i, j| inner.weight[(i, j)])),
            Some(Affine::linear(Mat::from_fn(4, 4, |i, j| outer[(i, j)]))),
        );
        let dead = Mat::from_fn(6, 4, |i, j| if i < 4 { inner.weight[(i, j)] } else { 0.0 });
        let full = build(Affine::linear(dead), Some(Affine::linear(outer)));
        let (a, b) =
            (certify(&small, Norm::L2, Bound::Auto).unwrap(), certify(&full, Norm::L2, Bound::Auto).unwrap());
        assert!((a.bound / b.bound - 1.0).abs() < 1e-9 && b.verified, "{a:?} {b:?}");
        // A branch that does nothing leaves the rest.
        let idle = build(Affine::linear(Mat::zeros(4, 4)), None);
        let c = certify(&idle, Norm::L2, Bound::Auto).unwrap();
        assert!((c.bound / norm(&gaussian(2, 4, 5)) - 1.0).abs() < 1e-9, "{c:?}");
    }
}

#[test]
fn scales_of_single_neurons_do_not_change_a_bound() {
    for (name, group) in [("relu", 1), ("leaky:0.1", 1), ("maxmin", 2)] {
        let plain = random(&act(name), &[4, 6, 6, 3], 2);
        for up in [1e12, 1e-12, 1e100] {
            let mut blocks = plain.blocks().to_vec();
            if let [Block::Affine(a), _, Block::Affine(b), ..] = &mut blocks[..] {
                for k in 0..group {
                    (0..4).for_each(|j| a.weight[(k, j)] *= up);
                    a.bias[k] *= up;
                    (0..6).for_each(|i| b.weight[(i, k)] /= up);
                }
            }
            let net = Network::new(4, blocks).unwrap();
            for norm in [Norm::L2, Norm::Linf, Norm::LinfL2] {
                for bound in [Bound::Auto, Bound::FirstOrder, Bound::NsrPaper] {
                    let Ok(a) = certify(&plain, norm, bound) else { continue };
                    let b = certify(&net, norm, bound).unwrap();
                    assert!(b.verified, "{b:?}");
                    // Descent from another start ends near the same value.
                    let close = if bound == Bound::FirstOrder { 1e-4 } else { 1e-6 };
                    assert!((a.bound / b.bound - 1.0).abs() < close, "{name} {up} {bound}: {a:?} {b:?}");
                    assert!(LipSdp::check(&b, &net).is_ok());
                }
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let net = random(&act("relu"), &[3, 4, 2], 1);
    for x in [vec![], vec![1.0], vec![1.0; 4]] {
        assert!(matches!(net.forward(&x), Err(LipError::Shape { .. })));
        assert!(net.derivative(&x).is_err());
        assert!(lower_bound(&net, Norm::L2, &[x], &Sampling::default()).is_err());
    }
    let ragged = matrix(&[&[1.0, 2.0], &[3.0]]).unwrap_err();
    assert!(ragged.to_string().contains("row 1"), "{ragged}");
    let settings = LipSdp::default();
    let whole = settings.certify(&net).unwrap();
    let pairs = pair_bounds(&settings, &net, &whole, Pairs::Cheap).unwrap();
    let x = || vec![vec![0.1, 0.2, 0.3]];
    for (samples, labels) in [(x(), vec![2]), (x(), vec![]), (x(), vec![0, 1]), (vec![vec![1.0]], vec![0])] {
        assert!(matches!(certify_samples(&net, &pairs, &samples, &labels), Err(LipError::Shape { .. })));
        assert!(attacked_accuracy(&net, Norm::L2, &samples, &labels, 0.1, 3).is_err());
    }
    assert!(certify_samples(&net, &Mat::zeros(1, 1), &x(), &[0]).is_err());
    // Bounds of pairs rest on a certificate of this network.
    let other = settings.certify(&random(&act("relu"), &[3, 4, 2], 2)).unwrap();
    let refused = pair_bounds(&settings, &net, &other, Pairs::Cheap);
    assert!(matches!(refused, Err(LipError::OtherNetwork { .. })));
    let unknown = random(&act("slope:0,1"), &[3, 4, 2], 1);
    assert!(matches!(unknown.forward(&[0.0; 3]), Err(LipError::NoValues(_))));
    assert!(lower_bound(&unknown, Norm::L2, &[], &Sampling::default()).is_err());
}

#[test]
fn slopes_that_are_no_numbers_are_refused() {
    let net = |name: &str| {
        let layers = vec![Affine::linear(gaussian(4, 3, 1)), Affine::linear(gaussian(2, 4, 1))];
        Network::feedforward(layers, &act(name))
    };
    for name in
        ["leaky:nan", "leaky:inf", "leaky:-inf", "slope:nan,1", "slope:0,nan", "slope:0,inf", "slope:1,0"]
    {
        assert!(matches!(net(name), Err(LipError::Slopes { .. })), "{name}");
    }
    assert!(net("leaky:-1.5").is_ok());
}

#[test]
fn a_certificate_is_checked_by_what_it_rests_on() {
    let net = random(&act("relu"), &[4, 5, 5, 5, 3], 4);
    let other = random(&act("leaky:0.1"), &[4, 5, 5, 5, 3], 4);
    for (bound, basis) in [
        (Bound::Neuron, Basis::Multipliers),
        (Bound::Eclipse, Basis::Multipliers),
        (Bound::Split(2), Basis::Parts),
        (Bound::Patterns, Basis::Patterns),
        (Bound::Product, Basis::Product),
    ] {
        let c = certify(&net, Norm::L2, bound).unwrap();
        assert_eq!(c.basis, basis);
        let text = serde_json::to_string(&c).unwrap();
        let c: Certificate = serde_json::from_str(&text).unwrap();
        let proved = LipSdp::check(&c, &net).unwrap();
        assert!((proved / c.bound - 1.0).abs() < 1e-9, "{bound}: {proved}");
        // The same weights with another activation are another network.
        assert!(matches!(LipSdp::check(&c, &other), Err(LipError::OtherNetwork { .. })));
        let less = Certificate { bound: c.bound * (1.0 - 1e-6), ..c.clone() };
        assert!(LipSdp::check(&less, &net).is_err(), "{bound}");
        // What is not there is not solved for.
        let bare = Certificate { multipliers: None, parts: Vec::new(), ..c.clone() };
        assert_eq!(LipSdp::check(&bare, &net).is_ok(), basis == Basis::Product, "{bound}");
        // A part that claims too much is found out.
        let mut forged = c.clone();
        if let Some(part) = forged.parts.first_mut() {
            part.bound *= 0.5;
            assert!(LipSdp::check(&forged, &net).is_err(), "{bound}");
        }
    }
    let c = certify(&net, Norm::L2, Bound::Neuron).unwrap();
    let constant = Certificate { basis: Basis::Constant, bound: 0.0, ..c };
    assert!(LipSdp::check(&constant, &net).is_err());
}

/// The state is of size 1e8 for its bias alone, so margins of 1e-6 are within its rounding.
#[test]
fn an_equilibrium_with_a_large_bias_certifies_no_margin_within_its_rounding() {
    let input = Affine::new(Mat::from_fn(1, 1, |_, _| 1e-8), vec![1e8]);
    let output = Affine::new(Mat::from_fn(2, 1, |_, _| 1.0), vec![1e-6, 0.0]);
    let net = Network::equilibrium(input, Mat::from_fn(1, 1, |_, _| 0.5), output, &act("relu")).unwrap();
    let pairs = Mat::from_fn(2, 2, |i, j| if i == j { 0.0 } else { 1e-9 });
    let done = certify_samples(&net, &pairs, &[vec![0.5]], &[0]).unwrap();
    assert_eq!(done.radii, [0.0]);
}

#[test]
fn derivatives_agree_with_differences_and_with_their_adjoint() {
    let names = [
        "relu",
        "relu6",
        "leaky:-1.5",
        "abs",
        "hardtanh",
        "gelu",
        "silu",
        "mish",
        "elu",
        "maxmin",
        "groupsort:3",
    ];
    let pool = Activation::MaxPool { windows: vec![vec![0, 1], vec![1, 2, 3], vec![5]] };
    let turn = Activation::Householder { normals: gaussian(3, 2, 5) };
    let affine = |rows, columns, seed| {
        let g = gaussian(rows, columns + 1, seed);
        let bias = (0..rows).map(|i| g[(i, columns)]).collect();
        Affine::new(Mat::from_fn(rows, columns, |i, j| g[(i, j)]), bias)
    };
    let mut nets = Vec::new();
    for act in names.into_iter().map(act).chain([turn]) {
        nets.push(Network::layered(vec![affine(6, 4, 1), affine(3, 6, 2)], vec![act.clone()]));
        nets.push(Network::residual(affine(6, 4, 1), vec![affine(6, 6, 3)], affine(3, 6, 2), &act));
        let state = gaussian(6, 6, 4);
        let state = Mat::from_fn(6, 6, |i, j| 0.03 * state[(i, j)]);
        nets.push(Network::equilibrium(affine(6, 4, 1), state, affine(3, 6, 2), &act));
    }
    nets.push(Network::layered(vec![affine(6, 4, 1), affine(3, 3, 2)], vec![pool]));
    for net in nets.into_iter().map(Result::unwrap) {
        let (x, v) = ([0.3, -0.4, 0.8, 0.1], [0.5, 1.0, -0.3, 0.2]);
        let moved = |t: f64| net.forward(&[0, 1, 2, 3].map(|i| x[i] + t * v[i])).unwrap();
        let at = net.derivative(&x).unwrap();
        let along = at.certain(&v).unwrap();
        for (i, (a, b)) in moved(1e-6).iter().zip(&moved(-1e-6)).enumerate() {
            assert!(((a - b) / 2e-6 - along[i]).abs() < 1e-5, "{net:?}");
        }
        let u = [0.7, -1.1, 0.4];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert!((dot(&u, &along) - dot(&at.back(&u), &v)).abs() < 1e-12, "{net:?}");
    }
}

#[test]
fn a_derivative_in_doubt_does_not_count() {
    // relu(x) − relu(−x) = x has slope 1, but at 0 both one-sided derivatives are 0.
    let first = Affine::linear(matrix(&[&[1.0], &[-1.0]]).unwrap());
    let last = Affine::linear(matrix(&[&[1.0, -1.0]]).unwrap());
    let net = Network::feedforward(vec![first, last], &act("relu")).unwrap();
    let at = net.derivative(&[0.0]).unwrap();
    assert!(at.certain(&[1.0]).is_none() && at.along(&[1.0]).len() == 1);
    assert!(net.derivative(&[0.1]).unwrap().certain(&[1.0]).is_some());
    // Two equal neurons of a group tie everywhere, and it does not matter.
    let first = Affine::linear(matrix(&[&[1.0, 2.0], &[1.0, 2.0]]).unwrap());
    let last = Affine::linear(matrix(&[&[1.0, 3.0]]).unwrap());
    let net = Network::feedforward(vec![first, last], &act("maxmin")).unwrap();
    let lower = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
    assert!((lower / (4.0 * 5f64.sqrt()) - 1.0).abs() < 1e-9, "{lower}");
}

#[test]
fn given_points_are_where_the_lower_bound_looks_first() {
    // Flat but for a slope of 50 beyond 100.
    let first = Affine::new(matrix(&[&[1.0, 0.0], &[0.0, 1.0]]).unwrap(), vec![-100.0, 0.0]);
    let last = Affine::linear(matrix(&[&[50.0, 1.0]]).unwrap());
    let net = Network::feedforward(vec![first, last], &act("relu")).unwrap();
    let few = Sampling { points: 20, max_steps: 5, seed: 1 };
    let blind = lower_bound(&net, Norm::L2, &[], &few).unwrap();
    let told = lower_bound(&net, Norm::L2, &[vec![120.0, 0.5]], &few).unwrap();
    assert!(blind < 1.1 && told > 50.0, "{blind} {told}");
}

/// The search costs passes over the weights, not Jacobians of every point.
#[test]
fn a_wide_network_spends_less_on_the_lower_bound_than_on_the_bound() {
    let net = random(&act("relu"), &[784, 512, 512, 512, 512, 10], 1);
    let time = |work: &dyn Fn() -> f64| {
        let clock = std::time::Instant::now();
        (work(), clock.elapsed())
    };
    // Other tests run beside this one, so it may try again.
    let cheaper = (0..3).any(|_| {
        let (lower, search) = time(&|| lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap());
        let (upper, proof) = time(&|| certify(&net, Norm::L2, Bound::Eclipse).unwrap().bound);
        assert!(0.0 < lower && lower <= upper, "{lower} {upper}");
        search < proof
    });
    assert!(cheaper);
}

#[test]
fn layers_without_a_bend_need_no_multipliers() {
    let layers = || vec![Affine::linear(gaussian(5, 3, 1)), Affine::linear(gaussian(2, 5, 2))];
    let exact = norm(&thalweg_linalg::dense::product(&gaussian(2, 5, 2), &gaussian(5, 3, 1)));
    let net = Network::feedforward(layers(), &act("identity")).unwrap();
    for bound in [Bound::Auto, Bound::Nsr, Bound::Layer, Bound::FirstOrder, Bound::Patterns] {
        let c = certify(&net, Norm::L2, bound).unwrap();
        assert!(c.verified && (c.bound / exact - 1.0).abs() < 1e-8, "{bound}: {c:?} {exact}");
    }
    let state = Mat::from_fn(5, 5, |i, j| if i == j { 0.5 } else { 0.0 });
    let [input, output] = [0, 1].map(|i| layers()[i].clone());
    let implicit = Network::equilibrium(input, state, output, &act("identity")).unwrap();
    // z = z/2 + U x is twice U x.
    let c = certify(&implicit, Norm::L2, Bound::Auto).unwrap();
    assert!(c.verified && (c.bound / (2.0 * exact) - 1.0).abs() < 1e-8, "{c:?} {exact}");
}
