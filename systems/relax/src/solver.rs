//! SOR, SSOR and conjugate gradients preconditioned by it.

use serde::{Deserialize, Serialize};
use thalweg_core::Invalid;
use thalweg_linalg::vector::{combine, dot_interleaved as dot};

use crate::kernel::{descend, descend_split};
use crate::matrix::{Diagonal, Order};
use crate::{Matrix, RelaxError};

/// An iterative method for one linear system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Successive over-relaxation, forward sweeps. Stops at ‖r‖ < tol ‖r₀‖.
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
    /// The residual is small enough.
    Converged,
    /// The iterations are used up.
    Cap,
    /// The residual grew 10⁴-fold or is not a number.
    Diverged,
    /// Conjugate gradients met a direction of no positive curvature: the matrix is not positive
    /// definite.
    Indefinite,
}

/// How one solve went.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// Iterations made.
    pub iterations: usize,
    /// Why it ended.
    pub reason: Reason,
    /// ‖b − A x‖ before the first and after each iteration, `[iterations + 1]`. SSOR-CG in Eisenstat's
    /// form measures it only where it may be small enough, and estimates the rest.
    pub residuals: Vec<f64>,
    /// The most iterations that were allowed.
    pub max_iterations: usize,
}

impl Solved {
    /// What a learner learns from: the iterations, at least 1; a solve that failed costs the limit.
    pub fn cost(&self) -> f64 {
        if self.reason == Reason::Converged {
            self.iterations.max(1) as f64
        } else {
            self.max_iterations as f64
        }
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
        check_vector("the right-hand side", b, a.rows())?;
        let mut x = vec![0.0; a.len()];
        let solved = self.solve_in(a, &a.pack(b), &mut x, &mut Workspace::default())?;
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
        self.validate()?;
        for (what, found) in [("the right-hand side", b.len()), ("the start", x.len())] {
            if found != a.len() {
                return Err(RelaxError::Length { what, found, expected: a.len() });
            }
        }
        work.clear(a.len());
        if self.method.is_stationary() {
            return Ok(self.relax(a, b, x, work));
        }
        a.check_symmetric()?;
        let norm = dot(b, b).sqrt();
        if norm == 0.0 {
            x.fill(0.0);
            return Ok(Solved {
                iterations: 0,
                reason: Reason::Converged,
                residuals: vec![0.0],
                max_iterations: self.max_iterations,
            });
        }
        Ok(match self.method {
            Scheme::SsorCg => self.eisenstat(a, b, x, work, norm),
            _ => self.conjugate_gradients(a, b, x, work, norm),
        })
    }

    fn relax(&self, a: &dyn Matrix, b: &[f64], x: &mut [f64], work: &mut Workspace) -> Solved {
        let mut watch = Watch::new(self, a.residual(b, x, &mut work.r).sqrt());
        watch.target = self.tol * watch.residuals[0];
        watch.strict = watch.target > 0.0;
        while watch.goes_on() {
            let mut sweep = |order| a.sweep(order, self.omega, b, x, &mut work.r);
            let norm = match self.method {
                Scheme::SorBackward => sweep(Order::Backward),
                Scheme::Ssor => {
                    sweep(Order::Forward);
                    sweep(Order::Backward)
                }
                _ => sweep(Order::Forward),
            };
            watch.residuals.push(norm.sqrt());
        }
        watch.solved()
    }

