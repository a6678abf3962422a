//! Random quadratics with means of rank-one terms, made as in benchopt's `benchmark_bilevel` (Dagréou, Ablin,
//! Vaiter and Moreau 2022).

use faer::{Mat, MatRef};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, Seed, normal};
use thalweg_linalg::dense::{Cholesky, eigenvalues, product, thin_q};

use crate::method::sampled::positive;
use crate::set::dot;
use crate::tasks::regularization::share;
use crate::{Batch, Bilevel, BilevelError, Grad};

/// Tries to make a problem whose ψ is convex.
const TRIES: u64 = 20;

/// What a random quadratic is like. Defaults are the benchmark's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// Length of x. 100.
    pub outer: usize,
    /// Length of y. 100.
    pub inner: usize,
    /// Terms of f and of g. 1024.
    pub terms: usize,
    /// Least curvature by y, and by x but for one flat direction. 0.1.
    pub mu: f64,
    /// Largest curvature. 1.
    pub l: f64,
    /// Largest singular value of the mixed derivatives, the least being `mu`. 0.1.
    pub cross: f64,
}

impl Default for Spec {
    fn default() -> Self {
        Self { outer: 100, inner: 100, terms: 1024, mu: 0.1, l: 1.0, cross: 0.1 }
    }
}

/// f and g are means of `½(aᵢᵀy)² + ½(bᵢᵀx)² + (pᵢᵀx)(qᵢᵀy) + cᵢᵀy + dᵢᵀx`, so ψ is a quadratic too.
#[derive(Clone, Debug)]
pub struct Quadratic {
    f: Mean,
    g: Mean,
    /// y(x) = jacobian·x + offset.
    jacobian: Mat<f64>,
    offset: Vec<f64>,
    minimizer: Vec<f64>,
}

/// A mean of terms, and the whole of it.
#[derive(Clone, Debug)]
struct Mean {
    terms: Terms,
    /// `[inner, inner]`, Σ aᵢaᵢᵀ/n.
    yy: Mat<f64>,
    /// `[outer, outer]`, Σ bᵢbᵢᵀ/n.
    xx: Mat<f64>,
    /// `[outer, inner]`, Σ pᵢqᵢᵀ/n.
    xy: Mat<f64>,
    y: Vec<f64>,
    x: Vec<f64>,
}

/// Row-major, one row per term; letters as in [`Quadratic`].
#[derive(Clone, Debug)]
struct Terms {
    a: Vec<f64>,
    b: Vec<f64>,
    p: Vec<f64>,
    q: Vec<f64>,
    c: Vec<f64>,
    d: Vec<f64>,
}

impl Quadratic {
    /// A random one. Those on which ψ has no minimum are passed over.
    ///
    /// # Errors
    /// Sizes or curvatures that are not positive, too few terms for the size, none with a minimum among 20.
    pub fn new(spec: Spec, seed: Seed) -> Result<Self, BilevelError> {
        let Spec { outer, inner, terms, mu, l, cross } = spec;
        Invalid::count("outer", outer)?;
        Invalid::count("inner", inner)?;
        Invalid::check(terms > inner, "terms", terms, "more than `inner`, so that g is strongly convex")?;
        positive([("mu", mu), ("l", l), ("cross", cross)])?;
        (0..TRIES).find_map(|k| Self::made(&spec, &mut seed.stream("quadratic", k))).ok_or_else(|| {
            BilevelError::Data(format!("none of {TRIES} random quadratics has a minimum; lower `cross`"))
        })
    }

    fn made(spec: &Spec, rng: &mut ChaCha8Rng) -> Option<Self> {
        let (g, f) = (Mean::new(spec, rng), Mean::new(spec, rng));
        let solver = Cholesky::new(&g.yy).ok()?;
        let jacobian = -solver.solve(g.xy.transpose());
        let offset: Vec<f64> = column(&solver.solve(matrix(&g.y, 1))).iter().map(|v| -v).collect();
        let bend = product(&f.xy, &jacobian);
        let hessian =
            product(product(jacobian.transpose(), &f.yy), &jacobian) + &f.xx + &bend + bend.transpose();
        // A hardly convex one has its minimum far away.
        let least = eigenvalues(&hessian).ok()?;
        if least.first().is_none_or(|&e| e < 1e-3 * spec.mu) {
            return None;
        }
        let mut quadratic = Self { f, g, jacobian, offset, minimizer: vec![0.0; spec.outer] };
        let slope = quadratic.gradient(&quadratic.minimizer);
        let step = column(&Cholesky::new(&hessian).ok()?.solve(matrix(&slope, 1)));
        quadratic.minimizer = step.iter().map(|s| -s).collect();
        Some(quadratic)
    }

