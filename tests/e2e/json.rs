//! Reports: JSON on standard output and nothing else there, all else on standard error.

use rrtest_engine::schedule::StrategyName;
use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::Run;

use crate::{Test, tests};

pub(crate) const TESTS: &[Test] =
    tests![has_the_promised_fields, people_read_standard_error, junit_is_written];

const TWO: &str = "
#[test]
fn good() { println!(\"{{\\\"event\\\":\\\"mine\\\"}}\") }
#[test]
fn bad() { println!(\"{{}}\"); panic!(\"so be it\") }
";

fn has_the_promised_fields(world: &Harness) {
    let project = Project::of_test(world, TWO);
    // The report checks the names of the fields.
    let mut report = project.report(world, &["--runs", "2", "--seed", "0x9", "-j1"], 101);
    // Which test is next hangs on how long their attempts took.
    report.attempts.sort_by_key(|attempt| (attempt.text("test").to_owned(), attempt.number("attempt")));
    let shown: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            let fields = [
                attempt.text("package"),
                attempt.text("binary"),
                attempt.text("test"),
                attempt.text("outcome"),
            ];
            (fields, attempt.number("attempt"), attempt.0["exit_code"].as_u64())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (["p", "p::it", "bad", "failed"], 1, Some(101)),
            (["p", "p::it", "bad", "failed"], 2, Some(101)),
            (["p", "p::it", "good", "passed"], 1, Some(0)),
            (["p", "p::it", "good", "passed"], 2, Some(0)),
        ]
    );
    assert_eq!(report.attempts[0].text("seed"), "0x0000000000000009");
    for attempt in &report.attempts {
        assert!(attempt.0["signal"].is_null() && attempt.0["wall_ms"].is_f64());
        assert!(attempt.number("ticks") > 0);
        assert!(attempt.text("strategy").parse::<StrategyName>().is_ok(), "{attempt:?}");
    }
    // The second failure is the first one again.
    assert_eq!(report.traces().len(), 1);
    assert!(report.attempts[1].0["trace"].is_null() && report.attempts[1].0["verified"].is_null());
    let summary = (&report.summary["attempts"], &report.summary["tests"], &report.summary["failed"]);
    assert_eq!(summary, (&4.into(), &2.into(), &serde_json::json!(["p::it bad"])));
}

fn people_read_standard_error(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let run = Run::of(&mut project.rrtest(world, &[])).expect(101);
    assert_eq!(run.text(), "", "{run}");
    let _run = run.says(&[
        "PASS",
        "p::it good",
        "FAIL",
        "p::it bad",
        "so be it",
        "(verified)",
        "cargo rrtest replay",
    ]);
}

fn junit_is_written(world: &Harness) {
    let project = Project::of_test(world, TWO);
    let _run = Run::of(&mut project.rrtest(world, &["--junit", "out/report.xml"])).expect(101);
    let report = std::fs::read_to_string(project.path().join("out/report.xml")).expect("a report");
    for text in ["<testsuites", "tests=\"2\"", "failures=\"1\"", "good", "bad", "so be it"] {
        assert!(report.contains(text), "{text} is missing in {report}");
    }
}
