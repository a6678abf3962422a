//! Times of whole passes, for comparison with other engines.
//!
//! `cargo run --release -p thalweg-net --example speed -- [--threads 1,2] [--rounds 7] [WORK ..]` prints
//! a JSON list of `{"work", "threads", "ms", "gflops", "share_of_peak"}` (best of the rounds); the first
//! entry is the machine's matrix-product peak in the same run. With `--serve` it reads lines
//! `WORK THREADS PASSES` and answers each with the milliseconds of the best and the middle pass and
//! the floating-point operations of one: so `peers/speed.py` alternates it with another engine.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead, Write};
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};
use thalweg_core::Seed;
use thalweg_net::kernel::matmul;
use thalweg_net::{Act, Batch, Graph, Init, Mode, Net, Op, Pass, Targets, initial, named};

type Error = Box<dyn std::error::Error>;

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    Forward,
    InputGrad,
    Grad,
    Hvp,
}

const WORKS: [(&str, &str, usize, Task); 14] = [
    ("mlp", "mlp:784-512-512-10", 128, Task::Grad),
    ("mlp+hvp", "mlp:784-512-512-10", 128, Task::Hvp),
    ("lenet", "lenet", 128, Task::Grad),
    ("lenet+hvp", "lenet", 128, Task::Hvp),
    ("resnet8", "resnet8", 128, Task::Grad),
    ("resnet8+hvp", "resnet8", 128, Task::Hvp),
    ("resnet20", "resnet20", 128, Task::Grad),
    ("resnet20+hvp", "resnet20", 128, Task::Hvp),
    ("transformer", "char-transformer:2,64,4,64", 32, Task::Grad),
    ("transformer+hvp", "char-transformer:2,64,4,64", 32, Task::Hvp),
    ("mobilenet-b1", "mobilenet", 1, Task::Forward),
    ("mobilenet-b1+input", "mobilenet", 1, Task::InputGrad),
    ("mobilenet-b32", "mobilenet", 32, Task::Forward),
    ("mobilenet-b32+input", "mobilenet", 32, Task::InputGrad),
];

/// MobileNetV1 with a quarter of the channels on 128×128 images (Howard et al. 2017).
fn mobilenet() -> Graph {
    let mut g = Graph::new(&[128, 128, 3]);
    let mut conv = |name: String, out: usize, k: usize, stride: usize, groups: usize| {
        let pad = [k / 2; 4];
        let op = Op::Conv2d {
            out,
            k: [k, k],
            stride: [stride, stride],
            pad,
            dilation: [1, 1],
            groups,
            circular: false,
            bias: false,
        };
        g.push(name.clone(), op);
        g.push(format!("{name}.bn"), Op::BatchNorm { eps: 1e-3, momentum: 0.1 });
        g.push(format!("{name}.relu"), Op::Act { act: Act::Relu6 });
    };
    conv("stem".into(), 8, 3, 2, 1);
    let mut width = 8;
    let blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)]
        .into_iter()
        .chain([(128, 1); 5])
        .chain([(256, 2), (256, 1)]);
    for (i, (out, stride)) in blocks.enumerate() {
        conv(format!("dw{i}"), width, 3, stride, width);
        conv(format!("pw{i}"), out, 1, 1, 1);
        width = out;
    }
    g.push("pool", Op::GlobalAvgPool {});
    g.push("fc", Op::Linear { out: 1000, bias: true });
    g
}

/// A network with its data, ready to run.
struct Work {
    net: Net<f32>,
    task: Task,
    theta: Vec<f32>,
    buffers: Vec<f32>,
    x: Vec<f32>,
    labels: Vec<u32>,
    probe: Vec<f32>,
    grad: Vec<f32>,
    product: Vec<Vec<f32>>,
    pass: Pass<f32>,
    flops: f64,
}

impl Work {
    fn new(name: &str) -> Result<Self, Error> {
        let &(_, arch, batch, task) =
            WORKS.iter().find(|w| w.0 == name).ok_or_else(|| format!("no work `{name}`"))?;
        let (input, classes): (&[usize], usize) = match name.split(['+', '-']).next() {
            Some("mlp") => (&[784], 10),
            Some("lenet") => (&[28, 28, 1], 10),
            Some("transformer") => (&[64], 65),
            _ => (&[32, 32, 3], 10),
        };
        let graph = if arch == "mobilenet" { mobilenet() } else { named(arch, input, classes)? };
        let (theta, buffers) = initial::<f32>(&graph, &Init::PyTorch, Seed(1))?;
        let macs = graph.macs()?;
        let net = Net::new(graph)?;
        let size: usize = net.input_shape().iter().product();
        let tokens = matches!(net.graph().nodes[0].op, Op::Embedding { .. });
        let number =
            |i: usize| if tokens { (i * 31 % 65) as f32 } else { (i * 37 % 101) as f32 / 50.0 - 1.0 };
        let rows = batch * net.output_shape().iter().product::<usize>() / net.classes();
        let labels = (0..rows).map(|i| (i * 7 % net.classes()) as u32).collect();
        let probe: Vec<f32> = (0..theta.len()).map(|i| if i * 7919 % 13 < 6 { 1.0 } else { -1.0 }).collect();
        // Multiplications of the products that are computed: the first layer's input is constant.
        let first = macs.iter().position(|&m| m > 0).unwrap_or(0);
        let count = |inner: f64, outer: f64| -> f64 {
            macs.iter().enumerate().map(|(i, &m)| m as f64 * if i == first { outer } else { inner }).sum()
        };
        let macs = match task {
            Task::Forward => count(1.0, 1.0),
            Task::InputGrad => count(2.0, 2.0),
            Task::Grad => count(3.0, 2.0),
            Task::Hvp => count(9.0, 4.0),
        };
        Ok(Self {
            x: (0..batch * size).map(number).collect(),
            grad: vec![0.0; theta.len()],
            product: vec![vec![0.0; theta.len()]],
            pass: Pass::default(),
            flops: 2.0 * macs * batch as f64,
            net,
            task,
            theta,
            buffers,
            labels,
            probe,
        })
    }

