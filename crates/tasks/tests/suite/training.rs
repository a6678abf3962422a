//! The objective of training against plain computations of the same things.

use rand::RngExt;
use rand::seq::SliceRandom;
use thalweg_core::{Layered, Objective, Problem, Seed};
use thalweg_data::{Dataset, Targets, Text, Values, digits};
use thalweg_net::{Graph, Init, Mode, Net, Pass, Preprocess, initial, named};
use thalweg_tasks::train::{
    Augment, Examples, Minibatch, Sampling, TrainError, Training, score, standardize,
};

/// `n` examples with the one input 2^i and the target 0: under the identity the mean loss of a
/// mini-batch tells which examples are in it.
fn powers(n: usize) -> Examples {
    let x = Values::Floats((0..n).map(|i| 2f32.powi(i as i32)).collect());
    let targets = Targets::Values { values: vec![0.0; n], width: 1 };
    Examples::set(Dataset { x, shape: vec![1], targets }, &Preprocess::default()).unwrap()
}

fn identity() -> Net<f32> {
    Net::new(named("mlp:1-1", &[1], 1).unwrap()).unwrap()
}

/// The examples of each of the first `steps` mini-batches, as sets of bits.
fn drawn(examples: &Examples, batch: usize, seed: u64, steps: u64) -> Vec<u64> {
    let net = identity();
    let sampling = Sampling { batch, seed: Seed(seed), ..Sampling::default() };
    let mut training = Training::new(&net, vec![1.0, 0.0], Vec::new(), examples, sampling).unwrap();
    let batch = batch.min(examples.len()) as f64;
    let mut step = |t| {
        training.begin_step(t).unwrap();
        let sum = training.value(&[1.0, 0.0]).unwrap() * batch; // Σ 4^i
        training.end_step().unwrap_or_else(|e| panic!("step {t}: {e}"));
        let sum = sum.round() as u64;
        (0..32).filter(|i| sum >> (2 * i) & 1 == 1).map(|i| 1 << i).sum()
    };
    (0..steps).map(&mut step).collect()
}

#[test]
fn an_epoch_visits_each_example_once_in_an_order_of_its_own() {
    let examples = powers(12);
    let epochs: Vec<Vec<u64>> = drawn(&examples, 1, 7, 36).chunks(12).map(<[u64]>::to_vec).collect();
    for epoch in &epochs {
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).map(|i| 1 << i).collect::<Vec<u64>>());
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
    assert_eq!(drawn(&examples, 1, 7, 36), epochs.concat(), "the seed decides");
    assert_ne!(drawn(&examples, 1, 8, 36), epochs.concat());
}

#[test]
fn the_last_incomplete_mini_batch_is_left_out() {
    let examples = powers(11);
    let net = identity();
    let sampling = Sampling { batch: 4, ..Sampling::default() };
    let training = Training::new(&net, vec![1.0, 0.0], Vec::new(), &examples, sampling).unwrap();
    assert_eq!(training.steps_per_epoch(), 2);
    for epoch in drawn(&examples, 4, 1, 6).chunks(2) {
        assert_eq!(epoch.iter().map(|set| set.count_ones()).collect::<Vec<_>>(), [4, 4]);
        assert_eq!(epoch[0] & epoch[1], 0, "no example twice in an epoch");
    }
    // More than there are means all.
    assert_eq!(drawn(&examples, 100, 1, 3), [(1 << 11) - 1; 3]);
}

#[test]
fn steps_can_be_made_in_any_order() {
    let (examples, net) = (powers(10), identity());
    let sampling = Sampling { batch: 3, ..Sampling::default() };
    let mut training = Training::new(&net, vec![1.0, 0.0], Vec::new(), &examples, sampling).unwrap();
    let mut value = |t| {
        training.begin_step(t).unwrap();
        training.value(&[1.0, 0.0]).unwrap()
    };
    let forward: Vec<f64> = (0..9).map(&mut value).collect();
    let mut backward: Vec<f64> = (0..9).rev().map(&mut value).collect();
    backward.reverse();
    assert_eq!(forward, backward, "a mini-batch depends on seed and step alone");
}

