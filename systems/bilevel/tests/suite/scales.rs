//! Problems in other units: whatever f and g, features and targets are multiplied by, the answer is right or refused.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::Map;
use thalweg_bilevel::baselines::ImplicitLbfgs;
use thalweg_bilevel::diagnose::{check, implicit, report};
use thalweg_bilevel::explicit::{hypergradient, optimistic};
use thalweg_bilevel::penalty::{limit, lower};
use thalweg_bilevel::tasks::toys::Toy;
use thalweg_bilevel::{Algorithm, Batch, Bilevel, BilevelError, Continuation, Grad, Oracle, Set, Solution};
use thalweg_core::{Method, Outcome, Run, RunError, Seed, Stop, StopReason};

/// A problem of which the lower solutions are known.
trait Known: Bilevel {
    /// The lower solution, the best for f.
    fn solution(&self, x: &[f64]) -> Vec<f64>;

    fn psi(&self, x: &[f64]) -> f64 {
        self.upper(x, &self.solution(x), Batch::Full, Grad::NONE)
    }
}

/// The nearest point of a set to a + bx, or of the y with u·y = a₀ + b₀x where the set is `Free`; f = ½‖y − c‖² + 0.1‖x‖².
#[derive(Clone, Debug)]
struct Nearest {
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    /// Of the equation.
    u: Option<Vec<f64>>,
    x: f64,
    x_set: Set,
    y_set: Set,
    scale: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Bilevel for Nearest {
    fn dims(&self) -> (usize, usize) {
        (1, self.a.len())
    }
    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        (vec![self.x], vec![0.3; self.a.len()])
    }
    fn x_set(&self) -> &Set {
        &self.x_set
    }
    fn y_set(&self) -> &Set {
        &self.y_set
    }
    fn upper(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        let d: Vec<f64> = y.iter().zip(&self.c).map(|(y, c)| y - c).collect();
        grad.x.into_iter().for_each(|g| g[0] = 0.2 * x[0]);
        let value = 0.5 * dot(&d, &d) + 0.1 * x[0] * x[0];
        grad.y.into_iter().for_each(|g| g.copy_from_slice(&d));
        value
    }
    fn lower(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        let target = |i: usize| self.a[i] + self.b[i] * x[0];
        if let Some(u) = &self.u {
            let r = dot(u, y) - target(0);
            grad.x.into_iter().for_each(|g| g[0] = -self.scale * r * self.b[0]);
            grad.y.into_iter().for_each(|g| g.iter_mut().zip(u).for_each(|(g, u)| *g = self.scale * r * u));
            return 0.5 * self.scale * r * r;
        }
        let d: Vec<f64> = (0..y.len()).map(|i| y[i] - target(i)).collect();
        grad.x.into_iter().for_each(|g| g[0] = -self.scale * dot(&d, &self.b));
        let value = 0.5 * self.scale * dot(&d, &d);
        grad.y.into_iter().for_each(|g| g.iter_mut().zip(&d).for_each(|(g, d)| *g = self.scale * d));
        value
    }
}

impl Known for Nearest {
    fn solution(&self, x: &[f64]) -> Vec<f64> {
        if let Some(u) = &self.u {
            let r = (self.a[0] + self.b[0] * x[0] - dot(u, &self.c)) / dot(u, u);
            return self.c.iter().zip(u).map(|(c, u)| c + r * u).collect();
        }
        let mut y: Vec<f64> = self.a.iter().zip(&self.b).map(|(a, b)| a + b * x[0]).collect();
        self.y_set.project(&mut y);
        y
    }
}

/// Ridge regression with two features, a weight eˣ for each; as a user would write it, without bounds or means.
#[derive(Clone, Debug)]
struct Ridge {
    train: Vec<([f64; 2], f64)>,
    val: Vec<([f64; 2], f64)>,
    x_set: Set,
    start: Vec<f64>,
    scale: f64,
    /// ∇_x g and ∇_y g are given with these factors: wrong ones if not 1.
    told: [f64; 2],
}

