//! Small problems of which ψ is known in closed form, two of them counter-examples.

use rand_distr::{Distribution, StandardNormal};
use thalweg_core::Seed;

use crate::{Batch, Bilevel, Grad, Set};

/// Value at (x, y); overwrites the gradients by x and by y.
type Level = fn(&[f64], &[f64], &mut [f64], &mut [f64]) -> f64;
/// ψ and its gradient; no gradient at a kink.
type Truth = fn(&[f64]) -> (f64, Option<Vec<f64>>);

/// A problem with a known ψ.
#[derive(Clone, Debug)]
pub struct Toy {
    /// Name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    start: (Vec<f64>, Vec<f64>),
    x_set: Set,
    y_set: Set,
    f: Level,
    g: Level,
    truth: Truth,
    /// Local minima of ψ over X, best first: x and ψ(x).
    pub minima: &'static [(&'static [f64], f64)],
    noise: f64,
}

impl Toy {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let free = |name, about, start, f, g, truth, minima| Self {
            name,
            about,
            start,
            x_set: Set::Free,
            y_set: Set::Free,
            f,
            g,
            truth,
            minima,
            noise: 0.0,
        };
        vec![
            free(
                "line",
                "the lower solutions are a line; ψ = (x − 3)²/4",
                (vec![0.0], vec![0.0, 0.0]),
                |_, y, x_, y_| {
                    x_[0] = 0.0;
                    (y_[0], y_[1]) = (y[0] - 1.0, y[1] - 2.0);
                    0.5 * (y_[0].powi(2) + y_[1].powi(2))
                },
                |x, y, x_, y_| {
                    let r = y[0] + y[1] - x[0];
                    x_[0] = -r;
                    (y_[0], y_[1]) = (r, r);
                    0.5 * r * r
                },
                |x| (0.25 * (x[0] - 3.0).powi(2), Some(vec![0.5 * (x[0] - 3.0)])),
                &[(&[3.0], 0.0)],
            ),
            free(
                "least-squares",
                "fewer equations than unknowns below; ψ is a quadratic",
                (vec![0.5, -1.0], vec![0.0; 3]),
                |_, y, x_, y_| {
                    x_.fill(0.0);
                    (y_[0], y_[1], y_[2]) = (y[0] - 1.0, y[1], y[2]);
                    0.5 * y_.iter().map(|d| d * d).sum::<f64>()
                },
                |x, y, x_, y_| {
                    let r = [y[0] + 2.0 * y[1] - x[0], y[1] + y[2] - x[0] - x[1]];
                    (x_[0], x_[1]) = (-r[0] - r[1], -r[1]);
                    (y_[0], y_[1], y_[2]) = (r[0], 2.0 * r[0] + r[1], r[1]);
                    0.5 * (r[0] * r[0] + r[1] * r[1])
                },
                |x| {
                    // r = b(x) − A y0, AAᵀ = [[5, 2], [2, 2]].
                    let r = [x[0] - 1.0, x[0] + x[1]];
                    let s = [(2.0 * r[0] - 2.0 * r[1]) / 6.0, (5.0 * r[1] - 2.0 * r[0]) / 6.0];
                    (0.5 * (r[0] * s[0] + r[1] * s[1]), Some(vec![s[0] + s[1], s[1]]))
                },
                &[(&[1.0, -1.0], 0.0)],
            ),
            Self {
                x_set: Set::cube(1, -2.0, 2.0),
                y_set: Set::cube(1, 0.0, f64::INFINITY),
                ..free(
                    "active",
                    "y ≥ 0 holds the lower level for x < 0: ψ has a kink at 0",
                    (vec![1.0], vec![1.0]),
                    |x, y, x_, y_| {
                        (x_[0], y_[0]) = (0.2 * x[0], y[0] - 2.0);
                        0.5 * y_[0].powi(2) + 0.1 * x[0] * x[0]
                    },
                    |x, y, x_, y_| {
                        (x_[0], y_[0]) = (x[0] - y[0], y[0] - x[0]);
                        0.5 * y_[0].powi(2)
                    },
                    |x| {
                        let y = x[0].max(0.0);
                        let slope = if x[0] > 0.0 { x[0] - 2.0 } else { 0.0 };
                        let gradient = (x[0] != 0.0).then(|| vec![slope + 0.2 * x[0]]);
                        (0.5 * (y - 2.0).powi(2) + 0.1 * x[0] * x[0], gradient)
                    },
                    &[(&[5.0 / 3.0], 1.0 / 3.0), (&[0.0], 2.0)],
                )
            },
            free(
                "pl",
                "a lower level that is not convex, but satisfies the error bound; ψ = ½(x − 1)² + ½x²",
                (vec![0.2], vec![0.2]),
                |x, y, x_, y_| {
                    (x_[0], y_[0]) = (x[0], y[0] - 1.0);
                    0.5 * y_[0].powi(2) + 0.5 * x[0] * x[0]
                },
                |x, y, x_, y_| {
                    let d = y[0] - x[0];
                    y_[0] = 2.0 * d + 3.0 * (2.0 * d).sin();
                    x_[0] = -y_[0];
                    d * d + 3.0 * d.sin().powi(2)
                },
                |x| (0.5 * (x[0] - 1.0).powi(2) + 0.5 * x[0] * x[0], Some(vec![2.0 * x[0] - 1.0])),
                &[(&[0.5], 0.25)],
            ),
            Self {
                y_set: Set::cube(1, -1.0, 1.0),
                ..free(
                    "jump",
                    "counter-example: the lower solution jumps at x = 0, where no ψ_σ is near ψ",
                    (vec![0.5], vec![-1.0]),
                    |x, y, x_, y_| {
                        (x_[0], y_[0]) = (2.0 * x[0], 2.0 * y[0]);
                        x[0] * x[0] + y[0] * y[0]
                    },
                    |x, y, x_, y_| {
                        (x_[0], y_[0]) = (y[0], x[0]);
                        x[0] * y[0]
                    },
                    |x| match x[0] == 0.0 {
                        true => (0.0, None),
                        false => (x[0] * x[0] + 1.0, Some(vec![2.0 * x[0]])),
                    },
                    &[(&[0.0], 0.0)],
                )
            },
            Self {
                x_set: Set::cube(1, 0.0, 3.0),
                ..free(
                    "cosine",
                    "three local minima of ψ (Shen and Chen 2023)",
                    (vec![1.0], vec![-1.0]),
                    |x, y, x_, y_| {
                        let e = (2.0 - 4.0 * x[0]).exp();
                        let a = 4.0 * x[0] - 2.0;
                        let c = (4.0 * y[0] + 2.0).cos() / (1.0 + e);
                        x_[0] = 4.0 * e * c / (1.0 + e) + 4.0 * a / (a * a + 1.0);
                        y_[0] = -4.0 * (4.0 * y[0] + 2.0).sin() / (1.0 + e);
                        c + 0.5 * (a * a).ln_1p()
                    },
                    |x, y, x_, y_| {
                        let d = x[0] + y[0];
                        y_[0] = 2.0 * d + x[0] * (2.0 * d).sin();
                        x_[0] = y_[0] + d.sin().powi(2);
                        d * d + x[0] * d.sin().powi(2)
                    },
                    |x| {
                        let e = (2.0 - 4.0 * x[0]).exp();
                        let a = 4.0 * x[0] - 2.0;
                        let c = (2.0 - 4.0 * x[0]).cos() / (1.0 + e);
                        let slope = 4.0 * (2.0 - 4.0 * x[0]).sin() / (1.0 + e) + 4.0 * e * c / (1.0 + e);
                        (c + 0.5 * (a * a).ln_1p(), Some(vec![slope + 4.0 * a / (a * a + 1.0)]))
                    },
                    &[
                        (&[1.215_145_475_475_920_6], 0.199_910_887_700_402_78),
                        (&[0.382_360_074_766_988_3], 0.442_705_722_444_499_8),
                        (&[2.829_641_800_022_212], 1.243_458_272_820_874_4),
                    ],
                )
            },
            Self {
                x_set: Set::cube(1, 0.0, 1.0),
                y_set: Set::Simplex { sum: 1.0 },
                ..free(
                    "simplex",
                    "y on the unit simplex of R³, with kinks of ψ at 1/6 and 5/6",
                    (vec![0.8], vec![1.0 / 3.0; 3]),
                    |x, y, x_, y_| {
                        x_[0] = 0.2 * x[0];
                        (y_[0], y_[1], y_[2]) = (y[0], y[1], y[2] - 1.0);
                        0.5 * y_.iter().map(|d| d * d).sum::<f64>() + 0.1 * x[0] * x[0]
                    },
                    |x, y, x_, y_| {
                        (y_[0], y_[1], y_[2]) = (y[0] - x[0], y[1] - 1.0 + x[0], y[2] - 0.5);
                        x_[0] = y_[1] - y_[0];
                        0.5 * y_.iter().map(|d| d * d).sum::<f64>()
                    },
                    |x| {
                        let t = x[0];
                        let (y, slope) = match () {
                            () if t < 1.0 / 6.0 => ([0.0, 0.75 - 0.5 * t, 0.25 + 0.5 * t], [0.0, -0.5, 0.5]),
                            () if t > 5.0 / 6.0 => ([0.5 * t + 0.25, 0.0, 0.75 - 0.5 * t], [0.5, 0.0, -0.5]),
                            () => ([t - 1.0 / 6.0, 5.0 / 6.0 - t, 1.0 / 3.0], [1.0, -1.0, 0.0]),
                        };
                        let d = [y[0], y[1], y[2] - 1.0];
                        let value = 0.5 * d.iter().map(|d| d * d).sum::<f64>() + 0.1 * t * t;
                        let slope = d.iter().zip(slope).map(|(d, s)| d * s).sum::<f64>() + 0.2 * t;
                        let kink = [1.0 / 6.0, 5.0 / 6.0].iter().any(|k| (t - k).abs() < 1e-12);
                        (value, (!kink).then(|| vec![slope]))
                    },
                    &[(&[5.0 / 11.0], 0.356_060_606_060_606)],
                )
            },
        ]
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|t| t.name == name)
    }

    /// Begins elsewhere.
    #[must_use]
    pub fn from(mut self, x: Vec<f64>, y: Vec<f64>) -> Self {
        self.start = (x, y);
        self
    }

    /// An endless stream of terms, their gradients with this standard deviation in each coordinate.
    #[must_use]
    pub fn noisy(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// ψ(x) and ∇ψ(x); no gradient at a kink.
    pub fn psi(&self, x: &[f64]) -> (f64, Option<Vec<f64>>) {
        (self.truth)(x)
    }

    fn level(&self, level: Level, salt: &str, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        let (mut of_x, mut of_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
        let mut value = level(x, y, &mut of_x, &mut of_y);
        if let Batch::Terms(terms) = batch {
            // A random linear function of (x, y) of mean zero per term.
            let size = self.noise / terms.len() as f64;
            for &term in terms {
                let mut rng = Seed(term).stream(salt, 0);
                for (v, d) in x.iter().zip(&mut of_x).chain(y.iter().zip(&mut of_y)) {
                    let slope: f64 = StandardNormal.sample(&mut rng);
                    *d += size * slope;
                    value += size * slope * v;
                }
            }
        }
        for (out, found) in [(grad.x, of_x), (grad.y, of_y)] {
            if let Some(out) = out {
                out.copy_from_slice(&found);
            }
        }
        value
    }
}

impl Bilevel for Toy {
    fn dims(&self) -> (usize, usize) {
        (self.start.0.len(), self.start.1.len())
    }

    fn terms(&self) -> (u64, u64) {
        if self.noise > 0.0 { (u64::MAX, u64::MAX) } else { (1, 1) }
    }

    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        self.start.clone()
    }

    fn x_set(&self) -> &Set {
        &self.x_set
    }

    fn y_set(&self) -> &Set {
        &self.y_set
    }

    fn upper(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        self.level(self.f, "toy f", x, y, batch, grad)
    }

    fn lower(&self, x: &[f64], y: &[f64], batch: Batch<'_>, grad: Grad<'_>) -> f64 {
        self.level(self.g, "toy g", x, y, batch, grad)
    }
}

