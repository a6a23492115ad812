//! What is written down of a recording.

use super::scheduler::Scheduler;
use super::tree::call::{Call, Outcome, Stage};
use super::tree::tasks::Tasks;
use crate::clock::Clock;
use crate::ending::Stats;
use crate::output::Output;
use crate::schedule::portfolio::Measured;
use crate::schedule::{Hits, Why};
use crate::syscalls;
use crate::task::TaskId;
use crate::trace::event::{Event, Name, Syscall, Write, Written};
use crate::trace::log::Log;
use crate::tracee::Registers;

/// The log of events, the output, and statistics.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) log: Log,
    pub(super) output: Output,
    pub(super) stats: Stats,
    /// Measurements that later recordings of the program can use.
    pub(super) measured: Measured,
    /// What a call has written into the memory of other tasks. Logged after the call.
    pub(super) elsewhere: Vec<(TaskId, Vec<Write>)>,
    /// The kernel has made a call since the tasks in it were last polled, and may have woken some.
    pub(super) unsettled: bool,
}

impl Journal {
    /// Logs how far a task that loses the core before a call has come: it must come as far in replay.
    pub(in crate::record) fn note_entered(&mut self, tasks: &mut Tasks, clock: &Clock, id: TaskId) {
        let Some(call) = tasks.task(id).call_mut() else { return };
        if call.stage == Stage::Ready {
            // Others may take what the call waited for: it has to look again.
            call.stage = Stage::Due;
        }
        if !std::mem::replace(&mut call.entered, true) {
            self.note_arrival(tasks, clock, id);
        }
    }

    /// Ends the running task's timeslice where the task is. Returns whether any of it was left.
    pub(in crate::record) fn cut_short(&mut self, tasks: &Tasks, clock: &mut Clock, id: TaskId) -> bool {
        let left = clock.left();
        let short = clock.cut_short();
        if short {
            let before = tasks[id].boundary.left;
            self.log_cut(clock, before.saturating_sub(left));
        }
        short
    }

    /// Logs that a task has reached a call, which counts as a tick, if the log does not say so yet.
    pub(in crate::record) fn note_arrival(&mut self, tasks: &mut Tasks, clock: &Clock, id: TaskId) {
        if let Some(registers) = tasks.task(id).arrived.take() {
            self.log.push(Event::Entered(clock.position(&registers)));
        }
    }

    /// Logs that a task has stopped at a tick: the last one of its timeslice, or one that was worth a stop. For replay
    /// the timeslice ends there in either case. Returns whether the task has stopped early.
    pub(in crate::record) fn note_tick(
        &mut self,
        tasks: &Tasks,
        clock: &mut Clock,
        id: TaskId,
        registers: &Registers,
    ) -> bool {
        let met = self.cut_short(tasks, clock, id);
        self.log.push(Event::Tick(clock.position(registers)));
        met
    }

    /// Returns what the access watch has found since the last decision.
    pub(in crate::record) fn found(
        &mut self,
        tasks: &Tasks,
        clock: &Clock,
        scheduler: &mut Scheduler,
        why: Why,
    ) -> Hits {
        let area = clock.area();
        let drawn = if why == Why::Met { area.drawn() } else { 0 };
        self.found_up_to(tasks, scheduler, area.events(), drawn)
    }

    /// Returns what the access watch has found since the last decision, given the number of operations counted so far.
    pub(in crate::record) fn found_up_to(
        &mut self,
        tasks: &Tasks,
        scheduler: &mut Scheduler,
        events: u64,
        drawn: u64,
    ) -> Hits {
        let before = std::mem::replace(&mut scheduler.events, events);
        let events = events.saturating_sub(before);
        if let Some(current) = tasks.current {
            self.measured.count(current, events);
        }
        Hits { events, drawn }
    }

    /// Logs a call that the running task has made.
    pub(in crate::record) fn log_call(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        id: TaskId,
        call: &Call,
        outcome: Outcome,
    ) {
        let Outcome { result, writes, effect } = outcome;
        let (position, number, args) = (clock.position(&call.registers), call.number(), call.args());
        tasks.task(id).arrived = None;
        self.unsettled |= syscalls::ticks(number);
        let given = syscalls::given(&tasks[id].space.memory, number, &args, result);
        let names = syscalls::names(&tasks[id].space.memory, number, &args, result);
        let names = names.into_iter().map(Name).collect();
        self.log.push(Event::Syscall(Syscall {
            position,
            number,
            args,
            result,
            writes,
            given,
            names,
            effect,
        }));
    }

