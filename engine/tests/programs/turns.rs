//! Threads that hand the core to each other without a stop.

use crate::common::{PATIENCE, program};
use crate::harness::{
    STRATEGIES, check, check_ending, check_killed, compile, options, record, replay_recording,
};
use rrtest_engine::ending::Ending;
use rrtest_engine::record::{self, Recording, Time};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::{Effect, Event};
use rrtest_engine::tracee::buffered_calls;

#[test]
fn threads_take_turns() {
    check("turns", &[], &Ending::Exited(0));
}

/// What the tasks do between hand-overs: which task, and where it is at events that are there either way.
fn schedule(recording: &Recording) -> Vec<(TaskId, Vec<(u64, u32)>)> {
    let mut turns: Vec<(TaskId, Vec<(u64, u32)>)> = Vec::new();
    let has_core = |turns: &mut Vec<(TaskId, Vec<(u64, u32)>)>, task| {
        if turns.last().is_none_or(|(last, _)| *last != task) {
            turns.push((task, Vec::new()));
        }
    };
    for event in recording.log.events() {
        match event.expect("an event") {
            Event::Run { task, .. } => has_core(&mut turns, task),
            Event::Buffered(log) => {
                for handed in buffered_calls(&log).filter_map(|call| call.handed) {
                    turns.last_mut().expect("a task").1.push((handed.left.into(), handed.sp));
                    has_core(&mut turns, TaskId(handed.task));
                }
            }
            Event::Tick(position) | Event::Entered(position) => {
                turns.last_mut().expect("a task").1.push((position.left, position.registers.sp() as u32));
            }
            _ => {}
        }
    }
    turns
}

#[test]
fn the_schedule_is_the_same_whether_wakes_and_calls_stop_or_not() {
    for (name, args) in [("turns", &[][..]), ("relay", &["limits"]), ("again", &[])] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = compile(name, directory.path());
        for seed in 0..8 {
            let [neither, wakes, calls] =
                [(false, false), (true, false), (false, true)].map(|(wakes_stop, calls_stop)| {
                    let options = record::Options {
                        wakes_stop,
                        calls_stop,
                        time: Time::Virtual,
                        ..options(PATIENCE, StrategyName::Fair, seed)
                    };
                    record::record(&program(&path, args, directory.path()), &options).expect("a recording")
                });
            assert_eq!(neither.ending, Ending::Exited(0));
            for other in [wakes, calls] {
                assert_eq!(schedule(&other), schedule(&neither), "{name}, seed {seed}");
                assert_eq!(other.stats, neither.stats, "{name}, seed {seed}");
            }
        }
    }
}

/// Threads that only wait for each other hand the core over without a stop.
#[test]
fn who_waits_under_the_fair_strategy_hands_the_core_over() {
    const HAND_OVERS: usize = 4 * 400;
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("relay", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let mut handed = 0;
    let mut events = 0;
    for event in recording.log.events() {
        events += 1;
        if let Event::Buffered(log) = event.expect("an event") {
            handed += buffered_calls(&log).filter(|call| call.handed.is_some()).count();
        }
    }
    assert!(handed > HAND_OVERS * 9 / 10 && events < HAND_OVERS, "{handed} hand-overs, {events} events");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

#[test]
fn hand_overs_and_what_comes_in_between() {
    for what in ["plain", "limits", "signals", "alarms", "threads", "forks", "sleeps"] {
        check("relay", &[what], &Ending::Exited(0));
    }
    check("relay", &["ends"], &Ending::Exited(3));
    check_killed("relay", &["crashes"], libc::SIGSEGV);
    check_ending(0..4, "relay", &["deadlocks"], &|end| matches!(end, Ending::Deadlocked(_)));
}

#[test]
fn one_that_got_the_core_from_another_can_be_pinned() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("relay", directory.path());
    let recording = record(&path, &["spins"], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let async_stops = recording.log.events().filter(|event| matches!(event, Ok(Event::AsyncStop(_)))).count();
    assert!(async_stops > 0, "never pinned");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

/// Threads that wait at a call site do not keep it from being patched, and who wakes them does not stop.
#[test]
fn who_wakes_others_under_the_fair_strategy_does_not_stop() {
    const FUTEX_WAKE: u64 = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u64;
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("turns", directory.path());
    let recording = record(&path, &[], directory.path(), StrategyName::Fair, 0);
    assert_eq!(recording.ending, Ending::Exited(0));
    let (mut stopped, mut buffered) = (0, 0);
    for event in recording.log.events() {
        match event.expect("an event") {
            Event::Syscall(call) if call.number == 202 && call.args[1] == FUTEX_WAKE => stopped += 1,
            Event::Buffered(log) => {
                buffered += buffered_calls(&log).filter(|call| call.number == 202 && call.result > 0).count();
            }
            _ => {}
        }
    }
    // Where a waiter has chosen its wakes, who wakes it stops.
    assert!(buffered > 500 && stopped < buffered, "{stopped} wakes stopped, {buffered} did not");
    let (replayed, output) = replay_recording(&recording).expect("a replay");
    assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    assert_eq!(output, recording.output);
}

/// A process makes the calls without a stop at whose instructions others of the same program have come before.
#[test]
fn what_is_started_again_stops_less() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("again", directory.path());
    for (strategy, seed) in STRATEGIES.into_iter().flat_map(|strategy| [(strategy, 0), (strategy, 3)]) {
        let recording = record(&path, &[], directory.path(), strategy, seed);
        assert_eq!(recording.ending, Ending::Exited(0));
        // For each process, how often it opens a file with a stop. The first is the one that starts the others.
        let mut opened = vec![0];
        for event in recording.log.events() {
            match event.expect("an event") {
                Event::Syscall(call) if matches!(call.effect, Effect::Executed(_)) => opened.push(0),
                Event::Syscall(call) if call.number == libc::SYS_openat as u64 => {
                    *opened.last_mut().expect("a process") += 1;
                }
                _ => {}
            }
        }
        assert_eq!(opened.len(), 7, "{opened:?}");
        if strategy == StrategyName::Fair {
            assert!(opened[1] >= 2 && opened[3..].iter().all(|count| *count == 0), "{opened:?}");
        }
        let (replayed, output) = replay_recording(&recording).expect("a replay");
        assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
        assert_eq!(output, recording.output);
    }
}
