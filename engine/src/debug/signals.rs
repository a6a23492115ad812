//! Signals that the program handles: gdb stops where a handler begins, in both directions, unless it wants none of that
//! signal.

use std::collections::BTreeSet;

use gdbstub::common::Signal as Number;
use gdbstub::stub::MultiThreadStopReason;

use super::debugger::Debugger;
use super::state::threads::tid;
use crate::ending::Ending;
use crate::error::Error;
use crate::history::{How, turns};
use crate::task::TaskId;
use crate::timeline::{Moment, Stop};
use crate::trace::Source;
use crate::trace::event::{Event, Signal};

/// gdb's numbers of signals, some of which are not the kernel's (`include/gdb/signals.def` of gdb).
const NUMBERS: &[(i32, Number)] = &[
    (libc::SIGHUP, Number::SIGHUP),
    (libc::SIGINT, Number::SIGINT),
    (libc::SIGQUIT, Number::SIGQUIT),
    (libc::SIGILL, Number::SIGILL),
    (libc::SIGTRAP, Number::SIGTRAP),
    (libc::SIGABRT, Number::SIGABRT),
    (libc::SIGBUS, Number::SIGBUS),
    (libc::SIGFPE, Number::SIGFPE),
    (libc::SIGKILL, Number::SIGKILL),
    (libc::SIGUSR1, Number::SIGUSR1),
    (libc::SIGSEGV, Number::SIGSEGV),
    (libc::SIGUSR2, Number::SIGUSR2),
    (libc::SIGPIPE, Number::SIGPIPE),
    (libc::SIGALRM, Number::SIGALRM),
    (libc::SIGTERM, Number::SIGTERM),
    (libc::SIGCHLD, Number::SIGCHLD),
    (libc::SIGCONT, Number::SIGCONT),
    (libc::SIGSTOP, Number::SIGSTOP),
    (libc::SIGTSTP, Number::SIGTSTP),
    (libc::SIGTTIN, Number::SIGTTIN),
    (libc::SIGTTOU, Number::SIGTTOU),
    (libc::SIGURG, Number::SIGURG),
    (libc::SIGXCPU, Number::SIGXCPU),
    (libc::SIGXFSZ, Number::SIGXFSZ),
    (libc::SIGVTALRM, Number::SIGVTALRM),
    (libc::SIGPROF, Number::SIGPROF),
    (libc::SIGWINCH, Number::SIGWINCH),
    (libc::SIGIO, Number::SIGIO),
    (libc::SIGPWR, Number::SIGPWR),
    (libc::SIGSYS, Number::SIGSYS),
];

/// gdb's number of a signal.
pub(super) fn number(kernels: i32) -> Number {
    let known = NUMBERS.iter().find(|(known, _)| *known == kernels);
    // Real-time signals, of which libc has the first for itself.
    let of_real_time = || match u8::try_from(kernels) {
        Ok(33) => Number(45),
        Ok(real_time @ 34..=63) => Number(46 + real_time - 34),
        Ok(64) => Number(78),
        _ => Number::UNKNOWN,
    };
    known.map_or_else(of_real_time, |(_, number)| *number)
}

/// What gdb wants of signals, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// gdb's numbers of those for which it does not stop; none until it has told them.
    passed: Option<BTreeSet<u8>>,
    /// Those of the process, in order, once they were looked for.
    all: Option<Vec<Delivered>>,
}

/// A signal for which a handler ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivered {
    /// Events that have been carried out when the handler begins.
    event: u64,
    task: TaskId,
    number: i32,
    /// The handler's first instruction.
    handler: u64,
}

impl Signals {
    /// gdb does not stop for these.
    pub(super) fn pass(&mut self, numbers: BTreeSet<u8>) {
        self.passed = Some(numbers);
    }

    /// Whether gdb stops for some.
    fn stop(&self, delivered: &Delivered) -> bool {
        self.passed.as_ref().is_some_and(|passed| !passed.contains(&number(delivered.number).0))
    }
}

