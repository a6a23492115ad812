//! Calls that wait: for pipes, files, messages, locks and mutexes.

use crate::harness::{check, compile, record};
use rrtest_engine::ending::Ending;
use rrtest_engine::schedule::StrategyName;
use std::time::Duration;

#[test]
fn several_threads_read_one_pipe() {
    check("two_readers", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_for_descriptors_that_only_they_have() {
    check("apart", &[], &Ending::Exited(0));
}

#[test]
fn a_write_that_a_pipe_has_no_room_for() {
    check("bigpipe", &[], &Ending::Exited(0));
}

#[test]
fn threads_start_while_another_is_in_the_kernel() {
    check("spawn_while_blocked", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_for_file_locks() {
    check("flocks", &["ofd"], &Ending::Exited(0));
    check("flocks", &["flock"], &Ending::Exited(0));
}

#[test]
fn threads_meet_at_a_fifo() {
    check("flocks", &["open"], &Ending::Exited(0));
}

#[test]
fn select_waits_for_sets_of_descriptors() {
    check("selects", &[], &Ending::Exited(0));
}

#[test]
fn several_messages_at_once() {
    check("messages", &[], &Ending::Exited(0));
}

#[test]
fn mutexes_survive_their_holders() {
    check("robust", &[], &Ending::Exited(0));
}

#[test]
fn mutexes_are_handed_over() {
    check("inherit", &[], &Ending::Exited(0));
}

#[test]
fn threads_wait_in_the_kernel_for_what_is_written_to_them() {
    check("inside", &[], &Ending::Exited(0));
}

#[test]
fn waiting_in_the_kernel_for_each_other_is_a_deadlock() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("stuck", directory.path());
    for what in ["pipe", "pair", "epoll", "children"] {
        let recording = record(&path, &[what], directory.path(), StrategyName::Fair, 0);
        assert!(matches!(recording.ending, Ending::Deadlocked(_)), "{what}: {:?}", recording.ending);
    }
    let recording = record(&path, &["alarm"], directory.path(), StrategyName::Fair, 0);
    assert!(
        matches!(recording.ending, Ending::Killed { signal: libc::SIGALRM, .. }),
        "{:?}",
        recording.ending
    );
}

#[test]
fn calls_wait_for_the_whole_of_what_they_ask_for() {
    check("whole", &[], &Ending::Exited(0));
}

/// The kernel and a busy machine wake late; what chaos makes of that must not grow with it.
#[test]
fn a_program_waits_for_no_longer_than_it_asks_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("waits", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!((&recording.ending, recording.struck.is_empty()), (&Ending::Exited(0), true));
    let waited = Duration::from_nanos(recording.measured.waited);
    assert!(waited <= Duration::from_millis(30), "{waited:?}");
}

#[test]
fn a_time_limit_for_messages_begins_with_the_call() {
    check("until", &[], &Ending::Exited(0));
}
