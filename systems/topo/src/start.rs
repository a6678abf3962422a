//! Orders to start from.

use faer::Mat;
use rand::seq::SliceRandom;
use thalweg_core::Seed;

/// Random order number `index` of a seed.
pub fn random_order(d: usize, seed: Seed, index: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..d).collect();
    order.shuffle(&mut seed.stream("topo-order", index));
    order
}

/// Variables by rising variance. Finds simulated graphs from their units alone, which standardizing
/// takes away.
pub fn variance_order(s: &Mat<f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..s.nrows()).collect();
    order.sort_by(|a, b| s[(*a, *a)].total_cmp(&s[(*b, *b)]).then(a.cmp(b)));
    order
}

/// Always the variable with the least variance given those chosen (Chen, Drton and Wang 2019): right in
/// the limit if all noises have one variance.
pub fn top_down(s: &Mat<f64>) -> Vec<usize> {
    let d = s.nrows();
    let mut left: Vec<usize> = (0..d).collect();
    let mut variance: Vec<f64> = (0..d).map(|v| s[(v, v)]).collect();
    // Columns of the pivoted Cholesky factor.
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(d);
    let mut order = Vec::with_capacity(d);
    while let Some(i) = (0..left.len()).min_by(|a, b| variance[left[*a]].total_cmp(&variance[left[*b]])) {
        let v = left.remove(i);
        let pivot = variance[v].max(f64::MIN_POSITIVE).sqrt();
        let mut column = vec![0.0; d];
        for &u in &left {
            column[u] = s[(u, v)];
        }
        for known in &columns {
            let f = known[v];
            left.iter().for_each(|u| column[*u] -= f * known[*u]);
        }
        for &u in &left {
            column[u] /= pivot;
            variance[u] -= column[u] * column[u];
        }
        columns.push(column);
        order.push(v);
    }
    order
}
