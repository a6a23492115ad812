//! What a program waits for has two sides: whether both are its own, or another process has one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rrtest_engine::ending::{Awaited, Ending, Wait};
use rrtest_engine::record::{self, Outsiders, Recording};
use rrtest_engine::schedule::StrategyName;

use crate::common::{PATIENCE, program};
use crate::harness::{compile, options, replay_recording, text};

/// Kinds of which both sides are the program's own whoever comes.
const HELD: &[&str] = &[
    "tcp",
    "tcp-full",
    "waiting",
    "udp",
    "unix",
    "abstract",
    "unix-full",
    "flock",
    "ofd",
    "posix",
    "unlinked",
    "pidfd",
    "splice",
];

/// Kinds that somebody outside could come to by a name.
const NAMED: &[&str] = &["accept", "datagrams", "fifo", "fifo-open", "msg", "sem", "mq", "pty", "inotify"];

/// Kinds of which somebody else has the other side, and acts.
const SHARED: &[&str] = &[
    "tcp",
    "kept",
    "accept",
    "udp",
    "unix",
    "abstract",
    "flock",
    "posix",
    "ofd",
    "shared-lock",
    "fifo",
    "msg",
    "sem",
    "mq",
    "pty",
    "inotify",
];

/// Record the program by itself. What it leaves behind with the kernel is removed.
fn alone(
    path: &Path,
    kind: &str,
    strategy: StrategyName,
    outsiders: Outsiders,
    timeout: Duration,
) -> Recording {
    let directory = tempfile::tempdir().expect("a directory");
    let program = program(path, &["alone", kind], directory.path());
    let options = record::Options { outsiders, ..options(timeout, strategy, 1) };
    let recording = record::record(&program, &options).expect("a recording");
    let said = text(&recording);
    match kind {
        // SAFETY: neither takes a third argument for this.
        "msg" | "sem" => unsafe {
            let id = said.trim().parse().expect("an id");
            if kind == "msg" {
                libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut());
            } else {
                libc::semctl(id, 0, libc::IPC_RMID);
            }
        },
        "mq" => {
            let name = std::ffi::CString::new(said.trim()).expect("a name");
            // SAFETY: the name is a C string that lives.
            unsafe { libc::mq_unlink(name.as_ptr()) };
        }
        _ => {}
    }
    recording
}

fn check_deadlock(path: &Path, kind: &str, outsiders: Outsiders) {
    for strategy in [StrategyName::Fair, StrategyName::Pct] {
        let recording = alone(path, kind, strategy, outsiders, PATIENCE);
        assert!(
            matches!(recording.ending, Ending::Deadlocked(_)),
            "{kind}, {strategy}: {:?}, {}",
            recording.ending,
            text(&recording)
        );
        let (replayed, output) =
            replay_recording(&recording).unwrap_or_else(|error| panic!("{kind}, {strategy}: {error}"));
        assert_eq!(replayed.stats, recording.stats, "{kind}, {strategy}");
        assert_eq!(output, recording.output, "{kind}, {strategy}");
    }
}

#[test]
fn waiting_for_what_only_the_program_has_is_a_deadlock() {
    let programs = tempfile::tempdir().expect("a directory");
    let path = compile("peers", programs.path());
    for kind in HELD {
        check_deadlock(&path, kind, Outsiders::MayCome);
    }
}

#[test]
fn waiting_for_those_who_are_taken_to_stay_away_is_a_deadlock() {
    let programs = tempfile::tempdir().expect("a directory");
    let path = compile("peers", programs.path());
    for kind in NAMED {
        check_deadlock(&path, kind, Outsiders::StayAway);
    }
}

#[test]
fn waiting_for_those_who_may_come_is_none() {
    let programs = tempfile::tempdir().expect("a directory");
    let path = compile("peers", programs.path());
    for kind in NAMED {
        let recording = alone(&path, kind, StrategyName::Fair, Outsiders::MayCome, Duration::from_secs(1));
        assert!(matches!(recording.ending, Ending::Hung { .. }), "{kind}: {:?}", recording.ending);
    }
}

/// A process that is not recorded and has the other side of something.
struct Holder(Child);

