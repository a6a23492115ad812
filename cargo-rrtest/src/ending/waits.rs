//! What the threads of a hang wait for: in words, and for programs.

use std::path::Path;

use rrtest_engine::ending::{Awaited, Ending, TaskState, Wait, cycle};
use rrtest_engine::symbols::origin::interesting;
use rrtest_engine::task::TaskId;
use serde::Serialize;

use super::backtrace;
use crate::base::words::{count, relative};

/// How many threads to name.
const MOST_NAMES: usize = 5;

/// Kinds of things that are waited for: their name in JSON, in words, and how the words go on to those who could end
/// the wait.
const KINDS: &[(Awaited, &str, &str, &str)] = &[
    (Awaited::Mutex, "mutex", "for a mutex", ", held by"),
    (Awaited::RwLock, "rwlock", "for a reader-writer lock", ", held by"),
    (Awaited::Condvar, "condvar", "for the notification of a condition variable", " by"),
    (Awaited::Once, "once", "for an initialisation", " by"),
    (Awaited::Barrier, "barrier", "for others at a barrier", ":"),
    (Awaited::Channel, "channel", "for a channel", ", shared with"),
    (Awaited::Thread, "thread", "for the end of thread", ""),
    (Awaited::Scope, "scope", "for the end of a scope's threads", ":"),
    (Awaited::Unpark, "unpark", "to be unparked", " by"),
    (Awaited::Runtime, "runtime", "for work in an async runtime", " from"),
    (Awaited::Futex, "futex", "on a futex", ", shared with"),
    (Awaited::Pipe, "pipe", "for a pipe", ", whose other end is held by"),
    (Awaited::Socket, "socket", "for a socket", ", whose other end is held by"),
    (Awaited::Connection, "connection", "for a connection", " from"),
    (Awaited::Terminal, "terminal", "for a terminal", ", whose other side is held by"),
    (Awaited::FileLock, "file lock", "for a lock on a file", ", held by"),
    (Awaited::Queue, "queue", "for a message queue", ", shared with"),
    (Awaited::Semaphore, "semaphore", "for a semaphore", ", shared with"),
    (Awaited::Change, "change", "for a file to change", " by"),
    (Awaited::Descriptors, "descriptors", "for descriptors", ", shared with"),
    (Awaited::Child, "child", "for a child process", ","),
    (Awaited::Time, "time", "for a time to come", ""),
];

/// A thread of a hang, in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Waiting<'a> {
    task: u32,
    thread: &'a str,
    /// A name of [`KINDS`]; null if it could run.
    waits_for: Option<&'static str>,
    /// Which one, where it has a name: a connection, a file, a queue.
    what: Option<&'a str>,
    /// The source line of the program's own that led to it.
    since: Option<String>,
    /// Those of which one would have to act, where they are known.
    woken_by: Vec<Named<'a>>,
    /// Who alone could have acted, and has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by_ended: Option<Named<'a>>,
    /// The source line of the program's own that spawned it, where others have the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    spawned: Option<String>,
    /// What its future awaits, and the async functions that lead to it, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    awaits: Vec<String>,
    time_limit: bool,
}

/// A thread that is referred to.
#[derive(Debug, Serialize)]
struct Named<'a> {
    task: u32,
    thread: &'a str,
}

/// The threads of a deadlock, or of a test that ran past its time limit; none for other endings.
pub(crate) fn waits(ending: &Ending) -> Option<Vec<Waiting<'_>>> {
    let (Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. }) = ending else { return None };
    Some(tasks.iter().map(|state| Waiting::of(state, tasks)).collect())
}

impl<'a> Waiting<'a> {
    fn of(state: &'a TaskState, tasks: &'a [TaskState]) -> Self {
        let named = |id: &TaskId| Named { task: id.0, thread: name(*id, tasks) };
        let wait = state.wait.as_ref();
        Self {
            task: state.task.0,
            thread: &state.name,
            waits_for: wait.map(|wait| kind(wait.on).1),
            what: wait.and_then(|wait| wait.what.as_deref()),
            since: since(state),
            woken_by: wait.iter().flat_map(|wait| &wait.by).map(named).collect(),
            held_by_ended: wait
                .and_then(|wait| wait.gone.as_ref())
                .map(|(task, thread)| Named { task: task.0, thread }),
            spawned: state.spawned.as_ref().map(place),
            awaits: backtrace::awaits(&state.awaits),
            time_limit: wait.is_some_and(|wait| wait.limited),
        }
    }
}

