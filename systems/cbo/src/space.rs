//! Where the particles may be, and where they start.

use faer::MatRef;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, normal};
use thalweg_linalg::dense::{Svd, product};
use thalweg_linalg::vector::dot_in_turn as dot;

use crate::CboError;

/// Relative to the width of the space, a cloud that has settled.
pub(crate) const NARROW: f64 = 1e-3;

/// What happens at the boundary of the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// Mirror the particle back.
    #[default]
    Reflect,
    /// Put it on the face; many particles on a face are ties on which infinite α locks.
    Clip,
    /// Draw that coordinate anew.
    Resample,
    /// The box is only where the search starts.
    Open,
}

/// A surface that holds the particles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Surface {
    /// All of space.
    #[default]
    None,
    /// The unit sphere |x| = 1, with the tangential scheme of Fornasier, Huang, Pareschi and Sünnen.
    Sphere,
    /// The hyperplane ⟨normal, x⟩ = offset.
    Plane {
        /// Not zero, `[dim]`.
        normal: Vec<f64>,
        /// Its right-hand side.
        offset: f64,
    },
    /// Matrices of `rows` × `cols`, row by row, with orthonormal columns.
    Stiefel {
        /// At least `cols`.
        rows: usize,
        /// Columns.
        cols: usize,
    },
}

/// Distribution of the first cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Start {
    /// Uniform in the box.
    Uniform,
    /// Normal with this mean and standard deviation.
    Normal {
        /// `[dim]`.
        mean: Vec<f64>,
        /// At least 0.
        std: f64,
    },
}

/// The search space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// Number of unknowns.
    pub dim: usize,
    /// Lower and upper ends, `[dim]`; none: unbounded.
    pub bounds: Option<Vec<(f64, f64)>>,
    /// What happens at the ends.
    pub boundary: Boundary,
    /// Where the first cloud is.
    pub start: Start,
    /// What holds the particles.
    pub surface: Surface,
}

impl Space {
    /// The box [lo, hi]^dim with a boundary that reflects and a uniform start.
    pub fn cube(dim: usize, lo: f64, hi: f64) -> Self {
        Self::in_box(vec![(lo, hi); dim])
    }

    /// A box with a boundary that reflects and a uniform start.
    pub fn in_box(bounds: Vec<(f64, f64)>) -> Self {
        let (boundary, surface) = Default::default();
        Self { dim: bounds.len(), bounds: Some(bounds), boundary, start: Start::Uniform, surface }
    }

    /// All of space, starting from N(`mean`, `std`² I).
    pub fn around(mean: Vec<f64>, std: f64) -> Self {
        let (boundary, surface) = Default::default();
        Self { dim: mean.len(), bounds: None, boundary, start: Start::Normal { mean, std }, surface }
    }

    /// Names what is wrong.
    pub fn validate(&self) -> Result<(), CboError> {
        Invalid::count("dim", self.dim)?;
        if let Some(bounds) = &self.bounds {
            CboError::check_length("the box", bounds.len(), self.dim)?;
            let bad = bounds.iter().position(|(lo, hi)| !((hi - lo).is_finite() && lo < hi));
            if let Some(coordinate) = bad {
                let (lo, hi) = bounds[coordinate];
                return Err(CboError::Box { coordinate, lo, hi });
            }
        }
        match &self.start {
            Start::Uniform if self.bounds.is_none() => return Err(CboError::NoStart),
            Start::Uniform => {}
            Start::Normal { mean, std } => {
                CboError::check_length("the start", mean.len(), self.dim)?;
                let finite = mean.iter().find(|m| !m.is_finite());
                Invalid::check(finite.is_none(), "start", format!("{finite:?}"), "finite numbers")?;
                Invalid::at_least_zero("std", *std)?;
            }
        }
        match &self.surface {
            Surface::Plane { normal, .. } => {
                CboError::check_length("the plane's normal", normal.len(), self.dim)?;
                let square: f64 = normal.iter().map(|n| n * n).sum();
                Invalid::check(
                    square.is_normal(),
                    "plane normal",
                    square,
                    "a finite vector that is not zero",
                )?;
            }
            Surface::Stiefel { rows, cols } => {
                CboError::check_length("a matrix of the Stiefel manifold", self.dim, rows * cols)?;
                Invalid::check(
                    rows >= cols && *cols > 0,
                    "Stiefel columns",
                    cols,
                    "1 to the number of rows",
                )?;
            }
            Surface::None | Surface::Sphere => {}
        }
        self.meets()
    }

