//! All integration tests of the crate in one program, which compiles its generics once.

mod feasible;
mod oracles;
mod searches;
mod shared;

use thalweg_cbo::{Algorithm, Answer, SearchProblem, Space};
use thalweg_core::{Method, Outcome, Run, RunError, Seed, Stop};
use thalweg_optim::blackbox::BlackBox;

/// Minimises `f` over `space`.
fn search<M>(method: &M, space: &Space, f: &dyn BlackBox, stops: &[Stop], seed: u64) -> Outcome<Answer>
where
    M: for<'a> Method<SearchProblem<'a>, Solution = Answer>,
{
    let mut problem = SearchProblem::new(space, f);
    let run = Run::new(method, &mut problem).seed(Seed(seed));
    stops.iter().fold(run, |run, stop| run.stop(*stop)).run().unwrap()
}

/// As [`search`], for a method by name.
fn by_name(
    method: &Algorithm,
    space: &Space,
    f: &dyn BlackBox,
    mut stops: &[Stop],
    seed: u64,
) -> Result<Outcome<Answer>, RunError> {
    method.drive(&mut stops, &mut SearchProblem::new(space, f), Seed(seed))
}
