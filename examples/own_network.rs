//! A network of one's own, layer by layer, trained by any method on data of one's own.

use thalweg::core::Seed;
use thalweg::data::{Dataset, Targets, Values};
use thalweg::mkor::Mkor;
use thalweg::net::{Graph, Init, Net, initial};
use thalweg::train::{Examples, Plan, Sampling, Training, run, score, standardize};

/// Points in the plane, labelled by the spiral arm that they lie on.
fn spirals(n: usize) -> Dataset {
    let (mut points, mut labels) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (arm, t) = ((i % 3) as f32, (i / 3) as f32 / (n / 3) as f32);
        let angle = 4.0 * t + 2.1 * arm;
        points.extend([t * angle.cos(), t * angle.sin()]);
        labels.push(i as u32 % 3);
    }
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Dataset { x: Values::Floats(points), shape: vec![2], targets: Targets::Classes { labels, names } }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::from_toml(
        r#"
        input = [2]
        layers = [
            { op = "linear", out = 32 },
            { op = "act", act = "gelu" },
            { op = "linear", out = 32 },
            { op = "act", act = "gelu" },
            { op = "linear", out = 3 },
        ]
        "#,
    )?;
    let data = spirals(600);
    let examples = Examples::set(data.clone(), &standardize(&data))?;
    let net = Net::new(graph)?;
    let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(1))?;
    let sampling = Sampling { batch: 100, ..Sampling::default() };
    let mut training = Training::new(&net, theta, buffers, &examples, sampling)?;
    let outcome = run(&Mkor::default(), &mut training, &Plan { steps: 600, ..Plan::default() })?;
    let score = score(&net, &outcome.solution, training.buffers(), &examples)?;
    println!("{:.1} % of the points on the right arm", 100.0 * score.accuracy.unwrap_or_default());
    Ok(())
}
