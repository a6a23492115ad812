//! Stacks, shortened to what their reader has written: as `RUST_BACKTRACE=1` does it, and with what libraries do in between folded
//! to a line.

use std::ops::Range;
use std::path::Path;

use rrtest_engine::ending::Frame;
use rrtest_engine::symbols::origin::Origin;

use crate::base::words::{count, relative};

/// The frame below which a thread belongs to the runtime.
const BEGIN: &str = "__rust_begin_short_backtrace";

/// Names of functions that are longer are shown without the types that they are for.
const LONG: usize = 64;

/// How much of a stack to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Everything.
    All,
    /// The user's own, which function of others' they have called, and who has called them.
    Own,
}

/// A stack, innermost frame first, one line a frame.
pub(crate) fn lines(frames: &[Frame], which: Frames) -> Vec<String> {
    match which {
        Frames::All => frames.iter().map(line).collect(),
        Frames::Own => own(frames),
    }
}

/// A line of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// The frame of this number.
    Frame(usize),
    /// These frames, in words.
    Folded(Range<usize>, String),
}

/// The frames of a stack that are shown, and those between them: the user's own, the function of others' that the innermost
/// of them has called, and all if none is the user's own.
pub(crate) fn rows(frames: &[Frame], which: Frames) -> Vec<Row> {
    let is_own = |frame: &Frame| Origin::of(frame) == Origin::Own;
    let first = frames.iter().position(is_own).filter(|_| which == Frames::Own);
    let Some(first) = first else { return (0..frames.len()).map(Row::Frame).collect() };
    let is_shown = |index: usize| index + 1 == first || is_own(&frames[index]);
    let mut rows = Vec::new();
    let all: Vec<usize> = (0..frames.len()).collect();
    for run in all.chunk_by(|a, b| is_shown(*a) == is_shown(*b)) {
        match run {
            [first, ..] if is_shown(*first) => rows.extend(run.iter().map(|index| Row::Frame(*index))),
            [first, .., last] => {
                let range = *first..last + 1;
                let words = whose(&frames[range.clone()]);
                rows.push(Row::Folded(range, words));
            }
            run => rows.extend(run.iter().map(|index| Row::Frame(*index))),
        }
    }
    rows
}

/// Whose frames these are: `8 frames: 6 of std, 2 of tokio 1.44.1`.
fn whose(frames: &[Frame]) -> String {
    let name = |frame: &Frame| match Origin::of(frame) {
        Origin::Crate(name) => name,
        Origin::Std => "std".to_owned(),
        Origin::Runtime => "the recorder".to_owned(),
        Origin::Own | Origin::Unknown => "others".to_owned(),
    };
    let mut all: Vec<(String, u64)> = Vec::new();
    for name in frames.iter().map(name) {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, number)) => *number += 1,
            None => all.push((name, 1)),
        }
    }
    all.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    match &all[..] {
        [(name, number)] => format!("{} of {name}", count(*number, "frame")),
        all => {
            let parts: Vec<_> = all.iter().map(|(name, number)| format!("{number} of {name}")).collect();
            format!("{}: {}", count(frames.len() as u64, "frame"), parts.join(", "))
        }
    }
}

/// What a future awaits in the end, and the async functions that lead to it, one line each.
pub(crate) fn awaits(frames: &[Frame]) -> Vec<String> {
    let line_of = |(index, frame): (usize, &Frame)| match (index, &frame.location) {
        (0, None) => format!("awaits {}", short(frame)),
        _ => format!("async {}", line(frame)),
    };
    frames.iter().enumerate().map(line_of).collect()
}

fn own(frames: &[Frame]) -> Vec<String> {
    let begin =
        frames.iter().position(|frame| frame.function.as_ref().is_some_and(|name| name.contains(BEGIN)));
    let frames = &frames[..begin.unwrap_or(frames.len())];
    let is_own = |frame: &Frame| Origin::of(frame) == Origin::Own;
    let mut lines = Vec::new();
    for run in frames.chunk_by(|a, b| is_own(a) == is_own(b)) {
        match run {
            [first, ..] if is_own(first) => lines.extend(run.iter().map(line)),
            // The function that the user has called names what the thread does: `Mutex::lock`, `memcpy`.
            [inside @ .., called] if lines.is_empty() && run.len() < frames.len() => {
                let folded = folded(inside).map(|folded| format!(" (… {folded})"));
                lines.push(short(called) + &folded.unwrap_or_default());
            }
            [frame] if matches!(Origin::of(frame), Origin::Crate(_)) => lines.push(short(frame)),
            run => lines.extend(folded(run).map(|folded| format!("… {folded}"))),
        }
    }
    lines
}

/// Frames of others in words: `31 frames of tokio 1.44.1, 6 of std`; none where std's, of which every stack has some, are all.
fn folded(frames: &[Frame]) -> Option<String> {
    let mut crates: Vec<(String, u64)> = Vec::new();
    let mut of_std = 0;
    for frame in frames {
        match Origin::of(frame) {
            Origin::Crate(name) => match crates.iter_mut().find(|(known, _)| *known == name) {
                Some((_, number)) => *number += 1,
                None => crates.push((name, 1)),
            },
            Origin::Std => of_std += 1,
            Origin::Own | Origin::Runtime | Origin::Unknown => {}
        }
    }
    let (first, number) = crates.first()?;
    let mut text = format!("{} of {first}", count(*number, "frame"));
    crates.iter().skip(1).for_each(|(name, number)| text += &format!(", {number} of {name}"));
    if of_std > 0 {
        text += &format!(", {of_std} of std");
    }
    Some(text)
}

