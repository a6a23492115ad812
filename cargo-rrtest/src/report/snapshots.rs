//! What reports look like, for their readers to judge: `snapshots` has each as a file.
//!
//! `INSTA_UPDATE=always cargo test -p cargo-rrtest` writes them anew.

use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use rrtest_engine::ending::{Awaited, Ending, Frame, Overdue, TaskState, Wait};
use rrtest_engine::schedule::surprise::Surprise;
use rrtest_engine::schedule::{Branch, StrategyName};
use rrtest_engine::strike::{Doing, Strike, Thread};
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::event::Stream;

use super::display::{self, Detail, Manner};
use super::json::Json;
use super::junit::JUnit;
use crate::attempt::events::samples::{self, attempt, written};
use crate::attempt::events::{
    Attempt, Covered, Explored, Interference, Kept, NeverEnded, NotBuilt, Rate, Reporter, RunEvent, Slow,
    Started, Summary,
};
use crate::attempt::order::{Order, Ran};
use crate::attempt::pins::{PinCounts, PinTried};
use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::discover::libtest::Shown;
use crate::discover::partition::Part;
use crate::discover::test::{self, Test, TestId};
use crate::ending::describe;
use crate::ending::explanation::Needs;
use crate::ending::outcome::Outcome;

/// What a person reads of these events, where tests are run more than once.
fn human(events: &[RunEvent]) -> String {
    let text = colored(events, Detail::Normal, Shown::OfFailures);
    anstream::adapter::strip_str(&text).to_string()
}

/// The same with colours, to this detail.
fn colored(events: &[RunEvent], detail: Detail, shown: Shown) -> String {
    let mut text = Vec::new();
    for event in events {
        display::write(&mut text, event, Manner { detail, shown, repeats: true }).expect("memory");
    }
    text.try_into().expect("text")
}

fn of_attempt(attempt: Attempt) -> RunEvent {
    RunEvent::Attempt(Box::new(attempt))
}

/// A thread, `line` of whose source has led to what it waits for.
fn thread(task: u32, name: &str, wait: Option<(Awaited, &[u32])>, line: u32) -> TaskState {
    let frame = |function: &str, line| Frame {
        address: 0x10,
        function: Some(function.to_owned()),
        location: Some(("src/lib.rs".to_owned(), line)),
    };
    TaskState {
        task: TaskId(task),
        name: name.to_owned(),
        doing: "can run".to_owned(),
        wait: wait.map(|(on, by)| Wait {
            on,
            futex: Some(0x5555_5580_1230),
            what: None,
            by: by.iter().copied().map(TaskId).collect(),
            gone: None,
            limited: false,
        }),
        spawned: None,
        awaits: Vec::new(),
        frames: vec![frame("p::transfer", line), frame("p::worker", line + 10)],
    }
}

/// Two threads that wait for each other, and the test that waits for them.
fn deadlock() -> Ending {
    Ending::Deadlocked(vec![
        thread(1, "t", Some((Awaited::Thread, &[2])), 40),
        thread(2, "left", Some((Awaited::Mutex, &[3])), 12),
        thread(3, "right", Some((Awaited::Mutex, &[2])), 14),
    ])
}

fn hung(why: Overdue, tasks: Vec<TaskState>, spun: u64) -> Ending {
    Ending::Hung { why, tasks, spun }
}

fn ended(outcome: Outcome, ending: Ending) -> Attempt {
    Attempt { outcome, ending: Some(ending), output: written(&[]), ..attempt() }
}

fn unsupported(what: &str) -> Attempt {
    let ending = Ending::Unsupported { what: what.into(), task: TaskId(3), name: "worker".into() };
    let message = Some(describe::unsupported(what, TaskId(3), "worker"));
    Attempt { message, trace: None, ..ended(Outcome::Unsupported, ending) }
}

fn strike(kind: Surprise, doing: Doing, times: u64) -> Strike {
    let thread = |task, name: &str, ambiguous| Thread { task: TaskId(task), name: name.into(), ambiguous };
    Strike {
        kind,
        thread: thread(2, "client", false),
        doing,
        asked: 60_000_000,
        more: 2_340_000_000,
        times,
        shown: String::new(),
        others: vec![thread(3, "server", false), thread(4, "worker", true)],
        frames: vec![Frame { address: 0, function: None, location: Some(("src/lib.rs".into(), 14)) }],
    }
}

