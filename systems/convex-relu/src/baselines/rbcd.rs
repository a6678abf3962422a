//! The published ADMM with random block coordinate descent.

use faer::{Mat, MatMut};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Problem, Progress, Seed};
use thalweg_linalg::dense::{Cholesky, product};

use super::paper::{PaperState, check_settings};
use crate::certificate::Certified;
use crate::samples::{add, dot};
use crate::{ConvexError, Loss, Program};

/// The paper's ADMM with the u-update by random block coordinate descent: quadratic cost, no factor
/// larger than d, any differentiable loss. Each block (u_i, z_i) takes the minimiser of its
/// quadratic majoriser (ℓ'' ≤ 1), which for the squared loss is the exact block minimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rbcd {
    /// Relative certified gap to stop at. Default 1e-4.
    pub tol: f64,
    /// Dual step γ/ρ in (0, (1 + √5)/2). Default 1.
    pub dual_step: f64,
    /// First threshold of the mean decrease that ends a u-update. Default 1e-3.
    pub threshold: f64,
    /// Factor of the threshold from one u-update to the next. Default 0.96.
    pub sharpen: f64,
    /// Block steps of one u-update at most, in multiples of P. Default 50.
    pub sweeps: u64,
    /// Iterations from one certificate to the next. Default 100.
    pub check_every: u64,
}

impl Default for Rbcd {
    fn default() -> Self {
        Self { tol: 1e-4, dual_step: 1.0, threshold: 1e-3, sharpen: 0.96, sweeps: 50, check_every: 100 }
    }
}

/// A program with the Cholesky factors of its blocks.
pub struct BlockProgram {
    program: Program,
    rho: f64,
    gram: Mat<f64>,
    /// I + XᵀX, for u_i + z_i.
    sum: Cholesky,
    /// I + XᵀX + (2/ρ) F_iᵀF_i, for u_i − z_i.
    difference: Vec<Cholesky>,
}

impl Problem for BlockProgram {}

impl BlockProgram {
    /// Factors for the penalty ρ.
    ///
    /// # Errors
    /// The hinge loss, several outputs, a linear part.
    pub fn new(program: Program, rho: f64) -> Result<Self, ConvexError> {
        Invalid::positive("rho", rho)?;
        Self::check(&program)?;
        let (samples, d) = (program.samples(), program.samples().d());
        let gram = product(samples.t(), samples.mat());
        let c = Mat::<f64>::identity(d, d) + &gram;
        let block = |i: usize| {
            let pattern = program.geometry().pattern(i);
            let f = Mat::from_fn(samples.n(), d, |k, j| pattern[k] * samples.row(k)[j]);
            let m = &c + product(f.transpose(), &f) * faer::Scale(2.0 / rho);
            Cholesky::new(m).map_err(|_| ConvexError::Factor { what: "block matrix" })
        };
        let difference = (0..program.patterns().len()).map(block).collect::<Result<_, _>>()?;
        let sum = crate::program::gram(samples)?;
        Ok(Self { program, rho, gram, sum, difference })
    }

