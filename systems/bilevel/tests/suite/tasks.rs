//! The shipped tasks: derivatives against differences, minibatches against the whole, reference values on the
//! shared data.

use faer::Mat;
use thalweg_bilevel::penalty::lower;
use thalweg_bilevel::tasks::classify::Examples;
use thalweg_bilevel::tasks::cleaning::{Cleaning, corrupt, f1};
use thalweg_bilevel::tasks::quadratic::{Quadratic, Spec};
use thalweg_bilevel::tasks::regularization::Regularization;
use thalweg_bilevel::{Batch, Bilevel, Grad, Oracle, Sparse};
use thalweg_core::Seed;
use thalweg_data::{Part, Source, Targets, Values, load, read_split, read_svmlight};
use thalweg_testing::{normals, on_threads, product, shared_data, slope};

fn random(n: usize, scale: f64, index: u64) -> Vec<f64> {
    let v = normals::<f64>(&mut Seed(7).stream("test", index), n);
    v.into_iter().map(|v| v * scale).collect()
}

type Level = fn(&dyn Bilevel, &[f64], &[f64], Batch<'_>, Grad<'_>) -> f64;
const LEVELS: [(&str, Level); 2] = [
    ("f", |p, x, y, batch, grad| p.upper(x, y, batch, grad)),
    ("g", |p, x, y, batch, grad| p.lower(x, y, batch, grad)),
];

/// Value and both gradients.
fn all(p: &dyn Bilevel, level: Level, x: &[f64], y: &[f64], batch: Batch<'_>) -> (f64, Vec<f64>, Vec<f64>) {
    let (mut by_x, mut by_y) = (vec![f64::NAN; x.len()], vec![f64::NAN; y.len()]);
    let value = level(p, x, y, batch, Grad::both(&mut by_x, &mut by_y));
    (value, by_x, by_y)
}

fn near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let size = expected.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{what}[{i}]: {a} is not {b} (largest {size})");
    }
}

