//! Programs that fork, execute, wait for and kill each other.

use crate::harness::{check, compile, record_for, replay_recording};
use rrtest_engine::ending::Ending;
use rrtest_engine::schedule::StrategyName;
use std::time::Duration;

#[test]
fn processes_fork_and_are_waited_for() {
    check("forks", &["forks"], &Ending::Exited(0));
    check("forks", &["orphans"], &Ending::Exited(0));
}

#[test]
fn processes_borrow_memory_and_execute_programs() {
    check("forks", &["vforks"], &Ending::Exited(0));
    check("forks", &["itself"], &Ending::Exited(0));
}

#[test]
fn a_program_takes_the_place_of_several_threads() {
    check("forks", &["exec"], &Ending::Exited(0));
    check("forks", &["exec-other"], &Ending::Exited(0));
}

#[test]
fn processes_are_killed() {
    check("forks", &["kills"], &Ending::Exited(0));
    check("forks", &["mourns"], &Ending::Exited(0));
}

#[test]
fn programs_end_in_the_middle_of_calls() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("unsupported", directory.path());
    for seed in 0..8 {
        let time = Duration::from_millis(100);
        let recording = record_for(time, &path, &["for ever"], directory.path(), StrategyName::Fair, seed);
        assert!(matches!(recording.ending, Ending::Hung { .. }), "{:?}", recording.ending);
        let (replayed, _) = replay_recording(&recording).expect("a replay");
        assert_eq!(replayed.stats, recording.stats);
    }
}

#[test]
fn processes_are_stopped_and_continued() {
    check("signals", &["stops"], &Ending::Exited(0));
    check("signals", &["stops-threads"], &Ending::Exited(0));
}

#[test]
fn a_process_ends_as_soon_as_it_is_continued() {
    check("signals", &["ends-when-continued"], &Ending::Exited(0));
}

#[test]
fn tasks_choose_among_the_cores_that_they_are_told_of() {
    check("affinity", &[], &Ending::Exited(0));
}
