//! What the specification lists as correctness oracles, each against an independent computation.

use thalweg_core::Seed;
use thalweg_lipsdp::baselines::{gram_norm, proved_norm};
use thalweg_lipsdp::robust::{Pairs, attacked_accuracy, certify_samples, pair_bounds};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::*;
use thalweg_testing::{gaussian, normals, orthogonal};

use crate::networks::*;

fn act(name: &str) -> Activation {
    name.parse().unwrap()
}

fn nsr(net: &Network) -> f64 {
    bound(net, Bound::Auto)
}

fn bound(net: &Network, bound: Bound) -> f64 {
    let c = LipSdp { bound, ..LipSdp::default() }.certify(net).unwrap();
    assert!(c.verified);
    c.bound
}

fn close(a: f64, b: f64, tol: f64) {
    assert!((a - b).abs() <= tol * b.abs(), "{a} and {b}");
}

/// The largest singular value.
fn norm(a: &Mat<f64>) -> f64 {
    thalweg_linalg::dense::singular_values(a).unwrap()[0]
}

#[test]
fn linear_networks_have_the_norm_of_their_product() {
    let (a, b) = (gaussian(5, 7, 1), gaussian(3, 5, 2));
    let one = Network::feedforward(vec![Affine::linear(a.clone())], &act("relu")).unwrap();
    close(nsr(&one), norm(&a), 1e-9);
    let two =
        Network::feedforward(vec![Affine::linear(a.clone()), Affine::linear(b.clone())], &act("identity"));
    close(nsr(&two.unwrap()), norm(&thalweg_linalg::dense::product(&b, &a)), 1e-9);
}

#[test]
fn the_two_neuron_network_has_a_known_value() {
    let layers = || {
        vec![
            Affine::linear(matrix(&[&[1.0, 2.0], &[1.0, -2.0]]).unwrap()),
            Affine::linear(matrix(&[&[1.0, 1.0]]).unwrap()),
        ]
    };
    let net = Network::feedforward(layers(), &act("relu")).unwrap();
    close(bound(&net, Bound::Neuron), 4.0 / 3f64.sqrt(), 1e-8);
    close(bound(&net, Bound::Product), 4.0, 1e-9);
    close(bound(&net, Bound::Patterns), 5f64.sqrt(), 1e-9);
}

#[test]
fn orthogonal_networks_have_constant_one() {
    for (name, width) in [("maxmin", 6), ("groupsort:3", 6)] {
        let net =
            Network::feedforward((0..4).map(|i| Affine::linear(orthogonal(width, i))).collect(), &act(name));
        close(nsr(&net.unwrap()), 1.0, 1e-7);
    }
    let householder = Activation::Householder { normals: gaussian(2, 3, 5) };
    let net =
        Network::feedforward((0..3).map(|i| Affine::linear(orthogonal(6, 9 + i))).collect(), &householder);
    close(nsr(&net.unwrap()), 1.0, 1e-7);
    let alone = Network::new(4, vec![Block::Activation(act("maxmin"))]).unwrap();
    close(nsr(&alone), 1.0, 1e-7);
}

#[test]
fn scaling_and_permuting_change_what_they_should() {
    let net = random(&act("maxmin"), &[4, 6, 6, 3], 7);
    let reference = nsr(&net);
    let mut blocks = net.blocks().to_vec();
    if let Block::Affine(a) = &mut blocks[2] {
        a.weight = Mat::from_fn(6, 6, |i, j| 3.0 * a.weight[(i, j)]);
    }
    close(nsr(&Network::new(4, blocks.clone()).unwrap()), 3.0 * reference, 1e-7);
    // Groups in another order, and the two neurons of each swapped.
    let order = [5, 4, 1, 0, 3, 2];
    if let [Block::Affine(a), _, Block::Affine(b), ..] = &mut blocks[..] {
        a.weight = Mat::from_fn(6, 4, |i, j| a.weight[(order[i], j)]);
        b.weight = Mat::from_fn(6, 6, |i, j| b.weight[(i, order[j])]);
        a.bias = vec![0.0; 6];
    }
    close(nsr(&Network::new(4, blocks).unwrap()), 3.0 * reference, 1e-7);
}

