//! Timers that send signals, in virtual time: the recorder runs them.
//!
//! Timers of setitimer(2), alarm(2) and timer_create(2) cannot be fast-forwarded from outside their process. So the
//! kernel does not get to know them: the recorder keeps their settings ([`crate::record::time::alarms`]) and sends the
//! signals. It may not pretend that the kernel sends them, so a `SIGALRM` has the code `SI_TIMER` here. A signal that
//! is still pending is not sent again, and overruns are not counted.

use libc::{siginfo_t, timespec};

use crate::record::futex::Futexes;
use crate::record::options::{Options, Time};
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::time::alarms::{Alarms, Due, Timer};
use crate::record::time::clocks::{self, Clocks, SECOND, nanoseconds, timespec_of};
use crate::record::tree::call::{Call, fails};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::tracee::signals;

/// The unit of a timer call, as its number per second.
#[derive(Clone, Copy)]
struct Units(i64);

/// Of `struct itimerval` and `struct itimerspec`.
const MICROSECONDS: Units = Units(1_000_000);
const NANOSECONDS: Units = Units(1_000_000_000);

impl Units {
    /// Decodes an interval and a first time, in ns; `None` if they are not valid.
    pub(in crate::record) fn decode(self, bytes: &[u8]) -> Option<(u64, u64)> {
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let time = |at: usize| {
            let parts = Some(number(at + 8)).filter(|parts| (0..self.0).contains(parts))?;
            nanoseconds(&timespec { tv_sec: number(at), tv_nsec: parts * (NANOSECONDS.0 / self.0) })
        };
        Some((time(0)?, time(16)?))
    }

    fn encode(self, interval: u64, left: u64) -> Vec<u8> {
        [interval, left]
            .iter()
            .flat_map(|ns| {
                let time = timespec_of(*ns);
                clocks::bytes(&timespec { tv_nsec: time.tv_nsec / (NANOSECONDS.0 / self.0), ..time })
            })
            .collect()
    }
}