/// (∇(p + td) − ∇(p − td))/2t of the gradients of a level, or of its value.
fn derivatives_are_right(p: &dyn Bilevel, x: &[f64], y: &[f64]) {
    let (n, m) = p.dims();
    let t = 1e-5;
    let (dx, dy) = (random(n, 1.0, 11), random(m, 1.0, 12));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (k, (name, level)) in LEVELS.into_iter().enumerate() {
        let terms = if k == 0 { p.terms().0 } else { p.terms().1 };
        let some: Vec<u64> = (0..terms).step_by(3).collect();
        for batch in [Batch::Full, Batch::Terms(&some)] {
            let (value, by_x, by_y) = all(p, level, x, y, batch);
            let value_of = |x: &[f64], y: &[f64]| level(p, x, y, batch, Grad::NONE);
            assert_eq!(value, value_of(x, y));
            let along_x = slope(|x| value_of(x, y), x, &dx, t);
            let along_y = slope(|y| value_of(x, y), y, &dy, t);
            near(&format!("∇_x {name}"), &[dot(&by_x, &dx)], &[along_x], 1e-6);
            near(&format!("∇_y {name}"), &[dot(&by_y, &dy)], &[along_y], 1e-6);
            // One coordinate at a time, some of them.
            for (v, grad, is_x) in [(x, &by_x, true), (y, &by_y, false)] {
                for i in (0..v.len()).step_by(v.len().div_ceil(8)) {
                    let shifted = |t: f64| {
                        let mut v = v.to_vec();
                        v[i] += t;
                        if is_x { value_of(&v, y) } else { value_of(x, &v) }
                    };
                    let slope = (shifted(t) - shifted(-t)) / (2.0 * t);
                    near(&format!("∂{name}/∂{i}, x {is_x}"), &[grad[i]], &[slope], 1e-6);
                }
            }
        }
        // The whole is the mean of batches of one size that make it up.
        let (value, by_x, by_y) = all(p, level, x, y, Batch::Full);
        let parts = 4.min(terms);
        let mut mean = (0.0, vec![0.0; n], vec![0.0; m]);
        for part in 0..parts {
            let some: Vec<u64> = (part..terms).step_by(parts as usize).collect();
            let share = some.len() as f64 / terms as f64;
            let of = all(p, level, x, y, Batch::Terms(&some));
            mean.0 += share * of.0;
            mean.1.iter_mut().zip(&of.1).for_each(|(m, v)| *m += share * v);
            mean.2.iter_mut().zip(&of.2).for_each(|(m, v)| *m += share * v);
        }
        near("value", &[mean.0], &[value], 1e-12);
        near("∇_x", &mean.1, &by_x, 1e-12);
        near("∇_y", &mean.2, &by_y, 1e-12);
        // The bits do not depend on the number of threads, nor on what else is asked for.
        for threads in [1, 3] {
            let again = on_threads(threads, || all(p, level, x, y, Batch::Full));
            assert_eq!(again, (value, by_x.clone(), by_y.clone()));
        }
        let (mut only_x, mut only_y) = (vec![f64::NAN; n], vec![f64::NAN; m]);
        level(p, x, y, Batch::Full, Grad::x(&mut only_x));
        level(p, x, y, Batch::Full, Grad::y(&mut only_y));
        assert_eq!((only_x, only_y), (by_x, by_y));
    }
    let some: Vec<u64> = (0..p.terms().1).step_by(5).collect();
    for batch in [Batch::Full, Batch::Terms(&some)] {
        let (mut by_x, mut by_y) = (vec![f64::NAN; n], vec![f64::NAN; m]);
        if !p.product(x, y, &dy, batch, Grad::both(&mut by_x, &mut by_y)) {
            continue;
        }
        let g = |y: &[f64]| all(p, LEVELS[1].1, x, y, batch);
        near("∇²_xy g·v", &by_x, &product(|y| g(y).1, y, &dy, t), 1e-6);
        near("∇²_yy g·v", &by_y, &product(|y| g(y).2, y, &dy, t), 1e-6);
    }
    let mut bound = vec![f64::NAN; m];
    if p.curvature(x, &mut bound) {
        for j in (0..m).step_by(m.div_ceil(16)) {
            let (mut unit, mut column) = (vec![0.0; m], vec![0.0; m]);
            unit[j] = 1.0;
            assert!(p.product(x, y, &unit, Batch::Full, Grad::y(&mut column)));
            assert!(column[j] <= bound[j] * (1.0 + 1e-12), "curvature {j}: {} above {}", column[j], bound[j]);
        }
    }
}

/// Rows of which a third of the entries are 0, with classes that depend on them.
fn examples(n: usize, columns: usize, classes: u32, index: u64) -> (Sparse, Vec<u32>) {
    let mut values = random(n * columns, 1.0, index);
    values.iter_mut().skip(1).step_by(3).for_each(|v| *v = 0.0);
    let class = |row: &[f64]| (row.iter().sum::<f64>().abs() * 2.0) as u32 % classes;
    let labels = values.chunks_exact(columns).map(class).collect();
    (Sparse::dense(&values, columns).unwrap(), labels)
}

#[test]
fn regularisation_has_the_derivatives_of_its_objectives() {
    for classes in [2, 4] {
        let (train, train_labels) = examples(1300, 7, classes, 1);
        let (test, test_labels) = examples(40, 7, classes, 2);
        let label = |l: Vec<u32>| -> Vec<f64> { l.iter().map(|&l| 3.0 * f64::from(l) - 1.0).collect() };
        let problem =
            Regularization::new((train, &label(train_labels)), (test, &label(test_labels)), -3.0, 2.0)
                .unwrap();
        let (n, m) = problem.dims();
        assert_eq!((n, m), (7, if classes == 2 { 7 } else { 28 }));
        assert_eq!(problem.terms(), (40, 1300));
        derivatives_are_right(&problem, &random(n, 1.0, 3), &random(m, 0.7, 4));
    }
}

