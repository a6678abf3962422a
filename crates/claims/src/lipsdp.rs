//! Lipschitz certificates (Pauli et al., arXiv:2401.14033; Fazlyab et al., arXiv:1906.04893): the
//! values and times they are held to.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use thalweg::certify::{self, ReadOptions};
use thalweg::core::{Seed, normal};
use thalweg::lipsdp::robust::{Pairs, pair_bounds};
use thalweg::lipsdp::sample::{Sampling, lower_bound};
use thalweg::lipsdp::{Activation, Affine, Block, Bound, Certificate, LipError, LipSdp, Mat, Network, Norm};
use thalweg::plot::{Figure, Table};
use thalweg::tasks::Finding;

use crate::claim::{Entry, Options, publish};
use crate::measure::exponent;
use crate::sources::shared_file;

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg-claims lipsdp values linf
  thalweg-claims lipsdp scaling --out report/

The networks with known values are looked for in the folder THALWEG_DATA (default ../shared/data):
lipsdp/.")]
pub struct Claims {
    /// values, linf, deep, pairs, first-order, scaling, tour, all
    #[arg(required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

const ALL: &[Entry<Claims>] = &[
    ("values", |_| against("values", "Known values, ℓ2", VALUES)),
    ("linf", |_| linf()),
    ("deep", |_| against("deep", "Eighteen layers of 128", DEEP)),
    ("pairs", |_| pairs()),
    ("first-order", |_| first_order()),
    ("scaling", |b| scaling(&b.options)),
    ("tour", |b| Ok(certify::tour::all_bounds(&b.options.host())?)),
];

/// File, activation, method, value to reach, seconds allowed.
type Row = (&'static str, &'static str, Bound, f64, f64);

/// A bound in ℓ2 takes a tenth of a second on small networks.
const SHORT: f64 = 0.1;

const VALUES: &[Row] = &[
    ("own_digits/relu_64x32x32x10", "relu", Bound::Neuron, 33.933934, SHORT),
    ("own_digits/relu_64x32x32x10", "relu", Bound::Layer, 34.639561, SHORT),
    ("own_digits/relu_64x32x32x10", "relu", Bound::Eclipse, 34.678061, SHORT),
    ("own_digits/relu_64x16x16x16x16x10", "relu", Bound::Neuron, 77.543762, SHORT),
    ("own_digits/relu_64x16x16x16x16x10", "relu", Bound::Layer, 87.929833, SHORT),
    ("own_digits/relu_64x16x16x16x16x10", "relu", Bound::Eclipse, 94.016062, SHORT),
    ("own_digits/leaky_64x24x24x10", "leaky:0.1", Bound::Neuron, 35.842968, SHORT),
    ("own_digits/maxmin_64x8x8x10", "maxmin", Bound::NsrPaper, 28.373841, SHORT),
    ("own_digits/maxmin_64x8x8x10", "maxmin", Bound::Nsr, 27.055404, SHORT),
    ("own_digits/maxmin_64x8x8x10", "maxmin", Bound::Patterns, 26.935840, 1.0),
    ("own_digits/maxmin_64x32x32x10", "maxmin", Bound::Nsr, 32.004958, SHORT),
    ("own_digits/maxmin_64x24x24x24x24x10", "maxmin", Bound::NsrPaper, 119.356691, SHORT),
    ("own_digits/maxmin_64x24x24x24x24x10", "maxmin", Bound::Nsr, 114.015736, SHORT),
    ("own_digits/gs4_64x24x24x10", "groupsort:4", Bound::NsrPaper, 35.500960, SHORT),
    ("own_digits/gs4_64x24x24x10", "groupsort:4", Bound::Nsr, 34.667953, SHORT),
    ("own_digits/hh4_64x24x24x10", "householder", Bound::NsrPaper, 39.000098, SHORT),
    ("own_digits/hh4_64x24x24x10", "householder", Bound::Nsr, 37.736429, SHORT),
    ("own_digits/res_maxmin_64x16x3x10", "residual", Bound::Nsr, 55.100260, SHORT),
    ("own_digits/res_maxmin_64x16x3x10", "core", Bound::Nsr, 17.657527, SHORT),
    ("own_digits/deq_relu_64x20x10", "relu", Bound::Neuron, 41.862651, SHORT),
    ("lipsdp_mit/random_weights", "relu", Bound::Neuron, 36.482230, SHORT),
    ("lipsdp_mit/random_weights", "relu", Bound::Split(2), 37.668142, SHORT),
    ("lipsdp_mit/mnist_weights", "relu", Bound::Neuron, 24.366349, SHORT),
    ("maxmin_published/weights_l2_2fc_16", "maxmin", Bound::Nsr, 22.074381, 1.0),
    ("maxmin_published/weights_l2_2fc_32", "maxmin", Bound::Nsr, 38.075035, 1.0),
    ("maxmin_published/weights_l2_5fc_32", "maxmin", Bound::Nsr, 193.179587, 1.0),
    ("maxmin_published/weights_l2_8fc_32", "maxmin", Bound::Nsr, 309.193498, 1.0),
    ("maxmin_published/weights_l2_18fc_32", "maxmin", Bound::Nsr, 11063.5501, 1.0),
    ("maxmin_published/weights_l2_18fc_32", "maxmin", Bound::NsrPaper, 17431.54, 1.0),
    ("maxmin_published/resweights_5_32", "core", Bound::Nsr, 7.699052, 1.0),
    ("maxmin_published/resweights_5_32", "residual", Bound::Nsr, 20.614751, 1.0),
    ("maxmin_published/resweights_8_32", "core", Bound::Nsr, 16.756114, 1.0),
    ("maxmin_published/resweights_8_32", "residual", Bound::Nsr, 17.037112, 1.0),
];

const DEEP: &[Row] = &[
    ("maxmin_published/weights_l2_18fc_128", "maxmin", Bound::NsrPaper, 24270.99, 10.0),
    ("maxmin_published/weights_l2_18fc_128", "maxmin", Bound::Nsr, 18331.856, 60.0),
];

impl Claims {
    pub fn run(self) -> Result<()> {
        self.options.start()?;
        publish("Lipschitz certificates", &self.options, &self, &self.which, ALL)
    }
}

/// A network of the shared folder; `core` leaves out the first and last layer of a residual one.
fn shared(name: &str, kind: &str) -> Result<Network> {
    let file = shared_file(format!("lipsdp/{name}.npz"))?;
    let residual = matches!(kind, "residual" | "core");
    let activation = Some(if residual { "maxmin" } else { kind }.to_owned());
    let loaded = certify::read(&file, &ReadOptions { activation, residual, ..ReadOptions::default() })?;
    let net = loaded.net.written_out()?.clone();
    let [Block::Affine(first), core @ .., _] = net.blocks() else { return Ok(net) };
    Ok(if kind == "core" { Network::new(first.weight.nrows(), core.to_vec())? } else { net })
}

/// The median of three runs in time, unless one takes seconds.
fn median_run(settings: &LipSdp, net: &Network) -> Result<Certificate, LipError> {
    let mut runs = vec![settings.certify(net)?];
    while runs.len() < 3 && runs[0].seconds < 2.0 {
        runs.push(settings.certify(net)?);
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// Whether a proved bound reaches a known value: within 1e-4 above, not below.
fn reaches(bound: f64, value: f64) -> bool {
    bound >= value * (1.0 - 1e-6) && bound <= value * (1.0 + 1e-4)
}

fn against(name: &'static str, title: &str, rows: &[Row]) -> Result<Finding> {
    let mut table = Table::new(["network", "method", "bound", "value to reach", "iterations", "seconds"]);
    let (mut marks, mut data) = (Vec::new(), Vec::new());
    let (mut all, mut quick) = (true, Vec::new());
    for &(file, kind, bound, value, limit) in rows {
        let net = shared(file, kind)?;
        let c = median_run(&LipSdp { bound, ..LipSdp::default() }, &net)?;
        let checked = c.verified && LipSdp::check(&c, &net).is_ok();
        all &= checked && reaches(c.bound, value);
        if c.seconds > limit {
            quick.push(format!("{file} {bound}: {:.2} s", c.seconds));
        }
        let network = if kind == "core" { format!("{file}, core") } else { file.to_owned() };
        let iterations = c.iterations.map_or_else(|| "–".into(), |i| i.to_string());
        let cells = [network, c.method.clone(), format!("{:.6}", c.bound), format!("{value:.6}"), iterations];
        table.row(cells.into_iter().chain([format!("{:.3}", c.seconds)]));
        data.push(json!({ "network": file, "kind": kind, "value": value, "certificate": lean(c) }));
    }
    marks.push(("every bound is verified, checked again, and within 1e-4 of the value".into(), all));
    let late = if quick.is_empty() { String::new() } else { format!(" (not {})", quick.join("; ")) };
    marks.push((format!("every bound takes no longer than its target{late}"), quick.is_empty()));
    Ok(Finding {
        name,
        title: title.into(),
        text: "Proved bounds beside known values; seconds for solve and proof, medians of three.".into(),
        table,
        figures: Vec::new(),
        marks,
        data: Value::Array(data),
    })
}

/// Without the multipliers.
fn lean(c: Certificate) -> Certificate {
    Certificate { multipliers: None, ..c }
}

fn linf() -> Result<Finding> {
    let rows: &[(&str, usize, Bound, f64)] = &[
        ("own_digits/maxmin_64x8x8x10", 0, Bound::NsrPaper, 109.65328),
        ("own_digits/maxmin_64x8x8x10", 1, Bound::NsrPaper, 81.64857),
        ("own_digits/maxmin_64x8x8x10", 2, Bound::NsrPaper, 133.09444),
        ("own_digits/maxmin_64x8x8x10", 0, Bound::Nsr, 98.20034),
        ("own_digits/maxmin_64x8x8x10", 1, Bound::Nsr, 74.92778),
        ("own_digits/maxmin_64x8x8x10", 2, Bound::Nsr, 122.09482),
        ("own_digits/maxmin_64x24x24x24x24x10", 0, Bound::NsrPaper, 523.0855),
        ("own_digits/maxmin_64x24x24x24x24x10", 0, Bound::Nsr, 391.678),
        ("maxmin_published/weights_l2_2fc_32", 8, Bound::Nsr, 346.315),
    ];
    let mut table = Table::new(["network", "row", "method", "bound", "value to reach", "product", "seconds"]);
    let (mut reached, mut slowest, mut data) = (true, 0.0, Vec::new());
    for &(file, row, bound, value) in rows {
        let net = shared(file, "maxmin")?.row(row)?;
        let settings = LipSdp { norm: Norm::Linf, bound, ..LipSdp::default() };
        let c = settings.certify(&net)?;
        let product = LipSdp { bound: Bound::Product, ..settings }.certify(&net)?.bound;
        reached &= c.verified && reaches(c.bound, value);
        slowest = f64::max(slowest, c.seconds);
        let cells = [file.to_owned(), row.to_string(), c.method.clone(), format!("{:.5}", c.bound)];
        let rest = [format!("{value:.5}"), format!("{product:.2}"), format!("{:.3}", c.seconds)];
        table.row(cells.into_iter().chain(rest));
        data.push(json!({ "network": file, "row": row, "value": value, "certificate": lean(c) }));
    }
    Ok(Finding {
        name: "linf",
        title: "Known values, ℓ∞ to one output".into(),
        text: "The tight form beside the published one.".into(),
        table,
        figures: Vec::new(),
        marks: vec![
            ("every bound is verified and within 1e-4 of the value".into(), reached),
            (
                format!("a row with 784 inputs and 32 neurons takes ≤ 15 s (slowest {slowest:.2} s)"),
                slowest <= 15.0,
            ),
        ],
        data: Value::Array(data),
    })
}

fn pairs() -> Result<Finding> {
    let net = shared("own_digits/relu_64x32x32x10", "relu")?;
    let settings = LipSdp::default();
    let whole = settings.certify(&net)?;
    let root2 = 2f64.sqrt() * whole.bound;
    let timed = |pairs| -> Result<(Mat<f64>, f64)> {
        let clock = Instant::now();
        let bounds = pair_bounds(&settings, &net, &whole, pairs)?;
        Ok((bounds, clock.elapsed().as_secs_f64()))
    };
    let (cheap, cheap_seconds) = timed(Pairs::Cheap)?;
    let (program, seconds) = timed(Pairs::Program)?;
    let mut table = Table::new(["pair", "√2 L", "cheap", "program"]);
    for (k, j) in [(0, 1), (3, 8)] {
        table.row([
            format!("({k},{j})"),
            format!("{root2:.2}"),
            format!("{:.2}", cheap[(k, j)]),
            format!("{:.2}", program[(k, j)]),
        ]);
    }
    table.row([
        "45 pairs, seconds".into(),
        "–".into(),
        format!("{cheap_seconds:.2}"),
        format!("{seconds:.2}"),
    ]);
    let near = |found: f64, value: f64| (found / value - 1.0).abs() < 2e-3;
    Ok(Finding {
        name: "pairs",
        title: "Bounds of pairs of classes".into(),
        text: "relu_64x32x32x10: from the multipliers of the whole network, and from a program per pair."
            .into(),
        table,
        figures: Vec::new(),
        marks: vec![
            (
                "pair (0,1): 34.62 cheap, 26.41 by program".into(),
                near(cheap[(0, 1)], 34.62) && near(program[(0, 1)], 26.41),
            ),
            (
                "pair (3,8): 28.13 cheap, 21.54 by program".into(),
                near(cheap[(3, 8)], 28.13) && near(program[(3, 8)], 21.54),
            ),
            (format!("45 programs take ≤ 2 s ({seconds:.2} s)"), seconds <= 2.0),
        ],
        data: json!({ "whole": whole.bound, "cheap_seconds": cheap_seconds, "program_seconds": seconds }),
    })
}

/// A random ReLU network of these widths, weights as PyTorch draws them but normal.
fn random(widths: &[usize]) -> Result<Network> {
    let layer = |(i, w): (usize, &[usize])| {
        let mut data = vec![0.0; w[0] * w[1]];
        normal(&mut Seed(1).stream("bench-weights", i as u64), &mut data);
        let scale = (1.0 / (3.0 * w[0] as f64)).sqrt();
        Affine::linear(Mat::from_fn(w[1], w[0], |r, c| scale * data[r * w[0] + c]))
    };
    let relu: Activation = "relu".parse()?;
    Ok(Network::feedforward(widths.windows(2).enumerate().map(layer).collect(), &relu)?)
}

fn first_order() -> Result<Finding> {
    let net = random(&[784, 512, 512, 512, 512, 10])?;
    let of = |bound, max_evaluations, max_seconds| {
        LipSdp { bound, max_evaluations, max_seconds, ..LipSdp::default() }.certify(&net)
    };
    let long = of(Bound::FirstOrder, 200, 600.0)?;
    let short = of(Bound::FirstOrder, 200, 11.0)?;
    let (eclipse, product) = (of(Bound::Eclipse, 1, 1.0)?, of(Bound::Product, 1, 1.0)?);
    let lower = lower_bound(&net, Norm::L2, &[], &Sampling { points: 20, max_steps: 0, seed: 1 }).ok();
    let mut table = Table::new(["method", "bound", "evaluations", "seconds"]);
    for c in [&long, &short, &eclipse, &product] {
        let evaluations = c.iterations.map_or_else(|| "–".into(), |i| i.to_string());
        table.row([c.method.clone(), format!("{:.4}", c.bound), evaluations, format!("{:.1}", c.seconds)]);
    }
    if let Some(lower) = lower {
        table.row(["sampled".into(), format!("{lower:.4}"), "–".into(), "–".into()]);
    }
    let close = short.bound <= 1.1 * long.bound;
    Ok(Finding {
        name: "first-order",
        title: "First-order bound of a large network".into(),
        text: "Random ReLU network 784-512-512-512-512-10.".into(),
        table,
        figures: Vec::new(),
        marks: vec![
            (
                format!("within 10 % of its value after 200 evaluations in ≤ 20 s ({:.1} s)", short.seconds),
                close && short.seconds <= 20.0,
            ),
            (
                "every bound is verified".into(),
                [&long, &short, &eclipse, &product].iter().all(|c| c.verified),
            ),
        ],
        data: json!([lean(long), lean(short), lean(eclipse), product]),
    })
}

/// Seconds after which a curve ends.
const PATIENCE: f64 = 60.0;

fn scaling(options: &Options) -> Result<Finding> {
    let mut table = Table::new(["axis", "method", "size", "bound", "seconds", "exponent"]);
    let (mut figures, mut data) = (Vec::new(), Vec::new());
    let host = options.host();
    // Largest ratio of the first-order bound to the program's on the same network.
    let mut loosest = 1.0;
    let widths: Vec<usize> = vec![16, 32, 64, 128, 256, 512];
    let depths: Vec<usize> = vec![2, 4, 8, 12, 16, 20];
    for (axis, sizes) in [("width, depth 3", &widths), ("depth, width 32", &depths)] {
        let mut figure =
            Figure::new(format!("Time over {axis}")).x_label(axis).y_label("seconds").log_x().log_y();
        let mut program = Vec::new();
        for bound in [Bound::Neuron, Bound::FirstOrder, Bound::Eclipse] {
            let mut curve = Vec::new();
            for &size in sizes {
                let mut shape = vec![64];
                shape.extend(if axis.starts_with("width") { vec![size; 2] } else { vec![32; size - 1] });
                shape.push(10);
                let net = random(&shape)?;
                let settings =
                    LipSdp { bound, max_seconds: PATIENCE, max_memory: 16 << 30, ..LipSdp::default() };
                // A size whose estimate is far beyond the patience ends the curve.
                if bound == Bound::Neuron && settings.size(&net)?.seconds() > 4.0 * PATIENCE {
                    break;
                }
                let c = settings.certify(&net)?;
                host.note(format!("  {axis} {size} {bound}: {:.3} s", c.seconds));
                curve.push((size as f64, c.seconds));
                table.row([
                    axis.to_owned(),
                    c.method.clone(),
                    size.to_string(),
                    format!("{:.4}", c.bound),
                    format!("{:.4}", c.seconds),
                    String::new(),
                ]);
                match bound {
                    Bound::Neuron => program.push((size, c.bound)),
                    Bound::FirstOrder => {
                        let same = program.iter().find(|p| p.0 == size);
                        loosest = same.map_or(loosest, |p| f64::max(loosest, c.bound / p.1));
                    }
                    _ => {}
                }
                data.push(json!({ "axis": axis, "size": size, "certificate": lean(c) }));
                if curve.last().is_some_and(|c| c.1 > PATIENCE) {
                    break;
                }
            }
            let fitted = exponent(&curve);
            table.row([
                axis.to_owned(),
                bound.to_string(),
                "all".into(),
                String::new(),
                String::new(),
                format!("{fitted:.2}"),
            ]);
            figure = figure.line(&bound.to_string(), &curve);
        }
        figures.push((figure, "Random ReLU networks with 64 inputs and 10 outputs.".to_owned()));
    }
    Ok(Finding {
        name: "scaling",
        title: "Scaling".into(),
        text: "Seconds for solve and proof; the exponent is that of a power law fitted to the curve.".into(),
        table,
        figures,
        marks: vec![(
            format!(
                "the first-order bound is within 2 % of the program's on the same network (largest ratio {loosest:.4})"
            ),
            loosest <= 1.02,
        )],
        data: Value::Array(data),
    })
}
