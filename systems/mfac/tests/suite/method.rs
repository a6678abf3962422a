//! The optimiser on a small network whose gradient is written out.

use thalweg_core::{Iterate, Kind, Layout, Method, MethodError, Objective, Problem, Real, Run, Seed, Stop};
use thalweg_mfac::gradients::Storage;
use thalweg_mfac::method::MFacState;
use thalweg_mfac::{Lr, MFac};
use thalweg_optim::{Masked, Schedule};
use thalweg_testing::on_threads;

use crate::common::{inverse, times};

/// y = Σ_h v_h tanh(w_h·x + b_h), squared error, batches of eight that depend on the step.
#[derive(Clone)]
struct Net<T> {
    layout: Layout,
    inputs: usize,
    hidden: usize,
    start: Vec<T>,
    t: u64,
    bad: Option<(std::ops::Range<u64>, Option<usize>)>,
}

impl<T: Real> Net<T> {
    fn new(inputs: usize, hidden: usize) -> Self {
        let mut layout = Layout::default();
        layout.push("w", &[hidden, inputs], Kind::Linear);
        layout.push("b", &[hidden], Kind::Bias);
        layout.push("v", &[1, hidden], Kind::Linear);
        let start = (0..layout.len()).map(|i| T::from_f64((1.7 * i as f64 + 0.3).sin() * 0.5)).collect();
        Self { layout, inputs, hidden, start, t: 0, bad: None }
    }

    /// Example `i`: input and target.
    fn example(&self, i: u64) -> (Vec<f64>, f64) {
        let x: Vec<f64> = (0..self.inputs).map(|j| (0.9 * i as f64 + 2.3 * j as f64 + 1.0).sin()).collect();
        let y = x.iter().map(|x| x * x - 0.5 * x).sum();
        (x, y)
    }
}

impl<T: Real> Problem for Net<T> {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.t = t;
        Ok(())
    }
}

impl<T: Real> Objective for Net<T> {
    type Scalar = T;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&mut self) -> Result<Vec<T>, MethodError> {
        Ok(self.start.clone())
    }

    fn value_grad(&mut self, theta: &[T], grad: &mut [T]) -> Result<f64, MethodError> {
        grad.fill(T::ZERO);
        let (n, h) = (self.inputs, self.hidden);
        let (real, mut loss) = (T::from_f64, 0.0);
        for i in 0..8 {
            let (x, y) = self.example((self.t * 8 + i) % 960);
            let x: Vec<T> = x.into_iter().map(real).collect();
            let unit = |u: usize| {
                let sum = (0..n).fold(theta[h * n + u], |s, j| s + theta[u * n + j] * x[j]);
                real(sum.to_f64().tanh())
            };
            let a: Vec<T> = (0..h).map(unit).collect();
            let out = (0..h).fold(T::ZERO, |s, u| s + theta[h * n + h + u] * a[u]);
            let error = out - real(y);
            loss += 0.5 * error.to_f64().powi(2) / 8.0;
            let error = error / real(8.0);
            for u in 0..h {
                grad[h * n + h + u] += error * a[u];
                let back = error * theta[h * n + h + u] * (T::ONE - a[u] * a[u]);
                grad[h * n + u] += back;
                (0..n).for_each(|j| grad[u * n + j] += back * x[j]);
            }
        }
        match &self.bad {
            Some((steps, Some(i))) if steps.contains(&self.t) => grad[*i] = real(f64::NAN),
            Some((steps, None)) if steps.contains(&self.t) => return Ok(f64::INFINITY),
            _ => {}
        }
        Ok(loss)
    }
}

fn run<P: Objective + ?Sized>(method: &MFac, problem: &mut P, steps: u64) -> Vec<P::Scalar> {
    Run::new(method, problem).seed(Seed(1)).stop(Stop::Steps(steps)).run().unwrap().solution
}

fn wide<T: Real>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn method() -> MFac {
    MFac { window: 8, damping: 1e-4, ..MFac::default() }
}

