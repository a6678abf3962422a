//! Data-parallel training: several workers against one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use thalweg_comm::{Collective, CommError, Local, Traffic, local};
use thalweg_core::{
    Every, Iterate, LayerStats, Layered, Method, MethodError, Objective, Outcome, Problem, RunError, Seed,
    StopReason,
};
use thalweg_data::{Dataset, Targets, Text, Values, digits};
use thalweg_net::{Graph, Init, Net, Preprocess, initial, named};
use thalweg_optim::{Adam, Sgd};
use thalweg_tasks::train::{Augment, Examples, Plan, Sampling, TrainError, Training, run, standardize};
use thalweg_tasks::{Folder, Host, Opening};

/// Runs `work` on `n` ranks, each in a thread of its own; results in rank order.
fn ranks<T: Send>(n: usize, work: impl Fn(Local) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = local(n).into_iter().map(|c| scope.spawn(move || work(c))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// A net, its start and examples.
struct Case {
    net: Net<f32>,
    start: (Vec<f32>, Vec<f32>),
    examples: Examples,
    sampling: Sampling,
}

impl Case {
    fn new(graph: Graph, examples: Examples, batch: usize) -> Self {
        let start = initial(&graph, &Init::default(), Seed(1)).unwrap();
        let sampling = Sampling { batch, seed: Seed(3), ..Sampling::default() };
        Self { net: Net::new(graph).unwrap(), start, examples, sampling }
    }

    fn digits(batch: usize) -> Self {
        let (train, _) = digits();
        let examples = Examples::set(train.clone(), &standardize(&train)).unwrap();
        Self::new(named("mlp:64-24-10:tanh", &[8, 8, 1], 10).unwrap(), examples, batch)
    }

    fn training(&self) -> Training<'_> {
        let (theta, buffers) = self.start.clone();
        Training::new(&self.net, theta, buffers, &self.examples, self.sampling.clone()).unwrap()
    }

    /// Loss, gradient and two Hessian-vector products of step `t`.
    fn derivatives(&self, mut training: Training<'_>, t: u64) -> (f64, Vec<Vec<f32>>) {
        let n = self.net.layout().len();
        let probe = |k: usize| (0..n).map(|i| if (i * (k + 3)) % 5 < 2 { 1.0 } else { -1.0 }).collect();
        let (probes, mut products) = ([probe(0), probe(1)], vec![vec![0.0; n]; 2]);
        let mut grad = vec![0.0; n];
        training.begin_step(t).unwrap();
        let value = training.value_grad_hvp(&self.start.0, &mut grad, &probes, &mut products).unwrap();
        assert!((training.value(&self.start.0).unwrap() - value).abs() <= 1e-6 * value.abs());
        let mut again = vec![0.0; n];
        training.value_grad(&self.start.0, &mut again).unwrap();
        assert!(distance(&again, &grad) < 1e-5);
        products.insert(0, grad);
        (value, products)
    }

    /// Several workers differentiate as one does.
    fn check_derivatives(&self) {
        for t in [0, 3] {
            let (value, expected) = self.derivatives(self.training(), t);
            for n in [1, 2, 3] {
                let found = ranks(n, |c| self.derivatives(self.training().distributed(c).unwrap(), t));
                assert!(found.iter().all(|f| *f == found[0]), "{n} ranks: not the same bits");
                assert!((found[0].0 - value).abs() < 1e-6 * value, "{n} ranks: {} {value}", found[0].0);
                for (found, expected) in found[0].1.iter().zip(&expected) {
                    let off = distance(found, expected);
                    assert!(off < 2e-5, "{n} ranks, step {t}: off by {off}");
                }
            }
        }
    }
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    off / norm(&mut b.iter().map(|b| f64::from(*b))).max(f64::MIN_POSITIVE)
}

/// Trains on `n` ranks for `steps` steps of `products` Hessian-vector products each and compares
/// the end with a single process's, the payload with what it must be.
fn check_training<M>(method: &M, products: u64, close: f64)
where
    M: for<'a> Method<Training<'a>, Solution = Vec<f32>> + Sync,
    for<'a> <M as Method<Training<'a>>>::State: Iterate<f32>,
{
    let (case, steps) = (Case::digits(64), 30);
    let run = |mut training: Training<'_>| {
        let plan = Plan { steps, seed: Seed(5), ..Plan::default() };
        let outcome = run(method, &mut training, &plan).unwrap();
        (outcome.solution, training.train_loss().unwrap(), training.collective().traffic())
    };
    let (theta, loss, silent) = run(case.training());
    assert_eq!(silent, Traffic::default());
    assert!(distance(&theta, &case.start.0) > 1e-2, "it moved");
    for n in [2, 3] {
        let found = ranks(n, |c| run(case.training().distributed(c).unwrap()));
        assert!(found.iter().all(|f| *f == found[0]), "{n} ranks: not the same bits");
        let off = distance(&found[0].0, &theta);
        assert!(off < close, "{n} ranks: off by {off}");
        assert!((found[0].1 - loss).abs() < close * loss, "{n} ranks: {} {loss}", found[0].1);

        // Per step the loss (f64), gradient and products (f32); one vote (f32) whether to stop
        // before the first and after each step; two bytes why.
        let n = theta.len() as u64;
        let bytes = steps * (8 + 4 * n * (1 + products)) + 4 * (steps + 1) + 2;
        let calls = steps * (2 + products) + steps + 1 + 1;
        assert_eq!(found[0].2, Traffic { calls, bytes });
    }
}

