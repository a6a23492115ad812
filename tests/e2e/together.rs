//! `--together`: all tests of a binary in one process, as cargo test runs them.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::ENOUGH;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    finds_what_tests_do_to_each_other,
    runs_each_binary_as_a_whole,
    passes_arguments_on,
    test_threads_count,
    a_deadlock_is_seen_while_the_harness_waits,
    a_harness_that_is_not_ours_runs_alone,
    reports_and_names_failed_tests,
];

/// Tests that pass alone, and fail if they meet.
const MEETING: &str = "
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
static SHARED: AtomicU32 = AtomicU32::new(0);
fn bump() {
    let before = SHARED.load(Relaxed);
    SHARED.store(before + 1, Relaxed);
    assert_eq!(SHARED.load(Relaxed), before + 1, \"not alone\");
}
#[test] fn first() { println!(\"said by first\"); bump() }
#[test] fn second() { bump() }
#[test] fn loner() { println!(\"said by loner\") }
";

/// The lines of JSON of `cargo rrtest --together`, and the run.
fn together(world: &Harness, project: &Project, args: &[&str], code: i32) -> (Report, Run) {
    let mut command = project.rrtest(world, &["--together", "--keep", "always", "--message-format", "json"]);
    let run = Run::of(command.args(args)).expect(code);
    (Report::of(&run), run)
}

/// What a run wrote, by the replay of its only trace.
fn output(world: &Harness, report: &Report) -> String {
    Run::of(&mut elsewhere(world, &report.traces()[0])).expect(0).text()
}

fn finds_what_tests_do_to_each_other(world: &Harness) {
    let project = Project::of_test(world, MEETING);
    let alone = project.report(world, &["--runs", "20", "--seed", "1"], 0);
    assert_eq!(alone.failing().count(), 0, "each passes by itself");
    let args = ["--together", "--until-fail", "--runs", ENOUGH, "--seed", "1"];
    let report = project.report(world, &args, 101);
    let failed = report.failing().next().expect("a failure");
    assert_eq!((failed.text("binary"), failed.text("outcome")), ("p::it", "failed"));
    assert_eq!(report.summary["failed"], serde_json::json!(["p::it"]));
    let names: Vec<&str> = failed.0["failed_tests"]
        .as_array()
        .expect("names")
        .iter()
        .map(|name| name.as_str().expect("a name"))
        .collect();
    assert!(!names.is_empty() && names.iter().all(|name| ["first", "second"].contains(name)), "{names:?}");
    // libtest shows what the failed tests wrote, and that only.
    let text = Run::of(&mut elsewhere(world, &failed.trace().expect("a trace"))).expect(0).text();
    assert!(text.contains("running 3 tests") && text.contains("not alone"), "{text}");
    assert_eq!(text.contains("said by first"), names.contains(&"first"), "{text}");
    assert!(!text.contains("said by loner"), "{text}");
}

fn runs_each_binary_as_a_whole(world: &Harness) {
    let project = Project::new(
        world,
        &[
            ("src/lib.rs", "#[test] fn unit() {}"),
            ("tests/one.rs", "#[test] fn a() {}\n#[test] fn b() {}"),
            ("tests/none.rs", ""),
        ],
    );
    let (report, _) = together(world, &project, &["--runs", "2", "-j2"], 0);
    let mut attempts: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            assert!(attempt.0["test"].is_null(), "{attempt:?}");
            assert_eq!(attempt.0["failed_tests"], serde_json::json!([]));
            (attempt.text("binary"), attempt.number("attempt"))
        })
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [("p", 1), ("p", 2), ("p::one", 1), ("p::one", 2)]);
    assert_eq!(report.summary["tests"], 2);
}