    /// y(x).
    pub fn solution(&self, x: &[f64]) -> Vec<f64> {
        let mut y = times(&self.jacobian, x);
        y.iter_mut().zip(&self.offset).for_each(|(y, o)| *y += o);
        y
    }

    /// ψ(x).
    pub fn value(&self, x: &[f64]) -> f64 {
        self.f.whole(x, &self.solution(x), Grad::NONE)
    }

    /// ∇ψ(x).
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        let y = self.solution(x);
        let (mut by_x, mut by_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
        self.f.whole(x, &y, Grad::both(&mut by_x, &mut by_y));
        let through = column(&product(self.jacobian.transpose(), matrix(&by_y, 1)));
        by_x.iter_mut().zip(&through).for_each(|(g, t)| *g += t);
        by_x
    }

    /// The x with the least ψ(x).
    pub fn minimizer(&self) -> &[f64] {
        &self.minimizer
    }

    /// The least ψ(x).
    pub fn minimum(&self) -> f64 {
        self.value(&self.minimizer)
    }
}

impl Mean {
    fn new(spec: &Spec, rng: &mut ChaCha8Rng) -> Self {
        let &Spec { outer, inner, terms: n, mu, l, cross } = spec;
        let (mu_root, l_root) = (mu.sqrt(), l.sqrt());
        let a = gaussians(n, rng, &between(mu_root, l_root, inner));
        let spectrum: Vec<f64> = std::iter::once(0.0).chain(between(mu_root, l_root, outer - 1)).collect();
        let b = gaussians(n, rng, &spectrum);
        // The mean of pqᵀ is U·diag·Vᵀ.
        let (u, v) = (frame(outer, rng), frame(inner, rng));
        let least = outer.min(inner);
        let mut diagonal = Mat::zeros(inner, outer);
        for (k, s) in between(mu, cross, least).into_iter().enumerate() {
            diagonal[(k, k)] = s;
        }
        let z = random(n, inner, rng);
        let p = row_major(&product(product(&z, diagonal), u.transpose()));
        let q = row_major(&product(&z, v.transpose()));
        let (c, d) = (row_major(&random(n, inner, rng)), row_major(&random(n, outer, rng)));
        let gram = |a: &[f64], b: &[f64]| {
            product(matrix(a, a.len() / n).transpose(), matrix(b, b.len() / n)) * faer::Scale(1.0 / n as f64)
        };
        let mean =
            |c: &[f64]| column(&product(matrix(c, c.len() / n).transpose(), Mat::full(n, 1, 1.0 / n as f64)));
        let (yy, xx, xy, y, x) = (gram(&a, &a), gram(&b, &b), gram(&p, &q), mean(&c), mean(&d));
        Self { terms: Terms { a, b, p, q, c, d }, yy, xx, xy, y, x }
    }

    /// Value and gradients of the mean of a batch.
    fn of(&self, x: &[f64], y: &[f64], batch: Batch<'_>, mut grad: Grad<'_>) -> f64 {
        let Batch::Terms(some) = batch else { return self.whole(x, y, grad) };
        grad.x.iter_mut().for_each(|g| g.fill(0.0));
        grad.y.iter_mut().for_each(|g| g.fill(0.0));
        let (share, mut value) = (share(0, batch), 0.0);
        for &i in some {
            let t = self.terms.at(i as usize, x.len(), y.len());
            let (ay, bx, px, qy) = (dot(t.a, y), dot(t.b, x), dot(t.p, x), dot(t.q, y));
            value += share * (0.5 * (ay * ay + bx * bx) + px * qy + dot(t.c, y) + dot(t.d, x));
            if let Some(by_y) = &mut grad.y {
                for (j, g) in by_y.iter_mut().enumerate() {
                    *g += share * (ay * t.a[j] + px * t.q[j] + t.c[j]);
                }
            }
            if let Some(by_x) = &mut grad.x {
                for (j, g) in by_x.iter_mut().enumerate() {
                    *g += share * (bx * t.b[j] + qy * t.p[j] + t.d[j]);
                }
            }
        }
        value
    }

