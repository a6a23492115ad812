//! The clocks of the recorded program.

use libc::{clockid_t, timespec};

use crate::Error;
use crate::tracee::{Memory, last_os};

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// What a clock shows.
pub(super) fn read(clock: clockid_t) -> Result<timespec, Error> {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(last_os(format!("read clock {clock}")));
    }
    Ok(time)
}

/// Nanoseconds of CLOCK_MONOTONIC: the clock of all deadlines.
pub(super) fn now() -> Result<u64, Error> {
    read(libc::CLOCK_MONOTONIC).map(|time| nanoseconds(&time).unwrap_or(u64::MAX))
}

/// A timespec in nanoseconds; none if it is not a valid time (`EINVAL`). What exceeds 584 years counts as that.
pub(super) fn nanoseconds(time: &timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok().filter(|n| *n < SECOND)?;
    Some(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
}

/// The timespec at an address of the program.
pub(super) fn timespec_at(memory: &Memory, address: u64) -> Result<timespec, Error> {
    Ok(timespec {
        tv_sec: memory.u64(address)?.cast_signed(),
        tv_nsec: memory.u64(address + 8)?.cast_signed(),
    })
}

/// A timespec as the kernel writes it.
pub(super) fn bytes(time: &timespec) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time.tv_sec.to_ne_bytes());
    bytes[8..].copy_from_slice(&time.tv_nsec.to_ne_bytes());
    bytes
}

/// So many nanoseconds as a timespec.
pub(super) fn timespec_of(nanoseconds: u64) -> timespec {
    timespec { tv_sec: (nanoseconds / SECOND).cast_signed(), tv_nsec: (nanoseconds % SECOND).cast_signed() }
}

/// Whether a clock counts processor time (of a process or thread, encoded in negative numbers too: clock_getres(2)).
pub(super) fn is_cpu_clock(clock: clockid_t) -> bool {
    clock < 0 || clock == libc::CLOCK_PROCESS_CPUTIME_ID || clock == libc::CLOCK_THREAD_CPUTIME_ID
}

/// A deadline of CLOCK_MONOTONIC from a point in time of another clock.
pub(super) fn deadline(clock: clockid_t, at: u64) -> Result<u64, Error> {
    if clock == libc::CLOCK_MONOTONIC {
        return Ok(at);
    }
    let there = nanoseconds(&read(clock)?).unwrap_or(0);
    Ok(now()?.saturating_add(at.saturating_sub(there)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked() {
        let time = |tv_sec, tv_nsec| nanoseconds(&timespec { tv_sec, tv_nsec });
        assert_eq!(time(1, 5), Some(SECOND + 5));
        assert_eq!(time(-1, 0), None);
        assert_eq!(time(0, 1_000_000_000), None);
        assert_eq!(time(i64::MAX, 0), Some(u64::MAX));
    }
}
