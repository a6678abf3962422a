//! Whole networks: gradients, Hessian-vector products, precision, threads, odd sizes, bad input.

use thalweg_core::Seed;
use thalweg_net::{Act, Batch, Graph, Init, Mode, Net, NetError, Op, Pass, Targets, initial, named};
use thalweg_testing::{bits, on_threads};

use crate::common::{Case, direction, distance, dot, near, single};

fn cases() -> Vec<(&'static str, Case)> {
    let image = [8, 8, 3];
    vec![
        ("mlp", Case::named("mlp:12-9-7-4:tanh", &[12], 4, 6)),
        ("lenet", Case::named("lenet", &[12, 12, 1], 10, 5)),
        ("cnn", Case::named("cnn:2,6", &image, 5, 6)),
        ("resnet8", Case::named("resnet8", &image, 10, 5)),
        ("resnet8:projection", Case::named("resnet8:projection", &image, 10, 5)),
        ("resnet20", Case::named("resnet20", &image, 10, 4)),
        ("char-transformer", Case::named("char-transformer:2,16,4,8", &[8], 11, 3)),
    ]
}

#[test]
fn derivatives_of_whole_networks() {
    for (name, c) in cases() {
        let n = c.theta.len();
        let mode = Mode::train();
        let (u, v) = (direction(n, 0), direction(n, 1));
        let (_, g, h) = c.hvp(&[&u, &v], mode);
        let size = dot(&g, &g).sqrt();
        for (z, h) in [(&u, &h[0]), (&v, &h[1])] {
            let step = 1e-5;
            let (up, down) = (c.grad(&c.moved(z, step), mode).0, c.grad(&c.moved(z, -step), mode).0);
            let (slope, expected) = ((up - down) / (2.0 * step), dot(&g, z));
            let allowed = 1e-6 * expected.abs() + 1e-8 * size;
            assert!(
                (slope - expected).abs() < allowed,
                "{name}: slope {slope} against {expected}, |g| = {size}"
            );
            // So small a step that hardly any ReLU changes sides.
            let step = 1e-6;
            let (up, down) = (c.grad(&c.moved(z, step), mode).1, c.grad(&c.moved(z, -step), mode).1);
            let difference: Vec<f64> = up.iter().zip(&down).map(|(a, b)| (a - b) / (2.0 * step)).collect();
            let error = distance(&difference, h);
            assert!(error < 1e-6, "{name}: product is off by {error} of its length");
        }
        let (a, b) = (dot(&u, &h[1]), dot(&v, &h[0]));
        let scale = dot(&h[0], &h[0]).sqrt();
        assert!((a - b).abs() < 1e-11 * scale, "{name}: symmetry {a} against {b}");
    }
}

#[test]
fn dense_hessians_of_small_networks() {
    let cases = [
        Case::named("mlp:4-6-5-3:tanh", &[4], 3, 7),
        Case::named("cnn:1,4", &[4, 4, 2], 3, 5),
        // Large weights: behind tiny ones layer norms bend too sharply for differences.
        Case::new(named("char-transformer:1,3,1,3", &[3], 3).unwrap(), 4, 8),
    ];
    for c in cases {
        let n = c.theta.len();
        assert!(n <= 200);
        let mode = Mode::train();
        let units: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        let refs: Vec<&[f64]> = units.iter().map(Vec::as_slice).collect();
        let (_, _, h) = c.hvp(&refs, mode);
        let z = direction(n, 4);
        let product: Vec<f64> = h.iter().map(|row| dot(row, &z)).collect();
        assert!(distance(&product, &c.hvp(&[&z], mode).2[0]) < 1e-12);
        for i in 0..n {
            let step = 2e-6;
            let (up, down) =
                (c.grad(&c.moved(&units[i], step), mode).1, c.grad(&c.moved(&units[i], -step), mode).1);
            for j in 0..n {
                near((up[j] - down[j]) / (2.0 * step), h[i][j], 1e-7, "dense Hessian");
                near(h[i][j], h[j][i], 1e-12, "symmetry");
            }
        }
    }
}

/// Loss, gradient and product in single precision.
fn hvp32(c: &Case, probe: &[f64]) -> (f64, Vec<f32>, Vec<f32>) {
    let net = Net::<f32>::new(c.net.graph().clone()).unwrap();
    let (theta, buffers, x, probe) = (single(&c.theta), single(&c.buffers), single(&c.x), single(probe));
    let (mut grad, mut products) = (vec![0.0; theta.len()], [vec![0.0; theta.len()]]);
    let batch = Batch { x: &x, targets: Targets::Classes(&c.labels), weights: None };
    let mode = Mode::train();
    let mut pass = Pass::default();
    let loss = pass.loss_grad_hvp(&net, &theta, &buffers, &batch, mode, &mut grad, &[&probe], &mut products);
    let [product] = products;
    (loss.unwrap(), grad, product)
}

