//! Random gradients and dense inverses.
use faer::Mat;
use thalweg_core::Seed;
use thalweg_mfac::fisher::FisherOptions;
use thalweg_mfac::gradients::{Gradients, Storage};
use thalweg_mfac::{MfacError, StaticFisher};
use thalweg_testing::normals;

pub fn random(seed: u64, n: usize) -> Vec<f64> {
    normals(&mut Seed(seed).stream("test", 0), n)
}

/// m gradients of d numbers.
pub fn rows(seed: u64, m: usize, d: usize) -> Vec<Vec<f64>> {
    random(seed, m * d).chunks(d).map(<[f64]>::to_vec).collect()
}

/// λI + GᵀG/m, without what couples different blocks.
pub fn dense(g: &[Vec<f64>], damping: f64, block: usize) -> Mat<f64> {
    let d = g[0].len();
    let block = if block == 0 { d } else { block };
    Mat::from_fn(d, d, |i, j| {
        let couples: f64 = g.iter().map(|g| g[i] * g[j]).sum::<f64>() / g.len() as f64;
        let delta = if i == j { damping } else { 0.0 };
        delta + if i / block == j / block { couples } else { 0.0 }
    })
}

pub fn inverse(a: &Mat<f64>) -> Mat<f64> {
    thalweg_linalg::dense::Lu::new(a).inverse()
}

pub fn times(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    (0..a.nrows()).map(|i| (0..a.ncols()).map(|j| a[(i, j)] * x[j]).sum()).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn fisher(g: &[Vec<f64>], damping: f64, block: usize) -> Result<StaticFisher, MfacError> {
    StaticFisher::new(Gradients::from_rows(g, Storage::Full)?, FisherOptions { damping, block })
}

/// ‖a − b‖∞ ≤ tolerance · ‖b‖∞.
#[track_caller]
pub fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let error = relative(a, b);
    assert!(error <= tolerance, "relative error {error:e}");
}

pub fn relative(a: &[f64], b: &[f64]) -> f64 {
    let largest = |x: &mut dyn Iterator<Item = f64>| {
        x.fold(0.0, |m: f64, x| if x.is_nan() { x } else { m.max(x.abs()) })
    };
    largest(&mut a.iter().zip(b).map(|(a, b)| a - b)) / largest(&mut b.iter().copied()).max(f64::MIN_POSITIVE)
}

pub fn entries(a: &Mat<f64>) -> Vec<f64> {
    a.row_iter().flat_map(|r| r.iter().copied().collect::<Vec<_>>()).collect()
}
