//! How a recording ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::TaskId;

/// How a recorded program ended. A replay ends the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it: its number, and the task that got it.
    Killed {
        /// Signal number.
        signal: i32,
        /// The task it was delivered to.
        task: TaskId,
        /// What the tasks were doing; the signalled one first.
        tasks: Vec<TaskState>,
    },
    /// No task can ever run again.
    Deadlocked(Vec<TaskState>),
    /// It did not end.
    Hung {
        /// Why it was not waited for any longer.
        why: Overdue,
        /// What the tasks were doing; the one that had the core first.
        tasks: Vec<TaskState>,
        /// Ticks since the last system call of any task, but for sched_yield(2): many, if they run and get nowhere.
        spun: u64,
    },
    /// It did what cannot be recorded faithfully.
    Unsupported {
        /// What: a system call by name, a flag, a feature.
        what: String,
        /// The task that did it.
        task: TaskId,
        /// That task's thread name.
        name: String,
    },
}

/// Why a program that had not ended was not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overdue {
    /// It ran past the time limit.
    Limit,
    /// Nothing could happen before the time limit: its tasks waited for times, and the first to come was as far away as this.
    NothingDue(Duration),
    /// It took much longer than its runs usually do ([`crate::patience`]).
    Unusual {
        /// What it took of its own time.
        took: Duration,
        /// What they do.
        usual: Duration,
    },
    /// The time was over for all runs. That says nothing about this one, which had run for so long.
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
    /// The source file and line of the program's own from which it was spawned: only where another has the same name.
    pub spawned: Option<(String, u32)>,
    /// If it drives a future: what that awaits in the end, by its type, and the async functions that lead to it, innermost first,
    /// each where it is suspended; the addresses are theirs. Empty if that is not known.
    pub awaits: Vec<Frame>,
    /// Return addresses from the innermost frame outwards, as far as they could be found.
    pub frames: Vec<Frame>,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What kind of thing.
    pub on: Awaited,
    /// The address of its futex word, if it has one.
    pub futex: Option<u64>,
    /// Which one, where it has a name: a connection, a file, a queue.
    pub what: Option<String>,
    /// Those living tasks of which one must act for the wait to end; empty if they are not known.
    pub by: Vec<TaskId>,
    /// Who alone could have ended it and has ended itself, with its thread name: it will never act.
    pub gone: Option<(TaskId, String)>,
    /// Whether it also ends by itself, after some time.
    pub limited: bool,
}

/// What kinds of things tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// A mutex, which another task has locked.
    Mutex,
    /// A reader-writer lock.
    RwLock,
    /// The notification of a condition variable.
    Condvar,
    /// The end of an initialisation that another task has begun.
    Once,
    /// The others at a barrier.
    Barrier,
    /// A message, or room for one, in a channel.
    Channel,
    /// The end of a thread.
    Thread,
    /// The end of all threads of a scope.
    Scope,
    /// To be unparked.
    Unpark,
    /// Work of an asynchronous runtime.
    Runtime,
    /// A futex that is used in a way we do not know.
    Futex,
    /// The other end of a pipe.
    Pipe,
    /// The other end of a socket.
    Socket,
    /// Somebody to connect to a socket.
    Connection,
    /// The other side of a terminal.
    Terminal,
    /// A lock on a file.
    FileLock,
    /// A message, or room for one, in a queue.
    Queue,
    /// A semaphore of System V.
    Semaphore,
    /// A change of a file that is watched.
    Change,
    /// Another descriptor, or several.
    Descriptors,
    /// The end of a child process.
    Child,
    /// A time.
    Time,
}

/// A circle of tasks, each of which waits for the next alone, and the last one for the first.
#[must_use]
pub fn circle(tasks: &[TaskState]) -> Option<Vec<TaskId>> {
    let next = |id: TaskId| match tasks.iter().find(|state| state.task == id)?.wait.as_ref()? {
        Wait { by, limited: false, .. } => by.first().copied().filter(|_| by.len() == 1),
        Wait { limited: true, .. } => None,
    };
    tasks.iter().find_map(|state| {
        let mut way = vec![state.task];
        // Whoever comes back to where it started does so after no more steps than there are tasks.
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
    /// Address of the instruction (for callers: of the return address).
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
    /// Times a task that could have gone on was made to wait for another.
    pub preemptions: u64,
    /// Traced system calls.
    pub syscalls: u64,
    /// Tasks that ever lived.
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
        assert_eq!(circle(&tasks), Some(vec![TaskId(1), TaskId(2)]));
        assert_eq!(circle(&[waiting(3, &[3], false)]), Some(vec![TaskId(3)]));
    }

    #[test]
    fn who_has_a_choice_or_a_time_limit_is_in_no_circle() {
        assert_eq!(circle(&[waiting(1, &[2, 3], false), waiting(2, &[1], false)]), None);
        assert_eq!(circle(&[waiting(1, &[2], false), waiting(2, &[1], true)]), None);
        assert_eq!(circle(&[waiting(1, &[2], false), waiting(2, &[], false)]), None);
        assert_eq!(circle(&[waiting(1, &[9], false)]), None);
    }
}