#[test]
fn one_step_is_the_formula() {
    let mut net = Net::<f64>::new(3, 4);
    let start = net.start.clone();
    let mut g = vec![0.0; start.len()];
    net.value_grad(&start, &mut g).unwrap();
    let end = run(&MFac { weight_decay: 0.01, momentum: 0.75, ..method() }, &mut net, 1);
    let g: Vec<f64> = g.iter().zip(&start).map(|(g, x)| g + 0.01 * x).collect();
    let norm: f64 = g.iter().map(|g| g * g).sum();
    for i in 0..g.len() {
        let u = g[i] / (1e-4 + norm / 8.0);
        assert!((end[i] - (start[i] - 0.125 * 0.25 * u)).abs() < 1e-12);
    }
}

#[test]
fn it_trains() {
    let loss = |steps, method: &MFac| {
        let mut net = Net::<f32>::new(3, 12);
        let end = run(method, &mut net, steps);
        let mut grad = vec![0.0; end.len()];
        let batch = |t| {
            net.t = t;
            net.value_grad(&end, &mut grad).unwrap()
        };
        (0..120).map(batch).sum::<f64>() / 120.0
    };
    let schedule = Schedule::parse("linear:600").unwrap();
    let long = MFac { window: 32, damping: 1e-3, schedule, ..MFac::default() };
    let first = loss(0, &long);
    for method in [
        long.clone(),
        MFac { momentum: 0.5, ..long.clone() },
        MFac { storage: Storage::Bf16, ..long.clone() },
        MFac { damp_rel: Some(0.1), ..long.clone() },
    ] {
        let last = loss(600, &method);
        println!("{first:.4} -> {last:.4}");
        assert!(last < 0.2 * first, "{first} {last} {method:?}");
    }
}

/// Oracle: sparse training of a net with a dead unit is dense training of the smaller net.
#[test]
fn sparse_is_the_smaller_net() {
    let (inputs, hidden) = (3, 5);
    let small = Net::<f64>::new(inputs, hidden - 1);
    let mut big = Net::<f64>::new(inputs, hidden);
    // Unit 2 of the big net has no weights at all.
    let map = |u: usize| {
        if u < 2 {
            Some(u)
        } else if u == 2 {
            None
        } else {
            Some(u - 1)
        }
    };
    let of = |u: usize, at: &dyn Fn(usize) -> usize| map(u).map_or(0.0, |s| small.start[at(s)]);
    let (n, h) = (inputs, hidden - 1);
    for u in 0..hidden {
        for j in 0..n {
            big.start[u * n + j] = of(u, &|s| s * n + j);
        }
        big.start[hidden * n + u] = of(u, &|s| h * n + s);
        big.start[hidden * n + hidden + u] = of(u, &|s| h * n + h + s);
    }
    let alive: Vec<bool> = big.start.iter().map(|x| *x != 0.0).collect();
    let kept = |theta: &[f64]| -> Vec<f64> {
        theta.iter().zip(&alive).filter(|(_, a)| **a).map(|(x, _)| *x).collect()
    };
    let dense = MFac { momentum: 0.5, weight_decay: 0.01, ..method() };
    let sparse = MFac { sparse: true, ..dense.clone() };
    let reference = run(&dense, &mut small.clone(), 40);
    for end in [
        run(&sparse, &mut big.clone(), 40),
        run(&dense, &mut Masked::new(&mut big.clone(), alive.clone()).unwrap(), 40),
    ] {
        assert!(distance(&kept(&end), &reference) < 1e-12);
        assert!(end.iter().zip(&alive).all(|(x, a)| *a || *x == 0.0));
    }
    // Without either, the bias of the dead unit would move.
    assert!(run(&dense, &mut big.clone(), 1).iter().zip(&alive).all(|(x, a)| *a || *x == 0.0));
    big.start[hidden * n + hidden + 2] = 0.1;
    assert!(run(&dense, &mut big, 1).iter().zip(&alive).any(|(x, a)| !*a && *x != 0.0));
}

