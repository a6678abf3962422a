use std::ops::Range;

use crate::CommError;

/// One rank's end of a group of workers.
///
/// Every call is collective: all ranks make the same calls, in the same order, with buffers of the
/// same length, and each waits for the others.
pub trait Collective: Send {
    /// Number of this rank, below [`Collective::size`].
    fn rank(&self) -> usize;

    /// Number of ranks, at least 1.
    fn size(&self) -> usize;

    /// Replaces `x` by its sum over all ranks, added in rank order: the same bits everywhere.
    fn all_reduce_sum(&mut self, x: &mut [f32]) -> Result<(), CommError>;

    /// [`Collective::all_reduce_sum`] in double precision.
    fn all_reduce_sum_f64(&mut self, x: &mut [f64]) -> Result<(), CommError>;

    /// Replaces `x` by what rank `root` has in it.
    fn broadcast(&mut self, root: usize, x: &mut [u8]) -> Result<(), CommError>;

    /// Waits for all ranks.
    fn barrier(&mut self) -> Result<(), CommError>;

    /// What this rank has sent so far.
    fn traffic(&self) -> Traffic;

    /// Replaces `x` by its mean over all ranks.
    fn mean(&mut self, x: &mut [f32]) -> Result<(), CommError> {
        self.all_reduce_sum(x)?;
        let n = self.size() as f32;
        x.iter_mut().for_each(|x| *x /= n);
        Ok(())
    }

    /// [`Collective::mean`] in double precision.
    fn mean_f64(&mut self, x: &mut [f64]) -> Result<(), CommError> {
        self.all_reduce_sum_f64(x)?;
        let n = self.size() as f64;
        x.iter_mut().for_each(|x| *x /= n);
        Ok(())
    }

    /// Whether any rank says so; a sum of one number.
    fn any(&mut self, mine: bool) -> Result<bool, CommError> {
        let mut votes = [f32::from(u8::from(mine))];
        self.all_reduce_sum(&mut votes)?;
        Ok(votes[0] > 0.0)
    }
}

/// Calls and payload: what a rank hands to its collectives, whatever way it then takes. A sum or
/// a mean of n numbers counts n times their size, a broadcast of n bytes counts n on every rank, a
/// barrier counts a call of no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Collective calls.
    pub calls: u64,
    /// Payload in bytes.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn count<T>(&mut self, x: &[T]) {
        self.calls += 1;
        self.bytes += size_of_val(x) as u64;
    }
}

/// Rank `rank`'s contiguous share of `n` items among `size` ranks: shares differ by one item at
/// most and follow each other.
///
/// ```
/// let shares: Vec<_> = (0..3).map(|rank| thalweg_comm::share(10, rank, 3)).collect();
/// assert_eq!(shares, [0..3, 3..6, 6..10]);
/// ```
pub fn share(n: usize, rank: usize, size: usize) -> Range<usize> {
    let (base, more) = (n / size, n % size);
    let first = |rank| base * rank + more * rank / size;
    first(rank)..first(rank + 1)
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<C: Collective + ?Sized> Collective for $pointer {
            fn rank(&self) -> usize {
                (**self).rank()
            }
            fn size(&self) -> usize {
                (**self).size()
            }
            fn all_reduce_sum(&mut self, x: &mut [f32]) -> Result<(), CommError> {
                (**self).all_reduce_sum(x)
            }
            fn all_reduce_sum_f64(&mut self, x: &mut [f64]) -> Result<(), CommError> {
                (**self).all_reduce_sum_f64(x)
            }
            fn broadcast(&mut self, root: usize, x: &mut [u8]) -> Result<(), CommError> {
                (**self).broadcast(root, x)
            }
            fn barrier(&mut self) -> Result<(), CommError> {
                (**self).barrier()
            }
            fn traffic(&self) -> Traffic {
                (**self).traffic()
            }
        }
    )*};
}
forward!(&mut C, Box<C>);
