//! Times of the products as one JSON object, for `peers/mfac_products.py`.
//!
//!     cargo run --release -p thalweg-mfac --example products -- GRADIENTS OUT M DAMP [ROUNDS] [THREADS]
//!
//! GRADIENTS holds (M + 1) · d numbers, `f32` in the machine's order: M gradients and a vector x.
//! The product F⁻¹x is written to OUT in the same form, then the diagonal of F⁻¹. Seconds are the
//! least of the rounds; `step` is one insertion into a full window with its product, `copy` copies
//! as many numbers as the window has.

use std::time::Instant;

use rayon::prelude::*;
use thalweg_mfac::fisher::FisherOptions;
use thalweg_mfac::gradients::{Gradients, Storage};
use thalweg_mfac::{StaticFisher, WindowFisher};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, m, damping, rest @ ..] = &args[..] else {
        return Err("usage: products GRADIENTS OUT M DAMP [ROUNDS] [THREADS]".into());
    };
    let (m, damping): (usize, f64) = (m.parse()?, damping.parse()?);
    let rounds: usize = rest.first().map_or(Ok(3), |r| r.parse())?;
    let threads: usize = rest.get(1).map_or(Ok(1), |t| t.parse())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| measure(input, output, m, damping, rounds))
}

fn measure(input: &str, output: &str, m: usize, damping: f64, rounds: usize) -> Result<(), Error> {
    let bytes = std::fs::read(input)?;
    let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_ne_bytes(*b)).collect();
    let d = numbers.len() / (m + 1);
    let (flat, x) = (&numbers[..m * d], &numbers[m * d..]);
    let gradients = Gradients::from_flat(flat.to_vec(), m)?;
    let options = FisherOptions { damping, block: 0 };

    let mut fisher = StaticFisher::new(gradients.clone(), options)?;
    let mut precompute = f64::INFINITY;
    for _ in 0..rounds {
        let copy = gradients.clone();
        let start = Instant::now();
        fisher = StaticFisher::new(copy, options)?;
        precompute = precompute.min(start.elapsed().as_secs_f64());
    }
    let (ihvp_seconds, product) = least(rounds, || fisher.ihvp(x))?;
    let (diag_seconds, diag) = least(rounds, || Ok(fisher.diag()))?;
    let (element_seconds, _) = least(rounds, || fisher.element(0, d / 2))?;

    let mut window = WindowFisher::new::<f32>(m, d, damping, Storage::Full)?;
    flat.chunks(d).try_for_each(|g| window.insert(g))?;
    let mut u = vec![0f32; d];
    let (step_seconds, _) = least(rounds, || {
        window.insert(&flat[..d])?;
        window.precondition_newest(&mut u)
    })?;
    let mut to = vec![0f32; m * d];
    let (copy_seconds, _) = least(rounds, || {
        let pieces = to.par_chunks_mut(1 << 14).zip(flat.par_chunks(1 << 14));
        pieces.for_each(|(to, from)| to.copy_from_slice(from));
        Ok(())
    })?;

    let mut out: Vec<u8> = product.iter().flat_map(|y| y.to_ne_bytes()).collect();
    out.extend(diag.iter().flat_map(|y| (*y as f32).to_ne_bytes()));
    std::fs::write(output, out)?;
    println!(
        "{{\"precompute\":{precompute:e},\"ihvp\":{ihvp_seconds:e},\"diag\":{diag_seconds:e},\
         \"element\":{element_seconds:e},\"step\":{step_seconds:e},\"copy\":{copy_seconds:e}}}"
    );
    Ok(())
}

/// Least seconds of so many calls, and the last result.
fn least<T>(
    rounds: usize,
    mut f: impl FnMut() -> Result<T, thalweg_mfac::MfacError>,
) -> Result<(f64, T), Error> {
    let (mut best, mut result) = (f64::INFINITY, f()?);
    for _ in 0..rounds {
        let start = Instant::now();
        result = f()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((best, result))
}