impl Ridge {
    fn loss(rows: &[([f64; 2], f64)], y: &[f64], grad: &mut [f64]) -> f64 {
        grad.fill(0.0);
        let mut value = 0.0;
        for (row, target) in rows {
            let r = dot(row, y) - target;
            value += 0.5 * r * r;
            grad.iter_mut().zip(row).for_each(|(g, a)| *g += r * a);
        }
        value
    }
}

impl Bilevel for Ridge {
    fn dims(&self) -> (usize, usize) {
        (2, 2)
    }
    fn x_set(&self) -> &Set {
        &self.x_set
    }
    fn start(&self) -> (Vec<f64>, Vec<f64>) {
        (self.start.clone(), vec![0.0; 2])
    }
    fn upper(&self, _: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        grad.x.into_iter().for_each(|g| g.fill(0.0));
        Self::loss(&self.val, y, grad.y.unwrap_or(&mut [0.0; 2]))
    }
    fn lower(&self, x: &[f64], y: &[f64], _: Batch<'_>, grad: Grad<'_>) -> f64 {
        let mut by_y = [0.0; 2];
        let mut value = self.scale * Self::loss(&self.train, y, &mut by_y);
        let mut by_x = [0.0; 2];
        for i in 0..2 {
            let weight = self.scale * x[i].exp();
            by_x[i] = 0.5 * weight * y[i] * y[i];
            value += by_x[i];
            by_y[i] = self.scale * by_y[i] + weight * y[i];
        }
        for (out, by, told) in [(grad.x, by_x, self.told[0]), (grad.y, by_y, self.told[1])] {
            out.into_iter().for_each(|out| out.iter_mut().zip(by).for_each(|(o, b)| *o = told * b));
        }
        value
    }
}

impl Known for Ridge {
    fn solution(&self, x: &[f64]) -> Vec<f64> {
        let (mut h, mut b) = ([[x[0].exp(), 0.0], [0.0, x[1].exp()]], [0.0; 2]);
        for (row, target) in &self.train {
            for i in 0..2 {
                (0..2).for_each(|j| h[i][j] += row[i] * row[j]);
                b[i] += row[i] * target;
            }
        }
        let det = h[0][0] * h[1][1] - h[0][1] * h[1][0];
        vec![(h[1][1] * b[0] - h[0][1] * b[1]) / det, (h[0][0] * b[1] - h[1][0] * b[0]) / det]
    }
}

/// Slopes of ψ ahead and behind along each coordinate.
fn slopes(problem: &dyn Known, x: &[f64]) -> Vec<[f64; 2]> {
    let at = |i: usize, t: f64| {
        let mut x = x.to_vec();
        x[i] += t;
        problem.psi(&x)
    };
    // One-sided to second order.
    let side = |i: usize, t: f64| (4.0 * at(i, t) - at(i, 2.0 * t) - 3.0 * at(i, 0.0)) / (2.0 * t);
    (0..x.len()).map(|i| [side(i, 1e-5), side(i, -1e-5)]).collect()
}

/// How steep ψ is around x.
fn steepness(problem: &dyn Known, x: &[f64]) -> f64 {
    [-1.0, -0.3, 0.0, 0.3, 1.0]
        .iter()
        .flat_map(|t| slopes(problem, &x.iter().map(|x| x + t).collect::<Vec<_>>()))
        .flatten()
        .fold(0.0, |m: f64, s| m.max(s.abs()))
}

#[derive(Debug, Default)]
struct Count {
    cases: usize,
    converged: usize,
    no_progress: usize,
    failed: usize,
    steps: usize,
    limits: usize,
    explicit: usize,
    /// Claims that do not hold.
    wrong: Vec<String>,
    /// What was refused.
    refused: Vec<String>,
}

