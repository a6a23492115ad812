//! What the tests of this room share.

use std::process::Command;

use super::event::{
    Counter, Effect, Event, FileId, FileRange, Handler, Image, Mapping, Position, Registers, Signal, Stream,
    Syscall, Write,
};
use crate::ending::{Ending, Frame, TaskState};
use crate::task::TaskId;

/// A write(2) of `len` bytes to standard output, as the `n`th event of its kind.
pub(super) fn output(n: u64, len: usize) -> Event {
    let bytes = (0..len).map(|at| (at as u64 * n) as u8).collect();
    Event::Syscall(Syscall {
        writes: vec![Write { address: 0x5555_0000 + n, bytes }],
        effect: Effect::Output(Stream::Stdout),
        ..syscall(n)
    })
}

/// At least one event of every kind, with every option taken and not taken, and extreme values.
pub(super) fn every_kind() -> Vec<Event> {
    let registers = Registers(std::array::from_fn(|n| u64::MAX - n as u64));
    let range = FileRange { file: FileId(3), offset: 1 << 40, len: u64::MAX };
    let write = Write { address: u64::MAX, bytes: (0..=255).collect() };
    let mapping = |file| Mapping { start: 0x7fff_ffff_f000, len: 4096, prot: 7, room: u64::MAX, file };
    let image = Image {
        program: "/tmp/ünïcode".to_owned(),
        mappings: vec![mapping(None), mapping(Some(range))],
        writes: vec![write.clone(), Write { address: 0, bytes: Vec::new() }],
        registers,
    };
    let signal = |handler| Signal { position: position(5), number: i32::MIN, fault: true, handler };
    let mut events = vec![
        Event::Image(image),
        Event::Run { task: TaskId(u32::MAX), slice: u64::MAX, preempts: true },
        Event::Tick(position(u64::MAX)),
        Event::Entered(position(3)),
        Event::Cut(u64::MAX),
        Event::Counter(Counter { position: position(4), value: u64::MAX }),
        Event::Signal(signal(None)),
        Event::Signal(signal(Some(Handler { registers, writes: vec![write] }))),
        output(7, 100),
    ];
    let effects = [
        Effect::None,
        Effect::Output(Stream::Stdout),
        Effect::Output(Stream::Stderr),
        Effect::MapFile(range),
        Effect::Spawned(TaskId(9)),
    ];
    events.extend(effects.map(|effect| Event::Syscall(Syscall { effect, ..syscall(i64::MAX as u64) })));
    events.extend(every_ending().map(Event::Ended));
    events
}

/// Every way to end.
pub(super) fn every_ending() -> [Ending; 5] {
    let frame = |function: Option<&str>, line| Frame {
        address: 0x1234,
        function: function.map(str::to_owned),
        location: line,
    };
    let state = TaskState {
        task: TaskId(1),
        name: "worker".to_owned(),
        doing: "futex 0x10".to_owned(),
        frames: vec![frame(None, None), frame(Some("lock"), Some(("src/lib.rs".to_owned(), 7)))],
    };
    [
        Ending::Exited(-1),
        Ending::Killed { signal: 11, task: TaskId(1), tasks: vec![state.clone()] },
        Ending::Deadlocked(vec![state.clone(), state]),
        Ending::Hung(Vec::new()),
        Ending::Unsupported { what: "bpf".to_owned(), task: TaskId(0), name: "main".to_owned() },
    ]
}

fn syscall(n: u64) -> Syscall {
    Syscall {
        position: position(n),
        number: n,
        args: [n, 0, 1, u64::MAX, 127, 128],
        result: -(n as i64),
        writes: Vec::new(),
        effect: Effect::None,
    }
}

fn position(left: u64) -> Position {
    Position { left, ip: 0x5555_5555_1234, sp: 0x7fff_ffff_e000, digest: 0xdead_beef }
}

/// Run the body of the test named `test` in a process of its own, where it may set limits that hold for a process.
pub(super) fn in_own_process(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "RRTEST_TEST_IN_OWN_PROCESS";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.contains("1 passed"), "{}\n{stdout}\n{stderr}", output.status);
}
