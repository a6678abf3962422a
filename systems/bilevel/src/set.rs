//! Closed convex sets by their projections, and the constraints that are active at a point.

use std::fmt;
use std::sync::Arc;

pub(crate) use thalweg_linalg::vector::{dot, square as norm2};

use crate::BilevelError;

type Projection = Arc<dyn Fn(&mut [f64]) + Send + Sync>;

/// A closed convex set.
#[derive(Clone, Default)]
pub enum Set {
    /// Everything.
    #[default]
    Free,
    /// Bounds of each coordinate; infinite ones are none.
    Box {
        /// Lower, `[n]`.
        lo: Vec<f64>,
        /// Upper, `[n]`.
        hi: Vec<f64>,
    },
    /// `‖v − centre‖₂ ≤ radius`.
    Ball {
        /// `[n]`.
        centre: Vec<f64>,
        /// > 0.
        radius: f64,
    },
    /// `v ≥ 0, Σv = sum`.
    Simplex {
        /// > 0; 1 for probabilities.
        sum: f64,
    },
    /// `‖v‖₁ ≤ radius`.
    L1Ball {
        /// > 0.
        radius: f64,
    },
    /// `rows·v = rhs` first, then `rows·v ≤ rhs`.
    Polyhedron {
        /// `[m][n]`.
        rows: Vec<Vec<f64>>,
        /// `[m]`.
        rhs: Vec<f64>,
        /// How many of the first rows are equations.
        equations: usize,
    },
    /// Consecutive blocks, each of that length in its own set.
    Product(Vec<(usize, Set)>),
    /// Whatever this projects onto.
    Custom(Projection),
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "Free",
            Self::Box { .. } => "Box",
            Self::Ball { .. } => "Ball",
            Self::Simplex { .. } => "Simplex",
            Self::L1Ball { .. } => "L1Ball",
            Self::Polyhedron { .. } => "Polyhedron",
            Self::Product(_) => "Product",
            Self::Custom(_) => "Custom",
        })
    }
}

/// A constraint that holds with equality at a point: its gradient there.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// Gradient, `[n]`.
    pub row: Vec<f64>,
    /// An inequality, of which the multiplier must be > 0.
    pub inequality: bool,
    /// The second derivative is the identity on these coordinates (a ball), else 0.
    pub curved: std::ops::Range<usize>,
}

/// How near to a bound counts as at it.
pub(crate) const AT: f64 = 1e-9;
/// Cycles of Dykstra's method at most.
const CYCLES: usize = 100_000;

impl Set {
    /// The same bounds for all `n` coordinates.
    pub fn cube(n: usize, lo: f64, hi: f64) -> Self {
        Self::Box { lo: vec![lo; n], hi: vec![hi; n] }
    }

    /// Moves `v` to the nearest point of the set.
    pub fn project(&self, v: &mut [f64]) {
        match self {
            Self::Free => {}
            Self::Box { lo, hi } => {
                v.iter_mut().zip(lo).zip(hi).for_each(|((v, lo), hi)| *v = v.max(*lo).min(*hi));
            }
            Self::Ball { centre, radius } => {
                let distance = v.iter().zip(centre).map(|(v, c)| (v - c).powi(2)).sum::<f64>().sqrt();
                if distance > *radius {
                    v.iter_mut().zip(centre).for_each(|(v, c)| *v = c + (*v - c) * radius / distance);
                }
            }
            Self::Simplex { sum } => {
                let shift = threshold(v.iter().copied(), *sum);
                v.iter_mut().for_each(|v| *v = (*v - shift).max(0.0));
            }
            Self::L1Ball { radius } => {
                if v.iter().map(|v| v.abs()).sum::<f64>() > *radius {
                    let shift = threshold(v.iter().map(|v| v.abs()), *radius);
                    v.iter_mut().for_each(|v| *v = (v.abs() - shift).max(0.0).copysign(*v));
                }
            }
            Self::Polyhedron { rows, rhs, equations } => dykstra(rows, rhs, *equations, v),
            Self::Product(blocks) => {
                let mut rest = v;
                for (length, set) in blocks {
                    let (block, after) = rest.split_at_mut(*length);
                    set.project(block);
                    rest = after;
                }
            }
            Self::Custom(project) => project(v),
        }
    }

