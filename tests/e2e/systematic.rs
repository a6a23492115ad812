//! All schedules with few preemptions, one after the other.

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::report::Report;
use serde_json::Value;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] = tests![
    ends_with_all_schedules,
    finds_what_takes_a_preemption,
    says_when_a_test_is_not_the_same_each_time
];

/// Two threads add 1 by load and store, or by one operation.
fn adding(add: &str) -> String {
    format!(
        "use std::sync::atomic::{{AtomicU32, Ordering::SeqCst}};
        static SUM: AtomicU32 = AtomicU32::new(0);
        #[test]
        fn adds() {{
            let add = || {{ {add} }};
            std::thread::scope(|scope| {{ scope.spawn(add); scope.spawn(add); }});
            assert_eq!(SUM.load(SeqCst), 2);
        }}"
    )
}

const ATOMIC: &str = "SUM.fetch_add(1, SeqCst);";
const TORN: &str = "let sum = SUM.load(SeqCst); SUM.store(sum + 1, SeqCst);";

const SYSTEMATIC: &[&str] = &["--strategy", "systematic", "--preempt", "sync", "--bound"];

fn explored(report: &Report) -> &Value {
    &report.summary["explored"][0]
}

fn ends_with_all_schedules(world: &Harness) {
    let project = Project::of_test(world, &adding(ATOMIC));
    let schedules = ["0", "1"].map(|bound| {
        let report = project.report(world, &[SYSTEMATIC, &[bound]].concat(), 0);
        let explored = explored(&report);
        assert_eq!((&explored["complete"], &explored["strayed"]), (&true.into(), &0.into()), "{report:?}");
        assert_eq!(explored["schedules"].as_u64(), Some(report.attempts.len() as u64));
        report.attempts.len()
    });
    assert_eq!(schedules[0], 1);
    assert!(schedules[1] > 5, "{schedules:?}");
}

fn finds_what_takes_a_preemption(world: &Harness) {
    let project = Project::of_test(world, &adding(TORN));
    assert_eq!(explored(&project.report(world, &[SYSTEMATIC, &["0"]].concat(), 0))["complete"], true);
    let report = project.report(world, &[SYSTEMATIC, &["1"]].concat(), 101);
    let failing = report.failing().next().expect("a failure");
    assert!(failing.trace().is_some());
    // Its seed is all that it takes.
    let again =
        project.report(world, &["--runs", "1", "--preempt", "sync", "--seed", failing.text("seed")], 101);
    assert_eq!(again.attempts[0].text("strategy"), "systematic");
    assert_eq!(again.attempts[0].0["ticks"], failing.0["ticks"]);
}

fn says_when_a_test_is_not_the_same_each_time(world: &Harness) {
    // Every other attempt comes by another object.
    let other = r#"
        static OTHER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/count");
        let count = std::fs::read(path).map_or(0, |bytes| bytes.len());
        std::fs::write(path, vec![b'.'; count + 1]).unwrap();
        // Two threads count.
        if count / 2 % 2 == 1 { OTHER.fetch_add(1, SeqCst); }
        SUM.fetch_add(1, SeqCst);"#;
    let project = Project::of_test(world, &adding(other));
    let report = project.report(world, &[SYSTEMATIC, &["1", "-j1"]].concat(), 0);
    let explored = explored(&report);
    assert_eq!(explored["complete"], false, "{report:?}");
    assert!(explored["strayed"].as_u64() > Some(0), "{report:?}");
}