/// What a task does, in words: what it waits for, who could end that, and where it does so.
pub(crate) fn doing(state: &TaskState, tasks: &[TaskState]) -> String {
    let mut text = waiting(state, tasks);
    if let Some(place) = since(state) {
        text.push_str(if state.wait.is_some() { ", since " } else { ", at " });
        text.push_str(&place);
    }
    text
}

/// What a task does, in words: what it waits for, and who could end that.
pub(crate) fn waiting(state: &TaskState, tasks: &[TaskState]) -> String {
    match &state.wait {
        // Where nothing else is known, what is being called says more.
        Some(Wait { on: Awaited::Descriptors | Awaited::Time, .. }) | None => state.doing.clone(),
        Some(wait) => in_words(wait, tasks),
    }
}

fn in_words(wait: &Wait, tasks: &[TaskState]) -> String {
    let (_, _, words, by) = kind(wait.on);
    let mut text = match &wait.what {
        Some(what) => format!("waits for {what}"),
        // The words of this kind go on with the thread's name.
        None if wait.on == Awaited::Thread && wait.by.is_empty() && wait.gone.is_none() => {
            "waits for the end of a thread".to_owned()
        }
        None => format!("waits {words}"),
    };
    if let (Awaited::Mutex | Awaited::RwLock | Awaited::Condvar | Awaited::Futex, Some(futex)) =
        (wait.on, wait.futex)
    {
        text.push_str(&format!(" ({futex:#x})"));
    }
    if !wait.by.is_empty() {
        text.push_str(&format!("{by} {}", names(&wait.by, tasks)));
    }
    if let Some((task, name)) = &wait.gone {
        text.push_str(&format!("{by} `{name}` ({task}), which has ended"));
    }
    if wait.limited {
        text.push_str(", with a time limit");
    }
    text
}

/// `` `a` waits for `b`, which waits for `a` ``, if there is such a cycle.
pub(crate) fn in_cycle(tasks: &[TaskState]) -> Option<String> {
    let way = cycle(tasks)?;
    let (first, others) = way.split_first()?;
    let name = |id: &TaskId| quoted(*id, tasks);
    let others = others.iter().map(|id| format!("{}, which waits for ", name(id)));
    Some(format!("{} waits for {}{}", name(first), others.collect::<String>(), name(first)))
}

/// What a test that has not ended does: whether its threads run, or wait.
pub(crate) fn still_running(tasks: &[TaskState], spun: u64) -> String {
    let mut text = String::new();
    let run: Vec<_> = tasks.iter().filter(|state| state.wait.is_none()).map(|state| state.task).collect();
    if run.is_empty() {
        return "all threads wait, but not only for each other".to_owned();
    }
    text.push_str(&format!("{} can run", names(&run, tasks)));
    if spun > 0 {
        let ticks = count(spun, "tick");
        text.push_str(&format!("; {ticks} since the last system call, not counting sched_yield"));
    }
    text
}

/// What is waited for, in words: `for a mutex`.
pub(crate) fn kind_in_words(on: Awaited) -> &'static str {
    kind(on).2
}

fn kind(on: Awaited) -> &'static (Awaited, &'static str, &'static str, &'static str) {
    KINDS.iter().find(|(kind, ..)| *kind == on).unwrap_or(&KINDS[0])
}

fn name(id: TaskId, tasks: &[TaskState]) -> &str {
    tasks.iter().find(|state| state.task == id).map_or("?", |state| &state.name)
}

/// A task's name in quotes, with its number where others have the same name.
pub(crate) fn quoted(id: TaskId, tasks: &[TaskState]) -> String {
    let name = name(id, tasks);
    match tasks.iter().filter(|state| state.name == name).count() {
        0 | 1 => format!("`{name}`"),
        _ => format!("`{name}` ({id})"),
    }
}

