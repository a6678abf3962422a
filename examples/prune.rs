//! Trains a network, then removes nine tenths of its weights: by the inverse Fisher matrix and by magnitude.

use thalweg::mfac::Saliency;
use thalweg::prune::{Settings, prune};
use thalweg::tasks::{Folder, Host, Opening, TaskError};
use thalweg::train;

fn main() -> Result<(), TaskError> {
    let host = Host::default();
    let place = std::env::temp_dir().join("thalweg-example-prune");
    let training = train::Settings {
        data: Some("digits".into()),
        model: Some("mlp:64-64-10".into()),
        epochs: Some(10),
        ..train::Settings::default()
    };
    train::fit(&training, Some(&Folder::open(&place, Opening::Overwrite)?), &host)?;

    let settings = Settings {
        model: Some(place.join(train::MODEL)),
        data: Some("digits".into()),
        compare: Some(vec![Saliency::Mfac, Saliency::Magnitude]),
        sparsity: Some(vec![0.9]),
        ..Settings::default()
    };
    let outcome = prune(&settings, None, &host)?;
    println!("dense        {:.2} %", 100.0 * outcome.dense.accuracy.unwrap_or_default());
    for pruned in &outcome.models {
        let accuracy = 100.0 * pruned.accuracy.unwrap_or_default();
        println!(
            "{:<12} {accuracy:.2} % with {:.0} % of the weights gone",
            pruned.method,
            100.0 * pruned.sparsity
        );
    }
    Ok(())
}
