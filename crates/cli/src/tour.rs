//! `thalweg tour`: every system against its baselines on embedded data, into one report.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use thalweg::plot::{Figure, Report};

use crate::bench::{self, Finding, Length, Setting, variant};
use crate::config::Common;
use crate::output;
use crate::task::{From, Task};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg tour
  thalweg tour --out tour/ --json")]
pub struct Tour {
    /// Folder for report.html and summary.json
    #[arg(long, value_name = "DIR", default_value = "tour")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// A stop of the tour: the system's name and what shows it.
type Stop = (&'static str, fn(&Common) -> Result<Finding>);

/// The systems in the tour, a few seconds each.
const STOPS: &[Stop] = &[
    ("adahessian", adahessian),
    ("adahessian", |_| bench::diagonal()),
    ("adahessian", |_| bench::trajectories()),
];

impl Tour {
    pub fn run(self) -> Result<()> {
        self.common.start()?;
        output::make_folder(&self.out)?;
        let mut report = Report::new("A tour of Thalweg");
        report
            .lead("Every system against its baselines on embedded data, measured on this machine just now.");
        let clock = Instant::now();
        let mut all = Vec::new();
        for (system, stop) in STOPS {
            let began = Instant::now();
            let finding = stop(&self.common)?;
            let seconds = began.elapsed().as_secs_f64();
            if !self.common.json {
                output::print(&format!("{system}: {}\n{}\n", finding.title, finding.table.text()))?;
            }
            finding.add_to(&mut report);
            let marks: Vec<_> = finding.marks.iter().map(|(m, h)| json!({ "mark": m, "holds": h })).collect();
            all.push(json!({ "system": system, "title": finding.title, "seconds": seconds, "results": finding.data, "marks": marks }));
        }
        let file = self.out.join("report.html");
        report.save(&file)?;
        let summary = json!({ "stops": all, "seconds": clock.elapsed().as_secs_f64(), "report": file });
        output::write_json(&self.out.join("summary.json"), &summary)?;
        if self.common.json {
            return output::print_json(&summary);
        }
        output::print(&format!("{:.1} s; open {}\n", clock.elapsed().as_secs_f64(), file.display()))
    }
}

/// AdaHessian against its baselines on the embedded digits.
fn adahessian(common: &Common) -> Result<Finding> {
    const ARCH: &str = "mlp:64-128-10";
    let task = Task::load(&From { data: "digits".into(), ..From::default() }, ARCH, None)?;
    let variants = [
        variant("AdaHessian", "adahessian", json!({ "lr": 0.15 })),
        variant("AdaHessian, no averaging", "adahessian", json!({ "lr": 0.15, "average": "none" })),
        variant("AdamW", "adamw", json!({ "lr": 3e-3 })),
        variant("SGD", "sgd", json!({ "lr": 0.1 })),
        variant("Muon", "muon", json!({ "lr": 0.02 })),
    ];
    let setting = Setting { batch: 64, length: Length::Epochs(15), schedule: "linear", seeds: 3 };
    let quiet = Common { quiet: true, ..common.clone() };
    let rows = bench::train(&task, &variants, &setting, &quiet)?;
    let bars: Vec<_> = rows
        .iter()
        .map(|r| {
            let (mean, sd) = bench::moments(&r.test_loss);
            (r.label.clone(), mean, sd)
        })
        .collect();
    Ok(Finding {
        name: "adahessian",
        title: "AdaHessian: training with the Hessian's diagonal".into(),
        text: format!(
            "{ARCH} on {} digits, batch 64, 15 epochs, linear decay, 3 seeds, each method at its usual rate.",
            task.train.len()
        ),
        table: bench::table(&rows),
        figures: vec![(
            Figure::new("Test loss after 15 epochs").y_label("cross-entropy").bars("test loss", &bars),
            "Lower is better; whiskers are one standard deviation over the seeds.".into(),
        )],
        marks: Vec::new(),
        data: serde_json::to_value(&rows)?,
    })
}