fn names(ids: &[TaskId], tasks: &[TaskState]) -> String {
    let named: Vec<_> = ids.iter().take(MOST_NAMES).map(|id| quoted(*id, tasks)).collect();
    match ids.len().saturating_sub(MOST_NAMES) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The source line of the program's own in which a task is, or from which it has called what it is in.
fn since(state: &TaskState) -> Option<String> {
    interesting(&state.frames)?.location.as_ref().map(place)
}

/// A source line.
pub(crate) fn place((file, line): &(String, u32)) -> String {
    format!("{}:{line}", relative(Path::new(file)).display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::ending::Frame;

    fn state(task: u32, name: &str, wait: Option<(Awaited, &[u32])>) -> TaskState {
        let frame = Frame {
            address: 0x10,
            function: Some("p::f".to_owned()),
            location: Some(("src/lib.rs".to_owned(), task)),
        };
        TaskState {
            task: TaskId(task),
            name: name.to_owned(),
            doing: "can run".to_owned(),
            wait: wait.map(|(on, by)| Wait {
                on,
                futex: Some(0x20),
                what: None,
                by: by.iter().copied().map(TaskId).collect(),
                gone: None,
                limited: on == Awaited::Condvar,
            }),
            spawned: None,
            awaits: Vec::new(),
            frames: vec![frame],
        }
    }

    fn tasks() -> Vec<TaskState> {
        vec![
            state(1, "a", Some((Awaited::Thread, &[2]))),
            state(2, "b", Some((Awaited::Mutex, &[3]))),
            state(3, "c", Some((Awaited::Thread, &[2]))),
            state(4, "d", Some((Awaited::Condvar, &[]))),
            state(5, "e", None),
        ]
    }

    #[test]
    fn every_kind_has_words() {
        let mut names: Vec<_> = KINDS.iter().map(|(_, name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
        assert_eq!(kind(Awaited::Time).1, "time");
    }

    #[test]
    fn waits_in_words() {
        let tasks = tasks();
        let words: Vec<_> = tasks.iter().map(|state| doing(state, &tasks)).collect();
        assert_eq!(
            words,
            [
                "waits for the end of thread `b`, since src/lib.rs:1",
                "waits for a mutex (0x20), held by `c`, since src/lib.rs:2",
                "waits for the end of thread `b`, since src/lib.rs:3",
                "waits for the notification of a condition variable (0x20), with a time limit, since src/lib.rs:4",
                "can run, at src/lib.rs:5",
            ]
        );
        assert_eq!(in_cycle(&tasks).as_deref(), Some("`b` waits for `c`, which waits for `b`"));
        assert_eq!(in_cycle(&tasks[..2]), None);
    }

    #[test]
    fn threads_of_the_same_name_are_told_apart() {
        let mut tasks = vec![
            state(1, "w", Some((Awaited::Mutex, &[2]))),
            state(2, "w", Some((Awaited::Mutex, &[1]))),
            state(3, "other", Some((Awaited::Thread, &[1]))),
        ];
        let cycle = "`w` (task 1) waits for `w` (task 2), which waits for `w` (task 1)";
        assert_eq!(in_cycle(&tasks).as_deref(), Some(cycle));
        assert_eq!(doing(&tasks[2], &tasks), "waits for the end of thread `w` (task 1), since src/lib.rs:3");
        tasks[0].spawned = Some(("src/lib.rs".to_owned(), 9));
        let line = serde_json::to_value(Waiting::of(&tasks[0], &tasks)).expect("json");
        assert_eq!(line["spawned"], "src/lib.rs:9");
    }

    #[test]
    fn who_has_ended_will_never_unlock() {
        let mut waiting = state(1, "a", Some((Awaited::Mutex, &[])));
        waiting.wait.as_mut().expect("a wait").gone = Some((TaskId(2), "leaker".to_owned()));
        let tasks = [waiting];
        assert_eq!(
            doing(&tasks[0], &tasks),
            "waits for a mutex (0x20), held by `leaker` (task 2), which has ended, since src/lib.rs:1"
        );
        let line = serde_json::to_value(Waiting::of(&tasks[0], &tasks)).expect("json");
        assert_eq!(line["held_by_ended"], serde_json::json!({"task": 2, "thread": "leaker"}));
    }

    #[test]
    fn waits_for_programs() {
        let ending = Ending::Deadlocked(tasks());
        let lines = serde_json::to_value(waits(&ending)).expect("json");
        assert_eq!(lines[4]["waits_for"], serde_json::Value::Null);
        assert_eq!(
            lines[1],
            serde_json::json!({
                "task": 2, "thread": "b", "waits_for": "mutex", "what": null, "since": "src/lib.rs:2",
                "woken_by": [{"task": 3, "thread": "c"}], "time_limit": false,
            })
        );
        assert!(waits(&Ending::Exited(101)).is_none());
    }

    #[test]
    fn running_and_waiting_past_the_time_limit_are_told_apart() {
        let tasks = tasks();
        assert_eq!(
            still_running(&tasks, 500),
            "`e` can run; 500 ticks since the last system call, not \
             counting sched_yield"
        );
        assert!(still_running(&tasks[..4], 500).ends_with("all threads wait, but not only for each other"));
        let many: Vec<_> = (0..7).map(TaskId).collect();
        assert_eq!(names(&many, &tasks), "`?`, `a`, `b`, `c`, `d` and 2 more");
    }
}
