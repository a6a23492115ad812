//! The whole schedule in Chrome's trace event format, which <https://ui.perfetto.dev> and `chrome://tracing` show.
//!
//! The format is that of "Trace Event Format" (Duca and Sinclair, 2016): a track for each thread, on which are slices for the
//! turns that it had, in them its system calls, and between them what it waited for. A trace has no time of the
//! clock: a tick takes a microsecond here, and so does a system call.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nix::sys::signal::Signal;
use rrtest_engine::history::{At, Lost, Turn};
use rrtest_engine::syscalls;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::describe::Returned;
use serde::Serialize;
use serde_json::{Value, json};

use super::overview::OnLine;
use super::subject::Subject;
use crate::ending::waits;

/// How every file begins, by which we know our own.
pub(crate) const BEGIN: &str = r#"{"otherData":{"writtenBy":"cargo rrtest report""#;

/// An event of the format.
#[derive(Debug, Serialize)]
struct Event<'a> {
    ph: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    /// The scope of an instant event.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Writes a schedule.
pub(crate) fn write(out: &mut impl Write, subject: &Subject<'_, '_>) -> io::Result<()> {
    let about = json!({
        "trace": subject.name,
        "time": "a tick and a system call take a microsecond each: a trace has no time of the clock",
        "version": env!("CARGO_PKG_VERSION"),
    });
    // The object goes on where `BEGIN` ends.
    let about = about.to_string();
    write!(out, "{BEGIN},{}", about.strip_prefix('{').unwrap_or_default())?;
    out.write_all(b",\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let mut file = File { out, subject, is_first: true };
    file.names()?;
    file.turns()?;
    file.calls()?;
    file.instants()?;
    out.write_all(b"\n]}\n")
}

struct File<'w, 's, W> {
    out: &'w mut W,
    subject: &'s Subject<'s, 's>,
    is_first: bool,
}

impl<W: Write> File<'_, '_, W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.out.write_all(if std::mem::take(&mut self.is_first) { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *self.out, event).map_err(io::Error::from)
    }

    fn process(&self, task: TaskId) -> u32 {
        let thread = self.subject.history.threads.iter().find(|thread| thread.task == task);
        thread.map_or(task, |thread| thread.process).0
    }

    fn names(&mut self) -> io::Result<()> {
        let subject = self.subject;
        let program = subject.trace().program().path.file_name().unwrap_or_default().to_string_lossy();
        for thread in &subject.history.threads {
            let (pid, tid) = (thread.process.0, thread.task.0);
            let about =
                |name, args| Event { ph: "M", name, cat: None, pid, tid, ts: None, dur: None, s: None, args };
            if thread.task == thread.process {
                self.event(&about("process_name", json!({ "name": program })))?;
            }
            self.event(&about(
                "thread_name",
                json!({ "name": format!("{} ({})", thread.name, thread.task) }),
            ))?;
            self.event(&about("thread_sort_index", json!({ "sort_index": tid })))?;
        }
        Ok(())
    }

    fn slice(
        &mut self,
        task: TaskId,
        name: &str,
        cat: &'static str,
        (from, to): (u64, u64),
        args: Value,
    ) -> io::Result<()> {
        let (pid, ts, dur) = (self.process(task), Some(from), Some(to.saturating_sub(from)));
        self.event(&Event { ph: "X", name, cat: Some(cat), pid, tid: task.0, ts, dur, s: None, args })
    }

    /// The turns of each thread, and what it does between them.
    fn turns(&mut self) -> io::Result<()> {
        let subject = self.subject;
        let needed = subject.needed();
        let mut last: BTreeMap<TaskId, &Turn> = BTreeMap::new();
        for (index, turn) in subject.history.turns.iter().enumerate() {
            if let Some(before) = last.insert(turn.task, turn) {
                self.gap(before, turn.from.line(), None)?;
            }
            let is_needed = needed.contains(&index);
            let args = json!({ "ticks": turn.to.ticks - turn.from.ticks, "ends": why(turn.why, is_needed) });
            self.slice(turn.task, "runs", "turn", (turn.from.line(), turn.to.line()), args)?;
        }
        let end = subject.history.end.line();
        let states = subject.states();
        for turn in last.into_values() {
            let state = states.iter().find(|state| state.task == turn.task);
            let doing = state.map(|state| waits::doing(state, states));
            self.gap(turn, end, doing)?;
        }
        Ok(())
    }

    fn gap(&mut self, before: &Turn, until: u64, doing: Option<String>) -> io::Result<()> {
        let from = before.to.line();
        let name = match before.why {
            Lost::Gone | Lost::Ended => return Ok(()),
            Lost::Preempted => "preempted".to_owned(),
            Lost::Unknown => "does not run".to_owned(),
            Lost::Waits(number) => format!("waits: {}", syscalls::name(number)),
        };
        if until <= from {
            return Ok(());
        }
        let args = doing.map_or(Value::Null, |doing| json!({ "doing": doing }));
        self.slice(before.task, &name, "wait", (from, until), args)
    }

    fn calls(&mut self) -> io::Result<()> {
        for call in &self.subject.history.calls {
            let mut args = json!({ "result": Returned(call.result).to_string() });
            if let Some(values) = call.args {
                args["args"] = json!(values.map(|value| format!("{value:#x}")));
            }
            if let Some(task) = call.spawned {
                args["creates"] = json!(task.to_string());
            }
            let from = call.at.line();
            self.slice(call.task, &syscalls::name(call.number), "call", (from, from + 1), args)?;
        }
        Ok(())
    }

    fn instant(
        &mut self,
        task: TaskId,
        at: At,
        name: &str,
        scope: &'static str,
        args: Value,
    ) -> io::Result<()> {
        let (pid, ts, s) = (self.process(task), Some(at.line()), Some(scope));
        self.event(&Event { ph: "i", name, cat: Some("moment"), pid, tid: task.0, ts, dur: None, s, args })
    }

    fn instants(&mut self) -> io::Result<()> {
        let subject = self.subject;
        for signal in &subject.history.signals {
            let name = Signal::try_from(signal.number)
                .map_or_else(|_| format!("signal {}", signal.number), |known| known.as_str().to_owned());
            self.instant(signal.task, signal.at, &name, "t", Value::Null)?;
        }
        for index in subject.needed() {
            let Some(turn) = subject.history.turns.get(index) else { continue };
            self.instant(turn.task, turn.to, "needed preemption", "p", Value::Null)?;
        }
        let how = json!({ "how": subject.headline });
        self.instant(subject.failure.moment.task, subject.failed_at(), "failure", "g", how)
    }
}

fn why(why: Lost, is_needed: bool) -> String {
    match why {
        Lost::Preempted if is_needed => "preempted, which the failure needs".to_owned(),
        Lost::Preempted => "preempted".to_owned(),
        Lost::Waits(number) => format!("waits in {}", syscalls::name(number)),
        Lost::Gone => "the thread ends".to_owned(),
        Lost::Ended => "the program ends".to_owned(),
        Lost::Unknown => "another thread runs".to_owned(),
    }
}
