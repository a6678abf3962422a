//! Losses, gradients and Hessian-vector products against JAX in double precision: the fixtures are
//! written by `peers/net_fixtures.py`.

use std::path::Path;

use serde::Deserialize;
use thalweg_net::{Batch, Graph, Loss, Mode, Net, Pass, Targets};

#[derive(Deserialize)]
struct Fixture {
    graph: serde_json::Value,
    x: Vec<f64>,
    labels: Option<Vec<u32>>,
    values: Option<Vec<f64>>,
    #[serde(default)]
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
    example_weights: Option<Vec<f64>>,
    theta: Vec<f64>,
    probe: Vec<f64>,
    loss: f64,
    grad: Vec<f64>,
    hvp: Vec<f64>,
}

/// Largest difference, relative to the largest number expected.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let top = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / top
}

#[test]
fn agrees_with_jax() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (mut seen, mut worst) = (0, 0.0f64);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let f: Fixture = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut net = Net::<f64>::new(Graph::from_json(&f.graph).unwrap()).unwrap();
        net.loss = Loss { label_smoothing: f.label_smoothing, class_weights: f.class_weights.clone() };
        let targets = match (&f.labels, &f.values) {
            (Some(labels), _) => Targets::Classes(labels),
            (None, Some(values)) => Targets::Values(values),
            _ => panic!("{} has no targets", path.display()),
        };
        let batch = Batch { x: &f.x, targets, weights: f.example_weights.as_deref() };
        let (n, mut pass) = (f.theta.len(), Pass::default());
        let (mut grad, mut product, buffers) =
            (vec![0.0; n], vec![vec![0.0; n]], vec![0.0; net.buffers().len()]);
        let loss = pass
            .loss_grad_hvp(
                &net,
                &f.theta,
                &buffers,
                &batch,
                Mode::train(),
                &mut grad,
                &[&f.probe],
                &mut product,
            )
            .unwrap();
        let errors = [distance(&[loss], &[f.loss]), distance(&grad, &f.grad), distance(&product[0], &f.hvp)];
        assert!(
            errors.iter().all(|e| *e < 1e-9),
            "{}: loss, gradient, product off by {errors:?}",
            path.display()
        );
        (seen, worst) = (seen + 1, errors.into_iter().fold(worst, f64::max));
    }
    assert!(seen >= 20, "only {seen} fixtures were found");
    println!("{seen} networks agree to {worst:.1e}");
}
