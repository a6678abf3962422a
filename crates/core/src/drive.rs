use crate::{Method, Outcome, Problem, Run, RunError, Seed, Stop};

/// Who runs a method that was chosen by name: with stopping rules, observers and checkpoints of its own.
/// Libraries that choose a method themselves take one, so that programs can watch, save and interrupt.
pub trait Drive {
    /// Makes the run.
    ///
    /// # Errors
    /// What the run fails with.
    fn drive<M, P>(
        &mut self,
        method: &M,
        problem: &mut P,
        seed: Seed,
    ) -> Result<Outcome<M::Solution>, RunError>
    where
        M: Method<P>,
        P: Problem + ?Sized;
}

/// Stopping rules alone: no observer, no checkpoint.
impl Drive for &[Stop] {
    fn drive<M, P>(
        &mut self,
        method: &M,
        problem: &mut P,
        seed: Seed,
    ) -> Result<Outcome<M::Solution>, RunError>
    where
        M: Method<P>,
        P: Problem + ?Sized,
    {
        self.iter().fold(Run::new(method, problem).seed(seed), |run, stop| run.stop(*stop)).run()
    }
}
