//! Each kind of divergence, and an alteration that leads to it.

use std::collections::BTreeMap;
use std::time::Duration;

use rrtest_engine::ending::{Ending, Overdue};
use rrtest_engine::schedule::StrategyName::{self, Fair, Walk};
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::event::{Effect, Event, Extent, Parked, Signal, Stream, Syscall, Written};

use rrtest_engine::tracee::buffered_calls;
use rrtest_preload::layout::HandOver;

use crate::altered::{Outcome, Replays};
use crate::tiny::{self, Recorded};

/// A kind of divergence: what it is, the program that is recorded, what is altered, and a part of what the replay
/// must say.
type Alteration = (&'static str, (&'static str, StrategyName), fn(&mut Vec<Event>), &'static str);

/// All of them.
#[rustfmt::skip]
const KINDS: &[Alteration] = &[
    // The sequence of events.
    ("nothing at all", ("calls", Walk), |events| events.clear(), "expected: the program's image"),
    ("no image first", ("calls", Walk), |events| drop(events.remove(0)), "expected: the program's image"),
    ("a second image", ("calls", Walk), |events| { let image = events[0].clone(); events.insert(2, image) }, "found: a second process image"),
    ("no end", ("calls", Walk), |events| drop(events.pop()), "expected: the end of the program; found: nothing"),
    ("an end too early", ("calls", Walk), |events| { let end = events.pop(); events.truncate(8); events.extend(end) }, "found: a program that goes on"),
    // Who runs, and for how long.
    ("a task that there is not", ("threads", Walk), |events| run(events, 2, |task, _| *task = TaskId(7)), "expected: a living task and a timeslice; found: task 7"),
    ("no time", ("threads", Walk), |events| run(events, 2, |_, slice| *slice = 0), "expected: a living task and a timeslice; found: task 0, 0 ticks"),
    ("another task", ("threads", Walk), |events| run(events, 3, |task, _| *task = TaskId(1 - task.0)), "expected: "),
    ("more time", ("ticks", Walk), |events| before_tick(events, |slice| *slice += 1), "expected: "),
    ("less time", ("ticks", Walk), |events| before_tick(events, |slice| *slice -= 1), "expected: "),
    ("a tick that does not come", ("ticks", Walk), |events| { let at = find(events, 0, |event| matches!(event, Event::Tick(_))); let tick = events[at].clone(); events.insert(at, tick) }, "expected: the end of the timeslice"),
    ("a longer timeslice", ("threads", Walk), |events| { let at = of_call(events, libc::SYS_clone); events.insert(at, Event::Cut(u64::MAX)) }, "expected: a shorter timeslice"),
    // Positions.
    ("fewer ticks left", ("calls", Walk), |events| position(events, |it| it.left -= 1), "expected: "),
    ("another instruction", ("calls", Walk), |events| position(events, |it| it.registers.set_ip(it.registers.ip() + 1)), "expected: "),
    ("another stack", ("calls", Walk), |events| position(events, |it| it.registers.0[19] -= 8), "expected: "),
    ("other registers", ("calls", Walk), |events| position(events, |it| it.registers.0[3] ^= 1), "r12 0x"),
    // Calls.
    ("another call", ("calls", Walk), |events| call(events, libc::SYS_pipe2, |call| call.number = libc::SYS_pipe as u64), "expected: pipe("),
    ("another argument", ("calls", Walk), |events| call(events, libc::SYS_pipe2, |call| call.args[1] = 1), "expected: pipe2(0x7ff"),
    ("a call that is not made", ("calls", Walk), |events| { let at = of_call(events, libc::SYS_pipe2); let again = events[at].clone(); events.insert(at, again) }, "expected: pipe2("),
    ("a call that nothing tells of", ("calls", Walk), |events| { let at = of_call(events, libc::SYS_pipe2); events.remove(at); }, "found: pipe2("),
    ("a call of a task that has ended", ("threads", Walk), |events| { let at = of_call(events, libc::SYS_exit); let again = events[at].clone(); events.insert(at, again) }, "one that has ended"),
    ("other output", ("threads", Walk), |events| output(events, |_, bytes| bytes[0] ^= 1), "bytes to standard output: `"),
    ("less output", ("threads", Walk), |events| output(events, |_, bytes| bytes.truncate(bytes.len() - 1)), "bytes to standard output: `"),
    ("other bytes that are written", ("calls", Walk), |events| { let at = given(events); call_at(events, at, |call| call.given ^= 1) }, "bytes with digest"),
    ("another path", ("calls", Walk), |events| call(events, libc::SYS_open, |call| call.names[0].0[5] ^= 1), "expected: open of `/dev/{ero`; found: open of `/dev/zero`"),
    ("no path", ("calls", Walk), |events| call(events, libc::SYS_open, |call| call.names.clear()), "expected: open of ; found: open of `/dev/zero`"),
    ("other bytes that were read", ("calls", Walk), |events| call(events, libc::SYS_read, |call| call.writes[0].bytes[0] ^= 1), "expected: "),
    ("another result", ("calls", Walk), |events| call(events, libc::SYS_getpid, |call| call.result += 1), "bytes to standard output: `"),
    // Calls that do not stop.
    ("calls without a stop that nothing tells of", ("calls", Walk), |events| { let at = buffered(events); events.remove(at); }, "expected: "),
    ("fewer calls without a stop", ("calls", Walk), |events| log(events, Vec::clear), "expected: prctl("),
    ("another call without a stop", ("calls", Walk), |events| log(events, |log| log[4] ^= 2), "expected: close = 22, made without a stop"),
    ("another path without a stop", ("calls", Walk), |events| opened(events, |path| path[5] ^= 1), "expected: openat of `/dev/oull`; found: openat of `/dev/null`"),
    ("calls without a stop after the end", ("calls", Walk), |events| { let at = buffered(events); let again = events[at].clone(); let end = events.len() - 2; events.insert(end, again) }, "expected: "),
    ("more calls without a stop than there is room for", ("calls", Walk), |events| log(events, |log| log.resize(4 << 20, 0)), "expected: a log of calls"),
    // The code of the program.
    ("a call site elsewhere", ("calls", Walk), |events| patched(events, |it| it.site += 1), "expected: a system call at"),
    ("a call site of another task", ("calls", Walk), |events| patched(events, |it| it.here[0] = TaskId(3)), "expected: the running task"),
    ("a call site of a task that does not wait", ("calls", Walk), |events| patched(events, |it| it.here.push(TaskId(3))), "expected: a task that stands at a call"),
    ("a call site that nothing tells of", ("calls", Walk), |events| { let at = find(events, 0, |event| matches!(event, Event::Patched(_))); events.remove(at); }, "expected: "),
    ("a stub outside of its place", ("calls", Walk), |events| patched(events, |it| it.stub = 0x1000), "expected: the address of a stub"),
    ("reads of a task that there is not", ("reads", Fair), |events| moved(events, |it| it.task = TaskId(3)), "expected: a task"),
    ("the stub of a read outside of its place", ("reads", Fair), |events| moved(events, |it| { it.moved[0].stub = 0x1000; it.moved[0].stub_code = vec![0x90] }), "expected: the address of a stub"),
    ("a read that nothing tells of", ("reads", Fair), |events| log(events, Vec::clear), "expected: "),
    ("a read that is none", ("calls", Walk), |events| { let at = of_call(events, libc::SYS_getpid); events[at] = Event::Drained(*events[at].position().expect("a position")) }, "expected: an instruction that reads a clock or the like"),
    ("a trap that is none", ("traps", Fair), |events| { let trap = trap(events); events.insert(5, events[trap].clone()) }, "expected: "),
    ("a trap elsewhere", ("traps", Fair), |events| { let at = trap(events); let Event::TrappedRead(read) = &mut events[at] else { panic!() }; read.position.registers.0[16] += 1 }, "expected: "),
    ("a trap that gives something else", ("traps", Fair), |events| { let at = trap(events); let Event::TrappedRead(read) = &mut events[at] else { panic!() }; read.value += 1 }, "bytes to standard output: `"),
    // Tasks and processes.
    ("a new task of another number", ("threads", Walk), |events| call(events, libc::SYS_clone, |call| call.effect = Effect::Spawned(TaskId(5))), "expected: task 1; found: task 5"),
    ("no new task", ("threads", Walk), |events| call(events, libc::SYS_clone, |call| call.effect = Effect::None), "expected: a new task; found: None"),
    ("no new image", ("executes", Fair), |events| call(events, libc::SYS_execve, |call| call.effect = Effect::None), "expected: an image; found: None"),
    ("the death of a task that there is not", ("processes", Walk), |events| killed(events, TaskId(9)), "expected: a task; found: task 9"),
    ("the death of the first process", ("processes", Walk), |events| killed(events, TaskId(0)), "expected: a process other than the first"),
    ("memory of a task that there is not", ("calls", Walk), |events| events.insert(4, Event::Written(Written { task: TaskId(4), writes: Vec::new() })), "expected: a task; found: task 4"),
    ("a call that fails with an effect that it cannot have", ("calls", Walk), |events| call(events, libc::SYS_pipe2, |call| { call.result = -1; call.number = libc::SYS_munmap as u64; call.effect = Effect::Spawned(TaskId(1)) }), "expected: munmap("),
    // Who waits for its turn in the process.
    ("another task that waits for its turn", ("threads", Fair), |events| events.insert(4, Event::Parked(Parked { task: TaskId(1), slot: 0 })), "expected: the running task"),
    ("a wait for a turn at another call", ("calls", Walk), |events| events.insert(4, Event::Parked(Parked { task: TaskId(0), slot: 0 })), "expected: a wait for a futex"),
    ("no wait for a turn to end", ("threads", Fair), |events| events.insert(4, Event::Unparked(TaskId(0))), "expected: a task that waits for its turn"),
    ("no task whose turn could come", ("threads", Fair), |events| events.insert(4, Event::Unparked(TaskId(8))), "expected: a task that waits for its turn"),
    ("a turn that does not come", ("threads", Fair), |events| { let at = find(events, 0, |event| matches!(event, Event::Parked(_))); events.remove(at); }, "expected: "),
    ("a turn without time", ("threads", Fair), |events| handed(events, |it| it.slice = 0), "expected: a living task and a timeslice"),
    ("a turn of a task that there is not", ("threads", Fair), |events| handed(events, |it| it.task = 9), "expected: a living task and a timeslice"),
    ("a turn of another task", ("threads", Fair), |events| handed(events, |it| it.task = 1 - it.task), "expected: "),
    ("a turn in another slot", ("threads", Fair), |events| handed(events, |it| it.to += 1), "expected: "),
    ("a turn of less time", ("threads", Fair), |events| handed(events, |it| it.slice -= 1), "expected: "),
    ("a turn from another slot", ("threads", Fair), |events| handed(events, |it| it.from += 1), "expected: "),
    ("a turn earlier", ("threads", Fair), |events| handed(events, |it| it.left += 1), "expected: "),
    ("a turn on another stack", ("threads", Fair), |events| handed(events, |it| it.sp += 8), "expected: "),
    // Signals.
    ("another fault", ("signals", Walk), |events| signal(events, |signal| signal.fault, |signal| signal.number = libc::SIGFPE), "expected: signal 8 raised by an instruction"),
    ("a fault that is none", ("signals", Walk), |events| signal(events, |signal| !signal.fault, |signal| signal.fault = true), "raised by an instruction"),
    ("a signal elsewhere", ("signals", Walk), |events| signal(events, |signal| !signal.fault, |signal| signal.position.registers.0[16] += 1), "expected: "),
    ("a signal that nothing tells of", ("signals", Walk), |events| { let at = find(events, 0, |event| matches!(event, Event::Signal(_))); events.remove(at); }, "expected: "),
    ("a signal that kills", ("signals", Walk), |events| signal(events, |signal| !signal.fault, |signal| signal.handler = None), "expected: "),
    // Moments where nothing counts.
    ("a moment that does not come", ("spins", Fair), |events| async_stop(events, |it| it.registers.0[0] ^= 1), "expected: "),
    ("a moment of more memory than there is", ("spins", Fair), |events| async_stop(events, |it| it.memory.push(Extent { address: 0, len: u64::MAX, digest: 0 })), "expected: a digest of some memory"),
    // The ending.
    ("another exit code", ("calls", Walk), |events| ending(events, Ending::Exited(1)), "expected: exit code 1; found: exit code 0"),
    ("a death by a signal", ("calls", Walk), |events| ending(events, Ending::Killed { signal: libc::SIGTERM, task: TaskId(0), tasks: Vec::new() }), "found: exit code 0"),
    ("a death by another signal", ("signals", Walk), |events| ending(events, Ending::Killed { signal: libc::SIGTERM, task: TaskId(0), tasks: Vec::new() }), "found: signal 11"),
    ("a hang", ("calls", Walk), |events| ending(events, Ending::Hung { why: Overdue::Limit, tasks: Vec::new(), spun: 0 }), "found: exit code 0"),
    ("a deadlock", ("calls", Walk), |events| ending(events, Ending::Deadlocked(Vec::new())), "found: exit code 0"),
];

