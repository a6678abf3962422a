//! Ridge and logistic regression.

use faer::Mat;
use thalweg_core::Invalid;
use thalweg_linalg::dense::Cholesky;

use crate::samples::{add, dot};
use crate::{ConvexError, Loss, Network, Samples};

/// The linear model c of least ℓ(Xc, y) + (β/2)‖c‖²: ridge regression for the squared loss, logistic
/// regression (in the convention of [`Loss::Bce`]) otherwise, by Newton's method.
///
/// # Errors
/// β ≤ 0, targets that the loss does not know.
pub fn linear(samples: &Samples, y: &[f64], loss: Loss, beta: f64) -> Result<Network, ConvexError> {
    Invalid::positive("beta", beta)?;
    ConvexError::check("targets", y.len(), samples.n())?;
    loss.check(y)?;
    let loss = if loss == Loss::Squared { loss } else { Loss::Bce };
    let d = samples.d();
    let mut c = vec![0.0; d];
    let value = |c: &[f64]| loss.value(&samples.times(c), y) + 0.5 * beta * dot(c, c);
    for _ in 0..50 {
        let mut gradient: Vec<f64> = c.iter().map(|c| beta * c).collect();
        let mut hessian = Mat::<f64>::from_fn(d, d, |i, j| if i == j { beta } else { 0.0 });
        for ((x, r), y) in samples.rows().zip(samples.times(&c)).zip(y) {
            let slope = loss.slope(r, *y);
            let curvature = if loss == Loss::Squared { 1.0 } else { slope.abs() * (2.0 - slope.abs()) };
            add(&mut gradient, slope, x);
            for j in 0..d {
                add(hessian.col_as_slice_mut(j), curvature * x[j], x);
            }
        }
        let factor = Cholesky::new(&hessian).map_err(|_| ConvexError::Factor { what: "Hessian" })?;
        let step = factor.solve(Mat::from_fn(d, 1, |i, _| gradient[i]));
        let (before, mut length) = (value(&c), 1.0);
        let next = loop {
            let next: Vec<f64> = (0..d).map(|i| c[i] - length * step[(i, 0)]).collect();
            if value(&next) <= before || length < 1e-10 {
                break next;
            }
            length *= 0.5;
        };
        c = next;
        if dot(&gradient, step.col_as_slice(0)) <= 1e-14 * before.abs().max(1.0) {
            break;
        }
    }
    Ok(Network { neurons: Vec::new(), linear_part: Some(c), outputs: 1 })
}
