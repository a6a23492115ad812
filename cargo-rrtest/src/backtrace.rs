//! Stacks, shortened to what their reader has written: as `RUST_BACKTRACE=1` does it, and without the library's frames.

use std::path::Path;

use rrtest_engine::ending::Frame;

use crate::display::relative;

/// Where the sources of std are, according to its debug information.
const STD_SOURCES: &str = "/rustc/";

/// The frame below which a thread belongs to the runtime.
const BEGIN: &str = "__rust_begin_short_backtrace";

/// How much of a stack to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// Everything.
    All,
    /// What is not std's or the runtime's, and what of theirs it called.
    Own,
}

/// A stack, innermost frame first, one line a frame.
pub(crate) fn lines(frames: &[Frame], which: Frames) -> Vec<String> {
    match which {
        Frames::All => frames.iter().map(|frame| line(frame, true)).collect(),
        Frames::Own => own(frames).map(|frame| line(frame, is_own(frame))).collect(),
    }
}

fn own(frames: &[Frame]) -> impl Iterator<Item = &Frame> {
    let begin =
        frames.iter().position(|frame| frame.function.as_ref().is_some_and(|name| name.contains(BEGIN)));
    let frames = &frames[..begin.unwrap_or(frames.len())];
    let first = frames.iter().position(is_own);
    // The function of the library that was called names what the thread does: `Mutex::lock`, `memcpy`.
    let called = first.and_then(|first| frames.get(first.checked_sub(1)?));
    called.into_iter().chain(frames.iter().filter(|frame| is_own(frame)))
}

fn is_own(frame: &Frame) -> bool {
    frame.location.as_ref().is_some_and(|(file, _)| !file.starts_with(STD_SOURCES))
}

fn line(frame: &Frame, with_location: bool) -> String {
    let function = frame.function.clone().unwrap_or_else(|| format!("{:#x}", frame.address));
    match &frame.location {
        Some((file, line)) if with_location => {
            format!("{function} at {}:{line}", relative(Path::new(file)).display())
        }
        _ => function,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: Option<&str>) -> Frame {
        Frame {
            address: 0x10,
            function: Some(function.to_owned()),
            location: file.map(|file| (file.to_owned(), 7)),
        }
    }

    #[test]
    fn own_frames_and_what_they_called() {
        let std = Some("/rustc/0/library/std/src/x.rs");
        let frames = [
            frame("syscall", None),
            frame("futex_wait", std),
            frame("Mutex::lock", std),
            frame("p::f", Some("/p/src/lib.rs")),
            frame("call_once", std),
            frame("p::main", Some("/p/src/lib.rs")),
            frame("std::__rust_begin_short_backtrace", std),
            frame("start", Some("/elsewhere.c")),
        ];
        let own = lines(&frames, Frames::Own);
        assert_eq!(own, ["Mutex::lock", "p::f at /p/src/lib.rs:7", "p::main at /p/src/lib.rs:7"]);
        assert_eq!(lines(&frames, Frames::All).len(), frames.len());
    }

    #[test]
    fn a_stack_of_the_runtime_alone_is_nothing_to_show() {
        assert!(lines(&[frame("syscall", None), frame("start", None)], Frames::Own).is_empty());
        assert!(lines(&[], Frames::Own).is_empty());
    }

    #[test]
    fn an_own_frame_on_top_stands_for_itself() {
        assert_eq!(lines(&[frame("p::f", Some("/p/src/lib.rs"))], Frames::Own), ["p::f at /p/src/lib.rs:7"]);
    }
}
