//! Graphs and data to try methods on: the generator that the literature on continuous DAG learning
//! shares (Zheng, Aragam, Ravikumar and Xing 2018).

use std::str::FromStr;

use faer::Mat;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, Gumbel, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed};
use thalweg_linalg::dense::{Cholesky, product};

use crate::graph::topological_order;
use crate::{Sample, TopoError};

/// A family of random graphs with about `k` edges per node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Family {
    /// Erdős–Rényi: k·d edges (rounded) anywhere, directed along a random order. `er:K`.
    ErdosRenyi(f64),
    /// Barabási–Albert: each node sends k edges to earlier ones (all of them, where there are fewer), the
    /// likelier the more edges they have. `sf:K`, a whole number.
    ScaleFree(usize),
    /// k·d edges (rounded) from the first fifth of the nodes to the rest. `bp:K`.
    Bipartite(f64),
}

impl FromStr for Family {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let legal = || Invalid {
            field: "graph".into(),
            value: text.into(),
            legal: "er:K, sf:K or bp:K with K edges per node, e.g. er:4 or er:0.5; sf takes a whole number"
                .into(),
        };
        let (name, k) = text.split_once(':').ok_or_else(legal)?;
        let share = k.parse().ok().filter(|k: &f64| *k > 0.0 && k.is_finite()).ok_or_else(legal)?;
        match name {
            "er" => Ok(Self::ErdosRenyi(share)),
            "sf" => Ok(Self::ScaleFree(k.parse().map_err(|_| legal())?)),
            "bp" => Ok(Self::Bipartite(share)),
            _ => Err(legal()),
        }
    }
}

impl TryFrom<String> for Family {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Family> for String {
    fn from(family: Family) -> Self {
        match family {
            Family::ErdosRenyi(k) => format!("er:{k}"),
            Family::ScaleFree(k) => format!("sf:{k}"),
            Family::Bipartite(k) => format!("bp:{k}"),
        }
    }
}

/// What is added to each node, or, for the last two, how it is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Normal, variance 1 everywhere.
    #[default]
    GaussEv,
    /// Normal, variances drawn from U(0.5, 2).
    GaussNv,
    /// Exponential, mean 1.
    Exp,
    /// Gumbel, scale 1.
    Gumbel,
    /// Uniform on [−1, 1].
    Uniform,
    /// Binary nodes, P(1) = 1/(1 + exp(−parents' sum)).
    Logistic,
    /// Counts with mean exp(parents' sum), at most 10⁶.
    Poisson,
}

/// How parents act on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Weighted sum.
    #[default]
    Linear,
    /// A network with 100 sigmoid units.
    Mlp,
    /// tanh, cos and sin of three weighted sums.
    Mim,
    /// A draw from a Gaussian process over all parents.
    Gp,
    /// The sum of a draw for each parent.
    GpAdd,
}

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// Family of the graph.
    pub family: Family,
    /// Variables, ≥ 2.
    pub dim: usize,
    /// Samples, ≥ 2.
    pub samples: usize,
    /// Noise.
    pub noise: Noise,
    /// How parents act.
    pub mechanism: Mechanism,
}

/// Largest mean of a count.
const MOST: f64 = 1e6;

impl Simulation {
    /// True weights (1 for a mechanism that is not linear) and data.
    ///
    /// # Errors
    /// Sizes that do not fit together.
    pub fn run(&self, seed: Seed) -> Result<(Mat<f64>, Sample), TopoError> {
        let Self { dim, samples, noise, mechanism, .. } = *self;
        Invalid::check(dim >= 2, "dim", dim, "at least 2")?;
        Invalid::check(samples >= 2, "samples", samples, "at least 2")?;
        if mechanism != Mechanism::Linear && matches!(noise, Noise::Logistic | Noise::Poisson) {
            return Err(TopoError::Combination {
                what: "a nonlinear mechanism".into(),
                with: "logistic or poisson noise".into(),
                remedy: "set `mechanism` to linear, or choose another `noise`".into(),
            });
        }
        let w = self.weights(seed)?;
        let order = topological_order(&w).unwrap_or_default();
        let mut rng = seed.stream("topo-data", 0);
        let mut x = Mat::zeros(samples, dim);
        for &v in &order {
            let parents: Vec<usize> = (0..dim).filter(|u| w[(*u, v)] != 0.0).collect();
            let own: Vec<f64> = parents.iter().map(|u| w[(*u, v)]).collect();
            let column = self.column(&x, &parents, &own, &mut rng);
            (0..samples).for_each(|i| x[(i, v)] = column[i]);
        }
        let truth = match mechanism {
            Mechanism::Linear => w,
            _ => Mat::from_fn(dim, dim, |u, v| f64::from(w[(u, v)] != 0.0)),
        };
        Ok((truth, Sample::unnamed(x)?))
    }

