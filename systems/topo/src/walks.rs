//! Acyclicity functions h(A) of a non-negative matrix A and their gradients.
//!
//! At an acyclic A all three vanish, and the gradient's entry (i, j) is a weighted number of
//! directed walks from j to i: 0 exactly if i → j can be added without closing a cycle.

use faer::Mat;
use serde::{Deserialize, Serialize};
use thalweg_linalg::dense::{Lu, product};

/// An acyclicity function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Walks {
    /// −log det(I − A): walks of any length count alike. The default.
    #[default]
    Logdet,
    /// tr exp(A) − d: walks of length k count 1/k!.
    Exp,
    /// tr((I + A/d)^d) − d.
    Poly,
}

/// Beyond this a count of walks says no more than "many".
const MANY: f64 = 1e200;

impl Walks {
    /// ∇h at an acyclic `a` whose topological order is `order`: entry (i, j) counts walks from j to i,
    /// the diagonal (the empty walk) is 1.
    ///
    /// Walks only go forwards in the order, so that the counts come by substitution; they grow
    /// exponentially with the length of the order and saturate instead of overflowing.
    pub fn gradient(self, a: &Mat<f64>, order: &[usize]) -> Mat<f64> {
        let d = order.len();
        match self {
            Self::Logdet => {
                // counts[from][to], filled from the end of the order: N(u, v) = Σ_c A(u, c) N(c, v).
                let mut counts = Mat::<f64>::zeros(d, d);
                for (at, &u) in order.iter().enumerate().rev() {
                    counts[(u, u)] = 1.0;
                    for &c in &order[at + 1..] {
                        let first = a[(u, c)].abs();
                        if first == 0.0 {
                            continue;
                        }
                        for v in 0..d {
                            counts[(u, v)] = (counts[(u, v)] + first * counts[(c, v)]).min(MANY);
                        }
                    }
                }
                counts.transpose().to_owned()
            }
            Self::Exp | Self::Poly => {
                // Σ_k c_k Aᵏ by Horner's rule; A is nilpotent of index d at most.
                let ratio = |k: usize| match self {
                    Self::Exp => 1.0 / k as f64,
                    _ => (d - k) as f64 / (k as f64 * d as f64),
                };
                let a = Mat::from_fn(d, d, |u, v| a[(order[u], order[v])].abs());
                let mut sum = Mat::<f64>::identity(d, d);
                for k in (1..d).rev() {
                    let next = product(&a, &sum);
                    sum = Mat::from_fn(d, d, |u, v| (f64::from(u == v) + ratio(k) * next[(u, v)]).min(MANY));
                }
                let mut out = Mat::zeros(d, d);
                for (i, &u) in order.iter().enumerate() {
                    for (j, &v) in order.iter().enumerate() {
                        out[(v, u)] = sum[(i, j)];
                    }
                }
                out
            }
        }
    }

    /// h(|a|); infinite for [`Walks::Logdet`] where a's spectral radius is ≥ 1.
    pub fn value(self, a: &Mat<f64>) -> f64 {
        let d = a.nrows();
        let a = Mat::from_fn(d, d, |i, j| a[(i, j)].abs());
        match self {
            Self::Logdet => m_matrix(&a, 1.0).map_or(f64::INFINITY, |(h, _)| h),
            Self::Exp => trace(&exponential(&a)) - d as f64,
            Self::Poly => {
                let base = Mat::from_fn(d, d, |i, j| f64::from(i == j) + a[(i, j)] / d as f64);
                trace(&power(&base, d)) - d as f64
            }
        }
    }
}

pub(crate) fn trace(a: &Mat<f64>) -> f64 {
    (0..a.nrows()).map(|i| a[(i, i)]).sum()
}

/// aᵏ by squaring.
fn power(a: &Mat<f64>, mut k: usize) -> Mat<f64> {
    let (mut result, mut base) = (Mat::identity(a.nrows(), a.nrows()), a.clone());
    while k > 0 {
        if k % 2 == 1 {
            result = product(&result, &base);
        }
        base = product(&base, &base);
        k /= 2;
    }
    result
}

