use std::sync::Arc;

use thalweg_core::Invalid;
use thalweg_linalg::vector::{LANES, accumulate, wide};

use crate::kernel::shift_exponent;
use crate::matrix::{Diagonal, Order};
use crate::{Csr, Matrix, RelaxError};

/// The 5-point or 7-point operator with constant coefficients on a box of grid points, 0 outside:
/// `(A u) = centre · u − Σ coupling · (the two neighbours along each axis)`.
///
/// The natural order runs row by row (plane by plane). A sweep in that order updates each point
/// after its left and upper neighbours and before the others, and so does a sweep along the
/// anti-diagonals of each plane, whose points do not touch one another: vectors are stored that way,
/// and sweeps run at full vector width with the natural order's iteration counts.
#[derive(Clone, Debug)]
pub struct Stencil {
    grid: Arc<Grid>,
    centre: f64,
    /// Couplings along planes, rows and columns.
    coupling: [f64; 3],
}

/// The anti-diagonals of a box. One 0 separates two of them in storage: what a point at the edge
/// finds where its missing neighbour would be.
#[derive(Debug)]
struct Grid {
    planes: usize,
    rows: usize,
    cols: usize,
    lines: Vec<Line>,
    /// From a point to the same point of the next plane.
    stride: usize,
    len: usize,
}

/// One anti-diagonal of one plane.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: usize,
    len: usize,
    /// Left neighbour of the first point; the upper neighbour is one before.
    before: usize,
    /// Right neighbour of the first point; the lower neighbour is one behind.
    after: usize,
}

impl Grid {
    fn new(planes: usize, rows: usize, cols: usize) -> Self {
        let diagonals = rows + cols - 1;
        let low = |k: usize| k.saturating_sub(cols - 1); // first row that diagonal k meets
        let length = |k: usize| k.min(rows - 1) + 1 - low(k);
        let stride = rows * cols + diagonals + 3;
        let deep = planes > 1;
        // A box has a plane of zeros below and above.
        let first = if deep { stride } else { 0 };
        let mut lines = Vec::with_capacity(planes * diagonals);
        for plane in 0..planes {
            let (mut before, mut start) = (first + plane * stride + 1, first + plane * stride + 2);
            for k in 0..diagonals {
                let end = start + length(k);
                let shift = low(k + 1) - low(k);
                lines.push(Line { start, len: length(k), before, after: end + 1 - shift });
                (before, start) = (start + shift, end + 1);
            }
        }
        Self { planes, rows, cols, lines, stride, len: stride * (planes + if deep { 2 } else { 0 }) }
    }

    /// Calls `f` with the natural and the own place of each point.
    fn places(&self, mut f: impl FnMut(usize, usize)) {
        let diagonals = self.rows + self.cols - 1;
        for (l, line) in self.lines.iter().enumerate() {
            let (plane, k) = (l / diagonals, l % diagonals);
            let low = k.saturating_sub(self.cols - 1);
            for at in 0..line.len {
                let row = low + at;
                f((plane * self.rows + row) * self.cols + k - row, line.start + at);
            }
        }
    }
}

impl Stencil {
    /// The 5-point operator on `rows × cols` points; `coupling` between rows and between columns.
    pub fn plane(rows: usize, cols: usize, centre: f64, coupling: [f64; 2]) -> Result<Self, RelaxError> {
        Self::cube([1, rows, cols], centre, [0.0, coupling[0], coupling[1]])
    }

    /// The 7-point operator on `planes × rows × cols` points.
    pub fn cube(size: [usize; 3], centre: f64, coupling: [f64; 3]) -> Result<Self, RelaxError> {
        let [planes, rows, cols] = size;
        if planes * rows * cols == 0 {
            return Err(RelaxError::Empty);
        }
        let grid = Arc::new(Grid::new(planes, rows, cols));
        Self { grid, centre: 1.0, coupling: [0.0; 3] }.with(centre, coupling)
    }

    /// The negative Laplacian in units of the squared mesh width: centre 4, couplings 1.
    pub fn laplacian(rows: usize, cols: usize) -> Result<Self, RelaxError> {
        Self::plane(rows, cols, 4.0, [1.0, 1.0])
    }

