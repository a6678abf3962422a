use thalweg_core::{Invalid, NamedError};
use thalweg_linalg::vector::dot_in_turn as dot;

use super::ackley::Ackley;
use super::canyon::Canyon;
use super::griewank::Griewank;
use super::salomon::Salomon;
use super::separable::{ALPINE, ELLIPSOID, QUARTIC, SCHWEFEL220, SPHERE};
use super::{Rastrigin, Rosenbrock, Smooth, Standard};
use crate::OptimError;
use crate::blackbox::BlackBox;

/// A function whose minimum 0 is known.
struct Entry {
    name: &'static str,
    formula: &'static Standard,
    /// The minimizer, the same in every coordinate.
    offset: f64,
    /// Half the side of the usual box.
    half_width: f64,
    /// Derivatives up to this order exist everywhere; 0: almost everywhere alone.
    order: u8,
}

const fn entry(
    name: &'static str,
    formula: &'static Standard,
    offset: f64,
    half_width: f64,
    order: u8,
) -> Entry {
    Entry { name, formula, offset, half_width, order }
}

static ALL: [Entry; 13] = [
    entry("sphere", SPHERE, 0.0, 5.0, 2),
    entry("ellipsoid", ELLIPSOID, 0.0, 5.0, 2),
    entry("rosenbrock", &Rosenbrock, 1.0, 2.048, 2),
    entry("rastrigin", &Rastrigin { amplitude: 10.0 }, 0.0, 5.12, 2),
    entry("rastrigin25", &Rastrigin { amplitude: 2.5 }, 0.0, 5.12, 2),
    entry("ackley", &Ackley, 0.0, 32.768, 0),
    entry("griewank", &Griewank, 0.0, 600.0, 2),
    entry("salomon", &Salomon, 0.0, 100.0, 0),
    entry("alpine", ALPINE, 0.0, 10.0, 0),
    entry("schwefel220", SCHWEFEL220, 0.0, 100.0, 0),
    entry("quartic", QUARTIC, 0.0, 5.0, 2),
    entry("grandcanyon3", &Canyon { bumps: 0.25 }, 0.0, 10.0, 1),
    entry("grandcanyon3noisy", &Canyon { bumps: 1.1625 }, 0.0, 10.0, 1),
];

/// Names of the test functions.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|f| f.name).collect()
}

/// The test function of that name (see [`names`]) in `dim` dimensions, with its usual minimizer.
///
/// ```
/// let f = thalweg_optim::functions::by_name("rastrigin", 3)?.shifted(vec![0.5, -1.0, 2.0])?;
/// assert_eq!(f.value(&[0.5, -1.0, 2.0]), 0.0);
/// # Ok::<(), thalweg_optim::OptimError>(())
/// ```
///
/// # Errors
/// No such name, or a number of unknowns that the function does not take.
pub fn by_name(name: &str, dim: usize) -> Result<TestFunction, OptimError> {
    let wanted = if name == "rosen" { "rosenbrock" } else { name };
    let Some(entry) = ALL.iter().find(|f| f.name == wanted) else {
        let known = names().join(", ");
        return Err(NamedError::Unknown { what: "function", name: name.into(), known }.into());
    };
    let legal = match entry.name {
        "grandcanyon3" | "grandcanyon3noisy" => (dim == 2, "exactly 2"),
        "rosenbrock" => (dim >= 2, "at least 2"),
        _ => (dim >= 1, "at least 1"),
    };
    Invalid::check(legal.0, &format!("dim of {}", entry.name), dim, legal.1)?;
    Ok(TestFunction { entry, minimizer: vec![entry.offset; dim], rotation: None, moved: false })
}

/// A test function f(Q(x − s)), where s is the new minimizer; [`by_name`].
#[derive(Clone)]
pub struct TestFunction {
    entry: &'static Entry,
    minimizer: Vec<f64>,
    rotation: Option<Vec<f64>>,
    /// Shifted or rotated.
    moved: bool,
}

