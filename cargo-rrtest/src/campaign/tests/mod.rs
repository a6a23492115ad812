//! The campaign with an engine that does as it is told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::attach::Wanted;
use rrtest_engine::claims::Claims;
use rrtest_engine::ending::{Ending, Overdue, Stats};
use rrtest_engine::keep::Kept;
use rrtest_engine::patience::{Effort, Limit};
use rrtest_engine::program::Program;
use rrtest_engine::record::{ForkServer, Options, Outsiders, Processor, Recording, Stdin, Time};
use rrtest_engine::schedule::portfolio::Measured;
use rrtest_engine::schedule::surprise::{Struck, Surprise};
use rrtest_engine::schedule::{Plan, StrategyName};
use rrtest_engine::trace::event::Stream;
use rrtest_engine::trace::log::Log;
use serde_json::Value;

use crate::attempt::engine::Engine;
use crate::attempt::events::samples::written;
use crate::attempt::events::{Reporter, RunEvent, Summary};
use crate::attempt::record::Setting;
use crate::attempt::seed::Seed;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::campaign::agenda::{Agenda, Other, Subject};
use crate::campaign::dispatch::run;
use crate::campaign::queue::MAX_ERRORS;
use crate::discover::partition::Part;
use crate::discover::test::{Test, sample};
use crate::ending::outcome::Outcome;
use crate::store::attached::{Attached, WithSources};
use crate::store::traces::{Keep, Store};

mod pins;
mod queue;

/// What the fake engine makes of the n-th recording (from 1) of a test.
type Script = fn(test: &str, number: usize) -> Result<(Ending, &'static str), Error>;

struct Fake {
    script: Script,
    recorded: Mutex<Vec<String>>,
    plans: Mutex<Vec<Plan>>,
    replays: bool,
}

impl Engine for Fake {
    fn record(&self, program: &Program, options: &Options<'_>) -> Result<Recording, Error> {
        let test = program.path.display().to_string();
        let number = {
            let mut recorded = self.recorded.lock().expect("no panic");
            recorded.push(test.clone());
            recorded.iter().filter(|other| **other == test).count()
        };
        self.plans.lock().expect("no panic").push(options.plan.clone());
        let (ending, output) = (self.script)(&test, number)?;
        // This one compares its clock with an outsider's.
        let met_outsiders = test == "in touch";
        let struck: Struck = Some(Surprise::Date)
            .filter(|kind| met_outsiders && options.surprises.has(*kind))
            .into_iter()
            .collect();
        let (ending, output) = if struck.is_empty() { (ending, output) } else { FAIL };
        let looks_up_names = program.env == [("RUST_BACKTRACE".into(), "1".into())];
        let computed = match ending {
            Ending::Hung { why: Overdue::CutOff(ran), .. } => ran,
            _ => Duration::from_millis(1),
        };
        Ok(Recording {
            program: program.clone(),
            ending,
            output: written(&[(Stream::Stderr, output)]),
            stats: Stats { ticks: 100, preemptions: 1, syscalls: 1, tasks: 2 },
            measured: Measured { ticks: 100, ..Measured::default() },
            decided: Vec::new(),
            noted: Default::default(),
            orders: Default::default(),
            threads: Vec::new(),
            marks: Vec::new(),
            struck,
            strikes: Vec::new(),
            claims: Claims::default(),
            met_outsiders,
            fast_forwards: 0,
            wall: Duration::from_millis(if test == "slow" || looks_up_names { 100 } else { 1 }),
            effort: Effort { computed, idled: Duration::ZERO },
            log: Log::default(),
        })
    }

    fn fork_server(&self, _: &Program, _: &Options<'_>) -> Result<Result<ForkServer, String>, Error> {
        Ok(Err("nothing is started here".into()))
    }

    fn keep(
        &self,
        recording: &Recording,
        path: &Path,
        _: &[PathBuf],
        _: &Value,
        _: usize,
        stop: &AtomicBool,
    ) -> Result<Kept, Error> {
        let written = std::fs::write(path, "");
        written.map_err(|source| Error::Os { what: "cannot write".into(), source })?;
        let ending = recording.ending.clone();
        if matches!(ending, Ending::Hung { why: Overdue::CutOff(_), .. }) {
            // It replays for longer than there is time.
            let start = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                assert!(start.elapsed() < Duration::from_secs(60), "it is not given up");
                std::thread::yield_now();
            }
            return Ok(Kept { divergence: Some(Error::Stopped), ending });
        }
        let divergence = (!self.replays).then(|| Error::Bug { what: "it does not replay".into() });
        Ok(Kept { divergence, ending })
    }

    fn attach(&self, _: &Path, _: &Wanted<'_>, _: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        Ok(Vec::new())
    }
}

