//! The cells of a central arrangement of hyperplanes, each decided exactly.
//!
//! Hyperplanes are inserted one after the other; a cell is cut in two if both sides of the new one are there.
//! A side is there if floating point finds a point in it beyond its own rounding, and is not if the rows,
//! turned to that side, have a combination Σ λ_j g_j = 0 with λ ≥ 0, λ ≠ 0 (Gordan's theorem), which whole
//! numbers decide: every double is a whole number times a power of two.

use num_bigint::{BigInt, Sign};
use rayon::prelude::*;

use crate::Samples;
use crate::cone::{Cone, Support};
use crate::samples::{dot, norm};

/// A cell of the hyperplanes so far.
struct Cell {
    /// Whether it lies on the positive side, by hyperplane.
    sides: Vec<bool>,
    /// A point strictly inside; none is known of cells thinner than rounding.
    point: Option<Vec<f64>>,
}

/// The hyperplanes' normals, none of them 0.
struct Arrangement {
    rows: Vec<Vec<f64>>,
    /// The same as whole numbers, each row by a power of two of its own.
    whole: Vec<Vec<BigInt>>,
}

/// The sides of every full-dimensional cell of the hyperplanes with these normals, none of them 0; none if there
/// are more than `most`.
pub(crate) fn sides(rows: Vec<Vec<f64>>, most: usize) -> Option<Vec<Vec<bool>>> {
    let whole = rows.iter().map(|row| whole_numbers(row)).collect();
    let arrangement = Arrangement { rows, whole };
    let first = |side: bool| Cell { sides: vec![side], point: Some(turned(&arrangement.rows[0], side)) };
    let mut cells = vec![first(true), first(false)];
    for k in 1..arrangement.rows.len() {
        let cut: Vec<[Option<Cell>; 2]> =
            cells.into_par_iter().map(|cell| arrangement.cut(cell, k)).collect();
        let (own, other): (Vec<_>, Vec<_>) = cut.into_iter().map(|[own, other]| (own, other)).unzip();
        cells = own.into_iter().chain(other).flatten().collect();
        if cells.len() > most {
            return None;
        }
    }
    Some(cells.into_iter().map(|cell| cell.sides).collect())
}

impl Arrangement {
    /// The parts of a cell of the first `k` hyperplanes on the two sides of the next, that of its point first.
    fn cut(&self, cell: Cell, k: usize) -> [Option<Cell>; 2] {
        let Cell { mut sides, point } = cell;
        let known = point.as_ref().and_then(|p| side(&self.rows[k], p));
        sides.push(known.unwrap_or(true));
        let own = match known {
            Some(_) => Some(Cell { sides: sides.clone(), point }),
            None => self.decide(sides.clone()),
        };
        sides[k] = !sides[k];
        [own, self.decide(sides)]
    }

    /// The cell on these sides, if it has points inside.
    fn decide(&self, sides: Vec<bool>) -> Option<Cell> {
        let (point, support) = self.deepest(&sides);
        let inside = |(row, on): (&Vec<f64>, &bool)| side(row, &point) == Some(*on);
        if self.rows.iter().zip(&sides).all(inside) {
            return Some(Cell { sides, point: Some(point) });
        }
        let normals = |k: usize| -> Vec<BigInt> {
            self.whole[k].iter().map(|x| if sides[k] { x.clone() } else { -x }).collect()
        };
        let few: Vec<Vec<BigInt>> = support.iter().map(|&k| normals(k as usize)).collect();
        let empty = cancels(&few) || cancels(&(0..sides.len()).map(normals).collect::<Vec<_>>());
        (!empty).then_some(Cell { sides, point: None })
    }

    /// A multiple of the shortest point of conv{g_j}, the deepest in the cell, and the rows that hold it: the
    /// residual of min_{μ≥0} ‖(0, 1) − Σ μ_j (g_j, 1)‖.
    fn deepest(&self, sides: &[bool]) -> (Vec<f64>, Support) {
        let d = self.rows[0].len();
        let lift = |(row, on): (&Vec<f64>, &bool)| {
            let size = norm(row);
            turned(row, *on).into_iter().map(move |x| x / size).chain([1.0]).collect::<Vec<f64>>()
        };
        let lifted: Vec<f64> = self.rows.iter().zip(sides).flat_map(lift).collect();
        let Ok(samples) = Samples::new(lifted, d + 1) else { return (vec![0.0; d], Support::new()) };
        let norms: Vec<f64> = samples.rows().map(norm).collect();
        let on = vec![1.0; samples.n()];
        let (mut c, mut support) = (vec![0.0; d + 1], Support::new());
        c[d] = 1.0;
        Cone { samples: &samples, norms: &norms, pattern: &on }.residual(&mut c, &mut support);
        c.truncate(d);
        c.iter_mut().for_each(|v| *v = -*v);
        (c, support)
    }
}