    /// The operator with other coefficients on the same points.
    pub fn with(&self, centre: f64, coupling: [f64; 3]) -> Result<Self, RelaxError> {
        if centre <= 0.0 || !centre.is_finite() {
            return Err(RelaxError::Diagonal { row: 1, value: centre });
        }
        let finite = coupling.iter().all(|c| c.is_finite());
        Invalid::check(finite, "coupling", format!("{coupling:?}"), "finite numbers")?;
        Ok(Self { grid: self.grid.clone(), centre, coupling })
    }

    /// The operator with `shift` added to the centre.
    pub fn shifted(&self, shift: f64) -> Result<Self, RelaxError> {
        self.with(self.centre + shift, self.coupling)
    }

    /// Spectral radius of Jacobi's iteration, β = Σ 2 couplingₐ cos(π/(nₐ + 1)) / centre.
    pub fn jacobi_radius(&self) -> f64 {
        let sizes = [self.grid.planes, self.grid.rows, self.grid.cols];
        let axis = |(c, n): (f64, usize)| {
            let angle = std::f64::consts::PI / (n as f64 + 1.0);
            if n > 1 { 2.0 * c.abs() * angle.cos() } else { 0.0 }
        };
        self.coupling.into_iter().zip(sizes).map(axis).sum::<f64>() / self.centre
    }

    /// The same matrix entry by entry, in the natural order.
    pub fn to_csr(&self) -> Result<Csr, RelaxError> {
        let Grid { planes, rows, cols, .. } = *self.grid;
        let mut entries = Vec::with_capacity(7 * self.rows());
        for p in 0..planes {
            for i in 0..rows {
                for j in 0..cols {
                    let at = (p * rows + i) * cols + j;
                    entries.push((at, at, self.centre));
                    let steps = [(p + 1 < planes, rows * cols), (i + 1 < rows, cols), (j + 1 < cols, 1)];
                    for ((there, step), c) in steps.into_iter().zip(self.coupling) {
                        if there && c != 0.0 {
                            entries.extend([(at, at + step, -c), (at + step, at, -c)]);
                        }
                    }
                }
            }
        }
        Csr::from_triplets(self.rows(), self.rows(), entries)
    }

    fn deep(&self) -> bool {
        self.grid.planes > 1
    }

    /// The `s`-th line of a sweep.
    #[inline(always)]
    fn line(&self, order: Order, s: usize) -> Line {
        let lines = &self.grid.lines;
        match order {
            Order::Forward => lines[s],
            Order::Backward => lines[lines.len() - 1 - s],
        }
    }

    /// The points of a line behind (`false`) or ahead of (`true`) a sweep: neighbours along columns,
    /// rows and planes.
    #[inline(always)]
    fn near<'a>(&self, forward: bool, line: Line, x: &Split<'a>) -> [&'a [f64]; 3] {
        let Line { start, len, before, after } = line;
        let end = start + len;
        let plane = |s: &'a [f64], at: usize| if self.deep() { &s[at..at + len] } else { &s[..0] };
        if forward {
            let after = after - end;
            let above = plane(x.tail, if self.deep() { start + self.grid.stride - end } else { 0 });
            [&x.tail[after..after + len], &x.tail[after + 1..after + 1 + len], above]
        } else {
            let below = plane(x.head, if self.deep() { start - self.grid.stride } else { 0 });
            [&x.head[before..before + len], &x.head[before - 1..before - 1 + len], below]
        }
    }
}

/// A vector without one of its lines.
struct Split<'a> {
    head: &'a [f64],
    tail: &'a [f64],
}

/// A line for change, and the rest of the vector.
#[inline(always)]
fn split_mut(x: &mut [f64], line: Line) -> (&mut [f64], Split<'_>) {
    let (head, rest) = x.split_at_mut(line.start);
    let (line, tail) = rest.split_at_mut(line.len);
    (line, Split { head, tail })
}

/// A line, and the rest of the vector.
#[inline(always)]
fn split(x: &[f64], line: Line) -> (&[f64], Split<'_>) {
    let (head, rest) = x.split_at(line.start);
    let (line, tail) = rest.split_at(line.len);
    (line, Split { head, tail })
}