struct Seen(Arc<Mutex<Vec<(String, Outcome, bool)>>>);

impl Reporter for Seen {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        if let RunEvent::Attempt(attempt) = event {
            let seen = (attempt.test.title().to_owned(), attempt.outcome, attempt.trace.is_some());
            self.0.lock().expect("no panic").push(seen);
        }
        Ok(())
    }
}

struct Run {
    summary: Result<Summary, CliError>,
    seen: Vec<(String, Outcome, bool)>,
    plans: Vec<Plan>,
    traces: usize,
}

fn schedule() -> Agenda {
    Agenda {
        explain: None,
        keep_original: false,
        runs: Some(1),
        time: None,
        until_fail: false,
        keep_going: false,
        strategies: vec![],
        bound: None,
        shard: None,
        seed: Some(Seed(7)),
    }
}

/// A test whose program is that of this path.
fn test(name: &str, path: &str) -> Test {
    let test = sample();
    Test { name: Some(name.into()), program: Program { path: PathBuf::from(path), ..test.program }, ..test }
}

fn campaign(tests: &[&str], schedule: Agenda, script: Script, replays: bool) -> Run {
    let tests = tests.iter().map(|name| test(name, name)).collect();
    campaign_at(
        Subject { tests, pins: vec![], ignored: vec![], level: Level::Sync, other: None },
        schedule,
        script,
        replays,
    )
}

fn campaign_at(subject: Subject<'_>, schedule: Agenda, script: Script, replays: bool) -> Run {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::at(dir.path()).expect("a store");
    let engine = Fake { script, recorded: Mutex::default(), plans: Mutex::default(), replays };
    let strategies = schedule.strategies.clone();
    let setting = Setting {
        engine: &engine,
        store: &store,
        keep: Keep::OnFailure,
        limit: Limit::Usual(None),
        stdin: Stdin::Null,
        outsiders: Outsiders::StayAway,
        listener: None,
        strategies: &strategies,
        time: Time::Real,
        processor: Processor::V2,
        takes_apart: false,
        surprises: None,
        faults: &[],
        rustc: "rustc",
        known: Mutex::default(),
        kept: Mutex::default(),
        end: None,
        verification_ends: None,
        attached: Attached {
            debug_info: true,
            sources: WithSources::Named,
            root: dir.path().to_owned(),
            one_by_one: Mutex::default(),
        },
        in_use: None,
        judging: Mutex::default(),
    };
    let seen = Arc::new(Mutex::default());
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(Seen(Arc::clone(&seen)))];
    // One worker, so that the order of attempts is that of the queue.
    let summary = run(subject, schedule, &setting, &[0], &Interrupt::default(), &mut reporters);
    let seen = std::mem::take(&mut *seen.lock().expect("no panic"));
    let plans = engine.plans.into_inner().expect("no panic");
    Run { summary, seen, plans, traces: store.entries().expect("entries").len() }
}

const PASS: (Ending, &str) = (Ending::Exited(0), "");
const FAIL: (Ending, &str) = (Ending::Exited(101), "thread 't' panicked at src/lib.rs:1:1:\n");