impl Holder {
    /// With where it is to be found.
    fn start(path: &Path, kind: &str, directory: &Path) -> (Self, String) {
        let mut child = Command::new(path)
            .args(["hold", kind])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut place = String::new();
        let said = child.stdout.take().expect("its output");
        BufReader::new(said).read_line(&mut place).expect("a line");
        (Self(child), place.trim().to_owned())
    }
}

impl Drop for Holder {
    /// It ends with its input, and removes what it has made; unless it still waits for the other side.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.kill();
        }
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn waiting_for_somebody_else_is_no_deadlock() {
    let programs = tempfile::tempdir().expect("a directory");
    let path = compile("peers", programs.path());
    for kind in SHARED {
        let directory = tempfile::tempdir().expect("a directory");
        let (holder, place) = Holder::start(&path, kind, directory.path());
        let program = program(&path, &["with", kind, &place], directory.path());
        // In a thread of its own: a recorder takes all children of its thread for recorded ones.
        let recording = std::thread::spawn(move || {
            record::record(&program, &options(PATIENCE, StrategyName::Fair, 0)).expect("a recording")
        });
        let recording = recording.join().expect("a recording");
        drop(holder);
        assert_eq!(recording.ending, Ending::Exited(0), "{kind}: {}", text(&recording));
        let (replayed, _) = replay_recording(&recording).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(replayed.stats, recording.stats, "{kind}");
    }
}

/// What the tasks of a deadlocked program wait for, by their numbers.
fn waits(path: &Path, kind: &str) -> Vec<(u32, Wait)> {
    let recording = alone(path, kind, StrategyName::Fair, Outsiders::StayAway, PATIENCE);
    let Ending::Deadlocked(states) = recording.ending else { panic!("{kind}: {:?}", recording.ending) };
    let waits = states.into_iter().filter_map(|state| Some((state.task.0, state.wait?)));
    waits.collect()
}

/// Whether some task waits for this, which begins and ends so, and one of these tasks could end that.
fn check_wait(path: &Path, kind: &str, on: Awaited, what: (&str, &str), by: &[u32]) {
    let waits = waits(path, kind);
    let is_it = |wait: &Wait| {
        let said = wait.what.as_deref().unwrap_or_default();
        let wakers: Vec<u32> = wait.by.iter().map(|task| task.0).collect();
        wait.on == on && said.starts_with(what.0) && said.ends_with(what.1) && wakers == by
    };
    assert!(waits.iter().any(|(_, wait)| is_it(wait)), "{kind}: {waits:#?}");
}

#[test]
fn what_is_waited_for_is_named() {
    let programs = tempfile::tempdir().expect("a directory");
    let path = compile("peers", programs.path());
    let check = |kind, on, what, by| check_wait(&path, kind, on, what, by);
    // Task 1 reads one end, task 2 the other.
    check("tcp", Awaited::Socket, ("data on the TCP connection 127.0.0.1:", ""), &[2]);
    check("tcp", Awaited::Socket, ("data on the TCP connection 127.0.0.1:", ""), &[1]);
    check("udp", Awaited::Socket, ("data on the UDP connection 127.0.0.1:", ""), &[2]);
    check("unix", Awaited::Socket, ("data on the Unix socket socket", ""), &[2]);
    check("accept", Awaited::Connection, ("a connection to 127.0.0.1:", ""), &[]);
    check("flock", Awaited::FileLock, ("a lock (flock) on ", "/file"), &[0]);
    check("ofd", Awaited::FileLock, ("a lock (fcntl) on ", "/file"), &[0]);
    check("posix", Awaited::FileLock, ("a lock (fcntl) on ", "/file"), &[1]);
    check("fifo-open", Awaited::Pipe, ("the other end of fifo", ""), &[]);
    check("msg", Awaited::Queue, ("a message in the System V message queue ", ""), &[]);
    check("sem", Awaited::Semaphore, ("System V semaphores ", ""), &[]);
    check("mq", Awaited::Queue, ("a message in the message queue /peers-", ""), &[]);
    check("pty", Awaited::Terminal, ("data on the terminal /dev/pts/", ""), &[0, 1, 3]);
    check("inotify", Awaited::Change, ("a change of a file that is watched", ""), &[]);
}
