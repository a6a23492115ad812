//! Virtual time.

use crate::common::program;
use crate::harness::{STRATEGIES, compile, options, replay_recording, text};
use rrtest_engine::ending::Ending;
use rrtest_engine::record::{self, Time};
use rrtest_engine::schedule::surprise::Surprises;
use std::time::Duration;

/// Record and replay a program in virtual time, under each strategy. It must end well.
fn check_virtual(name: &str, args: &[&str], fast_forwards: fn(u64) -> bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let program = program(&path, args, directory.path());
    for strategy in STRATEGIES {
        let options = record::Options {
            time: Time::Virtual,
            surprises: Surprises::NONE,
            ..options(Duration::from_secs(20), strategy, 1)
        };
        let recording = record::record(&program, &options).expect("a recording");
        assert_eq!(
            recording.ending,
            Ending::Exited(0),
            "{strategy}: {} fast-forwards, {}",
            recording.fast_forwards,
            text(&recording)
        );
        let (replayed, output) =
            replay_recording(&recording).unwrap_or_else(|error| panic!("{strategy}: {error}"));
        assert_eq!((replayed.ending, replayed.stats), (recording.ending, recording.stats), "{strategy}");
        assert_eq!(output, recording.output, "{strategy}");
        assert!(
            fast_forwards(recording.fast_forwards),
            "{strategy}: {} fast-forwards",
            recording.fast_forwards
        );
    }
}

/// It sleeps for many hours in all: in real time it would end as hung.
#[test]
fn an_hour_passes_at_once_by_every_kind_of_sleep_and_clock() {
    check_virtual("clocks", &[], |fast_forwards| fast_forwards > 20);
}

/// Of files, of System V objects, of packets, of the system.
#[test]
fn times_that_the_kernel_tells_agree_with_the_clocks() {
    check_virtual("file_times", &[], |fast_forwards| fast_forwards > 100);
}

#[test]
fn time_does_not_leap_over_what_others_may_do() {
    check_virtual("clocks", &["others"], |fast_forwards| fast_forwards == 0);
}

#[test]
fn time_does_not_leap_while_a_server_is_looked_for() {
    check_virtual("clocks", &["server"], |fast_forwards| fast_forwards == 2);
}
