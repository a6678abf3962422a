//! A heat simulation that tunes its own solver: the relaxation factor of SSOR-preconditioned conjugate gradients is
//! learned from the iteration counts of the steps before.

use thalweg::linsolve::{SequenceSettings, sequence};
use thalweg::tasks::{Host, TaskError};

fn main() -> Result<(), TaskError> {
    for policy in ["fixed:1", "tsallis-inf", "joint"] {
        let settings = SequenceSettings {
            problem: Some("heat".into()),
            nx: Some(30),
            steps: Some(1000),
            policy: Some(policy.into()),
            no_compare: Some(true),
            ..SequenceSettings::default()
        };
        let summary = sequence(&settings, None, &Host::default())?;
        let per_step = summary.total_iterations as f64 / summary.steps as f64;
        println!("{:<12} {per_step:.2} iterations per time step", summary.policy);
    }
    Ok(())
}
