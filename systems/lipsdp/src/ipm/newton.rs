use faer::Mat;
use thalweg_linalg::dense::Cholesky;

/// The factorised Newton matrix, scaled to unit diagonal.
pub(super) struct Newton {
    factor: Cholesky,
    scale: Vec<f64>,
}

impl Newton {
    pub fn new(h: &Mat<f64>) -> Option<Self> {
        let n = h.nrows();
        let scale: Vec<f64> = (0..n).map(|i| 1.0 / h[(i, i)].sqrt()).collect();
        if scale.iter().any(|s| !s.is_finite()) {
            return None;
        }
        // The factorisation reads the lower triangle only.
        let entry = |i: usize, j: usize| if i < j { 0.0 } else { h[(i, j)] * scale[i] * scale[j] };
        let mut scaled = Mat::from_fn(n, n, entry);
        let mut ridge = 1e-14;
        while ridge < 1e-3 {
            (0..n).for_each(|i| scaled[(i, i)] = 1.0 + ridge);
            if let Ok(factor) = Cholesky::new(&scaled) {
                return Some(Self { factor, scale });
            }
            ridge *= 10.0;
        }
        None
    }

    pub fn solve(&self, rhs: &[f64]) -> Vec<f64> {
        let b = Mat::from_fn(rhs.len(), 1, |i, _| rhs[i] * self.scale[i]);
        let x = self.factor.solve(&b);
        (0..rhs.len()).map(|i| x[(i, 0)] * self.scale[i]).collect()
    }
}
