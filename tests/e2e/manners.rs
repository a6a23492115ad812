//! At home with cargo test: its options, what it shows of tests' output, and how little is said at a terminal.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::terminal::{CTRL_C, Terminal};
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    options_of_cargo_test_are_taken,
    tests_are_listed_as_cargo_lists_them,
    output_is_shown_where_it_is_asked_for,
    the_same_failure_is_counted,
    quiet_says_nothing_of_what_passes,
    ctrl_c_says_what_was_running,
];

const TWO: &str = "
#[test]
fn one() { println!(\"the one speaks\"); }
#[test]
#[ignore]
fn other() {}
";

fn options_of_cargo_test_are_taken(world: &Harness) {
    let project = Project::of_test(world, &(TWO.to_owned() + "fn unused() {}"));
    let all = [
        &["--no-fail-fast", "--ignore-rust-version", "--future-incompat-report", "-j", "2"][..],
        &["--timings", "--", "--nocapture", "--test-threads=1", "--include-ignored"],
    ];
    for args in all {
        let _run = Run::of(&mut project.rrtest(world, args)).expect(0);
    }
    let timings = project.path().join("target/rrtest");
    let builds = std::fs::read_dir(timings).expect("builds").flatten();
    assert!(
        builds.into_iter().any(|build| build.path().join("cargo-timings").is_dir()),
        "no report of timings"
    );
    // One line for a warning, where rustc writes several.
    project.write("src/lib.rs", "fn unused_too() {}");
    let _short = Run::of(&mut project.rrtest(world, &["--message-format", "short"]))
        .expect(0)
        .says(&["src/lib.rs:1:4: warning: function `unused_too` is never used"]);
    let _doc = Run::of(&mut project.rrtest(world, &["--doc"])).expect(2).says(&["cargo test --doc"]);
}

fn tests_are_listed_as_cargo_lists_them(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let list = |args: &[&str]| Run::of(&mut project.rrtest(world, args)).expect(0).text();
    assert_eq!(list(&["--", "--list"]), "one: test\n\n1 test, 0 benchmarks\n\n");
    assert_eq!(list(&["--", "--list", "--format", "terse", "--include-ignored"]), "one: test\nother: test\n");
    assert_eq!(
        list(&["--message-format", "json", "--", "--list"]),
        "{\"event\":\"test\",\"package\":\"p\",\"binary\":\"p::it\",\"test\":\"one\"}\n"
    );
}

fn output_is_shown_where_it_is_asked_for(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let run = |args: &[&str]| Run::of(&mut project.rrtest(world, args)).expect(0);
    assert!(!run(&[]).stderr.contains("the one speaks"));
    assert!(run(&["--", "--show-output"]).stderr.contains("    the one speaks\n"));
    assert!(run(&["--", "--nocapture"]).text().contains("the one speaks\n"));
}

fn the_same_failure_is_counted(world: &Harness) {
    let source = "#[test]\nfn bad() { panic!(\"on purpose\") }\n#[test]\nfn good() {}";
    let project = Project::of_test(world, source);
    let run = Run::of(&mut project.rrtest(world, &["--runs", "20", "--preempt", "sync", "-j1"]))
        .expect(101)
        .says(&["failed p::it bad: 20 of 20 attempts\n"]);
    assert_eq!(run.stderr.matches("        FAIL [").count(), 1, "{run}");
}

fn quiet_says_nothing_of_what_passes(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let run = Run::of(&mut project.rrtest(world, &["-q"])).expect(0);
    assert_eq!((run.stderr.as_str(), run.text().as_str()), ("", ""), "{run}");
}

fn ctrl_c_says_what_was_running(world: &Harness) {
    let source = "
        use std::sync::atomic::{AtomicBool, Ordering};
        static NEVER: AtomicBool = AtomicBool::new(false);
        #[test] fn spins() { while !NEVER.load(Ordering::SeqCst) { std::hint::spin_loop() } }
    ";
    let project = Project::of_test(world, source);
    let mut command = project.rrtest(world, &["--timeout", "10m", "-j1"]);
    command.env_remove("CI").env("TERM", "xterm");
    let mut terminal = Terminal::start(&mut command);
    terminal.expect("; running spins");
    terminal.send(CTRL_C);
    let (status, rest) = terminal.end();
    assert_eq!(status.code(), Some(130), "{rest}");
    // What is left of the bar is cleared before the summary is written, and comes no more.
    let (_, summary) = rest.split_once("Summary").unwrap_or_else(|| panic!("no summary: {rest}"));
    assert!(summary.contains("running p::it spins (attempt 1, for "), "{rest}");
    assert!(!summary.contains("; running spins"), "{rest}");
}
