use std::collections::HashSet;

use faer::Mat;
use thalweg_linalg::dense::product;

use crate::TopoError;

/// Observations: one row per sample, one named column per variable. All cells are finite and no
/// column is constant.
#[derive(Clone, Debug)]
pub struct Sample {
    names: Vec<String>,
    x: Mat<f64>,
}

impl Sample {
    /// Checks and takes data `x` (samples × variables).
    ///
    /// # Errors
    /// A cell that is not finite, a constant column, two equal names, names that do not match, fewer
    /// than two rows.
    pub fn new(names: Vec<String>, x: Mat<f64>) -> Result<Self, TopoError> {
        let (rows, columns) = (x.nrows(), x.ncols());
        if rows < 2 || columns == 0 {
            return Err(TopoError::Empty { rows, columns });
        }
        if names.len() != columns {
            let what = "the list of names".into();
            return Err(TopoError::Size { what, found: names.len(), needed: columns });
        }
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|n| !seen.insert(n.as_str())) {
            return Err(TopoError::Duplicate(twice.clone()));
        }
        for i in 0..rows {
            if let Some(j) = (0..columns).find(|j| !x[(i, *j)].is_finite()) {
                let (row, column, value) = (i + 1, names[j].clone(), x[(i, j)]);
                return Err(TopoError::NotFinite { row, column, value });
            }
        }
        if let Some(j) = (0..columns).find(|j| (1..rows).all(|i| x[(i, *j)] == x[(0, *j)])) {
            return Err(TopoError::Constant(names[j].clone()));
        }
        Ok(Self { names, x })
    }

    /// As [`Sample::new`], with the names X0, X1, …
    ///
    /// # Errors
    /// As [`Sample::new`].
    pub fn unnamed(x: Mat<f64>) -> Result<Self, TopoError> {
        Self::new((0..x.ncols()).map(|j| format!("X{j}")).collect(), x)
    }

    /// Names of the variables.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The observations, samples × variables.
    pub fn x(&self) -> &Mat<f64> {
        &self.x
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.x.nrows()
    }

    /// Number of variables.
    pub fn d(&self) -> usize {
        self.x.ncols()
    }

    /// Means of the columns.
    pub fn means(&self) -> Vec<f64> {
        let mean = |j| self.x.col(j).iter().sum::<f64>() / self.n() as f64;
        (0..self.d()).map(mean).collect()
    }

    /// The observations less their means.
    pub fn centred(&self) -> Mat<f64> {
        let means = self.means();
        Mat::from_fn(self.n(), self.d(), |i, j| self.x[(i, j)] - means[j])
    }

    /// XᵀX / n of the centred observations.
    pub fn covariance(&self) -> Mat<f64> {
        let x = self.centred();
        let s = product(x.transpose(), &x);
        Mat::from_fn(self.d(), self.d(), |i, j| 0.5 * (s[(i, j)] + s[(j, i)]) / self.n() as f64)
    }

    /// Each column centred and divided by its standard deviation.
    pub fn standardized(&self) -> Self {
        let (x, s) = (self.centred(), self.covariance());
        let x = Mat::from_fn(self.n(), self.d(), |i, j| x[(i, j)] / s[(j, j)].sqrt());
        Self { names: self.names.clone(), x }
    }

    /// The natural logarithm of every cell, for positive skewed data; `None` if a cell is ≤ 0.
    pub fn log(&self) -> Option<Self> {
        let positive = (0..self.d()).all(|j| self.x.col(j).iter().all(|v| *v > 0.0));
        let log = || Mat::from_fn(self.n(), self.d(), |i, j| self.x[(i, j)].ln());
        positive.then(|| Self { names: self.names.clone(), x: log() })
    }

    /// The names of these variables, with commas.
    pub(crate) fn list(&self, variables: &[usize]) -> String {
        variables.iter().map(|v| self.names[*v].as_str()).collect::<Vec<_>>().join(", ")
    }
}
