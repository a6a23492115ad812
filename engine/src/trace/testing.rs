//! What the tests of this room share.

use std::process::Command;
use std::time::Duration;

use super::event::{
    AsyncStop, Backing, Effect, Event, Extent, FileChange, FileId, FileRange, Handler, Image, Inode, Load,
    Mapping, MovedRead, MovedReads, Name, Parked, Patched, Position, Registers, Signal, Stream, Syscall,
    TrappedRead, Vectors, Write, Written,
};
use crate::ending::{Awaited, Ending, Frame, Overdue, TaskState, Wait};
use crate::task::TaskId;

/// A write(2) of `len` bytes to standard output, as the `n`th event of its kind.
pub(super) fn output(n: u64, len: usize) -> Event {
    let bytes = (0..len).map(|at| (at as u64 * n) as u8).collect();
    Event::Syscall(Syscall {
        writes: vec![Write { address: 0x5555_0000 + n, bytes }],
        effect: Effect::Output(Stream::Stdout, b"some text".to_vec()),
        ..syscall(n)
    })
}

/// At least one event of every kind, with every option taken and not taken, and extreme values.
pub(super) fn every_kind() -> Vec<Event> {
    let registers = Registers(std::array::from_fn(|n| u64::MAX - n as u64));
    let range = FileRange { file: FileId(3), offset: 1 << 40, len: u64::MAX };
    let write = Write { address: u64::MAX, bytes: (0..=255).collect() };
    let backing = Backing {
        inode: Inode(u32::MAX),
        size: u64::MAX,
        offset: 4096,
        len: 1,
        stored: true,
        loads: vec![Load { at: 8192, contents: range }],
    };
    let change =
        FileChange { inode: Inode(0), size: 0, writes: vec![write.clone()], holes: vec![(1, u64::MAX)] };
    let mapping = |file| Mapping { start: 0x7fff_ffff_f000, len: 4096, prot: 7, room: u64::MAX, file };
    let image = Image {
        program: "/tmp/ünïcode".to_owned(),
        mappings: vec![mapping(None), mapping(Some(backing.clone()))],
        writes: vec![write.clone(), Write { address: 0, bytes: Vec::new() }],
        registers,
    };
    let signal = |handler| Signal { position: position(5), number: i32::MIN, fault: true, handler };
    let mut events = vec![
        Event::Image(image),
        Event::Run { task: TaskId(u32::MAX), slice: u64::MAX, preempts: true },
        Event::Tick(position(u64::MAX)),
        Event::Entered(position(3)),
        Event::Buffer(u32::MAX),
        Event::Patched(Patched {
            site: 0x1000,
            code: vec![0xff; 8],
            stub: 0x2000,
            stub_code: vec![0x90; 128],
            here: vec![TaskId(0), TaskId(1)],
            traced: 0x2018,
            places: vec![(8, 0), (127, i64::MIN)],
        }),
        Event::Buffered(vec![1; 48]),
        Event::Cut(u64::MAX),
        Event::Parked(Parked { task: TaskId(1), slot: u32::MAX }),
        Event::Unparked(TaskId(1)),
        Event::Written(Written { task: TaskId(3), writes: vec![write.clone()] }),
        Event::AsyncStop(AsyncStop {
            position: position(6),
            registers,
            key: Some(255),
            words: vec![(0x5555_0000, u64::MAX), (0, 0)],
            memory: vec![Extent { address: u64::MAX, len: 1, digest: 7 }],
            vectors: Vectors { low: [u64::MAX; 16], digest: u32::MAX },
        }),
        Event::MovedReads(MovedReads {
            task: TaskId(2),
            moved: vec![MovedRead {
                site: u64::MAX,
                code: vec![0xcc],
                stub: 1,
                stub_code: Vec::new(),
                places: vec![(0, i64::MAX)],
            }],
        }),
        Event::Drained(position(4)),
        Event::TrappedRead(TrappedRead {
            position: position(5),
            what: u32::MAX,
            len: 15,
            value: u64::MAX,
            more: [u32::MAX; 4],
        }),
        Event::Signal(signal(None)),
        Event::Signal(signal(Some(Handler { registers, writes: vec![write] }))),
        output(7, 100),
    ];
    let effects = [
        Effect::None,
        Effect::Output(Stream::Stdout, Vec::new()),
        Effect::Output(Stream::Stderr, vec![0, 0xff]),
        Effect::MapFile(backing),
        Effect::ChangeFile(change),
        Effect::Unmap(vec![(u64::MAX, 1), (0, u64::MAX)]),
        Effect::Advised(u64::MAX),
        Effect::Spawned(TaskId(9)),
    ];
    events.extend(effects.map(|effect| Event::Syscall(Syscall { effect, ..syscall(i64::MAX as u64) })));
    events.extend(every_ending().map(Event::Ended));
    events
}

/// Every way to end.
pub(super) fn every_ending() -> [Ending; 8] {
    let frame = |function: Option<&str>, line| Frame {
        address: 0x1234,
        function: function.map(str::to_owned),
        location: line,
    };
    let state = TaskState {
        task: TaskId(1),
        name: "worker".to_owned(),
        doing: "waits on a futex".to_owned(),
        wait: Some(Wait {
            on: Awaited::Mutex,
            futex: Some(0x10),
            what: None,
            by: vec![TaskId(2)],
            gone: Some((TaskId(3), "gone".to_owned())),
            limited: true,
        }),
        spawned: Some(("src/lib.rs".to_owned(), 3)),
        awaits: vec![frame(Some("a::Future"), None)],
        frames: vec![frame(None, None), frame(Some("lock"), Some(("src/lib.rs".to_owned(), 7)))],
    };
    [
        Ending::Exited(-1),
        Ending::Killed { signal: 11, task: TaskId(1), tasks: vec![state.clone()] },
        Ending::Deadlocked(vec![state.clone(), state]),
        Ending::Hung { why: Overdue::Limit, tasks: Vec::new(), spun: u64::MAX },
        Ending::Hung { why: Overdue::NothingDue(Duration::MAX), tasks: Vec::new(), spun: 0 },
        Ending::Hung {
            why: Overdue::Unusual { took: Duration::new(1, 2), usual: Duration::ZERO },
            tasks: Vec::new(),
            spun: 0,
        },
        Ending::Hung { why: Overdue::CutOff(Duration::ZERO), tasks: Vec::new(), spun: 0 },
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
        given: u32::MAX,
        names: vec![Name(b"/tmp/\xff".to_vec()), Name(Vec::new())],
        effect: Effect::None,
    }
}

fn position(left: u64) -> Position {
    Position { left, registers: Registers(std::array::from_fn(|n| (n as u64) << 59 | left)) }
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
