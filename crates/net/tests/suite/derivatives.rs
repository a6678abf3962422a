//! Every layer, every mode: gradient against central differences, Hessian-vector product against
//! differences of the gradient, symmetry, linearity, Jacobian products, several probes at once.

use thalweg_core::{Seed, normal};
use thalweg_net::{Act, Directions, Graph, Mode, Op, Pass};
use thalweg_testing::normals;

use crate::common::{Case, dot, near};

fn conv(out: usize, k: usize, stride: usize, pad: [usize; 4], groups: usize) -> Op {
    Op::Conv2d {
        out,
        k: [k, k],
        stride: [stride, stride],
        pad,
        dilation: [1, 1],
        groups,
        circular: false,
        bias: true,
    }
}

/// A small net around one operation: something trained before it and after it.
fn around(input: &[usize], ops: Vec<Op>) -> Graph {
    let mut g = Graph::new(input);
    for (i, op) in ops.into_iter().enumerate() {
        g.push(format!("l{i}"), op);
    }
    g.push("flat", Op::Flatten {});
    g.push("head", Op::Linear { out: 3, bias: true });
    g
}

fn graphs() -> Vec<(&'static str, Graph)> {
    let linear = |out| Op::Linear { out, bias: true };
    let norm = || Op::BatchNorm { eps: 1e-5, momentum: 0.1 };
    let tanh = || Op::Act { act: Act::Tanh };
    let (leaky, soft) = (Act::LeakyRelu(0.1), Act::Softplus);
    let acts =
        [Act::Relu, leaky, Act::Relu6, Act::Gelu, Act::GeluTanh, Act::Silu, Act::Tanh, Act::Sigmoid, soft];
    let mut all: Vec<_> = acts.map(|act| ("act", around(&[4], vec![linear(5), Op::Act { act }]))).into();
    all.push(("softmax", around(&[4], vec![linear(5), Op::Softmax {}])));
    all.push(("maxmin", around(&[4], vec![linear(6), Op::GroupSort { size: 2 }])));
    all.push(("groupsort3", around(&[4], vec![linear(6), Op::GroupSort { size: 3 }])));
    all.push(("fullsort", around(&[4], vec![linear(5), Op::GroupSort { size: 0 }])));
    all.push(("householder", around(&[4], vec![linear(6), Op::Householder {}])));
    all.push(("scale", around(&[4], vec![linear(3), Op::Scale {}, tanh()])));
    all.push(("batchnorm", around(&[4], vec![linear(3), norm()])));
    all.push(("layernorm", around(&[4], vec![linear(5), Op::LayerNorm { eps: 1e-5 }])));
    all.push(("dropout", around(&[4], vec![linear(9), Op::Dropout { p: 0.4 }, Op::Act { act: Act::Silu }])));
    all.push(("norm on the input", around(&[3, 3, 2], vec![norm(), conv(2, 2, 1, [0; 4], 1)])));
    let image = |ops: Vec<Op>| around(&[5, 4, 2], ops);
    let same = [1; 4];
    all.push(("conv", image(vec![conv(3, 3, 1, same, 1), tanh(), conv(2, 3, 2, same, 1)])));
    all.push(("conv asymmetric", image(vec![conv(3, 3, 2, [0, 1, 0, 1], 1), tanh()])));
    all.push(("conv grouped", image(vec![conv(4, 3, 1, same, 2), tanh(), conv(4, 3, 1, same, 4)])));
    all.push(("conv 1x1", image(vec![conv(4, 1, 1, [0; 4], 1), tanh(), conv(3, 1, 2, [0; 4], 1)])));
    let special = |k: usize, dilation: usize, circular: bool| {
        let (k, stride, dilation) = ([k, k], [1, 1], [dilation, dilation]);
        Op::Conv2d { out: 3, k, stride, pad: [1; 4], dilation, groups: 1, circular, bias: !circular }
    };
    all.push(("conv dilated", image(vec![special(2, 2, false), tanh()])));
    all.push(("conv circular", image(vec![special(3, 1, true), tanh()])));
    all.push(("conv larger than image", image(vec![conv(2, 7, 1, [3; 4], 1), tanh()])));
    let one = Op::Conv1d {
        out: 4,
        k: 3,
        stride: 2,
        pad: [1, 1],
        dilation: 1,
        groups: 2,
        circular: false,
        bias: true,
    };
    all.push(("conv1d", around(&[6, 2], vec![one, tanh()])));
    let pool = |max: bool, k: usize, stride: usize, pad: [usize; 4]| {
        let (k, stride) = ([k, k], Some([stride, stride]));
        if max { Op::MaxPool { k, stride, pad } } else { Op::AvgPool { k, stride, pad } }
    };
    all.push(("maxpool", image(vec![conv(3, 3, 1, same, 1), pool(true, 2, 2, [0; 4])])));
    all.push(("maxpool overlapping", image(vec![conv(3, 3, 1, same, 1), pool(true, 3, 1, same)])));
    all.push(("avgpool", image(vec![conv(3, 3, 1, same, 1), tanh(), pool(false, 3, 2, same)])));
    all.push(("global pool", image(vec![conv(3, 3, 1, same, 1), tanh(), Op::GlobalAvgPool {}])));
    // A residual block with the parameter-free shortcut.
    let mut g = Graph::new(&[4, 4, 2]);
    let start = g.push("conv0", conv(2, 3, 1, same, 1));
    g.push("conv1", conv(4, 3, 2, same, 1));
    g.push("bn1", norm());
    let a = g.push("act1", Op::Act { act: soft });
    let b = g.push_on("short", Op::PadShortcut { step: 2, out: 4 }, &[start]);
    g.push_on("sum", Op::Add {}, &[a, b]);
    g.push("act2", tanh());
    g.push("pool", Op::GlobalAvgPool {});
    g.push("head", linear(3));
    all.push(("residual", g));
    for causal in [false, true] {
        let mut g = Graph::new(&[4]);
        g.push("tok", Op::Embedding { vocab: 5, width: 4 });
        let x = g.push("pos", Op::PositionalEmbedding {});
        g.push("ln", Op::LayerNorm { eps: 1e-5 });
        g.push("qkv", linear(12));
        g.push("attn", Op::Attention { heads: 2, causal });
        let a = g.push("proj", linear(4));
        g.push_on("sum", Op::Add {}, &[x, a]);
        g.push("head", Op::Linear { out: 3, bias: false });
        all.push(("attention", g));
    }
    all
}

