//! Folding, re-estimation, gradients as rows, batches in pieces, masks, memory.

use thalweg_core::Kind;
use thalweg_net::{Act, Batch, FlatGrads, Graph, Loss, Mask, Mode, Net, Op, Pass, Targets, fold};
use thalweg_testing::on_threads;

use crate::common::{Case, direction, distance, near, single};

#[test]
fn a_folded_network_is_the_evaluated_one() {
    for arch in ["resnet8", "resnet8:projection", "cnn:2,7"] {
        let c = Case::named(arch, &[8, 8, 3], 10, 4);
        let mut pass = Pass::default();
        let expected = pass.forward(&c.net, &c.theta, &c.buffers, &c.x, Mode::Eval).unwrap().to_vec();
        let (graph, theta, buffers) = fold(c.net.graph(), &c.theta, &c.buffers).unwrap();
        assert!(buffers.is_empty() && !graph.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm { .. })));
        let net = Net::new(graph).unwrap();
        let folded = pass.forward(&net, &theta, &[], &c.x, Mode::Eval).unwrap();
        assert!(distance(folded, &expected) < 1e-12, "{arch} in f64");

        let (graph, theta, _) = fold(c.net.graph(), &single(&c.theta), &single(&c.buffers)).unwrap();
        let net = Net::new(graph).unwrap();
        let mut pass = Pass::default();
        let folded = pass.forward(&net, &theta, &[], &single(&c.x), Mode::Eval).unwrap();
        let folded: Vec<f64> = folded.iter().map(|&x| x.into()).collect();
        assert!(distance(&folded, &expected) < 1e-5, "{arch} in f32: {}", distance(&folded, &expected));
    }
}

#[test]
fn norms_that_cannot_be_folded_stay() {
    let norm = || Op::BatchNorm { eps: 1e-5, momentum: 0.1 };
    let linear = || Op::Linear { out: 4, bias: false };
    let mut g = Graph::new(&[4]);
    g.push("bn0", norm());
    let a = g.push("fc1", linear());
    let b = g.push("bn1", norm());
    // fc1 is read twice: folding bn1 into it would change this sum.
    g.push_on("sum", Op::Add {}, &[a, b]);
    g.push("fc2", linear());
    g.push("bn2", norm());
    let c = Case::new(g, 3, 4);
    let (graph, theta, buffers) = fold(c.net.graph(), &c.theta, &c.buffers).unwrap();
    let names: Vec<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["bn0", "fc1", "bn1", "sum", "fc2"]);
    let net = Net::new(graph).unwrap();
    let mut pass = Pass::default();
    let expected = pass.forward(&c.net, &c.theta, &c.buffers, &c.x, Mode::Eval).unwrap().to_vec();
    assert!(distance(pass.forward(&net, &theta, &buffers, &c.x, Mode::Eval).unwrap(), &expected) < 1e-13);
}

#[test]
fn running_statistics_are_re_estimated() {
    let mut g = Graph::new(&[2]);
    g.push("bn", Op::BatchNorm { eps: 1e-5, momentum: 0.1 });
    let net = Net::<f64>::new(g).unwrap();
    let (one, two) = ([1.0, 0.0, 3.0, 4.0], [5.0, 2.0, 5.0, 8.0]);
    let batches = [&one[..], &two[..]];
    let mut pass = Pass::default();
    let buffers = pass.reestimate(&net, &[1.0, 1.0, 0.0, 0.0], batches.into_iter()).unwrap();
    // Means (2, 2) and (5, 5); unbiased variances (2, 8) and (0, 18).
    for (found, expected) in buffers.iter().zip([3.5, 3.5, 1.0, 13.0]) {
        near(*found, expected, 1e-12, "running statistics");
    }
    let mut buffers = vec![0.0, 0.0, 1.0, 1.0];
    pass.update_running(&net, &mut buffers);
    for (found, expected) in buffers.iter().zip([0.5, 0.5, 0.9, 2.7]) {
        near(*found, expected, 1e-12, "momentum 0.1");
    }
}

