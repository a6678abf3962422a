//! Minimisation of a smooth function over x ≥ 0: L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; version 3.0 of
//! Morales and Nocedal 2011), as NOTEARS's published program uses it.

use faer::Mat;
use thalweg_linalg::dense::{Lu, apply, product};
use thalweg_linalg::vector::dot_by_four as dot;

use crate::line_search::wolfe;

/// How long and how exactly to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub steps: usize,
    pub evaluations: usize,
    /// Decrease of a step, as a share of max(|f|, 1), below which the search ends.
    pub decrease: f64,
    /// Largest entry of the projected gradient at which it ends.
    pub gradient: f64,
}

const HISTORY: usize = 10;

/// Steps and gradient differences, oldest first, and what they make of the Hessian: B = θI − W M Wᵀ with
/// W = [Y, θS].
struct Memory {
    s: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    /// Sᵀ Y and Sᵀ S.
    sy: Vec<Vec<f64>>,
    ss: Vec<Vec<f64>>,
    theta: f64,
    m: Mat<f64>,
}

impl Memory {
    fn new() -> Self {
        Self { s: Vec::new(), y: Vec::new(), sy: Vec::new(), ss: Vec::new(), theta: 1.0, m: Mat::zeros(0, 0) }
    }

    fn len(&self) -> usize {
        self.s.len()
    }

    /// Row i of W.
    fn row(&self, i: usize) -> Vec<f64> {
        self.y.iter().map(|y| y[i]).chain(self.s.iter().map(|s| self.theta * s[i])).collect()
    }

    /// Wᵀ v.
    fn down(&self, v: &[f64]) -> Vec<f64> {
        self.y.iter().map(|y| dot(y, v)).chain(self.s.iter().map(|s| self.theta * dot(s, v))).collect()
    }

    /// Takes a pair in and makes M = [−D, Lᵀ; L, θSᵀS]⁻¹.
    fn learn(&mut self, s: Vec<f64>, y: Vec<f64>) {
        if self.len() == HISTORY {
            self.s.remove(0);
            self.y.remove(0);
            for table in [&mut self.sy, &mut self.ss] {
                table.remove(0);
                table.iter_mut().for_each(|row| {
                    row.remove(0);
                });
            }
        }
        for (i, old) in self.s.iter().enumerate() {
            self.sy[i].push(dot(old, &y));
            self.ss[i].push(dot(old, &s));
        }
        let sy = self.y.iter().chain([&y]).map(|y| dot(&s, y)).collect::<Vec<_>>();
        self.theta = dot(&y, &y) / sy[sy.len() - 1];
        self.ss.push(self.s.iter().chain([&s]).map(|old| dot(&s, old)).collect());
        self.sy.push(sy);
        self.s.push(s);
        self.y.push(y);
        let k = self.len();
        let lower = |i: usize, j: usize| if i > j { self.sy[i][j] } else { 0.0 };
        let middle = Mat::from_fn(2 * k, 2 * k, |i, j| match (i < k, j < k) {
            (true, true) if i == j => -self.sy[i][i],
            (true, true) => 0.0,
            (false, true) => lower(i - k, j),
            (true, false) => lower(j - k, i),
            (false, false) => self.theta * self.ss[i - k][j - k],
        });
        self.m = Lu::new(middle).inverse();
    }
}

