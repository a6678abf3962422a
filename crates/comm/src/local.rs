use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use crate::{Collective, CommError, Traffic};

/// One of several ranks that are threads of this process; made by [`local`].
///
/// Give each to a thread of its own, not to a pool whose threads the others' work needs: a rank
/// that waits blocks its thread. A rank that is dropped, by a return, an error or a panic, leaves:
/// the others' next calls, and those in which they wait, fail with [`CommError::Lost`].
#[derive(Debug)]
pub struct Local {
    rank: usize,
    hub: Arc<Hub>,
    traffic: Traffic,
}

/// The ends of a group of `n` ranks.
pub fn local(n: usize) -> Vec<Local> {
    let calls = (0..n).map(|_| RwLock::new(Call::Barrier)).collect();
    let hub = Arc::new(Hub { calls, turn: Mutex::default(), bell: Condvar::new() });
    (0..n).map(|rank| Local { rank, hub: hub.clone(), traffic: Traffic::default() }).collect()
}

/// What a rank asks for, with what it hands over.
#[derive(Debug)]
enum Call {
    Barrier,
    Sum32(Vec<f32>),
    Sum64(Vec<f64>),
    Broadcast(usize, Vec<u8>),
}

#[derive(Debug)]
struct Hub {
    /// The current call of each rank: written before all meet, read until they meet again.
    calls: Vec<RwLock<Call>>,
    turn: Mutex<Turn>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Turn {
    /// Ranks that wait in the current round.
    waiting: usize,
    /// Meetings held.
    round: u64,
    /// The first rank that left.
    left: Option<usize>,
}

impl Hub {
    /// Waits until all ranks are here, or one never will be.
    fn meet(&self) -> Result<(), CommError> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rank) = turn.left {
            return Err(CommError::Lost { rank });
        }
        let round = turn.round;
        turn.waiting += 1;
        if turn.waiting == self.calls.len() {
            (turn.waiting, turn.round) = (0, round + 1);
            self.bell.notify_all();
        }
        let open = |turn: &mut Turn| turn.round == round && turn.left.is_none();
        let turn = self.bell.wait_while(turn, open).unwrap_or_else(PoisonError::into_inner);
        match turn.left {
            // Who leaves after a meeting has taken part in it.
            Some(rank) if turn.round == round => Err(CommError::Lost { rank }),
            _ => Ok(()),
        }
    }
}

impl Local {
    /// Hands `call` over and shows the call of each rank to `see`, in rank order.
    fn exchange(&self, call: Call, mut see: impl FnMut(usize, &Call)) -> Result<(), CommError> {
        let mine = call.to_string();
        *self.hub.calls[self.rank].write().unwrap_or_else(PoisonError::into_inner) = call;
        self.hub.meet()?;
        for (other, call) in self.hub.calls.iter().enumerate() {
            let call = call.read().unwrap_or_else(PoisonError::into_inner);
            let theirs = call.to_string();
            if theirs != mine {
                // Every rank differs from some other one, so that all of them end here.
                return Err(CommError::Mismatch { rank: self.rank, mine, other, theirs });
            }
            see(other, &call);
        }
        self.hub.meet()
    }
}

impl Collective for Local {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hub.calls.len()
    }

    fn all_reduce_sum(&mut self, x: &mut [f32]) -> Result<(), CommError> {
        self.traffic.count(x);
        self.exchange(Call::Sum32(x.to_vec()), |rank, call| {
            if let Call::Sum32(part) = call {
                add(rank, part, x);
            }
        })
    }

    fn all_reduce_sum_f64(&mut self, x: &mut [f64]) -> Result<(), CommError> {
        self.traffic.count(x);
        self.exchange(Call::Sum64(x.to_vec()), |rank, call| {
            if let Call::Sum64(part) = call {
                add(rank, part, x);
            }
        })
    }

    fn broadcast(&mut self, root: usize, x: &mut [u8]) -> Result<(), CommError> {
        CommError::check_root(root, self.size())?;
        self.traffic.count(x);
        self.exchange(Call::Broadcast(root, x.to_vec()), |rank, call| match call {
            Call::Broadcast(_, bytes) if rank == root => x.copy_from_slice(bytes),
            _ => {}
        })
    }

    fn barrier(&mut self) -> Result<(), CommError> {
        self.traffic.count::<u8>(&[]);
        self.exchange(Call::Barrier, |_, _| {})
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let mut turn = self.hub.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.left.get_or_insert(self.rank);
        self.hub.bell.notify_all();
    }
}

/// The first part starts the sum, the others are added.
fn add<T: Copy + AddAssign>(rank: usize, part: &[T], sum: &mut [T]) {
    match rank {
        0 => sum.copy_from_slice(part),
        _ => sum.iter_mut().zip(part).for_each(|(s, p)| *s += *p),
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barrier => f.write_str("a barrier"),
            Self::Sum32(x) => write!(f, "the sum of {} f32", x.len()),
            Self::Sum64(x) => write!(f, "the sum of {} f64", x.len()),
            Self::Broadcast(root, x) => write!(f, "a broadcast of {} bytes from rank {root}", x.len()),
        }
    }
}