impl TestFunction {
    /// Moves the minimizer to `s`.
    ///
    /// # Errors
    /// Another number of coordinates.
    pub fn shifted(mut self, s: Vec<f64>) -> Result<Self, OptimError> {
        OptimError::check_length("the shift", s.len(), self.minimizer.len())?;
        (self.minimizer, self.moved) = (s, true);
        Ok(self)
    }

    /// Rotates by the orthogonal matrix `q`, `[dim, dim]` row by row.
    ///
    /// # Errors
    /// Another number of entries.
    pub fn rotated(mut self, q: Vec<f64>) -> Result<Self, OptimError> {
        OptimError::check_length("the rotation", q.len(), self.minimizer.len().pow(2))?;
        (self.rotation, self.moved) = (Some(q), true);
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Half the side of the usual box, which is centred at 0.
    pub fn half_width(&self) -> f64 {
        self.entry.half_width
    }

    /// Where its value is 0, `[dim]`.
    pub fn minimizer(&self) -> &[f64] {
        &self.minimizer
    }

    /// Whether it has first derivatives everywhere, as methods with gradients assume; else almost everywhere.
    pub fn is_differentiable(&self) -> bool {
        self.entry.order >= 1
    }

    /// Whether it has second derivatives everywhere too.
    pub fn is_smooth(&self) -> bool {
        self.entry.order >= 2
    }

    /// The value at `x`, `[dim]`.
    pub fn value(&self, x: &[f64]) -> f64 {
        self.entry.formula.value(&self.inside(x))
    }

    /// The formula's argument Q(x − s) + its usual minimizer.
    fn inside(&self, x: &[f64]) -> Vec<f64> {
        let z: Vec<f64> = x.iter().zip(&self.minimizer).map(|(x, s)| x - s).collect();
        let mut z = match &self.rotation {
            None => z,
            Some(q) => q.chunks_exact(z.len()).map(|row| dot(row, &z)).collect(),
        };
        z.iter_mut().for_each(|z| *z += self.entry.offset);
        z
    }

    /// The same, but exactly x where nothing was moved: paths of gradient methods keep their last bits.
    fn argument(&self, x: &[f64]) -> Vec<f64> {
        if self.moved { self.inside(x) } else { x.to_vec() }
    }

    /// g ← Qᵀg.
    fn turn_back(&self, g: &mut [f64]) {
        if let Some(q) = &self.rotation {
            let mut turned = vec![0.0; g.len()];
            for (row, g) in q.chunks_exact(g.len()).zip(&*g) {
                turned.iter_mut().zip(row).for_each(|(t, q)| *t += q * g);
            }
            g.copy_from_slice(&turned);
        }
    }
}

impl std::fmt::Debug for TestFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, minimizer) = (self.name(), &self.minimizer);
        f.debug_struct("TestFunction")
            .field("name", &name)
            .field("minimizer", minimizer)
            .finish_non_exhaustive()
    }
}

impl Smooth for TestFunction {
    fn value(&self, x: &[f64]) -> f64 {
        self.value(x)
    }

    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let value = self.entry.formula.value_grad(&self.argument(x), grad);
        self.turn_back(grad);
        value
    }

    fn hvp(&self, x: &[f64], z: &[f64], product: &mut [f64]) -> bool {
        let turned = match &self.rotation {
            None => z.to_vec(),
            Some(q) => q.chunks_exact(z.len()).map(|row| dot(row, z)).collect(),
        };
        let known = self.entry.formula.hvp(&self.argument(x), &turned, product);
        self.turn_back(product);
        known
    }
}

impl BlackBox for TestFunction {
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        (|x: &[f64]| self.value(x)).values(points, dim, values);
    }

    fn gradients(&self, points: &[f64], dim: usize, gradients: &mut [f64]) -> bool {
        for (x, g) in points.chunks_exact(dim).zip(gradients.chunks_exact_mut(dim)) {
            self.value_grad(x, g);
        }
        true
    }
}
