//! Attempts that go on from where earlier ones have shown something new.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] =
    tests![finds_what_takes_several_preemptions, correct_tests_pass, says_what_was_covered];

/// Three threads pass a token on; `torn` says how.
fn passing(torn: bool) -> String {
    let next =
        if torn { "let at = AT.load(SeqCst); AT.store(at + 1, SeqCst)" } else { "AT.fetch_add(1, SeqCst)" };
    format!(
        "use std::sync::atomic::{{AtomicU32, Ordering::SeqCst}};
        static AT: AtomicU32 = AtomicU32::new(0);
        #[test]
        fn passes_on() {{
            let pass = || for _ in 0..3 {{ {next}; }};
            std::thread::scope(|scope| {{ for _ in 0..3 {{ scope.spawn(pass); }} }});
            assert!(AT.load(SeqCst) > 3, \"most updates were lost: {{}}\", AT.load(SeqCst));
        }}"
    )
}

const GUIDED: &[&str] = &["--strategy", "guided", "--preempt", "sync"];

fn finds_what_takes_several_preemptions(world: &Harness) {
    let project = Project::of_test(world, &passing(true));
    let report = project.report(
        world,
        &[GUIDED, &["--until-fail", "--runs", ENOUGH, "--explain", LONG_ENOUGH]].concat(),
        101,
    );
    let failing = report.failing().next().expect("a failure");
    assert_eq!(failing.text("strategy"), "guided");
    let _replayed = Run::of(&mut elsewhere(world, &failing.trace().expect("a trace"))).expect(0);
    // No seed is needed to find out what it takes.
    assert!(!report.explanations.is_empty(), "{report:?}");
}

fn correct_tests_pass(world: &Harness) {
    let project = Project::of_test(world, &passing(false));
    let report = project.report(world, &[GUIDED, &["--runs", "300"]].concat(), 0);
    assert!(report.attempts.iter().all(|attempt| attempt.text("outcome") == "passed"));
}

/// Each of two threads adds once: these are a pair, and what the scope counts may be others.
fn says_what_was_covered(world: &Harness) {
    let source = "use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        static SUM: AtomicU32 = AtomicU32::new(0);
        #[test]
        fn adds() {
            SUM.store(1, SeqCst);
            let add = || { SUM.fetch_add(1, SeqCst); };
            std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
            assert_eq!(SUM.load(SeqCst), 3);
        }";
    let project = Project::of_test(world, source);
    let report = project.report(world, &[GUIDED, &["--runs", "200"]].concat(), 0);
    let covered = &report.summary["covered"][0];
    assert_eq!((&covered["test"], &covered["attempts"]), (&"p::it adds".into(), &200.into()));
    let number = |field: &str| covered[field].as_u64().expect("a number");
    assert!((1..=number("pairs")).contains(&number("both_orders")), "{covered}");
    assert!(number("in_vain") < 200, "the first has shown something: {covered}");
    let did = "that could come in either order did so in both; ";
    let _said =
        Run::of(project.rrtest(world, GUIDED).args(["--runs", "200"])).expect(0).says(&["Covered", did]);
}