#[test]
fn rounds_go_over_all_tests() {
    let run = campaign(&["a", "b"], Agenda { runs: Some(2), ..schedule() }, |_, _| Ok(PASS), true);
    let names: Vec<_> = run.seen.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);
    let summary = run.summary.expect("a summary");
    assert_eq!((summary.attempts, summary.passed, summary.failures, run.traces), (4, 4, 0, 0));
}

#[test]
fn a_test_that_takes_a_hundred_times_as_long_has_a_tenth_of_the_attempts() {
    let script: Script = |test, number| Ok(if test == "quick" && number == 100 { FAIL } else { PASS });
    let run =
        campaign(&["slow", "quick"], Agenda { runs: None, until_fail: true, ..schedule() }, script, true);
    assert_eq!(run.seen.iter().filter(|(name, ..)| name == "slow").count(), 10);
    let limited = campaign(&["slow", "quick"], Agenda { runs: Some(9), ..schedule() }, script, true);
    assert_eq!(limited.seen.iter().filter(|(name, ..)| name == "slow").count(), 9);
}

#[test]
fn until_fail_ends_at_the_first_failure() {
    let script: Script = |test, number| Ok(if test == "b" && number == 3 { FAIL } else { PASS });
    let run = campaign(&["a", "b"], Agenda { runs: None, until_fail: true, ..schedule() }, script, true);
    assert_eq!(run.seen.last().expect("attempts"), &("b".into(), Outcome::Failed, true));
    let summary = run.summary.expect("a summary");
    assert_eq!((summary.attempts, summary.failed), (6, vec!["p::it b".to_owned()]));
    assert_eq!(run.traces, 1);
}

#[test]
fn what_takes_long_because_of_its_backtrace_is_explained() {
    let experiments = |name: &str, env: &[(&str, &str)]| {
        let mut test = test(name, name);
        test.program.env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let subject =
            Subject { tests: vec![test], pins: vec![], ignored: vec![], level: Level::Sync, other: None };
        let schedule = Agenda { explain: Some(Duration::from_secs(1)), ..schedule() };
        campaign_at(subject, schedule, |_, _| Ok(FAIL), true).plans.len() - 1
    };
    assert_eq!(experiments("slow", &[]), 1, "an attempt takes a tenth of the time");
    assert!(
        experiments("t", &[("RUST_BACKTRACE", "1")]) > 20,
        "without a backtrace it is as quick as others"
    );
}

#[test]
fn clocks_that_do_not_agree_with_an_outsider_s_are_no_reason_to_fail() {
    let run = campaign(&["in touch"], Agenda { runs: Some(5), ..schedule() }, |_, _| Ok(PASS), true);
    let summary = run.summary.expect("a summary");
    assert_eq!((summary.passed, summary.failures, run.traces), (5, 0, 0));
    assert_eq!(run.plans.len(), 10, "what failed was made again");
}

#[test]
fn without_until_fail_all_attempts_are_made() {
    let run = campaign(&["a"], Agenda { runs: Some(5), ..schedule() }, |_, _| Ok(FAIL), true);
    assert_eq!(run.summary.expect("a summary").failures, 5);
    assert_eq!(run.traces, 1, "the same failure is kept once");
}

#[test]
fn keep_going_keeps_one_trace_of_each_distinct_failure() {
    let script: Script = |_, number| {
        Ok(match number % 3 {
            0 => PASS,
            1 => FAIL,
            _ => (Ending::Deadlocked(vec![]), ""),
        })
    };
    let schedule = Agenda { runs: Some(9), until_fail: true, keep_going: true, ..schedule() };
    let run = campaign(&["a"], schedule, script, true);
    assert_eq!(run.summary.expect("a summary").failures, 6);
    assert_eq!(run.traces, 2);
}

#[test]
fn a_trace_that_does_not_replay_is_our_error_and_the_hunt_goes_on() {
    let run = campaign(&["a"], Agenda { runs: None, until_fail: true, ..schedule() }, |_, _| Ok(FAIL), false);
    let summary = run.summary.expect("a summary");
    assert_eq!((summary.failures, summary.errors), (0, u64::from(MAX_ERRORS)), "until the test is left out");
    assert!(run.seen.iter().all(|(_, outcome, kept)| *outcome == Outcome::Error && *kept));
}

