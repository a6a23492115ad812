//! What takes long: the promises in their full measure.

use std::time::{Duration, Instant};

use rrtest_tests::tool::Run;

use crate::Tests;
use crate::races::RACES;
use crate::replay::elsewhere;
use crate::steady::survives;

/// Within this time each race is found on two cores. The only absolute time here: it is what is promised.
const TIME: Duration = Duration::from_secs(30);

pub(crate) fn add(tests: &mut Tests) {
    tests.add("slow::steady".to_owned(), |world| survives(world, &[], "65"));
    for race in RACES {
        tests.add(format!("slow::{}", race.package), |world| {
            for seed in 101..106 {
                let traces = world.dir();
                let start = Instant::now();
                let (attempt, run) = race.find(world, seed, traces.path());
                assert!(start.elapsed() < TIME, "took {:?}: {run}", start.elapsed());
                let trace = attempt.trace().expect("a trace");
                for _ in 0..50 {
                    let _replayed = Run::of(&mut elsewhere(world, &trace)).expect(0);
                }
            }
        });
    }
}
