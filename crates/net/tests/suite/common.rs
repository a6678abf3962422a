//! What the tests share.
use rand::Rng;
use thalweg_core::Seed;
use thalweg_net::{Batch, Graph, Mode, Net, Op, Pass, Targets, default_init, initial, named};
use thalweg_testing::normals;

/// A network with parameters and a batch.
pub struct Case {
    pub net: Net<f64>,
    pub theta: Vec<f64>,
    pub buffers: Vec<f64>,
    pub x: Vec<f64>,
    pub labels: Vec<u32>,
}

impl Case {
    pub fn new(graph: Graph, batch: usize, seed: u64) -> Self {
        let net = Net::<f64>::new(graph).unwrap();
        let mut rng = Seed(seed).stream("case", 0);
        let theta = normals::<f64>(&mut rng, net.layout().len()).into_iter().map(|t| t * 0.7).collect();
        let mut buffers = normals(&mut rng, net.buffers().len());
        for b in net.buffers().blocks().iter().filter(|b| b.name.ends_with("var")) {
            buffers[b.range()].iter_mut().for_each(|v: &mut f64| *v = 0.5 + v.abs());
        }
        let size: usize = net.input_shape().iter().product();
        let mut x = normals(&mut rng, batch * size);
        if let Op::Embedding { vocab, .. } = &net.graph().nodes[0].op {
            x.iter_mut().for_each(|x| *x = f64::from(rng.next_u32() % *vocab as u32));
        }
        let rows = batch * net.output_shape().iter().product::<usize>() / net.classes();
        let labels = (0..rows).map(|_| rng.next_u32() % net.classes() as u32).collect();
        Self { net, theta, buffers, x, labels }
    }
    /// As [`Case::new`], from a customary initialisation.
    pub fn named(arch: &str, input: &[usize], classes: usize, batch: usize) -> Self {
        let graph = named(arch, input, classes).unwrap();
        let theta = initial(&graph, &default_init(&graph), Seed(1)).unwrap().0;
        Self { theta, ..Self::new(graph, batch, 3) }
    }
    pub fn batch(&self) -> Batch<'_, f64> {
        Batch { x: &self.x, targets: Targets::Classes(&self.labels), weights: None }
    }
    pub fn grad(&self, theta: &[f64], mode: Mode) -> (f64, Vec<f64>) {
        let mut g = vec![0.0; theta.len()];
        let l =
            Pass::default().loss_grad(&self.net, theta, &self.buffers, &self.batch(), mode, &mut g).unwrap();
        (l, g)
    }
    pub fn hvp(&self, probes: &[&[f64]], mode: Mode) -> (f64, Vec<f64>, Vec<Vec<f64>>) {
        let n = self.theta.len();
        let (mut g, mut h) = (vec![0.0; n], vec![vec![0.0; n]; probes.len()]);
        let b = self.batch();
        let l = Pass::default().loss_grad_hvp(
            &self.net,
            &self.theta,
            &self.buffers,
            &b,
            mode,
            &mut g,
            probes,
            &mut h,
        );
        (l.unwrap(), g, h)
    }
    pub fn moved(&self, z: &[f64], step: f64) -> Vec<f64> {
        self.theta.iter().zip(z).map(|(t, z)| t + step * z).collect()
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn near(a: f64, b: f64, tol: f64, what: &str) {
    assert!((a - b).abs() <= tol * (1.0 + a.abs().max(b.abs())), "{what}: {a} against {b}");
}

/// ‖a − b‖ / ‖b‖.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    (dot(&d, &d) / dot(b, b)).sqrt()
}

/// A random direction of length 1.
pub fn direction(n: usize, index: u64) -> Vec<f64> {
    let mut z: Vec<f64> = normals(&mut Seed(5).stream("direction", index), n);
    let size = dot(&z, &z).sqrt();
    z.iter_mut().for_each(|z| *z /= size);
    z
}

/// Numbers in single precision.
pub fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}
