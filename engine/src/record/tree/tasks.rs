//! The recorded tasks, and which of them are runnable.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::Pid;
use rrtest_preload::layout::runnable;

use super::call::Call;
use super::children::Children;
use super::slots::Slots;
use super::task::{Hold, Space, Task};
use crate::ending::Ending;
use crate::record::step::{Flow, Halt};
use crate::schedule::deadline::Deadlines;
use crate::syscalls::{Block, describe};
use crate::task::TaskId;

/// All tasks. Runnable tasks and tasks in the kernel are kept in sets of their own: the cost of a step must not grow
/// with the number of tasks, least of all of those that have ended.
#[derive(Debug)]
pub(in crate::record) struct Tasks {
    /// By number.
    all: Vec<Task>,
    living: BTreeSet<TaskId>,
    /// Living tasks by thread id.
    tids: HashMap<Pid, TaskId>,
    /// Runnable tasks, in order of task number.
    runnable: Vec<TaskId>,
    /// Runnable tasks with their slots, in the process's format ([`rrtest_preload::layout::runnable`]).
    turns: Vec<u64>,
    /// Whether `turns` has changed since it was last taken.
    changed: bool,
    in_kernel: BTreeSet<TaskId>,
    /// The task that has the core.
    pub(in crate::record) current: Option<TaskId>,
    /// A task has become runnable since the last decision.
    pub(in crate::record) woken: bool,
    /// A parked task has signals that were kept back.
    pub(in crate::record) restless: bool,
    /// Deadlines of waiting tasks, in ns of the clock.
    pub(in crate::record) deadlines: Deadlines,
    /// Number of address spaces that were ever created.
    pub(in crate::record) spaces: u32,
    pub(in crate::record) slots: Slots,
    /// There has been a task without a slot, so the process does not know everything that it needs to decide.
    pub(in crate::record) out_of_slots: bool,
    /// The cores that the program is told there are, a bit each, if they are not those of the options.
    pub(in crate::record) cores: Option<u64>,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(in crate::record) children: Children,
}

impl Tasks {
    /// Starts without tasks.
    pub(in crate::record) fn new(children: Children) -> Self {
        Self {
            all: Vec::new(),
            living: BTreeSet::new(),
            tids: HashMap::new(),
            runnable: Vec::new(),
            turns: Vec::new(),
            changed: false,
            in_kernel: BTreeSet::new(),
            cores: None,
            current: None,
            woken: false,
            restless: false,
            deadlines: Deadlines::default(),
            spaces: 1,
            slots: Slots::default(),
            out_of_slots: false,
            children,
        }
    }

    /// Returns the number of the next task.
    pub(in crate::record) fn next(&self) -> TaskId {
        TaskId(self.all.len() as u32)
    }

    /// Adds a new task with the number [`Self::next`].
    pub(in crate::record) fn add(&mut self, task: Task) {
        let (id, tid) = (task.id, task.tid);
        debug_assert_eq!(id, self.next());
        self.living.insert(id);
        self.tids.insert(tid, id);
        let place = Place::of(task.hold());
        self.all.push(task);
        self.sort_in(id, place);
    }

    /// Sets what holds a task.
    pub(in crate::record) fn hold(&mut self, id: TaskId, hold: Hold) {
        let place = Place::of(&hold);
        let gone = matches!(hold, Hold::Gone);
        let task = &mut self[id];
        let before = Place::of(&task.set_hold(hold));
        let tid = task.tid;
        if before != place {
            self.sort_out(id, before);
            self.sort_in(id, place);
        }
        if gone && self.living.remove(&id) && self.tids.get(&tid) == Some(&id) {
            self.tids.remove(&tid);
        }
    }

    /// Takes what held a task, which counts as running until it is held again.
    pub(in crate::record) fn release(&mut self, id: TaskId) -> Hold {
        let hold = self[id].set_hold(Hold::Running);
        self.sort_out(id, Place::of(&hold));
        hold
    }

    fn sort_in(&mut self, id: TaskId, place: Place) {
        match place {
            Place::Runnable => {
                if let Err(at) = self.runnable.binary_search(&id) {
                    self.runnable.insert(at, id);
                    let slot = self.all.get(id.0 as usize).and_then(Task::slot);
                    self.turns.insert(at, runnable(id.0, slot.unwrap_or(0)));
                    self.changed = true;
                }
            }
            Place::InKernel => {
                self.in_kernel.insert(id);
            }
            Place::Elsewhere => {}
        }
    }

    fn sort_out(&mut self, id: TaskId, place: Place) {
        match place {
            Place::Runnable => {
                if let Ok(at) = self.runnable.binary_search(&id) {
                    self.runnable.remove(at);
                    self.turns.remove(at);
                    self.changed = true;
                }
            }
            Place::InKernel => {
                self.in_kernel.remove(&id);
            }
            Place::Elsewhere => {}
        }
    }

