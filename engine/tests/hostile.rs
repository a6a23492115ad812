//! Traces that somebody has crafted: their replays do nothing to anybody.

#[path = "programs/made.rs"]
mod made;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use made::common::{GO_ON, PATIENCE, core};
use made::{compile, record, text};
use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::record::Recording;
use rrtest_engine::replay::{Options, replay};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::event::{Event, FileRange, Signal, Stream, Write, Written};
use rrtest_engine::trace::log::Log;
use rrtest_engine::trace::{Bytes, Machine, Source, TraceError};
use rrtest_engine::tracee::buffered_calls;

/// How to replay, with the output going to `output`.
fn options<'a>(output: &'a mut dyn FnMut(Stream, &[u8])) -> Options<'a> {
    Options { core: core(), stop: &GO_ON, patience: PATIENCE, watch: &[], output }
}

/// A recording with other events.
struct Altered<'a> {
    events: Vec<Event>,
    log: &'a Log,
    machine: Machine,
}

impl<'a> Altered<'a> {
    fn new(log: &'a Log, events: Vec<Event>) -> Self {
        Self { events, log, machine: log.machine().clone() }
    }
}

impl Source for Altered<'_> {
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        Box::new(self.events.iter().cloned().map(Ok))
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn file(&self, range: FileRange) -> Result<Bytes, TraceError> {
        self.log.file(range)
    }
}

/// A program that could do harm, and what it could do harm to.
struct Scene {
    _directory: tempfile::TempDir,
    file: PathBuf,
    socket: UdpSocket,
    victim: Child,
    recording: Recording,
}

impl Scene {
    fn new(program: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile(program, directory.path());
        let file = directory.path().join("escaped");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("a socket that does not wait");
        let victim =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process");
        let port = socket.local_addr().expect("an address").port().to_string();
        let args = [file.to_str().expect("a name"), &port, &victim.id().to_string()];
        // The recorder takes all children of its thread's for its own.
        let made = || record(&program, &args, directory.path(), StrategyName::Fair, 0);
        let recording = std::thread::scope(|scope| scope.spawn(made).join()).expect("a recording");
        assert_eq!(recording.ending, Ending::Exited(0));
        // What the program itself has made.
        let _ = std::fs::remove_file(&file);
        Self { file, socket, victim, recording, _directory: directory }
    }

    fn events(&self) -> Vec<Event> {
        self.recording.log.events().collect::<Result<_, _>>().expect("events")
    }

    /// The address that the program tells.
    fn evil(&self) -> u64 {
        let said = text(&self.recording.output);
        u64::from_str_radix(said.trim().trim_start_matches("0x"), 16).expect("an address")
    }

    /// Replay these events: it is a divergence, and nothing has happened.
    fn is_harmless(&mut self, what: &str, events: Vec<Event>) {
        self.is_harmless_for(PATIENCE, what, events);
    }

