//! Times of steps and kernels, all measured in turn in one run; scaling exponents.

use std::time::Instant;

use anyhow::Result;
use thalweg::core::{Method, Problem, Seed};
use thalweg::train::Training;

/// Something that makes steps.
pub trait Timed {
    /// Makes `steps` steps; seconds per step.
    fn time(&mut self, steps: u64) -> Result<f64>;
}

/// A method in the middle of its run.
struct Stepper<'a, M: Method<Training<'a>>> {
    method: M,
    training: Training<'a>,
    state: M::State,
    t: u64,
}

/// A method at the start of a training.
pub fn stepper<'a, M>(method: M, mut training: Training<'a>) -> Result<Box<dyn Timed + 'a>>
where
    M: Method<Training<'a>> + 'a,
    M::State: 'a,
{
    let state = method.init(&mut training, Seed(1))?;
    Ok(Box::new(Stepper { method, training, state, t: 0 }))
}

impl<'a, M: Method<Training<'a>>> Timed for Stepper<'a, M> {
    fn time(&mut self, steps: u64) -> Result<f64> {
        let clock = Instant::now();
        for _ in 0..steps {
            self.training.begin_step(self.t)?;
            self.method.step(&mut self.training, &mut self.state)?;
            self.training.end_step()?;
            self.t += 1;
        }
        Ok(clock.elapsed().as_secs_f64() / steps as f64)
    }
}

/// Rounds that medians are taken over.
const ROUNDS: usize = 9;

/// Seconds per step of each method: medians of rounds in turn, of `steps` steps each after as many
/// for warming up.
pub fn in_turn(methods: &mut [(Box<dyn Timed + '_>, u64)]) -> Result<Vec<f64>> {
    for (method, steps) in methods.iter_mut() {
        method.time(*steps)?;
    }
    let mut times = vec![Vec::new(); methods.len()];
    for _ in 0..ROUNDS {
        for ((method, steps), times) in methods.iter_mut().zip(&mut times) {
            times.push(method.time(*steps)?);
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// Seconds of a call: the median of at least three, and of as many as fit into a tenth of a second.
pub fn seconds<T>(mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    seconds_after(|| Ok(()), |()| call())
}

/// As [`seconds`], of calls that use up what `prepare` makes beforehand.
pub fn seconds_after<A, T>(
    mut prepare: impl FnMut() -> Result<A>,
    mut call: impl FnMut(A) -> Result<T>,
) -> Result<f64> {
    let (mut times, total) = (Vec::new(), Instant::now());
    call(prepare()?)?;
    while times.len() < 3 || (total.elapsed().as_secs_f64() < 0.1 && times.len() < 1000) {
        let input = prepare()?;
        let clock = Instant::now();
        let output = std::hint::black_box(call(input)?);
        times.push(clock.elapsed().as_secs_f64());
        drop(output);
    }
    Ok(median(times))
}

/// The middle of some numbers, the larger of two; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The exponent k of y ∝ xᵏ: the slope of a straight line through the logarithms.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    covariance / logs.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
}
