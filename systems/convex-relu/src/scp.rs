//! Sampled convex programs: the lasso over sampled neurons.

use std::time::Instant;

use faer::{Mat, MatMut, MatRef};
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};
use thalweg_linalg::dense::{Cholesky, product};
use thalweg_linalg::iterative::power_iteration;

use crate::network::Neuron;
use crate::samples::{add, dot, norm};
use crate::{Certificate, ConvexError, Loss, Network, Patterns, Samples};

/// How [`Scp`] solves its lasso. The hinge loss always goes by ADMM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LassoSolver {
    /// Cyclic coordinate descent with gap-safe screening, inside Newton's method for bce.
    #[default]
    CoordinateDescent,
    /// Accelerated proximal gradient with restarts, step 1/‖A‖².
    Fista,
}

/// The sampled convex program min_c ℓ(Σ_j (X u_j)₊ c_j, y) + β‖c‖₁ with N unit vectors u_j.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scp {
    /// The loss. Default hinge.
    pub loss: Loss,
    /// Weight β > 0 of ‖c‖₁. Default 0.1.
    pub beta: f64,
    /// Relative certified gap to stop at. Default 1e-6.
    pub tol: f64,
    /// Sweeps or iterations at most. Default 100 000.
    #[serde(alias = "max_iterations")]
    pub max_steps: u64,
    /// The solver.
    pub solver: LassoSolver,
}

impl Default for Scp {
    fn default() -> Self {
        let solver = LassoSolver::default();
        Self { loss: Loss::Hinge, beta: 0.1, tol: 1e-6, max_steps: 100_000, solver }
    }
}

/// A solved sampled program.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// c, one per sampled neuron.
    pub weights: Vec<f64>,
    /// The network of the non-zero ones.
    pub network: Network,
    /// Value, bound for these neurons, gap.
    pub certificate: Certificate,
    /// Sweeps or iterations made.
    pub iterations: u64,
}

/// `count` independent directions, uniform on the unit sphere, row by row.
pub fn unit_vectors(count: usize, d: usize, seed: Seed) -> Vec<Vec<f64>> {
    let draw = |j: usize| {
        let mut u = vec![0.0; d];
        normal(&mut seed.stream("neuron", j as u64), &mut u);
        let length = norm(&u);
        u.iter_mut().for_each(|u| *u /= length);
        u
    };
    (0..count).map(draw).collect()
}

impl Scp {
    /// Names the bad field, its value and its legal range.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::positive("beta", self.beta)?;
        Invalid::at_least_zero("tol", self.tol)
    }

    /// Solves for the neurons `directions`, each `[d]`.
    ///
    /// # Errors
    /// Settings outside their range, targets that the loss does not know, sizes.
    pub fn solve(
        &self,
        samples: &Samples,
        y: &[f64],
        directions: &[Vec<f64>],
    ) -> Result<Sampled, ConvexError> {
        self.solve_until(samples, y, directions, None)
    }

    /// [`Scp::solve`], which ends then with the best so far.
    ///
    /// # Errors
    /// As [`Scp::solve`].
    pub fn solve_until(
        &self,
        samples: &Samples,
        y: &[f64],
        directions: &[Vec<f64>],
        until: Option<Instant>,
    ) -> Result<Sampled, ConvexError> {
        self.validate()?;
        Invalid::count("neurons", directions.len())?;
        ConvexError::check("targets", y.len(), samples.n())?;
        directions
            .iter()
            .try_for_each(|u| ConvexError::check("entries of a neuron", u.len(), samples.d()))?;
        self.loss.check(y)?;
        let a =
            Mat::from_fn(samples.n(), directions.len(), |k, j| dot(samples.row(k), &directions[j]).max(0.0));
        let lasso = Lasso { a, y, loss: self.loss, beta: self.beta, until };
        let (weights, certificate, iterations) = match (self.loss, self.solver) {
            (Loss::Hinge, _) => lasso.admm(self.tol, self.max_steps)?,
            (_, LassoSolver::CoordinateDescent) => lasso.newton(self.tol, self.max_steps),
            (_, LassoSolver::Fista) => lasso.fista(self.tol, self.max_steps),
        };
        let nonzero = weights.iter().zip(directions).filter(|(c, _)| **c != 0.0);
        let neuron = |(c, u): (&f64, &Vec<f64>)| {
            let v: Vec<f64> = u.iter().map(|u| u * c.abs()).collect();
            Neuron::balanced(&v, c.signum(), 0)
        };
        let network = Network { neurons: nonzero.map(neuron).collect(), linear_part: None, outputs: 1 };
        Ok(Sampled { weights, network, certificate, iterations })
    }
}

