//! The same programs, written as their authors wrote them, by a general conic solver.
//!
//! ```text
//! cargo test -p thalweg-lipsdp --features clarabel-oracle --test clarabel
//! ```
//!
//! needs the system's OpenBLAS (Debian: libopenblas-dev).
#![cfg(feature = "clarabel-oracle")]

// The BLAS and LAPACK that clarabel's cone calls.
#[link(name = "openblas")]
unsafe extern "C" {}

#[path = "suite/networks.rs"]
mod networks;

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use networks::*;
use thalweg_linalg::dense::product;
use thalweg_lipsdp::*;

/// Matrices with the variables that multiply them.
type Terms = Vec<(usize, Mat<f64>)>;

/// minimise x₀ subject to C_b + Σ x_j A_bj ⪰ 0 for every block b and x_j ≥ 0 for j in `signed`.
struct Sdp {
    variables: usize,
    signed: Vec<usize>,
    /// Constant and coefficients (variable, matrix).
    blocks: Vec<(Mat<f64>, Terms)>,
}

impl Sdp {
    fn solve(&self) -> f64 {
        let mut cones = vec![SupportedConeT::NonnegativeConeT(self.signed.len())];
        let mut b = vec![0.0; self.signed.len()];
        let mut columns: Vec<Vec<(usize, f64)>> = vec![Vec::new(); self.variables];
        for (row, j) in self.signed.iter().enumerate() {
            columns[*j].push((row, -1.0));
        }
        // The upper triangle by columns, off-diagonal entries times √2.
        let triangle = |m: &Mat<f64>| {
            let n = m.nrows();
            let entry = |(i, j): (usize, usize)| m[(i, j)] * if i == j { 1.0 } else { 2f64.sqrt() };
            (0..n).flat_map(|j| (0..=j).map(move |i| (i, j))).map(entry).collect::<Vec<_>>()
        };
        for (constant, terms) in &self.blocks {
            let at = b.len();
            b.extend(triangle(constant));
            for (j, a) in terms {
                let entries = triangle(a).into_iter().enumerate().filter(|e| e.1 != 0.0);
                columns[*j].extend(entries.map(|(k, x)| (at + k, -x)));
            }
            cones.push(SupportedConeT::PSDTriangleConeT(constant.nrows()));
        }
        let (mut pointers, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
        for column in &columns {
            rows.extend(column.iter().map(|c| c.0));
            values.extend(column.iter().map(|c| c.1));
            pointers.push(rows.len());
        }
        let a = CscMatrix::new(b.len(), self.variables, pointers, rows, values);
        let mut cost = vec![0.0; self.variables];
        cost[0] = 1.0;
        let settings = DefaultSettings {
            verbose: false,
            tol_gap_rel: 1e-9,
            tol_gap_abs: 1e-9,
            tol_feas: 1e-9,
            ..Default::default()
        };
        let p = CscMatrix::zeros((self.variables, self.variables));
        let mut solver = DefaultSolver::new(&p, &cost, &a, &b, &cones, settings).unwrap();
        solver.solve();
        let status = solver.solution.status;
        assert!(matches!(status, SolverStatus::Solved | SolverStatus::AlmostSolved), "{status:?}");
        solver.solution.obj_val.sqrt()
    }
}

fn weights(net: &Network) -> Vec<Mat<f64>> {
    let weight = |b: &Block| match b {
        Block::Affine(a) => Some(a.weight.clone()),
        _ => None,
    };
    net.blocks().iter().filter_map(weight).collect()
}

/// Fazlyab et al.: the block-tridiagonal inequality over (x₀, x₁, …).
fn neuron(net: &Network) -> f64 {
    let w = weights(net);
    let widths: Vec<usize> = w.iter().map(|w| w.ncols()).collect();
    let starts: Vec<usize> = widths.iter().scan(0, |s, n| Some(std::mem::replace(s, *s + n))).collect();
    let side: usize = widths.iter().sum();
    let last = &w[w.len() - 1];
    let mut constant = Mat::zeros(side, side);
    let at = starts[starts.len() - 1];
    let gram = product(last.transpose(), last);
    (0..gram.nrows())
        .for_each(|i| (0..gram.ncols()).for_each(|j| constant[(at + i, at + j)] = -gram[(i, j)]));
    let mut terms = vec![(0, Mat::from_fn(side, side, |i, j| f64::from(i == j && i < widths[0])))];
    for l in 0..w.len() - 1 {
        for i in 0..w[l].nrows() {
            // 2 t x (x − z) with z = wᵀ x_before.
            let mut a = Mat::zeros(side, side);
            let x = starts[l + 1] + i;
            a[(x, x)] = 2.0;
            for j in 0..widths[l] {
                a[(x, starts[l] + j)] = -w[l][(i, j)];
                a[(starts[l] + j, x)] = -w[l][(i, j)];
            }
            terms.push((terms.len(), a));
        }
    }
    Sdp { variables: terms.len(), signed: (1..terms.len()).collect(), blocks: vec![(constant, terms)] }
        .solve()
}

/// Pauli et al., MaxMin: T₀ = ρI, T_{l−1} − W_lᵀ T_l W_l ⪰ 0 with T = diag(λ)⊗I + BΓBᵀ; Γ diagonal (the
/// published form) or full (the tight one).
fn maxmin(net: &Network, full: bool) -> f64 {
    let w = weights(net);
    let mut count = 1;
    let mut signed = vec![];
    let mut basis: Vec<Terms> = vec![vec![(0, Mat::identity(w[0].ncols(), w[0].ncols()))]];
    for a in &w[..w.len() - 1] {
        let n = a.nrows();
        let mut terms = Vec::new();
        for g in 0..n / 2 {
            signed.push(count);
            terms.push((count, Mat::from_fn(n, n, |i, j| f64::from(i == j && i / 2 == g))));
            count += 1;
            for k in 0..=g {
                if k == g || full {
                    let between = |i: usize, j: usize| (i / 2, j / 2) == (g, k) || (i / 2, j / 2) == (k, g);
                    terms.push((count, Mat::from_fn(n, n, |i, j| f64::from(between(i, j)))));
                    count += 1;
                }
            }
        }
        basis.push(terms);
    }
    let mut blocks = Vec::new();
    for (l, a) in w.iter().enumerate() {
        let mut terms = basis[l].clone();
        let mut constant = Mat::zeros(a.ncols(), a.ncols());
        match basis.get(l + 1) {
            Some(next) => terms.extend(
                next.iter().map(|(j, t)| (*j, product(a.transpose(), product(t, a)) * faer::Scale(-1.0))),
            ),
            None => constant -= product(a.transpose(), a),
        }
        blocks.push((constant, terms));
    }
    Sdp { variables: count, signed, blocks }.solve()
}

fn ours(net: &Network, bound: Bound) -> f64 {
    LipSdp { bound, tol: 1e-9, ..LipSdp::default() }.certify(net).unwrap().bound
}

#[test]
fn a_general_conic_solver_agrees() {
    for seed in 0..5 {
        let net = random(&"relu".parse().unwrap(), &[5, 8, 8, 6, 4], seed);
        let (a, b) = (ours(&net, Bound::Neuron), neuron(&net));
        assert!((a / b - 1.0).abs() < 1e-6, "neuron: {a} and {b}");
        let net = random(&"maxmin".parse().unwrap(), &[5, 8, 8, 6, 4], seed);
        for (bound, full) in [(Bound::NsrPaper, false), (Bound::Nsr, true)] {
            let (a, b) = (ours(&net, bound), maxmin(&net, full));
            assert!((a / b - 1.0).abs() < 1e-6, "{bound}: {a} and {b}");
        }
    }
}