/// Calls `f(i, coupled)` for the points of a line, with the weighted sum of three of their neighbours.
#[inline(always)]
fn along(len: usize, coupling: [f64; 3], near: [&[f64]; 3], mut f: impl FnMut(usize, f64)) {
    let [plane, row, col] = coupling;
    let (side, upright) = (&near[0][..len], &near[1][..len]);
    if near[2].is_empty() {
        for i in 0..len {
            f(i, col * side[i] + row * upright[i]);
        }
    } else {
        let planes = &near[2][..len];
        for i in 0..len {
            f(i, col * side[i] + row * upright[i] + plane * planes[i]);
        }
    }
}

/// As [`along`] with all six neighbours.
#[inline(always)]
fn around(len: usize, coupling: [f64; 3], near: [[&[f64]; 3]; 2], mut f: impl FnMut(usize, f64)) {
    let [plane, row, col] = coupling;
    let [[left, up, below], [right, down, above]] = near;
    let (left, up, right, down) = (&left[..len], &up[..len], &right[..len], &down[..len]);
    if below.is_empty() {
        for i in 0..len {
            f(i, col * (left[i] + right[i]) + row * (up[i] + down[i]));
        }
    } else {
        let (below, above) = (&below[..len], &above[..len]);
        for i in 0..len {
            let planes = plane * (below[i] + above[i]);
            f(i, col * (left[i] + right[i]) + row * (up[i] + down[i]) + planes);
        }
    }
}

impl Matrix for Stencil {
    fn rows(&self) -> usize {
        self.grid.planes * self.grid.rows * self.grid.cols
    }

    fn len(&self) -> usize {
        self.grid.len
    }

    fn entries(&self) -> usize {
        let sizes = [self.grid.planes, self.grid.rows, self.grid.cols];
        sizes.iter().map(|n| 2 * (n - 1) * (self.rows() / n)).sum()
    }

    fn pack(&self, natural: &[f64]) -> Vec<f64> {
        let mut own = vec![0.0; self.len()];
        self.grid.places(|from, to| own[to] = natural[from]);
        own
    }

    fn unpack(&self, own: &[f64]) -> Vec<f64> {
        let mut natural = vec![0.0; self.rows()];
        self.grid.places(|to, from| natural[to] = own[from]);
        natural
    }

