//! SOR, SSOR and conjugate gradients preconditioned by it.
//!
//! A solve has converged when b − A x, computed from x itself, is small enough: the residuals that the iterations
//! carry along drift from it. Where the two have parted, conjugate gradients start anew from x; where that does not
//! help, the solve has [stalled](Reason::Stalled).

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;
use thalweg_linalg::vector::{combine, dot_interleaved as dot};

use crate::kernel::{descend, descend_split, largest, length, shift_exponent};
use crate::matrix::{Diagonal, Order};
use crate::{Matrix, RelaxError};

/// An iterative method for one linear system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Successive over-relaxation, forward sweeps. Stops at ‖r‖ < tol ‖r₀‖; from a start so good that rounding forbids
    /// this, at rounding, if that is below tol ‖b‖.
    #[default]
    Sor,
    /// Successive over-relaxation, backward sweeps.
    SorBackward,
    /// Symmetric successive over-relaxation: a forward and a backward sweep per iteration.
    Ssor,
    /// Conjugate gradients with the preconditioner XᵀD⁻¹X, X = D + ωL, by Eisenstat's product.
    /// Stops at ‖r‖ ≤ tol ‖b‖, as all conjugate gradients here.
    SsorCg,
    /// The same iterates with a product and two triangular solves per iteration.
    SsorCgPlain,
    /// Conjugate gradients preconditioned by the diagonal.
    JacobiCg,
    /// Conjugate gradients.
    Cg,
}

impl Scheme {
    /// All methods.
    pub const ALL: [Self; 7] =
        [Self::Sor, Self::SorBackward, Self::Ssor, Self::SsorCg, Self::SsorCgPlain, Self::JacobiCg, Self::Cg];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sor => "sor",
            Self::SorBackward => "sor-backward",
            Self::Ssor => "ssor",
            Self::SsorCg => "ssor-cg",
            Self::SsorCgPlain => "ssor-cg-plain",
            Self::JacobiCg => "jacobi-cg",
            Self::Cg => "cg",
        }
    }

    /// Whether ω matters.
    pub fn relaxes(self) -> bool {
        !matches!(self, Self::JacobiCg | Self::Cg)
    }

    /// Whether the method is SOR, in either direction.
    pub fn is_sor(self) -> bool {
        matches!(self, Self::Sor | Self::SorBackward)
    }

    /// Whether the method is one of the stationary iterations.
    pub fn is_stationary(self) -> bool {
        self.is_sor() || self == Self::Ssor
    }

    /// Floating-point operations per iteration on a matrix with `rows` rows and `entries` entries off
    /// the diagonal, to the first order: a model of cost that no clock disturbs.
    pub fn flops(self, rows: usize, entries: usize) -> f64 {
        let (n, z) = (rows as f64, entries as f64);
        match self {
            Self::Sor | Self::SorBackward => 3.0 * z + 7.0 * n,
            Self::Ssor => 6.0 * z + 14.0 * n,
            Self::SsorCg => 2.0 * z + 17.0 * n,
            Self::SsorCgPlain => 4.0 * z + 16.0 * n,
            Self::JacobiCg => 2.0 * z + 13.0 * n,
            Self::Cg => 2.0 * z + 12.0 * n,
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Scheme {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| Invalid {
            field: "method".into(),
            value: name.into(),
            legal: "sor, sor-backward, ssor, ssor-cg, ssor-cg-plain, jacobi-cg or cg".into(),
        })
    }
}

/// Why a solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// b − A x, computed from x, is small enough.
    Converged,
    /// The iterations are used up.
    Cap,
    /// The numbers overflowed, or the residual of a relaxation grew as that of no symmetric positive definite matrix
    /// does: by 10²⁰ in the norm of D⁻¹.
    Diverged,
    /// Conjugate gradients met a direction of negative curvature, beyond rounding: the matrix is not positive
    /// definite.
    Indefinite,
    /// b − A x does not become smaller, though the residual that the iterations carry along does: the matrix is
    /// singular, or rounding forbids the tolerance.
    Stalled,
    /// Who looked on asked for an end.
    Stopped,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::Converged, Self::Cap, Self::Diverged, Self::Indefinite, Self::Stalled, Self::Stopped];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Cap => "cap",
            Self::Diverged => "diverged",
            Self::Indefinite => "indefinite",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
        }
    }
}

