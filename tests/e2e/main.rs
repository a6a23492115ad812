//! End-to-end tests: record → fail → replay, through the real binary.
//!
//! Set `RRTEST_SLOW=1` for the long ones too, `RRTEST_DURATIONS=1` to learn at the end how long each took. The end names what
//! cannot be tested on this machine; with `CI=true`, such tests fail.

mod attached;
mod backtraces;
mod bad_traces;
mod beside;
mod budgets;
mod ci;
mod debugging;
mod discovery;
mod exec;
mod exit_codes;
mod explain;
#[path = "../../engine/tests/common/forged.rs"]
mod forged;
mod front_end;
mod guided;
mod hangs;
mod isolated;
mod json;
mod killed;
mod limits;
mod manners;
mod messages;
mod natively;
mod order;
mod overdue;
mod packed;
mod pages;
mod pins;
mod privacy;
mod programs;
mod races;
mod replay;
mod reports;
mod seeds;
mod slow;
mod starts;
mod steady;
mod surroundings;
mod systematic;
mod taken_apart;
mod times;
mod together;
mod unsupported;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use rrtest_tests::Harness;

/// A test: its name and what it does.
type Test = (&'static str, fn(&Harness));

/// Makes the program under test when the first test needs it: listing tests builds nothing.
#[derive(Default)]
struct Tests {
    world: Arc<OnceLock<Harness>>,
    /// How long those took that have passed.
    times: Arc<Mutex<Vec<(Duration, String)>>>,
    trials: Vec<Trial>,
}

impl Tests {
    fn add(&mut self, name: String, test: impl FnOnce(&Harness) + Send + 'static) {
        let (world, times, label) = (self.world.clone(), self.times.clone(), name.clone());
        let run = move || {
            let world = world.get_or_init(|| Harness::new(Path::new(env!("CARGO_TARGET_TMPDIR"))));
            let begun = Instant::now();
            test(world);
            times.lock().unwrap_or_else(PoisonError::into_inner).push((begun.elapsed(), label));
            Ok(())
        };
        self.trials.push(Trial::test(name, run));
    }

    fn topic(&mut self, topic: &str, tests: &[Test]) {
        for (name, test) in tests {
            self.add(format!("{topic}::{name}"), *test);
        }
    }
}

/// The tests of a topic, named after their functions.
macro_rules! tests {
    ($($test:ident),* $(,)?) => { &[$((stringify!($test), $test)),*] };
}
use tests;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    races::add(&mut tests);
    steady::add(&mut tests);
    times::add(&mut tests);
    tests.topic("replay", replay::TESTS);
    tests.topic("discovery", discovery::TESTS);
    tests.topic("exit_codes", exit_codes::TESTS);
    tests.topic("attached", attached::TESTS);
    tests.topic("backtraces", backtraces::TESTS);
    tests.topic("debugging", debugging::TESTS);
    tests.topic("bad_traces", bad_traces::TESTS);
    tests.topic("beside", beside::TESTS);
    tests.topic("limits", limits::TESTS);
    tests.topic("manners", manners::TESTS);
    tests.topic("budgets", budgets::TESTS);
    tests.topic("messages", messages::TESTS);
    tests.topic("unsupported", unsupported::TESTS);
    tests.topic("seeds", seeds::TESTS);
    tests.topic("systematic", systematic::TESTS);
    tests.topic("taken_apart", taken_apart::TESTS);
    tests.topic("guided", guided::TESTS);
    tests.topic("starts", starts::TESTS);
    tests.topic("json", json::TESTS);
    tests.topic("explain", explain::TESTS);
    tests.topic("verify", verify::TESTS);
    tests.topic("exec", exec::TESTS);
    tests.topic("together", together::TESTS);
    tests.topic("order", order::TESTS);
    tests.topic("isolated", isolated::TESTS);
    tests.topic("privacy", privacy::TESTS);
    tests.topic("front_end", front_end::TESTS);
    tests.topic("hangs", hangs::TESTS);
    tests.topic("overdue", overdue::TESTS);
    tests.topic("packed", packed::TESTS);
    tests.topic("pages", pages::TESTS);
    tests.topic("pins", pins::TESTS);
    tests.topic("killed", killed::TESTS);
    tests.topic("natively", natively::TESTS);
    tests.topic("reports", reports::TESTS);
    tests.topic("surroundings", surroundings::TESTS);
    ci::add(&mut tests);
    let slow = std::env::var_os("RRTEST_SLOW").is_some_and(|value| value == "1");
    programs::add(&mut tests, slow);
    let mut long = Tests { world: tests.world.clone(), times: tests.times.clone(), ..Tests::default() };
    slow::add(&mut long);
    ci::add_slow(&mut long);
    let left_out = if slow { 0 } else { long.trials.len() };
    if slow {
        tests.trials.append(&mut long.trials);
    }
    let mut arguments = Arguments::from_args();
    // Many tests wait for something most of the time.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cores + 1);
    let conclusion = libtest_mimic::run(&arguments, tests.trials);
    if !arguments.list {
        if std::env::var_os("RRTEST_DURATIONS").is_some() {
            say_how_long_each_took(&tests.times);
        }
        say_what_was_not_tested(&tests.world, left_out);
    }
    conclusion.exit_code()
}

/// Lists the tests, the longest last.
fn say_how_long_each_took(times: &Mutex<Vec<(Duration, String)>>) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    for (time, name) in times.iter() {
        println!("{:8.2} s  {name}", time.as_secs_f64());
    }
}

/// Says at the end what a green result does not stand for.
fn say_what_was_not_tested(world: &OnceLock<Harness>, left_out: usize) {
    let skipped = world.get().map(Harness::skipped).unwrap_or_default();
    for what in &skipped {
        println!("skipped: {what}");
    }
    if left_out > 0 {
        println!("not run: {left_out} long tests; RRTEST_SLOW=1 runs them, too");
    }
}
