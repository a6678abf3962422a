use faer::{Accum, MatMut, MatRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Block, Invalid, Iterate, Kind, Method, MethodError, Objective, Progress, Real, Seed};
use thalweg_linalg::dense::multiply;
use thalweg_linalg::vector::{dot, each2, each3};

use crate::adam::{Moments, adam_update};
use crate::descent::check_betas;
use crate::{FirstOrderState, Group, Schedule, StepSettings, group};

/// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum whose matrices are
/// orthogonalised by Newton–Schulz before the step, θ ← (1 − ηλ) θ − η √max(1, rows/columns) O.
///
/// Weights of linear maps and convolutions (flattened to `[out, in·k…]`) are moved so; biases,
/// norms, embeddings and the blocks in `adam_blocks` by AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Muon {
    /// Learning rate η ≥ 0 of the matrices. Default 0.02.
    pub lr: f64,
    /// Momentum in [0, 1). Default 0.95.
    pub momentum: f64,
    /// Nesterov's variant. Default on.
    pub nesterov: bool,
    /// Newton–Schulz iterations, 1 to 20. Default 5.
    pub iterations: u32,
    /// Decoupled weight decay λ ≥ 0, of all blocks. Default 0.
    pub weight_decay: f64,
    /// Factor on both learning rates. Default constant.
    pub schedule: Schedule,
    /// Overrides for some blocks.
    pub groups: Vec<Group>,
    /// Learning rate ≥ 0 of the AdamW part. Default 1e-3.
    pub adam_lr: f64,
    /// Decay rates of the AdamW part. Default (0.9, 0.95).
    pub betas: (f64, f64),
    /// Added to the denominator of the AdamW part, ≥ 0. Default 1e-8.
    pub eps: f64,
    /// Patterns of matrices that AdamW moves too, e.g. `head.*`. Default none.
    pub adam_blocks: Vec<String>,
}

impl Default for Muon {
    fn default() -> Self {
        let (schedule, groups, adam_blocks) = Default::default();
        Self {
            lr: 0.02,
            momentum: 0.95,
            nesterov: true,
            iterations: 5,
            weight_decay: 0.0,
            schedule,
            groups,
            adam_lr: 1e-3,
            betas: (0.9, 0.95),
            eps: 1e-8,
            adam_blocks,
        }
    }
}

/// State of [`Muon`]: `m` is also the momentum of the matrices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Real")]
pub struct MuonState<T> {
    descent: FirstOrderState<T>,
    moments: Moments<T>,
}

impl<T> Iterate<T> for MuonState<T> {
    fn theta(&self) -> &[T] {
        self.descent.theta()
    }
}

impl Muon {
    fn pace(&self) -> StepSettings<'_> {
        let Self { weight_decay, schedule, groups, .. } = self;
        StepSettings { lr: self.lr, weight_decay: *weight_decay, schedule, groups }
    }

    fn orthogonalises(&self, block: &Block) -> bool {
        let listed = || self.adam_blocks.iter().any(|p| group::glob(p, &block.name));
        matches!(block.kind, Kind::Linear | Kind::Conv) && block.shape.len() >= 2 && !listed()
    }
}

impl<P: Objective + ?Sized> Method<P> for Muon {
    type State = MuonState<P::Scalar>;
    type Solution = Vec<P::Scalar>;

