//! Attempts that go on from where earlier ones have shown something new.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::races::ENOUGH;
use rrtest_tests::tool::Run;

use crate::replay::elsewhere;
use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![finds_what_takes_several_preemptions, correct_tests_pass];

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
    let report = project.report(world, &[GUIDED, &["--until-fail", "--runs", ENOUGH]].concat(), 101);
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