#[test]
fn gradients_and_products_of_every_layer() {
    for (name, graph) in graphs() {
        for mode in [Mode::Train { seed: Seed(3), step: 2 }, Mode::Eval] {
            let c = Case::new(graph.clone(), 5, 7);
            let n = c.theta.len();
            let (mut u, mut v) = (vec![0.0; n], vec![0.0; n]);
            normal(&mut Seed(1).stream("u", 0), &mut u);
            normal(&mut Seed(1).stream("v", 0), &mut v);
            let what = format!("{name} {:?} in {mode:?}", graph.nodes[1].op);
            let (loss, g) = c.grad(&c.theta, mode);
            let e = 1e-5;
            let (up, down) = (c.grad(&c.moved(&u, e), mode), c.grad(&c.moved(&u, -e), mode));
            near((up.0 - down.0) / (2.0 * e), dot(&g, &u), 1e-6, &format!("{what}: gradient"));
            let sum: Vec<f64> = u.iter().zip(&v).map(|(u, v)| 2.0 * u - v).collect();
            let (fused, g2, h) = c.hvp(&[&u, &v, &sum], mode);
            assert_eq!(fused, loss, "{what}: the fused loss is the loss");
            for i in 0..n {
                near(g[i], g2[i], 1e-13, &format!("{what}: fused gradient"));
                near(
                    (up.1[i] - down.1[i]) / (2.0 * e),
                    h[0][i],
                    1e-6,
                    &format!("{what}: product, entry {i}"),
                );
                near(2.0 * h[0][i] - h[1][i], h[2][i], 1e-10, &format!("{what}: linearity"));
            }
            near(dot(&u, &h[1]), dot(&v, &h[0]), 1e-10, &format!("{what}: symmetry"));
        }
    }
}

#[test]
fn jacobian_products_agree() {
    for (name, graph) in graphs() {
        if matches!(graph.nodes[0].op, Op::Embedding { .. }) {
            continue;
        }
        let c = Case::new(graph, 3, 11);
        let (mut dx, mut dt) = (vec![0.0; c.x.len()], vec![0.0; c.theta.len()]);
        normal(&mut Seed(2).stream("x", 0), &mut dx);
        normal(&mut Seed(2).stream("t", 0), &mut dt);
        let mut pass = Pass::default();
        let along = Directions { theta: &[&dt], x: &[&dx] };
        pass.run(&c.net, &c.theta, &c.buffers, &c.x, along, Mode::train()).unwrap();
        let jv = pass.output_tangent(0).unwrap().to_vec();
        let w: Vec<f64> = normals(&mut Seed(2).stream("w", 0), jv.len());
        let mut g = vec![0.0; c.theta.len()];
        let at = c.net.graph().nodes.len();
        let gx = pass.vjp(&c.net, &c.theta, &c.buffers, &c.x, Mode::train(), at, &w, Some(&mut g)).unwrap();
        near(dot(&w, &jv), dot(&gx, &dx) + dot(&g, &dt), 1e-10, name);
    }
}

#[test]
fn hessian_columns_of_a_small_net() {
    let c =
        Case::new(around(&[3], vec![Op::Linear { out: 4, bias: true }, Op::Act { act: Act::Tanh }]), 6, 5);
    let n = c.theta.len();
    assert!(n <= 200);
    let units: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let refs: Vec<&[f64]> = units.iter().map(Vec::as_slice).collect();
    let (_, _, h) = c.hvp(&refs, Mode::Eval);
    for i in 0..n {
        let (a, b) = (
            c.grad(&c.moved(&units[i], 1e-5), Mode::Eval).1,
            c.grad(&c.moved(&units[i], -1e-5), Mode::Eval).1,
        );
        for j in 0..n {
            near((a[j] - b[j]) / 2e-5, h[i][j], 1e-7, "dense Hessian");
            near(h[i][j], h[j][i], 1e-12, "symmetry");
        }
    }
}
