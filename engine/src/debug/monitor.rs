//! What `monitor` understands, beyond gdb's own commands.

use gdbstub::outputln;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::around::{number, schedule, waits};
use super::debugger::Debugger;
use crate::error::Error;
use crate::replay::Cursor;
use crate::syscalls;
use crate::timeline::Mark;

/// A command: its name, what follows it, and what it does.
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Debugger<'_>, &str) -> Result<Vec<String>, String>,
}

const COMMANDS: [Command; 9] = [
    Command { name: "when", arguments: "", help: "tells this moment", run: when },
    Command {
        name: "seek",
        arguments: "MOMENT",
        help: "goes to a moment, EVENT[.TICKS[.INSTRUCTIONS]]; gdb sees it once it connects again",
        run: seek,
    },
    Command { name: "checkpoint", arguments: "", help: "remembers this moment", run: checkpoint },
    Command {
        name: "restart",
        arguments: "[NUMBER]",
        help: "goes to a remembered moment, as seek does; without a number, lists them",
        run: restart,
    },
    Command {
        name: "events",
        arguments: "[COUNT]",
        help: "lists the events of the trace around here",
        run: events,
    },
    Command {
        name: "schedule",
        arguments: "[COUNT]",
        help: "lists who had the core around here, from where to where, and why no longer",
        run: schedule,
    },
    Command {
        name: "waits",
        arguments: "",
        help: "lists what each thread is at; where the recording ended, who waits for whom",
        run: waits,
    },
    Command {
        name: "explanation",
        arguments: "",
        help: "tells what the failure needs, if that was found out",
        run: explanation,
    },
    Command { name: "ps", arguments: "", help: "lists the living processes and threads of the run", run: ps },
];

/// So many instructions are counted to tell a moment.
const MOST: u64 = 20_000;

/// So many events before and after this moment are listed.
const AROUND: u64 = 8;

impl MonitorCmd for Debugger<'_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Error> {
        let text = String::from_utf8_lossy(command);
        let (name, arguments) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let lines = match COMMANDS.iter().find(|command| command.name == name) {
            Some(command) => (command.run)(self, arguments.trim()),
            None if matches!(name, "" | "help") => Ok(help()),
            None => Err(format!("`{name}` is no command; `monitor help` lists them")),
        };
        match lines {
            Ok(lines) => lines.iter().for_each(|line| outputln!(out, "{line}")),
            Err(message) => outputln!(out, "error: {message}"),
        }
        Ok(())
    }
}

fn help() -> Vec<String> {
    let line = |command: &Command| {
        format!("{:<22}{}", format!("{} {}", command.name, command.arguments), command.help)
    };
    COMMANDS.iter().map(line).collect()
}

fn when(debugger: &mut Debugger<'_>, _: &str) -> Result<Vec<String>, String> {
    let here = here(debugger)?;
    let current = debugger.timeline.current();
    let state = debugger.timeline.session().state();
    let name = state.tasks().find(|(id, _)| *id == current).map_or("", |(_, name)| name);
    Ok(vec![format!("{here}; {current} (`{name}`) runs")])
}

/// Where it stands, in words.
fn here(debugger: &mut Debugger<'_>) -> Result<String, String> {
    let moment = debugger.timeline.moment_within(MOST).map_err(|error| error.to_string())?;
    let (event, ticks) = debugger.timeline.position();
    Ok(match moment {
        Some(moment) => {
            format!("moment {moment}: event {event}, {ticks} ticks, {} instructions", moment.instructions)
        }
        None => format!(
            "event {event}, {ticks} ticks, more than {MOST} instructions, which take too long to count; `checkpoint` \
             remembers this moment"
        ),
    })
}

fn seek(debugger: &mut Debugger<'_>, arguments: &str) -> Result<Vec<String>, String> {
    debugger.timeline.seek(arguments.parse()?).map_err(|error| error.to_string())?;
    debugger.is_moved = true;
    Ok(Vec::new())
}

fn checkpoint(debugger: &mut Debugger<'_>, _: &str) -> Result<Vec<String>, String> {
    let (event, ticks) = debugger.timeline.position();
    let words = format!("at event {event}, {ticks} ticks");
    debugger.checkpoints.push((debugger.timeline.mark(), words.clone()));
    Ok(vec![format!("checkpoint {} {words}", debugger.checkpoints.len())])
}

fn restart(debugger: &mut Debugger<'_>, arguments: &str) -> Result<Vec<String>, String> {
    let all = &debugger.checkpoints;
    if arguments.is_empty() {
        let line =
            |(number, (_, words)): (usize, &(Mark, String))| format!("checkpoint {} {words}", number + 1);
        return Ok(all.iter().enumerate().map(line).collect());
    }
    let number: usize = arguments.parse().map_err(|_| format!("`{arguments}` is no number"))?;
    let found = number.checked_sub(1).and_then(|at| all.get(at));
    let (mark, _) =
        found.ok_or_else(|| format!("there is no checkpoint {number}; there are {}", all.len()))?;
    debugger.timeline.go_to(mark).map_err(|error| error.to_string())?;
    debugger.is_moved = true;
    Ok(Vec::new())
}

fn events(debugger: &mut Debugger<'_>, arguments: &str) -> Result<Vec<String>, String> {
    let around = number(arguments, AROUND)?;
    let (here, _) = debugger.timeline.position();
    let mut cursor: Cursor<'_> = debugger.timeline.session().cursor().clone();
    let first = here.saturating_sub(around);
    cursor.seek(first);
    let mut lines = Vec::new();
    for number in first..here.saturating_add(around) {
        let Some(event) = cursor.take().map_err(|error| error.to_string())? else { break };
        let mark = if number == here { "next" } else { "" };
        lines.push(format!(
            "{mark:>4} {number:>6}  {}",
            event.describe(|number| Some(syscalls::describe(number)?.name()))
        ));
    }
    Ok(lines)
}

fn explanation(debugger: &mut Debugger<'_>, _: &str) -> Result<Vec<String>, String> {
    if debugger.explanation.is_empty() {
        return Err("the trace has no explanation".to_owned());
    }
    Ok(debugger.explanation.clone())
}

fn ps(debugger: &mut Debugger<'_>, _: &str) -> Result<Vec<String>, String> {
    let state = debugger.timeline.session().state();
    let current = debugger.timeline.current();
    let line = |(task, name): (crate::task::TaskId, &str)| {
        let process = state.process(task).unwrap_or(task);
        let program = state.program(task).map_or("", |(program, _)| program);
        let mark = if task == current { "*" } else { " " };
        format!("{mark} process {:<4} {task:<8} {name:<16} {program}", process.0)
    };
    Ok(state.tasks().map(line).collect())
}
