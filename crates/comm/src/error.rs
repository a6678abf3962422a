use thiserror::Error;

/// Why a collective failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommError {
    /// A rank ended while others count on it.
    #[error("rank {rank} has left the others; look for its own error, then start all ranks again")]
    Lost {
        /// The first rank that left.
        rank: usize,
    },
    /// The ranks do not make the same calls.
    #[error(
        "rank {rank} calls for {mine} but rank {other} for {theirs}; all ranks must make the same calls in the same order"
    )]
    Mismatch {
        /// This rank.
        rank: usize,
        /// What it calls for.
        mine: String,
        /// The first rank with another call.
        other: usize,
        /// What that one calls for.
        theirs: String,
    },
    /// A broadcast from a rank that is not there.
    #[error("there is no rank {root} to broadcast from; use a rank below {size}")]
    Root {
        /// The rank asked for.
        root: usize,
        /// Number of ranks.
        size: usize,
    },
    /// Started by `mpirun`, built without MPI: every process would do the whole work.
    #[error(
        "started as one of {size} MPI processes but built without MPI; build with `--features mpi` or start it without mpirun"
    )]
    Unsupported {
        /// Number of processes.
        size: usize,
    },
    /// A second initialisation.
    #[error("MPI is initialised already, which is possible once per process; keep the first World")]
    Initialized,
    /// The MPI library does not go together with threads.
    #[error("this MPI library offers the thread level {0} only; use one built for MPI_THREAD_SERIALIZED")]
    Threads(String),
}

impl CommError {
    pub(crate) fn check_root(root: usize, size: usize) -> Result<(), Self> {
        if root < size { Ok(()) } else { Err(Self::Root { root, size }) }
    }
}
