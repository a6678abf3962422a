//! The structured ADMM.

use faer::prelude::ReborrowMut;
use faer::{Accum, Mat, MatMut, MatRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Method, MethodError, Progress, Seed};
use thalweg_linalg::dense::multiply;

use crate::certificate::Certified;
use crate::program::{Factors, Kernel};
use crate::record::{Record, check_stops};
use crate::samples::{add, norm};
use crate::{ConvexError, Program};

/// Patterns of one parallel task at most.
const STRIP: usize = 16;

/// Patterns of one parallel task: an even number of tasks of about one size, whatever the number of
/// threads, on which sums must not depend.
fn strip(patterns: usize) -> usize {
    patterns.div_ceil(2 * patterns.div_ceil(2 * STRIP))
}

/// Rows and columns of a block of the kernel: it stays in the cache between its two uses.
const BLOCK: usize = 256;

/// The structured ADMM, for all losses. Besides u = v and Gu = s it also splits r = Σ F_i (u_i − z_i);
/// the linear system then holds no loss, no β and no ρ, and is solved by Woodbury's identity with
/// one inverse of size d and one of size n or d P, whichever is less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admm {
    /// Relative certified gap to stop at. Default 1e-4.
    pub tol: f64,
    /// First penalty ρ. Default 1.
    pub rho: f64,
    /// Over-relaxation α in (0, 2). Default 1.6.
    pub relax: f64,
    /// Iterations from one certificate to the next. Default 100.
    pub check_every: u64,
    /// Iterations in which ρ may still adapt. Default 2000.
    pub adapt_until: u64,
    /// Iterations after which it ends even if the gap is larger, for [`crate::exact::finish`]. Default none.
    pub patience: Option<u64>,
}

impl Default for Admm {
    fn default() -> Self {
        Self { tol: 1e-4, rho: 1.0, relax: 1.6, check_every: 100, adapt_until: 2000, patience: None }
    }
}

/// State of [`Admm`]. The copies s ≥ 0 and their scaled duals ν ≤ 0 complement each other, so one
/// array q holds both: s = q₊ and ν = −q₋.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdmmState {
    /// Penalised copies v, w `[d, columns]`.
    v: [Vec<f64>; 2],
    /// v + λ and w + λ'.
    q: [Vec<f64>; 2],
    /// s + ν and t + τ, `[n, columns]`.
    slack: [Vec<f64>; 2],
    /// Outputs and their scaled dual, `[n, outputs]`.
    r: Vec<f64>,
    eta: Vec<f64>,
    rho: f64,
    record: Record,
}

impl AdmmState {
    /// The best certificate so far.
    pub fn best(&self) -> Option<&Certified> {
        self.record.best.as_ref()
    }

    /// The penalised copies (v, w) of now, `[d, patterns · outputs]`: they may break the cones slightly.
    pub fn copies(&self) -> (&[f64], &[f64]) {
        (&self.v[0], &self.v[1])
    }

    /// Certifies the iterate with its multiplier θ = ρη.
    fn check(&mut self, program: &Program) -> Result<(), ConvexError> {
        let theta: Vec<f64> = self.eta.iter().map(|e| self.rho * e).collect();
        self.record.check(program, [&self.v[0], &self.v[1]], &self.r, &theta)
    }
}

/// Squared sums over all splits: residuals, and what they are compared with.
#[derive(Clone, Copy, Default)]
struct Residuals {
    primal: f64,
    dual: f64,
    copies: f64,
    duals: f64,
}

impl Residuals {
    /// One entry: target `u`, old copy, new copy, new scaled dual.
    fn count(&mut self, u: f64, old: f64, new: f64, dual: f64) {
        self.primal += (u - new).powi(2);
        self.dual += (new - old).powi(2);
        self.copies += new * new;
        self.duals += dual * dual;
    }

    fn plus(self, o: Self) -> Self {
        Self {
            primal: self.primal + o.primal,
            dual: self.dual + o.dual,
            copies: self.copies + o.copies,
            duals: self.duals + o.duals,
        }
    }

    /// Relative primal and dual residual.
    fn relative(self) -> (f64, f64) {
        let ratio = |a: f64, b: f64| (a / b.max(f64::MIN_POSITIVE)).sqrt();
        (ratio(self.primal, self.copies), ratio(self.dual, self.duals))
    }
}

impl Method<Program> for Admm {
    type State = AdmmState;
    type Solution = Certified;

