//! Orders by dynamic programming over subsets of nodes (Silander and Myllymäki 2006): the best order
//! of a set ends in some node, preceded by the best order of the others.

use faer::Mat;

/// The best order of `d` nodes and its score, where `last(v, t)` is v's score behind the set `t` of
/// bits, or infinite if v may not stand there.
pub(crate) fn best_order(d: usize, last: impl Fn(usize, usize) -> f64) -> (Vec<usize>, f64) {
    let mut best = vec![f64::INFINITY; 1 << d];
    let mut ends = vec![0u8; 1 << d];
    best[0] = 0.0;
    for t in 1..1usize << d {
        let mut rest = t;
        while rest != 0 {
            let v = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let before = t & !(1 << v);
            let score = best[before] + last(v, before);
            if score < best[t] {
                (best[t], ends[t]) = (score, v as u8);
            }
        }
    }
    let mut t = (1 << d) - 1;
    let mut order = Vec::with_capacity(d);
    while t != 0 {
        let v = usize::from(ends[t]);
        order.push(v);
        t &= !(1 << v);
    }
    order.reverse();
    (order, best[(1 << d) - 1])
}

/// Variance of each node given each set of others: entry `t * d + v` for v ∉ t, from a covariance
/// matrix. One sweep of the matrix per set.
pub(crate) fn conditional_variances(s: &Mat<f64>) -> Vec<f64> {
    let d = s.nrows();
    let mut table = vec![0.0; d << d];
    // One matrix per depth of the recursion.
    let mut stack = vec![vec![0.0; d * d]; d + 1];
    for i in 0..d {
        for j in 0..d {
            stack[0][i * d + j] = s[(i, j)];
        }
    }
    visit(d, 0, 0, &mut stack, &mut table);
    table
}

/// Fills in the set `t` and all that add nodes ≥ `from` to it; `stack[0]` is the covariance given t.
fn visit(d: usize, t: usize, from: usize, stack: &mut [Vec<f64>], table: &mut [f64]) {
    let [m, rest @ ..] = stack else { return };
    for v in (0..d).filter(|v| t >> v & 1 == 0) {
        table[t * d + v] = m[v * d + v].max(0.0);
    }
    for i in from..d {
        if let [next, ..] = rest {
            let pivot = m[i * d + i];
            for a in 0..d {
                let f = if pivot > 0.0 { m[a * d + i] / pivot } else { 0.0 };
                for b in 0..d {
                    next[a * d + b] = m[a * d + b] - f * m[i * d + b];
                }
            }
        }
        visit(d, t | 1 << i, i + 1, rest, table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::Factor;

    #[test]
    fn the_optimum_is_that_of_all_orders() {
        let d = 6;
        let s = thalweg_testing::covariance(d, 2);
        let table = conditional_variances(&s);
        let (order, score) = best_order(d, |v, t| 0.5 * table[t * d + v]);
        assert!((Factor::new(&s, &order).unwrap().score() - score).abs() < 1e-12);
        let mut least = f64::INFINITY;
        let mut all = vec![Vec::new()];
        for _ in 0..d {
            let grown = |o: &Vec<usize>| {
                let o = o.clone();
                (0..d).filter(|v| !o.contains(v)).map(|v| [&o[..], &[v]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(grown).collect();
        }
        for order in all {
            least = least.min(Factor::new(&s, &order).unwrap().score());
        }
        assert!((least - score).abs() < 1e-12);
    }
}
