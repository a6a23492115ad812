//! Whether tasks that wait in the kernel can ever go on.
//!
//! A wait for children, for a pipe, a connection or a lock that only the program's own processes have, ends only by what one of
//! them does. If none of them can run, and nobody else could do it, that is a deadlock. What is not certain counts as waiting
//! for the world: the program then runs into its time limit.

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