    /// Logs what the kernel writes in the middle of a call, or as a task ends.
    pub(in crate::record) fn log_written(&mut self, task: TaskId, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.log.push(Event::Written(Written { task, writes }));
        }
    }

    /// Logs what a call has written into the memory of other tasks.
    pub(in crate::record) fn log_elsewhere(&mut self) {
        for (task, writes) in std::mem::take(&mut self.elsewhere) {
            self.log_written(task, writes);
        }
    }

    /// Logs that the running task's timeslice has been cut to `ticks`, counted from the last event.
    pub(in crate::record) fn log_cut(&mut self, clock: &Clock, ticks: u64) {
        // If another task has handed it the core since then, replay learns of the cut at the hand-over.
        if !clock.area().shorten_handed(ticks) {
            self.log.push(Event::Cut(ticks));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{call, stopped, tasks};
    use crate::record::tree::task::Hold;
    use crate::trace::Source as _;

    const A: TaskId = TaskId(0);

    fn events(journal: &Journal) -> Vec<Event> {
        journal.log.events().collect::<Result<_, _>>().expect("the log reads")
    }

    #[test]
    fn an_arrival_is_logged_once() {
        let (mut tasks, clock, mut journal) = (tasks(1), Clock::new().unwrap(), Journal::default());
        let call = call(libc::SYS_read, [0; 6]);
        let expected = clock.position(&call.registers);
        tasks.task(A).arrived = Some(call.registers);
        tasks.hold(A, Hold::Calling(stopped(0), call));
        journal.note_entered(&mut tasks, &clock, A);
        journal.note_entered(&mut tasks, &clock, A);
        journal.note_arrival(&mut tasks, &clock, A);
        assert_eq!(events(&journal), [Event::Entered(expected)]);
    }

    #[test]
    fn a_call_whose_task_loses_the_core_looks_again_at_what_was_ready() {
        let (mut tasks, clock, mut journal) = (tasks(1), Clock::new().unwrap(), Journal::default());
        for (before, after) in [(Stage::Ready, Stage::Due), (Stage::TimedOut, Stage::TimedOut)] {
            let call = Call { stage: before, ..call(libc::SYS_read, [0; 6]) };
            tasks.hold(A, Hold::Calling(stopped(0), call));
            journal.note_entered(&mut tasks, &clock, A);
            assert_eq!(tasks.task(A).call_mut().map(|call| call.stage), Some(after));
        }
    }

    #[test]
    fn a_logged_call_says_that_its_task_has_arrived_and_may_have_woken_others() {
        let (mut tasks, clock, mut journal) = (tasks(1), Clock::new().unwrap(), Journal::default());
        let call = call(libc::SYS_close, [3, 0, 0, 0, 0, 0]);
        tasks.task(A).arrived = Some(call.registers);
        journal.log_call(&mut tasks, &clock, A, &call, Outcome::result(-9));
        journal.note_arrival(&mut tasks, &clock, A);
        let [Event::Syscall(logged)] = &events(&journal)[..] else { panic!("{:?}", events(&journal)) };
        assert_eq!((logged.number, logged.args[0], logged.result), (libc::SYS_close as u64, 3, -9));
        assert!(journal.unsettled);
    }

    #[test]
    fn a_timeslice_that_ends_at_a_tick_is_cut_by_what_was_left() {
        let (mut tasks, mut clock, mut journal) = (tasks(1), Clock::new().unwrap(), Journal::default());
        let registers = call(0, [0; 6]).registers;
        clock.start(10);
        tasks.task(A).boundary.left = 10;
        clock.area().set_countdown(0);
        assert!(!journal.note_tick(&tasks, &mut clock, A, &registers), "it was the last one");
        clock.start(10);
        clock.area().set_countdown(4);
        assert!(journal.note_tick(&tasks, &mut clock, A, &registers));
        let tick = Event::Tick(clock.position(&registers));
        assert_eq!(events(&journal), [tick.clone(), Event::Cut(6), tick]);
    }

    #[test]
    fn what_the_access_watch_has_counted_is_told_as_it_grows_and_is_the_running_task_s() {
        let (mut tasks, mut journal) = (tasks(2), Journal::default());
        let mut scheduler =
            Scheduler::new(&crate::schedule::Plan::new(crate::schedule::StrategyName::Fair, 1));
        tasks.current = Some(TaskId(1));
        let mut found = |events| journal.found_up_to(&tasks, &mut scheduler, events, 0).events;
        assert_eq!([found(5), found(7), found(7)], [5, 2, 0]);
        let mut expected = Measured::default();
        expected.count(TaskId(1), 7);
        assert_eq!(journal.measured, expected);
    }

    #[test]
    fn nothing_written_is_no_event_and_writes_elsewhere_come_in_order() {
        let mut journal = Journal::default();
        journal.log_written(A, Vec::new());
        assert_eq!(events(&journal), []);
        let write = |address| vec![Write { address, bytes: vec![1] }];
        journal.elsewhere = vec![(TaskId(2), write(16)), (TaskId(1), write(8))];
        journal.log_elsewhere();
        journal.log_elsewhere();
        let written = |task, address| Event::Written(Written { task, writes: write(address) });
        assert_eq!(events(&journal), [written(TaskId(2), 16), written(TaskId(1), 8)]);
    }
}