    /// Refuses programs that the method does not solve.
    ///
    /// # Errors
    /// As [`BlockProgram::new`].
    pub fn check(program: &Program) -> Result<(), ConvexError> {
        program.check_plain("rbcd")?;
        if program.loss() == Loss::Hinge {
            let what = "the hinge loss, which has no gradient";
            return Err(ConvexError::Unsupported { method: "rbcd", what, instead: "admm" });
        }
        Ok(())
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// State of [`Rbcd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RbcdState {
    copies: PaperState,
    /// (u, z), `[d, 2P]`.
    u: Vec<f64>,
    /// F u, `[n]`.
    outputs: Vec<f64>,
    residual: f64,
    seed: Seed,
}

impl Rbcd {
    /// One step on the block (u_i, z_i) of the augmented Lagrangian, whose decrease is at least the
    /// one returned.
    fn block_step(
        &self,
        blocks: &BlockProgram,
        u: &mut [f64],
        outputs: &mut [f64],
        pulls: &[Vec<f64>],
        i: usize,
    ) -> f64 {
        let (program, rho) = (&blocks.program, blocks.rho);
        let (samples, p) = (program.samples(), program.patterns().len());
        let d = samples.d();
        let [g_u, g_z] = block_gradient(blocks, u, outputs, pulls, i);
        let mut a: Vec<f64> = g_u.iter().zip(&g_z).map(|(u, z)| -(u - z) / rho).collect();
        let mut b: Vec<f64> = g_u.iter().zip(&g_z).map(|(u, z)| -(u + z) / rho).collect();
        blocks.difference[i].solve_in_place(MatMut::from_column_major_slice_mut(&mut a, d, 1));
        blocks.sum.solve_in_place(MatMut::from_column_major_slice_mut(&mut b, d, 1));
        let mut decrease = 0.0;
        for j in 0..d {
            let (du, dz) = (0.5 * (b[j] + a[j]), 0.5 * (b[j] - a[j]));
            u[i * d + j] += du;
            u[(p + i) * d + j] += dz;
            decrease -= 0.5 * (g_u[j] * du + g_z[j] * dz);
        }
        let pattern = program.geometry().pattern(i);
        outputs.iter_mut().zip(samples.times(&a)).zip(pattern).for_each(|((r, h), on)| *r += on * h);
        decrease
    }
}

/// Gradients of the augmented Lagrangian in u_i and z_i.
pub(crate) fn block_gradient(
    blocks: &BlockProgram,
    u: &[f64],
    outputs: &[f64],
    pulls: &[Vec<f64>],
    i: usize,
) -> [Vec<f64>; 2] {
    let (program, rho) = (&blocks.program, blocks.rho);
    let (samples, p) = (program.samples(), program.patterns().len());
    let d = samples.d();
    let pattern = program.geometry().pattern(i);
    let mut h = vec![0.0; d];
    for (k, (r, y)) in outputs.iter().zip(program.targets()).enumerate() {
        if pattern[k] != 0.0 {
            add(&mut h, program.loss().slope(*r, *y), samples.row(k));
        }
    }
    [(i, 1.0), (p + i, -1.0)].map(|(block, sign)| {
        let u = &u[block * d..][..d];
        let own = |j: usize| u[j] + dot(blocks.gram.col_as_slice(j), u) - pulls[block][j];
        (0..d).map(|j| sign * h[j] + rho * own(j)).collect()
    })
}

impl Method<BlockProgram> for Rbcd {
    type State = RbcdState;
    type Solution = Certified;

    fn name(&self) -> &'static str {
        "rbcd"
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_settings(self.tol, self.dual_step, self.check_every)?;
        Invalid::positive("threshold", self.threshold)?;
        Invalid::share("sharpen", self.sharpen)?;
        Invalid::count("sweeps", self.sweeps)
    }

    fn init(&self, blocks: &mut BlockProgram, seed: Seed) -> Result<RbcdState, MethodError> {
        let program = &blocks.program;
        let u = vec![0.0; 2 * program.samples().d() * program.patterns().len()];
        let outputs = vec![0.0; program.samples().n()];
        Ok(RbcdState { copies: PaperState::new(program), u, outputs, residual: f64::INFINITY, seed })
    }