impl Alarms {
    /// Returns the outcome of a call about a timer that sends signals, in virtual time; `None` for other calls and the
    /// kernel's own timers.
    pub(in crate::record) fn own_timer(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Flow<Option<(i64, Vec<Write>)>> {
        if options.time == Time::Real {
            return Ok(None);
        }
        let pid = tasks[id].pid;
        let [a, b, c, d, ..] = call.args();
        let real = a as i32 == libc::ITIMER_REAL;
        let made = Timer::Made(a as i32);
        let (timer, units, absolute, new, old) = match call.number() as i64 {
            libc::SYS_alarm => return self.alarm(tasks, clocks, id, a as u32).map(Some),
            libc::SYS_setitimer if real => (Timer::Real, MICROSECONDS, false, Some(b), c),
            libc::SYS_getitimer if real => (Timer::Real, MICROSECONDS, false, None, b),
            libc::SYS_timer_settime if self.is_ours(pid, a as i32) => {
                (made, NANOSECONDS, b & libc::TIMER_ABSTIME as u64 != 0, Some(c), d)
            }
            libc::SYS_timer_gettime if self.is_ours(pid, a as i32) => (made, NANOSECONDS, false, None, b),
            _ => return Ok(None),
        };
        let now = clocks.now()?;
        let (interval, left) = self.left(pid, timer, now);
        if let Some(new) = new {
            // setitimer(2) takes null for zeros.
            let bytes = if new == 0 && timer == Timer::Real {
                vec![0; 32]
            } else {
                match tasks.space(id).memory.bytes(new, 32) {
                    Ok(bytes) => bytes,
                    Err(_) => return Ok(Some((fails(libc::EFAULT), Vec::new()))),
                }
            };
            let Some((interval, mut first)) = units.decode(&bytes) else {
                return Ok(Some((fails(libc::EINVAL), Vec::new())));
            };
            if absolute && first != 0 {
                let clock = self.clock(pid, a as i32);
                first = clocks.deadline(clock, first)?.saturating_sub(now).max(1);
            }
            self.set(pid, timer, now, first, interval);
        }
        let old_bytes = if old == 0 { Vec::new() } else { units.encode(interval, left) };
        Ok(Some(tasks.written(id, old, old_bytes)))
    }

    /// alarm(2). Returns the seconds that were left, rounded, but not to 0.
    fn alarm(&mut self, tasks: &Tasks, clocks: &Clocks, id: TaskId, seconds: u32) -> Flow<(i64, Vec<Write>)> {
        let (pid, now) = (tasks[id].pid, clocks.now()?);
        let (_, left) = self.left(pid, Timer::Real, now);
        self.set(pid, Timer::Real, now, u64::from(seconds) * SECOND, 0);
        let rounded = ((left + SECOND / 2) / SECOND).max(u64::from(left > 0));
        Ok((rounded.cast_signed(), Vec::new()))
    }

    /// Sends the signals of the timers that are due.
    pub(in crate::record) fn send_alarms(
        &mut self,
        options: &Options<'_>,
        tasks: &mut Tasks,
        futexes: &mut Futexes,
        poller: &mut Poller,
        clocks: &Clocks,
    ) -> Flow<()> {
        if options.time == Time::Real || self.is_empty() {
            return Ok(());
        }
        let due = self.take_due(clocks.now()?);
        for Due { pid, timer, notice } in &due {
            let Some(signal) = notice.signal else { continue };
            let waits = |says: &crate::tracee::Signals| says.pending.has(signal) || says.shared.has(signal);
            if tasks.of(*pid).any(|task| signals(task.tid).is_ok_and(|says| waits(&says))) {
                continue;
            }
            let number = if let Timer::Made(number) = timer { *number } else { 0 };
            queue(pid.as_raw(), notice.thread, signal, number, notice.value);
        }
        if due.is_empty() { Ok(()) } else { futexes.look_for_signals(tasks, poller, clocks) }
    }
}

/// Sends a timer's signal to a process, or to one thread of it. Does nothing if that is gone.
fn queue(pid: i32, thread: Option<i32>, signal: i32, timer: i32, value: u64) {
    let mut info = [0_u8; size_of::<siginfo_t>()];
    let mut put = |at: usize, bytes: &[u8]| info[at..at + bytes.len()].copy_from_slice(bytes);
    // asm-generic/siginfo.h: si_signo, si_errno, si_code; si_tid, si_overrun, si_value.
    put(0, &signal.to_ne_bytes());
    put(8, &libc::SI_TIMER.to_ne_bytes());
    put(16, &timer.to_ne_bytes());
    put(24, &value.to_ne_bytes());
    // SAFETY: `info` is a live local of the size that the kernel reads.
    unsafe {
        match thread {
            Some(tid) => libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info.as_ptr()),
            None => libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, info.as_ptr()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::time::alarms::Notice;

    #[test]
    fn times_of_both_units() {
        let bytes = MICROSECONDS.encode(2 * SECOND + 5000, 7 * SECOND);
        assert_eq!(MICROSECONDS.decode(&bytes), Some((2 * SECOND + 5000, 7 * SECOND)));
        let bytes = NANOSECONDS.encode(3, 999_999_999);
        assert_eq!(NANOSECONDS.decode(&bytes), Some((3, 999_999_999)));
        assert_eq!(MICROSECONDS.decode(&bytes), None, "more microseconds than there are in a second");
    }

    #[test]
    fn events_are_decoded() {
        let mut event = [0; 20];
        (event[0], event[8], event[12], event[16]) = (42, 34, 4, 9);
        assert_eq!(Notice::decode(&event), Notice { signal: Some(34), value: 42, thread: Some(9) });
        event[12] = 1;
        assert_eq!(Notice::decode(&event).signal, None);
    }
}
