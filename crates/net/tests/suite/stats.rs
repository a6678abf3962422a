//! What preconditioners are told of a layer, against loops over its definition.

use thalweg_core::LayerStats;
use thalweg_net::{Act, Gather, Graph, Mode, Op, Pass};

use crate::common::{Case, distance};

/// Inputs under the kernel of each row, by group, in the order of a weight row.
fn windows(op: &Op, shape: &[usize], out: &[usize], x: &[f64]) -> Vec<Vec<Vec<f64>>> {
    let (h, w, c, k, stride, pad, dilation, groups, circular) = match op {
        Op::Linear { .. } => return vec![x.chunks(*shape.last().unwrap()).map(<[f64]>::to_vec).collect()],
        Op::Conv1d { k, stride, pad, dilation, groups, circular, .. } => {
            let (k, stride, dilation) = ([1, *k], [1, *stride], [1, *dilation]);
            (1, shape[0], shape[1], k, stride, [0, pad[0]], dilation, *groups, *circular)
        }
        Op::Conv2d { k, stride, pad, dilation, groups, circular, .. } => {
            let (h, w, c) = (shape[0], shape[1], shape[2]);
            (h, w, c, *k, *stride, [pad[0], pad[2]], *dilation, *groups, *circular)
        }
        _ => unreachable!(),
    };
    let (oh, ow) = if shape.len() == 3 { (out[0], out[1]) } else { (1, out[0]) };
    let mut all = vec![Vec::new(); groups];
    for (group, rows) in all.iter_mut().enumerate() {
        for image in x.chunks(h * w * c) {
            for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                let mut row = Vec::new();
                for channel in group * c / groups..(group + 1) * c / groups {
                    for (a, b) in (0..k[0]).flat_map(|a| (0..k[1]).map(move |b| (a, b))) {
                        let y = (i * stride[0] + a * dilation[0]) as isize - pad[0] as isize;
                        let z = (j * stride[1] + b * dilation[1]) as isize - pad[1] as isize;
                        let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&z);
                        let (y, z) = (y.rem_euclid(h as isize) as usize, z.rem_euclid(w as isize) as usize);
                        let value = image[(y * w + z) * c + channel];
                        row.push(if inside || circular { value } else { 0.0 });
                    }
                }
                rows.push(row);
            }
        }
    }
    all
}

fn outer_sum(rows: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut sum = Vec::new();
    for row in rows {
        sum.resize(row.len() * row.len(), 0.0);
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                sum[i * row.len() + j] += a * b;
            }
        }
    }
    sum
}

