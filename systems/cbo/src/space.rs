//! Where the particles may be, and where they start.

use faer::MatRef;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thalweg_core::{Invalid, normal};
use thalweg_linalg::dense::{Svd, product};
use thalweg_linalg::vector::dot_in_turn as dot;

use crate::CboError;

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
        Ok(())
    }

    /// Typical extent of each coordinate, `[dim]`: the side of the box, or the start's spread.
    pub fn widths(&self) -> Vec<f64> {
        match (&self.bounds, &self.start) {
            (_, Start::Normal { std, .. }) => vec![2.0 * std; self.dim],
            (Some(bounds), _) => bounds.iter().map(|(lo, hi)| hi - lo).collect(),
            (None, _) => vec![1.0; self.dim],
        }
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
            for (x, &(lo, hi)) in x.iter_mut().zip(bounds).filter(|(x, b)| **x < b.0 || **x > b.1) {
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

    /// Moves a point onto the surface, and into the box unless its boundary is open: what is reported.
    pub fn project(&self, x: &mut [f64]) {
        if let (Some(bounds), true) = (&self.bounds, self.boundary != Boundary::Open) {
            x.iter_mut().zip(bounds).for_each(|(x, b)| *x = x.clamp(b.0, b.1));
        }
        match &self.surface {
            Surface::None => {}
            Surface::Sphere => normalize(x),
            Surface::Plane { normal, offset } => {
                let square: f64 = normal.iter().map(|n| n * n).sum();
                let excess = (dot(normal, x) - offset) / square;
                x.iter_mut().zip(normal).for_each(|(x, n)| *x -= excess * n);
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