#[test]
fn gathering_gives_the_preprocessed_rows_and_their_targets() {
    let (train, _) = digits();
    let preprocess = standardize(&train);
    let examples = Examples::set(train.clone(), &preprocess).unwrap();
    let (Values::Bytes(raw), Targets::Classes { labels, .. }) = (&train.x, &train.targets) else {
        panic!("digits are images of classes")
    };
    let (places, mut minibatch) = ([5, 1436, 0, 5], Minibatch::default());
    examples.gather(&places, None, &mut minibatch);
    let mut expected = vec![0.0; 4 * 64];
    let rows: Vec<u8> = places.iter().flat_map(|&i| raw[64 * i..64 * (i + 1)].iter().copied()).collect();
    preprocess.apply(&rows, 1, &mut expected).unwrap();
    for (found, expected) in minibatch.batch().x.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    assert_eq!(minibatch.labels(), places.map(|i| labels[i]));
    let used = minibatch.batch().x.len();
    examples.gather(&places[..1], None, &mut minibatch);
    assert_eq!(
        (used, minibatch.batch().x.len(), minibatch.labels().len()),
        (256, 64, 1),
        "nothing is left over"
    );
}

#[test]
fn the_targets_of_a_window_are_the_next_characters() {
    let text = Text { tokens: (0..50).map(|i| i * i % 7).collect(), vocabulary: ('a'..='g').collect() };
    let examples = Examples::windows(text.clone(), 8).unwrap();
    assert_eq!((examples.len(), examples.shape(), examples.outputs()), (6, &[8][..], 7));
    let mut minibatch = Minibatch::default();
    // The last place of all included.
    examples.gather(&[0, 13, 41], None, &mut minibatch);
    let at = |first: usize| text.tokens[first..first + 8].to_vec();
    let x: Vec<u32> = minibatch.batch().x.iter().map(|&x| x as u32).collect();
    assert_eq!(x, [at(0), at(13), at(41)].concat());
    assert_eq!(minibatch.labels(), [at(1), at(14), at(42)].concat());

    let short = Examples::windows(text, 50);
    assert!(matches!(short, Err(TrainError::ShortText { found: 50, needed: 51 })));
}

#[test]
fn texts_are_drawn_from_all_places() {
    // Five characters, two windows of four: the second is the only one that ends with a `b`.
    let text = Text { tokens: vec![0, 0, 0, 0, 0, 1], vocabulary: vec!['a', 'b'] };
    let examples = Examples::windows(text, 4).unwrap();
    let net = Net::new(named("char-transformer:1,4,1,4", &[], 2).unwrap()).unwrap();
    let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(1)).unwrap();
    let sampling = Sampling { batch: 1, ..Sampling::default() };
    let mut training = Training::new(&net, theta.clone(), buffers.clone(), &examples, sampling).unwrap();
    let mut expected: Vec<u64> = (0..2)
        .map(|place| {
            let mut minibatch = Minibatch::default();
            examples.gather(&[place], None, &mut minibatch);
            let loss = Pass::default().loss(&net, &theta, &buffers, &minibatch.batch(), Mode::Eval);
            loss.unwrap().to_bits()
        })
        .collect();
    let mut seen: Vec<u64> = (0..40)
        .map(|t| {
            training.begin_step(t).unwrap();
            training.value(&theta).unwrap().to_bits()
        })
        .collect();
    expected.sort_unstable();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, expected);
}

/// An image of h × w × c random bytes per example.
fn images(n: usize, [h, w, c]: [usize; 3]) -> Dataset {
    let mut rng = Seed(4).stream("images", 0);
    let x = Values::Bytes((0..n * h * w * c).map(|_| rng.random()).collect());
    let targets = Targets::Classes { labels: vec![0; n], names: vec!["0".into()] };
    Dataset { x, shape: vec![h, w, c], targets }
}

