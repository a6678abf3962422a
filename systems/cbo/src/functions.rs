//! Test functions with known minima, shifted and rotated. All have the minimum 0.

use std::f64::consts::{E, PI, TAU};

use thalweg_core::Invalid;
use thalweg_linalg::vector::dot_in_turn;

use crate::{BlackBox, CboError};

/// Formula, minimiser (the same in every coordinate), half the side of the usual box.
type Entry = (&'static str, fn(&[f64]) -> f64, f64, f64);

const ALL: &[Entry] = &[
    ("sphere", sphere, 0.0, 5.0),
    ("ellipsoid", ellipsoid, 0.0, 5.0),
    ("rosenbrock", rosenbrock, 1.0, 2.048),
    ("rastrigin", |z| waves(z, 10.0), 0.0, 5.12),
    ("rastrigin25", |z| waves(z, 2.5), 0.0, 5.12),
    ("ackley", ackley, 0.0, 32.768),
    ("griewank", griewank, 0.0, 600.0),
    ("salomon", salomon, 0.0, 100.0),
    ("alpine", |z| z.iter().map(|z| (z * z.sin() + 0.1 * z).abs()).sum(), 0.0, 10.0),
    ("schwefel220", |z| z.iter().map(|z| z.abs()).sum(), 0.0, 100.0),
    ("quartic", |z| z.iter().map(|z| 0.5 * z * z + 0.25 * z.powi(4)).sum(), 0.0, 5.0),
    ("grandcanyon3", |z| canyon(z, 0.25), 0.0, 10.0),
    ("grandcanyon3noisy", |z| canyon(z, 1.1625), 0.0, 10.0),
];

/// Names of the test functions.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|f| f.0).collect()
}

/// A test function f(Q(x − s)), where s is the new minimiser.
///
/// ```
/// use thalweg_cbo::TestFunction;
/// let f = TestFunction::named("rastrigin", 3)?.shifted(vec![0.5, -1.0, 2.0])?;
/// assert_eq!(f.value(&[0.5, -1.0, 2.0]), 0.0);
/// # Ok::<(), thalweg_cbo::CboError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TestFunction {
    name: &'static str,
    formula: fn(&[f64]) -> f64,
    offset: f64,
    half_width: f64,
    minimiser: Vec<f64>,
    rotation: Option<Vec<f64>>,
}

impl TestFunction {
    /// The function of that name (see [`names`]) in `dim` dimensions, with its usual minimiser.
    pub fn named(name: &str, dim: usize) -> Result<Self, CboError> {
        let wanted = if name == "rosen" { "rosenbrock" } else { name };
        let Some(&(name, formula, offset, half_width)) = ALL.iter().find(|f| f.0 == wanted) else {
            return Err(CboError::Function { name: name.into(), known: names().join(", ") });
        };
        let legal = match name {
            "grandcanyon3" | "grandcanyon3noisy" => (dim == 2, "exactly 2"),
            "rosenbrock" => (dim >= 2, "at least 2"),
            _ => (dim >= 1, "at least 1"),
        };
        Invalid::check(legal.0, &format!("dim of {name}"), dim, legal.1)?;
        Ok(Self { name, formula, offset, half_width, minimiser: vec![offset; dim], rotation: None })
    }

    /// Moves the minimiser to `s`.
    pub fn shifted(mut self, s: Vec<f64>) -> Result<Self, CboError> {
        CboError::check_length("the shift", s.len(), self.minimiser.len())?;
        self.minimiser = s;
        Ok(self)
    }

    /// Rotates by the orthogonal matrix `q`, `[dim, dim]` row by row.
    pub fn rotated(mut self, q: Vec<f64>) -> Result<Self, CboError> {
        CboError::check_length("the rotation", q.len(), self.minimiser.len().pow(2))?;
        self.rotation = Some(q);
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Half the side of the usual box, which is centred at 0.
    pub fn half_width(&self) -> f64 {
        self.half_width
    }

    /// Where its value is 0, `[dim]`.
    pub fn minimiser(&self) -> &[f64] {
        &self.minimiser
    }

    /// The value at `x`, `[dim]`.
    pub fn value(&self, x: &[f64]) -> f64 {
        let z: Vec<f64> = x.iter().zip(&self.minimiser).map(|(x, s)| x - s).collect();
        let mut z = match &self.rotation {
            None => z,
            Some(q) => q.chunks_exact(z.len()).map(|row| dot_in_turn(row, &z)).collect(),
        };
        z.iter_mut().for_each(|z| *z += self.offset);
        (self.formula)(&z)
    }
}

impl BlackBox for TestFunction {
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        (|x: &[f64]| self.value(x)).values(points, dim, values);
    }
}

fn sphere(z: &[f64]) -> f64 {
    z.iter().map(|z| z * z).sum()
}

fn ellipsoid(z: &[f64]) -> f64 {
    let scale = (z.len() as f64 - 1.0).max(1.0);
    z.iter().enumerate().map(|(j, z)| 10f64.powf(6.0 * j as f64 / scale) * z * z).sum()
}

fn rosenbrock(z: &[f64]) -> f64 {
    z.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
}

fn waves(z: &[f64], amplitude: f64) -> f64 {
    z.iter().map(|z| z * z + amplitude * (1.0 - (TAU * z).cos())).sum()
}

fn ackley(z: &[f64]) -> f64 {
    let d = z.len() as f64;
    let cosines = z.iter().map(|z| (TAU * z).cos()).sum::<f64>() / d;
    // In this order exactly 0 at 0.
    20.0 * (1.0 - (-0.2 * (sphere(z) / d).sqrt()).exp()) + (E - cosines.exp())
}

fn griewank(z: &[f64]) -> f64 {
    let product: f64 = z.iter().enumerate().map(|(j, z)| (z / (j as f64 + 1.0).sqrt()).cos()).product();
    1.0 - product + sphere(z) / 4000.0
}

fn salomon(z: &[f64]) -> f64 {
    let r = sphere(z).sqrt();
    1.0 - (TAU * r).cos() + 0.1 * r
}

/// A winding valley with barriers across it; `bumps` is their height.
fn canyon(z: &[f64], bumps: f64) -> f64 {
    let (x, y) = (z[0], z[1]);
    let v = y - ((x - 1.0) * (x - 4.0).powi(2) / 8.0 + 2.0);
    let b = -x - 1.6 * y;
    let valley = 25.0 * (1.0 - (-1.4 * v * v * (-0.002 * x.powi(4)).exp()).exp());
    let waves = (1.0 - (0.75 * PI * x).cos()) + (1.0 - (0.75 * PI * y).cos());
    let step = ((1.0 - (-9.0 * b * b).exp()) * b.signum()).max(0.0);
    valley + 0.4 * x * x + 0.2 * y * y + bumps * waves + 4.0 * (1.0 - 2.0 * v.powi(4)).exp() * step
}
