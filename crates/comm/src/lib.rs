//! Collectives: what several workers that train together tell each other.
//!
//! A [`Collective`] is one rank's end of the line. [`Alone`] is a single worker, [`local`] joins
//! threads of one process, and with the feature `mpi` [`world`] joins the processes that `mpirun`
//! started. All of them add in rank order, so that the sum has the same bits on every rank, in
//! every run and over either transport.
//!
//! ```
//! use thalweg_comm::{Collective, local};
//!
//! let worker = |mut ranks: thalweg_comm::Local| {
//!     let mut gradient = [ranks.rank() as f32, 1.0];
//!     ranks.mean(&mut gradient).map(|()| gradient)
//! };
//! let ends = std::thread::scope(|s| {
//!     let workers: Vec<_> = local(3).into_iter().map(|r| s.spawn(move || worker(r))).collect();
//!     workers.into_iter().map(|w| w.join().unwrap()).collect::<Result<Vec<_>, _>>()
//! })?;
//! assert_eq!(ends, [[1.0, 1.0]; 3]);
//! # Ok::<(), thalweg_comm::CommError>(())
//! ```
#![forbid(unsafe_code)]

mod alone;
mod collective;
mod error;
mod local;
#[cfg(feature = "mpi")]
mod mpi;
mod world;

pub use alone::Alone;
pub use collective::{Collective, Traffic, share};
pub use error::CommError;
pub use local::{Local, local};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use world::{World, world};