    fn name(&self) -> &'static str {
        "admm"
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_stops(self.tol, self.check_every)?;
        Invalid::positive("rho", self.rho)?;
        Invalid::in_open("relax", self.relax, 0.0, 2.0)
    }

    fn init(&self, program: &mut Program, _: Seed) -> Result<AdmmState, MethodError> {
        program.geometry().factors()?;
        let (n, d) = (program.samples().n(), program.samples().d());
        let zeros = |rows: usize| vec![0.0; rows * program.columns()];
        let outputs = vec![0.0; n * program.outputs()];
        Ok(AdmmState {
            v: [zeros(d), zeros(d)],
            q: [zeros(d), zeros(d)],
            slack: [zeros(n), zeros(n)],
            r: outputs.clone(),
            eta: outputs,
            rho: self.rho,
            record: Record::default(),
        })
    }

    fn step(&self, program: &mut Program, state: &mut AdmmState) -> Result<Progress, MethodError> {
        let factors = program.geometry().factors()?;
        let (mut c, b, pushed) = right_hand_sides(program, factors, state);
        let weights = couple(program, factors, &mut c, pushed);
        let (mut residuals, outputs) = self.update_copies(program, factors, state, c, b, weights.as_deref());
        let outputs = fit_linear(program, factors, state, outputs);
        residuals = residuals.plus(self.update_outputs(program, state, &outputs));
        state.record.iteration += 1;
        let iteration = state.record.iteration;
        let (primal, dual) = residuals.relative();
        if iteration.is_multiple_of(50) && iteration <= self.adapt_until {
            adapt(state, (primal / dual.max(f64::MIN_POSITIVE)).sqrt());
        }
        if iteration.is_multiple_of(self.check_every) {
            state.check(program)?;
        }
        let residuals = [("primal_residual", primal), ("dual_residual", dual), ("rho", state.rho)];
        let progress = state.record.progress(&residuals, self.tol);
        let tired = self.patience.is_some_and(|most| iteration >= most);
        Ok(Progress { converged: progress.converged || tired, ..progress })
    }

    fn finish(&self, program: &mut Program, mut state: AdmmState) -> Result<Certified, MethodError> {
        if !state.record.iteration.is_multiple_of(self.check_every) || state.record.best.is_none() {
            state.check(program)?;
        }
        state.record.end()
    }
}

/// b of C b = g_u + g_z by columns and, with a kernel over samples, c of C c = g_u − g_z and Σ F_i c_i;
/// with one over patterns g_u − g_z.
fn right_hand_sides(program: &Program, f: &Factors, state: &AdmmState) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (n, d, outputs) = (program.samples().n(), program.samples().d(), program.outputs());
    let mut pull: Vec<f64> = state.r.iter().zip(&state.eta).map(|(r, e)| 2.0 * (r - e)).collect();
    project_out(f, &mut pull, n);
    let width = strip(program.patterns().len()) * outputs;
    let (mut c, mut b) = (vec![0.0; d * program.columns()], vec![0.0; d * program.columns()]);
    let strip = |(strip, (c, b)): (usize, (&mut [f64], &mut [f64]))| {
        let (first, columns) = (strip * width, c.len() / d);
        let at = |x: &[f64], rows: usize| x[first * rows..][..columns * rows].to_vec();
        let [mut sum, mut difference] = [0, 1].map(|side| at(&state.slack[side], n));
        for j in 0..columns {
            let pattern = program.geometry().pattern((first + j) / outputs);
            let pull = &pull[(first + j) % outputs * n..][..n];
            for k in 0..n {
                let (s, t) = (sum[j * n + k].abs(), difference[j * n + k].abs());
                let (on, e) = (pattern[k], 2.0 * pattern[k] - 1.0);
                sum[j * n + k] = e * (s + t);
                difference[j * n + k] = e * (s - t) + on * pull[k];
            }
        }
        let [mut plus, mut minus] = [vec![0.0; d * columns], vec![0.0; d * columns]];
        for i in 0..d * columns {
            let p = 2.0 * state.v[0][first * d + i] - state.q[0][first * d + i];
            let m = 2.0 * state.v[1][first * d + i] - state.q[1][first * d + i];
            (plus[i], minus[i]) = (p + m, p - m);
        }
        product(&mut plus, Accum::Add, program.samples().t(), &sum);
        product(&mut minus, Accum::Add, program.samples().t(), &difference);
        product(b, Accum::Replace, f.inverse.as_ref(), &plus);
        if let Kernel::Patterns(_) = f.kernel {
            c.copy_from_slice(&minus);
            return Vec::new();
        }
        product(c, Accum::Replace, f.inverse.as_ref(), &minus);
        product(&mut sum, Accum::Replace, program.samples().mat(), c);
        let mut pushed = vec![0.0; n * outputs];
        add_masked(program, &mut pushed, 1.0, &sum, first);
        pushed
    };
    let parts: Vec<Vec<f64>> =
        c.par_chunks_mut(width * d).zip(b.par_chunks_mut(width * d)).enumerate().map(strip).collect();
    (c, b, sum(&parts))
}

