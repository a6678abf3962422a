//! Two-layer ReLU networks trained to certified global optimality, plain and robust.
//!
//! A network f(x) = Σ_j (xᵀu_j)₊ α_j with weight decay is *exactly* a finite convex program once the
//! activation patterns of the training set are listed: training has one optimum, a lower bound, and
//! a stopping rule that means something. For small and medium tabular or feature data where a
//! reproducible model is wanted without tuning seeds and rates, a proof of how far from optimal it
//! is, or a model whose worst-case training loss under ℓ∞ perturbation is known.
//!
//! Y. Bai, T. Gautam, S. Sojoudi, *Efficient Global Optimization of Two-layer ReLU Networks:
//! Quadratic-time Algorithms and Adversarial Training*, SIAM J. Math. Data Science 2023,
//! arXiv:2201.01965; the convex program by M. Pilanci and T. Ergen, *Neural Networks are Convex
//! Regularizers*, ICML 2020.
//!
//! ```
//! use thalweg_convex_relu::{ConvexRelu, Loss, PatternChoice, Samples};
//!
//! // Two points, y = 2 and −1: the optimum is 3β − β².
//! let samples = Samples::new(vec![1.0, -1.0], 1)?;
//! let patterns = PatternChoice::All;
//! let settings = ConvexRelu { loss: Loss::Squared, beta: 0.5, patterns, ..Default::default() };
//! let fit = settings.fit(&samples, &[2.0, -1.0])?;
//! assert!((fit.nonconvex_objective - 1.25).abs() < 1e-6 && fit.certificate.gap < 1e-6);
//! assert!((fit.network.predict(&[1.0])?[0] - 1.5).abs() < 1e-4 && fit.program.patterns().complete());
//! # Ok::<(), thalweg_convex_relu::ConvexError>(())
//! ```
//!
//! **The program** ([`Program`]). With D_i = diag(1[X a_i ≥ 0]) the [`Patterns`] of the data and losses that
//! are sums, not means ([`Loss`]):
//!
//! ```text
//! min over v_i, w_i   ℓ(r, y) + β Σ_i (‖v_i‖ + ‖w_i‖),     r = Σ_i D_i X (v_i − w_i)
//! subject to          (2D_i − I) X v_i ≥ 0,  (2D_i − I) X w_i ≥ 0
//! ```
//!
//! A v_i ≠ 0 is the neuron u = v_i/√‖v_i‖, α = √‖v_i‖; a w_i ≠ 0 one with α = −√‖w_i‖.
//!
//! **Solvers** ([`Solver`]). The default is the structured ADMM ([`admm::Admm`]), finished on its active groups
//! by the interior-point method ([`exact::finish`]). It splits v_i = u_i, s_i = (2D_i − I) X u_i and r, so that
//! its linear system holds no loss, no β and no ρ:
//!
//! ```text
//! u, z ← argmin of the squared distances to all copies      one inverse of size d, one of size min(n, dP)
//! v    ← (1 − β/(ρ‖u + λ‖))₊ (u + λ)                        w likewise from z
//! s    ← ((2D − I) X u + ν)₊                                t likewise
//! r    ← prox of ℓ/ρ at Σ D_i X (u_i − z_i) + η;            λ, ν, η += what each split lacks
//! ```
//!
//! Where there are more features than samples, all solve the same program in coordinates of the samples' span.
//! The interior-point method alone is [`exact::exact`]; [`scp`] fits weights to neurons drawn at random; the
//! published ADMM and block coordinate descent are in [`baselines`].
//!
//! **Proof** ([`Certificate`]). Every result comes with a feasible point and a feasible dual point θ, made so by
//! projections, whatever the solver did:
//!
//! ```text
//! max over θ  −ℓ*(θ)   subject to   min_{μ≥0} ‖±(D_i X)ᵀθ − ((2D_i − I) X)ᵀμ‖ ≤ β   for all i
//! ```
//!
//! The bound is for the listed patterns; it is one for all networks if the list is complete. [`grow`] looks for
//! patterns that are missing. **Robust** ([`robust`]): the worst case over a box around each sample in closed
//! form, for networks whose neurons keep their signs in every box; its value bounds the best worst case of all
//! networks from above, and its lower bound is one for the listed patterns alone.
//!
//! **When not.** Time grows with samples × patterns: beyond some ten thousand samples train by gradients
//! instead. Nets of more layers have no such program. Without the complete list of patterns, which only a few
//! features allow, the proof is one for the list.
#![forbid(unsafe_code)]

pub mod admm;
pub mod attack;
pub mod baselines;
mod cells;
pub mod certificate;
mod cone;
mod conic;
mod error;
pub mod exact;
pub mod grow;
mod loss;
mod method;
pub mod network;
pub mod path;
pub mod patterns;
mod program;
mod record;
pub mod reduce;
pub mod robust;
mod samples;
pub mod scaling;
pub mod scp;
pub mod solver;

pub use certificate::Certificate;
pub use error::ConvexError;
pub use loss::Loss;
pub use method::{ConvexRelu, Fit, PatternChoice};
pub use network::Network;
pub use patterns::Patterns;
pub use program::{Geometry, Program};
pub use samples::Samples;
pub use solver::Solver;
