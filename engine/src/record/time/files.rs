//! Timestamps of files, where the program's clocks differ from the machine's.
//!
//! The kernel stamps files by the machine's clock (inode(7)). The timestamps that it reports are translated to the
//! program's clocks ([`super::past`]), so that files written before and after time was fast-forwarded are as far apart
//! as these say. They can be coarser than the kernel's, as those of many file systems are.
//!
//! There are two complications. Timestamps that a program has set itself (utimensat(2)) are meant as they are: they are
//! remembered, and reported unchanged. And the kernel stamps by a clock that moves only a few hundred times a second,
//! or, since Linux 6.13, when somebody has read a timestamp (Documentation/filesystems/multigrain-ts.rst): a file
//! written just after a fast-forward would get a timestamp from before it. So after a fast-forward, every call that may
//! stamp a file waits until that clock has moved on, which a file of the recorder's own shows: at once if reading is
//! enough, otherwise after a few ms at most.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use libc::timespec;

use super::clocks::{self, Clocks, SECOND};
use super::past::Stamp;
use crate::clock::Clock;
use crate::error::Error;
use crate::record::kernel::fds::FdKind;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{FileTimes, Stamps, Units, file_times, set_times, stamps};
use crate::task::TaskId;
use crate::tracee::{last_os, os};

/// State of file timestamps.
#[derive(Debug, Default)]
pub(in crate::record) struct Stamped {
    /// Timestamps that the program has set, in seconds and ns.
    set: HashSet<(i64, i64)>,
    /// Files stamped now may get timestamps from before the last fast-forward.
    stale: bool,
    /// Files may be stamped without a call: they are mapped as shared.
    mapped: bool,
    /// A file of the recorder's own.
    probe: Option<File>,
    /// In ns: timestamps are told as multiples of this; 0 for any.
    pub(in crate::record) grain: u32,
}

impl Stamped {
    /// Returns the timestamp that the kernel gives a file now.
    fn now(&mut self) -> Result<Stamp, Error> {
        let probe = match &mut self.probe {
            Some(probe) => probe,
            none => none.insert(memory_file()?),
        };
        // SAFETY: null stands for the present time.
        if unsafe { libc::futimens(probe.as_raw_fd(), std::ptr::null()) } != 0 {
            return Err(last_os("set the times of a file in memory"));
        }
        let metadata = probe.metadata().map_err(os("look at a file in memory"))?;
        Ok(stamp(metadata.ctime(), metadata.ctime_nsec()))
    }
}

impl Stamped {
    /// Notes that time has been fast-forwarded.
    pub(in crate::record) fn stamps_are_stale(
        &mut self,
        clock: &Clock,
        clocks: &Clocks,
    ) -> Result<(), Error> {
        self.stale = true;
        clock.area().set_stale(true);
        if self.mapped { self.refresh_stamps(clock, clocks) } else { Ok(()) }
    }

    /// Notes that a task has mapped a file as shared.
    pub(in crate::record) fn note_shared_file(
        &mut self,
        clock: &Clock,
        clocks: &Clocks,
    ) -> Result<(), Error> {
        self.mapped = true;
        if self.stale { self.refresh_stamps(clock, clocks) } else { Ok(()) }
    }

