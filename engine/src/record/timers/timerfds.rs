//! Timers that are descriptors (timerfd_create(2)), where the program's clocks differ from the machine's.
//!
//! The kernel runs them by the machine's clocks. When time is fast-forwarded, what is left of each is shortened; a
//! point in time to which the program sets one is meant by the program's clocks.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use libc::{itimerspec, timespec};
use nix::unistd::Pid;

use crate::error::Error;
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::time::alarms::Alarms;
use crate::record::time::clocks::{self, Clocks, nanoseconds, timespec_of};
use crate::record::tree::call::Call;
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Registers;
use crate::tracee::{Fd, last_os, named_fds};

/// A timer that is set.
#[derive(Debug)]
pub(in crate::record) struct DescriptorTimer {
    fd: OwnedFd,
    /// ns until it goes off.
    pub(in crate::record) left: u64,
    interval: u64,
}

impl DescriptorTimer {
    /// Makes it go off sooner. Two descriptors of the same timer may both be brought forward.
    pub(in crate::record) fn bring_forward(self, by: u64) -> Result<(), Error> {
        // 0 would unset it.
        let left = self.left.saturating_sub(by).max(1);
        let new = itimerspec { it_interval: timespec_of(self.interval), it_value: timespec_of(left) };
        // SAFETY: the descriptor is open; `new` is a live local.
        let set =
            unsafe { libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const new, std::ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(last_os("set a timer")) }
    }
}

impl Poller {
    /// Returns all timerfds of the program that are set; `None` if one cannot be copied.
    pub(in crate::record) fn descriptor_timers(&mut self, tasks: &Tasks) -> Option<Vec<DescriptorTimer>> {
        let mut timers = Vec::new();
        if !self.timerfds {
            return Some(timers);
        }
        for pid in tasks.processes() {
            for (number, left, interval) in set_timers(pid) {
                let fd = self.copy(pid, number)?;
                timers.push(DescriptorTimer { fd, left, interval });
            }
        }
        Some(timers)
    }
}

impl Clocks {
    /// Returns registers for a call that names a point in time, with that translated to the machine's clocks. `None` if
    /// the program's clocks do not differ, or the call names none.
    pub(in crate::record) fn at_machine_time(
        &self,
        tasks: &Tasks,
        alarms: &Alarms,
        id: TaskId,
        call: &Call,
    ) -> Flow<Option<Registers>> {
        let mut args = call.args();
        let absolute = args[1] & libc::TFD_TIMER_ABSTIME as u64 != 0;
        // Index of the argument, its length, the offset of the point in time, and by which clock it is.
        let (at, len, offset, clock) = match call.number() as i64 {
            _ if !self.differ() => return Ok(None),
            libc::SYS_timerfd_settime if absolute => {
                let info = Fd::argument(tasks[id].tid, args[0]).info();
                (2, 32, 16, info.ok().and_then(|info| info.clock()).unwrap_or(libc::CLOCK_MONOTONIC))
            }
            libc::SYS_timer_settime if absolute => (2, 32, 16, alarms.clock(tasks[id].pid, args[0] as i32)),
            libc::SYS_mq_timedsend | libc::SYS_mq_timedreceive => (4, 16, 0, libc::CLOCK_REALTIME),
            _ => return Ok(None),
        };
        let Some(base) = tasks[id].scratch else { return Ok(None) };
        let memory = &tasks[id].space.memory;
        let Ok(mut bytes) = memory.bytes(args[at], len) else { return Ok(None) };
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let wanted = timespec { tv_sec: number(offset), tv_nsec: number(offset + 8) };
        // Zero unsets a timer, and errors are for the kernel to report.
        let Some(wanted) = nanoseconds(&wanted).filter(|wanted| *wanted > 0) else { return Ok(None) };
        let real = wanted.saturating_add_signed(self.differs(clock).saturating_neg()).max(1);
        bytes[offset..offset + 16].copy_from_slice(&clocks::bytes(&timespec_of(real)));
        args[at] = base + scratch::TIMEOUT;
        memory.write(args[at], &bytes)?;
        let mut registers = call.registers;
        registers.set_args(args);
        Ok(Some(registers))
    }
}

/// Returns the timerfds of a process that are set, with the time left and the interval of each, in ns.
fn set_timers(pid: Pid) -> Vec<(i32, u64, u64)> {
    named_fds(pid)
        .filter(|(_, name)| name == "anon_inode:[timerfd]")
        .filter_map(|(fd, _)| {
            let timer = fd.info().ok()?.timer().filter(|timer| !timer.left.is_zero())?;
            let [left, interval] = [timer.left, timer.interval].map(nanoseconds_of);
            Some((fd.number, left, interval))
        })
        .collect()
}

fn nanoseconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    #[test]
    fn timers_that_are_set_are_found() {
        // SAFETY: timerfd_create takes no pointer; what it returns is a new descriptor.
        let [set, unset] = [(); 2].map(|()| unsafe {
            OwnedFd::from_raw_fd(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC))
        });
        const HOUR: u64 = 3600 * clocks::SECOND;
        let timer = DescriptorTimer { fd: set.try_clone().unwrap(), left: 2 * HOUR, interval: 5 };
        timer.bring_forward(HOUR).unwrap();
        let found = set_timers(Pid::this());
        let (_, left, interval) = found.iter().find(|(fd, ..)| *fd == set.as_raw_fd()).unwrap();
        assert!(*left <= HOUR && *interval == 5, "{left} {interval}");
        assert!(!found.iter().any(|(fd, ..)| *fd == unset.as_raw_fd()));
    }
}