    /// Bounds of each coordinate, if the set has no other constraints.
    pub fn bounds(&self, n: usize) -> Option<(Vec<f64>, Vec<f64>)> {
        match self {
            Self::Free => Some((vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n])),
            Self::Box { lo, hi } => Some((lo.clone(), hi.clone())),
            Self::Product(blocks) => {
                let mut all = (Vec::new(), Vec::new());
                for (length, set) in blocks {
                    let (lo, hi) = set.bounds(*length)?;
                    all.0.extend(lo);
                    all.1.extend(hi);
                }
                Some(all)
            }
            _ => None,
        }
    }

    /// The constraints active at `v`, within 1e-9; `None` if only a projection is known.
    pub fn active(&self, v: &[f64]) -> Option<Vec<Active>> {
        let n = v.len();
        let unit = |i: usize, sign: f64| -> Active {
            let mut row = vec![0.0; n];
            row[i] = sign;
            Active { row, inequality: true, curved: 0..0 }
        };
        Some(match self {
            Self::Free => Vec::new(),
            Self::Box { lo, hi } => (0..n)
                .filter_map(|i| {
                    let near =
                        |bound: f64| bound.is_finite() && (v[i] - bound).abs() <= AT * bound.abs().max(1.0);
                    if near(lo[i]) { Some(unit(i, -1.0)) } else { near(hi[i]).then(|| unit(i, 1.0)) }
                })
                .collect(),
            Self::Ball { centre, radius } => {
                let row: Vec<f64> = v.iter().zip(centre).map(|(v, c)| v - c).collect();
                let distance = row.iter().map(|r| r * r).sum::<f64>().sqrt();
                let at = distance >= radius * (1.0 - AT);
                if at { vec![Active { row, inequality: true, curved: 0..n }] } else { Vec::new() }
            }
            Self::Simplex { sum: size } => {
                let sum = Active { row: vec![1.0; n], inequality: false, curved: 0..0 };
                let zeros = (0..n).filter(|&i| v[i] <= AT * size).map(|i| unit(i, -1.0));
                std::iter::once(sum).chain(zeros).collect()
            }
            Self::L1Ball { radius } => {
                if v.iter().map(|v| v.abs()).sum::<f64>() < radius * (1.0 - AT) {
                    return Some(Vec::new());
                }
                // On a face of the ball: the signs' own facet, and the coordinates that it keeps at 0. Their
                // multipliers may have either sign as long as they are below the facet's.
                let row = v.iter().map(|v| if v.abs() <= AT * radius { 0.0 } else { v.signum() }).collect();
                let facet = Active { row, inequality: true, curved: 0..0 };
                let zeros = (0..n).filter(|&i| v[i].abs() <= AT * radius);
                let zeros = zeros.map(|i| Active { inequality: false, ..unit(i, 1.0) });
                std::iter::once(facet).chain(zeros).collect()
            }
            Self::Polyhedron { rows, rhs, equations } => (0..rows.len())
                .filter(|&i| {
                    let scale = norm2(&rows[i]).sqrt().max(rhs[i].abs());
                    i < *equations || dot(&rows[i], v) >= rhs[i] - AT * scale
                })
                .map(|i| Active { row: rows[i].clone(), inequality: i >= *equations, curved: 0..0 })
                .collect(),
            Self::Product(blocks) => {
                let mut all = Vec::new();
                let mut from = 0;
                for (length, set) in blocks {
                    for mut active in set.active(&v[from..from + length])? {
                        let mut row = vec![0.0; n];
                        row[from..from + length].copy_from_slice(&active.row);
                        active.row = row;
                        if !active.curved.is_empty() {
                            active.curved = from..from + length;
                        }
                        all.push(active);
                    }
                    from += length;
                }
                all
            }
            Self::Custom(_) => return None,
        })
    }

    /// Refuses sets that do not fit `n` coordinates, are empty, or whose projection moves what it has just
    /// projected.
    pub(crate) fn check(&self, level: &'static str, n: usize) -> Result<(), BilevelError> {
        self.well_formed(n).map_err(|cause| BilevelError::Set { level, cause })?;
        // A point that is hardly inside anything, and no corner of a grid.
        let mut once: Vec<f64> = (0..n).map(|i| 7.3 * (1.7 * i as f64 + 0.4).sin()).collect();
        self.project(&mut once);
        let mut twice = once.clone();
        self.project(&mut twice);
        let scale = once.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
        let moved = once.iter().zip(&twice).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        if moved > 1e-8 * scale || twice.iter().any(|v| !v.is_finite()) {
            let cause = format!(
                "is projected onto inconsistently: a projected point moves by {moved:.1e} when it is projected again; \
                 it may be empty, or the projection is wrong"
            );
            return Err(BilevelError::Set { level, cause });
        }
        let cause = match self {
            Self::Polyhedron { rows, rhs, .. } => {
                let over = rows.iter().zip(rhs).map(|(row, b)| (dot(row, &once) - b) / norm2(row).sqrt());
                let worst = over.fold(0.0, f64::max);
                (worst > 1e-6)
                    .then(|| format!("seems empty: a constraint is violated by {worst:.1e} after projection"))
            }
            _ => None,
        };
        cause.map_or(Ok(()), |cause| Err(BilevelError::Set { level, cause }))
    }

    fn well_formed(&self, n: usize) -> Result<(), String> {
        let fits = |what: &str, found: usize| match found == n {
            true => Ok(()),
            false => Err(format!("has {what} of {found} numbers for {n} unknowns; give one per unknown")),
        };
        let positive = |what: &str, size: f64| match size > 0.0 && size.is_finite() {
            true => Ok(()),
            false => Err(format!("has {what} {size}; use a number > 0")),
        };
        match self {
            Self::Free | Self::Custom(_) => Ok(()),
            Self::Box { lo, hi } => {
                fits("lower bounds", lo.len())?;
                fits("upper bounds", hi.len())?;
                match (0..n).find(|&i| lo[i] > hi[i] || lo[i].is_nan() || hi[i].is_nan()) {
                    None => Ok(()),
                    Some(i) => Err(format!(
                        "is empty: coordinate {i} lies between {} and {}; give the smaller bound first",
                        lo[i], hi[i]
                    )),
                }
            }
            Self::Ball { centre, radius } => {
                fits("a centre", centre.len())?;
                positive("radius", *radius)
            }
            Self::Simplex { sum } => positive("sum", *sum),
            Self::L1Ball { radius } => positive("radius", *radius),
            Self::Polyhedron { rows, rhs, equations } => {
                rows.iter().try_for_each(|row| fits("a row", row.len()))?;
                if rows.len() != rhs.len() || *equations > rows.len() {
                    return Err(format!(
                        "has {} rows and {} right-hand sides; give one each",
                        rows.len(),
                        rhs.len()
                    ));
                }
                match rows.iter().all(|row| norm2(row) > 0.0 && row.iter().all(|a| a.is_finite())) {
                    true => Ok(()),
                    false => Err("has a row that is zero or not finite; leave it out".into()),
                }
            }
            Self::Product(blocks) => {
                fits("blocks", blocks.iter().map(|b| b.0).sum())?;
                blocks.iter().try_for_each(|(length, set)| set.well_formed(*length))
            }
        }
    }
}

