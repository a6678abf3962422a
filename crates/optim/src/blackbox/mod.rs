//! Functions of which only values are known, evaluated in batches: closures, whole batches, programs; with
//! constraints by penalties; counted and ranked for the methods that search by them ([`Evaluator`]).
//!
//! ```
//! use thalweg_optim::blackbox::{BlackBox, Constrained, Evaluator, Penalty};
//!
//! // Any closure is a black box; it may fail anywhere.
//! let f = |x: &[f64]| if x[0] < 0.0 { f64::NAN } else { x[0] };
//! let f = Constrained::new(f, Penalty::default()).at_most_zero(|x| 1.0 - x[0]);
//! let mut evaluator = Evaluator::new(&f, 1);
//! let mut seen = Vec::new();
//! evaluator.evaluate(&[-1.0, 0.5, 1.5], &mut seen)?;
//! assert!(seen[0].is_nan() && seen[1] == 1.0 && seen[2] == 1.5);
//! assert_eq!((evaluator.evaluations(), evaluator.failures()), (3, 1));
//! assert_eq!((evaluator.incumbent().f, evaluator.incumbent().feasible()), (1.5, true));
//! # Ok::<(), thalweg_core::MethodError>(())
//! ```

mod command;
mod constraint;
mod evaluator;
mod process;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use thalweg_core::StopReason;

pub use command::{Call, External};
pub use constraint::{Constrained, Constraints, Penalty};
pub use evaluator::{Evaluator, Incumbent, lowest};

/// A function of which only values are known. Closures `|x: &[f64]| value` are one.
pub trait BlackBox: Sync {
    /// Overwrites `values` (`[n]`) by the values at `points` (`[n, dim]`, row by row). A failure is
    /// NaN; it weighs nothing and is counted.
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]);

    /// Overwrites `gradients` (`[n, dim]`) by the gradients at `points`, if they are known; else
    /// `false`, and methods that want them take central differences.
    fn gradients(&self, _points: &[f64], _dim: usize, _gradients: &mut [f64]) -> bool {
        false
    }

    /// The constraints, if there are any. Searches then call [`BlackBox::constrained`].
    fn constraints(&self) -> Option<Constraints> {
        None
    }

    /// As [`BlackBox::values`]; also overwrites `constraints` (`[count, n]`, constraint by constraint) by
    /// g(x), or by NaN where it has no value.
    fn constrained(&self, points: &[f64], dim: usize, values: &mut [f64], constraints: &mut [f64]) {
        self.values(points, dim, values);
        constraints.fill(0.0);
    }

    /// Why evaluations are left out from now on, if they are: the time is over, or an interruption was asked
    /// for. Values of a batch that has just ended are void then.
    fn stopped(&self) -> Option<StopReason> {
        None
    }

    /// Whether it has never given a value and, as far as can be told, never will: there is no such program, or
    /// it fails in the same words at every point.
    fn hopeless(&self) -> bool {
        false
    }

    /// What the first failure said.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// Evaluations that took too long.
    fn timeouts(&self) -> u64 {
        0
    }
}

/// Work below this is not worth waking other threads.
const WORTH: Duration = Duration::from_micros(50);

impl<F: Fn(&[f64]) -> f64 + Sync + ?Sized> BlackBox for F {
    /// In parallel where it pays; a panic is a failure of its point alone.
    fn values(&self, points: &[f64], dim: usize, values: &mut [f64]) {
        let value = |x: &[f64]| catch_unwind(AssertUnwindSafe(|| self(x))).unwrap_or(f64::NAN);
        let (mut done, mut each) = (0, Duration::ZERO);
        // A cheap function takes no longer than a look at the clock: then some more calls are timed.
        for few in [1, 8] {
            let (clock, end) = (Instant::now(), values.len().min(done + few));
            (done..end).for_each(|i| values[i] = value(&points[i * dim..(i + 1) * dim]));
            (done, each) = (end, clock.elapsed() / few as u32);
            if each > WORTH / 10 {
                break;
            }
        }
        let (points, rest) = (&points[done * dim..], &mut values[done..]);
        if each * rest.len() as u32 > WORTH {
            points.par_chunks_exact(dim).zip(rest).for_each(|(x, v)| *v = value(x));
        } else {
            points.chunks_exact(dim).zip(rest).for_each(|(x, v)| *v = value(x));
        }
    }
}

/// Many points in one call: `f(points, values)`, as [`BlackBox::values`].
pub struct Batch<F>(pub F);

impl<F: Fn(&[f64], &mut [f64]) + Sync> BlackBox for Batch<F> {
    fn values(&self, points: &[f64], _dim: usize, values: &mut [f64]) {
        if catch_unwind(AssertUnwindSafe(|| (self.0)(points, values))).is_err() {
            values.fill(f64::NAN);
        }
    }
}