/// How one solve went.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// Iterations made.
    pub iterations: usize,
    /// Why it ended.
    pub reason: Reason,
    /// ‖b − A x‖ before the first and after each iteration, `[iterations + 1]`, as the iterations carry it along.
    /// SSOR-CG in Eisenstat's form measures it only where it may be small enough, and estimates the rest.
    pub residuals: Vec<f64>,
    /// ‖b − A x‖ / ‖b‖, computed from the x that was found; ‖A x‖ where b = 0.
    pub relative_residual: f64,
    /// The most iterations that were allowed.
    pub max_iterations: usize,
}

impl Solved {
    /// Whether the system is solved to the tolerance.
    pub fn converged(&self) -> bool {
        self.reason == Reason::Converged
    }

    /// The iterations that count wherever solves are compared: a solve that failed counts as the limit.
    pub fn counted(&self) -> usize {
        if self.converged() { self.iterations } else { self.max_iterations }
    }

    /// What a learner learns from: as [`Solved::counted`], at least 1.
    pub fn cost(&self) -> f64 {
        self.counted().max(1) as f64
    }

    /// Geometric mean of the factors by which the last half of the iterations reduced the residual;
    /// `None` with fewer than four.
    pub fn rate(&self) -> Option<f64> {
        let k = self.iterations;
        let (from, to) = (self.residuals[k / 2], self.residuals[k]);
        (k >= 4 && to > 0.0).then(|| (to / from).powf(1.0 / (k - k / 2) as f64))
    }
}

/// Vectors that a solve works with; reused from solve to solve.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    r: Vec<f64>,
    p: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    s: Vec<f64>,
}

impl Workspace {
    fn clear(&mut self, len: usize) {
        for v in [&mut self.r, &mut self.p, &mut self.y, &mut self.z, &mut self.s] {
            v.clear();
            v.resize(len, 0.0);
        }
    }
}

/// One solver with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solver {
    /// The method.
    pub method: Scheme,
    /// Relaxation factor ω ∈ (0, 2).
    pub omega: f64,
    /// Relative tolerance.
    pub tol: f64,
    /// Iterations at most.
    pub max_iterations: usize,
}

impl Default for Solver {
    fn default() -> Self {
        Self { method: Scheme::Sor, omega: 1.0, tol: 1e-8, max_iterations: 10_000 }
    }
}

/// Asked after each iteration, with its number and the residual: whether to go on.
type GoOn<'a> = &'a mut dyn FnMut(usize, f64) -> bool;

