//! The tour's stop: which labels of the digits are wrong.

use serde_json::json;
use thalweg_core::Seed;
use thalweg_plot::Table;

use super::hyperclean::{Judged, curves};
use super::job::Job;
use crate::{Finding, Host, Result};

/// Half of the embedded digits' training labels are replaced by wrong ones; a clean fifth finds them.
///
/// # Errors
/// What the run fails with.
pub fn cleaning(host: &Host) -> Result<Finding> {
    let task = Judged::of_digits(0.5, 1e-3, Seed(1))?;
    let job = Job { spacing: 1.0, ..Job::plain(50, 1, host.quiet()) };
    let solved = task.solve(job, "pbo-double", &[])?;
    let (accuracy, f1) = (task.test_accuracy(&solved.trained), task.f1(&solved.solution.x));
    let [noisy, val, both, right] = task.baselines()?;
    let mut table = Table::new(["trained on", "test accuracy"]);
    let rows = [
        ("all examples as labelled", noisy),
        ("the clean fifth", val),
        ("both", both),
        ("examples weighted by pbo-double", accuracy),
        ("the rightly labelled ones and the clean fifth", right),
    ];
    for (name, value) in rows {
        table.row([name.to_owned(), format!("{value:.4}")]);
    }
    Ok(Finding {
        name: "bilevel",
        title: "Penalty bilevel: which training labels to trust".into(),
        text: format!(
            "Half of the digits' training labels are wrong. The upper level weighs the examples so that a linear classifier \
             trained on them (the lower level) does well on a clean fifth: {} gradients. F1 of kept = rightly labelled: \
             {f1:.3}.",
            solved.calls
        ),
        table,
        figures: vec![
            (curves(&solved.seen), "Both are unknown to the method.".into()),
            (task.histogram(&solved.solution.x), "The learned weights.".into()),
        ],
        marks: vec![("weighting beats training on the examples as labelled".into(), accuracy > noisy)],
        data: json!({ "test_accuracy": accuracy, "f1": f1, "as_labelled": noisy, "clean_fifth": val, "both": both, "right": right }),
    })
}
