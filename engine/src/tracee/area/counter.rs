//! The rate of the machine's time-stamp counter.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The counter and the clock at one moment.
#[derive(Clone, Copy)]
struct Moment {
    counter: u64,
    time: Instant,
}

impl Moment {
    fn now() -> Self {
        Self { time: Instant::now(), counter: machine_counter() }
    }
}

/// Reads the counter.
pub(super) fn machine_counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and nothing keeps this process from executing it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// When [`watch_counter`] was first called.
static FIRST: OnceLock<Moment> = OnceLock::new();

/// Starts the measurement. The longer it lasts until the rate is needed, the more precise the rate.
pub(super) fn watch_counter() {
    FIRST.get_or_init(Moment::now);
}

/// Returns the counter's cycles per nanosecond of CLOCK_MONOTONIC, times 2 to the power of 32. The result never
/// changes: a program's counter, which is computed with it, must not go back.
pub(super) fn counter_rate() -> u64 {
    /// Reading the clock varies by some 50 ns: a hundred thousandth of this.
    const LEAST: Duration = Duration::from_millis(5);
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let first = *FIRST.get_or_init(Moment::now);
        if let Some(left) = LEAST.checked_sub(first.time.elapsed()) {
            std::thread::sleep(left);
        }
        let now = Moment::now();
        let cycles = u128::from(now.counter.saturating_sub(first.counter));
        let rate = (cycles << 32) / (now.time - first.time).as_nanos().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_a_processor_and_stays() {
        watch_counter();
        let rate = counter_rate();
        let megahertz = (u128::from(rate) * 1000) >> 32;
        assert!((200..20_000).contains(&megahertz), "{megahertz} MHz");
        assert_eq!(counter_rate(), rate);
    }
}