    /// Refuses a box that the surface does not meet, or from which points cannot be moved onto it.
    fn meets(&self) -> Result<(), CboError> {
        let Some(bounds) = self.walls() else { return Ok(()) };
        match &self.surface {
            Surface::None => Ok(()),
            Surface::Plane { normal, offset } => {
                let end = |low: bool| -> f64 {
                    let side = |(n, b): (&f64, &(f64, f64))| n * if (*n > 0.0) == low { b.0 } else { b.1 };
                    normal.iter().zip(bounds).map(side).sum()
                };
                let met = (end(true)..=end(false)).contains(offset);
                if met { Ok(()) } else { Err(CboError::Empty { surface: "plane" }) }
            }
            Surface::Sphere => {
                let (near, far) = bounds.iter().fold((0.0, 0.0), |(near, far), &(lo, hi)| {
                    (near + 0f64.clamp(lo, hi).powi(2), far + lo.abs().max(hi.abs()).powi(2))
                });
                let met = near <= 1.0 && far >= 1.0;
                if met { Ok(()) } else { Err(CboError::Empty { surface: "sphere" }) }
            }
            Surface::Stiefel { .. } => {
                // Nothing moves a point onto both.
                let tight = bounds.iter().find(|b| b.0 > -1.0 || b.1 < 1.0);
                let shown = tight.map_or_else(String::new, |b| format!("{} to {}", b.0, b.1));
                let legal = "sides from −1 or less to 1 or more on the Stiefel manifold, or an open boundary";
                Ok(Invalid::check(tight.is_none(), "box", shown, legal)?)
            }
        }
    }

    /// The box that no point may leave.
    pub(crate) fn walls(&self) -> Option<&[(f64, f64)]> {
        self.bounds.as_deref().filter(|_| self.boundary != Boundary::Open)
    }

    /// Typical extent of each coordinate, `[dim]`: the side of the box, or the start's spread.
    pub fn widths(&self) -> Vec<f64> {
        match (&self.bounds, &self.start) {
            (_, Start::Normal { std, .. }) => vec![2.0 * std; self.dim],
            (Some(bounds), _) => bounds.iter().map(|(lo, hi)| hi - lo).collect(),
            (None, _) => vec![1.0; self.dim],
        }
    }

    /// The largest of [`Space::widths`].
    pub(crate) fn width(&self) -> f64 {
        self.widths().into_iter().fold(0.0, f64::max)
    }

    /// A point of the start, within the space.
    pub(crate) fn sample(&self, rng: &mut ChaCha8Rng, x: &mut [f64]) {
        match (&self.start, &self.bounds) {
            (Start::Normal { mean, std }, _) => {
                normal(rng, x);
                x.iter_mut().zip(mean).for_each(|(x, m)| *x = m + std * *x);
            }
            (Start::Uniform, Some(bounds)) => uniform(bounds, rng, x),
            (Start::Uniform, None) => x.fill(0.0), // refused by `validate`
        }
        self.confine(rng, x);
    }

