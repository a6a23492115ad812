//! What goes on around a moment: who has the core when, and what each thread is at.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::debugger::Debugger;
use crate::ending::Frame;
use crate::error::Error;
use crate::failure::{Frames, doing};
use crate::history::{How, Lost, Operation, Turn, operations, turns};
use crate::symbols::origin::interesting;
use crate::syscalls;
use crate::task::TaskId;
use crate::trace::event::Event;

/// So many turns before and after this moment are listed.
const AROUND: usize = 8;

/// A turn often begins and ends in a library: its own code is looked for in so many ticks at either side.
const EDGE: u64 = 16;

/// Lists who had the core around this moment: from where to where, and why no longer.
pub(super) fn schedule(debugger: &mut Debugger<'_>, arguments: &str) -> Result<Vec<String>, String> {
    let around = number(arguments, AROUND)?;
    let here = debugger.timeline.session().ticks();
    let carried = debugger.files.carried();
    let (core, stop, patience) = debugger.timeline.replays();
    let how = How { core, stop, patience };
    let history = turns(carried.trace(), how).map_err(in_words)?;
    let behind = history.turns.partition_point(|turn| turn.from.ticks <= here);
    let now = behind.saturating_sub(1);
    let first = now.saturating_sub(around);
    let last = now.saturating_add(around).saturating_add(1).min(history.turns.len());
    let shown = history.turns.get(first..last).unwrap_or_default();
    let done = operations(carried, &edges(shown), how).map_err(in_words)?;
    let lines = shown.iter().enumerate().map(|(at, turn)| {
        let mark = if first + at == now { "now" } else { "" };
        let thread = history.threads.iter().find(|thread| thread.task == turn.task);
        let thread = format!("`{}` ({})", thread.map_or("", |thread| &thread.name), turn.task);
        let ticks = format!("{}–{}", turn.from.ticks, turn.to.ticks);
        format!("{mark:>4} {ticks:<17} {thread:<26} {}", course(turn, &done))
    });
    Ok(lines.collect())
}

/// The ticks in which a turn's first and last operation of its own code are looked for, in order and apart.
fn edges(turns: &[Turn]) -> Vec<RangeInclusive<u64>> {
    let of_turns = turns.iter().filter(|turn| turn.from.ticks < turn.to.ticks);
    let edges = of_turns.flat_map(|turn| {
        let (first, last) = (turn.from.ticks + 1, turn.to.ticks);
        let (until, from) = (last.min(first + EDGE - 1), first.max(last.saturating_sub(EDGE - 1)));
        if from <= until + 1 { vec![first..=last] } else { vec![first..=until, from..=last] }
    });
    edges.collect()
}

/// From where to where a turn has led, and how it ended.
fn course(turn: &Turn, done: &[Operation]) -> String {
    let ticks = turn.from.ticks + 1..=turn.to.ticks;
    let own = done.iter().filter(|it| it.task == turn.task && ticks.contains(&it.tick));
    let mut places = own.filter_map(|it| place(&it.frames));
    let way = match (places.next(), places.next_back()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(one), _) => one,
        (None, _) => "no operation of the program's own code".to_owned(),
    };
    match turn.why {
        Lost::Preempted => format!("{way}, preempted"),
        Lost::Waits(number) => format!("{way}, waits in {}", syscalls::name(number)),
        Lost::Gone => format!("{way}, ends"),
        Lost::Ended => format!("{way}, the program ends"),
        Lost::Unknown => way,
    }
}

/// The source line of the user's own code.
fn place(frames: &[Frame]) -> Option<String> {
    let (file, line) = interesting(frames)?.location.as_ref()?;
    Some(format!("{file}:{line}"))
}

/// Lists what each thread of the run is at, and at the end what the recorder knew of that.
pub(super) fn waits(debugger: &mut Debugger<'_>, _: &str) -> Result<Vec<String>, String> {
    let carried = debugger.files.carried();
    let session = debugger.timeline.look().map_err(in_words)?;
    let tasks: Vec<(TaskId, String)> =
        session.state().tasks().map(|(task, name)| (task, name.to_owned())).collect();
    let mut stacks = Frames::new(carried);
    let mut lines = Vec::new();
    for (task, name) in tasks {
        let doing = doing(session.state(), task);
        let frames = stacks.of(session, task).map_err(in_words)?;
        let since = place(&frames).map_or_else(String::new, |place| format!(", at {place}"));
        lines.push(format!("`{name}` ({task}) {doing}{since}"));
    }
    let mut cursor = session.cursor().clone();
    let is_end = cursor.take().map_err(|error| error.to_string())?;
    if is_end.is_none_or(|event| matches!(event, Event::Ended(_))) && !debugger.ending.is_empty() {
        lines.push("here the recording ended:".to_owned());
        lines.extend(debugger.ending.iter().map(|line| format!("  {line}")));
    }
    Ok(lines)
}

fn in_words(error: Error) -> String {
    error.to_string()
}

/// The number that a command is given; `otherwise` if none.
pub(super) fn number<N: FromStr>(text: &str, otherwise: N) -> Result<N, String> {
    if text.is_empty() {
        return Ok(otherwise);
    }
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{At, What};

    fn turn(from: u64, to: u64, why: Lost) -> Turn {
        let at = |ticks| At { ticks, calls: 0 };
        Turn { task: TaskId(1), from: at(from), to: at(to), why }
    }

    fn operation(tick: u64, line: u32) -> Operation {
        let frame = Frame {
            address: 0,
            function: Some("own::f".to_owned()),
            location: Some(("src/lib.rs".to_owned(), line)),
        };
        Operation {
            task: TaskId(1),
            tick,
            moment: (0, 0),
            what: What::Call { number: 0, result: None },
            is_done: true,
            frames: vec![frame],
        }
    }

    #[test]
    fn a_turn_is_told_by_its_first_and_last_line() {
        let turns = [turn(0, 0, Lost::Unknown), turn(0, 1, Lost::Gone), turn(1, 9, Lost::Preempted)];
        assert_eq!(edges(&turns), [1..=1, 2..=9]);
        assert_eq!(edges(&[turn(9, 90, Lost::Gone)]), [10..=25, 75..=90]);
        let done = [operation(1, 3), operation(2, 4), operation(9, 7)];
        let course = turns.each_ref().map(|turn| course(turn, &done));
        assert_eq!(
            course,
            [
                "no operation of the program's own code",
                "src/lib.rs:3, ends",
                "src/lib.rs:4 to src/lib.rs:7, preempted",
            ]
        );
        let waits = turn(9, 10, Lost::Waits(202));
        assert_eq!(super::course(&waits, &[operation(10, 8)]), "src/lib.rs:8, waits in futex");
    }
}