fn function(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| format!("{:#x}", frame.address))
}

/// A function's name, without the types that a generic one is for if it would be long.
pub(crate) fn short(frame: &Frame) -> String {
    let name = function(frame);
    if name.chars().count() <= LONG {
        return name;
    }
    let mut text = String::new();
    let mut depth = 0_usize;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        // What begins a name, or follows `as`, is the type that the function is of.
        let opens =
            c == '<' && (depth > 0 || text.ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)));
        if opens {
            if depth == 0 {
                text.push_str("<…>");
            }
            depth += 1;
        } else if depth > 0 {
            // Not that of `->`.
            depth -= usize::from(c == '>');
            if c == '-' && chars.peek() == Some(&'>') {
                chars.next();
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn line(frame: &Frame) -> String {
    let function = function(frame);
    match &frame.location {
        Some((file, line)) => format!("{function} at {}:{line}", relative(Path::new(file)).display()),
        None => function,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STD: Option<&str> = Some("/rustc/0/library/std/src/x.rs");
    const OWN: Option<&str> = Some("/p/src/lib.rs");
    const TOKIO: Option<&str> = Some("/home/me/.cargo/registry/src/index.crates.io-0/tokio-1.44.1/src/x.rs");
    const PARKING_LOT: Option<&str> =
        Some("/home/me/.cargo/registry/src/index.crates.io-0/parking_lot-0.12.3/src/x.rs");

    fn frame(function: &str, file: Option<&str>) -> Frame {
        Frame {
            address: 0x10,
            function: Some(function.to_owned()),
            location: file.map(|file| (file.to_owned(), 7)),
        }
    }

    #[test]
    fn own_frames_and_what_they_called() {
        let frames = [
            frame("syscall", None),
            frame("futex_wait", STD),
            frame("Mutex::lock", STD),
            frame("p::f", OWN),
            frame("call_once", STD),
            frame("p::main", OWN),
            frame("std::__rust_begin_short_backtrace", STD),
            frame("start", Some("/elsewhere.c")),
        ];
        let own = lines(&frames, Frames::Own);
        assert_eq!(own, ["Mutex::lock", "p::f at /p/src/lib.rs:7", "p::main at /p/src/lib.rs:7"]);
        assert_eq!(lines(&frames, Frames::All).len(), frames.len());
    }

    #[test]
    fn rows_are_own_frames_what_they_called_and_how_many_others() {
        let frames = [
            frame("syscall", None),
            frame("park", TOKIO),
            frame("wait", TOKIO),
            frame("Runtime::block_on", TOKIO),
            frame("p::f", OWN),
            frame("call_once", STD),
            frame("p::main", OWN),
            frame("start", STD),
            frame("main", STD),
        ];
        let folded = |range, words: &str| Row::Folded(range, words.to_owned());
        assert_eq!(
            rows(&frames, Frames::Own),
            [
                folded(0..3, "3 frames: 2 of tokio 1.44.1, 1 of others"),
                Row::Frame(3),
                Row::Frame(4),
                Row::Frame(5),
                Row::Frame(6),
                folded(7..9, "2 frames of std"),
            ]
        );
        assert_eq!(rows(&frames, Frames::All).len(), frames.len());
        assert_eq!(rows(&frames[..4], Frames::Own).len(), 4, "none is the user's own");
    }

    #[test]
    fn what_libraries_do_is_folded() {
        let frames = [
            frame("syscall", None),
            frame("Condvar::wait", STD),
            frame("park", PARKING_LOT),
            frame("park", TOKIO),
            frame("enter", TOKIO),
            frame("Runtime::block_on", TOKIO),
            frame("p::f", OWN),
            frame("poll", TOKIO),
            frame("call_once", STD),
            frame("run", TOKIO),
            frame("p::g", OWN),
            frame("spawn", TOKIO),
            frame("p::main", OWN),
        ];
        assert_eq!(
            lines(&frames, Frames::Own),
            [
                "Runtime::block_on (… 1 frame of parking_lot 0.12.3, 2 of tokio 1.44.1, 1 of std)",
                "p::f at /p/src/lib.rs:7",
                "… 2 frames of tokio 1.44.1, 1 of std",
                "p::g at /p/src/lib.rs:7",
                "spawn",
                "p::main at /p/src/lib.rs:7",
            ]
        );
        assert_eq!(
            lines(&frames[..6], Frames::Own),
            ["… 1 frame of parking_lot 0.12.3, 3 of tokio 1.44.1, 1 of std"],
            "a thread of the runtime"
        );
    }

    #[test]
    fn a_stack_of_the_runtime_alone_is_nothing_to_show() {
        assert!(lines(&[frame("syscall", None), frame("start", None)], Frames::Own).is_empty());
        assert!(lines(&[], Frames::Own).is_empty());
    }

    #[test]
    fn an_own_frame_on_top_stands_for_itself() {
        assert_eq!(lines(&[frame("p::f", OWN)], Frames::Own), ["p::f at /p/src/lib.rs:7"]);
    }

    #[test]
    fn long_names_are_without_their_types() {
        let name = "<tokio::runtime::runtime::Runtime>::block_on::<core::pin::Pin<alloc::boxed::Box<dyn Fn() -> ()>>>";
        assert_eq!(short(&frame(name, TOKIO)), "<tokio::runtime::runtime::Runtime>::block_on::<…>");
        assert_eq!(short(&frame("Vec<T>::push", STD)), "Vec<T>::push");
    }
}