    /// One pass; its seconds.
    fn run(&mut self) -> Result<f64, Error> {
        let Self { net, theta, buffers, grad, product, pass, .. } = self;
        let batch = Batch { x: &self.x, targets: Targets::Classes(&self.labels), weights: None };
        let start = Instant::now();
        match self.task {
            Task::Forward => drop(pass.forward(net, theta, buffers, &self.x, Mode::Eval)?),
            Task::InputGrad => drop(pass.input_grad(net, theta, buffers, &batch, Mode::Eval)?),
            Task::Grad => drop(pass.loss_grad(net, theta, buffers, &batch, Mode::train(), grad)?),
            Task::Hvp => {
                pass.loss_grad_hvp(
                    net,
                    theta,
                    buffers,
                    &batch,
                    Mode::train(),
                    grad,
                    &[&self.probe],
                    product,
                )?;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// GFLOP/s of a large matrix product.
fn peak() -> f64 {
    let n = 768;
    let (a, b, mut c) = (vec![0.5f32; n * n], vec![0.25f32; n * n], vec![0.0; n * n]);
    let mut once = || {
        let start = Instant::now();
        matmul(n, n, n, &a, false, &b, false, &mut c, false);
        2.0 * (n * n * n) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}

/// Pools and works, made when they are first asked for.
#[derive(Default)]
struct Bench {
    pools: BTreeMap<usize, ThreadPool>,
    works: BTreeMap<String, Work>,
}

impl Bench {
    fn pool(&mut self, threads: usize) -> Result<&ThreadPool, Error> {
        Ok(match self.pools.entry(threads) {
            Entry::Occupied(pool) => pool.into_mut(),
            Entry::Vacant(place) => place.insert(ThreadPoolBuilder::new().num_threads(threads).build()?),
        })
    }

    /// Runs a work `passes` times (the first time ever with a warm-up); times in milliseconds, sorted.
    fn time(&mut self, name: &str, threads: usize, passes: usize) -> Result<Vec<f64>, Error> {
        let mut work = match self.works.remove(name) {
            Some(work) => work,
            None => {
                let mut work = Work::new(name)?;
                work.run()?;
                work
            }
        };
        let times: Result<Vec<f64>, String> = self.pool(threads)?.install(|| {
            let once = |_| work.run().map(|s| s * 1e3).map_err(|e| e.to_string());
            let mut times = (0..passes).map(once).collect::<Result<Vec<f64>, String>>()?;
            times.sort_by(f64::total_cmp);
            Ok(times)
        });
        self.works.insert(name.into(), work);
        Ok(times?)
    }
}

fn serve(bench: &mut Bench) -> Result<(), Error> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["peak", threads, _] => println!("{}", bench.pool(threads.parse()?)?.install(peak)),
            [work, threads, passes] => {
                let times = bench.time(work, threads.parse()?, passes.parse::<usize>()?.max(1))?;
                println!("{} {} {}", times[0], times[times.len() / 2], bench.works[work].flops);
            }
            _ => return Err(format!("`{line}` is not WORK THREADS PASSES").into()),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (mut threads, mut rounds, mut names, mut bench) = (vec![1, 2], 7, Vec::new(), Bench::default());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--serve" => return serve(&mut bench),
            "--threads" => {
                let list = args.next().ok_or("--threads needs a list such as 1,2")?;
                threads = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = args.next().ok_or("--rounds needs a number")?.parse()?,
            _ => names.push(arg),
        }
    }
    if names.is_empty() {
        names = WORKS.iter().map(|w| w.0.to_string()).collect();
    }
    let mut rows = Vec::new();
    for &n in &threads {
        let peak = bench.pool(n)?.install(peak);
        rows.push(serde_json::json!({ "work": "matrix product 768", "threads": n, "gflops": peak }));
        for name in &names {
            let best = bench.time(name, n, rounds)?[0];
            let gflops = bench.works[name].flops / best / 1e6;
            rows.push(serde_json::json!({
                "work": name, "threads": n, "ms": best, "gflops": gflops, "share_of_peak": gflops / peak
            }));
        }
    }
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