#[test]
fn single_precision_is_close_to_double() {
    for (name, c) in cases() {
        let z = direction(c.theta.len(), 2);
        let (loss, g, h) = c.hvp(&[&z], Mode::train());
        let (loss32, g32, h32) = hvp32(&c, &z);
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        near(loss32, loss, 1e-5, name);
        let (eg, eh) = (distance(&wide(&g32), &g), distance(&wide(&h32), &h[0]));
        assert!(eg < 2e-4 && eh < 2e-3, "{name}: gradient off by {eg}, product by {eh}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let resnet = Case::named("resnet8", &[16, 16, 3], 10, 17);
    let transformer = Case::named("char-transformer:2,32,4,24", &[24], 30, 9);
    let projection = Case::named("resnet8:projection", &[9, 7, 3], 10, 5);
    for c in [resnet, transformer, projection] {
        let z = direction(c.theta.len(), 3);
        let run = |threads| {
            let (loss, g, h) = on_threads(threads, || hvp32(&c, &z));
            (loss.to_bits(), bits(&g), bits(&h))
        };
        let one = run(1);
        assert!(one == run(2), "two threads differ from one");
        assert!(one == run(3), "three threads differ from one");
    }
}

#[test]
fn odd_sizes() {
    let cases = [
        Case::named("mlp:1-1-1", &[1], 1, 1),
        Case::named("resnet8", &[1, 1, 1], 2, 2),
        Case::named("resnet8:projection", &[3, 5, 2], 3, 1),
        Case::named("cnn:1,1", &[2, 3, 1], 2, 1),
        Case::named("char-transformer:1,4,2,1", &[1], 2, 1),
        Case::named("lenet", &[13, 19, 2], 3, 1),
    ];
    for c in cases {
        let z = direction(c.theta.len(), 0);
        for mode in [Mode::train(), Mode::Eval] {
            let (loss, g, h) = c.hvp(&[&z], mode);
            assert!(loss.is_finite() && g.iter().chain(&h[0]).all(|x| x.is_finite()));
            let (up, down) = (c.grad(&c.moved(&z, 1e-6), mode).0, c.grad(&c.moved(&z, -1e-6), mode).0);
            near((up - down) / 2e-6, dot(&g, &z), 1e-6, "slope");
        }
    }
}

#[test]
fn a_workspace_is_reused_without_a_trace() {
    let c = Case::named("resnet8", &[8, 8, 3], 10, 4);
    let small = Case::named("resnet8", &[8, 8, 3], 10, 2);
    let (mut pass, mut g) = (Pass::default(), vec![0.0; c.theta.len()]);
    let mut step = |c: &Case| {
        let loss = pass.loss_grad(&c.net, &c.theta, &c.buffers, &c.batch(), Mode::train(), &mut g).unwrap();
        (loss, g.clone(), pass.bytes())
    };
    let first = step(&c);
    step(&small);
    assert_eq!(first, step(&c));
}

#[test]
fn bad_batches_are_errors_and_bad_numbers_name_their_layer() {
    let mut c = Case::named("resnet8", &[8, 8, 3], 10, 2);
    let mut pass = Pass::default();
    let empty = pass.forward(&c.net, &c.theta, &c.buffers, &[], Mode::Eval).map(|_| ());
    assert!(matches!(empty, Err(NetError::EmptyBatch)), "{empty:?}");
    let ragged = pass.forward(&c.net, &c.theta, &c.buffers, &c.x[1..], Mode::Eval).map(|_| ());
    assert!(matches!(ragged, Err(NetError::Length { .. })), "{ragged:?}");
    let short = pass.forward(&c.net, &c.theta[1..], &c.buffers, &c.x, Mode::Eval).map(|_| ());
    assert!(short.unwrap_err().to_string().contains("parameter buffer"));
    c.labels[1] = 10;
    let wild = pass.loss(&c.net, &c.theta, &c.buffers, &c.batch(), Mode::Eval);
    assert!(matches!(wild, Err(NetError::Label { index: 1, label: 10, classes: 10 })), "{wild:?}");

    pass.forward(&c.net, &c.theta, &c.buffers, &c.x, Mode::Eval).unwrap();
    pass.check_finite(&c.net).unwrap();
    let block = c.net.layout().get("layer2.0.conv2.weight").unwrap().offset;
    c.theta[block] = f64::NAN;
    pass.forward(&c.net, &c.theta, &c.buffers, &c.x, Mode::Eval).unwrap();
    let message = pass.check_finite(&c.net).unwrap_err().to_string();
    assert!(message.contains("`layer2.0.conv2`"), "{message}");
    c.x[7] = f64::NAN;
    pass.forward(&c.net, &c.theta, &c.buffers, &c.x, Mode::Eval).unwrap();
    let message = pass.check_finite(&c.net).unwrap_err().to_string();
    assert!(message.contains("`input`"), "{message}");
    let text = Case::named("char-transformer:1,4,2,3", &[3], 5, 1);
    let bad = pass.forward(&text.net, &text.theta, &[], &[0.0, 5.0, 1.0], Mode::Eval).map(|_| ());
    assert!(bad.unwrap_err().to_string().contains("token 5"));
}

#[test]
fn initialisations_have_their_moments() {
    let graph = named("mlp:300-200-10", &[300], 10).unwrap();
    let layout = graph.layout().unwrap();
    let start = |init| initial::<f64>(&graph, &init, Seed(9)).unwrap().0;
    let range = layout.get("fc1.weight").unwrap().range();
    let moment = |theta: &[f64]| dot(&theta[range.clone()], &theta[range.clone()]) / range.len() as f64;
    near(moment(&start(Init::PyTorch)) * 300.0 * 3.0, 1.0, 0.02, "variance of U(±1/√300)");
    near(moment(&start(Init::Kaiming)) * 150.0, 1.0, 0.02, "variance 2/300");
    near(moment(&start(Init::Xavier)) * 250.0, 1.0, 0.02, "variance 2/500");
    near(moment(&start(Init::Normal(0.02))) / 4e-4, 1.0, 0.02, "variance 0.0004");
    let theta = start(Init::Orthogonal);
    let w = &theta[range.clone()];
    for (i, j) in [(0, 0), (0, 1), (17, 42), (199, 199), (198, 199)] {
        let expected = f64::from(u8::from(i == j));
        assert!((dot(&w[i * 300..(i + 1) * 300], &w[j * 300..(j + 1) * 300]) - expected).abs() < 1e-12);
    }
    assert_eq!(single(&theta), initial::<f32>(&graph, &Init::Orthogonal, Seed(9)).unwrap().0);
    // The transformer: projections back into the residual stream are smaller by 1/√(2·layers).
    let c = Case::named("char-transformer:2,64,4,16", &[16], 50, 1);
    let deviation = |name: &str| {
        let w = &c.theta[c.net.layout().get(name).unwrap().range()];
        (dot(w, w) / w.len() as f64).sqrt()
    };
    near(deviation("h.0.mlp.c_fc.weight"), 0.02, 0.001, "plain weight");
    near(deviation("h.1.mlp.c_proj.weight"), 0.01, 0.001, "projection of 2 layers");
    assert_eq!(deviation("h.0.attn.c_attn.bias"), 0.0);
    assert_eq!(deviation("ln_f.weight"), 1.0);
}

/// Two layers in a row, and one beside them that the output does not see.
fn with_a_dead_layer() -> Graph {
    let mut g = Graph::new(&[3]);
    let linear = |out| Op::Linear { out, bias: true };
    let first = g.push("fc1", linear(4));
    g.push("idle", linear(5));
    g.push_on("fc2", linear(2), &[first]);
    g
}

#[test]
fn a_layer_that_the_output_does_not_see_has_a_zero_gradient() {
    let c = Case::new(with_a_dead_layer(), 6, 2);
    let n = c.theta.len();
    let (z, batch) = (direction(n, 0), c.batch());
    let (mut g, mut h) = (vec![9.0; n], vec![vec![9.0; n]]);
    let mut pass = Pass::default();
    for _ in 0..2 {
        pass.loss_grad_hvp(&c.net, &c.theta, &[], &batch, Mode::Eval, &mut g, &[&z], &mut h).unwrap();
        for name in ["idle.weight", "idle.bias"] {
            let range = c.net.layout().get(name).unwrap().range();
            assert!(g[range.clone()].iter().chain(&h[0][range]).all(|x| *x == 0.0), "{name}: {g:?} {h:?}");
        }
    }
    let fresh = c.hvp(&[&z], Mode::Eval);
    assert_eq!((g, h), (fresh.1, fresh.2));
}

#[test]
fn rectifiers_at_infinity_are_finite_or_infinite_as_they_should_be() {
    let through = |act| {
        let mut g = Graph::new(&[4]);
        g.push("act", Op::Act { act });
        let net = Net::<f64>::new(g).unwrap();
        let x = [f64::NEG_INFINITY, -1.0, 7.0, f64::INFINITY];
        Pass::default().forward(&net, &[], &[], &x, Mode::Eval).unwrap().to_vec()
    };
    assert_eq!(through(Act::Relu), [0.0, 0.0, 7.0, f64::INFINITY]);
    assert_eq!(through(Act::Relu6), [0.0, 0.0, 6.0, 6.0]);
}