    fn step(&self, blocks: &mut BlockProgram, state: &mut RbcdState) -> Result<Progress, MethodError> {
        let program = &blocks.program;
        let p = program.patterns().len();
        let pulls: Vec<Vec<f64>> = (0..2 * p).map(|block| state.copies.pull(program, block)).collect();
        let iteration = state.copies.record.iteration;
        let decay = self.threshold * self.sharpen.powf(iteration as f64);
        let threshold = decay.min(0.1 * state.residual.powi(2));
        let mut rng = state.seed.stream("block", iteration);
        let window = (8.0 * (p as f64).sqrt()).ceil() as u64;
        let (mut evaluations, mut recent) = (0, 0.0);
        for step in 1..=self.sweeps * p as u64 {
            let i = rng.random_range(0..p);
            recent += self.block_step(blocks, &mut state.u, &mut state.outputs, &pulls, i);
            evaluations += 1;
            if step.is_multiple_of(window) {
                if recent < threshold * window as f64 {
                    break;
                }
                recent = 0.0;
            }
        }
        let (u, z) = state.u.split_at(state.u.len() / 2);
        state.outputs = program.predict(u, z); // no drift
        state.residual = state.copies.update(program, &state.u, blocks.rho, self.dual_step);
        if state.copies.record.iteration.is_multiple_of(self.check_every) {
            state.copies.check(program)?;
        }
        let progress = state.copies.record.progress(&[("primal_residual", state.residual)], self.tol);
        Ok(Progress { evaluations, ..progress })
    }

    fn finish(&self, blocks: &mut BlockProgram, mut state: RbcdState) -> Result<Certified, MethodError> {
        state.copies.check(&blocks.program)?;
        state.copies.record.end()
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::normal;

    use super::*;
    use crate::{Geometry, Patterns, Samples};

    /// Augmented Lagrangian of the paper's splitting in u.
    fn lagrangian(blocks: &BlockProgram, u: &[f64], pulls: &[Vec<f64>]) -> f64 {
        let program = &blocks.program;
        let d = program.samples().d();
        let (first, second) = u.split_at(u.len() / 2);
        let loss = program.loss().value(&program.predict(first, second), program.targets());
        let own = |(u, pull): (&[f64], &Vec<f64>)| {
            let h = program.samples().times(u);
            0.5 * (dot(u, u) + dot(&h, &h)) - dot(u, pull)
        };
        loss + blocks.rho * u.chunks(d).zip(pulls).map(own).sum::<f64>()
    }

    #[test]
    fn block_gradients_are_derivatives_and_block_steps_descend() {
        let mut rng = Seed(3).stream("test", 0);
        let mut x = vec![0.0; 12 * 3];
        normal(&mut rng, &mut x);
        let samples = Samples::new(x, 3).unwrap();
        let patterns = Patterns::sample(&samples, 6, Seed(1)).unwrap();
        let p = patterns.len();
        let geometry = std::sync::Arc::new(Geometry::new(samples, patterns, false).unwrap());
        for loss in [Loss::Squared, Loss::Bce] {
            let y = (0..12).map(|k| if k % 3 == 0 { 1.0 } else { -1.0 }).collect();
            let blocks =
                BlockProgram::new(Program::new(geometry.clone(), y, loss, 0.1).unwrap(), 0.7).unwrap();
            let mut u = vec![0.0; 6 * p];
            normal(&mut rng, &mut u);
            let mut pulls = vec![vec![0.0; 3]; 2 * p];
            pulls.iter_mut().for_each(|pull| normal(&mut rng, pull));
            let mut outputs = blocks.program.predict(&u[..3 * p], &u[3 * p..]);
            for i in 0..p {
                let [g_u, g_z] = block_gradient(&blocks, &u, &outputs, &pulls, i);
                for (block, g) in [(i, &g_u), (p + i, &g_z)] {
                    for j in 0..3 {
                        let at = |h: f64| {
                            let mut moved = u.clone();
                            moved[block * 3 + j] += h;
                            lagrangian(&blocks, &moved, &pulls)
                        };
                        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                        assert!(
                            (difference - g[j]).abs() < 1e-6 * (1.0 + g[j].abs()),
                            "{difference} {}",
                            g[j]
                        );
                    }
                }
                let before = lagrangian(&blocks, &u, &pulls);
                let promised = Rbcd::default().block_step(&blocks, &mut u, &mut outputs, &pulls, i);
                let after = lagrangian(&blocks, &u, &pulls);
                assert!(promised >= 0.0 && before - after >= promised - 1e-9 * before.abs());
            }
        }
    }
}