fn together() -> Attempt {
    let mates = ["t::a", "t::b", "t::c"].map(str::to_owned).to_vec();
    let test = Test { name: None, mates: mates.into(), ..test::sample() };
    let ran = Ran::of(Order::AtOnce(3), Seed(0xabc), &test, "test t::b ... ok\ntest t::a ... FAILED\n");
    Attempt { test: Arc::new(test), ran, failed_tests: vec!["t::a".into()], ..attempt() }
}

fn interference(with: bool) -> Interference {
    Interference {
        test: Arc::new(test::sample()),
        number: 3,
        seed: Seed(0xabc),
        outcome: Outcome::Failed,
        wall: Duration::from_millis(4),
        thing: "port 8080".into(),
        with: with.then(|| (Arc::new(Test { name: Some("u".into()), ..test::sample() }), 7)),
    }
}

fn named(name: &str) -> TestId {
    TestId { name: Some(name.into()), ..test::sample().which() }
}

fn started() -> Started {
    samples::started(["t", "u", "v", "w"].map(named).into(), vec![named("x")])
}

fn summary() -> Summary {
    let passed = Summary::of_none(4, false);
    Summary { attempts: 120, passed: 120, wall: Duration::from_millis(913), ..passed }
}

fn never_ended(attempts: u64) -> NeverEnded {
    NeverEnded { test: Arc::new(test::sample()), attempts }
}

#[test]
fn beginnings() {
    assert_snapshot!(human(&[
        RunEvent::Started(started()),
        RunEvent::Started(Started {
            until_fail: true,
            time: Some(Duration::from_secs(600)),
            slots: 1,
            binaries: 1,
            tests: 1,
            ..started()
        }),
        RunEvent::Started(Started { together: true, attempts: Some(40), ..started() }),
        RunEvent::Joined(Level::Memory),
        RunEvent::Warning("the target runner `qemu` is set aside".into()),
    ]));
}

#[test]
fn a_failure() {
    assert_snapshot!(human(&[of_attempt(attempt())]));
}

#[test]
fn a_failure_that_has_been_seen_before() {
    let repeats = || Attempt { repeats: Some(3), trace: None, number: 4, ..attempt() };
    let unkept = Attempt { message: Some("no space".into()), ..repeats() };
    let events = [repeats(), unkept].map(of_attempt);
    assert_eq!(human(&events), "", "it is counted");
    let told = colored(&events, Detail::Verbose, Shown::OfFailures);
    assert_snapshot!(anstream::adapter::strip_str(&told).to_string());
}

#[test]
fn a_failure_under_surprises() {
    let strikes = vec![
        strike(Surprise::Early, Doing::Sleeps, 1),
        strike(Surprise::Early, Doing::Waits, 1),
        strike(Surprise::Late, Doing::Sleeps, 1),
        strike(Surprise::Late, Doing::Waits, 1),
        strike(Surprise::Stall, Doing::Runs, 8),
        strike(Surprise::Yield, Doing::GivesWay, 3),
        strike(Surprise::Slow, Doing::Runs, 1),
        strike(Surprise::Slow, Doing::Runs, 1),
    ];
    assert_snapshot!(human(&[of_attempt(Attempt { strikes, ..attempt() })]));
}

#[test]
fn a_failure_that_needs_other_tests() {
    assert_snapshot!(human(&[of_attempt(Attempt { passes_together: true, ..attempt() })]));
}

#[test]
fn a_failure_of_tests_together() {
    assert_snapshot!(human(&[of_attempt(together())]));
}

#[test]
fn a_crash() {
    let tasks = vec![thread(2, "worker", None, 7), thread(1, "t", Some((Awaited::Thread, &[2])), 30)];
    let ending = Ending::Killed { signal: nix::sys::signal::Signal::SIGSEGV as i32, task: TaskId(2), tasks };
    assert_snapshot!(human(&[of_attempt(ended(Outcome::Crashed, ending))]));
}

#[test]
fn a_deadlock() {
    assert_snapshot!(human(&[of_attempt(ended(Outcome::Deadlocked, deadlock()))]));
}

