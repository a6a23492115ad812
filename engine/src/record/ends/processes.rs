//! The ends of tasks and processes.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::ending::Ending;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt};
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::tracee::{self, Death, State, being_killed, state};

impl Recorder<'_> {
    /// Waits until all tasks of an ending process are dead: only then the kernel notifies its parent.
    pub(in crate::record) fn process_ended(&mut self, pid: Pid) -> Flow<()> {
        let members = self.tasks.members(pid);
        let tids: Vec<Pid> = members.iter().map(|id| self.tasks[*id].tid).collect();
        for tid in tids.into_iter().filter(|tid| *tid != pid) {
            tracee::reap(tid)?;
        }
        // The first thread comes last: the kernel delays its end until the others are gone.
        tracee::reap(pid)?;
        self.tasks.children.kill_on_drop.remove(pid);
        for id in members {
            self.gone(id);
        }
        self.tasks.children.ended.push(pid);
        self.code.buffer.give_back_table(pid);
        self.time.alarms.forget(pid, false);
        self.poller.forget_copies(pid);
        // Its parent gets a SIGCHLD.
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        self.tasks.woken = true;
        Ok(())
    }

    /// Ends a process that SIGKILL has killed, wherever its tasks were.
    pub(in crate::record) fn process_killed(&mut self, pid: Pid, first: TaskId) -> Flow<()> {
        for id in self.tasks.members(pid) {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        }
        if pid == self.tasks.root() {
            let tasks = self.states(Some(first));
            return Err(Halt::Ending(Ending::Killed { signal: libc::SIGKILL, task: first, tasks }));
        }
        self.journal.log.push(Event::Killed(first));
        self.process_ended(pid)
    }

    /// Finds and ends processes that somebody has killed. Returns whether there are any.
    pub(in crate::record) fn look_for_killed(&mut self) -> Flow<bool> {
        let mut any = false;
        let living: Vec<TaskId> = self.tasks.living().map(|task| task.id).collect();
        for id in living {
            let task = &self.tasks[id];
            // An earlier one of these processes may have taken it along.
            if !matches!(task.hold(), Hold::Gone) && being_killed(task.tid) {
                let pid = task.pid;
                any = true;
                self.process_killed(pid, id)?;
            }
        }
        Ok(any)
    }

    /// Waits until the killed process shows, after a task has turned out to be gone. Between the signal that kills a
    /// task and its end, nothing shows that it is dying.
    pub(in crate::record) fn wait_for_killed(&mut self) -> Flow<bool> {
        /// Giving up all of its memory is what takes long.
        const LONGEST: Duration = Duration::from_secs(10);
        let since = Instant::now();
        while !self.look_for_killed()? {
            if since.elapsed() > LONGEST {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(true)
    }

    /// Handles the death of a task that should have gone on: its process has been killed.
    pub(in crate::record) fn died<T>(&mut self, id: TaskId, death: Death) -> Flow<T> {
        let pid = self.tasks.task(id).pid;
        if pid != self.tasks.root() {
            self.process_killed(pid, id)?;
            return Err(Halt::Gone);
        }
        self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        let tasks = self.states(Some(id));
        self.tasks.hold(id, Hold::Gone);
        Err(Halt::Ending(match death {
            Death::Exited(code) => Ending::Exited(code),
            Death::Killed(signal) => Ending::Killed { signal, task: id, tasks },
        }))
    }

    /// Handles the death of a task that waited in the kernel: its process is dead or dying.
    pub(in crate::record) fn died_in_kernel(&mut self, id: TaskId) -> Flow<()> {
        let (pid, current) = (self.tasks.task(id).pid, self.tasks.current);
        let with_current = current.is_some_and(|c| self.tasks[c].pid == pid);
        if with_current {
            // The running task is about to notice by itself.
            self.gone(id);
            return Ok(());
        }
        self.process_killed(pid, id)
    }

    /// Ends a thread because another thread of its process executes a program.
    pub(in crate::record) fn execute_ends(&mut self, id: TaskId, pid: Pid) -> Flow<()> {
        let tid = self.tasks.task(id).tid;
        // The first thread gives up its id; its end is not reported.
        if tid != pid {
            tracee::reap(tid)?;
        }
        self.tasks.task(id).clear_tid = 0;
        self.gone(id);
        Ok(())
    }

    /// Removes a task that has ended. The kernel has cleared its word and woken a waiter there (set_tid_address(2)).
    pub(in crate::record) fn gone(&mut self, id: TaskId) {
        self.futexes.table.remove(id);
        self.tasks.deadlines.remove(id);
        self.poller.remove(id);
        self.futexes.keys.has_changed(id);
        self.tasks.hold(id, Hold::Gone);
        let task = self.tasks.task(id);
        let (pid, tid) = (task.pid, task.tid);
        let address = std::mem::take(&mut task.clear_tid);
        task.maker = None;
        if let Some(scratch) = task.scratch.take() {
            self.tasks.slots.give_back(scratch);
        }
        if tid != pid {
            self.tasks.children.kill_on_drop.remove(tid);
        }
        self.scheduler.strategy.exited(id);
        if address != 0 {
            let key = self.futexes.futex_key(&self.tasks, id, address, false);
            self.futexes.wake(&mut self.tasks, &mut self.scheduler, &self.surprises, key, 1, u32::MAX);
        }
        self.tasks.give_back(id);
    }
}

impl Tasks {
    /// Reaps the processes whose parents have ended before them, if nobody else does.
    pub(in crate::record) fn reap_orphans(&mut self) {
        for pid in std::mem::take(&mut self.children.ended) {
            if state(pid) == State::Dead {
                tracee::reap_orphan(pid);
            }
        }
    }

    /// Lets the creator of a task go on that no longer uses the creator's memory (vfork(2)).
    pub(in crate::record) fn give_back(&mut self, borrower: TaskId) {
        let lender = |task: &&Task| matches!(task.hold(), Hold::Lent(_, to) if *to == borrower);
        let lender = self.living().find(lender).map(|task| task.id);
        if let Some(lender) = lender
            && let Hold::Lent(stopped, _) = self.release(lender)
        {
            self.hold(lender, Hold::Ready(stopped));
            self.woken = true;
        }
    }
}