fn passes_arguments_on(world: &Harness) {
    let source = "
        #[test] fn one() { println!(\"this is one\") }
        #[test] fn one_more() {}
        #[test] fn two() {}
        #[test] #[ignore] fn slow() {}
    ";
    let project = Project::of_test(world, source);
    let ran = |args: &[&str]| -> Vec<String> {
        let (report, _) = together(world, &project, args, 0);
        let text = output(world, &report);
        let names = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok"));
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(ran(&[]), ["one", "one_more", "two"]);
    assert_eq!(ran(&["one"]), ["one", "one_more"]);
    assert_eq!(ran(&["one", "--", "--exact"]), ["one"]);
    assert_eq!(ran(&["one", "--", "two", "--skip", "more"]), ["one", "two"]);
    assert_eq!(ran(&["--", "--ignored"]), ["slow"]);
    assert_eq!(ran(&["--", "--include-ignored"]), ["one", "one_more", "slow", "two"]);
    let (report, _) = together(world, &project, &["--", "--nocapture"], 0);
    assert!(output(world, &report).contains("this is one"));
    let none = project.rrtest(world, &["--together", "absent"]).output().expect("cargo-rrtest");
    assert_eq!(none.status.code(), Some(4));
    let _unknown = Run::of(&mut project.rrtest(world, &["--together", "--", "--bogus"])).expect(2);
}

fn test_threads_count(world: &Harness) {
    // The main thread, that of the test, and as many others as there are.
    let source = "
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        static RUNNING: AtomicU32 = AtomicU32::new(0);
        fn meet() {
            let met = RUNNING.fetch_add(1, SeqCst) + 1;
            for _ in 0..100 { std::thread::yield_now() }
            RUNNING.fetch_sub(1, SeqCst);
            assert_eq!(met, 1, \"several at once\");
        }
        #[test] fn one() { meet() }
        #[test] fn two() { meet() }
        #[test] fn three() { meet() }
        #[test] fn four() { meet() }
    ";
    let project = Project::of_test(world, source);
    let runs = ["--together", "--runs", "10", "--seed", "1", "--message-format", "json"];
    let _several = Run::of(&mut project.rrtest(world, &runs)).expect(101);
    let _one = Run::of(project.rrtest(world, &runs).args(["--", "--test-threads", "1"])).expect(0);
    let _one = Run::of(project.rrtest(world, &runs).env("RUST_TEST_THREADS", "1")).expect(0);
}

fn a_deadlock_is_seen_while_the_harness_waits(world: &Harness) {
    let source = "
        use std::sync::{Barrier, Condvar, Mutex};
        #[test] fn fine() {}
        #[test] fn waits() {
            let guard = Mutex::new(());
            drop(Condvar::new().wait(guard.lock().unwrap()));
            Barrier::new(2).wait();
        }
    ";
    let project = Project::of_test(world, source);
    let (report, _) = together(world, &project, &[], 101);
    assert_eq!(report.attempts[0].text("outcome"), "deadlocked");
}

fn a_harness_that_is_not_ours_runs_alone(world: &Harness) {
    let manifest = rrtest_tests::project::MANIFEST;
    let project = Project::new(
        world,
        &[
            ("Cargo.toml", &format!("{manifest}[[test]]\nname = 'single'\nharness = false\n")),
            ("tests/single.rs", "fn main() { assert_eq!(std::env::args().count(), 1) }"),
        ],
    );
    let (report, _) = together(world, &project, &["--test", "single", "--", "--test-threads", "1"], 0);
    assert_eq!(report.tests(), ["p::single single"]);
}

fn reports_and_names_failed_tests(world: &Harness) {
    let source = "
        #[test] fn good() {}
        mod deep { #[test] fn bad() { panic!(\"so be it\") } }
    ";
    let project = Project::of_test(world, source);
    let run = Run::of(&mut project.rrtest(world, &["--together", "--junit", "report.xml"])).expect(101);
    let _run = run.says(&[
        "the tests of 1 binary together",
        "p::it together",
        "test result: FAILED. 1 passed; 1 failed",
        "1 attempt of 1 binary: 0 passed, 1 failed",
        "(verified)",
    ]);
    let junit = std::fs::read_to_string(project.path().join("report.xml")).expect("a report");
    for text in ["name=\"together\"", "failures=\"1\"", "deep::bad failed: panicked at tests/it.rs:3:"] {
        assert!(junit.contains(text), "{text} is missing in {junit}");
    }
    let ls = Run::of(&mut project.rrtest(world, &["ls"])).expect(0);
    assert!(ls.text().contains("p::it deep::bad") && ls.text().contains("p-it-together-"), "{ls}");
    let show = Run::of(&mut project.rrtest(world, &["show"])).expect(0);
    assert!(show.text().contains("failed_tests deep::bad\n"), "{show}");
}