    /// A random graph of the family with weights from U(±[0.5, 2]).
    ///
    /// # Errors
    /// More edges per node than the family can have over so many nodes.
    pub fn weights(&self, seed: Seed) -> Result<Mat<f64>, TopoError> {
        let d = self.dim;
        let mut rng = seed.stream("topo-graph", 0);
        let mut labels: Vec<usize> = (0..d).collect();
        labels.shuffle(&mut rng);
        let mut edges: Vec<(usize, usize)> = Vec::new();
        let mut any_of = |pairs: Vec<(usize, usize)>, k: f64, rng: &mut _| {
            let (wanted, all) = ((k * d as f64).round() as usize, pairs.len());
            // Cut, so that what the message says is possible.
            let most = (100.0 * all as f64 / d as f64).floor() / 100.0;
            let legal = format!("at most {most} ({all} edges over {d} nodes)");
            Invalid::check(wanted <= all, "graph", format!("{k} edges per node"), &legal)?;
            let mut pairs = pairs;
            pairs.shuffle(rng);
            edges = pairs[..wanted].to_vec();
            Ok::<(), TopoError>(())
        };
        match self.family {
            Family::ErdosRenyi(k) => {
                any_of((0..d).flat_map(|u| (u + 1..d).map(move |v| (u, v))).collect(), k, &mut rng)?;
            }
            Family::Bipartite(k) => {
                let top = d / 5;
                any_of((0..top).flat_map(|u| (top..d).map(move |v| (u, v))).collect(), k, &mut rng)?;
            }
            Family::ScaleFree(k) => {
                Invalid::check(k < d, "graph", format!("{k} edges per node"), &format!("at most {}", d - 1))?;
                // Each node stands in the urn once for itself and once for each edge it received.
                let mut urn = vec![0];
                for v in 1..d {
                    let mut targets: Vec<usize> = Vec::new();
                    while targets.len() < k.min(v) {
                        let u = urn[rng.random_range(0..urn.len())];
                        if !targets.contains(&u) {
                            targets.push(u);
                        }
                    }
                    urn.extend(&targets);
                    urn.push(v);
                    edges.extend(targets.iter().map(|u| (v, *u)));
                }
            }
        }
        let mut w = Mat::zeros(d, d);
        for (u, v) in edges {
            w[(labels[u], labels[v])] = signed(&mut rng, 0.5, 2.0);
        }
        Ok(w)
    }

    /// All samples of a node.
    fn column(&self, x: &Mat<f64>, parents: &[usize], weights: &[f64], rng: &mut impl Rng) -> Vec<f64> {
        let n = self.samples;
        let scale = match self.noise {
            Noise::GaussNv => rng.random_range(0.5f64..2.0).sqrt(),
            _ => 1.0,
        };
        let means = match self.mechanism {
            Mechanism::Linear => (0..n).map(|i| dot(x, i, parents, weights)).collect(),
            _ if parents.is_empty() => vec![0.0; n],
            Mechanism::Mlp => {
                let units: Vec<(Vec<f64>, f64)> = (0..100)
                    .map(|_| {
                        let first = parents.iter().map(|_| signed(rng, 0.5, 2.0)).collect();
                        (first, signed(rng, 0.5, 2.0))
                    })
                    .collect();
                let unit = |i: usize, u: &(Vec<f64>, f64)| u.1 / (1.0 + (-dot(x, i, parents, &u.0)).exp());
                (0..n).map(|i| units.iter().map(|u| unit(i, u)).sum()).collect()
            }
            Mechanism::Mim => {
                let mut sums = || -> Vec<f64> { parents.iter().map(|_| signed(rng, 0.5, 2.0)).collect() };
                let (a, b, c) = (sums(), sums(), sums());
                let at = |i: usize, w: &[f64]| dot(x, i, parents, w);
                (0..n).map(|i| at(i, &a).tanh() + at(i, &b).cos() + at(i, &c).sin()).collect()
            }
            Mechanism::Gp => process(x, parents, rng),
            Mechanism::GpAdd => {
                let mut sum = vec![0.0; n];
                for p in parents {
                    sum.iter_mut().zip(process(x, &[*p], rng)).for_each(|(s, f)| *s += f);
                }
                sum
            }
        };
        means.into_iter().map(|mean| draw(self.noise, mean, scale, rng)).collect()
    }
}