    fn name(&self) -> &'static str {
        "muon"
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.pace().validate()?;
        Invalid::in_half_open("momentum", self.momentum, 0.0, 1.0)?;
        let legal = (1..=20).contains(&self.iterations);
        Invalid::check(legal, "iterations", self.iterations, "a whole number from 1 to 20")?;
        Invalid::at_least_zero("adam_lr", self.adam_lr)?;
        check_betas(self.betas)?;
        Invalid::at_least_zero("eps", self.eps)
    }

    fn init(&self, problem: &mut P, _seed: Seed) -> Result<Self::State, MethodError> {
        for pattern in &self.adam_blocks {
            group::known(problem.layout(), "adam_blocks", pattern)?;
        }
        let descent = FirstOrderState::new(problem)?;
        let moments = Moments::zero(descent.theta.len());
        Ok(MuonState { descent, moments })
    }

    fn step(&self, problem: &mut P, state: &mut Self::State) -> Result<Progress, MethodError> {
        let MuonState { descent, moments } = state;
        let real = P::Scalar::from_f64;
        let adam_factor = self.schedule.factor(descent.t) * self.adam_lr;
        descent.step(problem, self.pace(), |mut at| {
            if !self.orthogonalises(at.rates.block) {
                at.lr = adam_factor * at.rates.lr_scale;
                let shrink = at.lr * at.rates.weight_decay;
                return adam_update(at, moments, self.betas, self.eps, (0.0, shrink));
            }
            let mu = real(self.momentum);
            let rest = real(1.0 - self.momentum);
            let mut update = at.grad.to_vec();
            let momentum = &mut moments.m[at.rates.range.clone()];
            let nesterov = self.nesterov;
            each3(&mut update, momentum, at.grad, |u, m, g| {
                *m = mu * *m + rest * g;
                *u = if nesterov { rest * g + mu * *m } else { *m };
            });
            let rows = at.rates.block.shape[0];
            let columns = update.len() / rows.max(1);
            orthogonalise(&mut update, rows, columns, self.iterations);
            let stretch = (rows as f64 / columns.max(1) as f64).max(1.0).sqrt();
            let (keep, step) = (real(1.0 - at.lr * at.rates.weight_decay), real(at.lr * stretch));
            each2(at.theta, &update, |x, u| *x = keep * *x - step * u);
        })
    }

    fn finish(&self, _problem: &mut P, state: Self::State) -> Result<Self::Solution, MethodError> {
        Ok(state.descent.theta)
    }
}

/// Moves the singular values of the row-major `[rows, columns]` matrix near 1 (between about 0.7
/// and 1.2 after five iterations) and keeps its singular vectors: X ← aX + (bA + cA²)X with
/// A = XXᵀ, started at X/‖X‖. Computed in single precision.
pub fn orthogonalise<T: Real>(x: &mut [T], rows: usize, columns: usize, iterations: u32) {
    const A: f32 = 3.4445;
    const B: f32 = -4.7750;
    const C: f32 = 2.0315;
    let norm = dot(x, x).sqrt();
    if norm == 0.0 {
        return; // the zero matrix has no direction
    }
    // The short side first: A is small then. Column-major `[short, long]`.
    let (short, long) = (rows.min(columns), rows.max(columns));
    let index = |i: usize, j: usize| if rows <= columns { i * columns + j } else { j * columns + i };
    let entry = |at: usize| (x[index(at % short, at / short)].to_f64() / norm) as f32;
    let mut m: Vec<f32> = (0..x.len()).map(entry).collect();
    for _ in 0..iterations {
        let wide = MatRef::from_column_major_slice(&m, short, long);
        let gram = product(wide, wide.transpose());
        let square = MatRef::from_column_major_slice(&gram, short, short);
        let mut poly = product(square, square);
        poly.iter_mut().zip(&gram).for_each(|(p, g)| *p = B * g + C * *p);
        let mut next = product(MatRef::from_column_major_slice(&poly, short, short), wide);
        next.iter_mut().zip(&m).for_each(|(n, m)| *n += A * m);
        m = next;
    }
    for (at, m) in m.into_iter().enumerate() {
        x[index(at % short, at / short)] = T::from_f64(f64::from(m));
    }
}

/// AB, column-major, in panels of a fixed number of columns, so that threads do not change the
/// bits.
fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Vec<f32> {
    const PANEL: usize = 128;
    let rows = a.nrows();
    let mut c = vec![0.0; rows * b.ncols()];
    c.par_chunks_mut(rows * PANEL).enumerate().for_each(|(panel, c)| {
        let columns = c.len() / rows;
        let c = MatMut::from_column_major_slice_mut(c, rows, columns);
        multiply(c, Accum::Replace, a, b.subcols(panel * PANEL, columns));
    });
    c
}