/// The t with Σ max(v − t, 0) = sum (Held, Wolfe and Crowder 1974).
fn threshold(v: impl Iterator<Item = f64>, sum: f64) -> f64 {
    let mut sorted: Vec<f64> = v.collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut total, mut shift) = (0.0, 0.0);
    for (k, &v) in sorted.iter().enumerate() {
        total += v;
        let t = (total - sum) / (k + 1) as f64;
        if t >= v {
            break;
        }
        shift = t;
    }
    shift
}

/// Dykstra's alternating projections onto equations and half-spaces. For those the correction of a row is a
/// multiple of it, so one number each is kept (Hildreth's method).
fn dykstra(rows: &[Vec<f64>], rhs: &[f64], equations: usize, v: &mut [f64]) {
    let norms: Vec<f64> = rows.iter().map(|row| norm2(row)).collect();
    let mut force = vec![0.0; rows.len()];
    for _ in 0..CYCLES {
        let mut moved = 0.0f64;
        for (i, row) in rows.iter().enumerate() {
            let mut change = (dot(row, v) - rhs[i]) / norms[i];
            if i >= equations {
                change = change.max(-force[i]);
            }
            force[i] += change;
            v.iter_mut().zip(row).for_each(|(v, a)| *v -= change * a);
            moved = moved.max(change.abs() * norms[i].sqrt());
        }
        if moved <= 1e-15 * (1.0 + norm2(v).sqrt()) {
            return;
        }
    }
}