fn find(events: &[Event], from: usize, wanted: impl Fn(&Event) -> bool) -> usize {
    from + events[from..].iter().position(wanted).expect("an event of this kind")
}

fn of_call(events: &[Event], number: i64) -> usize {
    find(events, 0, |event| matches!(event, Event::Syscall(call) if call.number == number as u64))
}

fn call_at(events: &mut [Event], at: usize, alter: impl Fn(&mut Syscall)) {
    let Event::Syscall(call) = &mut events[at] else { panic!("no call") };
    alter(call);
}

fn call(events: &mut [Event], number: i64, alter: impl Fn(&mut Syscall)) {
    let at = of_call(events, number);
    call_at(events, at, alter);
}

/// The first call whose bytes are compared by their digest.
fn given(events: &[Event]) -> usize {
    let is_compared = |call: &Syscall| call.given != 0 && matches!(call.effect, Effect::None);
    find(events, 0, |event| matches!(event, Event::Syscall(call) if is_compared(call)))
}

fn output(events: &mut [Event], alter: impl Fn(&mut Stream, &mut Vec<u8>)) {
    let writes = |event: &Event| matches!(event, Event::Syscall(Syscall { effect: Effect::Output(..), .. }));
    let at = find(events, 0, writes);
    call_at(events, at, |call| {
        if let Effect::Output(stream, bytes) = &mut call.effect {
            alter(stream, bytes);
        }
    });
}