/// One thread for each thing that threads wait for, with and without somebody who could end the wait.
#[test]
fn every_wait() {
    let all = [
        Awaited::Mutex,
        Awaited::RwLock,
        Awaited::Condvar,
        Awaited::Once,
        Awaited::Barrier,
        Awaited::Channel,
        Awaited::Thread,
        Awaited::Scope,
        Awaited::Unpark,
        Awaited::Runtime,
        Awaited::Futex,
        Awaited::Pipe,
        Awaited::Socket,
        Awaited::Connection,
        Awaited::Terminal,
        Awaited::FileLock,
        Awaited::Queue,
        Awaited::Semaphore,
        Awaited::Change,
        Awaited::Descriptors,
        Awaited::Child,
        Awaited::Time,
    ];
    let mut tasks = Vec::new();
    for (at, on) in (0_u32..).zip(all) {
        let known = thread(3 * at + 1, &format!("t{}", 3 * at + 1), Some((on, &[2])), 5);
        let mut gone = thread(3 * at + 2, &format!("t{}", 3 * at + 2), Some((on, &[])), 5);
        if let Some(wait) = &mut gone.wait {
            (wait.gone, wait.limited) = (Some((TaskId(99), "old".into())), true);
        }
        let unknown = thread(3 * at + 3, &format!("t{}", 3 * at + 3), Some((on, &[])), 5);
        tasks.extend([known, gone, unknown].map(|state| TaskState { frames: Vec::new(), ..state }));
    }
    let lines = describe::ending(&Ending::Deadlocked(tasks), crate::ending::backtrace::Frames::Own);
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn hangs() {
    let runs = || thread(2, "spinner", None, 7);
    let waits = || thread(1, "t", Some((Awaited::Thread, &[2])), 30);
    let hangs = [
        hung(Overdue::Limit, vec![runs(), waits()], 5_000_000),
        hung(Overdue::Limit, vec![waits()], 0),
        hung(Overdue::NothingDue(Duration::from_secs(3600)), vec![waits()], 0),
        hung(
            Overdue::Unusual { took: Duration::from_millis(1234), usual: Duration::from_millis(5) },
            vec![runs(), waits()],
            0,
        ),
    ];
    assert_snapshot!(human(&hangs.map(|ending| of_attempt(ended(Outcome::Hung, ending)))));
}

#[test]
fn an_attempt_that_was_cut_off() {
    let ending = hung(Overdue::CutOff(Duration::from_millis(2500)), vec![thread(1, "t", None, 7)], 0);
    assert_snapshot!(human(&[of_attempt(ended(Outcome::Unfinished, ending))]));
}

#[test]
fn what_cannot_be_recorded() {
    let again = Attempt { repeats: Some(2), ..unsupported("bpf") };
    assert_snapshot!(human(&[
        of_attempt(unsupported("bpf")),
        of_attempt(unsupported("ptrace")),
        of_attempt(again),
    ]));
}

#[test]
fn a_guided_attempt() {
    let branches = vec![Branch { decision: 3, seed: 9 }];
    let guided = Attempt { strategy: StrategyName::Guided, branches, ..attempt() };
    assert_snapshot!(human(&[of_attempt(guided)]));
}

#[test]
fn errors_of_ours() {
    let kept = Kept { path: "/traces/p-it-t-abc.rrtrace".into(), verified: false, by_name: true };
    let does_not_replay = "the attempt failed, but its trace does not replay: this is a bug of rrtest, please report it with the trace\n\
         the replay diverged at event 63 (task 0, thread `sh`)\n  expected: close(0x4)\n  found:    close(0xffffffff)";
    let unverified = Attempt { trace: Some(kept.clone()), ..attempt() };
    let unreplayed = Attempt {
        outcome: Outcome::Error,
        trace: Some(kept),
        message: Some(does_not_replay.into()),
        ..attempt()
    };
    let unkept = "the attempt failed, but its trace cannot be kept: cannot write a trace to `/traces` (after 4096 bytes): \
                  No space left on device (os error 28)\n  free space there, or choose another directory for traces";
    let unkept = Attempt { trace: None, message: Some(unkept.into()), ..attempt() };
    assert_snapshot!(human(&[unverified, unreplayed, unkept].map(of_attempt)));
}

#[test]
fn interferences() {
    assert_snapshot!(human(&[true, false].map(|with| RunEvent::Interference(interference(with)))));
}

#[test]
fn summaries() {
    let explored = |complete, strayed, at_once| Explored {
        test: "p::it t".into(),
        bound: 2,
        schedules: 812,
        strayed,
        complete,
        at_once,
    };
    let rate = |attempts, failures, distinct| Rate { attempts, failures, distinct };
    let failed = Summary {
        passed: 86,
        failures: 34,
        failed: vec!["p::it t".into(), "p::it u".into()],
        rates: [("p::it t".into(), rate(61, 33, 2)), ("p::it u".into(), rate(10, 1, 1))].into(),
        ..summary()
    };
    let ours = Summary { passed: 118, errors: 2, interrupted: true, ..summary() };
    let never = Summary { never_ended: vec![never_ended(1), never_ended(0)], ..summary() };
    let systematic = Summary {
        explored: vec![explored(true, 0, None), explored(false, 0, None), explored(false, 3, Some(40))],
        ..summary()
    };
    let covered = |test: &str, both_orders| Covered {
        test: test.into(),
        pairs: 17,
        both_orders,
        attempts: 5000,
        in_vain: 812,
    };
    let guided = Summary {
        covered: vec![covered("p::it t", 14), covered("p::it u", 17)],
        failed: vec!["p::it u".into()],
        ..summary()
    };
    let together = Summary { together: true, tests: 1, attempts: 1, passed: 1, ..summary() };
    let all = [summary(), failed, ours, never, systematic, guided, together];
    assert_snapshot!(human(&all.map(RunEvent::Summary)));
}

#[test]
fn tests_that_never_ran() {
    let never = |count: usize| (0..count).map(|_| never_ended(0)).collect();
    let run =
        |exit_code, count| Summary { never_ended: never(count), exit_code, tests: count + 4, ..summary() };
    assert_snapshot!(human(&[run(0, 2), run(5, 22)].map(RunEvent::Summary)));
}

#[test]
fn what_takes_long_and_what_was_interrupted() {
    let slow =
        |number, seconds| Slow { test: Arc::new(test::sample()), number, wall: Duration::from_secs(seconds) };
    let summary = Summary { interrupted: true, running: vec![slow(7, 40), slow(8, 2)], ..summary() };
    assert_snapshot!(human(&[
        RunEvent::Slow(slow(7, 15)),
        RunEvent::Slow(slow(7, 120)),
        RunEvent::Summary(summary)
    ]));
}

#[test]
fn colours() {
    let failed = Summary { failures: 1, passed: 119, failed: vec!["p::it t".into()], ..summary() };
    let events = [
        RunEvent::Started(Started { shard: Some(Part { number: 2, of: 4 }), ..started() }),
        of_attempt(attempt()),
        RunEvent::Warning("something".into()),
        RunEvent::Summary(failed),
    ];
    assert_snapshot!(colored(&events, Detail::Normal, Shown::OfFailures).replace('\u{1b}', "^"));
}

#[test]
fn output_of_tests_that_pass_is_shown_where_it_is_asked_for() {
    let passed = || of_attempt(Attempt { outcome: Outcome::Passed, trace: None, ..attempt() });
    let told = colored(&[passed()], Detail::Normal, Shown::OfAll);
    assert!(told.contains("PASS") && told.contains("    one\n    two\n"), "{told}");
    assert_eq!(human(&[passed()]), "");
}

#[test]
fn quiet_is_quiet_unless_something_fails() {
    let quiet = |events: &[RunEvent]| {
        anstream::adapter::strip_str(&colored(events, Detail::Quiet, Shown::OfFailures)).to_string()
    };
    let passed = of_attempt(Attempt { outcome: Outcome::Passed, trace: None, ..attempt() });
    assert_eq!(quiet(&[RunEvent::Started(started()), passed, RunEvent::Summary(summary())]), "");
    let failed = Summary { failures: 1, passed: 119, failed: vec!["p::it t".into()], ..summary() };
    let told = quiet(&[of_attempt(attempt()), RunEvent::Summary(failed)]);
    assert!(told.contains("FAIL") && told.contains("Summary"), "{told}");
}

#[test]
fn what_a_failure_needs() {
    let nothing = |needs| {
        let mut explained = samples::explained("t");
        explained.explanation.needs = needs;
        explained.explanation.windows = Vec::new();
        explained.replaced = needs != Needs::Unknown;
        RunEvent::Explained(Box::new(explained))
    };
    let all = [
        RunEvent::Explained(Box::new(samples::explained("t"))),
        nothing(Needs::Order),
        nothing(Needs::Nothing),
        nothing(Needs::Unknown),
    ];
    assert_snapshot!(human(&all));
}

/// A pin that was tried: under it the test passes, or it fails, or a place is gone.
fn tried(fails: bool, gone: bool) -> RunEvent {
    let window = samples::explained("t").explanation.windows.remove(0);
    let gone = window.before.into_iter().filter(|_| gone).collect();
    let Attempt { test, .. } = attempt();
    RunEvent::Pin(Box::new(PinTried { test, file: "rrtest-pins/t-1.toml".into(), attempts: 6, fails, gone }))
}

/// An attempt at a pin.
fn pinned() -> Attempt {
    Attempt { number: 0, pinned: Some("rrtest-pins/t-1.toml".into()), ..attempt() }
}

#[test]
fn pins() {
    let counted = |pins| RunEvent::Summary(Summary { pins, ..summary() });
    let gone = |fails| match tried(fails, true) {
        RunEvent::Pin(tried) => RunEvent::Warning(tried.warning().expect("a place is gone")),
        other => other,
    };
    let all = [
        tried(true, false),
        of_attempt(pinned()),
        of_attempt(Attempt { repeats: Some(0), ..pinned() }),
        gone(false),
        gone(true),
        counted(PinCounts { hold: 3, fail: 0, gone: 0 }),
        counted(PinCounts { hold: 1, fail: 1, gone: 2 }),
    ];
    assert_snapshot!(human(&all));
}

/// Programs read this: names and order are a promise.
#[test]
fn json() {
    let mut json = Json::new(Vec::new());
    let fell_back = crate::attempt::start::Start::FellBack("it has files open".into());
    for event in [
        RunEvent::NotBuilt(NotBuilt { too_late: false, message: "no".into(), exit_code: 101 }),
        RunEvent::Started(started()),
        of_attempt(attempt()),
        of_attempt(Attempt {
            start: fell_back,
            strikes: vec![strike(Surprise::Early, Doing::Sleeps, 1)],
            ..attempt()
        }),
        of_attempt(ended(Outcome::Deadlocked, deadlock())),
        of_attempt(unsupported("bpf")),
        of_attempt(together()),
        RunEvent::Interference(interference(true)),
        RunEvent::Interference(interference(false)),
        RunEvent::Explained(Box::new(samples::explained("t"))),
        tried(false, false),
        tried(false, true),
        tried(true, false),
        of_attempt(pinned()),
        RunEvent::Summary(Summary {
            failures: 1,
            failed: vec!["p::it t".into()],
            rates: [("p::it t".into(), Rate { attempts: 61, failures: 33, distinct: 2 })].into(),
            ..summary()
        }),
        RunEvent::Summary(Summary { never_ended: vec![never_ended(1), never_ended(0)], ..summary() }),
    ] {
        json.report(&event).expect("memory");
    }
    assert_snapshot!(String::from_utf8(json.into_inner()).expect("text"));
}

/// What CI systems show.
#[test]
fn junit() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("report.xml");
    let mut junit = JUnit::new(&path);
    let named = |name: &str, attempt: Attempt| {
        let test = Test { name: Some(name.into()), ..test::sample() };
        of_attempt(Attempt { test: Arc::new(test), ..attempt })
    };
    let panicked = written(&[
        (Stream::Stdout, "one\n"),
        (Stream::Stderr, "thread 't' panicked at src/lib.rs:1:2:\n<&> is bad\n"),
    ]);
    for event in [
        RunEvent::Started(samples::started(
            ["passes", "fails", "is_never_ran"].map(self::named).into(),
            vec![self::named("is_ignored")],
        )),
        named("passes", Attempt { outcome: Outcome::Passed, trace: None, ..attempt() }),
        named("fails", Attempt { output: panicked, ..attempt() }),
        RunEvent::Explained(Box::new(samples::explained("fails"))),
        named("fails", Attempt { number: 5, repeats: Some(3), trace: None, ..attempt() }),
        RunEvent::Interference(interference(true)),
        named("deadlocks", ended(Outcome::Deadlocked, deadlock())),
        named("cannot_be_recorded", unsupported("bpf")),
        of_attempt(together()),
        RunEvent::Summary(Summary { never_ended: vec![never_ended(1), never_ended(0)], ..summary() }),
    ] {
        junit.report(&event).expect("a report");
    }
    let text = std::fs::read_to_string(path).expect("the report");
    insta::with_settings!({ filters => vec![("uuid=\"[^\"]*\"", "uuid=\"[uuid]\""), ("timestamp=\"[^\"]*\"", "timestamp=\"[time]\"")] }, {
        assert_snapshot!(text);
    });
}
