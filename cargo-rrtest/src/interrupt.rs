//! Ctrl-C: the first one asks for an orderly end, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Status, Stop};

/// What Ctrl-C and others have asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Give up what is running: set by Ctrl-C, by a failure that ends a campaign, or by its deadline.
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether it was Ctrl-C (or a termination signal).
    pub(crate) by_user: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watch for Ctrl-C from now on. To be called once.
    pub(crate) fn install() -> Result<Self, Stop> {
        let interrupt = Self::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || {
            handler.stop.store(true, Ordering::SeqCst);
            if handler.by_user.swap(true, Ordering::SeqCst) {
                // Recorded processes are bound to their recorder: they end with us.
                std::process::exit(Status::Interrupted as i32);
            }
        })
        .map_err(|error| Stop::new(Status::Recorder, format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Whether the user asked for an end.
    pub(crate) fn by_user(&self) -> bool {
        self.by_user.load(Ordering::SeqCst)
    }
}