/// The image padded with black, cut at (dy, dx), mirrored: on raw bytes, the long way.
fn crop(raw: &[u8], [h, w, c]: [usize; 3], pad: usize, (dy, dx): (usize, usize), mirrored: bool) -> Vec<u8> {
    let (tall, wide) = (h + 2 * pad, w + 2 * pad);
    let mut padded = vec![0; tall * wide * c];
    for row in 0..h {
        for col in 0..w {
            for ch in 0..c {
                padded[((row + pad) * wide + col + pad) * c + ch] = raw[(row * w + col) * c + ch];
            }
        }
    }
    let mut out = Vec::new();
    for row in 0..h {
        let line = &padded[((row + dy) * wide + dx) * c..][..w * c];
        let mut pixels: Vec<&[u8]> = line.chunks(c).collect();
        if mirrored {
            pixels.reverse();
        }
        out.extend(pixels.concat());
    }
    out
}

#[test]
fn augmentation_cuts_and_mirrors_the_padded_image() {
    let shape @ [h, w, c] = [5, 4, 3];
    let data = images(3, shape);
    let Values::Bytes(raw) = &data.x else { panic!("bytes") };
    let preprocess = Preprocess { scale: 1.0 / 255.0, mean: vec![0.4, 0.5, 0.6], std: vec![0.2, 0.25, 0.3] };
    let examples = Examples::set(data.clone(), &preprocess).unwrap();
    for (pad, flip) in [(0, true), (1, false), (2, true), (7, true)] {
        let places: Vec<usize> = (0..60).map(|i| i % 3).collect();
        let (mut minibatch, mut draws) = (Minibatch::default(), Seed(9).stream("augment", 3));
        let mut same_draws = draws.clone();
        examples.gather(&places, Some((Augment { pad, flip }, &mut draws)), &mut minibatch);
        let mut offsets = std::collections::BTreeSet::new();
        for (found, &i) in minibatch.batch().x.chunks(h * w * c).zip(&places) {
            let by = (same_draws.random_range(0..=2 * pad), same_draws.random_range(0..=2 * pad));
            let mirrored = flip && same_draws.random::<bool>();
            let image = crop(&raw[i * h * w * c..][..h * w * c], shape, pad, by, mirrored);
            let mut expected = vec![0.0; image.len()];
            preprocess.apply(&image, c, &mut expected).unwrap();
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "pad {pad}, flip {flip}, {by:?}, mirrored {mirrored}: off by {off}");
            offsets.insert((by, mirrored));
        }
        assert!(offsets.len() > if pad == 0 { 1 } else { 7 }, "the draws vary");
    }
}

#[test]
fn what_is_no_image_is_not_augmented() {
    let (examples, net) = (powers(4), identity());
    let with = |batch, augment| {
        let sampling = Sampling { batch, augment, ..Sampling::default() };
        Training::new(&net, vec![1.0, 0.0], Vec::new(), &examples, sampling).map(drop)
    };
    assert!(matches!(with(2, Augment { pad: 1, flip: false }), Err(TrainError::Augment(_))));
    assert!(matches!(with(0, Augment::default()), Err(TrainError::Batch(0))));
    assert!(with(2, Augment::default()).is_ok());
}

#[test]
fn standardised_channels_have_mean_0_and_deviation_1() {
    let mut rng = Seed(2).stream("table", 0);
    // Far from 0, of very different widths, the last one constant.
    let row = |_| [1e3 + rng.random::<f32>(), rng.random::<f32>() * 1e-3, 5.0];
    let x: Vec<f32> = (0..500).flat_map(row).collect();
    let targets = Targets::Values { values: vec![0.0; 500], width: 1 };
    let table = Dataset { x: Values::Floats(x), shape: vec![3], targets };
    for (data, channels) in [(table, 3), (images(40, [6, 6, 2]), 2), (digits().0, 1)] {
        let examples = Examples::set(data.clone(), &standardize(&data)).unwrap();
        let (all, mut minibatch): (Vec<usize>, _) = ((0..data.len()).collect(), Minibatch::default());
        examples.gather(&all, None, &mut minibatch);
        for ch in 0..channels {
            let values = || minibatch.batch().x.iter().skip(ch).step_by(channels).map(|&x| f64::from(x));
            let n = values().count() as f64;
            let mean = values().sum::<f64>() / n;
            let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            let constant = channels == 3 && ch == 2;
            assert!(mean.abs() < 1e-3, "channel {ch} of {channels}: mean {mean}");
            assert!(
                (deviation - if constant { 0.0 } else { 1.0 }).abs() < 1e-3,
                "channel {ch} of {channels}: {deviation}"
            );
        }
    }
}

