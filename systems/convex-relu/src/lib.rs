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
//! use thalweg_convex_relu::{Choice, ConvexRelu, Loss, Samples};
//!
//! // Two points, y = 2 and −1: the optimum is 3β − β².
//! let samples = Samples::new(vec![1.0, -1.0], 1)?;
//! let settings = ConvexRelu { loss: Loss::Squared, beta: 0.5, patterns: Choice::All, ..Default::default() };
//! let fit = settings.fit(&samples, &[2.0, -1.0])?;
//! assert!((fit.nonconvex_objective - 1.25).abs() < 1e-6 && fit.certificate.gap < 1e-6);
//! assert!((fit.network.predict(&[1.0])[0] - 1.5).abs() < 1e-4 && fit.program.patterns().complete());
//! # Ok::<(), thalweg_convex_relu::ConvexError>(())
//! ```
//!
//! **The program** ([`Program`]): min ℓ(r, y) + β Σ_i (‖v_i‖ + ‖w_i‖), r = Σ_i D_i X (v_i − w_i), over
//! the cones of the patterns D_i ([`Patterns`]). Losses are sums, not means ([`Loss`]). **Solvers**
//! ([`Solver`]): the structured [`Admm`] with an interior-point [`finish`](fn@finish) (default), the
//! published [`AdmmPaper`] and [`Rbcd`], the interior-point method ([`exact()`]), and sampled programs
//! ([`Scp`]). **Proof** ([`Certificate`]): every result comes with a feasible point and a feasible dual
//! point, made so by projections, whatever the solver did. The bound is for the listed patterns;
//! it is one for all networks if the list is complete. [`grow()`] looks for patterns that are missing.
//! **Robust** ([`RobustProgram`]): the worst case over a box around each sample in closed form.
#![forbid(unsafe_code)]

mod admm;
mod attack;
mod baseline;
mod certificate;
mod cone;
mod conic;
mod error;
mod exact;
mod fit;
mod grow;
mod loss;
mod network;
mod paper;
mod path;
mod patterns;
mod program;
mod rbcd;
mod record;
mod reduce;
mod robust;
mod samples;
mod scaling;
mod scp;
mod solve;

pub use admm::{Admm, AdmmState};
pub use attack::{Attack, Attacked, gradient};
pub use baseline::{Training, linear};
pub use certificate::{Certificate, Certified, Solution, feasible_dual};
pub use error::ConvexError;
pub use exact::{exact, finish};
pub use fit::{Choice, ConvexRelu, Fit};
pub use grow::{grow, separate};
pub use loss::Loss;
pub use network::{Network, Neuron};
pub use paper::{AdmmPaper, DenseProgram, PaperState};
pub use path::{Fold, PathPoint, betas, cross_validate, path};
pub use patterns::{Patterns, count, improvement_probability, sampling_bound};
pub use program::{Geometry, Program};
pub use rbcd::{BlockProgram, Rbcd, RbcdState};
pub use reduce::{merge, reduce};
pub use robust::{RobustProgram, robust_patterns};
pub use samples::Samples;
pub use scaling::{Layers, Scaling, plain_layers};
pub use scp::{LassoSolver, Sampled, Scp, unit_vectors};
pub use solve::{Algorithm, Drive, Solved, Solver};