/// Alters the run of this number.
fn run(events: &mut [Event], number: usize, alter: impl Fn(&mut TaskId, &mut u64)) {
    let runs = events.iter_mut().filter_map(|event| match event {
        Event::Run { task, slice, .. } => Some((task, slice)),
        _ => None,
    });
    let (task, slice) = runs.into_iter().nth(number).expect("a run");
    alter(task, slice);
}

/// Alters the timeslice that ends with the first tick.
fn before_tick(events: &mut [Event], alter: impl Fn(&mut u64)) {
    let tick = find(events, 0, |event| matches!(event, Event::Tick(_)));
    let run = events[..tick].iter_mut().rev().find_map(|event| match event {
        Event::Run { slice, .. } => Some(slice),
        _ => None,
    });
    alter(run.expect("a run"));
}

fn position(events: &mut [Event], alter: impl Fn(&mut rrtest_engine::trace::event::Position)) {
    call(events, libc::SYS_pipe2, |call| alter(&mut call.position));
}

fn buffered(events: &[Event]) -> usize {
    find(events, 0, |event| matches!(event, Event::Buffered(_)))
}

fn log(events: &mut [Event], alter: impl Fn(&mut Vec<u8>)) {
    let at = buffered(events);
    let Event::Buffered(log) = &mut events[at] else { panic!("no log") };
    alter(log);
}

