//! Who looks on at a job: a terminal, a notebook, or nobody.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thalweg_core::{
    Checkpointer, Drive, Every, Interrupt, Meter, Method, MethodError, Outcome, Problem, Recorder, Run,
    RunError, Seed, Stop,
};

use crate::Folder;
use crate::folder::rooted;

/// Shows what a job has to say while it works.
pub trait Watcher: Send + Sync {
    /// A line for people.
    fn note(&self, text: &str);

    /// A display of progress towards `total` steps, or a counter if their number is not known.
    fn meter(&self, title: &str, total: Option<u64>) -> Option<Box<dyn Meter>>;
}

/// Who looks on, who may interrupt, and how long a job may take. The default: nobody, no limit.
#[derive(Clone, Default)]
pub struct Host {
    /// Asks the job to stop and leave its best so far.
    pub interrupt: Interrupt,
    /// Upper bound on the time of a job.
    pub time: Option<Duration>,
    /// Notes and bars.
    pub watcher: Option<Arc<dyn Watcher>>,
}

impl Host {
    /// The same without anybody who looks on.
    pub fn quiet(&self) -> Self {
        Self { watcher: None, ..self.clone() }
    }

    /// A line for people.
    pub fn note(&self, text: impl AsRef<str>) {
        if let Some(watcher) = &self.watcher {
            watcher.note(text.as_ref());
        }
    }

    /// A display of progress, where somebody looks on.
    pub fn meter(&self, title: &str, total: Option<u64>) -> Option<Box<dyn Meter>> {
        self.watcher.as_ref().and_then(|w| w.meter(title, total))
    }

    /// Runs iterative methods for a job, see [`Driver`].
    pub fn driver<'a>(&'a self, title: impl Into<String>, folder: Option<&'a Folder>) -> Driver<'a> {
        Driver {
            host: self,
            folder,
            title: title.into(),
            steps: None,
            stops: Vec::new(),
            every: Every::Time(Duration::from_secs(5)),
            records: 1,
            words: Vec::new(),
            configuration: Value::Null,
            resume: folder.is_some_and(Folder::resumes),
            follows: false,
        }
    }
}

/// The one way in which jobs run methods: the host's bar, interruption and time limit; metrics and
/// checkpoint in the run folder, from which a resumed run goes on.
pub struct Driver<'a> {
    host: &'a Host,
    folder: Option<&'a Folder>,
    title: String,
    /// Largest number of steps, which the bar counts towards. Default none.
    pub steps: Option<u64>,
    /// Further stopping rules. Default none.
    pub stops: Vec<Stop>,
    /// Rhythm of checkpoints. Default 5 s.
    pub every: Every,
    /// Every so many steps are recorded. Default 1.
    pub records: u64,
    /// Metrics that count words, by name; the words are recorded. Default none.
    pub words: Vec<(&'static str, Vec<&'static str>)>,
    /// Settings beside the method's that a resumed run must share.
    pub configuration: Value,
    /// Goes on from the folder's checkpoint. Default: where the folder is reopened and has one.
    pub resume: bool,
    /// Another process shows and writes; this one only does the same. Default no.
    pub follows: bool,
}

impl Driver<'_> {
    /// Adds to a run what every job's runs have.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub fn dress<'r, M, P>(&'r self, mut run: Run<'r, M, P>) -> Result<Run<'r, M, P>, RunError>
    where
        M: Method<P>,
        P: Problem + ?Sized,
    {
        run = run.configuration(&rooted(&self.configuration)).interrupt(self.host.interrupt.clone());
        let limits = self.steps.map(Stop::Steps).into_iter().chain(self.host.time.map(Stop::Time));
        for stop in limits.chain(self.stops.iter().copied()) {
            run = run.stop(stop);
        }
        if !self.follows {
            run = run.observe(self.host.meter(&self.title, self.steps));
        }
        let Some(folder) = self.folder else { return Ok(run) };
        if !self.follows {
            run = run
                .observe(Recorder::new(folder.metrics(), self.records).words(self.words.iter().cloned()))
                .checkpoint(Checkpointer { path: folder.checkpoint(), every: self.every });
        }
        Ok(if self.resume { run.resume(folder.checkpoint())? } else { run })
    }
}

impl<X> Drive<X> for Driver<'_> {
    fn drive<M, P>(&mut self, method: &M, problem: &mut P, seed: Seed) -> Result<Outcome<X>, RunError>
    where
        M: Method<P, Solution = X>,
        P: Problem + ?Sized,
    {
        let outcome = self.dress(Run::new(method, problem).seed(seed))?.run();
        outcome.inspect_err(|e| self.give_up(e))
    }
}

impl Driver<'_> {
    /// Removes the checkpoint of a run that diverged: going on would only diverge again.
    pub(crate) fn give_up(&self, e: &RunError) {
        if let (RunError::Method { source: MethodError::NonFinite { .. }, .. }, Some(folder)) =
            (e, self.folder)
        {
            folder.drop_checkpoint();
        }
    }
}