#[test]
fn a_score_is_the_mean_over_all_examples() {
    let (train, _) = digits();
    let (Values::Bytes(raw), Targets::Classes { labels, .. }) = (&train.x, &train.targets) else {
        panic!("digits are images of classes")
    };
    let preprocess = Preprocess { scale: 0.1, mean: vec![0.3], std: vec![0.7] };
    let net = Net::new(named("mlp:64-10", &[8, 8, 1], 10).unwrap()).unwrap();
    let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(5)).unwrap();
    let (mut loss, mut right) = (0.0, 0);
    for (image, &label) in raw.chunks(64).zip(labels) {
        let x: Vec<f64> = image.iter().map(|&p| (f64::from(p) * 0.1 - 0.3) / 0.7).collect();
        let logit = |k: usize| {
            let row = &theta[64 * k..64 * (k + 1)];
            row.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(theta[640 + k])
        };
        let z: Vec<f64> = (0..10).map(logit).collect();
        loss += z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[label as usize];
        right += usize::from((0..10).all(|k| z[k] <= z[label as usize]));
    }
    let examples = Examples::set(train.clone(), &preprocess).unwrap();
    let score = score(&net, &theta, &buffers, &examples).unwrap();
    // More examples than one forward pass takes.
    assert_eq!(score.n, 1437);
    assert_eq!(score.accuracy, Some(right as f64 / 1437.0));
    assert!((score.loss - loss / 1437.0).abs() < 1e-5 * score.loss, "{} {}", score.loss, loss / 1437.0);
}

#[test]
fn a_text_is_scored_in_windows_beside_each_other() {
    let text = Text { tokens: (0..40).map(|i| i * i % 5).collect(), vocabulary: ('a'..='e').collect() };
    let examples = Examples::windows(text, 8).unwrap();
    let net = Net::new(named("char-transformer:1,8,2,8", &[], 5).unwrap()).unwrap();
    let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(3)).unwrap();
    let found = score(&net, &theta, &buffers, &examples).unwrap();
    let one = |place: usize| {
        let mut minibatch = Minibatch::default();
        examples.gather(&[place], None, &mut minibatch);
        Pass::default().loss(&net, &theta, &buffers, &minibatch.batch(), Mode::Eval).unwrap()
    };
    // 39 characters have a next one: four whole windows.
    let mean = [0, 8, 16, 24].map(one).iter().sum::<f64>() / 4.0;
    assert_eq!(found.n, 32);
    assert!((found.loss - mean).abs() < 1e-6, "{} {mean}", found.loss);
}

/// A linear layer whose output is normalised by batch.
fn normalised() -> Net<f32> {
    let text = "input = [2]\n[[layer]]\nname = \"fc1\"\nop = \"linear\"\nout = 2\nbias = false\n\
                [[layer]]\nname = \"bn\"\nop = \"batch-norm\"\n[[layer]]\nname = \"fc2\"\nop = \"linear\"\nout = 1\n";
    Net::new(Graph::from_toml(text).unwrap()).unwrap()
}