impl Debugger<'_> {
    /// gdb has had the process go on from where `from` events had been carried out. Goes back to the first signal on the way,
    /// if gdb stops for one, and returns what it is told then.
    pub(super) fn signal_ahead(
        &mut self,
        from: u64,
        stop: Stop,
    ) -> Result<Option<MultiThreadStopReason<u64>>, Error> {
        let (to, ticks) = self.timeline.position();
        let found = self.signals()?.find(|it| it.event > from && it.event <= to);
        let found = found.filter(|it| {
            // Where gdb has a breakpoint at the handler, it is told of that.
            let stands_there = it.event == to && ticks == 0;
            !(stands_there && matches!(stop, Stop::Breakpoint(_, address) if address == it.handler))
        });
        self.stop_for(found)
    }

    /// Whether the process, which stands behind so many events, stands behind the first moment there, if that is where
    /// a handler begins.
    pub(super) fn is_behind_signal(&mut self, event: u64) -> Result<bool, Error> {
        let (_, ticks) = self.timeline.position();
        if ticks > 0 || !self.signals()?.any(|it| it.event == event) {
            return Ok(true);
        }
        let moment = self.timeline.moment_within(1)?;
        Ok(moment.is_none_or(|moment| moment.instructions > 0))
    }

    /// gdb has had the process go back from where it stood behind `from` events, and behind a handler's first moment
    /// there if `behind`. Goes on to the last signal on the way, if gdb stops for one, and returns what it is told then.
    pub(super) fn signal_behind(
        &mut self,
        from: u64,
        behind: bool,
    ) -> Result<Option<MultiThreadStopReason<u64>>, Error> {
        let (to, _) = self.timeline.position();
        let found =
            self.signals()?.filter(|it| it.event > to && (it.event < from || it.event == from && behind));
        let found = found.last();
        self.stop_for(found)
    }

    fn stop_for(&mut self, found: Option<Delivered>) -> Result<Option<MultiThreadStopReason<u64>>, Error> {
        let Some(Delivered { event, task, number: kernels, .. }) = found else { return Ok(None) };
        self.timeline.seek(Moment { event, ticks: 0, instructions: 0 })?;
        let (tid, signal) = (tid(task), number(kernels));
        Ok(Some(MultiThreadStopReason::SignalWithThread { tid, signal }))
    }

    /// The signals of the process for which gdb stops, in order.
    fn signals(&mut self) -> Result<impl Iterator<Item = Delivered> + use<'_>, Error> {
        if self.signals.passed.is_some() && self.signals.all.is_none() {
            self.signals.all = self.find_signals()?;
        }
        let all = self.signals.all.iter().flatten().copied();
        Ok(all.filter(|it| self.signals.stop(it)))
    }

    /// Looks for the signals of the process. None if somebody does not want to wait for that.
    fn find_signals(&self) -> Result<Option<Vec<Delivered>>, Error> {
        let trace = self.files.carried().trace();
        let mut delivered = Vec::new();
        for (event, carried_out) in trace.events().zip(1..) {
            if let Event::Signal(Signal { number, handler, .. }) = event? {
                delivered.push((carried_out, number, handler.map(|it| it.registers.ip())));
            }
        }
        if delivered.iter().all(|(_, _, handler)| handler.is_none()) {
            return Ok(Some(Vec::new()));
        }
        // Whose they are, a replay tells.
        let (core, stop, patience) = self.timeline.replays();
        let history = match turns(trace, How { core, stop, patience }) {
            Err(Error::Stopped) => {
                self.timeline.go_on();
                return Ok(None);
            }
            history => history?,
        };
        let kills = |delivered: &Delivered| {
            let Ending::Killed { signal, task, .. } = trace.ending() else { return false };
            (delivered.number, delivered.task) == (*signal, *task)
        };
        let is_own = |task: TaskId| {
            let thread = history.threads.iter().find(|thread| thread.task == task);
            thread.is_some_and(|thread| thread.process == self.process)
        };
        let all = delivered.iter().zip(&history.signals).filter_map(|((event, number, handler), signal)| {
            let handler = (*handler)?;
            let delivered = Delivered { event: *event, task: signal.task, number: *number, handler };
            is_own(signal.task).then_some(delivered)
        });
        let mut all: Vec<Delivered> = all.collect();
        // A handler that returns has the signal come again, as that of std does, and the program is killed by it:
        // whoever comes from there knows it.
        all.pop_if(|last| kills(last));
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gdb_has_numbers_of_its_own() {
        let numbers = [libc::SIGUSR1, libc::SIGSEGV, libc::SIGCHLD, 34, 63, 64, 99].map(|it| number(it).0);
        assert_eq!(numbers, [30, 11, 20, 46, 75, 78, 143]);
    }
}
