use rand_distr::{Beta, Distribution};
use thalweg_core::{Invalid, MethodError, Problem, Seed, normal};

use super::Sequence;
use crate::solver::{Solved, Workspace};
use crate::{Matrix, RelaxError, Solver, Stencil, theory};

/// Where shifts and right-hand sides come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shift {
    /// low + 0.6 · Beta(½, 3/2), Gaussian right-hand sides in the ball of radius √n. The paper's low is −0.15 for 10
    /// points per side, 0.93 of the smallest eigenvalue; on finer grids it is the same share, so that the matrices
    /// stay positive definite.
    High,
    /// low + 0.6 · Beta(2, 6), the same right-hand sides.
    Low,
    /// `low + width · frac(t · 0.618…)³` and sines, without random numbers.
    Golden {
        /// Smallest shift.
        low: f64,
        /// Width of the interval of shifts.
        width: f64,
    },
}

/// The smallest shift of the paper.
const LOW: f64 = -0.15;

/// Systems (A + c_t I) x = b_t, where A is the 5-point Laplacian on a square of points, each solved
/// from 0; the context is c_t. The experiment of section 4 of the paper has 10 × 10 points and 5000
/// steps.
#[derive(Debug)]
pub struct Shifted {
    shift: Shift,
    side: usize,
    steps: u64,
    seed: Seed,
    base: Stencil,
    low: f64,
    c: f64,
    matrix: Stencil,
    b: Vec<f64>,
    x: Vec<f64>,
    work: Workspace,
}

impl Shifted {
    /// The sequence on `side × side` points.
    ///
    /// # Errors
    /// Shifts for which the matrices are not positive definite.
    pub fn new(shift: Shift, side: usize, steps: u64, seed: Seed) -> Result<Self, RelaxError> {
        Invalid::count("steps", steps)?;
        Invalid::check((1..=10_000).contains(&side), "nx", side, "1 to 10000 points per side")?;
        let base = Stencil::laplacian(side, side)?;
        let least = |radius: f64| 4.0 * (1.0 - radius); // smallest eigenvalue
        let (own, papers) = (least(base.jacobi_radius()), least(Stencil::laplacian(10, 10)?.jacobi_radius()));
        let low = match shift {
            Shift::High | Shift::Low => LOW * f64::min(1.0, own / papers),
            Shift::Golden { low, width } => {
                let legal = low > -own && width >= 0.0 && width.is_finite();
                let what = format!("{low} + {width} u");
                Invalid::check(legal, "shift", what, &format!("above −{own:.6}, the smallest eigenvalue"))?;
                low
            }
        };
        let (b, x) = (vec![0.0; base.len()], vec![0.0; base.len()]);
        let work = Workspace::default();
        let mut new = Self { shift, side, steps, seed, matrix: base.clone(), base, low, c: 0.0, b, x, work };
        new.prepare(0)?;
        Ok(new)
    }

    fn prepare(&mut self, t: u64) -> Result<(), RelaxError> {
        let (n, low) = (self.side * self.side, self.low);
        let mut b = vec![0.0; n];
        let mut rng = self.seed.stream("system", t);
        let mut random = |alpha, beta| {
            // Both parameters are positive constants.
            let share = Beta::new(alpha, beta).map_or(0.0, |d| d.sample(&mut rng));
            loop {
                normal(&mut rng, &mut b);
                if b.iter().map(|b| b * b).sum::<f64>() <= n as f64 {
                    return low + 0.6 * share;
                }
            }
        };
        self.c = match self.shift {
            Shift::High => random(0.5, 1.5),
            Shift::Low => random(2.0, 6.0),
            Shift::Golden { width, .. } => {
                for (i, b) in b.iter_mut().enumerate() {
                    let (i, t, seventh) = (i as f64, t as f64, (t % 7) as f64);
                    *b = (1.0 + (1.0 + seventh) * i).sin() + 0.5 * (0.37 * t * (i + 1.0)).cos();
                }
                let golden = t as f64 * 0.618_033_988_749_894_9;
                low + width * golden.fract().powi(3)
            }
        };
        self.matrix = self.base.shifted(self.c)?;
        self.b = self.matrix.pack(&b);
        Ok(())
    }
}

impl Problem for Shifted {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        Ok(self.prepare(t)?)
    }
}

impl Sequence for Shifted {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn interval(&self) -> (f64, f64) {
        match self.shift {
            Shift::Golden { low, width } => (low, low + width),
            Shift::High | Shift::Low => (self.low, 0.65),
        }
    }

    fn context(&self) -> f64 {
        self.c
    }

    fn matrix(&self) -> &dyn Matrix {
        &self.matrix
    }

    fn optimal_omega(&self) -> Option<f64> {
        Some(theory::optimal_omega(self.matrix.jacobi_radius()))
    }

    fn solve(&mut self, solver: &Solver) -> Result<Solved, RelaxError> {
        self.x.fill(0.0);
        solver.solve_in(&self.matrix, &self.b, &mut self.x, &mut self.work)
    }

    fn solution(&self) -> Vec<f64> {
        self.matrix.unpack(&self.x)
    }

    fn try_out(&self, solver: &Solver) -> Result<Solved, RelaxError> {
        let mut x = vec![0.0; self.b.len()];
        solver.solve_in(&self.matrix, &self.b, &mut x, &mut Workspace::default())
    }
}
