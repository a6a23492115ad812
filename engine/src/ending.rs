//! How a recording ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::TaskId;

/// How a recorded program ended. A replay ends the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it.
    Killed {
        /// The signal's number.
        signal: i32,
        /// The task to which it was delivered.
        task: TaskId,
        /// What the tasks were doing; the signalled one first.
        tasks: Vec<TaskState>,
    },
    /// No task can ever run again.
    Deadlocked(Vec<TaskState>),
    /// It did not end.
    Hung {
        /// Why the recorder gave up on it.
        why: Overdue,
        /// What the tasks were doing; the one that had the core first.
        tasks: Vec<TaskState>,
        /// Ticks since the last system call of any task, except sched_yield(2). Many if the tasks run without progress.
        spun: u64,
    },
    /// It did something that cannot be recorded faithfully.
    Unsupported {
        /// What: a system call by name, a flag, a feature.
        what: String,
        /// The task that did it.
        task: TaskId,
        /// That task's thread name.
        name: String,
    },
}

/// Why the recorder gave up on a program that had not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overdue {
    /// It exceeded the time limit.
    Limit,
    /// Nothing could happen before the time limit: all tasks waited for a time, the earliest of which was this far
    /// away.
    NothingDue(Duration),
    /// It took much longer than its runs usually do ([`crate::patience`]).
    Unusual {
        /// The run's own time ([`Effort`](crate::patience::Effort)).
        took: Duration,
        /// The own time of the program's usual runs.
        usual: Duration,
    },
    /// The time for all runs was over. This says nothing about this run, which had lasted this long.
    CutOff(Duration),
}

/// What one task was doing when the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Which task.
    pub task: TaskId,
    /// Its thread name (at most 15 bytes, `prctl(2)` `PR_SET_NAME`).
    pub name: String,
    /// What it does, in words: `can run`, `waits in read`.
    pub doing: String,
    /// What it waits for, if it does.
    pub wait: Option<Wait>,
    /// Source file and line, in the program's own code, that spawned it. Present only if another task has the same
    /// name.
    pub spawned: Option<(String, u32)>,
    /// What the future that the task drives awaits in the end, by type, and the async functions that lead to it,
    /// innermost first, each where it is suspended. The addresses are those of the futures. Empty if unknown.
    pub awaits: Vec<Frame>,
    /// Return addresses, innermost frame first, as far as they could be found.
    pub frames: Vec<Frame>,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What kind of thing.
    pub on: Awaited,
    /// Address of the futex word, if there is one.
    pub futex: Option<u64>,
    /// The thing's name, if it has one: a connection, a file, a queue.
    pub what: Option<String>,
    /// Living tasks, one of which must act for the wait to end. Empty if unknown.
    pub by: Vec<TaskId>,
    /// The only task that could have ended the wait, with its thread name, if that task has ended: the wait never ends.
    pub gone: Option<(TaskId, String)>,
    /// Whether the wait also ends by itself after some time.
    pub limited: bool,
}

/// What kinds of things tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// A mutex that another task has locked.
    Mutex,
    /// A reader-writer lock.
    RwLock,
    /// The notification of a condition variable.
    Condvar,
    /// The end of an initialisation that another task has begun.
    Once,
    /// The others at a barrier.
    Barrier,
    /// A message in a channel, or room for one.
    Channel,
    /// The end of a thread.
    Thread,
    /// The end of all threads of a scope.
    Scope,
    /// To be unparked.
    Unpark,
    /// Work of an asynchronous runtime.
    Runtime,
    /// A futex that is used in an unknown way.
    Futex,
    /// The other end of a pipe.
    Pipe,
    /// The other end of a socket.
    Socket,
    /// A connection to a listening socket.
    Connection,
    /// The other side of a terminal.
    Terminal,
    /// A lock on a file.
    FileLock,
    /// A message in a queue, or room for one.
    Queue,
    /// A System V semaphore.
    Semaphore,
    /// A change of a watched file.
    Change,
    /// Another descriptor, or several.
    Descriptors,
    /// The end of a child process.
    Child,
    /// A time.
    Time,
}

/// Finds a wait cycle: tasks each of which waits for the next one alone, and the last one for the first.
#[must_use]
pub fn cycle(tasks: &[TaskState]) -> Option<Vec<TaskId>> {
    let next = |id: TaskId| match tasks.iter().find(|state| state.task == id)?.wait.as_ref()? {
        Wait { by, limited: false, .. } => by.first().copied().filter(|_| by.len() == 1),
        Wait { limited: true, .. } => None,
    };
    tasks.iter().find_map(|state| {
        let mut way = vec![state.task];
        // A path that returns to its start does so within as many steps as there are tasks.
        for _ in tasks {
            match next(way[way.len() - 1])? {
                first if first == state.task => return Some(way),
                id => way.push(id),
            }
        }
        None
    })
}

/// One stack frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Address of the instruction; for callers, the return address.
    pub address: u64,
    /// The function's name, demangled, if known.
    pub function: Option<String>,
    /// Source file and line, if known.
    pub location: Option<(String, u32)>,
}

/// What a recording counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Ticks of all tasks: compiled-in ticks and traced system calls.
    pub ticks: u64,
    /// How often a task that could have gone on had to wait for another.
    pub preemptions: u64,
    /// Traced system calls.
    pub syscalls: u64,
    /// Number of tasks that were ever created.
    pub tasks: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(task: u32, by: &[u32], limited: bool) -> TaskState {
        let by = by.iter().copied().map(TaskId).collect();
        TaskState {
            task: TaskId(task),
            name: String::new(),
            doing: String::new(),
            wait: Some(Wait { on: Awaited::Thread, futex: None, what: None, by, gone: None, limited }),
            spawned: None,
            awaits: Vec::new(),
            frames: Vec::new(),
        }
    }

    #[test]
    fn a_circle_is_found_behind_those_that_only_wait_for_it() {
        let tasks = [waiting(0, &[1], false), waiting(1, &[2], false), waiting(2, &[1], false)];
        assert_eq!(cycle(&tasks), Some(vec![TaskId(1), TaskId(2)]));
        assert_eq!(cycle(&[waiting(3, &[3], false)]), Some(vec![TaskId(3)]));
    }

    #[test]
    fn who_has_a_choice_or_a_time_limit_is_in_no_circle() {
        assert_eq!(cycle(&[waiting(1, &[2, 3], false), waiting(2, &[1], false)]), None);
        assert_eq!(cycle(&[waiting(1, &[2], false), waiting(2, &[1], true)]), None);
        assert_eq!(cycle(&[waiting(1, &[2], false), waiting(2, &[], false)]), None);
        assert_eq!(cycle(&[waiting(1, &[9], false)]), None);
    }
}
