use rand::Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Kind, Seed, normal};

use crate::kernel::Scalar;
use crate::{Graph, Net, NetError, Op};

/// How linear and convolutional weights start. Biases start at 0 except under [`Init::PyTorch`];
/// normalisation layers at scale 1 and shift 0, Householder angles at π/2 (where the layer is
/// MaxMin), embeddings as normal(0, 1) except under [`Init::Normal`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Weights and biases uniform in ±1/√fan_in.
    #[default]
    PyTorch,
    /// Normal with variance 2/fan_in (He et al. 2015).
    Kaiming,
    /// Uniform in ±√(6/(fan_in + fan_out)) (Glorot and Bengio 2010).
    Xavier,
    /// Orthonormal rows, or columns if there are fewer (Saxe et al. 2014).
    Orthogonal,
    /// Normal with this standard deviation, embeddings included; linear layers that feed a sum of
    /// residual branches are scaled by 1/√(number of them) (Radford et al. 2019).
    Normal(f64),
}

/// Parameters and running statistics (mean 0, variance 1) at the start. Each block has its own
/// stream of random numbers; `f32` and `f64` start from the same values.
///
/// # Errors
/// A graph that is not well formed.
pub fn initial<T: Scalar>(graph: &Graph, init: &Init, seed: Seed) -> Result<(Vec<T>, Vec<T>), NetError> {
    let net = Net::<T>::new(graph.clone())?;
    let residual = residual_branches(graph);
    let mut theta = Vec::with_capacity(net.layout().len());
    let mut fan_in = 1.0;
    for (i, block) in net.layout().blocks().iter().enumerate() {
        let mut rng = seed.stream("init", i as u64);
        let mut values = vec![0.0; block.len()];
        match block.kind {
            Kind::Linear | Kind::Conv => {
                let (out, row) = (block.shape[0], block.len() / block.shape[0]);
                let taps: usize = block.shape[2..].iter().product();
                fan_in = row as f64;
                match init {
                    Init::PyTorch => uniform(&mut rng, fan_in.powf(-0.5), &mut values),
                    Init::Kaiming => gaussian(&mut rng, (2.0 / fan_in).sqrt(), &mut values),
                    Init::Xavier => uniform(&mut rng, (6.0 / (row + out * taps) as f64).sqrt(), &mut values),
                    Init::Orthogonal => orthogonal(&mut rng, out, row, &mut values),
                    Init::Normal(deviation) => {
                        let branch = residual.iter().any(|n| block.name.strip_suffix(".weight") == Some(n));
                        let scale = if branch { (residual.len() as f64).powf(-0.5) } else { 1.0 };
                        gaussian(&mut rng, deviation * scale, &mut values);
                    }
                }
            }
            // A bias follows its weight.
            Kind::Bias if *init == Init::PyTorch => uniform(&mut rng, fan_in.powf(-0.5), &mut values),
            Kind::Embedding => {
                let deviation = if let Init::Normal(s) = init { *s } else { 1.0 };
                gaussian(&mut rng, deviation, &mut values);
            }
            Kind::NormScale => values.fill(1.0),
            Kind::Other => values.fill(std::f64::consts::FRAC_PI_2),
            Kind::Bias | Kind::NormShift => {}
        }
        theta.extend(values.into_iter().map(T::from_f64));
    }
    let blocks = net.buffers().blocks().iter();
    let buffers = blocks.flat_map(|b| {
        let start = if b.name.ends_with("running_var") { T::ONE } else { T::ZERO };
        std::iter::repeat_n(start, b.len())
    });
    Ok((theta, buffers.collect()))
}

/// Linear layers that an `add` reads directly.
fn residual_branches(graph: &Graph) -> Vec<&str> {
    let sums = graph.nodes.iter().filter(|n| matches!(n.op, Op::Add {}));
    let read = sums.flat_map(|n| &n.inputs).filter(|&&i| i > 0).map(|&i| &graph.nodes[i - 1]);
    read.filter(|n| matches!(n.op, Op::Linear { .. })).map(|n| n.name.as_str()).collect()
}

fn uniform(rng: &mut impl Rng, bound: f64, values: &mut [f64]) {
    // 53 random bits as a number in [0, 1).
    let unit = 0.5f64.powi(53);
    values.iter_mut().for_each(|v| *v = bound * (2.0 * (rng.next_u64() >> 11) as f64 * unit - 1.0));
}

fn gaussian(rng: &mut impl Rng, deviation: f64, values: &mut [f64]) {
    normal(rng, values);
    values.iter_mut().for_each(|v| *v *= deviation);
}

/// Gram–Schmidt, each vector cleaned twice (which is enough), on the shorter side.
fn orthogonal(rng: &mut impl Rng, rows: usize, columns: usize, values: &mut [f64]) {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors = vec![0.0; rows * columns];
    normal(rng, &mut vectors);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..count {
        let (done, rest) = vectors.split_at_mut(i * length);
        let v = &mut rest[..length];
        for q in done.chunks(length).chain(done.chunks(length)) {
            let along = dot(v, q);
            v.iter_mut().zip(q).for_each(|(v, q)| *v -= along * q);
        }
        let size = dot(v, v).sqrt();
        v.iter_mut().for_each(|v| *v /= size);
    }
    for i in 0..rows {
        for j in 0..columns {
            values[i * columns + j] =
                if rows <= columns { vectors[i * length + j] } else { vectors[j * length + i] };
        }
    }
}
