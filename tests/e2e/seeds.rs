//! A seed from a report reproduces the attempt.

use rrtest_tests::Harness;
use rrtest_tests::races::RACES;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![of_a_failure_reproduces_it];

/// What these do depends on how fast the machine is at the moment, too: their traces reproduce it, their seeds need
/// not.
const RACES_WITH_TIME: &[&str] = &["sleep-order"];

fn of_a_failure_reproduces_it(world: &Harness) {
    for race in RACES.iter().filter(|race| !RACES_WITH_TIME.contains(&race.package)) {
        let traces = world.dir();
        let (found, _) = race.find(world, 11, traces.path());
        let traces = world.dir();
        let level = if race.package == "unsafe-race" { "memory" } else { "sync" };
        let mut command = world.fixture(race.package, traces.path());
        command.args(["--preempt", level, "--runs", "1", "--seed", found.text("seed")]);
        let run = Run::of(&mut command).expect(101);
        let report = Report::of(&run);
        for field in ["seed", "strategy", "outcome", "exit_code", "signal", "ticks", "preemptions"] {
            assert_eq!(report.attempts[0].0[field], found.0[field], "{field}: {found:?}\n{run}");
        }
    }
}