#[test]
fn sgd_trains_as_in_one_process() {
    check_training(&Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() }, 0, 1e-5);
}

#[test]
fn adam_trains_as_in_one_process() {
    check_training(&Adam { lr: 0.003, ..Adam::default() }, 0, 1e-4);
}

#[cfg(feature = "adahessian")]
#[test]
fn adahessian_trains_as_in_one_process() {
    use thalweg_adahessian::AdaHessian;
    check_training(&AdaHessian::default(), 1, 1e-4);
    check_training(&AdaHessian { probes: 2, ..AdaHessian::default() }, 2, 1e-4);
}

#[test]
fn derivatives_are_those_of_the_whole_mini_batch() {
    // 65 is a multiple of neither 2 nor 3.
    Case::digits(65).check_derivatives();
}

#[test]
fn shares_weigh_what_their_classes_do() {
    let mut case = Case::digits(50);
    case.net.loss.class_weights = Some((0..10).map(|k| f64::from(k * k) / 10.0).collect());
    case.check_derivatives();
    // Two examples: a share may consist of a class without weight alone.
    case.sampling.batch = 2;
    case.net.loss.class_weights = Some((0..10).map(|k| f64::from(k % 2)).collect());
    let step = (0..200).find(|&t| {
        let mut training = case.training();
        training.begin_step(t).unwrap();
        let both = training.value(&case.start.0).unwrap();
        let alone = ranks(2, |c| {
            let mut training = case.training().distributed(c).unwrap();
            training.begin_step(t).unwrap();
            training.value(&case.start.0).unwrap()
        });
        assert!(both.is_nan() == alone[0].is_nan(), "{both} {alone:?}");
        assert!(both.is_nan() || (both - alone[0]).abs() < 1e-6 * both, "{both} {alone:?}");
        both.is_nan()
    });
    assert!(step.is_some(), "two classes without weight did not meet");
}

/// Rows, mean inputs, output gradients and second moments of each layer, end to end.
fn numbers(stats: &[LayerStats]) -> Vec<f32> {
    let of = |s: &LayerStats| {
        let moments = s.moments.clone().unwrap();
        [vec![s.rows as f64], s.input_mean.clone(), s.output_grad.clone(), moments.input, moments.output]
            .concat()
    };
    stats.iter().flat_map(of).map(|x| x as f32).collect()
}

