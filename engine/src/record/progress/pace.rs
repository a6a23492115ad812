//! How often to check whether the program is stuck.

use std::time::{Duration, Instant};

/// When to check next whether a program is stuck. A check may take long on a machine with many processes and sockets:
/// most of the time is left to what the program waits for.
#[derive(Debug, Default)]
pub(in crate::record) struct Pace(Option<Instant>);

impl Pace {
    pub(in crate::record) fn is_due(&self) -> bool {
        self.0.is_none_or(|next| Instant::now() >= next)
    }

    /// Notes that a check without result took this long.
    pub(in crate::record) fn took(&mut self, time: Duration) {
        /// Checks take at most this fraction of the time.
        const PART: u32 = 16;
        self.0 = Instant::now().checked_add(time * PART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_check_that_took_long_the_next_one_is_far() {
        let mut pace = Pace::default();
        assert!(pace.is_due());
        pace.took(Duration::from_secs(3600));
        assert!(!pace.is_due());
        pace.took(Duration::ZERO);
        assert!(pace.is_due());
    }
}