    /// Preconditioned conjugate gradients in the usual form.
    fn conjugate_gradients(
        &self,
        a: &dyn Matrix,
        b: &[f64],
        x: &mut [f64],
        work: &mut Workspace,
        norm: f64,
    ) -> Solved {
        let Workspace { r, p, y: w, z, s } = work;
        let mut watch = Watch::new(self, a.residual(b, x, r).sqrt());
        watch.target = self.tol * norm;
        let mut rho = 1.0;
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
            combine(1.0, z, if watch.iterations() == 0 { 0.0 } else { rho / last }, p);
            let curvature = a.apply(p, w);
            if curvature <= 0.0 {
                watch.indefinite = true;
                break;
            }
            watch.residuals.push(descend(rho / curvature, p, w, x, r).sqrt());
        }
        watch.solved()
    }

    /// SSOR-preconditioned conjugate gradients on the split system M⁻¹ A M⁻ᵀ x̂ = M⁻¹ b with
    /// M = D/ω + Lᵀ, preconditioned by D⁻¹; `r` is the split residual M⁻¹(b − A x).
    fn eisenstat(&self, a: &dyn Matrix, b: &[f64], x: &mut [f64], work: &mut Workspace, norm: f64) -> Solved {
        let order = Order::Backward;
        let Workspace { r, p, y, z, s } = work;
        let mut watch = Watch::new(self, a.residual(b, x, z).sqrt());
        watch.target = self.tol * norm;
        if !watch.goes_on() {
            return watch.solved();
        }
        a.solve_triangle(order, self.omega, z, r);
        z.fill(0.0);
        // M + Mᵀ = A + (2/ω − 1) D, so that ‖M r‖ ≥ (1/ω − ½) min D ‖r‖: a residual known to be too
        // large need not be measured.
        let least = match a.diagonal() {
            Diagonal::Constant(d) => d,
            Diagonal::Entries(d) => d.iter().copied().fold(f64::INFINITY, f64::min),
        };
        let least = (1.0 / self.omega - 0.5) * least;
        let mut hat = std::mem::take(s); // x = x₀ + M⁻ᵀ hat
        let mut squared = dot(r, r);
        let mut ratio = watch.last() / squared.sqrt();
        let mut rho = 1.0;
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
            let beta = if watch.iterations() == 0 { 0.0 } else { rho / last };
            match a.diagonal() {
                Diagonal::Constant(_) => combine(1.0, r, beta, p),
                Diagonal::Entries(_) => combine(1.0, z, beta, p),
            }
            let curvature = a.split_product(order, self.omega, p, y, z);
            if curvature <= 0.0 {
                watch.indefinite = true;
                break;
            }
            squared = descend_split(rho / curvature, p, y, z, &mut hat, r);
            let (split, floor) = (squared.sqrt(), least * squared.sqrt());
            watch.residuals.push(if floor > watch.target {
                floor.max(ratio * split)
            } else {
                let norm = a.triangle_product(order, self.omega, r, z).sqrt();
                ratio = norm / split;
                norm
            });
        }
        a.solve_triangle(order.reverse(), self.omega, &hat, y);
        combine(1.0, y, 1.0, x);
        *s = hat;
        watch.solved()
    }
}

/// v ← D v, up to a constant factor.
fn scale(diagonal: Diagonal<'_>, v: &mut [f64]) {
    if let Diagonal::Entries(d) = diagonal {
        v.iter_mut().zip(d).for_each(|(v, d)| *v *= d);
    }
}

/// Watches the residual.
struct Watch {
    residuals: Vec<f64>,
    target: f64,
    /// Whether the residual must be below the target, not at it.
    strict: bool,
    indefinite: bool,
    max_iterations: usize,
}

impl Watch {
    /// A residual so many times the first will not come back.
    const GROWTH: f64 = 1e4;

    fn new(solver: &Solver, first: f64) -> Self {
        Self {
            residuals: vec![first],
            target: 0.0,
            strict: false,
            indefinite: false,
            max_iterations: solver.max_iterations,
        }
    }

    fn iterations(&self) -> usize {
        self.residuals.len() - 1
    }

    fn last(&self) -> f64 {
        self.residuals[self.iterations()]
    }

    fn reason(&self) -> Option<Reason> {
        let (norm, target) = (self.last(), self.target);
        match () {
            () if self.indefinite => Some(Reason::Indefinite),
            () if norm < target || (norm == target && !self.strict) => Some(Reason::Converged),
            () if norm.is_nan() || norm > Self::GROWTH * self.residuals[0].max(target) => {
                Some(Reason::Diverged)
            }
            () if self.iterations() >= self.max_iterations => Some(Reason::Cap),
            () => None,
        }
    }

    fn goes_on(&self) -> bool {
        self.reason().is_none()
    }

    fn solved(self) -> Solved {
        let reason = self.reason().unwrap_or(Reason::Cap);
        Solved {
            iterations: self.iterations(),
            reason,
            residuals: self.residuals,
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