#[test]
fn layers_are_seen_as_in_one_process() {
    let mut case = Case::digits(50);
    case.net.loss.class_weights = Some((0..10).map(|k| 0.5 + f64::from(k)).collect());
    let see = |mut training: Training<'_>| {
        let (mut grad, mut stats) = (vec![0.0; case.start.0.len()], Vec::new());
        training.begin_step(1).unwrap();
        let before = training.collective().traffic().bytes;
        training.value_grad_layers(&case.start.0, &mut grad, true, &mut stats).unwrap();
        let with = training.collective().traffic().bytes - before;
        training.value_grad(&case.start.0, &mut grad).unwrap();
        (stats, with - (training.collective().traffic().bytes - before - with))
    };
    let (expected, _) = see(case.training());
    for n in [2, 3] {
        let found = ranks(n, |c| see(case.training().distributed(c).unwrap()));
        assert!(found.iter().all(|f| *f == found[0]));
        for (found, expected) in found[0].0.iter().zip(&expected) {
            assert_eq!((found.weight, found.rows), (expected.weight, expected.rows));
            let off =
                distance(&numbers(std::slice::from_ref(found)), &numbers(std::slice::from_ref(expected)));
            assert!(off < 1e-5, "{n} ranks: off by {off}");
        }
        // Beside the gradient: two vectors, and two matrices as a K-FAC sends them.
        let count = |inputs: u64, outputs: u64| inputs + outputs + inputs * inputs + outputs * outputs;
        assert_eq!(found[0].1, 4 * (count(64, 24) + count(24, 10)));
    }
}

#[test]
fn texts_and_changed_images_are_those_of_one_process() {
    let tokens = (0..400).map(|i| i * i % 7).collect();
    let text = Text { tokens, vocabulary: ('a'..='g').collect() };
    let graph = named("char-transformer:1,8,2,8", &[], 7).unwrap();
    Case::new(graph, Examples::windows(text, 8).unwrap(), 7).check_derivatives();

    let mut rng = Seed(4).stream("images", 0);
    let x = Values::Bytes((0..40 * 48).map(|_| rng.random()).collect());
    let labels = (0..40).map(|_| rng.random_range(0..3)).collect();
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let data = Dataset { x, shape: vec![4, 4, 3], targets: Targets::Classes { labels, names } };
    let examples = Examples::set(data.clone(), &standardize(&data)).unwrap();
    let mut case = Case::new(named("mlp:48-6-3:tanh", &[4, 4, 3], 3).unwrap(), examples, 10);
    let plain = case.derivatives(case.training(), 0).0;
    case.sampling.augment = Augment { pad: 2, flip: true };
    assert_ne!(case.derivatives(case.training(), 0).0, plain);
    case.check_derivatives();
}

/// A linear layer whose output is normalised by batch, and five examples.
fn normalised() -> (Case, [f32; 10]) {
    let text = "input = [2]\n[[layer]]\nname = \"fc1\"\nop = \"linear\"\nout = 2\nbias = false\n\
                [[layer]]\nname = \"bn\"\nop = \"batch-norm\"\n[[layer]]\nname = \"fc2\"\nop = \"linear\"\nout = 1\n";
    let x = [1.0, 2.0, -3.0, 0.5, 4.0, 1.0, 0.0, -1.0, 2.5, 7.0];
    let targets = Targets::Values { values: vec![0.0; 5], width: 1 };
    let data = Dataset { x: Values::Floats(x.to_vec()), shape: vec![2], targets };
    let examples = Examples::set(data, &Preprocess::default()).unwrap();
    let mut case = Case::new(Graph::from_toml(text).unwrap(), examples, 5);
    // fc1 is the identity.
    case.start.0[..4].copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
    (case, x)
}