    fn diagonal(&self) -> Diagonal<'_> {
        Diagonal::Constant(self.centre)
    }

    fn dominance(&self) -> f64 {
        let sizes = [self.grid.planes, self.grid.rows, self.grid.cols];
        let axis = |(c, n): (f64, usize)| c.abs() * (n.min(3) - 1) as f64;
        self.coupling.into_iter().zip(sizes).map(axis).sum::<f64>() / self.centre
    }

    fn check_symmetric(&self) -> Result<(), RelaxError> {
        Ok(())
    }

    fn scaled(&self, exponent: i32) -> Option<Box<dyn Matrix>> {
        let coupling = self.coupling.map(|c| shift_exponent(c, exponent));
        let scaled = self.with(shift_exponent(self.centre, exponent), coupling).ok()?;
        Some(Box::new(scaled))
    }

    fn residual(&self, b: &[f64], x: &[f64], r: &mut [f64]) -> f64 {
        wide(|| {
            let mut sums = [0.0; LANES];
            for &line in &self.grid.lines {
                let Line { start, len, .. } = line;
                let (cur, rest) = split(x, line);
                let near = [self.near(false, line, &rest), self.near(true, line, &rest)];
                let (b, r) = (&b[start..start + len], &mut r[start..start + len]);
                let (cur, centre) = (&cur[..len], self.centre);
                around(len, self.coupling, near, |i, coupled| r[i] = b[i] - centre * cur[i] + coupled);
                accumulate(&mut sums, r, r, |a, b| a * b);
            }
            sums.iter().sum()
        })
    }

    fn apply(&self, x: &[f64], y: &mut [f64]) -> f64 {
        wide(|| {
            let mut sums = [0.0; LANES];
            for &line in &self.grid.lines {
                let Line { start, len, .. } = line;
                let (cur, rest) = split(x, line);
                let near = [self.near(false, line, &rest), self.near(true, line, &rest)];
                let y = &mut y[start..start + len];
                let (cur, centre) = (&cur[..len], self.centre);
                around(len, self.coupling, near, |i, coupled| y[i] = centre * cur[i] - coupled);
                accumulate(&mut sums, cur, y, |a, b| a * b);
            }
            sums.iter().sum()
        })
    }

    fn sweep(&self, order: Order, omega: f64, b: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
        wide(|| {
            let (centre, scale) = (self.centre, omega / self.centre);
            let overshoot = (1.0 / omega - 1.0) * centre;
            let count = self.grid.lines.len();
            // The residual of a line is known once the sweep has passed all its neighbours.
            let lag = count / self.grid.planes;
            let lag = if self.deep() { lag } else { 1 };
            let mut sums = [0.0; LANES];
            for s in 0..count + lag {
                if s < count {
                    let line = self.line(order, s);
                    let Line { start, len, .. } = line;
                    let (cur, rest) = split_mut(x, line);
                    let near = [self.near(false, line, &rest), self.near(true, line, &rest)];
                    let (b, delta) = (&b[start..start + len], &mut r[start..start + len]);
                    let cur = &mut cur[..len];
                    around(len, self.coupling, near, |i, coupled| {
                        let change = scale * (b[i] - centre * cur[i] + coupled);
                        delta[i] = change;
                        cur[i] += change;
                    });
                }
                if s >= lag {
                    let line = self.line(order, s - lag);
                    let (cur, rest) = split_mut(r, line);
                    let near = self.near(order == Order::Forward, line, &rest);
                    let cur = &mut cur[..line.len];
                    along(line.len, self.coupling, near, |i, coupled| cur[i] = overshoot * cur[i] + coupled);
                    accumulate(&mut sums, cur, cur, |a, b| a * b);
                }
            }
            sums.iter().sum()
        })
    }

    fn solve_triangle(&self, order: Order, omega: f64, v: &[f64], y: &mut [f64]) {
        wide(|| {
            let scale = omega / self.centre;
            for s in 0..self.grid.lines.len() {
                let line = self.line(order, s);
                let Line { start, len, .. } = line;
                let (cur, rest) = split_mut(y, line);
                let near = self.near(order == Order::Backward, line, &rest);
                let (v, cur) = (&v[start..start + len], &mut cur[..len]);
                along(len, self.coupling, near, |i, coupled| cur[i] = scale * (v[i] + coupled));
            }
        });
    }

    fn split_product(&self, order: Order, omega: f64, p: &[f64], y: &mut [f64], z: &mut [f64]) -> f64 {
        self.solve_triangle(order.reverse(), omega, p, y);
        wide(|| {
            let (scale, g) = (omega / self.centre, 2.0 - omega);
            let mut sums = [0.0; LANES];
            for s in 0..self.grid.lines.len() {
                let line = self.line(order, s);
                let Line { start, len, .. } = line;
                let (cur, rest) = split_mut(z, line);
                let near = self.near(order == Order::Backward, line, &rest);
                let (p, y) = (&p[start..start + len], &y[start..start + len]);
                let cur = &mut cur[..len];
                along(len, self.coupling, near, |i, coupled| cur[i] = scale * (p[i] + coupled) - g * y[i]);
                accumulate(&mut sums, p, cur, |a, b| a * b);
                accumulate(&mut sums, p, y, |a, b| a * b);
            }
            sums.iter().sum()
        })
    }

    fn triangle_product(&self, order: Order, omega: f64, v: &[f64], out: &mut [f64]) -> f64 {
        wide(|| {
            let diagonal = self.centre / omega;
            let mut sums = [0.0; LANES];
            for &line in &self.grid.lines {
                let Line { start, len, .. } = line;
                let (cur, rest) = split(v, line);
                let near = self.near(order == Order::Backward, line, &rest);
                let (cur, out) = (&cur[..len], &mut out[start..start + len]);
                along(len, self.coupling, near, |i, coupled| out[i] = diagonal * cur[i] - coupled);
                accumulate(&mut sums, out, out, |a, b| a * b);
            }
            sums.iter().sum()
        })
    }
}