impl Solver {
    /// Names the bad field, its value and its legal range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let omega = !self.method.relaxes() || (self.omega > 0.0 && self.omega < 2.0);
        Invalid::check(omega, "omega", self.omega, "a number in (0, 2); outside it relaxation diverges")?;
        Invalid::in_open("tol", self.tol, 0.0, 1.0)?;
        Invalid::check(self.max_iterations > 0, "max_iterations", self.max_iterations, "at least 1 iteration")
    }

    /// Solves A x = b from x = 0, all in the natural order.
    pub fn solve(&self, a: &dyn Matrix, b: &[f64]) -> Result<(Vec<f64>, Solved), RelaxError> {
        self.solve_from(a, b, &vec![0.0; b.len()])
    }

    /// Solves A x = b from the given x, all in the natural order.
    pub fn solve_from(&self, a: &dyn Matrix, b: &[f64], x: &[f64]) -> Result<(Vec<f64>, Solved), RelaxError> {
        self.solve_while(a, b, x, &mut |_, _| true)
    }

    /// As [`Solver::solve_from`], as long as `go_on` says so; it is asked after each iteration, with the number of
    /// iterations made and the residual.
    pub fn solve_while(
        &self,
        a: &dyn Matrix,
        b: &[f64],
        x: &[f64],
        go_on: &mut dyn FnMut(usize, f64) -> bool,
    ) -> Result<(Vec<f64>, Solved), RelaxError> {
        check_vector("the right-hand side", b, a.rows())?;
        check_vector("the start", x, a.rows())?;
        let mut x = a.pack(x);
        let solved = self.prepared(a, &a.pack(b), &mut x, &mut Workspace::default(), go_on)?;
        Ok((a.unpack(&x), solved))
    }

    /// Solves A x = b from the given x, both in the matrix's own order.
    pub fn solve_in(
        &self,
        a: &dyn Matrix,
        b: &[f64],
        x: &mut [f64],
        work: &mut Workspace,
    ) -> Result<Solved, RelaxError> {
        self.prepared(a, b, x, work, &mut |_, _| true)
    }

    /// Checks what is given, and brings numbers of extreme sizes to the middle of their range, where squares neither
    /// over- nor underflow: 2⁻ᵖ A · 2ᵖ⁻ᵠ x = 2⁻ᵠ b. Powers of two change no digit.
    fn prepared(
        &self,
        a: &dyn Matrix,
        b: &[f64],
        x: &mut [f64],
        work: &mut Workspace,
        go_on: GoOn<'_>,
    ) -> Result<Solved, RelaxError> {
        self.validate()?;
        for (what, found) in [("the right-hand side", b.len()), ("the start", x.len())] {
            if found != a.len() {
                return Err(RelaxError::Length { what, found, expected: a.len() });
            }
        }
        if !self.method.is_stationary() {
            a.check_symmetric()?;
        }
        let extreme =
            |size: f64| Some(size.log2()).filter(|e| e.is_finite() && e.abs() > 100.0).unwrap_or(0.0) as i32;
        let diagonal = match a.diagonal() {
            Diagonal::Constant(d) => d,
            Diagonal::Entries(d) => largest(d),
        };
        let (p, q) = (extreme(diagonal), extreme(largest(b)));
        if (p, q) == (0, 0) {
            return Ok(self.run(a, b, x, work, go_on));
        }
        let scaled = if p == 0 { None } else { a.scaled(-p) };
        let p = if scaled.is_some() { p } else { 0 };
        let shift = |v: &mut [f64], exponent| v.iter_mut().for_each(|v| *v = shift_exponent(*v, exponent));
        let mut b = b.to_vec();
        shift(&mut b, -q);
        shift(x, p - q);
        let mut solved = self.run(scaled.as_deref().unwrap_or(a), &b, x, work, go_on);
        let before = largest(x);
        shift(x, q - p);
        shift(&mut solved.residuals, q);
        if before != 0.0 && !largest(x).is_normal() {
            solved.reason = Reason::Diverged; // the solution itself is beyond the numbers
        }
        Ok(solved)
    }

    fn run(&self, a: &dyn Matrix, b: &[f64], x: &mut [f64], work: &mut Workspace, go_on: GoOn<'_>) -> Solved {
        work.clear(a.len());
        let right = length(dot(b, b), b);
        if right == 0.0 && !self.method.is_stationary() {
            x.fill(0.0);
        }
        let first = length(a.residual(b, x, &mut work.r), &work.r);
        let mut watch = Watch::new(self, first, go_on);
        if self.method.is_stationary() {
            // Of a start at the solution, tol ‖r₀‖ is below what rounding leaves of a residual.
            let rounding = 4.0 * f64::EPSILON * (right + scaled_length(a.diagonal(), x));
            watch.target = (self.tol * first).max(rounding.min(self.tol * right));
            watch.strict = watch.target > 0.0;
            self.relax(a, b, x, work, &mut watch);
        } else {
            watch.target = self.tol * right;
            self.descend(a, b, x, work, &mut watch);
        }
        let truth = watch.truth.unwrap_or_else(|| length(a.residual(b, x, &mut work.r), &work.r));
        watch.solved(if right > 0.0 { truth / right } else { truth })
    }

    fn relax(&self, a: &dyn Matrix, b: &[f64], x: &mut [f64], work: &mut Workspace, watch: &mut Watch<'_>) {
        let first = watch.last();
        let first_weighted = weighted(a.diagonal(), &work.r);
        loop {
            while watch.goes_on() {
                let mut sweep = |order| a.sweep(order, self.omega, b, x, &mut work.r);
                let squared = match self.method {
                    Scheme::SorBackward => sweep(Order::Backward),
                    Scheme::Ssor => {
                        sweep(Order::Forward);
                        sweep(Order::Backward)
                    }
                    _ => sweep(Order::Forward),
                };
                watch.push(length(squared, &work.r));
                // ‖r‖ may grow on the way to the solution of a badly scaled system; the norm of D⁻¹ grows at most by
                // the root of the condition number of the scaled one.
                let grown = watch.last() > 1e4 * first;
                if grown && weighted(a.diagonal(), &work.r) > 1e40 * first_weighted {
                    watch.ended = Some(Reason::Diverged);
                }
            }
            if !watch.claims() {
                return;
            }
            let carried = watch.last();
            let truth = length(a.residual(b, x, &mut work.r), &work.r);
            if watch.confirm(truth) {
                return;
            }
            if truth > 16.0 * carried {
                // Sweeps no longer move x by what the residual would want.
                watch.ended = Some(Reason::Stalled);
                return;
            }
        }
    }

    /// Conjugate gradients until the residual of x itself is small enough: where it is not what the recurrence says,
    /// they start anew from x, as long as each start at least halves it.
    fn descend(&self, a: &dyn Matrix, b: &[f64], x: &mut [f64], work: &mut Workspace, watch: &mut Watch<'_>) {
        let mut best: Option<(f64, Vec<f64>)> = None;
        loop {
            let whole = match self.method {
                Scheme::SsorCg => self.eisenstat(a, x, work, watch),
                _ => self.conjugate_gradients(a, x, work, watch),
            };
            if whole && !watch.claims() {
                break;
            }
            let truth = length(a.residual(b, x, &mut work.r), &work.r);
            if watch.confirm(truth) {
                return;
            }
            match &best {
                Some((least, _)) if truth.is_nan() || truth > 0.5 * least => {
                    watch.ended = Some(Reason::Stalled);
                    break;
                }
                _ => best = Some((truth, x.to_vec())),
            }
        }
        if let Some((least, kept)) = best {
            let truth = length(a.residual(b, x, &mut work.r), &work.r);
            if truth.is_nan() || truth > least {
                x.copy_from_slice(&kept);
            }
        }
    }

    /// Preconditioned conjugate gradients in the usual form; `work.r` is the residual of x at the beginning. False if
    /// rounding broke them down.
    fn conjugate_gradients(
        &self,
        a: &dyn Matrix,
        x: &mut [f64],
        work: &mut Workspace,
        watch: &mut Watch<'_>,
    ) -> bool {
        let Workspace { r, p, y: w, z, s } = work;
        let (mut rho, mut begun) = (1.0, false);
        p.fill(0.0);
        while watch.goes_on() {
            let z: &[f64] = match (self.method, a.diagonal()) {
                (Scheme::SsorCgPlain, diagonal) => {
                    a.solve_triangle(Order::Backward, self.omega, r, s);
                    scale(diagonal, s);
                    a.solve_triangle(Order::Forward, self.omega, s, z);
                    z
                }
                (Scheme::JacobiCg, Diagonal::Entries(d)) => {
                    z.iter_mut().zip(r.iter().zip(d)).for_each(|(z, (r, d))| *z = r / d);
                    z
                }
                _ => r,
            };
            let last = std::mem::replace(&mut rho, dot(r, z));
            combine(1.0, z, if begun { rho / last } else { 0.0 }, p);
            begun = true;
            let curvature = a.apply(p, w);
            if !is_step(rho, curvature) {
                watch.ended = indefinite(a, p, w).then_some(Reason::Indefinite);
                return false;
            }
            watch.push(length(descend(rho / curvature, p, w, x, r), r));
        }
        true
    }

    /// SSOR-preconditioned conjugate gradients on the split system M⁻¹ A M⁻ᵀ x̂ = M⁻¹ b with
    /// M = D/ω + Lᵀ, preconditioned by D⁻¹; `work.r` is the residual of x at the beginning, then the split residual
    /// M⁻¹(b − A x). False if rounding broke them down.
    fn eisenstat(&self, a: &dyn Matrix, x: &mut [f64], work: &mut Workspace, watch: &mut Watch<'_>) -> bool {
        let order = Order::Backward;
        let Workspace { r, p, y, z, s: hat } = work; // x = x₀ + M⁻ᵀ hat
        if !watch.goes_on() {
            return true;
        }
        std::mem::swap(r, z);
        a.solve_triangle(order, self.omega, z, r);
        [&mut *z, p, hat].into_iter().for_each(|v| v.fill(0.0));
        // M + Mᵀ = A + (2/ω − 1) D, so that ‖M r‖ ≥ (1/ω − ½) min D ‖r‖: a residual known to be too
        // large need not be measured.
        let least = match a.diagonal() {
            Diagonal::Constant(d) => d,
            Diagonal::Entries(d) => d.iter().copied().fold(f64::INFINITY, f64::min),
        };
        let least = (1.0 / self.omega - 0.5) * least;
        let mut squared = dot(r, r);
        let mut ratio = watch.last() / squared.sqrt();
        let (mut rho, mut begun, mut whole) = (1.0, false, true);
        while watch.goes_on() {
            // Conjugate gradients do not see a constant factor of the preconditioner.
            let weighted = match a.diagonal() {
                Diagonal::Constant(_) => squared,
                Diagonal::Entries(d) => {
                    z.iter_mut().zip(r.iter().zip(d)).for_each(|(z, (r, d))| *z = d * r);
                    dot(r, z)
                }
            };
            let last = std::mem::replace(&mut rho, weighted);
            let beta = if begun { rho / last } else { 0.0 };
            begun = true;
            match a.diagonal() {
                Diagonal::Constant(_) => combine(1.0, r, beta, p),
                Diagonal::Entries(_) => combine(1.0, z, beta, p),
            }
            let curvature = a.split_product(order, self.omega, p, y, z);
            if !is_step(rho, curvature) {
                watch.ended = indefinite(a, y, z).then_some(Reason::Indefinite);
                whole = false;
                break;
            }
            squared = descend_split(rho / curvature, p, y, z, hat, r);
            let (split, floor) = (squared.sqrt(), least * squared.sqrt());
            watch.push(if floor > watch.target {
                floor.max(ratio * split)
            } else {
                let norm = length(a.triangle_product(order, self.omega, r, z), z);
                ratio = norm / split;
                norm
            });
        }
        a.solve_triangle(order.reverse(), self.omega, hat, y);
        combine(1.0, y, 1.0, x);
        whole
    }
}

