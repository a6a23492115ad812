//! How often to look whether the program is stuck.

use std::time::{Duration, Instant};

/// When to look next whether a program is stuck. A look may take long, on a machine with many processes and sockets: most of the
/// time is left for what the program waits for.
#[derive(Debug, Default)]
pub(in crate::record) struct Pace(Option<Instant>);

impl Pace {
    pub(in crate::record) fn is_due(&self) -> bool {
        self.0.is_none_or(|next| Instant::now() >= next)
    }

    /// A look that has found nothing took so long.
    pub(in crate::record) fn took(&mut self, time: Duration) {
        /// A part of the time at most.
        const PART: u32 = 16;
        self.0 = Instant::now().checked_add(time * PART);
    }
}