impl Sampled {
    /// Patterns of the neurons that survived: as the list of (P), they give a value at least as good.
    ///
    /// # Errors
    /// If all neurons are 0.
    pub fn patterns(&self, samples: &Samples) -> Result<Patterns, ConvexError> {
        let mut patterns = Patterns::none(samples.n());
        self.network.neurons.iter().for_each(|n| {
            patterns.add(&samples.times(&n.weights));
        });
        if patterns.is_empty() { Err(ConvexError::NoPattern) } else { Ok(patterns) }
    }
}

/// min_c ℓ(Ac, y) + β‖c‖₁.
struct Lasso<'a> {
    a: Mat<f64>,
    y: &'a [f64],
    loss: Loss,
    beta: f64,
    until: Option<Instant>,
}

type Solved = (Vec<f64>, Certificate, u64);

impl Lasso<'_> {
    fn late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn push(&self, c: &[f64]) -> Vec<f64> {
        let mut r = vec![0.0; self.y.len()];
        c.iter()
            .enumerate()
            .filter(|(_, c)| **c != 0.0)
            .for_each(|(j, c)| add(&mut r, *c, self.a.col_as_slice(j)));
        r
    }

    fn pull(&self, theta: &[f64]) -> Vec<f64> {
        (0..self.a.ncols()).map(|j| dot(self.a.col_as_slice(j), theta)).collect()
    }

    fn slopes(&self, r: &[f64]) -> Vec<f64> {
        r.iter().zip(self.y).map(|(r, y)| self.loss.slope(*r, *y)).collect()
    }

    fn objective(&self, r: &[f64], c: &[f64]) -> f64 {
        self.loss.value(r, self.y) + self.beta * c.iter().map(|c| c.abs()).sum::<f64>()
    }

    /// The dual point s·θ with s ≤ β/‖Aᵀθ‖_∞, and both values.
    fn certify(&self, r: &[f64], c: &[f64], theta: &[f64]) -> Certificate {
        let clip = |(t, y): (&f64, &f64)| self.loss.clip(*t, *y);
        let mut theta: Vec<f64> = theta.iter().zip(self.y).map(clip).collect();
        let limit = self.pull(&theta).iter().fold(f64::MIN_POSITIVE, |m, a| m.max(a.abs())) * (1.0 + 1e-12);
        let most = self.beta / limit;
        let scale = match self.loss {
            Loss::Squared => {
                (-dot(&theta, self.y) / dot(&theta, &theta).max(f64::MIN_POSITIVE)).clamp(0.0, most)
            }
            _ => most.min(1.0),
        };
        theta.iter_mut().for_each(|t| *t *= scale);
        let bound = theta.iter().zip(self.y).map(|(t, y)| self.loss.dual(*t, *y)).sum();
        Certificate::new(self.objective(r, c), bound, theta)
    }

    /// Newton's method, its quadratic models minimised by coordinate descent, which finds the signs,
    /// and a linear system, which settles the weights; for the squared loss the model is the problem.
    fn newton(&self, tol: f64, most: u64) -> Solved {
        let count = self.a.ncols();
        let (mut c, mut r) = (vec![0.0; count], vec![0.0; self.y.len()]);
        let lengths: Vec<f64> = (0..count).map(|j| norm(self.a.col_as_slice(j))).collect();
        let mut alive: Vec<usize> = (0..count).filter(|&j| lengths[j] > 0.0).collect();
        let mut sweeps = 0;
        loop {
            let slopes = self.slopes(&r);
            let certificate = self.certify(&r, &c, &slopes);
            if certificate.gap <= tol || sweeps >= most || self.late() {
                return (c, certificate, sweeps);
            }
            // Gap-safe screening (Ndiaye et al. 2017); ℓ'' ≤ 1 for both losses.
            let radius = (2.0 * (certificate.objective - certificate.dual_bound).max(0.0)).sqrt();
            alive.retain(|&j| {
                let a = self.a.col_as_slice(j);
                let keep = dot(a, &certificate.theta).abs() + lengths[j] * radius >= self.beta;
                if !keep && c[j] != 0.0 {
                    add(&mut r, -c[j], a);
                    c[j] = 0.0;
                }
                keep
            });
            let slopes = self.slopes(&r);
            let curvature: Vec<f64> = match self.loss {
                Loss::Squared => vec![1.0; r.len()],
                _ => slopes.iter().map(|g| (g.abs() * (2.0 - g.abs())).max(1e-10)).collect(),
            };
            let (mut next, mut moved, made) = self.sweep(&c, &slopes, &curvature, &alive);
            self.settle(&mut next, &mut moved, &slopes, &curvature);
            sweeps += made;
            let before = self.objective(&r, &c);
            let mut step = 1.0;
            loop {
                let mix = |a: &[f64], b: &[f64]| -> Vec<f64> {
                    a.iter().zip(b).map(|(a, b)| a + step * (b - a)).collect()
                };
                let tried = mix(&c, &next);
                let outputs: Vec<f64> = r.iter().zip(&moved).map(|(r, m)| r + step * m).collect();
                if self.objective(&outputs, &tried) <= before || step < 1e-8 {
                    c = tried;
                    break;
                }
                step *= 0.5;
            }
            r = self.push(&c); // no drift
        }
    }

    /// Goes on from c with outputs moved by e towards the minimiser of the model for the signs of c,
    /// up to where a weight would change its sign: it becomes 0.
    fn settle(&self, c: &mut [f64], e: &mut [f64], slopes: &[f64], curvature: &[f64]) {
        let n = e.len();
        let used: Vec<usize> = (0..c.len()).filter(|&j| c[j] != 0.0).collect();
        let root: Vec<f64> = curvature.iter().map(|h| h.sqrt()).collect();
        let a = Mat::from_fn(n, used.len(), |k, j| root[k] * self.a[(k, used[j])]);
        let slope: Vec<f64> = (0..n).map(|k| slopes[k] + curvature[k] * e[k]).collect();
        let pull = |j: usize| -dot(self.a.col_as_slice(j), &slope) - self.beta * c[j].signum();
        let mut step = Mat::from_fn(used.len(), 1, |i, _| pull(used[i]));
        let Ok(factor) = Cholesky::new(product(a.transpose(), &a)) else { return };
        factor.solve_in_place(&mut step);
        let crossing = |i: usize| {
            let (c, s) = (c[used[i]], step[(i, 0)]);
            ((c + s) * c < 0.0).then(|| (c.abs() / s.abs(), used[i]))
        };
        let first = (0..used.len()).filter_map(crossing).min_by(|a, b| a.0.total_cmp(&b.0));
        let length = first.map_or(1.0, |f| f.0);
        for (i, &j) in used.iter().enumerate() {
            c[j] += length * step[(i, 0)];
            add(e, length * step[(i, 0)], self.a.col_as_slice(j));
        }
        if let Some((_, j)) = first {
            c[j] = 0.0;
        }
    }

    /// Sweeps over gᵀe + ½ eᵀdiag(h)e + β‖c + δ‖₁, e = Aδ: the new c, e and the number of sweeps.
    fn sweep(
        &self,
        c: &[f64],
        slopes: &[f64],
        curvature: &[f64],
        alive: &[usize],
    ) -> (Vec<f64>, Vec<f64>, u64) {
        let squared = self.loss == Loss::Squared;
        let weighted = |j: usize| -> Vec<f64> {
            self.a.col_as_slice(j).iter().zip(curvature).map(|(a, h)| a * h).collect()
        };
        // For the squared loss the columns are their own.
        let columns: Vec<Vec<f64>> =
            if squared { Vec::new() } else { alive.iter().map(|&j| weighted(j)).collect() };
        let column = |at: usize| if squared { self.a.col_as_slice(alive[at]) } else { &columns[at][..] };
        let sizes: Vec<f64> =
            alive.iter().enumerate().map(|(at, &j)| dot(column(at), self.a.col_as_slice(j))).collect();
        let pulled: Vec<f64> = alive.iter().map(|&j| dot(self.a.col_as_slice(j), slopes)).collect();
        let (mut next, mut e) = (c.to_vec(), vec![0.0; slopes.len()]);
        let mut sweeps = 0;
        loop {
            let mut largest = 0.0f64;
            for (at, &j) in alive.iter().enumerate() {
                let g = pulled[at] + dot(column(at), &e);
                let target = soft(next[j] - g / sizes[at], self.beta / sizes[at]);
                let delta = target - next[j];
                if delta != 0.0 {
                    add(&mut e, delta, self.a.col_as_slice(j));
                    next[j] = target;
                    largest = largest.max(delta.abs() * sizes[at].sqrt());
                }
            }
            sweeps += 1;
            if largest <= 1e-9 || sweeps >= 10 {
                return (next, e, sweeps);
            }
        }
    }

    /// FISTA with restarts where the momentum points uphill.
    fn fista(&self, tol: f64, most: u64) -> Solved {
        let lipschitz = self.largest_square() * 1.01;
        let count = self.a.ncols();
        let (mut c, mut ahead, mut t) = (vec![0.0; count], vec![0.0; count], 1.0f64);
        for iteration in 0.. {
            let late = self.late();
            if iteration % 50 == 0 || iteration >= most || late {
                let r = self.push(&c);
                let certificate = self.certify(&r, &c, &self.slopes(&r));
                if certificate.gap <= tol || iteration >= most || late {
                    return (c, certificate, iteration);
                }
            }
            let gradient = self.pull(&self.slopes(&self.push(&ahead)));
            let step = |(a, g): (&f64, &f64)| soft(a - g / lipschitz, self.beta / lipschitz);
            let next: Vec<f64> = ahead.iter().zip(&gradient).map(step).collect();
            let uphill: f64 = (0..count).map(|j| (ahead[j] - next[j]) * (next[j] - c[j])).sum();
            let faster = if uphill > 0.0 { 1.0 } else { 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt()) };
            let momentum = if uphill > 0.0 { 0.0 } else { (t - 1.0) / faster };
            ahead = next.iter().zip(&c).map(|(n, c)| n + momentum * (n - c)).collect();
            (c, t) = (next, faster);
        }
        unreachable!("the iterations end above")
    }

    /// ‖A‖² by power iteration.
    fn largest_square(&self) -> f64 {
        let mut x = vec![1.0; self.a.ncols()];
        power_iteration(&mut x, 99, norm, |x| self.pull(&self.push(x)));
        norm(&self.pull(&self.push(&x)))
    }

    /// The structured ADMM with groups of size 1: c = v and Ac = r.
    fn admm(&self, tol: f64, most: u64) -> Result<Solved, ConvexError> {
        let (n, count) = (self.y.len(), self.a.ncols());
        let kernel = Mat::<f64>::identity(n, n) + product(&self.a, self.a.transpose());
        let kernel = Cholesky::new(kernel).map_err(|_| ConvexError::Factor { what: "matrix I + AAᵀ" })?;
        let (mut v, mut lambda) = (vec![0.0; count], vec![0.0; count]);
        let (mut r, mut eta) = (vec![0.0; n], vec![0.0; n]);
        let mut rho = self.beta;
        let mut best: Option<(Vec<f64>, Certificate)> = None;
        for iteration in 1.. {
            // c = (I + AᵀA)⁻¹ (v − λ + Aᵀ(r − η)) by Woodbury.
            let wanted: Vec<f64> = r.iter().zip(&eta).map(|(r, e)| r - e).collect();
            let mut c: Vec<f64> = v.iter().zip(&lambda).map(|(v, l)| v - l).collect();
            let outputs = MatMut::from_column_major_slice_mut(&mut c, count, 1);
            let mut outputs =
                outputs + product(self.a.transpose(), MatRef::from_column_major_slice(&wanted, n, 1));
            let mut q = product(&self.a, &outputs);
            kernel.solve_in_place(&mut q);
            outputs -= product(self.a.transpose(), &q);
            let (c, fitted) = (outputs.col_as_slice(0), q.col_as_slice(0));
            let (mut primal, mut dual) = (0.0, 0.0);
            for j in 0..count {
                let old = v[j];
                v[j] = soft(c[j] + lambda[j], self.beta / rho);
                lambda[j] += c[j] - v[j];
                primal += (c[j] - v[j]).powi(2);
                dual += (v[j] - old).powi(2);
            }
            for k in 0..n {
                let old = r[k];
                r[k] = self.loss.prox(fitted[k] + eta[k], self.y[k], rho);
                eta[k] += fitted[k] - r[k];
                primal += (fitted[k] - r[k]).powi(2);
                dual += (r[k] - old).powi(2);
            }
            let last = iteration >= most || self.late();
            if iteration % 50 == 0 || last {
                let theta: Vec<f64> = eta.iter().map(|e| rho * e).collect();
                let now = self.certify(&self.push(&v), &v, &theta);
                best = Some(match best.take() {
                    None => (v.clone(), now),
                    Some((old, before)) => {
                        let (certificate, own) = now.or(before);
                        (if own { v.clone() } else { old }, certificate)
                    }
                });
                if let Some((weights, certificate)) = best.take_if(|b| b.1.gap <= tol || last) {
                    return Ok((weights, certificate, iteration));
                }
            }
            let ratio = (primal / dual.max(f64::MIN_POSITIVE)).sqrt().sqrt();
            if iteration % 50 == 0 && iteration <= 2000 && !(0.5..=2.0).contains(&ratio) {
                let factor = ratio.clamp(0.2, 5.0);
                rho *= factor;
                lambda.iter_mut().chain(&mut eta).for_each(|d| *d /= factor);
            }
        }
        unreachable!("the iterations end above")
    }
}

fn soft(x: f64, kappa: f64) -> f64 {
    x.signum() * (x.abs() - kappa).max(0.0)
}
