//! The clocks of the recorded program.
//!
//! They are the machine's. In virtual time they are all ahead of the machine's by the same amount: the time over which
//! fast-forwards have gone while every task only waited for a time (see [`crate::record::wait`]). Clocks of processor
//! time are never ahead. The kernel knows nothing of it: points in time passed to it are translated. All deadlines here
//! are in the program's time.

use libc::{clockid_t, timespec};

use super::files::machine_now;
use super::past::Past;
use crate::Error;
use crate::tracee::{Memory, last_os};

/// Nanoseconds in a second.
pub(in crate::record) const SECOND: u64 = 1_000_000_000;

/// The program's clocks.
#[derive(Debug, Default)]
pub(in crate::record) struct Clocks {
    /// How many ns they are ahead of the machine's.
    ahead: u64,
    /// When that has changed.
    past: Past,
}

impl Clocks {
    pub(in crate::record) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Fast-forwards time.
    pub(in crate::record) fn fast_forward(&mut self, nanoseconds: u64) -> Result<(), Error> {
        self.ahead = self.ahead.saturating_add(nanoseconds);
        self.past.fast_forward(machine_now()?, self.ahead);
        Ok(())
    }

    /// Returns when time was fast-forwarded.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Reads a clock as the program sees it.
    pub(in crate::record) fn read(&self, clock: clockid_t) -> Result<timespec, Error> {
        let machine = read(clock)?;
        Ok(if is_cpu_clock(clock) { machine } else { later(&machine, self.ahead) })
    }

    /// Returns the program's CLOCK_MONOTONIC in ns, the clock of all deadlines.
    pub(in crate::record) fn now(&self) -> Result<u64, Error> {
        read(libc::CLOCK_MONOTONIC)
            .map(|time| nanoseconds(&time).unwrap_or(u64::MAX).saturating_add(self.ahead))
    }

    /// Converts a point in time of another clock to a deadline of CLOCK_MONOTONIC.
    pub(in crate::record) fn deadline(&self, clock: clockid_t, at: u64) -> Result<u64, Error> {
        if clock == libc::CLOCK_MONOTONIC {
            return Ok(at);
        }
        let there = nanoseconds(&self.read(clock)?).unwrap_or(0);
        Ok(self.now()?.saturating_add(at.saturating_sub(there)))
    }
}

/// Reads a clock of the machine.
pub(in crate::record) fn read(clock: clockid_t) -> Result<timespec, Error> {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(last_os(format!("read clock {clock}")));
    }
    Ok(time)
}

/// Returns the kernel's `struct timezone` (gettimeofday(2)), which C libraries do not ask for.
pub(in crate::record) fn zone() -> [u8; 8] {
    let mut zone = [0; 8];
    // SAFETY: it is given null for the time, and a live local of the size of what it writes.
    unsafe { libc::syscall(libc::SYS_gettimeofday, std::ptr::null_mut::<u8>(), zone.as_mut_ptr()) };
    zone
}

/// Converts a timespec to ns; `None` if it is not a valid time (`EINVAL`). Times beyond 584 years are cut to that.
pub(in crate::record) fn nanoseconds(time: &timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok().filter(|n| *n < SECOND)?;
    Some(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
}

/// Reads a timespec in the program's memory.
pub(in crate::record) fn timespec_at(memory: &Memory, address: u64) -> Result<timespec, Error> {
    Ok(timespec {
        tv_sec: memory.u64(address)?.cast_signed(),
        tv_nsec: memory.u64(address + 8)?.cast_signed(),
    })
}

/// Encodes a timespec as the kernel writes it.
pub(in crate::record) fn bytes(time: &timespec) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time.tv_sec.to_ne_bytes());
    bytes[8..].copy_from_slice(&time.tv_nsec.to_ne_bytes());
    bytes
}

/// Converts ns to a timespec.
pub(in crate::record) fn timespec_of(nanoseconds: u64) -> timespec {
    timespec { tv_sec: (nanoseconds / SECOND).cast_signed(), tv_nsec: (nanoseconds % SECOND).cast_signed() }
}

/// Whether a clock counts processor time (of a process or thread, also encoded in negative numbers: clock_getres(2)).
pub(in crate::record) fn is_cpu_clock(clock: clockid_t) -> bool {
    clock < 0 || clock == libc::CLOCK_PROCESS_CPUTIME_ID || clock == libc::CLOCK_THREAD_CPUTIME_ID
}

/// Adds ns to a point in time.
pub(super) fn later(time: &timespec, nanoseconds: u64) -> timespec {
    let sum = time.tv_nsec.cast_unsigned() + nanoseconds % SECOND;
    timespec {
        tv_sec: time.tv_sec.saturating_add((nanoseconds / SECOND + sum / SECOND).cast_signed()),
        tv_nsec: (sum % SECOND).cast_signed(),
    }
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

    #[test]
    fn clocks_are_ahead_alike_but_for_those_of_the_processor() {
        let mut clocks = Clocks::default();
        clocks.fast_forward(3600 * SECOND + 999_999_999).unwrap();
        clocks.fast_forward(1).unwrap();
        for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI] {
            let (machine, program) = (read(clock).unwrap(), clocks.read(clock).unwrap());
            let ahead = nanoseconds(&program).unwrap() - nanoseconds(&machine).unwrap();
            assert_eq!(ahead / SECOND, 3601, "clock {clock}");
        }
        let cpu = clocks.read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap();
        assert!(cpu.tv_sec < 3600);
        let at = nanoseconds(&clocks.read(libc::CLOCK_REALTIME).unwrap()).unwrap() + 60 * SECOND;
        let left = clocks.deadline(libc::CLOCK_REALTIME, at).unwrap() - clocks.now().unwrap();
        assert!((59 * SECOND..=60 * SECOND).contains(&left), "{left}");
    }

    #[test]
    fn nanoseconds_carry_over() {
        let time = later(&timespec { tv_sec: 1, tv_nsec: 600_000_000 }, 2 * SECOND + 500_000_000);
        assert_eq!((time.tv_sec, time.tv_nsec), (4, 100_000_000));
    }
}