#[test]
fn running_statistics_are_means_over_the_shares() {
    let (case, x) = normalised();
    let found = ranks(2, |c| {
        let mut training = case.training().distributed(c).unwrap();
        training.begin_step(0).unwrap();
        training.value(&case.start.0).unwrap();
        training.end_step().unwrap();
        training.buffers().to_vec()
    });
    assert_eq!(found[0], found[1]);

    let mut order: Vec<usize> = (0..5).collect();
    order.shuffle(&mut case.sampling.seed.stream("order", 0));
    let moment = |share: &[usize], column: usize, second: bool| {
        let column = || share.iter().map(|&i| f64::from(x[2 * i + column]));
        let mean = column().sum::<f64>() / share.len() as f64;
        let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / (share.len() - 1) as f64;
        if second { variance } else { mean }
    };
    for (i, found) in found[0].iter().enumerate() {
        let (column, second) = (i % 2, i >= 2);
        let of = |share: &[usize]| moment(share, column, second);
        let expected =
            0.9 * f64::from(u8::from(second)) + 0.1 * (0.4 * of(&order[..2]) + 0.6 * of(&order[2..]));
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn each_rank_draws_masks_of_its_own() {
    let text = "input = [1]\n[[layer]]\nname = \"drop\"\nop = \"dropout\"\np = 0.5\n\
                [[layer]]\nname = \"fc\"\nop = \"linear\"\nout = 1\nbias = false\n";
    let targets = Targets::Values { values: vec![0.0; 64], width: 1 };
    let data = Dataset { x: Values::Floats(vec![1.0; 64]), shape: vec![1], targets };
    let examples = Examples::set(data, &Preprocess::default()).unwrap();
    let case = Case::new(Graph::from_toml(text).unwrap(), examples, 64);
    // With weight 1 every example that is kept has the loss 4: numbers of those kept among 64.
    let kept = |mut training: Training<'_>| -> Vec<f64> {
        let mut of = |t| {
            training.begin_step(t).unwrap();
            let [first, again] = [0; 2].map(|_| training.value(&[1.0]).unwrap() * 16.0);
            assert_eq!(first, again, "the same in every pass of a step");
            first
        };
        (0..10).map(&mut of).collect()
    };
    let found = ranks(2, |c| kept(case.training().distributed(c).unwrap()));
    assert_eq!(found[0], found[1]);
    assert!(found[0].iter().all(|n| n.fract() == 0.0 && (16.0..48.0).contains(n)), "{found:?}");
    let mut half = Case::new(case.net.graph().clone(), case.examples.clone(), 32);
    half.sampling.seed = case.sampling.seed;
    // Twice the first rank's masks would keep twice what they keep of 32 examples.
    assert_ne!(found[0], kept(half.training()));
}

#[test]
fn what_is_not_finite_on_one_rank_is_so_on_all() {
    let (mut case, _) = normalised();
    let mut x = vec![1.0, 2.0, -3.0, 0.5, 4.0, 1.0, 0.0, -1.0, 2.5, 7.0];
    x[4] = f32::NAN;
    let targets = Targets::Values { values: vec![0.0; 5], width: 1 };
    let data = Dataset { x: Values::Floats(x), shape: vec![2], targets };
    case.examples = Examples::set(data, &Preprocess::default()).unwrap();
    let found = ranks(2, |c| {
        let mut training = case.training().distributed(c).unwrap();
        let mut grad = vec![0.0; case.start.0.len()];
        training.begin_step(0).unwrap();
        let value = training.value_grad(&case.start.0, &mut grad).unwrap();
        training.end_step().unwrap();
        (value.is_nan(), grad.iter().any(|g| g.is_nan()), training.buffers() == case.start.1)
    });
    assert_eq!(found, [(true, true, true); 2], "loss and gradient are, statistics stay");
}

#[test]
fn ranks_stop_together() {
    let case = Case::digits(64);
    for impatient in [0, 1] {
        let found = ranks(2, |c| {
            let time = (c.rank() == impatient).then(|| Duration::from_millis(40));
            let host = Host { time, ..Host::default() };
            let plan = Plan { steps: 1_000_000, host, ..Plan::default() };
            let mut training = case.training().distributed(c).unwrap();
            let outcome = run(&Sgd::default(), &mut training, &plan).unwrap();
            (outcome.stopped_because, outcome.steps, outcome.solution)
        });
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0].0, StopReason::Time);
        assert!((1..1_000_000).contains(&found[0].1));
    }
}