/// `g = ½‖Q(y − a − bx)‖²` over the unit simplex with random Q, a, b, and `f = ½‖y − c‖² + 0.1x²`, x in [0, 1]:
/// B5 of larger dimension, where ψ is had from a precise lower solve.
#[derive(Clone, Debug)]
pub struct RandomSimplex {
    q: Vec<Vec<f64>>,
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    start: f64,
    x_set: Set,
    y_set: Set,
}

impl RandomSimplex {
    /// With `dim` lower unknowns.
    pub fn new(dim: usize, seed: Seed) -> Self {
        let mut rng = seed.stream("random simplex", 0);
        let mut normals = |n: usize, size: f64| -> Vec<f64> {
            (0..n).map(|_| StandardNormal.sample(&mut rng)).map(|v: f64| size * v).collect()
        };
        let spread = 1.0 / dim as f64;
        let mut q: Vec<Vec<f64>> = (0..dim).map(|_| normals(dim, spread.sqrt() / 2.0)).collect();
        (0..dim).for_each(|i| q[i][i] += 1.0); // well conditioned
        let (a, b) = (normals(dim, 2.0 * spread), normals(dim, 4.0 * spread));
        let mut c = vec![0.0; dim];
        (c[0], c[1]) = (0.5, 0.5);
        let (x_set, y_set) = (Set::cube(1, 0.0, 1.0), Set::Simplex { sum: 1.0 });
        Self { q, a, b, c, start: 0.9, x_set, y_set }
    }

