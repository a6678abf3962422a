//! `thalweg bilevel`: one problem inside another.

use anyhow::Result;
use clap::{Args, Subcommand};
use thalweg::core::StopReason;
use thalweg::tasks::bilevel::{check, hyperclean, regularization, toy};

use crate::args::{Common, RunFlags};
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
pub struct Bilevel {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find out which training labels to trust, from a few clean ones
    #[command(after_help = "Examples:
  thalweg bilevel hyperclean
  thalweg bilevel hyperclean --corrupt 0.3 --method pbo-double --out clean/ --json
  thalweg bilevel hyperclean --data t10k-images-idx3-ubyte.gz --split split.csv.gz --json

Each training example has a weight; a classifier is trained on the weighted examples, and the weights are chosen so
that it does well on the validation part. The split's CSV has the columns index, part (train, val, test),
clean_label, given_label. Without a split: the embedded digits, some training labels replaced by wrong ones.")]
    Hyperclean {
        #[command(flatten)]
        settings: hyperclean::Settings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
    /// Choose a ridge weight for every feature of a logistic regression
    #[command(
        name = "regularisation",
        alias = "regularization",
        after_help = "Examples:
  thalweg bilevel regularisation --time 10s
  thalweg bilevel regularisation --method implicit --box -8:2 --out r/ --json
  thalweg bilevel regularisation --train a.svm.bz2 --validation b.svm.bz2 --test c.svm.bz2 --box -10:2 --json

The lower level minimises mean log-loss on the training file plus ½Σ exp(x_j)·y_j²; the upper level is the loss on
the validation file. The test file has no part in the choice: the score on it is what to expect of new rows. The
problem is not convex in x: where x starts matters. Without files, the embedded digits."
    )]
    Regularization {
        #[command(flatten)]
        settings: regularization::Settings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
    /// Solve a small problem whose answer is known
    #[command(after_help = "Examples:
  thalweg bilevel toy cosine --start 2.5
  thalweg bilevel toy simplex --method pbo-double --steps 5000 --trace trace.csv --json

Toys: line, least-squares, active, pl, jump, cosine, simplex.")]
    Toy {
        #[command(flatten)]
        settings: toy::Settings,
        #[command(flatten)]
        run: Box<RunFlags>,
    },
    /// Test a problem's gradients and the theory's assumptions at a point
    #[command(after_help = "Examples:
  thalweg bilevel check cosine
  thalweg bilevel check jump --at 0.000001

Gradients against differences, the error bound's constant, how ψ_σ and its gradient go as σ falls, and the explicit
gradient with the pseudo-inverse of the lower level's KKT matrix.")]
    Check {
        #[command(flatten)]
        settings: check::Settings,
        #[command(flatten)]
        common: Common,
    },
}

impl Bilevel {
    pub fn run(self) -> Result<Status> {
        match self.task {
            Task::Hyperclean { settings, run } => {
                let opened = run.open(&settings, None)?;
                let cleaned = hyperclean::hyperclean(&opened.settings, opened.folder.as_ref(), &opened.host)?;
                if opened.json {
                    print_json(&cleaned.summary)?;
                } else {
                    let (table, s) = (cleaned.table()?.text(), &cleaned.summary);
                    let (steps, calls, seconds) = (s.steps, s.gradient_calls, s.seconds);
                    print(&format!("{table}{steps} steps, {calls} gradients, {seconds:.2} s\n"))?;
                }
                return Ok(status(cleaned.summary.stopped_because));
            }
            Task::Regularization { settings, run } => {
                let opened = run.open(&settings, None)?;
                let (settings, folder) = (&opened.settings, opened.folder.as_ref());
                let summary = regularization::regularization(settings, folder, &opened.host)?;
                if opened.json {
                    print_json(&summary)?;
                } else {
                    print(&format!("{}ended because {}\n", summary.table().text(), summary.why))?;
                }
                return Ok(status(summary.stopped_because));
            }
            Task::Toy { settings, run } => {
                let opened = run.open(&settings, None)?;
                let summary = toy::solve(&opened.settings, opened.folder.as_ref(), &opened.host)?;
                if opened.json {
                    print_json(&summary)?;
                } else {
                    let table = summary.table().text();
                    print(&format!(
                        "{}: {}\n{table}ended because {}\n",
                        summary.toy, summary.about, summary.why
                    ))?;
                }
                return Ok(status(summary.stopped_because));
            }
            Task::Check { settings, common } => {
                let found = check::check(&settings, &common.start()?)?;
                if common.json {
                    print_json(&found.json())?;
                } else {
                    print(&found.text())?;
                }
            }
        }
        Ok(Status::Done)
    }
}

/// A method that ended itself has made no progress.
fn status(stopped_because: StopReason) -> Status {
    if stopped_because == StopReason::Method { Status::Unproved } else { Status::Done }
}
