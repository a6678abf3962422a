use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks runs to stop at the next step boundary, after a checkpoint. Clones are the same token: hand
/// one to [`crate::Run::interrupt`] and keep one for the Ctrl-C handler, the notebook or the clock.
///
/// ```
/// let token = thalweg_core::Interrupt::default();
/// let mine = token.clone();
/// token.request();
/// assert!(mine.requested());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
