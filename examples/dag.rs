//! A graph of eleven proteins from measurements in single cells, beside the network that the literature agrees on;
//! then the graph of another method, improved.

use thalweg::dag::{ScoreName, Settings, fit};
use thalweg::tasks::{Host, TaskError};
use thalweg::topo::baselines::Notears;
use thalweg::topo::metrics::compare;
use thalweg::topo::{FitOptions, Topo, sachs};

fn main() -> Result<(), TaskError> {
    let settings = Settings {
        data: Some("sachs".into()),
        log: Some(true),
        standardize: Some(true),
        score: Some(ScoreName::Bic),
        ..Settings::default()
    };
    let graph = fit(&settings, None, &Host::default())?;
    print!("{}", graph.text());
    let found = compare(&sachs::truth(), &graph.learned.graph)?;
    println!(
        "{} edges; {} edits of undirected edges lead to the known network",
        found.nnz, found.skeleton_shd
    );

    let sample = graph.sample.standardized();
    let other = Notears { lambda: 0.05, ..Notears::default() }.fit(&sample.covariance())?;
    let polished = Topo::default().polish(&other, &sample, &FitOptions::default())?;
    let before = polished.before.unwrap_or(f64::NAN);
    println!(
        "NOTEARS: score {before:.4}, refitted {:.4}, after swaps {:.4}",
        polished.refit, polished.learned.score
    );
    Ok(())
}