#[test]
fn frozen_blocks_do_not_move_and_do_not_enter_the_window() {
    let mut net = Net::<f64>::new(3, 4);
    net.layout.set_frozen("b", true);
    let range = net.layout.get("b").unwrap().range();
    // A broken derivative in a frozen block hurts nobody.
    net.bad = Some((0..99, Some(range.start)));
    let (start, end) = (net.start.clone(), run(&MFac { weight_decay: 0.1, ..method() }, &mut net, 5));
    assert_eq!(end[range.clone()], start[range.clone()]);
    assert!((0..end.len()).filter(|i| !range.contains(i)).all(|i| end[i] != start[i]));
    let state = Method::<Net<f64>>::init(&method(), &mut net, Seed(1)).unwrap();
    assert_eq!(state.window.gradients().width(), 16);
}

/// The same optimiser by Woodbury's formula, every vector in single precision.
fn woodbury(net: &mut Net<f32>, m: usize, damping: f64, lr: f64, steps: u64) -> Vec<f64> {
    let mut theta = net.start.clone();
    let mut rows: Vec<Vec<f32>> = vec![vec![0.0; theta.len()]; m];
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for t in 0..steps {
        net.t = t;
        let slot = t as usize % m;
        let mut g = vec![0.0; theta.len()];
        net.value_grad(&theta, &mut g).unwrap();
        rows[slot] = g.clone();
        let k = faer::Mat::from_fn(m, m, |i, j| {
            f64::from(dot(&rows[i], &rows[j])) + if i == j { m as f64 * damping } else { 0.0 }
        });
        let c = times(&inverse(&k), &rows.iter().map(|r| f64::from(dot(r, &g))).collect::<Vec<_>>());
        for i in 0..theta.len() {
            let sum: f32 = rows.iter().zip(&c).map(|(r, c)| r[i] * *c as f32).sum();
            theta[i] -= lr as f32 * ((g[i] - sum) / damping as f32);
        }
    }
    wide(&theta)
}

#[test]
fn single_and_double_precision_stay_together() {
    let method = MFac { window: 8, damping: 1e-6, lr: Lr::Fixed(0.01), ..MFac::default() };
    let double = run(&method, &mut Net::<f64>::new(6, 20), 100);
    let single = wide(&run(&method, &mut Net::<f32>::new(6, 20), 100));
    let theirs = woodbury(&mut Net::<f32>::new(6, 20), 8, 1e-6, 0.01, 100);
    let way = distance(&double, &wide(&Net::<f64>::new(6, 20).start));
    let (ours, theirs) = (distance(&single, &double) / way, distance(&theirs, &double) / way);
    println!("way {way:.2}: push-through {ours:.1e}, Woodbury {theirs:.1e}");
    assert!(ours < 1e-4 && theirs > 100.0 * ours, "{ours:e} {theirs:e}");
}

/// Settings that reach every branch of the step.
fn variants() -> Vec<MFac> {
    vec![
        method(),
        MFac { momentum: 0.9, weight_decay: 0.01, ..method() },
        MFac { damp_rel: Some(0.01), lr: Lr::Fixed(0.05), ..method() },
        MFac { storage: Storage::Bf16, sparse: true, ..method() },
        MFac { schedule: Schedule::parse("warmup:2+cosine:30").unwrap(), ..method() },
    ]
}

fn resumes<T: Real>(method: &MFac) {
    let mut net = Net::<T>::new(40, 60);
    net.start[7] = T::ZERO;
    let mut state = Method::<Net<T>>::init(method, &mut net, Seed(1)).unwrap();
    let step = |net: &mut Net<T>, state: &mut MFacState<T>, t: u64| {
        net.begin_step(t).unwrap();
        method.step(net, state).unwrap()
    };
    (0..11).for_each(|t| drop(step(&mut net, &mut state, t)));
    let mut loaded: MFacState<T> = postcard::from_bytes(&postcard::to_stdvec(&state).unwrap()).unwrap();
    for t in 11..25 {
        assert_eq!(step(&mut net, &mut state, t), step(&mut net, &mut loaded, t));
    }
    assert!(state.theta() == loaded.theta() && state.window == loaded.window);
    let threads = |n: usize| on_threads(n, || run(method, &mut net.clone(), 25));
    assert!(threads(1) == state.theta && threads(2) == state.theta && threads(3) == state.theta);
}

