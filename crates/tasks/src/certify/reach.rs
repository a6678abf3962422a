//! A lower bound beside the proved one: the steepest direction that an input is found to have.

use thalweg_core::{Seed, normal};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::{LipError, Norm};
use thalweg_net::{Directions, Mode, Model, Net, Pass, Preprocess};

use super::{LoadedNetwork, Settings, Subject};
use crate::Result;

/// Operations that a search takes, at most, about.
const BUDGET: f64 = 1e10;

/// The most that an input is found to reach, from the data's points among others; none where values are not known.
pub(super) fn reached(
    settings: &Settings,
    loaded: &LoadedNetwork,
    aimed: &Subject,
    points: &[Vec<f64>],
) -> Result<Option<f64>> {
    let seed = settings.seed.unwrap_or(1);
    if settings.samples() == 0 {
        return Ok(None);
    }
    let engine = loaded.engine.as_ref();
    // Convolutions take less than their matrices.
    let net = match engine {
        Some(engine) if aimed.area() > 2.0 * engine.macs + SMALL => None,
        _ => aimed.written_out().ok(),
    };
    let Some(net) = net else {
        return engine.map_or(Ok(None), |engine| engine.reach(settings, points, Seed(seed)));
    };
    match lower_bound(net, settings.norm(), points, &affordable(aimed, settings.samples(), seed)) {
        Ok(found) => Ok(Some(found)),
        Err(LipError::NoValues(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Networks of fewer weights are searched as matrices.
const SMALL: f64 = 2e5;

/// Fewer points and steps for large networks: each takes about ten operations a weight.
fn affordable(aimed: &Subject, points: usize, seed: u64) -> Sampling {
    let all = Sampling { points, seed, ..Sampling::default() };
    let cost = 10.0 * aimed.area();
    let share = (BUDGET / (cost * (all.points + 5 * all.max_steps) as f64)).min(1.0);
    let of = |n: usize| ((n as f64 * share) as usize).max(1);
    Sampling { points: of(all.points), max_steps: of(all.max_steps), ..all }
}

/// A model as its own engine computes it, in double precision: for networks too large to be written out.
#[derive(Clone, Debug)]
pub struct Engine {
    model: Model,
    preprocess: Preprocess,
    macs: f64,
}

/// Rounds of the power iteration at a point.
const ROUNDS: usize = 3;

impl Engine {
    pub(super) fn new(model: Model, preprocess: Preprocess) -> Result<Self> {
        let macs = model.graph.macs()?.into_iter().map(|m| m as f64).sum::<f64>().max(1.0);
        Ok(Self { model, preprocess, macs })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn reach(&self, settings: &Settings, points: &[Vec<f64>], seed: Seed) -> Result<Option<f64>> {
        let mut at = At::new(self, settings)?;
        // A round is a pass with a direction and one back: about twelve operations for each of one pass forwards.
        let rounds = (BUDGET / (12.0 * self.macs)) as usize;
        let count = (rounds / 2 / ROUNDS).clamp(2, 100).min(settings.samples());
        let steps = (rounds / 2 / ROUNDS).clamp(2, 100);
        let n = at.gain.len();
        let gaussian = |stream: &str, i: usize, scale: f64| {
            let mut x = vec![0.0; n];
            normal(&mut seed.stream(stream, i as u64), &mut x);
            x.iter_mut().for_each(|x| *x *= scale);
            x
        };
        let mut best = (0.0, vec![0.0; n], vec![0.0; n]);
        for i in 0..count {
            let mut x = gaussian("lipschitz", i, [0.1, 0.5, 1.0, 3.0][i % 4]);
            if i % 2 == 0 && !points.is_empty() {
                // Beside a point of the data, since many pixels of 0 may lie exactly at kinks.
                let given = &points[(i / 2) * points.len() / count.div_ceil(2)];
                x = gaussian("beside", i, 1e-3).iter().zip(given).map(|(d, x)| x + d).collect();
            }
            let (value, v) = at.steepest(&x, gaussian("direction", i, 1.0))?;
            if value > best.0 {
                best = (value, x, v);
            }
        }
        let mut length = 1.0;
        for step in 0..steps {
            let (value, x, v) = &best;
            let sign = if step % 2 == 0 { length } else { -length };
            let y: Vec<f64> = x.iter().zip(v).map(|(x, v)| x + sign * v).collect();
            let (better, w) = at.steepest(&y, v.clone())?;
            if better > *value {
                best = (better, y, w);
            } else if step % 2 == 1 {
                length *= 0.7;
            }
        }
        Ok(best.0.is_finite().then_some(best.0 * (1.0 - 1e-9)))
    }
}

/// The engine's workspace.
struct At {
    net: Net<f64>,
    theta: Vec<f64>,
    buffers: Vec<f64>,
    /// 1/std and mean of each input.
    gain: Vec<f64>,
    mean: Vec<f64>,
    pass: Pass<f64>,
    norm: Norm,
    /// The output that is asked for, and the one that is taken off.
    only: Option<(usize, Option<usize>)>,
}

impl At {
    fn new(engine: &Engine, settings: &Settings) -> Result<Self> {
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let Model { graph, theta, buffers, .. } = &engine.model;
        let n: usize = graph.input.iter().product();
        let channels = graph.input.last().copied().unwrap_or(1);
        let spread = |v: &[f32]| (0..n).map(|i| f64::from(v[i % channels % v.len()])).collect::<Vec<_>>();
        Ok(Self {
            net: Net::new(graph.clone())?,
            theta: wide(theta),
            buffers: wide(buffers),
            gain: spread(&engine.preprocess.std).into_iter().map(|s| 1.0 / s).collect(),
            mean: spread(&engine.preprocess.mean),
            pass: Pass::default(),
            norm: settings.norm(),
            only: settings.pair.map(|(k, j)| (k, Some(j))).or(settings.output_row.map(|k| (k, None))),
        })
    }

    /// J v, of the outputs that are asked for.
    fn along(&mut self, x: &[f64], v: &[f64]) -> Result<Vec<f64>> {
        let v: Vec<f64> = v.iter().zip(&self.gain).map(|(v, g)| v * g).collect();
        let along = Directions { theta: &[], x: &[&v] };
        self.pass.run(&self.net, &self.theta, &self.buffers, x, along, Mode::Eval)?;
        let y = self.pass.output_tangent(0).unwrap_or_default();
        Ok(match self.only {
            Some((k, j)) => vec![y[k] - j.map_or(0.0, |j| y[j])],
            None => y.to_vec(),
        })
    }

    /// Jᵀ u.
    fn back(&mut self, x: &[f64], u: &[f64]) -> Result<Vec<f64>> {
        let last = self.net.graph().nodes.len();
        let outputs = self.net.output_shape().iter().product();
        let u = match self.only {
            Some((k, j)) => {
                let mut all = vec![0.0; outputs];
                all[k] = u[0];
                j.into_iter().for_each(|j| all[j] = -u[0]);
                all
            }
            None => u.to_vec(),
        };
        let (theta, buffers) = (&self.theta, &self.buffers);
        let g = self.pass.vjp(&self.net, theta, buffers, x, Mode::Eval, last, &u, None)?;
        Ok(g.iter().zip(&self.gain).map(|(g, s)| g * s).collect())
    }

    /// A direction of unit length that J stretches most, as far as some rounds from `v` find it, and by how much.
    fn steepest(&mut self, x: &[f64], v: Vec<f64>) -> Result<(f64, Vec<f64>)> {
        let seen: Vec<f64> = (0..x.len()).map(|i| (x[i] - self.mean[i]) * self.gain[i]).collect();
        let two = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut v = self.unit(v);
        let mut best = (0.0, v.clone());
        for _ in 0..ROUNDS {
            let y = self.along(&seen, &v)?;
            let l1 = self.norm == Norm::Linf;
            let value = if l1 { y.iter().map(|y| y.abs()).sum() } else { two(&y) };
            if value <= best.0 || value.is_nan() {
                break;
            }
            best = (value, v);
            let pull = if l1 { y.into_iter().map(f64::signum).collect() } else { y };
            let back = self.back(&seen, &pull)?;
            v = self.unit(back);
        }
        Ok(best)
    }

    fn unit(&self, v: Vec<f64>) -> Vec<f64> {
        match self.norm {
            Norm::L2 => {
                let length = v.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
                v.into_iter().map(|v| v / length).collect()
            }
            _ => v.into_iter().map(|v| if v < 0.0 { -1.0 } else { 1.0 }).collect(),
        }
    }
}