    /// Changes a task's thread id to that of the first thread of its process (execve(2)).
    pub(in crate::record) fn take_over(&mut self, id: TaskId, tid: Pid) {
        let before = std::mem::replace(&mut self[id].tid, tid);
        self.tids.remove(&before);
        self.tids.insert(tid, id);
    }

    /// Returns the runnable tasks, in order of task number.
    pub(in crate::record) fn runnable(&self) -> &[TaskId] {
        &self.runnable
    }

    /// Returns the runnable tasks with their slots, if they have changed since the last call.
    pub(in crate::record) fn changed_turns(&mut self) -> Option<&[u64]> {
        std::mem::take(&mut self.changed).then_some(&self.turns)
    }

    /// Returns the tasks that wait in the kernel, or are stopped by a signal.
    pub(in crate::record) fn in_kernel(&self) -> &BTreeSet<TaskId> {
        &self.in_kernel
    }

    /// Iterates over all tasks that ever existed, in order of task number.
    pub(in crate::record) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.all.iter()
    }

    /// Iterates over the living tasks, in order of task number.
    pub(in crate::record) fn living(&self) -> impl Iterator<Item = &Task> {
        self.living.iter().map(|id| &self[*id])
    }

    /// Returns the number of living tasks.
    pub(in crate::record) fn count(&self) -> usize {
        self.living.len()
    }

    /// Returns the living task with this thread id.
    pub(in crate::record) fn with_tid(&self, tid: Pid) -> Option<&Task> {
        self.tids.get(&tid).map(|id| &self[*id])
    }

    /// Returns the only living task, if there is just one.
    pub(in crate::record) fn only(&self) -> Option<&Task> {
        self.living().next().filter(|_| self.count() == 1)
    }

    /// Iterates over the living tasks of a process.
    pub(in crate::record) fn of(&self, pid: Pid) -> impl Iterator<Item = &Task> {
        self.living().filter(move |task| task.pid == pid)
    }
}

impl Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        &self.all[id.0 as usize]
    }
}

impl IndexMut<TaskId> for Tasks {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.all[id.0 as usize]
    }
}

/// The set of [`Tasks`] to which a task belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Runnable,
    InKernel,
    Elsewhere,
}

impl Place {
    pub(in crate::record) fn of(hold: &Hold) -> Self {
        match hold {
            Hold::InKernel(..) | Hold::Suspended(..) => Self::InKernel,
            hold if hold.runnable() => Self::Runnable,
            _ => Self::Elsewhere,
        }
    }
}

impl Tasks {
    /// Returns the process with which the recording began.
    pub(in crate::record) fn root(&self) -> Pid {
        self[TaskId(0)].pid
    }

    /// Returns the living tasks of a process.
    pub(in crate::record) fn members(&self, pid: Pid) -> Vec<TaskId> {
        self.of(pid).map(|task| task.id).collect()
    }

    /// Returns the living processes.
    pub(in crate::record) fn processes(&self) -> BTreeSet<Pid> {
        self.living().map(|task| task.pid).collect()
    }

    /// Ends a wait in the recorder. The call returns `result` once its task has the core.
    pub(in crate::record) fn end_wait(&mut self, id: TaskId, result: i64) {
        self.deadlines.remove(id);
        if !matches!(self[id].hold(), Hold::Waiting(..) | Hold::Parked(_)) {
            return;
        }
        let hold = match self.release(id) {
            Hold::Waiting(stopped, call) => Hold::Woken(stopped, call, result),
            Hold::Parked(running) => Hold::Unparked(running),
            hold => hold,
        };
        self.hold(id, hold);
        self.woken = true;
    }

    /// Returns a task's address space.
    pub(in crate::record) fn space(&self, id: TaskId) -> Rc<Space> {
        Rc::clone(&self[id].space)
    }