fn check(name: &str, graph: Graph, batch: usize) {
    let c = Case::new(graph, batch, 7);
    let mut pass = Pass::default();
    (pass.gather, pass.keep_cotangents) = (Gather::Moments, true);
    let mut grad = vec![0.0; c.theta.len()];
    pass.loss_grad(&c.net, &c.theta, &c.buffers, &c.batch(), Mode::Eval, &mut grad).unwrap();
    let stats = pass.stats().to_vec();
    let shapes = c.net.graph().shapes().unwrap();
    let is_linear = |op: &Op| matches!(op, Op::Linear { .. } | Op::Conv1d { .. } | Op::Conv2d { .. });
    let nodes: Vec<usize> =
        (0..shapes.len() - 1).filter(|&i| is_linear(&c.net.graph().nodes[i].op)).collect();
    assert_eq!(nodes.len(), stats.len(), "{name}");
    for (&i, s) in nodes.iter().zip(&stats) {
        let node = &c.net.graph().nodes[i];
        let blocks = c.net.layout().blocks();
        assert_eq!(blocks[s.weight].name, format!("{}.weight", node.name));
        let x = pass.node_output(node.inputs[0]).to_vec();
        let dy = pass.cotangent(i + 1).unwrap();
        let (out, rows) = (blocks[s.weight].shape[0], s.rows);
        let a = windows(&node.op, &shapes[node.inputs[0]], &shapes[i + 1], &x);
        assert_eq!((a.len(), a[0].len(), dy.len()), (s.groups, rows, rows * out), "{name}");
        let linear = matches!(node.op, Op::Linear { .. });
        assert_eq!(s.positions, if linear { 1 } else { rows / batch });

        let mean_of =
            |rows: &Vec<Vec<f64>>, j: usize| rows.iter().map(|r| r[j]).sum::<f64>() / rows.len() as f64;
        let mean: Vec<f64> = a.iter().flat_map(|g| (0..g[0].len()).map(move |j| mean_of(g, j))).collect();
        assert!(distance(&s.input_mean, &mean) < 1e-13, "{name}: mean");
        let sums: Vec<f64> = (0..out).map(|o| dy.iter().skip(o).step_by(out).sum()).collect();
        assert!(distance(&s.output_grad, &sums) < 1e-12, "{name}: sum");
        if let Some(b) = s.bias {
            assert!(distance(&grad[blocks[b].range()], &sums) < 1e-12, "{name}: bias gradient");
        }
        let moments = s.moments.as_ref().unwrap();
        let input: Vec<f64> = a.iter().flat_map(|rows| outer_sum(rows.iter().cloned())).collect();
        let input: Vec<f64> = input.iter().map(|v| v / rows as f64).collect();
        assert!(distance(&moments.input, &input) < 1e-13, "{name}: second moment of the inputs");
        let n = out / s.groups;
        let output: Vec<f64> = (0..s.groups)
            .flat_map(|g| outer_sum(dy.chunks(out).map(move |row| row[g * n..][..n].to_vec())))
            .collect();
        assert!(distance(&moments.output, &output) < 1e-13, "{name}: second moment of the derivatives");
        // And the windows are the right ones: the weight's gradient is the sum of δ aᵀ.
        let weight = &grad[blocks[s.weight].range()];
        let inputs = a[0][0].len();
        let naive: Vec<f64> = (0..out * inputs)
            .map(|e| (0..rows).map(|r| dy[r * out + e / inputs] * a[e / inputs / n][r][e % inputs]).sum())
            .collect();
        assert!(distance(weight, &naive) < 1e-12, "{name}: gradient");
    }
    let full = stats;
    pass.gather = Gather::Means;
    pass.loss_grad(&c.net, &c.theta, &c.buffers, &c.batch(), Mode::Eval, &mut grad).unwrap();
    let means = full.into_iter().map(|s| LayerStats { moments: None, ..s }).collect::<Vec<_>>();
    assert_eq!(pass.stats(), means, "{name}");
    pass.gather = Gather::Nothing;
    pass.loss_grad(&c.net, &c.theta, &c.buffers, &c.batch(), Mode::Eval, &mut grad).unwrap();
    assert!(pass.stats().is_empty());
}

#[test]
fn statistics_are_those_of_their_definition() {
    let mut convolutions = Graph::new(&[9, 8, 4]);
    for (i, (groups, circular, bias)) in
        [(1, false, true), (2, false, false), (1, true, true)].into_iter().enumerate()
    {
        let op = Op::Conv2d {
            out: 6 - 2 * i,
            k: [3, 2],
            stride: [1 + i % 2, 1],
            pad: [1, 2, 0, 1],
            dilation: [1, 1 + i % 2],
            groups,
            circular,
            bias,
        };
        convolutions.push(format!("conv{i}"), op);
        convolutions.push(format!("act{i}"), Op::Act { act: Act::Tanh });
    }
    convolutions.push("flat", Op::Flatten {});
    convolutions.push("head", Op::Linear { out: 3, bias: false });
    check("2-D convolutions", convolutions, 3);

    let mut rows = Graph::new(&[11, 4]);
    let op = Op::Conv1d {
        out: 4,
        k: 3,
        stride: 2,
        pad: [2, 1],
        dilation: 2,
        groups: 4,
        circular: false,
        bias: true,
    };
    rows.push("depthwise", op);
    rows.push("act", Op::Act { act: Act::Gelu });
    rows.push("sequence", Op::Linear { out: 5, bias: true });
    check("1-D convolution and a linear layer on sequences", rows, 2);

    check("an MLP", thalweg_net::named("mlp:5-7-3", &[5], 3).unwrap(), 6);
    check("a batch of one", thalweg_net::named("mlp:5-7-3", &[5], 3).unwrap(), 1);
}

/// The loss does not change when a constant is added to each channel before batch normalisation.
#[test]
fn what_feeds_batch_normalisation_has_no_mean_gradient() {
    let c = Case::named("resnet8", &[8, 8, 3], 10, 4);
    let mut pass = Pass::default();
    pass.gather = Gather::Means;
    let mut grad = vec![0.0; c.theta.len()];
    let mode = Mode::Train { seed: thalweg_core::Seed(0), step: 0 };
    pass.loss_grad(&c.net, &c.theta, &c.buffers, &c.batch(), mode, &mut grad).unwrap();
    let (head, convolutions) = pass.stats().split_last().unwrap();
    for s in convolutions {
        assert!(s.output_grad.iter().all(|g| g.abs() < 1e-12), "{:?}", s.output_grad);
    }
    assert!(head.output_grad.iter().any(|g| g.abs() > 1e-3));
}