    fn is_harmless_for(&mut self, patience: Duration, what: &str, events: Vec<Event>) {
        let altered = Altered::new(&self.recording.log, events);
        let replayed = replay(&altered, Options { patience, ..options(&mut |_, _| {}) });
        assert!(!self.file.exists(), "{what}: a file was made");
        assert!(self.socket.recv(&mut [0; 16]).is_err(), "{what}: a packet was sent");
        assert!(self.victim.try_wait().expect("its state").is_none(), "{what}: a process was killed");
        assert!(matches!(replayed, Err(Error::Diverged(_))), "{what}: {replayed:?}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

#[test]
fn code_of_a_trace_cannot_make_calls_from_where_ours_can() {
    let mut scene = Scene::new("hostile");
    replay(&scene.recording.log, options(&mut |_, _| {})).expect("a faithful replay");
    let evil = scene.evil();
    for (how, what) in [
        (1_u32, "open from the buffer"),
        (2, "open from the injected code"),
        (3, "open from a list of calls"),
        (4, "a socket"),
        (5, "kill"),
        (6, "a process"),
        (7, "a write to the injected code"),
        (8, "other memory in place of the injected code"),
        (9, "a writable area"),
        (10, "no area"),
        (11, "a futex of its own"),
        (12, "a file's memory"),
        (13, "the middle of a path"),
        (14, "a file that is created"),
    ] {
        let mut events = scene.events();
        let call = events.iter_mut().find_map(|event| match event {
            Event::Syscall(call) if call.number == libc::SYS_getppid as u64 => Some(call),
            _ => None,
        });
        call.expect("the call").writes.push(Write { address: evil, bytes: how.to_ne_bytes().to_vec() });
        scene.is_harmless(what, events);
    }
}

#[test]
fn a_task_whose_turn_it_is_not_makes_no_call() {
    let mut scene = Scene::new("hostile_turns");
    replay(&scene.recording.log, options(&mut |_, _| {})).expect("a faithful replay");
    let events = scene.events();
    let hands_over = |event: &Event| match event {
        Event::Buffered(log) => buffered_calls(log).filter(|call| call.handed.is_some()).count() > 3,
        _ => false,
    };
    let at = events.iter().position(hands_over).expect("threads that hand over among themselves");
    let address = scene.evil();
    let woken = |how: u32| {
        let writes = vec![Write { address, bytes: how.to_ne_bytes().to_vec() }];
        let mut events = events.clone();
        events.insert(at, Event::Written(Written { task: TaskId(0), writes }));
        events
    };
    scene.is_harmless("a task woken out of turn", woken(1));
    // It never comes to an event, and neither does the task whose turn it is.
    scene.is_harmless_for(Duration::from_secs(5), "a task that faults out of turn", woken(2));
}

/// Events in an order in which no recorder writes them.
#[test]
fn a_call_that_a_task_stands_at_is_not_made_by_what_follows() {
    let mut scene = Scene::new("hostile");
    let events = scene.events();
    let is_open =
        |event: &Event| matches!(event, Event::Syscall(call) if call.number == libc::SYS_open as u64);
    let at = events.iter().rposition(is_open).expect("the call");
    let Event::Syscall(call) = &events[at] else { unreachable!("it is a call") };
    let position = call.position;
    let signal = |fault, number| Event::Signal(Signal { position, number, fault, handler: None });
    for (what, follow) in [
        ("a fault", vec![signal(true, libc::SIGSEGV)]),
        ("a signal and a tick", vec![signal(false, libc::SIGTERM), Event::Tick(position)]),
        ("a signal and a fault", vec![signal(false, libc::SIGTERM), signal(true, libc::SIGSEGV)]),
        ("a read", vec![Event::Drained(position)]),
    ] {
        let mut events = events.clone();
        events.splice(at..=at, [vec![Event::Entered(position)], follow].concat());
        scene.is_harmless(what, events);
    }
}

#[test]
fn the_buffer_of_another_version_is_refused() {
    let scene = Scene::new("hostile");
    let mut events = scene.events();
    let version = events.iter_mut().find_map(|event| match event {
        Event::Buffer(version) => Some(version),
        _ => None,
    });
    *version.expect("a buffer") ^= 1;
    let altered = Altered::new(&scene.recording.log, events);
    let error = replay(&altered, options(&mut |_, _| {})).expect_err("a refusal").to_string();
    assert!(error.contains("system-call buffer") && error.contains("recording in memory"), "{error}");
    let _: &Path = &scene.file;
}

#[test]
fn what_another_processor_had_is_refused_before_anything_runs() {
    let scene = Scene::new("hostile");
    let mut machine = serde_json::to_value(scene.recording.log.machine()).expect("a machine");
    for word in machine["features"].as_array_mut().expect("words") {
        *word = u32::MAX.into();
    }
    let machine = serde_json::from_value(machine).expect("a machine");
    // Without any event: none is looked at.
    let altered = Altered { machine, ..Altered::new(&scene.recording.log, Vec::new()) };
    let error = replay(&altered, options(&mut |_, _| {})).expect_err("a refusal").to_string();
    // No processor has all that there ever was.
    assert!(
        error.contains("recording in memory` needs ") && error.contains(" more, which this processor"),
        "{error}"
    );
    assert!(error.contains("record with `--cpu v2`"), "{error}");
}
