//! The continuous methods, run as they were published.

use std::time::Instant;

use serde_json::json;
use thalweg_core::{Invalid, StopReason};
use thalweg_topo::baselines::{Dagma, Golem, Notears};
use thalweg_topo::{FitOptions, Learned, Mat, TopoError};

use super::Settings;
use super::job::Job;
use super::settings::MethodName;
use crate::Result;

/// What the method of the settings finds, as far as the time allows.
pub(super) fn learn(job: &Job, options: &FitOptions) -> Result<Learned> {
    let clock = Instant::now();
    let sample = if job.topo.standardize { job.sample.standardized() } else { job.sample.clone() };
    let go_on = || options.go_on();
    let w = weights(job.settings, &sample.covariance(), &go_on)?;
    let mut learned = job.topo.judge(&w, &job.sample, options)?;
    learned.stopped_because = match go_on() {
        true => StopReason::Converged,
        false if job.host.interrupt.requested() => StopReason::Interrupted,
        false => StopReason::Time,
    };
    if let Some(folder) = job.folder {
        let (seconds, value) = (clock.elapsed().as_secs_f64(), learned.score);
        folder.write_metrics([json!({ "step": 1, "evaluations": 0, "seconds": seconds, "value": value })])?;
    }
    Ok(learned)
}

/// Weights from a covariance matrix.
fn weights(settings: &Settings, s: &Mat<f64>, go_on: &dyn Fn() -> bool) -> Result<Mat<f64>> {
    if let Some(lambda) = settings.lambda {
        Invalid::at_least_zero("lambda", lambda).map_err(TopoError::from)?;
    }
    let threshold = settings.threshold.unwrap_or(0.3);
    Ok(match settings.method.unwrap_or_default() {
        MethodName::Dagma => {
            let plain = Dagma::default();
            Dagma { lambda: settings.lambda.unwrap_or(plain.lambda), threshold, ..plain }
                .fit_while(s, go_on)?
        }
        MethodName::Golem => {
            Golem { lambda: settings.lambda, threshold, ..Golem::default() }.fit_while(s, go_on)?
        }
        _ => {
            let plain = Notears::default();
            Notears { lambda: settings.lambda.unwrap_or(plain.lambda), threshold, ..plain }
                .fit_while(s, go_on)?
        }
    })
}
