mod common;
use common::*;
use thalweg_convex_relu::*;
use thalweg_core::{Run, Stop};
use std::ops::ControlFlow;
#[test]
fn explore() {
    for name in ADVERSARIAL.into_iter().chain(SAMPLED).chain(EXACT) {
        let Some(set) = Set::read(name) else { return };
        for loss in Loss::ALL {
            let mut line = String::new();
            for (rho, until) in [(1.0, 2000), (1.0, 0), (0.1, 0), (0.01, 0), (0.001, 0), (0.1,2000), (0.01, 2000)] {
                let mut program = set.program(loss);
                let mut path = String::new();
                let run = Run::new(&Admm { rho, adapt_until: until, ..Admm::default() }, &mut program).stop(Stop::Steps(4_000)).each(1, |t, _| {
                    if until > 0 && [50,100,200,400,1000,2000].contains(&t.step) { path += &format!("{:.3} ", t.progress.metric("rho").unwrap()); }
                    Ok(ControlFlow::Continue(()))
                }).run().unwrap();
                line += &format!(" | {} {:.0e} {}", run.steps, run.solution.certificate.gap, path);
            }
            eprintln!("{name} {}{line}", loss.name());
        }
    }
}