#[test]
fn losses_are_finite_at_any_margin() {
    let rows = || Sparse::dense(&[1.0, -1.0, 2.0], 1).unwrap();
    for labels in [[1.0, -1.0, 1.0], [0.0, 1.0, 2.0]] {
        let problem = Regularization::new((rows(), &labels), (rows(), &labels), -3.0, 2.0).unwrap();
        for size in [1e3, -1e5, 1e-300] {
            let y = vec![size; problem.dims().1];
            let (value, _, by_y) = all(&problem, LEVELS[0].1, &[0.0], &y, Batch::Full);
            assert!(
                value.is_finite() && value >= 0.0 && by_y.iter().all(|v| v.is_finite()),
                "{size}: {value}"
            );
        }
    }
    // log(1 + e^−m) for a separating and an opposed y.
    let labels = [1.0, -1.0, 1.0];
    let problem = Regularization::new((rows(), &labels), (rows(), &labels), -3.0, 2.0).unwrap();
    let f = |y: f64| problem.upper(&[0.0], &[y], Batch::Full, Grad::NONE);
    near("f", &[f(40.0) * 3.0 / (2.0 * (-40.0f64).exp())], &[1.0], 1e-12);
    near("f", &[f(-1e3)], &[4e3 / 3.0], 1e-12);
    assert_eq!((problem.accuracy(&[1.0]), problem.accuracy(&[-1.0])), (1.0, 0.0));
}

#[test]
fn what_is_no_regularisation_problem_is_refused() {
    let rows = |columns: usize| Sparse::dense(&[1.0; 6], columns).unwrap();
    let new = |a: (Sparse, &[f64]), b: (Sparse, &[f64])| {
        Regularization::new(a, b, -1.0, 1.0).map(drop).unwrap_err().to_string()
    };
    assert!(new((rows(3), &[1.0, 1.0]), (rows(3), &[1.0, 1.0])).contains("1 class(es)"));
    assert!(new((rows(3), &[1.0, 2.0]), (rows(2), &[1.0, 1.0, 2.0])).contains("3 features to train on, 2"));
    assert!(new((rows(3), &[1.0, 2.0]), (rows(3), &[1.0, 3.0])).contains("label 3 is not among"));
    assert!(new((rows(3), &[1.0, 2.0, 1.0]), (rows(3), &[1.0, 2.0])).contains("3 classes for 2 examples"));
}

fn cleaning(hidden: usize) -> Cleaning {
    let (train, given) = examples(700, 9, 3, 5);
    let (val, labels) = examples(30, 9, 3, 6);
    let (train, val) = (Examples::new(train, given).unwrap(), Examples::new(val, labels).unwrap());
    Cleaning::new(train, val, 3, 1e-3).unwrap().hidden(hidden, Seed(1))
}

#[test]
fn cleaning_has_the_derivatives_of_its_objectives() {
    for (hidden, parameters) in [(0, 27), (5, 60)] {
        let problem = cleaning(hidden);
        let (n, m) = problem.dims();
        assert_eq!((n, m), (700, parameters));
        let v = vec![1.0; m];
        let exact = problem.product(&vec![0.0; n], &v, &v, Batch::Full, Grad::NONE);
        assert_eq!(exact, hidden == 0);
        derivatives_are_right(&problem, &random(n, 1.0, 7), &random(m, 0.5, 8));
        let held = problem.clone().hold_out();
        assert_eq!((held.terms().0, held.held().unwrap().len(), problem.terms().0), (20, 10, 30));
        derivatives_are_right(&held, &random(n, 1.0, 7), &random(m, 0.5, 8));
    }
    let start = cleaning(5).start().1;
    assert!(start.iter().all(|w| w.abs() < 0.5 && *w != 0.0));
    assert_eq!(start, cleaning(5).start().1);
}

