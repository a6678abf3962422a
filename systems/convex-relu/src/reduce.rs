//! Fewer neurons with the same outputs: Carathéodory's theorem at work.

use faer::Mat;
use thalweg_linalg::dense::Svd;

use crate::network::Neuron;
use crate::samples::{dot, norm};
use crate::{ConvexError, Network, Samples};

/// Reduces a network to at most n neurons an output without changing its outputs on the samples or
/// raising the weight decay: while the atoms ±(Xû_j)₊ depend, mass moves along the dependence
/// until one neuron dies.
///
/// # Errors
/// Samples of another size.
pub fn reduce(network: &Network, samples: &Samples) -> Result<Network, ConvexError> {
    network.check(samples.d())?;
    let merged = merge(network);
    let mut neurons = Vec::new();
    for output in 0..network.outputs {
        let own: Vec<Neuron> = merged.neurons.iter().filter(|n| n.output == output).cloned().collect();
        neurons.extend(independent(own, samples));
    }
    Ok(Network { neurons, ..merged })
}

/// Drops neurons below 1e-7 of the whole mass and merges parallel ones of one sign; changes no
/// output anywhere, so it is safe for robust networks too.
pub fn merge(network: &Network) -> Network {
    let total: f64 = network.neurons.iter().map(mass).sum();
    let mut kept: Vec<(Vec<f64>, Neuron)> = Vec::new();
    for neuron in network.neurons.iter().filter(|n| mass(n) > 1e-7 * total) {
        let unit = direction(neuron);
        let same = |(u, n): &&mut (Vec<f64>, Neuron)| {
            n.output == neuron.output && n.scale * neuron.scale > 0.0 && distance(u, &unit) <= 1e-10
        };
        match kept.iter_mut().find(same) {
            Some((u, n)) => *n = scaled(u, (mass(n) + mass(neuron)) * n.scale.signum(), n.output),
            None => kept.push((unit, neuron.clone())),
        }
    }
    Network { neurons: kept.into_iter().map(|(_, n)| n).collect(), ..network.clone() }
}

fn independent(neurons: Vec<Neuron>, samples: &Samples) -> Vec<Neuron> {
    let mut units: Vec<Vec<f64>> = neurons.iter().map(direction).collect();
    let mut weights: Vec<f64> = neurons.iter().map(|n| mass(n) * n.scale.signum()).collect();
    while units.len() > 1 {
        let atoms = Mat::from_fn(samples.n(), units.len(), |k, j| {
            dot(samples.row(k), &units[j]).max(0.0) * weights[j].signum()
        });
        let Some(z) = dependence(&atoms) else { break };
        let shrink = |(c, z): (&f64, &f64)| c.abs() / z;
        let steps = weights.iter().zip(&z).filter(|(_, z)| **z > 1e-14).map(shrink);
        let Some(step) = steps.min_by(f64::total_cmp) else { break };
        weights.iter_mut().zip(&z).for_each(|(c, z)| *c = c.signum() * (c.abs() - step * z).max(0.0));
        let total: f64 = weights.iter().map(|c| c.abs()).sum();
        let alive: Vec<bool> = weights.iter().map(|c| c.abs() > 1e-12 * total).collect();
        let mut keep = alive.iter();
        units.retain(|_| keep.next() == Some(&true));
        let mut keep = alive.iter();
        weights.retain(|_| keep.next() == Some(&true));
        if alive.iter().all(|a| *a) {
            break;
        }
    }
    let output = neurons.first().map_or(0, |n| n.output);
    units.iter().zip(weights).map(|(u, c)| scaled(u, c, output)).collect()
}

/// z ≠ 0 with Σ z_j a_j = 0 and Σ z_j ≥ 0, if the columns depend.
fn dependence(atoms: &Mat<f64>) -> Option<Vec<f64>> {
    let m = atoms.ncols();
    // The eigenvector of AᵀA at its smallest eigenvalue loses half the digits; the SVD does not.
    let Svd { values: sizes, v, .. } = Svd::full(atoms).ok()?;
    let dependent = m > atoms.nrows() || sizes[m - 1] <= 1e-11 * sizes[0];
    let z: Vec<f64> = dependent.then(|| (0..m).map(|j| v[(j, m - 1)]).collect())?;
    let flip = if z.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
    Some(z.into_iter().map(|z| flip * z).collect())
}

/// ‖v‖ of the neuron x ↦ ±(xᵀv)₊.
fn mass(neuron: &Neuron) -> f64 {
    norm(&neuron.weights) * neuron.scale.abs()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

fn direction(neuron: &Neuron) -> Vec<f64> {
    let length = norm(&neuron.weights);
    neuron.weights.iter().map(|w| w / length).collect()
}

fn scaled(unit: &[f64], weight: f64, output: usize) -> Neuron {
    let v: Vec<f64> = unit.iter().map(|u| u * weight.abs()).collect();
    Neuron::balanced(&v, weight.signum(), output)
}
