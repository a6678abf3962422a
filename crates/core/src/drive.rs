use crate::{Method, Outcome, Problem, Run, RunError, Seed, Stop};

/// Who runs a method that was chosen by name: with stopping rules, observers and checkpoints of its own.
/// Libraries that choose a method themselves take one, so that programs can watch, save and interrupt.
/// All methods of the family end in an `X`; [`Method::current`] shows it on the way.
pub trait Drive<X> {
    /// Makes the run.
    ///
    /// # Errors
    /// What the run fails with.
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<X>, RunError>
    where
        M: Method<P, Solution = X>,
        P: Problem + ?Sized;
}

/// One stopping rule, and nothing else: no observer, no checkpoint.
impl<X> Drive<X> for Stop {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<X>, RunError>
    where
        M: Method<P, Solution = X>,
        P: Problem + ?Sized,
    {
        Run::new(method, problem).seed(seed).stop(*self).run()
    }
}

/// Several stopping rules.
impl<X> Drive<X> for &[Stop] {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<X>, RunError>
    where
        M: Method<P, Solution = X>,
        P: Problem + ?Sized,
    {
        self.iter().fold(Run::new(method, problem).seed(seed), |run, stop| run.stop(*stop)).run()
    }
}