fn turned(row: &[f64], side: bool) -> Vec<f64> {
    row.iter().map(|x| if side { *x } else { -x }).collect()
}

/// The side of the hyperplane that a point lies on; none within the rounding of their product.
fn side(row: &[f64], point: &[f64]) -> Option<bool> {
    let height = dot(row, point);
    let sizes: f64 = row.iter().zip(point).map(|(x, p)| (x * p).abs()).sum();
    // γ_d of a product in any order, and underflow.
    let rounding = (row.len() + 2) as f64 * f64::EPSILON * sizes + f64::MIN_POSITIVE;
    (height.abs() > rounding).then_some(height > 0.0)
}

/// A row as whole numbers times one power of two, which changes no sign.
fn whole_numbers(row: &[f64]) -> Vec<BigInt> {
    let parts = |x: &f64| {
        let bits = x.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as u32, bits & ((1 << 52) - 1));
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        (mantissa, exponent.max(1), *x < 0.0)
    };
    let least = row.iter().map(parts).filter(|p| p.0 != 0).map(|p| p.1).min().unwrap_or(1);
    let number = |(mantissa, exponent, negative): (u64, u32, bool)| {
        let size = BigInt::from(mantissa) << exponent.saturating_sub(least);
        if negative { -size } else { size }
    };
    row.iter().map(parts).map(number).collect()
}

/// Whether Σ λ_j g_j = 0 for some λ ≥ 0 with Σ λ_j = 1: the first phase of the simplex method by Bland's rule, in
/// whole numbers (each entry is over the last pivot, which divides without remainder).
fn cancels(normals: &[Vec<BigInt>]) -> bool {
    let Some(d) = normals.first().map(Vec::len) else { return false };
    let count = normals.len();
    let one = || BigInt::from(1);
    // Rows: one of each coordinate, Σ λ = 1; the last is what the artificial variables add up to. Last column: right side.
    let mut rows: Vec<Vec<BigInt>> =
        (0..d).map(|i| normals.iter().map(|g| g[i].clone()).chain([BigInt::ZERO]).collect()).collect();
    rows.push((0..=count).map(|_| one()).collect());
    let sums = (0..=count).map(|j| rows.iter().map(|row| &row[j]).sum()).collect();
    rows.push(sums);
    let mut basis: Vec<usize> = (count..=count + d).collect();
    let mut last = one();
    let positive = |x: &BigInt| x.sign() == Sign::Plus;
    while positive(&rows[d + 1][count]) {
        let Some(enter) = (0..count).find(|&j| positive(&rows[d + 1][j])) else { return false };
        let order = |a: &usize, b: &usize| {
            let ratio = |i: usize, over: usize| &rows[i][count] * &rows[over][enter];
            ratio(*a, *b).cmp(&ratio(*b, *a)).then(basis[*a].cmp(&basis[*b]))
        };
        let Some(leave) = (0..=d).filter(|&i| positive(&rows[i][enter])).min_by(order) else { return false };
        let pivot = rows[leave].clone();
        for i in (0..d + 2).filter(|&i| i != leave) {
            let factor = rows[i][enter].clone();
            for (x, p) in rows[i].iter_mut().zip(&pivot) {
                *x = (&*x * &pivot[enter] - &factor * p) / &last;
            }
        }
        last = pivot[enter].clone();
        basis[leave] = enter;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(rows: &[&[f64]]) -> bool {
        cancels(&rows.iter().map(|row| whole_numbers(row)).collect::<Vec<_>>())
    }

    #[test]
    fn whole_numbers_tell_what_rounding_cannot() {
        assert!(exactly(&[&[1.0, 2.0], &[-0.5, -1.0]]));
        assert!(!exactly(&[&[1.0, 2.0], &[-0.5, -1.0 - f64::EPSILON]]));
        assert!(!exactly(&[&[1.0, 0.0], &[0.0, 1.0], &[1.0, 1.0]]));
        assert!(exactly(&[&[1.0, 0.0, 0.0], &[0.0, 1e-200, 0.0], &[-1e200, -1e-100, 0.0]]));
        assert!(exactly(&[&[5e-324, 0.0], &[-5e-324, 0.0]]));
        // 0.1 + 0.2 is not 0.3.
        assert!(exactly(&[&[0.25, 1.0, 0.0], &[0.5, -1.0, 1.0], &[-0.75, 0.0, -1.0]]));
        assert!(!exactly(&[&[0.1, 1.0, 0.0], &[0.2, -1.0, 1.0], &[-0.3, 0.0, -1.0]]));
    }
}