/// With a kernel over samples Woodbury's weights q = (½I + H)⁻¹ Σ F_i c_i, which c still lacks; with
/// one over patterns c becomes u − z.
fn couple(program: &Program, f: &Factors, c: &mut [f64], mut pushed: Vec<f64>) -> Option<Vec<f64>> {
    let (d, outputs) = (program.samples().d(), program.outputs());
    match &f.kernel {
        Kernel::Samples(kernel) => {
            project_out(f, &mut pushed, program.samples().n());
            Some(symmetric_product(kernel, &pushed))
        }
        Kernel::Patterns(kernel) => {
            // The columns of a pattern lie side by side, those of an output belong together.
            let columns = |o: usize| (o..program.columns()).step_by(outputs);
            let of = |o: usize| columns(o).flat_map(|j| &c[j * d..][..d]);
            let together: Vec<f64> = (0..outputs).flat_map(of).copied().collect();
            let solved = symmetric_product(kernel, &together);
            for (j, solved) in (0..outputs).flat_map(columns).zip(solved.chunks(d)) {
                c[j * d..][..d].copy_from_slice(solved);
            }
            None
        }
    }
}

/// The outputs Σ F_i (u_i − z_i), to which a linear part adds the projection of r − η on the range of X.
fn fit_linear(program: &Program, f: &Factors, state: &AdmmState, mut outputs: Vec<f64>) -> Vec<f64> {
    let n = program.samples().n();
    if f.range.is_some() {
        let wanted: Vec<f64> = state.r.iter().zip(&state.eta).map(|(r, e)| r - e).collect();
        let mut outside = wanted.clone();
        project_out(f, &mut outside, n);
        project_out(f, &mut outputs, n);
        outputs.iter_mut().zip(wanted).zip(outside).for_each(|((f, w), o)| *f += w - o);
    }
    outputs
}