    pub(in crate::record) fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self[id]
    }

    /// Ends the recording, as the task does something that cannot be recorded.
    pub(in crate::record) fn unsupported<T>(&mut self, id: TaskId, what: impl Into<String>) -> Flow<T> {
        let name = self.task(id).name.clone();
        Err(Halt::Ending(Ending::Unsupported { what: what.into(), task: id, name }))
    }

    /// Has signals looked for soon, as a task that is about to make a call has one and must not wait long.
    pub(in crate::record) fn look_soon(&mut self) {
        self.children.look = Instant::now();
    }

    pub(in crate::record) fn someone_in_kernel(&self) -> bool {
        !self.in_kernel().is_empty()
    }

    /// Whether no task waits in the kernel for something that calls on descriptors could bring about. Those that wait
    /// for children do not.
    pub(in crate::record) fn none_waits_for_descriptors(&self) -> bool {
        let waits_for_children = |call: &Call| {
            describe(call.number()).is_some_and(|description| matches!(description.block, Block::Children))
        };
        let mut all = self.in_kernel().iter().map(|id| self[*id].hold());
        all.all(|hold| matches!(hold, Hold::InKernel(_, call) if waits_for_children(call)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{call, running, stopped, task, tasks, tid, wait};

    const A: TaskId = TaskId(0);
    const B: TaskId = TaskId(1);
    const C: TaskId = TaskId(2);

    #[test]
    fn runnable_tasks_are_in_order_however_they_became_so() {
        let mut tasks = tasks(3);
        assert_eq!(tasks.runnable(), [A, B, C]);
        for id in [A, C] {
            wait(&mut tasks, id, call(libc::SYS_futex, [0; 6]));
        }
        assert_eq!(tasks.runnable(), [B]);
        for id in [C, A] {
            tasks.end_wait(id, 0);
        }
        assert_eq!(tasks.runnable(), [A, B, C]);
    }

    #[test]
    fn a_released_task_runs_until_it_is_held_again() {
        let mut tasks = tasks(2);
        let Hold::Ready(token) = tasks.release(A) else { panic!("it was ready") };
        assert_eq!((token.tid(), tasks.runnable()), (tid(0), &[B][..]));
        assert!(matches!(tasks[A].hold(), Hold::Running));
        tasks.hold(A, Hold::Ready(token));
        assert_eq!(tasks.runnable(), [A, B]);
    }

    #[test]
    fn turns_are_told_once_for_each_change() {
        let mut tasks = tasks(2);
        let slot = |id: TaskId, tasks: &Tasks| runnable(id.0, tasks[id].slot().expect("a slot"));
        let expected = [slot(A, &tasks), slot(B, &tasks)];
        assert_eq!(tasks.changed_turns(), Some(&expected[..]));
        assert_eq!(tasks.changed_turns(), None);
        let hold = tasks.release(A);
        assert_eq!(tasks.changed_turns(), Some(&expected[1..]));
        drop(hold);
        wait(&mut tasks, A, call(libc::SYS_futex, [0; 6]));
        assert_eq!(tasks.changed_turns(), None, "it was not among them any more");
    }

    #[test]
    fn a_wait_ends_with_its_result_and_once() {
        let mut tasks = tasks(2);
        wait(&mut tasks, A, call(libc::SYS_futex, [0; 6]));
        tasks.deadlines.insert(A, 5);
        tasks.end_wait(A, -110);
        assert!(matches!(tasks[A].hold(), Hold::Woken(_, _, -110)) && tasks.woken);
        assert!(!tasks.deadlines.contains(A));
        tasks.woken = false;
        tasks.end_wait(A, 0);
        assert!(matches!(tasks[A].hold(), Hold::Woken(_, _, -110)) && !tasks.woken);
        tasks.hold(B, Hold::Parked(running(1)));
        tasks.end_wait(B, 0);
        assert!(matches!(tasks[B].hold(), Hold::Unparked(_)) && tasks.woken);
    }

    #[test]
    fn tasks_in_the_kernel_are_known_as_such() {
        let mut tasks = tasks(2);
        assert!(!tasks.someone_in_kernel());
        tasks.hold(A, Hold::InKernel(running(0), call(libc::SYS_wait4, [0; 6])));
        tasks.hold(B, Hold::Suspended(running(1), None));
        assert_eq!((tasks.in_kernel().len(), tasks.runnable()), (2, &[][..]));
        tasks.hold(A, Hold::Returned(stopped(0), call(libc::SYS_wait4, [0; 6])));
        assert_eq!((tasks.in_kernel().iter().collect::<Vec<_>>(), tasks.runnable()), (vec![&B], &[A][..]));
    }

    #[test]
    fn a_task_that_is_gone_is_found_by_number_only() {
        let mut tasks = tasks(3);
        tasks.hold(B, Hold::Gone);
        assert_eq!(tasks.living().map(|task| task.id).collect::<Vec<_>>(), [A, C]);
        assert_eq!((tasks.count(), tasks.iter().count(), tasks.next()), (2, 3, TaskId(3)));
        assert!(tasks.with_tid(tid(1)).is_none() && matches!(tasks[B].hold(), Hold::Gone));
        assert!(tasks.only().is_none());
        tasks.hold(C, Hold::Gone);
        assert_eq!(tasks.only().map(|task| task.id), Some(A));
    }

    #[test]
    fn a_thread_that_executes_takes_over_the_id_of_its_process() {
        let mut tasks = tasks(1);
        let mut thread = task(&mut tasks);
        thread.pid = tid(0);
        tasks.add(thread);
        assert_eq!(tasks.members(tid(0)), [A, B]);
        tasks.hold(A, Hold::Gone);
        tasks.take_over(B, tid(0));
        assert_eq!(tasks.with_tid(tid(0)).map(|task| task.id), Some(B));
        assert!(tasks.with_tid(tid(1)).is_none());
    }

    #[test]
    fn an_id_that_another_task_has_taken_over_stays_its_own() {
        let mut tasks = tasks(2);
        tasks.take_over(B, tid(0));
        tasks.hold(A, Hold::Gone);
        assert_eq!(tasks.with_tid(tid(0)).map(|task| task.id), Some(B), "its first owner ends later");
    }
}