#[test]
fn resumes_and_threads_do_not_change_a_bit() {
    for method in variants() {
        resumes::<f32>(&method);
        resumes::<f64>(&method);
    }
}

#[test]
fn non_finite_steps_are_skipped_and_ten_in_a_row_are_an_error() {
    for element in [Some(2), None] {
        let mut net = Net::<f64> { bad: Some((3..12, element)), ..Net::new(3, 4) };
        let outcome = Run::new(&method(), &mut net).stop(Stop::Steps(14)).run().unwrap();
        assert_eq!(outcome.progress.metric("skipped"), Some(9.0));
        assert!(outcome.solution.iter().all(|x| x.is_finite()));
        let mut net = Net::<f64> { bad: Some((3..99, element)), ..Net::new(3, 4) };
        let text = Run::new(&method(), &mut net).stop(Stop::Steps(50)).run().unwrap_err().to_string();
        assert!(text.contains("10 times in a row"), "{text}");
    }
}

#[test]
fn metrics_tell_rate_gradient_and_step() {
    let mut net = Net::<f64>::new(3, 4);
    let before = net.start.clone();
    let method = MFac { schedule: Schedule::parse("linear:10").unwrap(), ..method() };
    let outcome = Run::new(&method, &mut net).stop(Stop::Steps(1)).run().unwrap();
    assert_eq!(outcome.progress.metric("lr"), Some(0.125));
    let step = outcome.progress.metric("step_norm").unwrap();
    assert!((step - distance(&outcome.solution, &before)).abs() < 1e-12);
    assert!(outcome.progress.metric("grad_norm").unwrap() > outcome.progress.metric("grad_max").unwrap());
}

#[test]
fn settings_survive_a_file_and_name_their_errors() {
    let read = |text: &str| serde_json::from_str::<MFac>(text);
    assert_eq!(read("{}").unwrap(), MFac::default());
    let method = read(r#"{"lr": 0.01, "damp_rel": 0.1, "storage": "bf16", "schedule": "linear:9"}"#).unwrap();
    assert_eq!((method.lr, method.storage), (Lr::Fixed(0.01), Storage::Bf16));
    assert_eq!(read(&serde_json::to_string(&method).unwrap()).unwrap(), method);
    assert_eq!(read(r#"{"lr": "auto"}"#).unwrap().lr, Lr::Auto);
    for (text, expected) in [
        (r#"{"ngrads": 3}"#, "unknown field `ngrads`"),
        (r#"{"lr": "fast"}"#, "lr = fast is not allowed; use auto (1/window)"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let base = MFac::default;
    for (method, expected) in [
        (MFac { lr: Lr::Fixed(-1.0), ..base() }, "lr = -1"),
        (MFac { window: 0, ..base() }, "window = 0 is not allowed; use at least 1"),
        (MFac { damping: 0.0, ..base() }, "damping = 0 is not allowed; use a number > 0"),
        (MFac { damp_rel: Some(-1.0), ..base() }, "damp_rel = -1"),
        (MFac { momentum: 1.0, ..base() }, "momentum = 1"),
        (MFac { weight_decay: f64::NAN, ..base() }, "weight_decay = NaN"),
        (MFac { schedule: Schedule::parse("linear").unwrap(), ..base() }, "schedule = linear"),
        (MFac { window: 1 << 44, ..base() }, "17592186044416 gradients of 20 numbers need"),
    ] {
        let error = Run::new(&method, &mut Net::<f32>::new(3, 4)).run().unwrap_err().to_string();
        let error = error.strip_prefix("step 0: ").unwrap_or(&error);
        assert!(error.starts_with(expected), "{error}");
    }
    let mut frozen = Net::<f32>::new(3, 4);
    ["w", "b", "v"].iter().for_each(|name| assert!(frozen.layout.set_frozen(name, true)));
    assert!(Run::new(&base(), &mut frozen).run().unwrap_err().to_string().contains("no unknowns"));
}