#[test]
fn running_statistics_move_once_per_step_and_not_in_one_that_overflowed() {
    let net = normalised();
    let x = [1.0, 2.0, -3.0, 0.5, 4.0, 1.0, 0.0, -1.0];
    let targets = Targets::Values { values: vec![0.0; 4], width: 1 };
    let data = Dataset { x: Values::Floats(x.to_vec()), shape: vec![2], targets };
    let examples = Examples::set(data, &Preprocess::default()).unwrap();
    // fc1 is the identity; scale, shift and fc2 do not matter here.
    let mut theta = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.5, -0.5, 0.0];
    let sampling = Sampling { batch: 4, ..Sampling::default() };
    let mut training =
        Training::new(&net, theta.clone(), vec![0.0, 0.0, 1.0, 1.0], &examples, sampling).unwrap();
    let mut grad = vec![0.0; theta.len()];

    let column = |c: usize| x.iter().skip(c).step_by(2).map(|&x| f64::from(x));
    let mean = [0, 1].map(|c| column(c).sum::<f64>() / 4.0);
    let variance = [0, 1].map(|c| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / 3.0);
    let batch = [mean, variance].concat();
    let near = |found: &[f32], expected: &[f64]| {
        found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
    };

    training.begin_step(0).unwrap();
    for _ in 0..3 {
        training.value_grad(&theta, &mut grad).unwrap(); // a line search looks several times
        assert_eq!(training.buffers(), [0.0, 0.0, 1.0, 1.0]);
    }
    training.end_step().unwrap();
    let after: Vec<f64> =
        [0.0, 0.0, 1.0, 1.0].iter().zip(&batch).map(|(old, new)| 0.9 * old + 0.1 * new).collect();
    assert!(near(training.buffers(), &after), "{:?} {after:?}", training.buffers());

    // What overflows leaves no trace.
    let before = training.buffers().to_vec();
    theta[0] = f32::MAX;
    training.begin_step(1).unwrap();
    let value = training.value_grad(&theta, &mut grad);
    assert!(value.is_err() || value.is_ok_and(|v| !v.is_finite()) || grad.iter().any(|g| !g.is_finite()));
    training.end_step().unwrap();
    assert_eq!(training.buffers(), before);

    theta[0] = 1.0;
    training.begin_step(2).unwrap();
    training.value_grad(&theta, &mut grad).unwrap();
    training.end_step().unwrap();
    let then: Vec<f64> = after.iter().zip(&batch).map(|(old, new)| 0.9 * old + 0.1 * new).collect();
    assert!(near(training.buffers(), &then), "{:?} {then:?}", training.buffers());
}

#[test]
fn saved_statistics_come_back_and_foreign_ones_are_refused() {
    let net = normalised();
    let targets = Targets::Values { values: vec![0.0; 4], width: 1 };
    let x = Values::Floats(vec![1.0, 2.0, -3.0, 0.5, 4.0, 1.0, 0.0, -1.0]);
    let examples = Examples::set(Dataset { x, shape: vec![2], targets }, &Preprocess::default()).unwrap();
    let theta = vec![0.5; 11];
    let make = || {
        let buffers = vec![0.0, 0.0, 1.0, 1.0];
        Training::new(&net, theta.clone(), buffers, &examples, Sampling::default()).unwrap()
    };
    let (mut first, mut second) = (make(), make());
    first.begin_step(0).unwrap();
    first.value(&theta).unwrap();
    first.end_step().unwrap_or_else(|e| panic!("{e}"));
    second.restore(&first.save()).unwrap();
    assert_eq!(second.buffers(), first.buffers());
    assert_eq!(second.stepping(), first.stepping());
    assert!(second.restore(b"nonsense").is_err());
    let (other, powers) = (identity(), powers(3));
    let mut other = Training::new(&other, vec![1.0, 0.0], Vec::new(), &powers, Sampling::default()).unwrap();
    assert!(other.restore(&first.save()).is_err());
}

