//! Timers that send signals, and their settings.
//!
//! The kernel runs them, or in virtual time the recorder ([`crate::record::timers::own`]). In both cases the recorder
//! notes when they are due, to look for their signals then, and not to report a program as deadlocked that one of them
//! will wake.

use std::collections::BTreeMap;

use nix::unistd::Pid;

use super::clocks::{self, Clocks};
use crate::error::Error;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;

/// How late a timer may be, in ns.
const LATE: u64 = 100_000_000;

/// When to look again for a late one, in ns.
const SOON: u64 = 1_000_000;

/// What a timer sends, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct Notice {
    /// `None` for `SIGEV_NONE`.
    pub(in crate::record) signal: Option<i32>,
    pub(in crate::record) value: u64,
    /// The thread that gets the signal; `None` for the process.
    pub(in crate::record) thread: Option<i32>,
}

impl Notice {
    /// The notice of the timer that setitimer(2) and alarm(2) set.
    pub(in crate::record) const ALARM: Self = Self { signal: Some(libc::SIGALRM), value: 0, thread: None };

    /// Decodes a `struct sigevent` (sigevent(3type)): value, signal, way, thread.
    pub(in crate::record) fn decode(event: &[u8; 20]) -> Self {
        let word = |at: usize| i32::from_ne_bytes(std::array::from_fn(|i| event[at + i]));
        let value = u64::from_ne_bytes(std::array::from_fn(|i| event[i]));
        let way = word(12);
        Self {
            signal: (way != libc::SIGEV_NONE).then(|| word(8)),
            value,
            thread: (way == libc::SIGEV_THREAD_ID).then(|| word(16)),
        }
    }
}

/// A timer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::record) enum Timer {
    /// The timer of alarm(2) and setitimer(2).
    Real,
    /// A timer made by timer_create(2), with this number.
    Made(i32),
}

/// Settings of a timer, in ns of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
struct Alarm {
    due: u64,
    interval: u64,
}

/// The timers of all processes that are set.
#[derive(Debug, Default)]
pub(in crate::record) struct Alarms {
    set: BTreeMap<(Pid, Timer), Alarm>,
    /// Clocks and notices of the timers made by timer_create(2).
    made: BTreeMap<(Pid, i32), (i32, Notice)>,
}

/// A timer that is due, and what it sends.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::record) struct Due {
    pub(in crate::record) pid: Pid,
    pub(in crate::record) timer: Timer,
    pub(in crate::record) notice: Notice,
}

impl Alarms {
    /// Returns when the next timer is due; `None` if none is set.
    pub(in crate::record) fn next(&mut self, now: u64) -> Option<u64> {
        self.set.retain(|_, alarm| alarm.interval != 0 || alarm.due.saturating_add(LATE) > now);
        self.set.values().map(|alarm| next_due(alarm, now)).min()
    }

    /// Forgets the timers of a process, except for the one that execve(2) keeps.
    pub(in crate::record) fn forget(&mut self, pid: Pid, executes: bool) {
        self.set.retain(|(owner, timer), _| *owner != pid || executes && *timer == Timer::Real);
        self.made.retain(|(owner, _), _| *owner != pid);
    }

    pub(in crate::record) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Returns the clock of a timer made by timer_create(2).
    pub(in crate::record) fn clock(&self, pid: Pid, timer: i32) -> i32 {
        self.made.get(&(pid, timer)).map_or(libc::CLOCK_MONOTONIC, |(clock, _)| *clock)
    }

    /// Whether the process has made this timer, and not on a clock of processor time.
    pub(in crate::record) fn is_ours(&self, pid: Pid, timer: i32) -> bool {
        self.made.get(&(pid, timer)).is_some_and(|(clock, _)| !clocks::is_cpu_clock(*clock))
    }

    /// Returns a timer's interval, and the time left until it is due; zeros if it is not set.
    pub(in crate::record) fn left(&self, pid: Pid, timer: Timer, now: u64) -> (u64, u64) {
        // A late timer is still set.
        let left = |alarm: &Alarm| (alarm.interval, alarm.due.saturating_sub(now).max(1));
        self.set.get(&(pid, timer)).map_or((0, 0), left)
    }

    /// Takes the timers that are due. Those with an interval stay set.
    pub(in crate::record) fn take_due(&mut self, now: u64) -> Vec<Due> {
        let made = &self.made;
        let notice = |pid: Pid, timer: Timer| match timer {
            Timer::Real => Some(Notice::ALARM),
            Timer::Made(number) => made.get(&(pid, number)).map(|(_, notice)| *notice),
        };
        let is_due = |(_, alarm): &(&(Pid, Timer), &mut Alarm)| alarm.due <= now;
        let due = self.set.iter_mut().filter(is_due).filter_map(|(&(pid, timer), alarm)| {
            if alarm.interval != 0 {
                alarm.due = next_due(alarm, now);
            }
            notice(pid, timer).map(|notice| Due { pid, timer, notice })
        });
        let due = due.collect();
        self.set.retain(|_, alarm| alarm.due > now);
        due
    }

