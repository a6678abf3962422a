use std::io;
use std::time::Duration;

use crate::{Progress, StopReason};

/// What stopping rules, callbacks and observers see: the run after a step.
#[derive(Debug)]
pub struct Tick<'a, S> {
    /// Steps made; the first tick of a fresh run has 0.
    pub step: u64,
    /// Evaluations spent.
    pub evaluations: u64,
    /// Evaluations that the next step and the end will take; [`crate::Method::upcoming`].
    pub upcoming: u64,
    /// Time spent, also before a resume.
    pub elapsed: Duration,
    /// What the last step reported; the default before the first one.
    pub progress: Progress,
    /// The method's state; see [`crate::Iterate`] for the iterate.
    pub state: &'a S,
    pub(crate) noted: bool,
}

impl<S> Tick<'_, S> {
    /// Adds a metric, e.g. the test accuracy, and has the recorder write this step whatever its
    /// rhythm is.
    pub fn note(&mut self, name: impl Into<String>, value: f64) {
        self.progress.metrics.push((name.into(), value));
        self.noted = true;
    }

    /// Whether [`Tick::note`] was called.
    pub fn noted(&self) -> bool {
        self.noted
    }
}

/// Watches a run: a progress bar, a recorder. An error ends the run.
pub trait Observe<S> {
    /// Before the first step; `tick.step` is not 0 in a resumed run.
    fn start(&mut self, _tick: &Tick<'_, S>) -> io::Result<()> {
        Ok(())
    }

    /// After every step.
    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()>;

    /// Make everything durable: a checkpoint of this step is about to be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// After the last step.
    fn end(&mut self, _tick: &Tick<'_, S>, _reason: StopReason) -> io::Result<()> {
        Ok(())
    }
}

impl<S, O: Observe<S> + ?Sized> Observe<S> for &mut O {
    fn start(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        (**self).start(tick)
    }
    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        (**self).step(tick)
    }
    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
    fn end(&mut self, tick: &Tick<'_, S>, reason: StopReason) -> io::Result<()> {
        (**self).end(tick, reason)
    }
}

impl<S, O: Observe<S>> Observe<S> for Option<O> {
    fn start(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |o| o.start(tick))
    }
    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |o| o.step(tick))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |o| o.flush())
    }
    fn end(&mut self, tick: &Tick<'_, S>, reason: StopReason) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |o| o.end(tick, reason))
    }
}

/// A display of progress: a bar on a terminal, a widget of a notebook. Runs feed it as an observer, loops
/// of the caller's own by hand, those of several threads too.
pub trait Meter: Send {
    /// Begins at this position, from which rate and remaining time count.
    fn begin(&mut self, position: u64);
    /// Shows a position and a value, unless it did a moment ago.
    fn show(&mut self, position: u64, value: f64);
    /// Leaves the display at this position.
    fn finish(&mut self, position: u64, value: f64);
}

impl<S> Observe<S> for Box<dyn Meter + '_> {
    fn start(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        self.begin(tick.step);
        Ok(())
    }

    fn step(&mut self, tick: &Tick<'_, S>) -> io::Result<()> {
        self.show(tick.step, tick.progress.value);
        Ok(())
    }

    fn end(&mut self, tick: &Tick<'_, S>, _reason: StopReason) -> io::Result<()> {
        self.finish(tick.step, tick.progress.value);
        Ok(())
    }
}