/// Minimises over x ≥ 0 from `x`, in place, while `go_on` says so; `f` gives the value and overwrites the
/// gradient. Returns the value.
pub(crate) fn minimize(
    x: &mut Vec<f64>,
    limits: Limits,
    go_on: &dyn Fn() -> bool,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> f64 {
    let mut g = vec![0.0; x.len()];
    let mut value = f(x, &mut g);
    let mut evaluations = 1;
    let mut memory = Memory::new();
    let mut first = true;
    for _ in 0..limits.steps {
        let projected = x.iter().zip(&g).map(|(x, g)| if *g > 0.0 { g.min(*x) } else { -g });
        if projected.fold(0.0, f64::max) <= limits.gradient || evaluations > limits.evaluations || !go_on() {
            break;
        }
        let cauchy = Cauchy::of(x, &g, &memory);
        let aim = if memory.len() == 0 { cauchy.x } else { subspace(x, &g, cauchy, &memory) };
        let d: Vec<f64> = aim.iter().zip(&*x).map(|(to, x)| to - x).collect();
        let slope = dot(&d, &g);
        // The longest step inside the bounds.
        let room = d.iter().zip(&*x).filter(|(d, _)| **d < 0.0).map(|(d, x)| -x / d).fold(1e10, f64::min);
        let most = if first { 1.0 } else { room };
        let start = if first { (1.0 / dot(&d, &d).sqrt()).min(most) } else { 1.0f64.min(most) };
        let mut at = (Vec::new(), Vec::new());
        let found = (slope < 0.0).then(|| {
            wolfe((value, slope), start, most, |t| {
                let next: Vec<f64> = x.iter().zip(&d).map(|(x, d)| (x + t * d).max(0.0)).collect();
                let mut gradient = vec![0.0; next.len()];
                let value = f(&next, &mut gradient);
                evaluations += 1;
                let slope = dot(&gradient, &d);
                at = (next, gradient);
                (value, slope)
            })
        });
        let Some((next_value, next_slope, t)) = found.flatten() else {
            if memory.len() == 0 {
                break;
            }
            (memory, first) = (Memory::new(), true); // once more along the gradient
            continue;
        };
        first = false;
        let (next, gradient) = at;
        let y: Vec<f64> = gradient.iter().zip(&g).map(|(a, b)| a - b).collect();
        let done = value - next_value <= limits.decrease * value.abs().max(next_value.abs()).max(1.0);
        (*x, g, value) = (next, gradient, next_value);
        if done {
            break;
        }
        // Positive curvature along the step.
        if (next_slope - slope) * t > f64::EPSILON * -slope * t {
            memory.learn(d.iter().map(|d| t * d).collect(), y);
        }
    }
    value
}

/// The minimum of the model along the path of projected steepest descent.
struct Cauchy {
    x: Vec<f64>,
    /// Wᵀ(x − start).
    c: Vec<f64>,
    /// Which unknowns are off their bounds.
    free: Vec<usize>,
}

impl Cauchy {
    fn of(x: &[f64], g: &[f64], memory: &Memory) -> Self {
        let theta = memory.theta;
        // When each unknown meets its bound.
        let meets = |i: usize| if g[i] > 0.0 { x[i] / g[i] } else { f64::INFINITY };
        let mut d: Vec<f64> = (0..x.len()).map(|i| if meets(i) == 0.0 { 0.0 } else { -g[i] }).collect();
        let mut breaks: Vec<(f64, usize)> =
            (0..x.len()).map(|i| (meets(i), i)).filter(|b| b.0 > 0.0 && b.0.is_finite()).collect();
        breaks.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut p = memory.down(&d);
        let mut c = vec![0.0; p.len()];
        let mut slope = -dot(&d, &d);
        let least = f64::EPSILON * theta * -slope;
        let mut curvature = -theta * slope - dot(&p, &apply(&memory.m, &p));
        let mut best = -slope / curvature;
        let mut at = 0.0;
        let mut to = x.to_vec();
        for (t, b) in breaks {
            if best < t - at || slope == 0.0 {
                break;
            }
            let step = t - at;
            to[b] = 0.0;
            let z = -x[b];
            c.iter_mut().zip(&p).for_each(|(c, p)| *c += step * p);
            let row = memory.row(b);
            let product = apply(&memory.m, &row);
            slope += step * curvature + g[b] * g[b] + theta * g[b] * z - g[b] * dot(&product, &c);
            curvature -=
                theta * g[b] * g[b] + 2.0 * g[b] * dot(&product, &p) + g[b] * g[b] * dot(&product, &row);
            curvature = curvature.max(least);
            p.iter_mut().zip(&row).for_each(|(p, r)| *p += g[b] * r);
            d[b] = 0.0;
            at = t;
            best = if slope < 0.0 { -slope / curvature } else { 0.0 };
        }
        let step = best.max(0.0);
        c.iter_mut().zip(&p).for_each(|(c, p)| *c += step * p);
        (0..x.len()).filter(|i| d[*i] != 0.0).for_each(|i| to[i] = x[i] + (at + step) * d[i]);
        let free = (0..x.len()).filter(|i| to[*i] > 0.0).collect();
        Self { x: to, c, free }
    }
}

/// The minimum of the model over the free unknowns, projected; where that leads uphill, as far towards it as
/// the bounds allow.
fn subspace(x: &[f64], g: &[f64], cauchy: Cauchy, memory: &Memory) -> Vec<f64> {
    let Cauchy { x: mut to, c, free } = cauchy;
    let (k, theta) = (2 * memory.len(), memory.theta);
    if free.is_empty() {
        return to;
    }
    let push = apply(&memory.m, &c);
    let rows = Mat::from_fn(free.len(), k, |a, j| match j < k / 2 {
        true => memory.y[j][free[a]],
        false => theta * memory.s[j - k / 2][free[a]],
    });
    let r: Vec<f64> = apply(&rows, &push)
        .into_iter()
        .zip(&free)
        .map(|(push, &i)| g[i] + theta * (to[i] - x[i]) - push)
        .collect();
    let down = product(rows.transpose(), &Mat::from_fn(r.len(), 1, |a, _| r[a]));
    let gram = product(rows.transpose(), &rows);
    let inner = product(&memory.m, &gram);
    let system = Mat::from_fn(k, k, |i, j| f64::from(i == j) - inner[(i, j)] / theta);
    let v = Lu::new(system).solve(product(&memory.m, &down));
    let v: Vec<f64> = (0..k).map(|j| v[(j, 0)]).collect();
    let back = apply(&rows, &v);
    let step: Vec<f64> = r.iter().zip(back).map(|(r, b)| -r / theta - b / (theta * theta)).collect();
    let mut projected = to.clone();
    free.iter().zip(&step).for_each(|(i, s)| projected[*i] = (to[*i] + s).max(0.0));
    let along: f64 = projected.iter().zip(x).zip(g).map(|((p, x), g)| (p - x) * g).sum();
    if along <= 0.0 {
        return projected;
    }
    let room = |(i, s): (&usize, &f64)| if *s < 0.0 { -to[*i] / s } else { 1.0 };
    let most = free.iter().zip(&step).map(room).fold(1.0, f64::min);
    free.iter().zip(&step).for_each(|(i, s)| to[*i] = (to[*i] + most * s).max(0.0));
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valley_is_followed_to_its_end_inside_and_at_the_bounds() {
        let limits = Limits { steps: 500, evaluations: 1000, decrease: 1e-15, gradient: 1e-9 };
        // Rosenbrock's function, its minimum moved: at (3, 3) inside; with the valley's end at x = −1, outside.
        for (shift, least) in [(2.0, [3.0, 3.0]), (-2.0, [0.0, 2.0])] {
            let mut x = vec![5.0, 0.5];
            let value = minimize(&mut x, limits, &|| true, |x, g| {
                let (a, b) = (x[0] - shift, x[1] - if shift > 0.0 { 2.0 } else { -2.0 });
                g[0] = -400.0 * a * (b - a * a) - 2.0 * (1.0 - a);
                g[1] = 200.0 * (b - a * a);
                100.0 * (b - a * a).powi(2) + (1.0 - a).powi(2)
            });
            assert!(x.iter().zip(least).all(|(x, l)| (x - l).abs() < 1e-5), "{x:?} {value}");
        }
    }

    #[test]
    fn a_lasso_in_split_weights_has_the_solution_of_coordinate_descent() {
        use crate::score::{Linear, Loss, NodeScore, Penalty};
        let s = thalweg_testing::covariance(12, 8);
        let allowed: Vec<usize> = (0..11).collect();
        let lambda = 0.05;
        let fit = Linear::new(s.clone(), Loss::Squares, Penalty::L1(lambda)).fit(11, &allowed, &[]);
        let mut x = vec![0.0; 22];
        let limits = Limits { steps: 500, evaluations: 1000, decrease: 0.0, gradient: 1e-9 };
        let value = minimize(&mut x, limits, &|| true, |x, g| {
            let w: Vec<f64> = (0..11).map(|i| x[i] - x[11 + i]).collect();
            let mut value = 0.5 * s[(11, 11)] + lambda * x.iter().sum::<f64>();
            for i in 0..11 {
                let fitted: f64 = (0..11).map(|j| s[(i, j)] * w[j]).sum();
                (g[i], g[11 + i]) = (fitted - s[(i, 11)] + lambda, s[(i, 11)] - fitted + lambda);
                value += w[i] * (0.5 * fitted - s[(i, 11)]);
            }
            value
        });
        assert!((value - fit.score).abs() < 1e-9, "{value} {}", fit.score);
        assert!((0..11).all(|i| (x[i] - x[11 + i] - fit.weights[i]).abs() < 1e-6));
    }
}
