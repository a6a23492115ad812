//! Threads that spin.

use crate::harness::{check_seeds, compile, record, record_for, replay_recording};
use rrtest_engine::ending::Ending;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::Event;
use std::time::{Duration, Instant};

/// What tells one moment of a spinning thread from another is different in each.
const SPINS: [&str; 11] = [
    "pure",
    "pause",
    "tight",
    "register",
    "memory",
    "nested",
    "calls",
    "system calls",
    "floats",
    "random",
    "strings",
];

#[test]
fn a_thread_that_spins_lets_others_run() {
    for way in SPINS {
        check_seeds(0..1, "spins", &[way], &Ending::Exited(0));
    }
}

#[test]
fn a_thread_that_spins_gets_its_signals() {
    for way in ["pure", "register", "calls"] {
        check_seeds(0..1, "spins", &[way, "by signal"], &Ending::Exited(0));
    }
}

/// Whatever a thread does, its recording ends at the time limit, and its replay at the same instruction.
#[test]
fn a_thread_that_spins_for_ever_hangs() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("spins", directory.path());
    for seed in 0..2 {
        let recording = record_for(
            Duration::from_secs(2),
            &path,
            &["forever"],
            directory.path(),
            StrategyName::Walk,
            seed,
        );
        assert!(matches!(recording.ending, Ending::Hung { .. }), "{:?}", recording.ending);
        let events: Vec<Event> = recording.log.events().collect::<Result<_, _>>().expect("events");
        let last = &events[events.len() - 3..];
        assert!(matches!(last, [_, Event::AsyncStop(_), Event::Ended(_)]), "{last:?}");
        let (replayed, _) = replay_recording(&recording).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
    }
}

/// Prints what pins cost: for each way to spin, the pins and the time of a recording and of its replay.
#[test]
#[ignore = "a measurement, not a test"]
fn what_pins_cost() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("spins", directory.path());
    let only = std::env::var("WAY").ok();
    for way in SPINS.into_iter().chain(["computes"]).filter(|way| only.as_deref().is_none_or(|it| it == *way))
    {
        for seed in 0..3 {
            let recording = record(&path, &[way], directory.path(), StrategyName::Fair, seed);
            let async_stops = || {
                recording.log.events().filter_map(|event| match event {
                    Ok(Event::AsyncStop(async_stop)) => Some(async_stop),
                    _ => None,
                })
            };
            let words: Vec<usize> = async_stops().map(|async_stop| async_stop.words.len()).collect();
            let start = Instant::now();
            let replayed = replay_recording(&recording);
            println!(
                "{way:10} {seed}: {:?}, pins with {words:?} words, recorded in {:?}, replayed in {:?}: {:?}",
                recording.ending,
                recording.wall,
                start.elapsed(),
                replayed.map(|it| it.0.ending == recording.ending),
            );
            if only.is_some() {
                async_stops().for_each(|async_stop| println!("{async_stop:x?}"));
            }
        }
    }
}