    /// Moves a point into the space.
    pub(crate) fn confine(&self, rng: &mut ChaCha8Rng, x: &mut [f64]) {
        // Nearly always all are inside, which is seen without a branch per coordinate.
        let inside =
            |b: &Vec<(f64, f64)>| x.iter().zip(b).fold(true, |ok, (x, b)| ok & (*x >= b.0) & (*x <= b.1));
        if let Some(bounds) = self.bounds.as_ref().filter(|b| !inside(b)) {
            for (x, &(lo, hi)) in x.iter_mut().zip(bounds).filter(|(x, b)| !(**x >= b.0 && **x <= b.1)) {
                match self.boundary {
                    Boundary::Reflect => *x = reflect(*x, lo, hi),
                    Boundary::Clip => *x = x.clamp(lo, hi),
                    Boundary::Resample => *x = rng.random_range(lo..=hi),
                    Boundary::Open => {}
                }
            }
        }
        if self.surface != Surface::None {
            self.project(x);
        }
    }

    /// Moves a point onto the surface and into the box, unless its boundary is open: to the nearest point of both, or
    /// on the sphere near it. The box holds to the last bit, the surface to rounding.
    pub fn project(&self, x: &mut [f64]) {
        let bounds = self.walls();
        match &self.surface {
            Surface::None => {}
            Surface::Sphere => normalize(x),
            Surface::Plane { normal, offset } => {
                let square: f64 = normal.iter().map(|n| n * n).sum();
                let excess = (dot(normal, x) - offset) / square;
                let from = bounds.map(|_| x.to_vec());
                x.iter_mut().zip(normal).for_each(|(x, n)| *x -= excess * n);
                if let (Some(from), Some(bounds)) = (from, bounds.filter(|b| !within(x, b))) {
                    plane_in_box(&from, normal, *offset, bounds, x);
                }
            }
            Surface::Stiefel { rows, cols } => {
                // The polar factor U Vᵀ is the nearest one. A cloud of zeros has none and stays.
                if let Ok(Svd { u, v, .. }) = Svd::thin(MatRef::from_row_major_slice(x, *rows, *cols)) {
                    let nearest = product(u, v.transpose());
                    for i in 0..*rows {
                        for j in 0..*cols {
                            x[i * cols + j] = nearest[(i, j)];
                        }
                    }
                }
            }
        }
        if let Some(bounds) = bounds.filter(|b| !within(x, b)) {
            if self.surface == Surface::Sphere {
                sphere_in_box(bounds, x);
            }
            // Elsewhere the box is left by rounding alone.
            x.iter_mut().zip(bounds).for_each(|(x, b)| *x = x.clamp(b.0, b.1));
        }
    }
}

fn within(x: &[f64], bounds: &[(f64, f64)]) -> bool {
    x.iter().zip(bounds).all(|(x, b)| *x >= b.0 && *x <= b.1)
}

/// The root in [0, 1] of a function that goes from ≤ 0 to ≥ 0, to the last bit.
fn root(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..1100 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if f(middle) > 0.0 { high = middle } else { low = middle }
    }
    low
}

/// The nearest point to `x` in the box and the plane, which meet: clamp(x − t·normal) for the right t.
fn plane_in_box(x: &[f64], normal: &[f64], offset: f64, bounds: &[(f64, f64)], out: &mut [f64]) {
    // Beyond the outermost t at which a coordinate meets a wall nothing changes any more.
    let ends = x.iter().zip(normal).zip(bounds).filter(|((_, n), _)| **n != 0.0);
    let ends = ends.flat_map(|((x, n), b)| [(x - b.0) / n, (x - b.1) / n]);
    let (first, last) = ends.fold((0.0, 0.0), |(l, h): (f64, f64), t| (l.min(t), h.max(t)));
    let moved = |s: f64| {
        let t = first + s * (last - first);
        x.iter().zip(normal).zip(bounds).map(move |((x, n), b)| (x - t * n).clamp(b.0, b.1))
    };
    // ⟨normal, clamp(x − t·normal)⟩ falls with t.
    let s = root(|s| offset - moved(s).zip(normal).map(|(y, n)| y * n).sum::<f64>());
    out.iter_mut().zip(moved(s)).for_each(|(o, y)| *o = y);
    // What rounding of t has left goes to the coordinates between the walls.
    let free = |y: f64, b: &(f64, f64)| y > b.0 && y < b.1;
    let square: f64 =
        out.iter().zip(normal).zip(bounds).filter(|((y, _), b)| free(**y, b)).map(|((_, n), _)| n * n).sum();
    let excess = dot(normal, out) - offset;
    if square > 0.0 {
        for ((y, n), b) in out.iter_mut().zip(normal).zip(bounds).filter(|((y, _), b)| free(**y, b)) {
            *y = (*y - excess / square * n).clamp(b.0, b.1);
        }
    }
}

