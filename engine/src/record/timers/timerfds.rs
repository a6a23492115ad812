//! Timers that are descriptors (timerfd_create(2)), in virtual time.
//!
//! The kernel runs them by the machine's clocks. When time is fast-forwarded, what is left of each is shortened; a
//! point in time to which the program sets one is meant by the program's clocks.

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{itimerspec, timespec};
use nix::unistd::Pid;

use crate::error::Error;
use crate::record::kernel::fds::links;
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::time::clocks::{self, Clocks, nanoseconds, timespec_of};
use crate::record::tree::call::Call;
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Registers;
use crate::tracee::last_os;

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
    /// the program's clocks are not ahead, or the call names none.
    pub(in crate::record) fn at_machine_time(
        &self,
        tasks: &Tasks,
        id: TaskId,
        call: &Call,
    ) -> Flow<Option<Registers>> {
        let mut args = call.args();
        // Index of the argument, its length, and the offset of the point in time.
        let (at, len, offset) = match call.number() as i64 {
            _ if self.ahead() == 0 => return Ok(None),
            libc::SYS_timerfd_settime if args[1] & libc::TFD_TIMER_ABSTIME as u64 != 0 => (2, 32, 16),
            libc::SYS_mq_timedsend | libc::SYS_mq_timedreceive => (4, 16, 0),
            _ => return Ok(None),
        };
        let Some(base) = tasks[id].scratch else { return Ok(None) };
        let memory = &tasks[id].space.memory;
        let Ok(mut bytes) = memory.bytes(args[at], len) else { return Ok(None) };
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let wanted = timespec { tv_sec: number(offset), tv_nsec: number(offset + 8) };
        // Zero unsets a timer, and errors are for the kernel to report.
        let Some(wanted) = nanoseconds(&wanted).filter(|wanted| *wanted > 0) else { return Ok(None) };
        let real = wanted.saturating_sub(self.ahead()).max(1);
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
    links(pid)
        .filter(|(_, link)| link == "anon_inode:[timerfd]")
        .filter_map(|(number, _)| {
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
            let (left, interval) = (field(&info, "it_value:")?, field(&info, "it_interval:")?);
            (left > 0).then_some((number, left, interval))
        })
        .collect()
}

/// Parses a time in a timer's `fdinfo` (proc_pid_fdinfo(5)): `it_value: (SECONDS, NANOSECONDS)`.
fn field(info: &str, key: &str) -> Option<u64> {
    let value = info.lines().find_map(|line| line.strip_prefix(key))?;
    let (seconds, nanoseconds) = value.trim().strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some(seconds.saturating_mul(clocks::SECOND).saturating_add(nanoseconds.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_timers_are_read() {
        let info =
            "pos:\t0\nclockid: 1\nticks: 0\nsettime flags: 01\nit_value: (3, 7)\nit_interval: (0, 5)\n";
        assert_eq!((field(info, "it_value:"), field(info, "it_interval:")), (Some(3_000_000_007), Some(5)));
        assert_eq!(field("pos:\t0\n", "it_value:"), None);
    }
}
