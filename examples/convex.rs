//! Two-layer ReLU networks for the digits, trained as convex programs: how far each is from the best of its patterns
//! is proved.

use thalweg::fit::{Settings, convex_relu};
use thalweg::tasks::Host;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings {
        train: Some("digits".into()),
        limit: Some(100),
        patterns: Some("10".parse()?),
        ..Settings::default()
    };
    for beta in ["1", "0.1"] {
        let fit =
            convex_relu(&Settings { beta: Some(beta.parse()?), ..settings.clone() }, None, &Host::default())?;
        println!("β = {beta}: {} neurons", fit.summary.neurons);
        println!("{}\n", fit.summary.proof());
    }
    Ok(())
}
