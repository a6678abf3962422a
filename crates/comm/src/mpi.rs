use std::marker::PhantomData;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use crate::{Collective, CommError, Traffic, share};

/// All processes of an MPI job; made by [`crate::World::collective`], which lends one at a time.
///
/// `MPI_Allreduce` adds in an order that the standard leaves to the library, its tuning and the
/// length. Here each rank gets the parts of its share of the numbers from all ranks, adds them in
/// rank order and gives the sums to all: `MPI_Alltoallv`, additions, `MPI_Allgatherv`. That moves
/// as little as the best all-reduce, 2 (n−1)/n of the payload per rank, and the bits depend on
/// nothing but the ranks' numbers.
///
/// MPI's own errors (a lost process, a mismatch of lengths) end all processes, as is its default.
#[derive(Debug)]
pub struct Mpi<'a> {
    rank: usize,
    size: usize,
    traffic: Traffic,
    scratch: Scratch,
    /// MPI is not finalised before this, and only one of these exists at a time.
    _job: PhantomData<&'a mut ()>,
}

/// Numbers reduced at once: bounds the workspace, and the counts, which MPI holds in an `int`.
const PIECE: usize = 1 << 22;

/// Workspace of [`Mpi`], reused from call to call.
#[derive(Debug, Default)]
struct Scratch {
    f32: Vec<f32>,
    f64: Vec<f64>,
}

/// MPI between its initialisation and its end.
pub(crate) struct Job {
    /// Another channel than the collectives', for the end alone.
    ending: SimpleCommunicator,
    /// Last: dropping it finalises MPI.
    _universe: Universe,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl Job {
    pub fn start() -> Result<Self, CommError> {
        let start = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, level) = start.ok_or(CommError::Initialized)?;
        if level < Threading::Serialized {
            return Err(CommError::Threads(format!("{level:?}")));
        }
        let ending = universe.world().duplicate();
        Ok(Self { ending, _universe: universe })
    }

    pub fn rank(&self) -> usize {
        self.ending.rank() as usize
    }

    pub fn size(&self) -> usize {
        self.ending.size() as usize
    }

    /// Whether all ranks come here within `patience`.
    pub fn all_end(&self, patience: Duration) -> bool {
        let (since, mut waiting) = (Instant::now(), self.ending.immediate_barrier());
        loop {
            match waiting.test() {
                Ok(_) => return true,
                Err(still) if since.elapsed() < patience => waiting = still,
                Err(still) => {
                    // A request must not be dropped; the caller is about to abort.
                    std::mem::forget(still);
                    return false;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The code of rank 0, once all ranks have ended.
    pub fn first(&self, mut code: u8) -> u8 {
        self.ending.process_at_rank(0).broadcast_into(&mut code);
        code
    }

    pub fn abort(&self, code: u8) -> ! {
        self.ending.abort(code.into())
    }
}

impl<'a> Mpi<'a> {
    pub(crate) fn new(job: &'a mut Job) -> Self {
        let (traffic, scratch) = Default::default();
        Self { rank: job.rank(), size: job.size(), traffic, scratch, _job: PhantomData }
    }
}

impl Collective for Mpi<'_> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&mut self, x: &mut [f32]) -> Result<(), CommError> {
        self.traffic.count(x);
        sum(x, &mut self.scratch.f32);
        Ok(())
    }

    fn all_reduce_sum_f64(&mut self, x: &mut [f64]) -> Result<(), CommError> {
        self.traffic.count(x);
        sum(x, &mut self.scratch.f64);
        Ok(())
    }

    fn broadcast(&mut self, root: usize, x: &mut [u8]) -> Result<(), CommError> {
        CommError::check_root(root, self.size())?;
        self.traffic.count(x);
        let world = SimpleCommunicator::world();
        for piece in x.chunks_mut(PIECE) {
            world.process_at_rank(root as i32).broadcast_into(piece);
        }
        Ok(())
    }

    fn barrier(&mut self) -> Result<(), CommError> {
        self.traffic.count::<u8>(&[]);
        SimpleCommunicator::world().barrier();
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

/// Sum over all ranks, in rank order.
fn sum<T: Equivalence + Copy + AddAssign>(x: &mut [T], parts: &mut Vec<T>) {
    let world = SimpleCommunicator::world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    for piece in x.chunks_mut(PIECE) {
        let shares = (0..size).map(|r| share(piece.len(), r, size));
        let (counts, firsts): (Vec<i32>, Vec<i32>) = shares.map(|s| (s.len() as i32, s.start as i32)).unzip();
        let mine = counts[rank] as usize;
        parts.clear();
        parts.extend(std::iter::repeat_n(piece[0], mine * size));
        let (same, places) =
            (vec![mine as i32; size], (0..size).map(|r| (r * mine) as i32).collect::<Vec<_>>());
        world.all_to_all_varcount_into(
            &Partition::new(piece, &counts[..], &firsts[..]),
            &mut PartitionMut::new(&mut parts[..], &same[..], &places[..]),
        );
        let (sums, others) = parts.split_at_mut(mine);
        for part in others.chunks_exact(mine.max(1)) {
            sums.iter_mut().zip(part).for_each(|(s, p)| *s += *p);
        }
        world.all_gather_varcount_into(sums, &mut PartitionMut::new(piece, &counts[..], &firsts[..]));
    }
}
