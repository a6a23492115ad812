//! The clocks of the recorded program.
//!
//! They run as the machine's do, but may stand elsewhere: an attempt can begin on another date, or on a machine that
//! has just booted ([`Shift`]). In virtual time they are also all ahead by the same amount: the time over which
//! fast-forwards have gone while every task only waited for a time (see [`crate::record::wait`]). Clocks of processor
//! time are never touched. The kernel knows nothing of it: points in time passed to it are translated. All deadlines
//! here are in the program's time.

use libc::{clockid_t, timespec};

use rrtest_preload::layout::WALL_CLOCKS;

use super::files::machine_now;
use super::past::{Past, Stamp};
use crate::Error;
use crate::record::options::{Options, Time};
use crate::tracee::{Memory, last_os};

/// Nanoseconds in a second.
pub(in crate::record) const SECOND: u64 = 1_000_000_000;

/// How many ns the program's clocks differ from the machine's apart from fast-forwards: where they stood when the
/// attempt began, and steps of the wall clock since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::record) struct Shift {
    /// The clocks that tell the date.
    pub(in crate::record) wall: i64,
    /// The clocks that count from boot.
    pub(in crate::record) up: i64,
}

/// The program's clocks.
#[derive(Debug, Default)]
pub(in crate::record) struct Clocks {
    /// How many ns time has been fast-forwarded.
    ahead: u64,
    shift: Shift,
    /// When the wall clock's difference has changed.
    past: Past,
}

impl Clocks {
    /// Returns how many ns time has been fast-forwarded.
    pub(in crate::record) fn ahead(&self) -> u64 {
        self.ahead
    }

    pub(in crate::record) fn shift(&self) -> Shift {
        self.shift
    }

    /// Returns how many ns a clock differs from the machine's.
    pub(in crate::record) fn differs(&self, clock: clockid_t) -> i64 {
        let shift = if is_wall_clock(clock) { self.shift.wall } else { self.shift.up };
        if is_cpu_clock(clock) { 0 } else { shift.saturating_add_unsigned(self.ahead) }
    }

    /// Whether any clock differs from the machine's.
    pub(in crate::record) fn differ(&self) -> bool {
        self.ahead != 0 || self.shift != Shift::default()
    }

    /// Whether any clock differs from the machine's, or will perhaps.
    pub(in crate::record) fn may_differ(&self, options: &Options<'_>) -> bool {
        options.time == Time::Virtual || self.differ()
    }

    /// Fast-forwards time.
    pub(in crate::record) fn fast_forward(&mut self, nanoseconds: u64) -> Result<(), Error> {
        self.ahead = self.ahead.saturating_add(nanoseconds);
        self.past.change(machine_now()?, self.differs(libc::CLOCK_REALTIME));
        Ok(())
    }

    /// Says where the clocks stand as the program begins. It has written no file yet.
    pub(in crate::record) fn begin(&mut self, shift: Shift) -> Result<(), Error> {
        /// The clock by which the kernel stamps files may be behind by this.
        const BEHIND: Stamp = 20_000_000;
        self.shift = shift;
        self.past.change(machine_now()? - BEHIND, self.differs(libc::CLOCK_REALTIME));
        Ok(())
    }

    /// Sets the wall clock back.
    pub(in crate::record) fn step_back(&mut self, nanoseconds: u64) -> Result<(), Error> {
        self.shift.wall = self.shift.wall.saturating_sub_unsigned(nanoseconds);
        self.past.change(machine_now()?, self.differs(libc::CLOCK_REALTIME));
        Ok(())
    }

    /// Returns when the wall clock's difference has changed.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Reads a clock as the program sees it.
    pub(in crate::record) fn read(&self, clock: clockid_t) -> Result<timespec, Error> {
        let machine = read(clock)?;
        Ok(later(&machine, self.differs(clock)))
    }

    /// Returns the program's CLOCK_MONOTONIC in ns, the clock of all deadlines.
    pub(in crate::record) fn now(&self) -> Result<u64, Error> {
        let differs = self.differs(libc::CLOCK_MONOTONIC);
        read(libc::CLOCK_MONOTONIC)
            .map(|time| nanoseconds(&time).unwrap_or(u64::MAX).saturating_add_signed(differs))
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

/// Returns the program's wall clock, in ns.
pub(in crate::record) fn wall_now(clocks: &Clocks) -> Result<Stamp, Error> {
    Ok(machine_now()? + Stamp::from(clocks.differs(libc::CLOCK_REALTIME)))
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

/// Whether a clock tells the date.
pub(in crate::record) fn is_wall_clock(clock: clockid_t) -> bool {
    (0..64).contains(&clock) && WALL_CLOCKS >> clock & 1 == 1
}

/// Adds ns to a point in time.
pub(super) fn later(time: &timespec, nanoseconds: i64) -> timespec {
    const SECOND: i64 = self::SECOND.cast_signed();
    let sum = time.tv_nsec + nanoseconds.rem_euclid(SECOND);
    timespec {
        tv_sec: time.tv_sec.saturating_add(nanoseconds.div_euclid(SECOND) + sum / SECOND),
        tv_nsec: sum % SECOND,
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
        let plus = |nanoseconds| {
            let time = later(&timespec { tv_sec: 1, tv_nsec: 600_000_000 }, nanoseconds);
            (time.tv_sec, time.tv_nsec)
        };
        assert_eq!(plus(2_500_000_000), (4, 100_000_000));
        assert_eq!(plus(-700_000_000), (0, 900_000_000));
        assert_eq!(plus(-1_600_000_001), (-1, 999_999_999));
    }

    #[test]
    fn the_date_and_the_time_since_boot_stand_where_they_are_put() {
        let mut clocks = Clocks::default();
        let hours = |number: i64| number * 3600 * SECOND.cast_signed();
        clocks.begin(Shift { wall: hours(30), up: -5 }).unwrap();
        clocks.step_back(hours(2).cast_unsigned()).unwrap();
        clocks.fast_forward(7).unwrap();
        let differs =
            [libc::CLOCK_REALTIME, libc::CLOCK_TAI, libc::CLOCK_BOOTTIME, libc::CLOCK_THREAD_CPUTIME_ID];
        assert_eq!(differs.map(|clock| clocks.differs(clock)), [hours(28) + 7, hours(28) + 7, 2, 0]);
        let now = machine_now().unwrap();
        let then = [now - 3600 * Stamp::from(SECOND), now + Stamp::from(SECOND)];
        assert_eq!(then.map(|stamp| clocks.past().ahead_at(stamp)), [0, hours(28) + 7]);
    }
}
