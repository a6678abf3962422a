//! Ctrl-C: the first one asks the run to stop at the next step boundary (after a checkpoint), the
//! second one ends the program at once.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit status of a program ended by Ctrl-C: 128 + SIGINT.
const EXIT: i32 = 130;

/// Installs the handler; further calls do nothing. Fails if the program has another handler.
pub fn install() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT);
        }
        // A reader that has gone away is no reason to die here.
        let _ = writeln!(io::stderr(), "stopping after this step; press Ctrl-C again to quit at once");
    };
    INSTALLED.get_or_init(|| ctrlc::set_handler(handler).map_err(|e| e.to_string())).clone()
}

/// Asks every run that obeys [`crate::Stop::Interrupt`] to stop, as the first Ctrl-C does.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Forgets the request, so that the next run may start.
pub fn clear() {
    REQUESTED.store(false, Ordering::SeqCst);
}