#[test]
fn a_schedule_that_could_not_be_tried_is_tried_again() {
    let script: Script = |_, number| match number {
        1 => Err(Error::Bug { what: "no process".into() }),
        _ => Ok(PASS),
    };
    let systematic = Agenda { strategies: vec![StrategyName::Systematic], bound: Some(1), ..schedule() };
    let run = campaign(&["a"], Agenda { runs: None, until_fail: true, ..systematic }, script, true);
    let summary = run.summary.expect("a summary");
    let outcomes: Vec<_> = run.seen.iter().map(|(_, outcome, _)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Error, Outcome::Passed], "{summary:?}");
    assert!(summary.explored[0].complete, "{summary:?}");
}

#[test]
fn what_is_unsupported_is_not_tried_again() {
    let script: Script = |test, _| {
        let task = rrtest_engine::task::TaskId(0);
        Ok(if test == "a" {
            (Ending::Unsupported { what: "x".into(), task, name: "t".into() }, "")
        } else {
            PASS
        })
    };
    let run = campaign(&["a", "b"], Agenda { runs: Some(3), ..schedule() }, script, true);
    let summary = run.summary.expect("a summary");
    assert_eq!((summary.attempts, summary.errors, summary.passed), (4, 1, 3));
}

#[test]
fn a_machine_that_forbids_recording_ends_the_campaign() {
    let script: Script = |_, _| Err(Error::Forbidden { what: "no ptrace".into(), remedy: "allow it".into() });
    let stop = campaign(&["a"], schedule(), script, true).summary.expect_err("an error");
    assert_eq!(stop.status, Status::Recorder);
    assert!(stop.message.expect("a message").contains("allow it"));
}

#[test]
fn a_panic_of_ours_names_the_test_and_the_seed() {
    let script: Script = |test, number| {
        assert!((test, number) != ("b", 1), "a broken invariant");
        Ok(PASS)
    };
    let schedule = Agenda { seed: Some(Seed(7)), runs: Some(2), ..schedule() };
    let stop = campaign(&["a", "b"], schedule, script, true).summary.expect_err("an error");
    assert_eq!(stop.status, Status::Recorder);
    let message = stop.message.expect("a message");
    for part in ["fault of rrtest", "`b`", "a broken invariant", &Seed(7).to_string()] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn the_given_seed_is_the_first_attempts_and_decides_the_others() {
    let plans =
        |seed| campaign(&["a"], Agenda { runs: Some(3), seed, ..schedule() }, |_, _| Ok(PASS), true).plans;
    let first = plans(Some(Seed(7)));
    assert_eq!(first[0], Seed(7).plan(&[]));
    assert_eq!(first, plans(Some(Seed(7))));
    assert_ne!(first[1..], plans(Some(Seed(8)))[1..]);
    let plan = &first[1];
    assert_eq!(plan.expected_ticks, 128, "what the first attempt counted is expected of the next");
}

#[test]
fn shards_of_a_campaign_make_different_attempts() {
    let plans = |shard| {
        let schedule = Agenda { runs: Some(8), shard, seed: Some(Seed(7)), ..schedule() };
        campaign(&["a"], schedule, |_, _| Ok(PASS), true).plans
    };
    let seeds = |plans: Vec<Plan>| plans.iter().map(|plan| plan.seed).collect::<Vec<_>>();
    let all = seeds(plans(None));
    let shards = [1, 2, 3].map(|number| seeds(plans(Some(Part { number, of: 3 }))));
    assert_eq!(shards.each_ref().map(Vec::len), [3, 3, 2]);
    assert_eq!(shards[0][0], all[0], "the first attempt is the given seed's");
    let mut together = shards.concat();
    together.sort_unstable();
    together.dedup();
    assert_eq!(together.len(), 8);
}

#[test]
fn every_test_has_its_first_attempt_before_any_has_its_second() {
    let names: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let script: Script = |test, number| Ok(if (test, number) == ("t7", 3) { FAIL } else { PASS });
    let run = campaign(&names, Agenda { runs: None, until_fail: true, ..schedule() }, script, true);
    let mut first: Vec<_> = run.seen[..50].iter().map(|(name, ..)| name.as_str()).collect();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 50);
}

