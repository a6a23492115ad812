//! What ends a campaign: numbers, times, Ctrl-C, and being killed.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use rrtest_tests::Harness;
use rrtest_tests::latch::FifoLatch;
use rrtest_tests::project::Project;
use rrtest_tests::report::Attempt;
use rrtest_tests::session::{Session, living};

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    runs_are_counted,
    time_ends_a_campaign,
    a_hung_test_is_kept,
    ctrl_c_between_attempts_ends_cleanly,
    ctrl_c_ends_a_test_that_never_would,
    a_killed_recorder_leaves_nothing,
];

const GOOD: &str = "#[test]\nfn one() {}\n#[test]\nfn two() { std::thread::spawn(|| ()).join().unwrap() }";

/// A test that releases the latch and never ends.
const ENDLESS: &str = r#"
#[test]
fn endless() {
    use std::io::Write;
    let mut latch = std::fs::OpenOptions::new().write(true).open("latch").unwrap();
    latch.write_all(b"!").unwrap();
    loop { std::hint::black_box(()); }
}
"#;

fn runs_are_counted(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let report = project.report(world, &["--runs", "3", "-j2"], 0);
    let mut attempts: Vec<_> =
        report.attempts.iter().map(|attempt| (attempt.text("test"), attempt.number("attempt"))).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [("one", 1), ("one", 2), ("one", 3), ("two", 1), ("two", 2), ("two", 3)]);
    let report = project.report(world, &[], 0);
    assert_eq!(report.attempts.len(), 2, "one attempt of each test");
    // Without --until-fail a failure ends nothing.
    let report =
        Project::of_test(world, "#[test]\nfn bad() { panic!() }").report(world, &["--runs", "4"], 101);
    assert_eq!(report.attempts.len(), 4);
}

fn time_ends_a_campaign(world: &Harness) {
    let report = Project::of_test(world, GOOD).report(world, &["--for", "5s", "--until-fail"], 0);
    assert!(report.attempts.len() > 2, "no limit but the time: {report:?}");
    assert_eq!(report.failing().count(), 0, "what the deadline cuts off is no failure: {report:?}");
}

fn a_hung_test_is_kept(world: &Harness) {
    let source = "
        use std::sync::atomic::{AtomicBool, Ordering};
        static GO: AtomicBool = AtomicBool::new(false);
        #[test]
        fn plain() { loop { std::hint::black_box(()); } }
        #[test]
        fn spinning() { while !GO.load(Ordering::Relaxed) { std::hint::spin_loop(); } }
        #[test]
        fn yielding() { while !GO.load(Ordering::Relaxed) { std::thread::yield_now(); } }
        #[test]
        fn sleeping() { while !GO.load(Ordering::Relaxed) { std::thread::sleep(std::time::Duration::from_millis(1)); } }
    ";
    let project = Project::of_test(world, source);
    let report = project.report(world, &["--timeout", "200ms"], 101);
    let mut tests: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            assert!(attempt.trace().is_some(), "{attempt:?}");
            (attempt.text("test"), attempt.text("outcome"))
        })
        .collect();
    tests.sort_unstable();
    assert_eq!(tests, ["plain", "sleeping", "spinning", "yielding"].map(|name| (name, "hung")));
}

fn ctrl_c_between_attempts_ends_cleanly(world: &Harness) {
    let project = Project::of_test(world, GOOD);
    let mut command = project.rrtest(world, &["--until-fail", "--message-format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = Session::start(&mut command);
    let mut stdout = BufReader::new(session.child.stdout.take().expect("a pipe"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    let _attempt = Attempt::new(serde_json::from_str(&first).expect("an object"));
    kill(session.id(), Signal::SIGINT).expect("a signal");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    let status = session.child.wait().expect("a child");
    assert_eq!(status.code(), Some(130), "{rest}");
    assert_eq!(living(session.id()), [] as [String; 0]);
    let last = rest.lines().last().unwrap_or_default();
    assert!(last.starts_with(r#"{"event":"summary""#), "{rest}");
    assert_eq!(project.traces(), [] as [std::path::PathBuf; 0]);
}

/// A recorder at work on [`ENDLESS`], which has released the latch.
fn endless(world: &Harness) -> (Project, Session, FifoLatch) {
    let project = Project::of_test(world, ENDLESS);
    let latch = FifoLatch::new(&project.path().join("latch"));
    let mut command = project.rrtest(world, &["--until-fail", "--timeout", "1h", "-j1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let session = Session::start(&mut command);
    latch.wait();
    assert!(living(session.id()).len() > 1, "the recorded process is in the session");
    (project, session, latch)
}

fn ctrl_c_ends_a_test_that_never_would(world: &Harness) {
    let (project, mut session, latch) = endless(world);
    kill(session.id(), Signal::SIGINT).expect("a signal");
    let status = session.child.wait().expect("a child");
    assert_eq!(status.code(), Some(130));
    assert_eq!(living(session.id()), [] as [String; 0]);
    latch.wait_for_end();
    assert_eq!(project.traces(), [] as [std::path::PathBuf; 0]);
}

fn a_killed_recorder_leaves_nothing(world: &Harness) {
    let (project, mut session, latch) = endless(world);
    session.child.kill().expect("a signal");
    session.child.wait().expect("a child");
    latch.wait_for_end();
    assert_eq!(project.traces(), [] as [std::path::PathBuf; 0]);
}