#[test]
fn every_batch_of_a_re_estimation_has_dropout_masks_of_its_own() {
    let mut g = Graph::new(&[1]);
    g.push("drop", Op::Dropout { p: 0.5 });
    g.push("bn", Op::BatchNorm { eps: 1e-5, momentum: 0.1 });
    let net = Net::<f64>::new(g).unwrap();
    let x = [1.0; 4];
    // With one mask for all, the mean would be a multiple of ½.
    let buffers = Pass::default().reestimate(&net, &[1.0, 0.0], std::iter::repeat_n(&x[..], 401)).unwrap();
    assert!((buffers[0] - 1.0).abs() < 0.1 && (2.0 * buffers[0]).fract() != 0.0, "{buffers:?}");
}

#[test]
fn one_outlier_at_the_front_does_not_spoil_a_variance() {
    let mut g = Graph::new(&[1]);
    g.push("bn", Op::BatchNorm { eps: 1e-5, momentum: 1.0 });
    let net = Net::<f32>::new(g).unwrap();
    let n = 100_000;
    let mut x: Vec<f32> = (0..n).map(|i| 0.29 * (1.7 * i as f64).sin() as f32).collect();
    x[0] += 1000.0;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let buffers = Pass::default().reestimate(&net, &[1.0, 0.0], [&x[..]].into_iter()).unwrap();
    let error = f64::from(buffers[1]) / variance - 1.0;
    assert!(error.abs() < 1e-5, "variance {} where it is {variance}", buffers[1]);
}

#[test]
fn options_out_of_range_are_refused() {
    let mut c = Case::named("mlp:3-4-2", &[3], 2, 5);
    for loss in [
        Loss { label_smoothing: 3.0, ..Loss::default() },
        Loss { label_smoothing: f64::NAN, ..Loss::default() },
        Loss { class_weights: Some(vec![-1.0, 1.0]), ..Loss::default() },
        Loss { class_weights: Some(vec![f64::INFINITY, 1.0]), ..Loss::default() },
    ] {
        c.net.loss = loss.clone();
        let mut g = vec![0.0; c.theta.len()];
        let refused = Pass::default().loss_grad(&c.net, &c.theta, &[], &c.batch(), Mode::Eval, &mut g);
        assert!(refused.unwrap_err().to_string().contains("not allowed"), "{loss:?}");
    }
    for op in [
        Op::BatchNorm { eps: f64::INFINITY, momentum: 0.1 },
        Op::BatchNorm { eps: 1e-5, momentum: 7.0 },
        Op::Act { act: Act::LeakyRelu(f64::NAN) },
    ] {
        let mut g = Graph::new(&[3]);
        g.push("layer", op.clone());
        assert!(Net::<f64>::new(g).is_err(), "{op:?}");
    }
}

/// The case's batch cut into pieces of `size` examples.
fn pieces(c: &Case, size: usize) -> Vec<Batch<'_, f64>> {
    let (width, rows) = (c.net.input_shape().iter().product::<usize>(), c.labels.len());
    let per_example = rows * width / c.x.len();
    let x = c.x.chunks(size * width);
    x.zip(c.labels.chunks(size * per_example))
        .map(|(x, labels)| Batch { x, targets: Targets::Classes(labels), weights: None })
        .collect()
}

#[test]
fn gradients_of_micro_batches_are_rows() {
    let c = Case::named("resnet8", &[8, 8, 3], 10, 7);
    let batches = pieces(&c, 2);
    let n = c.theta.len();
    let mode = Mode::train();
    let work = FlatGrads::default();
    let rows = |keep: Option<&[usize]>, threads| {
        let mut rows = vec![vec![0.0; keep.map_or(n, <[usize]>::len)]; batches.len()];
        let mut refs: Vec<&mut [f64]> = rows.iter_mut().map(Vec::as_mut_slice).collect();
        let run = || work.run(&c.net, &c.theta, &c.buffers, &batches, mode, keep, &mut refs);
        let losses = on_threads(threads, run).unwrap();
        (losses, rows)
    };
    let full = rows(None, 1);
    for (i, batch) in batches.iter().enumerate() {
        let mut g = vec![0.0; n];
        let loss = Pass::default().loss_grad(&c.net, &c.theta, &c.buffers, batch, mode, &mut g).unwrap();
        assert_eq!((full.0[i], &full.1[i]), (loss, &g));
    }
    let chosen = Mask::of_blocks(c.net.layout(), |b| b.kind == Kind::Conv && b.name.starts_with("layer2"));
    let keep = chosen.indices();
    assert_eq!(keep.len(), 32 * 16 * 9 + 32 * 32 * 9);
    let part = rows(Some(&keep), 1);
    for (full, part) in full.1.iter().zip(&part.1) {
        assert!(keep.iter().zip(part).all(|(&i, p)| full[i] == *p));
    }
    assert_eq!(part, rows(Some(&keep), 2));
    assert_eq!(full, rows(None, 3));
    let outside = work.run(&c.net, &c.theta, &c.buffers, &batches[..1], mode, Some(&[n]), &mut [&mut [0.0]]);
    assert!(outside.unwrap_err().to_string().contains("outside"));
}

