//! Endings, and facts of a trace's description, in words, as every report of them has them.

use nix::sys::signal::Signal;
use rrtest_engine::ending::{Ending, TaskState};
use rrtest_engine::task::TaskId;
use serde_json::Value;

use super::backtrace::{self, Frames};
use super::overdue;
use super::waits;

/// How a program ended: one line, and one for each thread or frame that explains it, indented.
pub(crate) fn ending(ending: &Ending, frames: Frames) -> Vec<String> {
    match ending {
        Ending::Exited(code) => vec![format!("exit code {code}")],
        Ending::Killed { signal, task, tasks } => {
            let name = waits::quoted(*task, tasks);
            with_tasks(format!("killed by {} in thread {name}", signal_name(*signal)), tasks, frames)
        }
        Ending::Deadlocked(tasks) => {
            let mut lines = with_tasks("deadlock: no thread can ever run again".to_owned(), tasks, frames);
            lines.splice(1..1, waits::in_cycle(tasks).map(|cycle| format!("  {cycle}")));
            lines
        }
        Ending::Hung { why, tasks, spun } => {
            with_tasks(format!("{}{}", overdue::why(*why), waits::still_running(tasks, *spun)), tasks, frames)
        }
        Ending::Unsupported { what, task, name } => {
            unsupported(what, *task, name).lines().map(str::to_owned).collect()
        }
    }
}

/// What the user can do where something cannot be recorded, by what that is.
const REMEDIES: &[(&str, &str)] = &[("ptrace", LEAK_CHECK), ("clone with CLONE_UNTRACED", LEAK_CHECK)];

/// How to do without the tracer that LeakSanitizer starts (sanitizer_stop_the_world_linux_libcdep.cpp).
const LEAK_CHECK: &str =
    "AddressSanitizer's leak check does this: disable it with ASAN_OPTIONS=detect_leaks=0";

/// What cannot be recorded, who did it, and what the user can do, if there is anything.
pub(crate) fn unsupported(what: &str, task: TaskId, name: &str) -> String {
    let remedy = REMEDIES.iter().find(|(known, _)| *known == what);
    let remedy = remedy.map(|(_, remedy)| format!("\n  {remedy}")).unwrap_or_default();
    format!("{what} cannot be recorded yet ({task}, thread `{name}`){remedy}")
}

fn with_tasks(line: String, tasks: &[TaskState], frames: Frames) -> Vec<String> {
    let mut lines = vec![line];
    for task in tasks {
        let spawned = task.spawned.as_ref().map(waits::place);
        let spawned = spawned.map(|place| format!(" (spawned at {place})")).unwrap_or_default();
        let doing = waits::doing(task, tasks);
        lines.push(format!("  {}, thread `{}`{spawned}: {doing}", task.task, task.name));
        lines.extend(backtrace::awaits(&task.awaits).iter().map(|line| format!("    {line}")));
        lines.extend(backtrace::lines(&task.frames, frames).iter().map(|line| format!("    {line}")));
    }
    lines
}

/// `SIGSEGV (signal 11)`.
pub(crate) fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(name) => format!("{} (signal {signal})", name.as_str()),
        Err(_) => format!("signal {signal}"),
    }
}

/// A fact of a trace's description as text.
pub(crate) fn fact(info: &Value, key: &str) -> Option<String> {
    match info.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => {
            let words = values.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            Some(words.collect::<Vec<_>>().join(", "))
        }
        value => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::ending::Frame;

    #[test]
    fn a_crash_names_signal_thread_and_place() {
        let frame = |function: Option<&str>| Frame {
            address: 0x10,
            function: function.map(str::to_owned),
            location: function.map(|_| ("src/lib.rs".to_owned(), 7)),
        };
        let state = TaskState {
            task: TaskId(2),
            name: "worker".into(),
            doing: "runs".into(),
            wait: None,
            spawned: None,
            awaits: Vec::new(),
            frames: vec![frame(Some("p::f")), frame(None)],
        };
        let ended = Ending::Killed { signal: 11, task: TaskId(2), tasks: vec![state] };
        let lines = ending(&ended, Frames::All);
        assert_eq!(
            lines,
            [
                "killed by SIGSEGV (signal 11) in thread `worker`",
                "  task 2, thread `worker`: runs, at src/lib.rs:7",
                "    p::f at src/lib.rs:7",
                "    0x10",
            ]
        );
    }

    #[test]
    fn what_cannot_be_recorded_may_have_a_remedy() {
        let ended = |what: &str| Ending::Unsupported { what: what.into(), task: TaskId(3), name: "t".into() };
        let lines = ending(&ended("ptrace"), Frames::Own);
        assert_eq!(lines[0], "ptrace cannot be recorded yet (task 3, thread `t`)");
        assert!(lines[1].contains("detect_leaks=0"), "{lines:?}");
        assert_eq!(ending(&ended("bpf"), Frames::Own).len(), 1);
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(6), "SIGABRT (signal 6)");
        assert_eq!(signal_name(99), "signal 99");
    }
}