#[test]
fn a_deadline_ends_a_campaign_without_a_limit() {
    let schedule = Agenda { runs: None, time: Some(Duration::from_millis(1)), ..schedule() };
    campaign(&["a"], schedule, |_, _| Ok(PASS), true).summary.expect("a summary");
}

/// As the engine does when its time is over.
fn cut_off() -> (Ending, &'static str) {
    (Ending::Hung { why: Overdue::CutOff(Duration::from_secs(9)), tasks: vec![], spun: 0 }, "")
}

#[test]
fn a_test_of_which_no_attempt_ends_has_not_passed() {
    let schedule = Agenda { runs: None, time: Some(Duration::from_millis(20)), ..schedule() };
    let script: Script = |test, _| Ok(if test == "a" { cut_off() } else { PASS });
    let run = campaign(&["a", "b"], schedule, script, true);
    let summary = run.summary.expect("a summary");
    let never: Vec<_> = summary.never_ended.iter().map(|never| never.test.title()).collect();
    // On a machine that is slow enough, b never ran.
    assert!(never.contains(&"a"), "{never:?}");
    assert_eq!((summary.failures, summary.attempts), (0, summary.passed));
    let unfinished = run.seen.iter().filter(|(_, outcome, _)| *outcome == Outcome::Unfinished);
    assert!(unfinished.clone().all(|(name, ..)| name == "a"));
    assert_eq!(unfinished.filter(|(.., kept)| *kept).count(), run.traces, "where it was is worth a trace");
}

#[test]
fn a_test_whose_turn_never_comes_has_not_passed() {
    let schedule = Agenda { runs: None, time: Some(Duration::from_millis(1)), ..schedule() };
    let script: Script = |_, _| {
        std::thread::sleep(Duration::from_millis(2));
        Ok(PASS)
    };
    let summary = campaign(&["a", "b"], schedule, script, true).summary.expect("a summary");
    let last = summary.never_ended.last().expect("b never ran");
    assert_eq!((last.test.title(), last.attempts), ("b", 0));
}

#[test]
fn another_build_joins_when_it_is_ready() {
    let build = |_: &AtomicBool| Ok(vec![test("a", "a, built again"), test("unknown", "unknown")]);
    let script: Script = |test, _| Ok(if test == "a, built again" { FAIL } else { PASS });
    for other in [Other::Coming(&build), Other::Ready(build(&AtomicBool::new(false)))] {
        let ready = matches!(other, Other::Ready(_));
        let subject = Subject {
            pins: vec![],
            tests: vec![test("a", "a")],
            ignored: vec![],
            level: Level::Sync,
            other: Some((Level::Memory, other)),
        };
        let schedule = Agenda { runs: None, until_fail: true, ..schedule() };
        let run = campaign_at(subject, schedule, script, true);
        assert_eq!(run.summary.expect("a summary").failed, ["p::it a"]);
        // The first attempt is at the first build, the next ones are at one that joins.
        assert!(run.seen.len() == 2 || !ready, "{:?}", run.seen);
    }
}

#[test]
fn a_build_that_comes_too_late_is_given_up() {
    let build = |stop: &AtomicBool| {
        while !stop.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(Vec::new())
    };
    let other = Some((Level::Memory, Other::Coming(&build)));
    let subject =
        Subject { tests: vec![test("a", "a")], pins: vec![], ignored: vec![], level: Level::Sync, other };
    let run = campaign_at(subject, Agenda { runs: Some(3), ..schedule() }, |_, _| Ok(PASS), true);
    assert_eq!(run.seen.len(), 3);
}
