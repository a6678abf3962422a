//! The published ADMM.

use faer::{Mat, MatMut};
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Problem, Progress, Seed};
use thalweg_linalg::dense::{Cholesky, product};

use crate::certificate::Certified;
use crate::program::MEMORY;
use crate::record::{Record, check_stops};
use crate::samples::norm;
use crate::{ConvexError, Loss, Program};

/// The ADMM as published, for the squared loss: the copies u = v and Gu = s ≥ 0 alone, and one dense
/// Cholesky factor of size 2dP. The default is [`crate::admm::Admm`], which needs no such factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmmPaper {
    /// Relative certified gap to stop at. Default 1e-4.
    pub tol: f64,
    /// Dual step γ/ρ in (0, (1 + √5)/2). Default 1.
    pub dual_step: f64,
    /// Iterations from one certificate to the next. Default 100.
    pub check_every: u64,
}

impl Default for AdmmPaper {
    fn default() -> Self {
        Self { tol: 1e-4, dual_step: 1.0, check_every: 100 }
    }
}

/// A program with the factor of I + FᵀF/ρ + GᵀG.
pub struct DenseProgram {
    program: Program,
    rho: f64,
    factor: Cholesky,
}

impl Problem for DenseProgram {}

impl DenseProgram {
    /// Factors for the penalty ρ.
    ///
    /// # Errors
    /// Another loss than the squared one, several outputs, a linear part, too large for memory.
    pub fn new(program: Program, rho: f64) -> Result<Self, ConvexError> {
        Invalid::positive("rho", rho)?;
        Self::check(&program)?;
        let what = "matrix I + FᵀF/ρ + GᵀG";
        let factor = Cholesky::new(system(&program, rho)).map_err(|_| ConvexError::Factor { what })?;
        Ok(Self { program, rho, factor })
    }

    /// Refuses programs that the method does not solve.
    ///
    /// # Errors
    /// As [`DenseProgram::new`].
    pub fn check(program: &Program) -> Result<(), ConvexError> {
        program.check_plain("admm-paper")?;
        if program.loss() != Loss::Squared {
            let (what, instead) = ("this loss", "admm, or rbcd for bce");
            return Err(ConvexError::Unsupported { method: "admm-paper", what, instead });
        }
        let (d, p) = (program.samples().d(), program.patterns().len());
        let needed = 8e-9 * 2.0 * (2.0 * (d * p) as f64).powi(2);
        if needed > MEMORY {
            let instead = format!("admm, or at most {} patterns", (MEMORY / 16e-9).sqrt() as usize / (2 * d));
            return Err(ConvexError::Memory { method: "admm-paper", needed, limit: MEMORY, instead });
        }
        Ok(())
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// I + FᵀF/ρ + GᵀG for F = [F_1 … F_P, −F_1 … −F_P], `[2dP, 2dP]`.
pub(crate) fn system(program: &Program, rho: f64) -> Mat<f64> {
    let (d, p) = (program.samples().d(), program.patterns().len());
    let f = stacked(program);
    let mut system = product(f.transpose(), &f) * faer::Scale(1.0 / rho);
    let gram = product(program.samples().t(), program.samples().mat());
    for block in 0..2 * p {
        for i in 0..d {
            for j in 0..d {
                system[(block * d + i, block * d + j)] += gram[(i, j)] + f64::from(u8::from(i == j));
            }
        }
    }
    system
}

/// F, `[n, 2dP]`.
fn stacked(program: &Program) -> Mat<f64> {
    let (samples, p) = (program.samples(), program.patterns().len());
    let d = samples.d();
    Mat::from_fn(samples.n(), 2 * d * p, |k, j| {
        let sign = if j < d * p { 1.0 } else { -1.0 };
        sign * program.geometry().pattern(j / d % p)[k] * samples.row(k)[j % d]
    })
}

/// State of [`AdmmPaper`]: (u, z), their copies and duals, `[d, 2P]`; slacks and duals `[n, 2P]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperState {
    v: Vec<f64>,
    lambda: Vec<f64>,
    s: Vec<f64>,
    nu: Vec<f64>,
    pub(crate) record: Record,
}

impl PaperState {
    pub(crate) fn new(program: &Program) -> Self {
        let (d, n, p) = (program.samples().d(), program.samples().n(), program.patterns().len());
        let [v, lambda] = [vec![0.0; 2 * d * p], vec![0.0; 2 * d * p]];
        let [s, nu] = [vec![0.0; 2 * n * p], vec![0.0; 2 * n * p]];
        Self { v, lambda, s, nu, record: Record::default() }
    }