#[test]
fn householder_with_the_difference_is_maxmin() {
    let maxmin = random(&act("maxmin"), &[4, 6, 6, 3], 3);
    let v = Mat::from_fn(3, 2, |_, j| if j == 0 { 0.5f64.sqrt() } else { -0.5f64.sqrt() });
    let other = random(&Activation::Householder { normals: v }, &[4, 6, 6, 3], 3);
    close(nsr(&other), nsr(&maxmin), 1e-8);
    let x: Vec<f64> = vec![0.3, -1.0, 0.7, 0.2];
    let (a, b) = (maxmin.forward(&x).unwrap(), other.forward(&x).unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn the_order_of_the_bounds_is_the_theoretical_one() {
    for seed in 0..6 {
        let slack = |a: f64| a * (1.0 + 1e-6);
        let net = random(&act("maxmin"), &[4, 4, 4, 3], seed);
        let [fgl, tight, paper, product] =
            [Bound::Patterns, Bound::Nsr, Bound::NsrPaper, Bound::Product].map(|b| bound(&net, b));
        let sample = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
        assert!(
            sample <= slack(fgl) && fgl <= slack(tight) && tight <= slack(paper) && paper <= slack(product)
        );
        let first = bound(&net, Bound::FirstOrder);
        assert!(tight <= slack(first) && first <= 1.02 * tight, "{tight} {first}");

        let net = random(&act("relu"), &[4, 5, 5, 5, 3], seed);
        let [fgl, neuron, layer, eclipse, split, product] =
            [Bound::Patterns, Bound::Neuron, Bound::Layer, Bound::Eclipse, Bound::Split(2), Bound::Product]
                .map(|b| bound(&net, b));
        let sample = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
        assert!(sample <= slack(fgl) && fgl <= slack(neuron) && neuron <= slack(layer));
        assert!(layer <= slack(product) && neuron <= slack(eclipse) && neuron <= slack(split));
        assert!(split <= slack(product));
        let row = nsr(&net.row(1).unwrap());
        assert!(row <= slack(neuron));
    }
}

#[test]
fn in_the_maximum_norm_tight_is_below_paper_is_below_product() {
    for seed in 0..4 {
        let net = random(&act("maxmin"), &[5, 6, 6, 3], seed).row(0).unwrap();
        let of = |bound| LipSdp { bound, norm: Norm::Linf, ..LipSdp::default() }.certify(&net).unwrap().bound;
        let (tight, paper, product) = (of(Bound::Nsr), of(Bound::NsrPaper), of(Bound::Product));
        let sample = lower_bound(&net, Norm::Linf, &[], &Sampling::default()).unwrap();
        let slack = 1.0 + 1e-6;
        assert!(sample <= tight * slack && tight <= paper * slack && paper <= product * slack);
    }
}

#[test]
fn all_outputs_in_the_maximum_norm_are_above_each() {
    let net = random(&act("relu"), &[4, 6, 5, 3], 2);
    let settings = |norm| LipSdp { norm, ..LipSdp::default() };
    let all = settings(Norm::Linf).certify(&net).unwrap();
    let euclid = settings(Norm::LinfL2).certify(&net).unwrap();
    let rows: Vec<f64> =
        (0..3).map(|r| settings(Norm::Linf).certify(&net.row(r).unwrap()).unwrap().bound).collect();
    assert!(rows.iter().all(|r| *r <= all.bound * 1.000001 && *r <= euclid.bound * 1.000001));
    for (c, norm) in [(&all, Norm::Linf), (&euclid, Norm::LinfL2)] {
        assert!(c.verified && c.bound >= lower_bound(&net, norm, &[], &Sampling::default()).unwrap());
    }
}

#[test]
fn tampered_certificates_are_rejected() {
    let net = random(&act("relu"), &[4, 6, 6, 3], 11);
    let good = LipSdp::default().certify(&net).unwrap();
    close(LipSdp::check(&good, &net).unwrap(), good.bound, 1e-9);
    let rejected = |change: &dyn Fn(&mut Certificate)| {
        let mut c = good.clone();
        change(&mut c);
        assert!(LipSdp::check(&c, &net).is_err());
    };
    rejected(&|c| c.bound *= 1.0 - 1e-6);
    rejected(&|c| c.multipliers.as_mut().unwrap().layers[0][2] *= -1.0);
    rejected(&|c| c.multipliers.as_mut().unwrap().layers[1][0] = f64::NAN);
    rejected(&|c| c.multipliers.as_mut().unwrap().layers[0].push(1.0));
    rejected(&|c| c.bound = f64::NAN);
    let other = random(&act("relu"), &[4, 6, 6, 3], 12);
    assert!(LipSdp::check(&Certificate { bound: 0.5 * good.bound, ..good.clone() }, &other).is_err());
}

#[test]
fn an_equilibrium_without_feedback_is_a_two_layer_network() {
    let (u, wo) = (gaussian(5, 4, 1), gaussian(3, 5, 2));
    let plain =
        Network::feedforward(vec![Affine::linear(u.clone()), Affine::linear(wo.clone())], &act("relu"));
    let implicit = |scale: f64, wz: Mat<f64>| {
        let u = Affine::linear(Mat::from_fn(5, 4, |i, j| scale * u[(i, j)]));
        Network::equilibrium(u, wz, Affine::linear(wo.clone()), &act("relu")).unwrap()
    };
    let reference = nsr(&plain.unwrap());
    close(nsr(&implicit(1.0, Mat::zeros(5, 5))), reference, 1e-6);
    close(nsr(&implicit(2.0, Mat::zeros(5, 5))), 2.0 * reference, 1e-6);
    // Feedback of norm > 1 that is still well-posed: a rotation.
    let turn = Mat::from_fn(5, 5, |i, j| match (i, j) {
        (0, 1) => 3.0,
        (1, 0) => -3.0,
        _ => 0.0,
    });
    let net = implicit(1.0, turn);
    let proved = nsr(&net);
    assert!(proved >= lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap());
    let two = Mat::from_fn(5, 5, |i, j| if i == j { 2.0 } else { 0.0 });
    assert_eq!(LipSdp::default().certify(&implicit(1.0, two)).unwrap_err(), LipError::NotWellPosed);
    // GroupSort with feedback goes through too.
    let sorted = Network::equilibrium(
        Affine::linear(gaussian(6, 4, 3)),
        Mat::from_fn(6, 6, |i, j| 0.05 * ((i * 5 + j * 3) as f64).sin()),
        Affine::linear(gaussian(3, 6, 4)),
        &act("maxmin"),
    )
    .unwrap();
    let c = LipSdp::default().certify(&sorted).unwrap();
    assert!(c.verified && c.bound >= lower_bound(&sorted, Norm::L2, &[], &Sampling::default()).unwrap());
}

#[test]
fn the_network_form_of_the_literature_is_refused() {
    let refused = "network".parse::<Bound>().unwrap_err();
    assert!(refused.to_string().contains("unsound"));
    // Its multipliers "prove" 2.8284 here, but a Jacobian of norm 2√5 exists.
    let layers = vec![
        Affine::linear(matrix(&[&[0.0, 2.0], &[-1.0, 2.0], &[1.0, -2.0]]).unwrap()),
        Affine::linear(matrix(&[&[-1.0, 2.0, 0.0]]).unwrap()),
    ];
    let net = Network::feedforward(layers, &act("relu")).unwrap();
    let sample = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
    assert!(sample > 2.83, "{sample}");
    assert!(bound(&net, Bound::Neuron) >= sample);
}

#[test]
fn dead_neurons_do_no_harm() {
    let full = random(&act("relu"), &[4, 6, 6, 3], 5);
    let kill = |dead: &[(usize, usize)]| {
        let mut blocks = full.blocks().to_vec();
        for &(block, neuron) in dead {
            if let Block::Affine(a) = &mut blocks[block] {
                let rows = block == 0;
                let entry = |i: usize, j: usize| {
                    if (if rows { i } else { j }) == neuron { 0.0 } else { a.weight[(i, j)] }
                };
                a.weight = Mat::from_fn(a.weight.nrows(), a.weight.ncols(), entry);
            }
        }
        Network::new(4, blocks).unwrap()
    };
    let net = kill(&[(0, 1), (2, 4), (4, 2)]);
    let c = LipSdp::default().certify(&net).unwrap();
    assert!(c.verified && c.bound <= nsr(&full) * 1.000001, "{c:?}");
    assert!((c.bound / c.solver_value.unwrap() - 1.0).abs() < 1e-6, "{c:?}");
}

#[test]
fn cheap_pair_bounds_lie_between_the_program_and_the_whole() {
    let net = random(&act("relu"), &[5, 8, 8, 4], 6);
    let settings = LipSdp::default();
    let whole = settings.certify(&net).unwrap();
    let cheap = pair_bounds(&settings, &net, &whole, Pairs::Cheap).unwrap();
    let program = pair_bounds(&settings, &net, &whole, Pairs::Program).unwrap();
    for k in 0..4 {
        for j in 0..k {
            assert!(program[(k, j)] <= cheap[(k, j)] * 1.000001);
            assert!(cheap[(k, j)] <= 2f64.sqrt() * whole.bound * 1.000001);
        }
    }
    let mean = |m: &Mat<f64>| m.norm_l2();
    assert!(
        mean(&cheap)
            < 0.98 * mean(&Mat::from_fn(4, 4, |i, j| if i == j { 0.0 } else { 2f64.sqrt() * whole.bound }))
    );
}

#[test]
fn certified_accuracy_is_below_attacked_accuracy() {
    let net = random(&act("maxmin"), &[5, 8, 8, 3], 8);
    let samples: Vec<Vec<f64>> = (0..60)
        .map(|i| {
            let x: Vec<f64> = normals(&mut Seed(4).stream("samples", i), 5);
            x
        })
        .collect();
    let largest = |y: Vec<f64>| (0..y.len()).max_by(|a, b| y[*a].total_cmp(&y[*b])).unwrap();
    let labels: Vec<usize> = samples.iter().map(|x| largest(net.forward(x).unwrap())).collect();
    for norm in [Norm::L2, Norm::Linf] {
        let settings = LipSdp { norm, ..LipSdp::default() };
        let whole = LipSdp::default().certify(&net).unwrap();
        let pairs = pair_bounds(&settings, &net, &whole, Pairs::Cheap).unwrap();
        let done = certify_samples(&net, &pairs, &samples, &labels).unwrap();
        assert_eq!(done.accuracy, 1.0);
        let mut some = 0.0;
        for eps in [0.001, 0.01, 0.05, 0.2, 1.0] {
            let attacked = attacked_accuracy(&net, norm, &samples, &labels, eps, 20).unwrap();
            assert!(done.certified(eps) <= attacked, "{norm:?} {eps}");
            some += done.certified(eps);
        }
        assert!(some > 0.5);
    }
}

#[test]
fn proved_norms_are_above_and_close() {
    for (rows, columns) in [(1, 1), (4, 9), (9, 4), (12, 12)] {
        let w = gaussian(rows, columns, 3);
        let exact = norm(&w);
        let proved = proved_norm(&w);
        assert!(proved >= exact * (1.0 - 1e-15) && proved <= exact * (1.0 + 1e-8));
        let gram = gram_norm(&w, 6);
        assert!(gram >= exact && gram <= 1.03 * exact, "{gram} {exact}");
    }
}

#[test]
fn bad_input_is_named() {
    let relu = act("relu");
    let mut w = gaussian(4, 3, 1);
    w[(2, 1)] = f64::NAN;
    let bad = Network::feedforward(vec![Affine::linear(w), Affine::linear(gaussian(2, 4, 1))], &relu);
    assert!(matches!(bad, Err(LipError::NotFinite { row: 2, column: 1, .. })));
    let chain = Network::feedforward(
        vec![Affine::linear(gaussian(4, 3, 1)), Affine::linear(gaussian(2, 5, 1))],
        &relu,
    );
    assert!(matches!(chain, Err(LipError::Shape { .. })));
    let two = || vec![Affine::linear(gaussian(4, 3, 1)), Affine::linear(gaussian(2, 4, 1))];
    let group = Network::feedforward(two(), &act("groupsort:3"));
    assert!(matches!(group, Err(LipError::Group { size: 3, width: 4, .. })));
    let zero = Activation::Householder { normals: Mat::zeros(2, 2) };
    assert!(matches!(Network::feedforward(two(), &zero), Err(LipError::ZeroNormal { group: 0, .. })));
    assert!(matches!("softmax".parse::<Activation>(), Err(LipError::NoSlopeBound(_))));
    let crossed = Network::feedforward(two(), &act("slope:1,0"));
    assert!(matches!(crossed, Err(LipError::Slopes { .. })));
    let residual =
        Network::residual(two()[0].clone(), vec![Affine::linear(gaussian(5, 4, 1))], two()[1].clone(), &relu);
    assert!(matches!(residual, Err(LipError::Shape { .. })));
    let net = Network::feedforward(two(), &relu).unwrap();
    let small =
        LipSdp { max_memory: 1000, bound: Bound::Neuron, ..LipSdp::default() }.certify(&net).unwrap_err();
    assert!(matches!(small, LipError::TooLarge { .. }) && small.to_string().contains("first-order"));
    assert!(matches!(LipSdp { tol: 2.0, ..LipSdp::default() }.certify(&net), Err(LipError::Invalid(_))));
    let wide = random(&relu, &[3, 30, 2], 1);
    let many = LipSdp { bound: Bound::Patterns, ..LipSdp::default() }.certify(&wide);
    assert!(matches!(many, Err(LipError::TooManyPatterns { .. })));
    let wrong = LipSdp { bound: Bound::NsrPaper, ..LipSdp::default() }.certify(&net);
    assert!(matches!(wrong, Err(LipError::NotApplicable { .. })));
    assert!(net.row(2).is_err() && net.pair(1, 1).is_err());
}

#[test]
fn max_pooling_is_bounded() {
    let pool =
        |windows: &[&[usize]]| Activation::MaxPool { windows: windows.iter().map(|w| w.to_vec()).collect() };
    for windows in [pool(&[&[0, 1, 2], &[3, 4, 5]]), pool(&[&[0, 1, 2], &[2, 3, 4], &[4, 5]])] {
        let width = windows_of(&windows);
        let net = Network::new(
            4,
            vec![
                Block::Affine(Affine::linear(gaussian(6, 4, 1))),
                Block::Activation(windows),
                Block::Affine(Affine::linear(gaussian(3, width, 2))),
            ],
        )
        .unwrap();
        let c = LipSdp::default().certify(&net).unwrap();
        let lower = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
        let product = bound(&net, Bound::Product);
        assert!(
            c.verified && c.bound >= lower && c.bound <= product * 1.000001,
            "{} {lower} {product}",
            c.bound
        );
    }
}

fn windows_of(act: &Activation) -> usize {
    match act {
        Activation::MaxPool { windows } => windows.len(),
        _ => 0,
    }
}

#[test]
fn slopes_of_smooth_activations_are_those_sampled() {
    for name in ["gelu", "gelu-tanh", "silu", "mish", "tanh", "sigmoid", "softplus", "elu"] {
        let Activation::Slope(slope) = act(name) else { unreachable!() };
        let (alpha, beta) = slope.interval();
        let slopes: Vec<f64> = (-60_000..60_000).map(|i| slope.at(f64::from(i) * 1e-4).unwrap().1).collect();
        let least = slopes.iter().fold(f64::INFINITY, |a, s| a.min(*s));
        let most = slopes.iter().fold(f64::NEG_INFINITY, |a, s| a.max(*s));
        assert!(alpha <= least && most <= beta, "{name}: {least} {most}");
        assert!(least - alpha < 1e-2 && beta - most < 1e-2, "{name}: {least} {most}");
        // The derivative is that of the value.
        for x in [-2.3, -0.4, 0.9, 3.1] {
            let along = (slope.at(x + 1e-6).unwrap().0 - slope.at(x - 1e-6).unwrap().0) / 2e-6;
            assert!((along - slope.at(x).unwrap().1).abs() < 1e-7, "{name}");
        }
    }
}
