//! Every value of the shared reference, with a certificate.

mod common;

use common::{ADVERSARIAL, EXACT, SAMPLED, Set};
use thalweg_convex_relu::{Admm, Loss, Network, exact};
use thalweg_core::{Run, Stop};

#[test]
fn structured_admm_reaches_the_reference_with_a_certificate() {
    for name in SAMPLED.into_iter().chain(ADVERSARIAL) {
        let Some(set) = Set::read(name) else { return };
        for loss in Loss::ALL {
            let mut program = set.program(loss);
            let started = std::time::Instant::now();
            let run = Run::new(&Admm::default(), &mut program).stop(Stop::Steps(20_000)).run().unwrap();
            let (c, reference) = (run.solution.certificate, set.optimum(loss));
            eprintln!(
                "{name} {}: {:.8} {:.8} gap {:.1e} ref {reference:.8} its {} {:.3} s",
                loss.name(), c.objective, c.dual_bound, c.gap, run.steps, started.elapsed().as_secs_f64()
            );
            let delta = if loss == Loss::Hinge { 5e-5 } else { 1e-5 };
            assert!(c.gap <= 1e-4);
            assert!(c.dual_bound <= reference * (1.0 + delta) && c.objective >= reference * (1.0 - delta));
        }
    }
}

#[test]
fn interior_point_reaches_the_reference_with_a_certificate() {
    for name in EXACT.into_iter().chain(ADVERSARIAL) {
        let Some(set) = Set::read(name) else { return };
        for loss in Loss::ALL {
            let program = set.program(loss);
            let started = std::time::Instant::now();
            let certified = exact(&program).unwrap();
            let (c, reference) = (&certified.certificate, set.optimum(loss));
            let network = Network::recover(&certified.solution, program.samples().d(), 1);
            let scored = network.objective(program.samples(), program.targets(), loss, set.beta);
            eprintln!(
                "{name} {}: {:.8} gap {:.1e} ref {reference:.8} network {scored:.8} of {} {:.3} s",
                loss.name(), c.objective, c.gap, network.neurons.len(), started.elapsed().as_secs_f64()
            );
            assert!(c.gap <= 1e-6);
            assert!((c.objective / reference - 1.0).abs() <= 1e-4);
            assert!((scored / c.objective - 1.0).abs() <= 1e-6);
        }
    }
}
