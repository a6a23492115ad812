//! Calls with rare arguments, partial effects, many results.

use crate::harness::{check, compile, compile_with, record, replay_recording};
use rrtest_engine::ending::Ending;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::Event;
use rrtest_engine::tracee::buffered_calls;

#[test]
fn outputs_are_bounded_by_their_buffers() {
    check("outs", &[], &Ending::Exited(0));
}

#[test]
fn calls_fail_half_way() {
    check("partial", &[], &Ending::Exited(0));
}

#[test]
fn corners_of_calls() {
    check("corners", &[], &Ending::Exited(0));
}

#[test]
fn calls_that_do_not_stop() {
    check("buffered", &[], &Ending::Exited(0));
}

#[test]
fn calls_that_do_not_stop_are_those_of_static_programs_too() {
    /// read, write, close, lseek, mmap, rt_sigprocmask, futex, sched_getaffinity, clock_gettime, openat,
    /// set_robust_list.
    const NUMBERS: [u64; 11] = [0, 1, 3, 8, 9, 14, 202, 204, 228, 257, 273];
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile_with("buffered", directory.path(), &["-static"]);
    let recording = record(&path, &[], directory.path(), StrategyName::Walk, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let mut made = std::collections::BTreeSet::new();
    for event in recording.log.events() {
        if let Event::Buffered(log) = event.expect("an event") {
            made.extend(buffered_calls(&log).map(|call| call.number));
        }
    }
    assert!(NUMBERS.iter().all(|number| made.contains(number)), "{made:?}");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

#[test]
fn attributes_handles_and_mounts_of_files() {
    check("files", &[], &Ending::Exited(0));
}

#[test]
fn terminals_interfaces_and_other_devices() {
    check("ioctls", &[], &Ending::Exited(0));
}

#[test]
fn message_queues_and_semaphores() {
    check("queues", &[], &Ending::Exited(0));
}

#[test]
fn options_and_commands() {
    check("controls", &[], &Ending::Exited(0));
}

#[test]
fn splicing_and_other_processes() {
    check("pipes", &[], &Ending::Exited(0));
    check("pipes", &["output"], &Ending::Exited(0));
}

#[test]
fn a_thread_splices_pipes_between_others() {
    check("spliced", &[], &Ending::Exited(0));
}

#[test]
fn a_call_that_cannot_be_recorded_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("unsupported", directory.path());
    for call in ["restart_syscall", "ptrace", "a 32-bit system call (`int $0x80`)"] {
        let recording = record(&path, &[call], directory.path(), StrategyName::Fair, 0);
        let (what, task, name) = (call.into(), TaskId(0), "unsupported".into());
        assert_eq!(recording.ending, Ending::Unsupported { what, task, name });
    }
}
