//! The values of the specification's table and of the shared reference files: each bound verified,
//! within 1e-4 above the reference and never below it.

use serde_json::Value;
use thalweg_lipsdp::*;
use thalweg_testing::shared_data;

use crate::networks::*;

fn certify(net: &Network, norm: Norm, bound: Bound) -> Certificate {
    let c = LipSdp { norm, bound, ..LipSdp::default() }.certify(net).unwrap();
    assert!(c.verified, "{c:?}");
    // The proof costs next to nothing, and holds when it is repeated.
    if let Some(value) = c.solver_value {
        assert!(c.bound <= value * (1.0 + 1e-7), "{} proved for {value}", c.bound);
    }
    let again = LipSdp::check(&c, net);
    assert!(again.is_ok(), "{again:?} {:?} {:?} {:?}", c.method, c.bound, c.theta);
    c
}

fn reach(name: &str, found: f64, reference: f64) {
    assert!(found >= reference * (1.0 - 1e-6), "{name}: {found} below {reference}");
    assert!(found <= reference * (1.0 + 1e-4), "{name}: {found} above {reference}");
}

/// Name, method, value: the table of the specification.
const L2: &[(&str, Bound, f64)] = &[
    ("own_digits/relu_64x32x32x10", Bound::Neuron, 33.933934),
    ("own_digits/relu_64x32x32x10", Bound::Layer, 34.639561),
    ("own_digits/relu_64x32x32x10", Bound::Eclipse, 34.678061),
    ("own_digits/relu_64x16x16x16x16x10", Bound::Neuron, 77.543762),
    ("own_digits/relu_64x16x16x16x16x10", Bound::Layer, 87.929833),
    ("own_digits/relu_64x16x16x16x16x10", Bound::Eclipse, 94.016062),
    ("own_digits/leaky_64x24x24x10", Bound::Neuron, 35.842968),
    ("own_digits/maxmin_64x8x8x10", Bound::NsrPaper, 28.373841),
    ("own_digits/maxmin_64x8x8x10", Bound::Nsr, 27.055404),
    ("own_digits/maxmin_64x8x8x10", Bound::Patterns, 26.935840),
    ("own_digits/maxmin_64x32x32x10", Bound::Nsr, 32.004958),
    ("own_digits/maxmin_64x32x32x10", Bound::NsrPaper, 32.161889),
    ("own_digits/maxmin_64x24x24x24x24x10", Bound::NsrPaper, 119.356691),
    ("own_digits/maxmin_64x24x24x24x24x10", Bound::Nsr, 114.015736),
    ("own_digits/gs4_64x24x24x10", Bound::NsrPaper, 35.500960),
    ("own_digits/gs4_64x24x24x10", Bound::Nsr, 34.667953),
    ("own_digits/hh4_64x24x24x10", Bound::NsrPaper, 39.000098),
    ("own_digits/hh4_64x24x24x10", Bound::Nsr, 37.736429),
    ("own_digits/res_maxmin_64x16x3x10", Bound::Nsr, 55.100260),
    ("own_digits/deq_relu_64x20x10", Bound::Neuron, 41.862651),
    ("own_digits/deq_relu_64x20x10", Bound::Product, 61.838428),
    ("lipsdp_mit/random_weights", Bound::Neuron, 36.482230),
    ("lipsdp_mit/random_weights", Bound::Split(2), 37.668142),
    ("lipsdp_mit/mnist_weights", Bound::Neuron, 24.366349),
    ("maxmin_published/weights_l2_2fc_16", Bound::Nsr, 22.074381),
    ("maxmin_published/weights_l2_2fc_16", Bound::Patterns, 22.021333),
    ("maxmin_published/weights_l2_2fc_32", Bound::Nsr, 38.075035),
    ("maxmin_published/weights_l2_5fc_32", Bound::Nsr, 193.179587),
    ("maxmin_published/weights_l2_8fc_32", Bound::Nsr, 309.193498),
    ("maxmin_published/weights_l2_18fc_32", Bound::Nsr, 11063.5501),
    ("maxmin_published/weights_l2_18fc_32", Bound::NsrPaper, 17431.54),
    ("maxmin_published/resweights_5_32", Bound::Nsr, 20.614751),
    ("maxmin_published/resweights_8_32", Bound::Nsr, 17.037112),
];

#[test]
fn the_table_in_the_euclidean_norm() {
    let Some(folder) = shared_data("lipsdp") else { return };
    for &(name, bound, value) in L2 {
        reach(&format!("{name} {bound}"), certify(&load(&folder, name), Norm::L2, bound).bound, value);
    }
}