/// v ← D v, up to a constant factor.
fn scale(diagonal: Diagonal<'_>, v: &mut [f64]) {
    if let Diagonal::Entries(d) = diagonal {
        v.iter_mut().zip(d).for_each(|(v, d)| *v *= d);
    }
}

/// ‖D x‖.
fn scaled_length(diagonal: Diagonal<'_>, x: &[f64]) -> f64 {
    match diagonal {
        Diagonal::Constant(d) => d * dot(x, x).sqrt(),
        Diagonal::Entries(d) => x.iter().zip(d).map(|(x, d)| (x * d).powi(2)).sum::<f64>().sqrt(),
    }
}

/// rᵀ D⁻¹ r.
fn weighted(diagonal: Diagonal<'_>, r: &[f64]) -> f64 {
    match diagonal {
        Diagonal::Constant(d) => dot(r, r) / d,
        Diagonal::Entries(d) => r.iter().zip(d).map(|(r, d)| r / d * r).sum(),
    }
}

/// Whether conjugate gradients can step: neither a direction of no positive curvature nor numbers that over- or
/// underflowed.
fn is_step(rho: f64, curvature: f64) -> bool {
    let step = rho / curvature;
    curvature > 0.0 && step > 0.0 && step.is_finite()
}

/// Whether pᵀA p is negative beyond rounding. The terms of a positive definite matrix obey
/// |aᵢⱼ pᵢ pⱼ| ≤ ½ (aᵢᵢ pᵢ² + aⱼⱼ pⱼ²), and each is rounded as often as terms are added.
fn indefinite(a: &dyn Matrix, p: &[f64], w: &mut [f64]) -> bool {
    let curvature = a.apply(p, w);
    let squares: f64 = match a.diagonal() {
        Diagonal::Constant(d) => d * dot(p, p),
        Diagonal::Entries(d) => d.iter().zip(p).map(|(d, p)| d * p * p).sum(),
    };
    curvature < -f64::EPSILON * (a.rows() + a.entries()) as f64 * squares
}

