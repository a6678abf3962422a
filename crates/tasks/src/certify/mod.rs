//! How much a network's output can change, proved: [`certify()`] does what the settings say; [`network()`] makes of
//! a model what [`thalweg_lipsdp`] certifies, [`read()`] of a file.
//!
//! ```
//! use thalweg_lipsdp::{Bound, LipSdp};
//! use thalweg_tasks::certify::{Settings, certify, network};
//! use thalweg_tasks::{Folder, Host, Opening, train};
//!
//! let host = Host::default();
//! let place = tempfile::tempdir().expect("a temporary folder");
//! let run = Folder::open(place.path().join("run"), Opening::Fresh)?;
//! let training = train::Settings {
//!     data: Some("digits".into()),
//!     model: Some("mlp:64-8-10".into()),
//!     method: Some("adamw".into()),
//!     epochs: Some(1),
//!     ..train::Settings::default()
//! };
//! let fitted = train::fit(&training, Some(&run), &host)?;
//!
//! // A network at hand:
//! let net = network(fitted.trained[0].1.as_ref().expect("trained just now"))?;
//! let certificate = LipSdp { bound: Bound::Neuron, ..LipSdp::default() }.certify(&net)?;
//! assert!(certificate.verified);
//!
//! // A model's file, by two bounds of the list:
//! let settings = Settings { model: Some(run.file(train::MODEL)), ..Settings::default() };
//! let tight = certify(&settings, None, &host)?;
//! let loose = certify(&Settings { bound: Some("product".into()), ..settings }, None, &host)?;
//! assert_eq!(tight.certificates[0].bound, certificate.bound);
//! assert!(tight.lower_bound < Some(certificate.bound) && certificate.bound < loose.certificates[0].bound);
//! # Ok::<(), thalweg_tasks::TaskError>(())
//! ```

mod archive;
mod check;
mod job;
mod network;
mod reach;
mod read;
mod report;
mod samples;
mod settings;
mod subject;
#[cfg(all(feature = "adahessian", feature = "mkor", feature = "mfac"))]
pub mod tour;

pub use check::{Checked, check};
pub use job::{Outcome, certify};
pub use network::{network, wired};
pub use reach::Engine;
pub use read::{LoadedNetwork, ReadOptions, read};
pub use samples::{CurvePoint, Samples};
pub use settings::{EpsUnit, InputNorm, Memory, OutputNorm, Settings};
pub use subject::Subject;
