//! `thalweg minimize`: test functions and programs, by gradients or by values alone.

use anyhow::Result;
use clap::Args;
use thalweg::minimize::{Settings, minimize};

use crate::args::RunFlags;
use crate::exit::Status;
use crate::printer::{print, print_json};

#[derive(Args)]
#[command(after_help = "Examples:
  thalweg minimize --function rastrigin --dim 10 --method auto --target 1e-3 --runs 10 --seed 1 --json
  thalweg minimize --function rosenbrock --start=-1.2,1 --method adahessian
  thalweg minimize --function rastrigin --start=-2,3.5 --compare adahessian,adam,sgd --out min/ --json

Programs: --command \"./simulate {x}\" --box -5:5 --dim 3 is called per point; --process \"python3 f.py\" stays, e.g.

  import sys
  for line in sys.stdin:                      # a point: its numbers, separated by blanks
      x = [float(v) for v in line.split()]
      f = sum((v - 1) ** 2 for v in x)        # nan where there is no value
      print(f, flush=True)                    # one line per point, and nothing else here

Messages belong on standard error, whose last lines are shown with the first failure. A line more, or one without
numbers, is a failure, and the program is started anew. At the end the best point is asked again: another value is an
error, unless --noisy says that values are random. With --constraints 2 the program also says g1 and g2, and a point is
feasible where both are at most 1e-6. Without --target a search ends when nothing improves (--patience).

Fields of methods: --set noise_ratio=0.6; of groups of them by their path: --set memory.lambda=0.4 --set memory.beta=2,
--set gradient.eta=0.1, --set batches.size=10; of one of several methods: --set sgd.lr=0.001.

auto, cbo, ch and adaptive use values alone; the other methods use gradients, which all test functions have but
ackley, salomon, alpine and schwefel220. With --target the exit status is 3 where no run reaches it.")]
pub struct Minimize {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    run: RunFlags,
}

impl Minimize {
    pub fn run(self) -> Result<Status> {
        let opened = self.run.open(&self.settings, None)?;
        let found = minimize(&opened.settings, opened.folder.as_ref(), &opened.host)?;
        if opened.json {
            print_json(&found)?;
        } else {
            print(&found.table().text())?;
        }
        let missed = opened.settings.target.is_some() && !found.succeeded();
        Ok(if missed { Status::Unproved } else { Status::Done })
    }
}
