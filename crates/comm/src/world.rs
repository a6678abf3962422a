#[cfg(feature = "mpi")]
use std::time::Duration;

#[cfg(feature = "mpi")]
use crate::mpi::{Job, Mpi};
use crate::{Alone, Collective, CommError};

/// The processes that work together, from the start of the program to its end.
#[derive(Debug)]
pub struct World {
    #[cfg(feature = "mpi")]
    job: Option<Job>,
}

/// The world of this program, to be asked for once, at the start of `main`: all processes of the
/// job if a launcher such as `mpirun` started it, which needs the feature `mpi`, else this one.
pub fn world() -> Result<World, CommError> {
    #[cfg(feature = "mpi")]
    {
        // Open MPI, others that start by PMIx, MPICH and Intel MPI.
        let signs = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE"];
        let launched = signs.iter().any(|name| std::env::var_os(name).is_some());
        Ok(World { job: launched.then(Job::start).transpose()? })
    }
    #[cfg(not(feature = "mpi"))]
    {
        let size = |name| std::env::var(name).ok()?.parse().ok();
        match ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].into_iter().find_map(size) {
            Some(size) if size > 1 => Err(CommError::Unsupported { size }),
            _ => Ok(World {}),
        }
    }
}

/// How long a rank that failed waits for the others to fail in the same way.
#[cfg(feature = "mpi")]
const PATIENCE: Duration = Duration::from_secs(2);

impl World {
    /// Number of this process, below [`World::size`].
    pub fn rank(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(job) = &self.job {
            return job.rank();
        }
        0
    }

    /// Number of processes, at least 1.
    pub fn size(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(job) = &self.job {
            return job.size();
        }
        1
    }

    /// Their collective, lent to one user at a time; its traffic counts from 0.
    pub fn collective(&mut self) -> Box<dyn Collective + '_> {
        #[cfg(feature = "mpi")]
        if let Some(job) = &mut self.job {
            return Box::new(Mpi::new(job));
        }
        Box::new(Alone)
    }

    /// The last act of the program: gives back the exit code that `main` is to return.
    ///
    /// `say` tells why, on rank 0 and on those that end otherwise. Codes 0 and 130 (the agreed stop
    /// after Ctrl-C) wait for all ranks; with any other, a rank ends all of them with its code if
    /// they do not end too within two seconds: they may wait for it in a collective. A process that
    /// exits without this call ends the others by way of `mpirun`.
    pub fn end(self, code: u8, say: impl FnOnce()) -> u8 {
        #[cfg(feature = "mpi")]
        if let Some(job) = self.job {
            let mut say = Some(say);
            let mut tell = || say.take().map_or((), |say| say());
            if job.rank() == 0 {
                tell();
            }
            let patience = if matches!(code, 0 | 130) { Duration::MAX } else { PATIENCE };
            if !job.all_end(patience) {
                tell();
                job.abort(code);
            }
            if job.first(code) != code {
                tell();
            }
            return code;
        }
        say();
        code
    }
}