    fn whole(&self, x: &[f64], y: &[f64], grad: Grad<'_>) -> f64 {
        let (yy_y, xx_x, xy_y) = (times(&self.yy, y), times(&self.xx, x), times(&self.xy, y));
        if let Some(by_y) = grad.y {
            let x_xy = column(&product(self.xy.transpose(), matrix(x, 1)));
            (0..y.len()).for_each(|j| by_y[j] = yy_y[j] + x_xy[j] + self.y[j]);
        }
        if let Some(by_x) = grad.x {
            (0..x.len()).for_each(|j| by_x[j] = xx_x[j] + xy_y[j] + self.x[j]);
        }
        0.5 * (dot(&yy_y, y) + dot(&xx_x, x)) + dot(&xy_y, x) + dot(&self.y, y) + dot(&self.x, x)
    }
}

struct Term<'a> {
    a: &'a [f64],
    b: &'a [f64],
    p: &'a [f64],
    q: &'a [f64],
    c: &'a [f64],
    d: &'a [f64],
}

impl Terms {
    fn at(&self, i: usize, outer: usize, inner: usize) -> Term<'_> {
        let (x, y) = (i * outer..(i + 1) * outer, i * inner..(i + 1) * inner);
        Term {
            a: &self.a[y.clone()],
            b: &self.b[x.clone()],
            p: &self.p[x.clone()],
            q: &self.q[y.clone()],
            c: &self.c[y],
            d: &self.d[x],
        }
    }
}

impl Bilevel for Quadratic {
    fn dims(&self) -> (usize, usize) {
        (self.minimizer.len(), self.offset.len())
    }

    fn terms(&self) -> (u64, u64) {
        let terms = (self.g.terms.a.len() / self.offset.len()) as u64;
        (terms, terms)
    }

    fn upper(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        self.f.of(x, y, batch, grad)
    }

    fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        self.g.of(x, y, batch, grad)
    }

    fn product(&self, x: &[f64], y: &[f64], v: &[f64], batch: Batch<'_>, mut out: Grad<'_>) -> bool {
        let Batch::Terms(some) = batch else {
            out.y.iter_mut().for_each(|out| out.copy_from_slice(&times(&self.g.yy, v)));
            out.x.iter_mut().for_each(|out| out.copy_from_slice(&times(&self.g.xy, v)));
            return true;
        };
        out.x.iter_mut().for_each(|out| out.fill(0.0));
        out.y.iter_mut().for_each(|out| out.fill(0.0));
        let share = share(0, batch);
        for &i in some {
            let t = self.g.terms.at(i as usize, x.len(), y.len());
            let (av, qv) = (share * dot(t.a, v), share * dot(t.q, v));
            out.y.iter_mut().flat_map(|out| out.iter_mut().zip(t.a)).for_each(|(out, a)| *out += av * a);
            out.x.iter_mut().flat_map(|out| out.iter_mut().zip(t.p)).for_each(|(out, p)| *out += qv * p);
        }
        true
    }

    fn curvature(&self, _x: &[f64], bound: &mut [f64]) -> bool {
        bound.iter_mut().enumerate().for_each(|(j, b)| *b = self.g.yy[(j, j)]);
        true
    }
}

/// `count` numbers from `lo` to `hi`, equally spaced by their logarithms.
fn between(lo: f64, hi: f64, count: usize) -> Vec<f64> {
    let step = |k: usize| k as f64 / (count.max(2) - 1) as f64;
    (0..count).map(|k| lo * (hi / lo).powf(step(k))).collect()
}

/// `[n, d]` of standard normal numbers.
fn random(n: usize, d: usize, rng: &mut ChaCha8Rng) -> Mat<f64> {
    let mut numbers = vec![0.0; n * d];
    normal(rng, &mut numbers);
    matrix(&numbers, d).to_owned()
}

/// A random orthogonal matrix.
fn frame(d: usize, rng: &mut ChaCha8Rng) -> Mat<f64> {
    thin_q(random(d, d, rng))
}

/// `n` normal vectors, row by row, with standard deviations `spectrum` along random axes.
fn gaussians(n: usize, rng: &mut ChaCha8Rng, spectrum: &[f64]) -> Vec<f64> {
    let axes = frame(spectrum.len(), rng);
    let mut z = random(n, spectrum.len(), rng);
    for (j, s) in spectrum.iter().enumerate() {
        (0..n).for_each(|i| z[(i, j)] *= s);
    }
    row_major(&product(z, axes.transpose()))
}

/// Of row-major numbers.
fn matrix(numbers: &[f64], columns: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(numbers, numbers.len() / columns, columns)
}

fn row_major(m: &Mat<f64>) -> Vec<f64> {
    (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect()
}

/// The first column.
fn column(m: &Mat<f64>) -> Vec<f64> {
    m.col_as_slice(0).to_vec()
}

fn times(m: &Mat<f64>, v: &[f64]) -> Vec<f64> {
    column(&product(m, matrix(v, 1)))
}