#[test]
fn the_baseline_is_the_lower_level_of_full_weight() {
    let problem = cleaning(0);
    let y = problem.fit(&[problem.train()], 1e-9).unwrap();
    // σ(40) = 1 to rounding; the box is the algorithms' business.
    let x = vec![40.0; problem.dims().0];
    let (_, _, by_y) = all(&problem, LEVELS[1].1, &x, &y, Batch::Full);
    assert!(by_y.iter().all(|g| g.abs() < 2e-9));
    assert!(problem.classifier().loss(&y, problem.train()) < 3f64.ln());
}

#[test]
fn labels_are_corrupted_as_often_as_asked() {
    let clean: Vec<u32> = (0..20_000).map(|i| i % 10).collect();
    let given = corrupt(&clean, 10, 0.3, Seed(3));
    assert_eq!(given, corrupt(&clean, 10, 0.3, Seed(3)));
    let wrong = given.iter().zip(&clean).filter(|(a, b)| a != b).count();
    assert!((5800..6200).contains(&wrong), "{wrong}");
    let mut shifts = [0; 10];
    given.iter().zip(&clean).for_each(|(a, b)| shifts[(a + 10 - b) as usize % 10] += 1);
    assert!(shifts[1..].iter().all(|n| (550..800).contains(n)), "{shifts:?}");
    assert_eq!(corrupt(&clean, 10, 0.0, Seed(3)), clean);
    // Kept: one clean, one wrong; dropped: one clean.
    assert_eq!(f1(&[1.0, 1.0, -1.0], &[0, 1, 2], &[0, 0, 2]), 0.5);
    assert_eq!(f1(&[0.0], &[0], &[0]), 0.0);
}

#[test]
fn what_is_no_cleaning_problem_is_refused() {
    let part = |columns: usize, classes: &[u32]| {
        Examples::new(Sparse::dense(&vec![1.0; columns * classes.len()], columns).unwrap(), classes.into())
    };
    let new = |a: Examples, b: Examples, classes, ridge| {
        Cleaning::new(a, b, classes, ridge).map(drop).unwrap_err().to_string()
    };
    let (two, three) = (part(2, &[0, 1]).unwrap(), part(3, &[0]).unwrap());
    assert!(new(two.clone(), three, 2, 1.0).contains("2 inputs in training, 3 in validation"));
    assert!(new(two.clone(), part(2, &[2]).unwrap(), 2, 1.0).contains("class 2 of 2 classes"));
    assert!(new(two.clone(), two.clone(), 2, 0.0).contains("ridge"));
    assert!(part(2, &[]).unwrap_err().to_string().contains("0 classes for 0 examples"));
}

#[test]
fn quadratics_know_their_hyper_objective() {
    for spec in [
        Spec { terms: 60, outer: 6, inner: 9, ..Spec::default() },
        Spec { terms: 300, outer: 12, inner: 5, ..Spec::default() },
    ] {
        let problem = Quadratic::new(spec, Seed(4)).unwrap();
        let (n, m) = problem.dims();
        assert_eq!((n, m, problem.terms().1), (spec.outer, spec.inner, spec.terms as u64));
        let x = random(n, 1.0, 9);
        derivatives_are_right(&problem, &x, &random(m, 1.0, 10));

        let mut oracle = Oracle::new(&problem).unwrap();
        let mut y = vec![0.0; m];
        lower(&mut oracle, &x, &mut y, 1e-11).unwrap();
        near("y(x)", &y, &problem.solution(&x), 1e-8);
        near("ψ", &[problem.upper(&x, &y, Batch::Full, Grad::NONE)], &[problem.value(&x)], 1e-8);
        let slope = |i: usize| {
            let at = |t: f64| {
                let mut x = x.clone();
                x[i] += t;
                problem.value(&x)
            };
            (at(1e-3) - at(-1e-3)) / 2e-3 // exact for quadratics
        };
        near("∇ψ", &problem.gradient(&x), &(0..n).map(slope).collect::<Vec<_>>(), 1e-9);
        near("∇ψ at the minimum", &problem.gradient(problem.minimizer()), &vec![0.0; n], 1e-7);
        assert!(problem.minimum() < problem.value(&x) && problem.minimum() < problem.value(&vec![0.0; n]));
    }
    let full = Quadratic::new(Spec::default(), Seed(0)).unwrap();
    assert_eq!((full.dims(), full.terms()), ((100, 100), (1024, 1024)));
    assert!(full.minimum().is_finite());
    let few = Spec { terms: 5, ..Spec::default() };
    assert!(Quadratic::new(few, Seed(0)).unwrap_err().to_string().contains("terms"));
}