impl Admm {
    /// u and z from b and c, then v, w (shrunk in norm) and s, t (cut off at 0) with their duals; and
    /// the outputs Σ F_i (u_i − z_i) = q/2.
    fn update_copies(
        &self,
        program: &Program,
        f: &Factors,
        state: &mut AdmmState,
        mut c: Vec<f64>,
        mut b: Vec<f64>,
        weights: Option<&[f64]>,
    ) -> (Residuals, Vec<f64>) {
        let (n, d, outputs) = (program.samples().n(), program.samples().d(), program.outputs());
        let width = strip(program.patterns().len()) * outputs;
        let (shrink, alpha) = (program.beta() / state.rho, self.relax);
        let [v, w] = &mut state.v;
        let [qv, qw] = &mut state.q;
        let [s, t] = &mut state.slack;
        let copies = c
            .par_chunks_mut(width * d)
            .zip(b.par_chunks_mut(width * d))
            .zip(v.par_chunks_mut(width * d).zip(w.par_chunks_mut(width * d)))
            .zip(qv.par_chunks_mut(width * d).zip(qw.par_chunks_mut(width * d)))
            .zip(s.par_chunks_mut(width * n).zip(t.par_chunks_mut(width * n)));
        type Pair<'a> = (&'a mut [f64], &'a mut [f64]);
        type Strip<'a> = (((Pair<'a>, Pair<'a>), Pair<'a>), Pair<'a>);
        let strip = |(strip, (((target, copy), q), slack)): (usize, Strip)| {
            let (((c, b), (v, w)), ((qv, qw), (s, t))) = ((target, copy), (q, slack));
            let (first, columns) = (strip * width, c.len() / d);
            let mut heights = vec![0.0; n * columns];
            if let Some(weights) = weights {
                for j in 0..columns {
                    let pattern = program.geometry().pattern((first + j) / outputs);
                    let weights = &weights[(first + j) % outputs * n..][..n];
                    for k in 0..n {
                        heights[j * n + k] = -pattern[k] * weights[k];
                    }
                }
                let mut pulled = vec![0.0; d * columns];
                product(&mut pulled, Accum::Replace, program.samples().t(), &heights);
                product(c, Accum::Add, f.inverse.as_ref(), &pulled);
            }
            for (a, b) in c.iter_mut().zip(b.iter_mut()) {
                (*a, *b) = (0.5 * (*b + *a), 0.5 * (*b - *a));
            }
            let mut total = Residuals::default();
            let mut pushed = vec![0.0; if weights.is_none() { n * outputs } else { 0 }];
            for (sign, u, v, q, slack) in [(1.0, &*c, v, qv, s), (-1.0, &*b, w, qw, t)] {
                total = total.plus(shrink_groups(u, v, q, d * outputs, shrink, alpha));
                product(&mut heights, Accum::Replace, program.samples().mat(), u);
                if weights.is_none() {
                    add_masked(program, &mut pushed, sign, &heights, first);
                }
                for j in 0..columns {
                    let pattern = program.geometry().pattern((first + j) / outputs);
                    let at = j * n..(j + 1) * n;
                    total = total.plus(cut(&heights[at.clone()], pattern, &mut slack[at], alpha));
                }
            }
            (total, pushed)
        };
        let (totals, parts): (Vec<Residuals>, Vec<Vec<f64>>) = copies.enumerate().map(strip).unzip();
        let outputs = weights.map_or_else(|| sum(&parts), |q| q.iter().map(|q| 0.5 * q).collect());
        (totals.into_iter().fold(Residuals::default(), Residuals::plus), outputs)
    }

    /// r ← prox of the loss, η.
    fn update_outputs(&self, program: &Program, state: &mut AdmmState, outputs: &[f64]) -> Residuals {
        let mut total = Residuals::default();
        for (k, y) in program.targets().iter().enumerate() {
            let old = state.r[k];
            let q = self.relax * outputs[k] + (1.0 - self.relax) * old + state.eta[k];
            state.r[k] = program.loss().prox(q, *y, state.rho);
            state.eta[k] = q - state.r[k];
            total.count(outputs[k], old, state.r[k], state.eta[k]);
        }
        total
    }

    /// At most `most` iterations from where a run on a program of the same geometry (another β, say)
    /// ended, or from 0; the solution and where to go on.
    ///
    /// # Errors
    /// As a run.
    pub fn run_from(
        &self,
        program: &mut Program,
        warm: Option<AdmmState>,
        most: u64,
    ) -> Result<(Certified, AdmmState), ConvexError> {
        self.validate()?;
        let mut state = match warm {
            Some(mut state) => {
                (state.record.iteration, state.record.best) = (0, None);
                state
            }
            None => self.init(program, Seed(0))?,
        };
        for _ in 0..most {
            if self.step(program, &mut state)?.converged {
                break;
            }
        }
        Ok((self.finish(program, state.clone())?, state))
    }
}

/// v ← (1 − κ/‖u + λ‖)₊ (u + λ) by groups with over-relaxed u; `q` keeps v + λ.
fn shrink_groups(u: &[f64], v: &mut [f64], q: &mut [f64], group: usize, kappa: f64, alpha: f64) -> Residuals {
    let mut total = Residuals::default();
    for ((u, v), q) in u.chunks(group).zip(v.chunks_mut(group)).zip(q.chunks_mut(group)) {
        for i in 0..u.len() {
            q[i] += alpha * (u[i] - v[i]); // α u + (1 − α) v + λ with λ = q − v
        }
        let length = norm(q);
        let keep = if length > kappa { 1.0 - kappa / length } else { 0.0 };
        for i in 0..u.len() {
            let (old, new) = (v[i], keep * q[i]);
            v[i] = new;
            total.count(u[i], old, new, q[i] - new);
        }
    }
    total
}

/// s ← (Gu + ν)₊ with over-relaxed Gu; `q` holds s and ν.
fn cut(heights: &[f64], pattern: &[f64], q: &mut [f64], alpha: f64) -> Residuals {
    let mut total = Residuals::default();
    for ((h, on), q) in heights.iter().zip(pattern).zip(q) {
        let g = (2.0 * on - 1.0) * h;
        let old = q.max(0.0);
        *q += alpha * (g - old); // α g + (1 − α) s + ν
        let new = q.max(0.0);
        total.count(g, old, new, *q - new);
    }
    total
}