    /// Makes sure that a call that stamps a file gives it no timestamp from before the last fast-forward.
    pub(in crate::record) fn before_stamp(
        &mut self,
        tasks: &Tasks,
        clock: &Clock,
        poller: &mut Poller,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Flow<()> {
        let stamps = self.stale
            && match stamps(call.number()) {
                None => false,
                Some(Stamps::Somewhere) => true,
                Some(Stamps::File(fd)) => poller.kind(tasks, id, call.args()[fd]) == FdKind::Ready,
            };
        if stamps {
            self.refresh_stamps(clock, clocks)?;
        }
        Ok(())
    }

    /// Waits until the kernel's timestamps are later than the last fast-forward.
    fn refresh_stamps(&mut self, clock: &Clock, clocks: &Clocks) -> Result<(), Error> {
        /// Tries without a pause in between.
        const AT_ONCE: u32 = 3;
        /// Tries in total: the clock moves at least a hundred times a second.
        const MOST: u32 = 400;
        const PAUSE: Duration = Duration::from_micros(250);
        let leapt = clocks.past().last_change();
        for tried in 0..MOST {
            if leapt.is_none_or(|leapt| self.now().is_ok_and(|now| now > leapt)) {
                break;
            }
            if tried >= AT_ONCE {
                std::thread::sleep(PAUSE);
            }
        }
        self.stale = false;
        clock.area().set_stale(false);
        Ok(())
    }

    /// Notes timestamps that the program has set.
    pub(in crate::record) fn note_set_times(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) {
        let Some((at, units)) = set_times(call.number()).filter(|_| clocks.may_differ(options)) else {
            return;
        };
        let address = call.args()[at];
        let Ok(bytes) = tasks.space(id).memory.bytes(address, units.pair()) else { return };
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        for at in [0, units.pair() / 2] {
            let (seconds, parts) = match units {
                Units::Seconds => (number(at), 0),
                Units::Microseconds => (number(at), number(at + 8) * 1000),
                Units::Nanoseconds => (number(at), number(at + 8)),
            };
            if !matches!(parts, libc::UTIME_NOW | libc::UTIME_OMIT) {
                self.set.insert((seconds, parts));
            }
        }
    }

    /// Translates file timestamps that a call has reported to the program's clocks.
    pub(super) fn tell_file_times(
        &self,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Flow<()> {
        let Some(FileTimes { at, offsets }) = file_times(call.number()) else { return Ok(()) };
        let memory = &tasks.space(id).memory;
        for offset in *offsets {
            let at = call.args()[*at].wrapping_add(*offset);
            let Ok(told) = memory.bytes(at, 12) else { continue };
            let seconds = i64::from_ne_bytes(std::array::from_fn(|i| told[i]));
            let parts = i32::from_ne_bytes(std::array::from_fn(|i| told[8 + i]));
            let stamped = stamp(seconds, parts.into());
            let set = self.set.contains(&(seconds, parts.into()));
            let ahead = if set { 0 } else { clocks.ahead_at(stamped)? };
            let time = timespec { tv_sec: seconds, tv_nsec: parts.into() };
            let shown = coarse(&clocks::later(&time, ahead), self.grain);
            if shown != time {
                // In statx(2) the nanoseconds have 4 bytes.
                memory.write(at, &clocks::bytes(&shown)[..12])?;
            }
        }
        Ok(())
    }
}

/// Rounds a point in time down to a multiple of `grain` ns, unless that is 0.
fn coarse(time: &timespec, grain: u32) -> timespec {
    let exact = stamp(time.tv_sec, time.tv_nsec);
    let rest = if grain == 0 { 0 } else { exact.rem_euclid(grain.into()) };
    clocks::later(time, -(rest as i64))
}

/// Returns a point in time.
pub(in crate::record) fn stamp(seconds: i64, nanoseconds: i64) -> Stamp {
    Stamp::from(seconds) * Stamp::from(SECOND) + Stamp::from(nanoseconds)
}

/// Returns the machine's CLOCK_REALTIME.
pub(super) fn machine_now() -> Result<Stamp, Error> {
    clocks::read(libc::CLOCK_REALTIME).map(|now| stamp(now.tv_sec, now.tv_nsec))
}

/// Creates a file that nobody else has.
fn memory_file() -> Result<File, Error> {
    // SAFETY: the name is a constant that ends in a null byte.
    let fd = unsafe { libc::memfd_create(c"stamps".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(last_os("make a file in memory"));
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_times_are_multiples_of_the_grain_and_not_later() {
        let time = |tv_sec, tv_nsec| timespec { tv_sec, tv_nsec };
        let fine = time(7, 123_456_789);
        for (grain, shown) in [
            (0, fine),
            (10_000_000, time(7, 120_000_000)),
            (1_000_000_000, time(7, 0)),
            (2_000_000_000, time(6, 0)),
        ] {
            assert_eq!(coarse(&fine, grain), shown);
        }
        assert_eq!(coarse(&time(-1, 5), 2_000_000_000), time(-2, 0), "before 1970, too");
    }
}
