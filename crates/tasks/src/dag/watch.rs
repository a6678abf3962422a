//! Progress of a search on a terminal, and its end by Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use thalweg::core::interrupt;
use thalweg::topo::Round;

use crate::config::Common;

/// Writes one line again and again.
pub struct Progress {
    shown: Option<Mutex<Instant>>,
}

impl Progress {
    pub fn new(common: &Common) -> Self {
        let shown = !common.quiet && io::stderr().is_terminal();
        Self { shown: shown.then(|| Mutex::new(Instant::now())) }
    }

    /// What a search tells after each round.
    pub fn tell(&self, round: &Round) -> ControlFlow<()> {
        if let Some(last) = &self.shown
            && let Ok(mut last) = last.try_lock()
            && last.elapsed() > Duration::from_millis(200)
        {
            *last = Instant::now();
            let Round { start, round, score, .. } = round;
            // A reader that has gone away is no error.
            let _ = write!(io::stderr(), "\rstart {start}, round {round}, score {score:.6}\x1b[K");
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
