//! Trains a small network on the embedded digits with AdaHessian and with SGD, side by side.
//!
//! `fit` does what `thalweg train` does: the same settings give the same network, to the bit. With a folder in
//! place of `None` it writes the whole run folder, from which an interrupted run goes on.

use thalweg::tasks::{Host, TaskError};
use thalweg::train::{Settings, fit};

fn main() -> Result<(), TaskError> {
    let settings = Settings {
        data: Some("digits".into()), // or a folder of MNIST or CIFAR files, a CSV table, an npz archive, a text
        model: Some("mlp:64-64-10".into()),
        compare: Some(vec!["adahessian".into(), "sgd".into()]),
        epochs: Some(5),
        seed: Some(1),
        ..Settings::default()
    };
    let fitted = fit(&settings, None, &Host::default())?;
    println!("{}", fitted.description);
    for (summary, model) in &fitted.trained {
        let accuracy = 100.0 * summary.test_accuracy.unwrap_or_default();
        println!("{:<12} {accuracy:.2} % after {} steps", summary.method, summary.steps);
        if let Some(model) = model {
            println!("{:<12} {} parameters", "", model.theta.len());
        }
    }
    Ok(())
}