/// Alters the path of the first file that is opened without a stop.
fn opened(events: &mut [Event], alter: impl Fn(&mut [u8])) {
    let opens = |event: &Event| match event {
        Event::Buffered(log) => buffered_calls(log).any(|call| call.opened().is_some()),
        _ => false,
    };
    let at = find(events, 0, opens);
    let Event::Buffered(log) = &mut events[at] else { panic!("no log") };
    let (_, path) = buffered_calls(log).find_map(|call| call.opened()).expect("a path");
    let (start, len) = (path.as_ptr().addr() - log.as_ptr().addr(), path.len());
    alter(&mut log[start..start + len]);
}

/// Alters the first time that a task hands the core over to another.
fn handed(events: &mut [Event], alter: impl Fn(&mut HandOver)) {
    log(events, |log| {
        let payload = |log: &[u8]| {
            let call = buffered_calls(log).find(|call| call.handed.is_some()).expect("a hand-over");
            (call.payload.as_ptr().addr() - log.as_ptr().addr(), call.handed.expect("a hand-over"))
        };
        let (at, mut handed) = payload(log);
        alter(&mut handed);
        let HandOver { slice, task, to, from, left, sp } = handed;
        let words = [
            &slice.to_ne_bytes()[..],
            &task.to_ne_bytes(),
            &to.to_ne_bytes(),
            &from.to_ne_bytes(),
            &left.to_ne_bytes(),
            &sp.to_ne_bytes(),
        ];
        let words = words.concat();
        log[at..][..words.len()].copy_from_slice(&words);
        assert_eq!(payload(log).1, handed);
    });
}