/// ρ ← ρ·clamp(q, 0.2, 5) if the residuals differ much; scaled duals shrink by the same factor.
fn adapt(state: &mut AdmmState, ratio: f64) {
    if !(0.5..=2.0).contains(&ratio) && ratio.is_finite() {
        let factor = ratio.clamp(0.2, 5.0);
        state.rho *= factor;
        for (v, q) in state.v.iter().zip(&mut state.q) {
            v.iter().zip(q).for_each(|(v, q)| *q = v + (*q - v) / factor);
        }
        state.slack.iter_mut().flatten().filter(|q| **q < 0.0).for_each(|q| *q /= factor);
        state.eta.iter_mut().for_each(|e| *e /= factor);
    }
}

/// `dst` (+)= `a` · `b`, `b` and `dst` column-major with as many columns.
fn product(dst: &mut [f64], accum: Accum, a: MatRef<'_, f64>, b: &[f64]) {
    let columns = b.len() / a.ncols();
    let b = MatRef::from_column_major_slice(b, a.ncols(), columns);
    let dst = MatMut::from_column_major_slice_mut(dst, a.nrows(), columns);
    multiply(dst, accum, a, b);
}

/// A x for symmetric A, `x` column-major. Each block below the diagonal comes from memory once, for
/// itself and for its mirror image.
fn symmetric_product(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let (n, columns) = (a.nrows(), x.len() / a.nrows());
    let x = MatRef::from_column_major_slice(x, n, columns);
    let strip = |own: usize| {
        let mut sum = vec![0.0; n * columns];
        let mut out = MatMut::from_column_major_slice_mut(&mut sum, n, columns);
        let width = BLOCK.min(n - own);
        for first in (own..n).step_by(BLOCK) {
            let height = BLOCK.min(n - first);
            let block = a.submatrix(first, own, height, width);
            let mut plus = |to: usize, a: MatRef<'_, f64>, from: usize| {
                let (to, x) = (out.rb_mut().subrows_mut(to, a.nrows()), x.subrows(from, a.ncols()));
                multiply(to, Accum::Add, a, x);
            };
            plus(first, block, own);
            if first > own {
                plus(own, block.transpose(), first);
            }
        }
        sum
    };
    let strips: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let parts: Vec<Vec<f64>> = strips.into_par_iter().map(strip).collect();
    sum(&parts)
}

/// Adds ± Σ_j D_j h_j by outputs, for the columns from `first`.
fn add_masked(program: &Program, to: &mut [f64], sign: f64, heights: &[f64], first: usize) {
    let (n, outputs) = (program.samples().n(), program.outputs());
    for (j, h) in heights.chunks(n).enumerate() {
        let pattern = program.geometry().pattern((first + j) / outputs);
        let to = &mut to[(first + j) % outputs * n..][..n];
        to.iter_mut().zip(h).zip(pattern).for_each(|((s, h), on)| *s += sign * on * h);
    }
}

/// The sum of arrays of one length.
fn sum(parts: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; parts.first().map_or(0, Vec::len)];
    parts.iter().for_each(|part| add(&mut sum, 1.0, part));
    sum
}