/// A point of the box and the sphere, which meet, near `x`: clamp(s·x), the nearest one where the length of that
/// reaches 1; else from there towards the box's farthest corner.
fn sphere_in_box(bounds: &[(f64, f64)], x: &mut [f64]) {
    let clamped = |s: f64, x: &[f64]| -> Vec<f64> {
        x.iter().zip(bounds).map(|(x, b)| if *x == 0.0 { 0.0 } else { s * x }.clamp(b.0, b.1)).collect()
    };
    let excess = |y: &[f64]| dot(y, y) - 1.0;
    let (near, far) = (clamped(0.0, x), clamped(f64::INFINITY, x));
    if excess(&near) <= 0.0 && excess(&far) >= 0.0 {
        // s from 0 to ∞ as t/(1 − t).
        let t = root(|t| excess(&clamped(t / (1.0 - t), x)));
        x.copy_from_slice(&clamped(t / (1.0 - t), x));
        return lengthen(bounds, x);
    }
    let start = if excess(&far) < 0.0 { far } else { near };
    let corner = |b: &(f64, f64)| if b.0.abs() > b.1.abs() { b.0 } else { b.1 };
    let way = |t: f64| -> Vec<f64> {
        start.iter().zip(bounds).map(|(p, b)| (p + t * (corner(b) - p)).clamp(b.0, b.1)).collect()
    };
    x.copy_from_slice(&way(root(|t| excess(&way(t)))));
    lengthen(bounds, x);
}

/// Gives a point near the sphere the length 1 by its coordinates between the walls: what rounding has left.
fn lengthen(bounds: &[(f64, f64)], x: &mut [f64]) {
    let free = |x: f64, b: &(f64, f64)| x > b.0 && x < b.1;
    let (mut held, mut rest) = (0.0, 0.0);
    for (x, b) in x.iter().zip(bounds) {
        *(if free(*x, b) { &mut rest } else { &mut held }) += x * x;
    }
    if rest > 0.0 && held < 1.0 {
        let factor = ((1.0 - held) / rest).sqrt();
        for (x, b) in x.iter_mut().zip(bounds).filter(|(x, b)| free(**x, b)) {
            *x = (factor * *x).clamp(b.0, b.1);
        }
    }
}

fn uniform(bounds: &[(f64, f64)], rng: &mut ChaCha8Rng, x: &mut [f64]) {
    x.iter_mut().zip(bounds).for_each(|(x, &(lo, hi))| *x = rng.random_range(lo..=hi));
}

/// As light between two mirrors; far away points are folded at once.
fn reflect(x: f64, lo: f64, hi: f64) -> f64 {
    let (side, t) = (hi - lo, x - lo);
    let folded = t.rem_euclid(2.0 * side);
    let inside = if folded > side { 2.0 * side - folded } else { folded };
    if inside.is_finite() { (lo + inside).clamp(lo, hi) } else { 0.5 * (lo + hi) }
}

fn normalize(x: &mut [f64]) {
    let length = dot(x, x).sqrt();
    if length > 0.0 {
        x.iter_mut().for_each(|x| *x /= length);
    } else if let Some(x) = x.first_mut() {
        *x = 1.0;
    }
}
