//! A lower bound: the largest norm of a Jacobian found.

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Seed, normal};
use thalweg_linalg::dense::apply;

use crate::{Network, Norm};

/// How the lower bound is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Random normal points, besides those given. Default 200.
    pub points: usize,
    /// Steps of ascent from each of the five best. Default 200.
    #[serde(alias = "steps")]
    pub max_steps: usize,
    /// Seed of the points. Default 1.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { points: 200, max_steps: 200, seed: 1 }
    }
}

/// A number that the Lipschitz constant is at least, up to rounding: the largest norm of the
/// Jacobian over `points`, random points, and an ascent along its leading direction. Points within
/// 1e-9 of a kink or a tie are left out. `None` if the activation's values are not known.
pub fn lower_bound(net: &Network, norm: Norm, points: &[Vec<f64>], sampling: &Sampling) -> Option<f64> {
    let random = (0..sampling.points).map(|i| {
        let mut x = vec![0.0; net.inputs()];
        normal(&mut Seed(sampling.seed).stream("lipschitz", i as u64), &mut x);
        let scale = [0.1, 0.5, 1.0, 3.0][i % 4];
        x.iter_mut().for_each(|x| *x *= scale);
        x
    });
    let all: Vec<Vec<f64>> = points.iter().cloned().chain(random).collect();
    let at = |x: &Vec<f64>| steepest(&net.jacobian(x)?.1, norm).map(|(value, v)| (value, x.clone(), v));
    let mut found: Vec<_> = all.par_iter().filter_map(at).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(5);
    let climb = |(mut value, mut x, mut v): (f64, Vec<f64>, Vec<f64>)| {
        let mut length = 1.0;
        for step in 0..sampling.max_steps {
            let sign = if step % 2 == 0 { length } else { -length };
            let y: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + sign * v).collect();
            match at(&y) {
                Some((better, y, w)) if better > value => (value, x, v) = (better, y, w),
                _ if step % 2 == 1 => length = if length < 1e-4 { 2.0 } else { 0.7 * length },
                _ => {}
            }
        }
        value
    };
    found.into_par_iter().map(climb).reduce_with(f64::max).map(|v| v * (1.0 - 1e-13))
}

/// A direction of unit length that J stretches most, as far as an iteration finds it, and by how
/// much.
fn steepest(j: &Mat<f64>, norm: Norm) -> Option<(f64, Vec<f64>)> {
    let transposed = j.transpose().to_owned();
    let two = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let row: Vec<f64> = (0..j.ncols()).map(|c| j[(0, c)] + 1e-3).collect();
    let unit = |v: Vec<f64>| match norm {
        Norm::L2 => {
            let length = two(&v);
            v.into_iter().map(|v| v / length).collect::<Vec<_>>()
        }
        _ => v.into_iter().map(|v| if v < 0.0 { -1.0 } else { 1.0 }).collect(),
    };
    let mut v = unit(row);
    let (mut best, mut at) = (0.0, v.clone());
    for _ in 0..100 {
        let y = apply(j, &v);
        let value = if norm == Norm::Linf { y.iter().map(|y| y.abs()).sum() } else { two(&y) };
        if value.is_nan() {
            return None;
        }
        let gain = value - best;
        if value > best {
            (best, at) = (value, v);
        }
        if gain <= 1e-10 * value {
            break;
        }
        let pull = if norm == Norm::Linf { y.into_iter().map(f64::signum).collect() } else { y };
        v = unit(apply(&transposed, &pull));
    }
    Some((best, at))
}