impl Count {
    fn claim(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    /// Solves it, and asks for ψ and ∇ψ where it starts; whatever is claimed must hold.
    fn judge(&mut self, problem: &dyn Known, what: &str) {
        self.cases += 1;
        self.judge_run(problem, what);
        let x = problem.start().0;
        let (slopes, steep) = (slopes(problem, &x), steepness(problem, &x));
        let smooth = slopes.iter().all(|s| (s[0] - s[1]).abs() <= 1e-3 * steep);
        let near = |found: &[f64], more: f64| {
            let off = |(f, s): (&f64, &[f64; 2])| (f - s[0]).abs().min((f - s[1]).abs());
            found.iter().zip(&slopes).map(off).fold(0.0, f64::max) <= 1e-3 * steep + more
        };
        let mut oracle = Oracle::new(problem).unwrap();
        let start = Solution { x: x.clone(), ..oracle.start() };
        match limit(&mut oracle, &x, &start) {
            Err(e) => self.refused.push(format!("{what}: limit: {e}")),
            Ok(found) => {
                self.limits += 1;
                let (truth, error) = (problem.psi(&x), found.gradient_error);
                let allowed = 10.0 * found.error + 1e-6 * (truth.abs() + steep);
                self.claim((found.value - truth).abs() <= allowed, || {
                    format!("{what}: ψ {} ± {:e}, not {truth}", found.value, found.error)
                });
                self.claim(!smooth || near(&found.gradient, 10.0 * error), || {
                    format!("{what}: ∇ψ {:?} ± {error:e}, not {slopes:?}", found.gradient)
                });
                self.claim(!smooth || !found.jumps, || format!("{what}: no jump: {:?}", found.table));
            }
        }
        match optimistic(&mut oracle, &x, &start).and_then(|y| hypergradient(&mut oracle, &x, &y)) {
            Err(e) => self.refused.push(format!("{what}: explicit: {e}")),
            Ok(found) => {
                self.explicit += 1;
                self.claim(!smooth || near(&found, 0.0), || {
                    format!("{what}: explicit {found:?}, not {slopes:?}")
                });
            }
        }
    }

    /// "Converged" is said of stationary points alone.
    fn judge_run(&mut self, problem: &dyn Known, what: &str) {
        let outcome = match run(problem, &Continuation::default()) {
            Ok(outcome) => outcome,
            Err(e) => {
                self.failed += 1;
                return self.refused.push(format!("{what}: {e}"));
            }
        };
        match outcome.stopped_because {
            StopReason::Converged => self.converged += 1,
            StopReason::Method => {
                self.no_progress += 1;
                self.claim(outcome.why().contains("no progress"), || format!("{what}: {}", outcome.why()));
                return self.refused.push(format!("{what}: {}", outcome.why()));
            }
            _ => {
                self.steps += 1;
                return self.refused.push(format!("{what}: {:?}", outcome.progress));
            }
        }
        let end = &outcome.solution.x;
        let steep = steepness(problem, &problem.start().0).max(steepness(problem, end));
        let (lo, hi) = problem.x_set().bounds(end.len()).unwrap();
        for (i, [ahead, behind]) in slopes(problem, end).into_iter().enumerate() {
            let up = end[i] < hi[i] - 1e-6 && ahead < -2e-3 * steep;
            let down = end[i] > lo[i] + 1e-6 && behind > 2e-3 * steep;
            self.claim(!up && !down, || {
                format!(
                    "{what}: converged at {end:?}, slopes {ahead:e} {behind:e} of {steep:e}: {:?}",
                    outcome.progress
                )
            });
        }
    }
}

/// Uniform in [−size, size].
fn uniform(rng: &mut ChaCha8Rng, n: usize, size: f64) -> Vec<f64> {
    (0..n).map(|_| rng.random_range(-size..size)).collect()
}

fn sets(rng: &mut ChaCha8Rng, m: usize) -> Vec<Set> {
    let rows = vec![vec![1.0; m], uniform(rng, m, 1.0)];
    vec![
        Set::Free,
        Set::Free,
        Set::cube(m, -0.4, 0.5),
        Set::Ball { centre: vec![0.1; m], radius: 0.6 },
        Set::Simplex { sum: 1.0 },
        Set::L1Ball { radius: 0.8 },
        Set::Polyhedron { rows, rhs: vec![0.5, 0.2], equations: 0 },
        Set::Product(vec![(1, Set::cube(1, 0.0, 0.7)), (m - 1, Set::Simplex { sum: 0.6 })]),
    ]
}

/// 500 random problems, each as it is and with g, the features or the targets times 1e-6 to 1e6. "Converged" is said of
/// stationary points of ψ alone, and ψ and ∇ψ are those of the closed form within their own errors.
#[test]
fn five_hundred_scaled_toys_are_solved_or_refused() {
    let (mut unit, mut scaled) = (Count::default(), Count::default());
    for k in 0..500u64 {
        let rng = &mut Seed(18).stream("scaled toys", k);
        let scales = [1.0, 10f64.powi(rng.random_range(-6..0)), 10f64.powi(rng.random_range(1..7))];
        if k % 3 == 0 {
            let truth = uniform(rng, 2, 1.0);
            let mut rows = |n: usize| -> Vec<([f64; 2], f64)> {
                let row = |_| {
                    let row = uniform(rng, 2, 1.0);
                    let target = dot(&row, &truth) + rng.random_range(-0.5..0.5);
                    ([row[0], row[1]], target)
                };
                (0..n).map(row).collect()
            };
            let (train, val) = (rows(8), rows(8));
            let start = uniform(rng, 2, 0.5);
            let ridge =
                Ridge { train, val, x_set: Set::cube(2, -6.0, 4.0), start, scale: 1.0, told: [1.0; 2] };
            for scale in scales {
                let what = ["g", "features", "targets"][(k / 3 % 3) as usize];
                // Features in other units move the best weights by twice the logarithm.
                let factor = if what == "g" { scale } else { scale.signum() * scale.abs().powf(0.5) };
                let times = |rows: &[([f64; 2], f64)]| -> Vec<([f64; 2], f64)> {
                    rows.iter()
                        .map(|(row, target)| match what {
                            "features" => (row.map(|v| v * factor), *target),
                            "targets" => (*row, target * factor),
                            _ => (*row, *target),
                        })
                        .collect()
                };
                let problem = Ridge {
                    train: times(&ridge.train),
                    val: times(&ridge.val),
                    scale: if what == "g" { factor } else { 1.0 },
                    ..ridge.clone()
                };
                let count = if scale == 1.0 { &mut unit } else { &mut scaled };
                count.judge(&problem, &format!("toy {k}, {what} times {factor:e}"));
            }
        } else {
            let m = rng.random_range(2..5);
            let all = sets(rng, m);
            let number = (k / 3 % all.len() as u64) as usize;
            let [a, b, c, u] = [(); 4].map(|()| uniform(rng, m, 1.0));
            let toy = Nearest {
                a,
                b,
                c,
                u: (number == 0).then(|| u.iter().map(|u| u + 1.5).collect()),
                x: rng.random_range(-0.8..0.8),
                x_set: Set::cube(1, -2.0, 2.0),
                y_set: all[number].clone(),
                scale: 1.0,
            };
            for scale in scales {
                let count = if scale == 1.0 { &mut unit } else { &mut scaled };
                let problem = Nearest { scale, ..toy.clone() };
                let on = if number == 0 { "a line".into() } else { format!("{:?}", toy.y_set) };
                count.judge(&problem, &format!("toy {k} on {on}, g times {scale:e}"));
            }
        }
    }
    for Count { wrong, refused, .. } in [&mut unit, &mut scaled] {
        eprintln!(
            "REFUSED {}:\n{}",
            refused.len(),
            refused.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
        );
        eprintln!(
            "WRONG {}:\n{}",
            wrong.len(),
            wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
        );
        refused.clear();
        wrong.truncate(20);
    }
    eprintln!("{unit:?}\n{scaled:?}");
    assert!(unit.wrong.is_empty() && scaled.wrong.is_empty());
    assert!(unit.converged * 100 >= unit.cases * 95, "{unit:?}");
    assert!(scaled.converged * 100 >= scaled.cases * 90, "{scaled:?}");
    assert!(
        scaled.limits * 100 >= scaled.cases * 98 && scaled.explicit * 100 >= scaled.cases * 90,
        "{scaled:?}"
    );
}

/// A user's problem: two features, eight rows each.
fn ridge(told: [f64; 2]) -> Ridge {
    let rows = |salt: f64| {
        let row = |i: usize| {
            let t = i as f64 + salt;
            let row = [(1.7 * t).sin(), (2.3 * t).cos()];
            (row, row[0] - 0.5 * row[1] + 0.4 * (7.1 * t).sin())
        };
        (0..8).map(row).collect()
    };
    Ridge {
        train: rows(0.0),
        val: rows(0.5),
        x_set: Set::cube(2, -6.0, 4.0),
        start: vec![0.0; 2],
        scale: 1.0,
        told,
    }
}

fn run<M>(problem: &dyn Bilevel, method: &M) -> Result<Outcome<Solution>, RunError>
where
    M: for<'p> Method<Oracle<'p>, Solution = Solution>,
{
    Run::new(method, &mut Oracle::new(problem).unwrap()).stop(Stop::Steps(300)).run()
}

/// With a wrong sign, or a factor, of ∇_x g nothing "converges"; with a wrong ∇_y g nothing is solved.
#[test]
fn a_wrong_gradient_does_not_converge() {
    let right = run(&ridge([1.0, 1.0]), &Continuation::default()).unwrap();
    assert_eq!(right.stopped_because, StopReason::Converged);
    let right = run(&ridge([1.0, 1.0]), &ImplicitLbfgs::default()).unwrap();
    assert_eq!(right.stopped_because, StopReason::Converged);
    for told in [[-1.0, 1.0], [0.0, 1.0]] {
        for end in [run(&ridge(told), &Continuation::default()), run(&ridge(told), &ImplicitLbfgs::default())]
        {
            let Ok(end) = end else { continue };
            assert_eq!(end.stopped_because, StopReason::Method, "{told:?}: {:?}", end.progress);
            assert!(end.why().contains("no progress"), "{told:?}: {}", end.why());
        }
    }
    let wrong = ridge([1.0, -1.0]);
    let mut oracle = Oracle::new(&wrong).unwrap();
    let error = lower(&mut oracle, &[0.0; 2], &mut [0.0; 2], 1e-8).unwrap_err();
    assert!(matches!(error, BilevelError::Stuck { .. }), "{error}");
    assert!(error.to_string().contains("no progress"), "{error}");
    assert!(run(&wrong, &Continuation::default()).is_err());
}

/// Implicit differentiation is refused where the lower level has many solutions or a constraint holds it.
#[test]
fn implicit_differentiation_is_refused_where_it_is_wrong() {
    for name in ["line", "least-squares"] {
        let toy = Toy::named(name).unwrap();
        let error = run(&toy, &ImplicitLbfgs::default()).unwrap_err();
        assert!(error.to_string().contains("no single solution"), "{name}: {error}");
        let mut oracle = Oracle::new(&toy).unwrap();
        let start = oracle.start();
        assert!(matches!(implicit(&mut oracle, &start), Err(BilevelError::NotUnique { .. })), "{name}");
    }
    let error = run(&Toy::named("simplex").unwrap(), &ImplicitLbfgs::default()).unwrap_err();
    assert!(error.to_string().contains("constraint of Y"), "{error}");
    assert_eq!(
        run(&Toy::named("pl").unwrap(), &ImplicitLbfgs::default()).unwrap().stopped_because,
        StopReason::Converged
    );
}

/// At a solution ∇ψ_σ is rounding, and its growth as 1/σ says nothing.
#[test]
fn a_perfect_solution_raises_no_alarm() {
    for (name, y) in [("line", vec![1.0, 2.0]), ("least-squares", vec![1.0, 0.0, 0.0])] {
        let toy = Toy::named(name).unwrap();
        for off in [0.0, 1e-11, 1e-8] {
            let x: Vec<f64> = toy.minima[0].0.iter().map(|x| x + off).collect();
            let y: Vec<f64> = y.iter().map(|y| y - off).collect();
            let at = Solution { x, z: y.clone(), y };
            let told = report(&mut Oracle::new(&toy).unwrap(), &at, 1e-3).unwrap();
            assert!(told.warnings.is_empty(), "{name}: {:?}", told.warnings);
            assert!(told.psi.abs() < 1e-12 && told.stationarity < 1e-6, "{name}: {told:?}");
        }
        let start = Toy::named(name).unwrap().from(toy.minima[0].0.to_vec(), y);
        assert_eq!(
            run(&start, &Continuation::default()).unwrap().stopped_because,
            StopReason::Converged,
            "{name}"
        );
    }
}

/// Far from 0 there are as many digits as near it.
#[test]
fn far_points_are_checked() {
    for (name, points) in [("pl", [100.0, 1e3, 1e4]), ("line", [1e3, 1e4, 1e6])] {
        let toy = Toy::named(name).unwrap();
        for x in points {
            let found = check(&mut Oracle::new(&toy).unwrap(), &[x], Seed(0)).unwrap();
            let (limit, (value, gradient)) = (found.limit.unwrap(), toy.psi(&[x]));
            let off = (limit.value - value).abs();
            assert!(off <= 1e-6 * value, "{name} at {x}: ψ {} is not {value}", limit.value);
            let (told, truth) = (limit.gradient[0], gradient.unwrap()[0]);
            assert!((told - truth).abs() <= 1e-4 * truth.abs(), "{name} at {x}: ∇ψ {told} is not {truth}");
        }
    }
    let simplex = Toy::named("simplex").unwrap();
    let error = check(&mut Oracle::new(&simplex).unwrap(), &[2.0], Seed(0)).unwrap_err().to_string();
    assert!(error.contains('X') && error.contains("nearest"), "{error}");
}

/// Second derivatives along nothing are nothing, whatever the size of y.
#[test]
fn a_far_start_is_finite() {
    let toy = Toy::named("pl").unwrap().from(vec![1e6], vec![1e6]);
    let algorithm = Algorithm::new("implicit", Map::new()).unwrap();
    let end = algorithm.drive(&mut Oracle::new(&toy).unwrap(), Seed(0), &mut Stop::Steps(100));
    assert!(!end.as_ref().is_err_and(|e| e.to_string().contains("finite")), "{end:?}");
}

/// Lower solutions are in Y, wherever they are looked for from.
#[test]
fn starts_outside_of_the_set_are_projected() {
    let rng = &mut Seed(3).stream("outside", 0);
    for y_set in sets(rng, 3).into_iter().skip(1) {
        let problem = Nearest {
            a: vec![0.9, -0.4, 0.2],
            b: vec![1.0, 0.5, -0.3],
            c: vec![0.0; 3],
            u: None,
            x: 0.4,
            x_set: Set::cube(1, -2.0, 2.0),
            y_set,
            scale: 1.0,
        };
        let mut oracle = Oracle::new(&problem).unwrap();
        let (mut z, truth) = (vec![3.0, -5.0, 4.0], problem.solution(&[0.4]));
        lower(&mut oracle, &[0.4], &mut z, 1e-9).unwrap();
        let off = z.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-8, "{:?}: {z:?} is not {truth:?}", problem.y_set);
        let start = Solution { x: vec![0.4], y: vec![9.0; 3], z: vec![-7.0; 3] };
        let found = limit(&mut oracle, &[0.4], &start).unwrap();
        assert!((found.value - problem.psi(&[0.4])).abs() < 1e-7, "{:?}: {}", problem.y_set, found.value);
    }
}
