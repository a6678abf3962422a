use std::f64::consts::PI;

use thalweg_core::{Invalid, MethodError, Problem};

use super::Sequence;
use crate::solver::{Solved, Workspace};
use crate::{Matrix, RelaxError, Solver, Stencil};

/// Time of the simulation.
const END: f64 = 5.0;

/// Heat in the unit square, u_t = κ(t) Δu + f with u = 0 on the boundary, by Crank–Nicolson with κ and
/// f at the half step:
/// (I − ½ κ Δt L) u⁺ = (I + ½ κ Δt L) u + Δt f, times 0 to 5, each system solved from the last u.
///
/// κ(t) = max(0.1 sin 2πt, −10 sin 2πt): weak diffusion and strong in turn. A bump of heat circles the
/// middle. The context is κ at the *beginning* of the step, a little stale on purpose (section 4 of
/// the paper).
#[derive(Debug)]
pub struct Heat {
    nx: usize,
    steps: u64,
    constant: Option<f64>,
    t: u64,
    matrix: Stencil,
    /// Coordinates of the points in the matrix's order; those of no point are NaN.
    points: Vec<(f64, f64)>,
    b: Vec<f64>,
    u: Vec<f64>,
    work: Workspace,
}

/// exp(1 − 1/(1 − |x − c|²/r²)) inside the circle, 0 outside.
fn bump((x, y): (f64, f64), (cx, cy): (f64, f64), r: f64) -> f64 {
    let d = ((x - cx).powi(2) + (y - cy).powi(2)) / (r * r);
    if d < 1.0 { (1.0 - 1.0 / (1.0 - d)).exp() } else { 0.0 }
}

impl Heat {
    /// The simulation with `nx` cells per side, (nx − 1)² unknowns, in `steps` steps.
    pub fn new(nx: usize, steps: u64) -> Result<Self, RelaxError> {
        Self::start(nx, steps, None, |p| bump(p, (0.5, 0.5), 0.25))
    }

    /// Without a source and with constant diffusion, from u(x, y): to check against closed forms.
    /// The step is `5 / steps` here too.
    pub fn decay(
        nx: usize,
        steps: u64,
        kappa: f64,
        u: impl Fn((f64, f64)) -> f64,
    ) -> Result<Self, RelaxError> {
        Self::start(nx, steps, Some(kappa), u)
    }

    fn start(
        nx: usize,
        steps: u64,
        constant: Option<f64>,
        u: impl Fn((f64, f64)) -> f64,
    ) -> Result<Self, RelaxError> {
        Invalid::check((2..=10_000).contains(&nx), "nx", nx, "2 to 10000 cells per side")?;
        Invalid::count("steps", steps)?;
        let side = nx - 1;
        let matrix = Stencil::plane(side, side, 1.0, [0.0, 0.0])?;
        let coordinate = |k: usize| (k + 1) as f64 / nx as f64;
        let pack = |f: &dyn Fn(usize) -> f64| matrix.pack(&(0..side * side).map(f).collect::<Vec<_>>());
        let ones = pack(&|_| 1.0);
        let (x, y) = (pack(&|i| coordinate(i % side)), pack(&|i| coordinate(i / side)));
        let points: Vec<_> = ones.iter().zip(x.iter().zip(&y)).map(|(o, (x, y))| (x / o, y / o)).collect();
        let u = points.iter().map(|&p| if p.0.is_nan() { 0.0 } else { u(p) }).collect();
        let b = vec![0.0; matrix.len()];
        let mut new = Self { nx, steps, constant, t: 0, matrix, points, b, u, work: Workspace::default() };
        new.prepare(0)?;
        Ok(new)
    }

    fn dt(&self) -> f64 {
        END / self.steps as f64
    }

    fn kappa(&self, time: f64) -> f64 {
        let sine = (2.0 * PI * time).sin();
        self.constant.unwrap_or_else(|| f64::max(0.1 * sine, -10.0 * sine))
    }

    fn prepare(&mut self, t: u64) -> Result<(), RelaxError> {
        self.t = t;
        let dt = self.dt();
        let half = (t as f64 + 0.5) * dt;
        let s = 0.5 * self.kappa(half) * dt * (self.nx as f64).powi(2);
        self.matrix = self.matrix.with(1.0 + 4.0 * s, [0.0, s, s])?;
        // The explicit half of the step is I + ½ κ Δt L = 2 I − A.
        self.matrix.apply(&self.u, &mut self.b);
        self.b.iter_mut().zip(&self.u).for_each(|(b, u)| *b = 2.0 * u - *b);
        if self.constant.is_none() {
            let angle = 16.0 * PI * half;
            let centre = (0.5 + 0.25 * angle.cos(), 0.5 + 0.25 * angle.sin());
            for (b, p) in self.b.iter_mut().zip(&self.points) {
                *b += dt * 32.0 * bump(*p, centre, 0.125);
            }
        }
        Ok(())
    }
}

impl Problem for Heat {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        Ok(self.prepare(t)?)
    }

    fn save(&self) -> Vec<u8> {
        self.u.iter().flat_map(|u| u.to_le_bytes()).collect()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        MethodError::check_length("the saved temperature", saved.len(), 8 * self.u.len())?;
        for (u, bytes) in self.u.iter_mut().zip(saved.chunks_exact(8)) {
            *u = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(())
    }
}

impl Sequence for Heat {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn interval(&self) -> (f64, f64) {
        match self.constant {
            Some(kappa) => (kappa, kappa + 1.0),
            None => (0.0, 10.0),
        }
    }

    fn context(&self) -> f64 {
        self.kappa(self.t as f64 * self.dt())
    }

    fn matrix(&self) -> &dyn Matrix {
        &self.matrix
    }

    fn solve(&mut self, solver: &Solver) -> Result<Solved, RelaxError> {
        solver.solve_in(&self.matrix, &self.b, &mut self.u, &mut self.work)
    }

    fn solution(&self) -> Vec<f64> {
        self.matrix.unpack(&self.u)
    }

    fn try_out(&self, solver: &Solver) -> Result<Solved, RelaxError> {
        solver.solve_in(&self.matrix, &self.b, &mut self.u.clone(), &mut Workspace::default())
    }
}
