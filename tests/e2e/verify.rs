//! Whether an explained failure still comes about in the code as it is now.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] =
    tests![a_fix_is_told_from_none, a_place_that_is_gone_is_told, a_trace_without_an_explanation_is_refused];

/// Two threads add 1 in this way, after some work.
pub(crate) fn adding(before: &str, add: &str) -> String {
    format!(
        "use std::sync::atomic::{{AtomicU32, Ordering::SeqCst}};
static SUM: AtomicU32 = AtomicU32::new(0);
static WORK: AtomicU32 = AtomicU32::new(0);
{before}
fn add() {{
    for _ in 0..20 {{ WORK.fetch_add(1, SeqCst); }}
    {add}
}}
#[test]
fn adds() {{
    std::thread::scope(|scope| {{ scope.spawn(add); scope.spawn(add); }});
    assert_eq!(SUM.load(SeqCst), 2);
}}"
    )
}

pub(crate) const TORN: &str = "let sum = SUM.load(SeqCst);
    SUM.store(sum + 1, SeqCst);";
/// The store has moved, and there is less between the two.
const NARROWER: &str = "WORK.fetch_add(1, SeqCst);
    SUM.store(SUM.load(SeqCst) + 1, SeqCst);";
pub(crate) const FIXED: &str = "SUM.fetch_add(1, SeqCst);";

/// A project of this test, with a failure that has been explained.
pub(crate) fn explained(world: &Harness, test: &str) -> Project {
    let project = Project::of_test(world, test);
    let hunt = [
        "--until-fail",
        "--runs",
        ENOUGH,
        "-j1",
        "--preempt",
        "sync",
        "--seed",
        "5",
        "--explain",
        LONG_ENOUGH,
    ];
    let report = project.report(world, &hunt, 101);
    assert_eq!(report.explanations.len(), 1, "{report:?}");
    project
}

fn verify(world: &Harness, project: &Project, code: i32) -> Run {
    Run::of(&mut project.rrtest(world, &["verify", "--for", "6s"])).expect(code)
}

fn a_fix_is_told_from_none(world: &Harness) {
    let project = explained(world, &adding("", TORN));
    let _run = verify(world, &project, 101).says(&["before: failed in 50 of 50 runs", "now: in 50 of 50"]);
    // Nothing but the lines has moved.
    project.write("tests/it.rs", &adding("// New.\n// Lines.\nfn _other() {}", TORN));
    let moved = verify(world, &project, 101).says(&["now: in 50 of 50"]);
    assert!(!moved.stderr.contains("is gone"), "{moved}");
    project.write("tests/it.rs", &adding("", NARROWER));
    let _run = verify(world, &project, 101).says(&["Fails still"]);
    project.write("tests/it.rs", &adding("", FIXED));
    let fixed =
        verify(world, &project, 0).says(&["Verified", "now: in 0 of ", ", in 0 of ", "is excluded at 95%"]);
    assert!(!fixed.stderr.contains("Fails still"), "{fixed}");
}

fn a_place_that_is_gone_is_told(world: &Harness) {
    let project = explained(world, &adding("", TORN));
    project
        .write("tests/it.rs", &adding("", FIXED).replace("fn add()", "fn plus()").replace("(add)", "(plus)"));
    let run = verify(world, &project, 0);
    assert!(run.stderr.contains("the old place is gone: tests/it.rs:"), "{run}");
}

fn a_trace_without_an_explanation_is_refused(world: &Harness) {
    let project = Project::of_test(world, "#[test]\nfn bad() { panic!() }");
    let _report = project.report(world, &["--explain", "never"], 101);
    let _run = verify(world, &project, 2).says(&["does not say what its failure needs", "--until-fail"]);
}