    /// v − λ + Gᵀ(s − ν) of a block.
    pub(crate) fn pull(&self, program: &Program, block: usize) -> Vec<f64> {
        let samples = program.samples();
        let (d, n) = (samples.d(), samples.n());
        let pattern = program.geometry().pattern(block % program.patterns().len());
        let mut g: Vec<f64> = (block * d..(block + 1) * d).map(|i| self.v[i] - self.lambda[i]).collect();
        for k in 0..n {
            let at = block * n + k;
            crate::samples::add(
                &mut g,
                (2.0 * pattern[k] - 1.0) * (self.s[at] - self.nu[at]),
                samples.row(k),
            );
        }
        g
    }

    /// The updates after u: v shrunk in norm, s cut off at 0, then both duals; the residual ‖(u − v, Gu − s)‖.
    pub(crate) fn update(&mut self, program: &Program, u: &[f64], rho: f64, dual_step: f64) -> f64 {
        let (samples, p) = (program.samples(), program.patterns().len());
        let (d, n, kappa) = (samples.d(), samples.n(), program.beta() / rho);
        let mut residual = 0.0;
        for block in 0..2 * p {
            let at = block * d..(block + 1) * d;
            let (u, v, lambda) = (&u[at.clone()], &mut self.v[at.clone()], &mut self.lambda[at]);
            let sum: Vec<f64> = u.iter().zip(&*lambda).map(|(u, l)| u + l).collect();
            let length = norm(&sum);
            let keep = if length > kappa { 1.0 - kappa / length } else { 0.0 };
            for i in 0..d {
                v[i] = keep * sum[i];
                lambda[i] += dual_step * (u[i] - v[i]);
                residual += (u[i] - v[i]).powi(2);
            }
            let pattern = program.geometry().pattern(block % p);
            for (k, h) in samples.times(u).into_iter().enumerate() {
                let (g, at) = ((2.0 * pattern[k] - 1.0) * h, block * n + k);
                self.s[at] = (g + self.nu[at]).max(0.0);
                self.nu[at] += dual_step * (g - self.s[at]);
                residual += (g - self.s[at]).powi(2);
            }
        }
        self.record.iteration += 1;
        residual.sqrt()
    }

    /// Certifies the penalised copies with θ = ∇ℓ there.
    pub(crate) fn check(&mut self, program: &Program) -> Result<(), ConvexError> {
        let (v, w) = self.v.split_at(self.v.len() / 2);
        let r = program.predict(v, w);
        let slope = |(r, y): (&f64, &f64)| program.loss().slope(*r, *y);
        let theta: Vec<f64> = r.iter().zip(program.targets()).map(slope).collect();
        self.record.check(program, [v, w], &r, &theta)
    }
}

/// Refuses settings that neither of the published methods takes.
pub(crate) fn check_settings(tol: f64, dual_step: f64, check_every: u64) -> Result<(), Invalid> {
    check_stops(tol, check_every)?;
    let legal = dual_step > 0.0 && dual_step < 0.5 * (1.0 + 5f64.sqrt());
    Invalid::check(legal, "dual_step", dual_step, "a number in (0, 1.618)")
}

impl Method<DenseProgram> for AdmmPaper {
    type State = PaperState;
    type Solution = Certified;

    fn name(&self) -> &'static str {
        "admm-paper"
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_settings(self.tol, self.dual_step, self.check_every)
    }

    fn init(&self, dense: &mut DenseProgram, _: Seed) -> Result<PaperState, MethodError> {
        Ok(PaperState::new(&dense.program))
    }

    fn step(&self, dense: &mut DenseProgram, state: &mut PaperState) -> Result<Progress, MethodError> {
        let (program, rho) = (&dense.program, dense.rho);
        let (d, p) = (program.samples().d(), program.patterns().len());
        let fy = program.geometry().pull(program.targets());
        let mut u: Vec<f64> = (0..2 * p).flat_map(|block| state.pull(program, block)).collect();
        for (block, u) in u.chunks_mut(d).enumerate() {
            let sign = if block < p { 1.0 } else { -1.0 };
            crate::samples::add(u, sign / rho, fy.col_as_slice(block % p));
        }
        dense.factor.solve_in_place(MatMut::from_column_major_slice_mut(&mut u, 2 * d * p, 1));
        let residual = state.update(program, &u, rho, self.dual_step);
        if state.record.iteration.is_multiple_of(self.check_every) {
            state.check(program)?;
        }
        Ok(state.record.progress(&[("primal_residual", residual)], self.tol))
    }

    fn finish(&self, dense: &mut DenseProgram, mut state: PaperState) -> Result<Certified, MethodError> {
        state.check(&dense.program)?;
        state.record.end()
    }
}
