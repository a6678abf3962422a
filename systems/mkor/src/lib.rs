//! MKOR: Kronecker-factored preconditioning by rank-1 updates, for training networks.
//!
//! Each layer's gradient is multiplied from the left and right by approximate inverses of the
//! second moments of its output gradients and inputs. K-FAC builds and inverts these matrices in
//! O(d³); MKOR lets their inverses take in the batch means one vector at a time, in O(d²) or, in
//! the low-rank form here, O(d), and sends two vectors per layer instead of two matrices. The
//! result is scaled to the norm of the raw gradient and handed to any first-order method.
//! MKOR-H drops the preconditioner when it no longer pays. [`Kfac`] and [`Eva`] are here to
//! compare with.
//!
//! M. Mozaffari, S. Li, Z. Zhang, M. Mehri Dehnavi, *MKOR: Momentum-Enabled
//! Kronecker-Factor-Based Optimizer Using Rank-1 Updates*, NeurIPS 2023, arXiv:2306.01685.
//!
//! ```
//! use thalweg_core::{Run, Seed, Stop};
//! use thalweg_mkor::{Backend, Mkor};
//! use thalweg_optim::Sgd;
//! # use thalweg_core::{Kind, LayerStats, Layered, Layout, MethodError, Objective, Problem};
//! # /// Least squares of one linear unit on inputs with a large mean.
//! # struct Regression(Layout, Vec<[f64; 3]>);
//! # impl Problem for Regression {}
//! # impl Objective for Regression {
//! #     type Scalar = f64;
//! #     fn layout(&self) -> &Layout { &self.0 }
//! #     fn start(&mut self) -> Result<Vec<f64>, MethodError> { Ok(vec![0.0; 3]) }
//! #     fn value_grad(&mut self, w: &[f64], g: &mut [f64]) -> Result<f64, MethodError> {
//! #         self.value_grad_layers(w, g, false, &mut Vec::new())
//! #     }
//! # }
//! # impl Layered for Regression {
//! #     fn value_grad_layers(&mut self, w: &[f64], g: &mut [f64], _: bool, stats: &mut Vec<LayerStats>)
//! #         -> Result<f64, MethodError> {
//! #         g.fill(0.0);
//! #         let (n, mut value, mut mean) = (self.1.len() as f64, 0.0, vec![0.0; 2]);
//! #         for [x, y, target] in &self.1 {
//! #             let miss = w[0] * x + w[1] * y + w[2] - target;
//! #             value += 0.5 * miss * miss / n;
//! #             g.iter_mut().zip([x, y, &1.0]).for_each(|(g, x)| *g += miss * x / n);
//! #             mean.iter_mut().zip([x, y]).for_each(|(m, x)| *m += x / n);
//! #         }
//! #         *stats = vec![LayerStats { weight: 0, bias: Some(1), groups: 1, positions: 1,
//! #             rows: self.1.len(), input_mean: mean, output_grad: vec![g[2]], moments: None }];
//! #         Ok(value)
//! #     }
//! # }
//! # let mut layout = Layout::default();
//! # layout.push("weight", &[1, 2], Kind::Linear);
//! # layout.push("bias", &[1], Kind::Bias);
//! # let rows = (0..40).map(|i| (9.0 + (i as f64).sin(), 7.0 + (2.0 * i as f64).cos()));
//! # let rows = rows.map(|(x, y)| [x, y, x - 2.0 * y + 3.0]).collect();
//! # let mut problem = Regression(layout, rows);
//!
//! // `problem` is a `thalweg_core::Layered`: a network, or here a linear fit to inputs far from 0.
//! let sgd = Sgd { lr: 0.01, momentum: 0.0, ..Sgd::default() };
//! let mkor = Mkor { backend: Backend::Sgd(sgd.clone()), inv_freq: 1, ..Mkor::default() };
//! let fit = Run::new(&mkor, &mut problem).seed(Seed(1)).stop(Stop::Steps(300)).run()?;
//! let plain = Run::new(&sgd, &mut problem).seed(Seed(1)).stop(Stop::Steps(300)).run()?;
//! assert!(fit.progress.value < 0.5 * plain.progress.value);
//! # Ok::<(), thalweg_core::RunError>(())
//! ```
//!
//! **What to know.** The update formula printed in the paper is not an inverse: it amplifies the
//! direction that it should damp, and networks train badly with it; [`Rule::Printed`] keeps it for
//! the record. The published program runs another one, [`Rule::Released`], under which the
//! spectrum of every factor stays in (0, 1], so that its stabiliser never acts; the true inverse of
//! the exponential average is [`Rule::ShermanMorrison`], which needs the stabiliser. In trained
//! networks the mean output gradient is tiny and the left factor stays close to the identity: what
//! works is the right factor, which removes the mean of the inputs. A layer that feeds batch
//! normalisation has no mean output gradient at all. The O(d²) of the paper is the cost of an
//! update; the dense product L⁻¹𝒢R⁻¹ of every step is cubic, and [`Form::LowRank`] avoids it.
#![forbid(unsafe_code)]

mod backend;
mod eva;
mod factor;
mod kfac;
mod knee;
mod layer;
mod mkor;
mod precondition;
mod product;
mod settings;
pub mod spectra;
mod store;

pub use backend::{Backend, BackendState};
pub use eva::{Eva, Means};
pub use factor::{Factor, Recursion};
pub use kfac::{Covariances, Kfac};
pub use knee::{Knee, KneeSchedule, KneeScheduleState, KneeState, Scheduled, ScheduledState};
pub use layer::{Layer, Layers};
pub use mkor::{Factors, Mkor, MkorState};
pub use precondition::State;
pub use settings::{Form, Rescale, Rule, Storage, Vector};
