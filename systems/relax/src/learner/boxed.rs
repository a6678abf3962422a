//! Least squares in a box, from normal equations with a handful of unknowns.

/// Gram matrix, right-hand side: min ½ θᵀGθ − hᵀθ subject to |θⱼ| ≤ boundⱼ, from a guess θ.
///
/// An active-set method: minimise over the free unknowns; where that leaves the box, go as far as the
/// box allows and bind the unknown that stops there; at a minimum, release the bound unknown that
/// pulls inwards most. `g` is row by row, `[m · m]`; a ridge of 10⁻¹⁰ of its trace picks the small
/// solution where several fit alike. True if the solution lies on the boundary.
pub fn least_squares(g: &[f64], h: &[f64], bound: &[f64], theta: &mut [f64]) -> bool {
    let m = h.len();
    let ridge = 1e-10 * (0..m).map(|i| g[i * m + i]).sum::<f64>();
    let entry = |i: usize, j: usize| g[i * m + j] + if i == j { ridge } else { 0.0 };
    let mut free: Vec<usize> = (0..m).collect();
    for (t, b) in theta.iter_mut().zip(bound) {
        *t = t.clamp(-b, *b);
    }
    for _ in 0..20 * m {
        // The minimum over the free unknowns.
        let right = |&i: &usize| {
            h[i] - (0..m).filter(|j| !free.contains(j)).map(|j| entry(i, j) * theta[j]).sum::<f64>()
        };
        let goal =
            cholesky_solve(free.len(), |a, b| entry(free[a], free[b]), free.iter().map(right).collect());
        let reach = |a: usize| {
            let (i, step) = (free[a], goal[a] - theta[free[a]]);
            if goal[a].abs() <= bound[i] { 1.0 } else { (bound[i].copysign(step) - theta[i]) / step }
        };
        let first = (0..free.len()).map(|a| (reach(a), a)).min_by(|a, b| a.0.total_cmp(&b.0));
        let length = first.map_or(1.0, |f| f.0.clamp(0.0, 1.0));
        for (a, &i) in free.iter().enumerate() {
            theta[i] += length * (goal[a] - theta[i]);
        }
        if let Some((_, a)) = first.filter(|_| length < 1.0) {
            let i = free.remove(a);
            theta[i] = bound[i].copysign(theta[i]);
            continue;
        }
        let gradient = |i: usize| (0..m).map(|j| entry(i, j) * theta[j]).sum::<f64>() - h[i];
        // At an upper bound a positive gradient pulls inwards, at a lower bound a negative one.
        let pull = |i: &usize| gradient(*i) * theta[*i].signum();
        let bound_unknowns = (0..m).filter(|i| !free.contains(i));
        match bound_unknowns
            .max_by(|a, b| pull(a).total_cmp(&pull(b)))
            .filter(|i| pull(i) > ridge * bound[*i])
        {
            Some(i) => free.push(i),
            None => break,
        }
    }
    free.len() < m
}

/// Solves a positive definite system of a few unknowns, given by its entries.
fn cholesky_solve(n: usize, entry: impl Fn(usize, usize) -> f64, mut x: Vec<f64>) -> Vec<f64> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let rest = entry(i, j) - (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum::<f64>();
            l[i * n + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / l[j * n + j] };
        }
        x[i] = (x[i] - (0..i).map(|k| l[i * n + k] * x[k]).sum::<f64>()) / l[i * n + i];
    }
    for i in (0..n).rev() {
        x[i] = (x[i] - (i + 1..n).map(|k| l[k * n + i] * x[k]).sum::<f64>()) / l[i * n + i];
    }
    x
}
