use thalweg_core::{Seed, normal};

use crate::theory::{Map, gradient};

/// x ← x − Δt ∇f(x) + heat/log(k + 1) √Δt ξ, k = 1, 2, …: gradient descent, and with `heat` > 0
/// annealed Langevin. The path with its start, `steps + 1` points.
pub fn langevin(f: Map<'_>, start: &[f64], steps: u64, dt: f64, heat: f64, seed: Seed) -> Vec<Vec<f64>> {
    let (mut rng, mut xi) = (seed.stream("langevin", 0), vec![0.0; start.len()]);
    let mut path = vec![start.to_vec()];
    let mut x = start.to_vec();
    for k in 1..=steps {
        let slope = gradient(f, &x);
        if heat > 0.0 {
            normal(&mut rng, &mut xi);
        }
        let noise = heat / ((k + 1) as f64).ln() * dt.sqrt();
        x.iter_mut().zip(&slope).zip(&xi).for_each(|((x, g), xi)| *x += noise * xi - dt * g);
        path.push(x.clone());
    }
    path
}