#[test]
fn frozen_blocks_have_no_gradient_and_no_product() {
    let mut c = Case::named("resnet8", &[8, 8, 3], 10, 3);
    let z = direction(c.theta.len(), 0);
    let free = c.hvp(&[&z], Mode::train()).1;
    assert!(c.net.set_frozen("layer2.0.conv1.weight", true) && !c.net.set_frozen("nothing", true));
    let range = c.net.layout().get("layer2.0.conv1.weight").unwrap().range();
    let (_, g, h) = c.hvp(&[&z], Mode::train());
    assert!(g[range.clone()].iter().chain(&h[0][range.clone()]).all(|&x| x == 0.0));
    assert_eq!(g[..range.start], free[..range.start]);
    assert_eq!(g[range.end..], free[range.end..]);
}

#[test]
fn a_batch_in_pieces_is_the_batch() {
    for arch in ["mlp:12-9-4:tanh", "mlp:12-8-4:maxmin"] {
        let mut c = Case::named(arch, &[12], 4, 11);
        for class_weights in [None, Some(vec![1.0, 2.0, 0.5, 3.0])] {
            c.net.loss = Loss { label_smoothing: 0.1, class_weights };
            let z = direction(c.theta.len(), 0);
            let (loss, g, h) = c.hvp(&[&z], Mode::Eval);
            let n = c.theta.len();
            let (mut g2, mut h2) = (vec![0.0; n], [vec![0.0; n]]);
            let (mut pass, parts) = (Pass::default(), pieces(&c, 4));
            let sum =
                pass.loss_grad_hvp_pieces(&c.net, &c.theta, &[], &parts, Mode::Eval, &mut g2, &[&z], &mut h2);
            near(sum.unwrap(), loss, 1e-13, "loss");
            assert!(distance(&g2, &g) < 1e-13 && distance(&h2[0], &h[0]) < 1e-13);
        }
    }
}

#[test]
fn the_workspace_is_as_large_as_announced() {
    let image = [32, 32, 3];
    let nets = [
        ("mlp:784-512-512-10", &[784][..], 10, 128),
        ("lenet", &[28, 28, 1], 10, 64),
        ("resnet8", &image, 10, 32),
        ("resnet20:projection", &image, 10, 16),
        ("char-transformer:2,64,4,64", &[64], 65, 16),
    ];
    let mut worst = 0.0f64;
    for (arch, input, classes, batch) in nets {
        let c = Case::named(arch, input, classes, batch);
        let net = Net::<f32>::new(c.net.graph().clone()).unwrap();
        let (theta, buffers, x) = (single(&c.theta), single(&c.buffers), single(&c.x));
        let z = single(&direction(theta.len(), 0));
        let b = Batch { x: &x, targets: Targets::Classes(&c.labels), weights: None };
        let mut g = vec![0.0; theta.len()];
        for r in 0..2 {
            let mut pass = Pass::default();
            let mut h = vec![g.clone(); r];
            pass.loss_grad_hvp(&net, &theta, &buffers, &b, Mode::train(), &mut g, &[&z[..]][..r], &mut h)
                .unwrap();
            let announced = net.graph().activation_bytes(batch, r, 4).unwrap() as f64;
            let ratio = pass.bytes() as f64 / announced;
            println!("{arch}, {r} directions: {} bytes, {ratio:.3} of what was announced", pass.bytes());
            worst = worst.max((ratio - 1.0).abs());
        }
    }
    assert!(worst < 0.1, "off by {worst}");
}