#[test]
fn labels_are_smoothed_in_training_only() {
    let (train, _) = digits();
    let examples = Examples::set(train.clone(), &standardize(&train)).unwrap();
    let make = || Net::new(named("mlp:64-10", &[8, 8, 1], 10).unwrap()).unwrap();
    let (plain, mut smooth) = (make(), make());
    smooth.loss.label_smoothing = 0.2;
    let (theta, buffers) = initial(plain.graph(), &Init::Normal(0.3), Seed(5)).unwrap();
    let value = |net: &Net<f32>| {
        let sampling = Sampling { batch: 1437, ..Sampling::default() };
        let mut training = Training::new(net, theta.clone(), buffers.clone(), &examples, sampling).unwrap();
        training.begin_step(0).unwrap();
        training.value(&theta).unwrap()
    };
    let of = |net: &Net<f32>| score(net, &theta, &buffers, &examples).unwrap();
    assert!((value(&smooth) - value(&plain)).abs() > 1e-2);
    assert_eq!(of(&smooth), of(&plain));
    assert!((value(&plain) - of(&plain).loss).abs() < 1e-5);
}

#[test]
fn the_order_is_the_streams_shuffle() {
    // Documented reproducibility: stream "order" of the epoch, Fisher and Yates as in `rand`.
    let mut order: Vec<usize> = (0..12).collect();
    order.shuffle(&mut Seed(7).stream("order", 1));
    let expected: Vec<u64> = order.iter().map(|i| 1 << i).collect();
    assert_eq!(drawn(&powers(12), 1, 7, 24)[12..], expected);
}

#[test]
fn a_mini_batch_in_parts_has_the_derivatives_and_layer_statistics_of_the_whole() {
    let (train, _) = digits();
    let examples = Examples::set(train.clone(), &standardize(&train)).unwrap();
    let mut net = Net::new(named("mlp:64-20-10:tanh", &[8, 8, 1], 10).unwrap()).unwrap();
    let (theta, buffers) = initial(net.graph(), &Init::PyTorch, Seed(5)).unwrap();
    let n = theta.len();
    let probe = vec![(0..n).map(|i| (0.3 * i as f32).sin()).collect::<Vec<f32>>()];
    for class_weights in [None, Some((0..10).map(|k| 0.5 + f64::from(k)).collect::<Vec<f64>>())] {
        net.loss.class_weights = class_weights;
        let see = |accumulate| {
            // 50 examples in 7 parts are of unequal size.
            let sampling = Sampling { batch: 50, accumulate, ..Sampling::default() };
            let mut training =
                Training::new(&net, theta.clone(), buffers.clone(), &examples, sampling).unwrap();
            training.begin_step(3).unwrap();
            let (mut grad, mut product, mut stats) = (vec![0.0; n], vec![vec![0.0; n]], Vec::new());
            let value = training.value_grad_hvp(&theta, &mut grad, &probe, &mut product).unwrap();
            assert!((training.value(&theta).unwrap() - value).abs() < 1e-6);
            let layers = training.value_grad_layers(&theta, &mut grad, true, &mut stats).unwrap();
            assert!((layers - value).abs() < 1e-6);
            let mut all = vec![vec![value]];
            all.push(grad.iter().map(|x| f64::from(*x)).collect());
            all.push(product[0].iter().map(|x| f64::from(*x)).collect());
            for layer in stats {
                let moments = layer.moments.unwrap();
                all.extend([layer.input_mean, layer.output_grad, moments.input, moments.output]);
                all.push(vec![layer.rows as f64]);
            }
            all
        };
        let whole = see(1);
        for parts in [2, 7, 50] {
            for (a, b) in see(parts).iter().zip(&whole) {
                let largest = b.iter().fold(0f64, |m, x| m.max(x.abs()));
                let differs = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(differs <= 2e-5 * largest, "{parts} parts: {differs} of {largest}");
            }
        }
    }
    let refused = |accumulate| {
        let sampling = Sampling { batch: 50, accumulate, ..Sampling::default() };
        Training::new(&net, theta.clone(), buffers.clone(), &examples, sampling).map(drop)
    };
    assert!(matches!(refused(0), Err(TrainError::Accumulate { .. })));
    assert!(matches!(refused(51), Err(TrainError::Accumulate { .. })));
}