    pub(in crate::record) fn set(&mut self, pid: Pid, timer: Timer, now: u64, first: u64, interval: u64) {
        if first == 0 {
            self.set.remove(&(pid, timer));
        } else {
            self.set.insert((pid, timer), Alarm { due: now.saturating_add(first), interval });
        }
    }
}

/// Returns when a timer goes off next. A late one may still go off.
fn next_due(alarm: &Alarm, now: u64) -> u64 {
    if alarm.due > now {
        return alarm.due;
    }
    if alarm.interval == 0 {
        return now + SOON;
    }
    let missed = (now - alarm.due) / alarm.interval + 1;
    alarm.due.saturating_add(missed.saturating_mul(alarm.interval))
}

impl Alarms {
    /// Notes what a call has done to the timers of its process.
    pub(in crate::record) fn note_alarm(
        &mut self,
        tasks: &mut Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Flow<()> {
        let (pid, now) = (tasks.task(id).pid, clocks.now()?);
        let [a, b, c, ..] = call.args();
        let space = tasks.space(id);
        let at = |address: u64, unit: u64| -> Result<u64, Error> {
            let time = clocks::timespec_at(&space.memory, address)?;
            let (seconds, parts) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
            Ok(seconds.saturating_mul(clocks::SECOND).saturating_add(parts.saturating_mul(unit)))
        };
        match call.number() as i64 {
            libc::SYS_alarm => {
                let seconds = u64::from(a as u32);
                self.set(pid, Timer::Real, now, seconds.saturating_mul(clocks::SECOND), 0);
            }
            // The other two interval timers count the program's own processor time.
            libc::SYS_setitimer if a as i32 == libc::ITIMER_REAL => {
                let (first, interval) = if b == 0 { (0, 0) } else { (at(b + 16, 1000)?, at(b, 1000)?) };
                self.set(pid, Timer::Real, now, first, interval);
            }
            libc::SYS_timer_create => {
                let timer = space.memory.u32(c)?.cast_signed();
                let event = if b == 0 { None } else { Some(space.memory.bytes(b, 20)?) };
                let event: Option<[u8; 20]> = event.and_then(|bytes| bytes.try_into().ok());
                let by_default = Notice { value: u64::from(timer.cast_unsigned()), ..Notice::ALARM };
                let notice = event.map_or(by_default, |event| Notice::decode(&event));
                self.made.insert((pid, timer), (a as i32, notice));
            }
            libc::SYS_timer_settime => {
                let clock = self.clock(pid, a as i32);
                let (mut first, interval) = (at(c + 16, 1)?, at(c, 1)?);
                if first != 0 && b & libc::TIMER_ABSTIME as u64 != 0 {
                    first = clocks.deadline(clock, first).unwrap_or(now).saturating_sub(now).max(1);
                }
                if clocks::is_cpu_clock(clock) {
                    first = 0;
                }
                self.set(pid, Timer::Made(a as i32), now, first, interval);
            }
            libc::SYS_timer_delete => {
                self.set(pid, Timer::Made(a as i32), now, 0, 0);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_due_once_or_again_and_again() {
        let mut alarms = Alarms::default();
        let pid = Pid::from_raw(1);
        assert_eq!(alarms.next(0), None);
        alarms.set(pid, Timer::Real, 100, 50, 0);
        assert_eq!(alarms.next(120), Some(150));
        assert_eq!(alarms.next(160), Some(160 + SOON));
        assert_eq!(alarms.next(151 + LATE), None);
        alarms.set(pid, Timer::Made(0), 100, 50, 20);
        assert_eq!(alarms.next(120), Some(150));
        assert_eq!(alarms.next(155), Some(170));
        alarms.set(pid, Timer::Real, 100, 1000, 0);
        alarms.forget(pid, true);
        assert_eq!(alarms.next(200), Some(1100));
        alarms.forget(pid, false);
        assert_eq!(alarms.next(200), None);
    }

    #[test]
    fn due_timers_are_taken_once_or_every_interval() {
        let (mut alarms, pid) = (Alarms::default(), Pid::from_raw(1));
        alarms.set(pid, Timer::Real, 100, 50, 0);
        assert_eq!((alarms.take_due(149), alarms.left(pid, Timer::Real, 149)), (vec![], (0, 1)));
        let alarm = Due { pid, timer: Timer::Real, notice: Notice::ALARM };
        assert_eq!(alarms.take_due(150), [alarm]);
        assert_eq!((alarms.take_due(500), alarms.left(pid, Timer::Real, 500)), (vec![], (0, 0)));
        alarms.set(pid, Timer::Real, 100, 50, 20);
        assert_eq!((alarms.take_due(185).len(), alarms.left(pid, Timer::Real, 185)), (1, (20, 5)));
    }
}