    /// Begins elsewhere.
    #[must_use]
    pub fn from(self, start: f64) -> Self {
        Self { start, ..self }
    }
}

impl Bilevel for RandomSimplex {
    fn dims(&self) -> (usize, usize) {
        (1, self.a.len())
    }

    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        (vec![self.start], vec![1.0 / self.a.len() as f64; self.a.len()])
    }

    fn x_set(&self) -> &Set {
        &self.x_set
    }

    fn y_set(&self) -> &Set {
        &self.y_set
    }

    fn upper(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        if let Some(of_x) = grad.x {
            of_x[0] = 0.2 * x[0];
        }
        let d = y.iter().zip(&self.c).map(|(y, c)| y - c);
        let value = 0.5 * d.clone().map(|d| d * d).sum::<f64>() + 0.1 * x[0] * x[0];
        if let Some(of_y) = grad.y {
            of_y.iter_mut().zip(d).for_each(|(o, d)| *o = d);
        }
        value
    }

    fn lower(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        let off: Vec<f64> = (0..y.len()).map(|i| y[i] - self.a[i] - self.b[i] * x[0]).collect();
        let r: Vec<f64> = self.q.iter().map(|row| crate::set::dot(row, &off)).collect();
        let mut back = vec![0.0; y.len()];
        self.q.iter().zip(&r).for_each(|(row, r)| crate::method::sampled::add(&mut back, *r, row));
        if let Some(of_x) = grad.x {
            of_x[0] = -crate::set::dot(&back, &self.b);
        }
        if let Some(of_y) = grad.y {
            of_y.copy_from_slice(&back);
        }
        0.5 * crate::set::norm2(&r)
    }
}