/// Watches the residual.
struct Watch<'a> {
    residuals: Vec<f64>,
    target: f64,
    /// Whether the residual must be below the target, not at it.
    strict: bool,
    /// The residual of x itself, once it is small enough.
    truth: Option<f64>,
    ended: Option<Reason>,
    max_iterations: usize,
    go_on: GoOn<'a>,
}

impl<'a> Watch<'a> {
    fn new(solver: &Solver, first: f64, go_on: GoOn<'a>) -> Self {
        let max_iterations = solver.max_iterations;
        Self {
            residuals: vec![first],
            target: 0.0,
            strict: false,
            truth: None,
            ended: None,
            max_iterations,
            go_on,
        }
    }

    fn iterations(&self) -> usize {
        self.residuals.len() - 1
    }

    fn last(&self) -> f64 {
        self.residuals[self.iterations()]
    }

    fn push(&mut self, norm: f64) {
        self.residuals.push(norm);
        let made = self.iterations();
        if !(self.go_on)(made, norm) && !self.small(norm) {
            self.ended = Some(Reason::Stopped);
        }
    }

    fn small(&self, norm: f64) -> bool {
        norm.is_finite() && (norm < self.target || (norm == self.target && !self.strict))
    }

    /// Whether the residual that is carried along is small enough.
    fn claims(&self) -> bool {
        self.ended.is_none() && self.small(self.last())
    }

