//! Finds out which training labels are wrong: half of them were replaced, a clean fifth is known.

use thalweg::tasks::bilevel::hyperclean::{Settings, hyperclean};
use thalweg::tasks::{Host, TaskError};

fn main() -> Result<(), TaskError> {
    let settings = Settings { corrupt: Some(0.5), steps: Some(20), seed: Some(1), ..Settings::default() };
    let cleaned = hyperclean(&settings, None, &Host::default())?;
    let s = &cleaned.summary;
    println!("kept {} of {} examples, F1 {:.3} of kept = rightly labelled", s.kept, s.examples, s.f1);
    print!("{}", cleaned.table()?.text());
    Ok(())
}