/// exp(a) by scaling and squaring: Taylor's series of a/2ˢ with norm ≤ ½ to the 15th power, as a cubic
/// in a⁴ whose coefficients are cubics in a (Paterson and Stockmeyer 1973).
pub(crate) fn exponential(a: &Mat<f64>) -> Mat<f64> {
    let d = a.nrows();
    let norm = (0..d).map(|j| a.col(j).iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let squarings = if norm > 0.5 { (norm / 0.5).log2().ceil().min(60.0) as i32 } else { 0 };
    let scale = 0.5f64.powi(squarings);
    let a = Mat::from_fn(d, d, |i, j| scale * a[(i, j)]);
    let a2 = product(&a, &a);
    let (a3, a4) = (product(&a2, &a), product(&a2, &a2));
    let mut inverse = [1.0; 16];
    for k in 1..16 {
        inverse[k] = inverse[k - 1] / k as f64;
    }
    let cubic = |c: &[f64], i: usize, j: usize| {
        c[0] * f64::from(i == j) + c[1] * a[(i, j)] + c[2] * a2[(i, j)] + c[3] * a3[(i, j)]
    };
    let mut sum = Mat::from_fn(d, d, |i, j| cubic(&inverse[12..], i, j));
    for k in [8, 4, 0] {
        let next = product(&a4, &sum);
        sum = Mat::from_fn(d, d, |i, j| next[(i, j)] + cubic(&inverse[k..], i, j));
    }
    for _ in 0..squarings {
        sum = product(&sum, &sum);
    }
    sum
}

/// −log det(s I − a) + d log s and (s I − a)⁻¹ of a non-negative `a`, if its spectral radius is below
/// s. That is so exactly if all entries of the inverse are non-negative (an M-matrix).
pub(crate) fn m_matrix(a: &Mat<f64>, s: f64) -> Option<(f64, Mat<f64>)> {
    let d = a.nrows();
    let m = Mat::from_fn(d, d, |i, j| s * f64::from(i == j) - a[(i, j)]);
    let lu = Lu::new(&m);
    let inverse = lu.inverse();
    let ok = (0..d).all(|j| (0..d).all(|i| inverse[(i, j)] >= -1e-12));
    let log_det = lu.log_det();
    (ok && log_det.is_finite()).then(|| (d as f64 * s.ln() - log_det, inverse))
}

/// log |det m| and m⁻¹; `None` where m is singular.
pub(crate) fn log_det_inverse(m: &Mat<f64>) -> Option<(f64, Mat<f64>)> {
    let d = m.nrows();
    let lu = Lu::new(m);
    let log_det = lu.log_det();
    log_det.is_finite().then(|| (log_det, lu.solve(Mat::<f64>::identity(d, d))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Mat<f64> {
        let mut a = Mat::zeros(3, 3);
        (a[(0, 1)], a[(0, 2)], a[(1, 2)]) = (0.8, 0.5, 1.2);
        a
    }

    #[test]
    fn walks_of_three_nodes_by_hand() {
        let order = [0, 1, 2];
        let all = Walks::Logdet.gradient(&three(), &order);
        for (entry, expected) in [((1, 0), 0.8), ((2, 1), 1.2), ((2, 0), 0.5 + 0.8 * 1.2), ((0, 2), 0.0)] {
            assert!((all[entry] - expected).abs() < 1e-12, "{entry:?}");
        }
        let exp = Walks::Exp.gradient(&three(), &order);
        assert!((exp[(2, 0)] - 0.98).abs() < 1e-12);
        for walks in [Walks::Logdet, Walks::Exp, Walks::Poly] {
            assert!(walks.value(&three()).abs() < 1e-12);
            let gradient = walks.gradient(&three(), &order);
            assert!((0..3).all(|i| (i + 1..3).all(|j| gradient[(i, j)] == 0.0)));
        }
    }

    #[test]
    fn a_cycle_has_the_values_of_the_specification() {
        let mut a = three();
        a[(2, 0)] = 0.5;
        assert!((Walks::Logdet.value(&a) - 1.309333).abs() < 1e-6);
        assert!((Walks::Exp.value(&a) - 0.501266).abs() < 1e-6);
        a[(2, 0)] = 5.0;
        assert_eq!(Walks::Logdet.value(&a), f64::INFINITY);
    }

    #[test]
    fn the_polynomial_gradient_is_that_of_finite_differences() {
        let a = three();
        let gradient = Walks::Poly.gradient(&a, &[0, 1, 2]);
        let e = 1e-6;
        for (i, j) in [(2, 0), (1, 0), (2, 1), (0, 1)] {
            let mut b = a.clone();
            b[(i, j)] += e;
            let slope = (Walks::Poly.value(&b) - Walks::Poly.value(&a)) / e;
            assert!((slope - gradient[(i, j)]).abs() < 1e-5, "{slope} {}", gradient[(i, j)]);
        }
    }

    #[test]
    fn long_orders_saturate() {
        let d = 700;
        let a = Mat::from_fn(d, d, |i, j| if i < j { 2.0 } else { 0.0 });
        let order: Vec<usize> = (0..d).collect();
        let g = Walks::Logdet.gradient(&a, &order);
        assert!(g[(d - 1, 0)].is_finite() && g[(0, d - 1)] == 0.0);
    }
}