fn patched(events: &mut [Event], alter: impl Fn(&mut rrtest_engine::trace::event::Patched)) {
    let at = find(events, 0, |event| matches!(event, Event::Patched(_)));
    let Event::Patched(patched) = &mut events[at] else { panic!("no call site") };
    alter(patched);
}

fn moved(events: &mut [Event], alter: impl Fn(&mut rrtest_engine::trace::event::MovedReads)) {
    let at = find(events, 0, |event| matches!(event, Event::MovedReads(_)));
    let Event::MovedReads(moved) = &mut events[at] else { panic!("no reads") };
    alter(moved);
}

fn trap(events: &[Event]) -> usize {
    find(events, 0, |event| matches!(event, Event::TrappedRead(_)))
}

fn killed(events: &mut [Event], task: TaskId) {
    let at = find(events, 0, |event| matches!(event, Event::Killed(_)));
    events[at] = Event::Killed(task);
}

fn signal(events: &mut [Event], wanted: impl Fn(&Signal) -> bool, alter: impl Fn(&mut Signal)) {
    let at = find(events, 0, |event| matches!(event, Event::Signal(signal) if wanted(signal)));
    let Event::Signal(signal) = &mut events[at] else { panic!("no signal") };
    alter(signal);
}

fn async_stop(events: &mut [Event], alter: impl Fn(&mut rrtest_engine::trace::event::AsyncStop)) {
    let at = find(events, 0, |event| matches!(event, Event::AsyncStop(_)));
    let Event::AsyncStop(async_stop) = &mut events[at] else { panic!("no moment") };
    alter(async_stop);
}

fn ending(events: &mut [Event], ending: Ending) {
    *events.last_mut().expect("an end") = Event::Ended(ending);
}

#[test]
fn each_kind_is_named() {
    let mut recordings: BTreeMap<&str, Recorded> = BTreeMap::new();
    let mut others = Vec::new();
    for (name, (program, strategy), alter, says) in KINDS {
        let recorded = recordings
            .entry(format!("{program} {strategy}").leak())
            .or_insert_with(|| tiny::record(program, *strategy));
        let mut events = recorded.events.clone();
        alter(&mut events);
        // A moment that does not come is waited for that long.
        let outcome = Replays::of(recorded).patience(Duration::from_secs(2)).outcome(name, &events);
        let text = match &outcome {
            Outcome::Diverged(it) => format!("expected: {}; found: {}", it.expected, it.found),
            other => format!("{other:?}"),
        };
        if !matches!(outcome, Outcome::Diverged(_) | Outcome::Damaged(_)) || !text.contains(says) {
            others.push(format!("{name}: {text}, not `{says}`"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
