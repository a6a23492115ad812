//! Runs for the tests of this room.

use rrtest_engine::ending::Frame;
use rrtest_engine::history::{At, History, Lost, Operation, Thread, Turn, What};
use rrtest_engine::task::TaskId;
use rrtest_preload::layout::AccessKind;

/// A turn from one tick to another.
pub(super) fn turn(task: u32, from: u64, to: u64, why: Lost) -> Turn {
    let at = |ticks| At { ticks, calls: 0 };
    Turn { task: TaskId(task), from: at(from), to: at(to), why }
}

/// A run with these turns.
pub(super) fn history(turns: Vec<Turn>) -> History {
    let count = turns.iter().map(|turn| turn.task.0 + 1).max().unwrap_or_default();
    let thread = |task| Thread { task: TaskId(task), name: format!("t{task}"), process: TaskId(0) };
    let end = turns.last().map(|turn| turn.to).unwrap_or_default();
    History { threads: (0..count).map(thread).collect(), turns, end, ..History::default() }
}

/// An access at a line of a file of the user's own.
pub(super) fn access(task: u32, tick: u64, kind: AccessKind, address: u64, line: u32) -> Operation {
    let frame = |function: &str, file: &str| Frame {
        address: 1,
        function: Some(function.to_owned()),
        location: Some((file.to_owned(), line)),
    };
    Operation {
        task: TaskId(task),
        tick,
        moment: (7, tick),
        what: What::Access { kind, address, len: Some(8), value: Some(tick) },
        is_done: true,
        frames: vec![
            frame("core::sync::atomic::AtomicU64::load", "/rustc/0/library/core/src/sync/atomic.rs"),
            frame("p::add", "/p/src/lib.rs"),
        ],
    }
}
