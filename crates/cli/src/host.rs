//! The terminal as host of a job: bars and notes on standard error, Ctrl-C.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thalweg::core::{Interrupt, Meter};
use thalweg::tasks::{Host, Watcher};

use crate::exit;

/// The terminal, or nobody; Ctrl-C asks the job to stop after its step, a second one ends the program.
pub fn terminal(quiet: bool) -> Result<Host> {
    static TOKEN: OnceLock<Interrupt> = OnceLock::new();
    if TOKEN.get().is_none() {
        let token = Interrupt::default();
        let mine = token.clone();
        ctrlc::set_handler(move || {
            if mine.requested() {
                exit::at_once();
            }
            mine.request();
            // A broken pipe is no reason to die here.
            let _ = writeln!(io::stderr(), "stopping after this step; press Ctrl-C again to quit at once");
        })
        .context("cannot watch for Ctrl-C")?;
        let _ = TOKEN.set(token);
    }
    let watcher: Option<Arc<dyn Watcher>> = if quiet { None } else { Some(Arc::new(Terminal)) };
    Ok(Host { interrupt: TOKEN.get().cloned().unwrap_or_default(), watcher, ..Host::default() })
}

struct Terminal;

impl Watcher for Terminal {
    fn note(&self, text: &str) {
        // A broken pipe is no error.
        let _ = writeln!(io::stderr(), "{}", exit::in_flags(text));
    }

    fn meter(&self, title: &str, total: Option<u64>) -> Option<Box<dyn Meter>> {
        Some(Box::new(Bar::new(title, total)))
    }
}

/// A progress bar with rate, remaining time and objective value, on standard error; silent where
/// that is not a terminal.
struct Bar {
    bar: ProgressBar,
    drawn: Option<Instant>,
}

/// Drawing more often than this only costs time.
const REDRAW: Duration = Duration::from_millis(50);

impl Bar {
    fn new(title: &str, steps: Option<u64>) -> Self {
        let template = match steps {
            Some(_) => "{prefix} {wide_bar} {pos}/{len} · {per_sec} · ETA {eta} · {msg}",
            None => "{prefix} {spinner} {pos} · {per_sec} · {elapsed} · {msg}",
        };
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::stderr());
        Self { bar: bar.with_style(style).with_prefix(title.to_owned()), drawn: None }
    }

    fn draw(&mut self, position: u64, value: f64) {
        self.drawn = Some(Instant::now());
        self.bar.set_message(format!("value {value:.4e}"));
        self.bar.set_position(position);
    }
}

impl Meter for Bar {
    fn begin(&mut self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    fn show(&mut self, position: u64, value: f64) {
        if !self.bar.is_hidden() && self.drawn.is_none_or(|t| t.elapsed() >= REDRAW) {
            self.draw(position, value);
        }
    }

    fn finish(&mut self, position: u64, value: f64) {
        self.draw(position, value);
        self.bar.abandon();
    }
}