#[test]
fn a_rank_that_fails_ends_the_others() {
    let good = Case::digits(64);
    let (mut train, _) = digits();
    if let Targets::Classes { labels, names } = &mut train.targets {
        labels.fill(10);
        names.push("ten".into());
    }
    let mut bad = Case::digits(64);
    bad.examples = Examples::set(train.clone(), &standardize(&train)).unwrap();
    let errors = ranks(2, |c| {
        let case = if c.rank() == 1 { &bad } else { &good };
        let mut training = case.training().distributed(c).unwrap();
        let plan = Plan { steps: 10, ..Plan::default() };
        run(&Sgd::default(), &mut training, &plan).unwrap_err()
    });
    let seen = ranks(2, |c| {
        let case = if c.rank() == 1 { &bad } else { &good };
        let mut training = case.training().distributed(c).unwrap();
        training.begin_step(0).unwrap();
        let mut grad = vec![0.0; case.start.0.len()];
        let seen = training.value_grad_layers(&case.start.0, &mut grad, false, &mut Vec::new());
        seen.unwrap_err().to_string()
    });
    assert!(seen[0].contains("rank 1 has left") && seen[1].contains("label"), "{seen:?}");
    let RunError::Method { step: 0, source: MethodError::Problem(source) } = &errors[0] else {
        panic!("{}", errors[0])
    };
    assert_eq!(source.downcast_ref(), Some(&CommError::Lost { rank: 1 }));
    assert!(errors[1].to_string().contains("label"), "{}", errors[1]);
}

#[test]
fn more_ranks_than_examples_are_refused() {
    let case = Case::digits(2);
    let found = ranks(3, |c| case.training().distributed(c).map(drop));
    for refused in found {
        assert!(matches!(refused, Err(TrainError::Ranks { batch: 2, ranks: 3 })));
    }
}

/// Trains `n` ranks to `steps` in `folder`, where the first alone may write.
fn run_in(folder: &Path, n: usize, steps: u64, resume: bool) -> Vec<Outcome<Vec<f32>>> {
    let (case, (_, test)) = (Case::digits(128), digits());
    let test = Examples::set(test, &standardize(&digits().0)).unwrap();
    let opening = if resume { Opening::Resume } else { Opening::Fresh };
    let folder = Folder::open(folder, opening).unwrap();
    folder.begin(&BTreeMap::<String, String>::new(), &[]).unwrap();
    ranks(n, |c| {
        let every = Some(Every::Steps(4));
        let plan = Plan { steps, test: Some(&test), folder: Some(&folder), every, ..Plan::default() };
        let mut training = case.training().distributed(c).unwrap();
        run(&Adam { lr: 0.003, ..Adam::default() }, &mut training, &plan).unwrap()
    })
}

#[test]
fn a_resumed_run_ends_as_the_uninterrupted_one() {
    let folder = || tempfile::tempdir().unwrap();
    let (whole, parts) = (folder(), folder());
    let expected = run_in(whole.path(), 2, 24, false);
    run_in(parts.path(), 2, 13, false);
    let found = run_in(parts.path(), 2, 24, true);
    for rank in 0..2 {
        assert_eq!(found[rank].solution, expected[0].solution);
        assert_eq!(found[rank].steps, 24);
    }
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(parts.path()), ["checkpoint.bin", "config.toml", "metrics.jsonl"]);
    let metrics = std::fs::read_to_string(parts.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("test_accuracy").count(), 2, "after steps 11 and 22");

    // Any number of ranks may go on.
    let other = folder();
    run_in(other.path(), 3, 13, false);
    for found in run_in(other.path(), 1, 24, true) {
        assert!(distance(&found.solution, &expected[0].solution) < 1e-4);
    }
}