#[test]
fn the_table_in_the_maximum_norm() {
    let Some(folder) = shared_data("lipsdp") else { return };
    for (name, row, bound, value) in [
        ("own_digits/maxmin_64x8x8x10", 0, Bound::NsrPaper, 109.65328),
        ("own_digits/maxmin_64x8x8x10", 1, Bound::NsrPaper, 81.64857),
        ("own_digits/maxmin_64x8x8x10", 2, Bound::NsrPaper, 133.09444),
        ("own_digits/maxmin_64x8x8x10", 0, Bound::Nsr, 98.20034),
        ("own_digits/maxmin_64x8x8x10", 1, Bound::Nsr, 74.92778),
        ("own_digits/maxmin_64x8x8x10", 2, Bound::Nsr, 122.09482),
        ("own_digits/maxmin_64x24x24x24x24x10", 0, Bound::NsrPaper, 523.0855),
        ("own_digits/maxmin_64x24x24x24x24x10", 0, Bound::Nsr, 391.678),
        ("own_digits/maxmin_64x8x8x10", 0, Bound::Product, 570.395888),
        ("maxmin_published/weights_l2_2fc_32", 8, Bound::Nsr, 346.315),
    ] {
        let net = load(&folder, name).row(row).unwrap();
        reach(&format!("{name} row {row} {bound}"), certify(&net, Norm::Linf, bound).bound, value);
    }
}

#[test]
fn the_cores_of_residual_networks() {
    let Some(folder) = shared_data("lipsdp") else { return };
    for (name, value) in [
        ("own_digits/res_maxmin_64x16x3x10", 17.657527),
        ("maxmin_published/resweights_5_32", 7.699052),
        ("maxmin_published/resweights_8_32", 16.756114),
    ] {
        let net = load(&folder, name);
        let blocks = &net.blocks()[1..net.blocks().len() - 1];
        let Block::Affine(first) = &net.blocks()[0] else { panic!("{name}") };
        let core = Network::new(first.weight.nrows(), blocks.to_vec()).unwrap();
        reach(name, certify(&core, Norm::L2, Bound::Nsr).bound, value);
    }
}

#[test]
fn the_published_digits_networks_row_7() {
    let Some(folder) = shared_data("lipsdp") else { return };
    let reference = json(&folder, "reference.json");
    for (name, entry) in reference.as_object().unwrap().iter().filter(|e| e.0.starts_with("digits_published"))
    {
        let published = entry["published"]["Lip_LipSDP"].as_f64().unwrap();
        let net = load(&folder, name).row(7).unwrap();
        let c = certify(&net, Norm::L2, Bound::Neuron);
        assert!((c.bound / published - 1.0).abs() < 1e-6, "{name}: {} and {published}", c.bound);
    }
}

#[test]
fn computed_values_of_the_small_nets() {
    let Some(folder) = shared_data("lipsdp") else { return };
    let reference = json(&folder, "reference.json");
    let methods: &[(&str, Bound)] = &[
        ("norm_product", Bound::Product),
        ("nsr_paper_SP0", Bound::NsrPaper),
        ("nsr_full_gamma", Bound::Nsr),
        ("lipsdp_neuron", Bound::Neuron),
        ("eclipse_fast", Bound::Eclipse),
        ("exact_fgl", Bound::Patterns),
    ];
    for (name, entry) in reference.as_object().unwrap().iter().filter(|e| e.0.starts_with("exlipbab")) {
        let net = load(&folder, name);
        for (key, bound) in methods {
            if let Some(value) = entry["computed"].get(key).and_then(Value::as_f64) {
                reach(&format!("{name} {key}"), certify(&net, Norm::L2, *bound).bound, value);
            }
        }
        // Exact constants are below every bound.
        if let Some(exact) = entry["exact_lipschitz_l2"].as_f64() {
            assert!(certify(&net, Norm::L2, Bound::Auto).bound >= exact * (1.0 - 1e-9), "{name}");
        }
    }
}

#[test]
fn the_first_order_bound_comes_close() {
    let Some(folder) = shared_data("lipsdp") else { return };
    for (name, value, within) in [
        ("own_digits/relu_64x32x32x10", 33.933934, 1e-3),
        ("own_digits/relu_64x16x16x16x16x10", 77.543762, 1e-3),
        ("own_digits/maxmin_64x24x24x24x24x10", 114.015736, 2e-3),
        ("own_digits/res_maxmin_64x16x3x10", 55.100260, 2e-3),
    ] {
        let c = certify(&load(&folder, name), Norm::L2, Bound::FirstOrder);
        assert!(c.bound >= value * (1.0 - 1e-6) && c.bound <= value * (1.0 + within), "{name}: {}", c.bound);
    }
}