/// One value of a node whose parents give `mean`.
fn draw(noise: Noise, mean: f64, scale: f64, rng: &mut impl Rng) -> f64 {
    let normal = |rng: &mut _| -> f64 { StandardNormal.sample(rng) };
    match noise {
        Noise::GaussEv | Noise::GaussNv => mean + scale * normal(rng),
        Noise::Exp => {
            mean + {
                let e: f64 = Exp1.sample(rng);
                e
            }
        }
        // Location 0 and scale 1 are always legal.
        Noise::Gumbel => mean + Gumbel::new(0.0, 1.0).map_or(0.0, |g| g.sample(rng)),
        Noise::Uniform => mean + rng.random_range(-1.0..1.0),
        Noise::Logistic => f64::from(rng.random::<f64>() < 1.0 / (1.0 + (-mean).exp())),
        Noise::Poisson => Poisson::new(mean.exp().clamp(1e-12, MOST)).map_or(0.0, |p| p.sample(rng)),
    }
}

/// From U(±[low, high]).
fn signed(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    let size = rng.random_range(low..high);
    if rng.random::<bool>() { size } else { -size }
}

fn dot(x: &Mat<f64>, i: usize, parents: &[usize], weights: &[f64]) -> f64 {
    parents.iter().zip(weights).map(|(u, w)| x[(i, *u)] * w).sum()
}

/// A draw from the Gaussian process with kernel exp(−|x − y|²/2) at the samples of these variables.
fn process(x: &Mat<f64>, parents: &[usize], rng: &mut impl Rng) -> Vec<f64> {
    let n = x.nrows();
    let kernel = Mat::from_fn(n, n, |i, j| {
        let distance: f64 = parents.iter().map(|p| (x[(i, *p)] - x[(j, *p)]).powi(2)).sum();
        (-0.5 * distance).exp() + if i == j { 1e-8 } else { 0.0 }
    });
    let z: Mat<f64> = Mat::from_fn(n, 1, |_, _| StandardNormal.sample(rng));
    // The jitter keeps the kernel positive definite, except for rounding of many equal points.
    match Cholesky::new(&kernel) {
        Ok(factor) => {
            let f = product(factor.lower(), &z);
            (0..n).map(|i| f[(i, 0)]).collect()
        }
        Err(_) => vec![0.0; n],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation(family: &str, noise: Noise, mechanism: Mechanism) -> Simulation {
        Simulation { family: family.parse().unwrap(), dim: 20, samples: 200, noise, mechanism }
    }

    #[test]
    fn graphs_are_acyclic_with_the_promised_edges() {
        for (family, edges) in [("er:2", 40), ("sf:4", 70), ("bp:2", 40)] {
            let s = simulation(family, Noise::GaussEv, Mechanism::Linear);
            let w = s.weights(Seed(3)).unwrap();
            assert!(topological_order(&w).is_some());
            let weights = crate::graph::edges(&w);
            assert_eq!(weights.len(), edges, "{family}");
            assert!(weights.iter().all(|e| (0.5..2.0).contains(&e.2.abs())));
        }
        let dense = Simulation {
            family: "er:10".parse().unwrap(),
            ..simulation("er:2", Noise::Exp, Mechanism::Linear)
        };
        assert!(dense.weights(Seed(0)).is_err());
        assert!("er".parse::<Family>().is_err() && "xy:2".parse::<Family>().is_err());
    }

    #[test]
    fn every_noise_and_mechanism_gives_data() {
        for noise in [Noise::GaussNv, Noise::Exp, Noise::Gumbel, Noise::Uniform, Noise::Poisson] {
            let s = simulation("er:1", noise, Mechanism::Linear);
            let (w, x) = s.run(Seed(1)).unwrap();
            assert_eq!((x.d(), x.n(), crate::graph::edges(&w).len()), (20, 200, 20));
            assert_eq!(s.run(Seed(1)).unwrap().1.x(), x.x());
        }
        let (_, x) = simulation("er:1", Noise::Logistic, Mechanism::Linear).run(Seed(1)).unwrap();
        assert!(x.x().col(0).iter().all(|v| *v == 0.0 || *v == 1.0));
        for mechanism in [Mechanism::Mlp, Mechanism::Mim, Mechanism::Gp, Mechanism::GpAdd] {
            let (w, _) = simulation("er:1", Noise::GaussEv, mechanism).run(Seed(1)).unwrap();
            assert!(crate::graph::edges(&w).iter().all(|e| e.2 == 1.0));
        }
    }

    #[test]
    fn residuals_of_the_truth_are_the_noise() {
        let s = Simulation { samples: 20_000, ..simulation("er:2", Noise::GaussEv, Mechanism::Linear) };
        let (w, x) = s.run(Seed(5)).unwrap();
        for v in 0..20 {
            let residual = |i: usize| x.x()[(i, v)] - (0..20).map(|u| x.x()[(i, u)] * w[(u, v)]).sum::<f64>();
            let variance = (0..20_000).map(|i| residual(i).powi(2)).sum::<f64>() / 20_000.0;
            assert!((variance - 1.0).abs() < 0.06, "{variance}");
        }
    }
}
