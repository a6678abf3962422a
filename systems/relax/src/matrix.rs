//! What solvers need of a matrix.

use crate::RelaxError;

/// The direction of a sweep, and the triangle that it solves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first unknown to the last: D/ω + L.
    Forward,
    /// From the last unknown to the first: D/ω + Lᵀ.
    Backward,
}

impl Order {
    /// The other direction.
    pub fn reverse(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// The diagonal D of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Diagonal<'a> {
    /// All entries are the same.
    Constant(f64),
    /// Entry by entry, in the matrix's own order.
    Entries(&'a [f64]),
}

/// What the solvers need of a matrix A = D + L + U (symmetric: U = Lᵀ) with positive diagonal.
///
/// Vectors are in the matrix's own order, `[len()]`; [`Matrix::pack`] and [`Matrix::unpack`]
/// translate. Elements of that order that belong to no unknown are 0 and stay 0.
///
/// With ω ∈ (0, 2), the triangle of [`Order::Forward`] is M = D/ω + L, of [`Order::Backward`]
/// M = D/ω + U.
pub trait Matrix: Sync {
    /// Unknowns.
    fn rows(&self) -> usize;

    /// Length of vectors in the matrix's own order, at least [`Matrix::rows`].
    fn len(&self) -> usize;

    /// Whether there are no unknowns.
    fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Entries off the diagonal.
    fn entries(&self) -> usize;

    /// From the natural order, `[rows()]`, to the matrix's own.
    fn pack(&self, natural: &[f64]) -> Vec<f64>;

    /// From the matrix's own order to the natural one.
    fn unpack(&self, own: &[f64]) -> Vec<f64>;

    /// D.
    fn diagonal(&self) -> Diagonal<'_>;

    /// maxᵢ Σⱼ≠ᵢ |aᵢⱼ| / aᵢᵢ, which bounds the spectral radius of Jacobi's iteration.
    fn dominance(&self) -> f64;

    /// Fails, naming an entry, if the matrix is not symmetric.
    fn check_symmetric(&self) -> Result<(), RelaxError>;

    /// The same matrix times 2^`exponent`: solvers ask for it where the entries are so large or small that their
    /// squares are beyond the numbers. `None` leaves them as they are.
    fn scaled(&self, _exponent: i32) -> Option<Box<dyn Matrix>> {
        None
    }

    /// r = b − A x; gives ‖r‖².
    fn residual(&self, b: &[f64], x: &[f64], r: &mut [f64]) -> f64;

    /// y = A x; gives xᵀ y.
    fn apply(&self, x: &[f64], y: &mut [f64]) -> f64;

    /// One sweep of successive over-relaxation in place, x += M⁻¹(b − A x); then r = b − A x of the new
    /// x. Gives ‖r‖².
    fn sweep(&self, order: Order, omega: f64, b: &[f64], x: &mut [f64], r: &mut [f64]) -> f64;

    /// y = M⁻¹ v.
    fn solve_triangle(&self, order: Order, omega: f64, v: &[f64], y: &mut [f64]);

    /// M⁻¹ A M⁻ᵀ p = y + z without a product with A (Eisenstat): y = M⁻ᵀ p and
    /// z = M⁻¹(p − (2/ω − 1) D y), since A = M + Mᵀ − (2/ω − 1) D. Gives pᵀ(y + z).
    fn split_product(&self, order: Order, omega: f64, p: &[f64], y: &mut [f64], z: &mut [f64]) -> f64;

    /// out = M v; gives ‖out‖².
    fn triangle_product(&self, order: Order, omega: f64, v: &[f64], out: &mut [f64]) -> f64;
}
