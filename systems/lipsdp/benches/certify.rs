//! Solve and proof on random networks, by method and size.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use thalweg_core::Seed;
use thalweg_lipsdp::{Activation, Affine, Bound, LipSdp, Mat, Network};
use thalweg_testing::normals;

fn network(activation: &str, widths: &[usize]) -> Network {
    let layer = |(i, w): (usize, &[usize])| {
        let data: Vec<f64> = normals(&mut Seed(1).stream("bench", i as u64), w[0] * w[1]);
        let scale = 1.0 / (w[0] as f64).sqrt();
        Affine::linear(Mat::from_fn(w[1], w[0], |r, c| scale * data[r * w[0] + c]))
    };
    let activation: Activation = activation.parse().expect("a known activation");
    Network::feedforward(widths.windows(2).enumerate().map(layer).collect(), &activation)
        .expect("layers that fit")
}

fn certify(c: &mut Criterion) {
    for (name, activation, widths) in [
        ("relu 64-32-32-10", "relu", vec![64, 32, 32, 10]),
        ("relu 784-50-10", "relu", vec![784, 50, 10]),
        ("maxmin 64-24-24-24-24-10", "maxmin", vec![64, 24, 24, 24, 24, 10]),
    ] {
        let net = network(activation, &widths);
        for bound in [Bound::Auto, Bound::FirstOrder, Bound::Product] {
            let settings = LipSdp { bound, ..LipSdp::default() };
            c.bench_function(&format!("{name}, {bound}"), |b| b.iter(|| settings.certify(black_box(&net))));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = certify
}
criterion_main!(benches);
