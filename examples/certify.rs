//! Trains a network, proves how much its outputs can change, and which samples no small change can turn.

use thalweg::certify::{Settings, certify};
use thalweg::tasks::{Folder, Host, Opening, TaskError};
use thalweg::train;

fn main() -> Result<(), TaskError> {
    let host = Host::default();
    let place = std::env::temp_dir().join("thalweg-example-certify");
    let training = train::Settings {
        data: Some("digits".into()),
        model: Some("mlp:64-16-16-10:maxmin".into()),
        epochs: Some(10),
        ..train::Settings::default()
    };
    train::fit(&training, Some(&Folder::open(&place, Opening::Overwrite)?), &host)?;

    let settings = Settings { model: Some(place.join(train::MODEL)), ..Settings::default() };
    let all = certify(&Settings { bound: Some("all".into()), ..settings.clone() }, None, &host)?;
    print!("{}", all.text());

    let data = Some("digits".into());
    let samples = Settings { data, eps: Some(vec![0.001, 0.01, 0.1]), limit: Some(100), ..settings };
    print!("{}", certify(&samples, None, &host)?.text());
    Ok(())
}