/// Removes what a linear part can take, by outputs.
fn project_out(f: &Factors, x: &mut [f64], n: usize) {
    let Some(u) = &f.range else { return };
    for x in x.chunks_mut(n) {
        for j in 0..u.ncols() {
            let p = crate::samples::dot(u.col_as_slice(j), x);
            add(x, -p, u.col_as_slice(j));
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::normal;
    use thalweg_linalg::dense::{self, Cholesky};

    use super::*;
    use crate::{Geometry, Loss, Patterns, Samples};

    fn random(n: usize, d: usize, draws: u64) -> Program {
        let mut x = vec![0.0; n * d];
        normal(&mut Seed(2).stream("x", 0), &mut x);
        let samples = Samples::new(x, d).unwrap();
        let y = samples.rows().map(|x| x[0] - x[1]).collect();
        let patterns = Patterns::sample(&samples, draws, Seed(1)).unwrap();
        Program::new(Geometry::new(samples, patterns, false).unwrap(), y, Loss::Squared, 0.1).unwrap()
    }

    #[test]
    fn the_kernel_is_the_inverse_of_the_product_that_it_abbreviates() {
        let program = random(9, 3, 20);
        let (n, p) = (9, program.patterns().len());
        let x = program.samples().mat().to_owned();
        let c = Mat::<f64>::identity(3, 3) + dense::product(x.transpose(), &x);
        let solve = Cholesky::new(&c).unwrap();
        let mut h = Mat::<f64>::zeros(n, n);
        for i in 0..p {
            let f = Mat::from_fn(n, 3, |k, j| program.geometry().pattern(i)[k] * x[(k, j)]);
            h += dense::product(&f, solve.solve(f.transpose()));
        }
        for k in 0..n {
            h[(k, k)] += 0.5;
        }
        let Kernel::Samples(ours) = &program.geometry().factors().unwrap().kernel else {
            panic!("9 samples are fewer than 3 unknowns a pattern")
        };
        assert!((dense::product(ours, h) - Mat::<f64>::identity(n, n)).norm_max() < 1e-10);
    }

    /// One unrelaxed step from a random state solves the dense (2dP)² system.
    #[test]
    fn both_kernels_solve_the_dense_system() {
        for (mut program, over_samples) in [(random(9, 3, 20), true), (random(40, 3, 6), false)] {
            let (n, d, p) = (program.samples().n(), 3, program.patterns().len());
            let method = Admm { relax: 1.0, adapt_until: 0, ..Admm::default() };
            let mut state = method.init(&mut program, Seed(1)).unwrap();
            let mut rng = Seed(5).stream("state", 0);
            let copies = state.v.iter_mut().chain(&mut state.q).chain(&mut state.slack);
            copies.chain([&mut state.r, &mut state.eta]).for_each(|x| normal(&mut rng, x));
            let system = crate::baselines::paper::system(&program, 1.0);
            let mut rhs = Mat::<f64>::zeros(2 * d * p, 1);
            for block in 0..2 * p {
                let (side, i) = (block / p, block % p);
                for j in 0..d {
                    let at = i * d + j;
                    rhs[(block * d + j, 0)] += 2.0 * state.v[side][at] - state.q[side][at];
                }
                for k in 0..n {
                    let on = program.geometry().pattern(i)[k];
                    let sign = if side == 0 { 1.0 } else { -1.0 };
                    let pull = (2.0 * on - 1.0) * state.slack[side][i * n + k].abs()
                        + sign * on * (state.r[k] - state.eta[k]);
                    for j in 0..d {
                        rhs[(block * d + j, 0)] += pull * program.samples().row(k)[j];
                    }
                }
            }
            let expected = Cholesky::new(&system).unwrap().solve(&rhs);
            let factors = program.geometry().factors().unwrap();
            let (mut c, b, pushed) = right_hand_sides(&program, factors, &state);
            let weights = couple(&program, factors, &mut c, pushed);
            assert_eq!(weights.is_some(), over_samples);
            let (_, outputs) =
                method.update_copies(&program, factors, &mut state, c.clone(), b.clone(), weights.as_deref());
            for i in 0..p {
                let Some(weights) = &weights else { break };
                let heights: Vec<f64> =
                    weights.iter().zip(program.geometry().pattern(i)).map(|(q, on)| -q * on).collect();
                let mut pulled = vec![0.0; d];
                product(&mut pulled, Accum::Replace, program.samples().t(), &heights);
                product(&mut c[i * d..][..d], Accum::Add, factors.inverse.as_ref(), &pulled);
            }
            let half = |j: usize, s: f64| 0.5 * (b[j] + s * c[j]);
            let u: Vec<f64> = (0..d * p).map(|j| half(j, 1.0)).collect();
            let z: Vec<f64> = (0..d * p).map(|j| half(j, -1.0)).collect();
            for j in 0..d * p {
                assert!((u[j] - expected[(j, 0)]).abs() < 1e-10);
                assert!((z[j] - expected[(d * p + j, 0)]).abs() < 1e-10);
            }
            let direct = program.predict(&u, &z);
            assert!(direct.iter().zip(outputs).all(|(a, b)| (a - b).abs() < 1e-10));
        }
    }

    #[test]
    fn the_kernel_over_patterns_takes_a_linear_part_and_outputs() {
        let plain = random(40, 3, 6);
        let rows = || plain.samples().rows();
        let y = rows().map(|x| x[0].abs()).chain(rows().map(|x| x[1] - x[2])).collect();
        let geometry = Geometry::new(plain.samples().clone(), plain.patterns().clone(), true).unwrap();
        let mut program = Program::new(geometry, y, Loss::Squared, 0.05).unwrap();
        let over_patterns = matches!(program.geometry().factors().unwrap().kernel, Kernel::Patterns(_));
        assert!(over_patterns);
        let method = Admm { tol: 1e-8, ..Admm::default() };
        let (certified, _) = method.run_from(&mut program, None, 20_000).unwrap();
        assert!(certified.certificate.gap <= 1e-8, "{:?}", certified.certificate.gap);
    }
}