    fn goes_on(&self) -> bool {
        self.ended.is_none()
            && !self.claims()
            && self.last().is_finite()
            && self.iterations() < self.max_iterations
    }

    /// Puts the residual of x itself in the place of the last one, if it is not small enough; true if the solve has
    /// ended.
    fn confirm(&mut self, truth: f64) -> bool {
        if self.ended.is_none() && self.small(truth) {
            self.truth = Some(truth);
            self.ended = Some(Reason::Converged);
        } else {
            let last = self.iterations();
            self.residuals[last] = truth;
        }
        self.ended.is_some()
    }

    fn solved(self, relative_residual: f64) -> Solved {
        let open = if self.last().is_finite() { Reason::Cap } else { Reason::Diverged };
        Solved {
            iterations: self.iterations(),
            reason: self.ended.unwrap_or(open),
            residuals: self.residuals,
            relative_residual,
            max_iterations: self.max_iterations,
        }
    }
}

/// Fails unless a vector has one finite entry per row.
pub(crate) fn check_vector(what: &'static str, v: &[f64], rows: usize) -> Result<(), RelaxError> {
    if v.len() != rows {
        return Err(RelaxError::Length { what, found: v.len(), expected: rows });
    }
    match v.iter().position(|x| !x.is_finite()) {
        Some(row) => Err(RelaxError::NotFinite { what, row: row + 1, value: v[row] }),
        None => Ok(()),
    }
}