/// Training and test file of a name.
fn regularization(name: &str, lo: f64, hi: f64) -> Option<Regularization> {
    let files = [
        shared_data(&format!("bilevel/{name}.train.svm.bz2"))?,
        shared_data(&format!("bilevel/{name}.test.svm.bz2"))?,
    ];
    let [(train, a), (test, b)] = read_svmlight(files)
        .unwrap()
        .map(|s| (Sparse::new(s.indptr, s.indices, s.values, s.columns).unwrap(), s.labels));
    Some(Regularization::new((train, &a), (test, &b), lo, hi).unwrap())
}

/// h(x) = f(x, y(x)) and the y.
fn hyper(problem: &dyn Bilevel, x: &[f64], tolerance: f64) -> (f64, Vec<f64>) {
    let mut oracle = Oracle::new(problem).unwrap();
    let mut y = oracle.start().y;
    let started = std::time::Instant::now();
    lower(&mut oracle, x, &mut y, tolerance).unwrap();
    eprintln!("lower level: {} gradients in {:?}", oracle.calls().lower, started.elapsed());
    (problem.upper(x, &y, Batch::Full, Grad::NONE), y)
}

fn time(what: &str, problem: &dyn Bilevel) {
    let (x, y) = problem.start();
    let (mut by_x, mut by_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    for (name, level) in LEVELS {
        let once = |_| {
            let started = std::time::Instant::now();
            level(problem, &x, &y, Batch::Full, Grad::both(&mut by_x, &mut by_y));
            started.elapsed()
        };
        let mut times: Vec<_> = (0..30).map(once).collect();
        times.sort_unstable();
        eprintln!("{what}: full ∇{name} in {:?} (median of 30), least {:?}", times[15], times[0]);
    }
}

#[test]
fn ijcnn1_has_the_reference_values() {
    let Some(problem) = regularization("ijcnn1", -10.0, 2.0) else { return };
    assert_eq!((problem.dims(), problem.terms()), ((22, 22), (91_701, 49_990)));
    time("ijcnn1", &problem);
    for (x, h) in [(0.0, 0.657063249628), (-2.0, 0.5216424970), (-5.0, 0.3039555892), (-8.0, 0.2204970340)] {
        let found = hyper(&problem, &[x; 22], 1e-10).0;
        assert!((found - h).abs() < 1e-9, "h({x}) = {found}, not {h}");
    }
    let best = [
        -7.6383, -7.4399, -6.4654, -10., -10., -10., -6.7271, -10., -10., -10., 2., -10., -10., -10., -10.,
        -10., -8.2336, -10., -8.6655, -10., -10., -10.,
    ];
    let found = hyper(&problem, &best, 1e-10).0;
    assert!((found - 0.206399012059).abs() < 1e-9, "{found}");

    // ∇h = ∇_x f − ∇²_xy g (∇²_yy g)⁻¹ ∇_y f.
    let x = [0.0; 22];
    let (_, y) = hyper(&problem, &x, 1e-11);
    let (_, by_x, by_y) = all(&problem, LEVELS[0].1, &x, &y, Batch::Full);
    let mut hessian = Mat::zeros(22, 22);
    for j in 0..22 {
        let (mut unit, mut column) = ([0.0; 22], [0.0; 22]);
        unit[j] = 1.0;
        problem.product(&x, &y, &unit, Batch::Full, Grad::y(&mut column));
        (0..22).for_each(|i| hessian[(i, j)] = column[i]);
    }
    let v =
        thalweg_linalg::dense::Cholesky::new(&hessian).unwrap().solve(Mat::from_fn(22, 1, |i, _| by_y[i]));
    let mut cross = [0.0; 22];
    problem.product(&x, &y, v.col_as_slice(0), Batch::Full, Grad::x(&mut cross));
    for (j, expected) in [1.3634839e-3, 1.3497034e-3, 1.4137477e-3].into_iter().enumerate() {
        let found = by_x[j] - cross[j];
        assert!((found - expected).abs() < 1e-9, "∇h[{j}] = {found}, not {expected}");
    }
}

#[test]
fn reuters_has_the_reference_values() {
    let Some(problem) = regularization("reuters", -12.0, 0.0) else { return };
    assert_eq!((problem.dims(), problem.terms()), ((8315, 8315), (3299, 7770)));
    time("reuters", &problem);
    for (x, h) in [(-8.0, 0.13729032), (-10.0, 0.08027182)] {
        let found = hyper(&problem, &[x; 8315], 1e-8).0;
        assert!((found - h).abs() < 1e-6, "h({x}) = {found}, not {h}");
    }
}

#[test]
fn hyper_cleaning_has_the_reference_baselines() {
    let Some(images) = shared_data("bilevel/mnist10k-images-idx3-ubyte.gz") else { return };
    let Some(split) = shared_data("bilevel/hyperclean_mnist10k_p50.csv.gz") else { return };
    let loaded = load(images.to_str().unwrap(), &Default::default()).unwrap();
    let Source::Examples { train, test } = loaded.source else { panic!("images") };
    let whole = train.concat(&test).unwrap();
    let (Values::Bytes(pixels), Targets::Classes { labels, .. }) = (&whole.x, &whole.targets) else {
        panic!("images with classes")
    };
    let pixels: Vec<f64> = pixels.iter().map(|&p| f64::from(p) / 255.0).collect();
    let rows = Sparse::dense(&pixels, 784).unwrap();
    let split = read_split(&split).unwrap();
    let part = |part: Part, given: bool| {
        let some: Vec<_> = split.of(part).collect();
        assert!(some.iter().all(|s| s.1 == labels[s.0]));
        let index: Vec<usize> = some.iter().map(|s| s.0).collect();
        let classes = some.iter().map(|s| if given { s.2 } else { s.1 }).collect();
        Examples::new(rows.select(&index), classes).unwrap()
    };
    let (noisy, clean) = (part(Part::Train, true), part(Part::Train, false));
    let right: Vec<usize> = (0..noisy.len()).filter(|&i| noisy.classes()[i] == clean.classes()[i]).collect();
    let right = noisy.select(&right);
    let (val, test) = (part(Part::Val, false), part(Part::Test, false));
    let problem = Cleaning::new(noisy.clone(), val.clone(), 10, 1e-3).unwrap();
    time("cleaning", &problem);
    time("cleaning, 64 hidden units", &problem.clone().hidden(64, Seed(0)));
    let baselines: [(&str, &[&Examples], f64); 4] = [
        ("noisy", &[&noisy], 0.7695),
        ("val", &[&val], 0.8755),
        ("both", &[&noisy, &val], 0.8250),
        ("right and val", &[&right, &val], 0.9048),
    ];
    for (name, parts, expected) in baselines {
        let started = std::time::Instant::now();
        let y = problem.fit(parts, 1e-6).unwrap();
        let found = problem.classifier().accuracy(&y, &test);
        eprintln!("{name}: {found} (reference {expected}) in {:?}", started.elapsed());
        assert!((found - expected).abs() < 0.0021, "{name}: {found}, not {expected}");
    }
    let kept = clean.classes().iter().zip(noisy.classes()).map(|(a, b)| if a == b { 1.0 } else { -1.0 });
    assert_eq!(f1(&kept.collect::<Vec<_>>(), noisy.classes(), clean.classes()), 1.0);
}
